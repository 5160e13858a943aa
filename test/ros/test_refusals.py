"""What is wrong at start is refused with a clear message and exit status 2, before anything moves.

The nodes are started bare, as a user or `ros2 run` would.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.resources import find

pytestmark = pytest.mark.ros


def run_node(name, *parameters, timeout=60.0):
    command = [sys.executable, '-m', f'karpathy_control.nodes.{name}', '--ros-args']
    for parameter in parameters:
        command += ['-p', parameter]
    return subprocess.run(command, env={**os.environ, **environment('local')}, timeout=timeout,
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize('node, parameter, text', [
    ('control', 'gate.margn:=0.1', "unknown parameter 'gate.margn'; did you mean 'gate.margin'"),
    ('control', 'gate.margin:=9.0', 'gate.margin: 9.0 is out of range; it takes float in [0,'),
    ('control', 'gate.margin:=wide', "gate.margin: 'wide' is not accepted"),
    ('sim', 'world:=moon', "world: 'moon' is not accepted; it takes one of 'mixed'"),
    ('sim', 'robot_xacro:=no.xacro', 'no.xacro'),
    ('perception', 'device:=cuda:7', "'cuda:7' is not available"),
    ('policy', 'device:=tpu', "'tpu'"),
    ('perception', 'weights:=no.safetensors', 'no.safetensors'),
])
def test_refused_with_the_value_and_what_is_accepted(domain, node, parameter, text):
    done = run_node(node, parameter)
    assert done.returncode == 2, done
    assert text in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('node, file', [('perception', 'encoder'), ('policy', 'actor')])
@pytest.mark.parametrize('harm, text', [
    ('tamper', 'sha256'), ('layout', 'layout_version is 99, needed is 1'), ('card', 'card'),
])
def test_weights_that_are_not_what_they_should_be(domain, tmp_path, node, file, harm, text):
    for suffix in ('.safetensors', '.json'):
        shutil.copy(find('weights', file + suffix), tmp_path)
    weights, card = tmp_path / f'{file}.safetensors', tmp_path / f'{file}.json'
    if harm == 'tamper':
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif harm == 'layout':
        card.write_text(json.dumps({**json.loads(card.read_text()), 'layout_version': 99}))
    else:
        card.unlink()
    done = run_node(node, f'weights:={weights}')
    assert done.returncode == 2, done
    assert text in done.stderr and 'karpathy-control train' in done.stderr

"""A drive that is recorded over DDS gives the same observations, entities and actions again."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import START
from rosbags.highlevel import AnyReader

pytestmark = pytest.mark.ros

CLI = [sys.executable, '-c', 'from karpathy_control.cli import main; raise SystemExit(main())']
SECONDS = 10


def started(*arguments):
    return subprocess.Popen([*CLI, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=dict(os.environ))


def test_a_recorded_drive_is_the_same_again_bit_for_bit(loop, tmp_path):
    running = loop()
    running.drive()
    recorder = started('record', '--out', str(tmp_path / 'bag'), '--seconds', str(SECONDS))
    assert running.tour(recorder, START) == 0, recorder.stderr.read()
    with AnyReader([tmp_path / 'bag']) as reader:
        speeds = [reader.deserialize(data, c.msgtype).twist.linear.x
                  for c, _, data in reader.messages(
                      [c for c in reader.connections if c.topic == '/policy/action'])]
    assert np.mean(np.array(speeds) > 0.3) > 0.5  # a drive, not a robot that stands
    running.runner.__exit__(None, None, None)  # the cores are for the replay now
    replay = started('replay', '--bag', str(tmp_path / 'bag'))
    out, err = replay.communicate(timeout=300)
    said = json.loads(out.splitlines()[-1])
    assert replay.returncode == 0 and said['agrees'], out + err
    for name, stage in said['stages'].items():
        # The states come 1 to 3 s after the recorder was heard, the last chunk up to 1 s early; a
        # slow machine hears it late and misses some of the 20 sets a second.
        assert stage['sets'] > 10 * (SECONDS - 5), (name, stage)
        assert stage['identical'] == stage['compared'] >= stage['sets'] - stage['not_recorded']
        assert stage['largest'] == 0.0 and stage['first'] is None

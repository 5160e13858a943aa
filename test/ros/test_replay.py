"""A drive that is recorded over DDS gives the same observations, entities and actions again."""

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import START

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
    end = time.monotonic() + START
    while recorder.poll() is None and time.monotonic() < end:
        running.wait(lambda e: True, 10.0, 'word of the observer')
    assert recorder.wait(1.0) == 0, recorder.stderr.read()
    running.runner.__exit__(None, None, None)  # the cores are for the replay now
    replay = started('replay', '--bag', str(tmp_path / 'bag'))
    out, err = replay.communicate(timeout=300)
    said = json.loads(out.splitlines()[-1])
    assert replay.returncode == 0 and said['agrees'], out + err
    for name, stage in said['stages'].items():
        # A state comes within 1 s after the recorder was heard, the last chunk up to 1 s early;
        # the chain begins where three states lie one behind the other.
        assert stage['sets'] > 20 * (SECONDS - (8 if name == 'chain' else 4)), (name, stage)
        assert stage['identical'] == stage['compared'] >= stage['sets'] - stage['not_recorded']
        assert stage['largest'] == 0.0 and stage['first'] is None

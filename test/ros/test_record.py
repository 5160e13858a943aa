"""A drive is recorded over DDS, read by rosbags, and mended after kill -9."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import START
from rosbags.highlevel import AnyReader

pytestmark = pytest.mark.ros

COMMAND = [sys.executable, '-c',
           'from karpathy_control.cli import main; raise SystemExit(main())', 'record']
TOPICS = 'scan,odom,cmd_vel,control/state,camera/image_raw,control/goal'


def record(folder, *arguments):
    return subprocess.Popen([*COMMAND, '--out', str(folder), '--topics', TOPICS, *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ))


def ended(loop, process, seconds):
    """Wait for a process while the runner is polled."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        loop.wait(lambda e: True, 10.0, 'word of the observer')
    return process.wait(1.0)


def test_a_drive_is_recorded_and_survives_a_kill(loop, tmp_path):
    running = loop()
    running.drive()
    whole = record(tmp_path / 'whole', '--seconds', '4')
    assert ended(running, whole, START) == 0, whole.stderr.read()
    said = json.loads(whole.stdout.read().splitlines()[-1])
    assert said['error'] == '' and set(said['topics']) == {f'/{t}' for t in TOPICS.split(',')}
    with AnyReader([tmp_path / 'whole']) as reader:
        assert reader.message_count == said['messages']
        scans = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(
            [c for c in reader.connections if c.topic == '/scan'])]
        speeds = [reader.deserialize(data, c.msgtype).twist.linear.x
                  for c, _, data in reader.messages(
                      [c for c in reader.connections if c.topic == '/cmd_vel'])]
    stamps = np.array([s.header.stamp.sec + 1e-9 * s.header.stamp.nanosec for s in scans])
    assert len(scans) > 40 and np.allclose(np.diff(stamps), 0.05, atol=1e-6)  # none was lost
    assert len(speeds) > 80 and max(speeds) > 0.1
    killed = record(tmp_path / 'killed')
    assert killed.stdout.readline().startswith('recording 6 topics')
    end = time.monotonic() + 3.0
    running.wait(lambda e: time.monotonic() > end, START, 'three seconds')
    killed.kill()
    killed.wait()
    mended = subprocess.run([*COMMAND, '--recover', str(tmp_path / 'killed')], check=True,
                            capture_output=True, text=True)
    assert json.loads(mended.stdout)['mended'] == ['killed_0.mcap']
    with AnyReader([tmp_path / 'killed']) as reader:
        count = {c.topic: c.msgcount for c in reader.connections}
        assert count['/scan'] > 20 and count['/control/goal'] == 1  # latched: heard though late

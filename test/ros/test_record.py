"""A drive is recorded over DDS, read by rosbags, mended after kill -9, and shown in a page."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from conftest import START
from rosbags.highlevel import AnyReader

pytestmark = pytest.mark.ros

CLI = [sys.executable, '-c', 'from karpathy_control.cli import main; raise SystemExit(main())']
COMMAND = [*CLI, 'record']
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


def test_a_drive_is_shown_while_it_runs(loop, tmp_path):
    pytest.importorskip('rerun', reason='rerun-sdk is not installed')
    running = loop()
    running.drive()
    shown = subprocess.Popen([*CLI, 'view', '--port', '0', '--seconds', '60'],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=dict(os.environ))
    url = shown.stdout.readline().split()[1]
    with urllib.request.urlopen(url) as page:  # the redirection is followed
        assert page.status == 200 and 'url=rerun' in page.url
    end = time.monotonic() + 4.0
    running.wait(lambda e: time.monotonic() > end, START, 'four seconds')
    shown.send_signal(signal.SIGINT)
    assert ended(running, shown, START) == 0, shown.stderr.read()
    said = json.loads(shown.stdout.read().splitlines()[-1])
    # odometry, commands and proposals at 20 Hz alone are 240 in four seconds
    assert said['drawn'] > 150 and said['refused'] == 0 and said['page'] == url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)

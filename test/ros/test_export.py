"""A drive over DDS becomes a dataset whose actions are the commands that went out for them."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('pyarrow', reason='pyarrow is not installed')

from conftest import START
from pyarrow import parquet
from rclpy.serialization import deserialize_message

from karpathy_control.bags.lerobot_format import IMAGE
from karpathy_control.bags.reading import read_bag
from karpathy_control.nodes import convert
from karpathy_control.nodes.qos import message_type

pytestmark = pytest.mark.ros

CLI = [sys.executable, '-c', 'from karpathy_control.cli import main; raise SystemExit(main())']
SOON = 500_000_000  # ns from the arrival of an action at the recorder to that of its command


def test_a_drive_becomes_a_dataset(loop, tmp_path):
    running = loop()
    running.drive()
    recorder = subprocess.Popen([*CLI, 'record', '--out', str(tmp_path / 'bag'), '--seconds', '8'],
                                stdout=subprocess.DEVNULL, env=dict(os.environ))
    assert running.tour(recorder, START) == 0
    done = subprocess.run([*CLI, 'export', '--bag', str(tmp_path / 'bag'), '--out',
                           str(tmp_path / 'set'), '--blur', '0'], capture_output=True, text=True,
                          check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    lost = sum(report['dropped'].values()) + report['short']['frames']
    assert report['frames'] + lost == report['observations']
    assert report['frames'] > 80 and report['refused'] == {}
    messages = {}
    for m in read_bag(tmp_path / 'bag', {'/cmd_vel', '/policy/action', '/observation/image'}):
        messages.setdefault(m.topic, []).append(
            (m.received, deserialize_message(m.data, message_type(m.type))))
    asked = {convert.stamp_ns(m.header): (came, convert.command(m)[0])
             for came, m in messages['/policy/action']}
    seen = {convert.stamp_ns(m.header): convert.raw_image(m).pixels
            for _, m in messages['/observation/image']}
    sent = [(came, m.twist.linear.x, m.twist.angular.z) for came, m in messages['/cmd_vel']]
    rows = parquet.read_table(tmp_path / 'set' / 'data' / 'chunk-000' / 'file-000.parquet')
    driven = 0
    for row in rows.to_pylist():
        came, command = asked[row['stamp']]
        assert row['proposal'] == pytest.approx([command.v, command.w], rel=1e-6)
        v, w = row['action']
        assert any(abs(then - came) < SOON and np.float32(a) == v and np.float32(b) == w
                   for then, a, b in sent), f'{v} {w} did not go out about {row["stamp"]}'
        driven += v > 0.1
        decoded = cv2.imdecode(np.frombuffer(row[IMAGE]['bytes'], np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(decoded[:, :, ::-1], seen[row['stamp']])
    assert driven > 40

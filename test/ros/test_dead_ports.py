"""What is written to a listener that is killed must not stay in the writer's shared memory."""

import dataclasses
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.plan import NodeSpec, plan
from karpathy_control.bringup.runner import POLL_PERIOD, Runner
from karpathy_control.bringup.shared_memory import FOLDER, held

pytestmark = pytest.mark.ros

TALKER = """
import rclpy
from nav_msgs.msg import Odometry
rclpy.init()
node = rclpy.create_node('talker')
odom = node.create_publisher(Odometry, 'odom', 1)
print('ready', flush=True)
node.create_timer(0.005, lambda: odom.publish(Odometry()))
rclpy.spin(node)
"""
LISTENER = """
import rclpy
from nav_msgs.msg import Odometry
from karpathy_control.bringup.dds import own_ports
rclpy.init()
with own_ports():
    node = rclpy.create_node('listener')
heard = []
def hear(message):
    if not heard:
        print('heard', flush=True)
    heard.append(1)
node.create_subscription(Odometry, 'odom', hear, 1)
rclpy.spin(node)
"""
DEATHS = 4
# Descriptions of messages in a segment of 8 MB, 16 bytes each: how often it was used (24 bits), in
# how many ports it lies (20) and is being read from (20), size and place (32 each).
NODES = 8192


def left(segment):
    """How many messages in a segment wait for a reader (BufferNode of SharedMemManager.hpp)."""
    words = np.fromfile(FOLDER / segment, np.uint64)
    most = 0
    for phase in range(2):
        rows = words[phase:phase + (len(words) - phase) // 2 * 2].reshape(-1, 2)
        waiting = (rows[:, 0] >> np.uint64(24)) & np.uint64(0xFFFFF)
        reading = rows[:, 0] >> np.uint64(44)
        inside = (rows[:, 1] >> np.uint64(32)) < np.uint64(8 * len(words))
        like_one = (waiting < 64) & (reading < 64) & inside
        ends = np.flatnonzero(np.diff(np.concatenate(([0], like_one.view(np.int8), [0]))))
        for first, last in zip(ends[::2], ends[1::2], strict=True):
            if last - first >= NODES:
                most = max(most, int((waiting[first:first + NODES] > 0).sum()))
    return most


def until(runner, condition):
    """Poll the runner, as `up` does, until something has happened."""
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end, 'did not happen'
        runner.poll()
        time.sleep(POLL_PERIOD)


def test_the_dead_keep_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(60 + os.getpid() % 40))
    base = plan({'dds_profile': 'local'})
    spec = NodeSpec(executable='listener', name='listener', parameters={}, respawn_delay=0.05)
    runner = Runner(dataclasses.replace(base, nodes=(spec,)), tmp_path,
                    command=lambda spec, file: [sys.executable, '-c', LISTENER])
    log = tmp_path / 'listener.log'
    with subprocess.Popen([sys.executable, '-c', TALKER], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **environment('local')}) as talker:
        try:
            assert talker.stdout.readline() == 'ready\n'
            segment, = (name for name in held(talker.pid) if 'port' not in name)
            with runner:
                for death in range(DEATHS):
                    until(runner, lambda death=death: log.read_text().count('heard') > death)
                    runner.kill('listener')
                    until(runner, lambda death=death: runner.restarts('listener') > death)
            # 200 a second until Fast DDS finds out itself: 776 and 868 were left, now 25 and 37
            assert left(segment) < 200
        finally:
            talker.kill()

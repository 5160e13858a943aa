"""Hostile messages: what reads them, what they must not do, and that the fuzzer would notice."""

import inspect
import json
import math
import os
import subprocess
import sys
import warnings
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('rclpy', reason='conversion needs the ROS messages')

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, PointField

from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.interfaces import TOPICS
from karpathy_control.contracts.types import DepthPoints
from karpathy_control.nodes import clouds, convert, fuzz
from karpathy_control.nodes.convert import InvalidMessage
from karpathy_control.nodes.hostile import GIANT, MAKERS, Hostile

ROOT = Path(__file__).resolve().parents[2]
STAMP = 12_345_678_901


def test_every_topic_that_a_node_reads_is_fuzzed():
    assert {topic.name for topic in TOPICS if topic.readers} <= set(MAKERS)
    assert set(fuzz.CONVERSIONS) == set(MAKERS)


def test_every_conversion_that_reads_a_message_is_fuzzed():
    reading = {name for module in (convert, clouds)
               for name, f in inspect.getmembers(module, inspect.isfunction)
               if not name.startswith('_') and 'message' in inspect.signature(f).parameters}
    parts = {'cloud', 'matrix'}  # read as depth_points and entities_table, depth and imu
    assert reading - parts <= set(fuzz.READ)
    assert {name for names in fuzz.CONVERSIONS.values() for name in names} == set(fuzz.READ)


@settings(max_examples=3000, deadline=None)
@given(st.sampled_from(sorted(MAKERS)), st.integers(0, 2**32))
def test_any_message_is_a_value_that_keeps_its_promises_or_is_refused(name, seed):
    message, valid = Hostile(seed).message(name, STAMP)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for conversion in fuzz.CONVERSIONS[name]:
            read, check = fuzz.READ[conversion]
            try:
                value = read(message)
            except InvalidMessage as error:
                assert not valid and len(str(error)) < 11_000  # the longest odd string is 10,000
                continue
            check(value)


def test_messages_are_the_same_for_a_seed_and_hostile():
    one, two = Hostile(7), Hostile(7)
    changed = 0
    for name in list(MAKERS) * 20:
        (a, valid), (b, _) = one.message(name, STAMP), two.message(name, STAMP)
        assert repr(a) == repr(b)
        changed += not valid
    assert changed > 400  # 19 of 20 of 500


def test_giant_messages_are_made_but_bounded(monkeypatch):
    monkeypatch.setattr('karpathy_control.nodes.hostile.RARE', 1.0)
    longest = max(len(Hostile(seed).message('observation/image', STAMP)[0].data)
                  for seed in range(40))
    assert 400_000 < longest <= GIANT + 3 * 96 * 128


@pytest.mark.parametrize(('change', 'said'), [
    (lambda m: setattr(m.pose.pose.orientation, 'x', 1e200), 'norm'),  # overflows when squared
    (lambda m: setattr(m.pose.pose.position, 'x', 1e7), 'position'),
    (lambda m: setattr(m.twist.twist.angular, 'z', math.nan), 'twist'),
    (lambda m: setattr(m.header.stamp, 'sec', -1), 'stamp'),
    (lambda m: setattr(m.header.stamp, 'nanosec', 1_000_000_000), 'stamp'),
])
def test_odometry_that_is_refused(change, said):
    message = Odometry()
    message.pose.pose.orientation.w = 1.0
    change(message)
    with pytest.raises(InvalidMessage, match=said):
        convert.state(message)


@pytest.mark.parametrize(('change', 'said'), [
    (lambda m: setattr(m, 'is_bigendian', True), 'little-endian'),
    (lambda m: setattr(m.fields[1], 'datatype', PointField.UINT32), 'fields'),
    (lambda m: setattr(m.fields[1], 'offset', 0), 'fields'),
    (lambda m: setattr(m.fields[1], 'count', 2), 'fields'),
    (lambda m: m.fields.reverse(), 'fields'),
    (lambda m: setattr(m, 'point_step', 20), 'bytes a point'),
    (lambda m: setattr(m, 'width', 2**32 - 1), 'points'),
    (lambda m: setattr(m, 'data', m.data[:-1]), 'bytes'),
    (lambda m: setattr(m, 'data', m.data[:-4] + array('B', b'\0\0\0\x3f')), 'kinds'),  # 0.5
    (lambda m: setattr(m, 'data', array('B', b'\0\0\xc0\x7f') + m.data[4:]), 'finite'),  # NaN
])
def test_cloud_that_is_refused(change, said):
    points = DepthPoints(STAMP, np.ones((3, 3), 'f4'), np.ones(3, 'f4'))
    message = clouds.depth_points_message(points, 'base_link')
    change(message)
    with pytest.raises(InvalidMessage, match=said):
        clouds.depth_points(message, (0.0, 0.0))


def test_no_points_at_all_are_a_message_too():
    empty = DepthPoints(STAMP, np.ones((0, 3), 'f4'), np.ones(0, 'f4'))
    message = clouds.depth_points_message(empty, 'base_link')
    assert len(clouds.depth_points(message, (0.0, 0.0)).xyz) == 0


def test_other_values_that_no_robot_gives_are_refused():
    pose = PoseStamped()
    pose.pose.position.x = 1e308  # finite, but not in float32
    with pytest.raises(InvalidMessage, match='1e\\+06'):
        convert.position(pose)
    info = CameraInfo(width=10, height=10, d=[0.0] * 10_000)
    info.k[0] = info.k[4] = 10.0
    with pytest.raises(InvalidMessage, match='coefficients'):
        convert.camera_model(info)
    scan = convert.scan_message(np.ones(360, 'f4'), STAMP, 'base_link', 0.0,
                                math.radians(1.0), 0.0, 10.0, 0.05)
    with pytest.raises(InvalidMessage, match='about base'):
        convert.layout_scan(scan)


PLANTED = """
import rclpy
from karpathy_control.nodes import clouds, convert, fuzz
rclpy.init(args=['--ros-args', '-p', 'use_sim_time:=true', '--log-level', 'fatal'])
convert._require_within = lambda what, limit, *values: None
failures = fuzz.Fuzzer(0).run(1500).failures
rclpy.shutdown()
print('\\n'.join(failures))
"""


def run(*command):
    env = {**os.environ, **environment('local'), 'ROS_DOMAIN_ID': str(1 + os.getpid() % 100)}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False,
                          cwd=ROOT, env=env)


def test_nothing_but_a_stop_follows_from_invalid_messages():
    done = run('benchmarks/fuzz.py', '--messages', '3000', '--seed', '11')
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, result['crashes']) == (0, 0), done.stderr
    assert result['messages'] == 3000
    driving = result['refused_while_driving']
    assert {'policy/action', 'cmd_vel_teleop', 'scan', 'odom', 'goal_pose'} <= set(driving)
    assert set(result['by_conversion']) == set(fuzz.READ)


def test_the_fuzzer_notices_a_check_that_is_missing():
    done = run('-c', PLANTED)
    assert done.returncode == 0, done.stderr
    assert 'command' in done.stdout and 'bounded state' in done.stdout, done.stdout

"""Each fault on real messages: what is passed on, and that what came is left as it was."""

import math

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs rclpy')

from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock

from karpathy_control.contracts.types import NANOSECONDS, CameraModel, ImuSample, State
from karpathy_control.nodes import convert
from karpathy_control.nodes.injector_faults import (
    FAULTS,
    RECENT,
    Past,
    begin,
    named,
    stamp_of,
)

PERIOD = 50_000_000  # ns


def scan(i):
    ranges = np.array([1.0, 2.0, 3.0, 4.0 + i], np.float32)
    return convert.scan_message(ranges, (i + 1) * PERIOD, 'lidar', -1.5, 1.0, 0.1, 10.0, 0.05)


def image(i):
    pixels = np.full((4, 6, 3), i, np.uint8)
    return convert.image_message(pixels, (i + 1) * PERIOD, 'camera', 'rgb8')


def depth(i):
    metres = np.full((4, 6), 1.0 + i, np.float32)
    return convert.image_message(metres, (i + 1) * PERIOD, 'camera', '32FC1')


def info(i):
    model = CameraModel(6, 4, 3.0, 3.0, 3.0, 2.0, ())
    return convert.camera_info_message(model, (i + 1) * PERIOD, 'camera')


def odom(i):
    return convert.odometry_message(State((i + 1) * PERIOD, 0.1 * i, 0.0, 0.2, 1.0, 0.1), 'odom',
                                    'base_link')


def imu(i):
    return convert.imu_message(ImuSample((i + 1) * PERIOD, (0.0, 0.0, 0.1), (0.0, 0.0, 9.8)),
                               'imu')


def clock(i):
    return Clock(clock=convert.time_msg((i + 1) * PERIOD))


MAKERS = {'scan': scan, 'image': image, 'depth': depth, 'info': info, 'odom': odom, 'imu': imu,
          'clock': clock}
UNFIT = {  # fault -> messages that it does not take
    'nan': {'image', 'clock'}, 'inf': {'image', 'clock'}, 'size': {'odom', 'imu', 'clock'},
    'encoding': {'scan', 'info', 'odom', 'imu', 'clock'}, 'frame': {'clock'},
    'flipped': {'image', 'depth', 'info', 'odom', 'imu', 'clock'},
    'saturated': {'scan', 'depth', 'info', 'odom', 'imu', 'clock'},
    'bias': {'scan', 'image', 'depth', 'info', 'clock'},
}


def feed(name, make, count, amount=None):
    """What goes on for each of `count` messages."""
    fault, default = named(name)
    past, sent = None, []
    for i in range(count):
        past = past.then(make(i)) if past else begin(make(i))
        sent.append(fault(past, default if amount is None else amount))
    return sent


def stamps(sent):
    """Stamps in periods, message by message."""
    return [[round(stamp_of(m) / PERIOD, 3) for m in group] for group in sent]


@pytest.mark.parametrize('kind', MAKERS)
@pytest.mark.parametrize('name', FAULTS)
def test_every_fault_on_every_message(name, kind):
    make = MAKERS[kind]
    if kind in UNFIT.get(name, ()):
        with pytest.raises(ValueError, match='is not accepted by this fault; it takes'):
            feed(name, make, 1)
        return
    originals = [make(i) for i in range(4)]
    past = Past(originals[0], tuple(originals), 4)
    fault, amount = named(name)
    for message in fault(past, amount):
        serialize_message(message)  # every field has its type
    assert originals == [make(i) for i in range(4)], 'what came was changed'


@pytest.mark.parametrize('kind', MAKERS)
def test_faults_of_time(kind):
    make = MAKERS[kind]
    assert stamps(feed('silent', make, 3)) == [[], [], []]
    assert stamps(feed('stuck', make, 3)) == [[1], [1], [1]]
    assert stamps(feed('frozen', make, 3)) == [[1], [2], [3]]
    assert stamps(feed('duplicated', make, 2)) == [[1, 1], [2, 2]]
    assert stamps(feed('disordered', make, 4)) == [[], [2, 1], [], [4, 3]]
    # 0.1 s is two periods
    assert stamps(feed('late', make, 5, 0.1)) == [[], [], [1], [2], [3]]
    assert stamps(feed('early', make, 2, 0.1)) == [[3], [4]]
    assert stamps(feed('jumping', make, 4, 0.1)) == [[3], [0], [5], [2]]


def test_late_passes_on_what_fell_due_since_the_last_message():
    fault, _ = named('late')
    past = begin(scan(0)).then(scan(1)).then(scan(6))  # stamps 1, 2 and 7 periods
    assert stamps([fault(past, 0.15)]) == [[1, 2]]


def test_frozen_repeats_the_content_and_stuck_every_bit():
    assert [g[0].ranges[3] for g in feed('frozen', scan, 3)] == [4.0, 4.0, 4.0]
    assert feed('stuck', image, 3)[2] == [image(0)]


def test_values():
    def last(name, make):
        return feed(name, make, 2)[1][0]

    assert np.isnan(last('nan', scan).ranges).all() and len(last('nan', scan).ranges) == 4
    assert np.isposinf(last('inf', scan).ranges).all()
    assert np.isnan(convert.raw_depth(last('nan', depth)).metres).all()
    for name, make, read in (('nan', odom, convert.state), ('nan', info, convert.camera_model),
                             ('inf', imu, lambda m: convert.imu_sample(m, np.eye(3))),
                             ('encoding', image, convert.raw_image),
                             ('encoding', depth, convert.raw_depth),
                             ('size', image, convert.raw_image)):
        with pytest.raises(convert.InvalidMessage):
            read(last(name, make))
    assert list(last('flipped', scan).ranges) == [5.0, 3.0, 2.0, 1.0]
    assert len(last('size', scan).ranges) == 2
    assert set(last('saturated', image).data) == {255}
    assert last('frame', imu).header.frame_id == 'moon'
    assert math.isclose(last('bias', odom).pose.pose.position.x, 1.1)
    assert math.isclose(last('bias', imu).angular_velocity.z, 1.1)


def test_the_past_is_bounded_but_remembers_its_first():
    past = begin(imu(0))
    for i in range(1, RECENT + 10):
        past = past.then(imu(i))
    assert len(past.recent) == RECENT and past.count == RECENT + 10
    assert past.first == imu(0) and past.newest == imu(RECENT + 9)
    assert NANOSECONDS == 20 * PERIOD


def test_an_unknown_fault_is_refused_by_name():
    with pytest.raises(KeyError, match="'melted' is not known; it takes one of silent, frozen"):
        named('melted')

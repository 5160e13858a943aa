"""Hostile messages: for every topic that a node reads, valid ones and what can be made of them.

A valid message is changed in zero to four places: numbers become NaN, infinite, denormal, huge or
negative; sequences are emptied, cut, lengthened or filled with random bits; sizes, steps, flags,
encodings and layouts stop fitting their data; strings hold odd characters; stamps and frames are
wrong. Claimed sizes may overflow, real ones stay below GIANT bytes. The same seed makes the same
messages. What a message class itself refuses (ROS_PYTHON_CHECK_FIELDS) cannot arrive either.
"""

from __future__ import annotations

import array
import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool

from karpathy_control.contracts.layout import ENTITY_FIELDS, SCAN_BEAMS, SECTORS
from karpathy_control.contracts.types import (
    CameraModel,
    Command,
    DepthPoints,
    ImuSample,
    Scan,
    State,
)
from karpathy_control.nodes import clouds, convert

GIANT = 4_000_000  # bytes, the most that one field really holds
MANY = 64  # elements of a sequence that are changed at most
RARE = 0.002  # share of sequence changes that make a giant one

_NUMBERS = (float('nan'), float('inf'), float('-inf'), 5e-324, -5e-324, 1e-45, 1e-38, 0.0, -0.0,
            1.0, -1.0, 1e-9, 1e3, -1e3, 1e9, -1e9, 3.4e38, -3.4e38, 1e200, -1e200, 1.7e308)
_INTEGERS = (0, 1, 2, 7, 8, 127, 255, 256, 32767, 65535, 65536, 999_999_999, 1_000_000_000,
             2**31 - 1, 2**31, 2**32 - 1, -1, -2, -128, -2**31)
_STRINGS = ('', ' ', 'rgb8', 'RGB8', 'bgr8', 'mono8', 'rgba8', 'mono16', '32FC1', '16UC1', '64FC1',
            'yuv422', 'plumb_bob', 'equidistant', 'odom', 'base_link', 'map', '/odom', 'odom\n',
            'odom\x00', '../../etc', '%s%n{0}', '${1+1}', '\u202eodom', '\U0001f916', 'x' * 10_000)
_BOUNDS = {'int8': 8, 'int16': 16, 'int32': 32, 'int64': 64}
_SEQUENCE = re.compile(r'sequence<([\w/]+)(?:, \d+)?>$')
_ARRAY = re.compile(r'([\w/]+)\[(\d+)\]$')
_CODES = {'float': 'f', 'double': 'd', 'uint8': 'B', 'int8': 'b'}


# -- valid messages -------------------------------------------------------------------------------


def _floats(rng: random.Random, low: float, high: float, *shape: int) -> Any:
    return np.random.default_rng(rng.getrandbits(32)).uniform(low, high, shape).astype(np.float32)


def _camera(rng: random.Random, stamp: int) -> Any:
    channels, encoding = rng.choice(((3, 'rgb8'), (3, 'bgr8'), (4, 'rgba8'), (1, 'mono8')))
    return convert.image_message(_bytes(rng, 6, 8, channels), stamp, 'camera', encoding)


def _bytes(rng: random.Random, *shape: int) -> Any:
    count = int(np.prod(shape))
    return np.frombuffer(rng.randbytes(count), np.uint8).reshape(shape)


def _depth(rng: random.Random, stamp: int) -> Any:
    metres = _floats(rng, 0.3, 9.0, 6, 8)
    if rng.random() < 0.5:
        return convert.image_message(metres, stamp, 'camera', '32FC1')
    return convert.image_message((metres * 1000.0).astype(np.uint16), stamp, 'camera', '16UC1')


def _camera_info(rng: random.Random, stamp: int) -> Any:
    model = CameraModel(128, 96, 64.0, 64.0, 64.0, 48.0, (rng.uniform(-0.1, 0.1), *4 * (0.0,)))
    return convert.camera_info_message(model, stamp, 'camera')


def _raw_scan(rng: random.Random, stamp: int) -> Any:
    ranges = _floats(rng, 0.3, 9.0, rng.choice((8, 90, 360)))
    return convert.scan_message(ranges, stamp, 'lidar_link', -2.0, 4.0 / (len(ranges) - 1), 0.1,
                                20.0, 0.05)


def _layout_scan(rng: random.Random, stamp: int) -> Any:
    return convert.layout_scan_message(
        Scan(stamp, _floats(rng, 0.3, 9.0, SCAN_BEAMS), 10.0), 'base_link')


def _imu(rng: random.Random, stamp: int) -> Any:
    sample = ImuSample(stamp, (0.0, 0.0, rng.uniform(-1.0, 1.0)), (0.1, 0.0, 9.81))
    return convert.imu_message(sample, 'imu_link')


def _odometry(rng: random.Random, stamp: int) -> Any:
    state = State(stamp, rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), 0.1, 0.1, 0.0)
    return convert.odometry_message(state, 'odom', 'base_link')


def _pose(rng: random.Random, stamp: int) -> Any:
    return convert.pose_message(rng.uniform(-9.0, 9.0), 1.0, stamp,
                                rng.choice(('odom', 'base_link')))


def _path(rng: random.Random, stamp: int) -> Any:
    return convert.path_message(_floats(rng, -5.0, 5.0, 5, 2), stamp, 'odom')


def _points(rng: random.Random, stamp: int) -> Any:
    n = rng.randrange(12)
    kind = np.array([rng.choice((0.0, 1.0)) for _ in range(n)], np.float32)
    return clouds.depth_points_message(
        DepthPoints(stamp, _floats(rng, 0.5, 5.0, n, 3), kind), 'base_link')


def _entities(rng: random.Random, stamp: int) -> Any:
    return clouds.entities_message(_floats(rng, 0.0, 1.0, SECTORS, len(ENTITY_FIELDS)), stamp,
                                    'base_link')


def _stamped(rng: random.Random, stamp: int) -> Any:
    return convert.twist_message(Command(rng.uniform(-0.2, 0.8), rng.uniform(-1.0, 1.0)), stamp,
                                 'base_link', stamped=True)


def _twist(rng: random.Random, stamp: int) -> Any:
    twist = Twist()
    twist.linear.x, twist.angular.z = rng.uniform(-0.2, 0.8), rng.uniform(-1.0, 1.0)
    return twist


# By topic of the interface table; `Twist` is the other type of the commands.
MAKERS: dict[str, Callable[[random.Random, int], Any]] = {
    'camera/image_raw': _camera, 'camera/depth': _depth, 'camera/camera_info': _camera_info,
    'scan': _raw_scan, 'imu': _imu, 'odom': _odometry, 'goal_pose': _pose, 'plan': _path,
    '/clock': lambda rng, stamp: Clock(clock=convert.time_msg(stamp)),
    'control/goal': _pose,
    'observation/image': lambda rng, stamp: convert.image_message(
        _bytes(rng, *convert.IMAGE_SHAPE, 3), stamp, 'base_link', 'rgb8'),
    'observation/depth': lambda rng, stamp: convert.image_message(
        _floats(rng, 0.3, 9.0, *convert.IMAGE_SHAPE), stamp, 'base_link', '32FC1'),
    'observation/imu': lambda rng, stamp: convert.image_message(
        _floats(rng, -1.0, 1.0, *convert.IMU_SHAPE), stamp, 'base_link', '32FC1'),
    'observation/scan': _layout_scan, 'observation/depth_points': _points,
    'observation/state': _odometry, 'observation/goal': _pose, 'observation/plan': _path,
    'perception/entities': _entities, 'perception/scan': _layout_scan,
    'policy/action': _stamped, 'cmd_vel': _stamped, 'cmd_vel_teleop': _stamped,
    'emergency_stop': lambda rng, stamp: Bool(data=rng.random() < 0.5),
    'Twist': _twist,
}


# -- what is made of them -------------------------------------------------------------------------


@cache
def _fields(kind: Any) -> tuple[tuple[str, str], ...]:
    return tuple(kind.get_fields_and_field_types().items())


def _is_message(kind: str) -> bool:
    return '/' in kind


def _leaf(message: Any, rng: random.Random) -> tuple[Any, str, str]:
    """A random field that is no message itself: its owner, name and type."""
    while True:
        name, kind = rng.choice(_fields(message.__class__))
        value = getattr(message, name)
        sequence = _SEQUENCE.match(kind)
        if _is_message(kind) and not sequence:
            message = value
        elif sequence and _is_message(sequence[1]) and len(value) and rng.random() < 0.6:
            message = value[rng.randrange(len(value))]
        else:
            return message, name, kind


def _number(kind: str, value: Any, rng: random.Random) -> Any:
    if kind in ('float', 'double'):
        scale = (-1.0, 0.0, 0.5, 1.001, 2.0, 1e3, 1e6)
        return rng.choice(_NUMBERS) if rng.random() < 0.8 else float(value) * rng.choice(scale)
    if kind == 'boolean':
        return not value
    near = (value - 1, value + 1, 2 * value, -value, value // 2, rng.getrandbits(32))
    bits, signed = _BOUNDS.get(kind), True
    if bits is None:
        bits, signed = int(kind.removeprefix('uint')), False
    low, high = (-2**(bits - 1), 2**(bits - 1) - 1) if signed else (0, 2**bits - 1)
    chosen = rng.choice(near if rng.random() < 0.5 else _INTEGERS)
    return min(max(int(chosen), low), high)


def _changed_sequence(kind: str, value: Any, rng: random.Random) -> Any:
    """A sequence of numbers or messages, changed in length or content."""
    code = _CODES.get(kind)
    items: Any = array.array(code, value) if code else list(value)
    way, n = rng.randrange(6), len(items)
    if rng.random() < RARE and n:
        size = items.itemsize if isinstance(items, array.array) else 100
        return items * (1 + rng.randrange(GIANT // (size * n)))
    if way == 0 or not n:
        return items[:0]
    if way == 1:
        return items[:rng.randrange(n)]
    if way == 2:
        return items + items[:1 + rng.randrange(n)]
    if way == 3 and code is None:
        rng.shuffle(items)
        return items
    if way == 3:
        return array.array(str(code), rng.randbytes(n * items.itemsize))
    if not _is_message(kind):
        for _ in range(1 if way == 4 else min(n, MANY)):
            items[rng.randrange(n)] = _number(kind, items[0], rng)
    return items


def _change(message: Any, rng: random.Random) -> None:
    """Change one field."""
    owner, name, kind = _leaf(message, rng)
    value = getattr(owner, name)
    sequence, fixed = _SEQUENCE.match(kind), _ARRAY.match(kind)
    if sequence:
        setattr(owner, name, _changed_sequence(sequence[1], value, rng))
    elif fixed:
        copy = np.array(value)
        copy[rng.randrange(len(copy))] = _number(fixed[1], 1.0, rng)
        setattr(owner, name, copy)
    elif kind == 'string':
        setattr(owner, name, rng.choice(_STRINGS))
    else:
        setattr(owner, name, _number(kind, value, rng))


def _claim(message: Any, rng: random.Random) -> None:
    """Sizes that do not fit the data, products that overflow 32 bits."""
    pairs = ((2**16, 2**16), (2**32 - 1, 2**32 - 1), (2**31, 2), (8192, 8192), (0, 0), (1, 0))
    if hasattr(message, 'height'):
        message.height, message.width = rng.choice((*pairs, (message.width, message.height)))
        for name in ('step', 'point_step', 'row_step'):
            if hasattr(message, name) and rng.random() < 0.5:
                setattr(message, name, rng.choice((0, 1, message.width & 0xFFFF, 2**32 - 1)))


def _spoil(message: Any, rng: random.Random) -> None:
    """A change that needs several fields to fit each other, or one that chance rarely finds."""
    if hasattr(message, 'header') and rng.random() < 0.3:
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = rng.choice((
            (-1, 0), (-2**31, 2**32 - 1), (2**31 - 1, 0), (0, 0), (stamp.sec, 10**9),
            (max(stamp.sec - 5, 0), stamp.nanosec), (stamp.sec + 5, stamp.nanosec)))
    elif hasattr(message, 'pose') and hasattr(message.pose, 'pose'):
        q = message.pose.pose.orientation
        q.x, q.y, q.z, q.w = rng.choice((4 * (0.0,), 4 * (1e200,), 4 * (5e-324,), 4 * (0.6,)))
    elif hasattr(message, 'fields') and rng.random() < 0.5:
        fields = message.fields
        for field in fields:  # a consistent layout, but of another type
            field.datatype, field.offset = rng.randrange(256), 2 * field.offset
        message.point_step = min(2 * message.point_step, 2**32 - 1)
    elif hasattr(message, 'ranges'):
        message.angle_increment = -message.angle_increment
        message.range_min, message.range_max = message.range_max, message.range_min
    else:
        _claim(message, rng)


class Hostile:
    """A stream of messages, reproducible from its seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def message(self, name: str, stamp: int) -> tuple[Any, bool]:
        """A message for a key of MAKERS, and whether it was left valid. stamp: ns."""
        message = MAKERS[name](self.rng, stamp)
        changes = self.rng.choices((0, 1, 2, 4), (5, 60, 25, 10))[0]
        for _ in range(changes):
            try:
                (_spoil if self.rng.random() < 0.25 else _change)(message, self.rng)
            except (AssertionError, OverflowError):
                continue  # the class refuses the value
        return message, changes == 0

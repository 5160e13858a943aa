"""What can go wrong with a sensor: each fault a pure function from what came to what is passed on.

A fault is called once for each message of its topic and gets the `Past` since it began, newest
last, with its amount. It returns the messages to send now; none of what it was given is changed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan

from karpathy_control.contracts.types import NANOSECONDS
from karpathy_control.nodes.convert import floats, octets, time_msg

RECENT = 512  # messages kept: 5 s of an IMU


@dataclass(frozen=True)
class Past:
    """The messages of one topic since a fault began."""

    first: Any
    recent: Sequence[Any]  # oldest first, the newest last
    count: int  # all of them, the newest included

    @property
    def newest(self) -> Any:
        """The message that came now."""
        return self.recent[-1]

    def then(self, message: Any) -> Past:
        """With one more message."""
        return Past(self.first, (*self.recent[1 - RECENT:], message), self.count + 1)


def begin(message: Any) -> Past:
    """The past when the first message comes."""
    return Past(message, (message,), 1)


def stamp_of(message: Any) -> int:
    """The stamp of a message in ns; of a clock, its time."""
    time = message.clock if isinstance(message, Clock) else message.header.stamp
    return time.sec * NANOSECONDS + time.nanosec


def _restamped(message: Any, stamp: int) -> Any:
    changed = copy.deepcopy(message)
    if isinstance(changed, Clock):
        changed.clock = time_msg(stamp)
    else:
        changed.header.stamp = time_msg(stamp)
    return changed


def silent(past: Past, amount: float) -> list[Any]:
    """Nothing is passed on."""
    return []


def frozen(past: Past, amount: float) -> list[Any]:
    """The first message again and again, each time with the stamp of now."""
    return [_restamped(past.first, stamp_of(past.newest))]


def stuck(past: Past, amount: float) -> list[Any]:
    """The first message again and again, bit by bit, its stamp included."""
    return [past.first]


def late(past: Past, amount: float) -> list[Any]:
    """Each message with its own stamp, `amount` seconds after it came."""
    now = stamp_of(past.newest)
    before = stamp_of(past.recent[-2]) if past.count > 1 else -math.inf
    delay = amount * NANOSECONDS
    return [m for m in past.recent if before - delay < stamp_of(m) <= now - delay]


def early(past: Past, amount: float) -> list[Any]:
    """Stamps lead by `amount` seconds."""
    return [_restamped(past.newest, stamp_of(past.newest) + round(amount * NANOSECONDS))]


def disordered(past: Past, amount: float) -> list[Any]:
    """Every second message is overtaken by the next."""
    return [past.newest, past.recent[-2]] if past.count % 2 == 0 else []


def duplicated(past: Past, amount: float) -> list[Any]:
    """Every message twice."""
    return [past.newest, past.newest]


def jumping(past: Past, amount: float) -> list[Any]:
    """Stamps jump ahead and back by `amount` seconds, message by message."""
    jump = round(amount * NANOSECONDS) * (1 if past.count % 2 else -1)
    return [_restamped(past.newest, max(stamp_of(past.newest) + jump, 0))]


def _filled(message: Any, value: float) -> Any:
    changed = copy.deepcopy(message)
    if isinstance(message, LaserScan):
        changed.ranges = floats(np.full(len(message.ranges), value))
    elif isinstance(message, Image) and message.encoding == '32FC1':
        count = len(message.data) // 4
        changed.data = octets(np.full(count, value, np.float32))
    elif isinstance(message, CameraInfo):
        changed.k[0] = value
    elif isinstance(message, Imu):
        changed.angular_velocity.z = changed.linear_acceleration.x = value
    elif isinstance(message, Odometry):
        changed.pose.pose.position.x = changed.twist.twist.linear.x = value
    else:
        raise _unfit(message, 'scan, 32FC1 image, camera info, IMU or odometry')
    return changed


def nan(past: Past, amount: float) -> list[Any]:
    """Every measured value is NaN."""
    return [_filled(past.newest, math.nan)]


def inf(past: Past, amount: float) -> list[Any]:
    """Every measured value is +Inf."""
    return [_filled(past.newest, math.inf)]


def size(past: Past, amount: float) -> list[Any]:
    """Half of the data is missing, and what describes it does not say so."""
    changed = copy.deepcopy(past.newest)
    if isinstance(changed, LaserScan):
        changed.ranges = changed.ranges[:len(changed.ranges) // 2]
    elif isinstance(changed, Image):
        changed.data = changed.data[:len(changed.data) // 2]
    elif isinstance(changed, CameraInfo):
        changed.width //= 2
    else:
        raise _unfit(changed, 'scan, image or camera info')
    return [changed]


def encoding(past: Past, amount: float) -> list[Any]:
    """An image says that it has an encoding which it has not."""
    if not isinstance(past.newest, Image):
        raise _unfit(past.newest, 'image')
    changed = copy.deepcopy(past.newest)
    changed.encoding = 'yuv422_yuy2'
    return [changed]


def frame(past: Past, amount: float) -> list[Any]:
    """The frame is one that nobody knows."""
    if isinstance(past.newest, Clock):
        raise _unfit(past.newest, 'message with a header')
    changed = copy.deepcopy(past.newest)
    changed.header.frame_id = 'moon'
    return [changed]


def flipped(past: Past, amount: float) -> list[Any]:
    """The beams of a scan in the opposite order: a lidar mounted upside down."""
    if not isinstance(past.newest, LaserScan):
        raise _unfit(past.newest, 'scan')
    changed = copy.deepcopy(past.newest)
    changed.ranges = changed.ranges[::-1]
    return [changed]


def saturated(past: Past, amount: float) -> list[Any]:
    """Every pixel of a colour image is white."""
    if not isinstance(past.newest, Image) or past.newest.encoding == '32FC1':
        raise _unfit(past.newest, 'colour image')
    changed = copy.deepcopy(past.newest)
    changed.data = octets(np.full(len(changed.data), 255, np.uint8))
    return [changed]


def bias(past: Past, amount: float) -> list[Any]:
    """A step: of the odometry pose by `amount` metres, of the gyro by `amount` rad/s."""
    changed = copy.deepcopy(past.newest)
    if isinstance(changed, Odometry):
        changed.pose.pose.position.x += amount
    elif isinstance(changed, Imu):
        changed.angular_velocity.z += amount
    else:
        raise _unfit(changed, 'odometry or IMU')
    return [changed]


def _unfit(message: Any, accepted: str) -> ValueError:
    return ValueError(f'{type(message).__name__} is not accepted by this fault; it takes '
                      + accepted)


Fault = Callable[[Past, float], list[Any]]

FAULTS: dict[str, tuple[Fault, float]] = {  # name -> what it does, its amount by default
    'silent': (silent, 0.0), 'frozen': (frozen, 0.0), 'stuck': (stuck, 0.0),
    'late': (late, 0.4), 'early': (early, 0.4), 'disordered': (disordered, 0.0),
    'duplicated': (duplicated, 0.0), 'jumping': (jumping, 1.0), 'nan': (nan, 0.0),
    'inf': (inf, 0.0), 'size': (size, 0.0), 'encoding': (encoding, 0.0), 'frame': (frame, 0.0),
    'flipped': (flipped, 0.0), 'saturated': (saturated, 0.0), 'bias': (bias, 1.0),
}


def named(name: str) -> tuple[Fault, float]:
    """A fault and its amount by default. KeyError names what there is."""
    if name not in FAULTS:
        raise KeyError(f'fault {name!r} is not known; it takes one of {", ".join(FAULTS)}')
    return FAULTS[name]

"""QoS profiles of the interface table, and its message types, resolved for rclpy."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from karpathy_control.contracts.interfaces import BY_NAME, Qos, Topic

_BEST, _RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
_VOLATILE, _LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL

_PROFILES = {
    Qos.SENSOR: (_BEST, _VOLATILE, 5),
    Qos.LATEST: (_BEST, _VOLATILE, 1),
    Qos.RELIABLE: (_RELIABLE, _VOLATILE, 10),
    Qos.LATCHED: (_RELIABLE, _LATCHED, 1),
}


def profile(qos: Qos) -> QoSProfile:
    """The rclpy profile of one row's QoS. No deadline: a default publisher could not match it."""
    reliability, durability, depth = _PROFILES[qos]
    return QoSProfile(reliability=reliability, durability=durability, depth=depth,
                      history=HistoryPolicy.KEEP_LAST)


def message_type(name: str) -> Any:
    """The class of a type name such as `sensor_msgs/msg/Image` or `std_srvs/srv/Trigger`."""
    package, kind, type_name = name.split('/')
    return getattr(import_module(f'{package}.{kind}'), type_name)


def topic(name: str) -> Topic:
    """The row of the interface table. KeyError names what is in the table."""
    if name not in BY_NAME:
        raise KeyError(f'topic {name!r} is not in the interface table: {", ".join(BY_NAME)}')
    return BY_NAME[name]

"""When each command, mode and wheel speed arrived, in CLOCK_MONOTONIC: the timing of faults."""

from __future__ import annotations

from collections import deque
from typing import Any

from rclpy.node import Node

from karpathy_control.nodes.base import steady
from karpathy_control.nodes.qos import message_type, profile, topic

LENGTH = 4096  # entries of each kind: a minute of commands, which also come with each action


class Recorder:
    """Listens beside an observer and hands out what came since a moment."""

    def __init__(self, node: Node) -> None:
        self._commands: deque[tuple[int, float, float]] = deque(maxlen=LENGTH)
        self._wheels: deque[tuple[int, float]] = deque(maxlen=LENGTH)
        self._states: deque[tuple[int, str, str]] = deque(maxlen=LENGTH)
        for name, callback in (('cmd_vel', self._on_command), ('joint_states', self._on_joints),
                               ('control/state', self._on_state)):
            row = topic(name)
            node.create_subscription(message_type(row.type), name, callback, profile(row.qos))

    def _on_command(self, message: Any) -> None:
        twist = message.twist
        self._commands.append((steady(), twist.linear.x, twist.angular.z))

    def _on_joints(self, message: Any) -> None:
        speeds = [abs(v) for v in message.velocity]
        self._wheels.append((steady(), round(sum(speeds) / max(len(speeds), 1), 3)))

    def _on_state(self, message: Any) -> None:
        reasons = next((i.value for i in message.values if i.key == 'reasons'), '')
        self._states.append((steady(), message.message, reasons))

    def since(self, start: int) -> dict[str, list[list[Any]]]:
        """What was received at or after `start`, ns, oldest first.

        `commands`: at, v m/s, w rad/s; `wheels`: at, mean speed rad/s; `states`: at, mode and
        reasons.
        """
        return {name: [list(entry) for entry in entries if entry[0] >= start] for name, entries in
                (('commands', self._commands), ('wheels', self._wheels),
                 ('states', self._states))}

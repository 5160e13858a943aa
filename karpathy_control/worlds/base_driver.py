"""The base driver: what a real robot does between `cmd_vel` and its wheels."""

from __future__ import annotations

import math

from karpathy_control.contracts.types import Command
from karpathy_control.worlds.robot import RobotDescription


def approach(value: float, target: float, change: float) -> float:
    """Move `value` towards `target` by at most `change`."""
    return value + min(max(target - value, -change), change)


class BaseDriver:
    """Clips and ramps commands to the limits of the base and turns them into wheel speeds."""

    def __init__(self, robot: RobotDescription) -> None:
        self._robot = robot
        self._track = robot.wheel_separation * robot.wheel_separation_multiplier
        self.v = 0.0  # m/s, ramped
        self.w = 0.0  # rad/s, ramped

    def reset(self) -> None:
        """Stand still."""
        self.v = self.w = 0.0

    def update(self, command: Command, dt: float) -> tuple[float, float]:
        """Speed targets of the left and right wheels, rad/s, `dt` seconds later.

        A command that is not finite is taken as a stop.
        """
        robot = self._robot
        v = command.v if math.isfinite(command.v) else 0.0
        w = command.w if math.isfinite(command.w) else 0.0
        v = min(max(v, -robot.max_speed), robot.max_speed)
        w = min(max(w, -robot.max_turn), robot.max_turn)
        braking = self.v * (v - self.v) < 0.0
        rate = robot.max_braking if braking else robot.max_acceleration
        self.v = approach(self.v, v, rate * dt)
        self.w = approach(self.w, w, robot.max_turn_acceleration * dt)
        turn = 0.5 * self.w * self._track
        return (self.v - turn) / robot.wheel_radius, (self.v + turn) / robot.wheel_radius

    def twist(self, left: float, right: float) -> tuple[float, float]:
        """The inverse for measured wheel speeds (rad/s): v (m/s) and w (rad/s) of the base."""
        radius = self._robot.wheel_radius
        return 0.5 * radius * (left + right), radius * (right - left) / self._track

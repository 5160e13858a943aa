"""Parameters of the `base_guard` node."""

from __future__ import annotations

from dataclasses import dataclass

from karpathy_control.contracts.config.core import group, parameter
from karpathy_control.contracts.config.robot import RobotConfig


@dataclass(frozen=True)
class BaseGuardConfig:
    """The command timeout of a base that has none of its own."""

    autostart: bool = parameter(True, 'configure and activate without a manager')
    robot: RobotConfig = group(RobotConfig)
    stamped_cmd_vel: bool = parameter(True, 'TwistStamped in and out; false: Twist')

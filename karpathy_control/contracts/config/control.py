"""Parameters of the `control` node: the gate, its limits and the ageing of every input."""

from __future__ import annotations

import math
from dataclasses import dataclass

from karpathy_control.contracts.config.core import ConfigError, group, parameter
from karpathy_control.contracts.config.robot import DEADLINE, RobotConfig

STOP_TIME = 0.25  # s from a fault to commanded zero; 0.3 at the base, with tick and transport


@dataclass(frozen=True)
class GateConfig:
    """The braking check (parameter group `gate`)."""

    margin: float = parameter(0.04, 'the swept footprint is inflated by this: tracking error and '
                              'scan noise', unit='m', minimum=0.0, maximum=0.5, live=True)
    drift_per_metre: float = parameter(0.01, 'bound on the drift of odometry; what is remembered '
                                       'is inflated by it', unit='m/m', minimum=0.0, maximum=0.2,
                                       live=True)
    drift_per_radian: float = parameter(0.01, 'bound on the drift of heading while turning',
                                        unit='rad/rad', minimum=0.0, maximum=0.2, live=True)
    reaction_time: float = parameter(0.12, 'input age + compute + actuation before a command '
                                     'acts', unit='s', minimum=0.02, maximum=1.0, live=True)
    start_radius: float = parameter(0.36, 'disc about the base origin that is declared free of '
                                    'unknown space', unit='m', minimum=0.0, maximum=2.0)
    obstacle_speed: float = parameter(0.0, 'bound on the approach speed of obstacles', unit='m/s',
                                      minimum=0.0, maximum=5.0, live=True)
    occlusion: bool = parameter(False, 'shadow edges of the scan count as obstacles that may '
                                'come out at obstacle_speed', live=True)
    least_width: float = parameter(0.04, 'least width of an obstacle; the stopping distance is '
                                   'capped to where neighbouring beams still both meet it',
                                   unit='m', minimum=0.001, maximum=1.0, live=True)
    speed_steps: int = parameter(9, 'candidate speeds', minimum=3, maximum=41)
    turn_steps: int = parameter(17, 'candidate turning rates', minimum=3, maximum=81)
    camera_only_speed: float = parameter(0.4, 'speed limit while the lidar is lost', unit='m/s',
                                         minimum=0.05, maximum=2.0, live=True)
    memory_time: float = parameter(20.0, 'an obstacle or free cell not seen again is forgotten '
                                   'after this', unit='s', minimum=0.1, maximum=600.0)


@dataclass(frozen=True)
class AgeConfig:
    """An input older than this is lost (parameter group `max_age`)."""

    scan: float = parameter(0.25, 'raw lidar scan', unit='s', minimum=0.02, maximum=2.0, live=True)
    camera: float = parameter(0.25, 'depth points or camera scan', unit='s', minimum=0.02,
                              maximum=2.0, live=True)
    odom: float = parameter(0.15, 'raw odometry', unit='s', minimum=0.02, maximum=2.0, live=True)
    imu: float = parameter(0.25, 'raw IMU', unit='s', minimum=0.02, maximum=2.0, live=True)
    action: float = parameter(0.2, 'policy action', unit='s', minimum=0.02, maximum=2.0, live=True)
    teleop: float = parameter(0.25, 'teleop command', unit='s', minimum=0.02, maximum=2.0,
                              live=True)
    clock: float = parameter(0.2, 'silence of /clock (steady)', unit='s', minimum=0.05,
                             maximum=2.0, live=True)


@dataclass(frozen=True)
class GoalConfig:
    """When a goal counts as reached or blocked (parameter group `goal`)."""

    tolerance: float = parameter(0.3, 'distance at which a goal is reached', unit='m',
                                 minimum=0.05, maximum=2.0, live=True)
    blocked_time: float = parameter(10.0, 'no progress for this long: goal_blocked', unit='s',
                                    minimum=1.0, maximum=300.0, live=True)
    progress: float = parameter(0.2, 'motion of the robot that counts as progress', unit='m',
                                minimum=0.01, maximum=5.0, live=True)
    timeout: float = parameter(600.0, 'a goal given by the action is given up after this; 0: '
                               'never', unit='s', minimum=0.0, maximum=86400.0, live=True)
    action: str = parameter('navigate_to_pose', 'name of the NavigateToPose server, where '
                            'nav2_msgs is installed; empty: none')


@dataclass(frozen=True)
class AuditConfig:
    """The log of every decision (parameter group `audit`)."""

    folder: str = parameter('audit', 'where the log is kept, in the folder of ROS logs unless '
                            'absolute; empty: none')
    size: int = parameter(16, 'a file is rotated at this size', unit='MB', minimum=1,
                          maximum=1024)
    files: int = parameter(8, 'files kept, the present one included', minimum=2, maximum=1000)
    required: bool = parameter(False, 'stop when a decision cannot be written; otherwise warn',
                               live=True)


@dataclass(frozen=True)
class ControlConfig:
    """Fusion, gate, supervision."""

    autostart: bool = parameter(True, 'configure and activate without a manager')
    robot: RobotConfig = group(RobotConfig)
    gate: GateConfig = group(GateConfig)
    max_age: AgeConfig = group(AgeConfig)
    goal: GoalConfig = group(GoalConfig)
    audit: AuditConfig = group(AuditConfig)
    rules: str = parameter('', 'YAML file of zones and rules over entities: a name in config or '
                           'a path; empty: none')
    require_imu: bool = parameter(False, 'stop when the IMU is lost; otherwise only warn')
    watch_lidar: bool = parameter(True, 'take a lidar for lost that sends the same scan again '
                                  'while odometry says that it should have changed, or one that '
                                  'contradicts the scans before it', live=True)
    turn_disagreement: float = parameter(0.4, 'stop where the turning rates of odometry and IMU '
                                         'differ by more than this and a third of the larger; '
                                         '0: never', unit='rad/s', minimum=0.0, maximum=5.0,
                                         live=True)
    stamped_cmd_vel: bool = parameter(True, 'publish TwistStamped; false: Twist')
    future_tolerance: float = parameter(0.1, 'a stamp may lead now by this much', unit='s',
                                        minimum=0.0, maximum=1.0, live=True)
    odom_jump: float = parameter(0.5, 'a jump of the odometry pose by more than this beyond what '
                                 'its twist explains drops the memory and stops', unit='m',
                                 minimum=0.05, maximum=5.0, live=True)

    def validate(self) -> None:
        """Check the start disc against the corners of the robot, and ages against the gate."""
        corner = self.robot.circumscribed_radius
        if self.gate.start_radius < corner:
            raise ConfigError(f'gate.start_radius: {self.gate.start_radius:g} m ends inside the '
                              f'footprint, whose farthest corner is {corner:.4f} m away; it takes '
                              f'at least {math.ceil(100.0 * corner) / 100.0:g}')
        self._validate_ages()

    def _validate_ages(self) -> None:
        """A scan must live from one to the next; and how far the robot goes blind is bounded.

        A sensor that falls silent is found when its last message is as old as `max_age` allows.
        Up to STOP_TIME that is what is promised of every fault. Beyond, the robot goes on by what
        it knows, and the gate keeps room for `reaction_time` and `fault_budget` of it; what is
        left must be less than `margin`, which it keeps from everything.
        """
        robot, gate = self.robot, self.gate
        if self.max_age.scan < 1.0 / robot.scan_rate:
            raise ConfigError(f'max_age.scan: {self.max_age.scan:g} s is less than the '
                              f'{1.0 / robot.scan_rate:g} s between two scans of robot.scan_rate '
                              f'{robot.scan_rate:g} Hz: the lidar would be lost between them; it '
                              f'takes at least {DEADLINE / robot.scan_rate:g}')
        kept = max(STOP_TIME, gate.reaction_time + robot.fault_budget)
        speed = robot.max_speed + robot.max_turn * robot.circumscribed_radius
        for name, age in (('scan', self.max_age.scan + robot.scan_lag),
                          ('odom', self.max_age.odom)):
            blind = age - kept
            if blind * speed > gate.margin:
                raise ConfigError(
                    f'max_age.{name}: what it tells may be {age:g} s old, the gate keeps room for '
                    f'{kept:g} s (gate.reaction_time and robot.fault_budget), and in the rest the '
                    f'robot gets {blind * speed:.3f} m at {speed:.2f} m/s (robot.max_speed and '
                    f'robot.max_turn at its farthest corner), more than gate.margin '
                    f'{gate.margin:g} m; it takes robot.fault_budget of at least '
                    f'{math.ceil(100.0 * (age - gate.reaction_time)) / 100.0:g}, or '
                    f'{math.floor(100.0 * gate.margin / blind) / 100.0:g} m/s of both speeds '
                    'together')

"""What follows from the rates of a robot's sensors: how often things come, how old they may be."""

from __future__ import annotations

import math

from karpathy_control.contracts.config.control import AgeConfig, GateConfig
from karpathy_control.contracts.config.core import Value
from karpathy_control.contracts.config.policy import PolicyConfig
from karpathy_control.contracts.config.robot import DEADLINE, RobotConfig
from karpathy_control.contracts.config.sensor import SensorConfig
from karpathy_control.contracts.interfaces import BY_NAME

_TABLE = RobotConfig()  # its rates are those of the interface table
# What a camera alone makes.
_OF_CAMERA = ('observation/image', 'observation/depth', 'observation/depth_points',
              'perception/scan', 'perception/overlay')
# Groups of parameters of `sim` that say what its sensors are like.
SENSORS_OF_SIM = ('lidar.', 'camera.', 'imu.', 'odometry.')
_SPARE = 0.01  # m of the start disc beyond footprint and margin


def rate_of(topic: str, robot: RobotConfig) -> float:
    """Nominal rate of a topic of the interface table on a robot, Hz; 0: on change, or never.

    Its sensors come as it says; what follows the sets of observations, at their pace.
    """
    own = {'scan': robot.scan_rate, 'odom': robot.odom_rate, 'joint_states': robot.odom_rate,
           'imu': robot.imu_rate}
    if topic in own or topic in _OF_CAMERA or topic.startswith('camera/'):
        return own.get(topic, robot.camera_rate)
    row = BY_NAME[topic]
    paced = row.writer in ('sensor', 'perception', 'policy') and row.rate == _TABLE.pace
    return robot.pace if paced else row.rate


def _up(metres: float) -> float:
    """To the next centimetre."""
    return math.ceil(round(100.0 * metres, 6)) / 100.0


def _switched(sensor: str, rate: float) -> dict[str, Value]:
    return {f'{sensor}.rate': rate} if rate else {f'{sensor}.enabled': False}


def is_of_profile(node: str, name: str) -> bool:
    """Whether the robot's profile decides a parameter where nobody says otherwise."""
    return (name.startswith('robot.') or name in ('stamped_cmd_vel', 'robot_xacro')
            or name in following(_TABLE).get(node, {})
            or (node == 'sim' and name.startswith(SENSORS_OF_SIM)))


def following(robot: RobotConfig) -> dict[str, dict[str, Value]]:
    """Parameters that follow from a robot, by node and name; a parameter file may say otherwise.

    An input is lost after DEADLINE of its periods, and never sooner than by default; a scan that
    is stamped with its begin is a period old when it comes, and so is what it leads. What the
    gate reacts to is older by the period of the odometry. Plans take as long as by default.
    """
    def age(least: float, rate: float) -> float:
        return max(least, round(DEADLINE / rate, 4)) if rate else least

    scan = DEADLINE / (DEADLINE + (robot.scan_stamp == 'begin')) * robot.scan_rate
    slower = min(robot.camera_rate or scan, scan)  # the scan leads while the camera is lost
    paced = robot.pace / _TABLE.pace
    corner = robot.circumscribed_radius
    disc = min(GateConfig.start_radius, _up(corner + GateConfig.margin + _SPARE))
    reaction = GateConfig.reaction_time + max(0.0, 1.0 / robot.odom_rate - 1.0 / _TABLE.odom_rate)
    return {
        'control': {
            'max_age.scan': age(AgeConfig.scan, scan),
            'max_age.camera': age(AgeConfig.camera, slower),
            'max_age.odom': age(AgeConfig.odom, robot.odom_rate),
            'max_age.imu': age(AgeConfig.imu, robot.imu_rate),
            'max_age.action': age(AgeConfig.action, slower),
            'gate.reaction_time': round(reaction, 4),
            'gate.start_radius': max(disc, _up(corner)),
        },
        'sensor': {
            'camera_period': (round(1.0 / robot.camera_rate, 4) if robot.camera_rate
                              else SensorConfig.camera_period),
            'scan_max_age': age(SensorConfig.scan_max_age, robot.scan_rate),
            'odom_max_gap': age(SensorConfig.odom_max_gap, robot.odom_rate),
        },
        'sim': {
            'lidar.rate': robot.scan_rate, 'odometry.rate': robot.odom_rate,
            **_switched('camera', robot.camera_rate), **_switched('imu', robot.imu_rate),
        },
        'policy': {
            'replan_every': max(1, round(PolicyConfig.replan_every * paced)),
            'replan_delay': max(1, round(PolicyConfig.replan_delay * paced)),
        },
    }

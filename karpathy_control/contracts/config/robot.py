"""What every node must know of the robot: shape, limits, frames and where its sensors sit.

The plan fills `footprint` and the sensor poses from the robot's xacro; a profile without a
description states them itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from karpathy_control.contracts.config.core import ConfigError, parameter
from karpathy_control.contracts.geometry import convex_hull

DEADLINE = 2.5  # nominal periods after which a message has missed its deadline
CONVEX = 1e-3  # share by which the area of a convex polygon may differ from its hull's: rounding


@dataclass(frozen=True)
class RobotConfig:
    """Shape, limits and frames of one robot (parameter group `robot`)."""

    footprint: list[float] = parameter(
        [0.229, 0.208, -0.229, 0.208, -0.229, -0.208, 0.229, -0.208],
        'convex footprint in base, x y pairs counter-clockwise', unit='m')
    height: float = parameter(0.5, 'what is lower than this and above `ground_clearance` is an '
                              'obstacle', unit='m', minimum=0.05, maximum=3.0)
    ground_clearance: float = parameter(0.04, 'what is lower than this is ground',
                                        unit='m', minimum=0.0, maximum=0.5)
    max_speed: float = parameter(1.2, 'forward speed limit', unit='m/s', minimum=0.05,
                                 maximum=4.0, live=True)
    max_reverse: float = parameter(0.3, 'reverse speed limit', unit='m/s', minimum=0.0,
                                   maximum=2.0, live=True)
    max_turn: float = parameter(2.0, 'turning rate limit', unit='rad/s', minimum=0.1,
                                maximum=6.0, live=True)
    acceleration: float = parameter(2.0, 'forward acceleration limit', unit='m/s^2',
                                    minimum=0.1, maximum=20.0)
    deceleration: float = parameter(2.5, 'braking that the base reaches for certain (measured)',
                                    unit='m/s^2', minimum=0.1, maximum=20.0)
    creep: float = parameter(0.0, 'how much later than its wheels the base follows: tyres creep. '
                             'It stops so much later, and at v it is v times this behind what '
                             'odometry says (measured: karpathy-control calibrate, measure)',
                             unit='s', minimum=0.0, maximum=0.2)
    turn_acceleration: float = parameter(6.0, 'turning acceleration limit', unit='rad/s^2',
                                         minimum=0.1, maximum=25.0)
    jerk: float = parameter(20.0, 'limit on the change of acceleration; never delays braking',
                            unit='m/s^3', minimum=1.0, maximum=500.0)
    max_lateral_acceleration: float = parameter(4.0, 'bound on v * w: tip-over and slip',
                                                unit='m/s^2', minimum=0.1, maximum=20.0)
    max_curvature: float = parameter(0.0, 'bound on |w / v| of a base that cannot turn in place; '
                                     '0: none', unit='1/m', minimum=0.0, maximum=100.0)
    command_timeout: float = parameter(0.25, 'the base stops when cmd_vel is silent this long; '
                                       'a base without one needs the base guard', unit='s',
                                       minimum=0.02, maximum=0.3)
    fault_budget: float = parameter(0.0, 'time in which a fault is found (base watchdog, hung '
                                    'process, frozen sensor), added to gate.reaction_time: buys '
                                    'the distance back with lower speed near obstacles', unit='s',
                                    minimum=0.0, maximum=1.0, live=True)
    lidar_pose: list[float] = parameter([0.055, 0.0, 0.305, 0.0, 0.0, 0.0],
                                        'x y z roll pitch yaw of the lidar in base')
    camera_pose: list[float] = parameter(
        [0.19, 0.0, 0.28, 0.0, 0.15, 0.0],
        'x y z roll pitch yaw in base of the camera body (x forward, not optical)')
    imu_pose: list[float] = parameter([0.0, 0.0, 0.06, 0.0, 0.0, 0.0],
                                      'x y z roll pitch yaw of the IMU in base')
    scan_rate: float = parameter(20.0, 'scans per second; ages and pace follow it', unit='Hz',
                                 minimum=1.0, maximum=100.0)
    camera_rate: float = parameter(20.0, 'images per second; 0: the robot has no camera',
                                   unit='Hz', minimum=0.0, maximum=100.0)
    odom_rate: float = parameter(50.0, 'odometry messages per second', unit='Hz', minimum=5.0,
                                 maximum=500.0)
    imu_rate: float = parameter(100.0, 'inertial samples per second; 0: the robot has no IMU',
                                unit='Hz', minimum=0.0, maximum=1000.0)
    scan_order: str = parameter('forward', 'in which order the beams of a message were measured, '
                                'where it says a time between them: first to last, last to first, '
                                'or nobody knows and the sweep is not corrected',
                                choices=('forward', 'backward', 'unknown'))
    scan_stamp: str = parameter('begin', 'what the stamp of a scan is the time of: its begin '
                                '(first beam measured) or its end', choices=('begin', 'end'))
    scan_zero: str = parameter('too_close', 'what a range of exactly 0 says: something too close '
                               'to measure, or nothing', choices=('too_close', 'nothing'))
    odom_frame: str = parameter('odom', 'continuous world frame (REP-105)')
    base_frame: str = parameter('base_link', 'robot frame (REP-105)')

    def validate(self) -> None:
        """Check what no single range can: polygon and poses."""
        if len(self.footprint) < 6 or len(self.footprint) % 2:
            raise ConfigError(f'robot.footprint: {len(self.footprint)} numbers; it takes x y '
                              'pairs of at least three corners')
        x, y = self.polygon.T
        area = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
        if area <= 1e-4:
            raise ConfigError(f'robot.footprint: signed area {area:.4f} m^2; it takes corners '
                              'counter-clockwise that span an area')
        # What lies in a notch would count as robot: the gate checks the hull (control.footprint).
        hull = convex_hull(self.polygon)
        outside = np.roll(hull, -1, axis=0)
        hull_area = 0.5 * float(np.sum(hull[:, 0] * outside[:, 1] - outside[:, 0] * hull[:, 1]))
        if abs(hull_area - area) > CONVEX * hull_area:
            raise ConfigError(f'robot.footprint: not convex: it has {area:.4f} m^2, its hull '
                              f'{hull_area:.4f}; it takes the hull, '
                              f'{[round(float(v), 4) for v in hull.ravel()]}')
        for name in ('lidar_pose', 'camera_pose', 'imu_pose'):
            if len(getattr(self, name)) != 6:
                raise ConfigError(f'robot.{name}: {len(getattr(self, name))} numbers; it takes '
                                  '6: x y z roll pitch yaw')

    @property
    def pace(self) -> float:
        """Sets of observations per second: the camera leads, the scan where there is none; Hz."""
        return self.camera_rate or self.scan_rate

    @property
    def scan_lag(self) -> float:
        """How much older than its stamp the oldest beam of a scan may be, s."""
        return 1.0 / self.scan_rate if self.scan_stamp == 'end' else 0.0

    @property
    def polygon(self) -> np.ndarray:
        """The footprint as an array. Shape: (n, 2) m in base, counter-clockwise."""
        return np.asarray(self.footprint, dtype=np.float64).reshape(-1, 2)

    @property
    def inscribed_radius(self) -> float:
        """Radius of the largest disc about the base origin inside the footprint, m."""
        p = self.polygon
        q = np.roll(p, -1, axis=0)
        edge = q - p
        normal = np.stack((edge[:, 1], -edge[:, 0]), 1) / np.linalg.norm(edge, axis=1)[:, None]
        return float(np.min(np.sum(normal * p, axis=1)))

    @property
    def circumscribed_radius(self) -> float:
        """Radius of the smallest disc about the base origin round the footprint, m."""
        return float(np.max(np.linalg.norm(self.polygon, axis=1)))

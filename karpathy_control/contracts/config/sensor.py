"""Parameters of the `sensor` node."""

from __future__ import annotations

from dataclasses import dataclass

from karpathy_control.contracts.config.core import group, parameter
from karpathy_control.contracts.config.robot import RobotConfig


@dataclass(frozen=True)
class SensorConfig:
    """Ageing, alignment and resampling of raw sensor data."""

    autostart: bool = parameter(True, 'configure and activate without a manager')
    robot: RobotConfig = group(RobotConfig)
    camera_period: float = parameter(0.05, 'nominal camera period; twice this without an image '
                                     'and the scan becomes the reference', unit='s',
                                     minimum=0.01, maximum=1.0)
    scan_max_age: float = parameter(0.15, 'a scan older than this at the reference stamp is left '
                                    'out', unit='s', minimum=0.02, maximum=1.0, live=True)
    depth_max_age: float = parameter(0.03, 'a depth image whose stamp differs more from the '
                                     'colour image is left out', unit='s', minimum=0.0,
                                     maximum=0.5, live=True)
    align_wait: float = parameter(0.005, 'longest wait for odometry at or after the reference '
                                  'stamp; then extrapolate', unit='s', minimum=0.0, maximum=0.1,
                                  live=True)
    odom_max_gap: float = parameter(0.2, 'odometry older than this at the reference stamp drops '
                                    'the set', unit='s', minimum=0.02, maximum=1.0, live=True)
    future_tolerance: float = parameter(0.1, 'a stamp may lead now by this much', unit='s',
                                        minimum=0.0, maximum=1.0, live=True)
    plan_max_age: float = parameter(5.0, 'a plan of somebody else that is older than this, by its '
                                    'stamp, is left out; 0: never', unit='s', minimum=0.0,
                                    maximum=3600.0, live=True)
    find_frozen: bool = parameter(True, 'leave a camera out that sends the same frame again while '
                                  'odometry says that it should have changed', live=True)

"""Parameters of the `sim` node: the embedded MuJoCo world."""

from __future__ import annotations

from dataclasses import dataclass

from karpathy_control.contracts.config.core import ConfigError, group, parameter
from karpathy_control.contracts.config.robot import RobotConfig

FAMILIES = ('mixed', 'cylinders', 'corridor', 'rooms', 'open', 'low', 'moving', 'field', 'swarm',
            'people')
MAX_ROBOTS = 5  # in one world: MuJoCo tells the rays of one from the bodies of the others by group


def robot_names(text: str) -> tuple[str, ...]:
    """The robots of `a,b`; none for an empty text. ConfigError names what is not accepted."""
    names = tuple(name.strip() for name in text.split(',')) if text.strip() else ()
    odd = [name for name in names if not (name.isascii() and name.isidentifier())
           or name.startswith('_') or '__' in name]
    if odd or len(set(names)) < len(names) or len(names) > MAX_ROBOTS:
        raise ConfigError(f'robots: {text!r} is not accepted; it takes up to {MAX_ROBOTS} '
                          'different names of letters, digits and single underscores that begin '
                          'with a letter, joined by commas')
    return names


@dataclass(frozen=True)
class LidarConfig:
    """Simulated planar lidar (parameter group `lidar`)."""

    enabled: bool = parameter(True, 'publish scan', live=True)
    beams: int = parameter(720, 'rays per scan', minimum=8, maximum=4096)
    fov: float = parameter(4.71239, 'field of view, centred on forward', unit='rad', minimum=0.1,
                           maximum=6.2831854)
    rate: float = parameter(20.0, 'scans per second', unit='Hz', minimum=1.0, maximum=100.0)
    range_min: float = parameter(0.1, 'nearer is -Inf', unit='m', minimum=0.0, maximum=1.0)
    range_max: float = parameter(20.0, 'farther is +Inf', unit='m', minimum=0.5, maximum=100.0)
    noise: float = parameter(0.01, 'standard deviation of a range', unit='m', minimum=0.0,
                             maximum=0.5)
    sweep: bool = parameter(False, 'beams are measured one after the other over a period, in the '
                            'order and with the stamp of `robot.scan_order` and '
                            '`robot.scan_stamp`; false: all at once')
    no_return: str = parameter('free', 'what a beam without return gives: +Inf (free), or NaN '
                               '(unknown), as drivers do that leave it out',
                               choices=('free', 'unknown'))


@dataclass(frozen=True)
class CameraConfig:
    """Simulated RGB-D camera (parameter group `camera`)."""

    enabled: bool = parameter(True, 'publish camera/image_raw and camera/camera_info', live=True)
    depth: bool = parameter(True, 'publish camera/depth too', live=True)
    width: int = parameter(128, 'image width', unit='px', minimum=16, maximum=1280)
    height: int = parameter(96, 'image height', unit='px', minimum=12, maximum=960)
    hfov: float = parameter(1.5707963, 'horizontal field of view', unit='rad', minimum=0.3,
                            maximum=2.6)
    rate: float = parameter(20.0, 'frames per second', unit='Hz', minimum=1.0, maximum=100.0)
    depth_noise: float = parameter(0.002, 'depth noise at 1 m, grows with the square of depth',
                                   unit='m', minimum=0.0, maximum=0.1)


@dataclass(frozen=True)
class InertialConfig:
    """Simulated IMU (parameter group `imu`)."""

    enabled: bool = parameter(True, 'publish imu', live=True)
    rate: float = parameter(100.0, 'samples per second', unit='Hz', minimum=10.0, maximum=400.0)
    gyro_noise: float = parameter(0.005, 'standard deviation', unit='rad/s', minimum=0.0,
                                  maximum=1.0)
    gyro_bias: float = parameter(0.003, 'standard deviation of the constant bias', unit='rad/s',
                                 minimum=0.0, maximum=0.5)
    accel_noise: float = parameter(0.05, 'standard deviation', unit='m/s^2', minimum=0.0,
                                   maximum=5.0)
    accel_bias: float = parameter(0.02, 'standard deviation of the constant bias', unit='m/s^2',
                                  minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class OdometryConfig:
    """Simulated odometry of wheels and gyro (parameter group `odometry`)."""

    enabled: bool = parameter(True, 'publish odom', live=True)
    rate: float = parameter(50.0, 'messages per second', unit='Hz', minimum=5.0, maximum=200.0)
    drift_per_metre: float = parameter(0.004, 'standard deviation of scale error', minimum=0.0,
                                       maximum=0.2)
    drift_per_radian: float = parameter(0.002, 'standard deviation of turning scale error',
                                        minimum=0.0, maximum=0.2)


@dataclass(frozen=True)
class SimConfig:
    """World, robot and sensors of the embedded simulator."""

    autostart: bool = parameter(True, 'configure and activate without a manager')
    robot: RobotConfig = group(RobotConfig)
    robot_xacro: str = parameter('jackal.urdf.xacro', 'robot description: a name in the '
                                 'installed description folder or a path')
    world: str = parameter('mixed', 'world family', choices=FAMILIES)
    seed: int = parameter(0, 'seed of world, noise and drift', minimum=0, maximum=2**31 - 1)
    robots: str = parameter('', 'names of several robots in one world, joined by commas: each has '
                            'its topics below its name and its frames after it (a/scan, a/odom); '
                            'empty: one robot, neither')
    rate_factor: float = parameter(1.0, 'simulated seconds per second; 0 is as fast as it goes',
                                   minimum=0.0, maximum=100.0, live=True)
    physics_step: float = parameter(0.0025, 'MuJoCo time step', unit='s', minimum=0.0005,
                                    maximum=0.005)
    stamped_cmd_vel: bool = parameter(True, 'expect TwistStamped; false: Twist')
    lidar: LidarConfig = group(LidarConfig)
    camera: CameraConfig = group(CameraConfig)
    imu: InertialConfig = group(InertialConfig)
    odometry: OdometryConfig = group(OdometryConfig)

    def validate(self) -> None:
        """Check the names of the robots."""
        robot_names(self.robots)

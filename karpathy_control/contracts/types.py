"""Frozen data that flows between the rooms, each field with its shape, unit and frame.

Stamps are integer nanoseconds on the node clock. Lengths are metres, angles radians
counter-clockwise (REP-103), speeds m/s and rad/s. `base` is the robot frame (x forward, y left),
`odom` the continuous world frame of REP-105. Arrays are C-contiguous and must not be written to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Pose2:
    """A pose in the plane."""

    x: float = 0.0  # m
    y: float = 0.0  # m
    yaw: float = 0.0  # rad


@dataclass(frozen=True)
class Pose3:
    """A mounting pose: position and the rotation matrix from the sensor frame to its parent."""

    position: NDArray[np.float64]  # (3,) m
    rotation: NDArray[np.float64]  # (3, 3), parent <- sensor


@dataclass(frozen=True)
class RawScan:
    """A planar scan as the driver gave it; REP-117: -Inf too close, NaN invalid, +Inf nothing."""

    stamp: int
    angle_min: float  # rad, of ranges[0], in the sensor frame
    angle_increment: float  # rad, may be negative
    range_min: float  # m
    range_max: float  # m
    ranges: FloatArray  # (n,) m
    frame_id: str = 'lidar_link'
    time_increment: float = 0.0  # s from beam to beam; 0: all at once


@dataclass(frozen=True)
class Scan:
    """A scan in the observation layout: fixed bearings about the origin of `base`.

    ranges[i] is measured at bearing -pi + (i + 0.5) * 2 pi / n. A finite value is the nearest
    surface, +Inf means free up to `range_max`, NaN means that nobody looked there.
    """

    stamp: int
    ranges: FloatArray  # (SCAN_BEAMS,) m
    range_max: float  # m


@dataclass(frozen=True)
class CameraModel:
    """A pinhole with Brown-Conrady distortion (ROS `plumb_bob`: k1 k2 p1 p2 k3)."""

    width: int  # px
    height: int  # px
    fx: float  # px
    fy: float  # px
    cx: float  # px
    cy: float  # px
    distortion: tuple[float, ...] = ()


@dataclass(frozen=True)
class RawImage:
    """A colour image, rgb8."""

    stamp: int
    pixels: ByteArray  # (height, width, 3)
    frame_id: str = 'camera_optical_frame'


@dataclass(frozen=True)
class RawDepth:
    """A depth image in metres (REP-118): NaN invalid, +Inf beyond range."""

    stamp: int
    metres: FloatArray  # (height, width)
    frame_id: str = 'camera_optical_frame'


@dataclass(frozen=True)
class ImuSample:
    """One inertial sample in the IMU frame, already rotated to `base`."""

    stamp: int
    angular_velocity: tuple[float, float, float]  # rad/s
    linear_acceleration: tuple[float, float, float]  # m/s^2, gravity included


@dataclass(frozen=True)
class State:
    """The physical state s: pose in odom and velocity in base."""

    stamp: int
    x: float  # m, odom
    y: float  # m, odom
    yaw: float  # rad, odom
    v: float  # m/s, forward
    w: float  # rad/s, counter-clockwise
    extrapolated: bool = False  # True where no odometry at or after the stamp had arrived in time

    @property
    def pose(self) -> Pose2:
        """The pose in odom."""
        return Pose2(self.x, self.y, self.yaw)


@dataclass(frozen=True)
class DepthPoints:
    """Height-filtered depth in `base`: what a camera, without any network, says of the way.

    `kind` is OBSTACLE for a surface within the height band of the robot and FREE for the far end
    of a ray along which the ground was seen (or nothing was hit); a FREE ray runs in plan view
    from the camera's origin to the point.
    """

    OBSTACLE = 0.0
    FREE = 1.0

    stamp: int
    xyz: FloatArray  # (n, 3) m, base
    kind: FloatArray  # (n,) OBSTACLE or FREE
    origin: tuple[float, float] = (0.0, 0.0)  # m, base: plan position of the camera


@dataclass(frozen=True)
class Observation:
    """One complete, time-aligned set: everything is valid at `stamp`; absent parts are None."""

    stamp: int
    state: State
    scan: Scan | None = None
    image: ByteArray | None = None  # (IMAGE_HEIGHT, IMAGE_WIDTH, 3) rgb8, virtual pinhole
    depth: FloatArray | None = None  # (IMAGE_HEIGHT, IMAGE_WIDTH) m, same pinhole
    depth_points: DepthPoints | None = None
    imu: FloatArray | None = None  # (IMU_SAMPLES, 6): wx wy wz ax ay az, oldest first, base
    goal: tuple[float, float] | None = None  # m, base
    plan: FloatArray | None = None  # (n, 2) m, odom


@dataclass(frozen=True)
class Entities:
    """x = Encoder(sensors): one row per angular sector, decoded, and their relations R(x)."""

    stamp: int
    table: FloatArray  # (SECTORS, len(ENTITY_FIELDS)), see contracts.layout
    relations: FloatArray  # (SECTORS, SECTORS) attention of entity i to entity j, rows sum to 1
    camera_scan: Scan | None = None  # what the camera says; NaN outside its view
    extras: dict[str, float] = field(default_factory=dict)  # named scores for /diagnostics
    unsure: bool = False  # the observation is unlike what the encoder was trained on


@dataclass(frozen=True)
class Command:
    """A velocity command in base."""

    v: float = 0.0  # m/s
    w: float = 0.0  # rad/s


@dataclass(frozen=True)
class Action:
    """a = pi(x, s): what the policy proposes, with the stamp of the observation it came from."""

    stamp: int
    command: Command
    value: float = float('nan')  # the critic's estimate, for diagnostics
    path: FloatArray | None = None  # (n, 2) m, odom: where the policy means to go

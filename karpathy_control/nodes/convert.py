"""ROS messages to contract types and back: fields are read or filled here and in clouds.py alone.

Reading refuses what is malformed with InvalidMessage, which names the value and what is
accepted, and raises nothing else whatever the message holds. What is read is bounded: numbers
that no sensor of a ground robot gives are refused, so that no later arithmetic overflows.
`array.array` is the one form of bulk data that rclpy takes without a per-element check.
"""

from __future__ import annotations

import array
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan
from std_msgs.msg import Header

from karpathy_control.contracts.geometry import yaw_of_quaternion
from karpathy_control.contracts.layout import (
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    IMU_SAMPLES,
    SCAN_BEAMS,
)
from karpathy_control.contracts.types import (
    NANOSECONDS,
    Action,
    CameraModel,
    Command,
    ImuSample,
    RawDepth,
    RawImage,
    RawScan,
    Scan,
    State,
)

MAX_BEAMS = 100_000
MAX_SIDE = 8192  # px
MAX_PIXELS = 1 << 24  # of one image: 48 MB as rgb8
MAX_FOCAL = 1e6  # px
MAX_DISTORTION = 1e3  # of one coefficient
DISTORTIONS = (0, 4, 5)  # numbers of coefficients of plumb_bob
MAX_POSES = 10_000  # of a path
MAX_RANGE = 1e4  # m, of a lidar
MAX_SWEEP = 1.0  # s, of a scan
MAX_COORDINATE = 1e6  # m: float32 still tells 6 cm apart there
MAX_SPEED = 50.0  # m/s or rad/s: beyond this it is not a ground robot
MAX_GYRO = 200.0  # rad/s
MAX_ACCELERATION = 5e3  # m/s^2, 500 g
IMAGE_SHAPE = (IMAGE_HEIGHT, IMAGE_WIDTH)
IMU_SHAPE = (IMU_SAMPLES, 6)

ANSWERS = 'answers'  # key of `control/state`, see `answers_text`

_CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
_DEPTH = {'32FC1': (np.float32, 4), '16UC1': (np.uint16, 2)}
_DISTORTION = ('', 'plumb_bob')


class InvalidMessage(ValueError):  # noqa: N818 - it is the message that is invalid
    """A message that fails its checks; the text names the value and what is accepted."""


def time_ns(time: Time) -> int:
    """A time message in ns."""
    if time.sec < 0 or time.nanosec >= NANOSECONDS:
        raise InvalidMessage(f'stamp of {time.sec} s and {time.nanosec} ns; it takes 0 s or more '
                             f'and less than {NANOSECONDS} ns')
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def stamp_ns(header: Header) -> int:
    """Stamp of a header in ns."""
    return time_ns(header.stamp)


def time_msg(stamp: int) -> Time:
    """A time message from ns."""
    return Time(sec=int(stamp // NANOSECONDS), nanosec=int(stamp % NANOSECONDS))


def header(stamp: int, frame: str) -> Header:
    """A header from a stamp in ns and a frame."""
    return Header(stamp=time_msg(stamp), frame_id=frame)


def floats(values: NDArray[Any]) -> array.array:
    """A float32 sequence for a message field."""
    return array.array('f', np.ascontiguousarray(values, dtype=np.float32).tobytes())


def octets(values: NDArray[Any]) -> array.array:
    """The bytes of an array for a message field."""
    packed = array.array('B')
    packed.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return packed


def _require_within(what: str, limit: float, *values: float) -> None:
    if not all(abs(v) <= limit for v in values):  # false for NaN
        raise InvalidMessage(f'{what} {values}; it takes finite values of at most {limit:g}')


class FrameGuard:
    """Holds a topic to the frames of its first message."""

    def __init__(self) -> None:
        self._frames: tuple[str, str] | None = None

    def check(self, message: Any) -> None:
        """InvalidMessage where the frame, or that of the child, is not the one of the first."""
        frames = (message.header.frame_id, getattr(message, 'child_frame_id', ''))
        self._frames = self._frames or frames
        if frames != self._frames:
            raise InvalidMessage(f'frame {" -> ".join(filter(None, frames))!r:.100}; it began as '
                                 f'{" -> ".join(filter(None, self._frames))!r:.100} (a new one '
                                 'takes a restart of this node)')


# -- raw sensor data in ---------------------------------------------------------------------------


def raw_scan(message: LaserScan) -> RawScan:
    """A driver's LaserScan, any count, field of view and order."""
    n = len(message.ranges)
    if not 1 <= n <= MAX_BEAMS:
        raise InvalidMessage(f'scan with {n} ranges; it takes 1 to {MAX_BEAMS}')
    _require_within('scan angles', 4.0 * math.pi, message.angle_min, message.angle_increment)
    _require_within('scan limits', MAX_RANGE, message.range_min, message.range_max)
    if n > 1 and not 1e-6 < abs(message.angle_increment) * (n - 1) < 2.1 * math.pi:
        raise InvalidMessage(f'scan of {n} beams with increment {message.angle_increment}; it '
                             'takes a sweep of at most one turn')
    told = message.angle_max - message.angle_min
    swept = message.angle_increment * (n - 1)
    if not abs(told - swept) <= max(2.0 * abs(message.angle_increment), 0.05 * abs(told)):
        raise InvalidMessage(f'scan of {n} beams with increment {message.angle_increment} from '
                             f'{message.angle_min} to {message.angle_max}; it takes as many as '
                             'the sweep needs')
    if not 0.0 <= message.range_min < message.range_max:
        raise InvalidMessage(f'scan limits {message.range_min} .. {message.range_max}; it takes '
                             '0 <= range_min < range_max')
    if not abs(message.time_increment) * (n - 1) <= MAX_SWEEP:  # false for NaN
        raise InvalidMessage(f'scan of {n} beams {message.time_increment} s apart; it takes a '
                             f'sweep of at most {MAX_SWEEP:g} s')
    ranges = np.frombuffer(message.ranges, np.float32)
    if np.isnan(ranges).all():
        raise InvalidMessage(f'scan of {n} beams, all NaN; it takes one that measured something')
    return RawScan(stamp_ns(message.header), float(message.angle_min),
                   float(message.angle_increment), float(message.range_min),
                   float(message.range_max), ranges, message.header.frame_id,
                   float(message.time_increment))


def _plane(message: Image, item: int) -> NDArray[np.uint8]:
    """Rows of an image without their padding. Shape: (height, width * item) bytes."""
    h, w, step = message.height, message.width, message.step
    if not (1 <= h <= MAX_SIDE and 1 <= w <= MAX_SIDE and h * w <= MAX_PIXELS):
        raise InvalidMessage(f'image of {w} x {h}; it takes 1 to {MAX_SIDE} a side and '
                             f'{MAX_PIXELS} pixels')
    if step < w * item or len(message.data) < h * step:
        raise InvalidMessage(f'image {w} x {h} {message.encoding} with step {step} and '
                             f'{len(message.data)} bytes; it takes at least {w * item} a row')
    data = np.frombuffer(message.data, np.uint8, count=h * step)
    return data.reshape(h, step)[:, :w * item]


def raw_image(message: Image) -> RawImage:
    """A colour or grey image as rgb8."""
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        raise InvalidMessage(f'image encoding {message.encoding!r}; it takes '
                             + ', '.join(_CHANNELS))
    pixels = _plane(message, channels).reshape(message.height, message.width, channels)
    if channels == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    elif message.encoding.startswith('bgr'):
        pixels = pixels[:, :, 2::-1]
    else:
        pixels = pixels[:, :, :3]
    return RawImage(stamp_ns(message.header), np.ascontiguousarray(pixels),
                    message.header.frame_id)


def raw_depth(message: Image) -> RawDepth:
    """A depth image in metres (REP-118): 16UC1 is millimetres with 0 invalid."""
    if message.encoding not in _DEPTH:
        raise InvalidMessage(f'depth encoding {message.encoding!r}; it takes '
                             + ', '.join(_DEPTH))
    kind, item = _DEPTH[message.encoding]
    plane = np.ascontiguousarray(_plane(message, item)).view(kind)
    if bool(message.is_bigendian):
        plane = plane.byteswap()
    if kind is np.uint16:
        metres = np.where(plane == 0, np.nan, plane * np.float32(0.001)).astype(np.float32)
    else:
        metres = plane
    return RawDepth(stamp_ns(message.header), metres, message.header.frame_id)


def camera_model(message: CameraInfo) -> CameraModel:
    """Intrinsics of a pinhole camera."""
    fx, cx, fy, cy = (float(message.k[i]) for i in (0, 2, 4, 5))
    _require_within('camera matrix', MAX_FOCAL, fx, fy, cx, cy)
    w, h = message.width, message.height
    if not (min(fx, fy) >= 1.0 and 1 <= w <= MAX_SIDE and 1 <= h <= MAX_SIDE):
        raise InvalidMessage(f'camera of {w} x {h} with focal lengths {fx}, {fy}; it takes 1 to '
                             f'{MAX_SIDE} a side and at least 1 px (is the camera calibrated?)')
    if message.distortion_model not in _DISTORTION or len(message.d) not in DISTORTIONS:
        raise InvalidMessage(f'distortion model {message.distortion_model!r} of '
                             f'{len(message.d)} coefficients; it takes plumb_bob of '
                             + ', '.join(map(str, DISTORTIONS)))
    _require_within('distortion', MAX_DISTORTION, *message.d)
    return CameraModel(int(message.width), int(message.height), fx, fy, cx, cy,
                       tuple(float(d) for d in message.d))


def imu_sample(message: Imu, rotation: NDArray[np.float64]) -> ImuSample:
    """An inertial sample, rotated to base. rotation: (3, 3), base <- imu."""
    g, a = message.angular_velocity, message.linear_acceleration
    _require_within('angular velocity', MAX_GYRO, g.x, g.y, g.z)
    _require_within('acceleration', MAX_ACCELERATION, a.x, a.y, a.z)
    gyro, accel = rotation @ (g.x, g.y, g.z), rotation @ (a.x, a.y, a.z)
    return ImuSample(stamp_ns(message.header), (gyro[0], gyro[1], gyro[2]),
                     (accel[0], accel[1], accel[2]))


def state(message: Odometry) -> State:
    """Odometry as a planar state."""
    p, q, t = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist
    v, w = t.linear.x, t.angular.z
    _require_within('odometry position', MAX_COORDINATE, p.x, p.y)
    _require_within('odometry twist', MAX_SPEED, v, w)
    norm = math.hypot(q.x, q.y, q.z, q.w)
    if not abs(norm - 1.0) <= 0.05:
        raise InvalidMessage(f'odometry quaternion of norm {norm:.3f}; it takes 1')
    return State(stamp_ns(message.header), p.x, p.y, yaw_of_quaternion(q.x, q.y, q.z, q.w), v, w)


def command(message: Twist | TwistStamped) -> tuple[Command, int | None]:
    """A planar command and its stamp where it has one."""
    twist = message.twist if isinstance(message, TwistStamped) else message
    stamp = stamp_ns(message.header) if isinstance(message, TwistStamped) else None
    _require_within('command', MAX_SPEED, twist.linear.x, twist.angular.z)
    return Command(twist.linear.x, twist.angular.z), stamp


def answers_text(answers: Iterable[Action]) -> str:
    """Commands that went out for actions, by the stamps of the actions: `STAMP:V:W ...`."""
    return ' '.join(f'{a.stamp}:{float(a.command.v)!r}:{float(a.command.w)!r}' for a in answers)


def answers(text: str) -> list[Action]:
    """The inverse of `answers_text`."""
    found = []
    for word in text.split():
        try:
            stamp, v, w = word.split(':')
            answer = Action(int(stamp), Command(float(v), float(w)))
        except ValueError:
            raise InvalidMessage(f'answer {word!r:.80}; it takes STAMP:V:W') from None
        _require_within('answer', MAX_SPEED, answer.command.v, answer.command.w)
        found.append(answer)
    return found


def position(message: PoseStamped) -> tuple[float, float]:
    """Plan position of a pose in its own frame."""
    p = message.pose.position
    _require_within('position', MAX_COORDINATE, p.x, p.y)
    return p.x, p.y


def path_points(message: Path) -> NDArray[np.float32]:
    """Plan positions of a path in its own frame. Shape: (n, 2) m."""
    if len(message.poses) > MAX_POSES:
        raise InvalidMessage(f'path of {len(message.poses)} poses; it takes at most {MAX_POSES}')
    return np.array([position(pose) for pose in message.poses], np.float32).reshape(-1, 2)


# -- messages out ---------------------------------------------------------------------------------


def scan_message(ranges: NDArray[np.float32], stamp: int, frame: str, angle_min: float,
                 angle_increment: float, range_min: float, range_max: float,
                 period: float, time_increment: float = 0.0) -> LaserScan:
    """A LaserScan of any layout; period from scan to scan, time_increment from beam to beam, s."""
    n = len(ranges)
    return LaserScan(
        header=header(stamp, frame), angle_min=float(angle_min),
        angle_max=float(angle_min + angle_increment * (n - 1)),
        angle_increment=float(angle_increment), time_increment=float(time_increment),
        scan_time=float(period),
        range_min=float(range_min), range_max=float(range_max), ranges=floats(ranges))


def layout_scan_message(scan: Scan, frame: str) -> LaserScan:
    """An observation scan: bearings of the layout about base."""
    step = 2.0 * math.pi / len(scan.ranges)
    return scan_message(scan.ranges, scan.stamp, frame, -math.pi + 0.5 * step, step, 0.0,
                        scan.range_max, 0.05)


def layout_scan(message: LaserScan) -> Scan:
    """The inverse of `layout_scan_message`."""
    step = 2.0 * math.pi / SCAN_BEAMS
    off = max(abs(message.angle_min + math.pi - 0.5 * step), abs(message.angle_increment - step))
    if len(message.ranges) != SCAN_BEAMS or not off < 1e-5:
        raise InvalidMessage(f'observation scan of {len(message.ranges)} beams from '
                             f'{message.angle_min} by {message.angle_increment}; the layout has '
                             f'{SCAN_BEAMS} about base')
    if not 0.0 < message.range_max <= MAX_RANGE:
        raise InvalidMessage(f'observation scan of range_max {message.range_max}; it takes more '
                             f'than 0 and at most {MAX_RANGE}')
    return Scan(stamp_ns(message.header), np.frombuffer(message.ranges, np.float32),
                float(message.range_max))


def image_message(pixels: NDArray[Any], stamp: int, frame: str, encoding: str) -> Image:
    """An Image of any two- or three-dimensional array; rows are contiguous."""
    h, w = pixels.shape[:2]
    return Image(header=header(stamp, frame), height=int(h), width=int(w), encoding=encoding,
                 is_bigendian=0, step=int(pixels.nbytes // h), data=octets(pixels))


def layout_image(message: Image) -> NDArray[np.uint8]:
    """An observation image. Shape: (*IMAGE_SHAPE, 3) rgb8."""
    _require_shape(message, IMAGE_SHAPE)
    return raw_image(message).pixels


def matrix(message: Image, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A 32FC1 image of a known shape, as `image_message` writes it. Shape: `shape`."""
    _require_shape(message, shape)
    if message.encoding != '32FC1' or bool(message.is_bigendian):
        raise InvalidMessage(f'matrix encoding {message.encoding!r}, is_bigendian '
                             f'{message.is_bigendian}; it takes 32FC1, little-endian')
    return np.ascontiguousarray(_plane(message, 4)).view(np.float32)


def _require_shape(message: Image, shape: tuple[int, int]) -> None:
    if (message.height, message.width) != shape:
        raise InvalidMessage(f'observation of {message.height} rows and {message.width} columns; '
                             f'it takes {shape[0]} and {shape[1]}')


def odometry_message(s: State, frame: str, child: str) -> Odometry:
    """A planar state as odometry."""
    message = Odometry(header=header(s.stamp, frame), child_frame_id=child)
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y = float(s.x), float(s.y)
    pose.orientation.z, pose.orientation.w = math.sin(0.5 * s.yaw), math.cos(0.5 * s.yaw)
    twist.linear.x, twist.angular.z = float(s.v), float(s.w)
    return message


def pose_message(x: float, y: float, stamp: int, frame: str) -> PoseStamped:
    """A plan position as a pose."""
    message = PoseStamped(header=header(stamp, frame))
    message.pose.position.x, message.pose.position.y = float(x), float(y)
    message.pose.orientation.w = 1.0
    return message


def path_message(points: NDArray[Any], stamp: int, frame: str) -> Path:
    """Plan positions as a path. points: (n, 2) m."""
    return Path(header=header(stamp, frame),
                poses=[pose_message(x, y, stamp, frame) for x, y in points.tolist()])


def twist_message(c: Command, stamp: int, frame: str, stamped: bool) -> Twist | TwistStamped:
    """A command as Twist or TwistStamped."""
    twist = Twist()
    twist.linear.x, twist.angular.z = float(c.v), float(c.w)
    return TwistStamped(header=header(stamp, frame), twist=twist) if stamped else twist


def imu_message(sample: ImuSample, frame: str) -> Imu:
    """An inertial sample; the orientation is marked as unknown (first covariance -1)."""
    message = Imu(header=header(sample.stamp, frame))
    message.orientation_covariance[0] = -1.0
    g, a = message.angular_velocity, message.linear_acceleration
    g.x, g.y, g.z = map(float, sample.angular_velocity)
    a.x, a.y, a.z = map(float, sample.linear_acceleration)
    return message


def camera_info_message(model: CameraModel, stamp: int, frame: str) -> CameraInfo:
    """Intrinsics as a message."""
    fx, fy, cx, cy = (float(v) for v in (model.fx, model.fy, model.cx, model.cy))
    return CameraInfo(
        header=header(stamp, frame), height=model.height, width=model.width,
        distortion_model='plumb_bob', d=list(model.distortion) or [0.0] * 5,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0])


def grid_message(cells: NDArray[np.int8], origin: tuple[float, float], cell: float, stamp: int,
                 frame: str) -> OccupancyGrid:
    """Occupancy, -1 unknown and 0 to 100, rows along y. cells: (height, width)."""
    message = OccupancyGrid(header=header(stamp, frame))
    message.info.map_load_time = time_msg(stamp)
    message.info.resolution = float(cell)
    message.info.height, message.info.width = (int(n) for n in cells.shape)
    message.info.origin.position.x, message.info.origin.position.y = map(float, origin)
    message.info.origin.orientation.w = 1.0
    message.data = array.array('b', np.ascontiguousarray(cells, np.int8).tobytes())
    return message

"""Checks of raw inputs before they are used: each returns what is wrong, or None."""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.contracts.types import (
    NANOSECONDS,
    CameraModel,
    ImuSample,
    RawDepth,
    RawImage,
    RawScan,
    State,
)

MAX_BEAMS = 100_000
LEAST_MEASURED = 0.01  # of the pixels of a depth image
MOST_CLIPPED = 0.95  # of the pixels of a colour image: beyond it the lens is covered or blinded
THINNED = 4  # every so many rows and columns are looked at


def check_scan(scan: RawScan) -> str | None:
    """A scan: geometry finite, at least two beams, not more than one turn and a half."""
    n = scan.ranges.shape[0] if scan.ranges.ndim == 1 else 0
    if not 2 <= n <= MAX_BEAMS:
        return f'scan of shape {scan.ranges.shape}; it takes 2 to {MAX_BEAMS} ranges'
    if not (math.isfinite(scan.angle_min) and math.isfinite(scan.angle_increment)):
        return (f'scan with angle_min {scan.angle_min} and angle_increment '
                f'{scan.angle_increment}; they must be finite')
    if scan.angle_increment == 0.0 or abs(scan.angle_increment) * (n - 1) > 3.0 * math.pi:
        return (f'scan with angle_increment {scan.angle_increment} over {n} beams; it takes one '
                'that is not zero and spans at most a turn and a half')
    if not 0.0 <= scan.range_min < scan.range_max:
        return (f'scan with range_min {scan.range_min} and range_max {scan.range_max}; it takes '
                '0 <= range_min < range_max')
    return check_stamp('scan', scan.stamp)


def check_image(image: RawImage, model: CameraModel) -> str | None:
    """A colour image: rgb8 of the camera model's size, neither all black nor all white."""
    wanted = (model.height, model.width, 3)
    if image.pixels.shape != wanted:
        return f'image of shape {image.pixels.shape}; camera_info says {wanted}'
    thinned = image.pixels[::THINNED, ::THINNED]
    lost = float(np.mean((thinned == 0).all(axis=2) | (thinned == 255).all(axis=2)))
    if lost > MOST_CLIPPED:
        return (f'image with {lost:.0%} of its pixels at the end of the scale; it takes '
                f'{MOST_CLIPPED:.0%} or less')
    return check_stamp('image', image.stamp)


def check_depth(depth: RawDepth) -> str | None:
    """A depth image: two dimensions, not empty. Pixels may be NaN or +Inf (REP-118), but not all.

    A camera that measures nothing at all is lost, and must not look alive.
    """
    if depth.metres.ndim != 2 or depth.metres.size == 0:
        return f'depth image of shape {depth.metres.shape}; it takes (height, width)'
    share = float(np.mean(np.isfinite(depth.metres[::THINNED, ::THINNED])))
    if share < LEAST_MEASURED:
        return (f'depth image with {share:.1%} of its pixels measured; it takes '
                f'{LEAST_MEASURED:.0%} or more')
    return check_stamp('depth', depth.stamp)


def check_camera_model(model: CameraModel) -> str | None:
    """Intrinsics: finite, a size and focal lengths above zero."""
    numbers = (model.fx, model.fy, model.cx, model.cy, *model.distortion)
    if not all(math.isfinite(value) for value in numbers):
        return f'camera_info with intrinsics {numbers}; they must be finite'
    if model.width < 1 or model.height < 1 or model.fx <= 0.0 or model.fy <= 0.0:
        return (f'camera_info of {model.width} x {model.height} px, fx {model.fx}, fy '
                f'{model.fy}; it takes a size and focal lengths above zero')
    return None


def check_odom(state: State) -> str | None:
    """Odometry: finite pose and twist."""
    values = (state.x, state.y, state.yaw, state.v, state.w)
    if not all(math.isfinite(value) for value in values):
        return f'odometry (x, y, yaw, v, w) = {values}; it must be finite'
    return check_stamp('odometry', state.stamp)


def check_imu(sample: ImuSample) -> str | None:
    """An inertial sample: finite."""
    values = (*sample.angular_velocity, *sample.linear_acceleration)
    if not all(math.isfinite(value) for value in values):
        return f'imu sample {values}; it must be finite'
    return check_stamp('imu', sample.stamp)


def check_stamp(what: str, stamp: int) -> str | None:
    """A stamp: not before the epoch. How it lies to now is judged when a set is released."""
    return None if stamp >= 0 else f'{what} with stamp {stamp / NANOSECONDS:.3f} s; it takes >= 0'

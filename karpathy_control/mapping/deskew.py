"""A scan as it would have been measured at once, at its stamp, by a lidar that turns.

A lidar of 5 Hz takes 0.2 s for its beams; on a robot that turns at 1 rad/s the last one is 0.2 rad
off the first. Each beam is put where odometry says that the lidar was when it was measured, seen
from where the lidar was at the stamp of the scan, and the points are laid on the bearings of the
scan again. Sensing and gate use it alike.

Which beam was measured when is not to be learned from every message: drivers of lidars that turn
clockwise reverse the ranges but not the times, and some stamp the end of the sweep. The profile
says so (`robot.scan_order`, `robot.scan_stamp`).

On the bearings: between two neighbouring beams on one surface 1 / range is linear, as on a
straight wall; where the range jumps the nearer one holds, so that nothing gets smaller. Where a
sweep leaves a gap, since the robot turned against it, nobody looked: NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.geometry import to_frame, wrap_angle
from karpathy_control.contracts.types import NANOSECONDS, Pose2, RawScan
from karpathy_control.mapping.frozen import seen_from
from karpathy_control.mapping.jit import kernel

KNOTS = 17  # poses along a sweep, straight on between them
STEP = (0.1, 0.1)  # m, m/m: ranges of neighbours that differ by more are of two things
REACH = 3.0  # bearings that neighbouring beams may be apart and speak for what is between them


def beam_offsets(count: int, time_increment: float, order: str, stamp: str
                 ) -> NDArray[np.float64]:
    """When each beam was measured, s from the stamp. Shape: (count,).

    order, stamp: as `robot.scan_order` and `robot.scan_stamp`.
    """
    turn = np.arange(count) if order == 'forward' else np.arange(count)[::-1]
    return time_increment * (turn - (count - 1 if stamp == 'end' else 0)).astype(np.float64)


@kernel
def swept_points(ranges, range_min, range_max, angle_min, increment, offsets, times, poses):
    """Where the beams end, seen from the lidar at the stamp. Shapes: (n,) -> (n, 2) m; NaN none.

    offsets: (n,) s from the stamp; times (m,) s ascending and poses (m, 3), x y yaw of the lidar
    at these in its own frame at the stamp. A beam without return ends at range_max, one that is
    too close at range_min.
    """
    n, m = ranges.shape[0], times.shape[0]
    out = np.empty((n, 2))
    for i in range(n):
        r = float(ranges[i])
        if math.isnan(r):
            out[i] = np.nan
            continue
        r = min(max(r, range_min), range_max) if not math.isinf(r) else (
            range_max if r > 0.0 else range_min)
        k = min(max(np.searchsorted(times, offsets[i]), 1), m - 1)
        f = (offsets[i] - times[k - 1]) / (times[k] - times[k - 1])
        turn = poses[k, 2] - poses[k - 1, 2]
        turn -= 2.0 * math.pi * math.floor(turn / (2.0 * math.pi) + 0.5)
        bearing = poses[k - 1, 2] + f * turn + angle_min + i * increment
        for axis in range(2):
            at = poses[k - 1, axis] + f * (poses[k, axis] - poses[k - 1, axis])
            out[i, axis] = at + r * (math.cos(bearing) if axis == 0 else math.sin(bearing))
    return out


@kernel
def _nearer(out, k, turn, value):
    """Keep the nearer of what a bearing had and a value; k wraps round a whole turn."""
    k = k % turn
    if 0 <= k < out.shape[0] and not out[k] <= value:
        out[k] = value


@kernel
def on_bearings(points, ranges, range_min, range_max, angle_min, increment):
    """Points (n, 2) m back on the bearings of their scan. Shape: (n,) m.

    ranges: (n,) as measured; what lies outside of the limits is passed on as it is.
    """
    n = points.shape[0]
    turn = 2.0 * math.pi / abs(increment)  # bearings of a whole turn
    whole = round(turn)
    out = np.full(n, np.nan)
    where = np.empty(n)
    value = np.empty(n)
    hit = np.empty(n, np.bool_)
    for i in range(n):
        x, y = points[i, 0], points[i, 1]
        where[i] = (math.atan2(y, x) - angle_min) / increment
        where[i] -= turn * math.floor(where[i] / turn)
        hit[i] = range_min <= ranges[i] <= range_max
        value[i] = math.sqrt(x * x + y * y) if hit[i] else ranges[i]
    closed = n > 2 and n > turn - 1.5
    for i in range(1, n + 1 if closed else n):
        a, b = i - 1, i % n
        if math.isnan(value[a]) or math.isnan(value[b]):
            continue
        step = where[b] - where[a]
        step -= turn * math.floor(step / turn + 0.5)
        if abs(step) > REACH:
            continue
        low, high, near, far = where[a], where[a] + step, value[a], value[b]
        if step < 0.0:
            low, high, near, far = high, low, far, near
        least = min(near, far)
        surface = hit[a] and hit[b] and abs(near - far) <= STEP[0] + STEP[1] * least
        for k in range(math.ceil(low), math.floor(high) + 1):
            if surface and least > 0.0:
                f = (k - low) / max(high - low, 1e-9)
                _nearer(out, k, whole, 1.0 / ((1.0 - f) / near + f / far))
            else:
                _nearer(out, k, whole, least)
    for i in range(n):  # what no pair speaks for: a beam with nothing measured beside it
        if not math.isnan(value[i]):
            k = math.floor(where[i] + 0.5) % whole
            if k < n and math.isnan(out[k]):
                out[k] = value[i]
    return out


def measured(scan: RawScan, robot: RobotConfig, pose_at: Callable[[int], Pose2 | None]
             ) -> RawScan | None:
    """What a scan says of its stamp: the sweep corrected, a 0 read as the profile says.

    pose_at: pose of base in odom at a stamp in ns, None where it is not known. Returns None where
    it is not known somewhere in the sweep. The result has no time between its beams any more.
    """
    ranges = scan.ranges
    if robot.scan_zero == 'nothing':
        ranges = np.where(ranges == 0.0, np.float32(np.nan), ranges)
    if scan.time_increment == 0.0 or robot.scan_order == 'unknown':
        return replace(scan, ranges=ranges, time_increment=0.0)
    offsets = beam_offsets(len(ranges), scan.time_increment, robot.scan_order, robot.scan_stamp)
    times = np.linspace(offsets.min(), offsets.max(), KNOTS)
    base = pose_at(scan.stamp)
    along = [pose_at(scan.stamp + round(t * NANOSECONDS)) for t in times]
    if base is None or any(pose is None for pose in along):
        return None
    lidar, (angle_min, increment) = seen_from(scan, base, robot.lidar_pose)
    poses = np.empty((KNOTS, 3))
    for row, pose in zip(poses, along, strict=True):
        assert pose is not None
        then, _ = seen_from(scan, pose, robot.lidar_pose)
        row[:2] = to_frame([[then.x, then.y]], lidar)[0]
        row[2] = wrap_angle(then.yaw - lidar.yaw)
    points = swept_points(ranges, scan.range_min, scan.range_max, angle_min, increment, offsets,
                          times, poses)
    told = on_bearings(points, ranges, scan.range_min, scan.range_max, angle_min, increment)
    return replace(scan, ranges=told.astype(np.float32), time_increment=0.0)

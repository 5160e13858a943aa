"""Any planar scan resampled to the fixed bearings of the observation layout, about base.

Every return becomes a point in base (mounting pose and motion since the scan included) and falls
into the bin of its bearing; the nearest one wins. A bin between two neighbouring beams that got
no sample takes the nearer of those that speak for it: a beam speaks for one and a half angular
steps on either side, never more than `REACH` degrees. So a coarse lidar is filled in
conservatively, while the shadow that appears beside a near post, because base and lidar look past
it from different places, stays NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX
from karpathy_control.contracts.types import FloatArray, Pose2, RawScan, Scan
from karpathy_control.mapping.jit import kernel
from karpathy_control.sensing.mounting import mounting_pose

REACH = 4.0  # deg
MAX_TILT = math.radians(15.0)  # a planar lidar tilted more does not describe the plane


@kernel
def _fill(out, low, high, low_range, high_range, low_reach, high_reach):
    """Fill the bins whose centre lies between two neighbouring beams, in bin coordinates."""
    n = out.shape[0]
    k = math.ceil(low - 0.5)
    while k + 0.5 <= high:
        value = math.nan
        if k + 0.5 - low <= low_reach:
            value = low_range
        if high - (k + 0.5) <= high_reach and not value <= high_range:
            value = high_range
        i = k % n
        if not math.isnan(value) and not out[i] <= value:
            out[i] = value
        k += 1


@kernel
def _resample(ranges, angle_min, increment, range_min, range_max, origin_x, origin_y,
              rotation, limit, max_reach, out):
    n, bins = ranges.shape[0], out.shape[0]
    per_radian = bins / (2.0 * math.pi)
    step = abs(increment) * per_radian
    out[:] = math.nan
    where = np.empty(n)
    value = np.empty(n)
    reach = np.empty(n)
    for i in range(n):
        r = float(ranges[i])
        value[i] = math.nan
        free = False
        if r == math.inf:
            free = True
            r = min(range_max, limit)
        elif r == -math.inf:
            r = max(range_min, 0.01)  # REP-117: something nearer than this
        elif not (range_min <= r <= range_max):
            continue  # NaN too
        angle = angle_min + i * increment
        ux, uy = math.cos(angle), math.sin(angle)
        dx = r * (rotation[0, 0] * ux + rotation[0, 1] * uy)
        dy = r * (rotation[1, 0] * ux + rotation[1, 1] * uy)
        px, py = origin_x + dx, origin_y + dy
        seen = math.sqrt(px * px + py * py)
        along = math.sqrt(dx * dx + dy * dy)
        where[i] = (math.atan2(py, px) + math.pi) * per_radian
        value[i] = math.inf if free or seen > limit else seen
        reach[i] = min(1.5 * step * along / max(seen, 1e-3), max_reach)
        k = int(where[i]) % bins
        if not out[k] <= value[i]:
            out[k] = value[i]
    closed = n > 2 and step * n > bins - 0.5 * step
    for i in range(1, n + 1 if closed else n):
        a, b = i - 1, i % n
        if math.isnan(value[a]) or math.isnan(value[b]):
            continue
        turn = where[b] - where[a]
        turn -= bins * math.floor(turn / bins + 0.5)
        if turn >= 0.0:
            _fill(out, where[a], where[a] + turn, value[a], value[b], reach[a], reach[b])
        else:
            _fill(out, where[b], where[b] - turn, value[b], value[a], reach[b], reach[a])


class ScanResampler:
    """Resamples the scans of one lidar. `lidar_pose` is x y z roll pitch yaw in base, m and rad.

    Roll pi (mounted upside down), any yaw and a small tilt are fine; ValueError for a lidar whose
    plane is tilted by more than 15 degrees.
    """

    def __init__(self, lidar_pose: Sequence[float], beams: int = SCAN_BEAMS,
                 range_max: float = SCAN_RANGE_MAX) -> None:
        pose = mounting_pose(lidar_pose)
        tilt = math.acos(min(abs(float(pose.rotation[2, 2])), 1.0))
        if tilt > MAX_TILT:
            raise ValueError(f'lidar_pose {list(lidar_pose)}: the scan plane is tilted by '
                             f'{math.degrees(tilt):.1f} degrees; it takes at most '
                             f'{math.degrees(MAX_TILT):.0f}')
        self._position = pose.position
        self._rotation: NDArray[np.float64] = np.ascontiguousarray(pose.rotation[:2, :2])
        self._beams = beams
        self._range_max = range_max

    def __call__(self, scan: RawScan, stamp: int, shift: Pose2 | None = None) -> Scan:
        """Resample `scan` to the layout, as seen from base at `stamp`.

        `shift` is the pose of base at the scan's stamp, expressed in base at `stamp` (None: the
        robot did not move). Returns ranges of shape (beams,) in m: finite a surface, +Inf free up
        to the result's `range_max` (the layout's, or the lidar's where that is less), NaN where
        no beam went.
        """
        ox, oy = float(self._position[0]), float(self._position[1])
        rotation = self._rotation
        if shift is not None:
            c, s = math.cos(shift.yaw), math.sin(shift.yaw)
            ox, oy = shift.x + c * ox - s * oy, shift.y + s * ox + c * oy
            rotation = np.array([[c, -s], [s, c]]) @ rotation
        limit = min(self._range_max, scan.range_max - math.hypot(ox, oy))
        out: FloatArray = np.empty(self._beams, np.float32)
        _resample(np.ascontiguousarray(scan.ranges, np.float32), float(scan.angle_min),
                  float(scan.angle_increment), float(scan.range_min), float(scan.range_max),
                  ox, oy, rotation, limit, REACH / 360.0 * self._beams, out)
        return Scan(stamp, out, limit)

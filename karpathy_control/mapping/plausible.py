"""Scans that cannot be: what stood there in the last good scan must not vanish or leap at once.

A lidar that says "nothing anywhere" clears all memory of what it saw before; one whose beams come
in the opposite order puts walls where there are none. Both look healthy by themselves. So each
scan is held against the prediction from the last good one and the motion since: where most of the
predicted beams tell something else, the scan is not believed. Things that move, doors that open
and corners that come into view change a small share of the beams from one scan to the next.

A robot that is carried away without its odometry knowing looks the same, so the old scan does not
count for ever: after SPAN, or more motion than FAR, the next scan is believed whatever it says.
What this cannot find: a lidar that was wrong from the beginning, and a flip where the surroundings
are much the same on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import to_frame, wrap_angle
from karpathy_control.contracts.types import NANOSECONDS, Pose2, RawScan
from karpathy_control.mapping.frozen import FAR, hits_of, predict, seen_from

OFF = (0.25, 0.1)  # m, m/m: a range that differs by more than a + b * range tells something else
SHARE = 0.6  # of the predicted beams
BETTER = 0.2  # of them: the scan is flipped where in the opposite order so many fewer differ
FEWEST = 0.05  # of all beams must be predicted
SPAN = 5.0  # s


class PlausibleScan:
    """Watches one lidar. mount: x y z roll pitch yaw in base."""

    def __init__(self, mount: Sequence[float] = (0.0,) * 6) -> None:
        self._mount = mount
        self.clear()

    def clear(self) -> None:
        """Forget the last good scan: the next one is believed."""
        self._pose: Pose2 | None = None
        self._stamp = 0
        self._ranges = np.zeros(0)
        self._angles = (0.0, 0.0)
        self.believed = True

    def check(self, scan: RawScan, base: Pose2) -> bool:
        """Whether a scan, taken with base at this pose in odom, can be believed."""
        pose, angles = seen_from(scan, base, self._mount)
        ranges = hits_of(scan)
        self.believed = self._pose is None or angles != self._angles or (
            len(ranges) != len(self._ranges)) or self._agrees(scan, ranges, pose)
        if self.believed:
            self._pose, self._stamp = pose, scan.stamp
            self._ranges, self._angles = ranges, angles
        return self.believed

    def _agrees(self, scan: RawScan, ranges: NDArray[np.float64], pose: Pose2) -> bool:
        assert self._pose is not None
        x, y = to_frame([[pose.x, pose.y]], self._pose)[0]
        moved = Pose2(float(x), float(y), wrap_angle(pose.yaw - self._pose.yaw))
        passed = (scan.stamp - self._stamp) / NANOSECONDS
        if not 0.0 <= passed <= SPAN or np.hypot(x, y) > FAR[0] or abs(moved.yaw) > FAR[1]:
            return True
        predicted = predict(self._ranges, *self._angles, moved)
        told = np.where(np.isnan(ranges), _without_hit(scan), ranges)
        other, reversed_other = _differ(told, predicted), _differ(told[::-1], predicted)
        return bool(other <= SHARE and other - reversed_other <= BETTER)


def _differ(told: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """The share of the predicted beams that tell something else; 0 where too few are predicted."""
    asked = np.isfinite(predicted) & ~np.isnan(told)
    count = np.count_nonzero(asked)
    if count < FEWEST * len(told):
        return 0.0
    with np.errstate(invalid='ignore'):
        other = asked & (np.abs(told - predicted) > OFF[0] + OFF[1] * predicted)
    return np.count_nonzero(other) / count


def _without_hit(scan: RawScan) -> NDArray[np.float64]:
    """What a beam that hit nothing tells: +Inf free, `range_min` too close, NaN nothing."""
    return np.where(np.isnan(scan.ranges), np.nan,
                    np.where(scan.ranges < scan.range_min, scan.range_min, np.inf))

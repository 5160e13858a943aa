"""Earlier scans and speeds, as the encoder wants them: motion shows against them.

Training and the robot build the encoder's past with this very code.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import to_frame, wrap_angle
from karpathy_control.contracts.layout import (
    SCAN_BEAMS,
    SCAN_RANGE_MAX,
    STATE_HISTORY,
    scan_bearings,
)
from karpathy_control.contracts.types import NANOSECONDS, FloatArray, Pose2, State

AGE_TOLERANCE = 0.06  # s: how far a kept scan may be from the age that is asked for
_BEARINGS = scan_bearings().astype(np.float64)
_COS, _SIN = np.cos(_BEARINGS), np.sin(_BEARINGS)


def relative_pose(pose: Pose2, frame: Pose2) -> Pose2:
    """Express `pose` in `frame`; both are given in the same parent."""
    x, y = to_frame((pose.x, pose.y), frame)[0]
    return Pose2(float(x), float(y), wrap_angle(pose.yaw - frame.yaw))


def warp_scan(ranges: FloatArray, shift: Pose2) -> FloatArray:
    """A scan in the observation layout as it would look from another pose of base.

    `shift` is the pose of base at the scan, expressed in the other pose. A surface falls into the
    bin of its new bearing, the nearest wins; a free beam keeps its direction; bins that nothing
    falls into are NaN. Shape: (SCAN_BEAMS,) m -> (SCAN_BEAMS,) m.
    """
    finite, free = np.isfinite(ranges), np.isposinf(ranges)
    r = np.where(finite, ranges, SCAN_RANGE_MAX).astype(np.float64)
    c, s = math.cos(shift.yaw), math.sin(shift.yaw)
    px, py = r * _COS, r * _SIN
    x, y = shift.x + c * px - s * py, shift.y + s * px + c * py
    bins = ((np.arctan2(y, x) + math.pi) * (SCAN_BEAMS / (2.0 * math.pi))).astype(np.intp)
    bins %= SCAN_BEAMS
    nearest = np.full(SCAN_BEAMS, np.inf)
    np.minimum.at(nearest, bins[finite], np.hypot(x, y)[finite])
    out = np.full(SCAN_BEAMS, np.nan, np.float32)
    out[bins[free]] = np.inf
    surface = np.isfinite(nearest)
    out[surface] = nearest[surface]
    return out


class History:
    """Keeps the scans and speeds of the last moments."""

    def __init__(self, ages: tuple[float, ...]) -> None:
        self._ages = ages
        self._scans: deque[tuple[int, Pose2, FloatArray]] = deque()
        self._speeds: deque[tuple[float, float]] = deque(maxlen=STATE_HISTORY - 1)

    def clear(self) -> None:
        """Forget everything (time jumped, robot was moved)."""
        self._scans.clear()
        self._speeds.clear()

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that is kept, by name."""
        return {
            'stamps': np.array([stamp for stamp, _, _ in self._scans], np.int64),
            'places': np.array([(p.x, p.y, p.yaw) for _, p, _ in self._scans]).reshape(-1, 3),
            'ranges': np.array([r for _, _, r in self._scans], np.float32).reshape(-1, SCAN_BEAMS),
            'speeds': np.array(self._speeds, np.float64).reshape(-1, 2)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self.clear()
        rows = zip(state['stamps'], state['places'], state['ranges'], strict=True)
        self._scans.extend((int(stamp), Pose2(*map(float, place)), ranges)
                           for stamp, place, ranges in rows)
        self._speeds.extend((float(v), float(w)) for v, w in state['speeds'])

    def push(self, state: State, ranges: FloatArray | None) -> None:
        """Keep one observation after it was used; a stamp that runs backwards clears first."""
        if self._scans and state.stamp <= self._scans[-1][0]:
            self.clear()
        self._speeds.appendleft((state.v, state.w))
        if ranges is not None:
            self._scans.append((state.stamp, state.pose, ranges))
        oldest = state.stamp - round((max(self._ages) + AGE_TOLERANCE) * NANOSECONDS)
        while self._scans and self._scans[0][0] < oldest:
            self._scans.popleft()

    def past(self, stamp: int, pose: Pose2) -> tuple[FloatArray, FloatArray]:
        """Earlier scans seen from `pose`, nearest to the ages asked for, and their true ages.

        Shape: (ages, SCAN_BEAMS) m, NaN where there is none; (ages,) s, 0 where there is none.
        """
        scans = np.full((len(self._ages), SCAN_BEAMS), np.nan, np.float32)
        ages = np.zeros(len(self._ages), np.float32)
        for i, wanted in enumerate(self._ages):
            best = min(self._scans, default=None,
                       key=lambda kept: abs((stamp - kept[0]) / NANOSECONDS - wanted))
            if best is None:
                continue
            age = (stamp - best[0]) / NANOSECONDS
            if abs(age - wanted) <= AGE_TOLERANCE:
                scans[i] = warp_scan(best[2], relative_pose(best[1], pose))
                ages[i] = age
        return scans, ages

    def speeds(self, state: State) -> FloatArray:
        """(v, w) of `state` and before it, newest first, zero where unknown.

        Shape: (STATE_HISTORY, 2).
        """
        out = np.zeros((STATE_HISTORY, 2), np.float32)
        known = [(state.v, state.w), *self._speeds][:STATE_HISTORY]
        out[:len(known)] = known
        return out

"""Histories of odometry and IMU, read at any stamp: interpolated, or extrapolated and flagged."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import integrate_twist, to_frame, wrap_angle
from karpathy_control.contracts.layout import IMU_SAMPLES
from karpathy_control.contracts.types import NANOSECONDS, FloatArray, ImuSample, Pose2, State

LENGTH = 512  # samples kept
IMU_WINDOW = NANOSECONDS // 10  # ns before the stamp, in IMU_SAMPLES steps


def relative_pose(a: Pose2, b: Pose2) -> Pose2:
    """The pose b expressed in a; both are given in the same frame."""
    point = to_frame([[b.x, b.y]], a)[0]
    return Pose2(float(point[0]), float(point[1]), wrap_angle(b.yaw - a.yaw))


class OdometryHistory:
    """The last odometry samples in order of stamp."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._states: list[State] = []

    @property
    def newest(self) -> int | None:
        """Stamp of the newest sample, None while there is none."""
        return self._stamps[-1] if self._stamps else None

    def add(self, state: State) -> None:
        """Insert a sample at its place; one with the same stamp is replaced."""
        i = bisect_left(self._stamps, state.stamp)
        if i < len(self._stamps) and self._stamps[i] == state.stamp:
            self._states[i] = state
            return
        self._stamps.insert(i, state.stamp)
        self._states.insert(i, state)
        if len(self._stamps) > LENGTH:
            del self._stamps[0], self._states[0]

    def drop_after(self, stamp: int) -> int:
        """Forget samples later than `stamp`; returns how many."""
        i = bisect_right(self._stamps, stamp)
        count = len(self._stamps) - i
        del self._stamps[i:], self._states[i:]
        return count

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._states.clear()

    def state(self, after: int) -> dict[str, NDArray[Any]]:
        """The samples later than `after`: stamps (n,) and x y yaw v w (n, 5)."""
        i = bisect_right(self._stamps, after)
        return {'odom_stamps': np.array(self._stamps[i:], np.int64),
                'odom': np.array([(s.x, s.y, s.yaw, s.v, s.w) for s in self._states[i:]],
                                 np.float64).reshape(-1, 5)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Hold what `state` gave and nothing else."""
        self.clear()
        for stamp, row in zip(state['odom_stamps'], state['odom'], strict=True):
            x, y, yaw, v, w = map(float, row)
            self.add(State(int(stamp), x, y, yaw, v, w))

    def at(self, stamp: int, max_gap: float) -> State | None:
        """The state at `stamp`, or None where no sample lies within `max_gap` seconds before it.

        Between two samples position, heading (the short way round) and twist are linear; after
        the newest one the measured twist is held along its exact arc and the result is flagged
        `extrapolated`.
        """
        i = bisect_right(self._stamps, stamp)
        if i == 0:
            return None
        before = self._states[i - 1]
        if before.stamp == stamp:
            return before
        gap = (stamp - before.stamp) / NANOSECONDS
        if i == len(self._stamps):
            if gap > max_gap:
                return None
            pose = integrate_twist(before.pose, before.v, before.w, gap)
            return State(stamp, pose.x, pose.y, pose.yaw, before.v, before.w, extrapolated=True)
        after = self._states[i]
        span = (after.stamp - before.stamp) / NANOSECONDS
        if span > max_gap:
            # A hole in the odometry: what lies after it says nothing of the time within.
            return None
        f = gap / span
        turn = wrap_angle(after.yaw - before.yaw)
        return State(stamp, before.x + f * (after.x - before.x),
                     before.y + f * (after.y - before.y), wrap_angle(before.yaw + f * turn),
                     before.v + f * (after.v - before.v), before.w + f * (after.w - before.w))

    def shift(self, earlier: int, reference: State, max_gap: float) -> Pose2 | None:
        """Base at the stamp `earlier`, expressed in base at `reference`; None as in `at`."""
        state = self.at(earlier, max_gap)
        return None if state is None else relative_pose(reference.pose, state.pose)


class ImuHistory:
    """The last IMU samples in order of stamp."""

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._values: list[tuple[float, ...]] = []

    @property
    def newest(self) -> int | None:
        """Stamp of the newest sample, None while there is none."""
        return self._stamps[-1] if self._stamps else None

    def add(self, sample: ImuSample) -> None:
        """Insert a sample at its place; one with the same stamp is replaced."""
        values = (*sample.angular_velocity, *sample.linear_acceleration)
        i = bisect_left(self._stamps, sample.stamp)
        if i < len(self._stamps) and self._stamps[i] == sample.stamp:
            self._values[i] = values
            return
        self._stamps.insert(i, sample.stamp)
        self._values.insert(i, values)
        if len(self._stamps) > LENGTH:
            del self._stamps[0], self._values[0]

    def drop_after(self, stamp: int) -> int:
        """Forget samples later than `stamp`; returns how many."""
        i = bisect_right(self._stamps, stamp)
        count = len(self._stamps) - i
        del self._stamps[i:], self._values[i:]
        return count

    def clear(self) -> None:
        """Forget everything."""
        self._stamps.clear()
        self._values.clear()

    def state(self, after: int) -> dict[str, NDArray[Any]]:
        """The samples later than `after`: stamps (n,) and values (n, 6)."""
        i = bisect_right(self._stamps, after)
        return {'imu_stamps': np.array(self._stamps[i:], np.int64),
                'imu': np.array(self._values[i:], np.float64).reshape(-1, 6)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Hold what `state` gave and nothing else."""
        self.clear()
        self._stamps = [int(stamp) for stamp in state['imu_stamps']]
        self._values = [tuple(map(float, row)) for row in state['imu']]

    def window(self, stamp: int) -> FloatArray | None:
        """Samples spread evenly over the last 0.1 s before `stamp`. Shape: (IMU_SAMPLES, 6).

        Columns wx wy wz (rad/s) ax ay az (m/s^2), oldest first; linear between samples, the
        nearest sample held beyond both ends. None where no sample lies within the window.
        """
        i = bisect_right(self._stamps, stamp)
        if i == 0 or stamp - self._stamps[i - 1] > IMU_WINDOW:
            return None
        first = max(bisect_left(self._stamps, stamp - IMU_WINDOW) - 1, 0)
        last = min(i + 1, len(self._stamps))
        known = np.array(self._stamps[first:last], np.int64) - stamp
        wanted = np.linspace(-IMU_WINDOW, 0, IMU_SAMPLES)
        values = np.array(self._values[first:last])
        return np.stack([np.interp(wanted, known, values[:, k]) for k in range(6)],
                        axis=1).astype(np.float32)

"""A short history of odometry: the pose at any recent stamp, and jumps."""

from __future__ import annotations

import bisect
import math
from collections import deque

from karpathy_control.contracts.geometry import integrate_twist, wrap_angle
from karpathy_control.contracts.types import NANOSECONDS, Pose2, State

_SPAN = 2 * NANOSECONDS
_YAW_JUMP = 0.5  # rad beyond what the twist explains
_LONGEST_EXTRAPOLATION = NANOSECONDS // 5


class OdometryHistory:
    """States of the last two seconds, ascending in stamp."""

    def __init__(self) -> None:
        self._states: deque[State] = deque()

    @property
    def latest(self) -> State | None:
        """The newest state."""
        return self._states[-1] if self._states else None

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()

    def add(self, state: State, jump: float) -> bool:
        """Append a state newer than the latest; True where the pose jumped.

        A jump is more than `jump` m, or half a radian, beyond what the mean twist of the two
        states explains. What lies before it is forgotten.
        """
        last = self.latest
        jumped = False
        if last is not None:
            dt = (state.stamp - last.stamp) / NANOSECONDS
            expected = integrate_twist(last.pose, 0.5 * (last.v + state.v),
                                       0.5 * (last.w + state.w), dt)
            jumped = (math.dist((expected.x, expected.y), (state.x, state.y)) > jump
                      or abs(wrap_angle(state.yaw - expected.yaw)) > _YAW_JUMP)
            if jumped:
                self._states.clear()
        self._states.append(state)
        while self._states[0].stamp < state.stamp - _SPAN:
            self._states.popleft()
        return jumped

    def pose_at(self, stamp: int) -> Pose2 | None:
        """The pose at a stamp; None where the history does not reach it.

        Between two states by interpolation, after the last by its twist for up to 0.2 s.
        """
        last = self.latest
        if last is None or stamp < self._states[0].stamp:
            return None
        if stamp >= last.stamp:
            if stamp - last.stamp > _LONGEST_EXTRAPOLATION:
                return None
            return integrate_twist(last.pose, last.v, last.w, (stamp - last.stamp) / NANOSECONDS)
        k = bisect.bisect_right([s.stamp for s in self._states], stamp)
        a, b = self._states[k - 1], self._states[k]
        f = (stamp - a.stamp) / (b.stamp - a.stamp)
        return Pose2(a.x + f * (b.x - a.x), a.y + f * (b.y - a.y),
                     wrap_angle(a.yaw + f * wrap_angle(b.yaw - a.yaw)))

"""A short history of odometry: the pose at any recent stamp, jumps, and contradictions."""

from __future__ import annotations

import bisect
import math
from collections import deque

from karpathy_control.contracts.geometry import (
    behind_wheels,
    integrate_twist,
    to_frame,
    wrap_angle,
)
from karpathy_control.contracts.types import NANOSECONDS, Pose2, State

_SPAN = 2 * NANOSECONDS
_YAW_JUMP = 0.5  # rad beyond what the twist explains
_LONGEST_EXTRAPOLATION = NANOSECONDS // 5
_GAP = 0.15  # s without a message, beyond which the speeds of its two ends say little of within
_COMPARED = NANOSECONDS // 5  # over which the change of the pose is held against the twist
_SHARE = 0.4  # of the way that the twist tells, and beside it
_SLACK = 0.02, 0.06  # m, rad: so much may the two differ


class OdometryHistory:
    """States of the last two seconds, ascending in stamp.

    It is judged as it was told and given back as where the base is, `creep` s behind its wheels.
    """

    def __init__(self, creep: float = 0.0) -> None:
        self._creep = creep
        self._states: deque[State] = deque()  # as told
        # For each state what the twists alone add up to: pose, way (m) and turn (rad) since the
        # beginning.
        self._reckoned: deque[tuple[Pose2, float, float]] = deque()

    @property
    def latest(self) -> State | None:
        """The newest state."""
        return behind_wheels(self._states[-1], self._creep) if self._states else None

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()
        self._reckoned.clear()

    def add(self, state: State, jump: float) -> bool:
        """Append a state newer than the latest; True where the pose jumped.

        A jump is more than `jump` m, or half a radian, beyond what the mean twist of the two
        states explains; after a gap, beyond anything between standing and twice that twist. What
        lies before it is forgotten.
        """
        last = self._states[-1] if self._states else None
        jumped = False
        reckoned = (Pose2(), 0.0, 0.0)
        if last is not None:
            dt = (state.stamp - last.stamp) / NANOSECONDS
            v, w = 0.5 * (last.v + state.v), 0.5 * (last.w + state.w)
            expected = integrate_twist(last.pose, v, w, dt)
            way, turn = 0.5 * (abs(last.v) + abs(state.v)), 0.5 * (abs(last.w) + abs(state.w))
            gap = dt if dt > _GAP else 0.0
            jumped = (math.dist((expected.x, expected.y), (state.x, state.y)) > jump + way * gap
                      or abs(wrap_angle(state.yaw - expected.yaw)) > _YAW_JUMP + turn * gap)
            if jumped or gap:
                self._reckoned.clear()
            else:
                pose, ways, turns = self._reckoned[-1]
                reckoned = (integrate_twist(pose, v, w, dt), ways + way * dt, turns + turn * dt)
            if jumped:
                self._states.clear()
        self._states.append(state)
        self._reckoned.append(reckoned)
        while self._states[0].stamp < state.stamp - _SPAN:
            self._states.popleft()
        while len(self._reckoned) > len(self._states):
            self._reckoned.popleft()
        return jumped

    @property
    def contradicts_itself(self) -> bool:
        """Whether the pose did not follow the twist over the last 0.2 s, or the other way round.

        False while there is less to compare, or a gap in it.
        """
        n = len(self._reckoned)
        states = list(self._states)[-n:]
        if not states or states[-1].stamp - states[0].stamp < _COMPARED:
            return False
        k = bisect.bisect_right([s.stamp for s in states], states[-1].stamp - _COMPARED) - 1
        (first, way0, turn0), (last, way1, turn1) = self._reckoned[k], self._reckoned[-1]
        told = to_frame([[last.x, last.y]], first)[0]
        moved = to_frame([[states[-1].x, states[-1].y]], states[k].pose)[0]
        turned = wrap_angle(states[-1].yaw - states[k].yaw - (last.yaw - first.yaw))
        return (math.dist(told, moved) > _SLACK[0] + _SHARE * (way1 - way0)
                or abs(turned) > _SLACK[1] + _SHARE * (turn1 - turn0))

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
        a, b = (behind_wheels(state, self._creep) for state in (self._states[k - 1],
                                                               self._states[k]))
        f = (stamp - a.stamp) / (b.stamp - a.stamp)
        return Pose2(a.x + f * (b.x - a.x), a.y + f * (b.y - a.y),
                     wrap_angle(a.yaw + f * wrap_angle(b.yaw - a.yaw)))

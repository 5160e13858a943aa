"""The goal in force: reached, blocked, pre-empted, cancelled, adopted after a restart."""

from __future__ import annotations

import math

from karpathy_control.contracts.config.control import GoalConfig
from karpathy_control.contracts.modes import Reason


class GoalKeeper:
    """One goal in odom (m) and what became of the last one."""

    def __init__(self, config: GoalConfig) -> None:
        self.config = config
        self.goal: tuple[float, float] | None = None
        self.number = 0  # of the goal that was set last, from 1 on
        self.reason = Reason.NO_GOAL  # why there is none
        self.blocked = False
        self.text = ''  # of the last refusal
        self._untouched = True  # nobody has given, cancelled or refused a goal yet
        self._mark: tuple[float, float, float] | None = None  # x, y (m), time (s) of progress

    def set(self, x: float, y: float) -> bool:
        """Take a goal, pre-empting the last; False and refused where it is not finite."""
        if not (math.isfinite(x) and math.isfinite(y)):
            self.refuse(f'goal ({x}, {y}) is not finite')
            return False
        self._untouched = False
        self.number += 1
        self.goal, self._mark, self.blocked, self.text = (float(x), float(y)), None, False, ''
        return True

    def adopt(self, x: float, y: float) -> bool:
        """Take over the goal that others still carry, only after a restart.

        Once a goal was given, reached or cancelled here, an echo of it must not revive it.
        """
        return self._untouched and self.goal is None and self.set(x, y)

    def refuse(self, text: str) -> None:
        """Note that a goal could not be taken; the one in force stays."""
        self.text = text
        if self.goal is None:
            self._untouched = False
            self.reason = Reason.GOAL_REFUSED

    def cancel(self) -> tuple[bool, str]:
        """Give the goal up. Returns (done, text)."""
        self._untouched = False
        if self.goal is None:
            return False, 'there is no goal to cancel'
        text = f'goal {self.goal[0]:.2f} {self.goal[1]:.2f} cancelled'
        self._end(Reason.GOAL_CANCELLED)
        return True, text

    def distance(self, x: float, y: float) -> float:
        """Metres from (x, y) to the goal; NaN without one."""
        return math.nan if self.goal is None else math.dist(self.goal, (x, y))

    def update(self, x: float, y: float, time: float, autonomous: bool) -> None:
        """Judge the goal from the pose at `time` (s); time counts as blocked only if autonomous.

        Progress is motion of `progress` m from where the robot last made progress.
        """
        if self.goal is None:
            return
        if self.distance(x, y) <= self.config.tolerance:
            self._end(Reason.GOAL_REACHED)
            return
        if (self._mark is None or not autonomous
                or math.dist(self._mark[:2], (x, y)) >= self.config.progress):
            self._mark, self.blocked = (x, y, time), False
        elif time - self._mark[2] >= self.config.blocked_time:
            self.blocked = True

    def _end(self, reason: Reason) -> None:
        self.goal, self.reason, self.blocked, self._mark = None, reason, False, None

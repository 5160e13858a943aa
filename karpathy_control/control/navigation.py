"""What becomes of a goal that came as an action: feedback, end and reason. No ROS.

The goal itself is kept by the GoalKeeper, as every goal is. One goal is in force at a time, and
whatever came last holds it: an action, a click in rviz, the echo after a restart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from karpathy_control.contracts.modes import Reason
from karpathy_control.control.goals import GoalKeeper

LEAST_RATE = 0.0625  # m/s towards the goal, below which nobody can say how long it will take


class End(Enum):
    """The three ends of an action."""

    SUCCEEDED = 'succeeded'
    ABORTED = 'aborted'
    CANCELED = 'canceled'


@dataclass(frozen=True)
class Ended:
    """How it ended, and why in words."""

    how: End
    text: str
    timed_out: bool = False


@dataclass(frozen=True)
class Progress:
    """What the one who asked hears on the way."""

    distance: float  # m, straight to the goal
    elapsed: float  # s since it was accepted
    remaining: float  # s at the mean rate so far; 0 while nobody can say


class Navigation:
    """One goal from its acceptance to its end.

    Args:
        goals: keeps the goal, which is set by now.
        time: now, s on the node's clock.

    """

    def __init__(self, goals: GoalKeeper, time: float) -> None:
        self._goals, self._number = goals, goals.number
        self._start = time
        self._first: float | None = None  # m, the first distance that was known
        self.progress: Progress | None = None  # None until a distance was known
        self.cancelling = False

    def cancel(self) -> None:
        """Give the goal up, where it is still the one in force. The end comes by `update`."""
        self.cancelling = True
        if self._goals.number == self._number:
            self._goals.cancel()

    def update(self, time: float, distance: float, standing: bool) -> Ended | None:
        """Judge once a decision was made; the end, or None while it goes on.

        Args:
            time: s on the node's clock; one that jumped back begins anew.
            distance: m to the goal in force, NaN without one.
            standing: whether the loop commands zero, or a person drives.

        """
        goals, config = self._goals, self._goals.config
        if time < self._start:
            self._start, self._first = time, None
        if goals.number != self._number:
            return Ended(End.ABORTED, 'preempted by a newer goal')
        if goals.goal is None:
            if goals.reason is Reason.GOAL_REACHED:
                return Ended(End.SUCCEEDED, f'within {config.tolerance:g} m of the goal')
            if not self.cancelling:
                return Ended(End.ABORTED, 'the goal was cancelled by somebody else, or control '
                             'was deactivated')
            return Ended(End.CANCELED, 'cancelled, and the robot stands') if standing else None
        elapsed = time - self._start
        if goals.blocked:
            return self._abort(f'blocked: less than {config.progress:g} m of progress in '
                               f'{config.blocked_time:g} s')
        if 0.0 < config.timeout <= elapsed:
            return self._abort(f'not reached within goal.timeout, {config.timeout:g} s', True)
        if not math.isnan(distance):
            if self._first is None:
                self._first = distance
            rate = (self._first - distance) / elapsed if elapsed > 0.0 else 0.0
            self.progress = Progress(distance, elapsed,
                                     distance / rate if rate >= LEAST_RATE else 0.0)
        return None

    def _abort(self, text: str, timed_out: bool = False) -> Ended:
        """Whoever is told that it failed takes the robot to stop, so the goal goes too."""
        self._goals.cancel()
        return Ended(End.ABORTED, text, timed_out)

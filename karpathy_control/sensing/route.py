"""Somebody else's plan: the latest one, for as long as it is fresh and leads to the goal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.types import NANOSECONDS, FloatArray

MISS = 1.0  # m: a plan that ends farther from the goal is one for another goal


class Route:
    """Keeps one plan in odom. Stamps in ns of ROS time, `most` in s, 0 for no limit."""

    def __init__(self) -> None:
        self._points: FloatArray | None = None  # (n, 2) m
        self._stamp = 0

    def take(self, points: FloatArray | None, stamp: int, now: int, most: float) -> str | None:
        """Replace the plan; None ends it. Returns what is wrong, and then the last one stays."""
        if points is not None and _too_old(stamp, now, most):
            return (f'plan of {(now - stamp) / NANOSECONDS:.1f} s ago; it takes at most '
                    f'plan_max_age, {most:g} s')
        self._points = None if points is None else np.asarray(points, np.float32).reshape(-1, 2)
        self._stamp = stamp
        return None

    def at(self, stamp: int, goal: tuple[float, float] | None, most: float
           ) -> tuple[FloatArray | None, str]:
        """The plan for a set of `stamp`, or None and why: '' where there is none.

        A plan that does not end near the goal (m, odom) is left out: it is older than the goal.
        """
        if self._points is None:
            return None, ''
        if _too_old(self._stamp, stamp, most):
            return None, 'plan_too_old'
        x, y = map(float, self._points[-1])
        if goal is not None and math.dist((x, y), goal) > MISS:
            return None, 'plan_elsewhere'
        return self._points, ''

    def state(self) -> dict[str, NDArray[Any]]:
        """What a replay goes on from, empty without a plan."""
        if self._points is None:
            return {}
        return {'plan': self._points, 'plan_stamp': np.array(self._stamp)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self._points = state.get('plan')
        self._stamp = 0 if self._points is None else int(state['plan_stamp'])


def _too_old(stamp: int, now: int, most: float) -> bool:
    return most > 0.0 and now - stamp > most * NANOSECONDS

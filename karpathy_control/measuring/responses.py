"""How a base answers a command: lateness, rates and the level reached, from recorded series.

Pure functions of arrays over time, used for the simulated base (`calibrate`) and a robot
(`measure`) alike. Series are signed so that the command is positive.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]


def held(times: Series, values: Series, at: Series) -> Series:
    """Commands as a base holds them: the last one that had come, 0 before the first. Shape: (n,).

    times: (m,) s, rising; values: (m,).
    """
    index = np.searchsorted(times, at, side='right') - 1
    return np.where(index >= 0, values[np.maximum(index, 0)], 0.0)


def level(time: Series, value: Series, begin: float, end: float) -> float:
    """Mean over begin < t <= end. NaN where there is no sample."""
    chosen = value[(time > begin) & (time <= end)]
    return float(chosen.mean()) if len(chosen) else float('nan')


def crossing(time: Series, value: Series, at: float) -> float:
    """When a series first gets from below to `at`, between samples too; NaN where it does not."""
    above = value >= at
    if not above.any():
        return float('nan')
    i = int(np.argmax(above))
    if i == 0:
        return float(time[0])
    share = (at - value[i - 1]) / (value[i] - value[i - 1])
    return float(time[i - 1] + share * (time[i] - time[i - 1]))


def rate(time: Series, value: Series, end: float, low: float = 0.2, high: float = 0.8) -> float:
    """How fast a rising series goes from a share `low` to a share `high` of `end`, per second."""
    span = crossing(time, value, high * end) - crossing(time, value, low * end)
    return float((high - low) * end / span) if span > 0.0 else float('nan')


def area(time: Series, value: Series) -> float:
    """Integral over time, by trapezia."""
    return float(np.sum(0.5 * (value[1:] + value[:-1]) * np.diff(time)))


def lateness(time: Series, early: Series, late: Series, end: float) -> float:
    """By how much the answer is later than what it answers, s: the area between both over `end`.

    Of a pure delay it is the delay, of a first-order lag its time constant, of both their sum, and
    of a ramp that is less steep half of how much longer it takes. Both must begin and end
    together; they rise by `end` (or fall by -end).
    """
    return area(time, early - late) / end

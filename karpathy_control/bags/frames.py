"""Frames of a recorded drive: what was observed at a stamp, with the command that went out for it.

All parts of a frame carry the very same stamp, that of the observation; nothing is matched by
nearness in time. Frames that follow one another at the rate of the observations, towards one
goal, are an episode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from karpathy_control.contracts.config import ConfigError

SAME_GOAL = 0.005  # m: a goal that is nearer to the one before is that one, computed again
LEAST_STAMPS = 3  # that a rate is taken from


def join(parts: Mapping[str, Sequence[int]], idle: Collection[int]
         ) -> tuple[list[int], Counter[str]]:
    """The stamps that every part has, and why the others are left out.

    Args:
        parts: stamps (ns) of each part in the order in which they came; the frames come in the
            order of the first.
        idle: stamps at which there was no goal.

    Returns:
        The stamps of the frames, and how many of all stamps are left out, each under one cause:
        `ambiguous` (a part has it twice: the clock was set back), `no_goal`, or `no_PART` for the
        first part that is missing.

    """
    counts = {name: Counter(stamps) for name, stamps in parts.items()}
    twice = {s for count in counts.values() for s, n in count.items() if n > 1}
    without = set(idle)
    whole: set[int] = set()
    dropped: Counter[str] = Counter()
    for stamp in set().union(*counts.values()):
        missing = next((f'no_{name}' for name, count in counts.items() if stamp not in count), '')
        cause = ('ambiguous' if stamp in twice else 'no_goal' if stamp in without else missing)
        if cause:
            dropped[cause] += 1
        else:
            whole.add(stamp)
    first = next(iter(parts.values()))
    return [stamp for stamp in first if stamp in whole], dropped


def frame_period(stamps: Sequence[int]) -> float:
    """The usual time from one stamp to the next, ns: the median, times set back left out.

    Raises ConfigError for fewer than LEAST_STAMPS stamps.
    """
    times = np.asarray(stamps, np.int64)
    steps = times[1:] - times[:-1]
    steps = steps[steps > 0]
    if len(steps) < LEAST_STAMPS - 1:
        raise ConfigError(f'{len(stamps)} observations; a rate takes at least {LEAST_STAMPS} that '
                          'follow one another')
    return float(np.median(steps))


def split(stamps: Sequence[int], goals: ArrayLike, period: float
          ) -> tuple[list[tuple[int, int]], Counter[str]]:
    """Episodes among frames, and why one ends and the next begins.

    Args:
        stamps: ns, of the frames in order.
        goals: (n, 2) m in odom.
        period: ns from one frame to the next.

    Returns:
        First frame and the one behind the last of every episode, and the number of cuts by cause:
        `clock_back`, `new_goal`, or `gap` (a step that is half a period off).

    """
    n = len(stamps)
    if not n:
        return [], Counter()
    times, places = np.asarray(stamps, np.int64), np.asarray(goals, np.float64).reshape(n, 2)
    steps, moved = times[1:] - times[:-1], places[1:] - places[:-1]
    back = steps <= 0
    new = ~back & (np.hypot(moved[:, 0], moved[:, 1]) > SAME_GOAL)
    gap = ~back & ~new & (np.abs(steps - period) > 0.5 * period)
    cuts = [0, *(np.flatnonzero(back | new | gap) + 1).tolist(), n]
    causes = Counter({name: int(where.sum()) for name, where in (
        ('clock_back', back), ('new_goal', new), ('gap', gap)) if where.any()})
    return list(zip(cuts[:-1], cuts[1:], strict=True)), causes

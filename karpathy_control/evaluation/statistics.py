"""Intervals for what is counted; small, and without scipy so that every tool can have them."""

from __future__ import annotations

import math

Z95 = 1.959963984540054  # the 97.5th percentile of the standard normal distribution


def wilson_interval(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Confidence interval of a proportion (Wilson 1927); (0, 1) where nothing was tried.

    Holds near 0 and 1, where the usual normal interval collapses. Raises ValueError where
    successes is not in [0, trials].
    """
    if not 0 <= successes <= trials:
        raise ValueError(f'{successes} successes of {trials} trials; it takes 0 <= successes '
                         '<= trials')
    if trials == 0:
        return 0.0, 1.0
    p, zz = successes / trials, z * z / trials
    centre = p + 0.5 * zz
    spread = z * math.sqrt(p * (1.0 - p) / trials + 0.25 * zz / trials)
    return (max(0.0, (centre - spread) / (1.0 + zz)), min(1.0, (centre + spread) / (1.0 + zz)))

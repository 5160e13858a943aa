"""Figures of what is measured or counted; without scipy, so every tool can have them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

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


def bootstrap_interval(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean by resampling `values`, one a world (Efron 1979), seeded.

    Episodes in one world are not independent, so worlds are drawn and not episodes.
    """
    sample = np.asarray(values, np.float64)
    rng = np.random.default_rng(0)
    means = sample[rng.integers(len(sample), size=(draws, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """`p50`, `p99` and `max` of a sample, in its unit; empty where there is none."""
    if not values:
        return {}
    p50, p99 = np.percentile(values, (50, 99))
    return {'p50': round(float(p50), 3), 'p99': round(float(p99), 3),
            'max': round(float(np.max(values)), 3)}

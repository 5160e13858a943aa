"""How long the running loop takes from a frame's stamp to its command: recorded, then drawn.

`karpathy-control bench loop --record FILE` writes the quantiles that it measured over DDS; an
episode in simulated time draws a delay for every observation from them, by its seed, so that its
result does not depend on the machine that it is computed on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import read_text
from karpathy_control.contracts.types import NANOSECONDS

SCHEMA = 'karpathy-control-delays-v1'
SHIPPED = 'delays.json'  # in config
QUANTILES = 101  # minimum, percentiles and maximum
LONGEST = 1000.0  # ms
LEAST_SAMPLES = 200


def write_delays(path: Path, latencies: Sequence[float], about: dict[str, Any]) -> None:
    """Write the quantiles of measured latencies, ms, with what is worth knowing about them."""
    if len(latencies) < LEAST_SAMPLES:
        raise ConfigError(f'{path}: {len(latencies)} latencies; it takes {LEAST_SAMPLES} or more')
    quantiles = np.percentile(latencies, np.linspace(0.0, 100.0, QUANTILES))
    data = {'schema': SCHEMA, **about, 'samples': len(latencies),
            'quantiles_ms': [round(float(v), 2) for v in quantiles]}
    path.write_text(json.dumps(data, indent=1) + '\n')


def read_delays(path: Path) -> NDArray[np.float64]:
    """The quantiles in a file. Shape: (QUANTILES,) ms. Raises ConfigError naming the file."""
    try:
        data = json.loads(read_text(path))
        values = [float(v) for v in data['quantiles_ms']] if data['schema'] == SCHEMA else []
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{path}: no delays in it: {error!r}') from error
    if (len(values) != QUANTILES or values != sorted(values)
            or not all(math.isfinite(v) and 0.0 <= v <= LONGEST for v in values)):
        raise ConfigError(f'{path}: takes schema {SCHEMA} and {QUANTILES} quantiles that rise, '
                          f'from 0 to {LONGEST:g} ms')
    return np.array(values)


class Delays:
    """A sequence of delays that depends on the seed alone."""

    def __init__(self, seed: int, quantiles: NDArray[np.floating] | None = None) -> None:
        """`quantiles` in ms at equal steps of probability; the shipped ones by default."""
        self._quantiles = (read_delays(find('config', SHIPPED)) if quantiles is None
                           else np.asarray(quantiles, np.float64))
        self._rng = np.random.default_rng([seed, 1])

    def draw(self) -> int:
        """The next delay, ns."""
        at = self._rng.uniform(0.0, len(self._quantiles) - 1.0)
        ms = np.interp(at, np.arange(len(self._quantiles)), self._quantiles)
        return round(float(ms) * 1e-3 * NANOSECONDS)

"""How far what was replayed agrees with what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = Mapping[str, NDArray[Any]]  # what a message says, by name


def identical(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays are the same bit for bit, NaN and the sign of zero included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference of two arrays; inf where shape or NaN and infinities differ."""
    if a.shape != b.shape:
        return float('inf')
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x)
    if not (np.array_equal(finite, np.isfinite(y))
            and np.array_equal(x[~finite], y[~finite], equal_nan=True)):
        return float('inf')
    return float(np.abs(x[finite] - y[finite]).max(initial=0.0))


@dataclass
class Tally:
    """Counts of one stage. `tolerance` 0 asks for the same bits."""

    tolerance: float = 0.0
    sets: int = 0  # sets that were replayed
    compared: int = 0  # messages of them that were recorded, too
    identical: int = 0  # of these, the same bit for bit
    agreeing: int = 0  # of these, within the tolerance
    largest: float = 0.0  # difference
    not_recorded: int = 0  # messages that only the replay gave: lost by the recorder, or by us
    not_replayed: int = 0  # messages that only the bag has
    late: int = 0  # deliberations that were late, and were so again
    first: dict[str, Any] | None = None  # what differs first
    lost: dict[str, int] = field(default_factory=dict)  # consumed, but not in the bag, by topic

    @property
    def agrees(self) -> bool:
        """Whether something was compared and all of it agrees."""
        return (self.sets > 0 and 0 < self.compared == self.agreeing
                and not self.not_replayed)

    def compare(self, topic: str, stamp: int, replayed: Values | None, recorded: Values | None
                ) -> None:
        """Take one message, or its absence on one side."""
        if recorded is None:
            self.not_recorded += replayed is not None
            return
        if replayed is None:
            self.not_replayed += 1
            self._note(topic, stamp, 'not replayed', float('inf'))
            return
        self.compared += 1
        same = replayed.keys() == recorded.keys()
        worst, what = (0.0, '') if same else (float('inf'), 'names')
        for name in recorded if same else ():
            same = same and identical(replayed[name], recorded[name])
            far = difference(replayed[name], recorded[name])
            if far > worst:
                worst, what = far, name
        self.identical += same
        self.largest = max(self.largest, worst)
        if same or worst <= self.tolerance > 0.0:
            self.agreeing += 1
        else:
            self._note(topic, stamp, what, worst)

    def _note(self, topic: str, stamp: int, what: str, size: float) -> None:
        if self.first is None:
            self.first = {'topic': topic, 'stamp': stamp, 'what': what,
                          'difference': size if np.isfinite(size) else None}

    def report(self) -> dict[str, Any]:
        """As JSON; a difference that is not finite is null."""
        largest = self.largest if np.isfinite(self.largest) else None
        return {'agrees': self.agrees, **vars(self), 'largest': largest}

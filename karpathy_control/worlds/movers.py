"""The lane of a mover, prepared for being asked hundreds of times a second."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from karpathy_control.contracts.world import Mover


class Track:
    """The same positions as `Mover.position`, with the lengths of the lane summed up once."""

    def __init__(self, mover: Mover) -> None:
        points = (*mover.waypoints, mover.waypoints[0])
        pieces = [(*a, b[0] - a[0], b[1] - a[1]) for a, b in zip(points, points[1:], strict=False)]
        lengths = [(dx * dx + dy * dy) ** 0.5 for _, _, dx, dy in pieces]
        kept = [(p, n) for p, n in zip(pieces, lengths, strict=True) if n > 0.0]
        self._pieces = [(x, y, dx / n, dy / n) for (x, y, dx, dy), n in kept]
        self._starts = [0.0, *accumulate(n for _, n in kept)]
        self._mover = mover

    def at(self, t: float) -> tuple[float, float]:
        """Where the mover's axis is, t seconds after the start; world frame, m."""
        if not self._pieces:
            return self._mover.waypoints[0]
        along = (self._mover.phase + self._mover.speed * t) % self._starts[-1]
        i = min(bisect_right(self._starts, along), len(self._pieces)) - 1
        x, y, ux, uy = self._pieces[i]
        rest = along - self._starts[i]
        return x + rest * ux, y + rest * uy

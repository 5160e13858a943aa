"""Latency of the loop from the stage logs that every node publishes in /diagnostics.

Pure logic. A stage log is `stamp:entered:left ...` in CLOCK_MONOTONIC ns; joined by stamp, the
logs say how long each stage and each hop took, and which observations never became an action.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

STAGES = ('sensor', 'perception', 'policy', 'control')
SOURCE = 'sim'  # its `left` is just before the frame goes to DDS: the frame's own stamp
MS = 1e-6  # ms per ns


def parse(text: str) -> list[tuple[int, int, int]]:
    """Rows of (stamp, entered, left)."""
    rows = []
    for item in text.split():
        stamp, entered, left = item.split(':')
        rows.append((int(stamp), int(entered), int(left)))
    return rows


def summary(values: Iterable[float]) -> dict[str, float]:
    """p50, p99 and max of a sample; empty where there is none."""
    sample = np.fromiter(values, float)
    if not len(sample):
        return {}
    p50, p99 = np.percentile(sample, (50, 99))
    return {'p50': round(float(p50), 3), 'p99': round(float(p99), 3),
            'max': round(float(sample.max()), 3)}


class LatencyBook:
    """Collects the stage logs of all nodes: all stamps, or the newest `keep` of each node."""

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._logs: dict[str, dict[int, tuple[int, int]]] = {
            name: {} for name in (SOURCE, *STAGES)}

    def add(self, node: str, text: str) -> None:
        """Take the `stages` value of one node's diagnostics."""
        log = self._logs.get(node)
        if log is None:
            return
        log.update({stamp: (entered, left) for stamp, entered, left in parse(text)})
        while self._keep is not None and len(log) > self._keep:
            del log[next(iter(log))]  # the one that came first

    def _origin(self, stamp: int) -> int | None:
        """When the frame left its source; on a robot, when `sensor` received it."""
        if stamp in self._logs[SOURCE]:
            return self._logs[SOURCE][stamp][1]
        row = self._logs['sensor'].get(stamp)
        return row[0] if row and not self._logs[SOURCE] else None

    def end_to_end(self) -> list[float]:
        """Stamp to the first cmd_vel computed from it, ms, in the order of stamps."""
        control = self._logs['control']
        pairs = ((self._origin(stamp), control[stamp][1]) for stamp in sorted(control))
        return [(left - origin) * MS for origin, left in pairs if origin is not None]

    def stages(self) -> dict[str, list[float]]:
        """Time inside each stage, ms; `transport` is what lies between them."""
        result = {name: [(left - entered) * MS for entered, left in self._logs[name].values()]
                  for name in STAGES}
        result['render'] = [(left - entered) * MS for entered, left in self._logs[SOURCE].values()]
        transport = []
        for stamp, (_, left) in self._logs['control'].items():
            origin = self._origin(stamp)
            rows = [self._logs[name].get(stamp) for name in STAGES]
            if origin is not None and all(rows):
                inside = sum(b - a for a, b in rows if rows)  # type: ignore[misc]
                transport.append((left - origin - inside) * MS)
        result['transport'] = transport
        return result

    def observations(self) -> tuple[int, list[int]]:
        """Camera stamps between the first and the last action, and those without an action."""
        acted = self._logs['policy']
        if not acted:
            return 0, []
        first, last = min(acted), max(acted)
        published = [s for s in self._logs[SOURCE] if first <= s <= last]
        return len(published), [s for s in sorted(published) if s not in acted]

    def recent(self, count: int = 20) -> float:
        """Median end-to-end latency of the last stamps, ms; NaN while there is none."""
        values = self.end_to_end()[-count:]
        return float(np.median(values)) if values else float('nan')

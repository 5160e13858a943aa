"""Join messages of several topics by their exact stamp. Pure logic: no ROS, testable by hand.

The writer publishes the anchor last. Topics are independent, so a part may still overtake it:
when a part that was in the previous set is missing, the set waits for it up to a deadline.
"""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT_STAMPS = 8


class StampJoin:
    """Collects parts by stamp and releases a set once its anchor and all expected parts are in."""

    def __init__(self, anchor: str, wait: int) -> None:
        """`anchor` is the part that every set has; `wait` in ns bounds waiting for the others."""
        self.anchor = anchor
        self._wait = wait
        self._sets: dict[int, dict[str, Any]] = {}
        self._waiting: deque[tuple[int, int]] = deque()  # (stamp, deadline on the steady clock)
        self._expected: frozenset[str] = frozenset()
        self._released = -1
        self.incomplete = 0  # sets released without a part that the previous one had

    def add(self, part: str, stamp: int, value: Any, now: int) -> list[tuple[int, dict[str, Any]]]:
        """Add a part; return the sets that are complete by it, oldest first."""
        if stamp <= self._released:
            return []
        self._sets.setdefault(stamp, {})[part] = value
        if part == self.anchor:
            self._waiting.append((stamp, now + self._wait))
        while len(self._sets) > KEPT_STAMPS:
            self._sets.pop(min(self._sets))
        return self._release(now)

    def expire(self, now: int) -> list[tuple[int, dict[str, Any]]]:
        """Return the sets whose wait is over."""
        return self._release(now)

    @property
    def deadline(self) -> int | None:
        """When `expire` must be called, steady ns; None while nothing waits."""
        return self._waiting[0][1] if self._waiting else None

    def clear(self) -> None:
        """Forget everything, the last released stamp included (the clock jumped back)."""
        self._sets.clear()
        self._waiting.clear()
        self._released = -1

    def _release(self, now: int) -> list[tuple[int, dict[str, Any]]]:
        done = []
        while self._waiting:
            stamp, deadline = self._waiting[0]
            parts = self._sets.get(stamp)
            if parts is not None:
                missing = self._expected - parts.keys()
                if missing and now < deadline:
                    break
                self.incomplete += bool(missing)
                self._expected = frozenset(parts)
                self._released = stamp
                done.append((stamp, parts))
            self._waiting.popleft()
            for old in [s for s in self._sets if s <= stamp]:
                del self._sets[old]
        return done

"""Join messages of several topics by their exact stamp. Pure logic: no ROS, testable by hand.

The writer publishes the anchor last. Topics are independent, so a part may still overtake it:
when a part that was in the previous set is missing, the set waits for it up to a deadline.
"""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT_STAMPS = 8
LATE = 100_000_000  # ns of stamps: a part so far behind the newest set is of no use to it
LEFT_BELOW, BACK_ABOVE = 0.5, 0.9  # shares of the sets


class StampJoin:
    """Collects parts by stamp and releases a set once its anchor and all expected parts are in."""

    def __init__(self, anchor: str, wait: int) -> None:
        """`anchor` is the part that every set has; `wait` in ns bounds waiting for the others."""
        self.anchor = anchor
        self._wait = wait
        self._sets: dict[int, dict[str, Any]] = {}
        self._waiting: deque[tuple[int, int]] = deque()  # (stamp, deadline on the steady clock)
        self._expected: frozenset[str] = frozenset()
        self._released = -1  # stamp of the last set
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

    def end_by(self, anchor: str) -> None:
        """Let another part end the sets from now on; what waits for the former is given up."""
        if anchor != self.anchor:
            self.anchor = anchor
            self._sets.clear()
            self._waiting.clear()
            self._expected = frozenset()

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


class AnchorChoice:
    """Which part ends a set: the learned one while it keeps up, else the one that it follows.

    Times are steady ns. The learned part is left out when, over `window`, it came in time for less
    than half of the sets, and waited for again when it came for nearly all of them.
    """

    def __init__(self, learned: str, followed: str, window: int) -> None:
        self._learned, self._followed = learned, followed
        self.window = window
        self.clear()

    def clear(self) -> None:
        """Start with the learned part."""
        self.chosen = self._learned
        self._since: int | None = None
        self._newest = -1
        self._seen: deque[tuple[int, bool]] = deque()  # when, and whether it was the learned part

    def see(self, part: str, stamp: int, now: int) -> str:
        """Note a part that has come; returns which part ends the sets now."""
        if part == self._followed:
            self._newest = max(self._newest, stamp)
        elif part != self._learned or stamp < self._newest - LATE:
            return self.chosen
        self._since = now if self._since is None else self._since
        self._seen.append((now, part == self._learned))
        while self._seen[0][0] <= now - self.window:
            self._seen.popleft()
        learned = sum(flag for _, flag in self._seen)
        followed = len(self._seen) - learned
        if now - self._since >= self.window:
            if learned < LEFT_BELOW * followed:
                self.chosen = self._followed
            elif learned > BACK_ABOVE * followed:
                self.chosen = self._learned
        return self.chosen

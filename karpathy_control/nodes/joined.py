"""A node that acts on whole sets of messages: joined by exact stamp, ended by a deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from karpathy_control.nodes import convert
from karpathy_control.nodes.base import LoopNode, steady
from karpathy_control.nodes.join import StampJoin

T = TypeVar('T')

JOIN_WAIT = 3_000_000  # ns that a set waits for a part which the previous one had
IDLE = 1_000_000_000  # ns between two looks while nothing waits
FUTURE = 1_000_000_000  # ns that a stamp may lead now; a set released ends all older ones


class JoinedNode(LoopNode[T]):
    """Subclasses call `join` in `build` and override `on_set`."""

    def join(self, anchor: str, parts: dict[str, tuple[str, Callable[[Any], Any]]]) -> None:
        """Listen to `parts` (name -> topic, reader) and join them; `anchor` ends every set."""
        self._join = StampJoin(anchor, JOIN_WAIT)
        self._arrived: dict[int, int] = {}
        for part, (name, read) in parts.items():
            self.listen(name, self._collector(part, read))
        self._deadline = self.steady_timer(IDLE * 1e-9, self._expire)

    def ended_by(self, part: str, stamp: int, received: int) -> str:
        """Which part ends the sets, now that this one has come; a subclass may change its mind."""
        return self._join.anchor

    def on_set(self, stamp: int, parts: dict[str, Any], received: int) -> None:
        """Act on one set; `received` is when its anchor came, steady ns."""
        raise NotImplementedError

    def activated(self) -> None:
        """Start with no set half collected."""
        self._join.clear()

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """How many sets came incomplete."""
        if not hasattr(self, '_join'):
            return False, 'not configured', {}
        return self.active, 'active' if self.active else 'inactive', {
            'sets.incomplete': str(self._join.incomplete)}

    def _collector(self, part: str, read: Callable[[Any], Any]) -> Callable[[Any, int], None]:
        def collect(message: Any, received: int) -> None:
            stamp = convert.stamp_ns(message.header)
            ahead = stamp - self.now()
            if ahead > FUTURE:
                raise convert.InvalidMessage(f'stamp {ahead * 1e-9:.3f} s ahead of now; it takes '
                                             f'at most {FUTURE * 1e-9:g}')
            self._join.end_by(self.ended_by(part, stamp, received))
            if part == self._join.anchor:
                self._arrived[stamp] = received
            self._release(self._join.add(part, stamp, read(message), steady()))
        return collect

    def _expire(self) -> None:
        self._release(self._join.expire(steady()))

    def _release(self, sets: list[tuple[int, dict[str, Any]]]) -> None:
        for stamp, parts in sets:
            received = self._arrived.pop(stamp)
            self._arrived = {s: t for s, t in self._arrived.items() if s > stamp}
            self.on_set(stamp, parts, received)
        due = self._join.deadline
        self._deadline.timer_period_ns = IDLE if due is None else max(due - steady(), 100_000)
        self._deadline.reset()

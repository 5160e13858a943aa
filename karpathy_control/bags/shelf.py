"""Messages of a recording by topic and stamp, held only as long as they may be asked for."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from karpathy_control.bags.reading import BagMessage
from karpathy_control.contracts.types import NANOSECONDS

HELD = 10 * NANOSECONDS  # a message that came so long before the newest is let go
RARE = ('control/goal', 'plan')  # whoever sets them stamps them: few, so they are held for good


def header_stamp(data: bytes) -> int:
    """The stamp, ns, of a message in CDR that begins with a std_msgs/Header.

    ValueError for one that is too short or whose stamp is none.
    """
    if len(data) < 12:
        raise ValueError(f'message of {len(data)} bytes; a header takes at least 12')
    seconds, rest = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    if seconds < 0 or rest >= NANOSECONDS:
        raise ValueError(f'stamp of {seconds} s and {rest} ns')
    return seconds * NANOSECONDS + rest


class Item(NamedTuple):
    """A message, and when it came (ns on any clock that goes on)."""

    topic: str
    stamp: int
    came: int
    content: Any


def items(messages: Iterable[BagMessage], names: dict[str, str]) -> Iterator[Item]:
    """Messages of a bag under the names of the interface table; without a stamp: left out."""
    for m in messages:
        try:
            yield Item(names[m.topic], header_stamp(m.data), m.received, m)
        except ValueError:
            continue


class Shelf:
    """Reads on in a stream of items until it holds what is asked for.

    Args:
        stream: in the order in which they came.
        keys: all that will come; None where that is not known: then an item with a later stamp
            says that an earlier one will not.

    """

    def __init__(self, stream: Iterator[Item], keys: set[tuple[str, int]] | None = None) -> None:
        self._stream, self._keys = stream, keys
        self._held: dict[tuple[str, int], deque[Item]] = {}
        self._order: deque[Item] = deque()
        self._newest = -1  # stamp

    def take(self, topic: str, stamp: int) -> Any | None:
        """The content of a message, None where there is none.

        Of several with one topic and stamp each call gives the next, and the last one again.
        """
        key = topic, stamp
        if self._keys is not None and key not in self._keys:
            return None
        while key not in self._held:
            if self._keys is None and self._newest > stamp:
                return None
            item = next(self._stream, None)
            if item is None:
                return None
            self._put(item)
        found = self._held[key]
        return (found.popleft() if len(found) > 1 else found[0]).content

    def _put(self, item: Item) -> None:
        self._newest = max(self._newest, item.stamp)
        self._held.setdefault((item.topic, item.stamp), deque()).append(item)
        if item.topic not in RARE:
            self._order.append(item)
        while self._order and item.came - self._order[0].came > HELD:
            old = self._order.popleft()
            self._held.pop((old.topic, old.stamp), None)

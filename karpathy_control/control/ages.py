"""How old each input is, and how often it comes, on the clock that can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from karpathy_control.contracts.config.robot import DEADLINE
from karpathy_control.contracts.types import NANOSECONDS

_SMOOTH = 0.1  # weight of the newest interval in the mean one
_SLOW = 0.45  # of the nominal rate: below it an input is slow; half is what many drivers give


class Health(Enum):
    """What the age of one input says."""

    NEVER = 'never'  # nothing valid has arrived
    FRESH = 'fresh'
    STALE = 'stale'
    FUTURE = 'future'  # its stamp leads the clock by more than the tolerance


@dataclass
class Input:
    """The stamps of one input: of the last message that was taken, and when it came."""

    nominal: float = 0.0  # Hz that the robot's profile says; 0: no rate is expected
    stamp: int | None = None  # ns, node clock; None where the message has no stamp
    received: int | None = None  # ns, steady; None before the first message
    late: int = 0  # messages left out: older than the last, or the same again
    missed: int = 0  # deadlines: messages that came much later than the rate says
    interval: float = math.nan  # s between stamps, smoothed

    def take(self, stamp: int | None, received: int, max_age: float) -> bool:
        """Whether a message is newer than the last one; if so, remember it.

        A stamp that is not newer is left out, so a repeated message does not make its input
        look alive; but once the input has been silent for `max_age` s any stamp starts it anew,
        or a driver whose clock was set back would stay lost for ever.
        """
        if (stamp is not None and self.stamp is not None and self.received is not None
                and stamp <= self.stamp and received - self.received <= max_age * NANOSECONDS):
            self.late += 1
            return False
        if stamp is not None and self.stamp is not None and stamp > self.stamp:
            passed = (stamp - self.stamp) / NANOSECONDS
            self.missed += self.nominal > 0.0 and passed * self.nominal > DEADLINE
            self.interval = passed if math.isnan(self.interval) else (
                self.interval + _SMOOTH * (passed - self.interval))
        self.stamp, self.received = stamp, received
        return True

    def clear(self) -> None:
        """Forget the last message."""
        self.stamp = self.received = None
        self.interval = math.nan

    @property
    def rate(self) -> float:
        """Messages per second of stamps, smoothed; NaN before two have come."""
        return 1.0 / self.interval

    @property
    def slow(self) -> bool:
        """Whether it comes at less than half of its nominal rate."""
        return self.rate < _SLOW * self.nominal

    def age(self, now: int, steady: int, sim_time: bool) -> float:
        """Seconds since the message; infinite before the first, negative from the future.

        With sim time by stamp (a silent clock is the supervisor's to see); without, the older of
        stamp and receipt. A message without a stamp ages by receipt.
        """
        if self.received is None:
            return float('inf')
        by_receipt = (steady - self.received) / NANOSECONDS
        if self.stamp is None:
            return by_receipt
        by_stamp = (now - self.stamp) / NANOSECONDS
        return by_stamp if sim_time or by_stamp < 0.0 else max(by_stamp, by_receipt)

    def health(self, now: int, steady: int, sim_time: bool, max_age: float,
               future_tolerance: float) -> Health:
        """Judge the age against its bounds, s."""
        if self.received is None:
            return Health.NEVER
        age = self.age(now, steady, sim_time)
        if age < -future_tolerance:
            return Health.FUTURE
        return Health.FRESH if age <= max_age else Health.STALE

"""Do odometry and IMU tell the same turning rate? Neither can be trusted where they do not.

Compared are means over the same stretch of stamps, so that neither noise nor the different rates
of the two matter. Wheels slip: the gyro of a skid-steered base may well tell less than the wheels
do, therefore a share of the larger rate is allowed beside the fixed bound. A step of either by
more than that is found within the window.

Where fewer than three samples of either come in a window nothing can be compared, and `unchecked`
says so. The window is WINDOW, longer for a robot whose sensors are known to be slow.
"""

from __future__ import annotations

import math
from collections import deque

from karpathy_control.contracts.types import NANOSECONDS

WINDOW = NANOSECONDS // 10  # over which the rates are averaged at least, ns of stamps
SETTLE = NANOSECONDS // 2  # they must agree for so long again
SLIP = 1.0 / 3.0  # of the larger rate
PATIENCE = NANOSECONDS  # without a comparison that the two are not compared is said after this
_LEAST = 3  # samples of each within the window
_PERIODS = 3.5  # of the slower one that a window holds: _LEAST, whatever the phase and jitter


class TurnCheck:
    """Takes samples as they come; stamps in ns, rates in rad/s about z of base."""

    def __init__(self, odom_rate: float = 50.0, imu_rate: float = 100.0) -> None:
        """Rates in Hz; 0 for an IMU that is not there."""
        slower = min(odom_rate, imu_rate or odom_rate)
        self.window = max(WINDOW, round(_PERIODS / slower * NANOSECONDS))  # ns
        self._odom: deque[tuple[int, float]] = deque()
        self._imu: deque[tuple[int, float]] = deque()
        self._last: int | None = None  # stamp of the last disagreement
        self._compared: int | None = None  # of the last comparison, at first of the first sample

    def clear(self) -> None:
        """Forget everything."""
        self._odom.clear()
        self._imu.clear()
        self._last = self._compared = None

    @property
    def unchecked(self) -> bool:
        """Whether both come, but too slowly for a comparison. Without an IMU that is for others.

        Judged at the last sample of odometry; never within PATIENCE of the start.
        """
        if self._compared is None or not self._odom or not self._imu:
            return False
        now = self._odom[-1][0]
        return now - self._compared > PATIENCE and now - self._imu[-1][0] < 4 * self.window

    def on_imu(self, stamp: int, rate: float) -> None:
        """Take a gyro sample."""
        self._imu.append((stamp, rate))
        while self._imu[0][0] <= stamp - 4 * self.window:
            self._imu.popleft()

    def on_odom(self, stamp: int, rate: float, bound: float) -> bool:
        """Take a turning rate of odometry; whether the two disagree by more than `bound`.

        True until they have agreed for SETTLE. `bound` 0 switches the check off.
        """
        self._odom.append((stamp, rate))
        while self._odom[0][0] <= stamp - self.window:
            self._odom.popleft()
        if self._compared is None:
            self._compared = stamp
        first = self._odom[0][0]
        gyro = [r for t, r in self._imu if first <= t <= stamp]
        enough = len(self._odom) >= _LEAST and len(gyro) >= _LEAST
        if enough:
            self._compared = stamp
        if bound > 0.0 and enough:
            wheels = math.fsum(r for _, r in self._odom) / len(self._odom)
            turned = math.fsum(gyro) / len(gyro)
            if abs(wheels - turned) > max(bound, SLIP * max(abs(wheels), abs(turned))):
                self._last = stamp
        return self._last is not None and bound > 0.0 and 0 <= stamp - self._last < SETTLE

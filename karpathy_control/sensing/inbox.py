"""What has come in and is not yet out of use: read at any stamp, and noted down for a replay."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.types import NANOSECONDS, RawDepth, RawScan, State
from karpathy_control.sensing.align import ImuHistory, OdometryHistory
from karpathy_control.sensing.route import Route

SCAN_LEAD = NANOSECONDS // 100  # a scan may be this much later than the stamp it is read at
RHYTHM = 0.1  # weight of the newest interval in the mean between two odometry messages
STATE_SPAN = 2 * NANOSECONDS  # no set reads anything older, whatever the parameters
_TIMES = ('now', 'image_stamp', 'image_received', 'depth_received', 'odom_received', 'started')


class Inbox:
    """Keeps the latest messages, and when they came. Whoever adds one has checked it.

    Stamps and `now` are ROS time, `received`, `started` and `odom_due` CLOCK_MONOTONIC, all ns.
    """

    def __init__(self) -> None:
        self.scans: deque[tuple[RawScan, int]] = deque(maxlen=16)  # each with its `received`
        self.depths: deque[RawDepth] = deque(maxlen=4)
        self.odom = OdometryHistory()
        self.imu = ImuHistory()
        self.goal: tuple[float, float] | None = None  # m, odom
        self.route = Route()
        self.clear()

    def clear(self) -> None:
        """Forget all sensor data and times; goal and plan stay."""
        self.scans.clear()
        self.depths.clear()
        self.odom.clear()
        self.imu.clear()
        self.now: int | None = None  # when sets were last asked for
        self.image_stamp: int | None = None
        self.image_received: int | None = None
        self.depth_received: int | None = None
        self.odom_received: int | None = None
        self._odom_interval = 0.0  # mean between two arrivals, ns; 0 while unknown
        self.started: int | None = None  # when the first image or scan came

    # --- in ---

    def note_image(self, stamp: int, received: int) -> None:
        """Note that an image has come; it is kept by whoever waits for its set."""
        self._start(received)
        self.image_stamp, self.image_received = stamp, received

    def add_depth(self, depth: RawDepth, received: int) -> None:
        """Keep a depth image."""
        self.depth_received = received
        self.depths.append(depth)

    def add_scan(self, scan: RawScan, received: int) -> None:
        """Keep a scan."""
        self._start(received)
        self.scans.append((scan, received))

    def add_odom(self, state: State, received: int) -> None:
        """Keep odometry and learn its rhythm."""
        self.odom.add(state)
        if self.odom_received is not None:
            interval = float(received - self.odom_received)
            known = self._odom_interval or interval
            self._odom_interval = known + RHYTHM * (interval - known)
        self.odom_received = received

    def drop_after(self, latest: int) -> int:
        """Forget what has a later stamp; returns how many messages."""
        count = self.odom.drop_after(latest) + self.imu.drop_after(latest)
        scans = [kept for kept in self.scans if kept[0].stamp <= latest]
        depths = [depth for depth in self.depths if depth.stamp <= latest]
        count += len(self.scans) - len(scans) + len(self.depths) - len(depths)
        self.scans = deque(scans, self.scans.maxlen)
        self.depths = deque(depths, self.depths.maxlen)
        return count

    # --- out ---

    @property
    def odom_due(self) -> float | None:
        """When odometry by its rhythm comes next at the earliest; None while unknown."""
        if self.odom_received is None or self._odom_interval <= 0.0:
            return None
        return self.odom_received + 0.9 * self._odom_interval

    def scan_at(self, stamp: int, max_age: float) -> RawScan | None:
        """The newest scan not too new for `stamp`; None where it is more than `max_age` s old."""
        scan = next((scan for scan, _ in reversed(self.scans) if scan.stamp <= stamp + SCAN_LEAD),
                    None)
        return scan if scan is not None and stamp - scan.stamp <= max_age * NANOSECONDS else None

    def depth_at(self, stamp: int, max_age: float) -> RawDepth | None:
        """The depth image nearest to `stamp`, unless more than `max_age` s lie between."""
        best = min(self.depths, key=lambda depth: abs(depth.stamp - stamp), default=None)
        limit = max_age * NANOSECONDS
        return best if best is not None and abs(best.stamp - stamp) <= limit else None

    # --- what a replay starts from ---

    def state(self) -> dict[str, NDArray[Any]]:
        """All but the depth images, as far back as sets read, by name."""
        newest = max((s for s in (self.odom.newest, self.imu.newest) if s is not None), default=0)
        scans = [kept for kept in self.scans if kept[0].stamp > newest - STATE_SPAN]
        return {
            **self.odom.state(newest - STATE_SPAN), **self.imu.state(newest - STATE_SPAN),
            **{f'time.{name}': _optional(getattr(self, name)) for name in _TIMES},
            'interval': np.array(self._odom_interval),
            'scan_times': np.array([(s.stamp, t) for s, t in scans], np.int64).reshape(-1, 2),
            'scan_limits': np.array([(s.angle_min, s.angle_increment, s.range_min, s.range_max)
                                     for s, _ in scans], np.float64).reshape(-1, 4),
            'scan_sweeps': np.array([s.time_increment for s, _ in scans], np.float64),
            **{f'ranges.{i}': scan.ranges for i, (scan, _) in enumerate(scans)},
            'goal': np.array(self.goal or [], np.float64),
            **self.route.state()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Hold what `state` gave; KeyError or ValueError for what does not fit."""
        self.clear()
        self.odom.restore(state)
        self.imu.restore(state)
        for name in _TIMES:
            value = state[f'time.{name}']
            setattr(self, name, int(value[0]) if value.size else None)
        self._odom_interval = float(state['interval'])
        # A journal from before scans were corrected has none.
        sweeps = state.get('scan_sweeps', np.zeros(len(state['scan_times'])))
        for i, (times, limits) in enumerate(zip(state['scan_times'], state['scan_limits'],
                                                strict=True)):
            first, step, nearest, farthest = map(float, limits)
            scan = RawScan(int(times[0]), first, step, nearest, farthest, state[f'ranges.{i}'],
                           time_increment=float(sweeps[i]))
            self.scans.append((scan, int(times[1])))
        self.goal = None
        if state['goal'].size:
            x, y = state['goal']
            self.goal = (float(x), float(y))
        self.route.restore(state)

    def _start(self, received: int) -> None:
        self.started = received if self.started is None else self.started


def _optional(value: int | None) -> NDArray[np.int64]:
    return np.array([] if value is None else [value], np.int64)

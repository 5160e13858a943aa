"""From the raw messages to complete observation sets, each with one stamp.

The reference is the camera image, or the scan while the camera is silent. A set is released as
soon as odometry at or after its stamp is there (and depth, where depth has been arriving), and
`align_wait` after the reference arrived at the latest; then the state is extrapolated and says so.
Odometry that by its rhythm cannot come within that time is not waited for.
A camera whose image stays the same although the robot moves is frozen and counts as silent: its
images and depth are left out until they change again. Frozen depth alone is left out alone.
Clocks: stamps and `now` are ROS time, `received`, `steady` and deadlines CLOCK_MONOTONIC, all ns.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config.sensor import SensorConfig
from karpathy_control.contracts.geometry import behind_wheels, to_frame
from karpathy_control.contracts.types import (
    NANOSECONDS,
    CameraModel,
    DepthPoints,
    FloatArray,
    ImuSample,
    Observation,
    Pose2,
    RawDepth,
    RawImage,
    RawScan,
    Scan,
    State,
)
from karpathy_control.mapping.deskew import measured
from karpathy_control.sensing import health
from karpathy_control.sensing.camera import Camera
from karpathy_control.sensing.inbox import Inbox
from karpathy_control.sensing.resample import ScanResampler

CLOCK_SLACK = NANOSECONDS // 20  # a clock that is slewed back by less has not jumped
JUMP = NANOSECONDS  # a stream whose stamps fall back by more has been restarted
DEPTH_MEMORY = NANOSECONDS  # depth that came within this is waited for
PENDING = 4  # references that may wait at once; the oldest goes first


@dataclass
class _Pending:
    """A reference that waits for its set."""

    source: RawImage | RawScan
    deadline: int  # steady ns


class SensorPipeline:
    """Collects raw messages and releases aligned observations; not thread safe.

    Every `on_...` returns None, or the text of what was wrong with the message, which is then
    left out and counted.
    """

    def __init__(self, config: SensorConfig) -> None:
        self.counts: Counter[str] = Counter()
        self._inbox = Inbox()
        self._camera = Camera(config)
        self._pending: deque[_Pending] = deque()
        self.clear()
        self.configure(config)

    def configure(self, config: SensorConfig) -> None:
        """Take a configuration; a live change keeps everything collected."""
        self._config = config
        self._resampler = ScanResampler(config.robot.lidar_pose)
        self._camera.configure(config)

    def warm_up(self) -> None:
        """Compile every kernel, so that the first set is as fast as the next."""
        scan = RawScan(0, 0.0, 0.1, 0.1, 10.0, np.ones(8, np.float32), time_increment=0.01)
        swept = measured(scan, self._config.robot, lambda stamp: Pose2())
        self._resampler(swept or scan, 0, Pose2())
        self._camera.warm_up()

    def clear(self) -> None:
        """Forget all sensor data, as after a jump of the clock; goal, plan and counts stay."""
        self._inbox.clear()
        self._camera.clear()
        self._pending.clear()
        self._released = -1  # stamp of the last set

    # --- inputs ---

    def on_camera_model(self, model: CameraModel) -> str | None:
        """Intrinsics of the colour camera; depth is registered to it."""
        return self._report('camera_model', self._camera.take_model(model))

    def on_image(self, image: RawImage, received: int) -> str | None:
        """A colour image; without intrinsics there is no use for it."""
        if self._camera.model is None:
            return self._report('no_camera_model', 'image without camera_info')
        problem = health.check_image(image, self._camera.model)
        if problem is not None:
            return self._report('image', problem)
        self._watch(image.stamp, self._inbox.image_stamp)
        self._inbox.note_image(image.stamp, received)
        self._enqueue(image, received)
        return None

    def on_depth(self, depth: RawDepth, received: int) -> str | None:
        """A depth image registered to the colour camera."""
        problem = health.check_depth(depth)
        if problem is None:
            depths = self._inbox.depths
            self._watch(depth.stamp, depths[-1].stamp if depths else None)
            self._inbox.add_depth(depth, received)
        return self._report('depth', problem)

    def on_scan(self, scan: RawScan, received: int) -> str | None:
        """A planar scan."""
        problem = health.check_scan(scan)
        if problem is None:
            scans = self._inbox.scans
            self._watch(scan.stamp, scans[-1][0].stamp if scans else None)
            self._inbox.add_scan(scan, received)
        return self._report('scan', problem)

    def on_imu(self, sample: ImuSample, received: int) -> str | None:
        """An inertial sample, already turned to base."""
        problem = health.check_imu(sample)
        if problem is None:
            self._watch(sample.stamp, self._inbox.imu.newest)
            self._inbox.imu.add(sample)
        return self._report('imu', problem)

    def on_odom(self, state: State, received: int) -> str | None:
        """Odometry."""
        problem = health.check_odom(state)
        if problem is None:
            self._watch(state.stamp, self._inbox.odom.newest)
            self._inbox.add_odom(behind_wheels(state, self._config.robot.creep), received)
        return self._report('odom', problem)

    def on_goal(self, goal: tuple[float, float] | None) -> None:
        """The goal in odom, m, or None."""
        self._inbox.goal = goal

    def on_plan(self, plan: FloatArray | None, stamp: int = 0) -> str | None:
        """A route in odom, shape (n, 2) m, or None. Without a stamp (0) it is of this moment."""
        now = self._inbox.odom.newest or 0
        return self._report('plan', self._inbox.route.take(plan, stamp or now, now,
                                                           self._config.plan_max_age))

    # --- output ---

    def release(self, now: int, steady: int) -> list[Observation]:
        """The sets that can go out now, in order of stamp; each stamp once."""
        inbox = self._inbox
        if inbox.now is not None and now < inbox.now - CLOCK_SLACK:
            self._jumped_back()
        inbox.now = now
        self._drop_future(now + round(self._config.future_tolerance * NANOSECONDS))
        if self.camera_silent(now, steady) and inbox.scans:
            scan, received = inbox.scans[-1]
            waiting = self._pending[-1].source.stamp if self._pending else self._released
            if scan.stamp > waiting:
                self._enqueue(scan, received)
        sets = []
        while self._pending:
            first = self._pending[0]
            if first.source.stamp <= self._released:
                self.counts['dropped_out_of_order'] += 1
            elif steady < first.deadline and not self._complete(first, steady):
                break
            else:
                observation = self._build(first.source)
                if observation is not None:
                    self._released = observation.stamp
                    self.counts['released'] += 1
                    self.counts['extrapolated'] += observation.state.extrapolated
                    sets.append(observation)
            self._pending.popleft()
        return sets

    def next_deadline(self) -> int | None:
        """Steady time at which `release` must be called again at the latest, ns, or None."""
        return self._pending[0].deadline if self._pending else None

    def camera_silent(self, now: int, steady: int) -> bool:
        """True once no image has come for two periods, by the steady clock and by its stamp.

        Both, since simulated time may run slower than the steady clock. At once on a robot that
        has no camera.
        """
        if not self._config.robot.camera_rate:
            return True
        limit = round(2.0 * self._config.camera_period * NANOSECONDS)
        inbox = self._inbox
        if inbox.image_received is None or inbox.image_stamp is None:
            return inbox.started is not None and steady - inbox.started > limit
        return steady - inbox.image_received > limit and now - inbox.image_stamp > limit

    @property
    def frozen(self) -> tuple[str, ...]:
        """What was found frozen at the last set: `image`, `depth`."""
        return self._camera.frozen

    # --- what a replay starts from ---

    @property
    def idle(self) -> bool:
        """Whether no image or depth waits for its set: only then `state` holds what matters."""
        return (not self._pending and not self.frozen
                and all(depth.stamp <= self._released for depth in self._inbox.depths))

    def state(self) -> dict[str, NDArray[Any]]:
        """What later sets depend on, by name; only while `idle`.

        Left out are depth images, which no later set uses while `depth_max_age` is less than the
        camera's period, and how long frames have been equal that were not called frozen.
        """
        assert self.idle
        return {**self._inbox.state(), **self._camera.state(),
                'released': np.array(self._released)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave; KeyError or ValueError for what does not fit."""
        self._pending.clear()
        self._inbox.restore(state)
        self._report('camera_model', self._camera.restore(state))
        self._released = int(state['released'])

    # --- inside ---

    def _report(self, cause: str, problem: str | None) -> str | None:
        if problem is not None:
            self.counts[f'dropped_{cause}'] += 1
        return problem

    def _watch(self, stamp: int, newest: int | None) -> None:
        """A stream that falls far back was restarted: its past is another world's."""
        if newest is not None and stamp < newest - JUMP:
            self._jumped_back()

    def _jumped_back(self) -> None:
        self.counts['clock_jumps'] += 1
        self.clear()

    def _enqueue(self, source: RawImage | RawScan, received: int) -> None:
        if len(self._pending) >= PENDING:
            self._pending.popleft()
            self.counts['dropped_overrun'] += 1
        wait = round(self._config.align_wait * NANOSECONDS)
        self._pending.append(_Pending(source, received + wait))

    def _drop_future(self, latest: int) -> None:
        """Take out what claims to come from later than a clock error explains."""
        waiting = [pending for pending in self._pending if pending.source.stamp <= latest]
        count = self._inbox.drop_after(latest) + len(self._pending) - len(waiting)
        self._pending = deque(waiting)
        if count:
            self.counts['dropped_future'] += count

    def _complete(self, pending: _Pending, steady: int) -> bool:
        """True where waiting longer could not make the set better."""
        inbox, stamp = self._inbox, pending.source.stamp
        newest = inbox.odom.newest
        in_time = inbox.odom_due is None or inbox.odom_due <= pending.deadline
        if newest is None or (newest < stamp and in_time):
            return False
        expects_depth = (inbox.depth_received is not None
                         and steady - inbox.depth_received <= DEPTH_MEMORY)
        return not expects_depth or inbox.depth_at(stamp, self._config.depth_max_age) is not None

    def _build(self, source: RawImage | RawScan) -> Observation | None:
        config, inbox, camera = self._config, self._inbox, self._camera
        state = inbox.odom.at(source.stamp, config.odom_max_gap)
        if state is None:
            self.counts['dropped_odom_missing'] += 1
            return None
        image = None
        if not isinstance(source, RawImage):
            camera.no_image()
        elif (image := camera.image(source, state.pose)) is None:
            self.counts['dropped_image'] += 1  # the model changed while it waited
            return None
        depth, points = self._read_depth(state)
        for what in self.frozen:
            self.counts[f'frozen_{what}'] += 1
        if 'image' in self.frozen:
            image = None
        if self.frozen:  # a camera with a frozen image is not trusted with its depth either
            depth = points = None
        goal = None
        if inbox.goal is not None:
            x, y = to_frame([inbox.goal], state.pose)[0]
            goal = (float(x), float(y))
        plan, why = inbox.route.at(source.stamp, inbox.goal, config.plan_max_age)
        if why:
            self.counts[why] += 1
        return Observation(
            stamp=source.stamp, state=state, scan=self._read_scan(state), image=image, depth=depth,
            depth_points=points, imu=inbox.imu.window(source.stamp), goal=goal, plan=plan)

    def _read_scan(self, state: State) -> Scan | None:
        inbox, config = self._inbox, self._config
        scan = inbox.scan_at(state.stamp, config.scan_max_age)
        shift = told = None
        if scan is not None:
            shift = inbox.odom.shift(scan.stamp, state, config.odom_max_gap)
            told = measured(scan, config.robot, self._pose_at)
        if shift is None or told is None:
            self.counts['without_scan'] += 1
            return None
        return self._resampler(told, state.stamp, shift)

    def _pose_at(self, stamp: int) -> Pose2 | None:
        state = self._inbox.odom.at(stamp, self._config.odom_max_gap)
        return None if state is None else state.pose

    def _read_depth(self, state: State) -> tuple[FloatArray | None, DepthPoints | None]:
        raw = self._inbox.depth_at(state.stamp, self._config.depth_max_age)
        taken = None if raw is None else self._pose_at(raw.stamp)
        read = None if raw is None or taken is None else self._camera.depth(raw, taken, state)
        if read is None:
            self.counts['without_depth'] += 1
            return None, None
        return read

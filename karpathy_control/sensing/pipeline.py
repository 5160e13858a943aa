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
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config.sensor import SensorConfig
from karpathy_control.contracts.geometry import from_frame, to_frame
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
from karpathy_control.mapping.frozen import FrozenImage, FrozenScan
from karpathy_control.sensing import health
from karpathy_control.sensing.align import ImuHistory, OdometryHistory, relative_pose
from karpathy_control.sensing.depth_filter import DepthFilter
from karpathy_control.sensing.preprocess import ImageWarp, scaled_model, virtual_model
from karpathy_control.sensing.resample import ScanResampler
from karpathy_control.sensing.route import Route

SCAN_LEAD = NANOSECONDS // 100  # a scan may be this much later than the reference
CLOCK_SLACK = NANOSECONDS // 20  # a clock that is slewed back by less has not jumped
JUMP = NANOSECONDS  # a stream whose stamps fall back by more has been restarted
DEPTH_MEMORY = NANOSECONDS  # depth that came within this is waited for
RHYTHM = 0.1  # weight of the newest interval in the mean between two odometry messages
STATE_SPAN = 2 * NANOSECONDS  # no set reads anything older, whatever the parameters
PENDING = 4  # references that may wait at once; the oldest goes first
_TIMES = ('now', 'image_stamp', 'image_received', 'depth_received', 'odom_received', 'started')


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
        self._scans: deque[tuple[RawScan, int]] = deque(maxlen=16)
        self._depths: deque[RawDepth] = deque(maxlen=4)
        self._pending: deque[_Pending] = deque()
        self._odom = OdometryHistory()
        self._imu = ImuHistory()
        self._frozen_image, self._frozen_depth = FrozenImage(), FrozenScan()
        self._goal: tuple[float, float] | None = None
        self._route = Route()
        self._model: CameraModel | None = None
        self._warp: ImageWarp | None = None
        self._filter: DepthFilter | None = None
        self.clear()
        self.configure(config)

    def configure(self, config: SensorConfig) -> None:
        """Take a configuration; a live change keeps everything collected."""
        self._config = config
        self._resampler = ScanResampler(config.robot.lidar_pose)
        self._filter = None
        if not config.find_frozen:
            self._frozen_image.clear()
            self._frozen_depth.clear()

    def warm_up(self) -> None:
        """Compile every kernel, so that the first set is as fast as the next."""
        scan = RawScan(0, 0.0, 0.1, 0.1, 10.0, np.ones(8, np.float32), time_increment=0.01)
        swept = measured(scan, self._config.robot, lambda stamp: Pose2())
        self._resampler(swept or scan, 0, Pose2())
        model = virtual_model()
        robot = self._config.robot
        DepthFilter(model, robot.camera_pose, robot.ground_clearance, robot.height)(
            np.ones((model.height, model.width), np.float32), 0)

    def clear(self) -> None:
        """Forget all sensor data, as after a jump of the clock; goal, plan and counts stay."""
        self._scans.clear()
        self._depths.clear()
        self._pending.clear()
        self._odom.clear()
        self._imu.clear()
        self._frozen_image.clear()
        self._frozen_depth.clear()
        self._released = -1  # stamp of the last set
        self._now: int | None = None
        self._image_stamp: int | None = None
        self._image_received: int | None = None
        self._depth_received: int | None = None
        self._odom_received: int | None = None
        self._odom_interval = 0.0  # mean between two arrivals, steady ns; 0 while unknown
        self._started: int | None = None  # steady time of the first input

    # --- inputs ---

    def on_camera_model(self, model: CameraModel) -> str | None:
        """Intrinsics of the colour camera; depth is registered to it."""
        problem = health.check_camera_model(model)
        if problem is None and model != self._model:
            try:
                self._warp = ImageWarp(model)
            except ValueError as error:
                problem = str(error)
            else:
                self._model, self._filter = model, None
        return self._report('camera_model', problem)

    def on_image(self, image: RawImage, received: int) -> str | None:
        """A colour image; without intrinsics there is no use for it."""
        if self._model is None:
            return self._report('no_camera_model', 'image without camera_info')
        problem = health.check_image(image, self._model)
        if problem is not None:
            return self._report('image', problem)
        self._watch(image.stamp, self._image_stamp)
        self._started = received if self._started is None else self._started
        self._image_stamp, self._image_received = image.stamp, received
        self._enqueue(image, received)
        return None

    def on_depth(self, depth: RawDepth, received: int) -> str | None:
        """A depth image registered to the colour camera."""
        problem = health.check_depth(depth)
        if problem is None:
            self._watch(depth.stamp, self._depths[-1].stamp if self._depths else None)
            self._depth_received = received
            self._depths.append(depth)
        return self._report('depth', problem)

    def on_scan(self, scan: RawScan, received: int) -> str | None:
        """A planar scan."""
        problem = health.check_scan(scan)
        if problem is None:
            self._watch(scan.stamp, self._scans[-1][0].stamp if self._scans else None)
            self._started = received if self._started is None else self._started
            self._scans.append((scan, received))
        return self._report('scan', problem)

    def on_imu(self, sample: ImuSample, received: int) -> str | None:
        """An inertial sample, already turned to base."""
        problem = health.check_imu(sample)
        if problem is None:
            self._watch(sample.stamp, self._imu.newest)
            self._imu.add(sample)
        return self._report('imu', problem)

    def on_odom(self, state: State, received: int) -> str | None:
        """Odometry."""
        problem = health.check_odom(state)
        if problem is None:
            self._watch(state.stamp, self._odom.newest)
            self._odom.add(state)
            if self._odom_received is not None:
                interval = float(received - self._odom_received)
                known = self._odom_interval or interval
                self._odom_interval = known + RHYTHM * (interval - known)
            self._odom_received = received
        return self._report('odom', problem)

    def on_goal(self, goal: tuple[float, float] | None) -> None:
        """The goal in odom, m, or None."""
        self._goal = goal

    def on_plan(self, plan: FloatArray | None, stamp: int = 0) -> str | None:
        """A route in odom, shape (n, 2) m, or None. Without a stamp (0) it is of this moment."""
        now = self._odom.newest or 0
        return self._report('plan', self._route.take(plan, stamp or now, now,
                                                     self._config.plan_max_age))

    # --- output ---

    def release(self, now: int, steady: int) -> list[Observation]:
        """The sets that can go out now, in order of stamp; each stamp once."""
        if self._now is not None and now < self._now - CLOCK_SLACK:
            self._jumped_back()
        self._now = now
        self._drop_future(now + round(self._config.future_tolerance * NANOSECONDS))
        if self.camera_silent(now, steady) and self._scans:
            scan, received = self._scans[-1]
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
        if self._image_received is None or self._image_stamp is None:
            return self._started is not None and steady - self._started > limit
        return steady - self._image_received > limit and now - self._image_stamp > limit

    @property
    def frozen(self) -> tuple[str, ...]:
        """What was found frozen at the last set: `image`, `depth`."""
        verdicts = {'image': self._frozen_image.frozen, 'depth': self._frozen_depth.frozen}
        return tuple(name for name, frozen in verdicts.items() if frozen)

    # --- what a replay starts from ---

    @property
    def idle(self) -> bool:
        """Whether no image or depth waits for its set: only then `state` holds what matters."""
        return (not self._pending and not self.frozen
                and all(depth.stamp <= self._released for depth in self._depths))

    def state(self) -> dict[str, NDArray[Any]]:
        """What later sets depend on, by name; only while `idle`.

        Left out are depth images, which no later set uses while `depth_max_age` is less than the
        camera's period, and how long frames have been equal that were not called frozen.
        """
        assert self.idle
        newest = max((s for s in (self._odom.newest, self._imu.newest) if s is not None),
                     default=0)
        scans = [kept for kept in self._scans if kept[0].stamp > newest - STATE_SPAN]
        return {
            **self._odom.state(newest - STATE_SPAN), **self._imu.state(newest - STATE_SPAN),
            **{f'time.{name}': _optional(getattr(self, f'_{name}')) for name in _TIMES},
            'released': np.array(self._released), 'interval': np.array(self._odom_interval),
            'scan_times': np.array([(s.stamp, t) for s, t in scans], np.int64).reshape(-1, 2),
            'scan_limits': np.array([(s.angle_min, s.angle_increment, s.range_min, s.range_max)
                                     for s, _ in scans], np.float64).reshape(-1, 4),
            'scan_sweeps': np.array([s.time_increment for s, _ in scans], np.float64),
            **{f'ranges.{i}': scan.ranges for i, (scan, _) in enumerate(scans)},
            'goal': np.array(self._goal or [], np.float64),
            **self._route.state(),
            **({} if self._model is None else {'model': np.array(
                [*astuple(self._model)[:6], *self._model.distortion], np.float64)})}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave; KeyError or ValueError for what does not fit."""
        self.clear()
        self._odom.restore(state)
        self._imu.restore(state)
        for name in _TIMES:
            value = state[f'time.{name}']
            setattr(self, f'_{name}', int(value[0]) if value.size else None)
        self._released, self._odom_interval = int(state['released']), float(state['interval'])
        # A journal from before scans were corrected has none.
        sweeps = state.get('scan_sweeps', np.zeros(len(state['scan_times'])))
        for i, (times, limits) in enumerate(zip(state['scan_times'], state['scan_limits'],
                                                strict=True)):
            first, step, nearest, farthest = map(float, limits)
            scan = RawScan(int(times[0]), first, step, nearest, farthest, state[f'ranges.{i}'],
                           time_increment=float(sweeps[i]))
            self._scans.append((scan, int(times[1])))
        self._goal = None
        if state['goal'].size:
            x, y = state['goal']
            self._goal = (float(x), float(y))
        self._route.restore(state)
        if 'model' in state:
            width, height, fx, fy, cx, cy, *distortion = map(float, state['model'])
            self.on_camera_model(CameraModel(int(width), int(height), fx, fy, cx, cy,
                                             tuple(distortion)))

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
        count = self._odom.drop_after(latest) + self._imu.drop_after(latest)
        for queue, stamp_of in ((self._pending, _pending_stamp), (self._scans, _scan_stamp),
                                (self._depths, _depth_stamp)):
            count += _drop_after(queue, stamp_of, latest)
        if count:
            self.counts['dropped_future'] += count

    def _complete(self, pending: _Pending, steady: int) -> bool:
        """True where waiting longer could not make the set better."""
        stamp, newest = pending.source.stamp, self._odom.newest
        if newest is None or (newest < stamp and not self._odom_too_late(pending.deadline)):
            return False
        expects_depth = (self._depth_received is not None
                         and steady - self._depth_received <= DEPTH_MEMORY)
        return not expects_depth or self._depth_at(stamp) is not None

    def _odom_too_late(self, deadline: int) -> bool:
        """True where the rhythm of the odometry puts its next message after the deadline."""
        return (self._odom_received is not None and self._odom_interval > 0.0
                and self._odom_received + 0.9 * self._odom_interval > deadline)

    def _depth_at(self, stamp: int) -> RawDepth | None:
        best = min(self._depths, key=lambda depth: abs(depth.stamp - stamp), default=None)
        limit = self._config.depth_max_age * NANOSECONDS
        return best if best is not None and abs(best.stamp - stamp) <= limit else None

    def _build(self, source: RawImage | RawScan) -> Observation | None:
        config = self._config
        state = self._odom.at(source.stamp, config.odom_max_gap)
        if state is None:
            self.counts['dropped_odom_missing'] += 1
            return None
        image = None
        if isinstance(source, RawImage):
            assert self._warp is not None  # images enter only with a camera model
            if source.pixels.shape[:2] != (self._warp.model.height, self._warp.model.width):
                self.counts['dropped_image'] += 1  # the model changed while it waited
                return None
            image = self._warp.image(source.pixels)
        depth, points = self._read_depth(state)
        if config.find_frozen:
            if image is None:
                self._frozen_image.clear()  # silent, which is worse
            else:
                self._frozen_image.update(source.stamp, image, state.pose)
            for what in self.frozen:
                self.counts[f'frozen_{what}'] += 1
            if self._frozen_image.frozen:
                image = None
            if self.frozen:  # a camera with a frozen image is not trusted with its depth either
                depth = points = None
        goal = None
        if self._goal is not None:
            x, y = to_frame([self._goal], state.pose)[0]
            goal = (float(x), float(y))
        plan, why = self._route.at(source.stamp, self._goal, config.plan_max_age)
        if why:
            self.counts[why] += 1
        return Observation(
            stamp=source.stamp, state=state, scan=self._read_scan(state), image=image, depth=depth,
            depth_points=points, imu=self._imu.window(source.stamp), goal=goal, plan=plan)

    def _read_scan(self, state: State) -> Scan | None:
        scan = next((scan for scan, _ in reversed(self._scans)
                     if scan.stamp <= state.stamp + SCAN_LEAD), None)
        if scan is None or state.stamp - scan.stamp > self._config.scan_max_age * NANOSECONDS:
            self.counts['without_scan'] += 1
            return None
        shift = self._odom.shift(scan.stamp, state, self._config.odom_max_gap)
        told = measured(scan, self._config.robot, self._pose_at)
        if shift is None or told is None:
            self.counts['without_scan'] += 1
            return None
        return self._resampler(told, state.stamp, shift)

    def _pose_at(self, stamp: int) -> Pose2 | None:
        state = self._odom.at(stamp, self._config.odom_max_gap)
        return None if state is None else state.pose

    def _read_depth(self, state: State) -> tuple[FloatArray | None, DepthPoints | None]:
        raw = self._depth_at(state.stamp)
        if raw is None or self._model is None or self._warp is None:
            self.counts['without_depth'] += 1
            return None, None
        height, width = raw.metres.shape
        if self._filter is None or self._filter.size != (width, height):
            robot = self._config.robot
            self._filter = DepthFilter(scaled_model(self._model, width, height),
                                       robot.camera_pose, robot.ground_clearance, robot.height)
        points = self._filter(raw.metres, state.stamp)
        taken = self._odom.at(raw.stamp, self._config.odom_max_gap)
        if taken is None:
            self.counts['without_depth'] += 1
            return None, None
        if self._config.find_frozen:
            self._frozen_depth.update_points(replace(points, stamp=raw.stamp), taken.pose)
        if raw.stamp != state.stamp:
            points = _moved(points, relative_pose(state.pose, taken.pose))
        return self._warp.depth(raw.metres), points


def _moved(points: DepthPoints, shift: Pose2) -> DepthPoints:
    """Depth points seen from a base that has moved; `shift` is the old base in the new one."""
    xyz = points.xyz.copy()
    xyz[:, :2] = from_frame(xyz[:, :2], shift)
    x, y = from_frame([points.origin], shift)[0]
    return replace(points, xyz=xyz, origin=(float(x), float(y)))


def _optional(value: int | None) -> NDArray[np.int64]:
    return np.array([] if value is None else [value], np.int64)


def _pending_stamp(item: _Pending) -> int:
    return item.source.stamp


def _scan_stamp(item: tuple[RawScan, int]) -> int:
    return item[0].stamp


def _depth_stamp(item: RawDepth) -> int:
    return item.stamp


def _drop_after(queue: deque, stamp_of: Callable, latest: int) -> int:
    kept = [item for item in queue if stamp_of(item) <= latest]
    dropped = len(queue) - len(kept)
    if dropped:
        queue.clear()
        queue.extend(kept)
    return dropped

"""What a recorded drive says of the robot: each figure with its spread and how often it was seen.

How far and how much the robot truly went, the scans say. Rates and lateness are those of
odometry, its scale corrected by the scans, and for turning those of the IMU where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from karpathy_control.contracts.config import ConfigError, RobotConfig
from karpathy_control.contracts.geometry import rotation_rpy
from karpathy_control.contracts.types import Pose2
from karpathy_control.measuring.extrinsics import ground, left_out, levelled, mounting
from karpathy_control.measuring.manoeuvres import STRAIGHT, TURN
from karpathy_control.measuring.recording import Array, Recording
from karpathy_control.measuring.responses import area, crossing, held, lateness, level, rate
from karpathy_control.measuring.track import Track, Tracker, moved

FOLLOWED = 0.95  # of the rate of a command that counts as all of it
_GRID = 0.005  # s
_BEFORE = 0.2  # s of standing taken in before a command
_STEADY = 0.3  # s after the command was reached until the base counts as steady
_LAST, _SETTLED = 0.15, 0.95  # s before the end of a command, and share between two such times
_DEAD = 0.1  # share of a step at which its begin is looked for
_TURNS_ENOUGH = 1.0  # rad
_DEPTH_NEAR = 0.3  # m
_DEPTH_FAR = 4.0  # m


@dataclass(frozen=True)
class Figure:
    """One thing measured: over several times the mean, the least and the most."""

    name: str
    mean: float
    low: float
    high: float
    count: int
    unit: str = ''

    @property
    def text(self) -> str:
        """For a person: mean, extremes, unit, how often."""
        unit = f' {self.unit}' if self.unit else ''
        extremes = f' [{self.low:.4g}, {self.high:.4g}]' if self.count > 1 else ''
        return f'{self.mean:.4g}{extremes}{unit}, {self.count} times'


def figure(name: str, values: Sequence[float], unit: str = '') -> Figure:
    """A figure of what was seen; NaN are left out. ConfigError where nothing is left."""
    seen = np.array([v for v in values if math.isfinite(v)])
    if not len(seen):
        raise ConfigError(f'{name}: could not be told from this drive')
    return Figure(name, float(seen.mean()), float(seen.min()), float(seen.max()), len(seen), unit)


@dataclass(frozen=True)
class Answer:
    """How the base answered one step up and its end, along one axis."""

    start: float  # s by which it follows the start of a command, its own rate allowed for
    stop: float  # s by which it follows the end, likewise
    dead: float  # s until the first of it shows
    up: float  # m/s^2 or rad/s^2 that it reached
    up_told: float  # that the command had
    down: float
    down_told: float
    gain: float  # settled answer / command


def answer(told: tuple[Array, Array], seen: tuple[Array, Array], times: tuple[float, ...]
           ) -> Answer:
    """From a command and what was measured of it, both times (s) and values, signed positive.

    times: go, reached, brake and end of the manoeuvre, s. ConfigError where the base is still on
    its way to the command when that ends.
    """
    go, reached, brake, end = times
    t = np.arange(go - _BEFORE, end, _GRID)
    c, y = held(*told, t), np.interp(t, *seen)
    target = level(t, c, reached + 0.5 * (brake - reached), brake)
    # From where the command is steady: until then the answer is on its way.
    settled = level(t, y, min(reached + _STEADY, 0.5 * (reached + brake)), brake)
    last = level(t, y, brake - _LAST, brake)
    if level(t, y, brake - 2.0 * _LAST, brake - _LAST) < _SETTLED * last:
        raise ConfigError(f'robot.acceleration or turn_acceleration: told {target:.2f}, the base '
                          f'is still speeding up at {last:.2f} when the command ends; lower both '
                          'in the profile to what the base can do, start the loop with that, and '
                          'drive again')
    gain = settled / target
    rise, fall = t <= brake, t > brake
    up, up_told = rate(t[rise], y[rise], settled), rate(t[rise], c[rise], target)
    down, down_told = (rate(t[fall], settled - y[fall], settled),
                       rate(t[fall], target - c[fall], target))
    return Answer(
        start=lateness(t[rise], gain * c[rise], y[rise], settled)
        - _ramp(settled / up, target / up_told),
        stop=lateness(t[fall], gain * c[fall], y[fall], -settled)
        - _ramp(settled / down, target / down_told),
        dead=crossing(t[rise], y[rise], _DEAD * settled)
        - crossing(t[rise], c[rise], _DEAD * target),
        up=up, up_told=up_told, down=down, down_told=down_told, gain=gain)


def _ramp(seen: float, told: float) -> float:
    """The part of a lateness that a slower ramp than that of the command explains, s."""
    return 0.5 * (seen - told) if told < FOLLOWED * seen else 0.0


@dataclass(frozen=True)
class Estimates:
    """Everything that the drive told; `figures` by name."""

    figures: dict[str, Figure]
    lidar: Pose2
    lidar_error: tuple[float, float, float]  # standard errors, m, m, rad
    imu_rpy: tuple[float, float, float] | None  # rad; yaw is the profile's
    camera_z_rpy: tuple[float, float, float, float] | None  # m, rad; yaw is the profile's
    stops: list[tuple[float, float]]  # true speed m/s, true way to standing m
    followed: dict[str, bool]  # rate -> whether the base did all that it was told


class Estimator:
    """Works through a recording once."""

    def __init__(self, recording: Recording, robot: RobotConfig) -> None:
        self._r, self._robot = recording, robot
        self._tracker = Tracker(recording, robot)
        self._figures: dict[str, Figure] = {}
        spans = recording.manoeuvres()
        stand = (recording.imu[:, 0] >= recording.odom[0, 0]) & (
            recording.imu[:, 0] < (spans[0].go if spans else math.inf))
        self._gyro = (float(recording.imu[stand, 3].mean()) if stand.sum() > 10
                      else None)  # bias, rad/s; None: no IMU

    def run(self) -> Estimates:
        """All estimates. ConfigError names what the drive does not tell."""
        tracks = self._tracker.tracks()
        lidar, errors = self._lidar(tracks)
        self._odometry(tracks, lidar)
        self._scan_lateness(tracks)
        followed = self._linear(tracks, lidar) | self._turning(tracks)
        self._noise(tracks)
        stops = [self._stop(track, lidar) for track in tracks
                 if track.span.manoeuvre.kind == STRAIGHT]
        return Estimates(self._figures, lidar, errors, self._imu(), self._camera(), stops,
                         followed)

    def _add(self, name: str, values: Sequence[float], unit: str = '') -> None:
        self._figures[name] = figure(name, values, unit)

    def _lidar(self, tracks: Sequence[Track]) -> tuple[Pose2, tuple[float, float, float]]:
        """Where the lidar sits, from all motions from stand to stand."""
        turn = [t for t in tracks if t.span.manoeuvre.kind == TURN]
        if turn and np.mean([t.angle * t.span.manoeuvre.angle > 0.0 for t in turn]) < 0.5:
            raise ConfigError('scan: turns the other way than the robot: set the roll of '
                              'robot.lidar_pose to 3.14159 (mounted upside down) or to 0')
        base = [Pose2(t.odom.x, t.odom.y, t.rest.yaw) for t in tracks]
        seen = [t.rest for t in tracks]
        try:
            pose = mounting(base, seen).pose
            x, y, yaw = left_out(base, seen)
        except ValueError as error:
            raise ConfigError(f'robot.lidar_pose: {error}') from error
        return pose, (float(x), float(y), float(yaw))

    # -- turning ------------------------------------------------------------------------------

    def _gyro_angle(self, begin: float, end: float) -> float:
        """What the gyro says was turned, rad."""
        assert self._gyro is not None
        t = np.linspace(begin, end, 2 + int((end - begin) / _GRID))
        w = np.interp(t, self._r.imu[:, 0], self._r.imu[:, 3]) - self._gyro
        return area(t, w)

    def _scan_lateness(self, tracks: Sequence[Track]) -> None:
        """By how much later than its stamp a scan seems to be taken, against the gyro, s.

        On a straight leg a wrong stamp looks like creep of the tyres; a turn shows it. What the
        filter of the IMU delays is in it too, so nothing is corrected by it.
        """
        if self._gyro is None:
            return
        late = []
        for track in tracks:
            span = track.span
            if span.manoeuvre.kind != TURN:
                continue
            scale = self._gyro_angle(span.go, span.end) / track.angle
            steady = (track.time > span.reached + _STEADY) & (track.time < span.brake)
            for t, yaw in zip(track.time[steady], track.pose[steady, 2], strict=True):
                gyro = np.interp(t, self._r.imu[:, 0], self._r.imu[:, 3]) - self._gyro
                late.append((yaw - self._gyro_angle(span.go, t) / scale) * scale / gyro)
        self._add('scan_lateness', [float(np.median(late))] if late else [], 's')

    def _turning(self, tracks: Sequence[Track]) -> dict[str, bool]:
        answers, gains = [], []
        for track in tracks:
            step, span = track.span.manoeuvre, track.span
            if step.kind == STRAIGHT:
                continue
            sign = math.copysign(1.0, step.command.w)
            steady = (track.time > span.reached + _STEADY) & (track.time < span.brake)
            if steady.sum() >= 3:
                slope = np.polyfit(track.time[steady], track.pose[steady, 2], 1)[0]
                gains.append(float(slope) / step.command.w)
            if step.kind == TURN:
                seen = ((self._r.imu[:, 0], sign * (self._r.imu[:, 3] - self._gyro))
                        if self._gyro is not None else
                        (self._r.odom[:, 0], sign * self._r.odom[:, 5]
                         / self._figures['odometry_turn_scale'].mean))
                answers.append(answer((self._r.commands[:, 0], sign * self._r.commands[:, 2]),
                                      seen, (span.go, span.reached, span.brake, span.end)))
        self._add('turn_gain', gains)
        return self._answers('turn_', answers, 'rad/s^2')

    def _answers(self, prefix: str, answers: Sequence[Answer], unit: str) -> dict[str, bool]:
        self._add(f'{prefix}latency_start', [a.start for a in answers], 's')
        self._add(f'{prefix}latency_stop', [a.stop for a in answers], 's')
        self._add(f'{prefix}dead_time', [a.dead for a in answers], 's')
        self._add(f'{prefix}acceleration', [a.up for a in answers], unit)
        self._add(f'{prefix}deceleration', [a.down for a in answers], unit)
        return {f'{prefix}acceleration': bool(
                    np.median([a.up / a.up_told for a in answers]) >= FOLLOWED),
                f'{prefix}deceleration': bool(
                    np.median([a.down / a.down_told for a in answers]) >= FOLLOWED)}

    # -- straight on --------------------------------------------------------------------------

    def _linear(self, tracks: Sequence[Track], lidar: Pose2) -> dict[str, bool]:
        answers, gains, creeps = [], [], []
        for track in tracks:
            span, step = track.span, track.span.manoeuvre
            if step.kind != STRAIGHT:
                continue
            answers.append(answer((self._r.commands[:, 0], self._r.commands[:, 1]),
                                  (self._r.odom[:, 0], self._r.odom[:, 4]
                                   / self._figures['odometry_scale'].mean),
                                  (span.go, span.reached, span.brake, span.end)))
            time, way, whole = self._way(track, lidar)
            v, _ = np.polyfit(time, way, 1)
            gains.append(float(v) / step.command.v)
            told = np.array([self._odom_way(span.go, t) for t in time])
            all_told = self._odom_way(span.go, span.end)
            rest_true, rest_told = whole - way, (all_told - told) * whole / all_told
            creeps.append(float(np.mean(rest_true - rest_told) / v))
        self._add('speed_gain', gains)
        self._add('creep', creeps, 's')
        return self._answers('', answers, 'm/s^2')

    def _odom_way(self, begin: float, end: float) -> float:
        """Distance of odometry, along a straight leg, m."""
        a, b = self._tracker.odom_at(begin), self._tracker.odom_at(end)
        return math.hypot(b.x - a.x, b.y - a.y)

    def _way(self, track: Track, lidar: Pose2) -> tuple[Array, Array, float]:
        """How far base had gone at each scan of the steady part, s and m; and in all, m."""
        steady = (track.time > track.span.reached + _STEADY) & (track.time < track.span.brake)
        if steady.sum() < 3:
            raise ConfigError(f'scan: {int(steady.sum())} scans in the steady part of a straight '
                              'leg; it takes a lidar of at least 7 Hz')
        places = [moved(lidar, Pose2(*row)) for row in track.pose[steady].tolist()]
        end = moved(lidar, track.rest)
        return (track.time[steady], np.array([math.hypot(p.x, p.y) for p in places]),
                math.hypot(end.x, end.y))

    def _stop(self, track: Track, lidar: Pose2) -> tuple[float, float]:
        """True speed before a stop, and the way from the first lower command to standing."""
        time, way, whole = self._way(track, lidar)
        v, offset = np.polyfit(time, way, 1)
        span = track.span
        t = np.arange(span.brake - 0.1, span.end, _GRID)
        c = held(self._r.commands[:, 0], self._r.commands[:, 1], t)
        began = float(t[np.argmax(c < 0.99 * span.manoeuvre.command.v)])
        return float(v), float(whole - (v * began + offset))

    # -- the rest -----------------------------------------------------------------------------

    def _odometry(self, tracks: Sequence[Track], lidar: Pose2) -> None:
        """Its scale against the scans: of distance and of angle."""
        straight, turns, gyro = [], [], []
        for track in tracks:
            span = track.span
            if span.manoeuvre.kind == STRAIGHT:
                true = moved(lidar, track.rest)
                straight.append(math.hypot(track.odom.x, track.odom.y)
                                / math.hypot(true.x, true.y))
            elif abs(track.angle) > _TURNS_ENOUGH:
                told = self._tracker.odom_at(span.end).yaw - self._tracker.odom_at(span.go).yaw
                turns.append(told / track.angle)
                if self._gyro is not None:
                    gyro.append(self._gyro_angle(span.go, span.end) / track.angle)
        self._add('odometry_scale', straight)
        self._add('odometry_turn_scale', turns)
        if gyro:
            self._add('gyro_scale', gyro)

    def _noise(self, tracks: Sequence[Track]) -> None:
        """Noise of the standing lidar, and what of its view it tells."""
        chosen = self._r.scan_times < tracks[0].span.go
        scans = self._r.scans[chosen].astype(np.float64)
        _, step, low, high, _ = self._r.geometry.tolist()
        good = np.isfinite(scans) & (scans >= low) & (scans <= high)
        mostly = good.mean(axis=0) > 0.5
        if len(scans) < 5 or not mostly.any():
            raise ConfigError(f'scan: {len(scans)} scans of the standing robot, with '
                              f'{int(mostly.sum())} beams that mostly answer; it takes 5 and 1')
        with np.errstate(all='ignore'):
            spread = np.nanstd(np.where(good, scans, np.nan)[:, mostly], axis=0, ddof=1)
        self._add('scan_noise', [float(np.nanmedian(spread))], 'm')
        self._add('scan_drop', [float(1.0 - good[:, mostly].mean())])
        self._add('lidar_fov', [min(abs(step) * scans.shape[1], 2.0 * math.pi)], 'rad')
        young = self._r.scan_received - self._r.scan_times
        old = self._r.scan_received[1:] - self._r.scan_times[:-1]  # when the next one came
        self._figures['scan_age'] = Figure(
            'scan_age', float(0.5 * (young.mean() + old.mean())), float(np.quantile(young, 0.05)),
            float(np.quantile(old, 0.95)), len(old), 's')
        if self._gyro is not None:
            self._add('gyro_bias', [float(self._gyro)], 'rad/s')
        if len(self._r.depth) >= 3:
            depth = self._r.depth.astype(np.float64)
            near = (depth > _DEPTH_NEAR) & (depth < _DEPTH_FAR)
            always = near.all(axis=0)
            if always.any():
                share = depth[:, always].std(axis=0, ddof=1) / depth[:, always].mean(axis=0)
                self._add('depth_noise', [float(np.median(share))])

    def _imu(self) -> tuple[float, float, float] | None:
        """Roll and pitch of the IMU by gravity, over all stands: half of them the other way."""
        if self._gyro is None:
            return None
        means = []
        for span in self._r.manoeuvres():
            stand = (self._r.imu[:, 0] > span.rest) & (self._r.imu[:, 0] < span.end)
            if stand.sum() > 5:
                means.append(self._r.imu[stand, 4:7].mean(axis=0))
        return levelled(self._robot.imu_pose[3:], np.mean(means, axis=0)) if means else None

    def _camera(self) -> tuple[float, float, float, float] | None:
        """Height, roll and pitch of the camera by the ground that its depth shows."""
        found = []
        fx, fy, cx, cy = self._r.pinhole.tolist()
        x, y, z, *rpy = self._robot.camera_pose
        from_body = rotation_rpy(*rpy)
        for frame in self._r.depth.astype(np.float64):
            v, u = np.nonzero((frame > _DEPTH_NEAR) & (frame < _DEPTH_FAR))
            d = frame[v, u]
            body = np.stack((d, -(u - cx) / fx * d, -(v - cy) / fy * d), axis=1)
            plane = ground(body @ from_body.T + (x, y, z))
            if plane is not None:
                found.append((plane[0], *plane[1]))
        if not found:
            return None
        height, *up = np.mean(found, axis=0)
        # its distance from the plane, wherever the profile has put both
        above = up[0] * x + up[1] * y + up[2] * (z - height)
        return (float(above), *levelled(rpy, up))

"""Where the robot truly was, by matching its scans: the judge of odometry and of commands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from karpathy_control.contracts.config import ConfigError, RobotConfig
from karpathy_control.contracts.geometry import compose, to_frame, wrap_angle
from karpathy_control.contracts.types import Pose2
from karpathy_control.measuring.manoeuvres import Span
from karpathy_control.measuring.matching import Reference, points_of, returned
from karpathy_control.measuring.recording import Array, Recording

_STANDING = 0.25  # s after the last motion from which on scans count as taken at rest
_TURNED = 0.5  # rad by odometry: less tells no scale
_LOOK_ROUND = 0.6  # rad of turning after which what came into view is taken in
_LEAST_SHARE = 0.9  # of the scans of a manoeuvre that must be placed


def inverse(pose: Pose2) -> Pose2:
    """The pose of the parent, in the frame that `pose` is of."""
    c, s = math.cos(pose.yaw), math.sin(pose.yaw)
    return Pose2(-c * pose.x - s * pose.y, s * pose.x - c * pose.y, -pose.yaw)


def moved(mounting: Pose2, sensor: Pose2) -> Pose2:
    """The motion of base behind a motion of a sensor that sits at `mounting` in base."""
    return compose(compose(mounting, sensor), inverse(mounting))


def turned(mounting: Pose2, base: Pose2) -> Pose2:
    """The motion of a sensor that sits at `mounting` when base moves."""
    return compose(compose(inverse(mounting), base), mounting)


@dataclass(frozen=True)
class Track:
    """One manoeuvre as the lidar saw it, in the lidar's frame at the stand before."""

    span: Span
    time: Array  # (n,) s, of the scans that were placed
    pose: Array  # (n, 3) m, m, rad unwrapped: of the lidar
    rest: Pose2  # of the lidar at the stand after it; yaw wrapped
    angle: float  # rad it turned until then, unwrapped
    odom: Pose2  # of base: the way of odometry, along the true headings
    rms: float  # m, of the match of both stands


class Tracker:
    """Matches the scans of a recording, manoeuvre by manoeuvre."""

    def __init__(self, recording: Recording, robot: RobotConfig) -> None:
        self._r = recording
        x, y, _, roll, _, yaw = robot.lidar_pose
        self._mounting = Pose2(x, y, yaw)
        self._flip = -1.0 if math.cos(roll) < 0.0 else 1.0  # mounted upside down

    def points(self, ranges: Array) -> Array:
        """Returns in the lidar's frame, upright, of a robot that stands. Shape: (n, 2) m."""
        angle, step, low, high, _ = self._r.geometry.tolist()
        return points_of(ranges, self._flip * angle, self._flip * step, low, high)

    def _moving(self, index: int) -> Array:
        """Returns of a scan in the lidar's frame at its stamp: the sweep is undone by odometry."""
        angle, step, low, high, pause = self._r.geometry.tolist()
        ranges, time = self._r.scans[index], float(self._r.scan_times[index])
        if not pause:
            return self.points(ranges)
        x, y, yaw = (np.interp(time + pause * np.arange(len(ranges)), self._r.odom[:, 0],
                               self._r.odom[:, i]) for i in (1, 2, 3))
        # The lidar's pose in odom at each beam, then all of it seen from the first.
        c, s = np.cos(yaw), np.sin(yaw)
        at_x = x + c * self._mounting.x - s * self._mounting.y
        at_y = y + s * self._mounting.x + c * self._mounting.y
        heading = yaw + self._mounting.yaw
        bearing = heading + self._flip * (angle + step * np.arange(len(ranges)))
        good = returned(ranges, low, high)
        ends = np.stack((at_x + ranges * np.cos(bearing), at_y + ranges * np.sin(bearing)), 1)
        return to_frame(ends[good], Pose2(at_x[0], at_y[0], heading[0]))

    def at_rest(self, begin: float, end: float) -> Array:
        """The ranges of a standing lidar: medians of what came in the time. Shape: (beams,) m."""
        chosen = (self._r.scan_times >= begin) & (self._r.scan_times <= end)
        if not chosen.any():
            raise ConfigError('scan: none came while the robot stood; it takes a lidar of at '
                              'least 2 Hz')
        scans = self._r.scans[chosen].astype(np.float64)
        with np.errstate(all='ignore'):
            middle = np.median(np.where(np.isfinite(scans), scans, np.inf), axis=0)
        return middle

    def odom_at(self, time: float) -> Pose2:
        """Odometry at a time, its yaw not wrapped."""
        t = self._r.odom[:, 0]
        x, y, yaw = (float(np.interp(time, t, self._r.odom[:, i])) for i in (1, 2, 3))
        return Pose2(x, y, yaw)

    def _odom_since(self, begin: Pose2, time: float) -> Pose2:
        now = self.odom_at(time)
        return compose(inverse(begin), now)

    def track(self, before: tuple[float, float], span: Span) -> Track:
        """Follow the scans from the stand `before` (begin and end, s) through a manoeuvre.

        ConfigError where they do not tell where the robot went.
        """
        first = Reference(self.points(self.at_rest(before[0] + _STANDING, before[1])))
        begin = self.odom_at(before[1])
        step = span.manoeuvre
        where = f'{step.kind} at {step.command.v:g} m/s, {step.command.w:g} rad/s'
        here, said = Pose2(), Pose2()
        times, poses, all_scans, key = [], [], 0, 0.0
        for i in np.flatnonzero((self._r.scan_times >= span.go)
                                & (self._r.scan_times <= span.end)):
            time = float(self._r.scan_times[i])
            odom = self._odom_since(begin, time)
            guess = compose(here, turned(self._mounting, compose(inverse(said), odom)))
            points = self._moving(int(i))
            match = first.match(points, guess)
            all_scans += 1
            if match is None or not match.believed:
                here, said = guess, odom
                continue
            here, said = match.pose, odom
            times.append(time)
            poses.append((here.x, here.y, here.yaw))
            if abs(wrap_angle(here.yaw - key)) > _LOOK_ROUND:
                first.extend(points, here)
                key = here.yaw
        odom = self._odom_since(begin, span.end)
        guess = compose(here, turned(self._mounting, compose(inverse(said), odom)))
        rest = first.match(self.points(self.at_rest(span.rest + _STANDING, span.end)), guess)
        if rest is None or not rest.believed or len(times) < _LEAST_SHARE * all_scans:
            raise ConfigError(
                f'scan: {where}: {len(times)} of {all_scans} scans could be placed; drive where '
                'the lidar sees walls or things in several directions within 10 m, and nothing '
                'moves')
        pose = np.array(poses)
        pose[:, 2] = np.unwrap(pose[:, 2])
        angle = float(pose[-1, 2]) + wrap_angle(rest.pose.yaw - float(pose[-1, 2]))
        return Track(span, np.array(times), pose, rest.pose, angle, self._way(span, angle),
                     rest.rms)

    def _way(self, span: Span, angle: float) -> Pose2:
        """Dead reckoning by the distances of odometry, its turning scaled to the true angle."""
        rows = self._r.odom[(self._r.odom[:, 0] >= span.go) & (self._r.odom[:, 0] <= span.end)]
        yaw, step = rows[:, 3] - rows[0, 3], np.diff(rows[:, 1:3], axis=0)
        middle = 0.5 * (yaw[1:] + yaw[:-1])
        # from odometry's heading to the true one
        turn = middle * (angle / yaw[-1] - 1.0 if abs(yaw[-1]) > _TURNED else 0.0) - rows[0, 3]
        c, s = np.cos(turn), np.sin(turn)
        return Pose2(float(np.sum(c * step[:, 0] - s * step[:, 1])),
                     float(np.sum(s * step[:, 0] + c * step[:, 1])), wrap_angle(angle))

    def tracks(self) -> list[Track]:
        """All manoeuvres of the recording."""
        spans = self._r.manoeuvres()
        if not spans:
            raise ConfigError('recording: no manoeuvre was driven to its end')
        stand = float(self._r.odom[0, 0]), spans[0].go
        found = []
        for span in spans:
            found.append(self.track(stand, span))
            stand = span.rest, span.end
        return found

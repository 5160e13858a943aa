"""Frozen sensors: the same frame again with a new stamp, found by the motion that it ignores.

Equal frames alone are normal: a robot stands, drives along a wall, or sees nothing at all. They
say "frozen" only where odometry tells that they should have changed. So each watch keeps the first
frame of a run of equal ones, predicts from it and from the motion since what should be different
now, and calls the sensor frozen when nearly all of just that is still equal. Where the prediction
is that nothing changes, the verdict stays as it was; a frame that differs ends run and verdict
at once, moving or not. Noise makes every live frame differ, so it can cause no false alarm.

What this cannot tell: a frozen scan while turning about the middle of a perfectly round room, or
driving where every hit lies on walls parallel to the way; a frozen image of a view without
texture; and a robot that spins its wheels on the spot with sensors free of noise, which looks
frozen (and ought to stop as well). On a jump of odometry the caller need not do anything: a pose
that moved faster than any robot starts a new run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import compose, to_frame, wrap_angle
from karpathy_control.contracts.layout import image_focal
from karpathy_control.contracts.types import (
    NANOSECONDS,
    ByteArray,
    DepthPoints,
    Pose2,
    RawScan,
)

SAME = 0.003  # m: a range that differs by no more is equal
SHARE = 0.9  # of the beams in question must be equal
CHANGE = (0.04, 0.01)  # m, m/m: a predicted change beyond a + b * range counts
FEWEST = (3, 0.04)  # beams, share of the hits: as many must be predicted to change
STEP = (0.15, 0.12)  # m, m/m: neighbouring hits farther apart in range are not one surface
GAP = 2.5  # beams: nor are those farther apart in bearing
RUN_TIME = 0.15  # s and
RUN_FRAMES = 3  # equal frames are the least that can be frozen: some drivers send each twice
FAR = (1.0, 1.0)  # m, rad: after this much motion without a verdict the run starts anew
FASTEST = (0.1, 5.0, 0.1, 8.0)  # m, m/s, rad, rad/s: a pose that moved by more has jumped

POINT_BEAMS = 180  # bins of bearing in which depth points become a scan

THIN = 2  # every second pixel of every second row is compared
VIEW_DEPTH = 10.0  # m: what the camera sees is taken to be this far away at most, on the whole
IMAGE_CHANGE = 0.4  # grey levels, mean: a predicted change from which an image should differ
LEAST = (0.1, 0.5)  # m, px: less driving or shift can hide between the pixels of a sharp image
IMAGE_SAME = 0.1  # of the predicted change: an image that differs by no more is equal
IMAGE_RUN = 0.04  # grey levels, mean: images that differ by no more are one run


class _Run:
    """Time, motion and length of a run of equal frames."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.frozen = False
        self._pose: Pose2 | None = None

    def start(self, stamp: int, pose: Pose2) -> None:
        self.frozen = False
        self._stamp, self._pose, self.frames = stamp, pose, 1
        self._last_stamp, self._last_pose = stamp, pose

    def goes_on(self, stamp: int, pose: Pose2) -> bool:
        """False where there is no run, or time or pose jumped."""
        if self._pose is None:
            return False
        last, seconds = self._last_pose, (stamp - self._last_stamp) / NANOSECONDS
        self._last_stamp, self._last_pose = stamp, pose
        self.frames += 1
        metres, speed, radians, rate = FASTEST
        return seconds >= 0.0 and (
            math.hypot(pose.x - last.x, pose.y - last.y) <= metres + speed * seconds
            and abs(wrap_angle(pose.yaw - last.yaw)) <= radians + rate * seconds)

    def long_enough(self, stamp: int) -> bool:
        return self.frames >= RUN_FRAMES and stamp - self._stamp >= RUN_TIME * NANOSECONDS

    def moved(self, pose: Pose2) -> Pose2:
        """The present pose in that of the first frame."""
        assert self._pose is not None
        x, y = to_frame([[pose.x, pose.y]], self._pose)[0]
        return Pose2(float(x), float(y), wrap_angle(pose.yaw - self._pose.yaw))

    def far(self, moved: Pose2) -> bool:
        return math.hypot(moved.x, moved.y) > FAR[0] or abs(moved.yaw) > FAR[1]


class FrozenScan:
    """Watches one range sensor. mount: x y z roll pitch yaw in base, the lidar's."""

    def __init__(self, mount: Sequence[float] = (0.0,) * 6) -> None:
        self._mount = mount
        self._run = _Run()
        self._ranges = np.zeros(0)
        self._angles = (0.0, 0.0)

    @property
    def frozen(self) -> bool:
        """The verdict on the newest frame."""
        return self._run.frozen

    def clear(self) -> None:
        """Forget everything (time jumped, the sensor was restarted)."""
        self._run.clear()

    def update(self, scan: RawScan, base: Pose2) -> bool:
        """Take a scan and the pose of base (odom) at its stamp; returns the verdict."""
        pose, angles = seen_from(scan, base, self._mount)
        return self._take(scan.stamp, pose, hits_of(scan), angles)

    def update_points(self, points: DepthPoints, base: Pose2) -> bool:
        """Take height-filtered depth: the nearest obstacle in each bin of bearing."""
        x, y = points.origin
        delta = points.xyz[points.kind == DepthPoints.OBSTACLE, :2] - np.array((x, y))
        delta = delta[np.isfinite(delta).all(axis=1)]
        width = 2.0 * math.pi / POINT_BEAMS
        bins = ((np.arctan2(delta[:, 1], delta[:, 0]) + math.pi) / width).astype(np.intp)
        ranges = np.full(POINT_BEAMS, np.inf)
        np.minimum.at(ranges, bins % POINT_BEAMS, np.hypot(delta[:, 0], delta[:, 1]))
        ranges[~np.isfinite(ranges)] = np.nan
        return self._take(points.stamp, compose(base, Pose2(x, y)), ranges,
                          (-math.pi + 0.5 * width, width))

    def _take(self, stamp: int, pose: Pose2, ranges: NDArray[np.float64],
              angles: tuple[float, float]) -> bool:
        """Shape: (n,) m, NaN where nothing was hit; first bearing and step, rad, sensor frame."""
        run, first = self._run, self._ranges
        goes_on = run.goes_on(stamp, pose) and angles == self._angles and (
            len(ranges) == len(first))
        if not goes_on:
            return self._start(stamp, pose, ranges, angles)
        hits = np.isfinite(first)
        same = np.abs(ranges - first) <= SAME
        either = np.count_nonzero(hits | np.isfinite(ranges))
        if np.count_nonzero(same) < SHARE * either or either == 0:
            return self._start(stamp, pose, ranges, angles)
        if run.frozen or not run.long_enough(stamp):
            return run.frozen
        moved = run.moved(pose)
        predicted = predict(first, *angles, moved)
        changes = np.abs(predicted - first) > CHANGE[0] + CHANGE[1] * first  # NaN: does not
        count = np.count_nonzero(changes)
        if count >= max(FEWEST[0], FEWEST[1] * np.count_nonzero(hits)) and (
                np.count_nonzero(same & changes) >= SHARE * count):
            run.frozen = True
        elif run.far(moved):
            self._start(stamp, pose, ranges, angles)
        return run.frozen

    def _start(self, stamp: int, pose: Pose2, ranges: NDArray[np.float64],
               angles: tuple[float, float]) -> bool:
        self._ranges, self._angles = ranges, angles
        self._run.start(stamp, pose)
        return False


def hits_of(scan: RawScan) -> NDArray[np.float64]:
    """The ranges that are hits, NaN for the others. Shape: (n,) m."""
    with np.errstate(invalid='ignore'):  # a NaN may be a signalling one
        ranges = scan.ranges.astype(np.float64)
    hit = (ranges > 0.0) & (ranges >= scan.range_min) & (ranges < scan.range_max - SAME)
    return np.where(hit, ranges, np.nan)


def seen_from(scan: RawScan, base: Pose2, mount: Sequence[float]
              ) -> tuple[Pose2, tuple[float, float]]:
    """Pose of the lidar in odom, and first bearing and step (rad) counter-clockwise about it.

    mount: x y z roll pitch yaw in base; upside down where the roll says so.
    """
    flip = -1.0 if math.cos(mount[3]) < 0.0 else 1.0
    return (compose(base, Pose2(float(mount[0]), float(mount[1]), float(mount[5]))),
            (flip * scan.angle_min, flip * scan.angle_increment))


def predict(ranges: NDArray[np.float64], angle_min: float, step: float, moved: Pose2
            ) -> NDArray[np.float64]:
    """The ranges after the sensor moved, from the hits of a scan before. Shape: (n,) -> (n,) m.

    `moved` is the new pose in the old one. NaN where no two neighbouring hits of one surface lie
    on both sides of the beam. Between hits 1 / range is linear in bearing, as on a straight wall.
    """
    n = len(ranges)
    hits = np.flatnonzero(np.isfinite(ranges))
    out = np.full(n, np.nan)
    if len(hits) < 2:
        return out
    bearing = angle_min + step * hits
    r = ranges[hits]
    points = to_frame(np.stack((r * np.cos(bearing), r * np.sin(bearing)), 1), moved)
    distance = np.maximum(np.hypot(points[:, 0], points[:, 1]), 1e-3)
    turn = 2.0 * math.pi / abs(step)  # beams of a whole turn
    at = (np.arctan2(points[:, 1], points[:, 0]) - angle_min) / step
    # Into the turn whose middle is that of the scan, so that no beam of it is cut.
    at = (at - 0.5 * (n - 1) + 0.5 * turn) % turn + 0.5 * (n - 1) - 0.5 * turn
    order = np.argsort(at)
    # A hit more on either end closes the ring of a full turn.
    at = np.concatenate(([at[order[-1]] - turn], at[order], [at[order[0]] + turn]))
    distance = distance[np.concatenate(([order[-1]], order, [order[0]]))]
    beams = np.arange(n)
    right = np.clip(np.searchsorted(at, beams), 1, len(at) - 1)
    near, far = distance[right - 1], distance[right]
    known = (at[right] - at[right - 1] <= GAP) & (
        np.abs(far - near) <= STEP[0] + STEP[1] * np.minimum(near, far))
    inverse = np.interp(beams, at, 1.0 / distance)
    out[known] = 1.0 / inverse[known]
    return out


class FrozenImage:
    """Watches one camera by its images in the pinhole of the observation layout.

    Turning shifts the image by a known amount. How much driving changes it depends on how far
    away things are: the least is taken, that everything is VIEW_DEPTH away and grows.
    """

    def __init__(self) -> None:
        self._run = _Run()
        self._grey = np.zeros((0, 0), np.float32)

    @property
    def frozen(self) -> bool:
        """The verdict on the newest frame."""
        return self._run.frozen

    def clear(self) -> None:
        """Forget everything."""
        self._run.clear()

    def update(self, stamp: int, image: ByteArray, base: Pose2) -> bool:
        """Take an image (height, width, 3) and the pose of base (odom) at its stamp."""
        run = self._run
        grey = image[::THIN, ::THIN, 1].astype(np.float32)  # green is most of what is bright
        if not run.goes_on(stamp, base) or grey.shape != self._grey.shape:
            return self._start(stamp, base, grey)
        difference = float(np.mean(np.abs(grey - self._grey)))
        if difference > IMAGE_RUN:
            return self._start(stamp, base, grey)
        if run.frozen or not run.long_enough(stamp):
            return run.frozen
        moved = run.moved(base)
        expected = expected_change(self._grey, image_focal() / THIN, moved.yaw,
                                   math.hypot(moved.x, moved.y))
        if expected >= IMAGE_CHANGE and difference <= IMAGE_SAME * expected:
            run.frozen = True
        elif run.far(moved):
            self._start(stamp, base, grey)
        return run.frozen

    def _start(self, stamp: int, pose: Pose2, grey: NDArray[np.float32]) -> bool:
        self._grey = grey
        self._run.start(stamp, pose)
        return False


def expected_change(grey: NDArray[np.float32], focal: float, turn: float, metres: float) -> float:
    """Mean absolute change of an image that motion causes at least, in grey levels.

    The larger one of what the turn (rad) shifts and what `metres` of driving magnify.
    Shape: (height, width); focal in px.
    """
    h, w = grey.shape
    # Which way it turns does not matter: the same pairs of columns meet.
    shift = min(focal * math.tan(min(abs(turn), 1.0)), 0.5 * w)
    growth = 1.0 + metres / VIEW_DEPTH
    x = np.arange(w)
    turned = grown = 0.0
    if shift >= LEAST[1]:
        shifted = _columns(grey, x + shift)
        turned = float(np.mean(np.abs(shifted - grey)[:, :math.floor(w - shift)]))
    if metres >= LEAST[0]:
        across, down = 0.5 * (w - 1), 0.5 * (h - 1)
        wide = _columns(grey, across + (x - across) / growth)
        both = _columns(wide.T, down + (np.arange(h) - down) / growth).T
        grown = float(np.mean(np.abs(both - grey)))
    return max(turned, grown)


def _columns(grey: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """The image read at fractional columns, the last one held beyond the edge."""
    at = np.clip(at, 0.0, grey.shape[1] - 1.0)
    left = np.minimum(at.astype(np.intp), grey.shape[1] - 2)
    part = (at - left).astype(np.float32)
    return grey[:, left] * (1.0 - part) + grey[:, left + 1] * part

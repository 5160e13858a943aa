"""Where a scan was taken, seen from another: point-to-line matching, without odometry's errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from karpathy_control.contracts.geometry import from_frame, wrap_angle
from karpathy_control.contracts.types import Pose2

Points = NDArray[np.float64]

FARTHEST = 15.0  # m: what is farther is sampled too coarsely
_NEIGHBOURS = 9  # of which the line through a point is taken
_LINE = 0.25  # share of the length of such a line that its width may be
_REACH, _REACH_FAR = 0.3, 0.12  # m to the farthest of them; or a share of the range
_NEW = 0.15  # m from all that is known: less is the same thing again
_ROUNDS = (0.5, 0.5, 0.3, 0.3, *(0.2,) * 14)  # m within which pairs are believed
_LEAST = 30  # pairs
SHARE = 0.3  # of the points that must find a partner
WEAKEST = 0.02  # of the mean of the squared normals in the direction that is seen worst


@dataclass(frozen=True)
class Match:
    """Where the points were taken from, in the frame of the reference."""

    pose: Pose2
    rms: float  # m, distance of a point from the line of its partner
    share: float  # of the points that found one
    weakest: float  # 0 where a direction is not seen at all, 0.5 where all are seen alike

    @property
    def believed(self) -> bool:
        """Whether enough was seen, in every direction."""
        return self.share >= SHARE and self.weakest >= WEAKEST


def points_of(ranges: NDArray[np.floating], angle_min: float, increment: float, range_min: float,
              range_max: float) -> Points:
    """The returns of a scan in its own frame. ranges: (n,) m. Shape: (m, 2) m."""
    r = np.asarray(ranges, np.float64)
    angle = angle_min + increment * np.arange(len(r))
    keep = returned(r, range_min, range_max)
    return np.stack((r * np.cos(angle), r * np.sin(angle)), axis=1)[keep]


def returned(ranges: NDArray[np.floating], range_min: float, range_max: float
             ) -> NDArray[np.bool_]:
    """Which beams met something that is near enough to be matched. Shape: (n,)."""
    return (np.isfinite(ranges) & (ranges >= range_min)
            & (ranges <= min(range_max, FARTHEST)))


class Reference:
    """A scan to match others with: its points, each with the direction across its surface."""

    def __init__(self, points: Points) -> None:
        """points: (n, 2) m; those that lie on no line (corners, single returns) are left out."""
        self._take(*_lines(points))

    def extend(self, points: Points, pose: Pose2) -> None:
        """Take in what another scan, taken at `pose`, shows beside what is here already."""
        places, normals = _lines(points)
        places, normals = from_frame(places, pose), from_frame(normals, Pose2(yaw=pose.yaw))
        if self._tree is not None and len(places):
            new = self._tree.query(places)[0] > _NEW
            places, normals = places[new], normals[new]
        self._take(np.concatenate((self.points, places)),
                   np.concatenate((self.normals, normals)))

    def _take(self, points: Points, normals: Points) -> None:
        self.points, self.normals = points, normals
        self._tree = cKDTree(points) if len(points) else None

    def match(self, points: Points, guess: Pose2) -> Match | None:
        """Where `points` were taken from, beginning at a guess; None where too few fit."""
        if len(self.points) < _LEAST or self._tree is None or len(points) < _LEAST:
            return None
        pose, nothing = guess, None
        for reach in _ROUNDS:
            moved = from_frame(points, pose)
            distance, index = self._tree.query(moved, distance_upper_bound=reach)
            pair = np.isfinite(distance)
            if pair.sum() < _LEAST:
                return nothing
            n = self.normals[index[pair]]
            off = np.einsum('ni,ni->n', n, self.points[index[pair]] - moved[pair])
            kept = np.abs(off) <= 3.0 * max(float(np.median(np.abs(off))) * 1.5, 0.005)
            n, off, at = n[kept], off[kept], moved[pair][kept]
            # about the present origin, so that turning and moving are told apart well
            arm = at - (pose.x, pose.y)
            jacobian = np.stack((n[:, 0], n[:, 1], arm[:, 0] * n[:, 1] - arm[:, 1] * n[:, 0]), 1)
            step, *_ = np.linalg.lstsq(jacobian, off, rcond=None)
            pose = Pose2(pose.x + step[0], pose.y + step[1], wrap_angle(pose.yaw + step[2]))
            if reach == _ROUNDS[-1] and np.abs(step).max() < 1e-5:
                break
        weakest = float(np.linalg.eigvalsh(n.T @ n / len(n))[0])
        return Match(pose, math.sqrt(float(np.mean(off**2))), float(pair.mean()), weakest)


def _lines(points: Points) -> tuple[Points, Points]:
    """Those of the points that lie on a line, and the direction across it. Shapes: (m, 2)."""
    count = min(_NEIGHBOURS, len(points))
    if count < 3:
        return np.zeros((0, 2)), np.zeros((0, 2))
    distance, index = cKDTree(points).query(points, k=count)
    around = points[index] - points[index].mean(axis=1, keepdims=True)
    spread, axes = np.linalg.eigh(np.einsum('nki,nkj->nij', around, around))
    reach = np.maximum(_REACH, _REACH_FAR * np.hypot(points[:, 0], points[:, 1]))
    line = (distance[:, -1] < reach) & (
        spread[:, 0] < _LINE**2 * np.maximum(spread[:, 1], 1e-12))
    return points[line], axes[line][:, :, 0]

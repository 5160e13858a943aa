"""Where sensors sit, from what they saw of the same motions and of the ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.geometry import rotation_rpy
from karpathy_control.contracts.types import Pose2

_LEAST_GROUND = 200  # points
_GROUND = (0.15, 0.08, 0.04, 0.03)  # m off the plane that still counts, round by round
_SLOPE = 0.25  # of the ground as the profile shows it, at most: beyond it nothing is looked for


@dataclass(frozen=True)
class Mounting:
    """Where a planar lidar sits in base, and the scale of odometry that goes with it."""

    pose: Pose2
    scale: float  # true distance / distance of odometry


def mounting(base: Sequence[Pose2], lidar: Sequence[Pose2]) -> Mounting:
    """Solve base motion o mounting = mounting o lidar motion for all pairs at once.

    `base` has the translation as odometry tells it, in the frame of its beginning, with the angle
    of the lidar's own motion. For each, (R - 1) l + s t_base = R(yaw) t_lidar: linear in l,
    s, cos yaw and sin yaw, so the answer is the smallest singular vector. ValueError where turns
    or straight legs are missing, without which l or yaw cannot be known.
    """
    rows = []
    for b, m in zip(base, lidar, strict=True):
        c, s = math.cos(b.yaw) - 1.0, math.sin(b.yaw)
        rows += [[c, -s, b.x, -m.x, m.y], [s, c, b.y, -m.y, -m.x]]
    if len(rows) < 4:
        raise ValueError(f'{len(base)} motions; it takes at least two')
    _, values, vectors = np.linalg.svd(np.array(rows))
    x, y, scale, c, s = vectors[-1]
    norm = math.hypot(c, s)
    if values[-2] < 1e-3 * values[0] or norm < 1e-6 or abs(scale) < 1e-6:
        raise ValueError('the motions do not tell where the lidar sits: it takes straight legs '
                         'and turns')
    x, y, scale, c, s = (float(v) / math.copysign(norm, scale)
                         for v in (x, y, scale, c, s))
    return Mounting(Pose2(x, y, math.atan2(s, c)), scale)


def left_out(base: Sequence[Pose2], lidar: Sequence[Pose2]) -> NDArray[np.float64]:
    """Standard error of x, y, yaw of `mounting`, from leaving out one motion after another."""
    n = len(base)
    found = []
    for i in range(n):
        pose = mounting([*base[:i], *base[i + 1:]], [*lidar[:i], *lidar[i + 1:]]).pose
        found.append((pose.x, pose.y, pose.yaw))
    values = np.array(found)
    return np.sqrt((n - 1) / n * np.sum((values - values.mean(axis=0))**2, axis=0))


def angles(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Roll, pitch and yaw of a rotation, the inverse of `rotation_rpy`."""
    pitch = math.asin(min(max(-float(rotation[2, 0]), -1.0), 1.0))
    return (math.atan2(rotation[2, 1], rotation[2, 2]), pitch,
            math.atan2(rotation[1, 0], rotation[0, 0]))


def levelled(rpy: ArrayLike, up: ArrayLike) -> tuple[float, float, float]:
    """Roll, pitch, yaw of a sensor which, mounted by `rpy`, sees `up` in base; up is then +z."""
    u = np.asarray(up, np.float64)
    u = u / np.linalg.norm(u)
    axis = np.array([u[1], -u[0], 0.0])  # u x z, of length sin
    sine, cosine = float(np.linalg.norm(axis)), float(u[2])
    k = np.array([[0.0, 0.0, axis[1]], [0.0, 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    turn = np.eye(3) + k + k @ k * ((1.0 - cosine) / sine**2 if sine > 1e-12 else 0.0)
    return angles(turn @ rotation_rpy(*np.asarray(rpy, np.float64)))


def ground(points: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]] | None:
    """The ground among points: its height where base is, m, and its upward normal, shape (3,).

    points: (n, 3) m, in base by the profile. None where too little of it is seen.
    """
    near = np.hypot(points[:, 0], points[:, 1])
    some = points[np.abs(points[:, 2]) < 0.1 + _SLOPE * near]
    plane = np.zeros(3)  # z = a + b x + c y
    for reach in _GROUND:
        off = some[:, 2] - (plane[0] + some[:, :2] @ plane[1:])
        # looser far away, where a small angle lifts the ground most
        chosen = some[np.abs(off) < reach * np.maximum(1.0, np.hypot(some[:, 0], some[:, 1]))]
        if len(chosen) < _LEAST_GROUND:
            return None
        design = np.column_stack((np.ones(len(chosen)), chosen[:, :2]))
        plane, *_ = np.linalg.lstsq(design, chosen[:, 2], rcond=None)
    normal = np.array([-plane[1], -plane[2], 1.0])
    return float(plane[0]), normal / np.linalg.norm(normal)

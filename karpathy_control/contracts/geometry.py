"""Planar geometry: angles, frames and polygons. numpy only, vectorised where it helps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.types import Pose2, State


def wrap_angle(angle: float) -> float:
    """Map an angle to [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


def to_frame(points: ArrayLike, frame: Pose2) -> NDArray[np.float64]:
    """Express parent-frame points in `frame`. Shape: (n, 2) m -> (n, 2) m."""
    delta = np.asarray(points, dtype=np.float64).reshape(-1, 2) - (frame.x, frame.y)
    c, s = math.cos(frame.yaw), math.sin(frame.yaw)
    return np.stack((c * delta[:, 0] + s * delta[:, 1], -s * delta[:, 0] + c * delta[:, 1]), 1)


def from_frame(points: ArrayLike, frame: Pose2) -> NDArray[np.float64]:
    """Express points given in `frame` in its parent. Shape: (n, 2) m -> (n, 2) m."""
    p = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    c, s = math.cos(frame.yaw), math.sin(frame.yaw)
    return np.stack((frame.x + c * p[:, 0] - s * p[:, 1], frame.y + s * p[:, 0] + c * p[:, 1]), 1)


def compose(a: Pose2, b: Pose2) -> Pose2:
    """The pose b, given in a, expressed in a's parent."""
    c, s = math.cos(a.yaw), math.sin(a.yaw)
    return Pose2(a.x + c * b.x - s * b.y, a.y + s * b.x + c * b.y, wrap_angle(a.yaw + b.yaw))


def integrate_twist(pose: Pose2, v: float, w: float, dt: float) -> Pose2:
    """Exact unicycle motion for `dt` seconds at constant v (m/s) and w (rad/s)."""
    if abs(w) * abs(dt) < 1e-6:
        mid = pose.yaw + 0.5 * w * dt
        return Pose2(pose.x + v * dt * math.cos(mid), pose.y + v * dt * math.sin(mid),
                     wrap_angle(pose.yaw + w * dt))
    r = v / w
    yaw = pose.yaw + w * dt
    return Pose2(pose.x + r * (math.sin(yaw) - math.sin(pose.yaw)),
                 pose.y - r * (math.cos(yaw) - math.cos(pose.yaw)), wrap_angle(yaw))


def behind_wheels(state: State, creep: float) -> State:
    """The state with its pose where the base is, and not where its wheels have turned to.

    A base that follows its wheels `creep` s late (robot.creep) is creep * v behind what they
    count: 9 cm at 2 m/s and 45 ms, which would move all that was seen on the way.
    """
    lag = creep * state.v
    return replace(state, x=state.x - lag * math.cos(state.yaw),
                   y=state.y - lag * math.sin(state.yaw)) if lag else state


def yaw_of_quaternion(x: float, y: float, z: float, w: float) -> float:
    """Heading of a unit quaternion, rad (ZYX Euler angles, first angle)."""
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def convex_hull(points: ArrayLike) -> NDArray[np.float64]:
    """Convex hull, counter-clockwise (Andrew's monotone chain). Shape: (n, 2) -> (m, 2).

    Raises ValueError where fewer than three points are not collinear.
    """
    unique = np.unique(np.asarray(points, dtype=np.float64).reshape(-1, 2), axis=0)

    def chain(sequence: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        hull: list[NDArray[np.float64]] = []
        for p in sequence:
            while len(hull) > 1:
                a, b = hull[-1] - hull[-2], p - hull[-2]
                if a[0] * b[1] - a[1] * b[0] > 1e-12:
                    break
                hull.pop()
            hull.append(p)
        return hull[:-1]

    hull = chain(unique) + chain(unique[::-1])
    if len(hull) < 3:
        raise ValueError(f'a footprint needs three points that span an area, got {len(hull)}')
    return np.array(hull)


def rotation_rpy(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """Rotation matrix Rz(yaw) Ry(pitch) Rx(roll), the URDF convention. Shape: (3, 3)."""
    cr, sr = math.cos(roll), math.sin(roll)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])

"""What a depth image says of the way, without any network: obstacle points and free rays.

Every pixel's ray in base is tabulated once. A point whose height lies in the robot's band is an
obstacle; the nearest per degree of bearing and third of the band is kept. Free space is claimed
only along ground that was seen without a break: each image column is walked from the robot
outwards, and a missing pixel, a hole or anything that stands there ends the walk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.layout import DEPTH_MAX
from karpathy_control.contracts.types import CameraModel, DepthPoints, FloatArray
from karpathy_control.mapping.jit import kernel
from karpathy_control.sensing.mounting import BODY_FROM_OPTICAL, mounting_pose
from karpathy_control.sensing.preprocess import undistorted_rays

COLUMNS = 360  # bearings about the camera, one per degree
BANDS = 3  # parts of the height band
MAX_PIXELS = 320  # a wider image is read with a stride
BLIND = 0.6  # m; ground nearer than this may be too near for a depth camera


@kernel
def _filter(depth, rays, plan, column, origin_z, low, high, far, blind, stride, upwards,
            nearest, xyz, free, end):
    """Fill nearest (C, B) and xyz (C, B, 3), free (C,) and end (C, 2); see `DepthFilter`."""
    height, width = depth.shape
    nearest[:] = math.inf
    free[:] = 0.0
    block = np.full(free.shape[0], math.inf)
    reached = np.zeros((height, width), np.float32)  # plan distance along unbroken ground
    for u in range(0, width, stride):
        last = 0.0
        walking = True
        for step in range(0, height, stride):
            v = height - 1 - step if upwards else step
            c = column[v, u]
            if c < 0:
                walking = False
                continue
            d = float(depth[v, u])
            rz = rays[v, u, 2]
            ground = -origin_z / rz * plan[v, u] if rz < -1e-6 else math.inf  # m in plan
            if not 0.0 < d <= far:
                if walking:
                    if d > far and ground > far:  # beyond range where ground would be too
                        reached[v, u] = far
                        walking = False
                    elif not (ground < blind and math.isnan(d)):
                        block[c] = min(block[c], last)
                        walking = False
                continue
            z = origin_z + d * rz
            away = d * plan[v, u]
            if low <= z <= high:
                b = min(int((z - low) / (high - low) * nearest.shape[1]), nearest.shape[1] - 1)
                if away < nearest[c, b]:
                    nearest[c, b] = away
                    xyz[c, b, 0] = d * rays[v, u, 0]
                    xyz[c, b, 1] = d * rays[v, u, 1]
                    xyz[c, b, 2] = z
                block[c] = min(block[c], away)
                walking = False
            elif walking:
                if -low <= z < low:
                    reached[v, u] = away
                    last = away
                else:
                    if z < 0.0:  # a hole
                        block[c] = min(block[c], last)
                    walking = False
    for u in range(0, width, stride):
        for step in range(0, height, stride):
            v = height - 1 - step if upwards else step
            away = reached[v, u]
            if away > 0.0:
                c = column[v, u]
                if free[c] < away <= block[c]:
                    free[c] = away
                    scale = away / plan[v, u]
                    end[c, 0] = scale * rays[v, u, 0]
                    end[c, 1] = scale * rays[v, u, 1]


class DepthFilter:
    """Reads the depth images of one camera.

    `camera_pose` is x y z roll pitch yaw in base of the camera body (x forward); `low` and `high`
    bound the heights, m above the floor, that are in the robot's way.
    """

    def __init__(self, model: CameraModel, camera_pose: Sequence[float], low: float,
                 high: float) -> None:
        if not 0.0 <= low < high:
            raise ValueError(f'height band [{low}, {high}] m: it takes 0 <= low < high')
        pose = mounting_pose(camera_pose)
        flat = undistorted_rays(model)
        optical = np.concatenate((flat, np.ones((*flat.shape[:2], 1))), axis=2)
        rays: NDArray[np.float64] = optical @ (pose.rotation @ BODY_FROM_OPTICAL).T
        plan = np.hypot(rays[..., 0], rays[..., 1])
        bearing = np.arctan2(rays[..., 1], rays[..., 0])
        column = np.floor((bearing + math.pi) * (COLUMNS / (2.0 * math.pi)))
        self._rays = np.ascontiguousarray(rays, np.float32)
        self._plan = np.ascontiguousarray(plan, np.float32)
        self._column = np.where(np.isfinite(column), column % COLUMNS, -1).astype(np.int32)
        self._position = pose.position
        self._upwards = bool(np.nanmean(rays[-1, :, 2]) <= np.nanmean(rays[0, :, 2]))
        self._stride = math.ceil(model.width / MAX_PIXELS)
        self._band = (float(low), float(high))
        self._nearest = np.empty((COLUMNS, BANDS), np.float32)
        self._xyz = np.zeros((COLUMNS, BANDS, 3), np.float32)
        self._free = np.empty(COLUMNS, np.float32)
        self._end = np.zeros((COLUMNS, 2), np.float32)
        self.size = (model.width, model.height)

    def __call__(self, metres: FloatArray, stamp: int) -> DepthPoints:
        """Filter one depth image. Shape: (height, width) m, NaN invalid, +Inf beyond range.

        Raises ValueError for an image of another size than the camera model's.
        """
        if (metres.shape[1], metres.shape[0]) != self.size:
            raise ValueError(f'depth image of {metres.shape[1]} x {metres.shape[0]} px; this '
                             f'camera has {self.size[0]} x {self.size[1]}')
        _filter(np.ascontiguousarray(metres, np.float32), self._rays, self._plan, self._column,
                float(self._position[2]), *self._band, DEPTH_MAX, BLIND, self._stride,
                self._upwards, self._nearest, self._xyz, self._free, self._end)
        obstacles = self._xyz[np.isfinite(self._nearest)]
        ends = self._end[self._free > 0.0]
        xyz = np.zeros((len(obstacles) + len(ends), 3), np.float32)
        xyz[:len(obstacles)] = obstacles
        xyz[len(obstacles):, :2] = ends
        xyz[:, :2] += self._position[:2].astype(np.float32)
        kind = np.full(len(xyz), DepthPoints.FREE, np.float32)
        kind[:len(obstacles)] = DepthPoints.OBSTACLE
        return DepthPoints(stamp, xyz, kind,
                           (float(self._position[0]), float(self._position[1])))

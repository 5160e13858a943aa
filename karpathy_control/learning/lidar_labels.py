"""The lidar as the teacher of the camera: its ranges as labels of the camera's sub-bins.

A beam speaks for the camera only where both look: its point, at the height of the lidar, lies in
the camera's picture, and nothing that the lidar saw hides it from there. What lies below or above
the plane of the lidar may be nearer, so a finite label is the farthest that the nearest obstacle
can be, and a free one says only that nothing crosses that plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.layout import (
    DEPTH_MAX,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    SCAN_BEAMS,
    SECTORS,
    image_focal,
    scan_bearings,
)
from karpathy_control.contracts.types import FloatArray
from karpathy_control.perception.encoder import PRESENT_WITHIN, SUB_BINS
from karpathy_control.sensing.mounting import BODY_FROM_OPTICAL, mounting_pose

MOST_TILT = math.radians(3.0)  # of the lidar: at 5 m its plane is 26 cm off
SHADE_BINS = 144  # of azimuth about the camera, in which near things hide farther ones
SHADE = 0.8  # share of a distance from the camera; what is nearer than that hides it
EDGE = 0.9  # share of a range; a beam on the border that shows less makes the sub-bin unsure
_BINS = SECTORS * SUB_BINS
_CENTRES = (np.arange(SCAN_BEAMS) + 0.5) * (_BINS / SCAN_BEAMS)  # of the beams, in sub-bins
_HALF = 0.5 * _BINS / SCAN_BEAMS  # of a beam
_FIRST, _LAST = np.floor(_CENTRES - _HALF + 1e-9), np.ceil(_CENTRES + _HALF - 1e-9) - 1.0
_WITHIN = (_FIRST == _LAST)[None] & (_FIRST == np.arange(_BINS)[:, None])  # (bins, beams) whole
_ACROSS = (_FIRST != _LAST)[None] & ((_FIRST == np.arange(_BINS)[:, None])
                                     | (_LAST == np.arange(_BINS)[:, None]))


class LidarLabels:
    """Labels of one robot. Poses are x y z roll pitch yaw in base, as the loop believes them."""

    def __init__(self, camera_pose: Sequence[float], lidar_pose: Sequence[float],
                 band: tuple[float, float]) -> None:
        """band: heights that count as obstacle, m. ConfigError for a lidar that cannot teach."""
        camera, lidar = mounting_pose(camera_pose), mounting_pose(lidar_pose)
        tilt = math.acos(min(abs(float(lidar.rotation[2, 2])), 1.0))
        if tilt > MOST_TILT:
            raise ConfigError(f'lidar_pose {list(lidar_pose)}: tilted by '
                              f'{math.degrees(tilt):.1f} degrees; as a teacher it takes at most '
                              f'{math.degrees(MOST_TILT):.0f}')
        if not band[0] <= lidar_pose[2] <= band[1]:
            raise ConfigError(f'lidar_pose {list(lidar_pose)}: {lidar_pose[2]:g} m high; as a '
                              f'teacher of obstacles it takes {band[0]:g} to {band[1]:g}')
        self._position, self._height = camera.position, float(lidar_pose[2])
        self._optical = camera.rotation @ BODY_FROM_OPTICAL  # base <- optical
        bearings = scan_bearings().astype(np.float64)
        self._cos, self._sin = np.cos(bearings), np.sin(bearings)

    def visible(self, ranges: FloatArray) -> np.ndarray:
        """Which beams' points lie in the picture and are not hidden; free ones at PRESENT_WITHIN.

        Shape: (SCAN_BEAMS,) m, NaN nobody looked -> (SCAN_BEAMS,) bool.
        """
        r = np.where(np.isfinite(ranges), ranges, PRESENT_WITHIN).astype(np.float64)
        points = np.stack((r * self._cos, r * self._sin, np.full_like(r, self._height)), 1)
        seen = (points - self._position) @ self._optical
        z = np.maximum(seen[:, 2], 1e-6)
        u, v = image_focal() * seen[:, 0] / z, image_focal() * seen[:, 1] / z
        inside = ((seen[:, 2] > 0.0) & (np.abs(u) <= 0.5 * IMAGE_WIDTH)
                  & (np.abs(v) <= 0.5 * IMAGE_HEIGHT) & ~np.isnan(ranges))
        dx, dy = points[:, 0] - self._position[0], points[:, 1] - self._position[1]
        distance = np.hypot(dx, dy)
        bins = ((np.arctan2(dy, dx) + math.pi) * (SHADE_BINS / (2.0 * math.pi))).astype(np.intp)
        nearest = np.full(SHADE_BINS, np.inf)
        surface = np.isfinite(ranges)
        np.minimum.at(nearest, bins[surface] % SHADE_BINS, distance[surface])
        return inside & (nearest[bins % SHADE_BINS] >= SHADE * distance)

    def __call__(self, ranges: FloatArray, reach: float) -> FloatArray:
        """Label every sub-bin that a whole beam speaks for.

        Shape: (SCAN_BEAMS,) m, +Inf free up to `reach` m -> (SECTORS, SUB_BINS) m: finite a
        surface in the lidar's plane, +Inf nothing within DEPTH_MAX there, NaN not asked.
        """
        known = self.visible(ranges) & ~(np.isposinf(ranges) & (reach < PRESENT_WITHIN))
        r = np.where(known & (ranges <= DEPTH_MAX), ranges, np.inf)
        inner = np.where(_WITHIN, r, np.inf).min(1)
        border = np.where(_ACROSS, np.where(np.isnan(ranges), np.inf, ranges), np.inf).min(1)
        whole = (known | ~_WITHIN).all(1)  # every beam of it speaks
        sure = whole & ~(border < EDGE * inner)
        return np.where(sure, inner, np.nan).reshape(SECTORS, SUB_BINS).astype(np.float32)

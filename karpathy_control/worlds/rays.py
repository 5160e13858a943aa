"""Lidar and RGB-D camera by ray casting: one mj_multiRay call each, so no OpenGL is needed."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import replace

import mujoco
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from karpathy_control.contracts.config.sim import CameraConfig, LidarConfig
from karpathy_control.contracts.types import CameraModel, RawDepth, RawImage, RawScan
from karpathy_control.worlds.mjcf import FLOOR, ROBOT_GROUPS, WORLD_GROUP

CAMERA_RANGE = 20.0  # m, farther is sky in colour
DEPTH_RANGE = 10.0  # m, farther is +Inf (REP-118)
CHECKER = 0.5  # m, side of a floor tile
PIXEL_NOISE = 3.0  # standard deviation of a colour value, of 255
NOISE_BANK = 64  # images' worth of noise drawn once; a random offset into it costs nothing

Array = NDArray[np.float64]


class RayCaster:
    """Rays from one point against floor, obstacles and the other robots.

    The robot's own geoms, which are those of `own_group`, are left out.
    """

    def __init__(self, model: mujoco.MjModel, count: int, own_group: int) -> None:
        self._model = model
        self.count = count
        self.distance = np.empty(count)
        self.geom = np.empty(count, dtype=np.int32)
        self.normal = np.empty(3 * count)
        self._groups = np.zeros(6, dtype=np.uint8)
        self._groups[[WORLD_GROUP, *ROBOT_GROUPS]] = 1
        self._groups[own_group] = 0

    def cast(self, data: mujoco.MjData, origin: Array, rays: Array, cutoff: float,
             normals: bool = False) -> None:
        """Fill `distance` (m, -1 nothing), `geom` and `normal`. Rays: (count, 3) unit, world.

        Of fewer rays than `count` only the first values are theirs.
        """
        n = len(rays)
        mujoco.mj_multiRay(self._model, data, origin, rays.ravel(), self._groups, True, -1,
                           self.geom[:n], self.distance[:n],
                           self.normal[:3 * n] if normals else None, n, cutoff)


class Lidar:
    """A planar scanner; REP-117: -Inf too close, +Inf no return."""

    def __init__(self, model: mujoco.MjModel, config: LidarConfig, rng: Generator,
                 own_group: int) -> None:
        full_circle = config.fov > 2.0 * math.pi - 1e-3
        self.angle_increment = config.fov / (config.beams if full_circle else config.beams - 1)
        self.angle_min = -0.5 * config.fov
        angle = self.angle_min + self.angle_increment * np.arange(config.beams)
        self._rays = np.stack((np.cos(angle), np.sin(angle), np.zeros_like(angle)), 1)
        self._config = config
        self._rng = rng
        self._caster = RayCaster(model, config.beams, own_group)

    def scan(self, data: mujoco.MjData, position: Array, rotation: Array, stamp: int) -> RawScan:
        """One scan from a pose in the world. Rotation: (3, 3), world <- lidar."""
        self._caster.cast(data, position, self._rays @ rotation.T, self._config.range_max)
        return self._told(self._caster.distance, stamp)

    def swept(self, data: mujoco.MjData, poses: Sequence[tuple[Array, Array]], order: str,
              between: float, stamp: int) -> RawScan:
        """One scan whose beams were measured from one pose after the other, in equal shares.

        order: as `robot.scan_order`; between: s from beam to beam. What moves in the world stands
        where it is now.
        """
        distance = np.empty(self._config.beams)
        shares = np.array_split(np.arange(self._config.beams), len(poses))
        for share, (position, rotation) in zip(
                shares if order != 'backward' else shares[::-1], poses, strict=True):
            self._caster.cast(data, position, self._rays[share] @ rotation.T,
                              self._config.range_max)
            distance[share] = self._caster.distance[:len(share)]
        return replace(self._told(distance, stamp), time_increment=between)

    def _told(self, distance: Array, stamp: int) -> RawScan:
        """A message of distances, -1 for none. Shape: (beams,) m."""
        config = self._config
        ranges = distance + config.noise * self._rng.standard_normal(config.beams)
        missed = (distance < 0.0) | (ranges > config.range_max)
        ranges[ranges < config.range_min] = -np.inf
        ranges[missed] = np.inf if config.no_return == 'free' else np.nan
        return RawScan(stamp, self.angle_min, self.angle_increment, config.range_min,
                       config.range_max, ranges.astype(np.float32))


class Camera:
    """A pinhole RGB-D camera: palette colours, one distant light, a chequered floor."""

    def __init__(self, model: mujoco.MjModel, config: CameraConfig, rng: Generator,
                 paint: Generator, own_group: int) -> None:
        """`paint` draws the look of the world, `rng` the noise; they may be one."""
        focal = 0.5 * config.width / math.tan(0.5 * config.hfov)
        # the centre of pixel (u, v) is at (u, v), as in OpenCV
        self.model = CameraModel(config.width, config.height, focal, focal,
                                 0.5 * (config.width - 1), 0.5 * (config.height - 1))
        u, v = np.meshgrid(np.arange(config.width), np.arange(config.height))
        rays = np.stack(((u - self.model.cx) / focal, (v - self.model.cy) / focal,
                         np.ones_like(u)), axis=-1).reshape(-1, 3)
        self._rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        self._config = config
        self._rng = rng
        self._caster = RayCaster(model, len(rays), own_group)
        self._floor = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, FLOOR)
        self._paint(model, paint)
        self._pixel_noise = (PIXEL_NOISE * rng.standard_normal((NOISE_BANK, 3 * len(rays) // 8))
                             ).astype(np.float32).ravel()

    def _paint(self, model: mujoco.MjModel, rng: Generator) -> None:
        """Draw colours and light. `_palette` row 0 is the sky (geom -1), row 1 geom 0."""
        self._palette = np.empty((model.ngeom + 1, 3), dtype=np.float32)
        wall = 0.45 + 0.4 * rng.random() + 0.05 * rng.standard_normal(3)
        for geom in range(model.ngeom):
            name = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_GEOM, geom) or ''
            size = model.geom_size[geom]
            colour = colorsys.hsv_to_rgb(rng.random(), 0.35 + 0.6 * rng.random(),
                                         0.35 + 0.6 * rng.random())
            long_box = name.startswith('box') and max(size[0], size[1]) > 0.8
            self._palette[geom + 1] = wall if long_box else colour
        tone = 0.25 + 0.3 * rng.random()
        tint = 1.0 + 0.08 * rng.standard_normal(3)
        self._tiles = np.clip(np.array([[tone], [tone + 0.12]]) * tint, 0.0, 1.0
                              ).astype(np.float32)
        self._palette[0] = np.array([0.55, 0.72, 0.95]) * (0.85 + 0.15 * rng.random())
        np.clip(self._palette, 0.0, 1.0, out=self._palette)
        azimuth, elevation = rng.uniform(-math.pi, math.pi), rng.uniform(0.7, 1.3)
        self._light = np.array([math.cos(elevation) * math.cos(azimuth),
                                math.cos(elevation) * math.sin(azimuth), math.sin(elevation)])
        self._ambient = float(rng.uniform(0.4, 0.6))

    def frame(self, data: mujoco.MjData, position: Array, rotation: Array, stamp: int
              ) -> tuple[RawImage, RawDepth | None]:
        """One frame from the optical frame's pose. Rotation: (3, 3), world <- optical."""
        rays = self._rays @ rotation.T
        self._caster.cast(data, position, rays, CAMERA_RANGE, normals=True)
        shape = (self._config.height, self._config.width)
        pixels = self._shade(position, rays).reshape(*shape, 3)
        depth = None
        if self._config.depth:
            depth = RawDepth(stamp, self._depth().reshape(shape))
        return RawImage(stamp, pixels), depth

    def _shade(self, position: Array, rays: Array) -> NDArray[np.uint8]:
        """Lambert shading of the last cast. Shape: (n, 3)."""
        caster = self._caster
        colour = self._palette[caster.geom + 1]
        lambert = caster.normal.reshape(-1, 3) @ self._light
        bright = self._ambient + (1.0 - self._ambient) * np.maximum(lambert, 0.0)
        floor = np.flatnonzero(caster.geom == self._floor)
        at = position[:2] + rays[floor, :2] * caster.distance[floor, None]
        tile = np.floor(at / CHECKER).astype(np.int64).sum(axis=1) & 1
        colour[floor] = self._tiles[tile]
        sky = caster.geom < 0
        bright[sky] = 1.0 - 0.3 * rays[sky, 2]  # paler towards the horizon
        values = colour * (255.0 * bright[:, None].astype(np.float32))
        offset = int(self._rng.integers(len(self._pixel_noise) - values.size))
        values += self._pixel_noise[offset:offset + values.size].reshape(-1, 3)
        return np.clip(values, 0.0, 255.0).astype(np.uint8)

    def _depth(self) -> NDArray[np.float32]:
        """Depth along the optical axis of the last cast. Shape: (n,) m."""
        depth = self._caster.distance * self._rays[:, 2]
        noise = self._rng.standard_normal(len(depth), dtype=np.float32)
        depth += self._config.depth_noise * depth * depth * noise
        depth[(self._caster.distance < 0.0) | (depth > DEPTH_RANGE)] = np.inf
        return depth.astype(np.float32)

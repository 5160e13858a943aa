"""What the encoder should have said: labels from a world's geometry and from noise-free depth.

The label of a sector is the nearest obstacle in it that the sensors could see: one that crosses
the plane of the lidar where a beam or the camera looked, or one that does not (low, overhang)
where the camera saw it. What nobody could see is not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.layout import (
    DEPTH_MAX,
    ENTITY_CLASSES,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    SCAN_BEAMS,
    SECTORS,
    image_focal,
    in_view,
    scan_bearings,
)
from karpathy_control.contracts.types import FloatArray, Pose2
from karpathy_control.contracts.world import World
from karpathy_control.perception.encoder import PRESENT_WITHIN, SUB_BINS
from karpathy_control.sensing.mounting import BODY_FROM_OPTICAL, mounting_pose

RAYS = 2 * SCAN_BEAMS  # rays of the geometric labels
VELOCITY_STEP = 0.05  # s, half the span of the velocity difference
RADIUS_MAX = 0.5  # m
SEEN_WITHIN = 0.15  # m: a camera range this near to the geometry counts as seeing it

LABEL_FIELDS = ('range', 'offset', 'height', 'vx', 'vy', 'radius', 'label', 'measured')


@dataclass(frozen=True)
class Solids:
    """Every obstacle of a world at one moment, as arrays over n cylinders then m boxes."""

    circles: NDArray[np.float64]  # (n, 3) x y radius, world
    boxes: NDArray[np.float64]  # (m, 5) x y half_x half_y yaw, world
    bottom: NDArray[np.float64]  # (n + m,) m
    top: NDArray[np.float64]  # (n + m,) m
    velocity: NDArray[np.float64]  # (n + m, 2) m/s, world
    radius: NDArray[np.float64]  # (n + m,) m


def solids(world: World, time: float, people: NDArray[np.float64] | None = None) -> Solids:
    """The obstacles of `world` at `time` seconds after its start.

    people: (k, 4) x y vx vy of the world's people then, m and m/s, world: a simulator knows.
    ValueError where there are not as many as in the world.
    """
    walking = np.zeros((0, 4)) if people is None else np.asarray(people, np.float64)
    if walking.shape != (len(world.people), 4):
        raise ValueError(f'people has shape {walking.shape}; of this world it takes '
                         f'{(len(world.people), 4)}')
    movers = [(*m.position(time), m.radius) for m in world.movers]
    movers += [(x, y, who.radius) for (x, y, _, _), who in zip(walking, world.people, strict=True)]
    circles = np.array([(c.x, c.y, c.radius) for c in world.cylinders] + movers,
                       np.float64).reshape(-1, 3)
    boxes = np.array([(b.x, b.y, b.half_x, b.half_y, b.yaw) for b in world.boxes],
                     np.float64).reshape(-1, 5)
    bottom = np.array([c.bottom for c in world.cylinders] + [0.0] * len(movers)
                      + [b.bottom for b in world.boxes])
    top = np.array([c.top for c in world.cylinders] + [m.top for m in world.movers]
                   + [who.top for who in world.people]
                   + [b.top for b in world.boxes])
    velocity = np.zeros((len(top), 2))
    for i, m in enumerate(world.movers):
        before, after = m.position(time - VELOCITY_STEP), m.position(time + VELOCITY_STEP)
        velocity[len(world.cylinders) + i] = (np.subtract(after, before)
                                              / (2.0 * VELOCITY_STEP))
    first = len(world.cylinders) + len(world.movers)
    velocity[first:first + len(walking)] = walking[:, 2:]
    radius = np.concatenate((circles[:, 2], boxes[:, 2:4].min(1, initial=RADIUS_MAX)))
    return Solids(circles, boxes, bottom, top, velocity, np.minimum(radius, RADIUS_MAX))


def cast(s: Solids, pose: Pose2, bearings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Distance along each ray in the plane to each solid; +Inf where it misses.

    Shape: bearings (r,) rad in the frame of `pose` -> (r, n + m) m. Circles: quadratic formula;
    boxes: the slab method in the box's own frame. A ray that starts inside gives 0.
    """
    angle = pose.yaw + bearings.astype(np.float64)
    ux, uy = np.cos(angle)[:, None], np.sin(angle)[:, None]
    dx, dy = s.circles[:, 0] - pose.x, s.circles[:, 1] - pose.y
    along = ux * dx + uy * dy
    inside = s.circles[:, 2] ** 2 - (dx * dx + dy * dy - along * along)
    half = np.sqrt(np.maximum(inside, 0.0))
    circles = np.where((inside >= 0.0) & (along + half >= 0.0), np.maximum(along - half, 0.0),
                       np.inf)
    c, n = np.cos(s.boxes[:, 4]), np.sin(s.boxes[:, 4])
    ox, oy = pose.x - s.boxes[:, 0], pose.y - s.boxes[:, 1]
    near = np.zeros((len(angle), len(s.boxes)))
    far = np.full_like(near, np.inf)
    for start, along, half_size in (
            (c * ox + n * oy, c * ux + n * uy, s.boxes[:, 2]),
            (-n * ox + c * oy, -n * ux + c * uy, s.boxes[:, 3])):
        step = np.where(np.abs(along) < 1e-9, 1e-9, along)
        a, b = (-half_size - start) / step, (half_size - start) / step
        near, far = np.maximum(near, np.minimum(a, b)), np.minimum(far, np.maximum(a, b))
    boxes = np.where(near <= far, near, np.inf)
    return np.concatenate((circles, boxes), 1)


class CameraLabels:
    """Exact camera ranges from noise-free depth in the virtual pinhole.

    `camera_pose` is x y z roll pitch yaw in base; [low, high] the height band, m above the floor.
    """

    def __init__(self, camera_pose: Sequence[float], low: float, high: float) -> None:
        pose = mounting_pose(camera_pose)
        f = image_focal()
        v, u = np.mgrid[0:IMAGE_HEIGHT, 0:IMAGE_WIDTH].astype(np.float64)
        optical = np.stack(((u - 0.5 * (IMAGE_WIDTH - 1)) / f,
                            (v - 0.5 * (IMAGE_HEIGHT - 1)) / f, np.ones_like(u)), 2)
        self._rays = optical @ (pose.rotation @ BODY_FROM_OPTICAL).T
        self._position = pose.position
        self._band = (low, high)
        middle = np.full(SCAN_BEAMS, PRESENT_WITHIN)
        view = in_view(middle, camera_pose)
        centres = ((np.arange(SECTORS * SUB_BINS) + 0.5)
                   * (SCAN_BEAMS / (SECTORS * SUB_BINS))).astype(np.intp)
        self._view = view[centres]

    def __call__(self, depth: FloatArray) -> FloatArray:
        """Nearest visible obstacle per sub-bin of bearing about base.

        Shape: (IMAGE_HEIGHT, IMAGE_WIDTH) m -> (SECTORS, SUB_BINS) m: +Inf where the camera looks
        and sees none within DEPTH_MAX, NaN outside its view.
        """
        points = depth[..., None] * self._rays + self._position
        low, high = self._band
        good = np.isfinite(depth) & (points[..., 2] >= low) & (points[..., 2] <= high)
        x, y = points[good, 0], points[good, 1]
        distance = np.hypot(x, y)
        bins = ((np.arctan2(y, x) + math.pi) * (SECTORS * SUB_BINS / (2.0 * math.pi))
                ).astype(np.intp) % (SECTORS * SUB_BINS)
        nearest = np.full(SECTORS * SUB_BINS, np.inf)
        np.minimum.at(nearest, bins, distance)
        nearest[nearest > DEPTH_MAX] = np.inf
        out = np.where(np.isfinite(nearest) | self._view, nearest, np.nan)
        return out.reshape(SECTORS, SUB_BINS).astype(np.float32)


def sector_labels(world: World, pose: Pose2, time: float, scan: FloatArray,
                  camera: FloatArray, band: tuple[float, float], lidar_height: float,
                  people: NDArray[np.float64] | None = None) -> FloatArray:
    """One row of LABEL_FIELDS per sector; range +Inf where nothing could be seen.

    scan (SCAN_BEAMS,) m in the layout: a beam that is not NaN looked. camera (SECTORS, SUB_BINS)
    m from CameraLabels. band: heights that count, m. `measured` is 1 where the lidar could see
    the labelled obstacle; `people` as of `solids`. Velocities are over ground in the axes of base.
    """
    s = solids(world, time, people)
    bearings = scan_bearings(RAYS)
    t = cast(s, pose, bearings)
    t[:, (s.bottom >= band[1]) | (s.top <= band[0])] = np.inf
    crosses = (s.bottom < lidar_height) & (s.top > lidar_height)
    per_beam, per_bin = RAYS // SCAN_BEAMS, RAYS // (SECTORS * SUB_BINS)
    beam = np.repeat(~np.isnan(scan), per_beam)
    seen = np.repeat(camera.reshape(-1), per_bin)[:, None]
    by_lidar = beam[:, None] & crosses[None]
    with np.errstate(invalid='ignore'):
        by_camera = np.abs(seen - t) <= SEEN_WITHIN
    visible = np.where(by_lidar | by_camera, t, np.inf)
    first, which = visible.min(1), visible.argmin(1)
    rays = RAYS // SECTORS
    index = first.reshape(SECTORS, rays).argmin(1) + np.arange(SECTORS) * rays
    rows = np.zeros((SECTORS, len(LABEL_FIELDS)), np.float32)
    distance, solid = first[index], which[index]
    rows[:, 0] = np.where(distance <= DEPTH_MAX, distance, np.inf)
    rows[:, 1] = (index % rays + 0.5) * (2.0 / rays) - 1.0
    top = np.minimum(s.top, 1.0)
    rows[:, 2] = 0.5 * (s.bottom + top)[solid]
    c, n = math.cos(pose.yaw), math.sin(pose.yaw)
    v = s.velocity[solid]
    rows[:, 3], rows[:, 4] = c * v[:, 0] + n * v[:, 1], -n * v[:, 0] + c * v[:, 1]
    rows[:, 5] = s.radius[solid]
    kind = np.full(len(s.top), ENTITY_CLASSES.index('static'))
    kind[~crosses & (s.top <= lidar_height)] = ENTITY_CLASSES.index('low')
    kind[~crosses & (s.bottom >= lidar_height)] = ENTITY_CLASSES.index('overhang')
    kind[np.hypot(*s.velocity.T) > 0.05] = ENTITY_CLASSES.index('moving')
    rows[:, 6] = np.where(distance <= PRESENT_WITHIN, kind[solid], ENTITY_CLASSES.index('free'))
    rows[:, 7] = by_lidar[index, solid]
    return rows

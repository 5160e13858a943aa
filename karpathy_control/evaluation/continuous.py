"""Whether a moving footprint touched anything: exact shapes, every millisecond of a motion.

The judge of the adversary. It shares no code with the gate: polygons stay in the world frame,
circles and convex polygons are met edge by edge. Between two recorded poses, and between two
recorded places of a moving circle, the motion is interpolated; a look is left out only where the
last distance, less everything that has moved since, proves that nothing can touch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.world import World
from karpathy_control.mapping.jit import kernel

HORIZON = 1.0  # m up to which distances are told apart
SUBSTEP = 0.001  # s between two looks
NOTHING, CIRCLE, POLYGON, MOVING = 0, 1, 2, 3  # what was touched


class Shapes(NamedTuple):
    """What stands in a world within one height band; world frame, m."""

    circles: NDArray[np.float64]  # (n, 3) x y radius
    corners: NDArray[np.float64]  # (m, P, 2) convex, counter-clockwise; padded
    sides: NDArray[np.int64]  # (m,) how many corners are valid
    bounds: NDArray[np.float64]  # (m, 3) x y radius of a circle round each polygon


class Touch(NamedTuple):
    """The first contact of a motion; `kind` NOTHING where there was none."""

    kind: int
    which: int  # number among the shapes of that kind
    time: float  # s since the first pose
    x: float  # m, yaw in rad: the pose at contact
    y: float
    yaw: float
    clearance: float  # m, least distance that was looked at, at most HORIZON; 0 at contact


def shapes(circles: ArrayLike = (), polygons: Sequence[ArrayLike] = ()) -> Shapes:
    """Pack circles (n, 3) and convex polygons [(k, 2)] of either orientation."""
    rings = [np.asarray(p, np.float64).reshape(-1, 2) for p in polygons]
    widest = max([len(r) for r in rings], default=3)
    corners = np.zeros((len(rings), widest, 2))
    bounds = np.zeros((len(rings), 3))
    for k, ring in enumerate(rings):
        x, y = ring.T
        clockwise = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0.0
        corners[k, :len(ring)] = ring[::-1] if clockwise else ring
        bounds[k, :2] = ring.mean(axis=0)
        bounds[k, 2] = np.linalg.norm(ring - bounds[k, :2], axis=1).max()
    return Shapes(np.asarray(circles, np.float64).reshape(-1, 3), corners,
                  np.array([len(r) for r in rings], np.int64), bounds)


def of_world(world: World, low: float, high: float) -> Shapes:
    """What stands still in a world and meets the heights [low, high] m."""
    rings = []
    for b in world.boxes:
        if b.bottom < high and b.top > low:
            along = b.half_x * np.array((math.cos(b.yaw), math.sin(b.yaw)))
            across = b.half_y * np.array((-math.sin(b.yaw), math.cos(b.yaw)))
            centre = np.array((b.x, b.y))
            rings.append(np.array((centre + along + across, centre - along + across,
                                   centre - along - across, centre + along - across)))
    return shapes([(c.x, c.y, c.radius) for c in world.cylinders
                   if c.bottom < high and c.top > low], rings)


@kernel
def _to_segment(px, py, ax, ay, bx, by):
    """Distance from a point to the segment from a to b, m."""
    ux, uy = bx - ax, by - ay
    f = ((px - ax) * ux + (py - ay) * uy) / (ux * ux + uy * uy)
    if f <= 0.0:
        return math.hypot(px - ax, py - ay)
    if f >= 1.0:
        return math.hypot(px - bx, py - by)
    return abs((px - ax) * uy - (py - ay) * ux) / math.hypot(ux, uy)


@kernel
def _inside(ring, n, x, y):
    """Whether a point lies in a convex counter-clockwise ring of n corners."""
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        if ((ring[j, 0] - ring[i, 0]) * (y - ring[i, 1])
                - (ring[j, 1] - ring[i, 1]) * (x - ring[i, 0]) < 0.0):
            return False
    return True


@kernel
def _crossing(ax, ay, bx, by, cx, cy, dx, dy):
    """Whether the segments ab and cd meet."""
    u = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    v = (bx - ax) * (dy - ay) - (by - ay) * (dx - ax)
    p = (dx - cx) * (ay - cy) - (dy - cy) * (ax - cx)
    q = (dx - cx) * (by - cy) - (dy - cy) * (bx - cx)
    return u * v <= 0.0 and p * q <= 0.0 and (u != v or p != q)


@kernel
def ring_to_point(ring, n, x, y):
    """Distance from a point to a convex ring of n corners, m; 0 inside."""
    if _inside(ring, n, x, y):
        return 0.0
    least = math.inf
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        least = min(least, _to_segment(x, y, ring[i, 0], ring[i, 1], ring[j, 0], ring[j, 1]))
    return least


@kernel
def ring_to_ring(a, n, b, m):
    """Distance between two convex rings of n and m corners, m; 0 where they touch or overlap."""
    if _inside(a, n, b[0, 0], b[0, 1]) or _inside(b, m, a[0, 0], a[0, 1]):
        return 0.0
    least = math.inf
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        for k in range(m):
            h = k + 1 if k + 1 < m else 0
            if _crossing(a[i, 0], a[i, 1], a[j, 0], a[j, 1], b[k, 0], b[k, 1], b[h, 0], b[h, 1]):
                return 0.0
            least = min(least,
                        _to_segment(a[i, 0], a[i, 1], b[k, 0], b[k, 1], b[h, 0], b[h, 1]),
                        _to_segment(b[k, 0], b[k, 1], a[i, 0], a[i, 1], a[j, 0], a[j, 1]))
    return least


@kernel
def _place(polygon, x, y, yaw, ring):
    """Write the footprint at a pose into ring (n, 2)."""
    c, s = math.cos(yaw), math.sin(yaw)
    for i in range(polygon.shape[0]):
        ring[i, 0] = x + c * polygon[i, 0] - s * polygon[i, 1]
        ring[i, 1] = y + s * polygon[i, 0] + c * polygon[i, 1]


@kernel
def distance(polygon, reach, scene, movers, x, y, yaw, ring, horizon):
    """Least distance from the footprint at a pose to anything, at most `horizon` m.

    polygon (n, 2) m in base, convex, counter-clockwise; reach its circumscribed radius; movers
    (k, 3) x y radius; ring (n, 2) scratch. Returns (m, kind, index).
    """
    n = polygon.shape[0]
    _place(polygon, x, y, yaw, ring)
    least, kind, index = horizon, NOTHING, -1
    for group in range(2):
        circles = scene.circles if group == 0 else movers
        for j in range(circles.shape[0]):
            dx, dy, r = circles[j, 0] - x, circles[j, 1] - y, circles[j, 2]
            if dx * dx + dy * dy < (least + reach + r) ** 2:
                d = ring_to_point(ring, n, circles[j, 0], circles[j, 1]) - r
                if d < least:
                    least, kind, index = d, CIRCLE if group == 0 else MOVING, j
    for j in range(scene.corners.shape[0]):
        dx, dy, r = scene.bounds[j, 0] - x, scene.bounds[j, 1] - y, scene.bounds[j, 2]
        if dx * dx + dy * dy < (least + reach + r) ** 2 and ring_to_point(
                scene.corners[j], scene.sides[j], x, y) < least + reach:
            d = ring_to_ring(ring, n, scene.corners[j], scene.sides[j])
            if d < least:
                least, kind, index = d, POLYGON, j
    return least, kind, index


@kernel
def _first_touch(polygon, reach, scene, tracks, poses, dt, substeps):
    """See `first_touch`; tracks (T, k, 3)."""
    ring = np.empty_like(polygon)
    now = np.empty((tracks.shape[1], 3))
    least = HORIZON
    spare = 0.0
    for k in range(poses.shape[0] - 1):
        x, y, yaw = poses[k, 0], poses[k, 1], poses[k, 2]
        dx, dy = poses[k + 1, 0] - x, poses[k + 1, 1] - y
        turn = (poses[k + 1, 2] - yaw + math.pi) % (2.0 * math.pi) - math.pi
        moved = math.hypot(dx, dy) + abs(turn) * reach
        fastest = 0.0
        for j in range(now.shape[0]):
            fastest = max(fastest, math.hypot(tracks[k + 1, j, 0] - tracks[k, j, 0],
                                              tracks[k + 1, j, 1] - tracks[k, j, 1]))
        moved += fastest
        if moved < spare:
            spare -= moved
            continue
        for i in range(substeps):
            f = (i + 1.0) / substeps
            spare -= moved / substeps
            if spare > 0.0:
                continue
            for j in range(now.shape[0]):
                for c in range(3):
                    now[j, c] = tracks[k, j, c] + f * (tracks[k + 1, j, c] - tracks[k, j, c])
            spare, kind, index = distance(polygon, reach, scene, now, x + f * dx, y + f * dy,
                                          yaw + f * turn, ring, HORIZON)
            least = min(least, spare)
            if spare <= 0.0:
                return kind, index, (k + f) * dt, x + f * dx, y + f * dy, yaw + f * turn, 0.0
    return NOTHING, -1, math.inf, 0.0, 0.0, 0.0, least


def first_touch(polygon: NDArray[np.float64], scene: Shapes, poses: NDArray[np.float64],
                dt: float, tracks: NDArray[np.float64] | None = None) -> Touch:
    """The first contact of a footprint (n, 2) that goes through `poses` (T, 3), dt s apart.

    tracks: (T, k, 3) x y radius of circles that move, at the times of the poses.
    """
    if tracks is None:
        tracks = np.zeros((len(poses), 0, 3))
    if len(tracks) != len(poses):
        raise ValueError(f'{len(tracks)} places of movers for {len(poses)} poses')
    reach = float(np.linalg.norm(polygon, axis=1).max())
    return Touch(*_first_touch(np.ascontiguousarray(polygon, np.float64), reach, scene,
                               np.ascontiguousarray(tracks, np.float64),
                               np.ascontiguousarray(poses, np.float64), float(dt),
                               max(1, math.ceil(dt / SUBSTEP - 1e-9))))


def clearance(polygon: NDArray[np.float64], scene: Shapes, pose: ArrayLike,
              movers: ArrayLike = ()) -> float:
    """Distance in m of the footprint at one pose (3,) to anything, at most HORIZON."""
    x, y, yaw = (float(v) for v in np.asarray(pose, np.float64))
    reach = float(np.linalg.norm(polygon, axis=1).max())
    found = distance(np.ascontiguousarray(polygon, np.float64), reach, scene,
                     np.asarray(movers, np.float64).reshape(-1, 3), x, y, yaw,
                     np.empty((len(polygon), 2)), HORIZON)
    return float(found[0])

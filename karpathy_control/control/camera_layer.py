"""What a camera adds to the memory and what it takes away.

The height-filtered depth says both: OBSTACLE points are kept, FREE rays mark observed free cells
and clear what they pass over in plan view. The learned camera scan only adds, and takes back what
a camera scan added where no depth ever came: without, what it was once wrong about would close the
way until it is forgotten. Rays are gathered
by bearing about the camera, one degree each: a stored camera point goes when every ray of its
bearing passes beyond it and one of them is FREE, or when a new point takes its place. Nothing is
cleared nearer than the ground that the camera can see, and nothing is moved away from the robot
there: a ray passes over what stands in its way.

What the lidar sees as well is left to it: a point within a cell of one that the lidar's layer has
just been given is not kept. Nearly all that a camera sees are walls and posts, and a second,
older copy of them beside the robot, inflated by drift, would close every narrow way. The price: of
a ledge that sticks out by less than a cell below or above the lidar's plane, the wall counts.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from karpathy_control.control.footprint import signed_distance
from karpathy_control.control.memory import (
    EMPTY,
    forget_free,
    keep_near_free,
    mark_obstacle,
    place,
)
from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.rolling import clear_ray

_BINS = 360  # bearings about the camera; half a bin is 1.3 cm at 1.5 m
_FREE = 0.5  # kinds above this are FREE (contracts.types.DepthPoints)
_BEYOND = 0.05  # m that a ray must pass beyond a stored point to clear it
_JUST = 0.1  # s: a scan this old still shows what an image shows
_BESIDE = 2  # bearings of a camera scan to either side that must look past what it takes back
_FARTHER = 1.15  # times as far, and _BEYOND: the learned range errs by some 8 %
_BODY = -0.05  # m: a point deeper inside the footprint than this is the robot itself


@kernel
def _bin(angle):
    return math.floor((angle % (2.0 * math.pi)) * (_BINS / (2.0 * math.pi))) % _BINS


@kernel
def _passed(dx, dy, free, hit, blind, cell):
    """Whether this frame clears or replaces a stored point at (dx, dy) from the camera, odom."""
    distance = math.sqrt(dx * dx + dy * dy)
    k = _bin(math.atan2(dy, dx))
    if abs(hit[k] - distance) < cell:
        # Nearer than `blind` the image may end on top of what stands there: were its front edge
        # replaced by the first row in view, it would recede before the robot.
        return blind < distance or hit[k] <= distance
    return blind < distance and distance + _BEYOND < min(free[k], hit[k])


@kernel
def depth_one(b, memory, rules, footprint, pose, points, kind, count, origin, time):
    """Take the height-filtered depth of robot b in; see Gate.observe_depth."""
    x = pose[b, 0]
    y = pose[b, 1]
    yaw = pose[b, 2]
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(yaw)):
        return
    now = np.float32(place(memory, b, x, y, yaw, time[b], rules))
    c = math.cos(yaw)
    s = math.sin(yaw)
    camera_x = x + c * origin[0] - s * origin[1]
    camera_y = y + s * origin[0] + c * origin[1]
    size = memory.free_seen.shape[1]
    limit = min(rules.free_reach, (size // 2 - 1) * rules.cell - max(
        abs(camera_x - x), abs(camera_y - y)))
    free = np.zeros(_BINS)
    hit = np.full(_BINS, np.inf)
    for k in range(count[b]):
        dx = float(points[b, k, 0]) - origin[0]
        dy = float(points[b, k, 1]) - origin[1]
        if not (math.isfinite(dx) and math.isfinite(dy)):
            continue
        ex = c * dx - s * dy
        ey = s * dx + c * dy
        length = math.sqrt(dx * dx + dy * dy)
        bearing = _bin(math.atan2(ey, ex))
        if kind[b, k] < _FREE:
            hit[bearing] = min(hit[bearing], length)
            continue
        free[bearing] = max(free[bearing], length)
        if length > rules.camera_blind:
            near = rules.camera_blind / length
            far = min(limit / length, 1.0)
            if near < far:
                clear_ray(memory.free_seen[b], camera_x + near * ex, camera_y + near * ey,
                          camera_x + far * ex, camera_y + far * ey, rules.cell, now)
    pairs = memory.camera[b].reshape(-1, 4)
    gone = np.zeros(memory.camera_count[b], np.bool_)
    for k in range(gone.shape[0]):
        pair = pairs[memory.camera_cells[b, k]]
        gone[k] = (_passed(pair[0] - camera_x, pair[1] - camera_y, free, hit, rules.camera_clears,
                           rules.cell)
                   and _passed(pair[2] - camera_x, pair[3] - camera_y, free, hit,
                               rules.camera_clears, rules.cell))
    _drop(b, memory, rules, gone, now)
    for k in range(count[b]):
        if kind[b, k] < _FREE:
            _add(memory, b, footprint, float(points[b, k, 0]), float(points[b, k, 1]), x, y, c, s,
                 now, rules.cell, False)
    keep_near_free(memory.free_seen[b], x, y, yaw, now, rules, footprint)


@kernel
def _drop(b, memory, rules, gone, now):
    """Empty the cells of robot b's camera layer that are too old, or gone (camera_count,)."""
    seen = memory.camera_seen[b]
    cells = memory.camera_cells[b]
    size = seen.shape[0]
    kept = 0
    for k in range(gone.shape[0]):
        slot = cells[k]
        j = slot // size
        i = slot % size
        if now - seen[j, i] > rules.memory_time:
            seen[j, i] = EMPTY
            forget_free(memory.free_seen[b], j, i, now)
        elif gone[k]:
            seen[j, i] = EMPTY
        else:
            cells[kept] = slot
            kept += 1
    memory.camera_count[b] = kept


@kernel
def _add(memory, b, footprint, px, py, x, y, c, s, now, cell, renew):
    """Keep a camera point given in base, unless not finite, on the robot or seen by the lidar.

    `renew`: it takes the place of what was kept in its cell.
    """
    if not (math.isfinite(px) and math.isfinite(py)):
        return
    if signed_distance(footprint, px, py) < _BODY:
        return
    ox = x + c * px - s * py
    oy = y + s * px + c * py
    if _lidar_sees(memory.lidar[b], memory.lidar_seen[b], ox, oy, now, cell):
        return
    mark_obstacle(memory.camera[b], memory.camera_seen[b], memory.camera_cells[b],
                  memory.camera_count, b, memory.origin[b], ox, oy, now, cell, renew)


@kernel
def _lidar_sees(points, seen, x, y, now, cell):
    """Whether a point that the lidar has just seen lies within a cell of (x, y); odom, m."""
    size = seen.shape[0]
    column = math.floor(x / cell)
    row = math.floor(y / cell)
    for j in range(row - 1, row + 2):
        for i in range(column - 1, column + 2):
            if abs(now - seen[j % size, i % size]) <= _JUST:
                pair = points[j % size, i % size]
                for k in (0, 2):
                    if (pair[k] - x) ** 2 + (pair[k + 1] - y) ** 2 < cell * cell:
                        return True
    return False


@kernel
def _looked_past(dx, dy, yaw, ranges, blind):
    """Whether a camera scan (n,) m looks well past a point at (dx, dy) from base, odom axes.

    Every bearing about it must say so; one that is unsure (NaN) does not. Nothing within `blind`
    of base, where the camera looks over what stands there.
    """
    distance = math.sqrt(dx * dx + dy * dy)
    if distance <= blind:
        return False
    n = ranges.shape[0]
    k = math.floor((math.atan2(dy, dx) - yaw + math.pi) * (n / (2.0 * math.pi)))
    for o in range(-_BESIDE, _BESIDE + 1):
        if not ranges[(k + o) % n] > _FARTHER * distance + _BEYOND:
            return False
    return True


@kernel
def camera_scan_one(b, memory, rules, footprint, pose, ranges, offset, takes_back, time):
    """Take robot b's camera scan in; see Gate.observe_camera_scan. offset: camera from base, m."""
    x = pose[b, 0]
    y = pose[b, 1]
    yaw = pose[b, 2]
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(yaw)):
        return
    now = np.float32(place(memory, b, x, y, yaw, time[b], rules))
    c = math.cos(yaw)
    s = math.sin(yaw)
    n = ranges.shape[1]
    if takes_back:
        pairs = memory.camera[b].reshape(-1, 4)
        gone = np.zeros(memory.camera_count[b], np.bool_)
        blind = rules.camera_clears + offset
        for k in range(gone.shape[0]):
            pair = pairs[memory.camera_cells[b, k]]
            gone[k] = (_looked_past(pair[0] - x, pair[1] - y, yaw, ranges[b], blind)
                       and _looked_past(pair[2] - x, pair[3] - y, yaw, ranges[b], blind))
        _drop(b, memory, rules, gone, now)
    for k in range(n):
        r = float(ranges[b, k])
        if math.isfinite(r) and r >= 0.0:
            bearing = -math.pi + (k + 0.5) * (2.0 * math.pi / n)
            _add(memory, b, footprint, r * math.cos(bearing), r * math.sin(bearing), x, y, c, s,
                 now, rules.cell, True)


@kernel(parallel=True)
def depth_all(memory, rules, footprint, pose, points, kind, count, origin, time):
    """`depth_one` for every robot of the batch."""
    for b in prange(pose.shape[0]):
        depth_one(b, memory, rules, footprint, pose, points, kind, count, origin, time)


@kernel(parallel=True)
def camera_scan_all(memory, rules, footprint, pose, ranges, offset, takes_back, time):
    """`camera_scan_one` for every robot of the batch."""
    for b in prange(pose.shape[0]):
        camera_scan_one(b, memory, rules, footprint, pose, ranges, offset, takes_back, time)

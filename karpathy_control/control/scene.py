"""What lies round one robot at one moment: points to keep away from, cells observed free.

`survey` gathers it once a tick from the memory, the latest scan and the fence; the check of a
command (control.braking) then asks `room_at` and `seen_at` pose by pose.

A robot that is within the margin already, by noise or drift, must be able to leave and to go on
along a wall. Points nearer than the margin need no more than they have, so none of them comes
nearer; and the others need only as much as the nearest has, but two thirds of the margin at least.
That floor is what keeps noise from wearing the margin down: each scan has a beam that is off to
the near side, and were every other point excused by it, the robot could creep up to the wall.

Obstacles that move are taken to close in at their speed bound from all sides: the room that a
point needs grows with the time since it was seen for as long as the robot moves. Standing is
passive.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from karpathy_control.control.drift import drift_since, steady_since
from karpathy_control.control.footprint import signed_distance
from karpathy_control.control.limits import braking_time, clamp
from karpathy_control.mapping.jit import kernel

_LEAST_STEP = 0.005  # m of footprint motion between two poses that are checked
_NEAR = 0.5  # m beyond the footprint within which the clearance is reported at least
_FAR = 1e9
_FLOOR = 2.0 / 3.0  # of the margin
CULPRITS = 3  # points that ruled the last commands out, kept in front
SAME = 1e-6  # m, rounding: as close as at the start is not closer
_FREE_DRIFT = 0.05  # m, one cell: a free cell that may be farther off is unknown again
_SHADOW_STEP = 0.1  # m between the points along the edge of a shadow
_SHADOW_POINTS = 512  # at most


class Motion(NamedTuple):
    """What the robot can do, and what the check adds to it."""

    acceleration: float  # m/s^2
    deceleration: float  # m/s^2
    turn_acceleration: float  # rad/s^2, both ways
    reaction: float  # s
    tick: float  # s
    margin: float  # m
    obstacle_speed: float  # m/s
    drift_per_metre: float  # m/m
    drift_per_radian: float  # rad/rad
    lever: float  # m, half the diagonal of the memory's window
    shadow: float  # m of range between neighbouring beams from which a shadow counts; inf: none
    step: float = _LEAST_STEP  # m of footprint motion, least between two poses that are checked
    creep: float = 0.0  # s by which the base slows down later than its wheels


class Scene(NamedTuple):
    """What lies round one robot at one moment; odom frame."""

    px: NDArray[np.float64]  # (n,) m, obstacle points; only `size` are valid
    py: NDArray[np.float64]
    start: NDArray[np.float64]  # (n,) m, their distance to the footprint where the robot is now
    extra: NDArray[np.float64]  # (n,) m, drift since they were seen
    size: int  # number of points
    need: float  # m that the footprint must keep from every point
    free: NDArray[np.float32]  # (H, W) s, when a slot was last observed free
    excused: NDArray[np.int64]  # (m,) slots that are unknown and under the outline already
    excused_count: int
    origin_x: int  # of the window
    origin_y: int
    base_x: int  # global index of slot 0, or of the one before it
    base_y: int
    oldest: float  # s, what was seen before this is unknown


@kernel
def stop_reach(v, w, motion):
    """Bound in m on how far the base can get before it stands, from speeds up to v and w."""
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    return v * (motion.reaction + motion.tick + motion.creep + 0.5 * total)


@kernel
def _slot(scene, x, y, cell):
    """Slot of an odom point as one number, -1 outside the window."""
    size = scene.free.shape[0]
    i = math.floor(x / cell)
    j = math.floor(y / cell)
    if (i < scene.origin_x or j < scene.origin_y or i >= scene.origin_x + size
            or j >= scene.origin_y + size):
        return -1
    i -= scene.base_x
    j -= scene.base_y
    if i >= size:
        i -= size
    if j >= size:
        j -= size
    return j * size + i


@kernel
def _known(scene, slot):
    size = scene.free.shape[0]
    return slot >= 0 and scene.free[slot // size, slot % size] >= scene.oldest


@kernel
def survey(b, memory, rules, motion, footprint, samples, x, y, yaw, now, reach):
    """Gather what lies within `reach` m of robot b's base. Returns (Scene, clearance m).

    The clearance is that of the footprint where the robot is; infinite beyond 0.5 m or `reach`.
    """
    size = memory.free_seen.shape[1]
    c = math.cos(yaw)
    s = math.sin(yaw)
    origin_x = memory.origin[b, 0]
    origin_y = memory.origin[b, 1]
    oldest = now - rules.memory_time
    beams = memory.scan.shape[1]
    room = (beams + 3 * (memory.lidar_count[b] + memory.camera_count[b])
            + memory.fence.shape[0] + _SHADOW_POINTS)
    px = np.empty(room)
    py = np.empty(room)
    start = np.empty(room)
    extra = np.empty(room)
    latest_drift = drift_since(memory, b, memory.scan_time[b], reach, motion)
    if motion.obstacle_speed > 0.0:
        latest_drift += motion.obstacle_speed * clamp(now - memory.scan_time[b], 0.0,
                                                      motion.reaction)
    n = 0
    near2 = max(reach, footprint.radius + _NEAR) ** 2
    for k in range(beams if memory.scan_time[b] >= oldest else 0):
        ux = float(memory.scan[b, k, 0])
        uy = float(memory.scan[b, k, 1])
        if (ux - x) ** 2 + (uy - y) ** 2 < near2:  # false for NaN
            px[n] = ux
            py[n] = uy
            extra[n] = latest_drift
            n += 1
    for k in range(memory.fence.shape[0]):
        if (memory.fence[k, 0] - x) ** 2 + (memory.fence[k, 1] - y) ** 2 < near2:
            px[n] = memory.fence[k, 0]
            py[n] = memory.fence[k, 1]
            extra[n] = 0.0
            n += 1
    if memory.scan_time[b] >= oldest and math.isfinite(motion.shadow):
        n = _shadows(b, memory, motion, x, y, near2, latest_drift, px, py, extra, n)
    for layer in range(2):
        seen = memory.lidar_seen[b] if layer == 0 else memory.camera_seen[b]
        points = memory.lidar[b] if layer == 0 else memory.camera[b]
        cells = memory.lidar_cells[b] if layer == 0 else memory.camera_cells[b]
        count = memory.lidar_count[b] if layer == 0 else memory.camera_count[b]
        latest = memory.scan_time[b] if layer == 0 else np.float32(np.inf)
        for k in range(count):
            j = cells[k] // size
            i = cells[k] % size
            # A camera that is lost forgets nothing: the lidar would not see the low box anew.
            if (layer == 0 and seen[j, i] < oldest) or seen[j, i] == latest:
                continue  # forgotten, or among the scan's own points already
            x0 = float(points[j, i, 0])
            y0 = float(points[j, i, 1])
            dx = float(points[j, i, 2]) - x0
            dy = float(points[j, i, 3]) - y0
            for part in range(1 if dx == dy == 0.0 else 3):  # a corner fits between the ends
                ux = x0 + 0.5 * part * dx
                uy = y0 + 0.5 * part * dy
                d2 = (ux - x) ** 2 + (uy - y) ** 2
                if d2 < near2:
                    px[n] = ux
                    py[n] = uy
                    extra[n] = drift_since(memory, b, seen[j, i], math.sqrt(d2),
                                           motion)
                    n += 1
    clearance = np.inf
    horizon = motion.margin + _LEAST_STEP + motion.obstacle_speed * 10.0
    near2 = reach * reach
    kept = 0
    for k in range(n):
        dx = px[k] - x
        dy = py[k] - y
        bound = max(min(clearance, _FAR), horizon + extra[k]) + footprint.radius
        start[kept] = _FAR
        if dx * dx + dy * dy < bound * bound:
            start[kept] = signed_distance(footprint, c * dx + s * dy, c * dy - s * dx)
            clearance = min(clearance, start[kept])
        if dx * dx + dy * dy < near2:
            px[kept] = px[k]
            py[kept] = py[k]
            extra[kept] = extra[k]
            kept += 1
    need = min(motion.margin + 0.5 * _LEAST_STEP,
               max(clearance - SAME, _FLOOR * motion.margin))
    excused = np.empty(samples.shape[0], np.int64)
    base_x = origin_x - origin_x % size
    base_y = origin_y - origin_y % size
    known = max(oldest, steady_since(memory, b, footprint.radius + motion.margin,
                                     motion, _FREE_DRIFT))
    scene = Scene(px, py, start, extra, kept, need, memory.free_seen[b], excused, 0, origin_x,
                  origin_y, base_x, base_y, known)
    m = 0
    for k in range(samples.shape[0]):
        slot = _slot(scene, x + c * samples[k, 0] - s * samples[k, 1],
                     y + s * samples[k, 0] + c * samples[k, 1], rules.cell)
        if not _known(scene, slot):
            excused[m] = slot
            m += 1
    return Scene(px, py, start, extra, kept, need, memory.free_seen[b], excused, m, origin_x,
                 origin_y, base_x, base_y, known), clearance


@kernel
def _shadows(b, memory, motion, x, y, near2, drift, px, py, extra, n):
    """Add points along the edges of what the latest scan could not see behind; returns their end.

    Where neighbouring beams end at ranges that differ by more than `motion.shadow`, the nearer
    surface hides what lies along the ray behind it.
    """
    beams = memory.scan.shape[1]
    sensor_x = memory.scan_origin[b, 0]
    sensor_y = memory.scan_origin[b, 1]
    left = _SHADOW_POINTS
    for k in range(beams - 1):
        near = math.hypot(memory.scan[b, k, 0] - sensor_x, memory.scan[b, k, 1] - sensor_y)
        far = math.hypot(memory.scan[b, k + 1, 0] - sensor_x,
                         memory.scan[b, k + 1, 1] - sensor_y)
        edge = k
        if math.isnan(near) or far < near:
            near, far = far, near
            edge = k + 1
        if math.isnan(near):
            continue
        if math.isnan(far):
            far = math.inf
        if far - near < motion.shadow:
            continue
        ux = (memory.scan[b, edge, 0] - sensor_x) / max(near, 1e-6)
        uy = (memory.scan[b, edge, 1] - sensor_y) / max(near, 1e-6)
        at = near + _SHADOW_STEP
        while at < far and left > 0:
            sx = sensor_x + at * ux
            sy = sensor_y + at * uy
            if (sx - x) ** 2 + (sy - y) ** 2 >= near2:
                if at > near + 2.0 * math.sqrt(near2):
                    break
            else:
                px[n] = sx
                py[n] = sy
                extra[n] = drift
                n += 1
                left -= 1
            at += _SHADOW_STEP
    return n


@kernel
def _to_front(values, k):
    """Move entry k to the front, so that the next command meets its culprits first."""
    for j in range(min(k, CULPRITS)):
        values[j], values[k] = values[k], values[j]


@kernel
def room_at(scene, footprint, x, y, yaw, need, grown, cap):
    """Least room in m beyond what each point needs, at most `cap`; negative is a violation.

    A point needs `need` m, or no more than it had at the start, and the `grown` m by which it may
    have approached since.
    """
    c = math.cos(yaw)
    s = math.sin(yaw)
    least = cap
    for k in range(scene.size):
        dx = scene.px[k] - x
        dy = scene.py[k] - y
        wanted = need + scene.extra[k]
        bound = least + wanted + grown + footprint.radius
        if dx * dx + dy * dy >= bound * bound:
            continue
        room = signed_distance(footprint, c * dx + s * dy, c * dy - s * dx) - min(
            wanted, scene.start[k] - SAME) - grown
        if room < least:
            least = room
            if least < 0.0:
                _to_front(scene.px, k)
                _to_front(scene.py, k)
                _to_front(scene.start, k)
                _to_front(scene.extra, k)
                return least
    return least


@kernel
def seen_at(scene, samples, x, y, yaw, cell):
    """Whether the outline lies in observed cells, or in those it covered at the start."""
    c = math.cos(yaw)
    s = math.sin(yaw)
    free = scene.free.reshape(scene.free.size)  # a look by slot needs no division
    for k in range(samples.shape[0]):
        slot = _slot(scene, x + c * samples[k, 0] - s * samples[k, 1],
                     y + s * samples[k, 0] + c * samples[k, 1], cell)
        if slot >= 0 and free[slot] >= scene.oldest:
            continue
        found = False
        for m in range(scene.excused_count):
            if scene.excused[m] == slot:
                found = True
                break
        if slot < 0 or not found:
            return False
    return True

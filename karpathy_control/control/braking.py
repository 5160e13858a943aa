"""The check of one command: its braking manoeuvre must stay in space observed free.

The manoeuvre after a command is looked at for a base that answers as late as it may and for one
that answers at once. Late: the robot keeps its measured velocity for `reaction` seconds, goes
towards the new command for one `tick`, then it brakes. At once: it goes towards the new command
for `reaction` and `tick`, then it brakes. The first bounds what is still under way while the robot
slows down, the second while it speeds up. The braking follows the arc that the robot is on, both
axes falling linearly to zero together; all within the acceleration limits. With both clear, a
later tick that finds nothing better carries the braking on, and what was checked here is what is
then driven, whatever the latency within its bound.

The footprint is exact. The time step follows the clearance (conservative advancement): where the
nearest obstacle is d beyond its margin, the next pose to look at is the one before which no point
of the footprint can have moved by d. Steps end at 5 mm, and half of that is added to the margin,
so between the poses nothing is missed.

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
from karpathy_control.control.limits import approach, brake, braking_time, clamp
from karpathy_control.control.memory import EMPTY
from karpathy_control.mapping.jit import kernel

_LEAST_STEP = 0.005  # m of footprint motion between two poses that are checked
_LARGE_STEP = 0.02  # m, where a look only rules out
_RAMP = 0.02  # s that are driven at the speed of their middle: 0.1 mm off where a ramp ends
_NEAR = 0.5  # m beyond the footprint within which the clearance is reported at least
_HORIZON = 0.25  # m up to which room is told apart
_FAR = 1e9
_FLOOR = 2.0 / 3.0  # of the margin
STILL_V, STILL_W = 0.02, 0.05  # m/s, rad/s: below both the robot counts as standing
_CULPRITS = 3  # points that ruled the last commands out, kept in front
_COARSE = 4  # steps of the braking in the quick look
_OFF = 0.002  # m by which the poses of the look at the end may be off
_HALF_WAY = 1.0 - math.sqrt(0.5)  # of the time of a braking, half of its arc is driven
_SAME = 1e-6  # m, rounding: as close as at the start is not closer
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
    return v * (motion.reaction + motion.tick + 0.5 * total)


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
    oldest = max(now - rules.memory_time, EMPTY + 1.0)
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
            if seen[j, i] < oldest or seen[j, i] == latest:
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
               max(clearance - _SAME, _FLOOR * motion.margin))
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
    for j in range(min(k, _CULPRITS)):
        values[j], values[k] = values[k], values[j]


@kernel
def culprits(scene, motion):
    """Only the points that ruled the last commands out, to be met in large steps.

    Returns (Scene, Motion) for `approach_and_brake`, at a fiftieth of the cost.
    """
    few = Scene(scene.px, scene.py, scene.start, scene.extra, min(_CULPRITS, scene.size),
                scene.need, scene.free, scene.excused, scene.excused_count, scene.origin_x,
                scene.origin_y, scene.base_x, scene.base_y, scene.oldest)
    return few, Motion(
        motion.acceleration, motion.deceleration, motion.turn_acceleration, motion.reaction,
        motion.tick, motion.margin, motion.obstacle_speed, motion.drift_per_metre,
        motion.drift_per_radian, motion.lever, motion.shadow, _LARGE_STEP)


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
            wanted, scene.start[k] - _SAME) - grown
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


@kernel
def advance(x, y, yaw, v, w, dt):
    """Exact unicycle motion at constant v (m/s) and w (rad/s)."""
    turn = w * dt
    if abs(turn) < 1e-6:
        mid = yaw + 0.5 * turn
        return x + v * dt * math.cos(mid), y + v * dt * math.sin(mid), yaw + turn
    r = v / w
    return (x + r * (math.sin(yaw + turn) - math.sin(yaw)),
            y - r * (math.cos(yaw + turn) - math.cos(yaw)), yaw + turn)


@kernel
def phase(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1, braking, duration,
          elapsed):
    """Drive one part of a manoeuvre from (x, y, yaw) at (v0, w0) and look at every pose.

    Not braking: towards (v1, w1) within the acceleration limits. Braking: along the arc of
    (v0, w0). `elapsed` is the time since now, s. Returns (clear, x, y, yaw) at the end or at the
    violation.
    """
    t = 0.0
    unseen = 0.0  # m of motion since the outline was looked up
    room = room_at(scene, footprint, x, y, yaw, scene.need, motion.obstacle_speed * elapsed,
                   _HORIZON)  # from here on a lower bound, until the points are looked at anew
    while duration - t > 1e-9:
        if braking:
            v, w = brake(v0, w0, motion.deceleration, motion.turn_acceleration, t)
            rate = abs(v) + abs(w) * footprint.radius
        else:
            rate = max(abs(v0), abs(v1)) + max(abs(w0), abs(w1)) * footprint.radius
        h = duration - t
        if not braking:
            h = min(h, _RAMP)
        if rate > 1e-9:
            h = min(h, min(max(room, motion.step), cell) / (rate + motion.obstacle_speed))
        middle = t + 0.5 * h
        if braking:
            v, w = brake(v0, w0, motion.deceleration, motion.turn_acceleration, middle)
        else:
            v = approach(v0, v1, motion.acceleration, motion.deceleration, middle)
            w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, middle)
        x, y, yaw = advance(x, y, yaw, v, w, h)
        t += h
        if rate <= 1e-9 or (motion.obstacle_speed > 0.0 and braking and abs(v) <= STILL_V
                            and abs(w) <= STILL_W):
            continue  # standing: passive, whatever comes
        room -= (rate + motion.obstacle_speed) * h
        if room < motion.step:
            room = room_at(scene, footprint, x, y, yaw, scene.need,
                           motion.obstacle_speed * (elapsed + t), _HORIZON)
            if room < 0.0:
                return False, x, y, yaw
        unseen += rate * h
        if unseen >= 0.5 * cell or duration - t <= 1e-9:
            unseen = 0.0
            if not seen_at(scene, samples, x, y, yaw, cell):
                return False, x, y, yaw
    return True, x, y, yaw


@kernel
def hits_last_culprits(scene, motion, footprint, x, y, yaw, v0, w0, v1, w1, duration):
    """Whether the manoeuvre, in a few large steps, comes too close to one of the first points.

    `room_at` puts the points that ruled the last commands out first, and the next command mostly
    fails by the same ones: this says so at a hundredth of the cost. It never lets anything pass.
    """
    v = approach(v0, v1, motion.acceleration, motion.deceleration, 0.5 * duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, 0.5 * duration)
    x, y, yaw = advance(x, y, yaw, v, w, duration)
    v = approach(v0, v1, motion.acceleration, motion.deceleration, duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, duration)
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    for k in range(_COARSE):
        vk, wk = brake(v, w, motion.deceleration, motion.turn_acceleration,
                       (k + 0.5) * total / _COARSE)
        x, y, yaw = advance(x, y, yaw, vk, wk, total / _COARSE)
        c = math.cos(yaw)
        s = math.sin(yaw)
        for j in range(min(_CULPRITS, scene.size)):
            need = min(motion.margin, scene.need, scene.start[j] - _SAME)
            dx = scene.px[j] - x
            dy = scene.py[j] - y
            if dx * dx + dy * dy < (need + footprint.radius) ** 2 and signed_distance(
                    footprint, c * dx + s * dy, c * dy - s * dx) < need:
                return True
    return False


@kernel
def ends_badly(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1, duration,
               elapsed):
    """Whether the manoeuvre half-way through its braking, or at rest, is where it must not be.

    Most commands that fail do so there: two looks then save the two hundred of the whole way.
    The way to the braking is driven in two steps, which are off by less than `_OFF`; the braking
    is one arc. It never lets anything pass.
    """
    for k in range(2):
        middle = (0.25 + 0.5 * k) * duration
        v = approach(v0, v1, motion.acceleration, motion.deceleration, middle)
        w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, middle)
        x, y, yaw = advance(x, y, yaw, v, w, 0.5 * duration)
    v = approach(v0, v1, motion.acceleration, motion.deceleration, duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, duration)
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    moving = 1.0 - min(STILL_V / max(abs(v), STILL_V), STILL_W / max(abs(w), STILL_W))
    for share in (_HALF_WAY, moving):  # of the time of the braking
        x, y, yaw = advance(x, y, yaw, v, w, 0.25 * total)  # half of its arc
        grown = motion.obstacle_speed * (elapsed + duration + share * total)
        if room_at(scene, footprint, x, y, yaw, scene.need, grown - _OFF, 0.0) < 0.0:
            return True
    return not seen_at(scene, samples, x, y, yaw, cell)


@kernel
def approach_and_brake(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1,
                       duration, elapsed):
    """Whether going from (v0, w0) towards (v1, w1) for `duration` s, then braking, is clear."""
    clear, x, y, yaw = phase(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1,
                             False, duration, elapsed)
    if not clear:
        return False
    v = approach(v0, v1, motion.acceleration, motion.deceleration, duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, duration)
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    clear, x, y, yaw = phase(scene, motion, footprint, samples, cell, x, y, yaw, v, w, 0.0, 0.0,
                             True, total, elapsed + duration)
    return clear

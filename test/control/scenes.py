"""Small robots and memories for the tests of the kernels as plain Python."""

import math

import numpy as np

from karpathy_control.control.footprint import make_footprint, outline
from karpathy_control.control.memory import EMPTY, Rules, make_memory
from karpathy_control.control.scene import Motion, Scene

CELL = 0.25  # m: large and exact in binary
SQUARE = np.array([[0.25, 0.25], [-0.25, 0.25], [-0.25, -0.25], [0.25, -0.25]])
FOOTPRINT = make_footprint(SQUARE)
RULES = Rules(CELL, 0.5, 1.0, 0.75, 1.0, 2.0)
MOTION = Motion(2.0, 2.5, 6.0, 0.12, 0.05, 0.03, 0.0, 0.0, 0.0, 3.0, math.inf)


def memory_of(batch=2, size=16, span=1.0):
    """An empty memory. The tests use robot 1 and see that robot 0 is left alone."""
    return make_memory(batch, size, span)


def is_untouched(memory, b=0):
    """Whether robot b's memory is as it was made."""
    fresh = make_memory(len(memory.origin), memory.free_seen.shape[1], 1.0)
    names = set(memory._fields) - {'fence', 'scan', 'lidar_cells', 'camera_cells', 'travel_sums',
                                   'travel_places', 'travel_swing'}
    return all(np.array_equal(getattr(memory, name)[b], getattr(fresh, name)[b])
               for name in names) and not memory.travel_sums[b].any() and (
                   np.isnan(memory.scan[b]).all())


def obstacles(memory, b, layer):
    """The stored pairs of points of one layer. Shape: (n, 4) m, in no order."""
    seen = getattr(memory, f'{layer}_seen')[b]
    count = getattr(memory, f'{layer}_count')[b]
    cells = getattr(memory, f'{layer}_cells')[b][:count]
    assert set(cells.tolist()) == set(np.flatnonzero(seen.ravel() != EMPTY).tolist())
    assert len(set(cells.tolist())) == count  # the list and the grid agree
    return getattr(memory, layer)[b].reshape(-1, 4)[cells]


def free_cells(memory, b, since=-1e8):
    """Global (column, row) of every cell seen free at or after `since`, of robot b."""
    free = memory.free_seen[b]
    size = free.shape[0]
    column, row = memory.origin[b].tolist()
    return {(i, j) for i in range(column, column + size) for j in range(row, row + size)
            if free[j % size, i % size] >= since}


# -- scenes and manoeuvres, computed anew ---------------------------------------------------------

FINE = 0.05  # m, cells of a scene
SAMPLES = outline(FOOTPRINT, 0.03, FINE)


def square_distance(x, y, yaw, px, py):
    """Signed distance of a point to the square of 0.5 m at a pose."""
    dx, dy = px - x, py - y
    ahead = abs(math.cos(yaw) * dx + math.sin(yaw) * dy) - 0.25
    aside = abs(math.cos(yaw) * dy - math.sin(yaw) * dx) - 0.25
    if ahead <= 0.0 and aside <= 0.0:
        return max(ahead, aside)
    return math.hypot(max(ahead, 0.0), max(aside, 0.0))


def scene_of(points=(), pose=(0.0, 0.0, 0.0), need=0.03, extra=0.0, unknown=lambda x, y: False,
             excused=(), size=96):
    """What lies round a robot: points, and cells of 5 cm that are free unless `unknown`."""
    px, py = (np.array([p[k] for p in points], float) for k in (0, 1))
    start = np.array([square_distance(*pose, x, y) for x, y in points])
    free = np.zeros((size, size), np.float32)
    half = size // 2
    for j in range(-half, half):
        for i in range(-half, half):
            if unknown((i + 0.5) * FINE, (j + 0.5) * FINE):
                free[j % size, i % size] = -5.0
    slots = np.array([*excused, *[-7] * 4], np.int64)
    return Scene(px, py, start, np.full(len(points), extra), len(points), need, free, slots,
                 len(excused), -half, -half, -size, -size, -1.0)


def ramp(value, target, dt, up, down):
    """One small step of a speed on its way to its target."""
    slower = abs(target) < abs(value) or value * target < 0.0
    step = (down if slower else up) * dt
    return value + math.copysign(min(step, abs(target - value)), target - value)


def driven(state, target, duration, motion=MOTION, braking=False, dt=0.0005):
    """Poses and speeds (time, x, y, yaw, v, w) of one part of a manoeuvre in half milliseconds."""
    x, y, yaw, v, w = state
    path = [(0.0, x, y, yaw, v, w)]
    v0, w0 = v, w
    steps = max(1, round(duration / dt))
    dt = duration / steps
    total = max(abs(v) / motion.deceleration, abs(w) / motion.turn_acceleration)
    for k in range(steps if duration > 0.0 else 0):
        if braking:
            share = max(0.0, 1.0 - (k + 0.5) * dt / total)
            v, w = v0 * share, w0 * share
        else:
            v = ramp(v, target[0], dt, motion.acceleration, motion.deceleration)
            w = ramp(w, target[1], dt, motion.turn_acceleration, motion.turn_acceleration)
        x += v * dt * math.cos(yaw + 0.5 * w * dt)
        y += v * dt * math.sin(yaw + 0.5 * w * dt)
        yaw += w * dt
        path.append(((k + 1) * dt, x, y, yaw, v, w))
    return path


def manoeuvre(state, command, duration, motion=MOTION):
    """Towards `command` for `duration` s, then braking to rest: (time, x, y, yaw, v, w)."""
    path = driven(state, command, duration, motion)
    _, *end = path[-1]
    total = max(abs(end[3]) / motion.deceleration, abs(end[4]) / motion.turn_acceleration)
    return path + [(duration + t, *rest)
                   for t, *rest in driven(end, (0.0, 0.0), total, motion, braking=True)[1:]]

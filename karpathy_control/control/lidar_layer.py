"""What a planar lidar adds to the memory and what it takes away.

Forgetting is a fact of the present scan, not of rays through cells: a stored point goes when each
of the two beams beside its bearing passes beyond it (sound for every obstacle at least as wide as
the spacing of the beams there) or hits next to it and so takes its place. Points outside the field
of view, occluded, or where a beam said nothing stay for `memory_time`.
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

_BEYOND = 0.05  # m that a beam must pass beyond a stored point to clear it: five times the noise
_COARSEST = 16  # beams; every so many are marked from the sensor on
_BODY = -0.05  # m: a hit deeper inside the footprint than this is the robot itself


@kernel
def reading(r, range_min, range_max):
    """A range by REP-117: metres of free view, NaN where it says nothing, -1 where too close."""
    r = float(r)  # the same arithmetic compiled and plain
    if math.isnan(r):
        return math.nan
    if r < range_min:
        return -1.0
    return min(r, range_max)


@kernel
def _forgotten(x, y, sensor_x, sensor_y, first, ranges, hits, increment, range_min, range_max,
               cell):
    """Whether the scan sees beyond the stored point (x, y) or sees it anew; odom, m.

    first: odom bearing of the first beam, rad from -pi to pi.

    Each of the two beams beside its bearing must say so, by passing beyond or by a hit within a
    cell of it. Were one enough, the edge of the field of view would eat the wall that leaves it.
    """
    n = ranges.shape[0]
    dx = x - sensor_x
    dy = y - sensor_y
    turn = math.atan2(dy, dx) - first
    if increment < 0.0:
        turn = -turn
    if turn < 0.0:  # far cheaper than a remainder
        turn += 2.0 * math.pi
    f = turn / abs(increment)
    k0 = math.floor(f)
    k1 = k0 + 1
    if k0 >= n - 1:
        if n * abs(increment) < 2.0 * math.pi - 0.5 * abs(increment):
            return False  # outside the field of view
        k0 = n - 1
        k1 = 0
    beyond = math.sqrt(dx * dx + dy * dy) + _BEYOND
    for k in (k0, k1):
        anew = (hits[k, 0] - x) ** 2 + (hits[k, 1] - y) ** 2 < cell * cell
        if not (anew or reading(ranges[k], range_min, range_max) > beyond):
            return False
    return True


@kernel
def _keep_hidden(points, j, i, sensor_x, sensor_y, bearing, ranges, hits, increment, range_min,
                 range_max, cell):
    """Whether one of the two points of cell (j, i) stays; it takes the place of the other.

    points: (H, W, 4) x y of both in odom, m, changed in place; the rest as for `_forgotten`.
    """
    x0 = points[j, i, 0]
    y0 = points[j, i, 1]
    x1 = points[j, i, 2]
    y1 = points[j, i, 3]
    first = _forgotten(x0, y0, sensor_x, sensor_y, bearing, ranges, hits, increment, range_min,
                       range_max, cell)
    second = first
    if x0 != x1 or y0 != y1:
        second = _forgotten(x1, y1, sensor_x, sensor_y, bearing, ranges, hits, increment,
                            range_min, range_max, cell)
    if first and not second:
        points[j, i, 0] = x1
        points[j, i, 1] = y1
    elif second and not first:
        points[j, i, 2] = x0
        points[j, i, 3] = y0
    return not (first and second)


@kernel
def scan_one(b, memory, rules, footprint, pose, ranges, angle_min, increment, sensor, range_min,
              range_max, time):
    """Take a scan of robot b in; see Gate.observe_scan."""
    x = pose[b, 0]
    y = pose[b, 1]
    yaw = pose[b, 2]
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(yaw)):
        return
    now = np.float32(place(memory, b, x, y, yaw, time[b], rules))
    c = math.cos(yaw)
    s = math.sin(yaw)
    sensor_x = x + c * sensor[0] - s * sensor[1]
    sensor_y = y + s * sensor[0] + c * sensor[1]
    sensor_yaw = yaw + sensor[2]
    hits = memory.scan[b]
    scan = ranges[b]  # a view in a loop costs more than what is read from it
    n = scan.shape[0]
    limit = min(rules.free_reach, (memory.free_seen.shape[1] // 2 - 1) * rules.cell - max(
        abs(sensor_x - x), abs(sensor_y - y)))
    lengths = np.empty(n)
    directions = np.empty((n, 2))
    # Directions by rotation: exact to 1e-12 over thousands of beams, at a tenth of the cost.
    ux = math.cos(sensor_yaw + angle_min)
    uy = math.sin(sensor_yaw + angle_min)
    bearing = math.atan2(uy, ux)
    turn_c = math.cos(increment)
    turn_s = math.sin(increment)
    for k in range(n):
        r = reading(scan[k], range_min, range_max)
        directions[k, 0] = ux
        directions[k, 1] = uy
        lengths[k] = 0.0
        hits[k, 0] = np.nan
        hits[k, 1] = np.nan
        if not math.isnan(r):
            hit = r
            if r < 0.0:  # too close to measure: stands at the least range, if outside the body
                hit = range_min
            else:
                lengths[k] = min(r, limit)
            if hit < range_max:
                hx = sensor_x + hit * ux
                hy = sensor_y + hit * uy
                dx = hx - x
                dy = hy - y
                depth = _BODY + 1.0
                if dx * dx + dy * dy < footprint.radius * footprint.radius:
                    depth = signed_distance(footprint, c * dx + s * dy, c * dy - s * dx)
                if depth > (_BODY if r > 0.0 else 0.0):
                    hits[k, 0] = hx
                    hits[k, 1] = hy
        ux, uy = ux * turn_c - uy * turn_s, uy * turn_c + ux * turn_s
    _free_rays(memory.free_seen[b], sensor_x, sensor_y, directions, lengths, abs(increment),
               rules.cell, now)
    points = memory.lidar[b]
    seen = memory.lidar_seen[b]
    cells = memory.lidar_cells[b]
    size = seen.shape[0]
    kept = 0
    for k in range(memory.lidar_count[b]):
        j = cells[k] // size
        i = cells[k] % size
        if now - seen[j, i] > rules.memory_time:
            seen[j, i] = EMPTY
            forget_free(memory.free_seen[b], j, i, now)
        elif _keep_hidden(points, j, i, sensor_x, sensor_y, bearing, scan, hits, increment,
                          range_min, range_max, rules.cell):
            cells[kept] = cells[k]
            kept += 1
        else:
            seen[j, i] = EMPTY
    memory.lidar_count[b] = kept
    for k in range(n):
        if not math.isnan(hits[k, 0]):
            mark_obstacle(points, seen, cells, memory.lidar_count, b, memory.origin[b], hits[k, 0],
                          hits[k, 1], now, rules.cell)
    memory.scan_time[b] = now
    memory.scan_origin[b, 0] = sensor_x
    memory.scan_origin[b, 1] = sensor_y
    memory.scan_origin[b, 2] = abs(increment)
    keep_near_free(memory.free_seen[b], x, y, yaw, now, rules, footprint)


@kernel
def _free_rays(free, x, y, directions, lengths, increment, cell, now):
    """Mark the cells along every beam, leaving out what its neighbours touch anyway.

    Beams at a spacing of one cell or less touch every cell between them. So the beams with an odd
    number are needed only from where twice the increment spans a cell, those with an odd number
    of pairs from half of that, and so on; or from where the shorter of their neighbours ends.
    """
    n = lengths.shape[0]
    for k in range(n):
        stride = 1
        while stride < _COARSEST and k % (2 * stride) == 0:
            stride *= 2
        start = 0.0
        if stride < _COARSEST and k >= stride and k + stride < n:
            start = min(cell / (2.0 * stride * increment), lengths[k - stride],
                        lengths[k + stride])
        if start < lengths[k]:
            clear_ray(free, x + start * directions[k, 0], y + start * directions[k, 1],
                      x + lengths[k] * directions[k, 0], y + lengths[k] * directions[k, 1], cell,
                      now)


@kernel(parallel=True)
def scan_all(memory, rules, footprint, pose, ranges, angle_min, increment, sensor, range_min,
              range_max, time):
    """`scan_one` for every robot of the batch."""
    for b in prange(pose.shape[0]):
        scan_one(b, memory, rules, footprint, pose, ranges, angle_min, increment, sensor,
                  range_min, range_max, time)

"""Cost-to-go over the memory: exact Dijkstra on eight neighbours with a bucket queue.

Values are in metres of free path. The price of a step is its length times the mean factor of the
two cells; the factor is 1 in the open, more near obstacles and in cells nobody saw, and LETHAL
where the base origin is nearer to an obstacle than the inscribed radius: finite, so that a robot
that finds itself there is led out. Every step costs at least one cell, so with buckets one cell
wide nothing in the lowest bucket can be improved any more, and the order inside it is free
(Dial's algorithm with real weights).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from karpathy_control.policy.memory import fraction_x, fraction_y

LETHAL = 200.0  # factor of a cell where the robot cannot be
TIGHT = 4.0  # added to the factor just inside the inscribed radius, where the grid is in doubt
DOUBT = 0.3  # cells: how far inside the inscribed radius a centre may lie without being lethal
BUCKETS = 4096  # circular; spans the dearest step and the spread of the seeds, in cells
FAR = np.float32(1e6)  # m, a cell that was not reached


@njit(cache=True, nogil=True)
def cell_factors(lidar, camera, seen, origin, cell, inscribed, clearance, clearance_weight,
                 unknown_weight, factor):
    """Cost factors of the window, unrolled from the torus. Shape: factor (n, n), row = y."""
    n = lidar.shape[0]
    reach = (inscribed + clearance) / cell + 1.0
    span = math.ceil(reach)
    factor[:] = reach * reach  # holds squared distances in cells first
    for gy in range(n):
        row = (origin[1] + gy) % n
        for gx in range(n):
            col = (origin[0] + gx) % n
            for code in (lidar[row, col], camera[row, col]):
                if code == 0:
                    continue
                px, py = gx + fraction_x(code) - 0.5, gy + fraction_y(code) - 0.5
                for y in range(max(0, gy - span), min(n, gy + span + 1)):
                    dy2 = (y - py) * (y - py)
                    for x in range(max(0, gx - span), min(n, gx + span + 1)):
                        d2 = np.float32((x - px) * (x - px) + dy2)
                        factor[y, x] = min(factor[y, x], d2)
    lethal = inscribed - DOUBT * cell
    for gy in range(n):
        row = (origin[1] + gy) % n
        for gx in range(n):
            d = math.sqrt(factor[gy, gx]) * cell
            f = 1.0
            if d < lethal:
                f = LETHAL
            else:
                if d < inscribed:
                    f += TIGHT
                if d < inscribed + clearance:
                    close = 1.0 - max(d - inscribed, 0.0) / clearance
                    f += clearance_weight * close * close
                if seen[row, (origin[0] + gx) % n] == 0:
                    f += unknown_weight
            factor[gy, gx] = f


@njit(cache=True, nogil=True)
def _place(k, value, head, after, before, bucket):
    first = head[bucket]
    after[k] = first
    before[k] = -1 - bucket  # negative: the head of this bucket points at k
    if first >= 0:
        before[first] = k
    head[bucket] = k


@njit(cache=True, nogil=True)
def _take_out(k, head, after, before):
    if before[k] >= 0:
        after[before[k]] = after[k]
    else:
        head[-1 - before[k]] = after[k]
    if after[k] >= 0:
        before[after[k]] = before[k]


@njit(cache=True, nogil=True)
def _offer(k, d, value, head, after, before, state):
    """Lower the tentative value of cell k to d, cells; 1 if k is new in the queue."""
    bucket = int(d) % BUCKETS
    new = 0
    if state[k] == 1:
        _take_out(k, head, after, before)
    else:
        state[k] = 1
        new = 1
    value[k] = d
    _place(k, d, head, after, before, bucket)
    return new


@njit(cache=True, nogil=True)
def cost_to_go(factor, cell, goal_x, goal_y, stop_x, stop_y, stop_margin, field):
    """Fill `field` (n, n) f32 with the cost from each cell centre to the goal, m of free path.

    goal_x, goal_y: goal in cells from the window's lower corner (cell centres at +0.5). A goal
    outside the window is projected: border cells start at their straight-line distance to it.
    Cells whose value exceeds that of cell (stop_x, stop_y) by more than stop_margin (m) may be
    left at FAR; np.inf as margin fills everything.
    """
    n = factor.shape[0]
    total = n * n
    value = np.full(total, np.inf)
    head = np.full(BUCKETS, -1, np.int32)
    after = np.empty(total, np.int32)
    before = np.empty(total, np.int32)
    state = np.zeros(total, np.uint8)  # 1 in the queue, 2 done
    weight = factor.reshape(total)
    queued = 0
    base = 0.0
    if goal_x >= 0.0 and goal_y >= 0.0 and goal_x < n and goal_y < n:
        x0, y0 = math.floor(goal_x - 0.5), math.floor(goal_y - 0.5)
        for y in range(max(y0, 0), min(y0 + 2, n)):
            for x in range(max(x0, 0), min(x0 + 2, n)):
                d = math.hypot(x + 0.5 - goal_x, y + 0.5 - goal_y)
                queued += _offer(y * n + x, d * weight[y * n + x], value, head, after, before,
                                 state)
    else:
        base = math.hypot(goal_x - min(max(goal_x, 0.5), n - 0.5),
                          goal_y - min(max(goal_y, 0.5), n - 0.5))
        for i in range(n):
            for k in (i, (n - 1) * n + i, i * n, i * n + n - 1):
                d = math.hypot(k % n + 0.5 - goal_x, k // n + 0.5 - goal_y) - base
                if d < value[k]:
                    queued += _offer(k, max(d, 0.0), value, head, after, before, state)
    stop_at = np.inf
    stop_cell = -1
    if stop_x >= 0 and stop_y >= 0 and stop_x < n and stop_y < n:
        stop_cell = stop_y * n + stop_x
    bucket = 0
    while queued > 0:
        while head[bucket] < 0:
            bucket = (bucket + 1) % BUCKETS
        k = head[bucket]
        _take_out(k, head, after, before)
        state[k] = 2
        queued -= 1
        d = value[k]
        if k == stop_cell:
            stop_at = d + stop_margin / cell + 1.0  # a bucket is in no order
        if d > stop_at:
            break
        x, y = k % n, k // n
        for step_y in range(-1, 2):
            yy = y + step_y
            if yy < 0 or yy >= n:
                continue
            for step_x in range(-1, 2):
                xx = x + step_x
                j = yy * n + xx
                if xx < 0 or xx >= n or state[j] == 2:
                    continue
                length = 1.4142135623730951 if step_x != 0 and step_y != 0 else 1.0
                through = d + 0.5 * length * (weight[k] + weight[j])
                if through < value[j]:
                    queued += _offer(j, through, value, head, after, before, state)
    flat = field.reshape(total)
    for k in range(total):
        flat[k] = (value[k] + base) * cell if state[k] == 2 else FAR


@njit(cache=True, nogil=True)
def value_at(field, cell, gx, gy):
    """The field at a point given in cells from the window's lower corner, m.

    Bilinear, but a neighbour counts at most 1.5 cells more than the least of the four: a lethal
    cell beside a passage must not outweigh the progress along it. Outside: the nearest cell.
    """
    n = field.shape[0]
    x = min(max(gx - 0.5, 0.0), n - 1.001)
    y = min(max(gy - 0.5, 0.0), n - 1.001)
    ix, iy = int(x), int(y)
    fx, fy = x - ix, y - iy
    a, b = field[iy, ix], field[iy, ix + 1]
    c, d = field[iy + 1, ix], field[iy + 1, ix + 1]
    cap = min(a, b, c, d) + 1.5 * cell
    a, b, c, d = min(a, cap), min(b, cap), min(c, cap), min(d, cap)
    return (a * (1.0 - fx) + b * fx) * (1.0 - fy) + (c * (1.0 - fx) + d * fx) * fy


@njit(cache=True, nogil=True)
def descend(field, gx, gy, path):
    """Follow the field down from a point; returns how many rows of `path` (k, 2) were filled.

    Points are cell centres in cells from the lower corner, by steepest descent; the last is where
    no neighbour is lower (the goal, or the border cell nearest to it).
    """
    n = field.shape[0]
    x = min(max(math.floor(gx), 0), n - 1)
    y = min(max(math.floor(gy), 0), n - 1)
    count = 0
    while count < path.shape[0]:
        path[count, 0] = x + 0.5
        path[count, 1] = y + 0.5
        count += 1
        steepest, best_x, best_y = 0.0, -1, -1
        for step_y in range(-1, 2):
            for step_x in range(-1, 2):
                xx, yy = x + step_x, y + step_y
                if (step_x == 0 and step_y == 0) or xx < 0 or yy < 0 or xx >= n or yy >= n:
                    continue
                length = math.sqrt(float(step_x * step_x + step_y * step_y))
                drop = (field[y, x] - field[yy, xx]) / length
                if drop > steepest:
                    steepest, best_x, best_y = drop, xx, yy
        if best_x < 0:
            break
        x, y = best_x, best_y
    return count

"""Cost-to-go over the memory: exact Dijkstra on eight neighbours with a bucket queue.

Values are in metres of free path. The price of a step is its length times the mean factor of the
two cells; the factor is 1 in the open, more near obstacles and in cells nobody saw, and LETHAL
where the base origin is too near to an obstacle for any heading: finite, so that a robot
that finds itself there is led out. Every step costs at least one cell, so with buckets one cell
wide nothing in the lowest bucket can be improved any more, and the order inside it is free
(Dial's algorithm with real weights).
"""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.rolling import global_index
from karpathy_control.policy.memory import SUB, fraction_x, fraction_y

LETHAL = 200.0  # factor of a cell where the robot cannot be
TIGHT = 4.0  # added to the factor just inside that distance, where the grid is in doubt
DOUBT = 0.3  # cells: how far inside it a centre may lie without being lethal
FINE = 4 * SUB  # parts of a cell in which points and cell centres are whole numbers
BUCKETS = 4096  # circular; spans the dearest step and the spread of the seeds, in cells
FAR = np.float32(1e6)  # m, a cell that was not reached


@kernel
def cell_factors(lidar, camera, seen, origin, cell, least, clearance, clearance_weight,
                 unknown_weight, factor):
    """Cost factors of the window, unrolled from the torus. Shape: factor (n, n), row = y.

    least: m that the base origin must keep from every obstacle, its inscribed radius or more.
    """
    n = lidar.shape[0]
    reach = math.ceil((least + clearance) / cell) + 1
    # Squared distances in integers of 1 / FINE cell: exact for the raster of the points, and a
    # minimum that the compiler can vectorise.
    far = np.int32((reach * FINE) ** 2)
    square = np.full((n, n), far, np.int32)
    ramp = (np.arange(n) * FINE).astype(np.int32)
    for row in range(n):
        gy = global_index(row, origin[1], n) - origin[1]
        for col in range(n):
            if (lidar[row, col] | camera[row, col]) == 0:
                continue
            gx = global_index(col, origin[0], n) - origin[0]
            for code in (lidar[row, col], camera[row, col]):
                if code == 0:
                    continue
                px = np.int32(math.floor(FINE * (gx + fraction_x(code) - 0.5) + 0.5))
                py = np.int32(math.floor(FINE * (gy + fraction_y(code) - 0.5) + 0.5))
                low, high = max(0, gx - reach), min(n, gx + reach + 1)
                for y in range(max(0, gy - reach), min(n, gy + reach + 1)):
                    dy2 = np.int32((ramp[y] - py) * (ramp[y] - py))
                    for x in range(low, high):
                        dx = np.int32(ramp[x] - px)
                        square[y, x] = min(square[y, x], np.int32(dx * dx + dy2))
    lethal = least - DOUBT * cell
    for gy in range(n):
        row = (origin[1] + gy) % n
        for gx in range(n):
            unseen = seen[row, (origin[0] + gx) % n] == 0
            f = 1.0
            if square[gy, gx] < far:
                d = math.sqrt(square[gy, gx]) * cell / FINE
                if d < lethal:
                    f = LETHAL
                else:
                    if d < least:
                        f += TIGHT
                    if d < least + clearance:
                        close = 1.0 - max(d - least, 0.0) / clearance
                        f += clearance_weight * close * close
            if unseen and f < LETHAL:
                f += unknown_weight
            factor[gy, gx] = f


@kernel
def _seed(k, d, value, head, cells, after, used):
    """Put cell k with value d into the queue if that is lower; returns the new entry count."""
    if d < value[k]:
        value[k] = d
        bucket = int(d) % BUCKETS
        cells[used] = k
        after[used] = head[bucket]
        head[bucket] = used
        used += 1
    return used


@kernel
def cost_to_go(factor, cell, goal_x, goal_y, stop_x, stop_y, stop_margin, field):
    """Fill `field` (n, n) f32 with the cost from each cell centre to the goal, m of free path.

    goal_x, goal_y: goal in cells from the window's lower corner (cell centres at +0.5). A goal
    outside the window is projected: border cells start at their straight-line distance to it.
    Cells whose value exceeds that of cell (stop_x, stop_y) by more than stop_margin (m) may be
    left at FAR; np.inf as margin fills everything.
    """
    n = factor.shape[0]
    wide = n + 2  # a border that is done saves the bounds checks
    total = wide * wide
    value = np.full(total, np.float32(np.inf), np.float32)  # cells
    half = np.empty(total, np.float32)
    done = np.ones(total, np.uint8)
    for y in range(n):
        for x in range(n):
            half[(y + 1) * wide + x + 1] = np.float32(0.5) * factor[y, x]
            done[(y + 1) * wide + x + 1] = 0
    # Entries are never moved: a cell that got cheaper is entered again, at most once from each of
    # its eight neighbours, and the first to come out counts.
    head = np.full(BUCKETS, -1, np.int32)
    cells = np.empty(8 * n * n + 4 * n + 4, np.int32)
    after = np.empty(8 * n * n + 4 * n + 4, np.int32)
    used = 0
    base = 0.0
    if goal_x >= 0.0 and goal_y >= 0.0 and goal_x < n and goal_y < n:
        x0, y0 = math.floor(goal_x - 0.5), math.floor(goal_y - 0.5)
        for y in range(max(y0, 0), min(y0 + 2, n)):
            for x in range(max(x0, 0), min(x0 + 2, n)):
                k = (y + 1) * wide + x + 1
                d = math.hypot(x + 0.5 - goal_x, y + 0.5 - goal_y) * 2.0 * half[k]
                used = _seed(k, np.float32(d), value, head, cells, after, used)
    else:
        base = math.hypot(goal_x - min(max(goal_x, 0.5), n - 0.5),
                          goal_y - min(max(goal_y, 0.5), n - 0.5))
        for i in range(n):
            for x, y in ((i, 0), (i, n - 1), (0, i), (n - 1, i)):
                d = math.hypot(x + 0.5 - goal_x, y + 0.5 - goal_y) - base
                used = _seed((y + 1) * wide + x + 1, np.float32(max(d, 0.0)), value, head, cells,
                             after, used)
    stop_cell = -1
    if stop_x >= 0 and stop_y >= 0 and stop_x < n and stop_y < n:
        stop_cell = (stop_y + 1) * wide + stop_x + 1
    stop_at = np.inf
    step = np.array([-wide - 1, -wide, -wide + 1, -1, 1, wide - 1, wide, wide + 1], np.int32)
    diagonal = np.float32(1.4142135623730951)
    one = np.float32(1.0)
    length = np.array([diagonal, one, diagonal, one, one, diagonal, one, diagonal], np.float32)
    left = used
    level = 0  # number of the bucket, not wrapped
    while left > 0:
        entry = head[level % BUCKETS]
        if entry < 0:
            level += 1
            if level > stop_at:
                break
            continue
        head[level % BUCKETS] = after[entry]
        left -= 1
        k = cells[entry]
        if done[k]:
            continue
        done[k] = 1
        d = value[k]
        if k == stop_cell:
            stop_at = d + stop_margin / cell
        for i in range(8):
            j = k + step[i]
            if done[j]:
                continue
            through = d + length[i] * (half[k] + half[j])
            if through < value[j]:
                value[j] = through
                bucket = int(through) % BUCKETS
                cells[used] = j
                after[used] = head[bucket]
                head[bucket] = used
                used += 1
                left += 1
    for y in range(n):
        for x in range(n):
            k = (y + 1) * wide + x + 1
            field[y, x] = (value[k] + base) * cell if done[k] else FAR


@kernel
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


@kernel
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

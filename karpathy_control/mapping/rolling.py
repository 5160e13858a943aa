"""A grid that rolls with the robot: toroidal addressing, scan clearing and marking, in numba.

A layer is one plane of a batch: `layers[b]`, shape (H, W), rows along odom y, columns along
odom x. The cell that holds an odom point has the global index i = floor(p / cell) along each axis
and lies in slot i mod W (H for y), so nothing moves when the window does: only the rows and
columns that scroll in are emptied. The window of a batch entry is known by its `origin`, the
lowest global index (column, row) in it; a slot is the one index of the window that maps to it.

Callers keep their layers, origins and cell size; every function works on plain arrays, so one
kernel can hold several layers under one origin. None of them checks bounds that its docstring
tells the caller to keep: they run inside the gate.
"""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel

_FAR = 1e30  # stands for a cell border that is never reached


@kernel
def cell_index(p, cell):
    """Global index of the cell that holds coordinate `p` (m) along one axis."""
    return math.floor(p / cell)


@kernel
def window_origin(p, cell, size):
    """Lowest global index of a window of `size` cells that is centred on coordinate `p` (m)."""
    return math.floor(p / cell) - size // 2


@kernel
def in_window(index, origin, size):
    """Whether a global index lies in the window along one axis."""
    return origin <= index < origin + size


@kernel
def global_index(slot, origin, size):
    """The one global index of the window that lies in `slot`, along one axis."""
    return origin + (slot - origin) % size


@kernel
def recentre(layer, origin, column, row, empty):
    """Empty what scrolls in when the window moves from `origin` to (column, row).

    `layer` (H, W) is changed in place, `origin` (2,) int64 [column, row] is only read: call this
    for every layer under one origin, then store the new origin.
    """
    height, width = layer.shape
    dx = column - origin[0]
    dy = row - origin[1]
    if abs(dx) >= width or abs(dy) >= height:
        layer[:, :] = empty
        return
    first = origin[0] + width if dx > 0 else column
    for i in range(first, first + abs(dx)):
        layer[:, i % width] = empty
    first = origin[1] + height if dy > 0 else row
    for j in range(first, first + abs(dy)):
        layer[j % height, :] = empty


@kernel
def clear_ray(layer, x0, y0, x1, y1, cell, value):
    """Write `value` into every cell that the segment touches, both ends included; odom, m.

    Both ends must lie inside the window. Traversal of Amanatides and Woo, "A Fast Voxel Traversal
    Algorithm for Ray Tracing", Eurographics 1987.
    """
    height, width = layer.shape
    i = math.floor(x0 / cell)
    j = math.floor(y0 / cell)
    # Counted along each axis, so that rounding at a corner cannot lead past the last cell.
    left_x = abs(math.floor(x1 / cell) - i)
    left_y = abs(math.floor(y1 / cell) - j)
    dx = x1 - x0
    dy = y1 - y0
    step_x = 1 if dx > 0.0 else -1
    step_y = 1 if dy > 0.0 else -1
    # The next border along each axis and the spacing of borders, as shares of the segment.
    along_x = ((i + (step_x > 0)) * cell - x0) / dx if dx != 0.0 else _FAR
    along_y = ((j + (step_y > 0)) * cell - y0) / dy if dy != 0.0 else _FAR
    each_x = cell / abs(dx) if dx != 0.0 else _FAR
    each_y = cell / abs(dy) if dy != 0.0 else _FAR
    column = i % width
    row = j % height
    layer[row, column] = value
    for _ in range(left_x + left_y):
        if left_y == 0 or (left_x > 0 and along_x < along_y):
            left_x -= 1
            along_x += each_x
            column += step_x
            if column == width:
                column = 0
            elif column < 0:
                column = width - 1
        else:
            left_y -= 1
            along_y += each_y
            row += step_y
            if row == height:
                row = 0
            elif row < 0:
                row = height - 1
        layer[row, column] = value


@kernel
def clear_rays(layer, x, y, yaw, ranges, angle_min, angle_increment, cell, limit, short, value):
    """Write `value` along every ray of a scan, from the sensor until `short` m before its end.

    (x, y, yaw) is the sensor in odom, m and rad. `ranges` (n,) m at bearings
    angle_min + i * angle_increment: a finite one ends at its hit, +Inf at `limit`, everything is
    cut at `limit`; NaN, -Inf and negative ones say nothing and clear nothing. `limit` (m) must
    keep the ray inside the window; `short` = 0 includes the cell of the hit.
    """
    for k in range(ranges.shape[0]):
        r = ranges[k]
        if not r > 0.0:
            continue
        length = min(r - short, limit)
        if length <= 0.0:
            continue
        bearing = yaw + angle_min + k * angle_increment
        clear_ray(layer, x, y, x + length * math.cos(bearing), y + length * math.sin(bearing),
                  cell, value)


@kernel
def mark_points(layer, origin, px, py, count, cell, value):
    """Write `value` into the cells of the first `count` points (odom, m); others are left out.

    Points outside the window and non-finite ones are skipped.
    """
    height, width = layer.shape
    for k in range(count):
        if not (math.isfinite(px[k]) and math.isfinite(py[k])):
            continue
        i = math.floor(px[k] / cell)
        j = math.floor(py[k] / cell)
        if in_window(i, origin[0], width) and in_window(j, origin[1], height):
            layer[j % height, i % width] = value


@kernel
def unrolled(layer, origin):
    """A copy in map order. Shape: (H, W) -> (H, W), [0, 0] is the cell with index `origin`."""
    height, width = layer.shape
    out = np.empty_like(layer)
    for j in range(height):
        row = (origin[1] + j) % height
        for i in range(width):
            out[j, i] = layer[row, (origin[0] + i) % width]
    return out

"""Kernels of the policy's memory: a rolling grid in odom that remembers points, not only cells.

A cell holds in one byte the newest surface point seen in it: 0 is none, k > 0 encodes the point's
place inside the cell on a SUB x SUB raster (6.7 mm for a 0.1 m cell). So a coarse, cheap grid
still keeps a gap as wide as it is. There are two layers: what the lidar saw and what only the
camera saw (low, overhanging); a sensor clears its own layer alone, and only where it looked past
the remembered point.

The grid is stored as a torus: global cell (ix, iy) lies at [iy % n, ix % n], and the window is
the n x n global cells from `origin` on.
"""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.rolling import clear_rays, global_index, recentre, window_origin

SUB = 15  # raster of a point inside its cell, SUB * SUB + 1 <= 256
PAST = 0.07  # m: a beam must reach this far past a remembered point to clear it
OFF, OFF_SHARE = 0.1, 0.1  # m and share of the distance that the camera scan may be off
MOVER_MARGIN = 0.25  # m: points this near to a moving entity's surface are not kept
MOVER_CONFIDENCE = 0.5
AGE_EVERY = 16  # observations per unit of age of a camera point
AGE_MAX = 10  # units: a camera point not seen again for 160 observations is forgotten
BLOCK = 16  # cells that are looked at together
FREE_STRIDE = 4  # every fourth beam marks free space, in turn


@kernel(inline='always')
def encode(fx: float, fy: float) -> int:
    """Byte for a point at the fractions fx, fy in [0, 1) of its cell."""
    return 1 + min(int(fy * SUB), SUB - 1) * SUB + min(int(fx * SUB), SUB - 1)


@kernel(inline='always')
def fraction_x(code: int) -> float:
    """Fraction of the cell along x at which the point of a byte lies."""
    return ((code - 1) % SUB + 0.5) / SUB


@kernel(inline='always')
def fraction_y(code: int) -> float:
    """Fraction of the cell along y at which the point of a byte lies."""
    return ((code - 1) // SUB + 0.5) / SUB


@kernel
def beyond(ranges, beam, around):
    """How far was certainly looked past at a beam: the least of it and `around` neighbours, m.

    0 where one of them saw nothing valid.
    """
    n = ranges.shape[0]
    least = np.inf
    for k in range(beam - around, beam + around + 1):
        r = ranges[k % n]
        if not r > 0.0:
            return 0.0
        least = min(least, r)
    return least


@kernel
def near_mover(x, y, movers):
    """Whether a point in base lies at a moving entity. `movers`: (m, 6), see deliberation."""
    for m in range(movers.shape[0]):
        if movers[m, 5] >= MOVER_CONFIDENCE:
            reach = movers[m, 4] + MOVER_MARGIN
            dx, dy = x - movers[m, 0], y - movers[m, 1]
            if dx * dx + dy * dy < reach * reach:
                return True
    return False


@kernel
def clear_seen_through(lidar, camera, age, origin, cell, pose, scan, camera_scan, view, movers,
                       ageing):
    """Drop the points that a beam of their own sensor looked past, and those at moving entities.

    view: the camera cannot clear what is nearer than the first to base, m, and sits the second
    off base in plan, m.
    """
    n = lidar.shape[0]
    c, s = math.cos(pose[2]), math.sin(pose[2])
    for row in range(n):
        gy = global_index(row, origin[1], n)
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            anything = 0
            for col in range(start, stop):
                anything |= lidar[row, col] | camera[row, col]
            if anything == 0:
                continue
            for col in range(start, stop):
                if (lidar[row, col] | camera[row, col]) == 0:
                    continue
                _clear_cell(lidar, camera, age, row, col, global_index(col, origin[0], n), gy,
                            cell, pose, c, s, scan, camera_scan, view, movers, ageing)


@kernel
def _clear_cell(lidar, camera, age, row, col, ix, iy, cell, pose, c, s, scan, camera_scan, view,
                movers, ageing):
    a, b = lidar[row, col], camera[row, col]
    code = a if a > 0 else b
    dx = (ix + fraction_x(code)) * cell - pose[0]
    dy = (iy + fraction_y(code)) * cell - pose[1]
    x, y = c * dx + s * dy, -s * dx + c * dy
    if movers.shape[0] > 0 and near_mover(x, y, movers):
        lidar[row, col] = 0
        camera[row, col] = 0
        return
    r = math.sqrt(x * x + y * y)
    bearing = math.atan2(y, x) + math.pi
    if a > 0:
        beam = int(bearing * scan.shape[0] / (2.0 * math.pi))
        if beyond(scan, beam, 1) > r + PAST:
            lidar[row, col] = 0
    if b > 0:
        if ageing:
            age[row, col] += 1
        if age[row, col] > AGE_MAX:
            camera[row, col] = 0
        elif camera_scan.shape[0] > 0 and r > view[0]:
            # The scan is about base, but the camera looked from elsewhere: its rays passed this
            # cell on the way to what the scan shows up to asin(offset / r) off this bearing.
            per_radian = camera_scan.shape[0] / (2.0 * math.pi)
            around = 1 + math.ceil(math.asin(min(1.0, view[1] / r)) * per_radian)
            if beyond(camera_scan, int(bearing * per_radian), around) > r + PAST:
                camera[row, col] = 0


@kernel
def mark_points(layer, age, seen, origin, cell, pose, ranges, hiding, cosines, sines, movers):
    """Write the finite ranges of a scan about base into a layer.

    hiding: (n,) m, the scan of another sensor, or empty. What reaches as far as it, less what the
    camera may be off, says nothing new: it is the same thing, or hidden behind it.
    """
    n = layer.shape[0]
    c, s = math.cos(pose[2]), math.sin(pose[2])
    moving = movers.shape[0] > 0
    for i in range(ranges.shape[0]):
        r = ranges[i]
        if not (r > 0.0 and r < np.inf):
            continue
        if hiding.shape[0] > 0 and hiding[i] > 0.0 and r > hiding[i] - OFF - OFF_SHARE * r:
            continue
        x, y = r * cosines[i], r * sines[i]
        if moving and near_mover(x, y, movers):
            continue
        gx = (pose[0] + c * x - s * y) / cell
        gy = (pose[1] + s * x + c * y) / cell
        ix, iy = math.floor(gx), math.floor(gy)
        if (ix >= origin[0] and iy >= origin[1] and ix < origin[0] + n and iy < origin[1] + n):
            layer[iy % n, ix % n] = encode(gx - ix, gy - iy)
            age[iy % n, ix % n] = 0
            seen[iy % n, ix % n] = 1


@kernel
def observe_one(lidar, camera, age, seen, origin, count, cell, pose, scan, camera_scan, cosines,
                sines, range_max, view, movers):
    """Enter one observation of one robot. Arrays (n, n) uint8; origin (2,) int64 is updated.

    scan, camera_scan: ranges about base in the observation layout (camera_scan may have no
    beams); cosines, sines: of its bearings; count: observations so far. A pose that is not finite
    changes nothing.
    """
    if not (math.isfinite(pose[0]) and math.isfinite(pose[1]) and math.isfinite(pose[2])):
        return
    n = lidar.shape[0]
    column, row = window_origin(pose[0], cell, n), window_origin(pose[1], cell, n)
    if column != origin[0] or row != origin[1]:
        for layer in (lidar, camera, age, seen):
            recentre(layer, origin, column, row, 0)
        origin[0] = column
        origin[1] = row
    clear_seen_through(lidar, camera, age, origin, cell, pose, scan, camera_scan, view, movers,
                       count % AGE_EVERY == 0)
    first = count % FREE_STRIDE
    step = 2.0 * math.pi / scan.shape[0]
    clear_rays(seen, pose[0], pose[1], pose[2], scan[first::FREE_STRIDE],
               -math.pi + (first + 0.5) * step, FREE_STRIDE * step, cell,
               min(range_max, (n // 2 - 1) * cell), 0.0, 1)
    if camera_scan.shape[0] > 0:
        mark_points(camera, age, seen, origin, cell, pose, camera_scan, scan, cosines, sines,
                    movers)
    mark_points(lidar, age, seen, origin, cell, pose, scan, scan[:0], cosines, sines, movers)

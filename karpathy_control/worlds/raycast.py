"""Splat ray casting: each primitive updates only the beams that it covers.

All kernels work in the frame of the sensor, with beams at the bearings of the observation layout
(`-pi + (i + 0.5) * 2 pi / n`), whose cosines and sines are tabulated once. A range starts at
+Inf and only ever shrinks; a sensor inside a primitive reads 0.
"""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel

TWO_PI = 2.0 * math.pi


@kernel
def splat_circle(ranges, cosine, sine, x, y, radius, limit):
    """Shorten the beams that meet a circle at (x, y) m; limit is the longest range, m."""
    n = ranges.shape[0]
    square = x * x + y * y - radius * radius  # the tangent length, squared
    if square <= 0.0:
        ranges[:] = 0.0
        return
    distance = math.sqrt(x * x + y * y)
    if distance - radius > limit:
        return
    half = math.asin(radius / distance)
    bearing = math.atan2(y, x)
    step = TWO_PI / n
    first = math.ceil((bearing - half + math.pi) / step - 0.5)
    last = math.floor((bearing + half + math.pi) / step - 0.5)
    for k in range(first, last + 1):
        i = k % n
        along = x * cosine[i] + y * sine[i]
        under = along * along - square
        under = max(under, 0.0)
        hit = along - math.sqrt(under)
        if hit < ranges[i] and hit <= limit:
            ranges[i] = hit


@kernel
def splat_segment(ranges, cosine, sine, ax, ay, bx, by, limit):
    """Shorten the beams that meet the segment from a to b, m."""
    n = ranges.shape[0]
    ex, ey = bx - ax, by - ay
    area = ax * by - ay * bx  # twice the area of (0, a, b), signed
    if abs(area) < 1e-12:
        return
    length = ex * ex + ey * ey
    t = min(1.0, max(0.0, -(ax * ex + ay * ey) / length))
    nx, ny = ax + t * ex, ay + t * ey
    if nx * nx + ny * ny > limit * limit:
        return
    start, end = math.atan2(ay, ax), math.atan2(by, bx)
    if area < 0.0:  # always counter-clockwise from start to end
        start, end = end, start
    if end < start:
        end += TWO_PI
    step = TWO_PI / n
    first = math.ceil((start + math.pi) / step - 0.5)
    last = math.floor((end + math.pi) / step - 0.5)
    for k in range(first, last + 1):
        i = k % n
        cross = cosine[i] * ey - sine[i] * ex
        if cross == 0.0:
            continue
        hit = area / cross
        if 0.0 <= hit < ranges[i] and hit <= limit:
            ranges[i] = hit


@kernel
def splat_box(ranges, cosine, sine, x, y, half_x, half_y, c, s, limit):
    """Shorten the beams that meet a box centred at (x, y) whose x axis points along (c, s)."""
    reach = math.hypot(half_x, half_y) + limit
    if x * x + y * y > reach * reach:
        return
    ox, oy = -(c * x + s * y), s * x - c * y  # the sensor in the box's frame
    if abs(ox) <= half_x and abs(oy) <= half_y:
        ranges[:] = 0.0
        return
    # only the faces that look at the sensor can be nearest
    ux, uy = c * half_x, s * half_x
    vx, vy = -s * half_y, c * half_y
    if ox > half_x:
        splat_segment(ranges, cosine, sine, x + ux - vx, y + uy - vy, x + ux + vx, y + uy + vy,
                      limit)
    if ox < -half_x:
        splat_segment(ranges, cosine, sine, x - ux - vx, y - uy - vy, x - ux + vx, y - uy + vy,
                      limit)
    if oy > half_y:
        splat_segment(ranges, cosine, sine, x - ux + vx, y - uy + vy, x + ux + vx, y + uy + vy,
                      limit)
    if oy < -half_y:
        splat_segment(ranges, cosine, sine, x - ux - vx, y - uy - vy, x + ux - vx, y + uy - vy,
                      limit)


@kernel
def cast(ranges, cosine, sine, pose, low, high, circles, circle_count, boxes, box_count, movers,
         mover_xy, mover_count, limit):
    """Ranges of one sensor to every primitive whose [bottom, top] meets [low, high].

    Shapes: ranges (n,) m, overwritten, +Inf where nothing is within limit; pose (x, y, yaw) of
    the sensor in world; circles, boxes, movers as packed by `worlds.bank`, mover_xy (M, 2) m.
    """
    ranges[:] = np.inf
    px, py = pose[0], pose[1]
    pc, ps = math.cos(pose[2]), math.sin(pose[2])
    for j in range(circle_count):
        if circles[j, 3] <= high and circles[j, 4] >= low:
            dx, dy = circles[j, 0] - px, circles[j, 1] - py
            splat_circle(ranges, cosine, sine, pc * dx + ps * dy, pc * dy - ps * dx,
                         circles[j, 2], limit)
    for j in range(mover_count):
        if movers[j, 3] >= low:
            dx, dy = mover_xy[j, 0] - px, mover_xy[j, 1] - py
            splat_circle(ranges, cosine, sine, pc * dx + ps * dy, pc * dy - ps * dx,
                         movers[j, 1], limit)
    for j in range(box_count):
        if boxes[j, 6] <= high and boxes[j, 7] >= low:
            dx, dy = boxes[j, 0] - px, boxes[j, 1] - py
            bc, bs = boxes[j, 4], boxes[j, 5]
            splat_box(ranges, cosine, sine, pc * dx + ps * dy, pc * dy - ps * dx,
                      boxes[j, 2], boxes[j, 3], pc * bc + ps * bs, pc * bs - ps * bc, limit)

"""Exact planar distances between a convex footprint and circles or turned boxes."""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel


@kernel
def point_to_polygon(polygon, x, y):
    """Signed distance from a point to a convex polygon, m; negative inside.

    polygon: (n, 2) m, counter-clockwise.
    """
    n = polygon.shape[0]
    nearest = np.inf
    depth = -np.inf
    for i in range(n):
        ax, ay = polygon[i, 0], polygon[i, 1]
        ex, ey = polygon[(i + 1) % n, 0] - ax, polygon[(i + 1) % n, 1] - ay
        square = ex * ex + ey * ey
        qx, qy = x - ax, y - ay
        outward = (ey * qx - ex * qy) / math.sqrt(square)
        depth = max(depth, outward)
        t = min(1.0, max(0.0, (qx * ex + qy * ey) / square))
        dx, dy = qx - t * ex, qy - t * ey
        d = dx * dx + dy * dy
        nearest = min(nearest, d)
    return depth if depth <= 0.0 else math.sqrt(nearest)


@kernel
def _separated(polygon, other):
    """Whether an edge of `polygon` is a line that has all of `other` outside; both (n, 2) CCW."""
    n = polygon.shape[0]
    for i in range(n):
        ax, ay = polygon[i, 0], polygon[i, 1]
        ex, ey = polygon[(i + 1) % n, 0] - ax, polygon[(i + 1) % n, 1] - ay
        outside = True
        for j in range(other.shape[0]):
            if ey * (other[j, 0] - ax) - ex * (other[j, 1] - ay) <= 0.0:
                outside = False
                break
        if outside:
            return True
    return False


@kernel
def polygon_to_polygon(a, b):
    """Distance between two convex polygons, m; 0 where they touch or overlap.

    Overlap by the separating axis theorem; otherwise the nearest pair holds a corner.
    """
    if not (_separated(a, b) or _separated(b, a)):
        return 0.0
    nearest = np.inf
    for i in range(a.shape[0]):
        nearest = min(nearest, point_to_polygon(b, a[i, 0], a[i, 1]))
    for i in range(b.shape[0]):
        nearest = min(nearest, point_to_polygon(a, b[i, 0], b[i, 1]))
    return nearest


@kernel
def clearance(footprint, reach, pose, low, high, circles, circle_count, boxes, box_count, movers,
              mover_xy, mover_count, horizon):
    """Distance from the footprint to the nearest primitive that it could touch, m.

    At most `horizon`; 0 or less is contact. Only primitives whose [bottom, top] meets
    [low, high] count. `reach` is the footprint's circumscribed radius; pose (x, y, yaw) world.
    """
    nearest = horizon
    px, py = pose[0], pose[1]
    pc, ps = math.cos(pose[2]), math.sin(pose[2])
    for j in range(circle_count):
        dx, dy = circles[j, 0] - px, circles[j, 1] - py
        near = reach + nearest + circles[j, 2]
        if dx * dx + dy * dy < near * near and circles[j, 3] < high and circles[j, 4] > low:
            d = point_to_polygon(footprint, pc * dx + ps * dy, pc * dy - ps * dx)
            nearest = min(nearest, d - circles[j, 2])
    for j in range(mover_count):
        dx, dy = mover_xy[j, 0] - px, mover_xy[j, 1] - py
        near = reach + nearest + movers[j, 1]
        if dx * dx + dy * dy < near * near and movers[j, 3] > low:
            d = point_to_polygon(footprint, pc * dx + ps * dy, pc * dy - ps * dx)
            nearest = min(nearest, d - movers[j, 1])
    corners = np.empty((4, 2))
    for j in range(box_count):
        dx, dy = boxes[j, 0] - px, boxes[j, 1] - py
        hx, hy, bc, bs = boxes[j, 2], boxes[j, 3], boxes[j, 4], boxes[j, 5]
        # the base origin's distance to the box bounds the footprint's from below
        ox = max(0.0, abs(bc * dx + bs * dy) - hx)
        oy = max(0.0, abs(bc * dy - bs * dx) - hy)
        near = reach + nearest
        if ox * ox + oy * oy < near * near and boxes[j, 6] < high and boxes[j, 7] > low:
            x, y = pc * dx + ps * dy, pc * dy - ps * dx
            c, s = pc * bc + ps * bs, pc * bs - ps * bc
            for k in range(4):  # counter-clockwise
                u = hx if k in (0, 3) else -hx
                v = hy if k < 2 else -hy
                corners[k, 0], corners[k, 1] = x + c * u - s * v, y + s * u + c * v
            nearest = min(nearest, polygon_to_polygon(footprint, corners))
    return nearest

"""The exact convex footprint: distance of a point to it, and its outline as samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import convex_hull
from karpathy_control.mapping.jit import kernel


class Footprint(NamedTuple):
    """A convex polygon in base, prepared for the kernels; counter-clockwise, m."""

    corners: NDArray[np.float64]  # (n, 2)
    tangents: NDArray[np.float64]  # (n, 2) unit vector from corner i to corner i + 1
    lengths: NDArray[np.float64]  # (n,) of those edges
    radius: float  # of the smallest disc about the base origin round the polygon


def make_footprint(polygon: NDArray[np.float64]) -> Footprint:
    """Prepare the convex hull of a polygon. Shape: (n, 2) m in base."""
    corners = convex_hull(polygon)
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(edges, axis=1)
    radius = float(np.max(np.linalg.norm(corners, axis=1)))
    return Footprint(corners, np.ascontiguousarray(edges / lengths[:, None]), lengths, radius)


def outline(footprint: Footprint, margin: float, spacing: float) -> NDArray[np.float64]:
    """Points round the footprint inflated by `margin`. Shape: (n, 2) m in base.

    Neighbours along an edge are at most `spacing` m apart; each corner adds the point where its
    rounded inflation is farthest out.
    """
    points = []
    before = np.roll(footprint.tangents, 1, axis=0)
    for a, t, length, t0 in zip(footprint.corners, footprint.tangents, footprint.lengths, before,
                                strict=True):
        normal = np.array([t[1], -t[0]])
        bisector = normal + np.array([t0[1], -t0[0]])
        points.append(a + margin * bisector / np.linalg.norm(bisector))
        steps = max(1, math.ceil(length / spacing))
        points += [a + t * length * i / steps + margin * normal for i in range(steps + 1)]
    return np.array(points)


@kernel
def signed_distance(footprint, x, y):
    """Euclidean distance in m of a point in base to the footprint; negative inside it."""
    corners, tangents, lengths = footprint.corners, footprint.tangents, footprint.lengths
    n = corners.shape[0]
    largest = -math.inf
    along = 0.0
    length = 0.0
    for k in range(n):
        dx = x - corners[k, 0]
        dy = y - corners[k, 1]
        outside = dx * tangents[k, 1] - dy * tangents[k, 0]
        if outside > largest:
            largest = outside
            along = dx * tangents[k, 0] + dy * tangents[k, 1]
            length = lengths[k]
    if largest <= 0.0 or 0.0 <= along <= length:
        return largest
    nearest = math.inf
    for k in range(n):
        dx = x - corners[k, 0]
        dy = y - corners[k, 1]
        t = min(max(dx * tangents[k, 0] + dy * tangents[k, 1], 0.0), lengths[k])
        ex = dx - t * tangents[k, 0]
        ey = dy - t * tangents[k, 1]
        nearest = min(nearest, ex * ex + ey * ey)
    return math.sqrt(nearest)

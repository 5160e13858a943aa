"""Free space of a world on a grid: exact clearance, the region a disc can reach, path lengths.

Everything lower than the robot counts as solid, wherever its height: what a planar lidar misses
blocks the way all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from karpathy_control.contracts.world import Box, Cylinder

FloatGrid = NDArray[np.float64]
BoolGrid = NDArray[np.bool_]


def distance_to_cylinder(x: FloatGrid, y: FloatGrid, c: Cylinder) -> FloatGrid:
    """Plan distance from points to a cylinder's surface, m; 0 inside."""
    return np.maximum(np.hypot(x - c.x, y - c.y) - c.radius, 0.0)


def distance_to_box(x: FloatGrid, y: FloatGrid, b: Box) -> FloatGrid:
    """Plan distance from points to a box's surface, m; 0 inside."""
    cos, sin = math.cos(b.yaw), math.sin(b.yaw)
    dx, dy = x - b.x, y - b.y
    u = np.abs(cos * dx + sin * dy) - b.half_x
    v = np.abs(-sin * dx + cos * dy) - b.half_y
    return np.hypot(np.maximum(u, 0.0), np.maximum(v, 0.0))


def clearance_at(x: FloatGrid, y: FloatGrid, cylinders: Iterable[Cylinder],
                 boxes: Iterable[Box], height: float = math.inf) -> FloatGrid:
    """Plan distance from points to the nearest obstacle that begins below `height` m, in m."""
    nearest = np.full(np.shape(x), np.inf)
    for c in cylinders:
        if c.bottom < height:
            np.minimum(nearest, distance_to_cylinder(x, y, c), out=nearest)
    for b in boxes:
        if b.bottom < height:
            np.minimum(nearest, distance_to_box(x, y, b), out=nearest)
    return nearest


@dataclass(frozen=True)
class FreeSpace:
    """Clearance at the cell centres of a grid over a world's bounds."""

    x: FloatGrid  # (columns,) m, cell centres
    y: FloatGrid  # (rows,) m, cell centres
    cell: float  # m
    clearance: FloatGrid  # (rows, columns) m to the nearest obstacle

    @classmethod
    def of(cls, bounds: tuple[float, float, float, float], cylinders: Iterable[Cylinder],
           boxes: Iterable[Box], cell: float = 0.1) -> FreeSpace:
        """Measure the clearance of every cell centre within `bounds` (x_min y_min x_max y_max)."""
        x = np.arange(bounds[0] + 0.5 * cell, bounds[2], cell)
        y = np.arange(bounds[1] + 0.5 * cell, bounds[3], cell)
        grid_x, grid_y = np.meshgrid(x, y)
        return cls(x, y, cell, clearance_at(grid_x, grid_y, cylinders, boxes))

    def index(self, x: float, y: float) -> tuple[int, int]:
        """Row and column of the cell that holds a point."""
        return (int(np.clip(round((y - self.y[0]) / self.cell), 0, len(self.y) - 1)),
                int(np.clip(round((x - self.x[0]) / self.cell), 0, len(self.x) - 1)))

    def reachable(self, radius: float, x: float | None = None,
                  y: float | None = None) -> BoolGrid:
        """Cells between which a disc of `radius` can travel. Shape: (rows, columns).

        The region around (x, y), or the largest one where no point is given. Neighbouring
        centres are one cell apart and clearance changes by at most the distance moved, so half a
        cell on top of the radius makes every straight step between them free.
        """
        label, count = ndimage.label(self.clearance >= radius + 0.5 * self.cell)
        if x is not None and y is not None:
            wanted = label[self.index(x, y)]
            return (label == wanted) & (wanted > 0)
        if count == 0:
            return np.zeros_like(label, dtype=bool)
        return label == 1 + int(np.argmax(np.bincount(label.ravel())[1:]))

    def roadmap(self, region: BoolGrid) -> Roadmap:
        """The 8-connected graph of the cells of `region`, for path lengths."""
        node = np.full(region.shape, -1)
        node[region] = np.arange(np.count_nonzero(region))
        width = region.shape[1]
        rows, columns, weights = [], [], []
        for shift_y, shift_x in ((0, 1), (1, 0), (1, 1), (1, -1)):
            a = node[:len(node) - shift_y, max(0, -shift_x):width - max(0, shift_x)]
            b = node[shift_y:, max(0, shift_x):width - max(0, -shift_x)]
            both = (a >= 0) & (b >= 0)
            rows += [a[both], b[both]]
            columns += [b[both], a[both]]
            weights.append(np.full(2 * np.count_nonzero(both),
                                   self.cell * math.hypot(shift_x, shift_y)))
        count = int(np.count_nonzero(region))
        entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
        return Roadmap(self, region, node, sparse.csr_matrix(entries, shape=(count, count)))


@dataclass(frozen=True)
class Roadmap:
    """Neighbouring cells of a region and how far apart they are."""

    space: FreeSpace
    region: BoolGrid  # (rows, columns)
    node: NDArray[np.int64]  # (rows, columns) number of a cell in the graph, -1 outside
    graph: sparse.csr_matrix  # (nodes, nodes) m

    def lengths(self, x: float, y: float, limit: float = np.inf) -> FloatGrid:
        """Length of the shortest way from (x, y) to each cell, m; inf beyond `limit`.

        Shape: (rows, columns). All inf where the point is outside of the region.
        """
        lengths = np.full(self.region.shape, np.inf)
        source = self.node[self.space.index(x, y)]
        if source >= 0:
            lengths[self.region] = csgraph.dijkstra(self.graph, indices=source, limit=limit)
        return lengths

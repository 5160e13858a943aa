"""Small robots and memories for the tests of the kernels as plain Python."""

import math

import numpy as np

from karpathy_control.control.braking import Motion
from karpathy_control.control.footprint import make_footprint
from karpathy_control.control.memory import EMPTY, Rules, make_memory

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
    names = set(memory._fields) - {'fence', 'scan', 'lidar_cells', 'camera_cells', 'travel_sums'}
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

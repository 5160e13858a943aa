"""Fields of posts as hard as BARN's: a cellular automaton clumps the posts of a square.

The automaton is that of D. Perille et al., "Benchmarking Metric Ground Navigation" (SSRR 2020):
cells are filled at random, then smoothed; a cell with many neighbours is filled, one with few is
cleared, and of what is left only the outline gets posts. The range of the fill is chosen so that
the quartiles of the number of posts and of the narrowest passage come near those of BARN's public
worlds (`QUARTILES`).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

CELLS = 30  # along either side of the square
PITCH = 0.15  # m between the posts of neighbouring cells
RADIUS = 0.075  # m of a post
LENGTH = (CELLS - 1) * PITCH  # m from the first post to the last
DISC = 0.34  # m, the disc that gets through; BARN's narrowest passage has 0.36 m
WIDEST = 1.0  # m, the disc that does not: BARN has no wider passage
FILL = 0.13, 0.31  # share of filled cells at first, range
# Of BARN's 200 worlds that are not locked: number of posts, and m of the narrowest clearance on
# the widest way.
QUARTILES = (56.0, 101.5, 153.0), (0.391, 0.443, 0.587)

_ROUNDS = 3, 8  # of smoothing, the last excluded
_CROWDED, _LONELY = 5, 1  # neighbours of which a cell is filled, and is cleared
_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
_FINE = 3  # grid points from one cell to the next


def make_field(rng: Generator, fill: float) -> NDArray[np.bool_]:
    """Cells with posts. The first and last row are the walls' place, and empty.

    Shape: (CELLS, CELLS); rows across the way, columns along it.
    """
    filled = rng.random((CELLS, CELLS)) < fill
    for _ in range(int(rng.integers(*_ROUNDS))):
        filled[[0, -1]] = True
        count = ndimage.convolve(filled.astype(int), _NEIGHBOURS, mode='constant')
        filled = (count >= _CROWDED) | (filled & (count > _LONELY))
    filled[[0, -1]] = True
    count = ndimage.convolve(filled.astype(int), _NEIGHBOURS, mode='constant')
    outline = filled & (count < 8)
    outline[[0, -1]] = False
    return outline


def positions(posts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Centres of the posts in m, with the middle of the square as origin. Shape: (n, 2)."""
    row, column = np.nonzero(posts)
    return PITCH * (np.stack((column, row), 1).astype(np.float64) - 0.5 * (CELLS - 1))


def passes(posts: NDArray[np.bool_], radius: float) -> bool:
    """Whether a disc of `radius` m gets along the field between its walls.

    On a grid of 0.05 m whose points are a third of a cell apart: where it says yes, way and disc
    are wide enough but for the half step between two points.
    """
    n = _FINE * (CELLS - 1) + 1
    free = np.ones((n, n), dtype=bool)
    free[::_FINE, ::_FINE] = ~posts
    open_ends = np.pad(free, ((0, 0), (n, n)), constant_values=True)
    open_ends[[0, -1]] = False
    clearance = ndimage.distance_transform_edt(open_ends) * (PITCH / _FINE) - RADIUS
    label, _ = ndimage.label(clearance >= radius, np.ones((3, 3)))
    return bool(np.intersect1d(label[:, 0], label[:, -1]).any())


def as_hard_as_barn(posts: NDArray[np.bool_]) -> bool:
    """Whether a field can be passed, though not by a large disc."""
    return passes(posts, DISC) and not passes(posts, WIDEST)

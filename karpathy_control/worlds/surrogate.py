"""What the camera scan says in the batched world: an error model that is fitted to the real one.

Training cannot run the encoder, so it draws what the encoder would have said. The camera's view
is cut into cells of bearing. In each the nearest thing in the robot's height band is the truth, by
RAYS twice as dense as the scan, since a thing that fills half of a cell is seen there; the cell
has one of four CONTEXTS, and a bin of range. Per context and bin a table says how often the
cell is called free, unknown or a range, and how that range is off. Two normal latents per cell
choose among them: one what is said, one how far off it is. They are autoregressive in time and
along the bearing, so that errors stay and come side by side, with a share that is new in every
cell and frame. Probabilities are those of the table whatever the correlation (a Gaussian copula:
Nelsen, An Introduction to Copulas, 2006).

`learning.surrogate` fits the tables; this module reads them and draws.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import read_text
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, in_view
from karpathy_control.mapping.jit import kernel

SCHEMA = 'karpathy-control-surrogate-v2'
SHIPPED = 'surrogate.json'  # in config
MODELS = ('learned', 'depth')  # the camera scan from colour alone, and where there is depth
# What is nearest in a cell: a thing like its neighbours; one beside something nearer, or beside
# something farther, which may be said in its place; one that only the camera sees, for which what
# the lidar sees behind it may be.
CONTEXTS = ('plain', 'beside', 'edge', 'unseen')
PLAIN, BESIDE, EDGE, UNSEEN = range(4)
RAYS = 2 * SCAN_BEAMS  # of the truth, about base: ray r at -pi + r 2 pi / RAYS rad, so that the
# odd ones are the middles of the beams and the even ones their edges
# m: bins of the true range begin here; the last is without end
BINS = (0.0, 0.3, 0.45, 0.6, 0.8, 1.2, 1.8, 2.5, 3.5, 5.0, 5.5, 7.0, 10.0)
LEVELS = 13  # of the latent, evenly from -3 to 3, at which the tables give how far off a range is
DEEPEST = 3.0
JUMP = 0.2  # between two levels: farther apart they are not of one kind
NEARER = 0.8  # share of its range: what is nearer than this beside a cell counts
FARTHER = 1.0 / NEARER
BEHIND = 1.25  # the lidar's range by this much longer: it sees something else
RANGE_MIN = 0.05  # m
VIEW_STEP = 0.05  # m of the table of what is in view


class Draw(NamedTuple):
    """A model as the kernels take it."""

    cell: NDArray[np.int64]  # (SCAN_BEAMS,) of each beam
    shows: NDArray[np.bool_]  # (SCAN_BEAMS, ranges) whether the camera sees VIEW_STEP * j m there
    limit: float  # m: farther is free
    wrong: NDArray[np.float64]  # (CONTEXTS, BINS) chance of the farthest error: free, or a range
    unknown: NDArray[np.float64]  # (CONTEXTS, BINS) chance of that and of unknown, together
    shift: NDArray[np.float64]  # (CONTEXTS, BINS, LEVELS) see `said`
    # (2, CONTEXTS) each, of the two latents, by the context of the cell:
    stay: NDArray[np.float64]  # correlation of a latent with itself a frame ago
    aside: NDArray[np.float64]  # with that of the next cell
    new: NDArray[np.float64]  # share of its variance that is of this cell and frame alone


@dataclass(frozen=True)
class ErrorModel:
    """The tables of one kind of camera scan.

    cells: of a full turn. limit: m; what is farther counts as free. wrong and unknown: (CONTEXTS,
    BINS) probabilities; wrong: nearer than `limit` said to be free, or beyond it said to be a
    range. shift: (CONTEXTS, BINS, LEVELS) by how much a range is off, see `said`, rising with the
    level. stay, aside, new: see Draw; a row of
    what is said and one of how far off it is.
    """

    cells: int
    limit: float
    wrong: NDArray[np.float64]
    unknown: NDArray[np.float64]
    shift: NDArray[np.float64]
    stay: NDArray[np.float64]
    aside: NDArray[np.float64]
    new: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = (len(CONTEXTS), len(BINS))
        if self.cells < 4 or SCAN_BEAMS < self.cells:
            raise ValueError(f'cells is {self.cells}; it takes 4 to {SCAN_BEAMS}')
        if not 0.5 <= self.limit <= SCAN_RANGE_MAX:
            raise ValueError(f'limit is {self.limit}; it takes 0.5 to {SCAN_RANGE_MAX} m')
        for name, array, wanted in (('wrong', self.wrong, shape), ('unknown', self.unknown, shape),
                                    ('shift', self.shift, (*shape, LEVELS)),
                                    *((name, getattr(self, name), (2, len(CONTEXTS)))
                                      for name in ('stay', 'aside', 'new'))):
            if array.shape != wanted or not np.isfinite(array).all():
                raise ValueError(f'{name} of shape {array.shape}; it takes {wanted} finite '
                                 'numbers')
        if (self.wrong < 0.0).any() or (self.unknown < 0.0).any() or (
                self.wrong + self.unknown > 1.0 + 1e-9).any():
            raise ValueError('wrong and unknown take probabilities whose sum is at most 1')
        if (np.diff(self.shift, axis=2) < 0.0).any():
            raise ValueError('shift takes numbers that do not fall from level to level')
        for name in ('stay', 'aside', 'new'):
            if (getattr(self, name) < 0.0).any() or (getattr(self, name) > 1.0).any():
                raise ValueError(f'{name} is {getattr(self, name)}; it takes numbers from 0 to 1')

    def draw(self, camera_pose: Sequence[float]) -> Draw:
        """The model as kernels take it, for a camera at x y z roll pitch yaw in base."""
        steps = np.arange(round(SCAN_RANGE_MAX / VIEW_STEP) + 1) * VIEW_STEP
        view = np.stack([in_view(np.full(SCAN_BEAMS, r), camera_pose) for r in steps], 1)
        return Draw(cell_of_beam(self.cells), np.ascontiguousarray(view), self.limit, self.wrong,
                    self.wrong + self.unknown, self.shift, self.stay, self.aside, self.new)


def exact(nearest: float) -> ErrorModel:
    """A camera scan that is the truth, and unknown nearer than `nearest` m, an edge of BINS."""
    shape = (len(CONTEXTS), len(BINS))
    if nearest not in BINS:
        raise ValueError(f'nearest is {nearest}; it takes one of {BINS} m')
    unknown = np.zeros(shape)
    unknown[:, :BINS.index(nearest)] = 1.0
    return ErrorModel(SCAN_BEAMS, SCAN_RANGE_MAX, np.zeros(shape), unknown,
                      np.zeros((*shape, LEVELS)), *np.zeros((3, 2, len(CONTEXTS))))


def cell_of_beam(cells: int) -> NDArray[np.int64]:
    """The cell of each beam's middle, as the encoder's sub-bins are read. Shape: (SCAN_BEAMS,)."""
    return ((np.arange(SCAN_BEAMS) + 0.5) * (cells / SCAN_BEAMS)).astype(np.int64)


def levels() -> NDArray[np.float64]:
    """The values of a latent at which `shift` is given. Shape: (LEVELS,)."""
    return np.linspace(-DEEPEST, DEEPEST, LEVELS)


_FIELDS = {'cells': int, 'limit': float, 'wrong': np.array, 'unknown': np.array,
           'shift': np.array, 'stay': np.array, 'aside': np.array, 'new': np.array}


def to_json(model: ErrorModel) -> dict[str, Any]:
    """A model as plain values, four digits each."""
    def plain(value: Any) -> Any:
        return np.round(np.asarray(value, np.float64), 4).tolist()
    return {name: model.cells if name == 'cells' else plain(getattr(model, name))
            for name in _FIELDS}


def read_surrogate(path: Path) -> dict[str, ErrorModel]:
    """The models in a file, by name in MODELS. Raises ConfigError naming the file."""
    try:
        data = json.loads(read_text(path))
        if data['schema'] != SCHEMA or data['bins_m'] != list(BINS):
            raise ValueError(f'it takes schema {SCHEMA} and bins_m {list(BINS)}')
        return {name: ErrorModel(**{field: read(data['models'][name][field])  # type: ignore
                                    for field, read in _FIELDS.items()}) for name in MODELS}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f'{path}: no error model of the camera scan in it: {error!r}; '
                          '`karpathy-control train surrogate` writes one') from error


@kernel
def describe(truth, plane, limit, true, behind, context, kind):
    """What is nearest in each cell.

    truth and plane (RAYS,) m: in the height band and in the lidar's plane. Fills, all (cells,):
    true m, at most `limit`; behind, m that may be said in its place; context; kind, the bin of the
    range. A ray between two cells counts in both.
    """
    cells, rays = true.shape[0], truth.shape[0]
    true[:] = np.inf
    behind[:] = np.inf
    for c in range(cells):
        first = (c * rays + cells - 1) // cells
        last = (c + 1) * rays // cells
        for r in range(first, last + 1):
            true[c] = min(true[c], truth[r % rays])
            behind[c] = min(behind[c], plane[r % rays])
    for c in range(cells):
        kind[c] = 0
        while kind[c] + 1 < len(BINS) and true[c] >= BINS[kind[c] + 1]:
            kind[c] += 1
    for c in range(cells):
        here = max(min(true[c], limit), RANGE_MIN)
        left, right = true[c - 1], true[(c + 1) % cells]
        beside = max(min(left, right), RANGE_MIN)
        past = min(max(left, right), limit)
        through = min(behind[c], limit)
        if true[c] < limit and through > BEHIND * here:
            context[c], behind[c] = UNSEEN, through
        elif beside < NEARER * here:
            context[c], behind[c] = BESIDE, beside
        elif past > FARTHER * here:
            context[c], behind[c] = EDGE, past
        else:
            context[c], behind[c] = PLAIN, math.e * here
    for c in range(cells):
        true[c] = max(min(true[c], limit), RANGE_MIN)


@kernel
def said(true, behind, off):
    """The range, m, that is off by `off`: between the truth and `behind` the share of the way.

    As logarithms go; before the truth (below 0) and past `behind` (above 1) it is the logarithm of
    the ratio itself, since an error there has nothing to do with how far apart the two are.
    """
    way = math.log(behind / true)
    if off > 1.0:
        way = way + (off - 1.0) * math.copysign(1.0, way)
    elif off > 0.0:
        way = off * way
    else:
        way = off * math.copysign(1.0, way)
    return true * math.exp(way)


@kernel
def off_by(true, behind, range_said):
    """The inverse of `said`: by how much a range is off."""
    way = math.log(behind / true)
    along = math.log(range_said / true) * math.copysign(1.0, way)
    if along > abs(way):
        return 1.0 + along - abs(way)
    return along / abs(way) if along > 0.0 else along


@kernel(inline='always')
def shifted(table, latent):
    """How far off a range is at a value of the latent.

    Between two LEVELS by a straight line, unless they are of two kinds of error (the thing itself,
    or what is beside it): nothing stands between those.
    """
    at = (latent + DEEPEST) * ((LEVELS - 1) / (2.0 * DEEPEST))
    at = min(max(at, 0.0), LEVELS - 1.0)
    low = min(int(at), LEVELS - 2)
    part = at - low
    if table[low + 1] - table[low] > JUMP:
        part = round(part)
    return table[low] + part * (table[low + 1] - table[low])


@kernel
def evolve(latent, m, context, first, last, began, normal, offset, stride):
    """Latents of the next frame in the cells first..last: Draw.stay and aside of `m`.

    latent (2, cells) is kept from frame to frame; what is new is added when it is used. `began`:
    the first frame of an episode, which has none before.
    """
    size = normal.shape[0]
    for j in range(2):
        step = 0.0
        for c in range(first, last + 1):
            # any mixture of independent normals whose weights' squares sum to 1 is one again
            keep = 0.0 if began else m.stay[j, context[c]]
            aside = 0.0 if c == first else m.aside[j, context[c]]
            one = normal[(offset + (4 * (c - first) + j) * stride) % size]
            step = aside * step + math.sqrt(1.0 - aside * aside) * one
            latent[j, c] = keep * latent[j, c] + math.sqrt(1.0 - keep * keep) * step


@kernel
def draw(out, truth, plane, latent, m, error, began, normal, offset, stride):
    """Write what the camera scan says into `out` (beams,) m.

    truth and plane (RAYS,) m: without noise; latent (2, beams): of this robot, its first cells are
    used; error: multiple of the chances of an error and of how far off a range is.
    """
    beams, cells = out.shape[0], 0
    for k in range(beams):
        cells = max(cells, m.cell[k] + 1)
    last_step = m.shows.shape[1] - 1
    ends = min(int(m.limit / VIEW_STEP + 0.5), last_step)
    first, last = cells, -1
    for k in range(beams):
        if m.shows[k, ends]:
            first, last = min(first, m.cell[k]), max(last, m.cell[k])
    true, behind = np.empty(cells), np.empty(cells)
    context, kind = np.empty(cells, np.int64), np.empty(cells, np.int64)
    describe(truth, plane, m.limit, true, behind, context, kind)
    evolve(latent, m, context, first, last, began, normal, offset, stride)
    size = normal.shape[0]
    for c in range(first, last + 1):
        i, b = context[c], kind[c]
        what = math.sqrt(1.0 - m.new[0, i]) * latent[0, c] + math.sqrt(m.new[0, i]) * normal[
            (offset + (4 * (c - first) + 2) * stride) % size]
        far = math.sqrt(1.0 - m.new[1, i]) * latent[1, c] + math.sqrt(m.new[1, i]) * normal[
            (offset + (4 * (c - first) + 3) * stride) % size]
        p = 0.5 * (1.0 + math.erf(what / math.sqrt(2.0)))
        free = true[c] >= m.limit
        if p < error * m.wrong[i, b]:
            free = not free
        elif p < error * m.unknown[i, b]:
            true[c] = np.nan
            continue
        if free:
            true[c] = np.inf
        else:
            true[c] = said(true[c], behind[c], error * shifted(m.shift[i, b], far))
            true[c] = min(max(true[c], RANGE_MIN), m.limit)
    for k in range(beams):
        c = m.cell[k]
        out[k] = true[c] if first <= c <= last else np.nan
        step = ends if math.isinf(out[k]) else min(int(out[k] / VIEW_STEP + 0.5), last_step)
        if math.isnan(out[k]) or not m.shows[k, step]:
            out[k] = np.nan

"""`karpathy-control train surrogate`: fit the batched world's camera scan to the real one.

Drives worlds that no training saw, frame after frame, and compares what the camera scan says with
what the batched world calls the truth there. The tables of `worlds.surrogate` are counts and
quantiles of that; how errors follow each other is fitted to pairs of frames and of neighbouring
cells. A classifier that is told to separate the two on other worlds says how alike they are.
Run it again after every change of the encoder: the file names the weights that it was fitted to.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.stats import norm

from karpathy_control.bringup.resources import find, share
from karpathy_control.contracts.card import sha256_of
from karpathy_control.contracts.config import RobotConfig, SimConfig
from karpathy_control.contracts.layout import DEPTH_MAX, SCAN_BEAMS, SECTORS
from karpathy_control.learning.dataset import robot_config
from karpathy_control.learning.pretrain import source_commit
from karpathy_control.learning.sequences import HELD_OUT, Sequence, record
from karpathy_control.perception.encoder import PRESENT_WITHIN, SUB_BINS
from karpathy_control.worlds.robot import load_robot
from karpathy_control.worlds.surrogate import (
    BINS,
    CONTEXTS,
    LEVELS,
    MODELS,
    RANGE_MIN,
    SCHEMA,
    SHIPPED,
    VIEW_STEP,
    Draw,
    ErrorModel,
    describe,
    draw,
    exact,
    levels,
    off_by,
    to_json,
)

CELLS = {'learned': SECTORS * SUB_BINS, 'depth': SCAN_BEAMS}
LIMITS = {'learned': PRESENT_WITHIN, 'depth': DEPTH_MAX}  # m
LEAST = 300  # samples that an entry of a table is taken from
LAGS = ((1, 0), (4, 0), (0, 1))  # frames and cells over which correlations are taken
CHECKED = 3  # every third world checks the fit
MIN_FRAMES = 20  # per world
LASTING = 0.95  # correlation from frame to frame, and from cell to cell, at most
EPOCHS = 30  # of the classifier
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
_NORMAL = np.random.default_rng(5).standard_normal(1 << 16).astype(np.float32)
CONTEXTS_COUNT, BINS_COUNT = len(CONTEXTS), len(BINS)


@dataclass(frozen=True)
class Residuals:
    """What was said in each cell, beside what is there; all (frames, cells)."""

    seen: NDArray[np.bool_]  # the camera's view holds what is there
    true: NDArray[np.float64]  # m, at most the model's limit
    entry: NDArray[np.int64]  # context * bins + bin
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]  # called free though it is not, or a range though it is free
    share: NDArray[np.float64]  # how far off the range is, as ErrorModel.shift; NaN without one


def residuals(truth: NDArray, plane: NDArray, scan: NDArray, cells: int, limit: float,
              view: NDArray[np.bool_]) -> Residuals:
    """Compare camera scans (frames, SCAN_BEAMS) m with truth and plane (frames, RAYS) m.

    view: Draw.shows.
    """
    shape = (len(truth), cells)
    true, behind = np.empty(shape), np.empty(shape)
    context, kind = np.empty(shape, np.int64), np.empty(shape, np.int64)
    for row in range(len(truth)):
        describe(truth[row], plane[row], limit, true[row], behind[row], context[row],
                 kind[row])
    middle = ((np.arange(cells) + 0.5) * (SCAN_BEAMS / cells)).astype(np.int64)
    said = scan[:, middle].astype(np.float64)
    step = np.minimum((true / VIEW_STEP + 0.5).astype(np.int64), view.shape[1] - 1)
    free = true >= limit
    share = np.full(shape, np.nan)
    hit = np.isfinite(said)
    for row, c in np.argwhere(hit):
        share[row, c] = off_by(true[row, c], behind[row, c], max(said[row, c], RANGE_MIN))
    return Residuals(view[middle[None], step], true, context * BINS_COUNT + kind,
                     np.where(free, np.isposinf(said), hit),
                     np.where(free, hit, np.isposinf(said)), share)


def fit(found: Many[Residuals], cells: int, limit: float) -> ErrorModel:
    """The tables and correlations of residuals, one Residuals per world."""
    seen = np.concatenate([r.seen.ravel() for r in found])
    entry, wrong, right, share = (
        np.concatenate([getattr(r, name).ravel() for r in found])[seen]
        for name in ('entry', 'wrong', 'right', 'share'))
    size = CONTEXTS_COUNT * BINS_COUNT
    n, bad, good = (np.bincount(entry, weights=w, minlength=size).reshape(CONTEXTS_COUNT, -1)
                    for w in (None, wrong, right))
    tables = np.zeros((2, CONTEXTS_COUNT, BINS_COUNT))
    shift = np.zeros((CONTEXTS_COUNT, BINS_COUNT, LEVELS))
    ranged = np.isfinite(share)
    hits = np.bincount(entry[ranged], minlength=size).reshape(CONTEXTS_COUNT, -1)
    for i in range(CONTEXTS_COUNT):
        for b in range(BINS_COUNT):
            taken = window(n[i], b, limit)
            if (total := n[i, taken].sum()) > 0:
                tables[0, i, b] = bad[i, taken].sum() / total
                tables[1, i, b] = 1.0 - (bad + good)[i, taken].sum() / total
            taken = window(hits[i], b, limit)
            of = np.isin(entry, i * BINS_COUNT + taken) & ranged
            if of.any():
                shift[i, b] = np.quantile(share[of], norm.cdf(levels()))
    error = (tables[0] + tables[1]).ravel()
    scores = [normal_scores(r, share, entry) for r in found]
    memories = np.array([[
        memory(*(pairs(found, lag, error, i) for lag in LAGS)),
        memory(*(scores_correlation(found, scores, lag, i) for lag in LAGS))]
        for i in range(CONTEXTS_COUNT)])  # (CONTEXTS, 2, 3)
    return ErrorModel(cells, limit, tables[0], tables[1], shift, *memories.T)


def window(counts: NDArray, b: int, limit: float) -> NDArray[np.int64]:
    """The bins about `b`, on its side of the limit, that hold LEAST samples; all where none do."""
    side = np.flatnonzero((np.array(BINS) >= limit) == (BINS[b] >= limit))
    for reach in range(BINS_COUNT):
        taken = side[np.abs(side - b) <= reach]
        if counts[taken].sum() >= LEAST:
            return taken
    return side


def memory(one: float, four: float, next_to: float) -> tuple[float, float, float]:
    """stay, aside and new of a latent from its correlations a frame, four frames and a cell apart.

    It is a sum of an autoregression and of what is new each time: (1 - new) stay^frames
    aside^cells. What seems to last for ever is what tells one world from another.
    """
    one = min(max(one, 1e-3), LASTING)
    stay = min(max((max(four, 1e-6) / one) ** (1.0 / 3.0), one), LASTING)
    new = 1.0 - one / stay
    return stay, min(max(next_to, 0.0) / (1.0 - new), LASTING), new


def both_below(a: NDArray, b: NDArray, correlation: float) -> NDArray:
    """P(x < a, y < b) of two standard normals, not negatively correlated.

    Each is a common part and one of its own (Dunnett and Sobel, 1955); Gauss-Hermite quadrature.
    """
    root, own = math.sqrt(correlation), math.sqrt(1.0 - correlation)
    common = root * _NODES[:, None]
    return (_WEIGHTS[:, None] * norm.cdf((a - common) / own) * norm.cdf((b - common) / own)
            ).sum(0) / _WEIGHTS.sum()


def _lagged(values: NDArray, lag: tuple[int, int]) -> tuple[NDArray, NDArray]:
    frames, cells = lag
    n, m = values.shape
    return values[:n - frames, :m - cells], values[frames:, cells:]


def _alike(r: Residuals, lag: tuple[int, int], context: int) -> NDArray[np.bool_]:
    """Which pairs `lag` apart are both in view and in one context."""
    of = r.seen & (r.entry // BINS_COUNT == context)
    return np.logical_and(*_lagged(of, lag))


def pairs(found: Many[Residuals], lag: tuple[int, int], error: NDArray, context: int) -> float:
    """Correlation of the latent of what is said in a context, `lag` (frames, cells) apart.

    The one with which as many pairs are expected to be both in error as were: error (contexts *
    bins,) are the chances. Between 0 and 0.999.
    """
    size = len(error)
    count = np.zeros((size, size))
    both = 0
    for r in found:
        ok = _alike(r, lag, context)
        first, second = (entry[ok] for entry in _lagged(r.entry, lag))
        np.add.at(count, (first, second), 1)
        bad = [~right[ok] for right in _lagged(r.right, lag)]
        both += int(np.sum(bad[0] & bad[1]))
    first, second = np.nonzero(count)
    z = norm.ppf(np.clip(error, 1e-6, 1.0 - 1e-6))
    low, high = 0.0, 0.999
    for _ in range(30):
        middle = 0.5 * (low + high)
        expected = (count[first, second] * both_below(z[first], z[second], middle)).sum()
        low, high = (middle, high) if expected < both else (low, middle)
    return 0.5 * (low + high)


def normal_scores(r: Residuals, share: NDArray, entry: NDArray) -> NDArray:
    """`share` of one world as quantiles of its table entry, as a normal variable; else NaN."""
    out = np.full(r.share.shape, np.nan)
    for e in np.unique(r.entry):
        of = (r.entry == e) & r.seen & np.isfinite(r.share)
        pool = np.sort(share[(entry == e) & np.isfinite(share)])
        if len(pool):
            middle = 0.5 * (np.searchsorted(pool, r.share[of])
                            + np.searchsorted(pool, r.share[of], 'right'))
            out[of] = norm.ppf(np.clip(middle / len(pool), 0.5 / len(pool),
                                       1.0 - 0.5 / len(pool)))
    return out


def scores_correlation(found: Many[Residuals], scores: Many[NDArray], lag: tuple[int, int],
                       context: int) -> float:
    """Correlation of normal scores in a context, `lag` (frames, cells) apart."""
    a = np.concatenate([np.stack(_lagged(s, lag), -1)[_alike(r, lag, context)]
                        for r, s in zip(found, scores, strict=True)])
    a = a[np.isfinite(a).all(1)]
    return float(np.corrcoef(a.T)[0, 1]) if len(a) > 1 else 0.0


def say(model: Draw, sequence: Sequence, seed: int) -> NDArray[np.float32]:
    """Camera scans that a model draws for the truth of a sequence. (frames, SCAN_BEAMS) m."""
    rng = np.random.default_rng(seed)
    latent = np.zeros((2, SCAN_BEAMS))
    out = np.empty((len(sequence.truth), SCAN_BEAMS), np.float32)
    for row, scan in enumerate(out):
        draw(scan, sequence.truth[row], sequence.plane[row], latent, model, 1.0, row == 0, _NORMAL,
             int(rng.integers(len(_NORMAL))), 2 * int(rng.integers(512)) + 1)
    return out


def features(r: Residuals, scan: NDArray, view: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What the classifier is shown of every frame but the first. Shape: (frames - 1, n).

    Per cell in view: what is said there and how far off, how much that changes from the frame
    before and from the next cell, and what is there; then the means of all that over the cells.
    """
    middle = ((np.arange(r.seen.shape[1]) + 0.5) * (SCAN_BEAMS / r.seen.shape[1])).astype(int)
    cells = np.flatnonzero(view[middle].any(1))
    cell = middle[cells]
    said = scan[:, cell]
    off = np.clip(np.log(np.where(np.isfinite(said), np.maximum(said, 0.05), 1.0)
                         / r.true[:, cells]), -2.0, 2.0)
    now = np.stack((np.isfinite(said), np.isposinf(said),
                    np.where(np.isfinite(said), off, 0.0)), 2)
    context = r.entry[:, cells] // BINS_COUNT
    there = np.stack((np.log(r.true[:, cells]), *(context == k for k in range(1, CONTEXTS_COUNT))),
                     2)
    parts = np.concatenate((now[1:], np.abs(now[1:] - now[:-1]),
                            np.abs(now - np.roll(now, 1, 1))[1:], there[1:]), 2)
    return np.concatenate((parts.reshape(len(parts), -1), parts.mean(1)), 1).astype(np.float32)


def separability(real: Many[NDArray], drawn: Many[NDArray]) -> float:
    """Area under the curve of a classifier that tells real features from drawn ones.

    Trained on every other world, judged on those between: 0.5 where it cannot tell.
    """
    def side(first: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [*real[first::2], *drawn[first::2]]
        label = np.repeat((1.0, 0.0), [sum(map(len, real[first::2])),
                                       sum(map(len, drawn[first::2]))])
        return (torch.from_numpy(np.concatenate(parts)),
                torch.from_numpy(label.astype(np.float32)))
    torch.manual_seed(0)
    x, y = side(0)
    mean, spread = x.mean(0), x.std(0) + 1e-3
    net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 64), torch.nn.ReLU(),
                              torch.nn.Dropout(0.3), torch.nn.Linear(64, 1))
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-2)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(256):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                net((x[rows] - mean) / spread)[:, 0], y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    net.eval()
    x, y = side(1)
    with torch.inference_mode():
        score = net((x - mean) / spread)[:, 0].numpy()
    return area(score[y.numpy() > 0.5], score[y.numpy() < 0.5])


def area(positive: NDArray, negative: NDArray) -> float:
    """Chance that a positive scores above a negative, ties half (Mann and Whitney, 1947)."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive) + np.searchsorted(order, positive, 'right')
    return float(below.mean() / (2.0 * len(negative)))


def assumed(kind: str) -> ErrorModel:
    """The model before any fit: noise of 1 %, misses of 1.5 %, none farther than 4 m."""
    nothing = exact(0.45)
    wrong = np.where((np.array(BINS) >= 0.45) & (np.array(BINS) < 4.0), 0.015, 0.0)
    shift = np.broadcast_to(0.01 * levels(), (CONTEXTS_COUNT, BINS_COUNT, LEVELS)).copy()
    return replace(nothing, cells=CELLS[kind], limit=4.0, shift=shift,
                   wrong=np.broadcast_to(wrong, nothing.wrong.shape).copy(),
                   aside=np.array([[0.9] * CONTEXTS_COUNT, [0.0] * CONTEXTS_COUNT]))


def check(model: ErrorModel, kind: str, sequences: Many[Sequence], body: RobotConfig) -> float:
    """How well a classifier tells what `model` draws from the real scans of the sequences."""
    view = model.draw(body.camera_pose)
    real: list[NDArray] = []
    drawn: list[NDArray] = []
    for seed, s in enumerate(sequences):
        for scan, out in ((getattr(s, kind), real), (say(view, s, seed), drawn)):
            out.append(features(residuals(s.truth, s.plane, scan, CELLS[kind], LIMITS[kind],
                                          view.shows), scan, view.shows))
    return separability(real, drawn)


def summary(found: Many[Residuals]) -> dict[str, object]:
    """What a person wants to know of the residuals; by bin of range, of cells in view."""
    entry, seen, wrong, right, share = (np.concatenate([getattr(r, name) for r in found])
                                        for name in ('entry', 'seen', 'wrong', 'right', 'share'))
    out: dict[str, object] = {}
    for i, context in enumerate(CONTEXTS):
        rows = []
        for b, begin in enumerate(BINS):
            of = (entry == i * BINS_COUNT + b) & seen
            if not of.any():
                continue
            off = share[of][np.isfinite(share[of])]
            rows.append({'from_m': begin, 'cells': int(of.sum()),
                         'wrong': round(float(wrong[of].mean()), 4),
                         'unknown': round(float((~wrong[of] & ~right[of]).mean()), 4),
                         'off_p10_p50_p90': [round(float(v), 3) for v in np.quantile(
                             off, (0.1, 0.5, 0.9))] if len(off) else None})
        out[context] = rows
    return out


def main(argv: Many[str] | None = None) -> int:
    """Record, fit, check and write; the last line of output is JSON."""
    parser = argparse.ArgumentParser(prog='karpathy-control train surrogate',
                                     description=__doc__.split('\n\n')[1])
    parser.add_argument('--weights', default='encoder.safetensors', help='of the encoder')
    parser.add_argument('--worlds', type=int, default=42, help='that are driven through, of '
                        f'seeds from {HELD_OUT} on; every third checks the fit')
    parser.add_argument('--frames', type=int, default=200, help='per world, at 20 Hz')
    parser.add_argument('--run', type=Path, default=Path('runs/surrogate'), help='folder of what '
                        'was recorded; the same command goes on where it was interrupted')
    parser.add_argument('--out', type=Path, help='default: the installed config')
    args = parser.parse_args(argv)
    if args.worlds < 2 * CHECKED or args.frames < MIN_FRAMES:
        parser.error(f'--worlds {args.worlds} --frames {args.frames}: it takes at least '
                     f'{2 * CHECKED} worlds and {MIN_FRAMES} frames')
    weights = find('weights', args.weights)
    sha = sha256_of(weights)
    robot = load_robot(find('description', SimConfig().robot_xacro))
    sequences = list(track(
        record(args.run, args.worlds, args.frames, robot, weights, sha[:12]),
        'driving', args.worlds, console=Console(stderr=True), transient=True))
    body = robot_config(robot)
    kept = [s for k, s in enumerate(sequences) if k % CHECKED]
    held_out = sequences[::CHECKED]
    models, told = {}, {}
    for kind in MODELS:
        view = exact(BINS[0]).draw(body.camera_pose).shows
        found = [residuals(s.truth, s.plane, getattr(s, kind), CELLS[kind], LIMITS[kind], view)
                 for s in kept]
        model = fit(found, CELLS[kind], LIMITS[kind])
        models[kind] = to_json(model)
        told[kind] = {'auc': round(check(model, kind, held_out, body), 3),
                      'auc_before': round(check(assumed(kind), kind, held_out, body), 3),
                      'residuals': summary(found)}
    out = args.out or share() / 'config' / SHIPPED
    about = {'encoder_sha256': sha, 'commit': source_commit(),
             'command': shlex.join(['karpathy-control', 'train', 'surrogate',
                                    *(argv if argv is not None else sys.argv[1:])]),
             'worlds': len(kept), 'frames': sum(len(s.truth) for s in kept),
             'worlds_checked': len(held_out)}
    out.write_text(json.dumps({'schema': SCHEMA, **about, 'bins_m': BINS, 'contexts': CONTEXTS,
                               'models': models, 'measured': told}, indent=1) + '\n')
    print(json.dumps({'file': str(out), **about, **{
        kind: {'auc': told[kind]['auc'], 'auc_before': told[kind]['auc_before'],
               **{name: models[kind][name] for name in ('stay', 'aside', 'new')}}
        for kind in MODELS}}))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

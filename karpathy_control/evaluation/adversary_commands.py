"""Command streams that try to make a robot touch something, drawn from the seed of an episode.

A stream is a sequence of segments of 0.4 to 4 s, each one strategy with its own numbers. The
strategies know the truth: where the nearest obstacles are, in the blind sector too. A robot that
the gate has pinned for a second breaks out into the open, so that the next attack comes from
elsewhere and at speed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange
from numpy.typing import NDArray

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.mapping.jit import kernel
from karpathy_control.worlds.bank import Bank

STRATEGIES = ('ram', 'flip', 'graze', 'swing', 'dart', 'gaps', 'reverse', 'extremes',
              'stop and go', 'ticks', 'break out')
(RAM, FLIP, GRAZE, SWING, DART, GAPS, REVERSE, EXTREMES, STOP_AND_GO, TICKS,
 BREAK_OUT) = range(len(STRATEGIES))

# columns of what each slot keeps from tick to tick
_MODE, _UNTIL, _A, _B, _C, _V, _W, _NEXT, _X, _Y, _PINNED = range(11)
_COLUMNS = 11
_WINDOW = 10  # ticks between two looks at whether the robot is pinned
_MOVED = 0.08  # m in that time that say it is not
_BREAK_OUT_SHARE = 0.3  # of the segments
_NEAREST = 3  # obstacles among which an attack chooses its own


@kernel
def _uniform(random, i):
    """Next number in [0, 1) of slot i (splitmix64, Steele et al. 2014)."""
    random[i] += np.uint64(0x9E3779B97F4A7C15)
    z = random[i]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def _wrap(a):
    return (a + math.pi) % (2.0 * math.pi) - math.pi


@kernel
def _nearest(x, y, circles, circle_count, boxes, box_count, mover_xy, movers, mover_count, rank):
    """World x y of the surface point of the obstacle that is the rank-th nearest to (x, y)."""
    best = np.full(_NEAREST, np.inf)
    at = np.zeros((_NEAREST, 2))
    for j in range(circle_count + mover_count + box_count):
        if j < circle_count + mover_count:
            if j < circle_count:
                cx, cy, r = circles[j, 0], circles[j, 1], circles[j, 2]
            else:
                k = j - circle_count
                cx, cy, r = mover_xy[k, 0], mover_xy[k, 1], movers[k, 1]
            dx, dy = cx - x, cy - y
            centre = max(1e-6, math.hypot(dx, dy))
            px, py = cx - dx / centre * r, cy - dy / centre * r
        else:
            k = j - circle_count - mover_count
            dx, dy = x - boxes[k, 0], y - boxes[k, 1]
            c, s = boxes[k, 4], boxes[k, 5]
            u = min(max(c * dx + s * dy, -boxes[k, 2]), boxes[k, 2])
            v = min(max(c * dy - s * dx, -boxes[k, 3]), boxes[k, 3])
            px, py = boxes[k, 0] + c * u - s * v, boxes[k, 1] + s * u + c * v
        d = math.hypot(px - x, py - y)
        for n in range(_NEAREST):
            if d < best[n]:
                for m in range(_NEAREST - 1, n, -1):
                    best[m] = best[m - 1]
                    at[m] = at[m - 1]
                best[n] = d
                at[n, 0], at[n, 1] = px, py
                break
    while rank > 0 and math.isinf(best[rank]):
        rank -= 1
    return at[rank, 0], at[rank, 1]


@kernel
def _opening(scan, edges):
    """Bearing of the longest beam, or with `edges` of the nearest gap between two surfaces."""
    n = scan.shape[0]
    best, bearing = -1.0, 0.0
    for k in range(n):
        r, other = scan[k], scan[(k + 1) % n]
        if math.isnan(r) or math.isnan(other):
            continue
        r, other = min(r, 10.0), min(other, 10.0)
        score = r
        if edges:
            score = 0.0 if abs(r - other) < 0.4 else 1.0 / (0.1 + min(r, other))
        if score > best:
            best = score
            bearing = -math.pi + (k + 0.5) * 2.0 * math.pi / n
    return bearing


@kernel
def _begin(i, step, state, random, forced):
    """Draw the next segment of slot i."""
    a = state[i]
    a[_MODE] = BREAK_OUT
    if not forced and _uniform(random, i) > _BREAK_OUT_SHARE:
        a[_MODE] = math.floor(_uniform(random, i) * BREAK_OUT)
    a[_UNTIL] = step + math.floor(8 + 72 * _uniform(random, i) ** 2)
    if forced:
        a[_UNTIL] = max(a[_UNTIL], step + 20)
    a[_A] = _uniform(random, i)
    a[_B] = _uniform(random, i)
    a[_C] = _uniform(random, i)
    a[_NEXT] = step
    a[_PINNED] = 0.0


@kernel
def _extreme(i, state, random, fast, back, turn):
    """Draw a corner of the command space, sometimes a point within."""
    u = _uniform(random, i)
    state[i, _V] = fast if u < 0.55 else -back if u < 0.8 else 0.0 if u < 0.9 else (
        fast * _uniform(random, i))
    u = _uniform(random, i)
    state[i, _W] = turn if u < 0.4 else -turn if u < 0.8 else turn * (2.0 * _uniform(random, i)
                                                                      - 1.0)


@kernel
def _command(i, step, state, random, scan, bearing, gap, fast, back, turn, half_width):
    """One tick of the present strategy: v and w, before they are clipped."""
    a = state[i]
    mode = int(a[_MODE])
    period = 1 + math.floor(6.0 * a[_B])
    steer = 5.0 * bearing
    if mode == RAM:
        return fast if abs(bearing) < 0.4 + 2.5 * a[_C] else 0.0, steer
    if mode == FLIP:
        if step >= a[_NEXT]:
            _extreme(i, state, random, fast, back, turn)
            a[_NEXT] = step + 1 + math.floor(12.0 * _uniform(random, i))
        return a[_V], a[_W]
    if mode == GRAZE:  # along the nearest surface, a little nearer than there is room
        side = 1.0 if bearing >= 0.0 else -1.0
        error = gap - half_width - 0.12 * a[_C] + 0.04
        return fast * (0.3 + 0.7 * a[_B]), 4.0 * (bearing - 0.5 * math.pi * side) + (
            6.0 * side * error)
    if mode == SWING:  # away from the nearest side, so that the rear corner goes into it
        v = 0.0 if a[_C] < 0.3 else -back if a[_C] < 0.45 else fast * a[_B]
        return v, -turn if bearing > 0.0 else turn
    if mode == DART:  # a long spin gathers drift, then out at what is ahead or behind
        backwards = a[_C] < 0.35
        aim = _wrap(bearing + math.pi) if backwards else bearing
        if a[_NEXT] >= 0.0 and (step < a[_NEXT] + 60.0 * a[_B] or abs(aim) > 0.12):
            return 0.0, turn if a[_A] < 0.5 else -turn
        a[_NEXT] = -1.0
        return -back if backwards else fast, 0.0
    if mode == GAPS:
        return fast, 4.0 * (_opening(scan, True) + 0.2 * (a[_C] - 0.5))
    if mode == REVERSE:
        return -back, 5.0 * _wrap(bearing + math.pi) if a[_C] < 0.6 else turn * (2.0 * a[_B] - 1.0)
    if mode == EXTREMES:
        odd = ((step - int(a[_NEXT])) // period) % 2 == 1
        if a[_C] < 0.4:
            return fast, turn if odd else -turn
        if a[_C] < 0.7:
            return -back if odd else fast, 0.0
        return fast if odd else 0.0, steer if odd else -steer
    if mode == STOP_AND_GO:
        return fast if (step // (period + 2)) % 2 == 0 else 0.0, steer
    if mode == TICKS:  # harmless but for one tick in every few
        if step % (period + 1) == 0:
            return fast, steer
        return (0.0, 0.0) if a[_C] < 0.5 else (fast, -steer)
    return fast, 3.0 * _opening(scan, False) + 0.6 * (a[_C] - 0.5)


@kernel(parallel=True)
def _propose(step, state, random, scan, pose, world, mover_xy, circles, circle_count, boxes,
             box_count, movers, mover_count, fast, back, turn, half_width, proposal):
    for i in prange(pose.shape[0]):
        x, y = pose[i, 0], pose[i, 1]
        if step % _WINDOW == 0:
            moved = math.hypot(x - state[i, _X], y - state[i, _Y])
            state[i, _X], state[i, _Y] = x, y
            state[i, _PINNED] = state[i, _PINNED] + 1.0 if moved < _MOVED else 0.0
        pinned = state[i, _PINNED] >= 3.0 and state[i, _MODE] != DART
        if step >= state[i, _UNTIL] or pinned:
            _begin(i, step, state, random, pinned)
        u = world[i]
        rank = int(_NEAREST * state[i, _A] ** 2)
        px, py = _nearest(x, y, circles[u], circle_count[u], boxes[u], box_count[u], mover_xy[i],
                          movers[u], mover_count[u], rank)
        bearing = _wrap(math.atan2(py - y, px - x) - pose[i, 2])
        v, w = _command(i, step, state, random, scan[i], bearing, math.hypot(px - x, py - y),
                        fast, back, turn, half_width)
        proposal[i, 0] = min(max(v, -back), fast)
        proposal[i, 1] = min(max(w, -turn), turn)


class Hostile:
    """The streams of B episodes side by side; each depends on its own seed and robot alone."""

    def __init__(self, batch: int, robot: RobotConfig) -> None:
        self._robot = robot
        self._state = np.zeros((batch, _COLUMNS))
        self._random = np.zeros(batch, np.uint64)
        self._step = 0
        self._half_width = float(np.abs(robot.polygon[:, 1]).max())

    def begin(self, seeds: NDArray[np.uint64]) -> None:
        """Start new streams for all slots. Shape: (B,)."""
        self._state[:] = 0.0
        self._random[:] = seeds
        self._step = 0

    def propose(self, bank: Bank, world: NDArray[np.int64], pose: NDArray[np.float64],
                scan: NDArray[np.float32], mover_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """The next tick of every stream.

        Args:
            bank: the worlds.
            world: (B,) number of each robot's world.
            pose: (B, 3) true pose, world frame.
            scan: (B, n) m, observation layout.
            mover_xy: (B, M, 2) m, where the movers are.

        Returns:
            (B, 2) v and w within the limits of the robot.

        """
        r = self._robot
        proposal = np.empty((len(pose), 2))
        _propose(self._step, self._state, self._random, scan, pose, world, mover_xy, bank.circles,
                 bank.circle_count, bank.boxes, bank.box_count, bank.movers, bank.mover_count,
                 r.max_speed, r.max_reverse, r.max_turn, self._half_width, proposal)
        self._step += 1
        return proposal

    @property
    def strategy(self) -> NDArray[np.int64]:
        """What each stream is at, an index of STRATEGIES. Shape: (B,)."""
        return self._state[:, _MODE].astype(np.int64)

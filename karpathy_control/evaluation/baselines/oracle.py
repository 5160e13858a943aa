"""An oracle among moving things: it knows every trajectory, and plans in space and time.

Not a policy to drive with but a bound to measure against: what a robot of the same limits could do
that knew where everything will be. Two layers. The least time to the goal from every cell at every
moment, backwards in time over the known trajectories (dynamic programming, as for a point that
turns at once); and pairs of commands rolled out under the robot's limits, with its exact footprint
among the exact discs, of which the pair with the least time left at its end is begun.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ConfigError, RobotConfig
from karpathy_control.contracts.layout import MOVER_FIELDS
from karpathy_control.contracts.world import World
from karpathy_control.mapping.jit import kernel
from karpathy_control.policy.fan import TURNS, slabs_of
from karpathy_control.policy.meeting import mover_clearance
from karpathy_control.policy.situation import Situation, Truth
from karpathy_control.policy.stepping import one_step
from karpathy_control.worlds.free_space import clearance_at

CELL = 0.2  # m of the plan; a slice of it is the time in which a cell is crossed at full speed
FINE = 0.05  # m of the distance to what stands
HORIZON = 20.0  # s that are planned ahead; from there on as the crow flies
RENEW = 5.0  # s after which the plan is made again
TRACK = 0.05  # s between two positions of a mover, and two poses of the robot: 10 cm at 2 m/s
MARGIN = 0.04  # m that the footprint keeps from everything: tracking error
FIRST, SECOND = 12, 24  # times TRACK, of the two commands of a pair
DELAY = 2  # times TRACK, that the command before goes on acting
NOSE, NOSE_WEIGHT = 0.35, 0.6  # as of the guidance: a good heading at the end
ARRIVED = 0.3  # m from the goal, in the plan
AT_GOAL = 0.15  # m from it, within any tolerance, in the roll-outs
OCTILE = math.sqrt(2.0)
BESIDE = 0.5  # s more than the nearest cell, of a neighbour that leads nowhere


def pairs() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and second commands, as shares of the speed (< 0: reverse) and the turning limit."""
    first = [(v, w) for v in (1.0, 0.6, 0.3, 0.0, -1.0) for w in TURNS[::2]]
    second = [(v, w) for v in (1.0, 0.5, 0.0, -1.0) for w in (-1.0, -0.3, 0.0, 0.3, 1.0)]
    return np.array(first), np.array(second)


@dataclass
class Plan:
    """What the oracle knows of one episode; lengths in m and times in s of the world."""

    distance: NDArray[np.float32]  # (h, w) m to what stands, FINE cells
    origin: tuple[float, float]  # lower left corner of both grids
    tracks: NDArray[np.float32]  # (T, 2 M, MOVER_FIELDS) rows every TRACK s
    value: NDArray[np.float32]  # (S, H, W) s to the goal, CELL cells, from `made` on
    made: float


@kernel
def time_to_go(standing, tracks, first, keep, origin, goal, speed, value):
    """Fill value (S, H, W) s backwards; inf where something is or will be inescapably.

    standing (H, W) whether the cell is free of what stands; tracks (T, M, MOVER_FIELDS) as of
    Plan, of which the first slice is row `first`; keep: m from a disc; goal (2,) m; speed m/s.
    """
    slices, rows, columns = value.shape
    slice_time = CELL / speed
    for k in range(slices - 1, -1, -1):
        now = value[k]
        at = tracks[min(first + round(k * slice_time / TRACK), tracks.shape[0] - 1)]
        for j in range(rows):
            y = origin[1] + (j + 0.5) * CELL
            for i in range(columns):
                x = origin[0] + (i + 0.5) * CELL
                if not standing[j, i]:
                    now[j, i] = np.inf
                    continue
                left = math.hypot(goal[0] - x, goal[1] - y)
                if left < ARRIVED:
                    now[j, i] = left / speed
                    continue
                if k == slices - 1:
                    now[j, i] = left / speed
                    continue
                after = value[k + 1]
                later = value[min(k + 2, slices - 1)]
                best = slice_time + after[j, i]
                for dj in range(-1, 2):
                    for di in range(-1, 2):
                        b, a = j + dj, i + di
                        if (dj == 0 and di == 0) or a < 0 or b < 0 or a >= columns or b >= rows:
                            continue
                        if dj == 0 or di == 0:
                            best = min(best, slice_time + after[b, a])
                        else:  # arrives between two slices
                            best = min(best, OCTILE * slice_time + after[b, a] + (
                                OCTILE - 1.0) * (later[b, a] - after[b, a])
                                if math.isfinite(after[b, a]) else np.inf)
                now[j, i] = best
        for m in range(at.shape[0]):  # whatever a disc covers
            reach = at[m, 4] + keep
            for j in range(max(0, math.floor((at[m, 1] - reach - origin[1]) / CELL)),
                           min(rows, math.ceil((at[m, 1] + reach - origin[1]) / CELL))):
                for i in range(max(0, math.floor((at[m, 0] - reach - origin[0]) / CELL)),
                               min(columns, math.ceil((at[m, 0] + reach - origin[0]) / CELL))):
                    dx = origin[0] + (i + 0.5) * CELL - at[m, 0]
                    dy = origin[1] + (j + 0.5) * CELL - at[m, 1]
                    if dx * dx + dy * dy < reach * reach:
                        now[j, i] = np.inf


@kernel
def value_near(value, origin, x, y):
    """Time to go at (x, y) in one slice, bilinear; inf where the cell itself leads nowhere."""
    rows, columns = value.shape
    gx, gy = (x - origin[0]) / CELL - 0.5, (y - origin[1]) / CELL - 0.5
    i, j = round(gx), round(gy)
    if i < 0 or j < 0 or i >= columns or j >= rows or not math.isfinite(value[j, i]):
        return np.inf
    here = value[j, i]
    i0 = min(max(math.floor(gx), 0), columns - 2)
    j0 = min(max(math.floor(gy), 0), rows - 2)
    fx, fy = min(max(gx - i0, 0.0), 1.0), min(max(gy - j0, 0.0), 1.0)
    total = 0.0
    for b in range(2):
        for a in range(2):
            v = value[j0 + b, i0 + a]
            if not math.isfinite(v):
                v = here + BESIDE
            total += v * (fx if a == 1 else 1.0 - fx) * (fy if b == 1 else 1.0 - fy)
    return total


@kernel
def _free(x, y, yaw, rows, slabs, outline, distance, origin):
    """Whether the footprint at a pose keeps MARGIN from discs and from what stands."""
    c, s = math.cos(yaw), math.sin(yaw)
    if mover_clearance(slabs, rows, rows[:, :2], 0.0, x, y, c, s) < MARGIN:
        return False
    for k in range(outline.shape[0]):
        i = math.floor((x + c * outline[k, 0] - s * outline[k, 1] - origin[0]) / FINE)
        j = math.floor((y + s * outline[k, 0] + c * outline[k, 1] - origin[1]) / FINE)
        if i < 0 or j < 0 or i >= distance.shape[1] or j >= distance.shape[0]:
            return False
        if distance[j, i] < MARGIN + 0.7 * FINE:
            return False
    return True


@kernel
def choose(first, second, state, applied, limits, tracks, at, value, now, origin, goal, slabs,
           outline, distance, best):
    """Write the first command of the best pair into best (2,); returns how long it stays free, s.

    state (x, y, yaw, v, w) true; at: row of `tracks` that is the present; now: s since the plan
    was made. A pair that comes to the goal (2,) ends there, and has saved the time left over. Of
    pairs that touch something, the one that does so last wins.
    """
    slice_time = CELL / limits[0]
    best_time, best_score = -1, np.inf
    last = tracks.shape[0] - 1
    for a in range(first.shape[0]):
        va = first[a, 0] * (limits[0] if first[a, 0] > 0.0 else limits[1])
        wa = first[a, 1] * limits[2]
        x, y, yaw, v, w = state
        reached = FIRST
        for k in range(FIRST):
            to_v, to_w = (applied[0], applied[1]) if k < DELAY else (va, wa)
            x, y, yaw, v, w, _, _, _ = one_step(x, y, yaw, v, w, to_v, to_w, limits, TRACK)
            if not _free(x, y, yaw, tracks[min(at + k + 1, last)], slabs, outline, distance,
                         origin):
                reached = k
                break
            if math.hypot(goal[0] - x, goal[1] - y) < AT_GOAL:
                score = (k - FIRST - SECOND) * TRACK
                if score < best_score or best_time < FIRST + SECOND:
                    best_time, best_score = FIRST + SECOND, score
                    best[0], best[1] = va, wa
                reached = -1  # there
                break
        if reached < 0:
            continue
        if reached < FIRST:
            if reached > best_time:
                best_time, best_score = reached, np.inf
                best[0], best[1] = va, wa
            continue
        for b in range(second.shape[0]):
            vb = second[b, 0] * (limits[0] if second[b, 0] > 0.0 else limits[1])
            wb = second[b, 1] * limits[2]
            qx, qy, qyaw, qv, qw = x, y, yaw, v, w
            done = FIRST + SECOND
            score = np.inf
            for k in range(FIRST, FIRST + SECOND):
                qx, qy, qyaw, qv, qw, _, _, _ = one_step(qx, qy, qyaw, qv, qw, vb, wb, limits,
                                                          TRACK)
                if not _free(qx, qy, qyaw, tracks[min(at + k + 1, last)], slabs, outline,
                             distance, origin):
                    done = k
                    break
                if math.hypot(goal[0] - qx, goal[1] - qy) < AT_GOAL:
                    score = (k - FIRST - SECOND) * TRACK
                    break
            if done == FIRST + SECOND and score == np.inf:
                k = min(round((now + TRACK * done) / slice_time), value.shape[0] - 1)
                score = value_near(value[k], origin, qx, qy)
                nose = value_near(value[k], origin, qx + NOSE * math.cos(qyaw),
                                  qy + NOSE * math.sin(qyaw))
                if math.isfinite(score):
                    score += NOSE_WEIGHT * (min(nose, score + BESIDE) - score)
            if done > best_time or (done == best_time and score < best_score):
                best_time, best_score = done, score
                best[0], best[1] = va, wa
    return TRACK * best_time


class Oracle:
    """One planner for a batch; a plan is kept for each robot and made again every RENEW s."""

    def __init__(self) -> None:
        self._plans: dict[int, Plan] = {}
        self._first, self._second = pairs()

    def __call__(self, s: Situation) -> NDArray[np.floating]:
        """Commands (B, 2). Raises ConfigError where nobody knows the truth."""
        if s.truth is None:
            raise ConfigError('--policy oracle: needs --world batched, where every trajectory is '
                              'known')
        robot, t = s.robot, s.truth
        slabs, outline = slabs_of(robot.polygon), _outline(robot)
        limits = np.array((robot.max_speed, robot.max_reverse, robot.max_turn, robot.acceleration,
                           robot.deceleration, robot.turn_acceleration, 0.0))
        command = np.zeros((len(s.scan), 2))
        for b in range(len(command)):
            now = float(t.time[b])
            if s.fresh[b] or b not in self._plans:
                self._plans[b] = _know(t, b, robot)
            elif now - self._plans[b].made >= RENEW:
                _renew(self._plans[b], t.goal[b], now, robot)
            plan = self._plans[b]
            choose(self._first, self._second, (*t.pose[b], *t.velocity[b]), s.applied[b, 0],
                   limits, plan.tracks, round(now / TRACK), plan.value, now - plan.made,
                   plan.origin, t.goal[b], slabs, outline, plan.distance, command[b])
        return command


def _outline(robot: RobotConfig) -> NDArray[np.float64]:
    """Corners of the footprint and the points half-way between them. Shape: (n, 2) m, base."""
    corners = robot.polygon
    return np.ascontiguousarray(np.concatenate(
        (corners, 0.5 * (corners + np.roll(corners, -1, axis=0)))))


def _know(truth: Truth, index: int, robot: RobotConfig) -> Plan:
    """Look a whole episode up, and plan from its beginning."""
    world = truth.worlds[truth.world[index]]
    if world.people:
        raise ConfigError(f'--policy oracle: world {world.family!r} seed {world.seed} has '
                          f'{len(world.people)} people, who react to the robot; it takes worlds '
                          'where every trajectory is known')
    x0, y0, x1, y1 = world.bounds
    width, height = math.ceil((x1 - x0) / CELL), math.ceil((y1 - y0) / CELL)
    slices = math.ceil(HORIZON * robot.max_speed / CELL) + 1
    plan = Plan(
        _distance(world, robot, width, height), (x0, y0), _tracks(world, truth.span),
        np.empty((slices, height, width), np.float32), 0.0)
    _renew(plan, truth.goal[index], float(truth.time[index]), robot)
    return plan


def _renew(plan: Plan, goal: NDArray[np.float64], now: float, robot: RobotConfig) -> None:
    """Plan anew from `now` on."""
    per = round(CELL / FINE)
    keep = robot.circumscribed_radius + MARGIN
    standing = plan.distance[per // 2::per, per // 2::per] > keep
    time_to_go(standing, plan.tracks, round(now / TRACK), keep, plan.origin,
               (float(goal[0]), float(goal[1])), robot.max_speed, plan.value)
    plan.made = now


def _distance(world: World, robot: RobotConfig, width: int, height: int) -> NDArray[np.float32]:
    """Distance in m from every FINE cell's centre to what stands in the robot's way."""
    x0, y0, _, _ = world.bounds
    per = round(CELL / FINE)
    x, y = np.meshgrid(x0 + (np.arange(width * per) + 0.5) * FINE,
                       y0 + (np.arange(height * per) + 0.5) * FINE)
    return clearance_at(x, y, (c for c in world.cylinders if c.top > robot.ground_clearance),
                        (b for b in world.boxes if b.top > robot.ground_clearance),
                        robot.height).astype(np.float32)


def _tracks(world: World, span: float) -> NDArray[np.float32]:
    """Where every mover is and where it was TRACK s before, up to the horizon beyond `span` s.

    Both, since one that starts its round anew jumps, and who counts on that must not be early.
    """
    times = np.arange(0.0, span + HORIZON, TRACK)
    rows = np.zeros((len(times), 2 * len(world.movers), MOVER_FIELDS), np.float32)
    for m, mover in enumerate(world.movers):
        keys = np.array(mover.keyframes)
        for row, then in ((2 * m, times), (2 * m + 1, times - TRACK)):
            now = (mover.phase + then) % mover.period if mover.period else np.zeros_like(then)
            for k in (0, 1):
                rows[:, row, k] = np.interp(now, keys[:, 0], keys[:, k + 1])
            rows[:, row, 4], rows[:, row, 5] = mover.radius, 1.0
    return rows

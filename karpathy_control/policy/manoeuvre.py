"""Manoeuvres: sequences of steps for where single commands do not get on.

The fan looks one command ahead, so in a gap hardly wider than the robot it may find nothing better
than to turn to one side and back again, and where the gate refuses its best it would ask for ever.
A robot that has stood for a while, or driven to and fro, therefore searches a sequence of steps
that gains GAIN metres of cost-to-go (pose_search), and follows it slowly, until a single command
wins as much. Where there is none, the way that the cost-to-go had found is too narrow for a
footprint, and is blocked for the planner. The gate stays the judge of every command.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from karpathy_control.mapping.jit import kernel
from karpathy_control.policy.cost_to_go import LETHAL, descend
from karpathy_control.policy.fan import footprint_clearance
from karpathy_control.policy.memory import MOVER_CONFIDENCE
from karpathy_control.policy.pose_search import (
    BIN,
    CLOSE,
    KEEP,
    LONGEST,
    REACH,
    SIDE,
    STRIDE,
    search,
    wrap,
)

PATIENCE = 15  # observations that a robot has not got on before it searches
RETRY = 10  # observations from a search without result to the next
STALLED = 12  # observations without motion after which a manoeuvre counts as refused
NEAR = 0.15  # m: a robot that stays so near to a place has not got on
TURNED = 0.2  # rad: unless it turns on, by so much farther than before, as to a goal behind it
STALE = 30  # observations without a new least cost-to-go: it moves, but to and fro
REPLANNED = 0.5  # m: a cost-to-go that rises by more at once is that of another way
CALM = 1.5  # m: with something moving nearer than this, to stand is no sign of being stuck

SPEED = 0.5  # m/s at a clearance of CLOSE or less
FASTER = 5.0  # m/s more a metre of clearance beyond that
TURN = 2.0  # rad/s
HANDOVER = 0.5  # m of cost-to-go: where a single command wins as much, it may
BLOCKS = 16  # places of a robot that are blocked at the same time; the oldest makes room
BLOCK_RADIUS = 0.25  # m
BLOCK_TIME = 1200  # observations after which a way is tried again: somebody may have stood there
LOOK = 0.25  # m ahead that following aims at
AT_POINT, AT_HEADING = 0.03, 0.06  # m, rad


class Manoeuvre(NamedTuple):
    """What each of B robots is about."""

    poses: NDArray[np.float64]  # (B, LONGEST, 3) odom, the end of every step
    kinds: NDArray[np.int64]  # (B, LONGEST) 1 forward, -1 back, 0 on the spot
    steps: NDArray[np.int64]  # (B,) how many; 0: none
    at: NDArray[np.int64]  # (B,) the step under way
    anchor: NDArray[np.float64]  # (B, 3) pose from which on the robot has not got on
    farthest: NDArray[np.float64]  # (B,) rad, how far it has turned from there
    still: NDArray[np.int64]  # (B,) observations since it got on or turned on
    last: NDArray[np.float64]  # (B, 3) pose where a manoeuvre last moved
    stalled: NDArray[np.int64]  # (B,) observations since then
    banned: NDArray[np.bool_]  # (B, 3) kinds + 1 that the gate has refused here
    least: NDArray[np.float64]  # (B,) m, cost-to-go where the robot last got on
    value: NDArray[np.float64]  # (B,) m, cost-to-go at the last observation
    stale: NDArray[np.int64]  # (B,) observations since then
    blocked: NDArray[np.float64]  # (B, BLOCKS, 2) odom, m; NaN: none
    blocks: NDArray[np.int64]  # (B,) how many were ever blocked
    block_age: NDArray[np.int64]  # (B, BLOCKS) observations since


def make_manoeuvre(batch: int) -> Manoeuvre:
    """Nothing under way."""
    return Manoeuvre(
        np.zeros((batch, LONGEST, 3)), np.zeros((batch, LONGEST), np.int64),
        np.zeros(batch, np.int64), np.zeros(batch, np.int64), np.zeros((batch, 3)),
        np.zeros(batch), np.zeros(batch, np.int64), np.zeros((batch, 3)),
        np.zeros(batch, np.int64), np.zeros((batch, 3), np.bool_), np.zeros(batch),
        np.zeros(batch), np.zeros(batch, np.int64), np.full((batch, BLOCKS, 2), np.nan),
        np.zeros(batch, np.int64), np.zeros((batch, BLOCKS), np.int64))


def drop(state: Manoeuvre, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> None:
    """Forget what the robots in `index` are about."""
    for array in (state.steps, state.at, state.still, state.farthest, state.stalled, state.anchor,
                  state.last, state.least, state.value, state.stale):
        array[index] = 0
    state.banned[index] = False
    state.blocked[index] = np.nan


@kernel
def block_cells(blocked, origin, cell, factor):
    """Make the cells about blocked points (k, 2) lethal in the factors (n, n) of the planner."""
    n = factor.shape[0]
    reach = math.ceil(BLOCK_RADIUS / cell)
    for k in range(blocked.shape[0]):
        if math.isnan(blocked[k, 0]):
            continue
        gx = blocked[k, 0] / cell - origin[0]
        gy = blocked[k, 1] / cell - origin[1]
        for j in range(max(math.floor(gy) - reach, 0), min(math.floor(gy) + reach + 1, n)):
            for i in range(max(math.floor(gx) - reach, 0), min(math.floor(gx) + reach + 1, n)):
                if math.hypot(i + 0.5 - gx, j + 0.5 - gy) * cell < BLOCK_RADIUS:
                    factor[j, i] = LETHAL


@kernel
def _block(state, b, field, field_origin, cell, pose, reached):
    """Block the first place of the planner's way that the search did not get to."""
    way = np.empty((2 * SIDE, 2))
    count = descend(field, pose[0] / cell - field_origin[0], pose[1] / cell - field_origin[1], way)
    c, s = math.cos(pose[2]), math.sin(pose[2])
    for k in range(count):
        wx, wy = (way[k, 0] + field_origin[0]) * cell, (way[k, 1] + field_origin[1]) * cell
        x, y = c * (wx - pose[0]) + s * (wy - pose[1]), c * (wy - pose[1]) - s * (wx - pose[0])
        i, j = math.floor((x + REACH) / BIN), math.floor((y + REACH) / BIN)
        if i < 1 or j < 1 or i >= SIDE - 1 or j >= SIDE - 1:
            return
        if not reached[j - 1:j + 2, i - 1:i + 2].any():
            state.blocked[b, state.blocks[b] % BLOCKS] = (wx, wy)
            state.block_age[b, state.blocks[b] % BLOCKS] = 0
            state.blocks[b] += 1
            return


@kernel
def _is_free(state, b, slabs, px, py, count, pose, here, work):
    """Whether the rest of a manoeuvre is still free, by what is known now.

    here: clearance of the footprint where the robot is, m.
    """
    c, s = math.cos(pose[2]), math.sin(pose[2])
    for k in range(state.at[b], state.steps[b]):
        dx = state.poses[b, k, 0] - pose[0]
        dy = state.poses[b, k, 1] - pose[1]
        yaw = state.poses[b, k, 2] - pose[2]
        if footprint_clearance(slabs, px, py, count, c * dx + s * dy, c * dy - s * dx,
                               math.cos(yaw), math.sin(yaw), work) < min(KEEP, here) - 0.01:
            return False
    return True


@kernel
def _only_forward(state, b):
    """Whether all that is left of a manoeuvre goes forward."""
    for k in range(state.at[b], state.steps[b]):
        if state.kinds[b, k] <= 0:
            return False
    return True


@kernel
def _follow(state, b, pose, here, limits):
    """The command along the manoeuvre of robot b, m/s and rad/s; its end drops it.

    It is slow where there is little room, `here` m of clearance, and in narrow turns.
    """
    c, s = math.cos(pose[2]), math.sin(pose[2])
    while state.at[b] < state.steps[b]:
        k = state.at[b]
        kind = state.kinds[b, k]
        dx = state.poses[b, k, 0] - pose[0]
        dy = state.poses[b, k, 1] - pose[1]
        off = wrap(state.poses[b, k, 2] - pose[2])
        if kind == 0:
            if abs(off) > AT_HEADING:
                break
        elif kind * (c * dx + s * dy) > AT_POINT:
            break
        state.at[b] += 1
    if state.at[b] == state.steps[b]:
        state.steps[b] = 0
        return 0.0, 0.0
    first = state.at[b]
    kind = state.kinds[b, first]
    last = first
    left = 0.0
    while last + 1 < state.steps[b] and state.kinds[b, last + 1] == kind:
        last += 1
        left += STRIDE
    if kind == 0:
        off = wrap(state.poses[b, last, 2] - pose[2])
        turn = min(TURN, limits[2], math.sqrt(limits[5] * abs(off)))
        return 0.0, math.copysign(turn, off)
    aim = min(first + int(LOOK / STRIDE), last)
    dx = state.poses[b, aim, 0] - pose[0]
    dy = state.poses[b, aim, 1] - pose[1]
    tx, ty = c * dx + s * dy, c * dy - s * dx
    left += abs(tx)
    curvature = 2.0 * ty / max(tx * tx + ty * ty, 0.01)
    speed = min(max(SPEED + FASTER * (here - CLOSE), SPEED), limits[0] if kind > 0 else limits[1],
                0.05 + math.sqrt(0.5 * limits[4] * left),
                max(TURN / max(abs(curvature), 1e-3), SPEED))
    turn = kind * speed * curvature  # behind the robot the same arc turns the other way
    return kind * speed, min(max(turn, -min(TURN, limits[2])), TURN, limits[2])


@kernel
def _watch(state, b, pose, value):
    """Count for how long robot b has not got on, with `value` m of cost-to-go left."""
    moved = math.hypot(pose[0] - state.anchor[b, 0], pose[1] - state.anchor[b, 1])
    turned = abs(wrap(pose[2] - state.anchor[b, 2]))
    state.still[b] += 1
    if moved > NEAR:
        state.anchor[b] = pose
        state.farthest[b] = 0.0
        state.still[b] = 0
        state.banned[b] = False
    elif turned > state.farthest[b] + TURNED:
        state.farthest[b] = turned
        state.still[b] = 0
    state.stale[b] += 1
    if value < state.least[b] - NEAR or value > state.value[b] + REPLANNED:
        state.least[b] = value
        state.stale[b] = 0
    state.value[b] = value


@kernel
def manoeuvre(state, b, slabs, radius, px, py, count, movers, field, field_origin, seen, origin,
              cell, pose, limits, value, gain, work, command):
    """Fill `command` (2,) m/s and rad/s where robot b manoeuvres; returns whether it does.

    Call once an observation, while the robot has a goal to get to. px, py: the obstacles in base,
    m, of which `count` are valid; movers (m, MOVER_FIELDS), field (n, n) m and seen (n, n): of
    this robot, as in `Deliberation`; pose: x y yaw in odom; limits, slabs and radius: as for
    `roll_out`; value: m of cost-to-go here; gain: m of it that the best single command would win,
    driving on.
    """
    for k in range(BLOCKS):
        state.block_age[b, k] += 1
        if state.block_age[b, k] > BLOCK_TIME:
            state.blocked[b, k] = math.nan
    _watch(state, b, pose, value)
    for m in range(movers.shape[0]):
        if (movers[m, 5] >= MOVER_CONFIDENCE
                and math.hypot(movers[m, 0], movers[m, 1]) < CALM + movers[m, 4]):
            state.steps[b] = 0
            state.still[b] = 0
            state.stale[b] = 0
            return False
    here = 0.0  # clearance in m; a manoeuvre begins slowly
    if state.steps[b] > 0:
        here = footprint_clearance(slabs, px, py, count, 0.0, 0.0, 1.0, 0.0, work)
        if (math.hypot(pose[0] - state.last[b, 0], pose[1] - state.last[b, 1]) > 0.02
                or abs(wrap(pose[2] - state.last[b, 2])) > 0.05):
            state.last[b] = pose
            state.stalled[b] = 0
        state.stalled[b] += 1
        if state.stalled[b] > STALLED:
            state.banned[b, state.kinds[b, state.at[b]] + 1] = True
            state.steps[b] = 0
        elif not _is_free(state, b, slabs, px, py, count, pose, here, work):
            state.steps[b] = 0
        elif gain > HANDOVER and here > CLOSE and _only_forward(state, b):
            state.steps[b] = 0
            state.still[b] = 0
            state.least[b] = value
            state.stale[b] = 0
            return False
    if state.steps[b] == 0:
        to_and_fro = state.stale[b] >= STALE and state.farthest[b] == 0.0
        if state.still[b] < PATIENCE and not to_and_fro:
            return False
        state.at[b] = 0
        state.last[b] = pose
        state.stalled[b] = 0
        reached = np.zeros((SIDE, SIDE), np.bool_)
        found = search(slabs, radius, px, py, count, field, field_origin, seen, origin, cell, pose,
                       state.banned[b], work, state.poses[b], state.kinds[b], reached)
        state.still[b] = PATIENCE - RETRY
        state.least[b] = value
        state.stale[b] = STALE - RETRY if found == 0 else 0
        if found == 0:
            state.banned[b] = False
            _block(state, b, field, field_origin, cell, pose, reached)
            return False
        c, s = math.cos(pose[2]), math.sin(pose[2])
        for k in range(found):
            x, y = state.poses[b, k, 0], state.poses[b, k, 1]
            state.poses[b, k, 0] = pose[0] + c * x - s * y
            state.poses[b, k, 1] = pose[1] + s * x + c * y
            state.poses[b, k, 2] += pose[2]
        state.steps[b] = found
    command[0], command[1] = _follow(state, b, pose, here, limits)
    return state.steps[b] > 0

"""When a command meets something that moves, given what the robot can still do afterwards."""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.motion import CONFIDENCE, RADIUS, SPREAD
from karpathy_control.policy.memory import MOVER_CONFIDENCE
from karpathy_control.policy.stepping import DELAY, STEP, one_step

MEETING_STEPS = 35  # of STEP, that moving things are looked ahead for
FIRST_STEPS = 10  # of these, that a command is kept up before another one may follow
MEETING_MARGIN = 0.12  # m, beyond the spread of their ways
MEETING_COST, MEETING_TIME = 30.0, 1.0  # m of path for meeting one now; s in which that falls
NEAR_MISS, NEAR_MISS_COST = 1.2, 3.0  # m beyond the margin, and m of path for touching it


@kernel
def mover_clearance(slabs, movers, places, grown, x, y, c, s):
    """Least signed distance from the footprint to the moving discs at `places` (m, 2), m.

    Their radii grow by `grown` s times the spread of their ways. Exact for a rectangle; for
    another polygon below the true one beyond a corner.
    """
    least = 10.0
    right = slabs.shape[0] == 2 and abs(slabs[0, 0] * slabs[1, 0]
                                        + slabs[0, 1] * slabs[1, 1]) < 1e-9
    for m in range(movers.shape[0]):
        if not movers[m, CONFIDENCE] >= MOVER_CONFIDENCE:
            continue
        dx, dy = places[m, 0] - x, places[m, 1] - y
        bx, by = c * dx + s * dy, -s * dx + c * dy
        d, square = -1e3, 0.0
        for k in range(slabs.shape[0]):
            off = abs(slabs[k, 0] * bx + slabs[k, 1] * by - slabs[k, 2]) - slabs[k, 3]
            d = max(d, off)
            square += max(off, 0.0) ** 2
        if right and d > 0.0:
            d = math.sqrt(square)
        least = min(least, d - movers[m, RADIUS] - grown * movers[m, SPREAD])
    return least


@kernel
def _keep_on(state, target_v, target_w, applied, limits, slabs, movers, ways, first, last, stop_at,
             reached):
    """Drive on from a state among what moves; returns when that meets something, s, or inf.

    state: x y yaw v w (m, rad, s) at step `first`, and the least clearance until then, m. What
    they are after step last - 1 goes into reached (6,).
    """
    x, y, yaw, v, w, least = state[0], state[1], state[2], state[3], state[4], state[5]
    for k in range(first, last):
        t = (k + 1) * STEP
        to_v, to_w = target_v, target_w
        if t >= stop_at:
            to_v, to_w = 0.0, 0.0
        elif t <= DELAY + 1e-9:
            to_v, to_w = applied[0], applied[1]
        x, y, yaw, v, w, _, _, _ = one_step(x, y, yaw, v, w, to_v, to_w, limits, STEP)
        d = mover_clearance(slabs, movers, ways[k], t, x, y, math.cos(yaw), math.sin(yaw)
                            ) - MEETING_MARGIN
        if d < 0.0:
            reached[5] = 0.0
            return t
        least = min(least, d)
    reached[0], reached[1], reached[2], reached[3], reached[4] = x, y, yaw, v, w
    reached[5] = least
    return np.inf


@kernel
def meeting(v_command, w_command, velocity, applied, limits, slabs, movers, ways, stop_at):
    """When a command meets something that moves, s (inf: never), and how near it comes, m.

    The command is kept up for FIRST_STEPS. How the robot goes on then it will choose anew, so the
    best of these counts: on as before, straight on, the other way round, and standing, since who
    moves comes to a robot that stands, too. From `stop_at` (s) on it stands. ways: (MEETING_STEPS,
    m, 2) m, where the discs will be; what nobody knows of that grows with time.
    """
    state = np.array((0.0, 0.0, 0.0, velocity[0], velocity[1], 10.0))
    then, end = np.empty(6), np.empty(6)
    met = _keep_on(state, v_command, w_command, applied, limits, slabs, movers, ways, 0,
                   FIRST_STEPS, stop_at, then)
    if met < np.inf:
        return met, 0.0
    latest, widest = 0.0, -1.0
    for go_on_v, go_on_w in ((v_command, w_command), (v_command, 0.0), (v_command, -w_command),
                             (0.0, 0.0)):
        met = _keep_on(then, go_on_v, go_on_w, applied, limits, slabs, movers, ways, FIRST_STEPS,
                       MEETING_STEPS, stop_at, end)
        if met > latest or (met == latest and end[5] > widest):
            latest, widest = met, end[5]
        if latest == np.inf and widest >= NEAR_MISS:
            break
    return latest, widest


@kernel
def meeting_cost(met, near):
    """What meeting something after `met` s (inf: never), or passing it at `near` m, costs, m."""
    if met < np.inf:
        return MEETING_COST * math.exp(-met / MEETING_TIME)
    return NEAR_MISS_COST * max(0.0, 1.0 - near / NEAR_MISS) ** 2

"""What the actor sees: one state token, a token per sector, a token per group of arcs.

All tokens share FEATURES columns: three say which kind it is, the others mean what the lists
below say; a column that a kind does not use is 0. Lengths are divided by NEAR and capped, speeds
by the robot's limits; every value is finite and about [-1, 1]. Change anything here and trained
actors no longer fit: raise TOKEN_VERSION, which is part of every actor's card.
"""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel
from karpathy_control.policy import fan as f

TOKEN_VERSION = 1
SECTORS = 8  # of 45 degrees, the first from bearing -pi
APPLIED = 3  # last applied commands, newest first
TOKENS = 1 + SECTORS + f.ARC_GROUPS
FEATURES = 28
NEAR = 3.0  # m: lengths are capped here and divided by it
COST = 2.0  # m: differences of cost-to-go are capped here and divided by it
MAX_TURN = 4.0  # rad/s, for the robot's own limit
MAX_SPEED = 2.0  # m/s

STATE, SECTOR, ARC = 0, 1, 2
STATE_COLUMNS = (
    'speed', 'turn', 'applied v0', 'applied w0', 'applied v1', 'applied w1', 'applied v2',
    'applied w2', 'goal cos', 'goal sin', 'goal near', 'goal far', 'descent cos', 'descent sin',
    'cost-to-go', 'clearance', 'base v', 'base w', 'limit v', 'limit w', 'limit a', 'half length',
    'half width', 'has plan', 'admissible arcs')
SECTOR_COLUMNS = (
    'centre cos', 'centre sin', 'nearest x', 'nearest y', 'nearest distance', 'gap cos', 'gap sin',
    'gap depth', 'left x', 'left y', 'right x', 'right y', 'gap room', 'seen', 'mover x',
    'mover y', 'mover vx', 'mover vy', 'mover radius', 'mover confidence')
ARC_COLUMNS = (
    'v', 'w', 'clearance', 'contact time', 'admissible speed', 'cost difference', 'nose',
    'end x', 'end y', 'end cos', 'end sin', 'score difference', 'admissible', 'best')


@kernel(inline='always')
def _unit(value, scale):
    """Value over scale, capped to [-1, 1]; 0 for what is not a number."""
    scaled = value / scale
    if math.isnan(scaled):
        return 0.0
    return min(max(scaled, -1.0), 1.0)


@kernel
def _gap(scan, best, depth, cosines, sines, row):
    """Both edges of the passage along beam `best`: the nearest points beside its ray."""
    beams = scan.shape[0]
    c, s = cosines[best], sines[best]
    left, right = NEAR, NEAR  # lateral distance of the edges
    left_x, left_y = -s * NEAR, c * NEAR
    right_x, right_y = s * NEAR, -c * NEAR
    for k in range(-(beams // 4), beams // 4 + 1):
        i = (best + k) % beams
        r = scan[i]
        if not (r > 0.0 and r < 2.0 * NEAR) or k == 0:
            continue
        x, y = r * cosines[i], r * sines[i]
        along, aside = c * x + s * y, -s * x + c * y
        if along > depth:
            continue
        if aside >= 0.0 and aside < left:
            left, left_x, left_y = aside, x, y
        elif aside < 0.0 and -aside < right:
            right, right_x, right_y = -aside, x, y
    row[8], row[9] = _unit(left_x, NEAR), _unit(left_y, NEAR)
    row[10], row[11] = _unit(right_x, NEAR), _unit(right_y, NEAR)
    return left + right


@kernel
def sector_tokens(scan, px, py, count, movers, width, cosines, sines, tokens):
    """Fill the sector tokens (SECTORS, FEATURES); px, py: all near obstacle points in base."""
    beams = scan.shape[0]
    nearest = np.full(SECTORS, NEAR)
    at_x = np.zeros(SECTORS)
    at_y = np.zeros(SECTORS)
    for i in range(count):
        r = math.sqrt(px[i] * px[i] + py[i] * py[i])
        k = int((math.atan2(py[i], px[i]) + math.pi) * SECTORS / (2.0 * math.pi)) % SECTORS
        if r < nearest[k]:
            nearest[k], at_x[k], at_y[k] = r, px[i], py[i]
    per = beams // SECTORS
    for k in range(SECTORS):
        row = tokens[k, 3:]
        bearing = -math.pi + (k + 0.5) * 2.0 * math.pi / SECTORS
        row[0], row[1] = math.cos(bearing), math.sin(bearing)
        if nearest[k] < NEAR:
            row[2], row[3] = at_x[k] / NEAR, at_y[k] / NEAR
        else:
            row[2], row[3] = row[0], row[1]
        row[4] = nearest[k] / NEAR
        seen, depth = 0, 0.0
        for i in range(k * per, (k + 1) * per):
            if scan[i] > 0.0:
                seen += 1
                depth = max(depth, min(scan[i], NEAR))
        # the deepest direction: the middle of the longest run of beams that reach the depth
        run, longest, best = 0, 0, k * per + per // 2
        for i in range(k * per, (k + 1) * per):
            run = run + 1 if scan[i] >= depth and seen > 0 else 0
            if run > longest:
                longest, best = run, i - run // 2
        room = _gap(scan, best, depth, cosines, sines, row)
        row[5], row[6] = cosines[best], sines[best]
        row[7] = depth / NEAR
        row[12] = _unit(room - width, NEAR)
        row[13] = seen / per
    for m in range(movers.shape[0]):
        x, y = movers[m, 0], movers[m, 1]
        if not (movers[m, 5] > 0.0 and math.isfinite(x) and math.isfinite(y)):
            continue
        k = int((math.atan2(y, x) + math.pi) * SECTORS / (2.0 * math.pi)) % SECTORS
        row = tokens[k, 3:]
        r = math.sqrt(x * x + y * y)
        if row[19] > 0.0 and r >= math.sqrt(row[14] ** 2 + row[15] ** 2) * NEAR:
            continue  # the nearest mover of a sector is shown
        shrink = min(1.0, NEAR / max(r, 1e-6))
        row[14], row[15] = x * shrink / NEAR, y * shrink / NEAR
        row[16], row[17] = _unit(movers[m, 2], MAX_SPEED), _unit(movers[m, 3], MAX_SPEED)
        row[18] = _unit(movers[m, 4], 1.0)
        row[19] = _unit(movers[m, 5], 1.0)


@kernel
def arc_tokens(fan, results, best, here, limits, tokens):
    """Fill the arc tokens (ARC_GROUPS, FEATURES): the best arc of each group."""
    for g in range(f.ARC_GROUPS):
        chosen = -1
        for a in range(fan.shape[0]):
            if int(fan[a, 2]) != g:
                continue
            if (chosen < 0 or results[a, f.R_OK] > results[chosen, f.R_OK]
                    or (results[a, f.R_OK] == results[chosen, f.R_OK]
                        and results[a, f.R_SCORE] < results[chosen, f.R_SCORE])):
                chosen = a
        r = results[chosen]
        row = tokens[g, 3:]
        row[0] = _unit(r[f.R_V], limits[0])
        row[1] = _unit(r[f.R_W], limits[2])
        row[2] = _unit(r[f.R_CLEARANCE], 2.0 * f.SOFT)
        row[3] = _unit(min(r[f.R_CONTACT], r[f.R_MET], f.STEPS * f.STEP), f.STEPS * f.STEP)
        row[4] = _unit(r[f.R_ADMISSIBLE], limits[0])
        row[5] = _unit(r[f.R_COST] - here, COST)
        row[6] = _unit(r[f.R_NOSE], 1.5 * f.NOSE)
        row[7] = _unit(r[f.R_X], NEAR)
        row[8] = _unit(r[f.R_Y], NEAR)
        row[9], row[10] = math.cos(r[f.R_YAW]), math.sin(r[f.R_YAW])
        if best >= 0:
            row[11] = _unit(r[f.R_SCORE] - results[best, f.R_SCORE], COST)
        row[12] = r[f.R_OK]
        row[13] = 1.0 if chosen == best else 0.0


@kernel
def state_token(velocity, applied, goal_x, goal_y, descent, here, clearance, base, limits,
                half_length, half_width, planned, admissible, token):
    """Fill the state token (FEATURES,). goal: in base, m; descent: heading to follow, rad."""
    row = token[3:]
    row[0] = _unit(velocity[0], limits[0])
    row[1] = _unit(velocity[1], limits[2])
    for k in range(min(APPLIED, applied.shape[0])):
        row[2 + 2 * k] = _unit(applied[k, 0], limits[0])
        row[3 + 2 * k] = _unit(applied[k, 1], limits[2])
    distance = math.sqrt(goal_x * goal_x + goal_y * goal_y)
    if distance > 1e-6 and distance < np.inf:
        row[8], row[9] = goal_x / distance, goal_y / distance
        row[10] = _unit(distance, NEAR)
        row[11] = _unit(math.log1p(distance), 4.0)
    row[12], row[13] = math.cos(descent), math.sin(descent)
    row[14] = _unit(here, 10.0)
    row[15] = _unit(clearance, 2.0 * f.SOFT)
    row[16] = _unit(base[0], limits[0])
    row[17] = _unit(base[1], limits[2])
    row[18] = _unit(limits[0], MAX_SPEED)
    row[19] = _unit(limits[2], MAX_TURN)
    row[20] = _unit(limits[3], 5.0)
    row[21] = _unit(half_length, 1.0)
    row[22] = _unit(half_width, 1.0)
    row[23] = 1.0 if planned else 0.0
    row[24] = admissible

"""The fan of candidate commands: roll-outs with the exact footprint, and which is best.

Each candidate (v, w) is rolled out from the present velocity under the acceleration limits; the
convex footprint is checked against obstacle points at every step. A candidate that could not stop
before its first contact is dropped; of the others the one with the least cost-to-go at its end
wins, with small terms for clearance, reversing and change of turn.
"""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.motion import go_on
from karpathy_control.policy.cost_to_go import value_at
from karpathy_control.policy.meeting import MEETING_STEPS, meeting, meeting_cost
from karpathy_control.policy.memory import fraction_x, fraction_y, near_mover
from karpathy_control.policy.stepping import DELAY, STEP, one_step

STEPS = 12
MARGIN = 0.045  # m: nearer than this to the footprint is contact, at rest; the gate's own margin,
# noise and tracking error must fit in, or the gate stops what the fan thinks free
MARGIN_PER_SPEED = 0.05  # s: the margin grows by this times the speed
TOUCH = 0.015  # m: never nearer than this where it can be avoided
SOFT = 0.25  # m: clearance below this costs
TIGHT = 0.1  # m: clearance below this costs more
NOSE = 0.35  # m ahead of the end of a roll-out, where the cost-to-go tells a good heading
POINTS = 512  # obstacle points at most
SPACING = 0.02  # m: points of a scan nearer than this to the one before are left out
TICK = 1e-4  # m, resolution of distances
WIDE = 20.0  # m, more than any distance that matters

TURNS = (-1.0, -0.75, -0.5, -0.32, -0.18, -0.08, 0.0, 0.08, 0.18, 0.32, 0.5, 0.75, 1.0)
SPEEDS = (1.0, 0.6, 0.25)
GROUPS = (0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 6)  # arc token of each turning rate, forward
SPIN_GROUP, REVERSE_GROUP = 7, 8
ARC_GROUPS = 9

# columns of a result
(R_V, R_W, R_CLEARANCE, R_CONTACT, R_ADMISSIBLE, R_COST, R_NOSE, R_X, R_Y, R_YAW, R_SCORE,
 R_OK, R_END_CLEARANCE, R_MET) = range(14)
RESULTS = 14

CLEARANCE_COST = 0.5  # m of path at clearance 0
TIGHT_COST = 0.5  # m of path at clearance 0, on top
REVERSE_COST = 0.25  # m of path
TURN_CHANGE_COST = 0.06  # m of path for a change by the whole turning range
NOSE_WEIGHT = 0.6
SPIN_COST = 0.05  # m of path
COMMITMENT = 0.3  # m of path by which another must be better than a manoeuvre that was begun
REACTION = 0.2  # s between seeing and braking, in a system without a fault
BRAKE_SHARE = 0.8  # of the deceleration that the base reaches for certain
GOAL_BRAKE_SHARE = 0.5
GOAL_CREEP = 0.15  # m/s


def candidates() -> np.ndarray:
    """The fan. Shape: (A, 3): share of the forward (< 0: reverse) limit, of the turn limit, group.

    13 turning rates at three speeds, four spins on the spot, five arcs in reverse.
    """
    fan = [(speed, turn, group) for speed in SPEEDS
           for turn, group in zip(TURNS, GROUPS, strict=True)]
    fan += [(0.0, turn, SPIN_GROUP) for turn in (-1.0, -0.35, 0.35, 1.0)]
    fan += [(-1.0, turn, REVERSE_GROUP) for turn in (-0.6, -0.25, 0.0, 0.25, 0.6)]
    return np.array(fan, dtype=np.float64)


def slabs_of(polygon: np.ndarray) -> np.ndarray:
    """A convex polygon (n, 2) m as slabs. Shape: (m, 4): unit normal, centre, half width.

    The signed distance of a point p from a slab is |normal . p - centre| - half width, and from
    the polygon the largest of them. Parallel edges share a slab, others have one WIDE metres
    wide.
    """
    ahead = np.roll(polygon, -1, axis=0) - polygon
    normals = np.stack((ahead[:, 1], -ahead[:, 0]), 1) / np.linalg.norm(ahead, axis=1)[:, None]
    offsets = np.sum(normals * polygon, axis=1)
    slabs, left = [], list(range(len(polygon)))
    while left:
        i = left.pop(0)
        opposite = [j for j in left if np.dot(normals[i], normals[j]) < -1.0 + 1e-12]
        low = -WIDE + offsets[i]
        if opposite:
            low = -offsets[opposite[0]]
            left.remove(opposite[0])
        slabs.append((*normals[i], 0.5 * (offsets[i] + low), 0.5 * (offsets[i] - low)))
    return np.array(slabs)


@kernel
def gather(scan, cosines, sines, lidar, camera, origin, cell, pose, reach, movers, px, py):
    """Obstacle points in base within `reach` m: the scan, and what the memory adds to it.

    Fills px, py (POINTS,) f32 and returns the count. Points of moving entities are left out (the
    roll-out moves those), and remembered points that the scan sees now.
    """
    beams = scan.shape[0]
    step = 2.0 * math.pi / beams
    moving = movers.shape[0] > 0
    count = 0
    last_x, last_y = np.inf, np.inf
    for i in range(beams):
        r = scan[i]
        if not (r > 0.0 and r < reach):
            continue
        x, y = r * cosines[i], r * sines[i]
        if (x - last_x) ** 2 + (y - last_y) ** 2 < SPACING * SPACING:
            continue
        if moving and near_mover(x, y, movers):
            continue
        if count == px.shape[0]:
            break
        last_x, last_y = x, y
        px[count] = x
        py[count] = y
        count += 1
    n = lidar.shape[0]
    c, s = math.cos(pose[2]), math.sin(pose[2])
    low_x = max(math.floor((pose[0] - reach) / cell), origin[0])
    low_y = max(math.floor((pose[1] - reach) / cell), origin[1])
    high_x = min(math.floor((pose[0] + reach) / cell), origin[0] + n - 1)
    high_y = min(math.floor((pose[1] + reach) / cell), origin[1] + n - 1)
    for iy in range(low_y, high_y + 1):
        row = iy % n
        for ix in range(low_x, high_x + 1):
            col = ix % n
            a, b = lidar[row, col], camera[row, col]
            if a == 0 and b == 0:
                continue
            for layer in range(2):
                code = a if layer == 0 else b
                if code == 0 or count == px.shape[0]:
                    continue
                dx = (ix + fraction_x(code)) * cell - pose[0]
                dy = (iy + fraction_y(code)) * cell - pose[1]
                x, y = c * dx + s * dy, -s * dx + c * dy
                r = math.sqrt(x * x + y * y)
                if r > reach:
                    continue
                if layer == 0:
                    beam = int((math.atan2(y, x) + math.pi) / step) % beams
                    if abs(scan[beam] - r) < cell:
                        continue
                elif moving and near_mover(x, y, movers):
                    continue
                px[count] = x
                py[count] = y
                count += 1
    return count


@kernel(fastmath={'nnan', 'ninf', 'nsz', 'contract'})
def footprint_clearance(slabs, px, py, count, x, y, c, s, work):
    """Least signed distance from the footprint at pose (x, y, heading c s) to the points, m.

    The largest of the edges' distances: exact inside and beside an edge, below the true one
    beyond a corner. Distances are compared as integers of 0.1 mm (`work`, int32), which the
    compiler turns into vector code where it does not for floats. Points are finite.
    """
    tick = np.float32(1.0 / TICK)
    for k in range(slabs.shape[0]):
        nx = np.float32(c * slabs[k, 0] - s * slabs[k, 1])
        ny = np.float32(s * slabs[k, 0] + c * slabs[k, 1])
        off = np.float32(slabs[k, 2] + nx * x + ny * y) * tick
        half = np.float32(slabs[k, 3]) * tick
        nx *= tick
        ny *= tick
        if k == 0:
            for i in range(count):
                work[i] = np.int32(abs(nx * px[i] + ny * py[i] - off) - half)
        else:
            for i in range(count):
                work[i] = max(work[i], np.int32(abs(nx * px[i] + ny * py[i] - off) - half))
    least = np.int32(10.0 / TICK)
    for i in range(count):
        least = min(least, work[i])
    return least * TICK


@kernel
def cells_of(x, y, pose, field_origin, cell):
    """A point in base as column and row of the cost-to-go, in cells."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return ((pose[0] + c * x - s * y) / cell - field_origin[0],
            (pose[1] + s * x + c * y) / cell - field_origin[1])


@kernel
def known(x, y, pose, seen, origin, cell):
    """Whether the cell of a point in base was ever seen."""
    gx, gy = cells_of(x, y, pose, origin, cell)
    i, j = math.floor(gx), math.floor(gy)
    n = seen.shape[0]
    return (0 <= i < n and 0 <= j < n
            and seen[(origin[1] + j) % n, (origin[0] + i) % n] > 0)


@kernel
def _nose(field, cell, gx, gy, heading, cost):
    """How much more the cost-to-go is a little ahead of a pose than `cost` there, m."""
    ahead = value_at(field, cell, gx + NOSE / cell * math.cos(heading),
                     gy + NOSE / cell * math.sin(heading))
    return min(max(ahead - cost, -1.5 * NOSE), 1.5 * NOSE)


@kernel
def roll_out(v_command, w_command, velocity, applied, limits, slabs, radius, px, py, count,
             start_clearance, goal, arrival, field, field_origin, seen, origin, cell, pose, work,
             result):
    """Roll one command out among what stands and describe it in `result` (RESULTS,).

    limits: (max_speed, max_reverse, max_turn, acceleration, deceleration, turn_acceleration,
    reaction), the last in s between seeing and braking, the others in m, s and rad; radius:
    circumscribed radius, m; start_clearance: of the robot where it is, m; goal: in base, m; seen
    (n, n) and origin: the policy's memory. A roll-out that comes within `arrival` of the goal ends
    there, and the time left over counts as path saved. A turn on the spot ends at its best
    heading, since it may be ended at any time, and a way back where nobody has looked, since the
    gate stops it there.
    """
    contact_at = min(MARGIN + MARGIN_PER_SPEED * abs(v_command), start_clearance - 0.005)
    if contact_at < TOUCH:  # too near already: not nearer
        contact_at = min(TOUCH, start_clearance - 0.001)
    v, w = velocity[0], velocity[1]
    x, y, yaw = 0.0, 0.0, 0.0
    travelled = 0.0
    clearance, end_clearance = 10.0, start_clearance
    left = start_clearance  # clearance when last computed, less all motion since
    contact = np.inf
    contact_path = np.inf
    end_x, end_y, end_yaw = 0.0, 0.0, 0.0
    saved = 0.0
    best = np.inf
    for k in range(STEPS):
        t = (k + 1) * STEP
        if t <= DELAY + 1e-9:
            target_v, target_w = applied[0], applied[1]
        else:
            target_v, target_w = v_command, w_command
        last_x, last_y = x, y
        x, y, yaw, v, w, mean_v, mean_w, middle = one_step(
            x, y, yaw, v, w, target_v, target_w, limits, STEP)
        moved = abs(mean_v) * STEP
        swept = abs(mean_w) * STEP
        left -= moved + swept * radius
        c, s = math.cos(yaw), math.sin(yaw)
        if left < SOFT:  # otherwise nothing can have come nearer than SOFT
            left = footprint_clearance(slabs, px, py, count, x, y, c, s, work)
        if v_command < 0.0 and mean_v < 0.0 and not known(
                x - radius * c, y - radius * s, pose, seen, origin, cell):
            break
        if left < contact_at:
            contact = t
            contact_path = travelled
            break
        clearance, end_clearance = min(clearance, left), left
        travelled += moved
        if v_command == 0.0:
            gx, gy = cells_of(x, y, pose, field_origin, cell)
            cost = value_at(field, cell, gx, gy)
            cost += NOSE_WEIGHT * _nose(field, cell, gx, gy, pose[2] + yaw, cost)
            if cost > best:
                continue
            best = cost
        end_x, end_y, end_yaw = x, y, yaw
        along = math.cos(middle) * (goal[0] - last_x) + math.sin(middle) * (goal[1] - last_y)
        along = min(max(along, -moved), moved)  # of the point of this step nearest to the goal
        near = math.hypot(goal[0] - last_x - along * math.cos(middle),
                          goal[1] - last_y - along * math.sin(middle))
        if near < arrival and along * mean_v >= 0.0:
            inside = math.sqrt(arrival * arrival - near * near)  # path since it came within
            early = moved - abs(along) + min(inside, abs(along))
            saved = (STEPS * STEP - t + early / max(abs(mean_v), 0.05)) * limits[0]
            break
    gx, gy = cells_of(end_x, end_y, pose, field_origin, cell)
    cost = value_at(field, cell, gx, gy)
    nose = _nose(field, cell, gx, gy, pose[2] + end_yaw, cost)
    if saved > 0.0:
        cost, nose = -saved, 0.0
    brake = BRAKE_SHARE * limits[4]
    admissible = limits[0]
    ok = 1.0
    if contact < np.inf:
        lead = brake * limits[6]
        admissible = min(limits[0], -lead + math.sqrt(lead * lead + 2.0 * brake * contact_path))
        speed = abs(v_command)
        if (contact_path < speed * limits[6] + speed * speed / (2.0 * brake)
                or contact < limits[6] + abs(w_command) / limits[5] + STEP):
            ok = 0.0
    result[R_V] = v_command
    result[R_W] = w_command
    result[R_CLEARANCE] = min(clearance, end_clearance)
    result[R_CONTACT] = contact
    result[R_ADMISSIBLE] = admissible
    result[R_COST] = cost
    result[R_NOSE] = nose
    result[R_X] = end_x
    result[R_Y] = end_y
    result[R_YAW] = end_yaw
    result[R_OK] = ok
    result[R_END_CLEARANCE] = end_clearance


@kernel
def _same_manoeuvre(fan, a, b):
    """Whether two candidates both reverse, or both turn on the spot to the same side."""
    if fan[a, 0] < 0.0 or fan[b, 0] < 0.0:
        return fan[a, 0] < 0.0 and fan[b, 0] < 0.0
    return fan[a, 0] == 0.0 and fan[b, 0] == 0.0 and fan[a, 1] * fan[b, 1] > 0.0


@kernel
def evaluate(fan, speed_cap, velocity, applied, limits, slabs, radius, px, py, count, movers,
             goal, arrival, field, field_origin, seen, origin, cell, pose, last, work, results):
    """Roll out the whole fan into `results` (A, RESULTS); returns the index of the best, or -1.

    -1: no candidate can stop before its first contact. Lower scores are better.

    last: index of the one before, or -1. A manoeuvre on the spot or in reverse, once begun, is
    gone on with unless another is clearly better: which seems best there changes with every bit
    of motion, and a robot that follows each change only trembles.
    """
    start = footprint_clearance(slabs, px, py, count, 0.0, 0.0, 1.0, 0.0, work)
    ways = np.empty((MEETING_STEPS, movers.shape[0], 2))
    go_on(movers, STEP, ways)
    best, best_score = -1, np.inf
    for a in range(fan.shape[0]):
        v = fan[a, 0] * (min(speed_cap, limits[0]) if fan[a, 0] > 0.0 else limits[1])
        w = fan[a, 1] * limits[2]
        roll_out(v, w, velocity, applied, limits, slabs, radius, px, py, count, start, goal,
                 arrival, field, field_origin, seen, origin, cell, pose, work, results[a])
        # The end counts as well: from beside a wall all minima are alike, but some arcs leave it.
        room = max(0.5 * (results[a, R_CLEARANCE] + results[a, R_END_CLEARANCE]), 0.0)
        close = max(0.0, 1.0 - room / SOFT)
        score = (results[a, R_COST] + NOSE_WEIGHT * results[a, R_NOSE]
                 + CLEARANCE_COST * close * close + TIGHT_COST * max(0.0, 1.0 - room / TIGHT)
                 + TURN_CHANGE_COST * abs(w - applied[1]) / (2.0 * limits[2]))
        if fan[a, 0] < 0.0:
            score += REVERSE_COST
        elif fan[a, 0] == 0.0:
            score += SPIN_COST
        if last >= 0 and _same_manoeuvre(fan, a, last):
            score -= COMMITMENT
        results[a, R_MET] = np.inf
        if movers.shape[0] > 0:
            met, near = meeting(v, w, velocity, applied, limits, slabs, movers, ways,
                                results[a, R_CONTACT] - STEP)
            results[a, R_MET] = met
            score += meeting_cost(met, near)
        results[a, R_SCORE] = score
        if results[a, R_OK] > 0.0 and score < best_score:
            best, best_score = a, score
    return best

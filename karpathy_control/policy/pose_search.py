"""A search over poses for a sequence of short arcs, backward steps and turns on the spot.

Hybrid-state A* (Dolgov et al., International Journal of Robotics Research 29, 2010): poses are
continuous, those in the same cell of place and heading count as one, and the cost-to-go is the
estimate of what is left. It knows the exact footprint, which the cost-to-go does not.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from karpathy_control.mapping.jit import kernel
from karpathy_control.policy.cost_to_go import value_at
from karpathy_control.policy.fan import cells_of, footprint_clearance, known

LONGEST = 64  # steps of a manoeuvre
GAIN = 0.8  # m of cost-to-go that a manoeuvre must win
KEEP = 0.055  # m from the footprint: the gate's margin, and what following is off
STRIDE = 0.1  # m, one step forward or back
REACH = 1.5  # m to each side of the robot that are searched
BIN, BINS = 0.05, 32  # m, and headings: poses in the same cell count as one
SIDE = round(2.0 * REACH / BIN)  # cells along each side of what is searched
EXPANSIONS = 8000
CLOSE = 0.15  # m: a clearance below this costs
CLOSE_COST, CHANGE_COST = 1.0, 0.08  # m of path a metre at clearance 0; m a change of direction
# direction of motion (0: on the spot), change of heading in rad, cost in m of path
STEPS = np.array([
    (1.0, 0.0, 0.1), (1.0, 0.15, 0.105), (1.0, -0.15, 0.105), (1.0, 0.35, 0.11),
    (1.0, -0.35, 0.11), (0.0, 0.2, 0.06), (0.0, -0.2, 0.06), (-1.0, 0.0, 0.2), (-1.0, 0.25, 0.21),
    (-1.0, -0.25, 0.21)])


@kernel
def wrap(angle):
    """The angle in [-pi, pi), rad."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


@kernel
def _bin(x, y, yaw):
    """Number of the cell of poses that one in base lies in, or -1 out of reach."""
    i = math.floor((x + REACH) / BIN)
    j = math.floor((y + REACH) / BIN)
    if i < 0 or j < 0 or i >= SIDE or j >= SIDE:
        return -1
    h = math.floor(wrap(yaw) / (2.0 * math.pi) * BINS + 0.5) % BINS
    return (h * SIDE + j) * SIDE + i


@kernel
def _value(x, y, pose, field, field_origin, cell):
    """Cost-to-go at a point in base, m."""
    gx, gy = cells_of(x, y, pose, field_origin, cell)
    return value_at(field, cell, gx, gy)


@kernel
def search(slabs, radius, px, py, count, field, field_origin, seen, origin, cell, pose, banned,
           work, poses, kinds, reached):
    """Find a manoeuvre from the robot's pose; returns its steps, 0 where there is none.

    Fills poses (LONGEST, 3), in base, kinds (LONGEST,), and in `reached` (SIDE, SIDE) the places
    that some sequence of steps gets to. px, py: obstacles in base, of which `count` are valid.
    Nothing comes nearer than KEEP, or than it is already. Backward steps end in space that was
    seen.
    """
    nodes = BINS * SIDE * SIDE
    best = np.full(nodes, np.inf, np.float32)
    parent = np.full(nodes, -1, np.int32)
    step_of = np.zeros(nodes, np.int8)
    place = np.zeros((nodes, 3), np.float32)
    room = np.zeros(nodes, np.float32)
    done = np.zeros(nodes, np.bool_)
    start = _bin(0.0, 0.0, 0.0)
    first = _value(0.0, 0.0, pose, field, field_origin, cell)
    best[start] = 0.0
    room[start] = footprint_clearance(slabs, px, py, count, 0.0, 0.0, 1.0, 0.0, work)
    queue = [(np.float32(first), start)]
    for _ in range(EXPANSIONS):
        if len(queue) == 0:
            return 0
        _, node = heapq.heappop(queue)
        if done[node]:
            continue
        done[node] = True
        reached[node // SIDE % SIDE, node % SIDE] = True
        x, y, yaw = place[node]
        if _value(x, y, pose, field, field_origin, cell) <= max(first - GAIN, 0.1):
            return _unwind(node, parent, step_of, place, poses, kinds)
        for k in range(STEPS.shape[0]):
            kind = int(STEPS[k, 0])
            if banned[kind + 1]:
                continue
            clear = room[node]
            least = CLOSE
            for half in range(1, 3):
                turned = yaw + 0.5 * half * STEPS[k, 1]
                chord = yaw + 0.25 * half * STEPS[k, 1]
                to_x = x + 0.5 * half * STRIDE * kind * math.cos(chord)
                to_y = y + 0.5 * half * STRIDE * kind * math.sin(chord)
                clear = footprint_clearance(slabs, px, py, count, to_x, to_y, math.cos(turned),
                                            math.sin(turned), work)
                least = min(least, clear)
            if least < min(KEEP, room[node]):
                continue
            to = _bin(to_x, to_y, turned)
            if to < 0 or done[to]:
                continue
            if kind < 0 and not known(to_x - radius * math.cos(turned),
                                      to_y - radius * math.sin(turned), pose, seen, origin, cell):
                continue
            cost = best[node] + STEPS[k, 2] + CLOSE_COST * STEPS[k, 2] * (1.0 - least / CLOSE)
            if parent[node] >= 0 and STEPS[step_of[node], 0] != kind:
                cost += CHANGE_COST
            if cost < best[to]:
                best[to] = cost
                parent[to] = node
                step_of[to] = k
                place[to] = (to_x, to_y, turned)
                room[to] = clear
                heapq.heappush(queue, (np.float32(
                    cost + _value(to_x, to_y, pose, field, field_origin, cell)), to))
    return 0


@kernel
def _unwind(node, parent, step_of, place, poses, kinds):
    """The steps that lead to a node, from the first on; returns how many, LONGEST at most."""
    count = 0
    k = node
    while parent[k] >= 0:
        count += 1
        k = parent[k]
    k = node
    for i in range(count - 1, -1, -1):
        if i < poses.shape[0]:
            poses[i] = place[k]
            kinds[i] = int(STEPS[step_of[k], 0])
        k = parent[k]
    return min(count, poses.shape[0])

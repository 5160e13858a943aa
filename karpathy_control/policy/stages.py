"""The stages of deliberation as kernels: enter an observation, plan, describe and choose.

Each is the same body for one robot, in the caller's thread with the GIL released, and for a batch,
in parallel over its robots.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from karpathy_control.contracts.layout import SCAN_RANGE_MAX
from karpathy_control.mapping.jit import kernel
from karpathy_control.policy import fan as f
from karpathy_control.policy import tokens as t
from karpathy_control.policy.cost_to_go import cell_factors, cost_to_go, value_at
from karpathy_control.policy.manoeuvre import block_cells, manoeuvre
from karpathy_control.policy.meeting import mover_clearance
from karpathy_control.policy.memory import observe_one

ARRIVAL = 0.7  # share of the goal tolerance within which a roll-out has arrived
STOP_MARGIN = 3.0  # m: cells this much farther from the goal than the robot are not needed


class Layers(NamedTuple):
    """The memory of a batch, see policy.memory."""

    lidar: NDArray[np.uint8]  # (B, n, n)
    camera: NDArray[np.uint8]  # (B, n, n)
    age: NDArray[np.uint8]  # (B, n, n)
    seen: NDArray[np.uint8]  # (B, n, n)
    origin: NDArray[np.int64]  # (B, 2) lowest global column and row


class Plan(NamedTuple):
    """The cost-to-go of a batch."""

    field: NDArray[np.float32]  # (B, n, n) m
    origin: NDArray[np.int64]  # (B, 2) cells
    ready: NDArray[np.bool_]  # (B,) whether there is one


class Body(NamedTuple):
    """Shape and limits of the robots, for the kernels."""

    slabs: NDArray[np.float64]  # (m, 4) see fan.slabs_of
    radius: float  # m, circumscribed
    half_length: float  # m
    half_width: float  # m
    limits: NDArray[np.float64]  # (7,) see fan.roll_out


@kernel
def _plan_one(b, layers, plan, blocked, rule, goal, pose):
    """Plan for robot b.

    rule: cell, m from an obstacle at least, clearance beyond, its weight, weight of unknown.
    """
    if not (math.isfinite(goal[b, 0]) and math.isfinite(goal[b, 1])):
        return
    cell, least, clearance, clearance_weight, unknown_weight = rule
    origin = layers.origin[b]
    n = layers.lidar.shape[1]
    factor = np.empty((n, n), np.float32)
    cell_factors(layers.lidar[b], layers.camera[b], layers.seen[b], origin, cell, least,
                 clearance, clearance_weight, unknown_weight, factor)
    block_cells(blocked[b], origin, cell, factor)
    cost_to_go(factor, cell, goal[b, 0] / cell - origin[0], goal[b, 1] / cell - origin[1],
               math.floor(pose[b, 0] / cell) - origin[0],
               math.floor(pose[b, 1] / cell) - origin[1], STOP_MARGIN, plan.field[b])
    plan.origin[b] = origin
    plan.ready[b] = True


@kernel
def plan_single(layers, plan, blocked, rule, goal, pose, which):
    """Plan for those of the robots in mask `which`, one after the other."""
    for b in range(which.shape[0]):
        if which[b]:
            _plan_one(b, layers, plan, blocked, rule, goal, pose)


@kernel(parallel=True)
def plan_batch(layers, plan, blocked, rule, goal, pose, which):
    """The same for a batch, in parallel."""
    for b in prange(which.shape[0]):
        if which[b]:
            _plan_one(b, layers, plan, blocked, rule, goal, pose)


@kernel
def _enter(b, layers, count, last_pose, cell, pose, scan, camera_scan, bearings, view, movers):
    observe_one(layers.lidar[b], layers.camera[b], layers.age[b], layers.seen[b],
                layers.origin[b], count[b], cell, pose[b], scan[b], camera_scan[b], bearings[0],
                bearings[1], SCAN_RANGE_MAX, view, movers[b])
    count[b] += 1
    last_pose[b] = pose[b]


@kernel
def observe_single(layers, count, last_pose, cell, pose, scan, camera_scan, bearings, view,
                   movers):
    """Enter one observation of each robot into its memory, one after the other."""
    for b in range(count.shape[0]):
        _enter(b, layers, count, last_pose, cell, pose, scan, camera_scan, bearings, view, movers)


@kernel(parallel=True)
def observe_batch(layers, count, last_pose, cell, pose, scan, camera_scan, bearings, view,
                  movers):
    """The same for a batch, in parallel."""
    for b in prange(count.shape[0]):
        _enter(b, layers, count, last_pose, cell, pose, scan, camera_scan, bearings, view, movers)


@kernel
def _descent_heading(field, field_origin, cell, pose):
    """Heading in base of the steepest descent of the cost-to-go, from values 0.3 m around, rad."""
    gx = pose[0] / cell - field_origin[0]
    gy = pose[1] / cell - field_origin[1]
    best, least = 0.0, np.inf
    for k in range(16):
        bearing = -math.pi + k * math.pi / 8.0
        value = value_at(field, cell, gx + 0.3 / cell * math.cos(bearing),
                         gy + 0.3 / cell * math.sin(bearing))
        if value < least:
            least, best = value, bearing
    return best - pose[2]


@kernel
def _features_one(b, layers, plan, manoeuvres, body, fan, cell, tolerance, pose, velocity, applied,
                  goal, scan, movers, bearings, chosen, tokens, base):
    tokens[b] = 0.0
    tokens[b, 0, t.STATE] = 1.0
    tokens[b, 1:1 + t.SECTORS, t.SECTOR] = 1.0
    tokens[b, 1 + t.SECTORS:, t.ARC] = 1.0
    base[b] = 0.0
    limits = body.limits
    dx, dy = goal[b, 0] - pose[b, 0], goal[b, 1] - pose[b, 1]
    distance = math.sqrt(dx * dx + dy * dy)
    c, s = math.cos(pose[b, 2]), math.sin(pose[b, 2])
    px = np.empty(f.POINTS, np.float32)
    py = np.empty(f.POINTS, np.float32)
    work = np.empty(f.POINTS, np.int32)
    horizon = f.STEPS * f.STEP * max(limits[0], abs(velocity[b, 0]))
    reach = min(horizon + body.radius + f.SOFT, t.NEAR)
    count = f.gather(scan[b], bearings[0], bearings[1], layers.lidar[b], layers.camera[b],
                     layers.origin[b], cell, pose[b], max(reach, 1.0), movers[b], px, py)
    results = np.zeros((fan.shape[0], f.RESULTS))
    # Fast enough to leave, slow enough to stop on the goal.
    room = max(0.0, distance - 0.3 * tolerance) if distance < np.inf else 0.0
    cap = f.GOAL_CREEP + math.sqrt(2.0 * f.GOAL_BRAKE_SHARE * limits[4] * room)
    target = (c * dx + s * dy, -s * dx + c * dy)
    best = f.evaluate(fan, cap, velocity[b], applied[b, 0], limits, body.slabs, body.radius, px,
                      py, count, movers[b], target, ARRIVAL * tolerance, plan.field[b],
                      plan.origin[b], layers.seen[b], layers.origin[b], cell, pose[b], chosen[b],
                      work, results)
    chosen[b] = -1
    clear = min(f.footprint_clearance(body.slabs, px, py, count, 0.0, 0.0, 1.0, 0.0, work),
                mover_clearance(body.slabs, movers[b], movers[b, :, :2], 0.0, 0.0, 0.0, 1.0, 0.0))
    here, heading = 0.0, 0.0
    if plan.ready[b]:
        here = value_at(plan.field[b], cell, pose[b, 0] / cell - plan.origin[b, 0],
                        pose[b, 1] / cell - plan.origin[b, 1])
        heading = _descent_heading(plan.field[b], plan.origin[b], cell, pose[b])
        gain = here - results[best, f.R_COST] if best >= 0 and results[best, f.R_V] > 0.0 else 0.0
        if distance > tolerance and not manoeuvre(
                manoeuvres, b, body.slabs, body.radius, px, py, count, movers[b], plan.field[b],
                plan.origin[b], layers.seen[b], layers.origin[b], cell, pose[b], limits, here,
                gain, work, base[b]) and best >= 0:
            chosen[b] = best
            base[b, 0] = results[best, f.R_V]
            base[b, 1] = results[best, f.R_W]
    admissible = 0.0
    for a in range(fan.shape[0]):
        admissible += results[a, f.R_OK] / fan.shape[0]
    t.state_token(velocity[b], applied[b], target[0], target[1], heading, here, clear, base[b],
                  limits, body.half_length, body.half_width, plan.ready[b], admissible,
                  tokens[b, 0])
    t.sector_tokens(scan[b], px, py, count, movers[b], 2.0 * body.half_width, bearings[0],
                    bearings[1], tokens[b, 1:1 + t.SECTORS])
    t.arc_tokens(fan, results, best, here, limits, tokens[b, 1 + t.SECTORS:])


@kernel
def features_single(layers, plan, manoeuvres, body, fan, cell, tolerance, pose, velocity, applied,
                    goal, scan, movers, bearings, chosen, tokens, base):
    """Fill tokens and the guidance's commands, one robot after the other."""
    for b in range(chosen.shape[0]):
        _features_one(b, layers, plan, manoeuvres, body, fan, cell, tolerance, pose, velocity,
                      applied, goal, scan, movers, bearings, chosen, tokens, base)


@kernel(parallel=True)
def features_batch(layers, plan, manoeuvres, body, fan, cell, tolerance, pose, velocity, applied,
                   goal, scan, movers, bearings, chosen, tokens, base):
    """The same for a batch, in parallel."""
    for b in prange(chosen.shape[0]):
        _features_one(b, layers, plan, manoeuvres, body, fan, cell, tolerance, pose, velocity,
                      applied, goal, scan, movers, bearings, chosen, tokens, base)

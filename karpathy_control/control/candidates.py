"""One step of the gate as kernels: limits, then the admissible command nearest to the proposal.

The node's single robot and the batched world run the same `filter_one`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from karpathy_control.control.braking import (
    approach_and_brake,
    culprits,
    ends_badly,
    hits_last_culprits,
    phase,
)
from karpathy_control.control.drift import drift_since
from karpathy_control.control.evasion import least_closing
from karpathy_control.control.limits import bounded, brake, braking_time, clamp, reachable
from karpathy_control.control.memory import mark_place, place
from karpathy_control.control.scene import stop_reach, survey
from karpathy_control.mapping.jit import kernel

_LONGEST = 0.1  # s: a longer silence of the caller allows no larger change of the command
_ROUNDING = 1e-9
_MOST_DRIFT = 1.0  # m: what is farther away is not looked up for what it may have drifted

UNCHANGED, LIMITED, BRAKING, UNAVOIDABLE = 0, 1, 2, 3


class Bounds(NamedTuple):
    """Limits on what is commanded, and the grid of candidates."""

    max_speed: float  # m/s
    max_reverse: float  # m/s
    max_turn: float  # rad/s
    jerk: float  # m/s^3
    lateral: float  # m/s^2, of |v * w|
    curvature: float  # 1/m, of |w / v|
    least_width: float  # m
    front: float  # m from the lidar to the front of the footprint
    rear: float  # m to its rear
    speed_steps: int
    turn_steps: int


class Last(NamedTuple):
    """The command under way; NaN where there is none yet."""

    command: NDArray[np.float64]  # (B, 2) m/s, rad/s
    rate: NDArray[np.float64]  # (B, 2) its change per second in the last step
    time: NDArray[np.float64]  # (B,) s


@kernel
def _clear(scene, motion, footprint, samples, cell, at_once, late, v, w):
    """Whether both ways to (v, w) and the braking after them are clear; the late one first."""
    x, y, yaw, v0, w0 = late
    if not approach_and_brake(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v, w,
                              motion.tick, motion.reaction):
        return False
    x, y, yaw, v0, w0 = at_once
    return approach_and_brake(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v, w,
                              motion.reaction + motion.tick, 0.0)


@kernel
def _admissible(scene, motion, footprint, samples, cell, at_once, late, v, w):
    """Whether (v, w) leaves a clear braking, by a base that answers late and by one at once.

    Cheap looks come first: most commands that fail do so at one of the points that ruled out the
    last ones, or at the end.
    """
    x, y, yaw, v0, w0 = at_once
    x1, y1, yaw1, v1, w1 = late
    both = motion.reaction + motion.tick
    if hits_last_culprits(scene, motion, footprint, x, y, yaw, v0, w0, v, w, both):
        return False
    if hits_last_culprits(scene, motion, footprint, x1, y1, yaw1, v1, w1, v, w, motion.tick):
        return False
    few, large_steps = culprits(scene, motion)
    if not _clear(few, large_steps, footprint, samples[:0], cell, at_once, late, v, w):
        return False
    if ends_badly(scene, motion, footprint, samples, cell, x1, y1, yaw1, v1, w1, v, w,
                  motion.tick, motion.reaction):
        return False
    if ends_badly(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v, w, both, 0.0):
        return False
    return _clear(scene, motion, footprint, samples, cell, at_once, late, v, w)


@kernel
def _turn_bound(v, bounds):
    """The largest |w| in rad/s at speed v: turning rate, lateral acceleration, curvature."""
    speed = abs(v)
    bound = min(bounds.max_turn, bounds.lateral / max(speed, 1e-6))
    if math.isinf(bounds.curvature):  # none: it turns in place
        return bound
    return min(bound, bounds.curvature * speed)


@kernel
def speed_cap(distance, motion):
    """The speed in m/s from which the base stops within `distance` m; inverse of stop_reach."""
    delay = motion.reaction + motion.tick + motion.creep
    distance = max(distance, 0.0)
    return motion.deceleration * (
        math.sqrt(delay * delay + 2.0 * distance / motion.deceleration) - delay)


@kernel
def filter_one(b, memory, rules, motion, bounds, footprint, samples, last, pose, velocity,
               proposal, time, speed_limit, reverse_limit, applied, status, clearance):
    """Fill applied, status and clearance of robot b; see Gate.filter."""
    x = pose[b, 0]
    y = pose[b, 1]
    yaw = pose[b, 2]
    v0 = velocity[b, 0]
    w0 = velocity[b, 1]
    wish_v = proposal[b, 0]
    wish_w = proposal[b, 1]
    dt = motion.tick
    if math.isfinite(last.time[b]) and math.isfinite(time[b]):
        dt = clamp(time[b] - last.time[b], 1e-3, _LONGEST)
    under_v = last.command[b, 0]
    under_w = last.command[b, 1]
    if math.isnan(under_v):
        under_v = v0 if math.isfinite(v0) else 0.0
        under_w = w0 if math.isfinite(w0) else 0.0
    brake_v, brake_w = brake(under_v, under_w, motion.deceleration, motion.turn_acceleration, dt)
    out_v = brake_v
    out_w = brake_w
    status[b] = BRAKING
    clearance[b] = math.nan
    if (math.isfinite(x) and math.isfinite(y) and math.isfinite(yaw) and math.isfinite(v0)
            and math.isfinite(w0) and math.isfinite(wish_v) and math.isfinite(wish_w)
            and math.isfinite(time[b])):
        now = place(memory, b, x, y, yaw, time[b], rules)
        mark_place(memory, b, samples, footprint, motion.margin, x, y, yaw, now, rules.cell)
        most = min(bounds.max_speed, speed_limit[b])
        least = -min(bounds.max_reverse, speed_limit[b], reverse_limit[b])
        if memory.scan_origin[b, 2] > 0.0:
            # Beyond this distance the least obstacle may stand between two beams.
            sure = bounds.least_width / memory.scan_origin[b, 2] - motion.margin
            most = min(most, speed_cap(sure - bounds.front, motion))
            least = max(least, -speed_cap(sure - bounds.rear, motion))
        wish_v = clamp(wish_v, least, most)
        turn = _turn_bound(wish_v, bounds)
        wish_w = clamp(wish_w, -turn, turn)
        low_v, high_v = reachable(under_v, last.rate[b, 0], motion.acceleration,
                                  motion.deceleration, bounds.jerk, dt)
        low_v, high_v = bounded(low_v, high_v, least, most)
        low_w, high_w = reachable(under_w, 0.0, motion.turn_acceleration,
                                  motion.turn_acceleration, math.inf, dt)
        low_w, high_w = bounded(low_w, high_w, -bounds.max_turn, bounds.max_turn)
        fastest = max(abs(v0), abs(under_v), abs(low_v), abs(high_v))
        fastest_w = max(abs(w0), abs(under_w), abs(low_w), abs(high_w))
        total = braking_time(fastest, fastest_w, motion.deceleration, motion.turn_acceleration)
        reach = (footprint.radius + motion.margin + rules.cell
                 + stop_reach(fastest, fastest_w, motion)
                 + motion.obstacle_speed * (motion.reaction + motion.tick + total)
                 + min(drift_since(memory, b, now - rules.memory_time, 0.0, motion), _MOST_DRIFT))
        scene, clearance[b] = survey(b, memory, rules, motion, footprint, samples, x, y, yaw,
                                     now, reach)
        clear, x1, y1, yaw1 = phase(scene, motion, footprint, samples, rules.cell, x, y, yaw, v0,
                                    w0, v0, w0, False, motion.reaction, 0.0)
        now_state = (x, y, yaw, v0, w0)
        late_state = (x1, y1, yaw1, v0, w0)
        if clear:
            v = clamp(wish_v, low_v, high_v)
            w = clamp(wish_w, low_w, high_w)
            turn = _turn_bound(v, bounds)
            w = clamp(w, max(low_w, -turn), max(low_w, min(high_w, turn)))
            if _admissible(scene, motion, footprint, samples, rules.cell, now_state, late_state,
                           v, w):
                status[b] = UNCHANGED
                out_v = v
                out_w = w
            else:
                speeds = _spread(low_v, high_v, v, bounds.speed_steps)
                turns = _spread(low_w, high_w, w, bounds.turn_steps)
                for k in _by_distance(speeds, turns, wish_v, wish_w, bounds):
                    v = speeds[k // bounds.turn_steps]
                    w = turns[k % bounds.turn_steps]
                    if abs(w) <= _turn_bound(v, bounds) + _ROUNDING and _admissible(
                            scene, motion, footprint, samples, rules.cell, now_state, late_state,
                            v, w):
                        status[b] = LIMITED
                        out_v = v
                        out_w = w
                        break
        if status[b] == BRAKING and not (
                clear and _admissible(scene, motion, footprint, samples, rules.cell, now_state,
                                      late_state, brake_v, brake_w)):
            found, out_v, out_w = least_closing(
                scene, motion, footprint, samples, rules.cell, now_state, brake_v, brake_w,
                clamp(wish_v, low_v, high_v), low_w, high_w)
            if found:
                status[b] = UNAVOIDABLE
    last.rate[b, 0] = (out_v - under_v) / dt
    last.rate[b, 1] = (out_w - under_w) / dt
    last.command[b, 0] = out_v
    last.command[b, 1] = out_w
    if math.isfinite(time[b]):
        last.time[b] = time[b]
    applied[b, 0] = out_v
    applied[b, 1] = out_w


@kernel
def _spread(low, high, wish, steps):
    """`steps` values from low to high; of those between, the nearest to 0 and `wish` move there.

    Without the 0 a robot that can come no nearer would creep to and fro. The ends stay: the
    slowest may be all that is admissible.
    """
    values = np.linspace(low, high, steps)
    for exact in (0.0, wish):
        if low < exact < high:
            values[1 + np.argmin(np.abs(values[1:-1] - exact))] = exact
    return values


@kernel
def _by_distance(speeds, turns, wish_v, wish_w, bounds):
    """Candidates nearest first: (dv / v_max)^2 + (dw / w_max)^2, ties to the wish's turn."""
    cost = np.empty(speeds.shape[0] * turns.shape[0])
    side = 1e-9 * np.sign(wish_w)
    k = 0
    for v in speeds:
        for w in turns:
            dv = (v - wish_v) / bounds.max_speed
            dw = (w - wish_w) / bounds.max_turn
            cost[k] = dv * dv + dw * dw - side * w
            k += 1
    return np.argsort(cost)


@kernel(parallel=True)
def filter_all(memory, rules, motion, bounds, footprint, samples, last, pose, velocity, proposal,
               time, speed_limit, reverse_limit, applied, status, clearance):
    """`filter_one` for every robot of the batch."""
    for b in prange(pose.shape[0]):
        filter_one(b, memory, rules, motion, bounds, footprint, samples, last, pose, velocity,
                   proposal, time, speed_limit, reverse_limit, applied, status, clearance)

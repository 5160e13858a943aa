"""When no safe manoeuvre is left: the one with the least closing speed, evasion included.

Something stands where the robot will be before it can stand: a thin thing found late, or one that
came faster than the bound. Each candidate goes towards a command for one tick and then brakes. Its
score is the speed that the robot itself still has when it first touches something; zero where it
comes to rest before. Obstacles grow at their speed bound, unseen space counts as touched. Equal
scores go to the candidate nearest to plain braking, so the command does not chatter.
"""

from __future__ import annotations

import math

from karpathy_control.control.braking import STILL_V, STILL_W, advance, crept
from karpathy_control.control.footprint import signed_distance
from karpathy_control.control.limits import approach, brake, braking_time
from karpathy_control.control.scene import seen_at
from karpathy_control.mapping.jit import kernel

_STEP = 0.04  # s between two poses that are looked at
_TURNS = 9  # candidates of the turning rate
_EQUAL = 0.02  # m/s: closing speeds that differ by less are equal


@kernel
def _touches(scene, motion, footprint, samples, cell, x, y, yaw, elapsed):
    c = math.cos(yaw)
    s = math.sin(yaw)
    for k in range(scene.size):
        dx = scene.px[k] - x
        dy = scene.py[k] - y
        grown = motion.obstacle_speed * elapsed
        if dx * dx + dy * dy < (grown + footprint.radius) ** 2 and signed_distance(
                footprint, c * dx + s * dy, c * dy - s * dx) < grown:
            return True
    return not seen_at(scene, samples, x, y, yaw, cell)


@kernel
def closing_speed(scene, motion, footprint, samples, cell, state, v, w):
    """Speed in m/s of the fastest point of the footprint at the first touch; 0 for none.

    `state` is (x, y, yaw, v, w) now, in odom; (v, w) the command that is tried.
    """
    x, y, yaw, v0, w0 = state
    going = motion.reaction + motion.tick
    v1 = approach(v0, v, motion.acceleration, motion.deceleration, going)
    w1 = approach(w0, w, motion.turn_acceleration, motion.turn_acceleration, going)
    braking = braking_time(v1, w1, motion.deceleration, motion.turn_acceleration)
    total = going + braking
    creep = crept(v1, 0.0, braking, motion)
    for k in range(math.ceil(total / _STEP)):
        middle = (k + 0.5) * _STEP
        ahead = 0.0
        if middle < going:
            vk = approach(v0, v, motion.acceleration, motion.deceleration, middle)
            wk = approach(w0, w, motion.turn_acceleration, motion.turn_acceleration, middle)
        else:
            vk, wk = brake(v1, w1, motion.deceleration, motion.turn_acceleration, middle - going)
            ahead = creep
        x, y, yaw = advance(x, y, yaw, vk + ahead, wk, _STEP)
        if abs(vk) <= STILL_V and abs(wk) <= STILL_W:
            continue
        if _touches(scene, motion, footprint, samples, cell, x, y, yaw, (k + 1) * _STEP):
            return abs(vk) + abs(wk) * footprint.radius
    return 0.0


@kernel
def least_closing(scene, motion, footprint, samples, cell, state, brake_v, brake_w, wish_v, low_w,
                  high_w):
    """The command of least closing speed. Returns (found, v m/s, w rad/s).

    Not found where the robot stands, or where braking touches nothing: that is what is then done.
    """
    if abs(state[3]) <= STILL_V and abs(state[4]) <= STILL_W and (
            abs(brake_v) <= STILL_V and abs(brake_w) <= STILL_W):
        return False, brake_v, brake_w
    best_v = brake_v
    best_w = brake_w
    best = closing_speed(scene, motion, footprint, samples, cell, state, brake_v, brake_w)
    if best == 0.0:
        return False, brake_v, brake_w
    least = math.inf  # how far the best is from braking; braking itself is kept unless beaten
    for i in range(2):
        v = brake_v if i == 0 else wish_v
        for j in range(_TURNS):
            w = low_w + (high_w - low_w) * j / (_TURNS - 1)
            closing = closing_speed(scene, motion, footprint, samples, cell, state, v, w)
            off = abs(v - brake_v) + footprint.radius * abs(w - brake_w)
            if closing < best - _EQUAL or (closing < best + _EQUAL and off < least
                                           and math.isfinite(least)):
                best = min(best, closing)
                best_v = v
                best_w = w
                least = off
    return True, best_v, best_w

"""The check of one command: its braking manoeuvre must stay in space observed free.

The manoeuvre after a command is looked at for a base that answers as late as it may and for one
that answers at once. Late: the robot keeps its measured velocity for `reaction` seconds, goes
towards the new command for one `tick`, then it brakes. At once: it goes towards the new command
for `reaction` and `tick`, then it brakes. The first bounds what is still under way while the robot
slows down, the second while it speeds up. The braking follows the arc that the robot is on, both
axes falling linearly to zero together; all within the acceleration limits. With both clear, a
later tick that finds nothing better carries the braking on, and what was checked here is what is
then driven, whatever the latency within its bound.

The footprint is exact. The time step follows the clearance (conservative advancement): where the
nearest obstacle is d beyond its margin, the next pose to look at is the one before which no point
of the footprint can have moved by d. Steps end at 5 mm, and half of that is added to the margin,
so between the poses nothing is missed.

What the robot must keep from is in control.scene.
"""

from __future__ import annotations

import math

from karpathy_control.control.footprint import signed_distance
from karpathy_control.control.limits import approach, brake, braking_time
from karpathy_control.control.scene import CULPRITS, SAME, Motion, Scene, room_at, seen_at
from karpathy_control.mapping.jit import kernel

_LARGE_STEP = 0.02  # m, where a look only rules out
_RAMP = 0.02  # s that are driven at the speed of their middle: 0.1 mm off where a ramp ends
_HORIZON = 0.25  # m up to which room is told apart
STILL_V, STILL_W = 0.02, 0.05  # m/s, rad/s: below both the robot counts as standing
_COARSE = 4  # steps of the braking in the quick look
_OFF = 0.002  # m by which the poses of the look at the end may be off
_HALF_WAY = 1.0 - math.sqrt(0.5)  # of the time of a braking, half of its arc is driven


@kernel
def advance(x, y, yaw, v, w, dt):
    """Exact unicycle motion at constant v (m/s) and w (rad/s)."""
    turn = w * dt
    if abs(turn) < 1e-6:
        mid = yaw + 0.5 * turn
        return x + v * dt * math.cos(mid), y + v * dt * math.sin(mid), yaw + turn
    r = v / w
    return (x + r * (math.sin(yaw + turn) - math.sin(yaw)),
            y - r * (math.cos(yaw + turn) - math.cos(yaw)), yaw + turn)


@kernel
def culprits(scene, motion):
    """Only the points that ruled the last commands out, to be met in large steps.

    Returns (Scene, Motion) for `approach_and_brake`, at a fiftieth of the cost.
    """
    few = Scene(scene.px, scene.py, scene.start, scene.extra, min(CULPRITS, scene.size),
                scene.need, scene.free, scene.excused, scene.excused_count, scene.origin_x,
                scene.origin_y, scene.base_x, scene.base_y, scene.oldest)
    return few, Motion(
        motion.acceleration, motion.deceleration, motion.turn_acceleration, motion.reaction,
        motion.tick, motion.margin, motion.obstacle_speed, motion.drift_per_metre,
        motion.drift_per_radian, motion.lever, motion.shadow, _LARGE_STEP, motion.creep)


@kernel
def crept(before, after, dt, motion):
    """How much faster than its wheels the base is, m/s, while they go from one speed to another.

    Tyres that brake creep: the base follows its wheels `creep` seconds later, while it turns as
    they do, so it gets farther out of an arc. In steady driving there is no such difference.
    """
    if abs(after) >= abs(before):
        return 0.0
    return motion.creep * (before - after) / dt


@kernel
def phase(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1, braking, duration,
          elapsed):
    """Drive one part of a manoeuvre from (x, y, yaw) at (v0, w0) and look at every pose.

    Not braking: towards (v1, w1) within the acceleration limits. Braking: along the arc of
    (v0, w0). `elapsed` is the time since now, s. Returns (clear, x, y, yaw) at the end or at the
    violation.
    """
    t = 0.0
    unseen = 0.0  # m of motion since the outline was looked up
    creep = crept(v0, 0.0, duration, motion) if braking else 0.0
    room = room_at(scene, footprint, x, y, yaw, scene.need, motion.obstacle_speed * elapsed,
                   _HORIZON)  # from here on a lower bound, until the points are looked at anew
    while duration - t > 1e-9:
        if braking:
            v, w = brake(v0, w0, motion.deceleration, motion.turn_acceleration, t)
            rate = abs(v) + abs(w) * footprint.radius
        else:
            rate = max(abs(v0), abs(v1)) + max(abs(w0), abs(w1)) * footprint.radius
        if rate > 1e-9:
            rate += motion.creep * motion.deceleration
        h = duration - t
        if not braking:
            h = min(h, _RAMP)
        if rate > 1e-9:
            h = min(h, min(max(room, motion.step), cell) / (rate + motion.obstacle_speed))
        middle = t + 0.5 * h
        if braking:
            v, w = brake(v0, w0, motion.deceleration, motion.turn_acceleration, middle)
        else:
            v = approach(v0, v1, motion.acceleration, motion.deceleration, middle)
            w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, middle)
            if motion.creep > 0.0:
                creep = crept(v, approach(v, v1, motion.acceleration, motion.deceleration, h), h,
                              motion)
        x, y, yaw = advance(x, y, yaw, v + creep, w, h)
        t += h
        if rate <= 1e-9 or (motion.obstacle_speed > 0.0 and braking and abs(v) <= STILL_V
                            and abs(w) <= STILL_W):
            continue  # standing: passive, whatever comes
        room -= (rate + motion.obstacle_speed) * h
        if room < motion.step:
            room = room_at(scene, footprint, x, y, yaw, scene.need,
                           motion.obstacle_speed * (elapsed + t), _HORIZON)
            if room < 0.0:
                return False, x, y, yaw
        unseen += rate * h
        if unseen >= 0.5 * cell or duration - t <= 1e-9:
            unseen = 0.0
            if not seen_at(scene, samples, x, y, yaw, cell):
                return False, x, y, yaw
    return True, x, y, yaw


@kernel
def hits_last_culprits(scene, motion, footprint, x, y, yaw, v0, w0, v1, w1, duration):
    """Whether the manoeuvre, in a few large steps, comes too close to one of the first points.

    `room_at` puts the points that ruled the last commands out first, and the next command mostly
    fails by the same ones: this says so at a hundredth of the cost. It never lets anything pass.
    Of a base that creeps it looks at the way of its wheels, which must be clear as well.
    """
    v = approach(v0, v1, motion.acceleration, motion.deceleration, 0.5 * duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, 0.5 * duration)
    x, y, yaw = advance(x, y, yaw, v, w, duration)
    v = approach(v0, v1, motion.acceleration, motion.deceleration, duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, duration)
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    for k in range(_COARSE):
        vk, wk = brake(v, w, motion.deceleration, motion.turn_acceleration,
                       (k + 0.5) * total / _COARSE)
        x, y, yaw = advance(x, y, yaw, vk, wk, total / _COARSE)
        c = math.cos(yaw)
        s = math.sin(yaw)
        for j in range(min(CULPRITS, scene.size)):
            need = min(motion.margin, scene.need, scene.start[j] - SAME)
            dx = scene.px[j] - x
            dy = scene.py[j] - y
            if dx * dx + dy * dy < (need + footprint.radius) ** 2 and signed_distance(
                    footprint, c * dx + s * dy, c * dy - s * dx) < need:
                return True
    return False


@kernel
def ends_badly(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1, duration,
               elapsed):
    """Whether the manoeuvre half-way through its braking, or at rest, is where it must not be.

    Most commands that fail do so there: two looks then save the two hundred of the whole way.
    The way to the braking is driven in two steps, which are off by less than `_OFF`; the braking
    is one arc, of the wheels where the base creeps. It never lets anything pass.
    """
    for k in range(2):
        middle = (0.25 + 0.5 * k) * duration
        v = approach(v0, v1, motion.acceleration, motion.deceleration, middle)
        w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, middle)
        x, y, yaw = advance(x, y, yaw, v, w, 0.5 * duration)
    v = approach(v0, v1, motion.acceleration, motion.deceleration, duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, duration)
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    moving = 1.0 - min(STILL_V / max(abs(v), STILL_V), STILL_W / max(abs(w), STILL_W))
    for share in (_HALF_WAY, moving):  # of the time of the braking
        x, y, yaw = advance(x, y, yaw, v, w, 0.25 * total)  # half of its arc
        grown = motion.obstacle_speed * (elapsed + duration + share * total)
        if room_at(scene, footprint, x, y, yaw, scene.need, grown - _OFF, 0.0) < 0.0:
            return True
    return not seen_at(scene, samples, x, y, yaw, cell)


@kernel
def approach_and_brake(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1,
                       duration, elapsed):
    """Whether going from (v0, w0) towards (v1, w1) for `duration` s, then braking, is clear."""
    clear, x, y, yaw = phase(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v1, w1,
                             False, duration, elapsed)
    if not clear:
        return False
    v = approach(v0, v1, motion.acceleration, motion.deceleration, duration)
    w = approach(w0, w1, motion.turn_acceleration, motion.turn_acceleration, duration)
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    clear, x, y, yaw = phase(scene, motion, footprint, samples, cell, x, y, yaw, v, w, 0.0, 0.0,
                             True, total, elapsed + duration)
    return clear

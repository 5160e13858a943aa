"""How far odometry may have drifted since something was seen.

Drift is bounded per metre travelled and per radian turned (parameters of the gate). Each robot
keeps how far it had travelled and turned at the start of every tenth of a second of its memory, so
that nothing needs to be kept beside a remembered point but the time when it was seen.

An error d of heading made where the robot is at r from a point moves the point by d * r in the
robot's frame. So each radian counts with the distance at which it was turned: at most that of the
point from here plus that of the robot, then, from here; nor more than the window of the memory
reaches, since what leaves it is forgotten. The second part is the same for all points: a sum for
each slot, renewed with every pose.
"""

from __future__ import annotations

import math

from karpathy_control.mapping.jit import kernel

SLOT = 0.1  # s
NONE = -(1 << 40)  # the slot of a robot that has no pose yet


@kernel
def forget_travel(memory, b):
    """The next pose of robot b starts a new sum."""
    memory.travel_slot[b] = NONE


@kernel
def shift_travel(memory, b, span):
    """The epoch has moved on by `span` s, a multiple of SLOT."""
    slots = round(span / SLOT)
    count = memory.travel_sums.shape[1]
    for layer in (memory.travel_sums[b], memory.travel_places[b]):
        old = layer.copy()
        for k in range(count):
            layer[(k - slots) % count] = old[k]
    swing = memory.travel_swing[b].copy()
    for k in range(count):
        memory.travel_swing[b, (k - slots) % count] = swing[k]
    memory.travel_slot[b] -= slots
    memory.travel_time[b] -= span


@kernel
def track(memory, b, x, y, yaw, time):
    """Sum up to a pose at `time` since the epoch; one not newer than the last is left out."""
    slot = math.floor(time / SLOT)
    count = memory.travel_sums.shape[1]
    if memory.travel_slot[b] == NONE:
        memory.travel_total[b] = 0.0
        memory.travel_sums[b] = 0.0
        memory.travel_places[b, :, 0] = x
        memory.travel_places[b, :, 1] = y
        memory.travel_swing[b] = 0.0
        memory.travel_slot[b] = slot
    elif time <= memory.travel_time[b]:
        return
    else:
        for k in range(max(memory.travel_slot[b] + 1, slot - count + 1), slot + 1):
            memory.travel_sums[b, k % count] = memory.travel_total[b]
            memory.travel_places[b, k % count] = memory.travel_pose[b, :2]
        memory.travel_slot[b] = slot
        dx = x - memory.travel_pose[b, 0]
        dy = y - memory.travel_pose[b, 1]
        turn = (yaw - memory.travel_pose[b, 2] + math.pi) % (2.0 * math.pi) - math.pi
        memory.travel_total[b, 0] += math.sqrt(dx * dx + dy * dy)
        memory.travel_total[b, 1] += abs(turn)
        _swing(memory, b, x, y)
    memory.travel_pose[b, 0] = x
    memory.travel_pose[b, 1] = y
    memory.travel_pose[b, 2] = yaw
    memory.travel_time[b] = time


@kernel
def _swing(memory, b, x, y):
    """Sum, back from now, what was turned in each slot times how far from here that was.

    Where a slot begins at p and ends at q after s m, its every place r is at most half of
    |p| + |q| + s from here, since |r - p| + |r - q| <= s.
    """
    count = memory.travel_sums.shape[1]
    later_m = memory.travel_total[b, 0]
    later_rad = memory.travel_total[b, 1]
    later_off = 0.0
    total = 0.0
    for back in range(count):
        k = (memory.travel_slot[b] - back) % count
        dx = memory.travel_places[b, k, 0] - x
        dy = memory.travel_places[b, k, 1] - y
        off = math.sqrt(dx * dx + dy * dy)
        farthest = 0.5 * (off + later_off + later_m - memory.travel_sums[b, k, 0])
        total += (later_rad - memory.travel_sums[b, k, 1]) * farthest
        memory.travel_swing[b, k] = total
        later_m = memory.travel_sums[b, k, 0]
        later_rad = memory.travel_sums[b, k, 1]
        later_off = off


@kernel
def drift_since(memory, b, seen, distance, motion):
    """Bound in m on how far a point, seen at time `seen` and `distance` m away now, is off."""
    count = memory.travel_sums.shape[1]
    latest = memory.travel_slot[b]
    slot = min(max(math.floor(float(seen) / SLOT), latest - count + 1), latest)
    travelled = memory.travel_total[b, 0] - memory.travel_sums[b, slot % count, 0]
    turned = memory.travel_total[b, 1] - memory.travel_sums[b, slot % count, 1]
    swing = min(turned * distance + memory.travel_swing[b, slot % count], turned * motion.lever)
    return motion.drift_per_metre * travelled + motion.drift_per_radian * swing


@kernel
def steady_since(memory, b, distance, motion, allowed):
    """The earliest time whose sights, `distance` m away now, are off by `allowed` m at most."""
    count = memory.travel_sums.shape[1]
    first = memory.travel_slot[b] - count + 1
    slot = memory.travel_slot[b]
    while slot > first and drift_since(memory, b, (slot - 0.5) * SLOT, distance,
                                       motion) <= allowed:
        slot -= 1
    return slot * SLOT if slot > first else -math.inf

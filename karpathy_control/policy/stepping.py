"""How a roll-out takes a base to move: commands reached along ramps, step by step."""

from __future__ import annotations

import math

from karpathy_control.mapping.jit import kernel

STEP = 0.1  # s
DELAY = 0.1  # s: the last applied command goes on acting for this long


@kernel
def towards(value, target, rise, fall):
    """One step of a velocity towards its target; `fall` limits the approach to zero."""
    limit = rise if abs(target) > abs(value) and target * value >= 0.0 else fall
    return value + min(max(target - value, -limit), limit)


@kernel
def one_step(x, y, yaw, v, w, target_v, target_w, limits, dt):
    """Move for dt s towards a target velocity, on a chord at the middle heading.

    limits: as for fan.roll_out. Returns x, y, yaw, v, w at the end, then mean v, mean w and the
    heading of the chord; m, s and rad.
    """
    new_v = towards(v, target_v, limits[3] * dt, limits[4] * dt)
    new_w = towards(w, target_w, limits[5] * dt, limits[5] * dt)
    mean_v, mean_w = 0.5 * (v + new_v), 0.5 * (w + new_w)
    middle = yaw + 0.5 * mean_w * dt
    return (x + mean_v * dt * math.cos(middle), y + mean_v * dt * math.sin(middle),
            yaw + mean_w * dt, new_v, new_w, mean_v, mean_w, middle)

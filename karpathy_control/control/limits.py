"""Limits on speed, acceleration and jerk as pure functions of numbers; SI units throughout."""

from __future__ import annotations

import math

from karpathy_control.mapping.jit import kernel


@kernel
def clamp(value, low, high):
    """`value` moved into [low, high]."""
    return min(max(value, low), high)


@kernel
def reachable(last, rate, acceleration, deceleration, jerk, dt):
    """The interval of commands that one axis may take `dt` s after the command `last`.

    `last` in m/s (or rad/s), `rate` its last change per second (m/s^2), `acceleration` the bound
    away from zero, `deceleration` the bound towards zero, `jerk` (m/s^3) the bound on how fast
    the acceleration away from zero builds up. Slowing down is never limited by jerk. A change of
    sign spends what is left of `dt` after zero on speeding up the other way.
    """
    sign = -1.0 if last < 0.0 else 1.0
    speed = abs(last)
    up = min(acceleration, max(sign * rate, 0.0) + jerk * dt)
    high = speed + up * dt
    low = speed - deceleration * dt
    if low < 0.0:
        down = min(acceleration, max(-sign * rate, 0.0) + jerk * dt)
        low = -down * (dt - speed / deceleration)
    return (low, high) if sign > 0.0 else (-high, -low)


@kernel
def bounded(low, high, least, most):
    """The part of the reachable [low, high] within [least, most]; one end where there is none.

    Beyond a bound the command comes back to it as fast as [low, high] allows, not at once.
    """
    if low > most:
        return low, low
    if high < least:
        return high, high
    return max(low, least), min(high, most)


@kernel
def braking_time(v, w, deceleration, turn_deceleration):
    """Time in s to come to rest from (v m/s, w rad/s) along one arc, both axes ending together."""
    return max(abs(v) / deceleration, abs(w) / turn_deceleration)


@kernel
def brake(v, w, deceleration, turn_deceleration, dt):
    """The command `dt` s further into the braking on the arc of (v, w): both fall linearly."""
    total = braking_time(v, w, deceleration, turn_deceleration)
    if total <= dt:
        return 0.0, 0.0
    share = 1.0 - dt / total
    return v * share, w * share


@kernel
def approach(value, target, acceleration, deceleration, dt):
    """`value` after `dt` s on its way to `target`, slowing at one rate and speeding at another."""
    if value * target < 0.0:
        pause = abs(value) / deceleration
        if pause >= dt:
            return value - math.copysign(deceleration * dt, value)
        return clamp(target, -acceleration * (dt - pause), acceleration * (dt - pause))
    bound = (acceleration if abs(target) > abs(value) else deceleration) * dt
    return value + clamp(target - value, -bound, bound)

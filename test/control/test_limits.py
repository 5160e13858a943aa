"""Limits: each number by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.control.limits import (
    approach,
    bounded,
    brake,
    braking_time,
    reachable,
)


def test_acceleration_and_deceleration_bound_the_next_command():
    # 0.5 m/s, 0.1 s, +2 and -2.5 m/s^2: 0.5 - 0.25 .. 0.5 + 0.2
    assert reachable(0.5, 2.0, 2.0, 2.5, 1e3, 0.1) == pytest.approx((0.25, 0.7))


def test_jerk_bounds_the_build_up_of_acceleration_only():
    # at rest, 20 m/s^3 for 0.05 s is 1 m/s^2, so 0.05 m/s; then 2 m/s^2, so 0.1 m/s more
    assert reachable(0.0, 0.0, 2.0, 2.5, 20.0, 0.05) == pytest.approx((-0.05, 0.05))
    assert reachable(0.05, 1.0, 2.0, 2.5, 20.0, 0.05)[1] == pytest.approx(0.15)
    # braking comes at once, whatever the jerk: 1.0 - 2.5 * 0.1
    assert reachable(1.0, 2.0, 2.0, 2.5, 1.0, 0.1)[0] == pytest.approx(0.75)


def test_through_zero_the_rest_of_the_step_speeds_up_the_other_way():
    # 0.1 m/s at -2.5 m/s^2 is zero after 0.04 s; 0.01 s are left. The acceleration is -2.5
    # already, so 2 m/s^2 (its bound) holds at once: -0.02 m/s
    low, _ = reachable(0.1, -2.5, 2.0, 2.5, 20.0, 0.05)
    assert low == pytest.approx(-2.0 * 0.01)


@given(st.floats(-2, 2), st.floats(-3, 3), st.floats(1e-3, 0.1))
def test_both_directions_are_alike(last, rate, dt):
    low, high = reachable(last, rate, 2.0, 2.5, 20.0, dt)
    mirrored = reachable(-last, -rate, 2.0, 2.5, 20.0, dt)
    if last != 0.0:
        assert mirrored == pytest.approx((-high, -low))
    assert low <= high
    assert high - last <= 2.5 * dt + 1e-12 and last - low <= 2.5 * dt + 1e-12


@pytest.mark.parametrize(('interval', 'limits', 'expected'), [
    ((0.2, 0.6), (-0.3, 0.4), (0.2, 0.4)),
    ((0.6, 0.9), (-0.3, 0.4), (0.6, 0.6)),  # too fast: as slow as can be, not at once 0.4
    ((-0.9, -0.6), (-0.3, 0.4), (-0.6, -0.6)),
])
def test_beyond_a_bound_the_command_comes_back_as_fast_as_it_can(interval, limits, expected):
    assert bounded(*interval, *limits) == pytest.approx(expected)


def test_braking_keeps_the_arc():
    # 1 m/s at 2.5 m/s^2 takes 0.4 s, 1.2 rad/s at 6 rad/s^2 only 0.2 s: both end at 0.4 s
    assert braking_time(1.0, 1.2, 2.5, 6.0) == pytest.approx(0.4)
    v, w = brake(1.0, 1.2, 2.5, 6.0, 0.1)
    assert (v, w) == pytest.approx((0.75, 0.9))
    assert w / v == pytest.approx(1.2)
    assert brake(1.0, 1.2, 2.5, 6.0, 0.5) == (0.0, 0.0)
    assert brake(0.0, 0.0, 2.5, 6.0, 0.0) == (0.0, 0.0)
    assert brake(1.0, 1.2, 2.5, 6.0, 0.0) == (1.0, 1.2)


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(1e-3, 1.0))
def test_approach_equals_small_steps(value, target, dt):
    n = 2000
    expected = value
    for _ in range(n):
        slower = abs(target) < abs(expected) or expected * target < 0.0
        step = (2.5 if slower else 2.0) * dt / n
        expected += math.copysign(min(step, abs(target - expected)), target - expected)
    assert approach(value, target, 2.0, 2.5, dt) == pytest.approx(expected, abs=5e-3)

"""Lateness, rates and levels against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.measuring.responses import area, crossing, held, lateness, level, rate

T = np.arange(0.0, 4.0, 0.001)


def ramp(slope, end, late=0.0):
    return np.clip(slope * (T - 0.5 - late), 0.0, end)


def test_a_command_is_held_until_the_next():
    at = np.array([0.9, 1.0, 1.5, 2.0, 9.0])
    assert held(np.array([1.0, 2.0]), np.array([3.0, 4.0]), at).tolist() == [0, 3, 3, 4, 4]


def test_level_takes_what_lies_between():
    assert level(np.array([0.0, 1.0, 2.0]), np.array([9.0, 2.0, 4.0]), 0.0, 2.0) == 3.0
    assert np.isnan(level(T, T, 7.0, 8.0))


def test_a_crossing_lies_between_samples():
    # from 0 at 1 s to 10 at 2 s: 2.5 at 1.25 s
    assert crossing(np.array([1.0, 2.0]), np.array([0.0, 10.0]), 2.5) == 1.25
    assert crossing(np.array([1.0, 2.0]), np.array([5.0, 10.0]), 2.5) == 1.0
    assert np.isnan(crossing(np.array([1.0, 2.0]), np.array([0.0, 1.0]), 2.5))


def test_area_of_a_triangle():
    assert area(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 0.0])) == 3.0


@given(late=st.floats(0.0, 0.3), slope=st.floats(0.5, 9.0), end=st.floats(0.2, 1.5))
def test_a_delay_is_told_whatever_the_ramp(late, slope, end):
    """Up and, mirrored, down."""
    up = lateness(T, ramp(slope, end), ramp(slope, end, late), end)
    down = lateness(T, end - ramp(slope, end), end - ramp(slope, end, late), -end)
    assert up == pytest.approx(late, abs=1e-3) and down == pytest.approx(late, abs=1e-3)


def test_a_first_order_lag_is_told_as_its_time_constant():
    step = np.where(T >= 0.5, 1.0, 0.0)
    answer = np.where(T >= 0.5, 1.0 - np.exp(-(T - 0.5) / 0.12), 0.0)
    assert lateness(T, step, answer, 1.0) == pytest.approx(0.12, abs=1e-3)


def test_a_slower_ramp_is_late_by_half_of_what_it_takes_longer():
    # 1 m/s by 4 m/s^2 takes 0.25 s, by 2 m/s^2 0.5 s: (0.5 - 0.25) / 2
    assert lateness(T, ramp(4.0, 1.0), ramp(2.0, 1.0), 1.0) == pytest.approx(0.125, abs=1e-3)


@given(slope=st.floats(0.5, 9.0), end=st.floats(0.2, 1.5))
def test_the_rate_of_a_ramp(slope, end):
    assert rate(T, ramp(slope, end), end) == pytest.approx(slope, rel=1e-3)


def test_what_never_rises_has_no_rate():
    assert np.isnan(rate(T, np.zeros_like(T), 1.0))

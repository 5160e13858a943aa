"""Where things go on to, against the closed form and a fine integration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from karpathy_control.mapping.motion import TURN_TIME, go_on


def ways_of(rows, steps, step):
    rows = np.array(rows, float)
    ways = np.full((steps, len(rows), 2), np.nan)
    go_on(rows, step, ways)
    return ways


def test_straight_on():
    ways = ways_of([[1.0, 2.0, 0.5, -1.0, 0.3, 1.0, 0.0, 0.3, 0.0], [0.0] * 9], 20, 0.1)
    t = 0.1 * np.arange(1, 21)[:, None]
    np.testing.assert_allclose(ways[:, 0], (1.0, 2.0) + t * (0.5, -1.0), atol=1e-12)
    assert (ways[:, 1] == 0.0).all()


@settings(deadline=None)  # the first compiles
@given(vx=st.floats(-2, 2), vy=st.floats(-2, 2), turn=st.floats(-3, 3))
def test_a_turn_wears_off(vx, vy, turn):
    """d heading / dt = turn exp(-t / T); chords of 0.1 s are off by v w^2 h^2 / 24 a second."""
    def slope(t, _):
        turned = turn * TURN_TIME * (1.0 - np.exp(-t / TURN_TIME))
        c, s = np.cos(turned), np.sin(turned)
        return c * vx - s * vy, s * vx + c * vy

    exact = solve_ivp(slope, (0.0, 3.5), (1.0, -1.0), t_eval=[0.5, 3.5], rtol=1e-9, atol=1e-9).y.T
    found = ways_of([[1.0, -1.0, vx, vy, 0.3, 1.0, turn, 0.3, 0.0]], 35, 0.1)[[4, 34], 0]
    np.testing.assert_allclose(found, exact, atol=2.9 * 9.0 * 0.01 / 24.0 * 3.5 + 1e-9)
    assert np.hypot(*(found[1] - (1.0, -1.0))) <= 3.5 * np.hypot(vx, vy) + 1e-9


def test_a_quarter_turn_by_hand():
    # in the end it has turned by turn * T: with pi / (2 T) a quarter, and goes on sideways
    turn = np.pi / (2.0 * TURN_TIME)
    ways = ways_of([[0.0, 0.0, 1.0, 0.0, 0.3, 1.0, turn, 0.0, 0.0]], 200, 0.1)[:, 0]
    assert ways[-1] - ways[-2] == pytest.approx((0.0, 0.1), abs=1e-4)


def test_a_gain_of_speed_wears_off_and_nothing_goes_back():
    # v + a T (1 - exp(-t / T)): from 1 m/s at 0.4 m/s^2 to 1 + 0.4 T in the end
    ways = ways_of([[0.0, 0.0, 1.0, 0.0, 0.3, 1.0, 0.0, 0.0, 0.4]], 200, 0.1)[:, 0]
    assert ways[-1] - ways[-2] == pytest.approx((0.1 * (1.0 + 0.4 * TURN_TIME), 0.0), abs=1e-6)
    # t + a T (t - T (1 - exp(-t / T))) m after t = 2 s
    exact = 2.0 + 0.4 * TURN_TIME * (2.0 - TURN_TIME * (1.0 - np.exp(-2.0 / TURN_TIME)))
    assert ways[19, 0] == pytest.approx(exact, abs=1e-3)
    # at -2 m/s^2 it stands after a while and does not turn back
    ways = ways_of([[0.0, 0.0, 1.0, 0.0, 0.3, 1.0, 0.0, 0.0, -2.0]], 100, 0.1)[:, 0, 0]
    assert (np.diff(ways) >= 0.0).all() and ways[-1] == ways[50]

"""Each reward term by hand."""

import numpy as np
import pytest

from karpathy_control.learning.rewards import TERMS, Transition, weighted_sum


def transition(**changes):
    n = 2
    values = {
        'step': 0.05, 'progress': np.array([0.06, -2.0]), 'reached': np.array([True, False]),
        'contact': np.array([False, True]), 'proposed': np.array([[1.2, 0.0], [0.6, 1.0]]),
        'applied': np.array([[0.6, 0.0], [0.6, 1.0]]), 'previous': np.zeros((n, 2)),
        'limits': np.array([1.2, 2.0]), 'speed': np.array([0.5, -0.2]),
        'clearance': np.array([0.125, 0.3])}
    return Transition(**(values | changes))


@pytest.mark.parametrize('name,expected', [
    ('progress', [0.06, -0.5]),  # capped at half a metre
    ('reached', [1, 0]),
    ('collision', [0, 1]),
    ('time', [0.05, 0.05]),
    ('leaning', [0.5 * 0.05, 0.0]),  # half of full scale for 50 ms
    ('smoothness', [0.25, 0.5]),  # (0.6/1.2)^2; the same + (1/2)^2
    ('comfort', [0.5 * 0.5 * 0.05, 0.0]),  # half inside, 0.5 m/s
])
def test_term(name, expected):
    np.testing.assert_allclose(TERMS[name](transition()), expected)


def test_weighted_sum_and_its_parts():
    total, parts = weighted_sum(transition(), {'progress': 2.0, 'collision': -10.0})
    np.testing.assert_allclose(total, [0.12, -11.0])
    assert set(parts) == {'progress', 'collision'}


def test_unknown_reward_is_named():
    with pytest.raises(ValueError, match=r"unknown reward 'speed'; known: progress"):
        weighted_sum(transition(), {'speed': 1.0})

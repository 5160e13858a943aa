"""Which plan counts: the latest that is fresh and leads to the goal; what is said otherwise."""

import numpy as np
import pytest

from karpathy_control.sensing.route import Route

S = 1_000_000_000
WAY = np.array([[0.0, 0.0], [2.0, 1.0], [4.0, 0.0]])


@pytest.fixture
def route():
    made = Route()
    assert made.take(WAY, 10 * S, 10 * S, 5.0) is None
    return made


def test_a_fresh_plan_to_the_goal_counts(route):
    for goal in (None, (4.0, 0.0), (4.6, -0.8)):  # 3-4-5: 1.0 m off, just what is taken
        points, why = route.at(15 * S, goal, 5.0)
        assert points.dtype == np.float32 and points.tolist() == WAY.tolist() and why == ''


@pytest.mark.parametrize('stamp, goal, most, why', [
    (15 * S + 1, (4.0, 0.0), 5.0, 'plan_too_old'),
    (11 * S, (4.61, -0.8), 5.0, 'plan_elsewhere'),
    (11 * S + 1, None, 1.0, 'plan_too_old'),  # live
])
def test_left_out(route, stamp, goal, most, why):
    assert route.at(stamp, goal, most) == (None, why)


def test_it_never_ages_with_zero(route):
    assert route.at(10**6 * S, None, 0.0)[0] is not None
    assert route.take(WAY[:2], 0, 10**6 * S, 0.0) is None


def test_a_stale_one_is_refused_by_age_and_the_last_stays(route):
    assert route.take(WAY[:2], 2 * S, 9 * S + S // 2, 5.0) == (
        'plan of 7.5 s ago; it takes at most plan_max_age, 5 s')
    assert len(route.at(12 * S, None, 5.0)[0]) == 3


def test_none_ends_it(route):
    assert route.take(None, 0, 99 * S, 5.0) is None  # however late
    assert route.at(10 * S, None, 5.0) == (None, '') and route.state() == {}


def test_another_goes_on_from_its_state(route):
    other = Route()
    other.take(WAY[:1], 10 * S, 10 * S, 5.0)
    other.restore(route.state())
    assert other.at(15 * S, None, 5.0)[0].tolist() == WAY.tolist()
    assert other.at(15 * S + 1, None, 5.0)[1] == 'plan_too_old'
    other.restore({})
    assert other.at(10 * S, None, 5.0) == (None, '')

"""Ages of inputs on both clocks, and the odometry history."""

import math

import pytest

from karpathy_control.contracts.types import State
from karpathy_control.control.ages import Health, Input
from karpathy_control.control.odometry import OdometryHistory

S = 1_000_000_000
MS = 1_000_000


def health(item, now, steady, sim_time):
    return item.health(now, steady, sim_time, 0.25, 0.1)


def test_never_fresh_stale_future():
    item = Input()
    assert health(item, 0, 0, True) is Health.NEVER
    item.take(10 * S, 5 * S, 0.25)
    assert health(item, 10 * S + 250 * MS, 5 * S, True) is Health.FRESH
    assert health(item, 10 * S + 251 * MS, 5 * S, True) is Health.STALE
    assert health(item, 10 * S - 100 * MS, 5 * S, True) is Health.FRESH  # leads by the tolerance
    assert health(item, 10 * S - 101 * MS, 5 * S, True) is Health.FUTURE


def test_before_the_first_message_and_after_clear_there_is_no_age():
    item = Input()
    assert item.age(10 * S, 5 * S, True) == item.age(10 * S, 5 * S, False) == math.inf
    item.take(10 * S, 5 * S, 0.25)
    item.clear()
    assert (item.stamp, item.received) == (None, None)
    assert item.age(10 * S, 5 * S, True) == math.inf
    assert health(item, 10 * S, 5 * S, True) is Health.NEVER
    assert item.take(1 * S, 5 * S, 0.25)  # older than what was forgotten


def test_health_judges_the_age_of_its_clock():
    item = Input()
    item.take(10 * S, 5 * S, 0.25)
    # the receipt is too old, the stamp is not: only sim time goes by the stamp alone
    assert health(item, 10 * S, 5 * S + 300 * MS, True) is Health.FRESH
    assert health(item, 10 * S, 5 * S + 300 * MS, False) is Health.STALE


def test_without_sim_time_a_stamp_of_now_ages_by_receipt():
    item = Input()
    item.take(10 * S, 5 * S, 0.25)
    assert item.age(10 * S, 5 * S + 200 * MS, False) == 0.2
    assert item.age(10 * S - 50 * MS, 5 * S + 200 * MS, False) == -0.05  # from the future


def test_without_sim_time_the_older_of_stamp_and_receipt():
    item = Input()
    item.take(10 * S, 5 * S, 0.25)
    # the stamp is 0.1 s old, the receipt 0.2 s
    assert item.age(10 * S + 100 * MS, 5 * S + 200 * MS, False) == pytest.approx(0.2)
    assert item.age(10 * S + 300 * MS, 5 * S + 200 * MS, False) == pytest.approx(0.3)
    assert item.age(10 * S + 100 * MS, 5 * S + 200 * MS, True) == pytest.approx(0.1)


def test_a_message_without_a_stamp_ages_by_receipt():
    item = Input()
    item.take(None, 5 * S, 0.25)
    assert item.age(99 * S, 5 * S + 40 * MS, True) == pytest.approx(0.04)


def test_repeated_and_late_stamps_are_left_out_until_the_input_was_silent():
    item = Input()
    assert item.take(10 * S, 0, 0.25)
    assert not item.take(10 * S, 50 * MS, 0.25)
    assert not item.take(9 * S, 100 * MS, 0.25)
    assert item.late == 2
    assert item.take(2 * S, 260 * MS, 0.25)  # its driver's clock was set back
    later = 100 * S + 260 * MS
    assert item.take(3 * S, later, 0.25)
    assert not item.take(1 * S, later + 250 * MS, 0.25)  # as long as the bound is not silence
    assert item.late == 3


def state(t, x=0.0, yaw=0.0, v=0.0, w=0.0, y=0.0):
    return State(round(t * S), x, y, yaw, v, w)


def test_pose_between_and_after_states():
    history = OdometryHistory()
    assert history.pose_at(0) is None
    history.add(state(1.0, 0.0, math.pi - 0.1, v=1.0), 0.5)
    history.add(state(1.1, -0.1, -math.pi + 0.1, v=1.0, w=2.0), 0.5)
    middle = history.pose_at(round(1.05 * S))
    assert middle.x == pytest.approx(-0.05)
    assert abs(middle.yaw) == pytest.approx(math.pi)  # across the wrap, not through zero
    assert history.pose_at(round(0.99 * S)) is None
    after = history.pose_at(round(1.15 * S))
    assert after.yaw == pytest.approx(-math.pi + 0.1 + 0.05 * 2.0)
    assert history.pose_at(round(1.31 * S)) is None  # more than 0.2 s ahead


def test_pose_between_two_states_by_shares():
    history = OdometryHistory()
    history.add(state(1.0, 2.0, 0.2, y=5.0, v=1.0, w=0.5), 9.0)
    history.add(state(1.2, 3.0, 0.4, y=7.0, v=1.0, w=0.5), 9.0)
    history.add(state(1.3, 9.0, 0.4, y=9.0, v=1.0, w=0.5), 9.0)
    for time, pose in ((1.05, (2.25, 5.5, 0.25)),  # a quarter of the way
                       (1.0, (2.0, 5.0, 0.2)), (1.2, (3.0, 7.0, 0.4)), (1.3, (9.0, 9.0, 0.4))):
        found = history.pose_at(round(time * S))
        assert (found.x, found.y, found.yaw) == pytest.approx(pose)
    assert history.pose_at(round(1.5 * S)).yaw == pytest.approx(0.5)  # 0.2 s ahead at 0.5 rad/s


def test_a_jump_is_measured_from_the_mean_twist():
    history = OdometryHistory()
    # from 1 to 3 rad/s over 0.5 s is 1 rad; standing on the spot
    assert history.add(state(0.0, w=1.0), 0.5) is False
    assert not history.add(state(0.5, yaw=1.4, w=3.0), 0.5)  # 0.4 rad off
    assert history.add(state(0.6, yaw=2.3, w=3.0), 0.5)  # 0.6 rad off
    assert not history.add(state(0.6 + 0.125, x=0.25, yaw=2.3), 0.25)  # just at the bound
    assert history.add(state(0.6 + 0.25, x=0.51, yaw=2.3), 0.25)


def test_half_a_radian_is_not_a_jump_yet():
    history = OdometryHistory()
    history.add(state(0.0, yaw=-2.0), 0.5)
    assert not history.add(state(0.1, yaw=-1.5), 0.5)
    assert history.add(state(0.2, yaw=-0.99), 0.5)


def test_a_jump_is_motion_that_the_twist_does_not_explain():
    history = OdometryHistory()
    assert not history.add(state(0.0, 0.0, v=1.0), 0.5)
    assert not history.add(state(0.5, 0.9, v=1.0), 0.5)  # 0.4 m off
    assert history.add(state(0.52, 1.5, v=1.0), 0.5)  # 0.58 m off
    assert history.pose_at(round(0.51 * S)) is None
    assert history.add(state(0.54, 1.52, yaw=0.6, v=1.0), 0.5)


def test_the_history_is_two_seconds():
    history = OdometryHistory()
    for k in range(200):
        history.add(state(0.02 * k), 0.5)
    assert history.pose_at(round(1.99 * S)) is not None
    assert history.pose_at(round(1.9 * S)) is None

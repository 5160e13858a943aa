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


def state(t, x=0.0, yaw=0.0, v=0.0, w=0.0):
    return State(round(t * S), x, 0.0, yaw, v, w)


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

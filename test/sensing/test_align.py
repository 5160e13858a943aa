"""Histories: interpolation against the arc it samples, extrapolation, gaps, wrap-around."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.contracts.geometry import compose, integrate_twist
from karpathy_control.contracts.types import ImuSample, Pose2, State
from karpathy_control.sensing.align import ImuHistory, OdometryHistory, relative_pose

MS = 1_000_000


def state(ms, x=0.0, y=0.0, yaw=0.0, v=0.0, w=0.0):
    return State(ms * MS, x, y, yaw, v, w)


def test_halfway_between_two_samples():
    history = OdometryHistory()
    history.add(state(20, 1.0, 2.0, 0.2, 0.5, 1.0))
    history.add(state(0, 0.0, 0.0, 0.0, 0.3, 0.0))  # late arrival takes its place
    got = history.at(10 * MS, 0.2)
    assert (got.x, got.y, got.yaw, got.v, got.w) == pytest.approx((0.5, 1.0, 0.1, 0.4, 0.5))
    assert not got.extrapolated
    assert history.newest == 20 * MS


def test_heading_goes_the_short_way_round():
    history = OdometryHistory()
    history.add(state(0, yaw=3.0))
    history.add(state(20, yaw=-3.0))
    # 3.0 -> -3.0 is 2 pi - 6 = 0.283 rad forwards; a quarter of it is 0.0708
    assert history.at(5 * MS, 0.2).yaw == pytest.approx(3.0 + (2 * math.pi - 6) / 4)


def test_past_the_newest_the_measured_twist_is_held_and_flagged():
    history = OdometryHistory()
    history.add(state(0, v=1.0, w=2.0))
    got = history.at(100 * MS, 0.2)
    # an arc of radius v / w = 0.5 m over 0.2 rad
    assert (got.x, got.y) == pytest.approx((0.5 * math.sin(0.2), 0.5 * (1 - math.cos(0.2))))
    assert got.yaw == pytest.approx(0.2)
    assert got.extrapolated
    assert history.at(300 * MS, 0.2) is None  # too old to be extrapolated
    assert history.at(-1, 0.2) is None  # before all samples


def test_a_hole_in_the_odometry_is_not_bridged():
    history = OdometryHistory()
    history.add(state(0))
    history.add(state(1000, 5.0))
    assert history.at(500 * MS, 0.2) is None
    assert history.at(0, 0.2) == state(0)


def test_the_same_stamp_replaces_and_the_future_can_be_dropped():
    history = OdometryHistory()
    history.add(state(0, 1.0))
    history.add(state(0, 2.0))
    history.add(state(50, 9.0))
    assert history.at(0, 0.2).x == 2.0
    assert history.drop_after(10 * MS) == 1
    assert history.newest == 0
    history.clear()
    assert history.newest is None


@given(st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 19))
def test_interpolation_stays_close_to_the_true_arc(v, w, ms):
    """Chord against arc over 20 ms: the sagitta v w dt^2 / 8 is at most 0.2 mm."""
    history = OdometryHistory()
    end = integrate_twist(Pose2(1, 2, 3), v, w, 0.02)
    history.add(state(0, 1, 2, 3, v, w))
    history.add(state(20, end.x, end.y, end.yaw, v, w))
    got, truth = history.at(ms * MS, 0.2), integrate_twist(Pose2(1, 2, 3), v, w, ms / 1000)
    assert math.hypot(got.x - truth.x, got.y - truth.y) < 2.5e-4


@given(*[st.floats(-3, 3)] * 6)
def test_relative_pose_undoes_compose(ax, ay, at, bx, by, bt):
    a, b = Pose2(ax, ay, at), Pose2(bx, by, bt)
    got = relative_pose(a, compose(a, b))
    assert (got.x, got.y) == pytest.approx((bx, by), abs=1e-9)
    assert math.cos(got.yaw - bt) == pytest.approx(1.0)


def test_history_is_bounded():
    history = OdometryHistory()
    for i in range(2000):
        history.add(state(i, float(i)))
    assert history.at(0, 0.2) is None
    assert history.at(1999 * MS, 0.2).x == 1999.0


def test_imu_window_is_even_and_linear():
    history = ImuHistory()
    for ms in range(0, 201, 10):
        history.add(ImuSample(ms * MS, (ms / 1000, 0, 0), (0, 0, 9.81)))
    got = history.window(200 * MS)
    assert got.shape == (8, 6)
    assert got.dtype == np.float32
    # eight samples from 0.1 s before the stamp to the stamp: 0.1, 0.1143, ... 0.2
    assert got[:, 0] == pytest.approx(np.linspace(0.1, 0.2, 8), abs=1e-6)
    assert np.all(got[:, 5] == np.float32(9.81))


def test_imu_window_holds_its_ends_and_needs_a_fresh_sample():
    history = ImuHistory()
    assert history.window(0) is None
    history.add(ImuSample(50 * MS, (1.0, 0, 0), (0, 0, 0)))
    assert np.all(history.window(100 * MS)[:, 0] == 1.0)
    assert history.window(151 * MS) is None
    assert history.drop_after(10 * MS) == 1
    assert history.window(100 * MS) is None

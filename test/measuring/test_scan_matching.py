"""Matching against ray casts of a hall, whose poses are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plant import ranges, segments

from karpathy_control.contracts.types import Pose2
from karpathy_control.measuring.matching import Reference, points_of

ANGLE = np.linspace(-2.3, 2.3, 360)


def scan(x, y, yaw, walls=None, noise=0.005, seed=0):
    one = np.ones_like(ANGLE)
    r = ranges(x * one, y * one, yaw + ANGLE, segments() if walls is None else walls)
    r = r + noise * np.random.default_rng(seed).standard_normal(len(r))
    return points_of(r, ANGLE[0], ANGLE[1] - ANGLE[0], 0.1, 20.0)


@settings(max_examples=25, deadline=None)
@given(x=st.floats(-1.5, 1.5), y=st.floats(-1.5, 1.5), yaw=st.floats(-0.7, 0.7),
       off=st.tuples(*[st.floats(-0.1, 0.1)] * 3))
def test_a_pose_is_found_from_a_guess_nearby(x, y, yaw, off):
    found = Reference(scan(0.0, 0.0, 0.0)).match(
        scan(x, y, yaw, seed=1), Pose2(x + off[0], y + off[1], yaw + 0.5 * off[2]))
    assert found is not None and found.believed
    # 360 ranges of 5 mm noise: the mean over a wall of 50 beams is good to a millimetre
    assert math.hypot(found.pose.x - x, found.pose.y - y) < 0.006
    assert found.pose.yaw == pytest.approx(yaw, abs=0.002)
    assert found.rms < 0.012


def test_half_a_turn_is_followed_by_taking_in_what_comes_into_view():
    here, key = Pose2(), 0.0
    known = Reference(scan(0.0, 0.0, 0.0))
    for yaw in np.arange(0.1, math.pi, 0.1):
        seen = scan(0.0, 0.0, yaw, seed=round(100 * yaw))
        found = known.match(seen, Pose2(here.x, here.y, here.yaw + 0.1))
        assert found is not None and found.believed
        here = found.pose
        if here.yaw - key > 0.6:
            known.extend(seen, here)
            key = here.yaw
    assert (here.x, here.y, here.yaw) == pytest.approx((0.0, 0.0, yaw), abs=0.005)


def test_between_two_walls_nothing_is_believed():
    walls = np.array([(-90.0, 1.0, 90.0, 1.0), (-90.0, -1.0, 90.0, -1.0)])
    found = Reference(scan(0.0, 0.0, 0.0, walls)).match(scan(0.5, 0.1, 0.1, walls, seed=1),
                                                        Pose2(0.5, 0.1, 0.1))
    assert found is not None and not found.believed  # along the corridor nothing is seen
    assert found.pose.yaw == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize('points', [np.zeros((0, 2)), np.zeros((2, 2)), np.ones((12, 2))])
def test_next_to_nothing_is_no_match(points):
    assert Reference(points).match(scan(0.0, 0.0, 0.0), Pose2()) is None
    assert Reference(scan(0.0, 0.0, 0.0)).match(points, Pose2()) is None


def test_only_returns_become_points():
    r = np.array([0.05, 1.0, np.inf, np.nan, -np.inf, 2.0, 16.0])
    assert points_of(r, 0.0, math.pi / 2, 0.1, 20.0) == pytest.approx(
        np.array([[0.0, 1.0], [0.0, 2.0]]), abs=1e-12)  # at 1 and 5 quarter turns

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.contracts.geometry import integrate_twist
from karpathy_control.contracts.layout import SCAN_BEAMS, scan_bearings
from karpathy_control.contracts.types import Pose2, State
from karpathy_control.perception.history import History, relative_pose, warp_scan

BEARINGS = scan_bearings().astype(float)
MS = 1_000_000


def wall_ahead(distance: float) -> np.ndarray:
    """A wall at x = distance seen from the origin: r = distance / cos(bearing) ahead."""
    with np.errstate(divide='ignore'):
        r = np.where(np.abs(BEARINGS) < math.radians(60.0), distance / np.cos(BEARINGS), np.inf)
    return r.astype(np.float32)


def test_wall_comes_nearer_by_what_the_robot_drove():
    out = warp_scan(wall_ahead(2.0), Pose2(-0.5, 0.0, 0.0))  # old base half a metre behind
    ahead = np.abs(BEARINGS) < math.radians(40.0)
    seen = ahead & np.isfinite(out)
    assert seen.sum() > 0.6 * ahead.sum()
    # 1.5 / cos, up to the width of a bin: half a degree at 40 degrees is 1.5 * 0.73 * 0.0087
    assert np.abs(out[seen] - 1.5 / np.cos(BEARINGS[seen])).max() < 0.03


@given(st.integers(-180, 180))
def test_turning_by_whole_bins_rolls_the_scan(bins):
    scan = np.full(SCAN_BEAMS, np.nan, np.float32)
    scan[100:140], scan[200:230] = 3.0, np.inf
    out = warp_scan(scan, Pose2(0.0, 0.0, math.radians(bins)))
    np.testing.assert_allclose(out, np.roll(scan, bins), rtol=1e-5)


def test_relative_pose_undoes_motion():
    start = Pose2(1.0, -2.0, 2.5)
    end = integrate_twist(start, 0.7, 0.9, 0.4)
    move = relative_pose(end, start)
    again = integrate_twist(Pose2(), 0.7, 0.9, 0.4)
    assert (move.x, move.y, move.yaw) == pytest.approx((again.x, again.y, again.yaw))


def test_past_takes_the_scans_of_the_right_age():
    history = History((0.2, 0.4))
    for i in range(12):  # 20 Hz, ranges tell the index
        state = State(i * 50 * MS, 0.0, 0.0, 0.0, 0.1 * i, 0.0)
        history.push(state, np.full(SCAN_BEAMS, 1.0 + 0.1 * i, np.float32))
    now = 12 * 50 * MS
    scans, ages = history.past(now, Pose2())
    assert ages == pytest.approx([0.2, 0.4])
    assert scans[0, 0] == pytest.approx(1.8)  # 12 - 4
    assert scans[1, 0] == pytest.approx(1.4)  # 12 - 8
    speeds = history.speeds(State(now, 0, 0, 0, 9.0, 0.5))
    np.testing.assert_allclose(speeds[:, 0], [9.0, 1.1, 1.0, 0.9], rtol=1e-6)
    assert speeds[0, 1] == pytest.approx(0.5)


def test_nothing_known_is_nan_and_age_zero():
    history = History((0.2,))
    history.push(State(0, 0, 0, 0, 0, 0), None)
    scans, ages = history.past(200 * MS, Pose2())
    assert np.isnan(scans).all() and ages.tolist() == [0.0]


def test_time_that_runs_back_clears():
    history = History((0.2,))
    ones = np.ones(SCAN_BEAMS, np.float32)
    history.push(State(10_000 * MS, 0, 0, 0, 0, 0), ones)
    history.push(State(1_000 * MS, 0, 0, 0, 0, 0), ones)
    _, ages = history.past(1_200 * MS, Pose2())
    assert ages == pytest.approx([0.2])

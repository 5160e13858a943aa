"""Sweeps of a turning lidar: against rays that are cast one by one, each when it was measured."""

import math
from dataclasses import replace

import numpy as np
import pytest

from karpathy_control.contracts.config import RobotConfig, from_mapping
from karpathy_control.contracts.geometry import compose, integrate_twist
from karpathy_control.contracts.types import NANOSECONDS, Pose2, RawScan
from karpathy_control.mapping.deskew import beam_offsets, measured, on_bearings, swept_points

BEAMS = 360
INCREMENT = 2.0 * math.pi / BEAMS
SWEEP = 0.2  # s, a lidar of 5 Hz
STAMP = 50 * NANOSECONDS
MOUNT = [-0.03, 0.01, 0.17, 0.0, 0.0, 0.4]
BOXES = [(-3.0, -2.0, 3.0, 2.0)]  # walls of the room
POSTS = [(1.2, 0.3, 0.1), (-0.9, -1.0, 0.15), (0.2, 1.4, 0.08)]


def cast(x, y, bearing):
    """Range of one ray in a room of 6 x 4 m with three posts; plain geometry, no shared code."""
    dx, dy = math.cos(bearing), math.sin(bearing)
    best = math.inf
    for x0, y0, x1, y1 in BOXES:
        for edge, p, d in ((x0, x, dx), (x1, x, dx), (y0, y, dy), (y1, y, dy)):
            if abs(d) > 1e-12 and (edge - p) / d > 0.0:
                t = (edge - p) / d
                if x0 - 1e-9 <= x + t * dx <= x1 + 1e-9 and y0 - 1e-9 <= y + t * dy <= y1 + 1e-9:
                    best = min(best, t)
    for cx, cy, r in POSTS:
        along = (cx - x) * dx + (cy - y) * dy
        beside = (cx - x) ** 2 + (cy - y) ** 2 - along**2
        if along > 0.0 and beside < r * r:
            best = min(best, along - math.sqrt(r * r - beside))
    return best


def sweep(motion, order='forward', stamp='begin', mount=MOUNT, upside_down=False):
    """A scan of BEAMS rays, each cast from where base was then. motion: (start, v, w)."""
    start, v, w = motion
    between = SWEEP / BEAMS

    def base(seconds):
        return integrate_twist(start, v, w, seconds)

    flip = -1.0 if upside_down else 1.0
    ranges = np.empty(BEAMS, np.float32)
    for i in range(BEAMS):
        # The i-th measured beam: forward it is stored in place i, backward from the end.
        turn = i if order == 'forward' else BEAMS - 1 - i
        seconds = between * (turn if stamp == 'begin' else turn - (BEAMS - 1))
        lidar = compose(base(seconds), Pose2(mount[0], mount[1], mount[5]))
        ranges[i] = cast(lidar.x, lidar.y, lidar.yaw + flip * i * INCREMENT)
    scan = RawScan(STAMP, 0.0, INCREMENT, 0.1, 8.0, ranges, time_increment=between)
    return scan, lambda ns: base((ns - STAMP) / NANOSECONDS)


def at_once(scan, pose, mount=MOUNT, flip=1.0):
    lidar = compose(pose, Pose2(mount[0], mount[1], mount[5]))
    return np.array([cast(lidar.x, lidar.y, lidar.yaw + flip * i * INCREMENT)
                     for i in range(BEAMS)])


def robot(**changes):
    return from_mapping(RobotConfig, {'lidar_pose': MOUNT, 'scan_rate': 5.0, **changes})


def off(found, truth):
    """Differences in m, ascending, where something was found; the share of bearings where not."""
    known = np.isfinite(found)
    return np.sort(np.abs(found[known] - truth[known])), 1.0 - np.mean(known)


@pytest.mark.parametrize('stamp', ['begin', 'end'])
@pytest.mark.parametrize('order', ['forward', 'backward'])
@pytest.mark.parametrize(('v', 'w'), [(0.0, 1.0), (0.3, -1.8), (0.26, 2.0), (0.46, 0.0)])
def test_a_moving_robot_sees_the_room_as_from_its_stamp(v, w, order, stamp):
    scan, pose_at = sweep((Pose2(0.1, -0.2, 0.3), v, w), order, stamp)
    told = measured(scan, robot(scan_order=order, scan_stamp=stamp), pose_at)
    truth = at_once(scan, pose_at(STAMP))
    assert told.time_increment == 0.0 and told.stamp == STAMP
    difference, unseen = off(told.ranges, truth)
    # Walls to a millimetre. The rest are six edges of posts, which a bearing more or less sees,
    # and four corners of the room: two bearings each.
    assert difference[BEAMS // 2] < 0.001
    assert np.count_nonzero(difference > 0.01) <= 2 * (6 + 4)
    # What 0.2 s of turning leave out.
    assert unseen <= (abs(w) * SWEEP + 2 * INCREMENT) / (2.0 * math.pi)
    raw, _ = off(scan.ranges, truth)
    if w:  # what the correction is for: most bearings are off, some by far
        assert np.count_nonzero(raw > 0.01) > BEAMS // 2
        assert np.mean(raw) > 5.0 * np.mean(difference)


def test_reading_the_order_the_wrong_way_round_is_worse_than_nothing():
    scan, pose_at = sweep((Pose2(), 0.0, 1.0), 'backward')
    truth = at_once(scan, pose_at(STAMP))

    def mean(order):
        told = measured(scan, robot(scan_order=order), pose_at).ranges
        known = np.isfinite(told)
        return np.mean(np.abs(told[known] - truth[known]))

    assert mean('backward') < 0.3 * mean('unknown') < 0.6 * mean('forward')


def test_a_lidar_mounted_upside_down():
    mount = [0.05, 0.0, 0.2, math.pi, 0.0, -0.7]
    scan, pose_at = sweep((Pose2(0.2, 0.1, -0.4), 0.2, 1.5), mount=mount, upside_down=True)
    told = measured(scan, robot(lidar_pose=mount), pose_at)
    difference, _ = off(told.ranges, at_once(scan, pose_at(STAMP), mount, -1.0))
    assert difference[BEAMS // 2] < 0.001 and np.count_nonzero(difference > 0.01) <= 20


def test_the_points_are_where_the_walls_are():
    # Straight on at 0.5 m/s towards a wall 2 m ahead: the beam forward, 0.1 s after the stamp,
    # measures 1.95 m from a lidar that is 0.05 m on; the point is 2 m from where it was.
    ranges = np.full(3, np.nan, np.float32)
    ranges[1] = 1.95
    points = swept_points(ranges, 0.1, 8.0, -0.1, 0.1, np.array([0.0, 0.1, 0.2]),
                          np.array([0.0, 0.2]), np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]))
    assert points[1] == pytest.approx([2.0, 0.0])
    assert np.isnan(points[[0, 2]]).all()


def test_turning_half_a_turn_within_a_sweep_goes_the_short_way():
    # Heading from 3.1 to -3.1 rad is 0.083 rad on, not 6.2 back: half way it is pi.
    points = swept_points(np.ones(1, np.float32), 0.1, 8.0, 0.0, 0.1, np.array([0.5]),
                          np.array([0.0, 1.0]), np.array([[0.0, 0.0, 3.1], [0.0, 0.0, -3.1]]))
    assert points[0] == pytest.approx([-1.0, 0.0], abs=1e-9)


@pytest.mark.parametrize(('order', 'stamp', 'first', 'last'), [
    ('forward', 'begin', 0.0, 0.2), ('backward', 'begin', 0.2, 0.0),
    ('forward', 'end', -0.2, 0.0), ('backward', 'end', 0.0, -0.2)])
def test_when_each_beam_was_measured(order, stamp, first, last):
    offsets = beam_offsets(5, 0.05, order, stamp)
    assert offsets[0] == pytest.approx(first) and offsets[-1] == pytest.approx(last)
    assert np.allclose(np.abs(np.diff(offsets)), 0.05)


def lay(points, ranges):
    return on_bearings(np.array(points, np.float64), np.array(ranges), 0.1, 8.0, 0.0, 0.1)


def polar(r, bearing):
    return [r * math.cos(bearing), r * math.sin(bearing)]


def test_where_the_range_jumps_the_nearer_holds():
    # Bearings 0.05 and 0.15 around bearing 1 (0.1 rad): 1 m and 3 m are two things.
    got = lay([polar(1.0, 0.05), polar(3.0, 0.15)], [1.0, 3.0])
    assert got[1] == pytest.approx(1.0)
    # 2 m and 2.2 m are one wall: 1 / range is linear, 2 * 2 * 2.2 / 4.2 = 2.0952.
    got = lay([polar(2.0, 0.05), polar(2.2, 0.15)], [2.0, 2.2])
    assert got[1] == pytest.approx(2.0952, abs=1e-4)


def test_free_and_too_close_stay_what_they_are():
    got = lay([polar(8.0, 0.0), polar(8.0, 0.1)], [np.inf, np.inf])
    assert got.tolist() == [np.inf, np.inf]
    got = lay([polar(8.0, 0.0), polar(0.1, 0.1)], [np.inf, -np.inf])
    assert got.tolist() == [-np.inf, -np.inf]  # too close is nearer than anything
    # 9 m is beyond the limit of 8, so no end of a wall: the wall at 7.9 m holds between the two
    got = lay([polar(7.9, 0.05), polar(8.0, 0.15)], [7.9, 9.0])
    assert got[1] == pytest.approx(7.9)


def test_a_gap_is_not_filled_and_a_lone_beam_is_kept():
    got = on_bearings(np.array([polar(1.0, 0.0), polar(1.0, 0.4), [np.nan, np.nan], [1.0, 0.0],
                                [np.nan, np.nan]]),
                      np.array([1.0, 1.0, np.nan, np.nan, np.nan]), 0.1, 8.0, 0.0, 0.1)
    assert got[0] == 1.0 and got[4] == 1.0  # 0.4 rad apart: four bearings, of which none speaks
    assert np.isnan(got[1:4]).all()


def test_a_post_of_one_beam_is_never_lost():
    # Bearings squeezed to 0.94 of their distance leave some of the fixed ones between two posts.
    for shift in np.linspace(0.0, 1.0, 21):
        bearings = (np.arange(20) * 0.94 + shift) * 0.1
        for post in range(1, 19):
            ranges = np.full(20, 5.0)
            ranges[post] = 1.0
            got = lay([polar(r, b) for r, b in zip(ranges, bearings, strict=True)], ranges)
            assert np.nanmin(got) == pytest.approx(1.0), (shift, post)


def test_what_is_told_at_once_passes_unchanged_and_unknown_order_is_left_alone():
    scan, pose_at = sweep((Pose2(), 0.0, 1.0))
    still = replace(scan, time_increment=0.0)
    assert np.array_equal(measured(still, robot(), pose_at).ranges, scan.ranges)
    assert np.array_equal(measured(scan, robot(scan_order='unknown'), pose_at).ranges,
                          scan.ranges)


def test_without_odometry_over_the_whole_sweep_there_is_no_answer():
    scan, pose_at = sweep((Pose2(), 0.0, 1.0))
    late = STAMP + round(0.15 * NANOSECONDS)
    assert measured(scan, robot(), lambda ns: None if ns > late else pose_at(ns)) is None
    assert measured(scan, robot(), lambda ns: None) is None


def test_zero_is_too_close_unless_the_profile_says_that_it_is_nothing():
    scan, pose_at = sweep((Pose2(), 0.0, 0.0))
    blank = replace(scan, ranges=np.where(np.arange(BEAMS) == 7, np.float32(0.0), scan.ranges),
                    time_increment=0.0)
    assert measured(blank, robot(), pose_at).ranges[7] == 0.0
    told = measured(blank, robot(scan_zero='nothing'), pose_at).ranges
    assert np.isnan(told[7]) and np.isnan(told).sum() == 1

"""Scan resampling against closed-form ray casting among circles."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.contracts.types import Pose2, RawScan
from karpathy_control.sensing.mounting import mounting_pose
from karpathy_control.sensing.resample import ScanResampler

BIN = 2 * math.pi / SCAN_BEAMS


def cast(origin, directions, circles, far):
    """Nearest hit of rays among circles (n, 3) x y r; +Inf where there is none."""
    out = np.full(len(directions), np.inf)
    for x, y, r in circles:
        to = np.array([x, y]) - origin
        along = directions @ to
        square = r * r - (to @ to - along**2)
        hit = (square >= 0) & (along > 0)
        out[hit] = np.minimum(out[hit], along[hit] - np.sqrt(square[hit]))
    out[out > far] = np.inf
    return out


def make_scan(circles, pose, beams=720, fov=1.5 * math.pi, reverse=False, far=20.0, stamp=0):
    """A scan among circles given in base, by a lidar with the mounting `pose`."""
    angle_min, increment = -fov / 2, fov / (beams - 1)
    if reverse:
        angle_min, increment = -angle_min, -increment
    angles = angle_min + increment * np.arange(beams)
    mount = mounting_pose(pose)
    local = np.stack((np.cos(angles), np.sin(angles), np.zeros(beams)), 1)
    directions = (local @ mount.rotation.T)[:, :2]
    ranges = cast(mount.position[:2], directions, circles, far)
    return RawScan(stamp, angle_min, increment, 0.1, far, ranges.astype(np.float32))


def from_base(circles):
    bearings = scan_bearings()
    directions = np.stack((np.cos(bearings), np.sin(bearings)), 1)
    return cast(np.zeros(2), directions, circles, SCAN_RANGE_MAX)


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('pose', [
    (0.0, 0, 0.3, 0, 0, 0), (0.0, 0, 0.3, math.pi, 0, 0), (0.0, 0, 0.3, 0, 0, 2.0),
    (0.0, 0, 0.3, math.pi, 0, -1.2)])
def test_a_lidar_at_the_origin_gives_the_scan_of_the_origin(pose, reverse):
    circles = np.array([[2, 0, 0.5], [-3, 2, 0.8], [0, -4, 1.0], [1, 3, 0.2]])
    scan = make_scan(circles, pose, beams=1441, fov=2 * math.pi, reverse=reverse)
    got = ScanResampler(pose)(scan, 7)
    truth = from_base(circles)
    assert got.stamp == 7
    assert got.range_max == SCAN_RANGE_MAX
    both = np.isfinite(got.ranges) & np.isfinite(truth)
    # min over a bin of 1 degree: at most the fall of the range within half a bin, and float32
    assert np.all(got.ranges[both] <= truth[both] + 1e-4)
    assert np.median(truth[both] - got.ranges[both]) < 0.01
    assert np.array_equal(np.isfinite(got.ranges), np.isfinite(truth)) or (
        np.sum(np.isfinite(got.ranges) & ~np.isfinite(truth)) <= 2 * len(circles))
    assert not np.any(np.isnan(got.ranges))


def test_offset_lidar_sees_walls_at_the_right_place():
    # A ring of posts that touch: radius 3 m about base. Every bin must say about 2.9 m.
    a = np.arange(0, 2 * math.pi, 0.05)
    ring = np.stack((3 * np.cos(a), 3 * np.sin(a), np.full_like(a, 0.1)), 1)
    pose = (0.2, 0.1, 0.3, 0, 0, 0.3)
    got = ScanResampler(pose)(make_scan(ring, pose, beams=1080, fov=2 * math.pi), 0)
    assert np.all(np.abs(got.ranges - 2.92) < 0.05)


def test_blind_sector_is_nan():
    scan = make_scan(np.zeros((0, 3)), (0, 0, 0.3, 0, 0, 0), fov=math.pi)
    got = ScanResampler((0, 0, 0.3, 0, 0, 0))(scan, 0)
    bearings = scan_bearings()
    assert np.all(np.isinf(got.ranges[np.abs(bearings) < math.pi / 2]))
    assert np.all(np.isnan(got.ranges[np.abs(bearings) > math.pi / 2 + 5 * BIN]))


def test_rep_117_values():
    ranges = np.array([1.0, np.nan, -np.inf, np.inf, 0.05, 25.0, 15.0, 2.0], np.float32)
    # One beam every 40 degrees (sparser than REACH fills), from -140 degrees on.
    scan = RawScan(0, math.radians(-139.5), math.radians(40), 0.1, 20.0, ranges)
    got = ScanResampler((0, 0, 0.3, 0, 0, 0))(scan, 0).ranges
    at = [40 + 40 * i for i in range(8)]
    assert got[at[0]] == 1.0
    assert np.isnan(got[at[1]])  # invalid: nobody looked
    assert got[at[2]] == pytest.approx(0.1)  # too close: there is something
    assert np.isinf(got[at[3]])  # nothing out to range_max
    assert np.isnan(got[at[4]])  # below range_min: to be discarded
    assert np.isnan(got[at[5]])  # above range_max: to be discarded
    assert np.isinf(got[at[6]])  # beyond the layout's 10 m
    assert got[at[7]] == 2.0
    # four bins of reach on the near side, then nothing: beams are 40 degrees apart
    assert np.isnan(got[at[6] + 10])


def test_the_nearest_return_of_a_bin_wins():
    scan = RawScan(0, math.radians(0.2), math.radians(0.2), 0.1, 20.0,
                   np.array([3.0, 2.0, 4.0, np.inf], np.float32))
    got = ScanResampler((0, 0, 0.3, 0, 0, 0))(scan, 0).ranges
    assert got[180] == 2.0  # bin of 0 to 1 degrees


def test_a_coarse_lidar_is_filled_with_the_nearer_neighbour():
    # 3 degrees between beams; bins at 0.5, 1.5 and 2.5 degrees lie between the first two.
    scan = RawScan(0, 0.0, math.radians(3.0), 0.1, 20.0, np.array([2, 5, np.inf], np.float32))
    got = ScanResampler((0, 0, 0.3, 0, 0, 0))(scan, 0).ranges
    assert got[180:183] == pytest.approx([2, 2, 2], abs=1e-5)
    assert got[183:186] == pytest.approx([5, 5, 5], abs=1e-5)
    assert np.isinf(got[186])
    assert np.all(np.isnan(np.delete(got, np.s_[179:188])))


def test_short_lidar_says_how_far_free_reaches():
    scan = RawScan(0, -1.0, 0.01, 0.1, 5.6, np.full(200, np.inf, np.float32))
    got = ScanResampler((0.055, 0, 0.3, 0, 0, 0))(scan, 0)
    assert got.range_max == pytest.approx(5.6 - 0.055)
    assert np.isinf(got.ranges[180])


def test_motion_since_the_scan_is_taken_out():
    # Post at (2, 0) when the scan was taken; the robot has since gone 0.1 m ahead and turned
    # left by 10 degrees: the post is now 1.9 - 0.2 m away at bearing -10 degrees.
    scan = make_scan(np.array([[2.0, 0, 0.2]]), (0, 0, 0.3, 0, 0, 0))
    turn = math.radians(10)
    c, s = math.cos(-turn), math.sin(-turn)
    shift = Pose2(c * -0.1, s * -0.1, -turn)  # the old base seen from the new one
    got = ScanResampler((0, 0, 0.3, 0, 0, 0))(scan, 0, shift).ranges
    nearest = int(np.nanargmin(got))
    assert math.degrees(scan_bearings()[nearest]) == pytest.approx(-10, abs=1.0)
    assert got[nearest] == pytest.approx(1.7, abs=5e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_obstacles_are_never_lost_nor_moved_away(seed):
    """Every point the lidar hit lies within its bin at the reported range or farther."""
    rng = np.random.default_rng(seed)
    pose = (*rng.uniform(-0.3, 0.3, 2), 0.3, rng.choice([0.0, math.pi]), 0, rng.uniform(-3, 3))
    circles = np.column_stack((rng.uniform(-6, 6, (12, 2)), rng.uniform(0.05, 0.6, 12)))
    circles = circles[np.hypot(circles[:, 0], circles[:, 1]) > circles[:, 2] + 0.6]
    scan = make_scan(circles, pose, beams=int(rng.integers(20, 1200)),
                     fov=rng.uniform(0.5, 2 * math.pi), reverse=bool(rng.integers(2)))
    got = ScanResampler(pose)(scan, 0).ranges
    mount = mounting_pose(pose)
    angles = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    hits = np.isfinite(scan.ranges)
    local = np.stack((np.cos(angles), np.sin(angles), 0 * angles), 1)[hits]
    points = (scan.ranges[hits, None] * (local @ mount.rotation.T) + mount.position)[:, :2]
    seen = np.hypot(*points.T)
    k = ((np.arctan2(points[:, 1], points[:, 0]) + math.pi) / BIN).astype(int) % SCAN_BEAMS
    near = seen < 9.9
    assert np.all(got[k[near]] <= seen[near] + 1e-4)
    # and no finite value without a return at that range
    finite = got[np.isfinite(got)]
    assert np.all(np.min(np.abs(finite[:, None] - seen[None, :]), axis=1, initial=np.inf) < 1e-4)


def test_a_tilted_lidar_is_refused():
    with pytest.raises(ValueError, match=r'tilted by 30\.0 degrees; it takes at most 15'):
        ScanResampler((0, 0, 0.3, 0, math.radians(30), 0))


def test_fast_enough_for_1080_beams():
    resampler = ScanResampler((0.055, 0, 0.3, 0, 0, 0))
    scan = make_scan(np.array([[2.0, 0, 0.5], [-1, 3, 1.0]]), (0.055, 0, 0.3, 0, 0, 0), 1080)
    resampler(scan, 0)
    took = []
    for _ in range(50):
        start = time.perf_counter()
        resampler(scan, 0)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.5e-3

"""The tracker against scans in closed form: speed and place of discs, and what must not move."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.layout import MOVERS, SCAN_BEAMS, scan_bearings
from karpathy_control.perception import tracker as tr
from karpathy_control.perception.segments import fit_arc
from karpathy_control.perception.tracker import FORGET, Tracker

STEP = 0.05  # s
BEARINGS = scan_bearings().astype(np.float64)


def scan_of(circles, pose, noise=0.0, rng=None, fov=2.0 * math.pi):
    """Nearest crossing of each ray with circles (n, 3) x y radius, m; +Inf beyond 10 m."""
    angle = BEARINGS + pose[2]
    ranges = np.full(SCAN_BEAMS, np.inf)
    for x, y, r in circles:
        dx, dy = x - pose[0], y - pose[1]
        along = dx * np.cos(angle) + dy * np.sin(angle)
        under = r * r - (dx * dx + dy * dy - along**2)
        hit = along - np.sqrt(np.maximum(under, 0.0))
        ranges = np.where((under > 0.0) & (hit > 0.0) & (hit < 10.0), np.minimum(ranges, hit),
                          ranges)
    if noise:
        ranges = ranges + noise * rng.standard_normal(SCAN_BEAMS)
    return np.where(np.abs(BEARINGS) <= 0.5 * fov, ranges, np.nan)


def follow(seconds, things, pose=lambda t: (0.0, 0.0, 0.0), standing=(), noise=0.0, seed=0,
           tracker=None, fov=2.0 * math.pi):
    """Rows of the last scan; `things` are (x, y, vx, vy, radius) at t = 0, world."""
    tracker = tracker or Tracker()
    rng = np.random.default_rng(seed)
    for k in range(round(seconds / STEP) + 1):
        t = k * STEP
        circles = [(x + vx * t, y + vy * t, r) for x, y, vx, vy, r in things]
        rows = tracker.step(scan_of([*circles, *standing], pose(t), noise, rng, fov)[None], [t],
                            [pose(t)])[0]
    return rows[rows[:, 5] > 0.0]


@settings(deadline=None, max_examples=60)
@given(bearing=st.floats(-math.pi, math.pi), distance=st.floats(1.5, 5.0),
       heading=st.floats(-math.pi, math.pi), speed=st.floats(0.5, 1.5),
       radius=st.floats(0.15, 0.5), seed=st.integers(0, 99))
def test_a_disc_is_where_it_is_and_as_fast_as_it_is(bearing, distance, heading, speed, radius,
                                                    seed):
    vx, vy = speed * math.cos(heading), speed * math.sin(heading)
    # in the middle of two seconds it is where the draw says, and never nearer than half a metre
    x, y = distance * math.cos(bearing) - vx, distance * math.sin(bearing) - vy
    t = np.linspace(0.0, 2.0, 41)
    away = np.hypot(x + vx * t, y + vy * t)
    if away.min() < radius + 0.5 or away.max() > 7.0:
        return
    found = follow(2.0, [(x, y, vx, vy, radius)], noise=0.005, seed=seed)
    assert len(found) == 1
    assert found[0, :2] == pytest.approx((x + 2 * vx, y + 2 * vy), abs=0.12)
    assert found[0, 2:4] == pytest.approx((vx, vy), abs=0.35)
    assert found[0, 4] == pytest.approx(radius, abs=0.1)


def segment(circle, first, count):
    """Beams `first` to `first + count` of a scan of one circle, and what `fit_arc` says."""
    scan, out = scan_of([circle], (0.0, 0.0, 0.0)), np.zeros(3)
    assert np.isfinite(scan[first:first + count]).all()
    return fit_arc(scan, first, count, np.cos(BEARINGS), np.sin(BEARINGS), out), out


@pytest.mark.parametrize(('first', 'count'), [(172, 16), (172, 9), (180, 8), (177, 6)])
def test_part_of_a_disc_tells_the_whole(first, count):
    """0.5 m round, 3 m ahead: asin(0.5 / 3) = 9.6 degrees to either side, beams 171 to 188.

    Six beams about the middle span 2 * 2.5 m * tan 2.5 deg = 0.22 m, which bulges by
    0.22^2 / 8 / 0.5 m = 12 mm only: less than ARC_BULGE, so that might be a wall.
    """
    found, (bearing, distance, radius) = segment((3.0, 0.0, 0.5), first, count)
    assert found == (count > 6)
    if found:
        assert (bearing, distance, radius) == pytest.approx((0.0, 3.0, 0.5), abs=1e-4)


def test_what_is_flat_hollow_or_small_is_no_arc():
    out, cosines, sines = np.zeros(3), np.cos(BEARINGS), np.sin(BEARINGS)
    wall = 2.0 / np.maximum(cosines, 0.1)  # x = 2 m
    hollow = 2.0 * np.ones(SCAN_BEAMS)  # about the robot: 2 m is more than LARGEST_RADIUS
    for scan in (wall, hollow):
        assert not fit_arc(scan, 168, 24, cosines, sines, out)
    assert not segment((3.0, 0.0, 0.5), 176, 5)[0]  # too few points


def test_half_hidden_from_the_start_it_is_as_large_as_it_is():
    # 0.5 m round, it goes away from the robot beside a wall of posts that hides its right half
    wall = [(1.5, y, 0.1) for y in np.arange(-2.0, -0.09, 0.1)]
    found = follow(1.0, [(3.0, 0.0, 1.0, 0.0, 0.5)], standing=wall, noise=0.005)
    assert len(found) == 1
    assert found[0, 4] == pytest.approx(0.5, abs=0.08)
    assert found[0, :2] == pytest.approx((4.0, 0.0), abs=0.08)
    assert found[0, 2:4] == pytest.approx((1.0, 0.0), abs=0.2)


def test_a_slow_one_takes_longer_but_is_found():
    # 0.25 m/s: after half a second it is 12 cm on, just beyond the 10 cm that count as new
    assert not len(follow(0.5, [(2.0, -0.5, 0.0, 0.25, 0.3)]))
    found = follow(3.0, [(2.0, -0.5, 0.0, 0.25, 0.3)], noise=0.005)
    assert found[0, 2:4] == pytest.approx((0.0, 0.25), abs=0.06)


def test_velocity_is_over_ground_and_in_base():
    # the robot drives 0.5 m/s to the left of the page and turns; the thing goes along world +x
    def pose(t):
        return 0.0, 0.5 * t, 0.8 * t

    found = follow(1.5, [(1.0, 2.5, 0.8, 0.0, 0.3)], pose)
    yaw = 0.8 * 1.5
    assert found[0, 2:4] == pytest.approx((0.8 * math.cos(yaw), -0.8 * math.sin(yaw)), abs=0.12)
    dx, dy = 1.0 + 1.2, 2.5 - 0.75
    assert found[0, :2] == pytest.approx(
        (math.cos(yaw) * dx + math.sin(yaw) * dy, math.cos(yaw) * dy - math.sin(yaw) * dx),
        abs=0.05)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), v=st.floats(0.0, 1.2), w=st.floats(-1.0, 1.0))
def test_what_stands_does_not_move(seed, v, w):
    # posts that come out from behind each other as the robot drives on an arc
    rng = np.random.default_rng(seed)
    posts = np.column_stack((rng.uniform(-6, 6, (14, 2)), rng.uniform(0.1, 0.3, 14)))
    posts = posts[np.hypot(*posts[:, :2].T) > 3.5]

    def pose(t):
        if abs(w) < 1e-6:
            return v * t, 0.0, 0.0
        return v / w * math.sin(w * t), v / w * (1.0 - math.cos(w * t)), w * t

    assert not len(follow(2.0, [], pose, posts, noise=0.01, seed=seed))


def test_without_evidence_nothing_goes_on_moving():
    """A segment of clutter may shift at 0.3 m/s for ever; each look leaves .85 of the evidence.

    From 0.5 it is at .85^9 * 0.5 = .116 after nine looks and at .098, too little, after ten.
    """
    track = np.zeros(tr.COLUMNS)
    track[[tr.ALIVE, tr.VX, tr.PP, tr.VV]] = 1.0, 0.3, 1e-4, 1e-4
    track[[tr.LOOKS, tr.EVIDENCE, tr.MOVES]] = 20.0, 0.5, 1.0
    moves = []
    for k in range(1, 12):
        track[tr.X] = 0.3 * STEP * k
        tr._update(track, 0.3 * STEP * k, 0.0, 0.02, 0.2, True, 0.0, STEP * k)
        moves.append(track[tr.MOVES])
    assert moves == [1.0] * 9 + [0.0] * 2
    for k in range(12, 15):  # new points again: 0.4 of them are needed, and no more looks
        track[tr.X] = 0.3 * STEP * k
        tr._update(track, 0.3 * STEP * k, 0.0, 0.02, 0.2, True, 0.3, STEP * k)
    assert track[tr.MOVES] == 1.0


def test_a_wall_behind_a_passer_by_stays():
    wall = [(4.0, y, 0.1) for y in np.arange(-4.0, 4.0, 0.1)]
    found = follow(2.0, [(2.5, -1.5, 0.0, 1.0, 0.3)], standing=wall, noise=0.005)
    assert len(found) == 1
    assert found[0, :2] == pytest.approx((2.5, 0.5), abs=0.1)


def test_hidden_behind_a_post_it_is_expected_where_it_should_be_and_then_forgotten():
    # at 1 m/s along y = ... behind a post of 0.8 m width at half its distance: out of sight for
    # about a second and a half; after FORGET it is given up
    post = [(1.5, 0.0, 0.4)]
    tracker = Tracker()
    assert len(follow(1.6, [(3.5, -3.0, 0.0, 1.0, 0.3)], standing=post, tracker=tracker)) == 1
    for k in range(1, 40):
        rows = tracker.step(scan_of(post, (0, 0, 0))[None], [1.6 + k * STEP], [(0, 0, 0)])[0]
        seen = rows[rows[:, 5] > 0.0]
        if k * STEP < FORGET - STEP:
            assert seen[0, 1] == pytest.approx(-3.0 + 1.6 + k * STEP, abs=0.2)
    assert not len(seen)


def test_no_more_than_fits_and_the_nearest_first():
    things = [(2.0 * math.cos(a) * r, 2.0 * math.sin(a) * r, -0.5 * math.sin(a) * r,
               0.5 * math.cos(a) * r, 0.15)
              for r, a in zip(np.linspace(1.0, 1.8, 12), np.arange(12) * math.pi / 6,
                              strict=True)]
    found = follow(1.5, things)
    assert len(found) == MOVERS
    assert np.all(np.diff(np.hypot(found[:, 0], found[:, 1])) >= 0.0)


def test_a_batch_gives_what_each_alone_gives():
    tracker, alone = Tracker(3), [Tracker() for _ in range(3)]
    speeds = (0.5, -1.0, 0.0)
    for k in range(30):
        t = k * STEP
        scans = np.stack([scan_of([(2.0, v * t, 0.3)], (0, 0, 0)) for v in speeds])
        together = tracker.step(scans, [t] * 3, np.zeros((3, 3))).copy()
        for b in range(3):
            np.testing.assert_array_equal(
                alone[b].step(scans[b:b + 1], [t], [(0, 0, 0)])[0], together[b])
    assert list((together[:, :, 5] > 0.0).sum(1)) == [1, 1, 0]
    tracker.reset([0])
    again = tracker.step(scans, [2.0] * 3, np.zeros((3, 3)))
    assert list((again[:, :, 5] > 0.0).sum(1)) == [0, 1, 0]


def test_time_that_runs_backwards_forgets():
    tracker = Tracker()
    assert len(follow(1.5, [(2.0, -0.5, 0.0, 0.8, 0.3)], tracker=tracker)) == 1
    rows = tracker.step(scan_of([(2.0, 0.7, 0.3)], (0, 0, 0))[None], [0.3], [(0, 0, 0)])
    assert not rows.any()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31))
def test_whatever_the_scan_the_answer_is_finite(seed):
    rng = np.random.default_rng(seed)
    tracker = Tracker()
    for k in range(8):
        scan = rng.choice([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-9, 1e30, 2.0], SCAN_BEAMS)
        scan = np.where(rng.random(SCAN_BEAMS) < 0.5, rng.uniform(0, 9, SCAN_BEAMS), scan)
        rows = tracker.step(scan[None], [k * STEP], [rng.uniform(-1, 1, 3)])
        assert np.isfinite(rows).all()


@pytest.mark.parametrize(('scan', 'time', 'pose', 'said'), [
    (np.zeros((1, 90)), [0.0], [(0, 0, 0)], r'shapes \(1, 90\)'),
    (np.zeros((2, SCAN_BEAMS)), [0.0], [(0, 0, 0)], 'take'),
    (np.zeros((1, SCAN_BEAMS)), [0.0], [(0, 0, np.nan)], 'not finite'),
    (np.zeros((1, SCAN_BEAMS)), [np.inf], [(0, 0, 0)], 'not finite')])
def test_what_does_not_fit_is_refused(scan, time, pose, said):
    with pytest.raises(ValueError, match=said):
        Tracker().step(scan, time, pose)
    with pytest.raises(ValueError, match='batch is 0'):
        Tracker(0)

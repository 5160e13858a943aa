"""The families `swarm` and `people`: ways, speeds, numbers and what is kept from the starts."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline
from shapely.geometry import LineString
from test_generators import solid

from karpathy_control.contracts.world import Box
from karpathy_control.worlds import crowds
from karpathy_control.worlds.free_space import FreeSpace
from karpathy_control.worlds.generators import generate

seeds = st.integers(0, 2**31 - 1)


def starts(world):
    """Where a leg may begin: the start, and every goal but the last."""
    return [(world.start.x, world.start.y), *world.goals[:-1]]


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_a_swarm_is_within_bounds_and_off_the_starts_and_never_jumps(seed):
    world = generate('swarm', seed)
    tier = [t for t in crowds.TIERS if t[0] <= len(world.movers) <= t[1]]
    assert len(tier) == 1 and not world.people
    _, _, slow, fast = tier[0]
    for mover in world.movers:
        t, x, y = np.array(mover.keyframes).T
        assert (x[0], y[0]) == (x[-1], y[-1])  # so the round begins where it ends
        # uneven, since the parameter of the spline runs evenly; a median is about what was drawn
        pieces = np.hypot(np.diff(x), np.diff(y)) / np.diff(t)
        assert 0.5 * slow <= np.median(pieces) <= 1.6 * fast and np.diff(t).max() <= 0.2 + 1e-9
        heading = np.arctan2(np.diff(y), np.diff(x))
        turn = np.abs(np.angle(np.exp(1j * np.diff(heading, append=heading[0])))) / np.diff(t)
        assert turn.max() <= crowds.SHARPEST * 0.2 / np.diff(t).min() + 1e-6
        assert 0.4 <= mover.radius <= 0.6
        # within the arena of 22 x 20 m
        assert (np.abs(x) + mover.radius).max() < 11.0 and (np.abs(y) + mover.radius).max() < 10.0
        for start in starts(world):
            assert math.dist(mover.position(0.0), start) >= 2.0 + mover.radius


def test_every_tier_comes_up():
    numbers = [len(generate('swarm', seed).movers) for seed in range(20)]
    for low, high, _, _ in crowds.TIERS:
        assert any(low <= number <= high for number in numbers)


@given(st.integers(3, 8), st.floats(0.3, 3.0), seeds)
def test_a_closed_way_is_the_spline_of_its_points(count, speed, seed):
    """Against scipy's Hermite spline with the tangents of Catmull and Rom, round and round."""
    points = np.random.default_rng(seed).uniform(-9, 9, (count, 2))
    legs = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    assume(legs.min() > 0.5)
    keys = np.array(crowds.closed_way(points, speed))
    assert keys[0].tolist() == pytest.approx([0.0, *points[0]])
    assert (keys[0, 1:] == keys[-1, 1:]).all()
    assert keys[-1, 0] == pytest.approx(legs.sum() / speed)  # from point to point at `speed`
    assert np.diff(keys[:, 0]).max() <= crowds.SAMPLE + 1e-9
    knots = np.concatenate(([0.0], np.cumsum(legs))) / speed
    assert set(np.round(knots, 9)) <= set(np.round(keys[:, 0], 9))
    around = np.arange(count + 1) % count
    tangents = 0.5 * (points[(around + 1) % count] - points[around - 1])
    spline = CubicHermiteSpline(np.arange(count + 1), points[around], tangents)
    u = np.interp(keys[:, 0], knots, np.arange(count + 1))
    np.testing.assert_allclose(keys[:, 1:], spline(u), atol=1e-6)


def test_a_swarm_is_as_uneven_as_the_benchmark():
    """Speeds over the median of each way: DynaBARN's hard ones have deciles of .59 and 1.26."""
    shares = []
    for seed in range(12):
        for mover in generate('swarm', seed).movers:
            t, x, y = np.array(mover.keyframes).T
            even = np.arange(0.0, t[-1], 0.1)
            pieces = np.hypot(np.diff(np.interp(even, t, x)), np.diff(np.interp(even, t, y)))
            shares.append(pieces / np.median(pieces))
    low, high = np.quantile(np.concatenate(shares), (0.1, 0.9))
    assert 0.55 < low < 0.75 and 1.1 < high < 1.3


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_people_have_free_ways_and_are_off_the_starts(seed):
    world = generate('people', seed)
    obstacles = solid(world)
    assert 3 <= len(world.people) <= 10 and not world.movers
    for k, who in enumerate(world.people):
        way = LineString((*who.waypoints, who.waypoints[0]))
        # 0.5 m on a grid of 0.1 m; its cells on a line are at most 0.07 m off it
        assert way.distance(obstacles) >= 0.5 - 0.08
        assert 0.8 <= who.speed <= 1.5 and 0.2 <= who.radius <= 0.3 and 1.5 <= who.top <= 1.9
        for start in starts(world):
            assert math.dist(who.waypoints[0], start) >= 2.0
        for other in world.people[:k]:
            assert math.dist(who.waypoints[0], other.waypoints[0]) >= 1.0


def test_some_people_do_not_mind_the_robot_and_how_many_differs_by_world():
    shares = [np.mean([who.attentive for who in generate('people', seed).people])
              for seed in range(40)]
    # a share of 0 to 1/2 is drawn: a quarter of all on average, with 40 worlds +- 0.05
    assert 0.6 < np.mean(shares) < 0.9
    assert min(shares) < 0.6 and max(shares) == 1.0


def test_a_way_round_a_wall_goes_round_its_end():
    wall = Box(0.0, -1.0, 0.05, 2.0)  # from y = -3 to 1
    space = FreeSpace.of((-3.0, -3.0, 3.0, 3.0), [], [wall])
    region = space.reachable(0.5)
    roadmap = space.roadmap(region)
    lengths = roadmap.lengths(-2.0, -1.0)
    goal = space.index(2.0, -1.0)
    way = crowds.walk_between(roadmap, lengths, goal)
    line = LineString(way)
    assert line.distance(LineString([(0.0, -3.0), (0.0, 1.0)])) >= 0.05 + 0.5 - 0.08
    assert way[0] == pytest.approx((-2.0, -1.0), abs=0.06)
    assert way[-1] == pytest.approx((space.x[goal[1]], space.y[goal[0]]))
    # no shorter than a taut string over the end of the wall, no longer than the grid's way
    assert 2.0 * math.hypot(2.0, 2.0) < line.length <= lengths[goal] + 1e-9

import numpy as np
import pytest
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon, box
from shapely.ops import unary_union

from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.world import Box, Cylinder
from karpathy_control.worlds.free_space import FreeSpace, clearance_at
from karpathy_control.worlds.generators import generate

LIDAR_HEIGHT, ROBOT_HEIGHT = 0.305, 0.5
CASES = [(family, seed) for family in FAMILIES for seed in range(2)]


def shape_of(b: Box) -> Polygon:
    flat = box(-b.half_x, -b.half_y, b.half_x, b.half_y)
    return affinity.translate(affinity.rotate(flat, b.yaw, origin=(0, 0), use_radians=True),
                              b.x, b.y)


def solid(world):
    """Everything that stands in the way, by shapely: not the code that placed it."""
    round_ones = [Point(c.x, c.y).buffer(c.radius, quad_segs=64) for c in world.cylinders]
    return unary_union(round_ones + [shape_of(b) for b in world.boxes])


@pytest.mark.parametrize(('family', 'seed'), CASES)
def test_every_goal_is_reachable_by_a_disc(family, seed):
    world = generate(family, seed)
    obstacles = solid(world)
    # where the centre of a disc may be; of a field the way is found on a grid of 0.05 m, and
    # between two of its points, 0.07 m apart, it may be 0.035 m narrower
    disc = 0.34 - 0.036 if family == 'field' else 0.40
    free = box(*world.bounds).difference(obstacles.buffer(disc))
    parts = list(free.geoms) if hasattr(free, 'geoms') else [free]
    start = Point(world.start.x, world.start.y)
    home = next(part for part in parts if part.contains(start))
    assert len(world.goals) >= 5
    for goal in world.goals:
        assert home.contains(Point(goal))
        assert obstacles.distance(Point(goal)) >= 0.6 - 1e-3
    assert obstacles.distance(start) >= 0.7 - 1e-3
    stops = np.array([(world.start.x, world.start.y), *world.goals])
    legs = np.linalg.norm(np.diff(stops, axis=0), axis=1)
    # across a swarm: from |x| >= 9.7 to the other end, and 8 m aside at most
    least, most = (19.4, np.hypot(20.4, 8.0)) if family == 'swarm' else (3.0, 8.0)
    assert legs.min() >= least and legs.max() <= most


@pytest.mark.parametrize(('family', 'seed'), CASES)
def test_the_arena_is_closed_and_nothing_is_too_thin(family, seed):
    world = generate(family, seed)
    inside = Point(world.start.x, world.start.y)
    walls = unary_union([shape_of(b) for b in world.boxes])
    escape = box(-50, -50, 50, 50).difference(walls)
    home = next(part for part in escape.geoms if part.contains(inside))
    assert home.bounds[0] > world.bounds[0] and home.bounds[2] < world.bounds[2]
    assert box(*world.bounds).buffer(1e-9).contains(solid(world))
    assert all(2 * c.radius >= 0.1 for c in world.cylinders)
    assert all(2 * min(b.half_x, b.half_y) >= 0.1 - 1e-12 for b in world.boxes)
    assert all(0.0 <= o.bottom < o.top for o in (*world.cylinders, *world.boxes))


@pytest.mark.parametrize('family', FAMILIES)
def test_family_and_seed_decide_everything(family):
    assert generate(family, 7) == generate(family, 7)
    assert generate(family, 7) != generate(family, 8)


@pytest.mark.parametrize('family', ['mixed', 'low'])
def test_some_obstacles_are_hidden_from_a_planar_lidar(family):
    for seed in range(3):
        boxes = generate(family, seed).boxes
        low = [b for b in boxes if b.top < LIDAR_HEIGHT]
        over = [b for b in boxes if b.bottom > LIDAR_HEIGHT]
        assert low and all(0.1 <= b.top <= 0.22 for b in low)
        assert over and all(0.33 <= b.bottom <= 0.45 < ROBOT_HEIGHT for b in over)


def test_movers_keep_off_walls_start_and_goals_and_leave_a_passage():
    for seed in range(4):
        world = generate('moving', seed)
        obstacles = solid(world)
        assert len(world.movers) >= 2
        for mover in world.movers:
            lane = LineString([corner[1:] for corner in mover.keyframes])
            assert 0.2 <= mover.speed <= 0.6
            # sampled every 0.1 m on a 0.1 m grid: at most 0.12 m off
            assert lane.distance(obstacles) >= mover.radius + 0.8 - 0.12
            for stop in ((world.start.x, world.start.y), *world.goals):
                assert lane.distance(Point(stop)) >= mover.radius + 0.8 - 0.12
    assert not generate('mixed', 0).movers


def test_goals_of_a_field_lie_at_its_ends_in_turn():
    world = generate('field', 3)
    # posts up to 2.175 m and their radius of 0.075 m
    sides = [goal[0] > 2.25 for goal in world.goals]
    assert world.start.x < -2.25 and sides == [True, False, True, False, True]
    assert all(abs(goal[0]) > 2.25 for goal in world.goals)


def test_a_wrong_family_or_seed_is_named():
    with pytest.raises(ValueError, match=r"'forest'; known: mixed, cylinders"):
        generate('forest', 0)
    with pytest.raises(ValueError, match='-1'):
        generate('mixed', -1)


def test_clearance_agrees_with_shapely():
    rng = np.random.default_rng(0)
    obstacles = [Cylinder(1.0, 0.5, 0.3), Box(-1.0, 0.2, 0.4, 0.1, 0.7), Box(0, -2, 1, 0.05, -2)]
    union = unary_union([Point(1.0, 0.5).buffer(0.3, quad_segs=256),
                         *(shape_of(b) for b in obstacles[1:])])
    x, y = rng.uniform(-3, 3, (2, 200))
    expected = [union.distance(Point(p)) for p in zip(x, y, strict=True)]
    assert clearance_at(x, y, obstacles[:1], obstacles[1:]) == pytest.approx(expected, abs=1e-4)


def test_clearance_leaves_out_what_the_robot_passes_under():
    shelf = Box(0.0, 0.0, 0.5, 0.5, bottom=0.6, top=0.7)
    point = np.array([0.0])
    assert clearance_at(point, point, [], [shelf])[0] == 0.0
    assert clearance_at(point, point, [], [shelf], height=0.5)[0] == np.inf


def test_path_length_around_a_wall():
    # a wall from y = -1.97 to 0.97 between two points at y = 0.05
    space = FreeSpace.of((-2, -2, 2, 2), [], [Box(0.0, -0.5, 0.06, 1.47)], cell=0.1)
    roadmap = space.roadmap(space.clearance > 0.0)
    lengths = roadmap.lengths(-1.05, 0.05)
    row, column = space.index(1.05, 0.05)
    # ten cells up to the first free row (y = 1.05), ten down, 21 across: ten diagonal steps up,
    # ten down and one straight
    assert lengths[row, column] == pytest.approx(0.1 * (20 * np.sqrt(2) + 1), abs=1e-6)
    assert np.isinf(lengths[space.index(0.0, -1.0)])

"""The judge of contacts against shapely."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon

from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, World
from karpathy_control.evaluation.continuous import (
    CIRCLE,
    HORIZON,
    MOVING,
    NOTHING,
    POLYGON,
    clearance,
    first_touch,
    of_world,
    shapes,
)

FOOTPRINT = np.array([(0.229, 0.208), (-0.229, 0.208), (-0.229, -0.208), (0.229, -0.208)])
WEDGE = np.array([(0.4, 0.0), (-0.1, 0.2), (-0.2, -0.15)])
place = st.floats(-1.2, 1.2)
angle = st.floats(-math.pi, math.pi)


def placed(polygon, pose):
    shape = affinity.rotate(Polygon(polygon), pose[2], (0.0, 0.0), use_radians=True)
    return affinity.translate(shape, pose[0], pose[1])


def boxes(draw, n):
    return tuple(Box(draw(place), draw(place), draw(st.floats(0.02, 0.6)),
                     draw(st.floats(0.02, 0.6)), draw(angle)) for _ in range(n))


def as_polygon(b):
    ring = [(b.half_x, b.half_y), (-b.half_x, b.half_y), (-b.half_x, -b.half_y),
            (b.half_x, -b.half_y)]
    return placed(ring, (b.x, b.y, b.yaw))


@st.composite
def worlds(draw):
    cylinders = tuple(Cylinder(draw(place), draw(place), draw(st.floats(0.01, 0.4)))
                      for _ in range(draw(st.integers(0, 3))))
    return World('test', 0, (-9.0, -9.0, 9.0, 9.0), Pose2(), ((1.0, 0.0),), cylinders,
                 boxes(draw, draw(st.integers(0, 3))))


def truth(world, polygon, pose):
    here = placed(polygon, pose)
    distances = [here.distance(Point(c.x, c.y)) - c.radius for c in world.cylinders]
    distances += [here.distance(as_polygon(b)) for b in world.boxes]
    return min([*distances, HORIZON])


@given(worlds(), st.tuples(place, place, angle), st.sampled_from([FOOTPRINT, WEDGE]))
@settings(max_examples=300, deadline=None)
def test_distances_are_those_of_shapely(world, pose, polygon):
    found = clearance(polygon, of_world(world, 0.0, 0.5), pose)
    assert max(found, 0.0) == pytest.approx(max(truth(world, polygon, pose), 0.0), abs=1e-9)


@given(worlds(), st.floats(-0.5, 1.2), st.floats(-2.0, 2.0), angle)
@settings(max_examples=60, deadline=None)
def test_the_first_touch_of_an_arc_is_where_shapely_first_sees_one(world, v, w, yaw):
    n, dt = 60, 0.01
    headings = yaw + w * dt * np.arange(n)
    poses = np.stack((np.cumsum(v * dt * np.cos(headings)), np.cumsum(v * dt * np.sin(headings)),
                      headings), 1) - (1.5, 0.0, 0.0)
    touch = first_touch(FOOTPRINT, of_world(world, 0.0, 0.5), poses, dt)
    fine = [(k + f) * dt for k in range(n - 1) for f in (0.0, 0.25, 0.5, 0.75)]
    first = math.inf
    for t in fine:
        k, f = int(t / dt + 1e-9), (t / dt) % 1.0
        k = min(k, n - 2)
        f = t / dt - k
        if truth(world, FOOTPRINT, (1.0 - f) * poses[k] + f * poses[k + 1]) <= 0.0:
            first = t
            break
    if math.isinf(first):  # touched at most between two of shapely's looks
        assert math.isinf(touch.time) or truth(world, FOOTPRINT, touch[3:6]) <= 1e-9
    else:
        assert first - dt <= touch.time <= first + 0.001 + 1e-9
        assert truth(world, FOOTPRINT, touch[3:6]) <= 1e-9


def test_a_pole_is_met_at_the_computed_millisecond():
    # the bumper at 0.229 meets a pole of 0.05 at 1 m after 0.721 m: 0.721 s at 1 m/s
    poses = np.stack((np.arange(101) * 0.01, np.zeros(101), np.zeros(101)), 1)
    touch = first_touch(FOOTPRINT, shapes([(1.0, 0.0, 0.05)]), poses, 0.01)
    assert touch.kind == CIRCLE and 0.721 <= touch.time < 0.722 + 1e-9
    missed = first_touch(FOOTPRINT, shapes([(1.0, 0.2581, 0.05)]), poses, 0.01)
    assert missed.kind == NOTHING and missed.clearance == pytest.approx(1e-4, abs=1e-5)


def test_a_rear_corner_that_swings_touches_and_the_wrap_of_yaw_is_no_turn():
    wall = shapes((), [[(-1.0, 0.25), (1.0, 0.25), (1.0, 0.3), (-1.0, 0.3)]])
    yaw = np.linspace(math.pi - 0.15, math.pi + 0.3, 40)
    wrapped = (yaw + math.pi) % (2.0 * math.pi) - math.pi
    poses = np.stack((np.zeros(40), np.zeros(40), wrapped), 1)
    touch = first_touch(FOOTPRINT, wall, poses[10:], 0.01)
    # 0.229 sin a + 0.208 cos a = 0.25 at a = 0.204
    assert touch.kind == POLYGON
    assert abs((touch.yaw % (2.0 * math.pi)) - math.pi) == pytest.approx(0.204, abs=2e-3)
    still = np.array([[0.0, 0.0, math.pi - 1e-3], [0.0, 0.0, -math.pi + 1e-3]])
    assert first_touch(FOOTPRINT, wall, still, 0.01).kind == NOTHING


def test_what_moves_is_met_between_its_recorded_places():
    # a ball of 0.1 crosses in front of a standing robot within one 50 ms step, at 20 m/s
    poses = np.zeros((2, 3))
    tracks = np.array([[[0.28, 0.5, 0.1]], [[0.28, -0.5, 0.1]]])
    touch = first_touch(FOOTPRINT, shapes(), poses, 0.05, tracks)
    line = LineString([(0.28, 0.5), (0.28, -0.5)])
    assert line.buffer(0.1).intersects(Polygon(FOOTPRINT))
    assert touch.kind == MOVING and 0.0 < touch.time < 0.025
    with pytest.raises(ValueError, match='3 places'):
        first_touch(FOOTPRINT, shapes(), poses, 0.05, np.zeros((3, 1, 3)))


def test_only_the_height_band_counts():
    world = World('test', 0, (-9.0, -9.0, 9.0, 9.0), Pose2(), ((1.0, 0.0),),
                  (Cylinder(0.0, 0.0, 0.1, 0.6, 1.0), Cylinder(0.5, 0.0, 0.1, 0.0, 0.02)),
                  (Box(0.0, 0.0, 0.2, 0.2, 0.0, 0.55, 0.7),))
    assert clearance(FOOTPRINT, of_world(world, 0.04, 0.5), (0.0, 0.0, 0.0)) == HORIZON
    assert clearance(FOOTPRINT, of_world(world, 0.0, 1.0), (0.0, 0.0, 0.0)) <= 0.0

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity, geometry

from karpathy_control.contracts.layout import (
    ENTITY_CLASSES,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    SCAN_BEAMS,
    SECTORS,
    image_focal,
    scan_bearings,
)
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, Person, World
from karpathy_control.learning.labels import CameraLabels, cast, sector_labels, solids
from karpathy_control.perception.encoder import SUB_BINS

BAND = (0.04, 0.5)
LIDAR_HEIGHT = 0.305
LEVEL = (0.0, 0.0, 0.3, 0.0, 0.0, 0.0)
STATIC, LOW, OVERHANG, MOVING = (ENTITY_CLASSES.index(n) for n in
                                 ('static', 'low', 'overhang', 'moving'))


def world(**parts) -> World:
    return World('mixed', 0, (-9, -9, 9, 9), Pose2(), ((1.0, 1.0),), **parts)


def looked() -> np.ndarray:
    return np.full(SCAN_BEAMS, np.inf, np.float32)


def blind() -> np.ndarray:
    return np.full((SECTORS, SUB_BINS), np.nan, np.float32)


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-math.pi, math.pi), st.integers(0, 10**6))
def test_rays_agree_with_shapely(x, y, yaw, seed):
    rng = np.random.default_rng(seed)
    circle = Cylinder(*rng.uniform(-4, 4, 2), float(rng.uniform(0.1, 0.8)))
    box = Box(*rng.uniform(-4, 4, 2), *rng.uniform(0.1, 1.0, 2), float(rng.uniform(-3, 3)))
    bearings = np.linspace(-3, 3, 15)
    got = cast(solids(world(cylinders=(circle,), boxes=(box,)), 0.0), Pose2(x, y, yaw), bearings)
    shapes = (geometry.Point(circle.x, circle.y).buffer(circle.radius, 256),
              affinity.rotate(geometry.box(box.x - box.half_x, box.y - box.half_y,
                                           box.x + box.half_x, box.y + box.half_y),
                              box.yaw, use_radians=True))
    here = geometry.Point(x, y)
    for i, b in enumerate(bearings):
        ray = geometry.LineString([(x, y), (x + 20 * math.cos(yaw + b),
                                            y + 20 * math.sin(yaw + b))])
        for j, shape in enumerate(shapes):
            hit = ray.intersection(shape)
            if hit.is_empty:
                assert np.isinf(got[i, j]) or hit.distance(ray) == 0  # a graze
            elif hit.length > 0.05:
                assert got[i, j] == pytest.approx(here.distance(hit), abs=2e-3)


def test_sector_of_a_cylinder():
    # axis at (2, 0.35), radius 0.3: nearest point 2.0304 - 0.3 at 9.93 deg, in sector 0..10 deg
    label = sector_labels(world(cylinders=(Cylinder(2.0, 0.35, 0.3, top=1.0),)), Pose2(), 0.0,
                          looked(), blind(), BAND, LIDAR_HEIGHT)
    row = label[18]
    assert row[0] == pytest.approx(math.hypot(2.0, 0.35) - 0.3, abs=2e-3)
    bearing = math.degrees(scan_bearings(SECTORS)[18]) + row[1] * 5.0
    assert bearing == pytest.approx(9.93, abs=0.5)
    assert row[2] == pytest.approx(0.5) and row[5] == pytest.approx(0.3)
    assert row[6] == STATIC and row[7] == 1.0
    assert np.isinf(label[0, 0]) and label[0, 6] == 0.0


def test_what_nobody_saw_is_not_asked_for():
    low = world(boxes=(Box(2.0, 0.45, 0.2, 0.2, top=0.15),))
    unseen = sector_labels(low, Pose2(), 0.0, looked(), blind(), BAND, LIDAR_HEIGHT)
    assert np.isinf(unseen[:, 0]).all()  # below the lidar, and no camera
    camera = blind()
    camera[18:20] = 1.85
    seen = sector_labels(low, Pose2(), 0.0, looked(), camera, BAND, LIDAR_HEIGHT)
    assert seen[18, 6] == LOW and seen[18, 7] == 0.0
    assert seen[18, 0] == pytest.approx(1.8 / math.cos(math.radians(7.8)), abs=0.03)
    post = world(cylinders=(Cylinder(-2.0, 0.0, 0.2),))
    nobody = np.full(SCAN_BEAMS, np.nan, np.float32)
    assert np.isinf(sector_labels(post, Pose2(), 0.0, nobody, blind(), BAND, LIDAR_HEIGHT)[:, 0]
                    ).all()


@pytest.mark.parametrize(('bottom', 'top', 'kind'), [
    (0.0, 0.2, LOW), (0.35, 0.5, OVERHANG), (0.0, 1.0, STATIC), (0.6, 0.9, None),
    (0.0, 0.03, None)])
def test_classes_by_height(bottom, top, kind):
    camera = blind()
    camera[18] = 1.7
    label = sector_labels(world(cylinders=(Cylinder(2.0, 0.2, 0.3, bottom, top),)), Pose2(), 0.0,
                          looked(), camera, BAND, LIDAR_HEIGHT)
    assert (label[18, 6] == kind) if kind is not None else np.isinf(label[18, 0])


def test_velocity_in_the_axes_of_base():
    mover = Mover.patrol(((-5.0, 2.0), (5.0, 2.0)), 0.8, 0.3)  # along +x; at 6.25 s over x = 0
    pose = Pose2(0.0, 0.0, 0.5 * math.pi)  # looks along +y: world +x is its -y
    label = sector_labels(world(movers=(mover,)), pose, 6.25, looked(), blind(), BAND,
                          LIDAR_HEIGHT)
    row = label[18]
    assert row[6] == MOVING
    assert row[3:5] == pytest.approx([0.0, -0.8], abs=1e-6)
    assert row[0] == pytest.approx(1.7, abs=0.01)


def test_people_are_where_the_simulator_says():
    crowd = world(people=(Person(((9.0, 9.0), (8.0, 9.0)), 1.0, 0.25),))
    now = np.array([[0.0, 2.0, 0.9, 0.0]])  # walks along +x, 2 m before a robot that looks to +y
    row = sector_labels(crowd, Pose2(0.0, 0.0, 0.5 * math.pi), 0.0, looked(), blind(), BAND,
                        LIDAR_HEIGHT, now)[18]
    assert row[6] == MOVING
    assert row[3:5] == pytest.approx([0.0, -0.9], abs=1e-6)
    assert row[0] == pytest.approx(1.75, abs=0.01)
    for people in (None, np.zeros((2, 4))):
        with pytest.raises(ValueError, match=r'it takes \(1, 4\)'):
            solids(crowd, 0.0, people)


def wall_depth(distance: float, camera_height: float, top: float) -> np.ndarray:
    """Depth of a floor and a wall across the view, from a level camera, in closed form."""
    f = image_focal()
    v = (np.arange(IMAGE_HEIGHT) - 0.5 * (IMAGE_HEIGHT - 1)) / f  # down per metre of depth
    floor = np.where(v > 0, camera_height / np.maximum(v, 1e-9), np.inf)
    height = camera_height - v * distance
    depth = np.where(floor < distance, floor, np.where(height <= top, distance, np.inf))
    return np.repeat(depth[:, None], IMAGE_WIDTH, 1).astype(np.float32)


def test_camera_ranges_of_a_wall():
    labels = CameraLabels(LEVEL, *BAND)
    got = labels(wall_depth(2.0, 0.3, 1.0)).reshape(-1)
    bearing = -180.0 + (np.arange(SECTORS * SUB_BINS) + 0.5) * 2.5
    view = np.abs(bearing) < 43.0
    # a wall at x = 2: r = 2 / cos; the nearest of a 2.5 degree bin is at its inner edge
    inner = np.radians(np.maximum(np.abs(bearing) - 1.25, 0.0))
    np.testing.assert_allclose(got[view], 2.0 / np.cos(inner[view]), rtol=0.012)
    assert np.isnan(got[np.abs(bearing) > 50.0]).all()


def test_camera_sees_free_floor_and_nothing_above_the_robot():
    labels = CameraLabels(LEVEL, *BAND)
    got = labels(wall_depth(50.0, 0.3, 1.0)).reshape(-1)
    bearing = -180.0 + (np.arange(SECTORS * SUB_BINS) + 0.5) * 2.5
    assert np.isposinf(got[np.abs(bearing) < 43.0]).all()

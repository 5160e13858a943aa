"""The depth filter on rendered scenes whose answer is known: a floor, boxes, overhangs, holes."""

import math
import time

import numpy as np
import pytest

from karpathy_control.contracts.types import DepthPoints
from karpathy_control.sensing.depth_filter import DepthFilter
from karpathy_control.sensing.mounting import BODY_FROM_OPTICAL, mounting_pose
from karpathy_control.sensing.preprocess import undistorted_rays, virtual_model

POSE = (0.19, 0.0, 0.28, 0.0, 0.15, 0.0)
LOW, HIGH = 0.04, 0.5


def render(boxes, pose=POSE, model=None, far=10.0):
    """Depth of a floor at z = 0 and axis-aligned boxes (x0, y0, z0, x1, y1, z1) in base."""
    model = model or virtual_model()
    mount = mounting_pose(pose)
    flat = undistorted_rays(model)
    rays = np.concatenate((flat, np.ones((*flat.shape[:2], 1))), 2) @ (
        mount.rotation @ BODY_FROM_OPTICAL).T
    with np.errstate(divide='ignore', invalid='ignore'):
        depth = np.where(rays[..., 2] < 0, -mount.position[2] / rays[..., 2], np.inf)
        for box in boxes:
            a = (np.array(box[:3]) - mount.position) / rays
            b = (np.array(box[3:]) - mount.position) / rays
            enter = np.max(np.minimum(a, b), axis=2)
            leave = np.min(np.maximum(a, b), axis=2)
            hit = (enter < leave) & (enter > 0)
            depth = np.where(hit, np.minimum(depth, enter), depth)
    depth[depth > far] = np.inf
    return depth.astype(np.float32)


def read(depth, pose=POSE, model=None):
    out = DepthFilter(model or virtual_model(), pose, LOW, HIGH)(depth, 5)
    obstacle = out.kind == DepthPoints.OBSTACLE
    return out, out.xyz[obstacle], out.xyz[~obstacle]


def bearing(points, out):
    return np.degrees(np.arctan2(points[:, 1] - out.origin[1], points[:, 0] - out.origin[0]))


def reach(points, out):
    return np.hypot(points[:, 0] - out.origin[0], points[:, 1] - out.origin[1])


def test_an_empty_floor_is_free_as_far_as_it_is_seen():
    out, obstacles, free = read(render([]))
    assert out.stamp == 5
    assert out.origin == pytest.approx((0.19, 0.0))
    assert len(obstacles) == 0
    assert 85 <= len(free) <= 100  # 90 degrees, a little more at the bottom of the image
    # The row whose ground would lie beyond 10 m counts as free to 10 m.
    middle = np.abs(bearing(free, out)) < 35
    assert np.all(reach(free, out)[middle] >= 6.0)
    assert np.all(reach(free, out) <= 10.0 * math.sqrt(2))  # depth is along the optical axis


def test_a_low_box_is_an_obstacle_and_ends_free_space():
    # 12 cm high, which a lidar at 0.305 m does not see; front at x = 1.5, 0.4 m wide.
    out, obstacles, free = read(render([(1.5, -0.2, 0, 1.8, 0.2, 0.12)]))
    assert obstacles[:, 0].min() == pytest.approx(1.5, abs=0.02)
    assert np.all((obstacles[:, 2] >= LOW) & (obstacles[:, 2] <= 0.125))
    half = math.degrees(math.atan2(0.2, 1.5 - 0.19))
    inside = np.abs(bearing(free, out)) < half - 1.5
    assert np.all(reach(free, out)[inside] <= 1.31 / math.cos(math.radians(half)))
    assert np.all(reach(free, out)[np.abs(np.abs(bearing(free, out)) - 25) < 8] > 4.0)


def test_an_overhang_in_the_band_is_an_obstacle_and_one_above_it_is_not():
    _, obstacles, _ = read(render([(1.5, -0.5, 0.4, 1.7, 0.5, 1.5)]))
    assert len(obstacles) > 0
    assert np.all(obstacles[:, 2] >= 0.38)
    out, obstacles, free = read(render([(1.5, -0.5, 0.6, 1.7, 0.5, 1.5)]))
    assert len(obstacles) == 0
    assert reach(free, out)[np.abs(bearing(free, out)) < 35].min() > 2.0


def test_missing_depth_is_not_free():
    depth = render([])
    depth[60:66, 60:68] = np.nan  # a black thing on the floor, at about 1 m
    out, obstacles, free = read(depth)
    assert len(obstacles) == 0
    ahead = np.abs(bearing(free, out)) < 2
    # Row 66 of the image, pitched down by 0.15 rad: 0.28 / tan(0.15 + atan(18.5 / 64)) m
    expected = 0.28 / math.tan(0.15 + math.atan(18.5 / 64))
    assert reach(free, out)[ahead].max() <= expected + 0.02


def test_a_camera_too_near_the_floor_for_its_range_still_sees_ahead():
    depth = render([])
    depth[80:] = np.nan  # nearer than a depth camera can measure
    out, _, free = read(depth)
    assert reach(free, out)[np.abs(bearing(free, out)) < 20].min() > 4.0


def test_a_hole_in_the_floor_ends_free_space():
    depth = render([])
    below = render([], pose=(0.19, 0, 0.78, 0, 0.15, 0))  # the floor half a metre lower
    hole = np.zeros(depth.shape, bool)
    hole[52:60] = True
    depth[hole] = below[hole]
    out, obstacles, free = read(depth)
    assert len(obstacles) == 0
    edge = 0.28 / math.tan(0.15 + math.atan(12.5 / 64))
    assert reach(free, out)[np.abs(bearing(free, out)) < 5].max() <= edge + 0.02


def test_the_nearest_of_each_degree_and_band_is_kept():
    out, obstacles, _ = read(render([(2.0, -3, 0, 2.1, 3, 1.0)]))
    assert len(obstacles) <= 3 * 100
    assert np.allclose(obstacles[:, 0], 2.0, atol=0.02)
    keys = np.floor(bearing(obstacles, out) + 180) * 3 + np.minimum(
        (obstacles[:, 2] - LOW) / (HIGH - LOW) * 3, 2.99).astype(int)
    assert len(np.unique(keys)) >= len(keys) - 4  # rounding at the edges of a degree


@pytest.mark.parametrize('pose', [
    (0.0, 0.1, 0.4, 0.0, 0.3, 0.0), (0.1, 0, 0.3, 0, 0.2, 1.0), (0.1, 0, 0.3, math.pi, 0.2, 0)])
def test_any_mounting_pose(pose):
    """Turned and upside-down cameras place the same wall at the same place."""
    c, s = math.cos(pose[5]), math.sin(pose[5])
    out, obstacles, free = read(render([], pose), pose)
    assert len(obstacles) == 0
    assert np.median(reach(free, out)) > 3.0
    ahead = bearing(free, out)
    assert np.median(ahead) == pytest.approx(math.degrees(pose[5]), abs=3.0)
    x, y = pose[0] + 2 * c, pose[1] + 2 * s
    _, obstacles, _ = read(render([(x - 0.1, y - 0.1, 0, x + 0.1, y + 0.1, 0.4)], pose), pose)
    assert np.hypot(obstacles[:, 0] - x, obstacles[:, 1] - y).max() < 0.2


def test_noise_of_a_real_sensor_does_not_invent_obstacles():
    rng = np.random.default_rng(0)
    depth = render([])
    depth += rng.normal(0, 0.002, depth.shape).astype(np.float32) * np.minimum(depth, 10)**2
    _, obstacles, _ = read(depth)
    assert len(obstacles) == 0


def test_a_wrong_size_is_refused():
    with pytest.raises(ValueError, match='this camera has 128 x 96'):
        DepthFilter(virtual_model(), POSE, LOW, HIGH)(np.ones((48, 64), np.float32), 0)
    with pytest.raises(ValueError, match='height band'):
        DepthFilter(virtual_model(), POSE, 0.5, 0.4)


def test_fast_enough():
    depth = render([(1.5, -0.2, 0, 1.8, 0.2, 0.12)])
    work = DepthFilter(virtual_model(), POSE, LOW, HIGH)
    work(depth, 0)
    took = []
    for _ in range(30):
        start = time.perf_counter()
        work(depth, 0)
        took.append(time.perf_counter() - start)
    assert min(took) < 1.5e-3

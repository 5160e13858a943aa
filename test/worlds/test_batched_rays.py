"""The splat kernels against brute force, beam by beam and shape by shape."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.layout import scan_bearings
from karpathy_control.worlds.contact import point_to_polygon, polygon_to_polygon
from karpathy_control.worlds.raycast import cast

LIMIT = 10.0
BEARINGS = scan_bearings().astype(np.float64)
NO_MOVERS = (np.zeros((1, 5), np.float32), np.zeros((1, 2)), 0)


def brute_ray(origin, angle, circles, boxes):
    """Nearest hit of one ray by solving each surface's own equation; 0 inside, inf for none."""
    o, d = np.array(origin), np.array([math.cos(angle), math.sin(angle)])
    best = math.inf
    for x, y, r, *_ in circles:
        m = o - (x, y)
        if m @ m <= r * r:
            return 0.0
        b, c = m @ d, m @ m - r * r
        if b * b - c >= 0.0 and b < 0.0:
            best = min(best, -b - math.sqrt(b * b - c))
    for x, y, hx, hy, c, s, *_ in boxes:
        rotation = np.array([[c, s], [-s, c]])
        p, q = rotation @ (o - (x, y)), rotation @ d
        near, far = -math.inf, math.inf
        for k, half in enumerate((hx, hy)):  # slabs
            if abs(q[k]) < 1e-15:
                if abs(p[k]) > half:
                    near = math.inf
                continue
            t = sorted(((-half - p[k]) / q[k], (half - p[k]) / q[k]))
            near, far = max(near, t[0]), min(far, t[1])
        if far >= max(near, 0.0):
            best = min(best, max(near, 0.0))
    return best if best <= LIMIT else math.inf


def make_box(x, y, hx, hy, yaw, bottom=0.0, top=1.0):
    return (x, y, hx, hy, math.cos(yaw), math.sin(yaw), bottom, top)


def splat(pose, circles, boxes, low=0.3, high=0.3):
    ranges = np.empty(len(BEARINGS), np.float32)
    cast(ranges, np.cos(BEARINGS), np.sin(BEARINGS), np.array(pose), low, high,
         np.array(circles or [(0,) * 5], np.float32), len(circles),
         np.array(boxes or [(0,) * 8], np.float32), len(boxes), *NO_MOVERS, LIMIT)
    return ranges


@pytest.mark.parametrize('seed', range(20))
def test_ranges_equal_brute_force(seed):
    rng = np.random.default_rng(seed)
    circles = [(*rng.uniform(-6, 6, 2), rng.uniform(0.05, 0.6), 0.0, 1.0) for _ in range(12)]
    boxes = [make_box(*rng.uniform(-6, 6, 2), *rng.uniform(0.05, 2.0, 2),
                      rng.uniform(-math.pi, math.pi)) for _ in range(8)]
    circles = np.array(circles, np.float32).tolist()
    boxes = np.array(boxes, np.float32).tolist()
    pose = (*rng.uniform(-6, 6, 2), rng.uniform(-math.pi, math.pi))
    found = splat(pose, circles, boxes)
    expected = np.array([brute_ray(pose[:2], pose[2] + a, circles, boxes) for a in BEARINGS])
    # a beam that grazes a corner may go either way; everything else agrees to a tenth of a mm
    same = np.isclose(found, expected, rtol=0.0, atol=1e-4)
    assert np.count_nonzero(~same) <= 1


def test_beam_straight_at_a_circle_and_a_wall():
    # beam 180 has bearing +0.5 degrees; circle radius 0.5 at 3 m: 3 cos a - sqrt(.25 - 9 sin^2 a)
    a = math.radians(0.5)
    expected = 3 * math.cos(a) - math.sqrt(0.25 - 9 * math.sin(a) ** 2)
    assert splat((0, 0, 0), [(3, 0, 0.5, 0, 1)], [])[180] == pytest.approx(expected, abs=1e-5)
    wall = splat((0, 0, 0), [], [make_box(2.1, 0, 0.1, 5, 0)])
    assert wall[180] == pytest.approx(2.0 / math.cos(a), abs=1e-5)
    assert np.isinf(wall[0])  # behind


def test_only_what_reaches_the_sensor_height_is_seen():
    low, overhang, tall = (2, 0, .5, 0, .2), (4, 0, .5, .35, 1), (6, 0, .5, 0, 1)
    assert 5.4 < splat((0, 0, 0), [low, overhang, tall], [])[180] < 5.6
    assert 1.4 < splat((0, 0, 0), [low, overhang, tall], [], 0.04, 0.5)[180] < 1.6


def test_inside_reads_zero():
    assert np.all(splat((0, 0, 0), [(0.1, 0, 0.5, 0, 1)], []) == 0)
    assert np.all(splat((0, 0, 1), [], [make_box(0.1, 0, 0.5, 0.5, 0.3)]) == 0)


SQUARE = np.array([(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)])


def test_distance_to_a_square_by_hand():
    assert point_to_polygon(SQUARE, 3.0, 0.0) == pytest.approx(2.0)
    assert point_to_polygon(SQUARE, 4.0, 5.0) == pytest.approx(5.0)  # 3-4-5 to the corner
    assert point_to_polygon(SQUARE, 0.5, 0.0) == pytest.approx(-0.5)
    assert polygon_to_polygon(SQUARE, SQUARE + np.array((3.0, 0.0))) == pytest.approx(1.0)
    assert polygon_to_polygon(SQUARE, SQUARE + np.array((1.9, 1.9))) == 0.0
    assert polygon_to_polygon(SQUARE, 0.1 * SQUARE) == 0.0  # one inside the other


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(-4, 4), st.floats(-4, 4), st.floats(-3.1, 3.1), st.floats(0.1, 2),
       st.floats(0.1, 2))
def test_polygon_distance_equals_sampling(x, y, yaw, hx, hy):
    c, s = math.cos(yaw), math.sin(yaw)
    corner = np.array([(hx, hy), (-hx, hy), (-hx, -hy), (hx, -hy)])
    other = corner @ np.array([[c, s], [-s, c]]) + (x, y)
    found = polygon_to_polygon(SQUARE, other)
    # sample one outline densely and clamp to the other: an upper bound within the sample step
    t = np.linspace(0, 1, 400)[:, None]
    outline = np.concatenate([other[i] + t * (other[(i + 1) % 4] - other[i]) for i in range(4)])
    outside = np.maximum(np.abs(outline) - 1.0, 0.0)
    sampled = float(np.min(np.linalg.norm(outside, axis=1)))
    local = (np.abs(-x * c - y * s) <= hx) and (np.abs(x * s - y * c) <= hy)
    if local:  # the square's centre lies in the box
        sampled = 0.0
    assert found == pytest.approx(sampled, abs=0.011)

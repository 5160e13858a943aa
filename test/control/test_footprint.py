"""The footprint against shapely."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.control.footprint import make_footprint, outline, signed_distance

POLYGONS = {
    'box': RobotConfig().polygon,
    'eight corners': np.array([[0.229, 0.1], [0.15, 0.208], [-0.15, 0.208], [-0.229, 0.1],
                               [-0.229, -0.1], [-0.15, -0.208], [0.15, -0.208], [0.229, -0.1]]),
    'triangle off centre': np.array([[0.4, 0.0], [-0.1, 0.2], [-0.1, -0.3]]),
}


@pytest.mark.parametrize('name', POLYGONS)
@given(st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=80, deadline=None)
def test_signed_distance(name, x, y):
    polygon = Polygon(POLYGONS[name])
    point = Point(x, y)
    expected = (-polygon.exterior.distance(point) if polygon.contains(point)
                else polygon.distance(point))
    assert signed_distance(make_footprint(POLYGONS[name]), x, y) == pytest.approx(expected,
                                                                               abs=1e-9)


@pytest.mark.parametrize('name', POLYGONS)
def test_signed_distance_on_a_grid_that_meets_edges_and_corners(name):
    polygon, footprint = Polygon(POLYGONS[name]), make_footprint(POLYGONS[name])
    places = [(x, y) for x in np.linspace(-0.8, 0.8, 33) for y in np.linspace(-0.8, 0.8, 33)]
    for x, y in [*places, *footprint.corners, *(2.0 * footprint.corners)]:
        point = Point(x, y)
        expected = (-polygon.exterior.distance(point) if polygon.contains(point)
                    else polygon.distance(point))
        assert abs(signed_distance(footprint, float(x), float(y)) - expected) < 1e-9, (x, y)


def test_outline_by_hand():
    """A square of 2 m inflated by 0.5 m: ends of each side, and the corners 0.5 m out."""
    square = make_footprint(np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]))
    far = 1.0 + 0.5 * 0.5 ** 0.5
    corners = {(sx * far, sy * far) for sx in (1, -1) for sy in (1, -1)}
    ends = {(sx, sy * 1.5) for sx in (1, -1) for sy in (1, -1)} | {
        (sx * 1.5, sy) for sx in (1, -1) for sy in (1, -1)}
    middles = {(0.0, 1.5), (0.0, -1.5), (1.5, 0.0), (-1.5, 0.0)}
    for spacing, expected in ((5.0, corners | ends), (2.0, corners | ends),
                              (1.0, corners | ends | middles)):
        points = outline(square, 0.5, spacing)
        assert len(points) == len(expected)
        for point in expected:
            assert np.abs(points - point).sum(axis=1).min() < 1e-12


@pytest.mark.parametrize('name', POLYGONS)
def test_outline_lies_on_the_inflated_footprint_without_gaps(name):
    points = outline(make_footprint(POLYGONS[name]), 0.03, 0.05)
    polygon = Polygon(POLYGONS[name])
    assert [polygon.distance(Point(p)) for p in points] == pytest.approx([0.03] * len(points))
    gaps = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
    assert gaps.max() <= 0.05 + 1e-9


def test_a_concave_polygon_becomes_its_hull():
    dented = np.array([[0.2, 0.2], [0.0, 0.05], [-0.2, 0.2], [-0.2, -0.2], [0.2, -0.2]])
    footprint = make_footprint(dented)
    assert len(footprint.corners) == 4
    assert footprint.radius == pytest.approx(0.2 * 2 ** 0.5)

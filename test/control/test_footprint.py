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

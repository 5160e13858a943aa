import math

import numpy as np
import pytest

from karpathy_control.contracts.layout import SCAN_BEAMS, SECTORS, scan_bearings
from karpathy_control.contracts.types import DepthPoints
from karpathy_control.perception.camera_scan import (
    in_view,
    scan_from_depth,
    scan_from_network,
    sector_bearings,
)

CAMERA = (0.19, 0.0, 0.28, 0.0, 0.15, 0.0)
BEARINGS = scan_bearings().astype(float)


def points(*rows: tuple[float, float, float]) -> DepthPoints:
    """Rows of bearing in degrees, distance from base in m, kind."""
    data = np.array(rows, float).reshape(-1, 3)
    b, r = np.radians(data[:, 0]), data[:, 1]
    xyz = np.stack((r * np.cos(b), r * np.sin(b), np.full(len(r), 0.2)), 1)
    return DepthPoints(7, xyz.astype(np.float32), data[:, 2].astype(np.float32), (0.19, 0.0))


def test_nearest_obstacle_free_and_unknown():
    obstacle, free = DepthPoints.OBSTACLE, DepthPoints.FREE
    scan = scan_from_depth(points((0.5, 3.0, obstacle), (0.5, 2.0, obstacle), (0.5, 9.9, free),
                                  (10.5, 9.9, free), (20.5, 4.0, free), (179.9, 1.0, obstacle)))
    assert scan.stamp == 7 and scan.range_max == 10.0
    assert scan.ranges[180] == pytest.approx(2.0)  # bearing 0.5 deg: the nearer of the two
    assert scan.ranges[190] == math.inf  # ground seen to the end
    assert math.isnan(scan.ranges[200])  # ground seen to 4 m says nothing of 10 m
    assert scan.ranges[359] == pytest.approx(1.0)
    assert np.isnan(scan.ranges).sum() == SCAN_BEAMS - 3


def test_a_bin_missed_between_two_like_neighbours_is_bridged_by_the_nearer():
    scan = scan_from_depth(points((0.5, 2.0, 0.0), (2.5, 2.1, 0.0), (10.5, 2.0, 0.0),
                                  (12.5, 4.0, 0.0)))
    assert scan.ranges[181] == pytest.approx(2.0)
    assert math.isnan(scan.ranges[191])  # an edge between 2 and 4 m


def test_no_points_at_all():
    assert np.isnan(scan_from_depth(points()).ranges).all()


def test_view_by_hand():
    # 44 deg at 5 m: (3.597 - .19, 3.473) is at 45.55 deg from the camera: outside of 45
    ranges = np.full(SCAN_BEAMS, 5.0)
    view = in_view(ranges, CAMERA)
    bearing = np.degrees(BEARINGS)
    assert not view[np.argmin(np.abs(bearing - 44.5))]
    assert view[np.argmin(np.abs(bearing - 42.5))]
    turned = in_view(ranges, (0.0, 0.0, 0.3, 0.0, 0.0, math.pi))
    assert turned[0] and turned[-1] and not turned[180]


def test_learned_ranges_by_confidence():
    confidence = np.full((SECTORS, 4), 0.01, np.float32)
    ranges = np.full((SECTORS, 4), 2.0, np.float32)
    confidence[18, 0] = 0.9  # bearings 0 to 2.5 deg: beams 180, 181 and the centre of none more
    confidence[18, 1] = 0.3  # neither seen nor free
    scan = scan_from_network(3, confidence, ranges, CAMERA, 0.5, 5.0)
    np.testing.assert_allclose(scan.ranges[180:182], 2.0)
    assert np.isnan(scan.ranges[183:185]).all()
    assert np.isposinf(scan.ranges[186:200]).all()
    assert np.isnan(scan.ranges[np.abs(BEARINGS) > math.radians(50.0)]).all()


def test_sector_bearings():
    b = sector_bearings(np.zeros(SECTORS, np.float32))
    assert math.degrees(b[18]) == pytest.approx(5.0, abs=1e-4)
    b = sector_bearings(np.full(SECTORS, -1.0, np.float32))
    assert math.degrees(b[18]) == pytest.approx(0.0, abs=1e-4)

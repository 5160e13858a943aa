"""What a scan adds and takes away, on a window of 16 x 16 cells of 0.25 m, with few beams."""

import math

import numpy as np
import pytest
from beams import FAR, INF, NAN, NEAR, QUARTER, UNDER, points, scan, with_beams
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import CELL, FOOTPRINT, RULES, SQUARE, free_cells, is_untouched
from shapely.geometry import LineString, Point, Polygon, box

from karpathy_control.control.lidar_layer import (
    _free_rays,
    reading,
    scan_one,
)
from karpathy_control.control.memory import EMPTY


@pytest.mark.parametrize(('said', 'means'), [
    (NAN, NAN), (-INF, -1.0), (-0.5, -1.0), (0.0, -1.0), (0.099, -1.0), (0.1, 0.1), (1.5, 1.5),
    (3.0, 3.0), (3.1, 3.0), (INF, 3.0)])
def test_a_range_by_rep_117(said, means):
    assert reading(said, NEAR, FAR) == pytest.approx(means, nan_ok=True)


def test_hits_stand_where_the_beams_end():
    memory = with_beams(4)
    scan(memory, [1.0, 1.5, INF, NAN], time=50.0)
    np.testing.assert_allclose(memory.scan[1], [(1.0, 0.0), (0.0, 1.5), (NAN, NAN), (NAN, NAN)],
                               atol=1e-6)
    assert points(memory) == {(1.0, 0.0), (0.0, 1.5)}
    assert memory.epoch[1] == 50.0 and memory.scan_time[1] == 0.0
    assert memory.scan_origin[1] == pytest.approx([0.0, 0.0, QUARTER])
    scan(memory, [NAN, 1.5, INF, 0.5], time=50.5, increment=-QUARTER)
    np.testing.assert_allclose(memory.scan[1], [(NAN, NAN), (0.0, -1.5), (NAN, NAN), (0.0, 0.5)],
                               atol=1e-6)
    assert memory.scan_time[1] == 0.5
    assert memory.scan_origin[1] == pytest.approx([0.0, 0.0, QUARTER])


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3)),
       st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-3, 3)),
       st.floats(-3, 3), st.sampled_from([0.3, -0.3, 1.0, -0.05]),
       st.lists(st.one_of(st.floats(0.6, 2.9), st.just(INF), st.just(NAN)), min_size=2,
                max_size=9))
def test_hits_by_complex_numbers(pose, sensor, first, increment, ranges):
    memory = with_beams(len(ranges))
    scan(memory, ranges, pose, first, increment, sensor)
    base, heading = complex(pose[0], pose[1]), np.exp(1j * pose[2])
    eye = base + heading * complex(sensor[0], sensor[1])
    assert memory.scan_origin[1] == pytest.approx([eye.real, eye.imag, abs(increment)])
    for k, r in enumerate(ranges):
        x, y = memory.scan[1, k].tolist()
        if math.isfinite(r):
            hit = eye + heading * np.exp(1j * (sensor[2] + first + k * increment)) * r
            assert (x, y) == pytest.approx((hit.real, hit.imag), abs=1e-5)
        else:
            assert math.isnan(x) and math.isnan(y)


def test_from_the_largest_range_on_there_is_no_hit():
    memory = with_beams(4)
    scan(memory, [1.5, 1.49, 2.0, 1.501], far=1.5)
    assert points(memory) == {(0.0, 1.49)}


def test_what_is_deeper_than_5_cm_in_the_body_is_the_robot():
    memory = with_beams(4)
    scan(memory, [0.21, 0.19, 0.26, 0.249])
    assert points(memory) == {(0.21, 0.0), (-0.26, 0.0), (-0.0, -0.249)}
    # along the diagonal the body ends at 0.354 m; turned with the robot, seen from its left side
    memory = with_beams(4)
    scan(memory, [0.27, NAN, 0.33, NAN], first=math.pi / 4)
    assert points(memory) == {(-0.2333, -0.2333)}  # 0.0167 m deep; the other 0.059 m
    memory = with_beams(4)
    scan(memory, [0.3, 0.9, NAN, NAN], (0.5, 0.0, 0.3), -0.3, QUARTER, (0.0, 0.1, 0.0))
    eye = (0.5 - 0.1 * math.sin(0.3), 0.1 * math.cos(0.3))
    # ahead in odom: 0.3 m from the eye, is it in the body turned by 0.3 rad?
    turned = Polygon([(0.5 + x * math.cos(0.3) - y * math.sin(0.3),
                       x * math.sin(0.3) + y * math.cos(0.3)) for x, y in SQUARE])
    hit = Point(eye[0] + 0.3, eye[1])
    assert not turned.contains(hit)
    assert points(memory) == {(round(hit.x, 4), round(hit.y, 4)),
                              (round(eye[0], 4), round(eye[1] + 0.9, 4))}


@pytest.mark.parametrize(('yaw', 'x', 'y', 'kept'), [
    # the square turned by 45 degrees reaches 0.354 m along the axes, and 0.177 m diagonally
    (math.pi / 4, 0.27, 0.0, False), (math.pi / 4, 0.30, 0.0, True),
    (math.pi / 4, 0.2, 0.2, True), (0.0, 0.2, 0.2, True), (0.0, 0.19, 0.19, False),
    (0.3, 0.12, 0.22, False), (-0.3, 0.12, -0.22, False)])
def test_the_body_turns_with_the_robot(yaw, x, y, kept):
    memory = with_beams(2)
    scan(memory, [math.hypot(x, y), NAN], (0.0, 0.0, yaw), math.atan2(y, x) - yaw)
    # 0.27: (0.354 - 0.27) / sqrt(2) = 0.059 m deep, 0.30: 0.038 m
    assert (len(points(memory)) == 1) == kept


def test_too_close_to_measure_stands_at_the_least_range_outside_the_body():
    memory = with_beams(4)
    scan(memory, [-INF, 0.05, 1.0, -INF], sensor=(0.2, 0.1, 0.0),
         rules=RULES._replace(start_radius=0.0))
    # from the eye at 0.2 m the least range of 0.1 m ahead is outside, aside it is in the body
    assert points(memory) == {(0.3, 0.1), (-0.8, 0.1)}
    np.testing.assert_allclose(memory.scan[1, 0], (0.3, 0.1), atol=1e-6)
    assert np.isnan(memory.scan[1, [1, 3]]).all()
    # and it says nothing of free space: only the beam that looks back does
    assert free_cells(memory, 1) == UNDER | {(-4, 0), (-3, 0), (-2, 0)}


def test_a_hit_on_the_skin_is_dropped_only_where_it_was_too_close_to_measure():
    memory = with_beams(2)
    scan(memory, [-INF, NAN], sensor=(0.15, 0.0, 0.0))  # 0.25 m: on the skin
    assert points(memory) == set()
    scan(memory, [0.1, NAN], sensor=(0.15, 0.0, 0.0))
    assert points(memory) == {(0.25, 0.0)}


def test_a_range_of_nothing_is_the_sensor_itself():
    memory = with_beams(2)
    scan_one(1, memory, RULES, FOOTPRINT, np.zeros((2, 3)), np.zeros((2, 2), np.float32), 0.0,
             QUARTER, (0.23, 0.0, 0.0), 0.0, FAR, np.zeros(2))
    assert points(memory) == set()


@pytest.mark.parametrize('bad', [(NAN, 0.0, 0.0), (0.0, INF, 0.0), (0.0, 0.0, NAN)])
def test_a_pose_that_is_not_finite_changes_nothing(bad):
    memory = with_beams(4)
    scan(memory, [1.0, 1.0, 1.0, 1.0], bad)
    assert is_untouched(memory, 1)


# -- free space -----------------------------------------------------------------------------------


def touched(x, y, bearing, length):
    """Cells that a ray meets with more than a point, and those that it meets at all."""
    ray = LineString([(x, y), (x + length * math.cos(bearing), y + length * math.sin(bearing))])
    surely, perhaps = set(), set()
    for i in range(-12, 12):
        for j in range(-12, 12):
            cell = box(CELL * i, CELL * j, CELL * (i + 1), CELL * (j + 1))
            if ray.intersection(cell).length > 1e-6:
                surely.add((i, j))
            if ray.distance(cell) < 1e-6:
                perhaps.add((i, j))
    return surely, perhaps


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(-3, 3)),
       st.lists(st.one_of(st.floats(0.4, 2.9), st.just(INF), st.just(NAN), st.just(-INF)),
                min_size=3, max_size=3))
def test_free_is_what_the_beams_cross(pose, ranges):
    memory = with_beams(3)
    rules = RULES._replace(start_radius=0.0)
    scan(memory, ranges, pose, -2.0, 2.0, (0.1, -0.05, 0.2), rules=rules)
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = pose[0] + 0.1 * c + 0.05 * s, pose[1] + 0.1 * s - 0.05 * c
    # seven cells of the window on each side, less what the sensor is off its middle
    limit = min(2.0, 7 * CELL - max(abs(x - pose[0]), abs(y - pose[1])))
    surely, perhaps = set(), set()
    for k, r in enumerate(ranges):
        if r > 0.0:
            more, most = touched(x, y, pose[2] + 0.2 - 2.0 + 2.0 * k, min(r, limit))
            surely, perhaps = surely | more, perhaps | most
    found = free_cells(memory, 1)
    body = Polygon([(pose[0] + c * a - s * b, pose[1] + s * a + c * b) for a, b in SQUARE])
    under = {cell for cell in found
             if body.distance(Point(CELL * (cell[0] + 0.5), CELL * (cell[1] + 0.5))) < 1e-9}
    assert surely <= found
    assert found - under <= perhaps
    assert (memory.free_seen[1][memory.free_seen[1] != EMPTY] == 0.0).all()


def test_free_space_ends_at_its_reach():
    memory = with_beams(4)
    rules = RULES._replace(start_radius=0.0, free_reach=0.95)
    scan(memory, [INF, 0.6, NAN, -INF], (0.1, 0.1, 0.0), rules=rules)
    # from 0.1 to 1.05 m ahead: cells 0..4; aside to 0.7 m: 0..2
    assert free_cells(memory, 1) == UNDER | {(i, 0) for i in range(5)} | {(0, 1), (0, 2)}
    assert (memory.free_seen[1] == 0.0).sum() == 10


def rays(lengths, increment, x=0.1, y=0.1):
    """_free_rays with beams a quarter turn apart, whatever `increment` says; the cells of each."""
    layer = np.full((16, 16), EMPTY, np.float32)
    n = len(lengths)
    turns = np.arange(n) * QUARTER
    directions = np.stack((np.cos(turns), np.sin(turns)), 1).round(9)
    _free_rays(layer, x, y, directions, np.array(lengths), increment, CELL, np.float32(3.0))
    assert set(np.unique(layer)) <= {EMPTY, np.float32(3.0)}
    return {((i + 8) % 16 - 8, (j + 8) % 16 - 8) for j, i in np.argwhere(layer == 3.0).tolist()}


def along(turn, start, end, x=0.1, y=0.1):
    """Cells between two distances along quarter turn `turn`."""
    steps = np.linspace(start + 1e-9, end, 200)
    ux, uy = ((1, 0), (0, 1), (-1, 0), (0, -1))[turn % 4]
    return {(math.floor((x + ux * d) / CELL), math.floor((y + uy * d) / CELL)) for d in steps}


def test_the_first_beam_and_beams_without_a_neighbour_are_whole():
    assert rays([1.3], 0.01) == along(0, 0.0, 1.3)
    assert rays([1.3, 0.9], 0.01) == along(0, 0.0, 1.3) | along(1, 0.0, 0.9)  # no right neighbour
    assert rays([0.0, 0.9], 0.01) == along(1, 0.0, 0.9)
    assert rays([0.0, 0.0], 0.01) == set()


def test_odd_beams_begin_where_their_neighbours_part():
    # twice the increment spans a cell of 0.25 m at 0.25 / (2 * 0.2) = 0.625 m
    assert rays([1.3, 1.5, 1.7], 0.2) == (
        along(0, 0.0, 1.3) | along(1, 0.625, 1.5) | along(2, 0.0, 1.7))
    # or where the shorter neighbour ends
    assert rays([0.3, 1.5, 1.7], 0.2) == (
        along(0, 0.0, 0.3) | along(1, 0.3, 1.5) | along(2, 0.0, 1.7))
    assert rays([1.3, 1.5, 0.35], 0.2) == (
        along(0, 0.0, 1.3) | along(1, 0.35, 1.5) | along(2, 0.0, 0.35))
    # 0.25 / (2 * 0.1) = 1.25 m: nothing of a beam of 0.9 m is left
    assert rays([1.3, 0.9, 1.7], 0.1) == along(0, 0.0, 1.3) | along(2, 0.0, 1.7)
    assert rays([1.3, 1.25, 1.7], 0.1) == along(0, 0.0, 1.3) | along(2, 0.0, 1.7)


@pytest.mark.parametrize('stride', [2, 4, 8])
def test_every_second_beam_begins_later_by_half(stride):
    """Of 4 * stride + 1 beams only number `stride`, and those that part it, have a length."""
    n = 4 * stride + 1
    increment = 0.4 / stride  # so that it begins at 0.25 / (2 * 0.4) = 0.3125 m

    def lengths(before, own, after):
        values = [0.0] * n
        values[0], values[stride], values[2 * stride] = before, own, after
        return values

    whole = along(0, 0.0, 1.3)
    assert rays(lengths(1.3, 1.5, 1.7), increment) == (
        whole | along(stride, 0.3125, 1.5) | along(2 * stride, 0.0, 1.7))
    assert rays(lengths(0.2, 1.5, 1.7), increment) == (
        along(0, 0.0, 0.2) | along(stride, 0.2, 1.5) | along(2 * stride, 0.0, 1.7))
    assert rays(lengths(1.3, 1.5, 0.0), increment) == whole | along(stride, 0.0, 1.5)


@pytest.mark.parametrize('k', range(49))
def test_a_beam_is_thinned_by_the_pair_that_is_as_far_as_its_number_is_even(k):
    """The largest power of two in the number, below 16; of 49 beams only those three are long."""
    stride = next(s for s in (16, 8, 4, 2, 1) if k % s == 0)
    whole = stride == 16 or k + stride > 48
    before, own, after = (np.exp(1j * a) for a in (0.0, 2.0, 4.0))
    directions, lengths = np.zeros((49, 2)), np.zeros(49)
    rays_of = [(k, own, 1.5)] if whole else [(k - stride, before, 1.3), (k, own, 1.5),
                                             (k + stride, after, 1.4)]
    if stride == 16 and 0 < k < 48:  # its neighbours are long too, and it is whole all the same
        rays_of += [(k - 16, before, 1.3), (k + 16, after, 1.4)]
    for i, way, length in rays_of:
        directions[i], lengths[i] = (way.real, way.imag), length
    layer = np.full((16, 16), EMPTY, np.float32)
    # it begins at 0.25 / (2 * stride * increment) = 0.625 m
    _free_rays(layer, 0.1, 0.1, directions, lengths, 0.2 / stride, CELL, np.float32(3.0))
    expected = set()
    for i, way, length in rays_of:
        for d in np.linspace(0.625 if i == k and not whole else 0.0, length, 2000):
            at = complex(0.1, 0.1) + d * way
            expected.add((math.floor(at.real / CELL) % 16, math.floor(at.imag / CELL) % 16))
    assert {(i, j) for j, i in np.argwhere(layer == 3.0).tolist()} == expected


def test_beside_a_beam_that_says_nothing_a_beam_is_whole():
    memory = with_beams(3)
    rules = RULES._replace(start_radius=0.0)
    # at 0.05 rad it would be needed from 2.5 m on only
    scan(memory, [NAN, 1.45, NAN], (0.1, 0.1, 0.0), -0.05, 0.05, rules=rules)
    assert free_cells(memory, 1) == UNDER | {(i, 0) for i in range(7)}


def test_a_thinned_beam_whose_neighbour_is_missing_is_whole():
    values = [0.0] * 6
    values[4] = 1.5  # number 4 lacks number 8
    assert rays(values, 0.01) == along(0, 0.0, 1.5)
    assert rays([0.0, 0.0, 1.5, 0.0, 0.0], 0.01) == along(2, 0.0, 1.5)

"""What a scan adds and takes away, on a window of 16 x 16 cells of 0.25 m, with few beams."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import CELL, FOOTPRINT, RULES, SQUARE, free_cells, is_untouched, memory_of, obstacles
from shapely.geometry import LineString, Point, Polygon, box

from karpathy_control.control.lidar_layer import (
    _forgotten,
    _free_rays,
    reading,
    scan_all,
    scan_one,
)
from karpathy_control.control.memory import EMPTY, place

QUARTER = math.pi / 2
NEAR, FAR = 0.1, 3.0  # m, of the sensor
NAN, INF = math.nan, math.inf
UNDER = {(i, j) for i in (-1, 0) for j in (-1, 0)}  # the cells under the square of 0.25 m


def with_beams(n):
    return memory_of()._replace(scan=np.full((2, n, 2), np.nan, np.float32))


def scan(memory, ranges, pose=(0.0, 0.0, 0.0), first=0.0, increment=QUARTER,
         sensor=(0.0, 0.0, 0.0), time=0.0, rules=RULES, far=FAR):
    """Show robot 1 a scan; robot 0 gets another one that must not matter."""
    both = np.array([np.full(len(ranges), 0.4), ranges], np.float32)
    scan_one(1, memory, rules, FOOTPRINT, np.array([(9.0, 9.0, 9.0), pose]), both, first,
             increment, sensor, NEAR, far, np.array([77.0, time]))
    assert is_untouched(memory)


def points(memory):
    return {(round(x, 4), round(y, 4)) for x, y in obstacles(memory, 1, 'lidar')[:, :2].tolist()}


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
    (math.pi / 4, 0.2, 0.2, True), (0.0, 0.2, 0.2, True), (0.0, 0.19, 0.19, False)])
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
             if body.contains(Point(CELL * (cell[0] + 0.5), CELL * (cell[1] + 0.5)))}
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


def test_every_sixteenth_beam_is_whole():
    values = [0.0] * 49
    values[0] = values[16] = values[32] = 1.5
    # all three point ahead
    assert rays(values, 1e-3) == along(0, 0.0, 1.5)
    values[0] = values[32] = 0.0
    assert rays(values, 1e-3) == along(0, 0.0, 1.5)


def test_a_thinned_beam_whose_neighbour_is_missing_is_whole():
    values = [0.0] * 6
    values[4] = 1.5  # number 4 lacks number 8
    assert rays(values, 0.01) == along(0, 0.0, 1.5)
    assert rays([0.0, 0.0, 1.5, 0.0, 0.0], 0.01) == along(2, 0.0, 1.5)


# -- forgetting -----------------------------------------------------------------------------------

EIGHTH = math.pi / 4


def forgotten(at, ranges, hits=None, first=0.0, increment=EIGHTH, sensor=(0.0, 0.0, 0.0)):
    """Whether a scan forgets a point `at` (bearing, distance) from the sensor."""
    eye_x, eye_y, eye_yaw = sensor
    x = eye_x + at[1] * math.cos(eye_yaw + at[0])
    y = eye_y + at[1] * math.sin(eye_yaw + at[0])
    ends = np.full((len(ranges), 2), np.nan)
    for k, off in (hits or {}).items():
        ends[k] = (x + off[0], y + off[1])
    return bool(_forgotten(x, y, eye_x, eye_y, eye_yaw, np.array(ranges), ends, first, increment,
                           NEAR, FAR, CELL))


def beams(said, n=8, rest=0.5):
    """Ranges of n beams; those in `said` by number, the others short."""
    return [said.get(k, rest) for k in range(n)]


@pytest.mark.parametrize('sensor', [(0.0, 0.0, 0.0), (0.4, -0.3, 1.0)])
@pytest.mark.parametrize(('at', 'pair'), [
    (0.1, (0, 1)), (0.7, (0, 1)), (0.9, (1, 2)), (2.9, (3, 4)), (-0.1, (7, 0)), (-0.7, (7, 0)),
    (-0.9, (6, 7)), (6.0, (7, 0)), (-3.0, (4, 5))])
def test_a_point_goes_when_both_beams_beside_it_pass_beyond(at, pair, sensor):
    beyond = {pair[0]: 1.1, pair[1]: 1.2}
    assert forgotten((at, 1.0), beams(beyond), sensor=sensor)
    for k in pair:  # one of them does not, says nothing, or was too close to measure
        for said in (1.04, NAN, -INF, 0.05):
            assert not forgotten((at, 1.0), beams({**beyond, k: said}), sensor=sensor)
    assert not forgotten((at, 1.0), beams({k: 2.0 for k in range(8) if k not in pair}),
                         sensor=sensor)


def test_beyond_is_5_cm_behind_the_point():
    assert forgotten((0.3, 1.0), beams({0: 1.051, 1: 1.051}))
    assert not forgotten((0.3, 1.0), beams({0: 1.049, 1: 1.051}))
    assert not forgotten((0.3, 1.0), beams({0: 1.051, 1: 1.049}))
    assert forgotten((0.3, 2.9), beams({0: INF, 1: 3.5}))
    assert not forgotten((0.3, 2.96), beams({0: INF, 1: INF}))  # what the sensor cannot measure
    assert not forgotten((0.0, 0.95), beams({0: 1.0, 1: 2.0}))  # at the bound
    assert not forgotten((EIGHTH / 2, 0.95), beams({0: 2.0, 1: 0.95 + 0.05}))


@pytest.mark.parametrize('first', [0.0, -1.0, 2.5, -math.pi])
def test_the_first_beam_may_point_anywhere(first):
    assert forgotten((first + 0.1, 1.0), beams({0: 1.1, 1: 1.1}), first=first)
    assert forgotten((first + 4.3 * EIGHTH, 1.0), beams({4: 1.1, 5: 1.1}), first=first)
    assert forgotten((first - 0.1, 1.0), beams({7: 1.1, 0: 1.1}), first=first)


@pytest.mark.parametrize(('at', 'pair'), [(-0.1, (0, 1)), (-1.0, (1, 2)), (0.1, (7, 0)),
                                          (1.0, (6, 7)), (3.0, (4, 5))])
def test_a_scan_may_turn_clockwise(at, pair):
    assert forgotten((at, 1.0), beams(dict.fromkeys(pair, 1.1)), increment=-EIGHTH)
    for k in pair:
        assert not forgotten((at, 1.0), beams({k: 1.1}), increment=-EIGHTH)


@pytest.mark.parametrize('increment', [0.3, -0.3])
def test_outside_the_field_of_view_nothing_is_forgotten(increment):
    """Five beams, 0 .. 1.2 rad."""
    side = math.copysign(1.0, increment)
    everywhere = [2.0] * 5
    for at in (0.0, 0.4, 1.19):
        assert forgotten((side * at, 1.0), everywhere, increment=increment)
    for at in (1.21, 1.4, 3.0, -0.01, -1.0):
        assert not forgotten((side * at, 1.0), everywhere, increment=increment)
        # not even by a hit beside it
        assert not forgotten((side * at, 1.0), everywhere, dict.fromkeys(range(5), (0.0, 0.0)),
                             increment=increment)


@pytest.mark.parametrize(('share', 'closed'), [(1.0, True), (0.96, True), (0.9, False)])
def test_a_scan_is_a_whole_turn_when_less_than_half_a_beam_is_missing(share, closed):
    """Eight beams; with 2 pi * share / 8 between them, 8 * (1 - share) are missing."""
    increment = share * EIGHTH
    at = 7.3 * increment  # between the last beam and the first
    # 0.96: 0.33 beams are missing; 0.9: 0.89 beams
    assert forgotten((at, 1.0), [2.0] * 8, increment=increment) == closed


def test_a_new_hit_within_a_cell_takes_the_place_of_the_point():
    short = beams({})
    for k in (0, 1):
        assert forgotten((0.3, 1.0), short, {k: (0.2, 0.1)})  # 0.224 m away
        assert forgotten((0.3, 1.0), short, {k: (0.0, 0.0)})
        assert not forgotten((0.3, 1.0), short, {k: (0.2, 0.2)})  # 0.283 m
        assert not forgotten((0.3, 1.0), short, {k: (-0.2, 0.2)})
        assert not forgotten((0.3, 1.0), short, {k: (0.26, 0.0)})
        assert not forgotten((0.3, 1.0), short, {k: (0.0, -0.26)})
    assert not forgotten((0.3, 1.0), short, {2: (0.0, 0.0), 7: (0.0, 0.0)})  # not beside it


def test_a_hit_exactly_a_cell_away_is_another_thing():
    for k in (0, 1):
        for off in ((CELL, 0.0), (0.0, CELL), (-CELL, 0.0)):
            assert not forgotten((0.0, 1.0), beams({}), {k: off})


def test_a_stored_point_stays_until_both_of_its_ends_are_forgotten():
    """Two hits in one cell, on either side of the beam at 0.9 rad."""
    memory = with_beams(8)
    place(memory, 1, 0.0, 0.0, 0.0, 0.0, RULES)
    ends = [(1.01, 1.24), (1.24, 1.01)]  # bearings 0.887 and 0.684, both in cell (4, 4)
    for x, y in ends:
        scan(memory, [math.hypot(x, y)] + [NAN] * 7, first=math.atan2(y, x), increment=EIGHTH,
             time=0.0)
    assert obstacles(memory, 1, 'lidar')[0] == pytest.approx([*ends[0], *ends[1]], abs=1e-6)
    # beams at 0.785 and beside: one side sees beyond, the other nothing, and the other way round
    for said in ({0: INF, 1: INF}, {1: INF, 2: INF}):
        scan(memory, beams(said, rest=NAN), increment=EIGHTH, time=0.1)
        assert len(obstacles(memory, 1, 'lidar')) == 1
    scan(memory, beams({0: INF, 1: INF, 2: INF}, rest=NAN), increment=EIGHTH, time=0.1)
    assert len(obstacles(memory, 1, 'lidar')) == 0


def test_forgetting_goes_by_the_pose_and_the_sensor():
    """Points all round; from another pose only those beside two beams that pass beyond go."""
    memory = with_beams(8)
    scan(memory, [1.0] * 8, increment=EIGHTH)
    before = points(memory)
    assert len(before) == 8
    # the robot at (0.2, 0.1) turned by 0.5; its sensor 0.1 ahead, turned by -0.2; two long beams
    pose, sensor, first = (0.2, 0.1, 0.5), (0.1, 0.0, -0.2), -0.1
    said = [1.9, 1.9] + [NAN] * 6
    scan(memory, said, pose, first, EIGHTH, sensor, time=0.1)
    eye = (0.2 + 0.1 * math.cos(0.5), 0.1 + 0.1 * math.sin(0.5))
    begin = 0.5 - 0.2 - 0.1  # odom bearing of the first beam
    gone = {(x, y) for x, y in before
            if 0.0 <= (math.atan2(y - eye[1], x - eye[0]) - begin) % (2 * math.pi) <= EIGHTH
            and math.dist((x, y), eye) < min(1.9, FAR) - 0.05}
    assert len(gone) == 1
    stays = before - gone
    assert stays <= points(memory)
    assert not gone & points(memory)


def test_what_was_not_seen_for_the_memory_time_is_forgotten():
    memory = with_beams(4)
    scan(memory, [1.0, NAN, NAN, NAN], time=10.0)
    scan(memory, [NAN, 1.0, NAN, NAN], time=10.5)
    assert points(memory) == {(1.0, 0.0), (0.0, 1.0)}
    scan(memory, [NAN] * 4, time=11.0)  # memory_time is 1 s: just as old is not too old
    assert points(memory) == {(1.0, 0.0), (0.0, 1.0)}
    scan(memory, [NAN] * 4, time=11.25)
    assert points(memory) == {(0.0, 1.0)}
    scan(memory, [NAN, NAN, NAN, 1.0], time=11.75)
    assert points(memory) == {(-0.0, -1.0)}


def test_a_point_of_this_very_scan_is_not_forgotten_by_it():
    memory = with_beams(8)
    # a hit at 0.8 m in one beam, far ones on both sides, and a second look at the same time
    scan(memory, [0.8] + [2.9] * 7, increment=EIGHTH, time=0.0)
    scan(memory, [2.9] * 8, first=0.1, increment=EIGHTH, time=0.0)
    assert (0.8, 0.0) in points(memory)


def test_the_cells_under_the_robot_are_kept_free():
    memory = with_beams(2)
    forgetful = RULES._replace(start_radius=0.0)
    scan(memory, [NAN, NAN], rules=forgetful, time=3.0)
    assert free_cells(memory, 1) == UNDER
    scan(memory, [NAN, NAN], (0.5, 0.5, 0.0), rules=forgetful, time=4.0)
    assert free_cells(memory, 1, since=1.0) == {(i + 2, j + 2) for i, j in UNDER}


def test_every_robot_of_a_batch_has_its_own_scan():
    together, alone = with_beams(4), with_beams(4)
    pose = np.array([(0.1, 0.2, 0.3), (1.0, -1.0, -2.0)])
    ranges = np.array([(1.0, 2.0, INF, NAN), (0.7, INF, 1.4, -INF)], np.float32)
    time = np.array([3.0, 8.0])
    rest = (-1.0, 1.3, (0.1, 0.05, 0.2), NEAR, FAR)
    scan_all(together, RULES, FOOTPRINT, pose, ranges, *rest, time)
    for b in (0, 1):
        scan_one(b, alone, RULES, FOOTPRINT, pose, ranges, *rest, time)
    for one, other in zip(together, alone, strict=True):
        if one.dtype != np.int32:  # the lists are only valid up to their counts
            np.testing.assert_array_equal(one, other)
    for b in (0, 1):
        assert np.array_equal(np.sort(obstacles(together, b, 'lidar'), 0),
                              np.sort(obstacles(alone, b, 'lidar'), 0))
        assert len(obstacles(together, b, 'lidar')) == 2

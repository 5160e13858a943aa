"""What the camera adds and takes away, on a window of 16 x 16 cells of 0.25 m, point by point."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import CELL, FOOTPRINT, RULES, free_cells, is_untouched, memory_of, obstacles

from karpathy_control.contracts.types import DepthPoints
from karpathy_control.control.camera_layer import (
    _bin,
    camera_scan_all,
    camera_scan_one,
    depth_all,
    depth_one,
)
from karpathy_control.control.memory import EMPTY, mark_obstacle

NAN, INF = math.nan, math.inf
OBSTACLE, FREE = DepthPoints.OBSTACLE, DepthPoints.FREE
UNDER = {(i, j) for i in (-1, 0) for j in (-1, 0)}  # the cells under the square of 0.25 m
BARE = RULES._replace(start_radius=0.0)  # blind 0.75 m, clears from 1 m, frees up to 2 m
DEGREE = math.pi / 180


def depth(memory, *points, pose=(0.0, 0.0, 0.0), origin=(0.0, 0.0), time=0.0, rules=BARE,
          count=None):
    """Show robot 1 points (x, y, kind) in base; robot 0 gets others that must not matter."""
    xy = np.full((2, max(len(points), 1), 2), 1.0, np.float32)
    kind = np.full(xy.shape[:2], OBSTACLE, np.float32)
    for k, (x, y, what) in enumerate(points):
        xy[1, k], kind[1, k] = (x, y), what
    counts = np.array([0, len(points) if count is None else count])
    depth_one(1, memory, rules, FOOTPRINT, np.array([(9.0, 9.0, 9.0), pose]), xy, kind, counts,
              origin, np.array([77.0, time]))
    assert is_untouched(memory)


def polar(degrees, distance, kind):
    return distance * math.cos(degrees * DEGREE), distance * math.sin(degrees * DEGREE), kind


def points(memory):
    return {(round(x, 4), round(y, 4)) for x, y in obstacles(memory, 1, 'camera')[:, :2].tolist()}


@pytest.mark.parametrize(('degrees', 'number'), [
    (0.0, 0), (0.4, 0), (1.2, 1), (90.5, 90), (179.5, 179), (180.5, 180), (-0.5, 359),
    (-90.5, 269), (359.9, 359), (361.5, 1), (-359.5, 0)])
def test_a_bearing_is_gathered_by_the_degree(degrees, number):
    assert _bin(degrees * DEGREE) == number


def test_the_last_rounding_before_a_whole_turn_is_a_bearing_too():
    assert _bin(-1e-20) == 0  # -1e-20 % (2 pi) is 2 pi itself in floating point


def test_obstacles_are_kept_where_they_are():
    memory = memory_of()
    depth(memory, (1.0, 0.5, OBSTACLE), (0.6, -0.4, OBSTACLE), time=40.0)
    assert points(memory) == {(1.0, 0.5), (0.6, -0.4)}
    assert memory.epoch[1] == 40.0 and memory.camera_seen[1].max() == 0.0
    # turned a quarter left at (0.5, -0.25): x is -y of base, y its x
    memory = memory_of()
    depth(memory, (1.0, 0.5, OBSTACLE), pose=(0.5, -0.25, math.pi / 2))
    assert points(memory) == {(0.0, 0.75)}
    depth(memory, (1.0, 0.5, OBSTACLE), pose=(0.5, -0.25, math.pi / 2), time=0.5)
    assert memory.camera_seen[1].max() == 0.5 and len(points(memory)) == 1


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-3, 3)),
       st.tuples(st.floats(-1, 1), st.floats(-1, 1)))
def test_obstacles_by_complex_numbers(pose, point):
    memory = memory_of()
    depth(memory, (*point, OBSTACLE), pose=pose)
    at = complex(pose[0], pose[1]) + np.exp(1j * pose[2]) * complex(*np.float32(point))
    skin = max(abs(point[0]), abs(point[1])) - 0.25  # inside the square this is the distance
    if skin > -0.0499:
        assert obstacles(memory, 1, 'camera')[0] == pytest.approx(
            [at.real, at.imag, at.real, at.imag], abs=1e-5)
    elif skin < -0.0501:
        assert len(points(memory)) == 0


@pytest.mark.parametrize(('x', 'kept'), [(0.21, True), (0.201, True), (0.199, False),
                                         (0.0, False), (-0.19, False), (-0.21, True)])
def test_what_is_deeper_than_5_cm_in_the_body_is_the_robot(x, kept):
    memory = memory_of()
    depth(memory, (x, 0.0, OBSTACLE), pose=(0.3, 0.2, 0.0))
    assert (len(points(memory)) == 1) == kept


def test_only_the_first_count_are_points():
    memory = memory_of()
    depth(memory, (1.0, 0.0, OBSTACLE), (1.0, 0.5, OBSTACLE), (1.9, -0.5, FREE), count=1)
    assert points(memory) == {(1.0, 0.0)} and free_cells(memory, 1) == UNDER
    depth(memory, count=0, time=0.1)
    assert points(memory) == {(1.0, 0.0)}


@pytest.mark.parametrize('bad', [(NAN, 0.0), (0.0, NAN), (INF, 0.0), (1.0, -INF)])
@pytest.mark.parametrize('kind', [OBSTACLE, FREE])
def test_points_that_are_not_finite_are_left_out_alone(bad, kind):
    memory = memory_of()
    depth(memory, (1.0, 1.0, OBSTACLE), (*bad, kind), (1.0, -1.0, OBSTACLE), (1.5, 0.0, FREE))
    assert points(memory) == {(1.0, 1.0), (1.0, -1.0)}
    assert (4, 0) in free_cells(memory, 1)  # the ray after it counts


@pytest.mark.parametrize('bad', [(NAN, 0.0, 0.0), (0.0, INF, 0.0), (0.0, 0.0, NAN)])
def test_a_pose_that_is_not_finite_changes_nothing(bad):
    memory = memory_of()
    depth(memory, (1.0, 1.0, OBSTACLE), (1.5, 0.0, FREE), pose=bad)
    assert is_untouched(memory, 1)
    camera_scan_one(1, memory, BARE, FOOTPRINT, np.array([(0.0, 0.0, 0.0), bad]),
                    np.ones((2, 8), np.float32), 0.0, True, np.zeros(2))
    assert is_untouched(memory, 1)


def test_kinds_are_told_apart_in_the_middle():
    memory = memory_of()
    depth(memory, (1.0, 1.0, 0.49), (1.5, 0.0, 0.5))
    assert points(memory) == {(1.0, 1.0)} and (5, 0) in free_cells(memory, 1)


# -- free space -----------------------------------------------------------------------------------


def test_a_ray_frees_from_the_first_ground_in_view_to_its_end():
    memory = memory_of()
    # the camera at (0.1, 0.1): from 0.85 (cell 3) to 1.3 (cell 5)
    depth(memory, (1.3, 0.1, FREE), origin=(0.1, 0.1), time=60.0)
    assert free_cells(memory, 1) == UNDER | {(3, 0), (4, 0), (5, 0)}
    assert memory.free_seen[1].max() == 0.0
    depth(memory, (0.1, 1.3, FREE), origin=(0.1, 0.1), time=60.5)
    assert free_cells(memory, 1, since=0.5) == UNDER | {(0, 3), (0, 4), (0, 5)}


@pytest.mark.parametrize(('end', 'cells'), [
    (0.95, set()),  # ends before the ground in view, at 0.85 + the camera's 0.1
    (1.05, {(3, 0), (4, 0)}),
])
def test_a_ray_that_ends_nearer_than_the_ground_in_view_frees_nothing(end, cells):
    memory = memory_of()
    depth(memory, (end, 0.1, FREE), origin=(0.1, 0.1), rules=BARE._replace(camera_blind=0.85))
    assert free_cells(memory, 1) - UNDER == cells


def test_a_ray_that_ends_just_where_the_ground_comes_into_view_frees_nothing():
    memory = memory_of()
    depth(memory, (0.75, 0.0, FREE))
    assert free_cells(memory, 1) == UNDER


def test_rays_end_at_their_reach_and_within_the_window():
    memory = memory_of()
    depth(memory, (3.0, 0.1, FREE), origin=(0.1, 0.1), rules=BARE._replace(free_reach=1.3))
    assert free_cells(memory, 1) == UNDER | {(3, 0), (4, 0), (5, 0)}  # to 1.4 m
    # the window reaches 7 cells from the cell of the robot; the camera is 0.4 m ahead of it
    memory = memory_of()
    depth(memory, (9.0, 0.1, FREE), origin=(0.4, 0.1), pose=(-0.05, 0.0, 0.0),
          rules=BARE._replace(free_reach=5.0))
    assert free_cells(memory, 1) == UNDER | {(4, 0), (5, 0), (6, 0)}  # 1.1 m .. 1.7 m
    memory = memory_of()
    depth(memory, (0.1, 9.0, FREE), origin=(0.1, 0.4), pose=(0.0, -0.05, 0.0),
          rules=BARE._replace(free_reach=5.0))
    assert free_cells(memory, 1) == UNDER | {(0, 4), (0, 5), (0, 6)}


def test_nothing_is_freed_beyond_a_window_that_is_nearer_than_the_ground_in_view():
    memory = memory_of()
    depth(memory, (3.0, 0.0, FREE), rules=BARE._replace(camera_blind=1.8))
    assert free_cells(memory, 1) == UNDER


def test_rays_turn_with_the_robot():
    memory = memory_of()
    # heading left at (0.5, -0.4): the camera at (0.5 - 0.1, -0.4 + 0.2) = (0.4, -0.2)
    depth(memory, (1.6, 0.1, FREE), pose=(0.5, -0.4, math.pi / 2), origin=(0.2, 0.1))
    # ahead along y from -0.2 + 0.75 = 0.55 to 1.2
    freed = free_cells(memory, 1) - {(i, j) for i in (1, 2) for j in (-3, -2, -1)}
    assert freed == {(1, 2), (1, 3), (1, 4)}


def test_the_longest_ray_of_a_bearing_is_not_the_only_one():
    memory = memory_of()
    depth(memory, (1.6, 0.1, FREE), (1.1, 0.11, FREE), origin=(0.1, 0.1))
    assert free_cells(memory, 1) == UNDER | {(i, 0) for i in (3, 4, 5, 6)}


# -- clearing -------------------------------------------------------------------------------------


def seen_again(stored, *frame, origin=(0.0, 0.0), pose=(0.0, 0.0, 0.0), rules=BARE):
    """Whether points `stored` (degrees, distance) are there after a frame 0.1 s later."""
    memory = memory_of()
    depth(memory, *(polar(*place, OBSTACLE) for place in stored))
    assert len(points(memory)) == len(stored)
    depth(memory, *frame, origin=origin, pose=pose, time=0.1, rules=rules)
    left = points(memory)
    return [(round(x, 4), round(y, 4)) in left for x, y, _ in
            (polar(*place, OBSTACLE) for place in stored)]


def test_a_ray_beyond_clears_its_own_degree_and_no_other():
    places = [(20.3, 1.2), (22.5, 1.5), (-41.5, 1.2)]
    assert seen_again(places, polar(20.7, 1.9, FREE)) == [False, True, True]
    assert seen_again(places, polar(22.1, 1.9, FREE)) == [True, False, True]
    assert seen_again(places, polar(-41.2, 1.9, FREE)) == [True, True, False]
    assert seen_again(places) == [True, True, True]


def test_a_ray_must_pass_5_cm_beyond():
    assert seen_again([(20.5, 1.2)], polar(20.5, 1.251, FREE)) == [False]
    assert seen_again([(20.5, 1.2)], polar(20.5, 1.249, FREE)) == [True]


def test_the_longest_ray_of_a_degree_counts():
    for ends in ((1.1, 1.9), (1.9, 1.1)):
        assert seen_again([(20.5, 1.2)], *(polar(20.5, end, FREE) for end in ends)) == [False]


def test_every_obstacle_of_the_degree_must_lie_beyond():
    """A surface in front hides what stands behind, whatever a ray beside it says."""
    beyond = polar(20.3, 1.9, FREE)
    for hit, stays in ((0.7, True), (1.5, False), (1.8, False)):
        assert seen_again([(20.5, 1.2)], beyond, polar(20.7, hit, OBSTACLE)) == [stays]
    # the nearest of several
    for hits in ((0.7, 1.8), (1.8, 0.7)):
        assert seen_again([(20.5, 1.2)], beyond,
                          *(polar(20.7, hit, OBSTACLE) for hit in hits)) == [True]


def test_an_obstacle_within_a_cell_takes_the_place_of_the_point():
    """Of the degree, and 0.25 m along the ray; the new one lies in another cell."""
    for hit, stays in ((1.0, False), (1.43, False), (0.93, True), (1.46, True)):
        assert seen_again([(20.5, 1.2)], polar(20.8, hit, OBSTACLE)) == [stays]
    assert seen_again([(20.5, 1.2)], polar(18.5, 1.4, OBSTACLE)) == [True]
    # Where the camera does not see the whole height, a farther one may be the top of the same
    # thing, whose front edge is out of view by now; a nearer one is safe to go by.
    for hit, stays in ((0.97, True), (0.81, True), (0.79, False), (0.6, False)):
        assert seen_again([(20.5, 0.8)], polar(20.8, hit, OBSTACLE)) == [stays]


def test_an_obstacle_a_whole_cell_behind_is_another_thing():
    assert seen_again([(0.0, 1.0)], (1.25, 0.0, OBSTACLE)) == [True]


def test_nothing_is_cleared_that_a_ray_may_pass_over():
    """Nearer than 1 m the camera does not see the whole height."""
    for distance, stays in ((0.9, True), (0.999, True), (1.001, False)):
        assert seen_again([(20.5, distance)], polar(20.5, 1.9, FREE)) == [stays]
    assert seen_again([(0.0, 1.0)], (1.9, 0.0, FREE)) == [True]


def test_clearing_is_seen_from_the_camera_in_odom():
    """Heading left at (0.5, -0.4) the camera is at (0.4, -0.2), see above."""
    where = {'origin': (0.2, 0.1), 'pose': (0.5, -0.4, math.pi / 2)}
    x, y = 0.4 + 1.2 * math.cos(1.9), -0.2 + 1.2 * math.sin(1.9)  # 1.2 m at 1.9 rad of odom
    place = (math.atan2(y, x) / DEGREE, math.hypot(x, y))
    side = 1.9 - math.pi / 2  # bearing from the camera in base
    for off, stays in ((0.0, False), (2 * DEGREE, True), (-2 * DEGREE, True)):
        ray = (0.2 + 1.8 * math.cos(side + off), 0.1 + 1.8 * math.sin(side + off), FREE)
        assert seen_again([place], ray, **where) == [stays]
    near = (0.2 + 1.24 * math.cos(side), 0.1 + 1.24 * math.sin(side), FREE)
    assert seen_again([place], near, **where) == [True]


def test_a_stored_pair_goes_only_when_both_ends_are_cleared():
    """Two points in cell (4, 1), at 17.5 and 21.5 degrees."""
    pair = [polar(17.5, 1.18, OBSTACLE), polar(21.5, 1.2, OBSTACLE)]
    rays = [polar(17.5, 1.9, FREE), polar(21.5, 1.9, FREE)]
    for shown, stays in (([0], True), ([1], True), ([0, 1], False)):
        memory = memory_of()
        depth(memory, *pair)
        assert len(obstacles(memory, 1, 'camera')) == 1
        depth(memory, *(rays[k] for k in shown), time=0.1)
        assert (len(obstacles(memory, 1, 'camera')) == 1) == stays


def test_what_was_not_seen_for_the_memory_time_is_forgotten():
    memory = memory_of()
    depth(memory, (1.0, 0.0, OBSTACLE), time=5.0)
    depth(memory, (0.0, 1.0, OBSTACLE), time=5.5)
    depth(memory, time=6.0)  # memory_time is 1 s: just as old is not too old
    assert points(memory) == {(1.0, 0.0), (0.0, 1.0)}
    depth(memory, time=6.25)
    assert points(memory) == {(0.0, 1.0)}
    depth(memory, (0.0, -1.0, OBSTACLE), time=6.75)
    assert points(memory) == {(0.0, -1.0)}
    assert (memory.camera_seen[1] != EMPTY).sum() == 1


def test_a_column_of_the_window_is_not_its_row():
    memory = memory_of()
    spots = {(1.4, 0.6), (0.6, 1.4), (-1.4, 0.9), (0.9, -1.4)}
    depth(memory, *((x, y, OBSTACLE) for x, y in spots))
    ray = math.atan2(0.6, 1.4)
    depth(memory, (1.9 * math.cos(ray), 1.9 * math.sin(ray), FREE), time=0.1)
    assert points(memory) == spots - {(1.4, 0.6)}


# -- what the lidar sees as well ------------------------------------------------------------------


def beside_lidar(*hits, time=0.0):
    """A memory whose lidar has just seen points at `time`."""
    memory = memory_of()
    depth(memory, time=0.0)
    for x, y in hits:
        mark_obstacle(memory.lidar[1], memory.lidar_seen[1], memory.lidar_cells[1],
                      memory.lidar_count, 1, memory.origin[1], x, y, np.float32(time), CELL)
    return memory


@pytest.mark.parametrize(('point', 'kept'), [
    ((1.1, 0.6), False), ((1.1, 0.84), False), ((1.1, 0.86), True),  # cells of 0.25 m
    ((0.86, 0.6), False), ((0.84, 0.6), True), ((1.34, 0.6), False), ((1.36, 0.6), True),
    ((1.28, 0.78), True),  # 0.255 m away on the diagonal
    ((1.27, 0.77), False)])  # 0.240 m
def test_a_point_within_a_cell_of_what_the_lidar_sees_is_left_to_it(point, kept):
    memory = beside_lidar((1.1, 0.6))
    depth(memory, (*point, OBSTACLE))
    assert points(memory) == ({point} if kept else set())


@pytest.mark.parametrize('side', [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize(('off', 'kept'), [((-0.2, 0.0), False), ((0.0, -0.2), False),
                                           ((0.2, 0.0), False), ((0.0, 0.2), False),
                                           ((-0.26, 0.0), True), ((0.0, -0.26), True)])
def test_it_is_left_to_the_lidar_on_every_side_of_the_robot(side, off, kept):
    x, y = 1.1 * side[0], 0.6 * side[1]
    memory = beside_lidar((x, y))
    depth(memory, (x + off[0], y + off[1], OBSTACLE))
    assert len(points(memory)) == int(kept)


def test_each_point_of_a_cell_of_the_lidar_counts():
    memory = beside_lidar((1.01, 0.51), (1.24, 0.74))  # both in cell (4, 2)
    depth(memory, (0.8, 0.4, OBSTACLE), (1.4, 0.9, OBSTACLE), (0.76, 0.4, OBSTACLE))
    assert points(memory) == {(0.76, 0.4)}  # 0.273 m from the first


@pytest.mark.parametrize(('age', 'kept'), [(0.0, False), (0.09, False), (0.11, True),
                                           (-0.09, False), (-0.11, True)])
def test_the_lidar_must_have_seen_it_just_now(age, kept):
    memory = beside_lidar((1.1, 0.6), time=0.5 - age)
    depth(memory, (1.1, 0.6, OBSTACLE), time=0.5)
    assert points(memory) == ({(1.1, 0.6)} if kept else set())


def test_what_the_lidar_sees_at_the_other_end_of_the_window_is_not_near():
    memory = beside_lidar((-1.9, 0.6))  # the slot after that of the last column, 7
    depth(memory, (1.9, 0.6, OBSTACLE))
    assert points(memory) == {(1.9, 0.6)}


def test_an_older_sight_of_what_the_lidar_sees_goes():
    memory = beside_lidar((1.1, 0.6), time=0.5)
    depth(memory, (1.1, 0.6, OBSTACLE), time=0.0)  # half a second before the scan
    assert points(memory) == {(1.1, 0.6)}
    depth(memory, (1.1, 0.6, OBSTACLE), time=0.5)
    assert points(memory) == set()


def test_the_camera_scan_leaves_to_the_lidar_too():
    memory = beside_lidar((1.0, 0.0), time=0.0)
    ranges = np.array([[0.5] * 4, [NAN, NAN, 1.0, 1.5]], np.float32)  # 45 and 135 degrees
    pose = np.array([(9.0, 9.0, 9.0), (0.0, 0.0, -math.pi / 4)])
    camera_scan_one(1, memory, BARE, FOOTPRINT, pose, ranges, 0.0, False, np.array([77.0, 0.0]))
    assert points(memory) == {(0.0, 1.5)}


# -- the camera scan ------------------------------------------------------------------------------


def test_the_camera_scan_adds_at_the_middle_of_each_sector():
    memory = memory_of()
    ranges = np.array([[0.5] * 8, [1.0, NAN, INF, -0.5, 1.5, -INF, 0.8, 0.1]], np.float32)
    camera_scan_one(1, memory, BARE, FOOTPRINT, np.array([(9.0, 9.0, 9.0), (0.2, -0.1, 0.3)]),
                    ranges, 0.0, False, np.array([77.0, 30.0]))
    found = {(round(0.2 + r * math.cos(a), 4), round(-0.1 + r * math.sin(a), 4))
             for r, a in ((1.0, 0.3 - 157.5 * DEGREE), (1.5, 0.3 + 22.5 * DEGREE),
                          (0.8, 0.3 + 112.5 * DEGREE))}  # 0.1 m is in the body
    assert points(memory) == found
    assert free_cells(memory, 1) == set() and memory.epoch[1] == 30.0
    assert is_untouched(memory)
    # a later one takes nothing away
    camera_scan_one(1, memory, BARE, FOOTPRINT, np.array([(9.0, 9.0, 9.0), (0.2, -0.1, 0.3)]),
                    np.full((2, 8), INF, np.float32), 0.0, False, np.array([77.0, 33.0]))
    assert points(memory) == found and memory.camera_seen[1].max() == 0.0


AT = (0.2, -0.1, 0.3)  # where robot 1 stands
BEAMS = 72  # 5 degrees each; ahead, 0 degrees, is the border of beams 35 and 36


def scan_again(memory, ranges, *, offset=0.0, takes_back=True, time=30.1, at=AT):
    camera_scan_one(1, memory, BARE, FOOTPRINT, np.array([(9.0, 9.0, 9.0), at]),
                    np.array([[0.5] * BEAMS, ranges], np.float32), offset, takes_back,
                    np.array([77.0, time]))


def one_thing(distance=1.5):
    """A memory with what a scan from AT showed in beam 36, at 2.5 degrees to the left."""
    memory = memory_of()
    scan_again(memory, [NAN] * 36 + [distance] + [NAN] * 35, time=30.0)
    assert len(points(memory)) == 1
    return memory


def free_but(value, *beams, rest=INF):
    return [value if k in beams else rest for k in range(BEAMS)]


@pytest.mark.parametrize(('ranges', 'kept'), [
    (free_but(INF), False),  # clear everywhere
    (free_but(INF, 34, 35, 36, 37, 38, rest=NAN), False),  # two beams to either side are enough
    (free_but(NAN, 34), True), (free_but(NAN, 38), True),  # one of them is unsure
    (free_but(NAN, 33), False), (free_but(NAN, 39), False),
    (free_but(1.77, 35), True),  # 1.15 * 1.5 + 0.05 = 1.775 m: not clearly farther
    (free_but(1.78, 35), False),
    (free_but(-INF, 37), True),  # too near to measure
])
def test_a_scan_takes_back_what_it_looks_past(ranges, kept):
    memory = one_thing()
    before = points(memory)
    scan_again(memory, ranges)
    assert (before <= points(memory)) is kept
    assert (memory.camera_seen[1].max() > EMPTY) == (len(points(memory)) > 0)
    assert memory.camera_count[1] == len(obstacles(memory, 1, 'camera'))


def test_what_is_not_looked_past_everywhere_or_well_stays():
    for keywords in ({'takes_back': False}, {'offset': 0.6}):  # blind to 1 m + 0.6 m of base
        memory = one_thing()
        scan_again(memory, free_but(INF), **keywords)
        assert len(points(memory)) == 1
    memory = one_thing()
    scan_again(memory, free_but(INF), offset=0.4)  # 1.4 m
    assert points(memory) == set()
    near = one_thing(0.99)  # nearer than 1 m the camera looks over what stands there
    scan_again(near, free_but(INF))
    assert len(points(near)) == 1
    beyond = one_thing(1.01)
    scan_again(beyond, free_but(INF))
    assert points(beyond) == set()


def test_it_is_looked_past_from_elsewhere_too():
    """From (0.2, -0.9) with the heading 0.3 rad, the thing is at another bearing: 25.6 degrees."""
    memory = one_thing()
    x, y = next(iter(points(memory)))
    at = (0.2, -0.9, 0.3)
    bearing = math.atan2(y - at[1], x - at[0]) - at[2]
    beam = math.floor((bearing + math.pi) / (5 * DEGREE))
    assert beam == 41
    scan_again(memory, free_but(0.9, beam + 3), at=at)  # something else, nearer, three beams off
    assert (x, y) not in points(memory)
    memory = one_thing()
    scan_again(memory, free_but(NAN, beam - 2), at=at)
    assert (x, y) in points(memory)


def test_both_points_of_a_cell_must_be_looked_past():
    memory = memory_of()
    depth(memory, (1.55, 0.02, OBSTACLE))  # cell (6, 0) of 0.25 m: 0.7 degrees, beam 36
    depth(memory, (1.7, 0.2, OBSTACLE), time=0.1)  # 6.7 degrees, beam 37
    both = np.array([[1.55, 0.02, 1.7, 0.2]])
    assert obstacles(memory, 1, 'camera') == pytest.approx(both, abs=1e-6)
    at = (0.0, 0.0, 0.0)
    scan_again(memory, free_but(NAN, 39), at=at, time=0.2)  # two beams beside the second
    assert obstacles(memory, 1, 'camera') == pytest.approx(both, abs=1e-6)
    scan_again(memory, free_but(NAN, 34), at=at, time=0.2)  # two beams beside the first
    assert obstacles(memory, 1, 'camera') == pytest.approx(both, abs=1e-6)
    scan_again(memory, free_but(INF), at=at, time=0.2)
    assert len(obstacles(memory, 1, 'camera')) == 0


def test_what_is_forgotten_goes_with_the_ground_under_it():
    memory = one_thing()
    late = 30.0 + BARE.memory_time + 0.1
    scan_again(memory, [NAN] * BEAMS, time=late)
    assert points(memory) == set() and memory.camera_count[1] == 0


def test_a_range_of_zero_is_a_point():
    memory = memory_of()
    outside = FOOTPRINT._replace(corners=np.add(FOOTPRINT.corners, (2.0, 0.0)))  # elsewhere
    camera_scan_one(1, memory, BARE, outside, np.zeros((2, 3)), np.zeros((2, 2), np.float32),
                    0.0, False, np.zeros(2))
    assert points(memory) == {(0.0, 0.0)}


# -- batches --------------------------------------------------------------------------------------


def assert_alike(one, other):
    for a, b in zip(one, other, strict=True):
        if a.dtype != np.int32:  # the lists are only valid up to their counts
            np.testing.assert_array_equal(a, b)
    for b in (0, 1):
        assert len(obstacles(one, b, 'camera')) == len(obstacles(other, b, 'camera')) > 0


def test_every_robot_of_a_batch_has_its_own_view():
    together, alone = memory_of(), memory_of()
    pose = np.array([(0.1, 0.2, 0.3), (1.0, -1.0, -2.0)])
    xy = np.array([[(1.0, 0.2), (1.5, 0.0)], [(0.7, -0.3), (1.2, 0.5)]], np.float32)
    kind = np.array([(OBSTACLE, FREE), (OBSTACLE, OBSTACLE)], np.float32)
    rest = (xy, kind, np.array([2, 1]), (0.1, 0.05), np.array([3.0, 8.0]))
    depth_all(together, RULES, FOOTPRINT, pose, *rest)
    for b in (0, 1):
        depth_one(b, alone, RULES, FOOTPRINT, pose, *rest)
    assert_alike(together, alone)
    ranges = np.array([(1.0, NAN, 1.2), (NAN, 1.3, 0.7)], np.float32)
    camera_scan_all(together, RULES, FOOTPRINT, pose, ranges, 0.0, True,
                    np.array([3.1, 8.2]))
    for b in (0, 1):
        camera_scan_one(b, alone, RULES, FOOTPRINT, pose, ranges, 0.0, True,
                        np.array([3.1, 8.2]))
    assert_alike(together, alone)


def test_the_cells_under_the_robot_are_kept_free():
    memory = memory_of()
    depth(memory, time=3.0)
    assert free_cells(memory, 1) == UNDER
    depth(memory, pose=(0.5, 0.5, math.pi / 4), time=4.0)
    # the square turned by 45 degrees: 0.354 m along the axes, centres up to 0.177 m away count
    assert free_cells(memory, 1, since=1.0) == {(i + 2, j + 2) for i, j in UNDER}
    assert CELL / 2 * math.sqrt(2) < 0.25


def test_a_later_camera_scan_takes_the_place_of_what_was_in_the_cell():
    """Cells of 0.25 m; the learned ranges err, so of a cell only the latest counts."""
    memory = memory_of()
    pose = np.array([(9.0, 9.0, 9.0), (0.0, 0.0, -math.pi / 4)])
    for time, r in ((0.0, 1.02), (0.1, 1.2)):
        ranges = np.array([[0.5] * 4, [NAN, NAN, r, NAN]], np.float32)
        camera_scan_one(1, memory, BARE, FOOTPRINT, pose, ranges, 0.0, True,
                        np.array([77.0, time]))
    assert obstacles(memory, 1, 'camera') == pytest.approx(
        np.array([[1.2, 0.0, 1.2, 0.0]]), abs=1e-6)


def test_two_points_of_a_cell_that_other_frames_saw_stay():
    """Cell (4, 0): from 1.1 to 1.6 degrees and at 9 degrees, in two frames."""
    memory = memory_of()
    first, second = polar(1.5, 1.05, OBSTACLE), polar(9.0, 1.2, OBSTACLE)
    depth(memory, first)
    depth(memory, second, time=0.1)
    assert obstacles(memory, 1, 'camera')[0] == pytest.approx([*first[:2], *second[:2]], abs=1e-6)


@pytest.mark.parametrize('seen', [True, False])
def test_a_cell_that_is_seen_free_stays_so_when_its_obstacle_is_too_old(seen):
    memory = memory_of()
    depth(memory, (1.1, 0.1, OBSTACLE))
    memory.free_seen[1, 0, 4] = 0.5  # while the obstacle was there
    ray = polar(5.2, 1.9, FREE)  # over it, but no ray of its own degree clears it
    depth(memory, *([ray] if seen else []), time=1.25)
    assert len(points(memory)) == 0
    assert ((4, 0) in free_cells(memory, 1)) == seen

"""The kernels of the obstacle memory on a window of 16 x 16 cells of 0.25 m."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scenes import (
    CELL,
    FOOTPRINT,
    RULES,
    free_cells,
    is_untouched,
    memory_of,
    obstacles,
)
from shapely.geometry import Point, Polygon

from karpathy_control.control.drift import NONE
from karpathy_control.control.footprint import make_footprint, outline, signed_distance
from karpathy_control.control.memory import (
    EMPTY,
    forget,
    forget_free,
    keep_near_free,
    make_memory,
    mark_obstacle,
    mark_place,
    place,
)

SIZE = 16
SPAN = 50_000.0  # s, after which the epoch moves on


def mark(memory, x, y, time, layer='lidar', b=1, renew=False):
    mark_obstacle(getattr(memory, layer)[b], getattr(memory, f'{layer}_seen')[b],
                  getattr(memory, f'{layer}_cells')[b], getattr(memory, f'{layer}_count'), b,
                  memory.origin[b], x, y, np.float32(time), CELL, renew)


def touching(x, y, radius):
    """Every cell of which some point is nearer to (x, y) than `radius`, by looking at all."""
    found = set()
    for i in range(-20, 20):
        for j in range(-20, 20):
            dx = max(CELL * i - x, x - CELL * (i + 1), 0.0)
            dy = max(CELL * j - y, y - CELL * (j + 1), 0.0)
            if math.hypot(dx, dy) < radius:
                found.add((i, j))
    return found


def test_a_new_memory_is_empty_and_as_large_as_it_was_asked_for():
    memory = make_memory(3, 8, 0.95)
    assert is_untouched(make_memory(3, 8, 1.0))
    shapes = {name: getattr(memory, name).shape for name in memory._fields}
    assert shapes == {
        'origin': (3, 2), 'started': (3,), 'epoch': (3,), 'lidar': (3, 8, 8, 4),
        'lidar_seen': (3, 8, 8), 'lidar_cells': (3, 64), 'lidar_count': (3,),
        'camera': (3, 8, 8, 4), 'camera_seen': (3, 8, 8), 'camera_cells': (3, 64),
        'camera_count': (3,), 'free_seen': (3, 8, 8), 'scan': (3, 0, 2), 'scan_time': (3,),
        'scan_origin': (3, 3), 'disc': (3,), 'stands': (3,), 'fence': (0, 2),
        'travel_sums': (3, 13, 2), 'travel_places': (3, 13, 2), 'travel_swing': (3, 13),
        'travel_slot': (3,), 'travel_total': (3, 2), 'travel_pose': (3, 3), 'travel_time': (3,)}
    types = {name: getattr(memory, name).dtype for name in memory._fields}
    assert {name for name, kind in types.items() if kind == np.float32} == {
        'lidar', 'lidar_seen', 'camera', 'camera_seen', 'free_seen', 'scan', 'scan_time'}
    assert {name for name, kind in types.items() if kind.kind == 'i'} == {
        'origin', 'lidar_cells', 'lidar_count', 'camera_cells', 'camera_count', 'travel_slot'}
    assert {name for name, kind in types.items() if kind.kind == 'b'} == {
        'started', 'disc', 'stands'}
    for name in ('lidar_seen', 'camera_seen', 'free_seen', 'scan_time'):
        assert (getattr(memory, name) == EMPTY).all()
    assert memory.disc.all() and not memory.started.any() and (memory.travel_slot == NONE).all()
    for name in ('origin', 'epoch', 'lidar', 'camera', 'lidar_count', 'camera_count',
                 'scan_origin', 'travel_sums', 'travel_total', 'travel_pose', 'travel_time'):
        assert not getattr(memory, name).any()


def test_the_first_pose_places_the_window_and_sets_the_epoch():
    memory = memory_of()
    assert place(memory, 1, 0.6, -0.1, 0.3, 1e9, RULES) == 0.0
    # the robot is in cell (2, -1); half a window below it
    assert memory.origin[1].tolist() == [2 - 8, -1 - 8]
    assert memory.epoch[1] == 1e9 and memory.started[1]
    assert free_cells(memory, 1) == touching(0.6, -0.1, 0.5)
    assert (memory.free_seen[1][memory.free_seen[1] != EMPTY] == 0.0).all()
    assert memory.travel_pose[1].tolist() == [0.6, -0.1, 0.3] and memory.travel_time[1] == 0.0
    assert place(memory, 1, 0.6, -0.1, 0.3, 1e9 + 7.0, RULES) == 7.0
    assert memory.travel_time[1] == 7.0 and memory.epoch[1] == 1e9
    assert is_untouched(memory)


@settings(max_examples=60, deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.sampled_from([0.0, 0.25, 0.33, 0.5, 0.9]))
@example(0.125, -0.24, 0.5)  # straight up and aside the next cell but one is 0.49 m away
@example(-0.24, 0.125, 0.5)
def test_the_start_disc_frees_every_cell_that_it_touches(x, y, radius):
    memory = memory_of()
    place(memory, 1, x, y, 0.0, 0.0, RULES._replace(start_radius=radius))
    assert free_cells(memory, 1) == touching(x, y, radius)


def test_a_disc_whose_border_a_cell_only_meets_does_not_free_it():
    memory = memory_of()
    place(memory, 1, 0.125, 0.125, 0.0, 0.0, RULES._replace(start_radius=0.375))
    cells = free_cells(memory, 1)  # cells 2 and -2 begin at 0.375 m
    assert {i for i, _ in cells} == {j for _, j in cells} == {-1, 0, 1}
    assert cells == touching(0.125, 0.125, 0.375)


def test_forgetting_leaves_nothing_and_says_whether_the_disc_is_free():
    memory = memory_of()._replace(scan=np.zeros((2, 4, 2), np.float32))
    for b in (0, 1):
        place(memory, b, 0.0, 0.0, 0.0, 5.0, RULES)
        mark(memory, 0.6, 0.1, 1.0, 'lidar', b)
        mark(memory, 0.7, 0.2, 1.0, 'camera', b)
        memory.scan_time[b] = 2.0
        memory.stands[b] = False
    forget(memory, 1, False)
    assert memory.stands.tolist() == [False, True]  # where it is next is to be marked anew
    assert len(obstacles(memory, 1, 'lidar')) == len(obstacles(memory, 1, 'camera')) == 0
    assert (memory.free_seen[1] == EMPTY).all() and memory.scan_time[1] == EMPTY
    assert np.isnan(memory.scan[1]).all() and not memory.started[1]
    assert memory.travel_slot[1] == NONE
    assert len(obstacles(memory, 0, 'lidar')) == len(obstacles(memory, 0, 'camera')) == 1
    assert memory.started[0] and memory.scan_time[0] == 2.0 and not memory.scan[0].any()
    assert memory.travel_slot[0] == 0
    assert place(memory, 1, 3.0, 0.0, 0.0, 9.0, RULES) == 0.0
    assert memory.epoch[1] == 9.0 and memory.origin[1].tolist() == [12 - 8, -8]
    assert free_cells(memory, 1) == set()  # not declared free
    forget(memory, 1, True)
    place(memory, 1, 0.0, 0.0, 0.0, 9.0, RULES)
    assert free_cells(memory, 1) == touching(0.0, 0.0, 0.5)


@pytest.mark.parametrize(('x', 'y'), [(0.3, 0.0), (-0.3, 0.0), (0.0, 0.6), (0.0, -0.6),
                                      (1.1, -0.8), (3.9, 0.0), (0.0, 20.0)])
def test_what_scrolls_out_of_the_window_is_forgotten(x, y):
    memory = memory_of()
    place(memory, 1, 0.1, 0.1, 0.0, 0.0, RULES)
    memory.free_seen[1] = 0.0  # the whole window
    spots = [(CELL * (i + 0.5), CELL * (j + 0.5)) for i in range(-8, 8, 3) for j in (-8, -1, 7)]
    for px, py in spots:
        mark(memory, px, py, 0.0, 'lidar')
        mark(memory, px, py, 0.0, 'camera')
    place(memory, 1, 0.1 + x, 0.1 + y, 0.0, 0.5, RULES)
    column, row = math.floor((0.1 + x) / CELL) - 8, math.floor((0.1 + y) / CELL) - 8
    assert memory.origin[1].tolist() == [column, row]
    left = {(px, py, px, py) for px, py in spots
            if CELL * column <= px < CELL * (column + 16) and CELL * row <= py < CELL * (row + 16)}
    for layer in ('lidar', 'camera'):
        assert {tuple(p) for p in obstacles(memory, 1, layer).tolist()} == left
    free = {(i, j) for i in range(max(-8, column), min(8, column + 16))
            for j in range(max(-8, row), min(8, row + 16))}
    assert free_cells(memory, 1) == free
    assert (memory.free_seen[1] == EMPTY).sum() == SIZE * SIZE - len(free)


@pytest.mark.parametrize('start', [(0.0, 0.0), (0.0, 0.3), (0.3, 0.0)])
@pytest.mark.parametrize(('x', 'y'), [(0.3, 0.0), (0.0, 0.3)])
def test_a_move_along_one_axis_moves_that_axis_alone(start, x, y):
    memory = memory_of()
    place(memory, 1, *start, 0.0, 0.0, RULES)
    before = memory.origin[1].copy()
    place(memory, 1, start[0] + x, start[1] + y, 0.0, 0.1, RULES)
    assert (memory.origin[1] - before).tolist() == [1 if x else 0, 1 if y else 0]


def test_after_half_a_day_the_epoch_moves_on_and_nothing_else():
    memory = memory_of()
    place(memory, 1, 0.0, 0.0, 0.0, 100.0, RULES)
    memory.free_seen[1] = EMPTY
    memory.free_seen[1, 3, 4] = SPAN - 1.0
    mark(memory, 0.6, 0.1, SPAN - 2.0)
    mark(memory, 0.7, 0.2, SPAN - 3.0, 'camera')
    memory.scan_time[1] = SPAN - 4.0
    assert place(memory, 1, 0.0, 0.0, 0.0, 100.0 + SPAN, RULES) == SPAN  # not yet
    assert memory.epoch[1] == 100.0
    assert place(memory, 1, 0.0, 0.0, 0.0, 100.5 + SPAN, RULES) == 0.5
    assert memory.epoch[1] == 100.0 + SPAN
    assert memory.free_seen[1, 3, 4] == -1.0 and memory.scan_time[1] == -4.0
    assert memory.lidar_seen[1].max() == -2.0 and memory.camera_seen[1].max() == -3.0
    for layer in ('lidar_seen', 'camera_seen', 'free_seen'):
        assert (getattr(memory, layer)[1] == EMPTY).sum() == SIZE * SIZE - 1
    assert memory.travel_time[1] == 0.5 and memory.travel_slot[1] == 5
    assert is_untouched(memory)


def near(x, y, yaw, free, footprint=FOOTPRINT, rules=RULES, time=5.0):
    """keep_near_free on a layer; the cells that are then of `time`."""
    layer = np.full((SIZE, SIZE), EMPTY, np.float32)
    for (i, j), seen in free.items():
        layer[j % SIZE, i % SIZE] = seen
    keep_near_free(layer, x, y, yaw, np.float32(time), rules, footprint)
    cells = {(i, j) for i in range(-8, 8) for j in range(-8, 8)
             if layer[j % SIZE, i % SIZE] == np.float32(time)}
    assert (layer == np.float32(time)).sum() == len(cells)
    return cells


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-3.0, 3.0))
def test_cells_whose_centre_is_under_the_footprint_are_free(x, y, yaw):
    long = make_footprint(np.array([[0.9, 0.2], [-0.5, 0.2], [-0.5, -0.2], [0.9, -0.2]]))
    c, s = math.cos(yaw), math.sin(yaw)
    expected = set()
    for i in range(-8, 8):
        for j in range(-8, 8):
            dx, dy = CELL * (i + 0.5) - x, CELL * (j + 0.5) - y
            ahead, aside = c * dx + s * dy, c * dy - s * dx
            if -0.5 < ahead < 0.9 and abs(aside) < 0.2:
                expected.add((i, j))
    assert near(x, y, yaw, {}, long) == expected
    assert signed_distance(long, 0.0, 0.0) < 0.0


def test_free_cells_round_the_robot_do_not_expire_while_it_stays():
    """Square of 0.25 m: under it lie the four cells about the origin. start_radius is 0.5 m."""
    under = {(i, j) for i in (-1, 0) for j in (-1, 0)}
    assert near(0.0, 0.0, 0.0, {}) == under
    # centre at (0.375, 0.125): 0.395 m away; seen 1 s ago (memory_time): kept. 1.1 s: expired
    assert near(0.0, 0.0, 0.0, {(1, 0): 4.0}) == under | {(1, 0)}
    assert near(0.0, 0.0, 0.0, {(1, 0): 3.9}) == under
    assert near(0.0, 0.0, 0.0, {(-2, 0): 4.5, (0, -2): 4.5, (0, 1): 4.5}) == under | {
        (-2, 0), (0, -2), (0, 1)}
    # (0.375, 0.375): 0.53 m is too far
    assert near(0.0, 0.0, 0.0, {(1, 1): 4.9}) == under
    # seen later than now (a sensor ahead of this one) is not set back
    layer = np.full((SIZE, SIZE), np.float32(6.0))
    keep_near_free(layer, 0.0, 0.0, 0.0, np.float32(5.0), RULES, FOOTPRINT)
    assert layer[0, 1] == 6.0


def test_the_disc_and_the_footprint_both_bound_what_is_kept():
    free = {(i, j): 4.5 for i in range(-8, 8) for j in range(-8, 8)}
    for radius in (0.0, 0.3, 0.5, 0.75, 1.0):
        reach = max(radius, FOOTPRINT.radius)  # sqrt(0.125) = 0.354 m
        kept = near(0.1, -0.05, 0.0, free, rules=RULES._replace(start_radius=radius))
        assert kept == {(i, j) for i, j in free
                        if math.hypot(CELL * (i + 0.5) - 0.1, CELL * (j + 0.5) + 0.05) <= reach}


def test_a_cell_whose_obstacle_is_too_old_is_unknown_unless_it_is_seen_free_now():
    layer = np.full((SIZE, SIZE), np.float32(4.0))
    layer[2, 3] = 5.0
    for i in (3, 4):
        forget_free(layer, 2, i, np.float32(5.0))
    assert (layer[2, 3], layer[2, 4]) == (5.0, EMPTY)
    assert np.count_nonzero(layer == 4.0) == SIZE * SIZE - 2


def test_where_the_robot_is_does_not_matter():
    for x, y in ((1.5, 0.0), (0.0, 1.5), (-1.5, -1.5)):
        i, j = round(x / CELL), round(y / CELL)
        assert near(x, y, 0.0, {}) == {(a + i, b + j) for a in (-1, 0) for b in (-1, 0)}


def test_centres_on_the_very_bounds():
    # centre (0.125, 0.125) is on the side of the square about (-0.125, 0.125): not under it
    assert (0, 0) not in near(-0.125, 0.125, 0.0, {})
    # and 0.375 m ahead, 0.5 m aside is a centre at 0.625 m: within that radius
    wide = RULES._replace(start_radius=0.625)
    assert (1, 0) in near(0.0, -0.375, 0.0, {(1, 0): 4.5}, rules=wide)


def test_a_cell_keeps_the_two_points_that_are_farthest_apart():
    memory = memory_of()
    memory.origin[1] = -8
    mark(memory, 0.25, 0.26, 1.0)
    assert obstacles(memory, 1, 'lidar').tolist() == [pytest.approx([0.25, 0.26, 0.25, 0.26])]
    mark(memory, 0.35, 0.26, 1.0)  # 0.1 m
    mark(memory, 0.28, 0.28, 1.0)  # between them
    assert obstacles(memory, 1, 'lidar').tolist() == [pytest.approx([0.25, 0.26, 0.35, 0.26])]
    mark(memory, 0.35, 0.46, 1.0)  # 0.22 m from the first
    assert obstacles(memory, 1, 'lidar').tolist() == [pytest.approx([0.25, 0.26, 0.35, 0.46])]
    mark(memory, 0.44, 0.26, 1.5)  # of a later scan, nearer to both than they are to each other
    assert obstacles(memory, 1, 'lidar').tolist() == [pytest.approx([0.25, 0.26, 0.35, 0.46])]
    mark(memory, 0.26, 0.25, 1.5)  # 0.228 m from the second
    assert obstacles(memory, 1, 'lidar').tolist() == [pytest.approx([0.26, 0.25, 0.35, 0.46])]
    assert memory.lidar_seen[1].max() == 1.0 and memory.lidar_count.tolist() == [0, 1]
    mark(memory, 0.49, 0.30, 1.5, renew=True)
    assert obstacles(memory, 1, 'lidar').tolist() == [pytest.approx([0.49, 0.30, 0.49, 0.30])]
    assert memory.lidar_seen[1].max() == 1.5 and memory.lidar_count.tolist() == [0, 1]
    assert is_untouched(memory)


@pytest.mark.parametrize(('first', 'second', 'farther'), [
    ((0.30, 0.30), (0.40, 0.40), (0.31, 0.44)),  # 0.141 and 0.1403
    ((0.30, 0.40), (0.40, 0.30), (0.44, 0.41)),
    ((0.45, 0.45), (0.35, 0.35), (0.31, 0.44)),
])
def test_farther_is_measured_from_the_first(first, second, farther):
    memory = memory_of()
    memory.origin[1] = -8
    for x, y in (first, second, farther):
        mark(memory, x, y, 1.0)
    assert obstacles(memory, 1, 'lidar')[0] == pytest.approx([*first, *second])


@pytest.mark.parametrize('away', [(-0.1, 0.0), (0.0, -0.1), (0.1, 0.0), (0.0, 0.1)])
def test_farther_on_any_side(away):
    memory = memory_of()
    memory.origin[1] = -8
    mark(memory, 0.37, 0.37, 1.0)
    mark(memory, 0.37 + 0.5 * away[0], 0.37 + 0.5 * away[1], 1.0)
    mark(memory, 0.37 + away[0], 0.37 + away[1], 1.0)
    assert obstacles(memory, 1, 'lidar')[0, 2:] == pytest.approx([0.37 + away[0], 0.37 + away[1]])


def test_points_that_are_equally_far_do_not_take_each_others_place():
    memory = memory_of()
    memory.origin[1] = -8
    # 5, then 5 and sqrt(20) sixty-fourths from the two, then the other way round
    for i, j in ((0, 0), (5, 0), (3, 4), (2, 4)):
        mark(memory, 0.25 + i / 64, 0.25 + j / 64, 1.0)
    assert obstacles(memory, 1, 'lidar').tolist() == [[0.25, 0.25, 0.25 + 5 / 64, 0.25]]


def test_what_lies_outside_the_window_is_not_kept():
    memory = memory_of()
    memory.origin[1] = [-8, -6]  # x in [-2, 2), y in [-1.5, 2.5)
    for x, y in ((2.0, 0.0), (-2.001, 0.0), (0.0, 2.5), (0.0, -1.501)):
        mark(memory, x, y, 1.0)
    assert len(obstacles(memory, 1, 'lidar')) == 0
    spots = {(-2.0, 0.0), (1.999, 0.0), (0.0, -1.5), (0.0, 2.499), (-2.0, 2.499)}
    for x, y in spots:
        mark(memory, x, y, 1.0)
    kept = obstacles(memory, 1, 'lidar')
    assert kept[:, :2] == pytest.approx(kept[:, 2:])
    assert {(round(x, 3), round(y, 3)) for x, y in kept[:, :2].tolist()} == spots


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-1.9, 1.9), st.floats(-1.9, 1.9), st.integers(0, 2)),
                max_size=40))
def test_every_hit_is_within_a_cell_of_a_point_that_is_kept(hits):
    memory = memory_of()
    memory.origin[1] = -8
    hits.sort(key=lambda hit: hit[2])
    for x, y, time in hits:
        mark(memory, x, y, float(time))
    kept = obstacles(memory, 1, 'lidar')
    assert len(kept) == len({(math.floor(x / CELL), math.floor(y / CELL)) for x, y, _ in hits})
    for x, y, _ in hits:
        off = np.hypot(kept[:, 0] - x, kept[:, 1] - y)
        assert off.min() <= CELL * math.sqrt(2.0) + 1e-6


def along(corners, scale, step=5e-4):
    """Points every half millimetre along a closed outline. Shape: (n,) complex."""
    ends = scale * np.append(corners, corners[0])
    return np.concatenate([a + (b - a) * np.arange(0.0, 1.0, step / abs(b - a))
                           for a, b in zip(ends[:-1], ends[1:], strict=True) if a != b])


@pytest.mark.parametrize('pose', [(0.0, 0.0, 0.0), (0.4, -0.3, 0.7), (-1.1, 0.25, -2.4)])
def test_where_the_memory_begins_the_outline_is_free(pose):
    """Every cell with 4 mm of the outline, or of one 3 % wider, in it; those inside; no other.

    The margin of 0.12 m leaves room for cells that are between the outline and the body.
    """
    samples = outline(FOOTPRINT, 0.12, 0.05)
    body = Polygon(FOOTPRINT.corners)
    x, y, yaw = pose
    memory = memory_of(size=96)
    memory.free_seen[:] = EMPTY
    place(memory, 1, x, y, yaw, 5.0, RULES._replace(cell=0.05, start_radius=0.0))
    mark_place(memory, 1, samples, FOOTPRINT, 0.12, x, y, yaw, np.float32(0.5), 0.05)
    corners = samples[:, 0] + 1j * samples[:, 1]
    lengths = Counter()
    for scale in (1.0, 1.03):
        points = complex(x, y) + np.exp(1j * yaw) * along(corners, scale)
        lengths.update(zip(np.floor(points.real / 0.05).astype(int).tolist(),
                           np.floor(points.imag / 0.05).astype(int).tolist(), strict=True))
    marked = free_cells(memory, 1, since=0.5)
    middles = {(i, j): np.exp(-1j * yaw) * complex(0.05 * (i + 0.5) - x, 0.05 * (j + 0.5) - y)
               for i in range(-48, 48) for j in range(-48, 48)}
    inside = {cell for cell, z in middles.items()
              if body.distance(Point(z.real, z.imag)) < 0.12}
    touched = {cell for cell, count in lengths.items() if count > 8}
    assert touched | inside <= marked <= set(lengths) | inside and inside - set(lengths)
    assert free_cells(memory, 1) == marked and not memory.stands[1] and memory.stands[0]
    mark_place(memory, 1, samples, FOOTPRINT, 0.12, x + 0.5, y, yaw, np.float32(0.7), 0.05)  # once
    assert free_cells(memory, 1) == marked and memory.free_seen[1].max() == 0.5


def test_free_cells_beyond_the_reach_are_skipped_and_not_the_rest():
    """Cells of a row that begins out of reach: those after them count all the same."""
    memory = memory_of()
    memory.free_seen[1, 0, 1] = 0.5  # cell (1, 0), centre 0.4 m from the robot
    keep_near_free(memory.free_seen[1], 0.0, 0.0, 0.0, np.float32(0.9),
                   RULES._replace(start_radius=0.45), FOOTPRINT)
    assert memory.free_seen[1, 0, 1] == np.float32(0.9)
    memory.free_seen[1, 0, -1] = 0.9  # just seen, in the row before it
    memory.free_seen[1, 0, 1] = 0.7
    keep_near_free(memory.free_seen[1], 0.0, 0.0, 0.0, np.float32(0.9),
                   RULES._replace(start_radius=0.45), FOOTPRINT)
    assert memory.free_seen[1, 0, 1] == np.float32(0.9)

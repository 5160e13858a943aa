"""The rolling grid against dictionaries, fine sampling and shapely."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, box

from karpathy_control.mapping.rolling import (
    cell_index,
    clear_ray,
    clear_rays,
    global_index,
    mark_points,
    recentre,
    unrolled,
    window_origin,
)

CELL = 0.05


def test_cell_index_rounds_down_on_both_sides_of_zero():
    # 0.12 / 0.05 = 2.4 -> 2, -0.01 / 0.05 = -0.2 -> -1
    assert cell_index(0.12, CELL) == 2
    assert cell_index(-0.01, CELL) == -1


def test_window_is_centred():
    # x = 1.0 m is cell 20; 64 cells round it are -12 .. 51
    assert window_origin(1.001, CELL, 64) == -12


@pytest.mark.parametrize('origin', [-130, -64, -1, 0, 5, 1000])
def test_a_slot_names_one_index(origin):
    found = sorted(global_index(slot, origin, 64) for slot in range(64))
    assert found == list(range(origin, origin + 64))
    assert all(global_index(slot, origin, 64) % 64 == slot for slot in range(64))


@given(st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=1, max_size=12),
       st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_rolling_equals_a_dictionary(moves, seed):
    """What stays in the window keeps its value, what scrolls in is empty."""
    rng = np.random.default_rng(seed)
    height, width = 16, 24
    layer = np.zeros((height, width), np.int32)
    origin = np.array([-12, -8], np.int64)
    truth = {}
    for dx, dy in moves:
        for _ in range(30):
            i = int(origin[0] + rng.integers(width))
            j = int(origin[1] + rng.integers(height))
            truth[i, j] = int(rng.integers(1, 100))
            layer[j % height, i % width] = truth[i, j]
        new = origin + np.array([dx, dy])
        recentre(layer, origin, new[0], new[1], 0)
        origin = new
        truth = {(i, j): value for (i, j), value in truth.items()
                 if origin[0] <= i < origin[0] + width and origin[1] <= j < origin[1] + height}
        expected = np.zeros((height, width), np.int32)
        for (i, j), value in truth.items():
            expected[j - origin[1], i - origin[0]] = value
        np.testing.assert_array_equal(unrolled(layer, origin), expected)


@given(*(st.floats(-1.5, 1.5) for _ in range(4)))
@settings(max_examples=150, deadline=None)
def test_a_ray_touches_the_cells_that_the_segment_crosses(x0, y0, x1, y1):
    layer = np.zeros((64, 64), np.uint8)
    origin = np.array([-32, -32], np.int64)
    clear_ray(layer, x0, y0, x1, y1, CELL, 1)
    found = unrolled(layer, origin).astype(bool)
    segment = LineString([(x0, y0), (x1, y1)])
    for j in range(64):
        for i in range(64):
            low_x, low_y = (i - 32) * CELL, (j - 32) * CELL
            if found[j, i]:  # a thousandth of a cell of rounding at the corners
                assert segment.distance(box(low_x, low_y, low_x + CELL, low_y + CELL)) < 5e-5
    cells = np.argwhere(found)
    inner = [(i, j) for j, i in cells]
    assert (cell_index(x0, CELL) + 32, cell_index(y0, CELL) + 32) in inner
    assert (cell_index(x1, CELL) + 32, cell_index(y1, CELL) + 32) in inner
    # 4-connected from end to end: nothing that the segment crosses was left out
    n = abs(cell_index(x1, CELL) - cell_index(x0, CELL)) + abs(
        cell_index(y1, CELL) - cell_index(y0, CELL))
    assert len(cells) == n + 1


def test_rays_end_before_the_hit_and_ignore_what_nobody_saw():
    layer = np.zeros((128, 128), np.float32)
    ranges = np.array([1.0, np.inf, np.nan, -np.inf], np.float32)
    clear_rays(layer, 0.01, 0.01, 0.0, ranges, 0.0, 0.5 * math.pi, CELL, 3.0, 0.06, 7.0)
    view = unrolled(layer, np.array([-64, -64], np.int64))
    # the hit is at x = 1.01 (cell 20); 0.06 m before it is x = 0.95 (cell 18 or 19 by rounding)
    assert view[64, 64 + 18] == 7.0 and view[64, 64 + 20] == 0.0
    assert view[64 + 60, 64] == 7.0 and view[64 + 61, 64] == 0.0  # +Inf: cut at 3.0 m, cell 60
    assert not view[64, :64].any()  # NaN looks back
    assert not view[:64, 64].any()  # -Inf looks right


def test_points_outside_the_window_and_nan_are_left_out():
    layer = np.zeros((32, 32), np.uint8)
    origin = np.array([-16, -16], np.int64)
    px = np.array([0.0, 0.81, np.nan, -0.79, 0.3])
    py = np.array([0.0, 0.0, 0.0, 0.79, 0.3])
    mark_points(layer, origin, px, py, 4, CELL, 1)
    assert sorted(map(tuple, np.argwhere(unrolled(layer, origin)))) == [(16, 16), (31, 0)]

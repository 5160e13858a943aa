"""Cost-to-go against scipy's Dijkstra on the same graph, and its interpolation and descent."""

import math

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from karpathy_control.policy.cost_to_go import (
    FAR,
    LETHAL,
    cell_factors,
    cost_to_go,
    descend,
    value_at,
)
from karpathy_control.policy.memory import encode

CELL = 0.1


def reference(factor, seeds):
    """scipy's answer, in cells; `seeds` maps (x, y) to the value there."""
    n = factor.shape[0]
    rows, columns, data = [], [], []
    for y in range(n):
        for x in range(n):
            for sx, sy in ((1, 0), (0, 1), (1, 1), (1, -1)):
                if 0 <= x + sx < n and 0 <= y + sy < n:
                    weight = 0.5 * math.hypot(sx, sy) * (factor[y, x] + factor[y + sy, x + sx])
                    rows.append(y * n + x)
                    columns.append((y + sy) * n + x + sx)
                    data.append(weight)
    for (x, y), value in seeds.items():  # one more node, joined to the seeds
        rows.append(n * n)
        columns.append(y * n + x)
        data.append(value + 1e-9)
    graph = coo_matrix((data, (rows, columns)), shape=(n * n + 1, n * n + 1))
    return dijkstra(graph.tocsr(), directed=False, indices=n * n)[:n * n].reshape(n, n)


def random_factor(seed, n=32):
    rng = np.random.default_rng(seed)
    factor = 1.0 + 3.0 * rng.random((n, n))
    factor[rng.random((n, n)) < 0.3] = LETHAL
    return factor.astype(np.float32)


@pytest.mark.parametrize('seed', range(5))
def test_goal_inside_agrees_with_scipy(seed):
    factor = random_factor(seed)
    gx, gy = 12.3, 20.9
    seeds = {(x, y): math.hypot(x + 0.5 - gx, y + 0.5 - gy) * factor[y, x]
             for x in (11, 12) for y in (20, 21)}
    field = np.empty_like(factor)
    cost_to_go(factor, CELL, gx, gy, 0, 0, np.inf, field)
    np.testing.assert_allclose(field, CELL * reference(factor, seeds), rtol=3e-5)  # float32 sums


@pytest.mark.parametrize('goal', [(80.0, 10.0), (-7.5, -30.0), (16.0, 33.0)])
def test_goal_outside_is_projected_to_the_border(goal):
    factor = random_factor(9)
    n = factor.shape[0]
    seeds = {(x, y): math.hypot(x + 0.5 - goal[0], y + 0.5 - goal[1])
             for x in range(n) for y in range(n) if x in (0, n - 1) or y in (0, n - 1)}
    field = np.empty_like(factor)
    cost_to_go(factor, CELL, *goal, 0, 0, np.inf, field)
    np.testing.assert_allclose(field, CELL * reference(factor, seeds), rtol=3e-5)  # float32 sums


def test_stopping_early_leaves_the_near_values_unchanged():
    factor = random_factor(3, 40)
    whole, part = np.empty_like(factor), np.empty_like(factor)
    cost_to_go(factor, CELL, 5.0, 5.0, 10, 10, np.inf, whole)
    cost_to_go(factor, CELL, 5.0, 5.0, 10, 10, 0.5, part)
    reached = part < FAR
    np.testing.assert_array_equal(part[reached], whole[reached])
    assert np.all(reached[whole < whole[10, 10] + 0.499])
    assert not reached.all()


def test_factors_by_distance_to_the_exact_point():
    n, inscribed, clearance = 40, 0.2, 0.25
    lidar = np.zeros((n, n), np.uint8)
    camera, seen = lidar.copy(), np.ones_like(lidar)
    lidar[20, 20] = encode(0.9, 0.1)  # the point lies at x 20.9, y 20.1 cells
    camera[5, 8] = encode(0.5, 0.5)
    seen[30, 30] = 0
    factor = np.empty((n, n), np.float32)
    cell_factors(lidar, camera, seen, np.zeros(2, np.int64), CELL, inscribed, clearance, 2.0, 0.2,
                 factor)
    for y in range(n):
        for x in range(n):
            d = CELL * min(math.hypot(x + 0.5 - px, y + 0.5 - py)
                           for px, py in ((20.9, 20.1), (8.5, 5.5)))
            near = max(0.0, 1.0 - max(d - inscribed, 0.0) / clearance)
            want = 1.0 + 2.0 * near ** 2 + (4.0 if d < inscribed else 0.0)
            want += 0.2 if (x, y) == (30, 30) else 0.0
            if d < inscribed - 0.03:
                want = LETHAL
            if min(abs(d - inscribed), abs(d - inscribed + 0.03)) > 0.007:  # raster of the point
                assert factor[y, x] == pytest.approx(want, abs=0.12)


def test_torus_is_unrolled():
    n = 32
    lidar, empty = np.zeros((n, n), np.uint8), np.zeros((n, n), np.uint8)
    ix, iy = -37, 103  # global cell
    lidar[iy % n, ix % n] = encode(0.5, 0.5)
    factor = np.empty((n, n), np.float32)
    cell_factors(lidar, empty, empty, np.array([-40, 100]), CELL, 0.2, 0.25, 2.0, 0.0, factor)
    assert factor[3, 3] == LETHAL
    assert factor[28, 28] == 1.0


def test_interpolation_is_bilinear_and_capped():
    field = np.zeros((4, 4), np.float32)
    field[1:3, 1:3] = [[1.0, 1.04], [1.08, 1.12]]
    assert value_at(field, CELL, 2.0, 2.0) == pytest.approx(1.06)
    assert value_at(field, CELL, 1.5, 1.5) == pytest.approx(1.0)
    field[2, 2] = 50.0  # counts as 1.0 + 1.5 * 0.1
    assert value_at(field, CELL, 2.0, 2.0) == pytest.approx((1.0 + 1.04 + 1.08 + 1.15) / 4)
    assert value_at(field, CELL, -5.0, -5.0) == 0.0
    assert math.isfinite(value_at(field, CELL, 1e9, 1e9))


def test_descent_ends_at_the_goal():
    factor = np.ones((40, 40), np.float32)
    factor[10:, 20] = LETHAL  # a wall with its gap below row 10
    field = np.empty_like(factor)
    cost_to_go(factor, CELL, 30.5, 30.5, 5, 30, np.inf, field)
    cells = np.empty((200, 2))
    count = descend(field, 5.2, 30.7, cells)
    path = cells[:count]
    assert path[0].tolist() == [5.5, 30.5]
    assert path[-1].tolist() == [30.5, 30.5]
    crossing = path[np.abs(path[:, 0] - 20.5) < 0.1]
    assert np.all(crossing[:, 1] < 10.5)

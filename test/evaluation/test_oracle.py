"""The oracle's plan against Dijkstra's shortest paths and closed forms; and it drives."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.config import ControlConfig, PolicyConfig, RobotConfig
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, World
from karpathy_control.evaluation import evaluate
from karpathy_control.evaluation.baselines import oracle
from karpathy_control.evaluation.baselines.oracle import ARRIVED, CELL, time_to_go, value_near
from karpathy_control.evaluation.batched import run
from karpathy_control.evaluation.policies import load_policy
from karpathy_control.evaluation.suites import Episode, Protocol, Suite
from karpathy_control.worlds.free_space import FreeSpace

NOBODY = np.zeros((1, 0, 6), np.float32)
SPEED = 2.0  # m/s: a cell of 0.2 m in 0.1 s
ROOM = World('test', 30_000, (-4.0, -3.0, 4.0, 3.0), Pose2(-3.0, 0.0, 0.0), ((3.0, 0.0),), boxes=(
    Box(0.0, 3.0, 4.0, 0.1), Box(0.0, -3.0, 4.0, 0.1), Box(4.0, 0.0, 0.1, 3.0),
    Box(-4.0, 0.0, 0.1, 3.0)))


def planned(standing, goal, tracks=NOBODY, slices=400, keep=0.1):
    value = np.empty((slices, *standing.shape), np.float32)
    time_to_go(standing, tracks, 0, keep, (0.0, 0.0), goal, SPEED, value)
    return value


def shortest(standing, goal):
    """Octile distances in m by Dijkstra, from every cell to the cells where one has arrived."""
    y, x = ((np.arange(n) + 0.5) * CELL for n in standing.shape)
    roads = FreeSpace(x, y, CELL, np.where(standing, 9.0, 0.0)).roadmap(standing)
    left = np.hypot(goal[0] - x, goal[1] - y[:, None])
    total = np.full(standing.shape, np.inf)
    for j, i in np.argwhere((left < ARRIVED) & standing):
        np.minimum(total, roads.lengths(x[i], y[j]) + left[j, i], out=total)
    return total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_among_what_stands_the_plan_is_the_shortest_way(seed):
    rng = np.random.default_rng(seed)
    standing = rng.random((9, 12)) > 0.3
    goal = (rng.uniform(0.3, 2.1), rng.uniform(0.3, 1.5))
    value = planned(standing, goal)[0]
    exact = shortest(standing, goal) / SPEED
    reachable = np.isfinite(exact)
    np.testing.assert_allclose(value[reachable], exact[reachable], atol=1e-4)
    # who is shut in waits till the end of the plan: 400 slices of 0.1 s
    shut_in = standing & ~reachable
    assert (value[shut_in] > 39.0).all() and np.isinf(value[~standing]).all()


def test_one_waits_for_what_will_go():
    """A passage one cell wide, and a disc in it that goes after 5 s."""
    standing = np.ones((1, 20), np.bool_)
    tracks = np.zeros((400, 1, 6), np.float32)
    tracks[:, 0] = 2.1, 0.1, 0.0, 0.0, 0.05, 1.0  # in cell 10
    tracks[100:, 0, 1] = 9.0  # 100 times 0.05 s
    value = planned(standing, (3.9, 0.1), tracks)
    # From cell 5, at x = 1.1: at cell 10 at 5.0 s, not sooner, then 1.8 m to the goal
    assert value[0, 0, 5] == pytest.approx(5.0 + 1.8 / SPEED, abs=1e-4)
    # 4.8 s later it is a cell short of it when it goes: 2.8 m at once, if it is far enough
    assert value[48, 0, 5] == pytest.approx(2.8 / SPEED, abs=1e-4)
    assert np.isinf(value[:50, 0, 10]).all() and np.isfinite(value[50:, 0, 10]).all()


def test_a_cell_from_which_nobody_escapes_is_worth_nothing():
    """The disc sweeps a dead end: whoever is in it is caught, though there is room now."""
    standing = np.ones((1, 12), np.bool_)
    tracks = np.zeros((400, 1, 6), np.float32)
    tracks[:, 0] = 0.0, 0.1, 0.0, 0.0, 0.05, 1.0
    tracks[:, 0, 0] = np.maximum(1.7 - 0.05 * np.arange(400), -1.0)  # 1 m/s to the left
    value = planned(standing, (2.3, 0.1), tracks)
    assert np.isinf(value[0, 0, :8]).all() and np.isfinite(value[0, 0, 10:]).all()


def test_values_between_cells_are_bilinear_and_keep_off_the_blocked():
    value = np.array([[1.0, 2.0], [3.0, np.inf]], np.float32)
    assert value_near(value, (0.0, 0.0), 0.1, 0.1) == pytest.approx(1.0)
    assert value_near(value, (0.0, 0.0), 0.15, 0.1) == pytest.approx(1.25)
    # a quarter of the way up and right: 9/16 + 2 * 3/16 + 3 * 3/16 + (1 + 0.5) / 16
    assert value_near(value, (0.0, 0.0), 0.15, 0.15) == pytest.approx(1.59375)
    assert value_near(value, (0.0, 0.0), 0.29, 0.29) == np.inf
    assert value_near(value, (0.0, 0.0), -0.3, 0.1) == np.inf


def test_the_distance_to_what_stands_is_exact():
    world = replace(ROOM, cylinders=(Cylinder(1.0, 0.5, 0.3), Cylinder(-1.0, 1.0, 0.3, 0.9, 1.5)))
    field = oracle._distance(world, RobotConfig(), 40, 30)
    j, i = np.mgrid[:field.shape[0], :field.shape[1]]
    x, y = -4.0 + (i + 0.5) * 0.05, -3.0 + (j + 0.5) * 0.05
    # the other is higher than the robot; walls are 0.1 m thick
    exact = np.minimum.reduce([np.hypot(x - 1.0, y - 0.5) - 0.3, 3.9 - np.abs(x), 2.9 - np.abs(y)])
    np.testing.assert_allclose(field, np.maximum(exact, 0.0), atol=1e-6)


@pytest.mark.parametrize('speed', [0.5, 1.0])
def test_it_gets_past_what_comes_straight_at_the_start(speed):
    """A disc half a metre wide that rolls over the start: standing there is no way out."""
    mover = Mover(((0.0, -0.8, 0.0), (2.4 / speed, -3.2, 0.0), (9.0, -3.2, 0.0)), 0.25)
    suite = Suite('test', [replace(ROOM, movers=(mover,))],
                  [Episode(0, 0, seed) for seed in range(4)], Protocol(episode_time=20.0))

    def succeed(policy):
        found = run(suite, policy, ControlConfig(), PolicyConfig(), ablate=['gate'])
        return [r.outcome for r in found]

    assert succeed(load_policy('oracle', RobotConfig())) == ['success'] * 4
    assert succeed(load_policy('straight', RobotConfig())) == ['contact'] * 4


def test_people_whose_way_nobody_knows_are_refused(capsys):
    assert evaluate.main(['--suite', 'people', '--policy', 'oracle', '--against', '',
                          '--episodes', '1']) == 2
    assert re.search(r"oracle: world 'people' seed \d+ has \d+ people", capsys.readouterr().err)


def test_without_the_truth_it_is_refused(capsys):
    assert evaluate.main(['--suite', 'open', '--world', 'mujoco', '--policy', 'oracle',
                          '--against', '', '--episodes', '1']) == 2
    assert 'oracle: needs --world batched' in capsys.readouterr().err

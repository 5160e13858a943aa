"""Guidance alone in a closed loop: round obstacles, out of a dead end, through fields."""

import numpy as np
import pytest
from planar import cylinder_field, drive, scan_of

from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.policy.deliberation import Deliberation


def wall(a, b, spacing=0.1, radius=0.06):
    a, b = np.array(a, dtype=float), np.array(b, dtype=float)
    count = int(np.hypot(*(b - a)) / spacing) + 1
    return [(*p, radius) for p in np.linspace(a, b, count)]


def test_around_one_obstacle():
    outcome, seconds = drive([(2.5, 0.05, 0.5)], (0, 0, 0), (5, 0), 20)
    assert outcome == 'reached'
    assert seconds < 6.5  # 5 m and a bow at 1.2 m/s


def test_goal_behind():
    outcome, seconds = drive([], (0, 0, 0), (-4, 0.1), 20)
    assert outcome == 'reached'
    assert seconds < 6.5  # half a turn at 2 rad/s and 4 m at 1.2 m/s


def test_out_of_a_dead_end_with_the_goal_behind_its_back_wall():
    """A pocket 2.4 m deep, open towards the start: only memory leads out."""
    pocket = [*wall((1, 1.2), (3.4, 1.2)), *wall((1, -1.2), (3.4, -1.2)),
              *wall((3.4, -1.2), (3.4, 1.2))]
    outcome, seconds = drive(pocket, (2.6, 0.0, 0.0), (6.0, 0.0), 40, fov=4.71)
    assert outcome == 'reached', seconds


def test_through_a_narrow_door():
    """0.6 m between the posts for a robot 0.416 m wide."""
    room = [*wall((2, 0.36), (2, 3)), *wall((2, -0.36), (2, -3))]
    outcome, seconds = drive(room, (0, 1.5, 0), (4, -1), 30)
    assert outcome == 'reached', seconds


@pytest.mark.parametrize('conditions', [
    {}, {'fov': 4.71, 'noise': 0.01, 'delay': 3, 'turn_slip': 0.2}], ids=['ideal', 'hard'])
def test_cylinder_fields(conditions):
    seeds = range(100, 110)
    outcomes = [drive(cylinder_field(seed), (-1, 0, 0), (8.5, 0), 40, seed=seed, **conditions)
                for seed in seeds]
    failed = [(s, o) for s, o in zip(seeds, outcomes, strict=True) if o[0] != 'reached']
    assert not failed


def test_batch_and_single_agree():
    rng = np.random.default_rng(5)
    fields = [cylinder_field(s) for s in (1, 2, 3)]
    poses = np.array([[0.3, 0.2, 0.1], [1.0, -0.5, 1.0], [0.0, 0.0, -2.0]])
    scans = np.stack([scan_of(c, p) for c, p in zip(fields, poses, strict=True)])
    camera = np.where(rng.random(scans.shape) < 0.2, scans - 0.1, np.nan).astype(np.float32)
    goals = np.array([[8.0, 0.0], [8.0, 1.0], [-1.0, 0.5]])
    velocity, applied = rng.normal(size=(3, 2)), rng.normal(size=(3, 3, 2))
    many = Deliberation(PolicyConfig(), 3)
    many.observe(poses, scans, camera)
    many.replan(goals, np.array([True, True, True]))
    together = many.features(poses, velocity, applied, goals, scans)
    for i in range(3):
        one = Deliberation(PolicyConfig())
        k = slice(i, i + 1)
        one.observe(poses[k], scans[k], camera[k])
        one.replan(goals[k])
        alone = one.features(poses[k], velocity[k], applied[k], goals[k], scans[k])
        np.testing.assert_allclose(alone.tokens[0], together.tokens[i], atol=1e-6)
        np.testing.assert_array_equal(alone.base_command[0], together.base_command[i])
        many_path, one_path = many.path(poses[i], i), one.path(poses[i])
        np.testing.assert_array_equal(many_path, one_path)
    many.reset(np.array([False, True, False]))
    assert many.planned.tolist() == [True, False, True]


def test_wrong_shapes_are_named():
    think = Deliberation(PolicyConfig())
    with pytest.raises(ValueError, match=r'\(1, 90\)'):
        think.observe(np.zeros((1, 3)), np.zeros((1, 90)))
    with pytest.raises(ValueError, match=r'\(2, 3\)'):
        think.observe(np.zeros((2, 3)), np.zeros((1, 360)))
    with pytest.raises(ValueError, match='batch is 0'):
        Deliberation(PolicyConfig(), 0)

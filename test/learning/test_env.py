"""The closed loop and its VecEnv: what goes in, what comes out, when episodes end."""

import dataclasses

import numpy as np
import pytest
import torch

from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, World
from karpathy_control.learning.config import PolicyTraining
from karpathy_control.learning.env import PRIVILEGED, TRAINING_SEEDS, NavigationEnv
from karpathy_control.learning.loop import ClosedLoop, choose_leg
from karpathy_control.policy.actor import compose
from karpathy_control.policy.tokens import FEATURES, TOKENS
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import Leg
from karpathy_control.worlds.variation import none

B = 2
CONTROL, POLICY = ControlConfig(), PolicyConfig()
WALLS = (Box(0.0, 3.0, 4.0, 0.1), Box(0.0, -3.0, 4.0, 0.1), Box(4.0, 0.0, 0.1, 3.0),
         Box(-4.0, 0.0, 0.1, 3.0))


def room(seed=TRAINING_SEEDS, **parts):
    return World('test', seed, (-4.0, -3.0, 4.0, 3.0), Pose2(-2.0, 0.0, 0.0),
                 ((0.0, 0.0), (2.0, 0.0)), boxes=WALLS, **parts)


def closed_loop(**parts):
    loop = ClosedLoop(pack([room(**parts)]), B, CONTROL, POLICY, none(), 10.0)
    loop.begin(np.arange(B), [Leg(0, (-2.0, 0.0, 0.0), (0.0, 0.0))] * B, [1, 1])
    return loop


def make_env(seed=0, **changes):
    training = dataclasses.replace(PolicyTraining(), **changes)
    return NavigationEnv(pack([room()]), B, training, CONTROL, POLICY, seed)


def test_guidance_arrives_through_the_gate_and_progress_adds_up():
    loop = closed_loop()
    won = np.zeros(B)
    for _ in range(150):
        outcome = loop.advance(loop.features().base_command)
        won += outcome.transition.progress
        if outcome.done.any():
            break
    assert outcome.arrived.all()
    # 2 m to the goal, which counts as reached at 0.3 m; the field has 10 cm cells
    np.testing.assert_allclose(won, 1.7, atol=0.2)


def test_the_gate_stops_what_the_proposal_does_not():
    loop = closed_loop(cylinders=(Cylinder(-1.0, 0.0, 0.3),))
    for _ in range(40):
        loop.features()
        outcome = loop.advance(np.tile((1.0, 0.0), (B, 1)))
    assert not outcome.contact.any()
    assert np.all(np.abs(outcome.transition.speed) < 0.02)
    assert np.all(outcome.transition.proposed[:, 0] - outcome.transition.applied[:, 0] > 0.9)


def test_without_the_gate_the_same_proposal_touches():
    loop = ClosedLoop(pack([room(cylinders=(Cylinder(-1.0, 0.0, 0.3),))]), B, CONTROL, POLICY,
                      none(), 10.0, gate=False)
    loop.begin(np.arange(B), [Leg(0, (-2.0, 0.0, 0.0), (0.0, 0.0))] * B, [1, 1])
    for _ in range(40):
        loop.features()
        outcome = loop.advance(np.tile((1.0, 0.0), (B, 1)))
    assert outcome.contact.all()


def test_observation_and_reward_shapes():
    env = make_env()
    obs = env.get_observations()
    assert obs['tokens'].shape == (B, TOKENS, FEATURES)
    assert obs['privileged'].shape == (B, PRIVILEGED)
    obs, reward, done, extras = env.step(torch.zeros(B, 2))
    assert reward.shape == done.shape == extras['time_outs'].shape == (B,)
    assert reward.dtype == torch.float32
    assert bool(torch.isfinite(obs['tokens']).all())
    assert bool(torch.isfinite(obs['privileged']).all())
    assert {'/reward/progress', '/reward/collision', '/gate/limited'} <= set(extras['log'])


def test_zero_action_is_the_guidance():
    env = make_env()
    base = env._features.base_command
    np.testing.assert_array_equal(compose(base, np.zeros((B, 2), np.float32), POLICY.robot), base)


def test_time_out_is_told_apart_and_resets():
    env = make_env(episode_time=1.0)
    stay = torch.tensor([[0.0, 0.0]] * B)
    for step in range(20):  # 1 s at 20 Hz; nobody drives 1.7 m in that
        _, _, done, extras = env.step(stay)
        assert bool(done.any()) == (step == 19)
    assert bool(extras['time_outs'].all())
    assert int(env.episode_length_buf.sum()) == 0
    assert np.all(env.loop.world.time == 0.0)


def test_same_seed_same_run():
    runs = []
    for _ in range(2):
        env = make_env(seed=4)
        runs.append([env.step(torch.full((B, 2), 0.1))[1] for _ in range(10)])
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)


def test_worlds_of_the_demo_are_refused():
    with pytest.raises(ValueError, match='has seed 7: seeds below 100000'):
        NavigationEnv(pack([room(seed=7)]), B, PolicyTraining(), CONTROL, POLICY, 0)


def test_legs_follow_the_goals():
    bank, rng = pack([room()]), np.random.default_rng(0)
    assert choose_leg(bank, 0, 0, rng) == Leg(0, (-2.0, 0.0, 0.0), (0.0, 0.0))
    second = choose_leg(bank, 0, 1, rng)
    assert second.start[:2] == (0.0, 0.0)
    assert second.goal == (2.0, 0.0)
    assert choose_leg(bank, 0, 2, rng).goal == (0.0, 0.0)

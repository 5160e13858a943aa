"""The actor: zero at first, one command in numpy and torch, weights that fit or are refused."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.card import WeightsError
from karpathy_control.contracts.config import RobotConfig
from karpathy_control.policy.actor import (
    RESIDUAL_SPEED,
    RESIDUAL_TURN,
    Actor,
    Attention,
    Critic,
    compose,
    load_actor,
    propose,
    save_actor,
)
from karpathy_control.policy.deliberation import Features
from karpathy_control.policy.tokens import FEATURES, TOKENS

ROBOT = RobotConfig()


def test_a_new_actor_is_the_guidance():
    torch.manual_seed(0)
    action = Actor()(torch.randn(5, TOKENS, FEATURES))
    assert action.shape == (5, 2)
    assert torch.all(action == 0.0)
    base = np.array([[0.4, -0.3]], np.float32)
    np.testing.assert_array_equal(compose(base, action[:1].detach().numpy(), ROBOT), base)


def test_a_manoeuvre_is_not_corrected():
    base = np.array([[0.2, 0.5], [0.2, 0.5]], np.float32)
    action = np.full((2, 2), 0.4, np.float32)
    found = propose(Features(np.zeros((2, TOKENS, FEATURES), np.float32), base,
                             np.array([True, False])), action, ROBOT)
    np.testing.assert_array_equal(found[0], base[0])
    np.testing.assert_array_equal(found[1], compose(base, action, ROBOT)[1])
    assert (found[1] != base[1]).all()


@settings(max_examples=50, deadline=None)
@given(base=st.tuples(st.floats(-0.25, 1.125, width=32), st.floats(-2, 2, width=32)),
       action=st.tuples(st.floats(-50, 50, width=32), st.floats(-50, 50, width=32)))
def test_compose_is_the_same_in_numpy_and_torch_and_bounded(base, action):
    base, action = np.array(base, np.float32), np.array(action, np.float32)
    command = compose(base, action, ROBOT)
    other = compose(torch.from_numpy(base), torch.from_numpy(action), ROBOT).numpy()
    np.testing.assert_allclose(command, other, atol=1e-6)
    assert -ROBOT.max_reverse - 1e-6 <= command[0] <= ROBOT.max_speed + 1e-6
    assert abs(command[1]) <= ROBOT.max_turn + 1e-6
    assert abs(command[0] - base[0]) <= RESIDUAL_SPEED + 1e-6
    assert abs(command[1] - base[1]) <= RESIDUAL_TURN + 1e-6


def test_attention_agrees_with_torch():
    torch.manual_seed(1)
    own, theirs = Attention(12, 3), torch.nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat((own.query.weight, own.key_value.weight)))
        theirs.in_proj_bias.copy_(torch.cat((own.query.bias, own.key_value.bias)))
        theirs.out_proj.weight.copy_(own.out.weight)
        theirs.out_proj.bias.copy_(own.out.bias)
    x, bias = torch.randn(4, 7, 12), torch.randn(4, 7, 7)
    want = theirs(x, x, x, attn_mask=bias.repeat_interleave(3, dim=0))[0]
    torch.testing.assert_close(own(x, x, bias), want)


def test_critic_shapes_and_gradients():
    tokens = torch.randn(6, TOKENS, FEATURES)
    critic = Critic(privileged=3)
    value = critic(tokens, torch.randn(6, 3))
    assert value.shape == (6, 1)
    value.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in critic.parameters())
    assert Critic()(tokens).shape == (6, 1)


def saved(tmp_path):
    torch.manual_seed(2)
    actor = Actor(width=16, hidden=24)
    torch.nn.init.normal_(actor.head[-1].weight)
    path = tmp_path / 'actor.safetensors'
    save_actor(actor, path, 'a test', 0, 'none', {})
    return actor.eval(), path


def test_weights_come_back(tmp_path):
    actor, path = saved(tmp_path)
    other, card = load_actor(path)
    tokens = torch.randn(3, TOKENS, FEATURES)
    torch.testing.assert_close(actor(tokens), other(tokens))
    assert card.kind == 'actor'


@pytest.mark.parametrize(('change', 'text'), [
    ({'token_version': 999}, '999'), ({'tokens': [3, 4]}, r'\[3, 4\]'),
    ({'width': 32}, 'do not fit'), ({'wings': 2}, 'wings')])
def test_weights_that_do_not_fit_are_refused(tmp_path, change, text):
    _, path = saved(tmp_path)
    card = json.loads(path.with_suffix('.json').read_text())
    card['model'].update(change)
    path.with_suffix('.json').write_text(json.dumps(card))
    with pytest.raises(WeightsError, match=text):
        load_actor(path)


def test_tampered_or_broken_weights_are_refused(tmp_path):
    actor, path = saved(tmp_path)
    with torch.no_grad():
        actor.head[-1].bias[0] = float('nan')
    save_actor(actor, path, 'a test', 0, 'none', {})
    with pytest.raises(WeightsError, match=r'head\.2\.bias'):
        load_actor(path)
    path.write_bytes(path.read_bytes()[:-1] + b'x')
    with pytest.raises(WeightsError, match='sha256'):
        load_actor(path)
    with pytest.raises(WeightsError, match='no such file'):
        load_actor(tmp_path / 'nothing.safetensors')


def test_width_and_heads_must_agree():
    with pytest.raises(ValueError, match='width 30'):
        Actor(width=30, heads=4)

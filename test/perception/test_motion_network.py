"""What is seen of a track by closed form, and the network against torch."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from karpathy_control.contracts.card import WeightsError, write_card
from karpathy_control.learning.motion import Forecaster
from karpathy_control.mapping.motion import PLAIN_SPREAD
from karpathy_control.perception import motion
from karpathy_control.perception.motion import FEATURES, STEPS, describe, forecast, load_network

TIMES = 7.0 - 0.05 * np.arange(22)


def seen(history, times=TIMES, radius=0.4, looks=12.0, spread=0.2):
    out = np.full(FEATURES, np.nan, np.float32)
    describe(np.array(history, float), times, times[0], radius, looks, spread, out)
    return out[:-4].reshape(STEPS, 5), out[-4:]


@settings(deadline=None)  # the first compiles
@given(heading=st.floats(-math.pi, math.pi), speed=st.floats(0.1, 2.0), x=st.floats(-5, 5))
def test_straight_on_there_is_nothing_to_see(heading, speed, x):
    v = speed * np.array((math.cos(heading), math.sin(heading)))
    past = TIMES - TIMES[0]
    history = np.column_stack((x + v[0] * past, -x + v[1] * past, np.tile(v, (22, 1))))
    looks, rest = seen(history)
    np.testing.assert_allclose(looks[:, :4], 0.0, atol=1e-5)
    assert (looks[:, 4] == 1.0).all()
    assert rest == pytest.approx((speed, 0.4, 0.6, 0.2), abs=1e-6)


@pytest.mark.parametrize('heading', [0.0, 1.0, -2.5])
def test_a_circle_to_the_left(heading):
    """At speed v and turn rate w, t before: x = v sin(wt)/w back, y = v (1 - cos(wt))/w aside."""
    v, w = 1.2, 0.8
    past = TIMES - TIMES[0]
    x, y = v * np.sin(w * past) / w, v * (1.0 - np.cos(w * past)) / w
    c, s = math.cos(heading), math.sin(heading)
    vx, vy = v * np.cos(w * past), v * np.sin(w * past)
    history = np.column_stack((c * x - s * y, s * x + c * y, c * vx - s * vy, s * vx + c * vy))
    looks, _ = seen(history)
    for i, row in enumerate(looks):
        t = 0.1 * (i + 1)
        assert row == pytest.approx((
            v * t - v * math.sin(w * t) / w, v * (1.0 - math.cos(w * t)) / w,
            v * math.cos(w * t) - v, -v * math.sin(w * t), 1.0), abs=1e-5)


def test_what_was_not_tracked_yet_is_left_out_and_other_rates_fit():
    history = np.zeros((22, 4))
    history[:, 2] = 1.0
    history[8:] = math.nan  # tracked for 0.35 s
    assert seen(history)[0][:, 4].tolist() == [1.0] * 3 + [0.0] * 7
    slow = 7.0 - 0.2 * np.arange(22)  # 5 Hz: only 0.2, 0.4, ... were looked at
    history[:] = 0.0
    assert seen(history, slow)[0][:, 4].tolist() == [0.0, 1.0] * 5
    quick = 7.0 - 0.025 * np.arange(22)  # 40 Hz: the past ends after 0.525 s
    assert seen(history, quick)[0][:, 4].tolist() == [1.0] * 5 + [0.0] * 5


@pytest.fixture
def made(tmp_path):
    torch.manual_seed(3)
    network = Forecaster(8, np.random.default_rng(0).normal(size=(50, FEATURES)).astype('f4'))
    for p in network.parameters():
        p.data += 0.3 * torch.randn_like(p)
    path = tmp_path / 'motion.safetensors'
    save_file({k: v.detach().numpy() for k, v in network.state_dict().items()}, path)
    write_card(path, 'motion', {'hidden': 8}, 'x', 0, 'y', {})
    return network, path


def test_the_kernel_is_the_network(made):
    network, path = made
    loaded = load_network(path)
    features = np.random.default_rng(1).normal(size=(200, FEATURES)).astype(np.float32)
    turn, spread, gain = (v.detach().numpy() for v in network.rates(torch.from_numpy(features)))
    found = np.array([forecast(loaded, row) for row in features])
    np.testing.assert_allclose(found[:, 0], turn, atol=1e-4)
    np.testing.assert_allclose(found[:, 1], spread, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found[:, 2], gain, atol=1e-4)


def test_without_a_network_straight_on():
    assert forecast(motion.no_network(), np.ones(FEATURES, np.float32)) == (0.0, PLAIN_SPREAD, 0.0)


def test_weights_that_do_not_fit_are_refused(made):
    _, path = made
    card = json.loads(path.with_suffix('.json').read_text())
    path.with_suffix('.json').write_text(json.dumps({**card, 'model': {'hidden': 9}}))
    with pytest.raises(WeightsError, match=r'shapes are .*train motion'):
        load_network(path)
    path.with_suffix('.json').write_text(json.dumps({**card, 'kind': 'actor'}))
    with pytest.raises(WeightsError, match="kind is 'actor', needed is 'motion'"):
        load_network(path)
    with pytest.raises(WeightsError, match='no such file; make them with: karpathy-control train'):
        load_network(path.with_name('none.safetensors'))

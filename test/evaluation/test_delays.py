"""Delays: what is written is read, what is drawn has the recorded distribution."""

import json

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ConfigError
from karpathy_control.evaluation import delays as d


def test_written_quantiles_are_those_of_the_sample(tmp_path):
    rng = np.random.default_rng(0)
    sample = rng.gamma(4.0, 4.0, 5000)
    path = tmp_path / 'delays.json'
    d.write_delays(path, sample.tolist(), {'machine': 'a test'})
    found = d.read_delays(path)
    assert found[0] == pytest.approx(sample.min(), abs=0.01)
    assert found[-1] == pytest.approx(sample.max(), abs=0.01)
    for percent in (1, 50, 99):
        assert np.mean(sample <= found[percent]) == pytest.approx(percent / 100.0, abs=2e-3)
    assert json.loads(path.read_text())['machine'] == 'a test'


def test_too_few_are_refused(tmp_path):
    with pytest.raises(ConfigError, match='199 latencies; it takes 200 or more'):
        d.write_delays(tmp_path / 'delays.json', [1.0] * 199, {})


def test_draws_follow_the_quantiles_and_the_seed():
    """From 10 to 30 ms evenly: mean 20, standard deviation 20 / sqrt(12) = 5.77 ms."""
    even = np.linspace(10.0, 30.0, d.QUANTILES)
    drawn = d.Delays(3, even)
    values = np.array([drawn.draw() for _ in range(4000)]) * 1e-6
    assert values.min() >= 10.0 and values.max() <= 30.0
    assert values.mean() == pytest.approx(20.0, abs=4 * 5.77 / np.sqrt(4000))
    assert values.std() == pytest.approx(5.77, rel=0.05)
    again, other = d.Delays(3, even), d.Delays(4, even)
    assert [again.draw() for _ in range(5)] == [round(v * 1e6) for v in values[:5]]
    assert other.draw() != round(values[0] * 1e6)


def test_the_shipped_ones_are_plausible():
    quantiles = d.read_delays(find('config', d.SHIPPED))
    assert 2.0 < quantiles[50] < 50.0


@pytest.mark.parametrize('change', [
    {'schema': 'other'}, {'quantiles_ms': [1.0] * 100}, {'quantiles_ms': [2.0] + [1.0] * 100},
    {'quantiles_ms': [-1.0] + [1.0] * 100}, {'quantiles_ms': [1.0] * 100 + [float('nan')]},
    {'quantiles_ms': [1.0] * 100 + [2000.0]}, {'quantiles_ms': 'many'}, {'quantiles_ms': None}])
def test_what_holds_no_delays_is_refused_by_name(tmp_path, change):
    path = tmp_path / 'delays.json'
    path.write_text(json.dumps({'schema': d.SCHEMA, 'quantiles_ms': [1.0] * 101, **change}))
    with pytest.raises(ConfigError, match=r'delays\.json'):
        d.read_delays(path)
    path.write_text('[]')
    with pytest.raises(ConfigError, match='no delays in it'):
        d.read_delays(path)

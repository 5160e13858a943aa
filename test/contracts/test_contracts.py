"""Layout, interface table, weight cards and worlds."""

import json
import math
import re

import numpy as np
import pytest

from karpathy_control.contracts import card, interfaces, layout
from karpathy_control.contracts.world import Mover


def test_bearings_are_the_middles_of_equal_sectors():
    b = layout.scan_bearings(4)
    np.testing.assert_allclose(b, np.deg2rad([-135, -45, 45, 135]), rtol=1e-6)


def test_layout_hash_changes_with_every_number(monkeypatch):
    before = layout.layout_hash()
    monkeypatch.setattr(layout, 'SCAN_BEAMS', 361)
    assert layout.layout_hash() != before


def test_interface_names_and_types_are_well_formed():
    names = [t.name for t in interfaces.TOPICS]
    assert len(names) == len(set(names))
    for topic in interfaces.TOPICS:
        assert re.fullmatch(r'/?[a-z_]+(/[a-z_]+)*', topic.name)
        assert re.fullmatch(r'[a-z_]+/msg/[A-Z]\w+', topic.type)
        assert topic.meaning
    absolute = {t.name for t in interfaces.TOPICS if t.name.startswith('/')}
    assert absolute == {'/clock', '/diagnostics'}


def test_only_control_writes_cmd_vel():
    assert interfaces.BY_NAME['cmd_vel'].writer == 'control'


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'w.safetensors'
    path.write_bytes(b'numbers')
    card.write_card(path, 'actor', {'d': 32}, 'train', 1, 'abc', {'success': 0.9})
    return path


def test_a_good_card_is_accepted(weights):
    assert card.verify_weights(weights, 'actor').model == {'d': 32}


@pytest.mark.parametrize('change, text', [
    ({'layout_version': 99}, r'layout_version is 99, needed is 1'),
    ({'layout_hash': 'f00'}, r"layout_hash is 'f00'"),
    ({'kind': 'encoder'}, r"kind is 'encoder', needed is 'actor'"),
    ({'nonsense': 1}, r'not readable'),
    ({'seed': True}, r'seed is True, needed is a int'),
    ({'metrics': None}, r'metrics is None'),
    ({'model': {'d': 513}}, r'model.d is 513'),
    ({'model': {'d': 10**400}}, r'model.d is 1000'),
    ({'model': {'d': [32, -1]}}, r'model.d is \[32, -1\]'),
    ({'model': {'d': math.inf}}, r'model.d is inf'),
    ({'model': {'d': math.nan}}, r'model.d is nan'),
    ({'model': {'d': {'e': 1}}}, r'model.d is'),
])
def test_a_wrong_card_is_refused_by_name(weights, change, text):
    path = weights.with_suffix('.json')
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(card.WeightsError, match=text):
        card.verify_weights(weights, 'actor')


@pytest.mark.parametrize('text, said', [
    ('[' * 100_000, 'not readable'),
    ('{"kind": "actor", "kind": "actor"}', 'given twice'),
    ('[]', 'takes the entries'),
    ('{"kind": "actor"}', 'takes the entries'),
    ('\x00', 'not readable'),
    (' ' * 1_000_001, 'larger than'),
    ('9' * 5000, 'not readable'),
])
def test_a_hostile_card_is_refused(weights, text, said):
    weights.with_suffix('.json').write_text(text)
    with pytest.raises(card.WeightsError, match=said):
        card.verify_weights(weights, 'actor')


def test_weights_beyond_the_bound_are_refused_before_they_are_read(weights):
    with weights.open('r+b') as file:
        file.truncate(10**13)  # a file with a hole: no machine could read it
    with pytest.raises(card.WeightsError, match='10000000000000 bytes, the most'):
        card.verify_weights(weights, 'actor')


def test_tampered_and_missing_weights_are_refused(weights):
    weights.write_bytes(b'other numbers')
    with pytest.raises(card.WeightsError, match='sha256'):
        card.verify_weights(weights, 'actor')
    weights.unlink()
    with pytest.raises(card.WeightsError, match='no such file'):
        card.verify_weights(weights, 'actor')


def test_a_mover_walks_its_polyline():
    # a unit square, 0.5 m/s: after 3 s it is 1.5 m along, half-way up the second side
    mover = Mover.patrol(((0, 0), (1, 0), (1, 1), (0, 1)), speed=0.5, radius=0.2)
    assert mover.position(0.0) == (0.0, 0.0)
    assert mover.position(3.0) == pytest.approx((1.0, 0.5))
    assert mover.position(8.0) == pytest.approx((0.0, 0.0))  # a whole round of 4 m
    assert (mover.period, mover.speed) == pytest.approx((8.0, 0.5))
    late = Mover.patrol(((0, 0), (1, 0), (1, 1), (0, 1)), 0.5, 0.2, along=1.5)
    assert late.position(0.0) == pytest.approx((1.0, 0.5))


def test_a_mover_jumps_from_its_last_keyframe_to_the_first():
    # 2 m in 1 s, then 1 m in 1 s: at 1.5 s half-way through the second piece
    mover = Mover(((0.0, 0.0, 0.0), (1.0, 2.0, 0.0), (2.0, 3.0, 0.0)), 0.2, phase=0.5)
    assert mover.position(0.0) == pytest.approx((1.0, 0.0))
    assert mover.position(1.0) == pytest.approx((2.5, 0.0))
    assert mover.position(1.5) == (0.0, 0.0)
    assert mover.speed == 2.0
    standing = Mover.patrol(((1.0, 2.0), (1.0, 2.0)), 0.5, 0.2)
    assert standing.position(7.0) == (1.0, 2.0)
    assert (standing.period, standing.speed) == (0.0, 0.0)


@pytest.mark.parametrize('times', [(), (1.0, 2.0), (0.0, 0.0), (0.0, 2.0, 1.0)])
def test_keyframes_rise_from_zero(times):
    with pytest.raises(ValueError, match='rise'):
        Mover(tuple((t, 0.0, 0.0) for t in times), 0.2)


def test_a_patrol_moves():
    with pytest.raises(ValueError, match='speed of a patrol is 0'):
        Mover.patrol(((0.0, 0.0), (1.0, 0.0)), 0.0, 0.2)

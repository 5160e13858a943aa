"""Tokens are finite and about [-1, 1] whatever comes in, and mean what their columns say."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from planar import scan_of

from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.contracts.layout import MOVER_FIELDS, SCAN_BEAMS
from karpathy_control.policy import tokens as t
from karpathy_control.policy.deliberation import Deliberation

RANGES = arrays(np.float32, SCAN_BEAMS, elements=st.one_of(
    st.sampled_from([math.inf, math.nan, 0.0, -math.inf]), st.floats(0.0, 12.0, width=32)))
ANY = st.floats(allow_nan=True, allow_infinity=True)


FREE_SCAN = np.full(SCAN_BEAMS, np.inf, np.float32)


@settings(max_examples=40, deadline=None)
@example(FREE_SCAN, FREE_SCAN, (0.0, 8.9e307), (0.0, 0.0), (0.0, 0.0, 0.0),
         (0.0,) * MOVER_FIELDS)
@example(FREE_SCAN, FREE_SCAN, (1e200, -1e200), (1e200, 1e200), (0.0, 0.0, 0.0),
         (1e200,) * MOVER_FIELDS)
@given(scan=RANGES, camera=RANGES, velocity=st.tuples(ANY, ANY), goal=st.tuples(ANY, ANY),
       pose=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-100, 100)),
       mover=st.tuples(*[ANY] * MOVER_FIELDS))
def test_always_finite(scan, camera, velocity, goal, pose, mover):
    config = PolicyConfig()
    think = Deliberation(config)
    moving = np.array([[mover]])
    for _ in range(2):
        think.observe([pose], [scan], [camera], moving)
    think.replan([goal])
    features = think.features([pose], [velocity], [[velocity] * 3], [goal], [scan], moving)
    assert features.tokens.shape == (1, t.TOKENS, t.FEATURES)
    assert np.isfinite(features.tokens).all()
    assert np.abs(features.tokens).max() <= 1.0 + 1e-6
    v, w = features.base_command[0]
    assert -config.robot.max_reverse - 1e-6 <= v <= config.robot.max_speed + 1e-6
    assert abs(w) <= config.robot.max_turn + 1e-6


@pytest.mark.parametrize('scan', [np.full((1, SCAN_BEAMS), v, np.float32)
                                  for v in (np.inf, np.nan, 0.0)])
def test_a_scan_without_any_surface(scan):
    think = Deliberation(PolicyConfig())
    think.observe(np.zeros((1, 3)), scan)
    think.replan([[4.0, 0.0]])
    features = think.features(np.zeros((1, 3)), [[0.0, 0.0]], np.zeros((1, 3, 2)), [[4.0, 0.0]],
                              scan)
    assert np.isfinite(features.tokens).all()
    assert features.base_command[0, 0] > 0.5  # the gate decides what unseen space is worth


def features_in(circles, goal=(6.0, 0.0), moving=None):
    think = Deliberation(PolicyConfig())
    pose = np.zeros((1, 3))
    scan = scan_of(np.array(circles, dtype=float).reshape(-1, 3), pose[0])[None]
    think.observe(pose, scan, moving=moving)
    think.replan([goal])
    return think.features(pose, [[0.6, 0.5]], [[[0.5, 0.2], [0.4, 0.1], [0.3, 0.0]]], [goal],
                          scan, moving).tokens[0]


def columns(names):
    return {name: 3 + i for i, name in enumerate(names)}


def test_column_lists_fit():
    for names in (t.STATE_COLUMNS, t.SECTOR_COLUMNS, t.ARC_COLUMNS):
        assert len(names) <= t.FEATURES - 3
        assert len(set(names)) == len(names)


def test_state_token():
    token, at = features_in([], (3.0, 4.0))[0], columns(t.STATE_COLUMNS)
    assert token[:3].tolist() == [1.0, 0.0, 0.0]
    assert token[at['speed']] == pytest.approx(0.6 / 1.2)
    assert token[at['turn']] == pytest.approx(0.5 / 2.0)
    assert token[at['applied w1']] == pytest.approx(0.1 / 2.0)
    assert token[at['goal cos']] == pytest.approx(0.6)
    assert token[at['goal sin']] == pytest.approx(0.8)
    assert token[at['goal near']] == 1.0
    assert token[at['goal far']] == pytest.approx(math.log1p(5.0) / 4.0)
    # octile distance of 3 x 4 m: 1 + 3 sqrt 2
    assert token[at['cost-to-go']] == pytest.approx((1.0 + 3.0 * math.sqrt(2.0)) / 10.0, abs=0.02)
    assert token[at['has plan']] == 1.0


def test_sector_token_keeps_the_gap_in_metres():
    # A door of 1.0 m at x = 1.5 m ahead: posts end at y = +-0.5.
    posts = [(1.5, side * y, 0.01) for side in (-1, 1) for y in np.arange(0.51, 2.5, 0.02)]
    token = features_in(posts)[1:1 + t.SECTORS]
    at = columns(t.SECTOR_COLUMNS)
    front_left = token[4]  # bearings 0 .. 45 degrees
    assert front_left[:3].tolist() == [0.0, 1.0, 0.0]
    left = t.NEAR * front_left[[at['left x'], at['left y']]]
    right = t.NEAR * front_left[[at['right x'], at['right y']]]
    assert left == pytest.approx([1.5, 0.5], abs=0.04)
    assert right == pytest.approx([1.5, -0.5], abs=0.04)
    nearest = t.NEAR * front_left[[at['nearest x'], at['nearest y']]]
    assert nearest == pytest.approx([1.5, 0.5], abs=0.04)
    assert front_left[at['gap depth']] == 1.0


def test_mover_in_its_sector():
    moving = np.zeros((1, 2, MOVER_FIELDS))
    moving[0, 0] = 1.0, 1.5, -0.4, 0.2, 0.3, 0.8, 0.0, 0.3, 0.0
    token, at = features_in([], moving=moving)[1:1 + t.SECTORS], columns(t.SECTOR_COLUMNS)
    row = token[5]  # bearings 45 .. 90 degrees
    assert row[at['mover x']] == pytest.approx(1.0 / t.NEAR)
    assert row[at['mover vx']] == pytest.approx(-0.2)
    assert row[at['mover confidence']] == pytest.approx(0.8)
    assert np.all(np.delete(token, 5, axis=0)[:, at['mover confidence']] == 0.0)


def test_one_arc_token_is_the_best():
    token, at = features_in([(2.0, 0.0, 0.3)])[1 + t.SECTORS:], columns(t.ARC_COLUMNS)
    assert np.all(token[:, 2] == 1.0)
    assert token[:, at['best']].sum() == 1.0
    best = token[token[:, at['best']] == 1.0][0]
    assert best[at['admissible']] == 1.0
    assert best[at['score difference']] == 0.0
    assert np.all(token[token[:, at['admissible']] == 1.0][:, at['score difference']] >= 0.0)

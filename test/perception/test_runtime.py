
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from karpathy_control.contracts.card import WeightsError, write_card
from karpathy_control.contracts.config import PerceptionConfig, from_mapping
from karpathy_control.contracts.layout import (
    ENTITY_CLASSES,
    ENTITY_FIELDS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    IMU_SAMPLES,
    SCAN_BEAMS,
    SECTORS,
    scan_bearings,
)
from karpathy_control.contracts.types import DepthPoints, Observation, Scan, State
from karpathy_control.mapping.motion import PLAIN_SPREAD
from karpathy_control.perception.encoder import Encoder, EncoderShape
from karpathy_control.perception.runtime import (
    PerceptionRuntime,
    entropy_bits,
)

SHAPE = EncoderShape(width=32, layers=1)
CONFIDENCE = ENTITY_FIELDS.index('confidence')


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / 'encoder.safetensors'
    state = Encoder(SHAPE).state_dict()
    save_file({k: v.half().contiguous() for k, v in state.items()}, str(path))
    write_card(path, 'encoder', SHAPE.to_dict(), 'test', 0, 'none', {})
    return path


def observation(stamp: int = 0, **parts) -> Observation:
    rng = np.random.default_rng(0)
    scan = rng.uniform(0.3, 8.0, SCAN_BEAMS).astype(np.float32)
    whole = {'scan': Scan(stamp, scan, 10.0),
             'image': rng.integers(0, 255, (IMAGE_HEIGHT, IMAGE_WIDTH, 3), dtype=np.uint8),
             'imu': np.zeros((IMU_SAMPLES, 6), np.float32)}
    return Observation(stamp, State(stamp, 0, 0, 0, 0, 0), **{**whole, **parts})


def test_entities_and_learned_camera_scan(weights):
    runtime = PerceptionRuntime(weights, PerceptionConfig())
    runtime.warm_up()
    entities = runtime.step(observation(5))
    assert entities.stamp == 5
    assert entities.table.shape == (SECTORS, len(ENTITY_FIELDS))
    assert np.isfinite(entities.table).all()
    np.testing.assert_allclose(entities.relations.sum(1), 1.0, atol=1e-5)
    assert entities.camera_scan is not None and entities.camera_scan.range_max == 5.0
    assert entities.extras['camera_scan_from_depth'] == 0.0
    assert 0.0 <= entities.extras['presence_entropy_bits'] <= 1.0


def test_same_inputs_same_answer_after_reset(weights):
    runtime = PerceptionRuntime(weights, PerceptionConfig())
    first = runtime.step(observation(0))
    runtime.step(observation(200_000_000))
    runtime.reset()
    again = runtime.step(observation(0))
    np.testing.assert_array_equal(first.table, again.table)


@pytest.mark.parametrize('missing', [
    {'image': None}, {'scan': None}, {'imu': None}, {'image': None, 'scan': None, 'imu': None}])
def test_missing_modalities(weights, missing):
    entities = PerceptionRuntime(weights, PerceptionConfig()).step(observation(**missing))
    assert np.isfinite(entities.table).all()
    assert (entities.camera_scan is None) == ('image' in missing)


def test_nan_in_the_inertial_window_is_as_good_as_none(weights):
    runtime = PerceptionRuntime(weights, PerceptionConfig())
    broken = np.full((IMU_SAMPLES, 6), np.nan, np.float32)
    a = runtime.step(observation(imu=broken))
    runtime.reset()
    b = runtime.step(observation(imu=None))
    np.testing.assert_array_equal(a.table, b.table)
    assert runtime.errors == 0


def test_depth_geometry_goes_before_the_network(weights):
    points = DepthPoints(0, np.array([[2.0, 0.01, 0.2]], np.float32), np.zeros(1, np.float32))
    entities = PerceptionRuntime(weights, PerceptionConfig()).step(
        observation(depth_points=points))
    assert entities.camera_scan.ranges[180] == pytest.approx(2.0, abs=1e-3)
    assert np.isfinite(entities.camera_scan.ranges).sum() == 1
    assert entities.extras['camera_scan_from_depth'] == 1.0


def test_an_answer_that_is_not_finite_is_counted_and_carries_no_confidence(weights):
    runtime = PerceptionRuntime(weights, from_mapping(PerceptionConfig, {'runtime': 'torch'}))
    with torch.no_grad():
        runtime._encoder.embed.bias.fill_(float('nan'))
    points = DepthPoints(0, np.array([[2.0, 0.01, 0.2]], np.float32), np.zeros(1, np.float32))
    entities = runtime.step(observation(depth_points=points))
    assert runtime.errors == 1 and entities.extras['errors'] == 1.0
    assert (entities.table[:, CONFIDENCE] == 0.0).all()
    assert np.isfinite(entities.table).all() and np.isfinite(entities.relations).all()
    assert np.isfinite(entities.camera_scan.ranges[180])  # geometry does not need the network
    assert runtime.step(observation(1)).camera_scan is None


def test_wrong_shape_is_named(weights):
    runtime = PerceptionRuntime(weights, PerceptionConfig())
    with pytest.raises(ValueError, match=r'image of shape \(10, 10, 3\)'):
        runtime.step(observation(image=np.zeros((10, 10, 3), np.uint8)))


def test_tampered_weights_are_refused(weights):
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match='sha256'):
        PerceptionRuntime(weights, PerceptionConfig())


def test_weights_that_do_not_fit_their_card_are_refused(weights):
    write_card(weights, 'encoder', EncoderShape(width=64).to_dict(), 'test', 0, 'none', {})
    with pytest.raises(WeightsError, match='do not fit'):
        PerceptionRuntime(weights, PerceptionConfig())


def test_entropy():
    assert entropy_bits(np.array([0.5, 0.5], np.float32)) == pytest.approx(1.0)
    assert entropy_bits(np.array([0.0, 1.0], np.float32)) < 1e-4


def test_what_moves_comes_from_the_tracker_and_goes_into_its_sector(weights):
    # a post of 0.3 m crosses ahead at 1 m/s, 2 m away: at (2, 0.5) after 1.5 s
    runtime = PerceptionRuntime(weights, PerceptionConfig())
    bearings = scan_bearings().astype(float)
    for k in range(31):
        stamp, y = k * 50_000_000, -1.0 + 0.05 * k
        along = 2.0 * np.cos(bearings) + y * np.sin(bearings)
        under = 0.3**2 - (4.0 + y * y - along**2)
        ranges = np.where((under > 0) & (along > 0), along - np.sqrt(np.maximum(under, 0)), np.inf)
        scan = Scan(stamp, ranges.astype(np.float32), 10.0)
        entities = runtime.step(observation(stamp, scan=scan))
    moving = entities.table[np.hypot(entities.table[:, 3], entities.table[:, 4]) > 0.0]
    assert len(moving) == 1
    assert moving[0, :2] == pytest.approx((2.0, 0.5), abs=0.05)
    assert moving[0, 3:5] == pytest.approx((0.0, 1.0), abs=0.15)
    assert moving[0, -3:] == pytest.approx((0.0, PLAIN_SPREAD, 0.0))  # no network: straight on
    assert moving[0, ENTITY_FIELDS.index('label')] == ENTITY_CLASSES.index('moving')
    # bearing atan2(0.5, 2) = 14 degrees: sector (180 + 14) / 10
    assert np.flatnonzero(np.hypot(*entities.table[:, 3:5].T) > 0.0) == [19]
    runtime.reset()
    assert not runtime.step(observation(0, scan=scan)).table[:, 3:5].any()


def test_a_pose_that_is_not_finite_moves_nothing(weights):
    state = State(0, float('nan'), 0, 0, 0, 0)
    entities = PerceptionRuntime(weights, PerceptionConfig()).step(
        replace(observation(), state=state))
    assert not entities.table[:, 3:5].any()


def answers(runtime, numbers):
    """Tables of a robot that drives on, a scan of noise at 20 Hz; image from the third on."""
    found = []
    for k in numbers:
        rng, stamp = np.random.default_rng(k), k * 50_000_000
        scan = Scan(stamp, rng.uniform(0.3, 8.0, SCAN_BEAMS).astype(np.float32), 10.0)
        state = State(stamp, 0.02 * k, 0.0, 0.01 * k, 0.4, 0.2)
        more = {} if k >= 3 else {'image': None}
        entities = runtime.step(replace(observation(stamp, scan=scan, **more), state=state))
        found.append((entities.table.tobytes(), entities.relations.tobytes(), entities.unsure))
    return found


@pytest.mark.parametrize('at', [0, 2, 4, 30])
def test_another_runtime_goes_on_from_a_state(weights, at):
    live, other = (PerceptionRuntime(weights, PerceptionConfig()) for _ in range(2))
    answers(live, range(at))
    state = live.state()
    rest = answers(live, range(at, at + 12))
    answers(other, range(90, 99))  # what it was about before is forgotten
    other.restore(state)
    assert answers(other, range(at, at + 12)) == rest
    if at:  # and the past does matter
        fresh = PerceptionRuntime(weights, PerceptionConfig())
        assert answers(fresh, range(at, at + 12)) != rest

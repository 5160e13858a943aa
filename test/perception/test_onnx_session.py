"""The exported encoder against torch, and what is said when it cannot run."""

import builtins
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.card import write_card
from karpathy_control.contracts.config import ConfigError, PerceptionConfig, from_mapping
from karpathy_control.contracts.layout import (
    DEPTH_MAX,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    IMU_SAMPLES,
    SCAN_BEAMS,
)
from karpathy_control.contracts.types import Observation, Scan, State
from karpathy_control.perception.encoder import Encoder, EncoderShape, Inputs, pack
from karpathy_control.perception.novelty import pooled
from karpathy_control.perception.onnx_session import OnnxSession, export
from karpathy_control.perception.runtime import PerceptionRuntime, load_encoder

TOLERANCE = 1e-4  # float32 in another order of summation


def odd_ranges(rng, shape, far):
    """Ranges with what sensors give besides: nothing known, nothing there, too near."""
    ranges = rng.uniform(0.02, far, shape).astype(np.float32)
    what = rng.random(shape)
    ranges[what < 0.1] = np.nan
    ranges[(what > 0.1) & (what < 0.3)] = np.inf
    ranges[(what > 0.3) & (what < 0.31)] = 0.0
    return ranges


def observation(stamp, rng, present):
    image, depth, scan, imu = present
    return Observation(
        stamp, State(stamp, *rng.normal(size=2), rng.uniform(-3, 3), *rng.normal(size=2)),
        Scan(stamp, odd_ranges(rng, SCAN_BEAMS, 9.0), 10.0) if scan else None,
        rng.integers(0, 256, (IMAGE_HEIGHT, IMAGE_WIDTH, 3), np.uint8) if image else None,
        odd_ranges(rng, (IMAGE_HEIGHT, IMAGE_WIDTH), DEPTH_MAX) if depth else None,
        imu=rng.normal(size=(IMU_SAMPLES, 6)).astype(np.float32) * 5.0 if imu else None)


@pytest.mark.parametrize('threads', [1, 2])
def test_the_shipped_encoder_answers_as_torch_does(threads):
    """Every set of sensors, three times: with no past, with one and with two earlier scans."""
    weights = find('weights', 'encoder.safetensors')
    by_torch, by_onnx = (PerceptionRuntime(weights, from_mapping(
        PerceptionConfig, {'runtime': name, 'threads': threads})) for name in ('torch', 'onnx'))
    assert by_torch._session is None and by_onnx._session is not None
    rng = np.random.default_rng(threads)
    for number, present in enumerate(itertools.product((True, False), repeat=4)):
        by_torch.reset(), by_onnx.reset()
        for back in range(3):
            seen = observation((10 * number + 2 * back) * 100_000_000, rng, present)
            want, got = by_torch.step(seen), by_onnx.step(seen)
            np.testing.assert_allclose(got.table, want.table, rtol=TOLERANCE, atol=TOLERANCE)
            np.testing.assert_allclose(got.relations, want.relations, atol=TOLERANCE)
            assert got.extras['ood'] == pytest.approx(want.extras['ood'], rel=1e-3, nan_ok=True)
            assert (got.camera_scan is None) == (want.camera_scan is None)
            if want.camera_scan is not None:
                np.testing.assert_allclose(got.camera_scan.ranges, want.camera_scan.ranges,
                                           rtol=TOLERANCE)


def test_any_shape_of_network_is_exported():
    torch.manual_seed(3)
    encoder = Encoder(EncoderShape(width=32, layers=2, heads=2, expand=3)).eval()
    inputs = Inputs.absent(1)
    inputs.image.random_(0, 256)
    inputs.present.fill_(1.0)
    inputs.camera.normal_()
    session = OnnxSession(export(encoder), inputs, 1)
    for near in (0.5, 3.0):  # the buffers are read anew with every run
        inputs.scan.fill_(near)
        with torch.inference_mode():
            decoded = encoder(inputs)
        row, vectors = session.run()
        np.testing.assert_allclose(row, pack(decoded)[0].numpy(), atol=TOLERANCE, rtol=TOLERANCE)
        np.testing.assert_allclose(vectors, pooled(decoded.tokens).numpy(), atol=TOLERANCE)


def test_an_answer_that_is_not_finite_is_counted(tmp_path):
    torch.manual_seed(0)
    weights, shape = tmp_path / 'encoder.safetensors', EncoderShape(width=32, layers=1)
    encoder = Encoder(shape)
    with torch.no_grad():
        encoder.embed.bias.fill_(float('nan'))
    save_file({k: v.contiguous() for k, v in encoder.state_dict().items()}, str(weights))
    write_card(weights, 'encoder', shape.to_dict(), 'test', 0, 'none', {})
    runtime = PerceptionRuntime(weights, PerceptionConfig())
    answer = runtime.step(observation(0, np.random.default_rng(0), (True,) * 4))
    assert runtime._session is not None and runtime.errors == 1
    assert answer.unsure and not answer.table.any()


@pytest.mark.parametrize('missing', ['onnx', 'onnxruntime'])
def test_a_missing_package_is_named_with_its_cure(missing, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split('.')[0] == missing:
            raise ImportError(f"No module named '{missing}'")
        return real(name, *args, **kwargs)

    encoder = load_encoder(find('weights', 'encoder.safetensors'))
    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(ConfigError, match=rf"(?s){missing}.*pip install onnx onnxruntime"):
        OnnxSession(export(encoder), Inputs.absent(1), 1)


def test_onnx_is_for_the_cpu(monkeypatch):
    monkeypatch.setattr('karpathy_control.perception.runtime.open_device',
                        lambda name: torch.device('cuda'))
    with pytest.raises(ConfigError, match="runtime 'onnx' runs on the cpu, device is 'cuda:0'"):
        PerceptionRuntime(find('weights', 'encoder.safetensors'), from_mapping(
            PerceptionConfig, {'runtime': 'onnx', 'device': 'cuda:0'}))

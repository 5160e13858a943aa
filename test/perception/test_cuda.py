"""The encoder on a CUDA device against itself on the CPU; nothing to see where there is none."""

import dataclasses

import numpy as np
import pytest
import torch

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import PerceptionConfig, from_mapping
from karpathy_control.contracts.layout import IMAGE_HEIGHT, IMAGE_WIDTH, IMU_SAMPLES, SCAN_BEAMS
from karpathy_control.contracts.types import Observation, Scan, State
from karpathy_control.perception.runtime import PerceptionRuntime
from karpathy_control.policy.actor import Actor
from karpathy_control.policy.tokens import FEATURES, TOKENS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(),
                                reason='no CUDA device: not compared with the CPU')
PERIOD = 50_000_000  # ns


def observations(count):
    rng = np.random.default_rng(3)
    for k in range(count):
        stamp = k * PERIOD
        yield Observation(
            stamp, State(stamp, 0.02 * k, 0.0, 0.0, 0.5, 0.1),
            scan=Scan(stamp, rng.uniform(0.5, 9.0, SCAN_BEAMS).astype(np.float32), 10.0),
            image=rng.integers(0, 256, (IMAGE_HEIGHT, IMAGE_WIDTH, 3), dtype=np.uint8),
            depth=rng.uniform(0.5, 9.0, (IMAGE_HEIGHT, IMAGE_WIDTH)).astype(np.float32),
            imu=rng.normal(size=(IMU_SAMPLES, 6)).astype(np.float32))


def runtime(**values):
    return PerceptionRuntime(find('weights', 'encoder.safetensors'),
                             from_mapping(PerceptionConfig, {'runtime': 'torch', **values}))


# float32 products on tensor cores keep ten bits: 1e-3 of a value; bfloat16 keeps eight.
@pytest.mark.parametrize(('autocast', 'tolerance'), [(False, 5e-3), (True, 8e-2)])
def test_same_entities_as_the_cpu(autocast, tolerance):
    here, there = runtime(device='cpu'), runtime(device='cuda', autocast=autocast)
    for item in observations(8):
        one, other = here.step(item), there.step(item)
        for field in dataclasses.fields(one):
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            if isinstance(mine, np.ndarray) and mine.dtype.kind == 'f':
                wrong = np.abs(mine - theirs)[np.isfinite(mine) & np.isfinite(theirs)]
                scale = np.maximum(np.abs(mine[np.isfinite(mine) & np.isfinite(theirs)]), 1.0)
                assert np.quantile(wrong / scale, 0.98) < tolerance, field.name
                assert np.mean(np.isfinite(mine) != np.isfinite(theirs)) < 0.02, field.name


def test_actor_gives_the_same_action():
    torch.manual_seed(0)
    actor = Actor()
    torch.nn.init.normal_(actor.head[-1].weight)
    tokens = torch.rand(64, TOKENS, FEATURES)
    expected = actor(tokens)
    found = actor.to('cuda')(tokens.to('cuda')).cpu()
    assert torch.allclose(found, expected, atol=5e-3)

"""Steps per second of the batched world and of training, each beside the variant compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch

from karpathy_control.contracts.config import ControlConfig, PolicyConfig, RobotConfig
from karpathy_control.contracts.layout import SCAN_BEAMS
from karpathy_control.learning.config import PolicyTraining
from karpathy_control.learning.env import TRAINING_SEEDS, NavigationEnv
from karpathy_control.learning.loop import ClosedLoop, choose_leg
from karpathy_control.learning.torch_world import TorchWorld
from karpathy_control.policy.actor import ACTIONS, Actor
from karpathy_control.worlds.bank import Bank, pack
from karpathy_control.worlds.batched import BatchedWorld
from karpathy_control.worlds.generators import generate

FAMILIES = ('mixed', 'cylinders', 'rooms', 'low')
WORLDS = 16


def _rate(step: Callable[[], object], steps: int, envs: int) -> float:
    step()  # compiles, or loads what was compiled
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return round(envs * steps / (time.perf_counter() - start), 1)


def _bank() -> Bank:
    return pack([generate(FAMILIES[i % len(FAMILIES)], TRAINING_SEEDS + i)
                 for i in range(WORLDS)])


def bench_world(envs: int, steps: int, device: str = 'cpu', compiled: bool = False
                ) -> dict[str, Any]:
    """A step of the batched world by numba on the CPU and by torch on `device`.

    Not the same work: torch asks every beam of every primitive and looks for contact in every
    substep, numba says what the camera sees, too.
    """
    bank = _bank()
    kernels = BatchedWorld(bank, envs, RobotConfig())
    tensors = TorchWorld(bank, envs, RobotConfig(), device=device, compiled=compiled)
    rng = np.random.default_rng(0)
    legs = [choose_leg(bank, i % len(bank), 0, rng) for i in range(envs)]
    command = rng.uniform((0.0, -1.0), (0.6, 1.0), (envs, 2))
    there = torch.from_numpy(command).to(tensors.device)
    cuda = tensors.device.type == 'cuda'
    for world in (kernels, tensors):
        world.reset(np.arange(envs), legs, np.arange(envs))
    if cuda:
        tensors.capture()

    def batch() -> None:
        for _ in range(steps):
            tensors.step(there)
        if cuda:
            torch.cuda.synchronize(tensors.device)

    rates = {'numba': _rate(lambda: kernels.step(command), steps, envs),
             'torch': _rate(batch, 1, envs * steps)}
    return {'steps_per_s': rates, 'ratio': round(rates['torch'] / rates['numba'], 2),
            'envs': envs, 'beams': SCAN_BEAMS, 'device': device, 'compiled': compiled,
            'name': torch.cuda.get_device_name(tensors.device) if cuda else 'CPU',
            'threads': {'numba': numba.get_num_threads(), 'torch': torch.get_num_threads()}}


def bench_train(envs: int, steps: int) -> dict[str, Any]:
    """The training environment with and without gate, and with the actor deciding."""
    bank, robot = _bank(), PolicyConfig()
    training = PolicyTraining()
    env = NavigationEnv(bank, envs, training, ControlConfig(), robot, seed=0)
    actor = Actor().eval()
    zero = torch.zeros(envs, ACTIONS)

    @torch.inference_mode()
    def decide() -> None:
        env.step(actor(env.get_observations()['tokens']))

    rates = {'env': _rate(lambda: env.step(zero), steps, envs),
             'env_with_actor': _rate(decide, steps, envs),
             'without_gate': _loop_rate(bank, envs, steps, gate=False)}
    return {'steps_per_s': rates, 'price_of_the_gate': round(
        rates['without_gate'] / rates['env'] - 1.0, 3), 'envs': envs}


def _loop_rate(bank: Bank, envs: int, steps: int, gate: bool) -> float:
    """The closed loop alone, guidance driving, no resets."""
    loop = ClosedLoop(bank, envs, ControlConfig(), PolicyConfig(), episode_time=math.inf,
                      gate=gate)
    rng = np.random.default_rng(0)
    loop.begin(np.arange(envs), [choose_leg(bank, i % len(bank), 0, rng) for i in range(envs)],
               np.arange(envs))
    return _rate(lambda: loop.advance(loop.features().base_command), steps, envs)

"""Steps per second of the batched world and of training, each beside the variant compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from karpathy_control.contracts.config import ControlConfig, PolicyConfig, RobotConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.learning.config import PolicyTraining
from karpathy_control.learning.env import TRAINING_SEEDS, NavigationEnv
from karpathy_control.learning.loop import ClosedLoop, choose_leg
from karpathy_control.policy.actor import ACTIONS, Actor
from karpathy_control.worlds.bank import Bank, pack
from karpathy_control.worlds.batched import BatchedWorld
from karpathy_control.worlds.generators import generate

FAMILIES = ('mixed', 'cylinders', 'rooms', 'low')
WORLDS = 16
LIDAR_HEIGHT = 0.305  # m


def _rate(step: Callable[[], object], steps: int, envs: int) -> float:
    step()  # compiles, or loads what was compiled
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return round(envs * steps / (time.perf_counter() - start), 1)


def _bank() -> Bank:
    return pack([generate(FAMILIES[i % len(FAMILIES)], TRAINING_SEEDS + i)
                 for i in range(WORLDS)])


def brute_force_scan(bank: Bank, world: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Every beam against every primitive, in numpy. Shape: (B,), (B, 3) -> (B, SCAN_BEAMS) m."""
    angle = pose[:, 2:3] + scan_bearings()[None]
    dx, dy = np.cos(angle)[:, :, None], np.sin(angle)[:, :, None]
    circles, boxes = bank.circles[world], bank.boxes[world]
    tall = (circles[:, :, 3] <= LIDAR_HEIGHT) & (circles[:, :, 4] >= LIDAR_HEIGHT)
    x, y = (circles[:, None, :, i] - pose[:, None, None, i] for i in (0, 1))
    along = x * dx + y * dy
    inside = circles[:, None, :, 2] ** 2 - (x * x + y * y - along * along)
    with np.errstate(invalid='ignore'):
        hit = along - np.sqrt(inside)
    hit = np.where((inside > 0) & (hit > 0) & tall[:, None, :], hit, np.inf).min(2)
    cx, cy, hx, hy, c, s = (boxes[:, None, :, i] for i in range(6))
    ox, oy = pose[:, None, None, 0] - cx, pose[:, None, None, 1] - cy
    lx, ly, ux, uy = c * ox + s * oy, c * oy - s * ox, c * dx + s * dy, c * dy - s * dx
    with np.errstate(divide='ignore', invalid='ignore'):
        tx = np.sort(np.stack(((-hx - lx) / ux, (hx - lx) / ux)), 0)
        ty = np.sort(np.stack(((-hy - ly) / uy, (hy - ly) / uy)), 0)
    enter, leave = np.maximum(tx[0], ty[0]), np.minimum(tx[1], ty[1])
    tall = (boxes[:, None, :, 6] <= LIDAR_HEIGHT) & (boxes[:, None, :, 7] >= LIDAR_HEIGHT)
    wall = np.where((enter < leave) & (enter > 0) & tall, enter, np.inf).min(2)
    ranges = np.minimum(hit, wall)
    return np.where(ranges < SCAN_RANGE_MAX, ranges, np.inf)


def bench_world(envs: int, steps: int) -> dict[str, Any]:
    """Batched world with splat lidar and contact, beside brute-force ray casting alone."""
    bank = _bank()
    world = BatchedWorld(bank, envs, RobotConfig())
    rng = np.random.default_rng(0)
    legs = [choose_leg(bank, i % len(bank), 0, rng) for i in range(envs)]
    world.reset(np.arange(envs), legs, np.arange(envs))
    command = rng.uniform((0.0, -1.0), (0.6, 1.0), (envs, 2))
    splat = _rate(lambda: world.step(command), steps, envs)
    few = slice(0, min(envs, 8))
    brute = _rate(lambda: brute_force_scan(bank, world.world[few], world.true_pose[few]),
                  max(steps // 10, 2), few.stop)
    return {'steps_per_s': {'splat': splat, 'brute_force': brute},
            'ratio': round(splat / brute, 1), 'envs': envs, 'beams': SCAN_BEAMS}


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

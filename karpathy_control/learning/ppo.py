"""`karpathy-control train policy`: PPO by rsl_rl over the closed loop, then the figures.

Progress is printed by rsl_rl and written for TensorBoard; the checkpoint in the run folder is
safetensors, and Ctrl-C leaves one that `--resume` goes on from. At the end the actor is measured
on unseen worlds beside the guidance alone, and written with its card. It replaces weights that
are there only where it is not worse than the guidance.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rsl_rl.runners import OnPolicyRunner

from karpathy_control.bringup.resources import find, share
from karpathy_control.bringup.robots import load_profile, robot_of
from karpathy_control.contracts.config import (
    ConfigError,
    ControlConfig,
    PolicyConfig,
    RobotConfig,
)
from karpathy_control.contracts.config.control import GateConfig
from karpathy_control.evaluation.batched import compare
from karpathy_control.evaluation.policies import guidance, reflex
from karpathy_control.evaluation.suites import make_suite, report
from karpathy_control.learning import checkpoints
from karpathy_control.learning.config import PolicyTraining, load
from karpathy_control.learning.env import TRAINING_SEEDS, NavigationEnv
from karpathy_control.learning.models import ActorModel, CriticModel
from karpathy_control.policy.actor import save_actor
from karpathy_control.worlds.bank import Bank, pack
from karpathy_control.worlds.generators import DISC, generate

CHECKPOINT = 'checkpoint.safetensors'
SAVE_EVERY = 10  # iterations


class Runner(OnPolicyRunner):
    """rsl_rl's runner with checkpoints that are not pickled, in one file that is replaced."""

    seed = 0
    robot = ''  # name of the profile; empty: the default robot
    earlier_seconds = 0.0  # of the runs that this one goes on from

    @property
    def seconds(self) -> float:
        """Time spent on collecting and learning, all resumed runs together, s."""
        return self.earlier_seconds + float(self.logger.tot_time)

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write the checkpoint beside `path`, whatever its name."""
        checkpoints.save(
            Path(path).parent / CHECKPOINT,
            {'actor': self.alg.actor, 'critic': self.alg.critic}, self.alg.optimizer,
            {'iteration': self.current_learning_iteration, 'seed': self.seed,
             'robot': self.robot,
             'steps': self.logger.tot_timesteps, 'seconds': self.seconds})

    def load(self, path: str, load_cfg: dict | None = None, strict: bool = True,
             map_location: str | None = None) -> dict:
        """Go on from a checkpoint; returns its meta data."""
        found = checkpoints.load(Path(path))
        if found.meta.get('robot', '') != self.robot:
            raise checkpoints.CheckpointError(
                f'checkpoint {path}: trained for robot {found.meta.get("robot", "")!r}, not for '
                f'{self.robot!r}; give that one as --robot, or start without --resume')
        self.alg.actor.load_state_dict(found.models['actor'], strict=strict)
        self.alg.critic.load_state_dict(found.models['critic'], strict=strict)
        self.alg.optimizer.load_state_dict(found.optimizer)
        self.alg.learning_rate = self.alg.optimizer.param_groups[0]['lr']
        self.current_learning_iteration = int(found.meta['iteration']) + 1
        self.logger.tot_timesteps = int(found.meta['steps'])
        self.earlier_seconds = float(found.meta['seconds'])
        return found.meta


def make_bank(training: PolicyTraining, seed: int, console: Console) -> Bank:
    """The training worlds: seeds from TRAINING_SEEDS on, apart for every training seed."""
    first = TRAINING_SEEDS + seed * 100_000
    plan = [(family, first + i) for family, count in training.family_counts().items()
            for i in range(count)]
    return pack([generate(family, number) for family, number in
                 track(plan, 'generating worlds', console=console)])


def runner_config(training: PolicyTraining, seed: int) -> dict[str, Any]:
    """Our configuration in rsl_rl's words."""
    ppo = training.ppo
    return {
        'seed': seed,
        'num_steps_per_env': ppo.steps_per_iteration,
        'save_interval': SAVE_EVERY,
        'check_for_nan': True,
        'obs_groups': {'actor': ['tokens'], 'critic': ['tokens', 'privileged']},
        'actor': {'class_name': ActorModel, 'init_std': ppo.init_std},
        'critic': {'class_name': CriticModel},
        'algorithm': {
            'class_name': 'PPO', 'num_learning_epochs': ppo.epochs,
            'num_mini_batches': ppo.mini_batches, 'clip_param': ppo.clip, 'gamma': ppo.gamma,
            'lam': ppo.lam, 'entropy_coef': ppo.entropy, 'learning_rate': ppo.learning_rate,
            'max_grad_norm': ppo.max_grad_norm, 'schedule': 'fixed', 'value_loss_coef': 1.0,
            'use_clipped_value_loss': True,
            'normalize_advantage_per_mini_batch': False, 'rnd_cfg': None, 'symmetry_cfg': None,
        },
        'logger': 'tensorboard',
    }


def check_device(name: str) -> str:
    """The device, if it is there. Raises ValueError naming it otherwise."""
    device = torch.device(name)
    if device.type == 'cuda' and (not torch.cuda.is_available()
                                  or (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f'device {name!r} is not available here; '
                         f'{torch.cuda.device_count()} CUDA devices are')
    return name


def commit() -> str:
    """The checkout's commit, or 'unknown' outside one."""
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=share(), check=True,
                              capture_output=True, text=True).stdout.strip()
    return 'unknown'


def configs(robot: RobotConfig) -> tuple[ControlConfig, PolicyConfig]:
    """Gate and policy of a robot, else by their defaults; the start disc reaches its corners."""
    gate = GateConfig()
    radius = max(gate.start_radius, robot.circumscribed_radius)
    return (ControlConfig(robot=robot, gate=replace(gate, start_radius=radius)),
            PolicyConfig(robot=robot))


def measure(weights: Path, episodes: int, seed: int, robot: RobotConfig) -> dict[str, Any]:
    """Reflex and guidance on the same unseen worlds: what the card says of the weights."""
    control, config = configs(robot)
    suite = make_suite('generated', episodes, seed)
    found = compare(suite, {'reflex': reflex(weights, config.robot), 'guidance': guidance},
                    control, config)
    return {'suite': suite.name, 'world': 'batched', 'worlds': len(suite.worlds),
            **{name: report(suite, results) for name, results in found.items()}}


def worth_shipping(metrics: dict[str, Any]) -> bool:
    """Not worse than the guidance alone: as many successes and no more contacts."""
    ours, base = metrics['reflex'], metrics['guidance']
    return bool(ours['success'] >= base['success'] and ours['contacts'] <= base['contacts'])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line of `train policy`."""
    parser = argparse.ArgumentParser(prog='karpathy-control train policy', description=__doc__)
    parser.add_argument('--steps', type=int, default=1_000_000, help='control steps in all')
    parser.add_argument('--envs', type=int, default=128, help='robots at once')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--robot', help='profile of the robot that learns, name or path; default: '
                        'the default values of robot.*')
    parser.add_argument('--device', default='cpu', help='torch device of the learner')
    parser.add_argument('--config', default='train.yaml', help='training file, name or path')
    parser.add_argument('--run', type=Path, help='folder of checkpoint and TensorBoard logs; '
                        'default runs/policy_seed<S>')
    parser.add_argument('--resume', action='store_true', help='go on from the checkpoint there')
    parser.add_argument('--out', type=Path, help='folder for the weights; default: weights/')
    parser.add_argument('--episodes', type=int, default=300, help='of the final measurement')
    args = parser.parse_args(argv)
    for name in ('steps', 'envs', 'episodes'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} {getattr(args, name)}: it takes at least 1')
    return args


def robot_from(profile: str | None, console: Console) -> tuple[str, RobotConfig]:
    """Name and robot of a profile; without one the default robot, whose name is empty."""
    if profile is None:
        return '', RobotConfig()
    found = load_profile(profile)
    robot = robot_of(found, {})
    if robot.circumscribed_radius > DISC:
        console.print(f'{found.name}: its farthest corner is {robot.circumscribed_radius:.2f} m '
                      f'away; the worlds of training have ways for {DISC:g} m, so it will not '
                      'reach every goal')
    return found.name, robot


def train(args: argparse.Namespace, name: str, robot: RobotConfig, console: Console) -> Runner:
    """Train until the steps are done or Ctrl-C; either way the checkpoint is written."""
    training = load(find('config', args.config))
    device = check_device(args.device)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    folder: Path = args.run
    folder.mkdir(parents=True, exist_ok=True)
    env = NavigationEnv(make_bank(training, args.seed, console), args.envs, training,
                        *configs(robot), args.seed, device)
    runner = Runner(env, runner_config(training, args.seed), str(folder), device)
    runner.seed, runner.robot = args.seed, name
    if args.resume:
        meta = runner.load(str(folder / CHECKPOINT))
        console.print(f'resumed at iteration {meta["iteration"]}, {meta["steps"]} steps')
    per_iteration = args.envs * training.ppo.steps_per_iteration
    todo = -(-(args.steps - runner.logger.tot_timesteps) // per_iteration)
    if todo < 1:
        console.print(f'{runner.logger.tot_timesteps} steps are done already')
        return runner
    try:
        runner.learn(todo)
    except KeyboardInterrupt:
        runner.save(str(folder / CHECKPOINT))
        console.print(f'stopped; go on with --resume --run {folder}')
        raise
    return runner


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure, write the weights; the last line of standard output is JSON."""
    args = parse(argv)
    if args.run is None:
        args.run = Path('runs') / f'policy_seed{args.seed}'
    console = Console(stderr=True)
    started = time.monotonic()
    try:
        name, robot = robot_from(args.robot, console)
        runner = train(args, name, robot, console)
    except KeyboardInterrupt:
        return 130
    except (ConfigError, checkpoints.CheckpointError, FileNotFoundError, ValueError) as error:
        print(f'train policy: {error}', file=sys.stderr)
        return 2
    command = 'karpathy-control train policy ' + shlex.join(
        sys.argv[1:] if argv is None else list(argv))
    actor = runner.alg.get_policy().actor.to('cpu').eval()
    weights = args.run / 'actor.safetensors'
    details = (command.strip(), args.seed, commit())
    save_actor(actor, weights, *details, {})
    metrics = measure(weights, args.episodes, args.seed, robot)
    metrics |= {'steps': runner.logger.tot_timesteps,
                'training_seconds': round(runner.seconds, 1), 'robot': name or 'default'}
    save_actor(actor, weights, *details, metrics)
    installed = worth_shipping(metrics)
    target = (args.out or share() / 'weights') / weights.name
    if installed:
        save_actor(actor, target, *details, metrics)
    else:
        console.print(f'worse than the guidance alone: {target} is left as it was, the weights '
                      f'are in {weights}')
    print(json.dumps({'weights': str(target if installed else weights), 'installed': installed,
                      'seconds': round(time.monotonic() - started, 1), **metrics}))
    return 0

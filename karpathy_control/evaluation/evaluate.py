"""`karpathy-control evaluate`: success of a policy on worlds that training never saw.

In the batched world (minutes) or in MuJoCo through the very code of the nodes. Every figure comes
with the same figure of the guidance alone (no reflex) on the same worlds, legs and seeds. The last
line of standard output is one JSON object (doc/results.md).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import load_profile
from karpathy_control.contracts.config import (
    ConfigError,
    ControlConfig,
    PolicyConfig,
    RobotConfig,
    changed,
    from_mapping,
)
from karpathy_control.contracts.world import World
from karpathy_control.evaluation import batched, mujoco_suite
from karpathy_control.evaluation.batched import GUIDANCE, SHIPPED
from karpathy_control.evaluation.suites import (
    SUITES,
    Episode,
    Result,
    by_family,
    make_plan,
    summarise,
)

ABLATIONS = ('reflex', 'gate', 'camera')

Drives = tuple[list[World], list[Episode], dict[str, list[Result]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, evaluate, print one JSON line; returns the exit status."""
    parser = argparse.ArgumentParser(prog='karpathy-control evaluate', description=__doc__)
    parser.add_argument('--suite', default='generated', choices=SUITES)
    parser.add_argument('--world', default='batched', choices=('batched', 'mujoco'),
                        help='many robots side by side in a plane, or one with contact physics, '
                        'camera and encoder')
    parser.add_argument('--policy', default=SHIPPED, help=f'{SHIPPED!r} (the shipped weights), '
                        f'{GUIDANCE!r} (no reflex) or a weight file')
    parser.add_argument('--episodes', type=int, default=200, help='in all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--ablate', default='', help='comma list of ' + ', '.join(ABLATIONS))
    parser.add_argument('--device', default='cpu', help='torch device of the reflex')
    parser.add_argument('--robot', default='jackal', help='profile (--world mujoco)')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='a parameter of the robot, as fault_budget=0.3; 0 is the default of '
                        'fault_budget here, whatever the profile says')
    args = parser.parse_args(argv)
    started = time.monotonic()
    ablate = [name for name in args.ablate.split(',') if name]
    for name in ablate:
        if name not in ABLATIONS:
            parser.error(f'--ablate {name!r}: it takes {", ".join(ABLATIONS)}')
    if args.world == 'mujoco' and set(ablate) - {'reflex'}:
        parser.error(f'--ablate {args.ablate}: --world mujoco takes reflex')
    try:
        actor = None if args.policy == GUIDANCE or 'reflex' in ablate else find(
            'weights', PolicyConfig().weights if args.policy == SHIPPED else args.policy)
        worlds, plan, found = _drive(args, ablate, actor)
    except (ConfigError, ValueError, RuntimeError, FileNotFoundError) as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2
    baseline = found.get('baseline', found['policy'])
    print(json.dumps({
        'suite': args.suite, 'world': args.world, 'policy': args.policy, 'ablated': ablate,
        'worlds': len(worlds),
        **summarise(found['policy']), 'score': None,
        'seconds': round(time.monotonic() - started, 1),
        'families': by_family(worlds, plan, found['policy']),
        'failures': [{'world': worlds[e.world].family, 'seed': worlds[e.world].seed,
                      'leg': e.leg, 'cause': r.outcome}
                     for e, r in zip(plan, found['policy'], strict=True)
                     if r.outcome != 'success'],
        'baseline': {'policy': GUIDANCE, **summarise(baseline),
                     'families': by_family(worlds, plan, baseline)},
    }))
    return 0


def _drive(args: argparse.Namespace, ablate: Sequence[str], actor: Path | None) -> Drives:
    """The policy, and the guidance as its baseline, on the same episodes."""
    if args.world == 'batched':
        robot = from_mapping(RobotConfig, changed({}, args.set))
        config = replace(PolicyConfig(), robot=robot)
        policies = {'policy': batched.guidance if actor is None else batched.reflex(
            actor, config, args.device)}
        if actor is not None:
            policies['baseline'] = batched.guidance
        return batched.compare(args.suite, policies, args.episodes, args.seed,
                               replace(ControlConfig(), robot=robot), config,
                               gate='gate' not in ablate, camera='camera' not in ablate)
    profile = load_profile(args.robot)
    if profile.description is None:
        raise ConfigError(f'--robot {args.robot}: it has no description, which MuJoCo needs')
    robot = mujoco_suite.robot_of(profile, changed({'fault_budget': 0.0}, args.set))
    worlds, plan = make_plan(args.suite, args.episodes, args.seed)
    found = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name, weights in {'policy': actor, 'baseline': None}.items():
            if name == 'baseline' and actor is None:
                continue
            task = progress.add_task(f'{args.suite}: {name}', total=len(plan))
            found[name] = mujoco_suite.run(
                worlds, plan, weights, profile, robot,
                advanced=lambda n, task=task: progress.update(  # type: ignore[misc]
                    task, completed=n))
    return worlds, plan, found


if __name__ == '__main__':
    sys.exit(main())

"""`karpathy-control evaluate`: success of a policy on worlds that training never saw.

In the batched world (minutes) or in MuJoCo through the very code of the nodes. Every figure comes
with the same figure of the guidance alone (no reflex) on the same worlds, legs and seeds, and of
the other policies that --against names. The last line of standard output is one JSON object
(doc/results.md).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import RobotProfile, load_profile, robot_of
from karpathy_control.contracts.card import WeightsError, sha256_of
from karpathy_control.contracts.config import (
    ConfigError,
    ControlConfig,
    PolicyConfig,
    RobotConfig,
    SimConfig,
    changed,
    from_mapping,
    to_mapping,
)
from karpathy_control.evaluation import batched, mujoco_suite
from karpathy_control.evaluation.inprocess import LoopConfig
from karpathy_control.evaluation.ledger import Ledger
from karpathy_control.evaluation.policies import GUIDANCE, NAMES, SHIPPED, load_policy
from karpathy_control.evaluation.suite_report import write_suite_report
from karpathy_control.evaluation.suites import (
    PARTS,
    SUITES,
    Result,
    Suite,
    as_driven,
    make_suite,
    paired,
    report,
)
from karpathy_control.worlds import variation
from karpathy_control.worlds.files import write_worlds
from karpathy_control.worlds.variation import Variation

ABLATIONS = ('reflex', *batched.PARTS_OF_LOOP)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `ablate` and `against` become lists."""
    parser = argparse.ArgumentParser(prog='karpathy-control evaluate', description=__doc__)
    parser.add_argument('--suite', default='generated', choices=SUITES)
    parser.add_argument('--worlds', type=Path, help='file or folder of worlds, for the suites '
                        'barn, dynabarn and file')
    parser.add_argument('--part', default='all', choices=PARTS, help='which worlds of a file: '
                        'every fifth is locked, to be run once per release')
    parser.add_argument('--world', default='batched', choices=('batched', 'mujoco'),
                        help='many robots side by side in a plane, or one with contact physics, '
                        'camera and encoder')
    parser.add_argument('--policy', default=SHIPPED, help=f'one of {", ".join(NAMES)}; a weight '
                        'file; or module:function that takes scan, velocity and goal')
    parser.add_argument('--against', default=GUIDANCE, help='comma list of policies that drive '
                        'the same episodes')
    parser.add_argument('--episodes', type=int, default=200, help='in all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--ablate', default='', help='comma list of ' + ', '.join(ABLATIONS))
    parser.add_argument('--device', default='cpu', help='torch device of the reflex')
    parser.add_argument('--run', type=Path, help='folder of finished episodes in MuJoCo; the '
                        'same command goes on where it was interrupted')
    parser.add_argument('--workers', type=int, default=1, help='processes that share the '
                        'episodes in MuJoCo; the result is the same for any number')
    parser.add_argument('--robot', help='profile; default: that of the suite')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='a parameter of the robot, as fault_budget=0.3; 0 is the default of '
                        'fault_budget here, whatever the profile says')
    parser.add_argument('--sim', action='append', default=[], metavar='NAME=VALUE',
                        help='a parameter of the simulator in MuJoCo, as lidar.beams=90, '
                        'camera.depth=false or imu.enabled=false')
    parser.add_argument('--encoder', type=Path, help='weight file of the encoder in MuJoCo; '
                        'default: the shipped one')
    parser.add_argument('--vary', type=_range, action='append', default=[],
                        metavar='NAME=LOW:HIGH', help='what episodes in the batched world draw '
                        'evenly, in place of the usual: '
                        + ', '.join(item.name for item in fields(Variation)))
    parser.add_argument('--failures', type=Path, help='file to write the failed legs to, each a '
                        'world, for --suite file')
    parser.add_argument('--report', type=Path, metavar='FILE', help='page of HTML to write: '
                        'tables, and a picture of every failure')
    args = parser.parse_args(argv)
    args.ablate = [name for name in args.ablate.split(',') if name]
    for name in args.ablate:
        if name not in ABLATIONS:
            parser.error(f'--ablate {name!r}: it takes {", ".join(ABLATIONS)}')
    if args.world == 'mujoco' and set(args.ablate) - {'reflex'}:
        parser.error(f'--ablate {",".join(args.ablate)}: --world mujoco takes reflex')
    if args.workers < 1 or (args.world == 'batched' and args.workers > 1):
        parser.error(f'--workers {args.workers}: it takes 1 or more, more than 1 with --world '
                     'mujoco')
    if args.run is not None and args.world == 'batched':
        parser.error('--run: only --world mujoco keeps its episodes')
    if args.world == 'mujoco' and args.vary:
        parser.error('--vary: only --world batched draws these')
    if args.world == 'batched' and (args.sim or args.encoder):
        parser.error('--sim, --encoder: only --world mujoco has them')
    args.vary = dict(args.vary)
    if 'reflex' in args.ablate:
        args.policy = GUIDANCE
    args.against = [name for name in args.against.split(',') if name and name != args.policy]
    return args


def _range(text: str) -> tuple[str, list[float]]:
    """NAME=LOW:HIGH, or NAME=VALUE."""
    name, _, values = text.partition('=')
    low, _, high = values.partition(':')
    try:
        return name, [float(low), float(high or low)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is not accepted; it takes NAME=LOW:HIGH, as '
                                         'delay=0:0.3') from error


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, evaluate, print one JSON line; returns the exit status."""
    args = parse(argv)
    started = time.monotonic()
    try:
        suite = make_suite(args.suite, args.episodes, args.seed, args.worlds, args.part)
        profile = load_profile(args.robot or suite.protocol.robot)
        robot = robot_of(profile, changed({'fault_budget': 0.0}, args.set))
        found = _drive(args, suite, profile, robot)
    except (ConfigError, WeightsError, ValueError, RuntimeError, FileNotFoundError) as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2
    ours = found[args.policy]
    failed = [(e, r) for e, r in zip(suite.episodes, ours, strict=True) if r.outcome != 'success']
    if args.failures is not None:
        write_worlds(args.failures, [as_driven(suite, e) for e, _ in failed])
    told = {name: report(suite, results) for name, results in found.items()}
    if args.report is not None:
        write_suite_report(args.report, suite, found, told, robot, 'karpathy-control evaluate '
                           + shlex.join(argv if argv is not None else sys.argv[1:]), args.policy)
    print(json.dumps({
        'suite': args.suite, 'part': args.part, 'world': args.world, 'policy': args.policy,
        'ablated': args.ablate, 'varied': args.vary, 'sim': args.sim,
        'worlds': len({e.world for e in suite.episodes}), 'score': None,
        **told[args.policy], 'seconds': round(time.monotonic() - started, 1),
        'failures': [{'world': suite.worlds[e.world].family, 'seed': suite.worlds[e.world].seed,
                      'leg': e.leg, 'cause': r.outcome} for e, r in failed],
        'against': {name: {**told[name], **paired(suite, ours, results)}
                    for name, results in found.items() if name != args.policy},
    }))
    return 0


def _drive(args: argparse.Namespace, suite: Suite, profile: RobotProfile, robot: RobotConfig
           ) -> dict[str, list[Result]]:
    """The policy and those that it is measured against, on the same episodes."""
    names = [args.policy, *args.against]
    if args.world == 'batched':
        config = replace(PolicyConfig(), robot=robot)
        return batched.compare(
            suite, {name: load_policy(name, robot, args.device) for name in names},
            replace(ControlConfig(), robot=robot), config, variation.from_mapping(args.vary),
            ablate=args.ablate)
    if profile.description is None:
        raise ConfigError(f'--robot {profile.name}: it has no description, which MuJoCo needs')
    parts = LoopConfig(sim=from_mapping(SimConfig, changed(profile.simulation, args.sim)))
    encoder = args.encoder or find('weights', 'encoder.safetensors')
    found = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name in names:
            task = progress.add_task(f'{suite.name}: {name}', total=len(suite.episodes))
            found[name] = mujoco_suite.run(
                mujoco_suite.Job(suite, name, profile, robot, encoder, args.device, parts),
                workers=args.workers,
                ledger=Ledger(args.run, _identity(args, robot, encoder), _file_name(name)),
                advanced=lambda n, task=task: progress.update(  # type: ignore[misc]
                    task, completed=n))
    return found


def _identity(args: argparse.Namespace, robot: RobotConfig, encoder: Path) -> dict[str, object]:
    """What must be the same for a run to be gone on with."""
    return {'suite': args.suite, 'part': args.part, 'seed': args.seed,
            'episodes': args.episodes, 'worlds': str(args.worlds), 'robot': to_mapping(robot),
            'sim': args.sim, 'encoder': sha256_of(encoder)}


def _file_name(policy: str) -> str:
    """A policy's name as that of a file."""
    return ''.join(c if c.isalnum() else '_' for c in policy)


if __name__ == '__main__':
    sys.exit(main())

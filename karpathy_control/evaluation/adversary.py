"""`karpathy-control adversary`: tries to make the gate touch something, and counts.

Hostile command streams of 20 s each, through the gate, judged by a continuous checker that shares
no code with it, and replayed with the gate off to see whether they were dangerous at all. The
last line of standard output is one JSON object (doc/results.md). With --run every finished chunk
is a line in FOLDER; the same command goes on where it was interrupted, and several processes may
share the work with --shard.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from karpathy_control.bringup.robots import load_profile
from karpathy_control.contracts.config import (
    ControlConfig,
    changed,
    from_mapping,
    to_mapping,
)
from karpathy_control.evaluation.adversary_batch import Tally
from karpathy_control.evaluation.adversary_worlds import PER_WORLD
from karpathy_control.evaluation.ledger import Ledger
from karpathy_control.evaluation.statistics import wilson_interval

KINDS = ('static', 'moving', 'mujoco', 'liveness')
STATUS = ('unchanged', 'limited', 'braking', 'unavoidable')  # GateResult.status
CHUNK = 128  # episodes that are finished and written together
MUJOCO_CHUNK = 16
# beside the defaults: what a robot states that drives among people
SETTINGS: dict[str, dict[str, object]] = {
    'moving': {'gate.obstacle_speed': 0.6, 'gate.occlusion': True}}

Runner = Callable[[int, int], Tally]  # first episode and how many -> what they came to


def control_for(kind: str) -> ControlConfig:
    """The gate's configuration in worlds of a kind; in MuJoCo that of the Jackal.

    No room is kept for faults: none happens.
    """
    values = SETTINGS.get(kind, {})
    if kind == 'mujoco':
        values = {**load_profile('jackal').parameters, 'robot.fault_budget': 0.0}
    return from_mapping(ControlConfig, values)


def runner(kind: str, seed: int, control: ControlConfig, envs: int) -> Runner:
    """What drives the episodes of a kind. Imports only what that kind needs."""
    if kind == 'mujoco':
        from karpathy_control.evaluation import adversary_mujoco
        return lambda first, count: adversary_mujoco.run(seed, first, count, control)
    from karpathy_control.evaluation import adversary_batch
    return lambda first, count: adversary_batch.run(kind, seed, first, count, control, envs)


def merged(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    total = Tally()
    for t in tallies:
        for name in ('episodes', 'commands', 'provocative', 'proved', 'passed'):
            setattr(total, name, getattr(total, name) + getattr(t, name))
        total.status = [a + b for a, b in zip(total.status, t.status, strict=True)]
        total.travel += t.travel
        total.contacts += t.contacts
    return total


def summarise(kind: str, total: Tally) -> dict[str, object]:
    """The figures of a run, as in doc/results.md."""
    faults = [c for c in total.contacts if c['fault']]
    static = [c for c in faults if c['kind'] == 'static']
    others = Counter(str(c['kind']) for c in total.contacts if not c['fault'])
    low, high = wilson_interval(total.passed, total.proved)
    return {
        'kind': kind, 'episodes': total.episodes, 'contacts': len(static),
        'contacts_while_moving': len(faults) - len(static), 'not_at_fault': dict(others),
        'fault_ci95': [round(v, 7) for v in wilson_interval(len(faults), total.episodes)],
        'provocative': round(total.provocative / max(1, total.episodes), 4),
        'travel_m': round(float(np.median(total.travel)), 2) if total.travel else None,
        'commands': total.commands, 'worlds': -(-total.episodes // PER_WORLD),
        'status': dict(zip(STATUS, total.status, strict=True)),
        'liveness': round(total.passed / total.proved, 5) if total.proved else None,
        'liveness_ci95': [round(low, 5), round(high, 5)] if total.proved else None,
        'proved': total.proved, 'failures': faults[:50],
    }


def _shard(text: str) -> tuple[int, int]:
    try:
        number, of = (int(part) for part in text.split('/'))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: it takes NUMBER/OF, as in 0/2') from error
    if not 0 <= number < of:
        raise argparse.ArgumentTypeError(f'{text!r}: it takes 0 <= NUMBER < OF')
    return number, of


def main(argv: Sequence[str] | None = None) -> int:
    """Run or go on with hostile episodes; exit status 0 where none was the robot's fault."""
    parser = argparse.ArgumentParser(prog='karpathy-control adversary', description=__doc__)
    parser.add_argument('--episodes', type=int, default=256)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kind', default='static', choices=KINDS)
    parser.add_argument('--envs', type=int, default=64, help='robots side by side')
    parser.add_argument('--run', type=Path, help='folder of finished chunks; resumable')
    parser.add_argument('--shard', type=_shard, default=(0, 1), help='NUMBER/OF: every OF-th '
                        'chunk, so that several processes share one --run')
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE',
                        help='a parameter of control, as gate.margin=0.05')
    args = parser.parse_args(argv)
    if args.episodes < 1 or args.envs < 1:
        parser.error('--episodes and --envs take at least 1')
    if args.kind == 'liveness':
        from karpathy_control.evaluation import adversary_liveness
        return adversary_liveness.main(args.episodes, args.seed)
    control = from_mapping(ControlConfig, changed(to_mapping(control_for(args.kind)), args.set))
    number, of = args.shard
    chunk = MUJOCO_CHUNK if args.kind == 'mujoco' else CHUNK
    ledger = Ledger(args.run, {'kind': args.kind, 'seed': args.seed, 'chunk': chunk,
                               'control': to_mapping(control)}, 'chunks-', str(number))
    done = {int(entry.pop('first')): Tally(**entry) for entry in ledger.entries}
    drive = runner(args.kind, args.seed, control, args.envs)
    started = time.monotonic()
    mine = [first for k, first in enumerate(range(0, args.episodes, chunk)) if k % of == number]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f'adversary: {args.kind}', total=len(mine))
        for first in mine:
            count = min(chunk, args.episodes - first)
            if first not in done or done[first].episodes != count:
                done[first] = drive(first, count)
                ledger.add({'first': first, **dataclasses.asdict(done[first])})
            progress.advance(task)
    figures = summarise(args.kind, merged(t for first, t in sorted(done.items())
                                          if first < args.episodes))
    figures['seconds'] = round(time.monotonic() - started, 1)
    print(json.dumps(figures))
    return 0 if figures['contacts'] == figures['contacts_while_moving'] == 0 else 1


if __name__ == '__main__':
    sys.exit(main())

"""`karpathy-control evaluate`: success of a policy on worlds that training never saw.

The batched world with the node's own gate, deliberation and actor; minutes, not hours. Every
figure comes with the same figure of the guidance alone (no reflex) on the same worlds, legs and
seeds. The last line of standard output is one JSON object (doc/results.md).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.world import World
from karpathy_control.evaluation.statistics import wilson_interval
from karpathy_control.learning.loop import REACHED_ERROR, ClosedLoop, choose_leg
from karpathy_control.policy.deliberation import Features
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.variation import Variation

# evaluation worlds have seeds in [FIRST_SEED, LAST_SEED): above those of the demo's documented
# runs, below those of training
FIRST_SEED, LAST_SEED = 20_000, 100_000
LEGS = 5  # episodes per world: each leads to another of its goals
BATCH = 128
SUITES = {
    'generated': FAMILIES,
    'open': ('open',),
    'lowobstacles': ('low',),
    'moving': ('moving',),
    'static': tuple(name for name in FAMILIES if name != 'moving'),
}
GUIDANCE = 'guidance'  # the cost-to-go's own command, without the reflex
SHIPPED = 'reflex'  # the weights in the weights folder
ABLATIONS = ('reflex', 'gate', 'camera')

Policy = Callable[[Features], NDArray[np.floating]]


@dataclass(frozen=True)
class Episode:
    """One leg of one world under one seed of everything random."""

    world: int  # number in the list of worlds
    leg: int
    seed: int


@dataclass(frozen=True)
class Result:
    """How an episode ended: 'success', 'contact', 'timeout' or 'lost' (arrived elsewhere)."""

    outcome: str
    time: float  # s
    moving: bool = False  # whether the robot moved when it touched something


def guidance(features: Features) -> NDArray[np.floating]:
    """The baseline: what the cost-to-go alone proposes."""
    return features.base_command


def reflex(path: Path, config: PolicyConfig, device: str = 'cpu') -> Policy:
    """The learned reflex on top of the guidance, as the policy node runs it.

    Raises WeightsError where the weights are missing, tampered with or for another layout.
    """
    import torch

    from karpathy_control.policy.actor import compose, load_actor
    actor, _ = load_actor(path, device)

    def propose(features: Features) -> NDArray[np.floating]:
        with torch.inference_mode():
            action = actor(torch.from_numpy(features.tokens).to(device)).cpu().numpy()
        return compose(features.base_command, action, config.robot)

    return propose


def make_worlds(suite: str, count: int, seed: int) -> list[World]:
    """`count` unseen worlds of a suite, its families in turn.

    Raises ValueError for an unknown suite, naming the known ones.
    """
    if suite not in SUITES:
        raise ValueError(f'unknown suite {suite!r}; known: {", ".join(SUITES)}')
    families = SUITES[suite]
    span = LAST_SEED - FIRST_SEED
    return [generate(families[i % len(families)], FIRST_SEED + (seed * 1009 + i) % span)
            for i in range(count)]


def run(worlds: Sequence[World], episodes: Sequence[Episode], policy: Policy,
        control: ControlConfig, config: PolicyConfig, variation: Variation | None = None, *,
        episode_time: float = 60.0, gate: bool = True, camera: bool = True,
        advanced: Callable[[int], None] | None = None) -> list[Result]:
    """Drive every episode to its end. `advanced` is called with how many have ended."""
    bank = pack(worlds)
    batch = min(BATCH, len(episodes))
    loop = ClosedLoop(bank, batch, control, config, variation, episode_time, gate=gate,
                      camera=camera)
    results: list[Result | None] = [None] * len(episodes)
    running = np.arange(batch)  # episode of each slot, -1 where there is none left
    waiting = batch

    def begin(slots: NDArray[np.integer]) -> None:
        chosen = [episodes[running[slot]] for slot in slots]
        legs = [choose_leg(bank, e.world, e.leg, np.random.default_rng([e.seed, 3]))
                for e in chosen]
        loop.begin(slots, legs, [e.seed for e in chosen])

    begin(np.arange(batch))
    done = 0
    while done < len(episodes):
        outcome = loop.advance(policy(loop.features()))
        lost = loop.true_error() > config.goal_tolerance + REACHED_ERROR
        free = []
        for slot in np.flatnonzero(outcome.done & (running >= 0)):
            cause = ('contact' if outcome.contact[slot] else 'timeout' if outcome.late[slot]
                     else 'lost' if lost[slot] else 'success')
            results[running[slot]] = Result(cause, float(loop.world.time[slot]),
                                            bool(loop.world.contact_speed[slot] > 0.02))
            done += 1
            running[slot] = waiting if waiting < len(episodes) else -1
            if running[slot] >= 0:
                waiting += 1
                free.append(slot)
        begin(np.array(free, np.int64))
        if advanced is not None:
            advanced(done)
    return [result for result in results if result is not None]


def summarise(results: Sequence[Result]) -> dict[str, object]:
    """Counts, success with its interval and the mean time of the successes, s."""
    count = {name: sum(r.outcome == name for r in results)
             for name in ('success', 'contact', 'timeout', 'lost')}
    times = [r.time for r in results if r.outcome == 'success']
    low, high = wilson_interval(count['success'], len(results))
    return {
        'episodes': len(results),
        'success': round(count['success'] / max(1, len(results)), 4),
        'success_ci95': [round(low, 4), round(high, 4)],
        'contacts': count['contact'],
        'contacts_while_moving': sum(r.outcome == 'contact' and r.moving for r in results),
        'timeouts': count['timeout'],
        'lost': count['lost'],
        'time_s': round(float(np.mean(times)), 2) if times else None,
    }


def compare(suite: str, policies: dict[str, Policy], episodes: int, seed: int,
            control: ControlConfig, config: PolicyConfig, variation: Variation | None = None,
            console: Console | None = None, *, gate: bool = True,
            camera: bool = True) -> tuple[list[World], list[Episode], dict[str, list[Result]]]:
    """Drive several policies through the very same episodes of a suite's unseen worlds."""
    if episodes < 1:
        raise ValueError(f'episodes is {episodes}; it takes at least 1')
    worlds = make_worlds(suite, -(-episodes // LEGS), seed)
    plan = [Episode(i % len(worlds), i // len(worlds), worlds[i % len(worlds)].seed * 1000
                    + i // len(worlds)) for i in range(episodes)]
    found = {}
    with Progress(console=console or Console(stderr=True), transient=True) as progress:
        for name, policy in policies.items():
            task = progress.add_task(f'{suite}: {name}', total=episodes)
            found[name] = run(
                worlds, plan, policy, control, config, variation, gate=gate, camera=camera,
                advanced=lambda n, task=task: progress.update(  # type: ignore[misc]
                    task, completed=n))
    return worlds, plan, found


def by_family(worlds: Sequence[World], plan: Sequence[Episode],
              results: Sequence[Result]) -> dict[str, float]:
    """Success per family of worlds."""
    families: dict[str, list[bool]] = {}
    for episode, result in zip(plan, results, strict=True):
        family = worlds[episode.world].family
        families.setdefault(family, []).append(result.outcome == 'success')
    return {name: round(float(np.mean(hits)), 4) for name, hits in sorted(families.items())}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, evaluate, print one JSON line; returns the exit status."""
    parser = argparse.ArgumentParser(prog='karpathy-control evaluate', description=__doc__)
    parser.add_argument('--suite', default='generated', choices=SUITES)
    parser.add_argument('--world', default='batched', choices=('batched',))
    parser.add_argument('--policy', default=SHIPPED, help=f'{SHIPPED!r} (the shipped weights), '
                        f'{GUIDANCE!r} (no reflex) or a weight file')
    parser.add_argument('--episodes', type=int, default=200, help='in all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--ablate', default='', help='comma list of ' + ', '.join(ABLATIONS))
    parser.add_argument('--device', default='cpu', help='torch device of the reflex')
    args = parser.parse_args(argv)
    started = time.monotonic()
    ablate = [name for name in args.ablate.split(',') if name]
    for name in ablate:
        if name not in ABLATIONS:
            parser.error(f'--ablate {name!r}: it takes {", ".join(ABLATIONS)}')
    control, config = ControlConfig(), PolicyConfig()
    try:
        if args.policy == GUIDANCE or 'reflex' in ablate:
            chosen: Policy = guidance
        else:
            name = config.weights if args.policy == SHIPPED else args.policy
            chosen = reflex(find('weights', name), config, args.device)
        policies = {'policy': chosen}
        if chosen is not guidance:
            policies['baseline'] = guidance
        worlds, plan, found = compare(args.suite, policies, args.episodes, args.seed, control,
                                      config, gate='gate' not in ablate,
                                      camera='camera' not in ablate)
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 2
    baseline = found.get('baseline', found['policy'])
    print(json.dumps({
        'suite': args.suite, 'policy': args.policy, 'ablated': ablate, 'worlds': len(worlds),
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

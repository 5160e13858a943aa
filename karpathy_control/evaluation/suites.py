"""Suites of worlds that training never saw: episodes in them, how they end, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.world import World
from karpathy_control.evaluation.statistics import wilson_interval
from karpathy_control.worlds.generators import generate

# evaluation worlds have seeds in [FIRST_SEED, LAST_SEED): above those of the demo's documented
# runs, below those of training
FIRST_SEED, LAST_SEED = 20_000, 100_000
LEGS = 5  # episodes per world: each leads to another of its goals
SUITES = {
    'generated': FAMILIES,
    'open': ('open',),
    'lowobstacles': ('low',),
    'moving': ('moving',),
    'static': tuple(name for name in FAMILIES if name != 'moving'),
}


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


def make_plan(suite: str, episodes: int, seed: int) -> tuple[list[World], list[Episode]]:
    """Worlds of a suite and `episodes` legs in them, spread evenly.

    Raises ValueError for an unknown suite and for no episodes.
    """
    if episodes < 1:
        raise ValueError(f'episodes is {episodes}; it takes at least 1')
    worlds = make_worlds(suite, -(-episodes // LEGS), seed)
    return worlds, [Episode(i % len(worlds), i // len(worlds), worlds[i % len(worlds)].seed * 1000
                            + i // len(worlds)) for i in range(episodes)]


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


def by_family(worlds: Sequence[World], plan: Sequence[Episode],
              results: Sequence[Result]) -> dict[str, float]:
    """Success per family of worlds."""
    families: dict[str, list[bool]] = {}
    for episode, result in zip(plan, results, strict=True):
        family = worlds[episode.world].family
        families.setdefault(family, []).append(result.outcome == 'success')
    return {name: round(float(np.mean(hits)), 4) for name, hits in sorted(families.items())}

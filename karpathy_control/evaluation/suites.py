"""Suites of worlds that training never saw: episodes in them, how they end, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import World
from karpathy_control.evaluation.statistics import bootstrap_interval, wilson_interval
from karpathy_control.learning.loop import choose_leg
from karpathy_control.worlds.bank import Bank, pack
from karpathy_control.worlds.batched import Leg
from karpathy_control.worlds.benchmarks import ROUNDS
from karpathy_control.worlds.files import read_worlds
from karpathy_control.worlds.generators import generate

# evaluation worlds have seeds in [FIRST_SEED, LAST_SEED): above those of the demo's documented
# runs, below those of training
FIRST_SEED, LAST_SEED = 20_000, 100_000
LEGS = 5  # episodes per world: each leads to another of its goals


@dataclass(frozen=True)
class Protocol:
    """How the episodes of a suite end and are judged."""

    robot: str = 'jackal'  # profile
    episode_time: float = 60.0  # s
    reach: float | None = None  # m of true distance that count as arrival; None: by odometry,
    # within the goal tolerance, and not more than half a metre off in truth
    scored: bool = False  # by BARN's score
    any_moment: bool = False  # whether movers begin at a moment of their round that is drawn


# https://github.com/Daffan/the-barn-challenge: 100 s, one metre, at most 2 m/s
BARN = Protocol('jackal_barn', 100.0, 1.0, True)
CROWDS = ('swarm', 'people')  # families that are suites of their own, and in no other
GENERATED = {
    'generated': tuple(name for name in FAMILIES if name not in CROWDS),
    'open': ('open',),
    'lowobstacles': ('low',),
    'moving': ('moving',),
    'field': ('field',),
    'static': tuple(name for name in FAMILIES if name not in ('moving', *CROWDS)),
    'swarm': ('swarm',),
    'people': ('people',),
}
FROM_FILES = {'barn': BARN, 'dynabarn': replace(BARN, scored=False, any_moment=True),
              'file': Protocol()}
PROTOCOLS = {'swarm': replace(BARN, scored=False)}  # of generated suites; of others the usual
SUITES = (*GENERATED, *FROM_FILES)
PARTS = ('all', 'tune', 'locked')
LOCKED = 5  # every fifth world of a file is kept from tuning
TRACK = 0.2  # s
INTIMATE = 0.45  # m, from here on nearer is intimate distance (Hall, The hidden dimension, 1966)
SCORE_K = 2.0  # since 2024: full marks for arriving at half of the top speed


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
    time: float  # s, from the start or, where a protocol scores, from the first 0.1 m on
    moving: bool = False  # whether the robot moved when it touched something
    waited: float = 0.0  # s before those 0.1 m
    track: Sequence[Sequence[float]] = ()  # true x, y in m every `TRACK` s, and at the end
    person: float | None = None  # m that the footprint kept from all people; None without people


@dataclass(frozen=True)
class Suite:
    """Worlds, the episodes in them, and how they are judged."""

    name: str
    worlds: list[World]
    episodes: list[Episode]
    protocol: Protocol


def make_worlds(suite: str, count: int, seed: int) -> list[World]:
    """`count` unseen worlds of a generated suite, its families in turn."""
    families = GENERATED[suite]
    span = LAST_SEED - FIRST_SEED
    return [generate(families[i % len(families)], FIRST_SEED + (seed * 1009 + i) % span)
            for i in range(count)]


def make_suite(name: str, episodes: int, seed: int, path: Path | None = None,
               part: str = 'all') -> Suite:
    """`episodes` legs, spread evenly over the worlds of a suite.

    Worlds are generated, or read from `path`: then `part` says which of them. Raises ConfigError
    for what does not fit.
    """
    if episodes < 1:
        raise ConfigError(f'episodes is {episodes}; it takes at least 1')
    if name not in SUITES:
        raise ConfigError(f'unknown suite {name!r}; known: {", ".join(SUITES)}')
    if name in GENERATED:
        if path is not None:
            raise ConfigError(f'suite {name!r} generates its worlds; worlds of a file are for '
                              + ', '.join(FROM_FILES))
        worlds = make_worlds(name, -(-episodes // LEGS), seed)
        plan = [Episode(i % len(worlds), i // len(worlds),
                        worlds[i % len(worlds)].seed * 1000 + i // len(worlds))
                for i in range(episodes)]
        return Suite(name, worlds, plan, PROTOCOLS.get(name, Protocol()))
    if path is None:
        raise ConfigError(f'suite {name!r} takes --worlds, a file or folder: no world comes with '
                          'this package')
    worlds = select(read_worlds(path), part)
    count = len(worlds)
    plan = [Episode(i % count, i // count, _episode_seed(worlds[i % count], i // count, seed))
            for i in range(episodes)]
    if FROM_FILES[name].any_moment:
        worlds = [_started(worlds[e.world], e.seed) for e in plan]
        plan = [replace(e, world=i) for i, e in enumerate(plan)]
    return Suite(name, worlds, plan, FROM_FILES[name])


def leg_of(bank: Bank, episode: Episode) -> Leg:
    """Start and goal of an episode in a bank of its suite's worlds."""
    return choose_leg(bank, episode.world, episode.leg, np.random.default_rng([episode.seed, 3]))


def as_driven(suite: Suite, episode: Episode) -> World:
    """The world of an episode, from where it began and with its goal alone."""
    leg = leg_of(pack([suite.worlds[episode.world]]), replace(episode, world=0))
    return replace(suite.worlds[episode.world], start=Pose2(*leg.start), goals=(leg.goal,))


def select(worlds: Sequence[World], part: str) -> list[World]:
    """The worlds of a part of a file: every fifth is locked, so that nobody tunes on it."""
    if part not in PARTS:
        raise ConfigError(f'part {part!r} is unknown; it takes {", ".join(PARTS)}')
    chosen = [world for i, world in enumerate(worlds)
              if part == 'all' or (part == 'locked') == (i % LOCKED == 0)]
    if not chosen:
        raise ConfigError(f'part {part!r} of {len(worlds)} worlds is empty')
    return chosen


def _episode_seed(world: World, trial: int, seed: int) -> int:
    return int(np.random.SeedSequence([world.seed, trial, seed]).generate_state(1)[0])


def _started(world: World, seed: int) -> World:
    """The world with its movers as far on their rounds as a moment has brought them all."""
    later = float(np.random.default_rng([seed, 11]).uniform(0.0, ROUNDS))
    return replace(world, movers=tuple(replace(m, phase=m.phase + later) for m in world.movers))


def score(result: Result, world: World) -> float:
    """BARN's score of an episode: 0, or OT / clip(AT, k OT, 8 OT) with OT at 2 m/s and k = 2.

    ConfigError for a world that does not state its path length.
    """
    if world.path_length is None:
        raise ConfigError(f'world {world.seed}: has no path length to judge times by')
    if result.outcome != 'success':
        return 0.0
    optimal = world.path_length / 2.0
    return optimal / min(max(result.time, SCORE_K * optimal), 8.0 * optimal)


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


def _by_world(suite: Suite, values: Sequence[float | None]) -> list[float]:
    """The mean over the episodes of each world, of those that have a value.

    Moments of one world, which are worlds in the suite, count together.
    """
    worlds: dict[tuple[str, int], list[float]] = {}
    for episode, value in zip(suite.episodes, values, strict=True):
        if value is not None:
            world = suite.worlds[episode.world]
            worlds.setdefault((world.family, world.seed), []).append(value)
    return [float(np.mean(v)) for v in worlds.values()]


def _interval(means: Sequence[float]) -> list[float] | None:
    """The bootstrap interval of the mean over worlds, rounded; None where there is none."""
    return [round(v, 4) for v in bootstrap_interval(means)] if means else None


def scores(suite: Suite, results: Sequence[Result]) -> dict[str, object]:
    """BARN's score with its interval over worlds, and time as a multiple of the physical limit.

    Empty where the suite is not scored.
    """
    if not suite.protocol.scored:
        return {}
    driven = [(suite.worlds[e.world], r) for e, r in zip(suite.episodes, results, strict=True)]
    means = _by_world(suite, [score(result, world) for world, result in driven])
    ratios = [result.time / (world.path_length / 2.0) for world, result in driven
              if result.outcome == 'success' and world.path_length is not None]
    return {'score': round(float(np.mean(means)), 4),
            'score_ci95': _interval(means),
            'times_physical_limit': round(float(np.mean(ratios)), 3) if ratios else None,
            'waited_s': round(float(np.mean([r.waited for r in results])), 2)}


def from_people(results: Sequence[Result]) -> dict[str, object]:
    """Least distance to a person in an episode, m: median, 5th percentile; empty without people.

    Contacts count as 0. Beside it the share of episodes in which it was within INTIMATE.
    """
    least = [max(0.0, r.person) for r in results if r.person is not None]
    if not least:
        return {}
    return {'person_distance_m': {'p50': round(float(np.median(least)), 3),
                                  'p5': round(float(np.percentile(least, 5)), 3)},
            'intimate': round(float(np.mean(np.array(least) < INTIMATE)), 4)}


def by_family(suite: Suite, results: Sequence[Result]) -> dict[str, float]:
    """Success per family of worlds."""
    families: dict[str, list[bool]] = {}
    for episode, result in zip(suite.episodes, results, strict=True):
        family = suite.worlds[episode.world].family
        families.setdefault(family, []).append(result.outcome == 'success')
    return {name: round(float(np.mean(hits)), 4) for name, hits in sorted(families.items())}


def paired(suite: Suite, ours: Sequence[Result],
           theirs: Sequence[Result]) -> dict[str, object]:
    """How much more often we arrive, and our time as a multiple of theirs where both do.

    Of the same episodes; means and bootstrap intervals over worlds.
    """
    pairs = list(zip(ours, theirs, strict=True))
    more = _by_world(suite, [float(a.outcome == 'success') - float(b.outcome == 'success')
                             for a, b in pairs])
    ratio = _by_world(suite, [a.time / b.time if a.outcome == b.outcome == 'success' else None
                              for a, b in pairs])
    return {'success_more': round(float(np.mean(more)), 4), 'success_more_ci95': _interval(more),
            'time_ratio': round(float(np.mean(ratio)), 4) if ratio else None,
            'time_ratio_ci95': _interval(ratio)}


def report(suite: Suite, results: Sequence[Result]) -> dict[str, object]:
    """Everything that is said of a policy on a suite."""
    return {**summarise(results), **scores(suite, results), **from_people(results),
            'families': by_family(suite, results)}

"""What a soak run means: when which node is struck, how memory grew, whether all of it passed.

Pure functions over the events that evaluation/soak.py writes, one JSON object a line:

    run         seconds, every, seed, world, ways
    sample      t, mode, reasons, x, y; by process pids, memory (bytes), files (open); shared
                (bytes of all files in shared memory)
    strike      t, node, how, answer, stop_s, late, reasons, contacts, x, y; recovery_s is null
                where the robot did not drive again within the limit
    unanswered  since (ns) and record: what was received, where no answer was found in it
    end         t, error, goals, contacts, restarts by node, left (bytes), orphans
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from karpathy_control.evaluation.statistics import percentiles

Event = Mapping[str, Any]
Point = tuple[float, float]  # seconds since the start of the run, value

NODES = ('sensor', 'perception', 'policy', 'control')  # sim is required: its end is the end
WAYS = ('kill', 'term', 'stop')  # SIGKILL, SIGTERM, SIGSTOP and after a while SIGCONT
STARTED = 60.0  # s of life after which a process should have all the memory that it needs
WINDOW = 60.0  # s that a level is the median of
YOUNG = (0.5, 0.9)  # shares of the period: the age at which lives are compared, all reach it
LEAST_LIVES = 4  # through fewer no line is drawn
GROWTH_LIMIT = 0.05


@dataclass(frozen=True)
class Strike:
    """One blow: seconds since the start, the node, one of WAYS."""

    at: float
    node: str
    how: str


@dataclass
class Life:
    """One process from its first sample to its last."""

    pid: int
    memory: list[Point] = field(default_factory=list)
    files: list[Point] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it was watched."""
        return self.memory[-1][0] - self.memory[0][0]


def schedule(seed: int, seconds: float, every: float, ways: Sequence[str] = ('kill',),
             nodes: Sequence[str] = NODES) -> list[Strike]:
    """A random node every `every` seconds, first after half of that; the same for a seed."""
    draw = random.Random(seed)
    count = round(max(seconds / every, 0.0))
    return [Strike((k + 0.5) * every, draw.choice(list(nodes)), draw.choice(list(ways)))
            for k in range(count) if (k + 0.5) * every < seconds]


def lives(samples: Iterable[Event]) -> dict[str, list[Life]]:
    """The lives of every process, in order; a new process id begins a new one."""
    found: dict[str, list[Life]] = {}
    for sample in samples:
        for name, pid in sample['pids'].items():
            known = found.setdefault(name, [])
            if not known or known[-1].pid != pid:
                known.append(Life(pid))
            known[-1].memory.append((sample['t'], sample['memory'][name]))
            known[-1].files.append((sample['t'], sample['files'][name]))
    return found


def levels(points: Sequence[Point]) -> tuple[float, float] | None:
    """Median of the minute after STARTED, and of the last minute; None where they would meet."""
    if not points or points[-1][0] - points[0][0] < STARTED + 2 * WINDOW:
        return None
    start, end = points[0][0] + STARTED, points[-1][0]
    first = [v for t, v in points if start <= t < start + WINDOW]
    last = [v for t, v in points if t > end - WINDOW]
    return (float(np.median(first)), float(np.median(last))) if first and last else None


def growth(points: Sequence[Point]) -> float | None:
    """How much more there is at the end than once it had started, as a share of that."""
    found = levels(points)
    return None if found is None else found[1] / found[0] - 1.0


def renewed_growth(known: Sequence[Life], every: float) -> float | None:
    """How much more the last of many short lives takes than the first, at the same age.

    The rise of the straight line through the medians of each life between YOUNG shares of the
    period, as a share of where it begins; None for fewer than LEAST_LIVES.
    """
    youth = []
    for life in known:
        born = life.memory[0][0]
        young = [v for t, v in life.memory if YOUNG[0] * every <= t - born <= YOUNG[1] * every]
        if young:
            youth.append((born, float(np.median(young))))
    if len(youth) < LEAST_LIVES:
        return None
    t, v = np.array(youth).T
    slope, height = np.polyfit(t - t[0], v, 1)
    return float(slope * (t[-1] - t[0]) / height)


def memory_growth(known: Sequence[Life], every: float) -> dict[str, float | None]:
    """`whole`: of a process never struck; `renewed`, `longest`: over lives, in the longest one."""
    longest = max(known, key=lambda life: life.seconds)
    if len(known) == 1:
        return {'whole': growth(longest.memory)}
    return {'renewed': renewed_growth(known, every), 'longest': growth(longest.memory)}


def summarise(events: Sequence[Event]) -> dict[str, Any]:
    """The figures of a run, as in doc/results.md; `failed` names every criterion that was missed.

    What the run was too short to judge is null and fails nothing.
    """
    run, end = (next(e for e in events if e['event'] == kind) for kind in ('run', 'end'))
    strikes = [e for e in events if e['event'] == 'strike']
    samples = [e for e in events if e['event'] == 'sample']
    known = lives(samples)
    recoveries = [e['recovery_s'] for e in strikes if e['recovery_s'] is not None]
    restarted = Counter(e['node'] for e in strikes if e['how'] != 'stop')
    memory = {name: _rounded(memory_growth(each, run['every'])) for name, each in known.items()}
    files = {name: levels(each[0].files) for name, each in known.items() if len(each) == 1}
    more_files = {name: None if pair is None else round(pair[1] - pair[0])
                  for name, pair in files.items()}
    shared = growth([(s['t'], s['shared']) for s in samples])
    grown = [v for each in memory.values() for v in each.values() if v is not None]
    wrong = {
        'error': bool(end['error']),
        'strikes': not strikes,
        'recovered': len(recoveries) < len(strikes),
        'answered': any(e['answer'] == 'none' for e in strikes),
        'contacts': end['contacts'] > 0,
        'restarts': end['restarts'] != {name: restarted[name] for name in end['restarts']},
        'memory_growth': any(v >= GROWTH_LIMIT for v in grown),
        'shared_growth': shared is not None and shared >= GROWTH_LIMIT,
        'files_growth': any(v is not None and v > 0 for v in more_files.values()),
        'shm_left_bytes': end['left'] > 0,
        'orphans': bool(end['orphans']),
    }
    failed = [name for name, is_wrong in wrong.items() if is_wrong]
    return {
        'minutes': round(end['t'] / 60.0, 2), 'kills': len(strikes),
        'kills_by_node': dict(sorted(Counter(e['node'] for e in strikes).items())),
        'recovered': len(recoveries), 'recovery_s': percentiles(recoveries),
        'stop_s': percentiles([e['stop_s'] for e in strikes if e['stop_s'] is not None]),
        'late_stops': sum(bool(e['late']) for e in strikes),
        'contacts': end['contacts'], 'goals': end['goals'], 'memory_growth': memory,
        'memory_mb': {name: round(float(np.median([v for life in each for _, v in life.memory]))
                                  / 1e6, 1) for name, each in known.items()},
        'shared_growth': None if shared is None else round(shared, 4),
        'shared_mb': round(max((s['shared'] for s in samples), default=0) / 1e6, 1),
        'files_growth': more_files, 'shm_left_bytes': end['left'], 'orphans': len(end['orphans']),
        'restarts': end['restarts'], 'world': run['world'], 'seed': run['seed'],
        'every': run['every'], 'error': end['error'], 'failed': failed, 'passed': not failed,
    }


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if v is None else round(v, 4) for name, v in values.items()}


def line(strike: Event) -> str:
    """One strike as plain text."""
    def seconds(value: float | None) -> str:
        return '   -  ' if value is None else f'{value:6.2f}'

    return (f'{strike["t"]:7.1f} s  {strike["how"]:4} {strike["node"]:10} {strike["answer"]:9} '
            f'after {seconds(strike["stop_s"])} s  driving after {seconds(strike["recovery_s"])} '
            f's  contacts {strike["contacts"]}  {" ".join(strike["reasons"])}'.rstrip())

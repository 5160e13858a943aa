"""What one driven episode leaves behind, as data: built from the observer's events alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import from_frame, to_frame
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import World

TRACK_COLUMNS = ('t', 'x', 'y', 'yaw', 'v', 'w', 'limited')


@dataclass(frozen=True)
class GoalOutcome:
    """How one goal ended."""

    index: int
    outcome: str  # 'reached', 'blocked', 'timeout' ... or 'not_tried'
    seconds: float

    @property
    def reached(self) -> bool:
        """True where the robot got there."""
        return self.outcome == 'reached'


@dataclass
class RunData:
    """One episode. `track` has a row per true pose: t (s), x y yaw (world), v, w, limited."""

    world: World
    goals: tuple[tuple[float, float], ...]  # m, world: those that were asked for
    outcomes: list[GoalOutcome] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    frames: list[tuple[int, str]] = field(default_factory=list)  # (goal index, path of a PNG)
    done: dict[str, Any] = field(default_factory=dict)  # the observer's last event
    seconds: float = 0.0  # wall time from the first goal to the last outcome
    robot: str = ''  # its name, where it is one of several

    def take(self, event: Mapping[str, Any]) -> None:
        """Add one event of the observer; unknown ones are left aside."""
        kind = event.get('event')
        if kind == 'status':
            self.statuses.append(dict(event))
        elif kind == 'goal':
            self.outcomes.append(GoalOutcome(int(event['index']), str(event['outcome']),
                                             float(event['seconds'])))
            self.seconds += float(event['seconds'])
        elif kind == 'frame':
            self.frames.append((int(event['index']), str(event['png'])))
        elif kind == 'done':
            self.done = dict(event)

    @property
    def track(self) -> NDArray[np.float64]:
        """True poses. Shape: (n, 7), see TRACK_COLUMNS."""
        return np.asarray(self.done.get('track', []), np.float64).reshape(-1, len(TRACK_COLUMNS))

    @property
    def reached(self) -> int:
        """Goals reached."""
        return sum(outcome.reached for outcome in self.outcomes)

    @property
    def contacts(self) -> int:
        """Contacts with anything but the ground."""
        last = self.statuses[-1].get('contacts', 0) if self.statuses else 0
        return int(self.done.get('contacts', last) or 0)

    @property
    def distance(self) -> float:
        """Length of the driven path, m."""
        track = self.track
        return float(np.hypot(*np.diff(track[:, 1:3], axis=0).T).sum()) if len(track) > 1 else 0.0

    @property
    def passed(self) -> bool:
        """Every goal reached and nothing touched."""
        return self.reached == len(self.goals) and self.contacts == 0

    def result(self, report: str = '') -> dict[str, Any]:
        """The machine-readable result of the episode, as doc/results.md describes it."""
        return {
            'goals': len(self.goals), 'reached': self.reached, 'contacts': self.contacts,
            'seconds': round(self.seconds, 2), 'latency_ms': self.done.get('latency_ms', {}),
            'missed_observations': int(self.done.get('missed_observations', 0)),
            'interventions': int(self.done.get('interventions', 0)),
            'report': report,
        }


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """p50, p99 and max; empty where there is no value."""
    sample = np.array([v for v in values if math.isfinite(v)])
    if sample.size == 0:
        return {}
    p50, p99 = np.percentile(sample, (50, 99))
    return {'p50': round(float(p50), 3), 'p99': round(float(p99), 3),
            'max': round(float(sample.max()), 3)}


def combined(results: Mapping[Any, Mapping[str, Any]], latencies: Iterable[float],
             report: str, part: str = 'seed') -> dict[str, Any]:
    """One result over several seeds, or of several robots; `seeds` or `robots` lists theirs."""
    total = {key: sum(int(result[key]) for result in results.values())
             for key in ('goals', 'reached', 'contacts', 'missed_observations', 'interventions')}
    return {
        'goals': total['goals'], 'reached': total['reached'], 'contacts': total['contacts'],
        'seconds': round(sum(float(result['seconds']) for result in results.values()), 2),
        'latency_ms': percentiles(latencies),
        'missed_observations': total['missed_observations'],
        'interventions': total['interventions'], 'report': report,
        f'{part}s': [{part: name, **result} for name, result in results.items()],
    }


def goals_in_odom(world: World, count: int) -> list[tuple[float, float]]:
    """The first `count` goals of a world seen from its start: odom starts there at (0, 0, 0)."""
    points = to_frame(np.asarray(world.goals[:count]), world.start)
    return [(float(x), float(y)) for x, y in points]


def body_outline(polygon: NDArray[np.float64], x: float, y: float, yaw: float
                 ) -> NDArray[np.float64]:
    """The footprint at a pose. Shape: (n, 2) m base -> (n, 2) m world."""
    return from_frame(polygon, Pose2(x, y, yaw))

"""Episodes in MuJoCo through the rooms that the nodes wrap, one robot, faster than real time.

The same worlds, legs and seeds as in the batched world, but contact physics with skid steer, the
rendered camera, the real encoder and the whole controller. The result does not depend on the load:
time is simulated and delays are drawn from recorded ones by the seed of the episode.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path

from karpathy_control.bringup.robots import RobotProfile
from karpathy_control.contracts.config import RobotConfig
from karpathy_control.evaluation.batched import MOVED
from karpathy_control.evaluation.inprocess import InProcessLoop, LoopConfig, Outcome
from karpathy_control.evaluation.ledger import Ledger
from karpathy_control.evaluation.policies import GUIDANCE, load_policy, weights_of
from karpathy_control.evaluation.suites import TRACK, Result, Suite, as_driven
from karpathy_control.worlds.robot import load_robot

_CAUSES = {'reached': 'success', 'reached_by_odometry_only': 'lost', 'blocked': 'timeout'}
_SEEDS = 2**31  # of the simulator's noise


@dataclass(frozen=True)
class Job:
    """All that the episodes of a suite need, so that any process can drive any of them."""

    suite: Suite
    policy: str  # a name that evaluation.policies knows
    profile: RobotProfile
    robot: RobotConfig
    encoder: Path  # weight file
    device: str = 'cpu'
    config: LoopConfig = field(default_factory=LoopConfig)


def run(job: Job, *, workers: int = 1, ledger: Ledger | None = None,
        advanced: Callable[[int], None] | None = None) -> list[Result]:
    """Drive every episode; the results do not depend on the number of workers (processes).

    ledger: where finished episodes are kept, and those of before are read. `advanced` is called
    with how many have ended.
    """
    ledger = ledger or Ledger(None, {}, '')
    found = {int(entry.pop('number')): Result(**entry) for entry in ledger.entries}
    left = [number for number in range(len(job.suite.episodes)) if number not in found]

    def keep(results: Iterable[Result]) -> None:
        for number, result in zip(left, results, strict=True):
            found[number] = result
            ledger.add({'number': number, **asdict(result)})
            if advanced is not None:
                advanced(len(found))

    if workers == 1:
        keep(episode(job, number) for number in left)
    else:
        with ProcessPoolExecutor(workers, get_context('spawn'), _begin, (job,)) as pool:
            keep(pool.map(_episode_of_job, left))
    return [found[number] for number in range(len(job.suite.episodes))]


_jobs: list[Job] = []  # of this worker: one, sent once and not with every episode


def _begin(job: Job) -> None:
    _jobs[:] = [job]


def _episode_of_job(number: int) -> Result:
    return episode(_jobs[0], number)


def episode(job: Job, number: int) -> Result:
    """Drive one episode from its world, leg and seed alone."""
    assert job.profile.description is not None  # whoever calls has refused a profile without
    e, protocol = job.suite.episodes[number], job.suite.protocol
    world = as_driven(job.suite, e)
    actor = weights_of(job.policy)
    other = (None if actor is not None or job.policy == GUIDANCE
             else load_policy(job.policy, job.robot, job.device))
    loop = InProcessLoop(world, job.config.with_robot(job.robot, e.seed % _SEEDS),
                         _description(job.profile.description), job.encoder, actor, instead=other)
    try:
        found = loop.drive(world.goals[0], protocol.episode_time, protocol.reach)
    finally:
        loop.close()
    waited = _waited(found) if protocol.scored else 0.0
    return Result(_CAUSES.get(found.outcome, found.outcome), found.seconds - waited, found.moving,
                  waited, _track(found),
                  found.person if math.isfinite(found.person) else None)


_description = functools.cache(load_robot)  # expanded once for all episodes


def _track(drive: Outcome) -> list[list[float]]:
    """True places every TRACK s and at the end, m."""
    kept, due = [], -math.inf
    for k, (t, x, y, _) in enumerate(drive.track):
        if t >= due - 1e-9 or k == len(drive.track) - 1:
            kept.append([round(x, 3), round(y, 3)])
            due = t + TRACK
    return kept


def _waited(drive: Outcome) -> float:
    """Seconds until the robot had moved by MOVED."""
    start, x, y, _ = drive.track[0]
    return next((t - start for t, px, py, _ in drive.track
                 if math.hypot(px - x, py - y) > MOVED), drive.seconds)

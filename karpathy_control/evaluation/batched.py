"""Episodes in the batched world, many side by side: the node's own gate, deliberation, actor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.evaluation.suites import TRACK, Result, Suite, leg_of
from karpathy_control.learning.loop import REACHED_ERROR, ClosedLoop
from karpathy_control.policy.situation import Policy
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.variation import Variation

BATCH = 128
# What an ablation leaves out, as an option of learning.loop.ClosedLoop.
PARTS_OF_LOOP = {'gate': 'gate', 'camera': 'camera', 'memory': 'memory', 'map': 'route',
                 'forecast': 'forecast'}
MOVED = 0.1  # m: where a scored protocol starts its clock


def run(suite: Suite, policy: Policy, control: ControlConfig, config: PolicyConfig,
        variation: Variation | None = None, *, ablate: Sequence[str] = (),
        advanced: Callable[[int], None] | None = None) -> list[Result]:
    """Drive every episode of a suite to its end. `advanced` is called with how many have ended.

    ablate: names in PARTS_OF_LOOP; `reflex` among them changes nothing, it is another policy.
    """
    episodes, protocol = suite.episodes, suite.protocol
    bank = pack(suite.worlds)
    batch = min(BATCH, len(episodes))
    loop = ClosedLoop(bank, batch, control, config, variation, protocol.episode_time,
                      reach=protocol.reach,
                      **{PARTS_OF_LOOP[name]: False for name in ablate if name in PARTS_OF_LOOP})
    results: list[Result | None] = [None] * len(episodes)
    running = np.arange(batch)  # episode of each slot, -1 where there is none left
    waiting = batch
    start = np.zeros((batch, 2))
    waited = np.zeros(batch)  # s until the robot had moved; the whole time where it has not
    tracks: list[list[list[float]]] = [[] for _ in range(batch)]
    person = np.full(batch, np.inf)  # m, the least distance to a person so far
    seen = np.zeros(batch)  # s, of the newest place of each track

    def begin(slots: NDArray[np.integer]) -> None:
        chosen = [episodes[running[slot]] for slot in slots]
        loop.begin(slots, [leg_of(bank, e) for e in chosen], [e.seed for e in chosen])
        start[slots] = loop.world.true_pose[slots, :2]
        waited[slots] = np.inf
        seen[slots] = 0.0
        person[slots] = loop.world.person_distance[slots]
        for slot in slots:
            tracks[slot] = [_place(start[slot])]

    begin(np.arange(batch))
    done = 0
    while done < len(episodes):
        outcome = loop.advance(policy(loop.situation()))
        world = loop.world
        moved = np.linalg.norm(world.true_pose[:, :2] - start, axis=1) > MOVED
        np.minimum(waited, np.where(moved, world.time, np.inf), out=waited)
        np.minimum(person, world.person_distance, out=person)
        due = (world.time - seen >= TRACK - 1e-9) | outcome.done
        for slot in np.flatnonzero(due & (running >= 0)):
            seen[slot] = world.time[slot]
            tracks[slot].append(_place(world.true_pose[slot]))
        lost = ((loop.true_error() > config.goal_tolerance + REACHED_ERROR)
                if protocol.reach is None else np.zeros(batch, np.bool_))
        free = []
        for slot in np.flatnonzero(outcome.done & (running >= 0)):
            cause = ('contact' if outcome.contact[slot] else 'timeout' if outcome.late[slot]
                     else 'lost' if lost[slot] else 'success')
            time = float(world.time[slot])
            before = min(float(waited[slot]), time) if protocol.scored else 0.0
            results[running[slot]] = Result(cause, time - before,
                                            bool(world.contact_speed[slot] > 0.02), before,
                                            tracks[slot], float(person[slot])
                                            if np.isfinite(person[slot]) else None)
            done += 1
            running[slot] = waiting if waiting < len(episodes) else -1
            if running[slot] >= 0:
                waiting += 1
                free.append(slot)
        begin(np.array(free, np.int64))
        if advanced is not None:
            advanced(done)
    return [result for result in results if result is not None]


def _place(pose: NDArray[np.float64]) -> list[float]:
    """X and y in m, as many digits as a picture shows."""
    return [round(float(pose[0]), 3), round(float(pose[1]), 3)]


def compare(suite: Suite, policies: dict[str, Policy], control: ControlConfig,
            config: PolicyConfig, variation: Variation | None = None,
            console: Console | None = None, *, ablate: Sequence[str] = ()
            ) -> dict[str, list[Result]]:
    """Drive several policies through the very same episodes of a suite."""
    found = {}
    with Progress(console=console or Console(stderr=True), transient=True) as progress:
        for name, policy in policies.items():
            task = progress.add_task(f'{suite.name}: {name}', total=len(suite.episodes))
            found[name] = run(suite, policy, control, config, variation, ablate=ablate,
                              advanced=lambda n, task=task: progress.update(  # type: ignore[misc]
                                  task, completed=n))
    return found

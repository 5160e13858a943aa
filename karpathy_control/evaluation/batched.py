"""Episodes in the batched world, many side by side: the node's own gate, deliberation, actor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.contracts.world import World
from karpathy_control.evaluation.suites import Episode, Result, make_plan
from karpathy_control.learning.loop import REACHED_ERROR, ClosedLoop, choose_leg
from karpathy_control.policy.deliberation import Features
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.variation import Variation

BATCH = 128
GUIDANCE = 'guidance'  # the cost-to-go's own command, without the reflex
SHIPPED = 'reflex'  # the weights in the weights folder

Policy = Callable[[Features], NDArray[np.floating]]


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


def compare(suite: str, policies: dict[str, Policy], episodes: int, seed: int,
            control: ControlConfig, config: PolicyConfig, variation: Variation | None = None,
            console: Console | None = None, *, gate: bool = True,
            camera: bool = True) -> tuple[list[World], list[Episode], dict[str, list[Result]]]:
    """Drive several policies through the very same episodes of a suite's unseen worlds."""
    worlds, plan = make_plan(suite, episodes, seed)
    found = {}
    with Progress(console=console or Console(stderr=True), transient=True) as progress:
        for name, policy in policies.items():
            task = progress.add_task(f'{suite}: {name}', total=episodes)
            found[name] = run(
                worlds, plan, policy, control, config, variation, gate=gate, camera=camera,
                advanced=lambda n, task=task: progress.update(  # type: ignore[misc]
                    task, completed=n))
    return worlds, plan, found

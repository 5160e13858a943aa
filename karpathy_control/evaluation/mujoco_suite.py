"""Episodes in MuJoCo through the rooms that the nodes wrap, one robot, faster than real time.

The same worlds, legs and seeds as in the batched world, but contact physics with skid steer, the
rendered camera, the real encoder and the whole controller. The result does not depend on the load:
time is simulated and the delay of an action is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import RobotProfile
from karpathy_control.contracts.config import RobotConfig, from_mapping
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import World
from karpathy_control.evaluation.inprocess import InProcessLoop, LoopConfig
from karpathy_control.evaluation.suites import Episode, Result
from karpathy_control.learning.loop import choose_leg
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.robot import load_robot

_CAUSES = {'reached': 'success', 'reached_by_odometry_only': 'lost', 'blocked': 'timeout'}
_SEEDS = 2**31  # of the simulator's noise


def robot_of(profile: RobotProfile, changes: dict[str, object]) -> RobotConfig:
    """The robot of a profile, with changes by name without `robot.`."""
    prefix = len('robot.')
    values = {name[prefix:]: value for name, value in profile.parameters.items()}
    return from_mapping(RobotConfig, {**values, **changes})


def run(worlds: Sequence[World], episodes: Sequence[Episode], actor: Path | None,
        profile: RobotProfile, robot: RobotConfig, config: LoopConfig | None = None, *,
        episode_time: float = 60.0, advanced: Callable[[int], None] | None = None
        ) -> list[Result]:
    """Drive every episode to its end; `actor` None follows the cost-to-go alone."""
    assert profile.description is not None  # whoever calls has refused a profile without
    description = load_robot(profile.description)
    bank = pack(worlds)
    encoder = find('weights', 'encoder.safetensors')
    results = []
    for number, e in enumerate(episodes, 1):
        leg = choose_leg(bank, e.world, e.leg, np.random.default_rng([e.seed, 3]))
        world = replace(worlds[e.world], start=Pose2(*leg.start))
        loop = InProcessLoop(world, (config or LoopConfig()).with_robot(robot, e.seed % _SEEDS),
                             description, encoder, actor)
        try:
            found = loop.drive(leg.goal, episode_time)
        finally:
            loop.close()
        results.append(Result(_CAUSES.get(found.outcome, found.outcome), found.seconds,
                              found.moving))
        if advanced is not None:
            advanced(number)
    return results

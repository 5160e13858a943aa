"""Episodes in MuJoCo through the rooms that the nodes wrap, one robot, faster than real time.

The same worlds, legs and seeds as in the batched world, but contact physics with skid steer, the
rendered camera, the real encoder and the whole controller. The result does not depend on the load:
time is simulated and the delay of an action is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import RobotProfile
from karpathy_control.contracts.config import RobotConfig, from_mapping
from karpathy_control.evaluation.batched import MOVED
from karpathy_control.evaluation.inprocess import InProcessLoop, LoopConfig, Outcome
from karpathy_control.evaluation.suites import Result, Suite, as_driven
from karpathy_control.policy.situation import Policy
from karpathy_control.worlds.robot import load_robot

_CAUSES = {'reached': 'success', 'reached_by_odometry_only': 'lost', 'blocked': 'timeout'}
_SEEDS = 2**31  # of the simulator's noise


def robot_of(profile: RobotProfile, changes: dict[str, object]) -> RobotConfig:
    """The robot of a profile, with changes by name without `robot.`."""
    prefix = len('robot.')
    values = {name[prefix:]: value for name, value in profile.parameters.items()}
    return from_mapping(RobotConfig, {**values, **changes})


def run(suite: Suite, actor: Path | None, profile: RobotProfile, robot: RobotConfig,
        config: LoopConfig | None = None, *, instead: Policy | None = None,
        advanced: Callable[[int], None] | None = None) -> list[Result]:
    """Drive every episode of a suite to its end.

    `actor` None follows the cost-to-go alone, or `instead` where another policy is given.
    """
    assert profile.description is not None  # whoever calls has refused a profile without
    description = load_robot(profile.description)
    encoder = find('weights', 'encoder.safetensors')
    protocol = suite.protocol
    results = []
    for number, e in enumerate(suite.episodes, 1):
        world = as_driven(suite, e)
        loop = InProcessLoop(world, (config or LoopConfig()).with_robot(robot, e.seed % _SEEDS),
                             description, encoder, actor, instead=instead)
        try:
            found = loop.drive(world.goals[0], protocol.episode_time, protocol.reach)
        finally:
            loop.close()
        waited = _waited(found) if protocol.scored else 0.0
        results.append(Result(_CAUSES.get(found.outcome, found.outcome), found.seconds - waited,
                              found.moving, waited))
        if advanced is not None:
            advanced(number)
    return results


def _waited(drive: Outcome) -> float:
    """Seconds until the robot had moved by MOVED."""
    start, x, y, _ = drive.track[0]
    return next((t - start for t, px, py, _ in drive.track
                 if math.hypot(px - x, py - y) > MOVED), drive.seconds)

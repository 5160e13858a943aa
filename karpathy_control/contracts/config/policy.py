"""Parameters of the `policy` node."""

from __future__ import annotations

from dataclasses import dataclass

from karpathy_control.contracts.config.core import group, parameter
from karpathy_control.contracts.config.robot import RobotConfig


@dataclass(frozen=True)
class MemoryConfig:
    """The rolling occupancy memory and the cost-to-go over it."""

    cell: float = parameter(0.1, 'cell size', unit='m', minimum=0.02, maximum=0.5)
    width: int = parameter(192, 'cells along each side of the window', minimum=32, maximum=512)
    clearance: float = parameter(0.25, 'beyond the inscribed radius and the margin of '
                                 '0.045 m, distance over which closeness costs',
                                 unit='m', minimum=0.0, maximum=2.0)
    clearance_weight: float = parameter(2.0, 'extra cost of a cell where that distance begins, '
                                        'as a multiple of its length', minimum=0.0, maximum=50.0)
    unknown_weight: float = parameter(0.2, 'extra cost of a cell nobody saw, as a multiple of '
                                      'its length', minimum=0.0, maximum=50.0)


@dataclass(frozen=True)
class PolicyConfig:
    """Deliberation (memory, cost-to-go) and reflex (learned actor)."""

    autostart: bool = parameter(True, 'configure and activate without a manager')
    robot: RobotConfig = group(RobotConfig)
    memory: MemoryConfig = group(MemoryConfig)
    weights: str = parameter('actor.safetensors', 'weight file: a name in the installed weights '
                             'folder or a path; its .json card lies beside it')
    device: str = parameter('cpu', 'torch device: cpu, cuda or cuda:N; one that is not there is '
                            'an error')
    reflex: bool = parameter(True, 'false: follow the cost-to-go alone', live=True)
    goal_tolerance: float = parameter(0.3, 'within this of the goal the policy proposes zero',
                                      unit='m', minimum=0.05, maximum=2.0, live=True)
    fallback_after: float = parameter(4.0, 'where in so long a time less than half of the '
                                      'observations had entities, the policy goes on by scan and '
                                      'map alone', unit='s', minimum=0.2, maximum=60.0,
                                      live=True)
    replan_every: int = parameter(4, 'deliberation starts every so many observations',
                                  minimum=1, maximum=100, live=True)
    replan_delay: int = parameter(2, 'its result is used so many observations after its start',
                                  minimum=0, maximum=100)

"""Gates for tests in plain Python: few candidates, open space, a configuration of odd numbers."""

import math

import numpy as np

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.control.gate import Gate

NAN, INF = math.nan, math.inf
FEW = {'gate.speed_steps': 3, 'gate.turn_steps': 3}
ODD = {
    'robot.footprint': [0.3, 0.2, -0.2, 0.25, -0.2, -0.25, 0.3, -0.2], 'robot.acceleration': 1.5,
    'robot.deceleration': 2.25, 'robot.turn_acceleration': 5.0, 'robot.max_speed': 1.1,
    'robot.max_reverse': 0.25, 'robot.max_turn': 1.75, 'robot.jerk': 15.0,
    'robot.max_lateral_acceleration': 3.5, 'robot.max_curvature': 2.0,
    'robot.lidar_pose': [0.1, 0.05, 0.3, 0.0, 0.0, 0.0], 'gate.margin': 0.04,
    'gate.reaction_time': 0.1, 'robot.fault_budget': 0.2, 'gate.obstacle_speed': 0.3,
    'gate.drift_per_metre': 0.02, 'gate.drift_per_radian': 0.03, 'gate.occlusion': True,
    'gate.least_width': 0.05, 'gate.speed_steps': 5, 'gate.turn_steps': 7,
    'gate.start_radius': 0.4, 'gate.memory_time': 15.0}


def config(**changes):
    return from_mapping(ControlConfig, FEW | {k.replace('__', '.'): v for k, v in changes.items()})


def open_gate(batch=1, **changes):
    """A gate in space that was seen free for ever."""
    gate = Gate(config(**changes), batch, 64)
    for b in range(batch):
        gate.forget(b, disc=False)
    gate.filter(np.zeros((batch, 3)), np.zeros((batch, 2)), np.full((batch, 2), NAN), 0.0)
    gate.reset()
    gate._memory.started[:] = True
    gate._memory.origin[:] = -32
    gate._memory.free_seen[:] = 1e6
    gate._memory.travel_slot[:] = 0
    return gate

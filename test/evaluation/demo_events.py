"""Events as the observer prints them, for a robot that drives straight from goal to goal."""

import math

import numpy as np

from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, World

WORLD = World('mixed', 3, (-5.0, -5.0, 5.0, 5.0), Pose2(1.0, 2.0, math.pi / 2),
              ((1.0, 4.0), (-2.0, 4.0), (-2.0, -3.0)),
              cylinders=(Cylinder(3, 3, 0.4), Cylinder(0, 0, 0.3, 0.0, 0.15),
                         Cylinder(2, -2, 0.5, 0.4, 1.0), Cylinder(-4, -4, 0.5, 1.2, 2.0)),
              boxes=(Box(-4, 0, 0.5, 0.2, 0.7), Box(4, -4, 0.3, 0.3, 0.0, 0.0, 0.2)),
              movers=(Mover.patrol(((3.0, 0.0), (4.0, 0.0)), 0.5, 0.3),))


def events(outcomes=('reached', 'reached', 'reached'), contacts=0):
    """One episode in WORLD, as dictionaries in the order of printing."""
    track, t, x, y = [], 100.0, WORLD.start.x, WORLD.start.y
    for index, ((gx, gy), outcome) in enumerate(zip(WORLD.goals, outcomes, strict=True)):
        yaw = math.atan2(gy - y, gx - x)
        for f in np.linspace(0, 1, 20):
            track.append([t, x + f * (gx - x), y + f * (gy - y), yaw, 0.8, 0.1,
                          int(0.4 < f < 0.6)])
            t += 0.05
        x, y = gx, gy
        yield {'event': 'status', 't': t - 100, 'x': x, 'y': y, 'yaw': yaw, 'v': 0.8, 'w': 0.1,
               'goal_index': index, 'goal': [gx, gy], 'distance': 0.4, 'mode': 'autonomous',
               'reasons': ['gate_limited'], 'contacts': contacts, 'interventions': index,
               'latency_ms': 9.5 if index else None, 'missed': 0, 'observed': 20 * index}
        yield {'event': 'goal', 'index': index, 'outcome': outcome, 'seconds': 2.5}
    yield {'event': 'done', 'latency_ms': {'p50': 9.0, 'p99': 12.0, 'max': 15.0},
           'latencies': [9.0] * 50 + [15.0],
           'stages_ms': {'sensor': {'p50': 1.0, 'p99': 2.0, 'max': 3.0}, 'policy': {}},
           'missed_observations': 1, 'published_observations': 60, 'interventions': 3,
           'contacts': contacts, 'reached': 3, 'track': track}

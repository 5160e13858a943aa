"""A controller with messages at given times, on scans that plain Python can afford."""

import math
from dataclasses import replace

import numpy as np

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.contracts.layout import ENTITY_FIELDS
from karpathy_control.contracts.types import Action, Command, DepthPoints, RawScan, State
from karpathy_control.control.controller import Controller

S = 1_000_000_000
MS = 1_000_000
NAN, INF = math.nan, math.inf
START = 100 * S  # stamps
SHIFT = 93 * S  # by which the steady clock is behind them
PLAIN = {'gate.least_width': 1.0, 'gate.speed_steps': 3, 'gate.turn_steps': 3}


def config(**changes):
    return from_mapping(ControlConfig, PLAIN | {
        name.replace('__', '.'): value for name, value in changes.items()})


class Loop:
    """A controller and messages at given times; `time` in ms since START."""

    def __init__(self, settings=None, rules=None, sim_time=False):
        self.controller = Controller(settings or config(), *([] if rules is None else [rules]))
        self.time, self.sim_time = 0, sim_time

    @property
    def now(self):
        return START + self.time * MS

    @property
    def steady(self):
        return self.now - SHIFT

    def odom(self, x=0.0, y=0.0, yaw=0.0, v=0.0, w=0.0):
        self.controller.on_odom(State(self.now, x, y, yaw, v, w), self.steady)

    def scan(self, ranges=None, **changes):
        beams = np.full(24, INF, np.float32) if ranges is None else np.array(ranges, np.float32)
        scan = RawScan(self.now, -math.pi, 2 * math.pi / len(beams), 0.1, 5.0, beams)
        self.controller.on_scan(replace(scan, **changes), self.steady)

    def depth(self, *points, kind=DepthPoints.OBSTACLE):
        xyz = np.array([(*p, 0.2) for p in points], np.float32).reshape(-1, 3)
        self.controller.on_depth_points(DepthPoints(
            self.now, xyz, np.full(len(xyz), kind, np.float32), (0.19, 0.0)), self.steady)

    def action(self, v=0.3, w=0.0):
        self.controller.on_action(Action(self.now, Command(v, w)), self.steady)

    def entities(self, table=None, unsure=False):
        table = np.zeros((2, len(ENTITY_FIELDS)), np.float32) if table is None else table
        self.controller.on_entities(table, unsure, self.now, self.steady)

    def everything(self, v=0.3, w=0.0, speed=0.0):
        self.odom(v=speed)
        self.scan()
        self.depth()
        self.entities()
        self.action(v, w)

    def tick(self, later=0):
        self.time += later
        return self.controller.tick(self.now, self.steady, self.sim_time)


def ready(settings=None):
    """All inputs fresh and a goal ahead."""
    made = Loop(settings)
    made.everything()
    made.controller.on_goal(9.0, 0.0)
    return made


def memory(loop):
    return loop.controller._gate._memory

"""A robot of numbers for tests of the controller: a perfect base in open space, every sensor."""

import math
from dataclasses import replace

import numpy as np

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.layout import ENTITY_FIELDS, SCAN_BEAMS, SECTORS
from karpathy_control.contracts.modes import Mode
from karpathy_control.contracts.types import (
    Action,
    Command,
    DepthPoints,
    ImuSample,
    RawScan,
    Scan,
    State,
)
from karpathy_control.control.controller import Controller
from karpathy_control.control.rules import EMPTY

S = 1_000_000_000
MS = 1_000_000


class Robot:
    """A perfect base in open space with every sensor; `off` names the inputs that are silent."""

    def __init__(self, config=None, sim_time=True, rules=EMPTY):
        self.controller = Controller(config or ControlConfig(), rules)
        self.sim_time = sim_time
        self.now, self.steady = 1000 * S, 50 * S
        self.x = self.y = self.yaw = 0.0
        self.command = Command()
        self.wish = Command(0.5, 0.0)
        self.off = {'teleop', 'camera_scan', 'imu'}
        self.decision = None
        self.clock_runs = True
        self.wall = math.inf  # m, x of a wall across the way
        self.teleop = Command(0.2, 0.3)
        self.gyro = 0.0  # rad/s that the IMU says beyond the truth
        self.imu_frozen = False
        self.odom = lambda state: state  # what becomes of it on the way
        self.unsure = False
        self.entities = np.zeros((SECTORS, len(ENTITY_FIELDS)), np.float32)
        self.frozen = None  # the scan that comes again and again
        self.ticks = 0

    def scan(self):
        bearings = -math.pi + (np.arange(720) + 0.5) * (2 * math.pi / 720)
        ahead = np.cos(bearings + self.yaw)
        ranges = np.where(ahead > 0.05, (self.wall - self.x - 0.055) / np.maximum(ahead, 0.05),
                          np.inf)
        return RawScan(self.now, float(bearings[0]), 2 * math.pi / 720, 0.1, 10.0,
                       ranges.astype(np.float32))

    def depth(self):
        free = [(2.5 * math.cos(a), 2.5 * math.sin(a), 0.0) for a in np.linspace(-0.7, 0.7, 81)]
        return DepthPoints(self.now, np.array(free, np.float32),
                           np.full(81, DepthPoints.FREE, np.float32), (0.19, 0.0))

    def step(self, n=1):
        """n ticks of 10 ms; IMU at 100 Hz, odometry at 50 Hz, the rest at 20 Hz."""
        for _ in range(n):
            self.steady += 10 * MS
            if self.clock_runs:
                self.now += 10 * MS
                v, w = self.command.v, self.command.w
                self.x += 0.01 * v * math.cos(self.yaw)
                self.y += 0.01 * v * math.sin(self.yaw)
                self.yaw += 0.01 * w
            c, r = self.controller, self.steady
            if self.clock_runs:
                c.on_clock(self.now, r)
                if self.ticks % 2 == 0 and 'odom' not in self.off:
                    state = State(self.now, self.x, self.y, self.yaw, self.command.v,
                                  self.command.w)
                    c.on_odom(self.odom(state), r)
                if 'imu' not in self.off:
                    shaken = 0.0 if self.imu_frozen else 1e-3 * (self.ticks % 7)
                    c.on_imu(ImuSample(self.now, (0.0, 0.0, self.command.w + self.gyro),
                                       (0.0, 0.0, 9.81 + shaken)), r)
                if self.ticks % 5 == 0:
                    self.sense(c, r)
            self.ticks += 1
            self.decision = c.tick(self.now, self.steady, self.sim_time)
            self.command = self.decision.command
        return self.decision

    def sense(self, c, r):
        if 'scan' not in self.off:
            scan = self.scan()
            c.on_scan(scan if self.frozen is None else replace(self.frozen, stamp=self.now), r)
        if 'depth' not in self.off:
            c.on_depth_points(self.depth(), r)
        if 'camera_scan' not in self.off:
            c.on_camera_scan(Scan(self.now, np.full(SCAN_BEAMS, np.nan, np.float32), 10.0), r)
        if 'observation' not in self.off:
            c.on_observation(self.now, r)
        if 'entities' not in self.off:
            c.on_entities(self.entities, self.unsure, self.now, r)
        if 'action' not in self.off:
            c.on_action(Action(self.now, self.wish), r)
        if 'teleop' not in self.off:
            c.on_teleop(self.teleop, None, r)

    def until_zero(self, limit=100):
        """Ticks until zero is commanded, in seconds."""
        for k in range(limit):
            self.step()
            if self.command == Command():
                return 0.01 * (k + 1)
        raise AssertionError(f'still {self.command} after {0.01 * limit} s')


def driving_robot(**arguments):
    """A robot on its way along x at 0.5 m/s."""
    robot = Robot(**arguments)
    robot.step(10)
    robot.controller.on_goal(50.0, 0.0)
    robot.step(60)
    assert robot.decision.mode is Mode.AUTONOMOUS
    assert abs(robot.command.v - 0.5) < 1e-9
    return robot

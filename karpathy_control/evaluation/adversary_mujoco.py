"""Hostile episodes with MuJoCo's physics and the controller of the node, one robot at a time.

Skid steer slips and drifts by itself; on top come delay to the wheels, noise, lost beams, lost
scans and lost odometry. The proposals go in as teleoperation, which passes the same gate.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque

import numba
import numpy as np
from numpy.typing import NDArray

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ControlConfig, SimConfig, from_mapping
from karpathy_control.contracts.layout import SCAN_BEAMS, scan_bearings
from karpathy_control.contracts.modes import Reason
from karpathy_control.contracts.types import Command, Pose2, RawScan
from karpathy_control.contracts.world import World
from karpathy_control.control.controller import Controller
from karpathy_control.evaluation.adversary_batch import EPISODE, Tally
from karpathy_control.evaluation.adversary_commands import STRATEGIES, Hostile
from karpathy_control.evaluation.adversary_worlds import (
    PER_WORLD,
    make_start,
    make_world,
    scene_of,
)
from karpathy_control.evaluation.continuous import first_touch
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import RobotDescription, load_robot

TICK = 0.02  # s, of the controller
PROPOSAL = 0.05  # s between two proposals, and between two scans
SLOWEST = 0.04  # s a command takes to the wheels at most; the motors take as long again
LOST = {'scan': 0.03, 'odom': 0.03, 'beam': 0.03}  # greatest shares
DRIFT = 0.003  # standard deviation of the scale errors: a third of what the gate allows for
_REASONS = Reason.GATE_LIMITED, Reason.GATE_BRAKING, Reason.UNAVOIDABLE  # status 1 to 3


def run(seed: int, first: int, count: int, control: ControlConfig) -> Tally:
    """Episodes `first` to `first + count` of a run."""
    numba.set_num_threads(1)  # a second one would only wait for the first: there is one robot
    robot = load_robot(find('description', 'jackal.urdf.xacro'))
    tally = Tally()
    for episode in range(first, first + count):
        _Episode(seed, episode, control, robot).drive(tally)
    return tally


class _Episode:
    """One robot, one stream, with the gate and then without."""

    def __init__(self, seed: int, number: int, control: ControlConfig,
                 robot: RobotDescription) -> None:
        self._number, self._control, self._robot = number, control, robot
        world = make_world(seed, number // PER_WORLD, 'mujoco', control)
        self._scene = scene_of(world, control)
        self._rng = rng = np.random.default_rng([seed, number, 13])
        start = make_start(world, self._scene, rng, control)
        self._world: World = dataclasses.replace(world, start=Pose2(*start))
        self._sim = from_mapping(SimConfig, {
            'seed': int(rng.integers(2**31)), 'lidar.noise': float(rng.uniform(0.0, 0.01)),
            'odometry.drift_per_metre': DRIFT, 'odometry.drift_per_radian': DRIFT})
        self._delay = float(rng.uniform(0.0, SLOWEST))
        self._lost = {name: most * float(rng.random()) for name, most in LOST.items()}
        self._hostile = Hostile(1, control.robot)
        self._hostile.begin(rng.integers(2**63, size=1, dtype=np.uint64))

    def drive(self, tally: Tally) -> None:
        """Run to the end or to a contact, and add what happened."""
        sim = MujocoWorld(self._world, self._sim, self._robot)
        controller = Controller(self._control)
        bank, zero = pack([self._world]), np.zeros(1, np.int64)
        dt = self._sim.physics_step
        steps, tick, propose = (round(t / dt) for t in (EPISODE, TICK, PROPOSAL))
        way: deque[Command] = deque([Command()] * (1 + round(self._delay / dt)))
        command, view = Command(), np.full((1, SCAN_BEAMS), np.nan, np.float32)
        poses = np.empty((steps + 1, 3))
        poses[0] = _pose(sim)
        proposals: list[Command] = []
        strategy = 0
        n = steps
        for k in range(steps):
            if k % tick == 0:
                controller.on_clock(sim.stamp, sim.stamp)
                if self._rng.random() >= self._lost['odom']:
                    controller.on_odom(sim.odometry(), sim.stamp)
            if k % propose == 0:
                scan = self._scan(sim)
                if self._rng.random() >= self._lost['scan']:
                    controller.on_scan(scan, sim.stamp)
                view[0] = _around(scan)
                wish = self._hostile.propose(bank, zero, poses[k:k + 1], view,
                                             np.zeros((1, 0, 2)))[0]
                strategy = int(self._hostile.strategy[0])
                proposals.append(Command(float(wish[0]), float(wish[1])))
                controller.on_teleop(proposals[-1], sim.stamp, sim.stamp)
            if k % tick == 0:
                decision = controller.tick(sim.stamp, sim.stamp, True)
                command = decision.command
                tally.commands += 1
                tally.status[next((k for k, reason in enumerate(_REASONS, 1)
                                   if reason in decision.reasons), 0)] += 1
            way.append(command)
            sim.step(way.popleft())
            poses[k + 1] = _pose(sim)
            if sim.contacts:
                n = k + 1
                break
        poses = poses[:n + 1]
        touch = first_touch(self._control.robot.polygon, self._scene, poses, dt)
        if touch.kind or sim.contacts:
            tally.contacts.append({
                'episode': self._number, 'world': self._number // PER_WORLD, 'kind': 'static',
                'fault': True, 'time': round(min(touch.time, n * dt), 3),
                'strategy': STRATEGIES[strategy]})
        along = poses[::propose, :2]
        tally.travel.append(round(float(np.linalg.norm(np.diff(along, axis=0), axis=1).sum()), 2))
        tally.provocative += int(self._bare(proposals, propose))
        tally.episodes += 1

    def _bare(self, proposals: list[Command], propose: int) -> bool:
        """Whether the same proposals touch something with the gate off."""
        sim = MujocoWorld(self._world, self._sim, self._robot)
        dt = self._sim.physics_step
        way: deque[Command] = deque([Command()] * (1 + round(self._delay / dt)))
        for wish in proposals:
            for _ in range(propose):
                way.append(wish)
                sim.step(way.popleft())
                if sim.contacts:
                    return True
        return False

    def _scan(self, sim: MujocoWorld) -> RawScan:
        """A scan with some beams lost."""
        scan = sim.lidar()
        ranges = scan.ranges.copy()
        ranges[self._rng.random(len(ranges)) < self._lost['beam']] = np.nan
        return dataclasses.replace(scan, ranges=ranges)


def _pose(sim: MujocoWorld) -> NDArray[np.float64]:
    state = sim.true_state()
    return np.array((state.x, state.y, state.yaw))


def _around(scan: RawScan) -> NDArray[np.float32]:
    """The nearest beam of each bearing of the observation layout; NaN where nobody looks."""
    index = np.rint((scan_bearings() - scan.angle_min) / scan.angle_increment).astype(int)
    seen = (index >= 0) & (index < len(scan.ranges))
    return np.where(seen, scan.ranges[np.clip(index, 0, len(scan.ranges) - 1)],
                    np.float32(math.nan))

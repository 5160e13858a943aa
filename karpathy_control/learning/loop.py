"""The closed loop of a batch: world -> deliberation -> proposal -> gate -> world.

Gate and deliberation are the very objects that the nodes use, with a larger batch. Training and
evaluation both drive this loop, so what is trained is what is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ControlConfig, PerceptionConfig, PolicyConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.control.gate import Gate
from karpathy_control.learning.rewards import Array, Transition, ends
from karpathy_control.perception.motion import load_network
from karpathy_control.perception.tracker import Tracker
from karpathy_control.policy.deliberation import Deliberation, Features
from karpathy_control.policy.situation import Situation, Truth
from karpathy_control.policy.tokens import APPLIED
from karpathy_control.worlds.bank import Bank
from karpathy_control.worlds.batched import CONTROL_STEP, BatchedWorld, Leg
from karpathy_control.worlds.surrogate import SHIPPED, read_surrogate
from karpathy_control.worlds.variation import Variation

REACHED_ERROR = 0.5  # m: arrived by odometry, but farther off than this in truth, is no arrival
RANGE_MIN = 0.05  # m, of the observation scan
BRAKING = 2  # GateResult.status: nothing admissible, the stored braking manoeuvre


@dataclass(frozen=True)
class Outcome:
    """What one step of the loop led to; the terminal causes exclude each other."""

    transition: Transition
    arrived: Array  # (B,) bool
    contact: Array  # (B,) bool
    late: Array  # (B,) bool, the time is up
    status: Array  # (B,) int8, of the gate

    @property
    def done(self) -> Array:
        """Slots whose episode is over and that need `begin`. Shape: (B,)."""
        return self.arrived | self.contact | self.late


class ClosedLoop:
    """B robots, each driving one leg in a world of the bank.

    Call `begin` for every slot, then `features` and `advance` in turn. Without `gate` the
    proposal is applied as it is; without `camera` nobody hears what the camera says, which errs as
    the shipped surrogate was fitted to. As in `control`, the gate takes the depth of a camera that
    has it, and else the learned scan.
    Without `memory` the policy knows what the present scan shows and no more; without `route` it
    plans as if nothing stood in the way. Without `forecast` what moves goes straight on, to it.
    An episode is won where odometry has come within the
    goal tolerance or, with `reach`, where the truth is within that many metres.
    """

    def __init__(self, bank: Bank, batch: int, control: ControlConfig, policy: PolicyConfig,
                 variation: Variation | None = None, episode_time: float = 40.0, *,
                 gate: bool = True, camera: bool = True, memory: bool = True, route: bool = True,
                 forecast: bool = True,
                 reach: float | None = None) -> None:
        self.batch, self.policy = batch, policy
        self.episode_time = episode_time
        self.world = BatchedWorld(bank, batch, policy.robot, variation,
                                  read_surrogate(find('config', SHIPPED)))
        self.gate = Gate(control, batch) if gate else None
        self.camera = camera
        self._memory, self._route, self._reach = memory, route, reach
        self.deliberation = Deliberation(policy, batch)
        self.tracker = Tracker(batch, load_network(
            find('weights', PerceptionConfig().motion_weights)) if forecast else None)
        self.limits = np.array([policy.robot.max_speed, policy.robot.max_turn])
        bearings = scan_bearings()
        self._angle_min = float(bearings[0])
        self._increment = 2.0 * math.pi / SCAN_BEAMS
        self._applied = np.zeros((batch, APPLIED, 2))
        self._goal = np.zeros((batch, 2))  # odom
        self._fresh = np.ones(batch, np.bool_)  # has not been planned for yet
        # robots replan in turn, so that every step costs the same
        self._count = np.arange(batch) % policy.replan_every

    def begin(self, slots: ArrayLike, legs: Sequence[Leg], seeds: ArrayLike) -> None:
        """Start new episodes in `slots`; everything random in them comes from their seeds."""
        index = np.asarray(slots, np.int64).reshape(-1)
        if len(index) == 0:
            return
        self.world.reset(index, list(legs), seeds)
        if self.gate is not None:
            self.gate.reset(index)
        self.deliberation.reset(index)
        self.tracker.reset(index)
        self._applied[index] = 0.0
        self._goal[index] = self.world.goal[index]  # odom is world at the start
        self._fresh[index] = True

    def features(self) -> Features:
        """Observe, deliberate where it is due, and describe the situation to the reflex.

        Call once after `begin` or `advance`: every call enters the scan into the memory.
        """
        w = self.world
        moving = self._moving = self._tracked()
        if not self._memory:
            self.deliberation.forget()
        self.deliberation.observe(
            w.odom_pose, w.scan if self._route else np.full_like(w.scan, np.nan),
            w.camera_scan if self.camera and self._route else None, moving)
        due = self._fresh | (self._count % self.policy.replan_every == 0)
        self.deliberation.replan(self._goal, due)
        self._fresh[:] = False
        self._count += 1
        return self.deliberation.features(w.odom_pose, w.velocity, self._applied, self._goal,
                                          w.scan, moving)

    def _tracked(self) -> NDArray[np.float64]:
        """What moves, by the tracker of the perception node; as many rows as are in use."""
        rows = self.tracker.step(self.world.scan, self.world.time, self.world.odom_pose)
        return rows[:, :int((rows[:, :, 5] > 0.0).sum(axis=1).max(initial=0))]

    def situation(self) -> Situation:
        """`features`, and everything else that a policy may look at; call it in their place."""
        w = self.world
        fresh = self._fresh.copy()
        features = self.features()
        return Situation(
            features, w.scan, to_base(self._goal, w.odom_pose), w.odom_pose, w.velocity,
            self._applied, self._moving, fresh, self.deliberation,
            Truth(w.bank.worlds, w.world, w.time, self.episode_time, w.true_pose,
                  w.true_velocity, w.goal))

    def advance(self, proposal: NDArray[np.floating]) -> Outcome:
        """Gate the proposed commands (B, 2) and drive one control step with what is left."""
        w = self.world
        applied, status = self._gated(np.asarray(proposal, np.float64))
        previous = self._applied[:, 0].copy()
        before = w.odom_pose[:, :2].copy()
        w.step(applied)
        self._applied[:, 1:] = self._applied[:, :-1].copy()
        self._applied[:, 0] = applied
        contact = w.contact.copy()
        if self._reach is None:
            near = np.linalg.norm(w.odom_pose[:, :2] - self._goal, axis=1)
            near = near <= self.policy.goal_tolerance
        else:
            near = self.true_error() <= self._reach
        arrived, late = ends(contact, near, w.time, self.episode_time)
        return Outcome(
            Transition(
                step=CONTROL_STEP, progress=self._progress(before), reached=arrived,
                contact=contact, proposed=np.asarray(proposal, np.float64), applied=applied,
                previous=previous, limits=self.limits, speed=w.true_velocity[:, 0].copy(),
                clearance=w.clearance.copy()),
            arrived, contact, late, status)

    def _gated(self, proposal: NDArray[np.float64]) -> tuple[NDArray[np.float64],
                                                             NDArray[np.int8]]:
        w, gate = self.world, self.gate
        if gate is None:
            return proposal, np.zeros(self.batch, np.int8)
        gate.observe_scan(w.odom_pose, w.scan, self._angle_min, self._increment, (0.0, 0.0, 0.0),
                          RANGE_MIN, SCAN_RANGE_MAX, w.time)
        if self.camera:
            depth = w.trait('camera_depth') > 0.0
            gate.observe_depth(w.odom_pose, w.depth_points, w.depth_kind,
                               np.where(depth, w.depth_points.shape[1], 0), (0.0, 0.0), w.time)
            if not depth.all():
                gate.observe_camera_scan(
                    w.odom_pose, np.where(depth[:, None], np.nan, w.camera_scan), w.time,
                    takes_back=True)
        result = gate.filter(w.odom_pose, w.velocity, proposal, w.time, None)
        return np.array(result.applied, np.float64), np.array(result.status, np.int8)

    def true_error(self) -> NDArray[np.float64]:
        """True distance to the goal, m. Shape: (B,)."""
        return np.linalg.norm(self.world.true_pose[:, :2] - self.world.goal, axis=1)

    def _progress(self, before: NDArray[np.float64]) -> NDArray[np.float64]:
        won = np.zeros(self.batch)
        ends = np.stack((before, self.world.odom_pose[:, :2]), axis=1)
        for i in range(self.batch):
            there, here = self.deliberation.cost_at(ends[i], i)
            won[i] = there - here
        return won


def to_base(points: NDArray[np.float64], pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """A point (B, 2) of each robot's odom in its base, from poses (B, 3). Shape: (B, 2)."""
    dx, dy = (points - pose[:, :2]).T
    c, s = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    return np.column_stack((c * dx + s * dy, c * dy - s * dx))


def choose_leg(bank: Bank, world: int, number: int, rng: np.random.Generator) -> Leg:
    """Leg `number` of a world: from the start to the first goal, or between two goals.

    Between goals the heading at the start is drawn from `rng`.
    """
    number %= int(bank.goal_count[world])
    goal = bank.goals[world, number]
    start = bank.starts[world]
    if number > 0:
        start = np.array([*bank.goals[world, number - 1], rng.uniform(-math.pi, math.pi)])
    return Leg(world, (float(start[0]), float(start[1]), float(start[2])),
               (float(goal[0]), float(goal[1])))

"""The policy in deployment: observations in, actions out, deliberation keyed to observations.

Deliberation starts at fixed observation counts on a copy of the memory, runs in a worker thread
while `step` goes on, and is used a fixed number of observations later: a replay of the same
observations gives the same actions. Where it is late the previous result stays in use, `late`
counts it and `was_late` says it of the last observation, by which a replay does the same again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from karpathy_control.compute.device import open_device
from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.contracts.geometry import from_frame, integrate_twist, to_frame
from karpathy_control.contracts.layout import (
    ENTITY_CLASSES,
    ENTITY_FIELDS,
    MOVER_FIELDS,
    MOVERS,
    SCAN_BEAMS,
)
from karpathy_control.contracts.types import (
    NANOSECONDS,
    Action,
    Command,
    Entities,
    FloatArray,
    Observation,
    State,
)
from karpathy_control.policy.actor import Actor, load_actor, propose
from karpathy_control.policy.deliberation import Deliberation, Features
from karpathy_control.policy.situation import Policy, Situation
from karpathy_control.policy.tokens import APPLIED

MOVING_SPEED = 0.15  # m/s: what is said to move slower than this stays in the memory
LOOKAHEAD = 3.0  # m along a plan
NEW_GOAL = 0.5  # m: a goal that moved by more starts deliberation at once
ODOM_JUMP = 0.5  # m beyond what the twist explains
_MOVING = float(ENTITY_CLASSES.index('moving'))
_COLUMNS = [ENTITY_FIELDS.index(name) for name in (
    'x', 'y', 'vx', 'vy', 'radius', 'confidence', 'turn_rate', 'spread', 'gain')]
_LABEL, _CONFIDENCE = ENTITY_FIELDS.index('label'), ENTITY_FIELDS.index('confidence')


def moving_entities(entities: Entities | None) -> NDArray[np.float64]:
    """What surely moves, in rows as contracts.layout says. Shape: (MOVERS, MOVER_FIELDS), base."""
    rows = np.zeros((MOVERS, MOVER_FIELDS))
    if entities is None or not len(entities.table):
        return rows
    table = entities.table
    moving = table[(table[:, _LABEL] == _MOVING) & (table[:, _CONFIDENCE] > 0.0)][:, _COLUMNS]
    moving = moving[np.isfinite(moving).all(axis=1)]
    # Memory is wiped where something moves, so a label alone is not enough: a table leg that is
    # taken for a person would take the table with it.
    moving = moving[np.hypot(moving[:, 2], moving[:, 3]) >= MOVING_SPEED]
    nearest = moving[np.argsort(np.hypot(moving[:, 0], moving[:, 1]), kind='stable')][:MOVERS]
    rows[:len(nearest)] = nearest
    return rows


def plan_target(plan: FloatArray, x: float, y: float) -> tuple[float, float]:
    """The point of a plan (n, 2) LOOKAHEAD metres on from the one nearest to (x, y); its end."""
    nearest = int(np.argmin(np.hypot(plan[:, 0] - x, plan[:, 1] - y)))
    rest = plan[nearest:]
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(rest, axis=0).T))))
    return (float(np.interp(LOOKAHEAD, along, rest[:, 0])),
            float(np.interp(LOOKAHEAD, along, rest[:, 1])))


class PolicyRuntime:
    """Deliberation and reflex of one robot.

    Args:
        weights: the actor; None for the guidance alone. Raises WeightsError where they do not fit.
        config: parameters; ConfigError for a device that is not there.
        instead: another policy in the reflex's place, for comparison.
        wait: wait for a deliberation that is not ready in time instead of counting it as late;
            for simulation faster than real time, where the machine's load must not matter.

    """

    def __init__(self, weights: Path | None, config: PolicyConfig, wait: bool = False,
                 instead: Policy | None = None) -> None:
        self.config = config
        self._instead = instead
        self.late = 0
        self.was_late = False  # whether the last observation went without a result that was due
        self._wait = wait
        self._device = open_device(config.device)
        self._actor: Actor | None = None
        if weights is not None:
            self._actor, self.card = load_actor(weights, self._device)
        self._deliberation = Deliberation(config)
        self._planner = Deliberation(config)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix='deliberation')
        self._pending: Future[None] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget memory, goal and history."""
        if self._pending is not None:
            self._pending.result()  # it writes to the planner's arrays
        self._pending = None
        self._deliberation.reset()
        self._last: State | None = None
        self._goal: tuple[float, float] | None = None
        self._count = 0  # observations since the start of the last deliberation
        self._counted_late = False
        self._applied = np.zeros((1, APPLIED, 2))
        self._fresh = True

    def configure(self, config: PolicyConfig) -> None:
        """Take over a live change of parameters."""
        self.config = config
        self._deliberation.configure(config)
        if self._pending is not None:
            self._pending.result()
        self._planner.configure(config)

    def warm_up(self) -> None:
        """Compile (or load from cache) every kernel and run the network once; then forget."""
        state = State(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        self._enter(state, np.full(SCAN_BEAMS, np.inf, np.float32),
                    np.full(SCAN_BEAMS, np.nan, np.float32), moving_entities(None))
        self._start((1.0, 0.0))
        assert self._pending is not None
        self._pending.result()
        self._deliberation.adopt(self._planner)
        self._decide(state, (1.0, 0.0), np.full(SCAN_BEAMS, np.inf, np.float32),
                     moving_entities(None))
        self._deliberation.path((0.0, 0.0, 0.0))
        self.costmap()
        self.reset()

    def step(self, observation: Observation, entities: Entities | None = None,
             late: bool | None = None) -> Action:
        """Decide on one observation.

        The reflex acts only on entities that the encoder is sure of; without, the map is followed.
        Without a goal, within the goal tolerance of it, and until the first deliberation for a
        goal is there, the action is zero; the memory goes on. A state that is not finite changes
        nothing and gives zero. Stamps that go back and odometry that jumps reset everything.
        `late` is for a replay: the `was_late` of this observation; None looks at the worker.
        """
        self.was_late = False
        state = observation.state
        if not all(math.isfinite(v) for v in (state.x, state.y, state.yaw, state.v, state.w)):
            return Action(observation.stamp, Command())
        if self._discontinuous(state):
            self.reset()
        self._last = state
        scan = self._ranges(None if observation.scan is None else observation.scan.ranges)
        camera = entities.camera_scan if entities is not None else None
        camera_scan = self._ranges(None if camera is None else camera.ranges)
        movers = moving_entities(entities)
        self._enter(state, scan, camera_scan, movers)
        self._count += 1
        self._use_result(late)
        goal = self._final_goal(observation)
        self._deliberate(goal, observation)
        if goal is None or math.hypot(goal[0] - state.x, goal[1] - state.y) <= (
                self.config.goal_tolerance):
            self._remember(Command())
            return Action(observation.stamp, Command())
        sure = entities is not None and not entities.unsure
        command = self._decide(state, goal, scan, movers, reflex=sure)
        self._remember(command)
        return Action(observation.stamp, command,
                      path=self._deliberation.path((state.x, state.y, state.yaw)))

    def costmap(self) -> tuple[NDArray[np.int8], float, float, float]:
        """The memory as an occupancy grid in odom, row = y.

        Returns (n, n) int8 (-1 unknown, 0 free .. 99 the robot's centre cannot be there, 100
        occupied), x and y of the lower corner (m) and the cell size (m).
        """
        return self._deliberation.costmap()

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that later actions depend on, as copies by name.

        Waits for a deliberation under way, whose result is a part of it.
        """
        under_way = {}
        if self._pending is not None:
            self._pending.result()
            under_way = {f'next.{name}': array for name, array in self._planner.state().items()
                         if name.startswith('plan.')}
        last = self._last
        return {
            **self._deliberation.state(), **under_way,
            'applied': self._applied.copy(), 'count': np.array(self._count),
            'goal': np.array([] if self._goal is None else self._goal, np.float64),
            'last_stamp': np.array([] if last is None else [last.stamp], np.int64),
            'last': np.array([] if last is None else [last.x, last.y, last.yaw, last.v, last.w],
                             np.float64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave; KeyError or ValueError for what does not fit."""
        self.reset()
        self._deliberation.restore(state)
        under_way = {name.removeprefix('next.'): array for name, array in state.items()
                     if name.startswith('next.')}
        if under_way:
            self._planner.restore({**state, **under_way})
            self._pending = Future()
            self._pending.set_result(None)
        self._applied[:] = state['applied']
        self._count = int(state['count'])
        if state['goal'].size:
            x, y = state['goal']
            self._goal = (float(x), float(y))
        if state['last_stamp'].size:
            x, y, yaw, v, w = map(float, state['last'])
            self._last = State(int(state['last_stamp'][0]), x, y, yaw, v, w)

    def close(self) -> None:
        """End the worker thread."""
        self._worker.shutdown(wait=True)

    def _discontinuous(self, state: State) -> bool:
        last = self._last
        if last is None:
            return False
        if state.stamp < last.stamp:
            return True
        seconds = (state.stamp - last.stamp) / NANOSECONDS
        expected = integrate_twist(last.pose, last.v, last.w, seconds)
        reach = ODOM_JUMP + 0.5 * self.config.robot.acceleration * min(seconds, 1.0) ** 2
        return math.hypot(state.x - expected.x, state.y - expected.y) > reach

    @staticmethod
    def _ranges(ranges: FloatArray | None) -> FloatArray:
        return np.full(SCAN_BEAMS, np.nan, np.float32) if ranges is None else ranges

    def _enter(self, state: State, scan: FloatArray, camera_scan: FloatArray,
               movers: NDArray[np.float64]) -> None:
        self._deliberation.observe(np.array([[state.x, state.y, state.yaw]]), scan[None],
                                   camera_scan[None], movers[None])

    @staticmethod
    def _final_goal(observation: Observation) -> tuple[float, float] | None:
        """Where to stop, odom."""
        if observation.goal is not None and all(math.isfinite(v) for v in observation.goal):
            x, y = from_frame(observation.goal, observation.state.pose)[0]
            return float(x), float(y)
        if observation.plan is not None and len(observation.plan):
            return float(observation.plan[-1, 0]), float(observation.plan[-1, 1])
        return None

    def _deliberate(self, goal: tuple[float, float] | None, observation: Observation) -> None:
        """Start a deliberation where one is due."""
        if goal is None:
            self._goal = None
            self._deliberation.drop_plan()
            return
        moved = self._goal is None or math.dist(goal, self._goal) > NEW_GOAL
        if moved:
            self._deliberation.drop_plan()
            self._goal = goal
        if not moved and self._count < max(self.config.replan_every, self.config.replan_delay):
            return
        target = goal
        if observation.plan is not None and len(observation.plan) > 1:
            target = plan_target(observation.plan, observation.state.x, observation.state.y)
        if self._pending is not None:
            if not moved:
                return  # late: it was counted when it was due
            self._pending.result()
        self._start(target)
        self._use_result()

    def _start(self, target: tuple[float, float]) -> None:
        self._count = 0
        self._counted_late = False
        self._planner.copy_memory(self._deliberation)
        self._pending = self._worker.submit(self._planner.replan, np.array([target]))

    def _use_result(self, late: bool | None = None) -> None:
        """Take the result over when it is due; the previous one stays where it is late."""
        if self._pending is None or self._count < self.config.replan_delay:
            return
        if late is None:
            waits = self.config.replan_delay == 0 or self._wait
            late = not waits and not self._pending.done()
        if late:
            self.was_late = True
            if not self._counted_late:
                self.late += 1
                self._counted_late = True
            return
        self._pending.result()
        self._pending = None
        self._deliberation.adopt(self._planner)

    def _decide(self, state: State, goal: tuple[float, float], scan: FloatArray,
                movers: NDArray[np.float64], reflex: bool = True) -> Command:
        features = self._deliberation.features(
            np.array([[state.x, state.y, state.yaw]]), np.array([[state.v, state.w]]),
            self._applied, np.array([goal]), scan[None], movers[None])
        command = features.base_command[0]
        if not self._deliberation.planned[0]:
            return Command()
        if self._instead is not None:
            command = self._instead(self._situation(features, state, goal, scan, movers))[0]
            return Command(float(command[0]), float(command[1]))
        if self._actor is not None and self.config.reflex and reflex:
            with torch.inference_mode():
                tokens = torch.from_numpy(features.tokens).to(self._device)
                action = self._actor(tokens).cpu().numpy()
            command = propose(features, action, self.config.robot)[0]
        return Command(float(command[0]), float(command[1]))

    def _situation(self, features: Features, state: State, goal: tuple[float, float],
                   scan: FloatArray, movers: NDArray[np.float64]) -> Situation:
        fresh, self._fresh = self._fresh, False
        return Situation(
            features, scan[None], to_frame([goal], state.pose),
            np.array([[state.x, state.y, state.yaw]]), np.array([[state.v, state.w]]),
            self._applied, movers[None], np.array([fresh]), self._deliberation)

    def _remember(self, command: Command) -> None:
        self._applied = np.roll(self._applied, 1, axis=1)
        self._applied[0, 0] = command.v, command.w


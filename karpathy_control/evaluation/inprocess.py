"""The loop in one process and in simulated time: the very rooms that the nodes wrap, without ROS.

MuJoCo steps, sensors fall due, and each room is called as its node would call it; an action acts
some time after its stamp, drawn from recorded latencies. Faster than real time, and the result
does not depend on the load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import adapted
from karpathy_control.contracts.config import (
    ControlConfig,
    PerceptionConfig,
    PolicyConfig,
    RobotConfig,
    SensorConfig,
    SimConfig,
)
from karpathy_control.contracts.geometry import to_frame
from karpathy_control.contracts.modes import Reason
from karpathy_control.contracts.types import (
    NANOSECONDS,
    Action,
    Command,
    Entities,
    Observation,
)
from karpathy_control.contracts.world import World
from karpathy_control.control.controller import Controller
from karpathy_control.evaluation.delays import Delays
from karpathy_control.perception.motion import load_network
from karpathy_control.perception.runtime import PerceptionRuntime
from karpathy_control.policy.runtime import PolicyRuntime
from karpathy_control.policy.situation import Policy
from karpathy_control.sensing.pipeline import SensorPipeline
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import RobotDescription

TICK = 20_000_000  # ns, of the controller
CLOCK = 20_000_000  # ns, period of /clock
MOVING = 0.02  # m/s
TRUE_TOLERANCE = 0.5  # m: goal tolerance plus what odometry may drift on the way


@dataclass(frozen=True)
class LoopConfig:
    """Configuration of every part, with one robot for all."""

    sensor: SensorConfig = field(default_factory=SensorConfig)
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    control: ControlConfig = field(default_factory=ControlConfig)
    sim: SimConfig = field(default_factory=SimConfig)

    def with_robot(self, robot: RobotConfig, seed: int) -> LoopConfig:
        """The same with another robot, what follows from its rates, and another seed of noise."""
        return LoopConfig(
            adapted(self.sensor, robot), adapted(self.perception, robot),
            adapted(self.policy, robot), adapted(self.control, robot),
            replace(adapted(self.sim, robot), seed=seed))


@dataclass
class Outcome:
    """One goal: what happened and how long it took in simulated seconds."""

    outcome: str  # reached, contact, blocked or timeout
    seconds: float
    travelled: float  # m, true
    moving: bool = False  # whether the robot moved when it touched something
    person: float = math.inf  # m, least distance from the footprint to a person; inf without
    track: list[tuple[float, float, float, float]] = field(default_factory=list)  # t x y yaw


class InProcessLoop:
    """One robot in one world, driven from goal to goal."""

    def __init__(self, world: World, config: LoopConfig, robot: RobotDescription,
                 encoder: Path, actor: Path | None, delays: Delays | None = None,
                 instead: Policy | None = None) -> None:
        """`actor` None follows the cost-to-go alone, or `instead` where another policy is given.

        delays: from stamp to command; None: as recorded, by the seed of the simulation.
        """
        self._delays = delays or Delays(config.sim.seed)
        self._acted = 0  # ns: nothing acts before what came before it
        self.world = MujocoWorld(world, config.sim, robot)
        self._start = world.start
        self._sensor = SensorPipeline(config.sensor)
        self._perception = PerceptionRuntime(
            encoder, config.perception,
            load_network(find('weights', config.perception.motion_weights)))
        self._policy = PolicyRuntime(actor, config.policy, wait=True, instead=instead)
        self._control = Controller(config.control)
        self._sensor.on_camera_model(self.world.camera_model())
        self._command = Command()
        self._pending: list[tuple[int, Observation, Entities, Action]] = []
        self._goal: tuple[float, float] | None = None
        self._next_tick = 0
        sensors = {name: getattr(config.sim, name)
                   for name in ('odometry', 'imu', 'lidar', 'camera')}
        self._periods = {name: round(NANOSECONDS / sensor.rate)
                         for name, sensor in sensors.items() if sensor.enabled}
        self._due = dict.fromkeys(self._periods, 0)
        if 'lidar' in self._due:
            self._due['lidar'] = self._periods['lidar'] // 2
        self._due['clock'], self._periods['clock'] = 0, CLOCK

    def close(self) -> None:
        """End worker threads."""
        self._policy.close()

    def drive(self, goal: tuple[float, float], timeout: float,
              reach: float | None = None) -> Outcome:
        """Send one goal (world frame, m) and run until its outcome.

        With `reach` it is reached where the robot truly is within that many metres, and a goal
        that is given up is sent again.
        """
        x, y = (float(v) for v in to_frame([goal], self._start)[0])
        self._control.on_goal(x, y)
        started, contacts = self.world.time, self.world.contacts
        pose = self.world.true_state()
        result = Outcome('timeout', timeout, 0.0)
        while self.world.time - started < timeout:
            reasons = self._advance()
            now = self.world.true_state()
            result.travelled += math.hypot(now.x - pose.x, now.y - pose.y)
            pose = now
            result.person = min(result.person, self.world.person_distance())
            result.track.append((self.world.time, now.x, now.y, now.yaw))
            left = math.hypot(now.x - goal[0], now.y - goal[1])
            if self.world.contacts > contacts:
                result.outcome, result.moving = 'contact', abs(now.v) > MOVING
            elif reach is not None:
                if left > reach:
                    if self._goal is None:
                        self._control.on_goal(x, y)
                    continue
                result.outcome = 'reached'
            elif Reason.GOAL_REACHED in reasons:
                result.outcome = ('reached' if left <= TRUE_TOLERANCE
                                  else 'reached_by_odometry_only')
            elif Reason.GOAL_BLOCKED in reasons:
                result.outcome = 'blocked'
            else:
                continue
            break
        result.seconds = self.world.time - started
        return result

    def _advance(self) -> tuple[Reason, ...]:
        """One tick of the controller: physics, what falls due, and the command."""
        while self.world.stamp < self._next_tick:
            self.world.step(self._command)
            self._sense(self.world.stamp)
            self._act(self.world.stamp)
        self._next_tick += TICK
        return self._tick()

    def _tick(self) -> tuple[Reason, ...]:
        stamp = self.world.stamp
        decision = self._control.tick(stamp, stamp, True)
        self._command = decision.command
        if decision.goal != self._goal:
            self._goal = decision.goal
            self._sensor.on_goal(decision.goal)
        return decision.reasons

    def _sense(self, stamp: int) -> None:
        for name, due in self._due.items():
            if due <= stamp:
                self._due[name] = due + self._periods[name]
                getattr(self, f'_on_{name}')(stamp)
        for observation in self._sensor.release(stamp, stamp):
            self._decide(observation)

    def _on_clock(self, stamp: int) -> None:
        self._control.on_clock(stamp, stamp)

    def _on_odometry(self, stamp: int) -> None:
        state = self.world.odometry()
        self._sensor.on_odom(state, stamp)
        self._control.on_odom(state, stamp)

    def _on_imu(self, stamp: int) -> None:
        sample = self.world.imu()
        self._sensor.on_imu(sample, stamp)
        self._control.on_imu(sample, stamp)

    def _on_lidar(self, stamp: int) -> None:
        scan = self.world.lidar()
        self._sensor.on_scan(scan, stamp)
        self._control.on_scan(scan, stamp)

    def _on_camera(self, stamp: int) -> None:
        image, depth = self.world.camera()
        if depth is not None:
            self._sensor.on_depth(depth, stamp)
        self._sensor.on_image(image, stamp)

    def _decide(self, observation: Observation) -> None:
        """Perception and policy on one set; the result acts a drawn delay after its stamp."""
        entities = self._perception.step(observation)
        action = self._policy.step(observation, entities)
        self._acted = max(self._acted, observation.stamp + self._delays.draw())
        self._pending.append((self._acted, observation, entities, action))

    def _act(self, stamp: int) -> None:
        while self._pending and self._pending[0][0] <= stamp:
            _, observation, entities, action = self._pending.pop(0)
            self._control.on_observation(observation.stamp, stamp)
            self._control.on_entities(entities.table, entities.unsure, observation.stamp, stamp)
            if observation.depth_points is not None:
                self._control.on_depth_points(observation.depth_points, stamp)
            if entities.camera_scan is not None:
                self._control.on_camera_scan(entities.camera_scan, stamp)
            self._control.on_action(action, stamp)
            self._tick()


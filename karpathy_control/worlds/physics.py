"""Time, movers and contact physics of a world with one robot or several, which step together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco

from karpathy_control.contracts.config.core import ConfigError
from karpathy_control.contracts.config.sim import SimConfig
from karpathy_control.contracts.types import NANOSECONDS, Command
from karpathy_control.contracts.world import World
from karpathy_control.worlds.mjcf import build_model, mover_name, person_name
from karpathy_control.worlds.robot import RobotDescription
from karpathy_control.worlds.social import Crowd

if TYPE_CHECKING:
    from karpathy_control.worlds.mujoco_robot import MujocoRobot

SETTLE_TIME = 0.5  # s of physics before the first stamp, so that robots stand on their tyres


class Physics:
    """The model of a world with `count` robots of one kind; ConfigError for people and several.

    Each MujocoRobot enters itself; `reset` then places all of them, and must come first.
    """

    def __init__(self, world: World, config: SimConfig, robot: RobotDescription,
                 count: int = 1) -> None:
        if world.people and count > 1:
            raise ConfigError(f'{count} robots in a world with people, who mind one; it takes 1')
        self.world, self.config, self.robot = world, config, robot
        self.model = build_model(world, robot, config.physics_step, count)
        self.data = mujoco.MjData(self.model)
        self.robots: list[MujocoRobot] = []
        self._movers = [(int(self.model.body(mover_name(i)).mocapid[0]), mover)
                        for i, mover in enumerate(world.movers)]
        self._people = [int(self.model.body(person_name(i)).mocapid[0])
                        for i in range(len(world.people))]
        self.crowd = Crowd(world, config.robot.circumscribed_radius) if world.people else None
        self._steps = self._episode_start = 0

    @property
    def time(self) -> float:
        """Simulated time since construction, s; a reset does not turn it back."""
        return self._steps * self.config.physics_step

    @property
    def stamp(self) -> int:
        """Simulated time, ns."""
        return round(self.time * NANOSECONDS)

    def reset(self) -> None:
        """Put robots and movers to their start and forget contacts; time goes on."""
        mujoco.mj_resetData(self.model, self.data)
        for robot in self.robots:
            robot.place()
        self._episode_start = self._steps
        if self.crowd is not None:
            self.crowd.reset()
        self._place_movers()
        for _ in range(round(SETTLE_TIME / self.config.physics_step)):
            mujoco.mj_step(self.model, self.data)
        self._fresh = False
        for robot in self.robots:
            robot.forget()

    def step(self, commands: Sequence[Command]) -> None:
        """One physics step under a base command for each robot."""
        dt = self.config.physics_step
        for robot, command in zip(self.robots, commands, strict=True):
            robot.drive(command, dt)
        if self.crowd is not None:
            self.crowd.step((self._steps - self._episode_start) * dt,
                            self.robots[0].true_state(), dt)
        self._steps += 1
        self._place_movers()
        mujoco.mj_step(self.model, self.data)
        self._fresh = False
        for robot in self.robots:
            robot.note(dt)

    def refresh(self) -> None:
        """Bring body poses up to the state after the last step."""
        if not self._fresh:
            mujoco.mj_kinematics(self.model, self.data)
            self._fresh = True

    def _place_movers(self) -> None:
        t = (self._steps - self._episode_start) * self.config.physics_step
        positions = self.data.mocap_pos
        for mocap, mover in self._movers:
            positions[mocap, :2] = mover.position(t)
        if self.crowd is not None:
            positions[self._people, :2] = self.crowd.places

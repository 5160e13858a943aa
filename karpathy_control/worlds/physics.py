"""Time, movers and contact physics of a world with one robot or several, which step together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco

from karpathy_control.contracts.config.sim import SimConfig
from karpathy_control.contracts.types import NANOSECONDS, Command
from karpathy_control.contracts.world import World
from karpathy_control.worlds.mjcf import build_model, mover_name
from karpathy_control.worlds.robot import RobotDescription

if TYPE_CHECKING:
    from karpathy_control.worlds.mujoco_robot import MujocoRobot

SETTLE_TIME = 0.5  # s of physics before the first stamp, so that robots stand on their tyres


class Physics:
    """The model of a world with `count` robots of one kind.

    Each MujocoRobot enters itself; `reset` then places all of them, and must come first.
    """

    def __init__(self, world: World, config: SimConfig, robot: RobotDescription,
                 count: int = 1) -> None:
        self.world, self.config, self.robot = world, config, robot
        self.model = build_model(world, robot, config.physics_step, count)
        self.data = mujoco.MjData(self.model)
        self.robots: list[MujocoRobot] = []
        self._movers = [(int(self.model.body(mover_name(i)).mocapid[0]), mover)
                        for i, mover in enumerate(world.movers)]
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
        if not self._movers:
            return
        t = (self._steps - self._episode_start) * self.config.physics_step
        positions = self.data.mocap_pos
        for mocap, mover in self._movers:
            positions[mocap, :2] = mover.position(t)

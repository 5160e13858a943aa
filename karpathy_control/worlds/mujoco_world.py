"""Worlds with MuJoCo contact physics: one robot alone, or several beside one another."""

from __future__ import annotations

from karpathy_control.contracts.config.sim import SimConfig
from karpathy_control.contracts.types import Command
from karpathy_control.contracts.world import World
from karpathy_control.worlds.mujoco_robot import MujocoRobot
from karpathy_control.worlds.physics import Physics
from karpathy_control.worlds.places import places
from karpathy_control.worlds.robot import RobotDescription


class MujocoWorld(MujocoRobot):
    """One robot alone in a world, which steps with it."""

    def __init__(self, world: World, config: SimConfig, robot: RobotDescription) -> None:
        super().__init__(Physics(world, config, robot), world.start)
        self.reset()

    def reset(self) -> None:
        """Put the robot and the movers to their start and forget contacts; time goes on."""
        self._physics.reset()

    def step(self, command: Command) -> None:
        """One physics step under a base command."""
        self._physics.step((command,))


def fleet(world: World, config: SimConfig, robot: RobotDescription, count: int) -> Physics:
    """`count` robots of one kind, each at its start of `worlds.places`.

    Raises ValueError where the world has no room for so many.
    """
    physics = Physics(world, config, robot, count)
    for own in places(world, count):
        MujocoRobot(physics, own.start)
    physics.reset()
    return physics

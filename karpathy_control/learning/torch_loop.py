"""Legs, ends and rewards over the world on torch: `learning.loop` without what needs numba.

Nothing stands between an action and the wheels: no gate, no guidance, no memory. So there is no
cost-to-go either, and `progress` counts metres straight to the goal. What is trained here is to be
measured in the ClosedLoop, where the gate is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.learning.loop import Outcome
from karpathy_control.learning.rewards import Transition, ends
from karpathy_control.learning.torch_world import TorchWorld
from karpathy_control.worlds.bank import Bank
from karpathy_control.worlds.batched import CONTROL_STEP, Leg
from karpathy_control.worlds.variation import Variation


class OpenLoop:
    """B robots on `device`, each driving one leg in a world of the bank; `world` has their state.

    Call `begin` for every slot, then `advance`. An episode is won where odometry has come within
    the goal tolerance. Raises what TorchWorld raises.
    """

    def __init__(self, bank: Bank, batch: int, policy: PolicyConfig,
                 variation: Variation | None = None, episode_time: float = 40.0,
                 device: str = 'cpu', *, compiled: bool = False) -> None:
        self.world = TorchWorld(bank, batch, policy.robot, variation, device, compiled=compiled)
        self.policy, self.episode_time = policy, episode_time
        self.limits = torch.tensor([policy.robot.max_speed, policy.robot.max_turn],
                                   dtype=torch.float64, device=self.world.device)
        self._applied = torch.zeros_like(self.world.velocity)
        self._status = torch.zeros(batch, dtype=torch.int8, device=self.world.device)

    def begin(self, slots: ArrayLike, legs: Sequence[Leg], seeds: ArrayLike) -> None:
        """Start new episodes in `slots`; everything random in them comes from their seeds."""
        self.world.reset(slots, list(legs), seeds)
        self._applied[torch.as_tensor(slots, device=self.world.device).reshape(-1)] = 0.0

    def advance(self, action: Tensor) -> Outcome:
        """Drive one control step with the commands (B, 2) v w. Everything in it is a tensor."""
        w = self.world
        action = action.double()
        before, previous = self._distance(), self._applied.clone()
        w.step(action)
        self._applied.copy_(action)
        contact, distance = w.contact.clone(), self._distance()
        arrived, late = ends(contact, distance <= self.policy.goal_tolerance, w.time,
                             self.episode_time)
        return Outcome(
            Transition(
                step=CONTROL_STEP, progress=before - distance, reached=arrived, contact=contact,
                proposed=action, applied=action, previous=previous, limits=self.limits,
                speed=w.true_velocity[:, 0].clone(), clearance=w.clearance.clone()),
            arrived, contact, late, self._status)

    def _distance(self) -> Tensor:
        """From where odometry has the robot to its goal; odom is world at the start. (B,) m."""
        return (self.world.odom_pose[:, :2] - self.world.goal).norm(dim=1)

"""What any policy may look at, for a batch of robots: ours, a baseline, or one from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.world import World
from karpathy_control.policy.deliberation import Deliberation, Features


@dataclass(frozen=True)
class Truth:
    """What a simulator alone knows, for an oracle that is measured beside the policies."""

    worlds: tuple[World, ...]
    world: NDArray[np.int64]  # (B,) number in `worlds`
    time: NDArray[np.float64]  # (B,) s since the start of the episode
    span: float  # s that an episode lasts at most
    pose: NDArray[np.float64]  # (B, 3) x y yaw, world
    velocity: NDArray[np.float64]  # (B, 2) v w
    goal: NDArray[np.float64]  # (B, 2) m, world


@dataclass(frozen=True)
class Situation:
    """B robots at one moment. Arrays are views that are written again: copy what must be kept."""

    features: Features  # tokens of the reflex, and the command of the guidance
    scan: NDArray[np.float32]  # (B, SCAN_BEAMS) m about base in the observation layout
    goal: NDArray[np.float64]  # (B, 2) m, base
    pose: NDArray[np.float64]  # (B, 3) x y yaw in odom
    velocity: NDArray[np.float64]  # (B, 2) measured v w, m/s and rad/s
    applied: NDArray[np.float64]  # (B, K, 2) commands that were applied last, newest first
    movers: NDArray[np.float64]  # (B, M, MOVER_FIELDS), see contracts.layout
    fresh: NDArray[np.bool_]  # (B,) an episode has just begun: forget what was kept
    deliberation: Deliberation  # memory and cost-to-go of these robots
    truth: Truth | None = None  # on a robot nobody knows it

    @property
    def robot(self) -> RobotConfig:
        """Shape and limits of these robots."""
        return self.deliberation.config.robot

    def cost_to_go(self, points: NDArray[np.floating], index: int) -> NDArray[np.float64]:
        """Cost-to-go at points (k, 2) m in the base of robot `index`. Shape: (k,) m."""
        x, y, yaw = self.pose[index]
        c, s = np.cos(yaw), np.sin(yaw)
        return self.deliberation.cost_at(
            np.column_stack((x + c * points[:, 0] - s * points[:, 1],
                             y + s * points[:, 0] + c * points[:, 1])), index)


Policy = Callable[[Situation], NDArray[np.floating]]  # (B, 2) v w, m/s and rad/s

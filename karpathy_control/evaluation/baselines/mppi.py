"""Model predictive path integral control (Williams et al. 2017) by the library pytorch_mppi.

The same map and cost-to-go as ours, the robot's own limits, an obstacle term with the distance to
the nearest remembered point. Parameters are fixed here, before any figure. Needs the extra
`baselines` (pip install 'pytorch_mppi>=0.9').
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from karpathy_control.policy.situation import Situation

HORIZON, STEP = 20, 0.1  # 2 s
SAMPLES = 300
TEMPERATURE = 0.1
COLLISION = 100.0  # m of path, for every step inside an obstacle
NEAR_WEIGHT, NEAR = 1.0, 0.3  # m of path at distance 0, m where it ends
SPEED_NOISE, TURN_NOISE = 0.35, 0.5  # share of the robot's limits
DISCS = 3  # along the footprint


class Mppi:
    """One controller for a batch of robots, with the plan of each kept from step to step."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._solver: Any = None

    def __call__(self, s: Situation) -> NDArray[np.floating]:
        """Commands (B, 2)."""
        if self._solver is None:
            self._build(s)
        fresh = torch.from_numpy(np.flatnonzero(s.fresh))
        self._solver.U[fresh] = 0.0
        self._maps(s)
        n = len(s.scan)
        state = torch.zeros(n, 6)
        state[:, 3:5] = torch.from_numpy(s.applied[:, 0]).float()
        state[:, 5] = torch.arange(n)
        return self._solver.command(state).detach().numpy().astype(np.float64)

    def _build(self, s: Situation) -> None:
        from pytorch_mppi import MPPI_Batched

        torch.manual_seed(self._seed)
        robot = s.robot
        self._rise = torch.tensor((robot.acceleration, robot.turn_acceleration)) * STEP
        low = torch.tensor((-robot.max_reverse, -robot.max_turn))
        high = torch.tensor((robot.max_speed, robot.max_turn))
        sigma = torch.diag(torch.tensor(((SPEED_NOISE * robot.max_speed) ** 2,
                                         (TURN_NOISE * robot.max_turn) ** 2)))
        x = robot.polygon[:, 0]
        half_width = float(np.abs(robot.polygon[:, 1]).max())
        inset = min(half_width, 0.5 * float(np.ptp(x)))
        self._along = torch.linspace(float(x.min()) + inset, float(x.max()) - inset, DISCS)
        self._radius = float(np.hypot(half_width, (np.ptp(x) / DISCS) / 2))
        self._solver = MPPI_Batched(
            self._move, self._cost, 6, sigma, len(s.scan), num_samples=SAMPLES, horizon=HORIZON,
            lambda_=TEMPERATURE, u_min=low, u_max=high)

    def _maps(self, s: Situation) -> None:
        """Distance to the nearest obstacle, and cost-to-go, as grids of every robot."""
        distance, field, origin = [], [], []
        for b in range(len(s.scan)):
            grid, x, y, self._cell = s.deliberation.costmap(b)
            far = ndimage.distance_transform_edt(grid != 100) * self._cell  # 100: occupied
            distance.append(far.astype(np.float32))
            values, corner, _ = s.deliberation.field(b)
            field.append(values)
            origin.append((x, y, *(corner * self._cell)))
        self._distance = torch.from_numpy(np.stack(distance))
        self._field = torch.from_numpy(np.stack(field))
        self._origin = torch.tensor(origin)
        self._pose = torch.from_numpy(s.pose).float()

    def _move(self, state: Tensor, action: Tensor) -> Tensor:
        velocity = state[:, 3:5]
        velocity = velocity + (action - velocity).clamp(-self._rise, self._rise)
        v, w = velocity.unbind(1)
        middle = state[:, 2] + 0.5 * w * STEP
        return torch.stack((state[:, 0] + v * STEP * middle.cos(),
                            state[:, 1] + v * STEP * middle.sin(),
                            state[:, 2] + w * STEP, v, w, state[:, 5]), 1)

    def _cost(self, state: Tensor, action: Tensor) -> Tensor:
        which = state[:, 5].long()
        pose = self._pose[which]
        c, s = pose[:, 2].cos(), pose[:, 2].sin()
        x = pose[:, 0] + c * state[:, 0] - s * state[:, 1]
        y = pose[:, 1] + s * state[:, 0] + c * state[:, 1]
        yaw = pose[:, 2] + state[:, 2]
        near = torch.stack([
            self._at(self._distance, which, x + d * yaw.cos(), y + d * yaw.sin(), 0)
            for d in self._along]).amin(0) - self._radius
        # every step pays for the way that is left, as in the integral of the running cost
        left = self._at(self._field, which, x, y, 2).clamp(max=50.0)
        return (left / HORIZON + COLLISION * (near < 0.0)
                + NEAR_WEIGHT / HORIZON * (1.0 - near / NEAR).clamp(0.0, 1.0))

    def _at(self, grids: Tensor, which: Tensor, x: Tensor, y: Tensor, corner: int) -> Tensor:
        origin = self._origin[which]
        n = grids.shape[1] - 1
        column = ((x - origin[:, corner]) / self._cell).long().clamp(0, n)
        row = ((y - origin[:, corner + 1]) / self._cell).long().clamp(0, n)
        return grids[which, row, column]

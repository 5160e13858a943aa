"""The batched world on torch: the same robots, banks and legs as `worlds.batched`, on a GPU.

Same columns, units and meaning as `BatchedWorld`, whose traits it draws from the same seeds: with
equal commands poses, velocities, contacts and clearance are the same, and the scans too where they
have no noise; noise has the same distribution. A step launches kernels and nothing else: it reads
no value back, its shapes are fixed, its tensors stay where they are, so that `capture` can record
it as a CUDA graph and torch.compile can fuse it.

What needs numba is not here and stays on the CPU: the gate, the policy's memory and cost-to-go,
the tracker, camera scan and depth points, and people who react. A bank with people is refused.
Contact is looked for in every substep: who is hit by a mover that jumps is hit 10 ms later, where
BatchedWorld, which skips substeps by the movers' speed, may need a step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from karpathy_control.compute.device import open_device
from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.learning.torch_geometry import (
    Movers,
    cast,
    clearance,
    seen_at,
    touched_between,
)
from karpathy_control.worlds.bank import WALKING, Bank
from karpathy_control.worlds.batched import (
    CLEARANCE_HORIZON,
    CONTROL_STEP,
    HISTORY,
    SUBSTEPS,
    Leg,
)
from karpathy_control.worlds.traits import (
    ACCELERATION,
    DECELERATION,
    DELAY,
    DRIFT,
    LIDAR_FOV,
    NORMAL,
    SCAN_DROP,
    SCAN_NOISE,
    SLIP,
    TRAITS,
    TURN_ACCELERATION,
    TURN_DRIFT,
    TURN_SLIP,
    draw_traits,
)
from karpathy_control.worlds.variation import Variation

# Beams times primitives at once, some 40 bytes each while they last: on a CPU what its cache
# holds, on a GPU what keeps it busy.
PAIRS = {'cpu': 1 << 17, 'cuda': 1 << 26}
DRAWS = 2 + SCAN_BEAMS  # random numbers of a step: where in NORMAL, how far apart, and drop-outs


class TorchWorld:
    """A batch of B robots on `device`. Tensors are reused from step to step: clone what is kept.

    time (B,) s; true_pose and odom_pose (B, 3) x y yaw; true_velocity and velocity (B, 2) v w;
    goal (B, 2); clearance and contact_speed (B,); mover_xy (B, M, 2): 64-bit. scan (B, SCAN_BEAMS)
    m, 32-bit. contact (B,) bool; world (B,) number in the bank.
    """

    def __init__(self, bank: Bank, batch: int, robot: RobotConfig,
                 variation: Variation | None = None, device: str = 'cpu', *,
                 compiled: bool = False, pairs: int | None = None) -> None:
        """`pairs`: as many beams times primitives at once; bounds the memory, not the result.

        `compiled`: torch.compile fuses the rays, and the distances, into a kernel or two; it takes
        a C++ compiler, on a GPU triton too, and some 15 s in the first step.
        Raises ConfigError for a device that is not there, ValueError for a bank with people.
        """
        if batch < 1:
            raise ValueError(f'batch is {batch}; it takes at least 1')
        for number, walking in enumerate(bank.movers[:, :, WALKING]):
            if (walking > 0.0).any():
                world = bank.worlds[number]
                raise ValueError(f'world {world.family!r} seed {world.seed} has people, who '
                                 'react to the robot: they walk in BatchedWorld alone')
        self.device = open_device(device)
        self.pairs = PAIRS[self.device.type] if pairs is None else pairs
        if self.pairs < 1:
            raise ValueError(f'pairs is {pairs}; it takes at least 1')
        self.bank, self.batch, self.robot = bank, batch, robot
        self.variation = variation if variation is not None else Variation()
        self._seen = seen_at(bank, float(robot.lidar_pose[2]), self.device)
        self._touched = touched_between(bank, robot.ground_clearance, robot.height, self.device)
        self._movers = Movers(bank, self.device)
        self._footprint = self._put(robot.polygon, torch.float32)
        bearings = scan_bearings().astype(np.float64)
        self._bearings = self._put(bearings)
        self._cosine = self._put(np.cos(bearings), torch.float32)
        self._sine = self._put(np.sin(bearings), torch.float32)
        self._normal = self._put(NORMAL)
        self._jumps = self._put((np.arange(1, DRAWS + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15)).view(np.int64))
        self._beam = torch.arange(SCAN_BEAMS, device=self.device)
        self._row = torch.arange(batch, device=self.device)

        def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.zeros(batch, *shape, dtype=dtype, device=self.device)

        self.world = zeros(dtype=torch.int64)
        self.time = zeros()
        self.true_pose, self.odom_pose = zeros(3), zeros(3)
        self.true_velocity, self.velocity = zeros(2), zeros(2)
        self.goal = zeros(2)
        self.scan = zeros(SCAN_BEAMS, dtype=torch.float32)
        self.clearance = zeros()
        self.contact = zeros(dtype=torch.bool)
        self.contact_speed = zeros()
        self.mover_xy = zeros(bank.movers.shape[1], 2)
        self._wheel, self._command = zeros(2), zeros(2)
        self._history = zeros(HISTORY, 2)
        self._traits = zeros(len(TRAITS))
        self._random = zeros(dtype=torch.int64)
        # Every number of robots is compiled anew; past torch's limit of them that is an error.
        self._cast, self._nearest = (
            torch.compile(function, dynamic=False, fullgraph=True) if compiled else function
            for function in (cast, clearance))
        self._graph: torch.cuda.CUDAGraph | None = None

    def reset(self, slots: ArrayLike, legs: list[Leg], seeds: ArrayLike) -> None:
        """Begin new episodes in `slots` (k,), each with its leg and seed, and sense."""
        slots = np.asarray(slots, np.int64).reshape(-1)
        seeds = np.asarray(seeds, np.int64).reshape(-1)
        if not len(slots) == len(legs) == len(seeds):
            raise ValueError(f'{len(slots)} slots, {len(legs)} legs and {len(seeds)} seeds; '
                             'there must be as many of each')
        if len(slots) == 0:
            return
        drawn = [draw_traits(self.robot, self.variation, int(seed)) for seed in seeds]
        index = self._put(slots)
        self.world[index] = self._put([leg.world for leg in legs])
        self.true_pose[index] = self.odom_pose[index] = self._put([leg.start for leg in legs])
        self.goal[index] = self._put([leg.goal for leg in legs])
        self._traits[index] = self._put([traits for traits, _ in drawn])
        self._random[index] = self._put(np.array([random for _, random in drawn],
                                                 np.uint64).view(np.int64))
        for array in (self.time, self.true_velocity, self.velocity, self._wheel, self._history,
                      self.contact_speed):
            array[index] = 0.0
        self.contact[index] = False
        world, pose = self.world[index], self.true_pose[index]
        xy = self._movers.place(world, self.time[index])
        self.mover_xy[index] = xy
        # not compiled: the number of slots differs from reset to reset
        self.clearance[index] = self._clearance(clearance, world, pose, xy)
        self.scan[index] = self._scan(cast, world, pose, xy, self._traits[index],
                                      self._random[index])
        self._random[index] += self._jumps[-1]

    def step(self, command: Tensor) -> None:
        """Drive every robot for CONTROL_STEP with command (B, 2) v w, then sense."""
        if command.shape != (self.batch, 2):
            raise ValueError(f'command has shape {tuple(command.shape)}; it takes '
                             f'{(self.batch, 2)}')
        if command.device != self.scan.device:  # a copy in every step would go unnoticed
            raise ValueError(f'command is on {command.device}; it takes {self.scan.device}')
        self._command.copy_(command)
        if self._graph is None:
            self._advance()
        else:
            self._graph.replay()

    def capture(self) -> None:
        """Record the step as a CUDA graph, which every later step replays: no launch costs then.

        The robots stay as they are. Raises ValueError on a device that has no such graphs.
        """
        if self.device.type != 'cuda':
            raise ValueError(f'device {str(self.device)!r} has no CUDA graphs; capture takes cuda')
        state = (self.time, self.true_pose, self.odom_pose, self.true_velocity, self.velocity,
                 self.scan, self.clearance, self.contact, self.contact_speed, self.mover_xy,
                 self._wheel, self._history, self._random)
        kept = [array.clone() for array in state]
        with torch.cuda.device(self.device):
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # what is set up at first use must not be recorded
                self._advance()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._advance()
        for array, value in zip(state, kept, strict=True):
            array.copy_(value)
        self._graph = graph

    def trait(self, name: str) -> Tensor:
        """What each slot's episode drew for one of TRAITS. Shape: (B,)."""
        return self._traits[:, TRAITS.index(name)]

    def _put(self, values: ArrayLike, dtype: torch.dtype | None = None) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, dtype)

    def _advance(self) -> None:
        """What `worlds.batched._drive` and `_sense` do, for every robot at once."""
        dt = CONTROL_STEP / SUBSTEPS
        self._history.copy_(torch.cat((self._command[:, None], self._history[:, :-1]), 1))
        t = self._traits
        late = (t[:, DELAY] / dt).round().long()
        rise, fall, slip, drift = (torch.stack((t[:, a], t[:, b]), 1) for a, b in (
            (ACCELERATION, TURN_ACCELERATION), (DECELERATION, TURN_ACCELERATION),
            (SLIP, TURN_SLIP), (DRIFT, TURN_DRIFT)))
        for s in range(SUBSTEPS):
            self.time += dt
            back = ((late - s + SUBSTEPS - 1) // SUBSTEPS).clamp(min=0)
            free = ~self.contact[:, None]
            wheel = _toward(self._wheel, self._history[self._row, back], rise * dt,
                            fall * dt) * free
            velocity = wheel * (1.0 - slip)
            _integrate(self.true_pose, velocity, dt)
            _integrate(self.odom_pose, velocity * (1.0 + drift), dt)
            self.mover_xy.copy_(self._movers.place(self.world, self.time))
            self.clearance.copy_(self._clearance(self._nearest, self.world, self.true_pose,
                                                 self.mover_xy))
            hit = ~self.contact & (self.clearance <= 0.0)
            self.contact_speed.copy_(torch.where(hit, velocity[:, 0].abs(), self.contact_speed))
            self.contact |= hit
            going = ~hit[:, None]
            self._wheel.copy_(wheel * going)
            self.true_velocity.copy_(velocity * going)
            self.velocity.copy_(self.true_velocity * (1.0 + drift))
        self.scan.copy_(self._scan(self._cast, self.world, self.true_pose, self.mover_xy, t,
                                   self._random))
        self._random += self._jumps[-1]

    def _clearance(self, clearance: Callable[..., Tensor], world: Tensor, pose: Tensor, xy: Tensor
                   ) -> Tensor:
        """`clearance`: of torch_geometry, compiled or not. Shape: (k,) m."""
        near = self._touched.of(world)
        discs, boxes = near.sizes
        parts = self._parts(len(world), len(self._footprint) * (discs + 5 * boxes))
        return torch.cat([clearance(self._footprint, pose[p], near.part(p), xy[p],
                                    CLEARANCE_HORIZON) for p in parts])

    def _scan(self, cast: Callable[..., Tensor], world: Tensor, pose: Tensor, xy: Tensor,
              traits: Tensor, random: Tensor) -> Tensor:
        """The scan with noise and drop-outs; `cast` as above. Shape: (k, SCAN_BEAMS) m."""
        near = self._seen.of(world)
        parts = self._parts(len(world), SCAN_BEAMS * max(near.sizes))
        ranges = torch.cat([cast(self._cosine, self._sine, pose[p], near.part(p), xy[p],
                                 SCAN_RANGE_MAX) for p in parts])
        uniform = _uniform(random[:, None] + self._jumps)
        offset = (uniform[:, :1] * len(self._normal)).long()
        stride = 2 * (uniform[:, 1:2] * 512.0).long() + 1  # odd, so that noise does not repeat
        noise = self._normal[(offset + stride * self._beam) % len(self._normal)]
        ranges = (ranges + noise * traits[:, SCAN_NOISE, None]).clamp(min=0.0).float()
        unseen = ((self._bearings.abs() > 0.5 * traits[:, LIDAR_FOV, None])
                  | (uniform[:, 2:] < traits[:, SCAN_DROP, None]))
        return ranges.masked_fill(unseen, torch.nan)

    def _parts(self, robots: int, pairs: int) -> list[slice]:
        """As many robots at a time as `pairs` of each leave room for."""
        rows = max(1, self.pairs // pairs)
        return [slice(i, min(i + rows, robots)) for i in range(0, robots, rows)]


def _toward(value: Tensor, target: Tensor, rise: Tensor, fall: Tensor) -> Tensor:
    """One step of a ramp; slowing down (also through zero) goes by `fall`."""
    slower = (target * value < 0.0) | (target.abs() < value.abs())
    limit = torch.where(slower, fall, rise)
    return value + torch.minimum(limit, torch.maximum(-limit, target - value))


def _integrate(pose: Tensor, velocity: Tensor, dt: float) -> None:
    """Move poses (B, 3) on, in place: a unicycle with midpoint heading."""
    v, w = velocity[:, 0], velocity[:, 1]
    middle = pose[:, 2] + 0.5 * w * dt
    pose[:, 0] += v * dt * middle.cos()
    pose[:, 1] += v * dt * middle.sin()
    pose[:, 2] = (pose[:, 2] + w * dt + torch.pi) % (2.0 * torch.pi) - torch.pi


def _signed(value: int) -> int:
    """The signed 64-bit number of the same bits: torch has no unsigned arithmetic."""
    return value - (1 << 64) if value >> 63 else value


def _uniform(state: Tensor) -> Tensor:
    """Numbers in [0, 1) from the states of a splitmix64 (Steele et al. 2014), 64-bit."""
    z = state
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))) * _signed(factor)
    z = z ^ ((z >> 31) & ((1 << 33) - 1))
    return ((z >> 11) & ((1 << 53) - 1)).double() * 2.0**-53

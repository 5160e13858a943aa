"""Slow deliberation and the features of the fast reflex, for a batch of robots.

One body serves training and the robot: the node is a batch of one (policy.stages).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.contracts.layout import (
    MOVER_FIELDS,
    SCAN_BEAMS,
    scan_bearings,
)
from karpathy_control.contracts.view import whole_band_distance
from karpathy_control.policy import fan as f
from karpathy_control.policy import tokens as t
from karpathy_control.policy.cost_to_go import cell_factors, descend, value_at
from karpathy_control.policy.manoeuvre import block_cells, drop, make_manoeuvre
from karpathy_control.policy.stages import (
    Body,
    Layers,
    Plan,
    features_batch,
    features_single,
    observe_batch,
    observe_single,
    plan_batch,
    plan_single,
)

FASTEST = 100.0  # m/s and rad/s: far beyond any base; a roll-out from more than that overflows


class Features(NamedTuple):
    """What the reflex sees and what it corrects."""

    tokens: NDArray[np.float32]  # (B, TOKENS, FEATURES), finite, about [-1, 1]
    base_command: NDArray[np.float32]  # (B, 2) m/s, rad/s: the guidance's own command
    manoeuvres: NDArray[np.bool_]  # (B,) whether that is a step of a manoeuvre, see there


def camera_blind_distance(config: PolicyConfig) -> float:
    """Nearer than this to base the camera may look over or under an obstacle, m.

    The camera sees the whole height band of the robot only beyond this; see contracts.view.
    """
    robot = config.robot
    return robot.camera_pose[0] + whole_band_distance(
        robot.camera_pose, robot.ground_clearance, robot.height) + 0.1


def _bounded_speeds(values: ArrayLike) -> NDArray[np.float64]:
    """Speeds that a roll-out can carry: 0 for what is not finite, at most FASTEST."""
    finite = np.nan_to_num(np.asarray(values, dtype=np.float64), posinf=0.0, neginf=0.0)
    return np.clip(finite, -FASTEST, FASTEST)


class Deliberation:
    """Memory, cost-to-go and features of `batch` robots.

    Poses are (x, y, yaw) in odom, scans in the observation layout about base (NaN: nobody
    looked, +Inf: free). Moving entities, where known, are rows of MOVER_FIELDS
    (contracts.layout), at most some per robot; confidence 0 marks an unused row.
    """

    def __init__(self, config: PolicyConfig, batch: int = 1) -> None:
        if batch < 1:
            raise ValueError(f'batch is {batch}; it takes at least 1')
        self.batch = batch
        n = config.memory.width
        lidar, camera, age, seen = np.zeros((4, batch, n, n), np.uint8)
        self._layers = Layers(lidar, camera, age, seen, np.zeros((batch, 2), np.int64))
        self._plan = Plan(np.zeros((batch, n, n), np.float32), np.zeros((batch, 2), np.int64),
                          np.zeros(batch, np.bool_))
        self._manoeuvres = make_manoeuvre(batch)
        self._count = np.zeros(batch, np.int64)
        self._pose = np.zeros((batch, 3))
        self._everyone = np.ones(batch, np.bool_)
        self._fan = f.candidates()
        self._chosen = np.full(batch, -1)  # candidate of the last command, -1: none
        bearings = scan_bearings().astype(np.float64)
        self._bearings = np.cos(bearings), np.sin(bearings)
        self.configure(config)

    def configure(self, config: PolicyConfig) -> None:
        """Take over a configuration; the size and cell of the window cannot change."""
        if config.memory.width != self._layers.lidar.shape[1]:
            raise ValueError(f'memory.width cannot change from {self._layers.lidar.shape[1]} to '
                             f'{config.memory.width} in use')
        self.config = config
        robot = config.robot
        polygon = robot.polygon
        x, y = robot.camera_pose[:2]
        self._view = (camera_blind_distance(config), math.hypot(x, y))
        half_length, half_width = (float(v) for v in np.ptp(polygon, axis=0) / 2.0)
        self._body = Body(
            f.slabs_of(polygon), robot.circumscribed_radius, half_length, half_width,
            np.array([robot.max_speed, robot.max_reverse, robot.max_turn, robot.acceleration,
                      robot.deceleration, robot.turn_acceleration,
                      # the gate keeps this much more room, so what does not is no proposal
                      f.REACTION + robot.fault_budget]))
        memory = config.memory
        # Where the gate would let nothing pass, no way is planned.
        self._rule = (memory.cell, max(robot.inscribed_radius, 0.02) + f.MARGIN,
                      max(memory.clearance, 1e-3), memory.clearance_weight, memory.unknown_weight)

    def reset(self, index: ArrayLike | None = None) -> None:
        """Forget everything, of all robots or of those in `index` (indices or a mask)."""
        which = slice(None) if index is None else np.asarray(index)
        for array in (*self._layers, *self._plan, self._count, self._pose):
            array[which] = 0
        self._chosen[which] = -1
        drop(self._manoeuvres, which)

    def forget(self) -> None:
        """Empty the memory of all robots; their cost-to-go stays in use."""
        for array in self._layers[:-1]:
            array[:] = 0

    def observe(self, pose: ArrayLike, scan: ArrayLike, camera_scan: ArrayLike | None = None,
                moving: ArrayLike | None = None) -> None:
        """Enter one observation of every robot into its memory.

        Args:
            pose: (B, 3) odom, m and rad. A row that is not finite is skipped.
            scan: (B, SCAN_BEAMS) m.
            camera_scan: (B, SCAN_BEAMS) m, what the camera says; NaN outside its view.
            moving: (B, m, MOVER_FIELDS) moving entities in base; points at them are not kept.

        """
        pose, scan, camera, movers = self._inputs(pose, scan, camera_scan, moving)
        kernel = observe_batch if self.batch > 1 else observe_single
        kernel(self._layers, self._count, self._pose, self.config.memory.cell, pose, scan, camera,
               self._bearings, self._view, movers)

    def replan(self, goal: ArrayLike, which: ArrayLike | None = None) -> None:
        """Compute the cost-to-go to `goal` (B, 2) odom, m, for the robots in mask `which` (B,).

        A goal that is not finite is skipped. The result is in use at once.
        """
        mask = self._everyone if which is None else np.asarray(which, dtype=np.bool_)
        kernel = plan_batch if self.batch > 1 else plan_single
        kernel(self._layers, self._plan, self._manoeuvres.blocked, self._rule,
               np.ascontiguousarray(goal, dtype=np.float64), self._pose, mask)

    def features(self, pose: ArrayLike, velocity: ArrayLike, applied: ArrayLike, goal: ArrayLike,
                 scan: ArrayLike, moving: ArrayLike | None = None) -> Features:
        """Tokens and the guidance's command; call once after `observe` with the same scan.

        Args:
            pose: (B, 3) odom.
            velocity: (B, 2) measured v, w in base, m/s and rad/s.
            applied: (B, K, 2) commands that were applied last, newest first; K >= 1.
            goal: (B, 2) odom, m; NaN where there is none.
            scan: (B, SCAN_BEAMS) m.
            moving: (B, m, MOVER_FIELDS) moving entities in base.

        The command is zero where there is no plan yet, within the goal tolerance, and where no
        candidate can stop before its first contact.

        """
        pose, scan, _, movers = self._inputs(pose, scan, None, moving)
        tokens = np.empty((self.batch, t.TOKENS, t.FEATURES), np.float32)
        base = np.empty((self.batch, 2), np.float32)
        kernel = features_batch if self.batch > 1 else features_single
        kernel(self._layers, self._plan, self._manoeuvres, self._body, self._fan,
               self.config.memory.cell, self.config.goal_tolerance,
               np.nan_to_num(pose, posinf=0.0, neginf=0.0), _bounded_speeds(velocity),
               _bounded_speeds(applied), np.ascontiguousarray(goal, dtype=np.float64), scan,
               movers, self._bearings, self._chosen, tokens, base)
        return Features(tokens, base, self._manoeuvres.steps > 0)

    def drop_plan(self, index: ArrayLike | None = None) -> None:
        """Forget the cost-to-go (the goal changed), of all robots or of those in `index`."""
        which = slice(None) if index is None else np.asarray(index)
        self._plan.ready[which] = False
        drop(self._manoeuvres, which)

    @property
    def planned(self) -> NDArray[np.bool_]:
        """Whether each robot has a cost-to-go. Shape: (B,)."""
        return self._plan.ready

    def field(self, index: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64], float]:
        """Cost-to-go of one robot as a grid.

        Returns (n, n) m with row = y, the lower corner (x, y) in cells of odom, and the cell, m.
        """
        return self._plan.field[index], self._plan.origin[index], self.config.memory.cell

    def cost_at(self, points: ArrayLike, index: int = 0) -> NDArray[np.float64]:
        """Cost-to-go of one robot at odom points. Shape: (k, 2) m -> (k,) m of free path."""
        cell, origin = self.config.memory.cell, self._plan.origin[index]
        grid = np.asarray(points, dtype=np.float64).reshape(-1, 2) / cell - origin
        return np.array([value_at(self._plan.field[index], cell, x, y) for x, y in grid])

    def path(self, pose: ArrayLike, index: int = 0, points: int = 400) -> NDArray[np.float32]:
        """The way down the cost-to-go from a pose. Shape: (k, 2) m, odom; empty without a plan."""
        if not self._plan.ready[index]:
            return np.zeros((0, 2), np.float32)
        cell, origin = self.config.memory.cell, self._plan.origin[index]
        x, y = np.asarray(pose, dtype=np.float64)[:2] / cell - origin
        cells = np.empty((points, 2))
        count = descend(self._plan.field[index], x, y, cells)
        return ((cells[:count] + origin) * cell).astype(np.float32)

    def costmap(self, index: int = 0) -> tuple[NDArray[np.int8], float, float, float]:
        """The memory as an occupancy grid: -1 unknown, 0 free .. 100 occupied; see PolicyRuntime.

        Returns (n, n) int8 with row = y, the odom position of the lower corner (m) and the cell.
        """
        memory, layers = self.config.memory, self._layers
        lidar, camera, seen, origin = (layers.lidar[index], layers.camera[index],
                                       layers.seen[index], layers.origin[index])
        n, weight = len(lidar), max(memory.clearance_weight, 1e-3)
        factor = np.empty((n, n), np.float32)
        cell_factors(lidar, camera, seen, origin, *self._rule[:3], weight, 0.0, factor)
        block_cells(self._manoeuvres.blocked[index], origin, memory.cell, factor)
        window = np.ix_((origin[1] + np.arange(n)) % n, (origin[0] + np.arange(n)) % n)
        cells = np.clip((factor - 1.0) / weight, 0.0, 1.0) * 90.0
        grid = cells.astype(np.int8)
        grid[factor >= 200.0] = 99
        grid[seen[window] == 0] = -1
        grid[(lidar[window] > 0) | (camera[window] > 0)] = 100
        return grid, float(origin[0] * memory.cell), float(origin[1] * memory.cell), memory.cell

    def copy_memory(self, source: Deliberation) -> None:
        """Take over the memory of another one, so as to plan on it in another thread."""
        mine, theirs = self._layers, source._layers
        mine.lidar[:] = theirs.lidar
        mine.camera[:] = theirs.camera
        mine.seen[:] = theirs.seen
        mine.origin[:] = theirs.origin
        self._pose[:] = source._pose
        self._manoeuvres.blocked[:] = source._manoeuvres.blocked

    def adopt(self, planner: Deliberation) -> None:
        """Use the cost-to-go that a planner computed on a copy of this memory."""
        self._plan.field[:] = planner._plan.field
        self._plan.origin[:] = planner._plan.origin
        self._plan.ready[:] = planner._plan.ready

    def state(self) -> dict[str, NDArray[Any]]:
        """Memory, cost-to-go and manoeuvres of all robots, copies by name."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; KeyError or ValueError for what does not fit."""
        for name, array in self._arrays().items():
            if state[name].shape != array.shape:
                raise ValueError(f'{name} has shape {state[name].shape}; it takes {array.shape}')
            array[:] = state[name]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {**{f'{group}.{name}': array for group, arrays in (
                    ('layers', self._layers), ('plan', self._plan),
                    ('manoeuvre', self._manoeuvres)) for name, array in arrays._asdict().items()},
                'observed': self._count, 'pose': self._pose, 'chosen': self._chosen}

    def _inputs(self, pose, scan, camera_scan, moving):
        shape = (self.batch, SCAN_BEAMS)
        pose = np.ascontiguousarray(pose, dtype=np.float64)
        scan = np.ascontiguousarray(scan, dtype=np.float32)
        camera = (np.zeros((self.batch, 0), np.float32) if camera_scan is None
                  else np.ascontiguousarray(camera_scan, dtype=np.float32))
        movers = (np.zeros((self.batch, 0, MOVER_FIELDS)) if moving is None
                  else np.ascontiguousarray(moving, dtype=np.float64))
        if pose.shape != (self.batch, 3):
            raise ValueError(f'pose has shape {pose.shape}; it takes {(self.batch, 3)}')
        if scan.shape != shape or camera.shape not in (shape, (self.batch, 0)):
            raise ValueError(f'scans have shapes {scan.shape} and {camera.shape}; they take '
                             f'{shape}')
        if movers.ndim != 3 or movers.shape[0] != self.batch or movers.shape[2] != MOVER_FIELDS:
            raise ValueError(f'moving has shape {movers.shape}; it takes '
                             f'({self.batch}, m, {MOVER_FIELDS})')
        return pose, scan, camera, np.nan_to_num(movers, posinf=0.0, neginf=0.0)

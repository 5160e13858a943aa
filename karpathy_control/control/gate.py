"""The gate: passes the admissible command nearest to the proposed one, and fails closed.

One function for a batch of robots and for one: the batched world calls the same kernel as the
node, over a parallel loop only where there is more than one robot. No torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.view import nearest_ground_distance, whole_band_distance
from karpathy_control.control import camera_layer, lidar_layer
from karpathy_control.control.braking import advance, crept
from karpathy_control.control.candidates import (
    BRAKING,
    LIMITED,
    UNAVOIDABLE,
    UNCHANGED,
    Bounds,
    Last,
    filter_all,
    filter_one,
)
from karpathy_control.control.footprint import make_footprint, outline
from karpathy_control.control.limits import brake, braking_time
from karpathy_control.control.memory import Rules, forget, make_memory
from karpathy_control.control.scene import Motion, stop_reach
from karpathy_control.mapping.jit import kernel

__all__ = ['BRAKING', 'LIMITED', 'UNAVOIDABLE', 'UNCHANGED', 'Gate', 'GateResult']

CELL = 0.05  # m
WINDOW = 128  # cells: 6.4 m
TICK = 0.05  # s that a command may act before the next one
_SPARE = 0.5  # m beyond the longest stop up to which sensors mark cells as free
_SHADOW = 0.25  # m: neighbouring beams that differ by more have a shadow between them


@dataclass(frozen=True)
class GateResult:
    """What the gate made of a batch of proposals."""

    applied: NDArray[np.float64]  # (B, 2) m/s, rad/s
    status: NDArray[np.int8]  # (B,) UNCHANGED but for the limits, LIMITED, BRAKING, UNAVOIDABLE
    clearance: NDArray[np.float64]  # (B,) m from the footprint, inf where nothing is near


@kernel
def _braking_poses(x, y, yaw, v, w, motion, step):
    total = braking_time(v, w, motion.deceleration, motion.turn_acceleration)
    n = math.ceil(total / step)
    creep = crept(v, 0.0, total, motion)
    poses = np.empty((n + 1, 3))
    for k in range(n + 1):
        poses[k, 0] = x
        poses[k, 1] = y
        poses[k, 2] = yaw
        middle = (k + 0.5) * step
        vk, wk = brake(v, w, motion.deceleration, motion.turn_acceleration, middle)
        x, y, yaw = advance(x, y, yaw, vk + (creep if middle < total else 0.0), wk, step)
    return poses


class Gate:
    """Obstacle memory and braking check for `batch` robots; poses in odom, stamps in s.

    Args:
        config: limits, footprint and margins; the same for every robot of the batch.
        batch: number of robots.
        window: side of the rolling memory in cells of 5 cm.
        tick: longest time in s that a command acts before the next call of `filter`.

    """

    def __init__(self, config: ControlConfig, batch: int = 1, window: int = WINDOW,
                 tick: float = TICK) -> None:
        if batch < 1:
            raise ValueError(f'batch {batch}: a gate needs at least one robot')
        self.batch = batch
        self.tick = tick
        self._memory = make_memory(batch, window, config.gate.memory_time)
        self._last = Last(np.full((batch, 2), np.nan), np.zeros((batch, 2)),
                           np.full(batch, np.nan))
        self.configure(config)

    def configure(self, config: ControlConfig) -> None:
        """Take new limits and margins; what was seen stays."""
        robot, gate = config.robot, config.gate
        self.config = config
        self._footprint = make_footprint(robot.polygon)
        self._camera_offset = math.hypot(*robot.camera_pose[:2])
        self._samples = outline(self._footprint, gate.margin, CELL)
        self._motion = Motion(robot.acceleration, robot.deceleration, robot.turn_acceleration,
                              gate.reaction_time + robot.fault_budget, self.tick, gate.margin,
                              gate.obstacle_speed,
                              gate.drift_per_metre, gate.drift_per_radian,
                              self._memory.free_seen.shape[1] * CELL * math.sqrt(0.5),
                              _SHADOW if gate.occlusion else math.inf, creep=robot.creep)
        reach = stop_reach(max(robot.max_speed, robot.max_reverse), robot.max_turn, self._motion)
        self._rules = Rules(CELL, gate.start_radius, gate.memory_time,
                            nearest_ground_distance(robot.camera_pose),
                            whole_band_distance(robot.camera_pose, robot.ground_clearance,
                                                robot.height),
                            reach + self._footprint.radius + _SPARE)
        front, rear = float(robot.polygon[:, 0].max()), float(robot.polygon[:, 0].min())
        self._bounds = Bounds(robot.max_speed, robot.max_reverse, robot.max_turn, robot.jerk,
                              robot.max_lateral_acceleration, robot.max_curvature or math.inf,
                              gate.least_width, front - robot.lidar_pose[0],
                              robot.lidar_pose[0] - rear, gate.speed_steps, gate.turn_steps)

    def reset(self, index: ArrayLike | None = None) -> None:
        """Forget what was seen and commanded, for all robots or those of `index` (ints)."""
        rows = range(self.batch) if index is None else np.atleast_1d(np.asarray(index, np.int64))
        for b in rows:
            self.forget(int(b), disc=True)
            self._last.command[b] = np.nan
            self._last.rate[b] = 0.0
            self._last.time[b] = np.nan

    def forget(self, index: int = 0, disc: bool = False) -> None:
        """Drop the obstacle memory of one robot.

        `disc`: its next pose declares the start disc free. Without, only what the footprint
        covers is free until the sensors have seen more.
        """
        forget(self._memory, index, disc)

    def fence(self, points: ArrayLike) -> None:
        """Take points that hold always, for every robot. Shape: (n, 2) m in odom."""
        xy = np.ascontiguousarray(points, np.float64).reshape(-1, 2)
        self._memory = self._memory._replace(fence=xy)

    def record(self, applied: ArrayLike, time: ArrayLike) -> None:
        """Say what was commanded instead of the gate's last answer. Shapes: (B, 2), (B,) s."""
        self._last.command[:] = np.asarray(applied, np.float64).reshape(self.batch, 2)
        self._last.rate[:] = 0.0
        self._last.time[:] = time

    def observe_scan(self, pose: ArrayLike, ranges: ArrayLike, angle_min: float,
                     angle_increment: float, sensor: tuple[float, float, float],
                     range_min: float, range_max: float, time: ArrayLike) -> None:
        """Take a planar scan of every robot in.

        Args:
            pose: (B, 3) x y yaw of base in odom at the stamp of the scan.
            ranges: (B, n) m by REP-117: +Inf nothing, -Inf too close, NaN invalid.
            angle_min: bearing of the first beam in the sensor frame, rad.
            angle_increment: rad, negative where the scan turns clockwise; not zero.
            sensor: x, y, yaw of the sensor in base.
            range_min: m, nearer than this is too close to measure.
            range_max: m, farther than this is free.
            time: (B,) s, stamp of the scan.

        """
        beams = np.ascontiguousarray(np.atleast_2d(ranges), np.float32)
        if not (math.isfinite(angle_min) and math.isfinite(angle_increment)) or (
                angle_increment == 0.0):
            raise ValueError(f'angle_min {angle_min}, angle_increment {angle_increment}: both '
                             'must be finite and the increment not zero')
        if self._memory.scan.shape[1] != beams.shape[1]:
            self._memory = self._memory._replace(
                scan=np.full((self.batch, beams.shape[1], 2), np.nan, np.float32))
        arguments = (self._memory, self._rules, self._footprint, self._poses(pose), beams,
                     float(angle_min), float(angle_increment),
                     (float(sensor[0]), float(sensor[1]), float(sensor[2])), float(range_min),
                     float(range_max), self._vector(time))
        if self.batch == 1:
            lidar_layer.scan_one(0, *arguments)
        else:
            lidar_layer.scan_all(*arguments)

    def observe_depth(self, pose: ArrayLike, points: ArrayLike, kind: ArrayLike, count: ArrayLike,
                      origin: tuple[float, float], time: ArrayLike) -> None:
        """Take height-filtered depth of every robot in.

        Args:
            pose: (B, 3) x y yaw of base in odom at the stamp of the image.
            points: (B, m, 2) m in base.
            kind: (B, m) DepthPoints.OBSTACLE or FREE.
            count: (B,) how many of the m points are valid.
            origin: x, y of the camera in base, m.
            time: (B,) s, stamp of the image.

        """
        xy = np.ascontiguousarray(points, np.float32).reshape(self.batch, -1, 2)
        kinds = np.ascontiguousarray(kind, np.float32).reshape(self.batch, -1)
        counts = np.broadcast_to(np.asarray(count, np.int64), (self.batch,)).copy()
        arguments = (self._memory, self._rules, self._footprint, self._poses(pose), xy, kinds,
                     counts, (float(origin[0]), float(origin[1])), self._vector(time))
        if self.batch == 1:
            camera_layer.depth_one(0, *arguments)
        else:
            camera_layer.depth_all(*arguments)

    def observe_camera_scan(self, pose: ArrayLike, ranges: ArrayLike, time: ArrayLike,
                            takes_back: bool = False) -> None:
        """Add the obstacles of a camera scan; it clears nothing that another sensor saw.

        Shapes: pose (B, 3) in odom at its stamp, ranges (B, n) m about base at the bearings of
        contracts.layout.scan_bearings, time (B,) s. takes_back: what camera scans added goes
        where this one looks past it; for robots whose camera has no depth, since what depth
        added would go, too.
        """
        beams = np.ascontiguousarray(np.atleast_2d(ranges), np.float32)
        arguments = (self._memory, self._rules, self._footprint, self._poses(pose), beams,
                     self._camera_offset, takes_back, self._vector(time))
        if self.batch == 1:
            camera_layer.camera_scan_one(0, *arguments)
        else:
            camera_layer.camera_scan_all(*arguments)

    def filter(self, pose: ArrayLike, velocity: ArrayLike, proposal: ArrayLike, time: ArrayLike,
               speed_limit: ArrayLike | None = None,
               reverse_limit: ArrayLike | None = None) -> GateResult:
        """The admissible commands nearest to the proposed ones.

        Args:
            pose: (B, 3) x y yaw of base in odom, the latest there is.
            velocity: (B, 2) measured v (m/s) and w (rad/s).
            proposal: (B, 2) wanted v and w.
            time: (B,) s, now.
            speed_limit: (B,) m/s, both ways; None for the configured limits.
            reverse_limit: (B,) m/s backwards; None for the configured limit.

        Anything that is not finite brakes.

        """
        applied = np.zeros((self.batch, 2))
        status = np.zeros(self.batch, np.int8)
        clearance = np.zeros(self.batch)
        arguments = (self._memory, self._rules, self._motion, self._bounds, self._footprint,
                     self._samples, self._last, self._poses(pose), self._pairs(velocity),
                     self._pairs(proposal), self._vector(time), self._limit(speed_limit),
                     self._limit(reverse_limit), applied, status, clearance)
        if self.batch == 1:
            filter_one(0, *arguments)
        else:
            filter_all(*arguments)
        return GateResult(applied, status, clearance)

    def braking(self, pose: ArrayLike, command: ArrayLike) -> NDArray[np.float64]:
        """The braking that follows a command from a pose. Shape: (3,), (2,) -> (n, 3) in odom."""
        x, y, yaw = (float(p) for p in np.asarray(pose, np.float64))
        v, w = (float(c) for c in np.asarray(command, np.float64))
        return _braking_poses(x, y, yaw, v, w, self._motion, 0.02)

    def _poses(self, pose: ArrayLike) -> NDArray[np.float64]:
        return np.ascontiguousarray(pose, np.float64).reshape(self.batch, 3)

    def _pairs(self, values: ArrayLike) -> NDArray[np.float64]:
        return np.ascontiguousarray(values, np.float64).reshape(self.batch, 2)

    def _vector(self, values: ArrayLike) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(values, np.float64), (self.batch,)).copy()

    def _limit(self, values: ArrayLike | None) -> NDArray[np.float64]:
        return self._vector(np.inf if values is None else values)

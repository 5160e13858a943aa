"""The gate: passes the admissible command nearest to the proposed one, and fails closed.

One function for a batch of robots and for one: the batched world calls the same kernel as the
node, over a parallel loop only where there is more than one robot. No torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.config import ControlConfig, RobotConfig
from karpathy_control.contracts.layout import IMAGE_HEIGHT, image_focal
from karpathy_control.contracts.view import whole_band_distance
from karpathy_control.control import camera_layer, lidar_layer
from karpathy_control.control.braking import (
    Motion,
    advance,
    approach_and_brake,
    culprits,
    ends_badly,
    hits_last_culprits,
    phase,
    stop_reach,
    survey,
)
from karpathy_control.control.drift import drift_since
from karpathy_control.control.evasion import least_closing
from karpathy_control.control.footprint import make_footprint, outline
from karpathy_control.control.limits import bounded, brake, braking_time, clamp, reachable
from karpathy_control.control.memory import Rules, forget, make_memory, mark_place, place
from karpathy_control.mapping.jit import kernel

CELL = 0.05  # m
WINDOW = 128  # cells: 6.4 m
TICK = 0.05  # s that a command may act before the next one
_LONGEST = 0.1  # s: a longer silence of the caller allows no larger change of the command
_ROUNDING = 1e-9
_MOST_DRIFT = 1.0  # m: what is farther away is not looked up for what it may have drifted
_SPARE = 0.5  # m beyond the longest stop up to which sensors mark cells as free

_SHADOW = 0.25  # m: neighbouring beams that differ by more have a shadow between them

UNCHANGED, LIMITED, BRAKING, UNAVOIDABLE = 0, 1, 2, 3


class Bounds(NamedTuple):
    """Limits on what is commanded, and the grid of candidates."""

    max_speed: float  # m/s
    max_reverse: float  # m/s
    max_turn: float  # rad/s
    jerk: float  # m/s^3
    lateral: float  # m/s^2, of |v * w|
    curvature: float  # 1/m, of |w / v|
    least_width: float  # m
    front: float  # m from the lidar to the front of the footprint
    rear: float  # m to its rear
    speed_steps: int
    turn_steps: int


class _Last(NamedTuple):
    """The command under way; NaN where there is none yet."""

    command: NDArray[np.float64]  # (B, 2) m/s, rad/s
    rate: NDArray[np.float64]  # (B, 2) its change per second in the last step
    time: NDArray[np.float64]  # (B,) s


@dataclass(frozen=True)
class GateResult:
    """What the gate made of a batch of proposals."""

    applied: NDArray[np.float64]  # (B, 2) m/s, rad/s
    status: NDArray[np.int8]  # (B,) UNCHANGED but for the limits, LIMITED, BRAKING, UNAVOIDABLE
    clearance: NDArray[np.float64]  # (B,) m from the footprint, inf where nothing is near


@kernel
def _clear(scene, motion, footprint, samples, cell, at_once, late, v, w):
    """Whether both ways to (v, w) and the braking after them are clear; the late one first."""
    x, y, yaw, v0, w0 = late
    if not approach_and_brake(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v, w,
                              motion.tick, motion.reaction):
        return False
    x, y, yaw, v0, w0 = at_once
    return approach_and_brake(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v, w,
                              motion.reaction + motion.tick, 0.0)


@kernel
def _admissible(scene, motion, footprint, samples, cell, at_once, late, v, w):
    """Whether (v, w) leaves a clear braking, by a base that answers late and by one at once.

    Cheap looks come first: most commands that fail do so at one of the points that ruled out the
    last ones, or at the end.
    """
    x, y, yaw, v0, w0 = at_once
    x1, y1, yaw1, v1, w1 = late
    both = motion.reaction + motion.tick
    if hits_last_culprits(scene, motion, footprint, x, y, yaw, v0, w0, v, w, both):
        return False
    if hits_last_culprits(scene, motion, footprint, x1, y1, yaw1, v1, w1, v, w, motion.tick):
        return False
    few, large_steps = culprits(scene, motion)
    if not _clear(few, large_steps, footprint, samples[:0], cell, at_once, late, v, w):
        return False
    if ends_badly(scene, motion, footprint, samples, cell, x1, y1, yaw1, v1, w1, v, w,
                  motion.tick, motion.reaction):
        return False
    if ends_badly(scene, motion, footprint, samples, cell, x, y, yaw, v0, w0, v, w, both, 0.0):
        return False
    return _clear(scene, motion, footprint, samples, cell, at_once, late, v, w)


@kernel
def _turn_bound(v, bounds):
    """The largest |w| in rad/s at speed v: turning rate, lateral acceleration, curvature."""
    speed = abs(v)
    bound = min(bounds.max_turn, bounds.lateral / max(speed, 1e-6))
    if math.isinf(bounds.curvature):  # none: it turns in place
        return bound
    return min(bound, bounds.curvature * speed)


@kernel
def speed_cap(distance, motion):
    """The speed in m/s from which the base stops within `distance` m; inverse of stop_reach."""
    delay = motion.reaction + motion.tick
    distance = max(distance, 0.0)
    return motion.deceleration * (
        math.sqrt(delay * delay + 2.0 * distance / motion.deceleration) - delay)


@kernel
def _filter_one(b, memory, rules, motion, bounds, footprint, samples, last, pose, velocity,
                proposal, time, speed_limit, reverse_limit, applied, status, clearance):
    x = pose[b, 0]
    y = pose[b, 1]
    yaw = pose[b, 2]
    v0 = velocity[b, 0]
    w0 = velocity[b, 1]
    wish_v = proposal[b, 0]
    wish_w = proposal[b, 1]
    dt = motion.tick
    if math.isfinite(last.time[b]) and math.isfinite(time[b]):
        dt = clamp(time[b] - last.time[b], 1e-3, _LONGEST)
    under_v = last.command[b, 0]
    under_w = last.command[b, 1]
    if math.isnan(under_v):
        under_v = v0 if math.isfinite(v0) else 0.0
        under_w = w0 if math.isfinite(w0) else 0.0
    brake_v, brake_w = brake(under_v, under_w, motion.deceleration, motion.turn_acceleration, dt)
    out_v = brake_v
    out_w = brake_w
    status[b] = BRAKING
    clearance[b] = math.nan
    if (math.isfinite(x) and math.isfinite(y) and math.isfinite(yaw) and math.isfinite(v0)
            and math.isfinite(w0) and math.isfinite(wish_v) and math.isfinite(wish_w)
            and math.isfinite(time[b])):
        now = place(memory, b, x, y, yaw, time[b], rules)
        mark_place(memory, b, samples, x, y, yaw, now, rules.cell)
        most = min(bounds.max_speed, speed_limit[b])
        least = -min(bounds.max_reverse, speed_limit[b], reverse_limit[b])
        if memory.scan_origin[b, 2] > 0.0:
            # Beyond this distance the least obstacle may stand between two beams.
            sure = bounds.least_width / memory.scan_origin[b, 2] - motion.margin
            most = min(most, speed_cap(sure - bounds.front, motion))
            least = max(least, -speed_cap(sure - bounds.rear, motion))
        wish_v = clamp(wish_v, least, most)
        turn = _turn_bound(wish_v, bounds)
        wish_w = clamp(wish_w, -turn, turn)
        low_v, high_v = reachable(under_v, last.rate[b, 0], motion.acceleration,
                                  motion.deceleration, bounds.jerk, dt)
        low_v, high_v = bounded(low_v, high_v, least, most)
        low_w, high_w = reachable(under_w, 0.0, motion.turn_acceleration,
                                  motion.turn_acceleration, math.inf, dt)
        low_w, high_w = bounded(low_w, high_w, -bounds.max_turn, bounds.max_turn)
        fastest = max(abs(v0), abs(under_v), abs(low_v), abs(high_v))
        fastest_w = max(abs(w0), abs(under_w), abs(low_w), abs(high_w))
        total = braking_time(fastest, fastest_w, motion.deceleration, motion.turn_acceleration)
        reach = (footprint.radius + motion.margin + rules.cell
                 + stop_reach(fastest, fastest_w, motion)
                 + motion.obstacle_speed * (motion.reaction + motion.tick + total)
                 + min(drift_since(memory, b, now - rules.memory_time, 0.0, motion), _MOST_DRIFT))
        scene, clearance[b] = survey(b, memory, rules, motion, footprint, samples, x, y, yaw,
                                     now, reach)
        clear, x1, y1, yaw1 = phase(scene, motion, footprint, samples, rules.cell, x, y, yaw, v0,
                                    w0, v0, w0, False, motion.reaction, 0.0)
        now_state = (x, y, yaw, v0, w0)
        late_state = (x1, y1, yaw1, v0, w0)
        if clear:
            v = clamp(wish_v, low_v, high_v)
            w = clamp(wish_w, low_w, high_w)
            turn = _turn_bound(v, bounds)
            w = clamp(w, max(low_w, -turn), max(low_w, min(high_w, turn)))
            if _admissible(scene, motion, footprint, samples, rules.cell, now_state, late_state,
                           v, w):
                status[b] = UNCHANGED
                out_v = v
                out_w = w
            else:
                speeds = _spread(low_v, high_v, v, bounds.speed_steps)
                turns = _spread(low_w, high_w, w, bounds.turn_steps)
                for k in _by_distance(speeds, turns, wish_v, wish_w, bounds):
                    v = speeds[k // bounds.turn_steps]
                    w = turns[k % bounds.turn_steps]
                    if abs(w) <= _turn_bound(v, bounds) + _ROUNDING and _admissible(
                            scene, motion, footprint, samples, rules.cell, now_state, late_state,
                            v, w):
                        status[b] = LIMITED
                        out_v = v
                        out_w = w
                        break
        if status[b] == BRAKING and not (
                clear and _admissible(scene, motion, footprint, samples, rules.cell, now_state,
                                      late_state, brake_v, brake_w)):
            found, out_v, out_w = least_closing(
                scene, motion, footprint, samples, rules.cell, now_state, brake_v, brake_w,
                clamp(wish_v, low_v, high_v), low_w, high_w)
            if found:
                status[b] = UNAVOIDABLE
    last.rate[b, 0] = (out_v - under_v) / dt
    last.rate[b, 1] = (out_w - under_w) / dt
    last.command[b, 0] = out_v
    last.command[b, 1] = out_w
    if math.isfinite(time[b]):
        last.time[b] = time[b]
    applied[b, 0] = out_v
    applied[b, 1] = out_w


@kernel
def _spread(low, high, wish, steps):
    """`steps` values from low to high, the one nearest to `wish` moved onto it."""
    values = np.linspace(low, high, steps)
    values[np.argmin(np.abs(values - wish))] = wish
    return values


@kernel
def _by_distance(speeds, turns, wish_v, wish_w, bounds):
    """Candidates nearest first: (dv / v_max)^2 + (dw / w_max)^2, ties to the wish's turn."""
    cost = np.empty(speeds.shape[0] * turns.shape[0])
    side = 1e-9 * np.sign(wish_w)
    k = 0
    for v in speeds:
        for w in turns:
            dv = (v - wish_v) / bounds.max_speed
            dw = (w - wish_w) / bounds.max_turn
            cost[k] = dv * dv + dw * dw - side * w
            k += 1
    return np.argsort(cost)


@kernel(parallel=True)
def _filter_all(memory, rules, motion, bounds, footprint, samples, last, pose, velocity, proposal,
                time, speed_limit, reverse_limit, applied, status, clearance):
    for b in prange(pose.shape[0]):
        _filter_one(b, memory, rules, motion, bounds, footprint, samples, last, pose, velocity,
                    proposal, time, speed_limit, reverse_limit, applied, status, clearance)


@kernel
def _braking_poses(x, y, yaw, v, w, deceleration, turn_deceleration, step):
    n = math.ceil(braking_time(v, w, deceleration, turn_deceleration) / step)
    poses = np.empty((n + 1, 3))
    for k in range(n + 1):
        poses[k, 0] = x
        poses[k, 1] = y
        poses[k, 2] = yaw
        vk, wk = brake(v, w, deceleration, turn_deceleration, (k + 0.5) * step)
        x, y, yaw = advance(x, y, yaw, vk, wk, step)
    return poses


def camera_blind_distance(robot: RobotConfig) -> float:
    """Plan distance in m from the camera to the nearest ground it sees, by the layout's pinhole.

    The lower edge of the image looks down by the camera's pitch plus half its vertical view;
    infinite where that is not below the horizon.
    """
    height, pitch = robot.camera_pose[2], robot.camera_pose[4]
    down = pitch + math.atan(0.5 * IMAGE_HEIGHT / image_focal())
    return height / math.tan(down) if 0.0 < down < 0.5 * math.pi else math.inf


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
        self._last = _Last(np.full((batch, 2), np.nan), np.zeros((batch, 2)),
                           np.full(batch, np.nan))
        self.configure(config)

    def configure(self, config: ControlConfig) -> None:
        """Take new limits and margins; what was seen stays."""
        robot, gate = config.robot, config.gate
        self.config = config
        self._footprint = make_footprint(robot.polygon)
        self._samples = outline(self._footprint, gate.margin, CELL)
        self._motion = Motion(robot.acceleration, robot.deceleration, robot.turn_acceleration,
                              gate.reaction_time + robot.fault_budget, self.tick, gate.margin,
                              gate.obstacle_speed,
                              gate.drift_per_metre, gate.drift_per_radian,
                              self._memory.free_seen.shape[1] * CELL * math.sqrt(0.5),
                              _SHADOW if gate.occlusion else math.inf)
        reach = stop_reach(max(robot.max_speed, robot.max_reverse), robot.max_turn, self._motion)
        self._rules = Rules(CELL, gate.start_radius, gate.memory_time,
                            camera_blind_distance(robot),
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

    def observe_camera_scan(self, pose: ArrayLike, ranges: ArrayLike, time: ArrayLike) -> None:
        """Add the obstacles of a camera scan; it never clears anything.

        Shapes: pose (B, 3) in odom at its stamp, ranges (B, n) m about base at the bearings of
        contracts.layout.scan_bearings, time (B,) s.
        """
        beams = np.ascontiguousarray(np.atleast_2d(ranges), np.float32)
        arguments = (self._memory, self._rules, self._footprint, self._poses(pose), beams,
                     self._vector(time))
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
            _filter_one(0, *arguments)
        else:
            _filter_all(*arguments)
        return GateResult(applied, status, clearance)

    def braking(self, pose: ArrayLike, command: ArrayLike) -> NDArray[np.float64]:
        """The braking that follows a command from a pose. Shape: (3,), (2,) -> (n, 3) in odom."""
        x, y, yaw = (float(p) for p in np.asarray(pose, np.float64))
        v, w = (float(c) for c in np.asarray(command, np.float64))
        return _braking_poses(x, y, yaw, v, w, self._motion.deceleration,
                              self._motion.turn_acceleration, 0.02)

    def _poses(self, pose: ArrayLike) -> NDArray[np.float64]:
        return np.ascontiguousarray(pose, np.float64).reshape(self.batch, 3)

    def _pairs(self, values: ArrayLike) -> NDArray[np.float64]:
        return np.ascontiguousarray(values, np.float64).reshape(self.batch, 2)

    def _vector(self, values: ArrayLike) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(values, np.float64), (self.batch,)).copy()

    def _limit(self, values: ArrayLike | None) -> NDArray[np.float64]:
        return self._vector(np.inf if values is None else values)

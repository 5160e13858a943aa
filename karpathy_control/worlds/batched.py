"""Many planar robots at once, each in a world of a bank: the simulator that training runs on.

Planar and kinematic on purpose: a unicycle with acceleration limits, actuation delay, slip and
drifting odometry, an exact convex footprint, a planar lidar in the observation layout and what
the camera says, drawn from an error model (worlds.surrogate). No physics of contact: a robot that
touches something is marked and stands still until its slot is reset. MuJoCo has the contacts, the
images and the last word. Everything random comes from the seed of a slot's episode, so runs can be
paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import prange
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.contracts.types import DepthPoints
from karpathy_control.mapping.jit import kernel
from karpathy_control.worlds.bank import FASTEST, PERIOD, PHASE, WALKING, Bank
from karpathy_control.worlds.contact import clearance
from karpathy_control.worlds.raycast import cast
from karpathy_control.worlds.social import (
    STEP,
    WALK_COLUMNS,
    decide,
    distance_to_people,
    start_people,
)
from karpathy_control.worlds.surrogate import MODELS, RAYS, ErrorModel, draw, exact
from karpathy_control.worlds.traits import (
    ACCELERATION,
    CAMERA_DEPTH,
    CAMERA_ERROR,
    CAMERA_RANGE,
    DECELERATION,
    DELAY,
    DEPTH_NOISE,
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
from karpathy_control.worlds.variation import MAX_DELAY, Variation

CONTROL_STEP = STEP  # s: people decide once in each
SUBSTEPS = 5  # 10 ms each: 12 mm at 1.2 m/s between two contact checks
HISTORY = math.ceil(MAX_DELAY / CONTROL_STEP) + 1  # commands on their way to the wheels
CLEARANCE_HORIZON = 1.0  # m, clearance is reported up to here
CAMERA_NEAREST = 0.45  # m from base: nearer, a low obstacle is under the image
CAMERA_HALF = math.radians(45.0)  # half of the camera's view, about base


@dataclass(frozen=True)
class Leg:
    """Where an episode begins and ends: world number, start pose and goal, world frame."""

    world: int
    start: tuple[float, float, float]  # x y yaw
    goal: tuple[float, float]


class BatchedWorld:
    """A batch of B robots. Arrays are reused from step to step: copy what must be kept.

    time (B,) s since the episode's start; true_pose and odom_pose (B, 3) x y yaw; true_velocity
    and velocity (B, 2) v w, the latter as odometry measures it; goal (B, 2) world; scan
    (B, SCAN_BEAMS) m about base in the observation layout; camera_scan likewise, what perception
    says; depth_points (B, 2 C, 2) m in base and their depth_kind (B, 2 C), what filtered depth
    says at C bearings, NaN for nothing (contracts.types.DepthPoints); clearance (B,) m from
    the footprint to the nearest thing, at most CLEARANCE_HORIZON; contact (B,) bool, stays until
    reset; contact_speed (B,) m/s of the robot when it happened; mover_xy (B, M, 2) m, world, of
    movers and then people; person_distance (B,) m from the footprint to the nearest person, inf
    where there is none.
    """

    def __init__(self, bank: Bank, batch: int, robot: RobotConfig,
                 variation: Variation | None = None,
                 cameras: Mapping[str, ErrorModel] | None = None) -> None:
        """`cameras`: how the camera scan errs, by name in MODELS; by default it does not."""
        if batch < 1:
            raise ValueError(f'batch is {batch}; it takes at least 1')
        self.bank, self.batch, self.robot = bank, batch, robot
        self.variation = variation if variation is not None else Variation()
        self._footprint = np.ascontiguousarray(robot.polygon)
        self._band = (robot.ground_clearance, robot.height)
        if cameras is None:
            cameras = dict.fromkeys(MODELS, exact(CAMERA_NEAREST))
        self._learned, self._depth_model = (cameras[name].draw(robot.camera_pose)
                                            for name in MODELS)
        bearings = scan_bearings().astype(np.float64)
        self._bearings, self._cosine, self._sine = bearings, np.cos(bearings), np.sin(bearings)
        rays = scan_bearings(RAYS).astype(np.float64)  # of a sensor that is turned by half a ray
        self._ray_cosine, self._ray_sine = np.cos(rays), np.sin(rays)
        movers = bank.movers.shape[1]
        self.world = np.zeros(batch, np.int64)
        self.time = np.zeros(batch)
        self.true_pose = np.zeros((batch, 3))
        self.odom_pose = np.zeros((batch, 3))
        self.true_velocity = np.zeros((batch, 2))
        self.velocity = np.zeros((batch, 2))
        self.goal = np.zeros((batch, 2))
        self.scan = np.full((batch, SCAN_BEAMS), np.nan, np.float32)
        self.camera_scan = np.full((batch, SCAN_BEAMS), np.nan, np.float32)
        columns = int((np.abs(bearings) <= CAMERA_HALF).sum())
        self.depth_points = np.full((batch, 2 * columns, 2), np.nan, np.float32)
        self.depth_kind = np.empty((batch, 2 * columns), np.float32)
        self.depth_kind[:, :columns] = DepthPoints.OBSTACLE
        self.depth_kind[:, columns:] = DepthPoints.FREE
        # m: without errors, in the plane of the lidar and in the height band of the robot
        self._plane, self._nearest = np.empty((2, batch, RAYS), np.float32)
        self._latent = np.zeros((batch, 2, SCAN_BEAMS))  # of what the camera scan errs by
        self.clearance = np.full(batch, CLEARANCE_HORIZON)
        self.contact = np.zeros(batch, np.bool_)
        self.contact_speed = np.zeros(batch)
        self.mover_xy = np.zeros((batch, movers, 2))
        self.person_distance = np.full(batch, np.inf)
        self._walk = np.zeros((batch, movers, WALK_COLUMNS))
        self._wheel = np.zeros((batch, 2))
        self._history = np.zeros((batch, HISTORY, 2))
        self._traits = np.zeros((batch, len(TRAITS)))
        self._random = np.zeros(batch, np.uint64)

    def reset(self, slots: ArrayLike, legs: list[Leg], seeds: ArrayLike) -> None:
        """Begin new episodes in `slots` (k,), each with its leg and seed, and sense."""
        slots = np.asarray(slots, np.int64).reshape(-1)
        seeds = np.asarray(seeds, np.int64).reshape(-1)
        if not len(slots) == len(legs) == len(seeds):
            raise ValueError(f'{len(slots)} slots, {len(legs)} legs and {len(seeds)} seeds; '
                             'there must be as many of each')
        for slot, leg, seed in zip(slots, legs, seeds, strict=True):
            self.world[slot] = leg.world
            self.true_pose[slot] = self.odom_pose[slot] = leg.start
            self.goal[slot] = leg.goal
            self._traits[slot], self._random[slot] = draw_traits(self.robot, self.variation,
                                                                 int(seed))
        for array in (self.time, self.true_velocity, self.velocity, self._wheel, self._history,
                      self.contact_speed):
            array[slots] = 0.0
        self.contact[slots] = False
        b = self.bank
        for slot, w in zip(slots, self.world[slots], strict=True):
            start_people(b.movers[w], b.keyframes[w], b.mover_count[w], self.mover_xy[slot],
                         self._walk[slot])
        self._sense(slots)

    def step(self, command: NDArray[np.floating]) -> None:
        """Drive every robot for CONTROL_STEP with command (B, 2) v w, then sense."""
        if command.shape != (self.batch, 2):
            raise ValueError(f'command has shape {command.shape}; it takes {(self.batch, 2)}')
        b = self.bank
        _drive(np.ascontiguousarray(command, np.float64), self.world, self.time, self.true_pose,
               self.odom_pose, self.true_velocity, self.velocity, self._wheel, self._history,
               self._traits, self.clearance, self.contact, self.contact_speed, self.mover_xy,
               self._walk, self._footprint, self.robot.circumscribed_radius, *self._band,
               b.circles, b.circle_count, b.boxes, b.box_count, b.movers, b.keyframes,
               b.keyframe_count, b.mover_count)
        self._sense(np.arange(self.batch))

    def trait(self, name: str) -> NDArray[np.float64]:
        """What each slot's episode drew for one of TRAITS. Shape: (B,)."""
        return self._traits[:, TRAITS.index(name)]

    def free(self, leg: Leg, margin: float = 0.05) -> bool:
        """Whether the footprint, widened by `margin` m, is clear of everything at the start."""
        b, w = self.bank, leg.world
        xy = np.zeros((b.movers.shape[1], 2))
        place_movers(0.0, b.movers[w], b.keyframes[w], b.keyframe_count[w], b.mover_count[w], xy)
        start_people(b.movers[w], b.keyframes[w], b.mover_count[w], xy,
                     np.empty((len(xy), WALK_COLUMNS)))
        distance = clearance(
            self._footprint, self.robot.circumscribed_radius, np.array(leg.start), *self._band,
            b.circles[w], b.circle_count[w], b.boxes[w], b.box_count[w], b.movers[w], xy,
            b.mover_count[w], CLEARANCE_HORIZON)
        return bool(distance > margin)

    def _sense(self, slots: NDArray[np.int64]) -> None:
        b = self.bank
        _sense(slots, self.world, self.time, self.true_pose, self.scan, self.camera_scan,
               self.depth_points, self.clearance, self.mover_xy, self.person_distance,
               self._traits, self._plane, self._nearest, self._latent, self._learned,
               self._depth_model, self._random, self._bearings, self._cosine, self._sine,
               self._ray_cosine, self._ray_sine, self._footprint,
               self.robot.circumscribed_radius, *self._band, float(self.robot.lidar_pose[2]),
               b.circles, b.circle_count, b.boxes, b.box_count, b.movers, b.keyframes,
               b.keyframe_count, b.mover_count, NORMAL)


@kernel
def place_movers(time, movers, keyframes, keyframe_count, mover_count, xy):
    """Write where each mover of one world is at `time` s into xy (M, 2) m; not the people."""
    for j in range(mover_count):
        if movers[j, WALKING] > 0.0:
            continue
        keys = keyframes[j]
        xy[j, 0], xy[j, 1] = keys[0, 1], keys[0, 2]
        if movers[j, PERIOD] <= 0.0:
            continue
        now = (movers[j, PHASE] + time) % movers[j, PERIOD]
        before, after = 0, keyframe_count[j] - 1
        while after - before > 1:
            middle = (before + after) // 2
            if keys[middle, 0] <= now:
                before = middle
            else:
                after = middle
        part = (now - keys[before, 0]) / (keys[after, 0] - keys[before, 0])
        for k in range(2):
            xy[j, k] = keys[before, k + 1] + part * (keys[after, k + 1] - keys[before, k + 1])


@kernel
def _toward(value, target, acceleration, deceleration, dt):
    """One step of a first-order ramp; slowing down (also through zero) uses `deceleration`."""
    limit = (deceleration if target * value < 0.0 or abs(target) < abs(value)
             else acceleration) * dt
    return value + min(limit, max(-limit, target - value))


@kernel
def _integrate(pose, v, w, dt):
    """Unicycle, midpoint heading: the error per 10 ms step is below 1e-6 m at 2 m/s, 4 rad/s."""
    mid = pose[2] + 0.5 * w * dt
    pose[0] += v * dt * math.cos(mid)
    pose[1] += v * dt * math.sin(mid)
    pose[2] = (pose[2] + w * dt + math.pi) % (2.0 * math.pi) - math.pi


@kernel(parallel=True)
def _drive(command, world, time, true_pose, odom_pose, true_velocity, velocity, wheel, history,
           traits, near, contact, contact_speed, mover_xy, walk, footprint, reach, low, high,
           circles, circle_count, boxes, box_count, movers, keyframes, keyframe_count,
           mover_count):
    """Advance every slot by CONTROL_STEP in SUBSTEPS, checking for contact on the way."""
    dt = CONTROL_STEP / SUBSTEPS
    for i in prange(command.shape[0]):
        for k in range(HISTORY - 1, 0, -1):
            history[i, k] = history[i, k - 1]
        history[i, 0] = command[i]
        u, t = world[i], traits[i]
        late = round(t[DELAY] / dt)
        fastest = 0.0  # of the movers
        people = False
        for j in range(mover_count[u]):
            fastest = max(fastest, movers[u, j, FASTEST])
            people = people or movers[u, j, WALKING] > 0.0
        if people:
            x, y, yaw = true_pose[i]
            v = true_velocity[i, 0]
            decide(mover_xy[i], walk[i], movers[u], keyframes[u], keyframe_count[u],
                   mover_count[u], (x, y, v * math.cos(yaw), v * math.sin(yaw)), reach,
                   circles[u], circle_count[u], boxes[u], box_count[u])
        spare = near[i]  # a lower bound on the clearance, so that most substeps need no check
        for s in range(SUBSTEPS):
            time[i] += dt
            if people:
                for j in range(mover_count[u]):
                    mover_xy[i, j, 0] += walk[i, j, 0] * dt  # 0 but for people
                    mover_xy[i, j, 1] += walk[i, j, 1] * dt
            if contact[i]:
                continue
            back = 0 if s >= late else (late - s + SUBSTEPS - 1) // SUBSTEPS
            wheel[i, 0] = _toward(wheel[i, 0], history[i, back, 0], t[ACCELERATION],
                                  t[DECELERATION], dt)
            wheel[i, 1] = _toward(wheel[i, 1], history[i, back, 1], t[TURN_ACCELERATION],
                                  t[TURN_ACCELERATION], dt)
            v, w = wheel[i, 0] * (1.0 - t[SLIP]), wheel[i, 1] * (1.0 - t[TURN_SLIP])
            true_velocity[i, 0], true_velocity[i, 1] = v, w
            velocity[i, 0] = v * (1.0 + t[DRIFT])
            velocity[i, 1] = w * (1.0 + t[TURN_DRIFT])
            _integrate(true_pose[i], v, w, dt)
            _integrate(odom_pose[i], velocity[i, 0], velocity[i, 1], dt)
            spare -= (abs(v) + abs(w) * reach + fastest) * dt
            if spare <= 0.0:
                place_movers(time[i], movers[u], keyframes[u], keyframe_count[u], mover_count[u],
                             mover_xy[i])
                spare = clearance(footprint, reach, true_pose[i], low, high, circles[u],
                                  circle_count[u], boxes[u], box_count[u], movers[u], mover_xy[i],
                                  mover_count[u], CLEARANCE_HORIZON)
                if spare <= 0.0:
                    contact[i] = True
                    contact_speed[i] = abs(v)
                    wheel[i] = 0.0
                    true_velocity[i] = 0.0
                    velocity[i] = 0.0


@kernel
def _uniform(random, i):
    """Next number in [0, 1) of slot i (splitmix64, Steele et al. 2014)."""
    random[i] += np.uint64(0x9E3779B97F4A7C15)
    z = random[i]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel(parallel=True)
def _sense(slots, world, time, true_pose, scan, camera_scan, depth_points, near, mover_xy,
           person_distance, traits, plane, nearest, latent, learned, depth, random, bearings,
           cosine, sine, ray_cosine, ray_sine, footprint, reach, low, high, lidar_height, circles,
           circle_count, boxes, box_count, movers, keyframes, keyframe_count, mover_count,
           normal):
    """Fill scans, depth points and clearance of the given slots."""
    size = normal.shape[0]
    beams = scan.shape[1]
    for q in prange(slots.shape[0]):
        i = slots[q]
        u, t = world[i], traits[i]
        place_movers(time[i], movers[u], keyframes[u], keyframe_count[u], mover_count[u],
                     mover_xy[i])
        near[i] = clearance(footprint, reach, true_pose[i], low, high, circles[u],
                            circle_count[u], boxes[u], box_count[u], movers[u], mover_xy[i],
                            mover_count[u], CLEARANCE_HORIZON)
        person_distance[i] = distance_to_people(footprint, true_pose[i], movers[u], mover_xy[i],
                                                mover_count[u])

        pose = (true_pose[i, 0], true_pose[i, 1], true_pose[i, 2] - math.pi / RAYS)
        cast(plane[i], ray_cosine, ray_sine, pose, lidar_height, lidar_height, circles[u],
             circle_count[u], boxes[u], box_count[u], movers[u], mover_xy[i], mover_count[u],
             SCAN_RANGE_MAX)
        scan[i] = plane[i, 1::2]
        offset = int(_uniform(random, i) * size)
        stride = 2 * int(_uniform(random, i) * 512) + 1  # odd, so that noise does not repeat
        # a uniform number in each beam would cost more than the beams: skip ahead instead
        skip = beams if t[SCAN_DROP] <= 0.0 else int(
            math.log(1.0 - _uniform(random, i)) / math.log(1.0 - t[SCAN_DROP]))
        for k in range(beams):
            if abs(bearings[k]) > 0.5 * t[LIDAR_FOV]:
                scan[i, k] = np.nan
                continue
            if math.isfinite(scan[i, k]):
                noise = normal[(offset + k * stride) % size] * t[SCAN_NOISE]
                scan[i, k] = max(0.0, scan[i, k] + noise)
            if skip == 0:
                scan[i, k] = np.nan
                skip = int(math.log(1.0 - _uniform(random, i)) / math.log(1.0 - t[SCAN_DROP]))
            else:
                skip -= 1

        cast(nearest[i], ray_cosine, ray_sine, pose, low, high, circles[u], circle_count[u],
             boxes[u], box_count[u], movers[u], mover_xy[i], mover_count[u], SCAN_RANGE_MAX)
        offset = int(_uniform(random, i) * size)
        _depth(nearest[i, 1::2], t, bearings, cosine, sine, normal, offset + stride * beams,
               stride, depth_points[i])
        # of its own, so that errors of the scan are not those of the depth points
        offset, stride = int(_uniform(random, i) * size), 2 * int(_uniform(random, i) * 512) + 1
        draw(camera_scan[i], nearest[i], plane[i], latent[i],
             depth if t[CAMERA_DEPTH] > 0.0 else learned, t[CAMERA_ERROR], time[i] == 0.0, normal,
             offset, stride)


@kernel
def _depth(distance, t, bearings, cosine, sine, normal, offset, stride, points):
    """Write an obstacle point and the end of a free ray for every bearing of the camera.

    distance (n,) m to the nearest thing in the height band. Without depth there is nothing.
    """
    columns = points.shape[0] // 2
    points[:] = np.nan
    if t[CAMERA_DEPTH] <= 0.0:
        return
    c = 0
    for k in range(distance.shape[0]):
        if abs(bearings[k]) > CAMERA_HALF:
            continue
        if distance[k] > t[CAMERA_RANGE]:
            points[columns + c, 0] = t[CAMERA_RANGE] * cosine[k]
            points[columns + c, 1] = t[CAMERA_RANGE] * sine[k]
        elif distance[k] >= CAMERA_NEAREST:
            noise = normal[(offset + k * stride) % normal.shape[0]] * t[DEPTH_NOISE]
            for row in (c, columns + c):
                points[row, 0] = distance[k] * (1.0 + noise) * cosine[k]
                points[row, 1] = distance[k] * (1.0 + noise) * sine[k]
        c += 1

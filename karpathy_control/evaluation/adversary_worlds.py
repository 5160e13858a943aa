"""Worlds and starts that are hard on a gate: poles, plates, pockets and slots on little room.

All of it stands through the plane of the lidar: what only a camera could see, and did not, no
gate can avoid, and that is judged elsewhere. Everything comes from (seed, number), so an episode
is the same however the episodes are grouped.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, World
from karpathy_control.evaluation.continuous import Shapes, clearance, of_world
from karpathy_control.worlds.free_space import clearance_at
from karpathy_control.worlds.generators import generate

PER_WORLD = 8  # episodes in each world
NEAR = 1.5  # m, a start has an obstacle within this
FREE = 0.01  # m beyond the start disc, which is free by assumption
STANDARD = ('cylinders', 'corridor', 'rooms', 'open')
_SHARE_STANDARD = 0.25  # of the worlds that come from the ordinary generators
_TRIES = 400


def make_world(seed: int, number: int, kind: str, control: ControlConfig) -> World:
    """World `number` of a run. kind: 'static', 'moving' or 'mujoco'."""
    rng = np.random.default_rng([seed, number, 11])
    if kind == 'moving':
        return _moving(rng, number, control.gate.obstacle_speed)
    if rng.random() < _SHARE_STANDARD:
        family = STANDARD[int(rng.integers(len(STANDARD)))]
        return _seen(generate(family, int(rng.integers(200_000, 2**31))), control)
    return _hostile(rng, number, control.gate.least_width)


def make_start(world: World, scene: Shapes, rng: Generator,
               control: ControlConfig) -> tuple[float, float, float]:
    """A free pose x y yaw with an obstacle within NEAR m of the base.

    Free: neither the footprint nor the start disc, which the gate takes for free, holds anything.
    """
    robot = control.robot
    disc = max(control.gate.start_radius, robot.circumscribed_radius) + FREE
    polygon = robot.polygon
    x0, y0, x1, y1 = world.bounds
    movers = np.array([(*m.position(0.0), m.radius) for m in world.movers]).reshape(-1, 3)
    wanted = rng.uniform(disc, NEAR) if rng.random() < 0.5 else NEAR
    for attempt in range(_TRIES):
        if attempt == _TRIES // 2:
            wanted = NEAR
        x, y, yaw = rng.uniform(x0, x1), rng.uniform(y0, y1), rng.uniform(-math.pi, math.pi)
        standing = float(clearance_at(np.array(x), np.array(y), world.cylinders, world.boxes,
                                      robot.height))
        walking = (np.hypot(movers[:, 0] - x, movers[:, 1] - y) - movers[:, 2]).min(initial=9.0)
        near = min(standing, float(walking))
        if disc < near <= wanted and walking > disc + 0.3 and clearance(
                polygon, scene, (x, y, yaw), movers) > 0.0:
            return x, y, yaw
    return world.start.x, world.start.y, world.start.yaw


def scene_of(world: World, control: ControlConfig) -> Shapes:
    """What the footprint can touch of a world."""
    return of_world(world, control.robot.ground_clearance, control.robot.height)


def _seen(world: World, control: ControlConfig) -> World:
    """The world without what the plane of the lidar misses."""
    z = control.robot.lidar_pose[2]
    return dataclasses.replace(
        world, cylinders=tuple(c for c in world.cylinders if c.bottom < z < c.top),
        boxes=tuple(b for b in world.boxes if b.bottom < z < b.top))


def _two(rng: Generator, low: float, high: float) -> tuple[float, float]:
    return float(rng.uniform(low, high)), float(rng.uniform(low, high))


def _walls(half: float) -> list[Box]:
    return [Box(side * (half + 0.1), 0.0, 0.1, half + 0.2) for side in (-1.0, 1.0)] + [
        Box(0.0, side * (half + 0.1), half + 0.2, 0.1) for side in (-1.0, 1.0)]


def _hostile(rng: Generator, number: int, least_width: float) -> World:
    """Poles as thin as allowed, plates, pockets and slots a hand wider than the robot."""
    half = float(rng.uniform(2.2, 5.0))
    thin = 0.5 * least_width
    cylinders: list[Cylinder] = []
    boxes = _walls(half)

    def spot(room: float) -> tuple[float, float]:
        """A place with `room` m about it, or at worst any."""
        for _ in range(20):
            x, y = _two(rng, -half, half)
            if float(clearance_at(np.array(x), np.array(y), cylinders, boxes)) > room:
                break
        return x, y

    for _ in range(int(rng.integers(1, 3 + int(1.2 * half)))):
        x, y = spot(float(rng.choice((0.3, 0.6, 0.9))))
        yaw = float(rng.uniform(-math.pi, math.pi))
        c, s = math.cos(yaw), math.sin(yaw)
        what = int(rng.integers(7))
        if what <= 1:  # a pole
            cylinders.append(Cylinder(x, y, float(rng.uniform(thin, 0.06))))
        elif what == 2:
            cylinders.append(Cylinder(x, y, float(rng.uniform(0.06, 0.35))))
        elif what == 3:
            boxes.append(Box(x, y, *_two(rng, 0.03, 0.4), yaw))
        elif what == 4:  # a plate
            boxes.append(Box(x, y, float(rng.uniform(0.1, 1.2)), thin, yaw))
        elif what == 5:  # a pocket, open on one side
            wide, deep = float(rng.uniform(0.27, 0.5)), float(rng.uniform(0.2, 0.6))
            boxes.append(Box(x + c * deep, y + s * deep, thin, wide, yaw))
            for side in (-1.0, 1.0):
                boxes.append(Box(x - s * side * wide, y + c * side * wide, deep, thin, yaw))
        else:  # a slot between two poles or posts
            gap, r = float(rng.uniform(0.22, 0.36)), float(rng.uniform(thin, 0.1))
            for side in (-1.0, 1.0):
                cylinders.append(Cylinder(x - s * side * (gap + r), y + c * side * (gap + r), r))
    side = half + 0.2
    return World('hostile', number, (-side, -side, side, side), Pose2(), ((1.0, 0.0),),
                 tuple(cylinders), tuple(boxes))


def _moving(rng: Generator, number: int, speed: float) -> World:
    """An arena with a few posts and plates and things that walk straight through the middle.

    Lanes keep a metre from what stands, so that none is driven into a corner that it cannot see
    out of; there is no such courtesy towards the robot.
    """
    half = float(rng.uniform(3.0, 5.0))
    boxes = _walls(half)
    cylinders = [Cylinder(*_two(rng, 0.4 - half, half - 0.4), float(rng.uniform(0.05, 0.3)))
                 for _ in range(int(rng.integers(1, 5)))]
    for _ in range(int(rng.integers(0, 3))):
        boxes.append(Box(*_two(rng, 0.5 - half, half - 0.5), float(rng.uniform(0.2, 0.8)), 0.05,
                         float(rng.uniform(-math.pi, math.pi))))
    movers: list[Mover] = []
    wanted = int(rng.integers(2, 7))
    for _ in range(60 * wanted):
        if len(movers) == wanted:
            break
        lane = rng.uniform(0.5 - half, half - 0.5, (int(rng.integers(2, 5)), 2))
        along = _lane(lane)
        if clearance_at(along[:, 0], along[:, 1], cylinders, boxes).min() < 0.5:
            continue
        length = float(np.linalg.norm(np.diff(along, axis=0), axis=1).sum())
        movers.append(Mover.patrol(
            [(float(x), float(y)) for x, y in lane], float(rng.uniform(0.3, 1.0)) * 0.999 * speed,
            float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.0, length))))
    side = half + 0.2
    return World('crossing', number, (-side, -side, side, side), Pose2(), ((1.0, 0.0),),
                 tuple(cylinders), tuple(boxes), tuple(movers))


def _lane(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points every 0.1 m along a closed polyline. Shape: (n, 2) m."""
    closed = np.concatenate((corners, corners[:1]))
    return np.concatenate([
        np.linspace(a, b, max(2, math.ceil(float(np.linalg.norm(b - a)) / 0.1)))
        for a, b in zip(closed[:-1], closed[1:], strict=True)])

"""A bank of worlds packed into padded arrays, so that compiled kernels can index them.

Resets are cheap because worlds are generated once; a slot of a batch names its world by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.world import World

# columns of the packed primitives
CIRCLE_COLUMNS = 5  # x y radius bottom top
BOX_COLUMNS = 8  # x y half_x half_y cos(yaw) sin(yaw) bottom top
MOVER_COLUMNS = 7  # as follows; period 0 stands, walking speed 0 goes by its keyframes
FASTEST, RADIUS, PHASE, TOP, PERIOD, WALKING, ATTENTIVE = range(MOVER_COLUMNS)  # m/s m s m s m/s
HURRY = 1.3  # at most so many times the speed that someone likes (Helbing and Molnar 1995)


@dataclass(frozen=True)
class Bank:
    """Packed worlds; W of them, padded to the largest. Lengths in m, world frame.

    People are the last of the movers of their world, and their waypoints are its keyframes.
    """

    worlds: tuple[World, ...]
    circles: NDArray[np.float32]  # (W, C, CIRCLE_COLUMNS)
    circle_count: NDArray[np.int32]  # (W,)
    boxes: NDArray[np.float32]  # (W, X, BOX_COLUMNS)
    box_count: NDArray[np.int32]  # (W,)
    movers: NDArray[np.float32]  # (W, M, MOVER_COLUMNS)
    keyframes: NDArray[np.float32]  # (W, M, P, 3) t x y
    keyframe_count: NDArray[np.int32]  # (W, M)
    mover_count: NDArray[np.int32]  # (W,)
    starts: NDArray[np.float64]  # (W, 3) x y yaw
    goals: NDArray[np.float64]  # (W, G, 2)
    goal_count: NDArray[np.int32]  # (W,)

    def __len__(self) -> int:
        return len(self.worlds)


def pack(worlds: Sequence[World]) -> Bank:
    """Pack worlds into one bank. Raises ValueError where there is none or one has no goal."""
    if not worlds:
        raise ValueError('a bank needs at least one world, got none')
    for world in worlds:
        if not world.goals:
            raise ValueError(f'world {world.family!r} seed {world.seed} has no goal')
    n = len(worlds)

    def widest(counts: list[int]) -> int:
        return max([1, *counts])

    circles = np.zeros((n, widest([len(w.cylinders) for w in worlds]), CIRCLE_COLUMNS), np.float32)
    boxes = np.zeros((n, widest([len(w.boxes) for w in worlds]), BOX_COLUMNS), np.float32)
    m = widest([len(w.movers) + len(w.people) for w in worlds])
    p = widest([len(v.keyframes) for w in worlds for v in w.movers]
               + [len(v.waypoints) for w in worlds for v in w.people])
    movers = np.zeros((n, m, MOVER_COLUMNS), np.float32)
    keyframes = np.zeros((n, m, p, 3), np.float32)
    keyframe_count = np.ones((n, m), np.int32)
    goals = np.zeros((n, widest([len(w.goals) for w in worlds]), 2))
    for i, world in enumerate(worlds):
        for j, c in enumerate(world.cylinders):
            circles[i, j] = c.x, c.y, c.radius, c.bottom, c.top
        for j, b in enumerate(world.boxes):
            boxes[i, j] = (b.x, b.y, b.half_x, b.half_y, np.cos(b.yaw), np.sin(b.yaw), b.bottom,
                           b.top)
        for j, v in enumerate(world.movers):
            keyframes[i, j, :len(v.keyframes)] = v.keyframes
            keyframe_count[i, j] = len(v.keyframes)
            movers[i, j, :WALKING] = v.speed, v.radius, v.phase, v.top, v.period
        for j, who in enumerate(world.people, len(world.movers)):
            keyframes[i, j, :len(who.waypoints), 1:] = who.waypoints
            keyframe_count[i, j] = len(who.waypoints)
            movers[i, j] = (HURRY * who.speed, who.radius, 0.0, who.top, 0.0, who.speed,
                            who.attentive)
        goals[i, :len(world.goals)] = world.goals
    return Bank(
        worlds=tuple(worlds), circles=circles, boxes=boxes, movers=movers, keyframes=keyframes,
        keyframe_count=keyframe_count, goals=goals,
        circle_count=np.array([len(w.cylinders) for w in worlds], np.int32),
        box_count=np.array([len(w.boxes) for w in worlds], np.int32),
        mover_count=np.array([len(w.movers) + len(w.people) for w in worlds], np.int32),
        starts=np.array([(w.start.x, w.start.y, w.start.yaw) for w in worlds]),
        goal_count=np.array([len(w.goals) for w in worlds], np.int32))

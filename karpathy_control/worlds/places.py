"""Starts and goals of several robots in one generated world.

The first robot has the world's own. Every further one is given a start and goals that a disc of
`generators.DISC` reaches while each other robot stands at whichever of its own, and that leave the
ways of the others open in turn. What moves on a lane has its room, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Cylinder, World
from karpathy_control.worlds.free_space import FreeSpace
from karpathy_control.worlds.generators import DISC, draw_stops, lane_clearance

BODY = 0.35  # m, the disc that stands for a robot at one of its stops
START_APART = 2.5  # m between two starts
ATTEMPTS = 60
NARROW = ('field',)  # families without room for two beside one another

Stops = tuple[tuple[float, float], ...]


def places(world: World, count: int) -> tuple[World, ...]:
    """The world once for each robot, with the start and the goals of that robot.

    The same world and count always give the same places, and those of fewer robots are the first
    of them. Raises ValueError where the world has no room for so many, or is too narrow for two.
    """
    if count > 1 and world.family in NARROW:
        wide = ', '.join(name for name in FAMILIES if name not in NARROW)
        raise ValueError(f'world family {world.family!r} is too narrow for {count} robots; '
                         f'families with room: {wide}')
    found = [world]
    lanes = lane_clearance(world.movers)
    while len(found) < count:
        # FAMILIES.index and seed alone are the stream of the world itself
        rng = np.random.default_rng([FAMILIES.index(world.family), world.seed, len(found)])
        for _ in range(ATTEMPTS):
            own = _draw(rng, world, found, lanes)
            if own is not None:
                found.append(own)
                break
        else:
            raise ValueError(f'world {world.family} of seed {world.seed} has room for '
                             f'{len(found)} robots, not for {count}')
    return tuple(found)


def stops(own: World) -> Stops:
    """Where a robot stands at its start and at each of its goals, m, world frame."""
    return ((own.start.x, own.start.y), *own.goals)


def _space(world: World, standing: Sequence[tuple[float, float]]) -> FreeSpace:
    """The free space of a world with robots that stand at some points (m)."""
    bodies = [Cylinder(x, y, BODY) for x, y in standing]
    return FreeSpace.of(world.bounds, (*world.cylinders, *bodies), world.boxes)


def _draw(rng: np.random.Generator, world: World, others: Sequence[World],
          lanes: NDArray[np.float64]) -> World | None:
    """One more robot, or None where this draw does not fit."""
    space = _space(world, [stop for other in others for stop in stops(other)])
    region = space.reachable(DISC)
    drawn = draw_stops(rng, space, region, (region & _clear_of(space, lanes),))
    if drawn is None or any(math.dist(drawn[0], stops(other)[0]) < START_APART
                            for other in others):
        return None
    own = replace(world, start=Pose2(*drawn[0], float(rng.uniform(-np.pi, np.pi))),
                  goals=drawn[1:])
    for other in others:
        rest = [stop for one in (*others, own) if one is not other for stop in stops(one)]
        if not _connected(_space(world, rest), stops(other)):
            return None
    return own


def _connected(space: FreeSpace, chain: Stops) -> bool:
    """Whether a disc of DISC gets to every stop of a chain."""
    region = space.reachable(DISC, *chain[0])
    return all(region[space.index(x, y)] for x, y in chain)


def _clear_of(space: FreeSpace, lanes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Cells that leave the lanes their room. lanes: (n, 3) m, as of `lane_clearance`."""
    grid_x, grid_y = np.meshgrid(space.x, space.y)
    free = np.ones(grid_x.shape, dtype=bool)
    for x, y, clearance in lanes:
        free &= np.hypot(grid_x - x, grid_y - y) >= clearance
    return free

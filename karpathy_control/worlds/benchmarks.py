"""BARN and DynaBARN from JSON: https://github.com/Daffan/the-barn-challenge as plain numbers.

A BARN world is a corridor of cylinders on a grid; a DynaBARN world is an arena in which cylinders
follow splines. Neither comes with this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, World
from karpathy_control.worlds.crowds import hermite_way

BARN_BOUNDS = (-12.0, -2.0, 8.0, 18.0)  # m; the corridor, and the open ground behind it
WALL_TOP = 1.0  # m
ROUNDS = 100.0  # s: phases of a start are drawn from here


def barn_worlds(data: Mapping[str, Any]) -> list[World]:
    """The worlds of a `barn-v1` file, numbered as there. KeyError or TypeError where it is none.

    Keys: cell, origin, cylinder_radius, walls [[ix, iy]], worlds [{i, obs [ix, iy, ...], L}],
    start_pose, goal; a cylinder stands at origin + cell * (ix, iy).
    """
    cell, (x0, y0) = float(data['cell']), data['origin']
    radius, top = data['cylinder_radius'], data['cylinder_height_above_ground']

    def cylinder(ix: int, iy: int) -> Cylinder:
        return Cylinder(x0 + cell * ix, y0 + cell * iy, radius, 0.0, top)

    walls = tuple(cylinder(ix, iy) for ix, iy in data['walls'])
    return [World('barn', int(world['i']), BARN_BOUNDS, Pose2(*data['start_pose']),
                  (tuple(data['goal']),),
                  walls + tuple(cylinder(*pair) for pair in zip(world['obs'][::2],
                                                                world['obs'][1::2], strict=True)),
                  path_length=float(world['L']))
            for world in data['worlds']]


def dynabarn_worlds(data: Mapping[str, Any]) -> list[World]:
    """The worlds of a `dynabarn-v1` file; their family carries the difficulty.

    Keys: walls_boxes [{cx, cy, sx, sy}], cylinder_radius, trajectories [{txy}], worlds [{index,
    difficulty, obstacles}], start_pose, goal.
    """
    boxes = tuple(Box(b['cx'], b['cy'], 0.5 * b['sx'], 0.5 * b['sy'], top=WALL_TOP)
                  for b in data['walls_boxes'])
    lanes = [spline(np.array(lane['txy'], float)) for lane in data['trajectories']]
    radius, top = data['cylinder_radius'], data['cylinder_height']
    return [World(f'dynabarn_{world["difficulty"][0]}', int(world['index']),
                  (-15.0, -15.0, 15.0, 15.0), Pose2(*data['start_pose']), (tuple(data['goal']),),
                  boxes=boxes,
                  movers=tuple(Mover(lanes[k], radius, top=top) for k in world['obstacles']))
            for world in data['worlds']]


def spline(txy: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    """Keyframes on the Catmull-Rom spline (tension 0) through rows t, x, y (n, 3).

    At the ends the tangent is half of the only difference there is.
    """
    points = txy[:, 1:]
    tangents = 0.5 * np.diff(np.concatenate((points[:1], points, points[-1:])), axis=0)
    tangents = tangents[:-1] + tangents[1:]
    return hermite_way(txy, tangents)

"""A Gazebo `.world` of cylinders and boxes as a World; start and goal are those of BARN."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import xml_paths
from karpathy_control.contracts.geometry import compose
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, World
from karpathy_control.worlds.free_space import FreeSpace

MAX_ELEMENTS = 200_000  # a BARN world has some 15,000
START, GOAL = Pose2(-2.25, 3.0, 1.57), (-2.25, 13.0)  # of the BARN challenge
TILT = 0.01  # rad that a shape may be off upright
BORDER = 5.0  # m of ground around everything
BARN_CELL, BARN_DISC = 0.15, 0.16  # m: grid and radius for the shortest way


def gazebo_world(text: str, source: str, number: int) -> World:
    """Read every collision of a `.world`; planes are the ground and left out.

    Raises ConfigError for a shape that is neither upright cylinder nor box, and what is no SDF.
    """
    xml_paths(text, source, MAX_ELEMENTS)
    root = ET.fromstring(text)
    cylinders: list[Cylinder] = []
    boxes: list[Box] = []
    for model in root.findall('.//world/model'):
        for link in model.findall('link'):
            base = compose(_pose(model), _pose(link))
            z = _height(model) + _height(link)
            for collision in link.findall('collision'):
                pose = compose(base, _pose(collision))
                _add(collision, pose, z + _height(collision), cylinders, boxes)
    x, y = np.array([(START.x, START.y), GOAL, *((c.x, c.y) for c in cylinders),
                     *((b.x, b.y) for b in boxes)]).T
    bounds = (float(x.min() - BORDER), float(y.min() - BORDER), float(x.max() + BORDER),
              float(y.max() + BORDER))
    space = FreeSpace.of(bounds, cylinders, boxes, BARN_CELL)
    lengths = space.roadmap(space.clearance >= BARN_DISC).lengths(START.x, START.y)
    length = float(lengths[space.index(*GOAL)])
    return World('barn', number, bounds, START, (GOAL,), tuple(cylinders), tuple(boxes),
                 path_length=length if math.isfinite(length) else None)


def _add(collision: Any, pose: Pose2, z: float, cylinders: list[Cylinder],
         boxes: list[Box]) -> None:
    geometry = collision.find('geometry')
    shape = geometry[0] if geometry is not None and len(geometry) else None
    kind = 'nothing' if shape is None else shape.tag
    if shape is not None and kind == 'cylinder':
        half = 0.5 * _number(shape, 'length')
        cylinders.append(Cylinder(pose.x, pose.y, _number(shape, 'radius'), z - half, z + half))
    elif shape is not None and kind == 'box':
        size = [float(v) for v in (shape.findtext('size') or '').split()]
        boxes.append(Box(pose.x, pose.y, 0.5 * size[0], 0.5 * size[1], pose.yaw,
                         z - 0.5 * size[2], z + 0.5 * size[2]))
    elif kind != 'plane':
        raise ConfigError(f'collision {collision.get("name")!r:.80} is a {kind}; it takes '
                          'cylinder and box')


def _number(element: Any, name: str) -> float:
    return float(element.findtext(name) or '')


def _values(element: Any) -> list[float]:
    values = [float(v) for v in (element.findtext('pose') or '0 0 0 0 0 0').split()]
    if len(values) != 6:
        raise ConfigError(f'pose {values} of {element.get("name")!r:.80}: it takes six numbers')
    if max(abs(values[3]), abs(values[4])) > TILT:
        raise ConfigError(f'{element.get("name")!r:.80} is tilted by {values[3:5]} rad; it takes '
                          'shapes that stand upright')
    return values


def _pose(element: Any) -> Pose2:
    values = _values(element)
    return Pose2(values[0], values[1], values[5])


def _height(element: Any) -> float:
    return _values(element)[2]

"""What is drawn of each part of the loop: pairs of an entity path and a rerun archetype.

The tree: `odom` is the fixed frame, `odom/base` moves with the robot (REP-105), and what is seen
from the robot lies below it. Pictures, curves and texts have trees of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from karpathy_control.contracts.layout import (
    ENTITY_CLASSES,
    ENTITY_COLOURS,
    ENTITY_FIELDS,
    scan_bearings,
)
from karpathy_control.contracts.types import Command, DepthPoints, Scan, State

Logs = list[tuple[str, Any]]  # entity path, archetype

_LIDAR, _CAMERA, _OBSTACLE = (0, 200, 255), (255, 140, 0), (255, 220, 120)
_PATH, _TRAIL, _GOAL = (90, 230, 90), (130, 130, 130), (255, 80, 200)
_PLANE = 0.3  # m above the ground: where a scan without a height of its own is drawn
_SHOWN = 0.3  # confidence from which an entity is drawn
_QUALITY = 80  # of JPEG
_NAME = {name: k for k, name in enumerate(ENTITY_FIELDS)}


def blueprint() -> rrb.Blueprint:
    """How the page is laid out: the world and the modes left, camera and curves right."""
    eye = rrb.EyeControls3D(kind=rrb.Eye3DKind.Orbital, position=(-4.0, -2.5, 5.0),
                            look_target=(1.0, 0.0, 0.0), eye_up=(0.0, 0.0, 1.0),
                            tracking_entity='odom/base')
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial3DView(origin='odom', name='World', eye_controls=eye),
                rrb.StateTimelineView(origin='mode', name='Mode'),
                row_shares=(5, 1)),
            rrb.Vertical(
                rrb.Spatial2DView(origin='camera', name='Camera'),
                rrb.TextDocumentView(origin='state', name='State'),
                rrb.TimeSeriesView(origin='speed', name='Speed, m/s'),
                rrb.TimeSeriesView(origin='turn', name='Turning rate, rad/s'),
                rrb.TimeSeriesView(origin='latency', name='Time in each node, ms'),
                row_shares=(3, 2, 2, 2, 2)),
            column_shares=(3, 2)),
        rrb.BlueprintPanel(state='collapsed'), rrb.SelectionPanel(state='collapsed'),
        rrb.TimePanel(state='collapsed'))


def image(pixels: NDArray[np.uint8]) -> Logs:
    """The camera's picture, rgb8. Shape: (height, width, 3)."""
    return [('camera', rr.Image(pixels).compress(jpeg_quality=_QUALITY))]


def pose(state: State) -> Logs:
    """Where the robot is, and how fast by odometry."""
    half = 0.5 * state.yaw
    return [('odom/base', rr.Transform3D(
                translation=(state.x, state.y, 0.0),
                quaternion=rr.Quaternion(xyzw=(0.0, 0.0, math.sin(half), math.cos(half))))),
            ('speed/odom', rr.Scalars(state.v)), ('turn/odom', rr.Scalars(state.w))]


def trail(places: Iterable[Sequence[float]]) -> Logs:
    """Where the robot has been. Shape: (n, 2) m, odom."""
    return [('odom/trail', _line([(x, y, 0.01) for x, y in places], _TRAIL, 0.01))]


def scan(name: str, seen: Scan) -> Logs:
    """The finite ranges of a scan in the observation layout, about base; `name`: lidar, camera."""
    bearings = scan_bearings(len(seen.ranges))
    hit = np.isfinite(seen.ranges)
    ranges, bearings = seen.ranges[hit], bearings[hit]
    points = np.stack((ranges * np.cos(bearings), ranges * np.sin(bearings),
                       np.full(len(ranges), _PLANE)), 1)
    colour = _LIDAR if name == 'lidar' else _CAMERA
    return [(f'odom/base/{name}', rr.Points3D(points, colors=[colour], radii=[0.02]))]


def depth(points: DepthPoints) -> Logs:
    """What stands in the robot's way by depth alone."""
    solid = points.xyz[points.kind == DepthPoints.OBSTACLE]
    return [('odom/base/depth', rr.Points3D(solid, colors=[_OBSTACLE], radii=[0.015]))]


def entities(table: NDArray[np.float32]) -> Logs:
    """Entities with class and velocity. Shape: (n, len(ENTITY_FIELDS)), base."""
    table = table[table[:, _NAME['confidence']] >= _SHOWN]
    label = np.clip(table[:, _NAME['label']].astype(int), 0, len(ENTITY_CLASSES) - 1)
    table, label = table[label > 0], label[label > 0]
    names = [ENTITY_CLASSES[k] for k in label]
    colours = [ENTITY_COLOURS[k] for k in label]
    places = table[:, :3]
    speed = np.concatenate((table[:, [_NAME['vx'], _NAME['vy']]], np.zeros((len(table), 1))), 1)
    fast = np.hypot(speed[:, 0], speed[:, 1]) > 0.0
    radii = np.maximum(table[:, _NAME['radius']], 0.03)
    boxes = rr.Boxes3D(centers=places, half_sizes=np.stack((radii, radii, radii), 1),
                       colors=colours, labels=names, show_labels=False)
    arrows = rr.Arrows3D(vectors=speed[fast], origins=places[fast],
                         colors=[colours[k] for k in np.flatnonzero(fast)],
                         radii=[0.015])
    return [('odom/base/entities', boxes), ('odom/base/velocities', arrows)]


def path(points: NDArray[np.float32]) -> Logs:
    """Where the policy means to go. Shape: (n, 2) m, odom."""
    return [('odom/path', _line([(x, y, 0.04) for x, y in points], _PATH, 0.02))]


def goal(place: tuple[float, float] | None) -> Logs:
    """The goal in force, m in odom; None where there is none."""
    points = [] if place is None else [(*place, 0.1)]
    return [('odom/goal', rr.Points3D(points, colors=[_GOAL], radii=[0.1]))]


def grid(cells: NDArray[np.int8], cell: float, origin: tuple[float, float]) -> Logs:
    """The memory of the policy as an occupancy grid of ROS, `cell` m. Shape: (rows, columns)."""
    rows, columns = cells.shape
    kind = rr.components.ImageFormat(width=columns, height=rows, color_model='L',
                                     channel_datatype='U8')
    return [('odom/map', rr.GridMap(
        data=np.ascontiguousarray(cells).tobytes(), format=kind, cell_size=cell,
        translation=(*origin, -0.02), colormap=rr.components.Colormap.RvizMap, opacity=0.6))]


def outlines(name: str, strips: list[NDArray[np.float64]],
             colour: tuple[int, int, int]) -> Logs:
    """Polygons of the controller in m: the footprint in base, its braking in odom."""
    return [(name, rr.LineStrips3D(strips, colors=[colour], radii=[0.01]))]


def command(name: str, value: Command) -> Logs:
    """A command: `applied` by control, `proposed` by the policy or by a person."""
    return [(f'speed/{name}', rr.Scalars(value.v)), (f'turn/{name}', rr.Scalars(value.w))]


def mode(name: str) -> Logs:
    """The mode of the controller; it holds until the next."""
    return [('mode', rr.StateChange(state=name))]


def state(name: str, values: Mapping[str, str]) -> Logs:
    """Mode, reasons and numbers of the controller as a text."""
    rows = '\n'.join(f'| {key} | {value} |' for key, value in sorted(values.items())
                     if key not in ('reasons', 'answers'))
    text = f'**{name}** {values.get("reasons", "")}\n\n| | |\n|---|---|\n{rows}'
    return [('state', rr.TextDocument(text, media_type='text/markdown'))]


def latency(node: str, milliseconds: float) -> Logs:
    """Median time that a set of observations spent in a node."""
    return [(f'latency/{node}', rr.Scalars(milliseconds))]


def _line(points: list[Any], colour: tuple[int, int, int], radius: float) -> rr.LineStrips3D:
    return rr.LineStrips3D([points] if len(points) > 1 else [], colors=[colour], radii=[radius])

"""Pictures of a driven episode: the path over the world, latency, and what happened when."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from karpathy_control.contracts.world import Box, Cylinder, World
from karpathy_control.evaluation.run_data import RunData, body_outline

INK, MUTED, GRID = '#1f2933', '#7b8794', '#e4e7eb'
SEEN, LOW, OVERHANG, MOVER = '#52606d', '#e8871e', '#8e5bd0', '#0b8f8c'
PATH, LIMITED, GOOD, BAD = '#1769d6', '#d64545', '#1f9d55', '#d64545'
STAGE_COLOURS = {'render': '#9aa5b1', 'sensor': '#2bb0ed', 'perception': '#8e5bd0',
                 'policy': '#e8871e', 'control': '#1f9d55', 'transport': '#cbd2d9'}
ROBOT_COLOURS = PATH, '#c2410c', '#7c3aed', '#0f766e', '#be185d'
STYLE: Any = {  # the stubs want a literal key type of every setting
    'font.size': 9.5, 'axes.edgecolor': MUTED, 'axes.labelcolor': INK, 'text.color': INK,
    'xtick.color': MUTED, 'ytick.color': MUTED, 'axes.spines.top': False,
    'axes.spines.right': False, 'axes.titlesize': 10.5, 'axes.titleweight': 'bold',
    'axes.titlelocation': 'left', 'axes.grid': True, 'grid.color': GRID, 'axes.axisbelow': True,
    'legend.frameon': False, 'figure.dpi': 130, 'savefig.facecolor': 'white',
}


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', bbox_inches='tight', pad_inches=0.08)
    return buffer.getvalue()


def obstacle_kind(item: Cylinder | Box, lidar_height: float, robot_height: float) -> str:
    """Name how the robot meets an obstacle: 'seen', 'low', 'overhang' or 'above' it."""
    if item.bottom >= robot_height:
        return 'above'
    if item.bottom > lidar_height:
        return 'overhang'
    return 'low' if item.top <= lidar_height else 'seen'


def _patch(item: Cylinder | Box) -> Patch:
    if isinstance(item, Cylinder):
        return Circle((item.x, item.y), item.radius)
    c, s = math.cos(item.yaw), math.sin(item.yaw)
    hx, hy = item.half_x, item.half_y
    corners = [(item.x + c * u - s * v, item.y + s * u + c * v)
               for u, v in ((hx, hy), (-hx, hy), (-hx, -hy), (hx, -hy))]
    return Polygon(corners, closed=True)


def draw_world(axes: Axes, world: World, lidar_height: float, robot_height: float) -> list[Any]:
    """Draw a world from above; returns legend handles for the kinds that are there."""
    colours = {'seen': SEEN, 'low': LOW, 'overhang': OVERHANG, 'above': GRID}
    names = {'seen': 'obstacle in the lidar plane', 'low': 'low: below the lidar',
             'overhang': 'overhang: above the lidar', 'above': 'higher than the robot'}
    groups: dict[str, list[Patch]] = {kind: [] for kind in ('above', 'seen', 'low', 'overhang')}
    items: list[Cylinder | Box] = [*world.boxes, *world.cylinders]
    for item in items:
        groups[obstacle_kind(item, lidar_height, robot_height)].append(_patch(item))
    handles: list[Any] = []
    for kind, patches in groups.items():
        if patches:
            axes.add_collection(PatchCollection(
                patches, facecolor=colours[kind], edgecolor='white', linewidth=0.4,
                alpha=0.9 if kind in ('seen', 'low') else 0.65, zorder=2))
            handles.append(Patch(color=colours[kind], label=names[kind]))
    for mover in world.movers:
        axes.plot(*np.array(mover.keyframes).T[1:], color=MOVER, linewidth=1.0,
                  linestyle=(0, (4, 3)), zorder=2)
        axes.add_patch(Circle(mover.position(0.0), mover.radius, color=MOVER, alpha=0.7, zorder=2))
    for who in world.people:
        axes.plot(*np.array((*who.waypoints, who.waypoints[0])).T, color=MOVER, linewidth=1.0,
                  linestyle=(0, (1, 3)), zorder=2)
        axes.add_patch(Circle(who.waypoints[0], who.radius, color=MOVER,
                              alpha=0.7 if who.attentive else 0.3, zorder=2))
    if world.people:
        handles.append(Line2D([], [], color=MOVER, linestyle=':',
                              label='person, at the start (pale: does not mind the robot)'))
    if world.movers:
        handles.append(Line2D([], [], color=MOVER, linestyle='--', label='moving, at its start'))
    x0, y0, x1, y1 = world.bounds
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=GRID))
    axes.set(xlim=(x0 - 0.3, x1 + 0.3), ylim=(y0 - 0.3, y1 + 0.3), xlabel='x (m)', ylabel='y (m)')
    axes.set_aspect('equal')
    return handles


def path_figure(runs: Sequence[RunData], polygon: np.ndarray, lidar_height: float,
                robot_height: float) -> bytes:
    """The driven path over the world, with goals and interventions.

    The path of one robot is coloured by speed; of several each has a colour of its own.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 6.4))
        axes = figure.add_subplot()
        handles = draw_world(axes, runs[0].world, lidar_height, robot_height)
        several = len(runs) > 1
        for run, colour in zip(runs, ROBOT_COLOURS, strict=False):
            line = _draw_path(axes, run, polygon, colour if several else None)
            if several:
                handles.append(Line2D([], [], color=colour, label=f'robot {run.robot}'))
            elif line is not None:
                bar = figure.colorbar(line, ax=axes, fraction=0.035, pad=0.02)
                bar.set_label('speed (m/s)')
                bar.outline.set_visible(False)
            _draw_stops(axes, run, colour if several else INK)
        if any((run.track[:, 6] > 0).any() for run in runs):
            handles.append(Line2D([], [], color=LIMITED, marker='o', markersize=3,
                                  linestyle='', label='the gate changed the command'))
        handles.append(Line2D([], [], color=GOOD, marker='o', markerfacecolor='white',
                              linestyle='', markersize=8, label='goal (red: not reached)'))
        axes.legend(handles=handles, loc='upper center', bbox_to_anchor=(0.5, -0.09), ncols=3,
                    fontsize=8.5)
        return png(figure)


def _draw_path(axes: Axes, run: RunData, polygon: np.ndarray, colour: str | None
               ) -> LineCollection | None:
    """The track, the body at every metre and where the gate stepped in; colour None: by speed."""
    track = run.track
    if len(track) < 2:
        return None
    points = track[:, 1:3]
    line = LineCollection(list(np.stack((points[:-1], points[1:]), 1)), cmap='viridis_r',
                          linewidths=2.0, zorder=4, capstyle='round')
    if colour is None:
        line.set_array(track[1:, 4])
    else:
        line.set_color(colour)
    axes.add_collection(line)
    travelled = np.concatenate(([0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))))
    every = np.searchsorted(travelled, np.arange(0, travelled[-1], 1.0))
    for _, x, y, yaw, *_ in track[np.unique(every)]:
        axes.add_patch(Polygon(body_outline(polygon, x, y, yaw), fill=False,
                               edgecolor=colour or PATH, linewidth=0.6, alpha=0.5, zorder=3))
    limited = track[track[:, 6] > 0]
    axes.scatter(limited[:, 1], limited[:, 2], s=9, color=LIMITED, zorder=5)
    return line


def _draw_stops(axes: Axes, run: RunData, ink: str) -> None:
    """The start, and the goals with how each ended."""
    start = run.world.start
    axes.plot(start.x, start.y, marker=(3, 0, math.degrees(start.yaw) - 90), markersize=12,
              color=ink, zorder=6)
    outcomes = {outcome.index: outcome for outcome in run.outcomes}
    for i, (x, y) in enumerate(run.goals):
        outcome = outcomes.get(i)
        colour = MUTED if outcome is None else GOOD if outcome.reached else BAD
        axes.add_patch(Circle((x, y), 0.3, facecolor='white', edgecolor=colour, linewidth=1.8,
                              alpha=0.92, zorder=6))
        axes.text(x, y, f'{run.robot}{i + 1}', ha='center', va='center', fontsize=9,
                  fontweight='bold', color=colour, zorder=7)


def latency_figure(latencies: Iterable[float], stages_ms: dict[str, dict[str, float]]) -> bytes:
    """Histogram of the latency from sensor stamp to command, and the share of each stage."""
    values = np.asarray(list(latencies), float)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 3.0))
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        left.set(title='sensor stamp to command', xlabel='ms', ylabel='observations')
        if values.size:
            top = max(float(np.percentile(values, 99.8)) * 1.25, 1.0)
            left.hist(np.clip(values, 0, top), bins=np.linspace(0, top, 50), color=PATH,
                      alpha=0.85)
            for q, colour in ((50, INK), (99, LIMITED)):
                at = float(np.percentile(values, q))
                left.axvline(at, color=colour, linewidth=1.2)
                left.annotate(f'p{q}  {at:.1f} ms', (at, 0.97 if q == 50 else 0.8),
                              xycoords=('data', 'axes fraction'), xytext=(5, 0),
                              textcoords='offset points', va='top', color=colour, fontsize=9)
        right.set(title='inside each stage, p50 and p99', xlabel='ms')
        names = [name for name in STAGE_COLOURS if stages_ms.get(name)]
        for row, name in enumerate(reversed(names)):
            stage = stages_ms[name]
            right.barh(row, stage['p50'], height=0.55, color=STAGE_COLOURS[name])
            right.plot((stage['p50'], stage['p99']), (row, row), color=MUTED, linewidth=1)
            right.plot(stage['p99'], row, marker='|', color=INK, markersize=9)
        right.set_yticks(range(len(names)), list(reversed(names)))
        right.grid(axis='y', visible=False)
        figure.tight_layout(w_pad=2)
        return png(figure)


def _spans(t: np.ndarray, flag: np.ndarray) -> list[tuple[float, float]]:
    """Intervals of t over which flag holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flag, [False])).astype(np.int8)))
    return [(float(t[a]), float(t[min(b, len(t) - 1)])) for a, b in edges.reshape(-1, 2)]


def timeline_figure(run: RunData) -> bytes:
    """Speed and turning rate, then interventions and latency, from the first goal on.

    The first two are over simulated time, which the true poses are stamped with; the last is over
    wall time. They differ where the machine was too slow or the rate factor is not one.
    """
    track = run.track
    moving = np.flatnonzero(np.abs(track[:, 4]) > 0.01)
    track = track[max(int(moving[0]) - 10, 0):] if moving.size else track
    statuses = [s for s in run.statuses if s.get('goal_index', -1) >= 0]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 5.0))
        speed, turn, count = figure.subplots(3, 1, height_ratios=(1.2, 1, 1))
        turn.sharex(speed)
        if len(track) > 1:
            t = track[:, 0] - track[0, 0]
            speed.plot(t, track[:, 4], color=PATH, linewidth=1.1)
            turn.plot(t, track[:, 5], color=STAGE_COLOURS['policy'], linewidth=0.9)
            for axes in (speed, turn):
                for a, b in _spans(t, track[:, 6] > 0):
                    axes.axvspan(a, max(b, a + 0.1), color=LIMITED, alpha=0.22, linewidth=0)
        if statuses:
            t = np.array([status['t'] - statuses[0]['t'] for status in statuses])
            count.step(t, [status.get('interventions') or 0 for status in statuses],
                       color=LIMITED, linewidth=1.3, where='post')
            latency = [status.get('latency_ms') or math.nan for status in statuses]
            beside = count.twinx()
            beside.plot(t, latency, color=INK, linewidth=0.8, alpha=0.7)
            beside.set_ylabel('latency (ms)')
            beside.grid(visible=False)
            beside.set_ylim(bottom=0)
            beside.spines['right'].set_visible(True)
        speed.set(ylabel='v (m/s)', title='shaded: the gate changed the command')
        speed.tick_params(labelbottom=False)
        turn.set(ylabel='w (rad/s)', xlabel='simulated time (s)')
        count.set(ylabel='interventions', xlabel='wall time (s)')
        count.yaxis.label.set_color(LIMITED)
        count.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        count.set_ylim(bottom=0)
        figure.align_ylabels()
        figure.tight_layout(h_pad=0.6)
        return png(figure)

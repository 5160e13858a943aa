"""Picture of a calibration: steps of speed and turning rate, stops, and turning on arcs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from karpathy_control.evaluation.figures import BAD, INK, MUTED, PATH, STYLE, png


class Track(Protocol):
    """Times and what was driven then."""

    @property
    def time(self) -> NDArray[np.float64]:
        """Seconds. Shape: (n,)."""

    @property
    def twist(self) -> NDArray[np.float64]:
        """Speed in m/s and turning rate in rad/s. Shape: (n, 2)."""


def figure(steps: Mapping[str, Sequence[tuple[float, Track]]],
           stops: Sequence[tuple[float, float, float]],
           arcs: Sequence[tuple[float, float, float]], gain: tuple[float, float]) -> bytes:
    """A PNG.

    Args:
        steps: under 'v' and 'w', what was commanded and what the base did.
        stops: speed in m/s, distance in m, the most that it may be.
        arcs: v in m/s, w in rad/s, turning rate driven / commanded.
        gain: what that may be.

    """
    with mpl.rc_context({**STYLE, 'figure.dpi': 100}):
        page = Figure(figsize=(8.8, 6.0))
        (speed, turning), (stop, arc) = page.subplots(2, 2)
        _steps(speed, steps['v'], 0, 'm/s')
        speed.set(title='steps of speed, and stops', ylabel='m/s')
        _steps(turning, steps['w'], 1, 'rad/s')
        turning.set(title='steps of turning rate, and stops', ylabel='rad/s')
        v, way, most = np.array(stops).T
        stop.plot(v, most, color=BAD, linestyle='--', label='at most')
        stop.plot(v, way, 'o-', color=PATH, label='measured')
        stop.set(title='stopping distance', xlabel='from m/s', ylabel='m')
        stop.set_ylim(bottom=0.0)
        stop.legend()
        for number, speed_of_arc in enumerate(sorted({v for v, *_ in arcs})):
            points = [(w, g) for v, w, g in arcs if v == speed_of_arc]
            arc.plot(*zip(*points, strict=True), marker='o', markersize=3.5,
                     color=mpl.colormaps['viridis'](0.25 * number), label=f'{speed_of_arc:g} m/s')
        for bound in gain:
            arc.axhline(bound, color=BAD, linestyle='--', linewidth=1.0)
        arc.set(title='turning rate on arcs / commanded', xlabel='commanded rad/s')
        arc.legend(fontsize=8.5)
        page.tight_layout()
        return png(page)


def _steps(axes: Axes, steps: Sequence[tuple[float, Track]], axis: int, unit: str) -> None:
    for command, track in steps:
        axes.axhline(command, color=MUTED, linewidth=0.8, linestyle=':')
        axes.plot(track.time, track.twist[:, axis], color=INK, linewidth=1.2)
        axes.annotate(f'{command:g} {unit}', (track.time[-1], command), fontsize=8,
                      color=MUTED, xytext=(0, 2), textcoords='offset points', ha='right')
    axes.set(xlabel='s')

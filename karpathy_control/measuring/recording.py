"""What was recorded of a guided drive: series over one clock, and a file of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.types import Command, RawScan
from karpathy_control.measuring.manoeuvres import ARC, STRAIGHT, TURN, Manoeuvre, Span

Array = NDArray[np.float64]

_KINDS = (STRAIGHT, TURN, ARC)
_WINDOW = 2.0  # s in which a simulated clock and a real one go alike


@dataclass(frozen=True)
class Recording:
    """All series of a drive. Times are seconds of one clock, in the first column, rising."""

    commands: Array  # (n, 3) t, v m/s, w rad/s: what the base was told, when it came
    odom: Array  # (n, 6) t, x m, y m, yaw rad unwrapped, v m/s, w rad/s
    imu: Array  # (n, 7) t, angular velocity rad/s, acceleration m/s^2, in base by the profile
    scan_times: Array  # (n,) s
    scans: NDArray[np.float32]  # (n, beams) m, as the driver gave them
    geometry: Array  # (5,) angle_min, angle_increment rad, range_min, range_max m, s between beams
    scan_received: Array  # (n,) s, when each came
    depth: NDArray[np.float32]  # (n, height, width) m, of the standing robot; n 0: no depth
    pinhole: Array  # (4,) fx, fy, cx, cy px; 0 where there is no depth
    spans: Array  # (n, 9) kind, v, w, angle, and the times of Span

    def __post_init__(self) -> None:
        """Check what reading relies on."""
        shapes = {'commands': (2, 3), 'odom': (2, 6), 'imu': (2, 7), 'scan_times': (1,),
                  'scans': (2,), 'geometry': (1, 5), 'scan_received': (1,), 'depth': (3,),
                  'pinhole': (1, 4), 'spans': (2, 9)}
        for name, (dimensions, *last) in shapes.items():
            value = getattr(self, name)
            good = value.ndim == dimensions and (not last or value.shape[-1] == last[0])
            if not good or (name not in ('scans', 'depth') and not np.isfinite(value).all()):
                raise ConfigError(f'recording: {name} of shape {value.shape} is not accepted; it '
                                  f'takes {dimensions} dimensions of finite numbers'
                                  + (f', the last of {last[0]}' if last else ''))
        for kind in self.spans[:, 0].tolist():
            if kind not in range(len(_KINDS)):
                raise ConfigError(f'recording: a manoeuvre of kind {kind} is not accepted; it '
                                  f'takes 0 to {len(_KINDS) - 1}')
        counts = len(self.scans), len(self.scan_times), len(self.scan_received)
        if len(set(counts)) != 1:
            raise ConfigError(f'recording: {counts[0]} scans at {counts[1]} times, received at '
                              f'{counts[2]}; it takes as many of all')

    def manoeuvres(self) -> list[Span]:
        """The manoeuvres that were driven, with their times."""
        return [Span(Manoeuvre(_KINDS[int(row[0])], Command(row[1], row[2]), row[3]), *row[4:])
                for row in self.spans.tolist()]

    def save(self, path: Path) -> None:
        """Write all of it to one file (.npz)."""
        with path.open('wb') as file:
            np.savez_compressed(file, **vars(self))

    @staticmethod
    def load(path: Path) -> Recording:
        """Read what `save` wrote. ConfigError for what is something else."""
        names = Recording.__dataclass_fields__
        try:
            with np.load(path, allow_pickle=False) as data:
                return Recording(**{name: data[name] for name in names})
        except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
            raise ConfigError(f'{path}: no recording of a drive ({error}); it takes what '
                              'karpathy-control measure wrote') from error


def offsets(stamps: Array, received: Array) -> tuple[Array, Array]:
    """From a simulated clock to one that goes on: received minus stamp, the least of each window.

    The least, since that is what came with the least delay. Shapes: (n,) s each; the answer is
    stamps and offsets, to interpolate between.
    """
    window = np.floor(received / _WINDOW).astype(np.int64)
    chosen = [np.flatnonzero(window == w) for w in np.unique(window)]
    best = [c[np.argmin((received - stamps)[c])] for c in chosen]
    return stamps[best], (received - stamps)[best]


def recording(spans: Sequence[Span], scans: Sequence[tuple[float, float, RawScan]],
              series: Mapping[str, Sequence[Sequence[float]]],
              depth: Sequence[NDArray[np.float32]], pinhole: Sequence[float],
              pause: float = 0.0) -> Recording:
    """Put together what came during a drive.

    `scans`: time, time of receipt, scan. `series`: rows of commands, odom and imu. `pause`: s
    between two beams of a lidar that sweeps. ConfigError where scans of several shapes came, or
    none.
    """
    shapes = {(len(scan.ranges), scan.angle_min, scan.angle_increment) for *_, scan in scans}
    if len(shapes) != 1:
        raise ConfigError(f'scan: {len(shapes)} different shapes in one drive; the driver of the '
                          'lidar must give one')
    first = scans[0][2]
    rows = [(_KINDS.index(s.manoeuvre.kind), s.manoeuvre.command.v, s.manoeuvre.command.w,
             s.manoeuvre.angle, s.go, s.reached, s.brake, s.rest, s.end) for s in spans]

    def table(name: str, width: int) -> Array:
        values = np.array(series[name], np.float64).reshape(-1, width)
        values = values[np.argsort(values[:, 0], kind='stable')]
        return values[np.diff(values[:, 0], prepend=-np.inf) > 0.0]

    odom = table('odom', 6)
    odom[:, 3] = np.unwrap(odom[:, 3])
    order = np.argsort([time for time, *_ in scans], kind='stable')
    return Recording(
        commands=table('commands', 3), odom=odom, imu=table('imu', 7),
        scan_times=np.array([scans[i][0] for i in order]),
        scan_received=np.array([scans[i][1] for i in order]),
        scans=np.array([scans[i][2].ranges for i in order], np.float32),
        geometry=np.array([first.angle_min, first.angle_increment, first.range_min,
                           first.range_max, pause]),
        depth=np.array(depth, np.float32) if depth else np.zeros((0, 1, 1), np.float32),
        pinhole=np.array(pinhole if depth else [0.0] * 4, np.float64),
        spans=np.array(rows, np.float64).reshape(-1, 9))

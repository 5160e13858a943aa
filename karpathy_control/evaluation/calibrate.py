"""`karpathy-control calibrate`: what the simulated base makes of its commands, before any score.

Steps of speed and of turning rate, arcs, and stops, in MuJoCo on an empty floor, each figure
beside what it may be. The base between `cmd_vel` and the floor alone is measured, no sensor and
no node. Exit status 1 where a figure is outside; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from karpathy_control.bringup.robots import load_profile, robot_of
from karpathy_control.contracts.config import ConfigError, RobotConfig, SimConfig, from_mapping
from karpathy_control.contracts.types import Command, Pose2
from karpathy_control.contracts.world import World
from karpathy_control.evaluation.calibrate_figure import figure
from karpathy_control.measuring.responses import crossing, lateness, level
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import RobotDescription, load_robot

LAG = 0.06  # s by which the base may follow its ramp; half of what the gate takes for reaction
SPEED_GAIN = (0.98, 1.02)  # speed driven / commanded, straight on
# Turning rate / commanded. A skid-steered base turns by sliding: its multiplier of the wheel
# separation is what makes this one, and on a real Jackal it is good to about a tenth.
TURN_GAIN = (0.9, 1.1)
SHIFT = 0.02  # m that turning in place for two seconds may move the base
CREEP_OFF = 0.015  # s by which the creep of the tyres may be off
PARTS = (0.25, 0.5, 0.75, 1.0)  # of the top speed and turning rate, at which is measured
_GO = 2.5  # s: to the top speed, and a second at it
_SETTLED = 0.5  # s at the end of that, over which is averaged
_STOP = 2.0  # s
_REACHED = 0.9  # of a step
_HALF = 50.0  # m, of the floor


@dataclass(frozen=True)
class Trace:
    """What the base truly did; one row a physics step."""

    time: NDArray[np.float64]  # (n,) s since the first command
    pose: NDArray[np.float64]  # (n, 3) m, m, rad, unwrapped
    twist: NDArray[np.float64]  # (n, 2) m/s, rad/s
    wheels: NDArray[np.float64]  # (n,) m/s, the speed that odometry tells


@dataclass(frozen=True)
class Check:
    """A figure and what it may be."""

    name: str
    value: float
    low: float
    high: float
    unit: str  # of the three; empty for a ratio

    @property
    def ok(self) -> bool:
        """Whether it is what it may be."""
        return self.low <= self.value <= self.high


@dataclass(frozen=True)
class Calibration:
    """All that was measured: for the table, the picture and the JSON."""

    checks: list[Check]
    steps: dict[str, list[tuple[float, Trace]]]  # 'v' and 'w': what was commanded, what it did
    stops: list[tuple[float, float, float]]  # speed m/s, distance m, most that it may be
    arcs: list[tuple[float, float, float]]  # v m/s, w rad/s, turning rate / commanded


def drive(robot: RobotDescription, sim: SimConfig,
          phases: Sequence[tuple[float, Command]]) -> Trace:
    """Give the base one command after another, each for some seconds, from standing."""
    floor = World('floor', 0, (-_HALF, -_HALF, _HALF, _HALF), Pose2(0.0, 0.0, 0.0), ())
    world = MujocoWorld(floor, sim, robot)
    rows = []
    for seconds, command in phases:
        for _ in range(round(seconds / sim.physics_step)):
            world.step(command)
            s = world.true_state()
            rows.append((world.time, s.x, s.y, s.yaw, s.v, s.w, world.odometry().v))
    data = np.array(rows)
    data[:, 3] = np.unwrap(data[:, 3])
    return Trace(data[:, 0], data[:, 1:4], data[:, 4:6], data[:, 6])


def settled(trace: Trace, axis: int) -> float:
    """Mean of v (axis 0) or w (axis 1) at the end of the first command."""
    return level(trace.time, trace.twist[:, axis], _GO - _SETTLED, _GO)


def lag(trace: Trace, axis: int, acceleration: float) -> float:
    """How much later than a ramp of `acceleration` a step reaches nine tenths of its end, s."""
    reached = _REACHED * settled(trace, axis)
    return crossing(trace.time, trace.twist[:, axis], reached) - reached / acceleration


def creep(trace: Trace) -> float:
    """How much later than its wheels the base stops, s: metres that it gets ahead, per m/s."""
    after = trace.time > _GO
    return lateness(trace.time[after], trace.wheels[after], trace.twist[after, 0],
                    -settled(trace, 0))


def stopping(trace: Trace) -> tuple[float, float]:
    """Metres travelled and radians turned after the first command ended."""
    after = trace.pose[trace.time >= _GO]
    way = np.hypot(*np.diff(after[:, :2], axis=0).T).sum()
    return float(way), float(abs(after[-1, 2] - after[0, 2]))


def calibrate(description: RobotDescription, robot: RobotConfig,
              sim: SimConfig | None = None) -> Calibration:
    """Measure the base of a description up to the limits of a robot."""
    sim = sim or from_mapping(SimConfig, {'odometry.drift_per_metre': 0.0})

    def go(v: float, w: float, stop: float = _STOP) -> Trace:
        return drive(description, sim, [(_GO, Command(v, w)), (stop, Command())])

    speeds = [part * robot.max_speed for part in PARTS]
    turns = [part * robot.max_turn for part in PARTS]
    straight = [(v, go(v, 0.0)) for v in speeds]
    spins = [(w, go(0.0, w)) for w in turns]
    checks = []
    for v, trace in straight:
        checks.append(Check(f'speed at {v:g} m/s', settled(trace, 0) / v, *SPEED_GAIN, ''))
    checks.append(Check('lag of the speed', lag(straight[-1][1], 0, description.max_acceleration),
                        0.0, LAG, 's'))
    stops = []
    for v, trace in straight:
        way, _ = stopping(trace)
        # what the gate counts with: constant braking at the profile's rate
        most = v * v / (2.0 * robot.deceleration) + v * LAG
        stops.append((v, way, most))
        checks.append(Check(f'stop from {v:g} m/s', way, 0.0, most, 'm'))
    checks.append(Check('creep of the tyres', creep(straight[-1][1]),
                        max(0.0, robot.creep - CREEP_OFF), robot.creep + CREEP_OFF, 's'))
    for w, trace in spins:
        checks.append(Check(f'turning at {w:g} rad/s', settled(trace, 1) / w, *TURN_GAIN, ''))
    checks.append(Check('lag of the turning', lag(spins[-1][1], 1,
                                                  description.max_turn_acceleration),
                        0.0, LAG, 's'))
    for w, trace in spins:
        _, turned = stopping(trace)
        most = w * w / (2.0 * robot.turn_acceleration) + w * LAG
        checks.append(Check(f'turning stopped from {w:g} rad/s', turned, 0.0, most, 'rad'))
    checks.append(Check('shift while turning', float(np.hypot(*spins[-1][1].pose[-1, :2])),
                        0.0, SHIFT, 'm'))
    arcs = []
    for v in speeds:
        for w in turns:
            if v * w <= robot.max_lateral_acceleration:
                arcs.append((v, w, settled(go(v, w, stop=0.0), 1) / w))
    gains = [gain for *_, gain in arcs]
    checks.append(Check('least turning on arcs', min(gains), *TURN_GAIN, ''))
    checks.append(Check('most turning on arcs', max(gains), *TURN_GAIN, ''))
    return Calibration(checks, {'v': straight, 'w': spins}, stops, arcs)


def _table(checks: Sequence[Check]) -> Table:
    table = Table('what', 'measured', 'may be', '')
    for check in checks:
        table.add_row(check.name, f'{check.value:.3f} {check.unit}',
                      f'{check.low:.3f} to {check.high:.3f}',
                      'ok' if check.ok else '[bold red]outside')
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print table and JSON; returns the exit status."""
    parser = argparse.ArgumentParser(prog='karpathy-control calibrate', description=__doc__)
    parser.add_argument('--robot', default='jackal_barn',
                        help='profile in config/robots, or a path')
    parser.add_argument('--out', type=Path, default=Path('runs/calibrate'),
                        help='folder of the picture')
    args = parser.parse_args(argv)
    profile = load_profile(args.robot)
    if profile.description is None:
        raise ConfigError(f'--robot {profile.name}: it has no description, which MuJoCo needs')
    found = calibrate(load_robot(profile.description), robot_of(profile, {}))
    args.out.mkdir(parents=True, exist_ok=True)
    picture = args.out / f'{profile.name}.png'
    picture.write_bytes(figure(found.steps, found.stops, found.arcs, TURN_GAIN))
    Console(stderr=True).print(_table(found.checks))
    outside = [check.name for check in found.checks if not check.ok]
    print(json.dumps({
        'robot': profile.name, 'outside': outside, 'picture': str(picture),
        'checks': [{key: round(value, 4) if isinstance(value, float) else value
                    for key, value in asdict(check).items()} for check in found.checks],
    }))
    return 1 if outside else 0


if __name__ == '__main__':
    sys.exit(main())

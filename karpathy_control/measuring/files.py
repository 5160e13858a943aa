"""The two files that a drive ends in: parameters of the gate, ranges of the randomisation.

Every value has what was measured and the margin beside it. What the drive cannot tell is not in
them: the defaults and the profile go on to hold for it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from karpathy_control.contracts.config import ControlConfig, RobotConfig, from_mapping, to_mapping
from karpathy_control.measuring.estimates import Estimates, Figure
from karpathy_control.worlds.variation import MAX_DELAY, Variation

TICK = 0.02  # s, of control: the longest that a command waits for the next
RATE_MARGIN = 0.9  # of the least rate that was seen
DRIFT_MARGIN = 1.5  # times the worst error of scale that was seen
LEAST_DRIFT = 0.002
NOISE_MARGIN = 1.5
PLACE = 0.02  # m by which a sensor may sit elsewhere than the profile says
ANGLE = 0.01  # rad, likewise
CERTAIN = 3.0  # standard errors beyond which a difference is one
TURN_GAIN = (0.9, 1.1)  # outside, the driver of the base has a wrong wheel separation
_WRAP = 97
_SPEED_GAIN = (0.97, 1.03)
ODOMETRY = 0.03  # by which its scale may be off
LATE_SCAN = 0.03  # s, against the gyro: more than the filter of an IMU delays
_STOP_SLACK = 0.02  # m that a stop may be longer than the formula of the gate


@dataclass(frozen=True)
class Entry:
    """One value of a file, and where it comes from."""

    name: str  # dotted
    value: float | list[float]
    why: str


def _up(value: float, step: float) -> float:
    return round(math.ceil(value / step - 1e-9) * step, 6)


def _down(value: float, step: float) -> float:
    return round(math.floor(value / step + 1e-9) * step, 6)


def _drift(found: Figure) -> float:
    worst = max(abs(found.low - 1.0), abs(found.high - 1.0))
    return _up(max(LEAST_DRIFT, DRIFT_MARGIN * worst), 0.001)


def _late(e: Estimates) -> Figure:
    """The figure of lateness with the worst case."""
    return max((e.figures[axis + name] for axis in ('', 'turn_')
                for name in ('latency_start', 'latency_stop')), key=lambda f: f.high)


def gate(e: Estimates, robot: RobotConfig) -> list[Entry]:
    """Parameters for the gate; those that the profile has right are in it as they are."""
    entries = []

    def add(name: str, value: float | list[float], why: str) -> None:
        entries.append(Entry(name, value, why))

    for name, rates in (('acceleration', ('acceleration',)), ('deceleration', ('deceleration',)),
                        ('turn_acceleration', ('turn_acceleration', 'turn_deceleration'))):
        present = getattr(robot, name)
        text = '; '.join(e.figures[rate].text for rate in rates)
        if all(e.followed[rate] for rate in rates):
            add(f'robot.{name}', present, f'the base did what it was told: {text}; the profile\'s '
                'value kept, whether it could do more was not asked')
        else:
            least = RATE_MARGIN * min(e.figures[rate].low for rate in rates)
            add(f'robot.{name}', max(0.1, min(present, _down(least, 0.05))),
                f'measured {text}; times {RATE_MARGIN:g}; the profile had {present:g}')
    creep = e.figures['creep']
    add('robot.creep', min(max(round(creep.mean, 3), 0.0), 0.2),
        f'measured {creep.text}; the mean; the profile had {robot.creep:g}')
    for name, pose, why in _poses(e, robot):
        add(f'robot.{name}', pose, why)
    late = _late(e)
    age = e.figures['scan_age']
    add('gate.reaction_time',
        min(_up(age.high + 2.0 * TICK + max(late.high, 0.0), 0.01), 1.0),
        f'oldest scan {age.high:.3f} s, tick {TICK:g} s, worst {late.name} {late.high:.3f} s, a '
        'tick to spare; rounded up')
    for name, scale in (('metre', 'odometry_scale'), ('radian', 'odometry_turn_scale')):
        add(f'gate.drift_per_{name}', min(_drift(e.figures[scale]), 0.2),
            f'odometry / scans {e.figures[scale].text}; the worst, times {DRIFT_MARGIN:g}')
    from_mapping(ControlConfig, {
        **{f'robot.{name}': value for name, value in to_mapping(robot).items()},
        **{entry.name: entry.value for entry in entries}})
    return entries


def _poses(e: Estimates, robot: RobotConfig) -> list[tuple[str, list[float], str]]:
    """Each pose of a sensor: the profile's, with what the drive certainly contradicts replaced."""
    measured: dict[str, tuple[list[float | None], list[float]]] = {}
    x, y, yaw = e.lidar_error
    measured['lidar_pose'] = ([e.lidar.x, e.lidar.y, None, None, None, e.lidar.yaw],
                              [x, y, 0.0, 0.0, 0.0, yaw])
    if e.imu_rpy is not None:
        measured['imu_pose'] = ([None, None, None, *e.imu_rpy[:2], None], [0.0] * 6)
    if e.camera_z_rpy is not None:
        z, roll, pitch, _ = e.camera_z_rpy
        measured['camera_pose'] = ([None, None, z, roll, pitch, None], [0.0] * 6)
    found = []
    for name, (values, errors) in measured.items():
        pose, words = list(getattr(robot, name)), []
        for i, axis in enumerate(('x', 'y', 'z', 'roll', 'pitch', 'yaw')):
            value = values[i]
            if value is None:
                continue
            off = value - pose[i]
            if i > 2:
                off = math.remainder(off, 2.0 * math.pi)
            error = f' (+-{errors[i]:.3f})' if errors[i] else ''
            allowed = max(PLACE if i < 3 else ANGLE, CERTAIN * errors[i])
            if abs(off) > allowed:
                words.append(f'{axis} {value:.3f}{error}, the profile had {pose[i]:g}')
                pose[i] = round(value, 4)
            else:
                words.append(f'{axis} {value:.3f}{error} agrees')
        found.append((name, pose, 'measured ' + ', '.join(words) + '; the rest not'))
    return found


def randomisation(e: Estimates, robot: RobotConfig) -> list[Entry]:
    """Ranges [low, high] of the training file, for the rates that `gate` states."""
    f, entries = e.figures, []
    stated = {entry.name: entry.value for entry in gate(e, robot)}

    def add(name: str, low: float, high: float, why: str) -> None:
        entries.append(Entry(name, [round(low, 4), round(max(low, high), 4)], why))

    age, late = f['scan_age'], _late(e)
    low = max(0.0, age.low) + max(0.0, min(f['dead_time'].low, f['turn_dead_time'].low))
    high = age.high + TICK + max(late.high, 0.0)
    add('delay', min(low, MAX_DELAY), min(high, MAX_DELAY),
        f's: youngest scan {age.low:.3f} and the first sign of an answer, to oldest scan '
        f'{age.high:.3f}, tick and worst {late.name}')
    for name in ('acceleration', 'deceleration'):
        share = [value / float(stated[f'robot.{name}'])  # type: ignore[arg-type]
                 for value in (f[name].low, f[name].high)]
        add(name, min(1.0, share[0]), max(1.0, share[1]),
            f'measured {f[name].text}, over robot.{name}')
    for name, gain in (('slip', 'speed_gain'), ('turn_slip', 'turn_gain')):
        add(name, max(0.0, 1.0 - f[gain].high), max(0.0, 1.0 - f[gain].low),
            f'1 - driven / commanded, {f[gain].text}')
    for name, scale in (('drift', 'odometry_scale'), ('turn_drift', 'odometry_turn_scale')):
        add(name, 0.0, _drift(f[scale]), f'odometry / scans {f[scale].text}; the worst, times '
            f'{DRIFT_MARGIN:g}')
    noise, drop, fov = f['scan_noise'], f['scan_drop'], f['lidar_fov']
    add('scan_noise', 0.0, NOISE_MARGIN * noise.mean, f'm: {noise.mean:.4f}, standing; times '
        f'{NOISE_MARGIN:g}')
    add('scan_drop', 0.0, min(1.0, NOISE_MARGIN * drop.mean), f'{drop.mean:.4f} of the beams that '
        f'mostly answer; times {NOISE_MARGIN:g}')
    add('lidar_fov', fov.mean, fov.mean, 'rad: as the scan says')
    if 'depth_noise' in f:
        add('depth_noise', 0.0, NOISE_MARGIN * f['depth_noise'].mean,
            f'{f["depth_noise"].mean:.4f} of the distance, standing; times {NOISE_MARGIN:g}')
    Variation(**{entry.name: tuple(entry.value) for entry in entries})  # type: ignore[arg-type]
    return entries


def warnings(e: Estimates, robot: RobotConfig) -> list[str]:
    """What a person should look at before driving on, with the cure."""
    found, f = [], e.figures
    if not TURN_GAIN[0] <= f['turn_gain'].mean <= TURN_GAIN[1]:
        factor = 1.0 / f['turn_gain'].mean
        found.append(f'turns {f["turn_gain"].mean:.3f} of what it is told: multiply the wheel '
                     f'separation of the base driver (wheel_separation_multiplier) by '
                     f'{factor:.3f}')
    if not _SPEED_GAIN[0] <= f['speed_gain'].mean <= _SPEED_GAIN[1]:
        found.append(f'drives {f["speed_gain"].mean:.3f} of the speed that it is told: multiply '
                     f'the wheel radius of the base driver by {f["speed_gain"].mean:.3f}')
    for name, text in (('odometry_scale', 'metre'), ('odometry_turn_scale', 'radian')):
        if abs(f[name].mean - 1.0) > ODOMETRY:
            found.append(f'odometry tells {f[name].mean:.3f} of each {text}: correct wheel radius '
                         'or separation in the driver, the gate has to allow for all of it')
    entries = {entry.name: entry.value for entry in gate(e, robot)}
    braking = float(entries['robot.deceleration'])  # type: ignore[arg-type]
    reaction = float(entries['gate.reaction_time'])  # type: ignore[arg-type]
    for v, way in e.stops:
        most = v * v / (2.0 * braking) + v * reaction
        if way > most + _STOP_SLACK:
            found.append(f'took {way:.2f} m to stop from {v:.2f} m/s, and the file of the gate '
                         f'says {most:.2f} m at most: do not use it; look for brakes or tyres '
                         'that differ from stop to stop')
    if 'scan_lateness' not in f:
        found.append('no IMU: the creep of the tyres and a wrong stamp of the scan cannot be told '
                     'apart; check robot.creep with a tape')
    elif abs(f['scan_lateness'].mean) > LATE_SCAN:
        found.append(f'the scan is taken {f["scan_lateness"].mean:.3f} s after its stamp by the '
                     'gyro: robot.creep is wrong by about as much; correct the stamps of the '
                     'driver (time_increment counts from the stamp on), and drive again')
    return found


def gate_yaml(entries: Sequence[Entry], head: str) -> str:
    """A ROS parameter file: `robot.*` for every node, `gate.*` for control."""
    lines = [*_head(head), '# Not measured: command_timeout, max_lateral_acceleration, '
             'footprint, gate.margin.']
    for section, group in (('/**', 'robot.'), ('control', 'gate.')):
        chosen = [entry for entry in entries if entry.name.startswith(group)]
        if chosen:
            lines += [f'{section}:', '  ros__parameters:']
            for entry in chosen:
                lines += _lines(entry)
    return '\n'.join(lines) + '\n'


def training_yaml(entries: Sequence[Entry], head: str) -> str:
    """The training file's `policy.randomisation`; all else keeps its default."""
    lines = [*_head(head), 'policy:', '  randomisation:']
    for entry in entries:
        lines += _lines(entry)
    return '\n'.join(lines) + '\n'


def _head(head: str) -> list[str]:
    return [f'# {line}' for line in head.splitlines()]


def _lines(entry: Entry) -> list[str]:
    return [*textwrap.wrap(entry.why, _WRAP, initial_indent='    # ', subsequent_indent='    # '),
            f'    {entry.name}: {_value(entry.value)}']


def _value(value: float | list[float]) -> str:
    return (f'[{", ".join(map(_value, value))}]' if isinstance(value, list)
            else repr(float(value)))

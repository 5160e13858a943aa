"""`karpathy-control measure`: a guided drive of at most three minutes that measures a robot.

The loop must be up. The robot drives out and back, turns and circles, through the gate and by
`cmd_vel_teleop` alone, once a person has agreed. Then latency, rates, gains, creep, drift, noise
and where its sensors sit are estimated, and two files written: OUT/gate.yaml, a parameter file of
the loop, and OUT/train.yaml, for `train policy --config`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from rich.console import Console
from rich.table import Table

from karpathy_control.bringup.dds import PROFILES
from karpathy_control.bringup.environment import bound, environment
from karpathy_control.bringup.robots import load_profile, robot_of
from karpathy_control.contracts.config import ConfigError
from karpathy_control.measuring.estimates import Estimates, Estimator
from karpathy_control.measuring.files import (
    Entry,
    gate,
    gate_yaml,
    randomisation,
    training_yaml,
    warnings,
)
from karpathy_control.measuring.manoeuvres import plan
from karpathy_control.measuring.recording import Recording

EXIT_KILLED = 3  # as where the drive ended itself


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog='karpathy-control measure', description=__doc__)
    parser.add_argument('--robot', default='jackal', help='profile in config/robots, or a path')
    parser.add_argument('--speed', type=float, help='fastest, m/s; default: that of the profile')
    parser.add_argument('--turn', type=float, help='fastest, rad/s; default: that of the profile')
    parser.add_argument('--repeats', type=int, default=3, help='of the fast legs, 1 to 5')
    parser.add_argument('--yes', action='store_true', help='begin without asking: the room is '
                        'free, and somebody holds the emergency stop')
    parser.add_argument('--out', type=Path, default=Path('runs/measure'), help='folder')
    parser.add_argument('--recording', type=Path, metavar='FILE', help='drive.npz of an earlier '
                        'drive: estimate again, and do not drive')
    parser.add_argument('--namespace', default='', help='of the robot, as for up')
    parser.add_argument('--dds-profile', default='local', choices=PROFILES, help='that of the '
                        'loop: local for `up`, host beside ros2 launch')
    return parser.parse_args(argv)


def drive(args: argparse.Namespace, path: Path) -> int:
    """Drive in a process of its own, which has the terminal; its exit status."""
    namespace = f'/{args.namespace.strip("/")}' if args.namespace.strip('/') else ''
    command = [sys.executable, '-m', 'karpathy_control.nodes.guided_drive', '--out', str(path),
               '--robot', args.robot, f'--namespace={namespace}', '--speed', str(args.speed),
               '--turn', str(args.turn), '--repeats', str(args.repeats),
               *(['--yes'] if args.yes else [])]
    process = subprocess.Popen([*bound(), *command],
                               env={**os.environ, **environment(args.dds_profile)})
    while True:
        try:
            status = process.wait()
            return status if status >= 0 else EXIT_KILLED
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # it stands, and ends


def table(found: Estimates, entries: Sequence[Entry]) -> Table:
    """What was measured, and what became of it."""
    rows = Table('measured', 'mean', 'least to most', 'times')
    for figure in found.figures.values():
        rows.add_row(figure.name, f'{figure.mean:.4f} {figure.unit}',
                     f'{figure.low:.4f} to {figure.high:.4f}' if figure.count > 1 else '',
                     str(figure.count))
    for entry in entries:
        rows.add_row(entry.name, str(entry.value), '', '')
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Drive, estimate, write and print; returns the exit status, 1 where something is wrong."""
    args = parse(argv)
    profile = load_profile(args.robot)
    robot = robot_of(profile, {})
    args.speed = robot.max_speed if args.speed is None else args.speed
    args.turn = robot.max_turn if args.turn is None else args.turn
    plan(robot, args.speed, args.turn, args.repeats)  # refuses before anything is started
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f'--out {args.out}: is no folder')
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.recording or args.out / 'drive.npz'
    if args.recording is None:
        status = drive(args, path)
        if status:
            return status
    recording = Recording.load(path)
    found = Estimator(recording, robot).run()
    parameters, ranges = gate(found, robot), randomisation(found, robot)
    when = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).strftime('%Y-%m-%d %H:%M')
    head = (f'Measured on {profile.name} with karpathy-control measure, drive of {when} UTC, '
            f'{len(recording.spans)} manoeuvres.')
    files = {'gate': args.out / 'gate.yaml', 'train': args.out / 'train.yaml'}
    files['gate'].write_text(gate_yaml(parameters, head))
    files['train'].write_text(training_yaml(ranges, head))
    Console(stderr=True).print(table(found, [*parameters, *ranges]))
    wrong = warnings(found, robot)
    for text in wrong:
        print(f'look: {text}', file=sys.stderr)
    print(json.dumps({
        'robot': profile.name, 'recording': str(path),
        'files': {name: str(file) for name, file in files.items()}, 'warnings': wrong,
        'figures': {name: asdict(figure) for name, figure in found.figures.items()},
        'lidar': [found.lidar.x, found.lidar.y, found.lidar.yaw],
        'lidar_error': list(found.lidar_error), 'stops': found.stops,
        'gate': {entry.name: entry.value for entry in parameters},
        'train': {entry.name: entry.value for entry in ranges}}))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

"""`karpathy-control demo`: the whole loop drives to goals in a generated world, then a report.

Every node runs as its own process over real ROS 2; this program only starts them, reads what the
observer says, shows it and writes the report. The last line on standard output is one JSON
object; doc/results.md says what its keys mean.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from karpathy_control.bringup.plan import NodeSpec, Plan, plan
from karpathy_control.bringup.robots import robot_of
from karpathy_control.bringup.runner import RunError, Runner
from karpathy_control.contracts.config import ConfigError, RobotConfig
from karpathy_control.contracts.config.sim import FAMILIES, MAX_ROBOTS
from karpathy_control.evaluation.progress import Progress, make_progress
from karpathy_control.evaluation.report import write_index, write_report
from karpathy_control.evaluation.run_data import RunData, combined, goals_in_odom
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.places import places

POLL_PERIOD = 0.05  # s
START_LIMIT = 180.0  # s until the robot takes its first goal; a first start compiles kernels
QUIET_LIMIT = 20.0  # s without a word from the observer
SPARE = 30.0  # s over the sum of all goal timeouts
NAMES = tuple('abcde')[:MAX_ROBOTS]  # of several robots


class DemoError(RuntimeError):
    """The episode could not be driven to its end; the text says why."""

    status = 1  # exit status


def parse_seeds(text: str) -> list[int]:
    """Seeds from `3`, `0..19` (both ends) or `0,4,7..9`. ArgumentTypeError names what is taken."""
    seeds: list[int] = []
    try:
        for part in text.split(','):
            first, dots, last = part.partition('..')
            seeds += range(int(first), int(last) + 1) if dots else [int(first)]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise argparse.ArgumentTypeError(f'{text!r} is not accepted; it takes seeds such as 3, '
                                         '0..19 or 0,4,7..9')
    return seeds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='karpathy-control demo',
                                     description='Drive to goals in a generated world and report.')
    parser.add_argument('--world', choices=FAMILIES, default='mixed', help='world family')
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument('--seed', type=int, default=0, help='seed of world, noise and drift')
    seeds.add_argument('--seeds', type=parse_seeds, metavar='LIST',
                       help='several seeds one after another: 0..19 or 0,4,7..9')
    parser.add_argument('--goals', type=int, default=5, help='goals one after another')
    parser.add_argument('--robots', type=int, default=1, help=f'robots in the world, at most '
                        f'{MAX_ROBOTS}, each with goals and a loop of its own; two want four '
                        'cores, or half the rate factor on two')
    parser.add_argument('--headless', action='store_true', help='plain lines, no live display')
    parser.add_argument('--out', type=Path, help='folder of report, pictures and logs '
                        '(default: runs/demo/WORLD-SEED)')
    parser.add_argument('--rate-factor', type=float, default=1.0,
                        help='simulated seconds per second')
    parser.add_argument('--robot', default='jackal', help='profile in config/robots, or a path')
    parser.add_argument('--params-file', default='', help='ROS parameter file')
    parser.add_argument('--timeout', type=float, default=60.0, help='seconds for each goal')
    parser.add_argument('--min-reached', type=float, default=1.0,
                        help='share of goals that must be reached for exit status 0')
    parser.add_argument('--max-contacts', type=int, default=0,
                        help='contacts that exit status 0 allows')
    return parser


def episode_plan(options: argparse.Namespace, seed: int, runs: Sequence[RunData],
                 frames: Path) -> Plan:
    """The plan of the whole loop with an observer for each robot as one more process.

    Raises ConfigError as `bringup.plan.plan` does.
    """
    values = {'world': 'mujoco', 'dds_profile': 'local', 'robot': options.robot,
              'world_family': options.world, 'seed': str(seed),
              'rate_factor': str(options.rate_factor)}
    if runs[0].robot:
        values['robots'] = ','.join(run.robot for run in runs)
    if options.params_file:
        values['params_file'] = options.params_file
    base = plan(values)
    observers = [_observer(options, run, base, frames) for run in runs]
    environment = {**base.environment}
    if 'ROS_DOMAIN_ID' not in os.environ:
        # Two demos on one machine must not hear each other; 1 to 101 is free of port clashes.
        environment['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 101)
    return replace(base, nodes=(*base.nodes, *observers), environment=environment)


def _observer(options: argparse.Namespace, run: RunData, base: Plan, frames: Path) -> NodeSpec:
    """The process that gives a robot its goals and watches it."""
    goals = goals_in_odom(run.world, len(run.goals))
    control = next(spec for spec in base.nodes
                   if (spec.robot, spec.name) == (run.robot, 'control'))
    frame = control.parameters['control'].get('robot.odom_frame', RobotConfig.odom_frame)
    return NodeSpec(
        executable='observer', name='observer', respawn=False, stop_stage=0, robot=run.robot,
        namespace=f'/{run.robot}' if run.robot else '',
        parameters={'observer': {'use_sim_time': True}},
        remappings=tuple(base.profile.topics.items()),
        arguments=('--goals=' + ';'.join(f'{x:.4f},{y:.4f}' for x, y in goals),
                   f'--timeout={options.timeout}', f'--frames={frames / run.robot}',
                   f'--frame-id={frame}'))


def observer_of(run: RunData) -> str:
    """The process that watches the robot of a run."""
    return f'{run.robot}/observer' if run.robot else 'observer'


class EventReader:
    """Follows the observer's log and yields its JSON lines; other lines are ROS logging."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b''

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the events that are new."""
        if not self._path.is_file():
            return
        with self._path.open('rb') as file:
            file.seek(self._offset)
            data = file.read()
            self._offset = file.tell()
        *lines, self._rest = (self._rest + data).split(b'\n')
        for line in lines:
            if line.startswith(b'{'):
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event


class Follower:
    """Follows one observer to its `done`."""

    def __init__(self, runner: Runner, run: RunData, progress: Progress, timeout: float) -> None:
        self.run = run
        self._runner, self._progress, self._timeout = runner, progress, timeout
        self._log = runner.log(observer_of(run))
        self._reader = EventReader(self._log)
        self._begun = self._heard = time.monotonic()
        self._started: float | None = None

    def done(self) -> bool:
        """Take what is new; whether the robot is done. Raises DemoError where it ends early."""
        if self.run.done:
            return True
        gone = self._runner.pid(observer_of(self.run)) is None
        for event in self._reader.read():
            self._heard = time.monotonic()
            if self._started is None and (event.get('goal_index') or 0) >= 0 \
                    and event.get('goal') is not None:
                self._started = self._heard
            self.run.take(event)
            self._progress.event(event, self.run)
            if event.get('event') == 'done':
                return True
        self._check(gone, time.monotonic())
        return False

    def _check(self, gone: bool, now: float) -> None:
        run, folder = self.run, self._runner.folder
        if gone:
            raise DemoError(f'the observer ended early; see {self._log}')
        if self._started is None and now - self._begun > START_LIMIT:
            last = run.statuses[-1] if run.statuses else {}
            raise DemoError(f'no goal was taken within {START_LIMIT:.0f} s: mode '
                            f'{last.get("mode") or "unknown"}, reasons '
                            f'{" ".join(last.get("reasons", [])) or "none"}; logs in {folder}')
        if self._started is None:
            return
        if now - self._heard > QUIET_LIMIT:
            raise DemoError(f'the observer has been silent for {QUIET_LIMIT:.0f} s; logs in '
                            f'{folder}')
        if now - self._started > self._timeout * len(run.goals) + SPARE:
            raise DemoError(f'not done {SPARE:.0f} s after the last goal\'s timeout; logs in '
                            f'{folder}')


def drive(runner: Runner, runs: Sequence[RunData], progress: Progress, timeout: float) -> None:
    """Follow a started loop until every robot is done. Raises DemoError or RunError."""
    followers = [Follower(runner, run, progress, timeout) for run in runs]
    while True:
        runner.poll()
        if all([follower.done() for follower in followers]):  # a list, so that each is asked
            return
        time.sleep(POLL_PERIOD)


def run_episode(options: argparse.Namespace, seed: int, folder: Path, progress: Progress
                ) -> tuple[list[float], dict[str, Any], int]:
    """Drive one seed and write its report.

    Returns the latencies (ms), the machine-readable result and the exit status, 0 where it ran to
    its end.
    """
    world = generate(options.world, seed)
    if not 1 <= options.robots <= MAX_ROBOTS:
        raise ConfigError(f'--robots: {options.robots} is not accepted; it takes 1 to '
                          f'{MAX_ROBOTS}')
    if not 1 <= options.goals <= len(world.goals):
        raise ConfigError(f'--goals: {options.goals} is not accepted; this world takes 1 to '
                          f'{len(world.goals)}')
    try:
        worlds = places(world, options.robots)
    except ValueError as error:
        raise ConfigError(f'--robots: {error}') from error
    names = NAMES[:options.robots] if options.robots > 1 else ('',)
    runs = [RunData(own, own.goals[:options.goals], robot=name)
            for own, name in zip(worlds, names, strict=True)]
    frames = (folder / 'frames').absolute()
    for run in runs:
        (frames / run.robot).mkdir(parents=True, exist_ok=True)
    what = episode_plan(options, seed, runs, frames)
    problem, status = '', 0
    domain = {**os.environ, **what.environment}['ROS_DOMAIN_ID']
    progress.begin(options.world, seed, sum(len(run.goals) for run in runs), domain)
    runner = Runner(what, folder / 'logs')
    runner.folder.mkdir(parents=True, exist_ok=True)
    for old in (*runner.folder.rglob('*.log'), *frames.rglob('*.png')):
        old.unlink()  # of an earlier run in the same folder
    try:
        with runner:
            drive(runner, runs, progress, options.timeout)
    except (DemoError, RunError) as error:
        problem, status = str(error), error.status
    command = f'karpathy-control demo --world {options.world} --seed {seed}'
    if options.robots > 1:
        command += f' --robots {options.robots} --rate-factor {options.rate_factor:g}'
    robot = robot_of(what.profile, {})
    report = write_report(
        folder / 'report.html', runs, robot.polygon, robot.lidar_pose[2], robot.height, command,
        {'robot': what.profile.name, 'rate factor': f'{options.rate_factor:g}',
         'arguments': shlex.join(sys.argv[1:]) or '-'})
    latencies = [value for run in runs for value in run.done.get('latencies', [])]
    result = runs[0].result(str(report)) if options.robots == 1 else combined(
        {run.robot: run.result() for run in runs}, latencies, str(report), 'robot')
    if problem:
        result['error'] = problem
    for run in runs:
        progress.end(run, problem)
    return latencies, result, status


def main(argv: Sequence[str]) -> int:
    """Run the command. 0: enough goals reached and no contact too many; 1: not; 2: refused."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminated)
    seeds = options.seeds if options.seeds is not None else [options.seed]
    several = options.seeds is not None
    root = options.out or Path('runs') / 'demo'
    name = options.world
    results: dict[int, dict[str, Any]] = {}
    latencies: list[float] = []
    worst = 0
    for seed in seeds:
        folder = root if options.out and not several else root / f'{name}-{seed}'
        with make_progress(options.headless) as progress:
            own, result, status = run_episode(options, seed, folder, progress)
        worst = max(worst, status)
        latencies += own
        results[seed] = result
        if several:
            print(json.dumps({'seed': seed, **result}), flush=True)
    if several:
        index = root / f'{name}-sweep.html'
        final = combined(results, latencies, str(index))
        write_index(index, final, options.world, f'karpathy-control demo {shlex.join(argv)}')
    else:
        final = results[seeds[0]]
    print(json.dumps(final), flush=True)
    enough = final['reached'] >= options.min_reached * final['goals']
    if worst:
        return worst
    return 0 if enough and final['contacts'] <= options.max_contacts else 1


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # the runner stops the loop in order on its way out


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

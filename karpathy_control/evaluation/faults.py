"""`karpathy-control faults`: every fault in turn while the robot drives, and what it did about it.

The loop runs as it does for a user, with a fault injector between the simulated sensors and the
nodes. Each row of evaluation/fault_table.py is applied to a robot at speed and taken back; time
runs from the fault to the moment when the answer was received, on the machine's monotonic clock.
The last line on standard output is one JSON object; doc/results.md says what its keys mean.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from karpathy_control.bringup.plan import SENSORS
from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import load_profile, robot_of
from karpathy_control.bringup.runner import RunError
from karpathy_control.contracts.config import (
    ConfigError,
    SimConfig,
    from_mapping,
    rate_of,
)
from karpathy_control.contracts.config.core import Value
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.evaluation.client import ObserverError
from karpathy_control.evaluation.fault_table import (
    BY_NAME,
    ROWS,
    SHORT,
    Row,
    judge,
    line,
    markdown,
)
from karpathy_control.evaluation.loop import DrivingLoop

SPEED = 0.4  # m/s that the robot drives when a fault comes
SHARE = 0.8  # of its limit, where that is less
SETTLE = 30.0  # s that the robot may take to drive again before a fault is applied
FRESH = 0.3  # s after which a status is certainly one of after the fault
RECOVERY = 20.0  # s that it may take to drive again by itself after the fault
PAUSED, RUNNING = 0.4, 0.05  # s: a node that gets so little time runs at a ninth of its speed
SHARED = Path('/dev/shm')
SHARED_SIZE = '400m'
AUDIT_SIZE = '64m'  # more than is written in a run
PAGE = 4096  # B: a file system in memory gives a file so much at a time
FILLING = 3.0  # s in which the log of a driving robot fills a page many times
PRIVATE = 'KARPATHY_CONTROL_PRIVATE_MOUNTS'  # set inside the mount namespace of a fault run
NEEDS_MOUNTS = ('disk', 'memory')
WEIGHTS = {'perception': 'encoder', 'policy': 'actor'}


class FaultRun:
    """A running loop and the ways to break it."""

    def __init__(self, loop: DrivingLoop, folder: Path) -> None:
        self.loop, self.folder = loop, folder
        self._apply: dict[str, Callable[[Row], AbstractContextManager[int]]] = {
            'sensor': self._sensor, 'stop': self._stop, 'kill': self._kill, 'slow': self._slow,
            'weights': self._weights, 'commander': self._commander, 'disk': self._disk,
            'memory': self._memory}

    def run(self, row: Row) -> dict[str, Any]:
        """Apply one fault to a driving robot, take it back, and judge."""
        loop = self.loop
        loop.at_speed(min(SPEED, SHARE * robot_of(loop.plan.profile, {}).max_speed), SETTLE)
        contacts, since = loop.status['contacts'], time.monotonic_ns() - 200_000_000
        wrong = set(row.answers) - set(loop.status['reasons'])
        with self._apply[row.kind](row) as start:
            loop.pump(max(row.seconds - (time.monotonic_ns() - start) * 1e-9, 0.0))
            end = time.monotonic_ns()
        ended = time.monotonic()
        loop.pump(FRESH)
        try:
            loop.wait(lambda e: _driving(e) and not wrong & set(e['reasons']), RECOVERY,
                      'driving again', going=True)
            recovered: float | None = round(time.monotonic() - ended, 2)
        except ObserverError:
            recovered = None
        result = judge(row, start, end, loop.record(since))
        result['recover_s'], result['recovered'] = recovered, recovered is not None
        result['contact'] = loop.status['contacts'] - contacts
        result['passed'] = bool(result.pop('answered') and result['recovered']
                                and result['contact'] == 0)
        return result

    # -- faults: each gives the steady time (ns) at which it came, and ends it on the way out ----

    @contextmanager
    def _sensor(self, row: Row) -> Iterator[int]:
        assert self.loop.injector is not None
        self.loop.injector.send(fault=row.fault, topics=row.target)
        try:
            # Of several topics the last: until then one of them is still whole.
            yield max(int(self._said('altered')['at']) for _ in row.target)
        finally:
            self.loop.injector.send(clear=True)
            self._said('clear')

    @contextmanager
    def _commander(self, row: Row) -> Iterator[int]:
        assert self.loop.injector is not None
        start = time.monotonic_ns()
        self.loop.injector.send(command=[0.2, 0.0])
        try:
            self._said('fault')
            yield start
        finally:
            self.loop.injector.send(clear=True)
            self._said('clear')

    def _said(self, event: str) -> dict[str, Any]:
        assert self.loop.injector is not None
        said = self.loop.injector.wait_for(lambda e: e['event'] in (event, 'error'), 3.0, event)
        if said['event'] == 'error':
            raise ObserverError(said['text'])
        return said

    @contextmanager
    def _stop(self, row: Row) -> Iterator[int]:
        pid = self._pid(row)
        start = time.monotonic_ns()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield start
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def _kill(self, row: Row) -> Iterator[int]:
        self._pid(row)
        start = time.monotonic_ns()
        self.loop.runner.kill(row.target[0])
        yield start

    @contextmanager
    def _slow(self, row: Row) -> Iterator[int]:
        pid, over = self._pid(row), threading.Event()

        def pulse() -> None:
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                over.wait(PAUSED)
                os.kill(pid, signal.SIGCONT)
                over.wait(RUNNING)

        thread = threading.Thread(target=pulse)
        start = time.monotonic_ns()
        thread.start()
        try:
            yield start
        finally:
            over.set()
            thread.join()

    def _pid(self, row: Row) -> int:
        pid = self.loop.runner.pid(row.target[0])
        if pid is None:
            raise ObserverError(f'{row.target[0]} is not running')
        return pid

    @contextmanager
    def _weights(self, row: Row) -> Iterator[int]:
        """Garbage in the file, and the node has to start again: killed, as if it had crashed."""
        file = _weights_file(self.folder, row.target[0])
        good = file.read_bytes()
        file.write_bytes(os.urandom(4096))
        try:
            with self._kill(row) as start:
                yield start
        finally:
            file.write_bytes(good)

    @contextmanager
    def _disk(self, row: Row) -> Iterator[int]:
        folder = self.folder / 'audit'
        with _filled(folder):
            log = max(folder.glob('audit-*.log'))
            end = time.monotonic() + FILLING
            while log.stat().st_size % PAGE:  # so far nothing is lost: it owns that page
                if time.monotonic() > end:
                    raise ObserverError(f'{log} does not fill its last page')
                time.sleep(0.001)
            yield time.monotonic_ns()

    @contextmanager
    def _memory(self, row: Row) -> Iterator[int]:
        with _filled(SHARED) as filled:
            if not row.target:
                yield filled
                return
            with self._kill(row) as killed:  # it has to start again while nothing is free
                yield killed


def _driving(status: dict[str, Any]) -> bool:
    return status['mode'] == 'autonomous' and (status['v'] or 0.0) > 0.1


@contextmanager
def _filled(folder: Path) -> Iterator[int]:
    """Not a byte is free in the file system of `folder`; gives the steady time, ns."""
    file = folder / 'filled'
    try:
        with file.open('wb', buffering=0) as out:
            block = bytes(1 << 16)
            while block:
                try:
                    out.write(block)
                except OSError:  # full: the rest in smaller pieces
                    block = block[:len(block) // 2]
        yield time.monotonic_ns()
    finally:
        file.unlink(missing_ok=True)


def _weights_file(folder: Path, node: str) -> Path:
    return folder / 'weights' / f'{WEIGHTS[node]}.safetensors'


def prepare(folder: Path, rows: Sequence[Row]) -> dict[str, dict[str, Value]]:
    """Files of a run, and the parameters that name them, by node."""
    changes: dict[str, dict[str, Value]] = {}
    for row in rows:
        node = row.target[0] if row.target else ''
        if row.kind == 'weights':
            target = _weights_file(folder, node)
            target.parent.mkdir(parents=True, exist_ok=True)
            weights = find('weights', f'{WEIGHTS[node]}.safetensors')
            for part in weights.parent.glob(f'{WEIGHTS[node]}.*'):  # card and statistics with it
                shutil.copy(part, target.parent)
            changes[node] = {'weights': str(target.absolute())}
        elif row.kind == 'disk':
            changes['control'] = {'audit.folder': str((folder / 'audit').absolute())}
    return changes


# -- file systems of its own: shared memory and disk are filled for nobody else -------------------


def enter_private_mounts(folder: Path, argv: Sequence[str]) -> None:
    """Become the same command in a mount namespace of its own. Returns where it is there."""
    if os.environ.get(PRIVATE) == str(os.getpid()):
        for place, size in ((SHARED, SHARED_SIZE), (folder / 'audit', AUDIT_SIZE)):
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(place)],
                           check=True)
        return
    user = [] if os.geteuid() == 0 else ['--map-root-user']
    os.environ[PRIVATE] = str(os.getpid())  # kept by exec
    os.execvp('unshare', ['unshare', '--mount', '--propagation', 'private', *user, sys.executable,
                          '-m', 'karpathy_control.cli', 'faults', *argv])


def mounts_refused() -> str:
    """Why this machine gives no mount namespace; empty where it does."""
    if shutil.which('unshare') is None or shutil.which('mount') is None:
        return 'unshare or mount (util-linux) is missing'
    user = [] if os.geteuid() == 0 else ['--map-root-user']
    tried = subprocess.run(
        ['unshare', '--mount', *user, 'mount', '-t', 'tmpfs', 'tmpfs', str(SHARED)],
        capture_output=True, text=True, check=False)
    return '' if tried.returncode == 0 else f'no mount namespace: {tried.stderr.strip()}'


# -- the command ----------------------------------------------------------------------------------


def select(only: str) -> list[Row]:
    """Rows by name, by the beginning of a name, or `short`; all where `only` is empty."""
    if not only:
        return list(ROWS)
    found: list[Row] = []
    for word in only.split(','):
        names = SHORT if word == 'short' else [n for n in BY_NAME if n.startswith(word)]
        if not names:
            raise ConfigError(f'--only: no fault {word!r}; it takes short, or names of '
                              + ', '.join(BY_NAME))
        found += [BY_NAME[n] for n in names if BY_NAME[n] not in found]
    return found


def without(rows: Sequence[Row], robot: str) -> dict[str, str]:
    """Rows about sensors that a robot does not have, each with why. Raises ConfigError."""
    profile = load_profile(robot)
    own, sim = robot_of(profile, {}), from_mapping(SimConfig, profile.simulation)
    absent = {name for name in SENSORS if name != '/clock' and not rate_of(name, own)}
    absent |= set() if sim.camera.depth else {'camera/depth'}
    return {row.name: f'{profile.name} has no {", ".join(row.target)}' for row in rows
            if row.kind == 'sensor' and set(row.target) <= absent}


def run_rows(rows: Sequence[Row], folder: Path, family: str, seed: int, params_file: str = '',
             fault_budget: float | None = None, robot: str = '') -> list[dict[str, Any]]:
    """Every row in turn in one running loop, started again where a row ended it."""
    changes = prepare(folder, rows)
    if fault_budget is not None:
        changes.setdefault('control', {})['robot.fault_budget'] = fault_budget
    results: list[dict[str, Any]] = []
    left = list(rows)
    while left:
        number = len(rows) - len(left)
        with DrivingLoop(folder / f'logs-{number}', family, seed, inject=True,
                         params_file=params_file, changes=changes, robot=robot) as loop:
            run = FaultRun(loop, folder)
            while left:
                row = left.pop(0)
                try:
                    result = run.run(row)
                except (ObserverError, RunError, ProcessLookupError) as error:
                    result = {'fault': row.name, 'stop_s': None, 'answer': 'none', 'mode': '',
                              'reasons': [], 'recover_s': None, 'recovered': False,
                              'contact': int(loop.status.get('contacts') or 0), 'passed': False,
                              'error': str(error)}
                results.append(result)
                print(line(result) + (f'  {result["error"]}' if 'error' in result else ''),
                      flush=True)
                if not result['recovered']:
                    break
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='karpathy-control faults',
        description='Apply every fault to the driving robot in turn and measure the answer.')
    parser.add_argument('--only', default='', metavar='NAME,...',
                        help='rows by name or its beginning (scan_, control_kill), or short')
    parser.add_argument('--list', action='store_true', help='name the rows and end')
    parser.add_argument('--world', choices=FAMILIES, default='cylinders', help='world family')
    parser.add_argument('--seed', type=int, default=3, help='seed of world, noise and drift')
    parser.add_argument('--robot', default='jackal', help='profile, as for up')
    parser.add_argument('--params-file', default='', help='ROS parameter file')
    parser.add_argument('--fault-budget', type=float, metavar='S',
                        help='robot.fault_budget, instead of that of the robot profile')
    parser.add_argument('--markdown', action='store_true', help='print the table of the README')
    parser.add_argument('--out', type=Path, default=Path('runs/faults'), help='folder of logs')
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command. 0: every row passed; 1: one did not; 2: refused."""
    options = _parser().parse_args(argv)
    rows = select(options.only)
    if options.list:
        print('\n'.join(f'{row.name:22} {" ".join(row.answers)}' for row in rows))
        return 0
    skipped = without(rows, options.robot)
    rows = [row for row in rows if row.name not in skipped]
    if any(row.kind in NEEDS_MOUNTS for row in rows):
        refused = '' if PRIVATE in os.environ else mounts_refused()
        if refused:
            skipped |= {row.name: refused for row in rows if row.kind in NEEDS_MOUNTS}
            rows = [row for row in rows if row.name not in skipped]
        else:
            enter_private_mounts(options.out, argv)
    signal.signal(signal.SIGTERM, _terminated)
    start = time.monotonic()
    results = run_rows(rows, options.out, options.world, options.seed, options.params_file,
                       options.fault_budget, options.robot)
    for name, why in skipped.items():
        print(f'skip {name:20} {why}')
    if options.markdown:
        print(markdown(results))
    failed = [r['fault'] for r in results if not r['passed']]
    print(json.dumps({'faults': results, 'passed': len(results) - len(failed), 'failed': failed,
                      'skipped': skipped, 'world': options.world, 'seed': options.seed,
                      'seconds': round(time.monotonic() - start, 1)}), flush=True)
    return 1 if failed else 0


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # the runner stops the loop in order on its way out


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

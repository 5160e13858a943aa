"""`karpathy-control up`: runs a plan as processes on any machine, with or without a ROS host.

Each node is a process in a session of its own, so that Ctrl-C reaches only the runner, which stops
them in order. Output goes straight to one log file per node (a pipe that nobody reads would stop
the node); the runner follows the files. Children die with the runner, however it dies.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TextIO

from karpathy_control.bringup.dds import cut_off, domain_of, first_port, refusal
from karpathy_control.bringup.environment import LIFE, bound
from karpathy_control.bringup.plan import ARGUMENTS, NodeSpec, Plan, plan
from karpathy_control.bringup.resources import PACKAGE
from karpathy_control.bringup.shared_memory import bury, held, remove_abandoned
from karpathy_control.contracts.config import ConfigError

EXIT_REFUSED = 2  # a node that refuses its first configuration would refuse it again
SHORT_LIFE = 3.0  # s; a node that lives no longer is failing, not failed
MAX_SHORT_LIVES = 5
MAX_DELAY = 8.0  # s
MAX_DOUBLINGS = 16  # of the delay, so that it stays a number
# SIGINT lets a node send its last zero; what does not answer is made to.
ESCALATION = ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0))
POLL_PERIOD = 0.05  # s
BURIAL_PERIOD = 0.2  # s between two looks for room in shared memory


class RunError(RuntimeError):
    """The run cannot go on; `status` is the exit status and the text says why."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def node_command(spec: NodeSpec, parameters: Path) -> list[str]:
    """The command line of one process; from the checkout it needs no installation."""
    command = [sys.executable, '-m', f'{PACKAGE}.nodes.{spec.executable}', *spec.arguments,
               '--ros-args']
    remappings = list(spec.remappings)
    if spec.node_name is not None:
        remappings.append(('__node', spec.node_name))
    if spec.namespace:
        remappings.append(('__ns', spec.namespace))
    for source, target in remappings:
        command += ['-r', f'{source}:={target}']
    return [*command, '--params-file', str(parameters), '--enclave', spec.enclave]


@dataclass
class _Child:
    """One process and its history."""

    spec: NodeSpec
    log: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restarts: int = 0
    short_lives: int = 0
    proven: bool = False  # it has run well: what it meets now came while it ran, and may go away
    due: float | None = None  # steady time of the next start
    reader: IO[bytes] | None = None
    pending: bytes = b''
    tail: list[str] = field(default_factory=list)


class Runner:
    """Runs a plan: `with Runner(plan(...)) as runner:` then `runner.poll()` now and then.

    Use it from one thread that lives as long as the runner: the kernel ends the children with the
    thread that started them.
    """

    def __init__(self, what: Plan, folder: Path | None = None, echo: TextIO | None = None,
                 command: Callable[[NodeSpec, Path], list[str]] = node_command) -> None:
        """Plan, folder for logs and parameter files (default runs/up-TIME), where to echo logs."""
        foreign = [spec for spec in what.nodes if spec.package != PACKAGE]
        needed = [spec.package for spec in foreign if not spec.optional]
        needed += [include.package for include in what.includes]
        if needed:
            raise ConfigError(f'{needed[0]} is part of a ROS 2 installation; on one, use: '
                              f'ros2 launch {PACKAGE} bringup.launch.py')
        self.folder = folder if folder is not None else _new_folder(Path('runs'))
        self._echo = echo
        self._environment = {**os.environ, **what.environment,
                             'ROS_LOG_DIR': os.environ.get('ROS_LOG_DIR')
                             or str(self.folder.absolute() / 'ros')}
        self._stopping = False
        self._discovery = first_port(domain_of(self._environment))
        self._children: dict[str, _Child] = {}
        for spec in what.nodes:
            if spec.package == PACKAGE:
                self._children[spec.process] = _Child(
                    spec, self.folder / f'{spec.process}.log',
                    command(spec, self.folder / f'{spec.process}.yaml'))

    def __enter__(self) -> Runner:
        """Start everything."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Stop everything in order."""
        self.stop()

    @property
    def names(self) -> tuple[str, ...]:
        """The processes, in the order of the plan."""
        return tuple(self._children)

    def start(self) -> None:
        """Write the parameter files and start every process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        Path(self._environment['NUMBA_CACHE_DIR']).mkdir(parents=True, exist_ok=True)
        for child in self._children.values():
            child.log.parent.mkdir(exist_ok=True)  # of one of several robots
            (self.folder / f'{child.spec.process}.yaml').write_text(child.spec.parameter_yaml())
            child.log.touch()
            child.reader = child.log.open('rb')
        for child in self._children.values():
            self._spawn(child)

    def poll(self) -> None:
        """Follow logs, respawn what died. Raises RunError when the run cannot go on."""
        now = time.monotonic()
        for child in self._children.values():
            self._follow(child)
            if child.process is None:
                if child.due is not None and now >= child.due:
                    child.restarts += 1
                    remove_abandoned(ports=True)  # of its former life
                    self._spawn(child)
                continue
            status = child.process.poll()
            if status is not None:
                child.process = None
                self._follow(child)
                self._ended(child, status, now - child.started)

    def pid(self, name: str) -> int | None:
        """Process id of a running node; None while it is down."""
        process = self._children[name].process
        return process.pid if process is not None and process.poll() is None else None

    def restarts(self, name: str) -> int:
        """How often a node was started again."""
        return self._children[name].restarts

    def log(self, name: str) -> Path:
        """The log file of a node."""
        return self._children[name].log

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a node, for fault tests. Raises ProcessLookupError where it is down."""
        pid = self.pid(name)
        if pid is None:
            raise ProcessLookupError(f'{name} is not running')
        os.kill(pid, number)

    def stop(self) -> None:
        """Stop all processes, stage by stage; nothing is left when this returns."""
        self._stopping = True
        mapped = {name for c in self._children.values() if c.process is not None
                  for name in held(c.process.pid)}
        try:
            for stage in sorted({c.spec.stop_stage for c in self._children.values()}):
                self._stop_stage(stage)
        finally:
            for child in self._children.values():
                if child.process is not None and child.process.poll() is None:
                    _signal_group(child.process, signal.SIGKILL)
                    child.process.wait()
                child.process, child.due = None, None
                self._follow(child)
                if child.reader is not None:
                    child.reader.close()
                    child.reader = None
            remove_abandoned(ports=True, known=mapped)

    def _stop_stage(self, stage: int) -> None:
        members = [c for c in self._children.values() if c.spec.stop_stage == stage]
        for child in members:
            child.due = None
        for number, patience in ESCALATION:
            running = [c.process for c in members
                       if c.process is not None and c.process.poll() is None]
            for process in running:
                _signal_group(process, number)
            until = time.monotonic() + patience
            while time.monotonic() < until and any(p.poll() is None for p in running):
                time.sleep(0.01)

    def _spawn(self, child: _Child) -> None:
        with child.log.open('ab') as log:
            child.process = subprocess.Popen(
                [*bound(), *child.command], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT,
                env={**self._environment, LIFE: str(child.restarts)}, start_new_session=True)
        threading.Thread(target=self._mourn, args=(child.process.pid,), daemon=True).start()
        child.started, child.due = time.monotonic(), None

    def _mourn(self, pid: int) -> None:
        """Wait for the end of a child, and at once let nobody write to its ports any more."""
        with suppress(ChildProcessError):  # it has ended, and poll() was faster
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        while not (self._stopping or bury(self._discovery)):
            time.sleep(BURIAL_PERIOD)

    def _ended(self, child: _Child, status: int, lived: float) -> None:
        name = child.spec.process
        how = f'signal {signal.Signals(-status).name}' if status < 0 else f'exit status {status}'
        said = ''.join(f'\n    {line}' for line in child.tail[-5:])
        self._say(name, f'ended with {how} after {lived:.1f} s')
        if status == EXIT_REFUSED and not child.proven:
            raise RunError(f'{name} refused its configuration; {child.log}:{said}', EXIT_REFUSED)
        child.proven |= lived >= SHORT_LIFE and status != EXIT_REFUSED
        if child.spec.required or not child.spec.respawn:
            if child.spec.required:
                raise RunError(f'{name} ended with {how}, and nothing runs without it; '
                               f'{child.log}:{said}')
            return
        child.short_lives = child.short_lives + 1 if lived < SHORT_LIFE else 0
        if child.short_lives >= MAX_SHORT_LIVES and not child.proven:
            raise RunError(f'{name} ended {MAX_SHORT_LIVES} times within {SHORT_LIFE:g} s of its '
                           f'start, last with {how}; {child.log}:{said}')
        doublings = min(max(child.short_lives - 1, 0), MAX_DOUBLINGS)
        delay = min(child.spec.respawn_delay * 2.0 ** doublings, MAX_DELAY)
        child.due = time.monotonic() + delay
        self._say(name, f'starting again in {delay:g} s')

    def _follow(self, child: _Child) -> None:
        if child.reader is None:
            return
        *lines, child.pending = (child.pending + child.reader.read()).split(b'\n')
        for raw in lines:
            line = raw.decode(errors='replace')
            child.tail = [*child.tail[-19:], line]
            self._say(child.spec.process, line)
            if refusal(line):
                file = self._environment.get('FASTDDS_DEFAULT_PROFILES_FILE')
                raise RunError(f'Fast DDS refused its profile {file} and would run with defaults '
                               f'that lose images: {refusal(line)}', EXIT_REFUSED)
            if cut_off(line) and child.process is not None:
                _signal_group(child.process, signal.SIGKILL)  # another start may find room

    def _say(self, name: str, text: str) -> None:
        if self._echo is not None:
            print(f'[{name}] {text}', file=self._echo, flush=True)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # ended meanwhile


def _new_folder(root: Path) -> Path:
    stamp = time.strftime('up-%Y%m%d-%H%M%S')
    folder = root / stamp
    count = 1
    while folder.exists():
        count += 1
        folder = root / f'{stamp}-{count}'
    return folder


def parse_arguments(words: Sequence[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """`name:=value` words as of ros2 launch. ConfigError for a word of another form."""
    values = dict(defaults)
    for word in words:
        name, separator, value = word.partition(':=')
        if not separator:
            raise ConfigError(f'argument {word!r} is not accepted; it takes NAME:=VALUE')
        values[name] = value
    return values


def main(argv: Sequence[str]) -> int:
    """Run until Ctrl-C (130), SIGTERM (143), or a failure (1 or 2)."""
    lines = '\n'.join(
        f'  {a.name}:={a.default:10} {a.help}'
        + (f' ({"|".join(c for c in a.choices if c)})' if a.choices else '') for a in ARGUMENTS)
    parser = argparse.ArgumentParser(
        prog='karpathy-control up', formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Start the whole loop and keep it up.',
        epilog=f'arguments (dds_profile is local here unless given):\n{lines}')
    parser.add_argument('arguments', nargs='*', metavar='NAME:=VALUE')
    parser.add_argument('--log-folder', type=Path, help='default: runs/up-TIME')
    parser.add_argument('--quiet', action='store_true', help='logs to files only')
    options = parser.parse_args(argv)
    values = parse_arguments(options.arguments, {'dds_profile': 'local'})
    runner = Runner(plan(values), options.log_folder, None if options.quiet else sys.stdout)
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    print(f'logs in {runner.folder}', flush=True)
    try:
        with runner:
            while not asked:
                runner.poll()
                time.sleep(POLL_PERIOD)
    except RunError as ended:
        print(f'karpathy-control up: {ended}', file=sys.stderr)
        return ended.status
    return 128 + asked[0]

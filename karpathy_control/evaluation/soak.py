"""`karpathy-control soak`: nodes are killed at random while the robot drives, for a long time.

After each blow the robot must stop, the node must come back and the robot must drive on, all by
itself and without a contact; over the whole run nothing may pile up: memory, open files, shared
memory, processes. Everything seen is a line of soak.jsonl in the folder of the run, which
evaluation/soak_judge.py turns into figures. The last line on standard output is one JSON object;
doc/results.md says what its keys mean.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from karpathy_control.bringup.runner import RunError
from karpathy_control.bringup.shared_memory import abandoned, belonging, held, size
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.evaluation.client import ObserverError
from karpathy_control.evaluation.fault_table import BY_NAME, judge
from karpathy_control.evaluation.loop import DrivingLoop, brief
from karpathy_control.evaluation.processes import descriptors, marked, memory
from karpathy_control.evaluation.soak_judge import (
    NODES,
    WAYS,
    Strike,
    line,
    schedule,
    summarise,
)

SPEED = 0.3  # m/s that the robot drives when a node is struck
STEP = 0.1  # s between two looks
SAMPLE_PERIOD = 2.0  # s
FRESH = 0.3  # s after which a status is certainly one of after the blow
ANSWER = 3.0  # s in which the robot must have answered; the node is not back before
PAUSE = 2.0  # s that a node is stopped by SIGSTOP
RECOVERY = 30.0  # s that it may take to drive again by itself
SETTLE = 60.0  # s that the robot may go without driving before the run is given up
LEAST_PERIOD = 10.0  # s: a node takes some seconds to come back
MARK = 'KARPATHY_CONTROL_RUN'  # in the environment of every process of a run
INTERRUPTED = 'interrupted'
EXIT_INTERRUPTED = 130

SIGNALS = {'kill': signal.SIGKILL, 'term': signal.SIGTERM, 'stop': signal.SIGSTOP}
ROWS = {'kill': 'kill', 'term': 'kill', 'stop': 'stop'}  # the row of the fault table that judges


class SoakError(RuntimeError):
    """The robot no longer drives; the text says what it does instead."""


@dataclass
class _Open:
    """A blow that the loop has not recovered from yet."""

    strike: Strike
    at: float  # steady s
    pid: int
    contacts: int
    reasons: frozenset[str]  # that held before it
    restarts: int  # of the node, once it is back
    paused: bool


class Soak:
    """Strikes the nodes of a driving loop by plan and writes what happens."""

    def __init__(self, loop: DrivingLoop, strikes: Sequence[Strike],
                 write: Callable[..., Mapping[str, Any]], show: Callable[[float, str], None],
                 ) -> None:
        """`write(event, **values)` keeps an event; `show(seconds, text)` is progress."""
        self.loop, self._due = loop, list(strikes)
        self._write, self._show = write, show
        self._start = self._drove = self._sampled = time.monotonic()
        self._open: _Open | None = None
        self.held: set[str] = set()  # shared memory that a process of the run had mapped

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    def run(self, seconds: float) -> None:
        """Drive and strike for so long, and until the last blow is recovered from.

        Raises SoakError where the robot stays where it is, RunError or ObserverError where the
        loop ends.
        """
        self._sample()
        while self.seconds < seconds or self._open is not None:
            self.loop.pump(STEP, going=True)
            now, status = time.monotonic(), self.loop.status
            if _driving(status, 0.1):
                self._drove = now
            elif now - self._drove > SETTLE:
                raise SoakError(f'the robot has not driven for {SETTLE:g} s: {brief(status)}')
            if now - self._sampled >= SAMPLE_PERIOD:
                self._sampled = now
                self._sample()
            if self._open is not None:
                self._follow(self._open, now)
            elif self._due and self._due[0].at <= self.seconds and _driving(status, SPEED):
                self._strike(self._due.pop(0), now)
            self._show(self.seconds, f'{status["mode"] or "silent"}, {self.loop.goals} goals, '
                       f'{status["contacts"]} contacts')
        self._sample()

    def _strike(self, strike: Strike, now: float) -> None:
        runner, node = self.loop.runner, strike.node
        pid = runner.pid(node)
        if pid is None:
            raise SoakError(f'{node} was down at {self.seconds:.1f} s, though the robot drove')
        status = self.loop.status
        self._open = _Open(strike, now, pid, status['contacts'], frozenset(status['reasons']),
                           runner.restarts(node) + (strike.how != 'stop'), strike.how == 'stop')
        runner.kill(node, SIGNALS[strike.how])

    def _follow(self, blow: _Open, now: float) -> None:
        """End the blow where the robot drives again with the node back, or after RECOVERY."""
        passed = now - blow.at
        if blow.paused and passed > PAUSE:
            os.kill(blow.pid, signal.SIGCONT)
            blow.paused = False
        status, node = self.loop.status, blow.strike.node
        row = BY_NAME[f'{node}_{ROWS[blow.strike.how]}']
        back = (passed > FRESH and not blow.paused and _driving(status, 0.1)
                and not set(row.answers) & set(status['reasons']) - blow.reasons
                and self.loop.runner.restarts(node) == blow.restarts)
        if not back and passed < RECOVERY:
            return
        self._open = None
        start = round(blow.at * 1e9)
        record = self.loop.record(start - 200_000_000)
        result = judge(row, start, start + round(ANSWER * 1e9), record)
        if result['answer'] == 'none':
            self._write('unanswered', since=start, record=record)  # the evidence
        self._write('strike', t=round(blow.at - self._start, 2), node=node, how=blow.strike.how,
                    answer=result['answer'], stop_s=result['stop_s'],
                    late=not result['answered'], reasons=result['reasons'],
                    recovery_s=round(passed, 2) if back else None,
                    contacts=status['contacts'] - blow.contacts,
                    x=status['x'], y=status['y'])

    def _sample(self) -> None:
        runner = self.loop.runner
        pids = {**{name: runner.pid(name) for name in runner.names},
                'observer': self.loop.observer.pid, 'runner': os.getpid()}
        rows: dict[str, tuple[int, int, int]] = {}
        for name, pid in pids.items():
            if pid is None:
                continue
            self.held |= held(pid)
            used, files = memory(pid), descriptors(pid)
            if used is not None and files is not None:
                rows[name] = (pid, used, files)
        shared = size(belonging(self.held))
        status = self.loop.status
        self._write('sample', t=round(self.seconds, 2), shared=shared, mode=status['mode'],
                    reasons=status['reasons'], x=status['x'], y=status['y'],
                    pids={name: row[0] for name, row in rows.items()},
                    memory={name: row[1] for name, row in rows.items()},
                    files={name: row[2] for name, row in rows.items()})


def _driving(status: Mapping[str, Any], speed: float) -> bool:
    return status['mode'] == 'autonomous' and (status['v'] or 0.0) > speed


class Journal:
    """The events of a run, one JSON object a line; memory does not grow with it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open('w', buffering=1)
        self._path = path

    def write(self, event: str, **values: Any) -> Mapping[str, Any]:
        """Keep one event and return it."""
        row = {'event': event, **values}
        self._file.write(json.dumps(row) + '\n')
        return row

    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        self._file.flush()
        return [json.loads(text) for text in self._path.read_text().splitlines()]


@contextmanager
def _progress(seconds: float) -> Iterator[tuple[Callable[[float, str], None],
                                                Callable[[str], None]]]:
    """`show(seconds, text)` and `say(line)`; without a terminal only the lines appear."""
    columns = (TextColumn('{task.description}'), BarColumn(), TimeRemainingColumn())
    console = Console()
    with Progress(*columns, console=console, transient=True,
                  disable=not console.is_terminal) as progress:
        task = progress.add_task('starting', total=seconds)
        yield (lambda done, text: progress.update(task, completed=done, description=text),
               lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))


def soak(options: argparse.Namespace, journal: Journal) -> None:
    """Run the loop and write its events, the last one `end`, whatever ends it."""
    seconds, mark = options.minutes * 60.0, uuid.uuid4().hex
    os.environ[MARK] = mark  # inherited by all that is started from here on
    error, soaking = '', None
    loop = DrivingLoop(options.out / 'logs', options.world, options.seed,
                       params_file=options.params_file)
    with _progress(seconds) as (show, say):
        def write(event: str, **values: Any) -> Mapping[str, Any]:
            row = journal.write(event, **values)
            if event == 'strike':
                say(line(row))
            return row

        try:
            with loop:
                soaking = Soak(loop, schedule(options.seed, seconds, options.every, options.how,
                                               options.nodes),
                               write, show)
                soaking.run(seconds)
        except KeyboardInterrupt:
            error = INTERRUPTED
        except (SoakError, ObserverError, RunError) as ended:
            error = str(ended)
    # Not what another loop on this machine has in use: some ports are shared by all.
    free = set(abandoned(least_age=0.0, ports=True))
    left = [path for path in belonging(soaking.held) if path in free] if soaking else []
    journal.write('end', t=round(soaking.seconds, 2) if soaking else 0.0, error=error,
                  goals=loop.goals, contacts=soaking.loop.status['contacts'] if soaking else 0,
                  restarts={name: loop.runner.restarts(name) for name in NODES},
                  left=size(left),
                  orphans=list(marked(MARK, mark).values()))


def _some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A reader of comma lists of what is known."""
    def read(text: str) -> list[str]:
        words = text.split(',')
        if not set(words) <= set(known):
            raise argparse.ArgumentTypeError(f'{text!r} is not accepted; it takes one or more of '
                                             + ','.join(known))
        return words

    return read


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='karpathy-control soak',
        description='Kill a random node again and again while the robot drives.')
    parser.add_argument('--minutes', type=float, default=5.0, help='how long')
    parser.add_argument('--every', type=float, default=20.0, metavar='S',
                        help=f'seconds between two kills, at least {LEAST_PERIOD:g}')
    parser.add_argument('--how', type=_some_of(WAYS), default=['kill'], metavar='WAY,...',
                        help='drawn from kill (SIGKILL), term (SIGTERM), stop (SIGSTOP for '
                        f'{PAUSE:g} s); default: kill')
    parser.add_argument('--nodes', type=_some_of(NODES), default=list(NODES), metavar='NODE,...',
                        help='drawn from these; default: ' + ','.join(NODES))
    parser.add_argument('--world', choices=FAMILIES, default='mixed', help='world family')
    parser.add_argument('--seed', type=int, default=0, help='seed of kills, world and noise')
    parser.add_argument('--params-file', default='', help='ROS parameter file')
    parser.add_argument('--out', type=Path, default=Path('runs/soak'),
                        help='folder of logs, soak.jsonl and soak.png')
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command. 0: passed; 1: something failed; 130: interrupted, with what was seen."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.minutes <= 0.0 or options.every < LEAST_PERIOD:
        parser.error(f'--minutes takes more than 0, --every at least {LEAST_PERIOD:g}')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options.out.mkdir(parents=True, exist_ok=True)
    journal = Journal(options.out / 'soak.jsonl')
    journal.write('run', seconds=options.minutes * 60.0, every=options.every, seed=options.seed,
                  world=options.world, ways=options.how)
    soak(options, journal)
    events = journal.events()
    result = summarise(events)
    from karpathy_control.evaluation.soak_figure import figure  # drawing is loaded only here
    (options.out / 'soak.png').write_bytes(figure(events))
    print(json.dumps(result), flush=True)
    if result['error'] == INTERRUPTED:
        return EXIT_INTERRUPTED
    return 0 if result['passed'] else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

"""What the demo shows while the robot drives: a live display, or plain lines."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from karpathy_control.evaluation.run_data import RunData

LINE_PERIOD = 2.0  # s between plain status lines
WORDS = {'reached': 'green', 'blocked': 'red', 'timeout': 'red'}


class Progress(Protocol):
    """A way to show an episode."""

    def begin(self, family: str, seed: int, goals: int, domain: str) -> None:
        """Say that an episode starts, and in which ROS domain others can hear it."""

    def event(self, event: Mapping[str, Any], run: RunData) -> None:
        """Show one event of the observer, already taken into `run`."""

    def end(self, run: RunData, problem: str) -> None:
        """Say how the episode ended; `problem` is empty where it ran to its end."""


def number(value: Any, unit: str, digits: int = 1) -> str:
    """A number with its unit, or a dash where there is none."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return '-'
    return f'{value:.{digits}f} {unit}'.rstrip()


def _who(run: RunData) -> str:
    """Which of several robots a line is about."""
    return f'{run.robot}: ' if run.robot else ''


def goal_line(event: Mapping[str, Any], run: RunData) -> str:
    """One goal's outcome as a line."""
    return (f'{_who(run)}goal {int(event["index"]) + 1}/{len(run.goals)} {event["outcome"]} after '
            f'{event["seconds"]:.1f} s')


def end_line(run: RunData, problem: str) -> str:
    """The end of an episode as a line."""
    latency = run.done.get('latency_ms') or {}
    text = (f'{_who(run)}reached {run.reached} of {len(run.goals)} goals, '
            f'{run.contacts} contacts, {run.distance:.1f} m in {run.seconds:.1f} s, latency p50 '
            f'{number(latency.get("p50"), "ms")}, p99 {number(latency.get("p99"), "ms")}, '
            f'{run.done.get("missed_observations", "-")} observations missed, '
            f'{run.done.get("interventions", "-")} interventions')
    return f'{text}\nended early: {problem}' if problem else text


class Lines:
    """Plain lines for logs and CI."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._mode: dict[str, str] = {}

    def begin(self, family: str, seed: int, goals: int, domain: str) -> None:
        """Say that an episode starts, and in which ROS domain others can hear it."""
        print(f'world {family}, seed {seed}: {goals} goals; starting the loop '
              f'(to look in: ROS_DOMAIN_ID={domain} karpathy-control view)', flush=True)

    def event(self, event: Mapping[str, Any], run: RunData) -> None:
        """Print outcomes, changes of mode and a status line now and then."""
        kind = event.get('event')
        if kind == 'goal':
            print(goal_line(event, run), flush=True)
        elif kind == 'status':
            mode, now = str(event.get('mode') or ''), time.monotonic()
            if mode == self._mode.get(run.robot) and now < self._due.get(run.robot, 0.0):
                return
            self._due[run.robot], self._mode[run.robot] = now + LINE_PERIOD, mode
            if not mode:
                print(f'  {_who(run)}{number(event.get("t"), "s"):>8}  waiting for the controller',
                      flush=True)
                return
            index = int(event.get('goal_index') or 0)
            why = ' '.join(event.get('reasons') or [])
            goals = len(run.goals)
            print(f'  {_who(run)}{number(event.get("t"), "s"):>8}  {mode:<12} goal '
                  f'{min(max(index, 0) + 1, goals)}/{goals}  distance '
                  f'{number(event.get("distance"), "m"):>7}  speed '
                  f'{number(event.get("v"), "m/s", 2):>9}  latency '
                  f'{number(event.get("latency_ms"), "ms"):>8}  interventions '
                  f'{event.get("interventions", 0)}  {why}'.rstrip(), flush=True)

    def end(self, run: RunData, problem: str) -> None:
        """Print the outcome."""
        print(end_line(run, problem), flush=True)


class Display:
    """A display that stays in place, for a terminal."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console, self._live = console, live
        self._title = ''
        self._furthest: dict[str, float] = {}
        self._tables: dict[str, Group] = {}

    def begin(self, family: str, seed: int, goals: int, domain: str) -> None:
        """Show that an episode starts, and in which ROS domain others can hear it."""
        self._title = f'world {family}, seed {seed}'
        self._console.print(f'to look in: ROS_DOMAIN_ID={domain} karpathy-control view',
                            highlight=False)
        self._live.update(Text(f'{self._title}: starting the loop; the first start compiles '
                               'kernels'))

    def event(self, event: Mapping[str, Any], run: RunData) -> None:
        """Update the display; outcomes are printed above it."""
        if event.get('event') == 'goal':
            colour = WORDS.get(str(event['outcome']), 'yellow')
            self._console.print(Text(goal_line(event, run), style=colour))
            self._furthest[run.robot] = 1.0
        elif event.get('event') == 'status':
            self._tables[run.robot] = self._table(event, run)
            self._live.update(Group(*self._tables.values()))

    def _table(self, status: Mapping[str, Any], run: RunData) -> Group:
        distance, goals = status.get('distance'), len(run.goals)
        furthest = self._furthest.get(run.robot, 1.0)
        if isinstance(distance, (int, float)):
            furthest = max(furthest, distance)
        self._furthest[run.robot] = furthest
        index = int(status.get('goal_index') or 0)
        done = 0.0 if not isinstance(distance, (int, float)) else 1.0 - distance / furthest
        table = Table.grid(padding=(0, 2))
        table.add_row('goal', f'{min(max(index, 0) + 1, goals)} of {goals}',
                      ProgressBar(1.0, max(done, 0.0), width=24), number(distance, 'm to go'))
        table.add_row('speed', number(status.get('v'), 'm/s', 2),
                      number(status.get('w'), 'rad/s', 2), '')
        stages = status.get('stages_ms') or {}
        table.add_row('latency', number(status.get('latency_ms'), 'ms'),
                      '  '.join(f'{name} {number(value, "", 1)}'
                                for name, value in stages.items()), '')
        table.add_row('gate', f'{status.get("interventions", 0)} interventions',
                      f'{status.get("contacts", 0)} contacts',
                      f'{status.get("missed", 0)} of {status.get("observed", 0)} missed')
        mode = f'{_who(run)}{self._title}   {status.get("mode") or "starting"}   '
        return Group(Text(mode + ' '.join(status.get('reasons') or []), style='bold'), table)

    def end(self, run: RunData, problem: str) -> None:
        """Leave the outcome on the screen."""
        self._tables[run.robot] = Group(Text(end_line(run, problem),
                                             style='green' if run.passed else 'red'))
        self._live.update(Group(*self._tables.values()))


@contextmanager
def make_progress(headless: bool) -> Iterator[Progress]:
    """The display for a terminal; plain lines when `headless` or where there is no terminal."""
    if headless or not sys.stdout.isatty():
        yield Lines()
        return
    console = Console()
    with Live(console=console, refresh_per_second=10) as live:
        yield Display(console, live)

"""`karpathy-control figures`: measures every figure of the README again, one after another.

Each result is kept in benchmarks/results/NAME.json, with commit, date and machine, so an
interrupted run goes on where it was: what has a result is not measured again without --again.
--quick measures less and keeps it apart, in runs/figures/quick, where it never reaches the README.
--write renews the README's table from what is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from karpathy_control.bringup import docs
from karpathy_control.contracts.card import sha256_of
from karpathy_control.contracts.config import ConfigError
from karpathy_control.evaluation.figure_records import (
    Record,
    finished,
    read_record,
    read_records,
    told,
    write_record,
)
from karpathy_control.evaluation.figure_table import BROUGHT, BY_NAME, Measurement
from karpathy_control.evaluation.pages import versions

TOLD = (0, 1)  # exit statuses of a run that measured: its criterion held, or did not
STOP = 20.0  # s that what runs beside has to end
SHOWN = 12  # lines of the log that are shown of a run that failed


def expand(command: str, places: Mapping[str, str], quick: Mapping[str, str]) -> list[str]:
    """Words to run: placeholders filled in, options of a quick run in place of the usual."""
    words = shlex.split(command)
    for option, value in quick.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    head = {'karpathy-control': [sys.executable, '-m', 'karpathy_control.cli'],
            'python': [sys.executable]}.get(words[0], words[:1])
    for name, place in places.items():
        words = [word.replace(f'{{{name}}}', place) for word in words]
    return [*head, *words[1:]]


def last_json(text: str) -> dict[str, Any] | None:
    """The JSON object that the last line is; None where it is none."""
    lines = text.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def git(root: Path, *words: str) -> str | None:
    """What git says; None where it fails, as outside of a checkout."""
    try:
        done = subprocess.run(['git', *words], cwd=root, capture_output=True, text=True,
                              check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def source(root: Path) -> tuple[str, bool]:
    """The commit, and whether what can change a figure differs from it.

    Documents and kept results cannot. Without git the commit is 'unknown'.
    """
    commit = git(root, 'rev-parse', 'HEAD')
    if commit is None:
        return 'unknown', True
    changed = git(root, 'status', '--porcelain', '--', '.', ':!*.md', ':!*.rst', ':!doc',
                  ':!benchmarks/results')
    return commit, bool(changed)


def machine() -> dict[str, str]:
    """The processor and the versions of what runs on it."""
    processor = 'unknown'
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                processor = line.partition(':')[2].strip()
                break
    return {'processor': processor, **versions()}


@contextlib.contextmanager
def _beside(command: str, places: Mapping[str, str], root: Path, env: Mapping[str, str],
            log: Path) -> Iterator[None]:
    """Run a command for as long as the block lasts; nothing for an empty one."""
    if not command:
        yield
        return
    with log.open('w') as file, subprocess.Popen(
            expand(command, places, {}), cwd=root, env=dict(env), stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _run(words: Sequence[str], root: Path, env: Mapping[str, str], log: Path) -> tuple[int, str]:
    """Run to the end, each line of standard output shown and logged: exit status and output."""
    lines = []
    with log.open('w') as file, subprocess.Popen(
            words, cwd=root, env=dict(env), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            if not line.startswith('{'):
                print(f'    {line}', end='', flush=True)
    return process.returncode, ''.join(lines)


def measure(m: Measurement, root: Path, brought: Mapping[str, Path], quick: bool = False
            ) -> Record:
    """Run a measurement. RuntimeError with the reason where it came to no result."""
    commit, changed = source(root)
    folder = root / 'runs' / 'figures' / ('quick' if quick else commit[:7]) / m.name
    if changed or quick:  # what an earlier state of the code left is not gone on with
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    places = {**{name: str(path.resolve()) for name, path in brought.items()},
              'run': str(folder.relative_to(root))}
    env = {**os.environ, 'ROS_DOMAIN_ID': os.environ.get('ROS_DOMAIN_ID',
                                                         str(1 + os.getpid() % 101))}
    load, started = os.getloadavg()[0], time.monotonic()
    if m.before:
        with _beside(m.beside, places, root, env, folder / 'beside.log'):
            status, _ = _run(expand(m.before, places, {}), root, env, folder / 'before.log')
        if status != 0:
            raise RuntimeError(f'{m.before}: exit status {status}')
    words = expand(m.command, places, m.quick if quick else {})
    status, output = _run(words, root, env, folder / 'log')
    result = last_json(output)
    if status not in TOLD or result is None:
        tail = '\n'.join(output.splitlines()[-SHOWN:])
        raise RuntimeError(f'exit status {status}'
                           + ('' if result else ', no JSON in the last line') + f'\n{tail}')
    result = json.loads(json.dumps(result).replace(f'{root}/', ''))
    record: dict[str, Any] = {
        'name': m.name, 'command': m.command, 'commit': commit, 'changed': changed,
        'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        'machine': machine(), 'load': round(load, 1),
        'seconds': round(time.monotonic() - started, 1), 'status': status,
        'brought': {name: _digest(path) for name, path in brought.items() if name in m.needs},
        'result': result}
    if quick:
        record['quick'] = dict(m.quick)
    told(m, record)  # a result that does not tell its figure is an error here, not in the README
    return record


def _digest(path: Path) -> str:
    if path.is_file():
        return sha256_of(path)
    return f'folder of {sum(item.is_file() for item in path.rglob("*"))} files'


def reason_to_skip(m: Measurement, record: Record | None, brought: Mapping[str, Path],
                   quick: bool, again: bool) -> str:
    """Why a measurement is not run; empty where it is."""
    lacking = [name for name in m.needs if name not in brought]
    if lacking:
        return 'needs ' + ', '.join(f'--{name} FILE' for name in lacking)
    if quick and not m.quick:
        return 'has no quick form'
    if not again and finished(m, record):
        assert record is not None
        return f'has a result of {record["commit"][:7]}, {record["date"]}; --again measures anew'
    return ''


def age(root: Path, record: Record) -> str:
    """How far a result's commit lies behind HEAD."""
    head, _ = source(root)
    if 'result' not in record:
        return 'no result kept'
    if record['commit'] == head:
        return 'this commit' + (', with changes' if record['changed'] else '')
    behind = git(root, 'rev-list', '--count', f'{record["commit"]}..HEAD')
    return f'{record["commit"][:7]}, ' + ('a commit that is not here' if behind is None
                                          else f'{behind} commits before HEAD')


def _choose(text: str) -> list[Measurement]:
    names = text.split(',') if text else list(BY_NAME)
    for name in names:
        if name not in BY_NAME:
            raise ConfigError(f'--only {name!r}: it takes {", ".join(BY_NAME)}')
    return [BY_NAME[name] for name in names]


def _list(chosen: Sequence[Measurement], records: Mapping[str, Record], root: Path) -> None:
    for m in chosen:
        state = age(root, records[m.name]) if m.name in records else 'not yet measured'
        print(f'{m.name:17} {state:38} {m.shown}')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `brought` is what the user brings, by name."""
    parser = argparse.ArgumentParser(prog='karpathy-control figures', description=__doc__)
    parser.add_argument('--only', default='', metavar='NAME,...', help='default: all of '
                        + ', '.join(BY_NAME))
    parser.add_argument('--again', action='store_true', help='also what has a result')
    parser.add_argument('--quick', action='store_true', help='fewer episodes, for a look')
    parser.add_argument('--list', action='store_true', help='names and how old results are')
    parser.add_argument('--write', action='store_true', help="renew the README's table; alone, "
                        'measure nothing')
    for name in BROUGHT:
        parser.add_argument(f'--{name}', type=Path, metavar='FILE',
                            help=f'worlds of {name}, which do not come with this package')
    args = parser.parse_args(argv)
    if args.quick and args.write:
        parser.error('--quick --write: quick figures do not go into the README')
    args.brought = {name: path for name in BROUGHT if (path := getattr(args, name)) is not None}
    for name, path in args.brought.items():
        if not path.exists():
            parser.error(f'--{name} {path}: there is no such file')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for; 0: all of it was measured or has a result, 1: something failed.

    The last line is JSON.
    """
    args = parse(argv)
    root = docs.ROOT
    if not (root / 'benchmarks').is_dir():
        raise ConfigError(f'{root} has no folder benchmarks: figures are measured in a checkout')
    chosen = _choose(args.only)
    kept = root / 'benchmarks' / 'results'
    folder = root / 'runs' / 'figures' / 'quick' if args.quick else kept
    if args.list:
        _list(chosen, read_records(kept), root)
        return 0
    report: dict[str, Any] = {'measured': [], 'skipped': {}, 'failed': {}}
    alone = args.write and not (args.only or args.again)
    for number, m in enumerate([] if alone else chosen, 1):
        head = f'[{number}/{len(chosen)}] {m.name}'
        path = folder / f'{m.name}.json'
        record = read_record(path) if path.exists() else None
        skip = reason_to_skip(m, record, args.brought, args.quick, args.again)
        if skip:
            report['skipped'][m.name] = skip
            print(f'{head}: skipped, {skip}', flush=True)
            continue
        if args.again:
            shutil.rmtree(root / 'runs' / 'figures' / source(root)[0][:7] / m.name,
                          ignore_errors=True)
        quick = ''.join(f' {option} {value}' for option, value in m.quick.items())
        print(f'{head}: {m.shown}' + (f' (quick:{quick})' if args.quick else ''), flush=True)
        try:
            record = measure(m, root, args.brought, args.quick)
        except (RuntimeError, ConfigError) as error:
            report['failed'][m.name] = str(error).splitlines()[0]
            print(f'{head}: failed, {error}', flush=True)
            continue
        write_record(folder, record)
        report['measured'].append(m.name)
        for row, (text, met) in zip(m.rows, told(m, record), strict=True):
            print(f'    {row.what}: {text}' + ('' if met else f'; missed: {row.aim}')
                  + (' (quick)' if args.quick else ''), flush=True)
    if args.write:
        readme = root / 'README.md'
        text = readme.read_text(encoding='utf-8')
        readme.write_text(docs.renew(text, readme.name), encoding='utf-8')
    print(json.dumps({**report, 'quick': args.quick}))
    return 1 if report['failed'] else 0


if __name__ == '__main__':
    sys.exit(main())

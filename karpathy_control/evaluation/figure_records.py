"""What measurements came to: one JSON file each in benchmarks/results, and the README's table.

A record of a run has `name`, `command`, `commit`, `changed` (whether the working tree differed),
`date`, `machine`, `seconds`, `load` (mean number of busy processes before it), `status`, `brought`
and the `result` itself. Figures older than these files have no result: `recorded` says so,
`figures` has the text by row, `missed` the rows whose aim is missed, `stated` the commit that put
the figure into the README (which was measured, nobody recorded) and `note` what else is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karpathy_control.contracts.config import ConfigError
from karpathy_control.evaluation.figure_table import BY_NAME, MEASUREMENTS, Measurement

HEADER = ('what', 'command', 'figure', 'aim', 'measured')
BEFORE = 'before results were kept'
_RUN = ('commit', 'changed', 'date', 'machine', 'seconds', 'status', 'result')

Record = Mapping[str, Any]


def read_record(path: Path) -> Record:
    """One record. ConfigError where the file is no such thing, or of no measurement."""
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path}: cannot be read as JSON ({error})') from error
    if path.stem not in BY_NAME:
        raise ConfigError(f'{path}: no measurement is called {path.stem!r}; they are '
                          f'{", ".join(BY_NAME)}')
    keys = {row.key for row in BY_NAME[path.stem].rows}
    wanted = ('figures',) if isinstance(record, dict) and 'recorded' in record else _RUN
    lacking = [key for key in ('name', 'command', *wanted)
               if not isinstance(record, dict) or key not in record]
    if lacking:
        raise ConfigError(f'{path}: lacks {", ".join(lacking)}')
    if record['name'] != path.stem:
        raise ConfigError(f'{path}: is called {record["name"]!r} inside; it takes {path.stem!r}')
    if 'figures' in wanted and set(record['figures']) != keys:
        raise ConfigError(f'{path}: has figures {", ".join(sorted(record["figures"]))}; it takes '
                          f'{", ".join(sorted(keys))}')
    return record


def read_records(folder: Path) -> dict[str, Record]:
    """All records of a folder, by name; none where there is no folder."""
    return {path.stem: read_record(path) for path in sorted(folder.glob('*.json'))}


def write_record(folder: Path, record: Record) -> Path:
    """Keep a record; an interrupted write leaves the old one.

    In the result, paths within the checkout that `folder` (its benchmarks/results) belongs to are
    kept from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{record["name"]}.json'
    part = path.with_suffix('.part')
    place = f'{folder.resolve().parents[1]}/'
    if 'result' in record:
        record = {**record, 'result': json.loads(json.dumps(record['result']).replace(place, ''))}
    part.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
    part.replace(path)
    return path


def finished(measurement: Measurement, record: Record | None) -> bool:
    """Whether a record holds the result of this very command."""
    return record is not None and 'result' in record and (
        record['command'] == measurement.command)


def told(measurement: Measurement, record: Record) -> list[tuple[str, bool]]:
    """Figure of every row and whether its aim is met.

    ConfigError where the result lacks what a row tells.
    """
    if 'result' not in record:
        return [(str(record['figures'][row.key]), row.key not in record.get('missed', ()))
                for row in measurement.rows]
    try:
        return [(row.text(record['result']), bool(row.met(record['result'])))
                for row in measurement.rows]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(f'{measurement.name}: its result does not tell its figure ({error!r}); '
                          'measure it again') from error


def origin(record: Record) -> str:
    """When and of which commit a record is, as the table says it."""
    if 'result' not in record:
        stated = f', stated in `{record["stated"]}`' if record.get('stated') else ''
        note = f': {record["note"]}' if record.get('note') else ''
        return f'{BEFORE}{stated}{note}'
    changed = ' with changes' if record['changed'] else ''
    return f'`{record["commit"][:7]}`{changed}, {record["date"]}'


def rows(records: Mapping[str, Record]) -> list[tuple[str, ...]]:
    """Cells of the README's table, in the order of the table in code."""
    found: list[tuple[str, ...]] = []
    for m in MEASUREMENTS:
        record = records.get(m.name)
        figures = told(m, record) if record is not None else [('', True)] * len(m.rows)
        measured = origin(record) if record is not None else 'not yet'
        found += [(row.what, f'`{m.shown}`', text, row.aim if met else f'{row.aim}: missed',
                   measured) for row, (text, met) in zip(m.rows, figures, strict=True)]
    return found


def machines(records: Mapping[str, Record]) -> str:
    """A line for every machine that records are of, with their names; empty without."""
    by: dict[str, list[str]] = {}
    for name, record in records.items():
        if 'result' in record:
            about = record['machine']
            by.setdefault(f'{about["processor"]}, {about["processor cores"]} cores, Python '
                          f'{about["Python"]}, {about["system"]}', []).append(name)
    return ''.join(f'\n{", ".join(names)}: {about}.\n' for about, names in by.items())

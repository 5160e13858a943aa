"""Tables of README.md and doc/ that come from the code: `--write` renews, `--check` tests them.

A document marks a place with a pair of comments and everything between them is replaced:

    <!-- begin generated: topics -->
    <!-- end generated: topics -->
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from karpathy_control.bringup.plan import ARGUMENTS
from karpathy_control.contracts.config import (
    NODE_CONFIGS,
    ConfigError,
    ParameterSpec,
    RobotConfig,
    specs,
)
from karpathy_control.contracts.interfaces import ACTIONS, SERVICES, TOPICS, Qos
from karpathy_control.contracts.modes import Mode, Reason
from karpathy_control.evaluation import figure_records

ROOT = Path(__file__).resolve().parents[2]
_QOS = {
    Qos.SENSOR: 'best effort, 5', Qos.LATEST: 'best effort, 1', Qos.RELIABLE: 'reliable, 10',
    Qos.LATCHED: 'reliable, latched, 1',
}
_BLOCK = re.compile(r'(<!-- begin generated: (?P<name>\w+) -->\n)(?P<body>.*?)'
                    r'(<!-- end generated: (?P=name) -->)', re.DOTALL)
_MARK = re.compile(r'<!-- (?:begin|end) generated: (\w+) -->')


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars within cells are escaped."""
    lines = ['| ' + ' | '.join(header) + ' |', '|' + ' --- |' * len(header)]
    lines += ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |' for row in rows]
    return '\n'.join(lines) + '\n'


def topics() -> str:
    """Every topic of the interface table."""
    def rate(value: float) -> str:
        return f'{value:g}' if value else 'on change'
    return table(('topic', 'type', 'QoS', 'Hz', 'from', 'to', 'what'), (
        (f'`{t.name}`', t.type.replace('/msg/', '/'), _QOS[t.qos], rate(t.rate), t.writer,
         ', '.join(t.readers), t.meaning) for t in TOPICS))


def services() -> str:
    """Every service and action of the interface table."""
    return table(('service or action', 'type', 'server', 'what'), (
        (f'`{s.name}`', s.type.replace('/srv/', '/').replace('/action/', '/'), s.server, s.meaning)
        for s in (*SERVICES, *ACTIONS)))


def arguments() -> str:
    """Arguments of the launch file and of `karpathy-control up`."""
    return table(('argument', 'default', 'what'), (
        (f'`{a.name}`', f'`{a.default}`' if a.default else '(empty)',
         a.help + (f'; {", ".join(c for c in a.choices if c)}' if a.choices else ''))
        for a in ARGUMENTS))


def modes() -> str:
    """Modes and reasons that `control/state` can show."""
    return ('Modes: ' + ', '.join(f'`{mode.value}`' for mode in Mode) + '.\n\nReasons: '
            + ', '.join(f'`{reason.value}`' for reason in Reason) + '.\n')


def _parameters(found: Iterable[ParameterSpec]) -> str:
    return table(('parameter', 'default', 'unit', 'accepts', 'live', 'what'), (
        (f'`{s.name}`', f'`{s.default}`' if s.default != '' else '(empty)', s.unit, s.accepted,
         'yes' if s.live else '', s.description) for s in found))


def parameters() -> str:
    """Every parameter of every node; the robot's, common to all, once."""
    parts = [('`robot.*`, the same for every node', specs(RobotConfig, 'robot.'))]
    parts += [(f'`{node}`', [s for s in specs(kind) if not s.name.startswith('robot.')])
              for node, kind in NODE_CONFIGS.items()]
    return '\n'.join(f'<details><summary>{name.replace("`", "")}</summary>\n\n'
                     f'{_parameters(found)}\n</details>\n' for name, found in parts)


def figures() -> str:
    """Every figure of the README, as benchmarks/results has it."""
    records = figure_records.read_records(ROOT / 'benchmarks' / 'results')
    return table(figure_records.HEADER, figure_records.rows(records)) + figure_records.machines(
        records)


GENERATORS: dict[str, Callable[[], str]] = {
    'topics': topics, 'services': services, 'arguments': arguments, 'modes': modes,
    'parameters': parameters, 'figures': figures,
}


def renew(text: str, source: str) -> str:
    """The document with every marked place generated anew.

    Raises ConfigError for an unknown name and for a mark without its partner, naming `source`.
    """
    def replacement(match: re.Match[str]) -> str:
        return match[1] + GENERATORS[match['name']]() + match[4]

    marks = _MARK.findall(text)
    for name in marks:
        if name not in GENERATORS:
            raise ConfigError(f'{source}: nothing generates {name!r}; it takes '
                              f'{", ".join(GENERATORS)}')
    if len(marks) != 2 * len(_BLOCK.findall(text)):
        raise ConfigError(f'{source}: a begin or end mark has no partner among {marks}')
    return _BLOCK.sub(replacement, text)


def documents(root: Path = ROOT) -> list[Path]:
    """README.md and every document in doc/."""
    return [root / 'README.md', *sorted((root / 'doc').glob('*.md'))]


def stale(root: Path = ROOT) -> list[Path]:
    """Documents whose generated parts are not what the code says."""
    return [path for path in documents(root)
            if renew(path.read_text(encoding='utf-8'), path.name)
            != path.read_text(encoding='utf-8')]


def main(argv: Sequence[str]) -> int:
    """Write or check; 1 where a document is not current."""
    parser = argparse.ArgumentParser(prog='python -m karpathy_control.bringup.docs',
                                     description='Generated tables of the documents.')
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--write', action='store_true', help='renew them')
    what.add_argument('--check', action='store_true', help='fail where one is not current')
    options = parser.parse_args(argv)
    old = stale()
    for path in old:
        if options.write:
            path.write_text(renew(path.read_text(encoding='utf-8'), path.name), encoding='utf-8')
        print(f'{"renewed" if options.write else "not current"}: {path.relative_to(ROOT)}')
    if options.check and old:
        print('renew with: python -m karpathy_control.bringup.docs --write', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

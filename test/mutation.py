"""Mutation tests of karpathy_control/control: would the tests notice if the code were wrong?

    python test/mutation.py [--sample N] [--seed S] [--only GLOB] [--again] [--report]

mutmut changes one operator, number, argument or keyword at a time and runs the tests that call the
changed function, as plain Python. It works on a copy under build/mutation, where `@kernel` is
taken off (unjitted it does nothing, and mutmut leaves decorated functions alone). Verdicts are
kept there: a run that was broken off goes on, and a function that has changed is tested anew.

A mutant counts as killed when a test fails or its time is up. Those that survive are listed with
their change; doc/mutation.md explains the ones that no test can tell from the original. The last
line is JSON. Exit status 1: a mutant survived unexplained, or of all mutants fewer than the target
were killed (a sample may be below it by chance).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / 'build' / 'mutation'
PACKAGE = 'karpathy_control'
TARGET = 0.95
EXPLAINED = ROOT / 'doc' / 'mutation.md'
_COPIED = (f'{PACKAGE}/**/*.py', 'test/control/*.py', 'config/rules.yaml', 'pyproject.toml',
           'package.xml')
_KERNEL = re.compile(r'^@kernel(\(.*\))?\n', re.MULTILINE)
# Exit status of the tests, as mutmut keeps it; 33: none calls the function. The rest is death.
_SURVIVED, _UNTESTED = 0, 33


def copy() -> bool:
    """Bring the copy up to date; a file that is the same keeps its time. Whether one changed."""
    changed = False
    wanted = {path.relative_to(ROOT) for pattern in _COPIED for path in ROOT.glob(pattern)}
    for name in wanted:
        text = (ROOT / name).read_bytes()
        if name.parts[:2] == (PACKAGE, 'control'):
            text = _KERNEL.sub('', text.decode()).encode()
        target = COPY / name
        if not target.is_file() or target.read_bytes() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text)
            changed = True
    for folder in (PACKAGE, 'test'):
        for below in (COPY, COPY / 'mutants'):
            for path in (below / folder).rglob('*.py'):
                if path.relative_to(below) not in wanted:
                    path.unlink()
    return changed


def mutmut(*names: str) -> None:
    """Run mutmut on some mutants, or on all that have no verdict yet."""
    # One thread, one child: it may run beside other work.
    with (COPY / 'mutmut.log').open('w') as log:
        subprocess.run([str(Path(sys.executable).parent / 'mutmut'), 'run', '--max-children', '1',
                        *names], cwd=COPY, check=True, stdout=log, stderr=log,
                       env={**os.environ, 'NUMBA_DISABLE_JIT': '1', 'OMP_NUM_THREADS': '1'})


def verdicts() -> dict[str, int | None]:
    """Exit status of the tests of every mutant; None where it was not tested."""
    found: dict[str, int | None] = {}
    for path in sorted((COPY / 'mutants' / PACKAGE).rglob('*.meta')):
        found |= json.loads(path.read_text())['exit_code_by_key']
    return found


def place(name: str) -> str:
    """Module and function of a mutant, as in `gate.Gate.filter`."""
    name = name.removeprefix(f'{PACKAGE}.control.').rpartition('__mutmut_')[0]
    return re.sub(r'\.x(_|ǁ)', '.', name).replace('ǁ', '.')


def change(name: str) -> tuple[str, str]:
    """What a mutant changes: the lines before and after, each as one."""
    lines = get_diff_for_mutant(name).splitlines()
    before, after = (' '.join(line[1:].strip() for line in lines
                              if line.startswith(sign) and not line.startswith(3 * sign))
                     for sign in '-+')
    return before, after


def explained() -> set[tuple[str, str, str]]:
    """Place, before and after of every mutant that the document explains."""
    return set(re.findall(r'^\* `(.+?)`: `(.+?)` → `(.+?)`$', EXPLAINED.read_text(),
                          re.MULTILINE))


def interval(killed: int, tested: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share."""
    z, p = 1.96, killed / tested
    middle, half = p + z * z / (2 * tested), z * math.sqrt(
        p * (1 - p) / tested + z * z / (4 * tested * tested))
    return (middle - half) / (1 + z * z / tested), (middle + half) / (1 + z * z / tested)


def report(names: list[str]) -> int:
    """Print the score of each module and the survivors; 1 where something is missing."""
    os.chdir(COPY)  # where mutmut looks for its files
    found = verdicts()
    tested = [name for name in names if found[name] is not None]
    alive = [name for name in tested if found[name] in (_SURVIVED, _UNTESTED)]
    known = explained()
    unexplained = []
    for name in alive:
        key = (place(name), *change(name))
        if key not in known:
            unexplained.append(name)
            print(f'* `{key[0]}`: `{key[1]}` → `{key[2]}`')
    total, lost, open_ = (Counter(place(name).partition('.')[0] for name in group)
                          for group in (tested, alive, unexplained))
    for module, count in sorted(total.items()):
        print(f'{module:14} {count - lost[module]:5} of {count:5} killed, '
              f'{100 * (1 - lost[module] / count):5.1f} %, {open_[module]} unexplained')
    killed = len(tested) - len(alive)
    low, high = interval(killed, len(tested))
    equivalent = len(alive) - len(unexplained)
    print(json.dumps({
        'mutants': len(found), 'tested': len(tested), 'killed': killed, 'survived': len(alive),
        'unexplained': len(unexplained), 'score': round(killed / len(tested), 4),
        'interval_95': [round(low, 4), round(high, 4)],
        'score_without_explained': round(killed / (len(tested) - equivalent), 4)}))
    missed = len(tested) == len(found) and killed < TARGET * len(tested)
    return int(missed or bool(unexplained))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--sample', type=int, help='test this many, drawn at random')
    parser.add_argument('--seed', type=int, default=0, help='of the draw')
    parser.add_argument('--only', default='*', metavar='GLOB', help="as in 'gate.*'")
    parser.add_argument('--again', action='store_true', help='test survivors anew')
    parser.add_argument('--report', action='store_true', help='run nothing')
    arguments = parser.parse_args()
    if copy() and not arguments.report:
        mutmut(f'{PACKAGE}.control.limits.x_clamp__mutmut_1')  # this one, and all are generated
    found = verdicts()
    names = sorted(name for name in found if fnmatch(place(name), arguments.only))
    if arguments.sample is not None and arguments.sample < len(names):
        names = sorted(random.Random(arguments.seed).sample(names, arguments.sample))
    left = [name for name in names if found[name] in (None, _UNTESTED)
            or (arguments.again and found[name] == _SURVIVED)]
    if left and not arguments.report:
        rest = {name for name in found if found[name] is None}
        mutmut(*([] if set(left) == rest else left))  # names cost mutmut minutes to match
    return report(names)


if __name__ == '__main__':
    sys.exit(main())

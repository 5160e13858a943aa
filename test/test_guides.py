"""README and doc/ say only what there is: commands, options, files, anchors, parameters."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from karpathy_control import cli
from karpathy_control.bringup.plan import resolve
from karpathy_control.bringup.runner import parse_arguments
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.modes import Mode, Reason

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'doc').glob('*.md'))]
FENCE = re.compile(r'^ *```(\w*)\n(.*?)^ *```', re.MULTILINE | re.DOTALL)
SPAN = re.compile(r'`[^`]*`')
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
NAME = re.compile(r'`([a-z_]+\.[a-z_]+)`')
FILES = ('.yaml', '.json', '.md', '.py', '.safetensors')
ASSIGNMENT = re.compile(r'[A-Za-z_]\w*=')
PARAMETER = re.compile(r'^(?:# )? +(?:# )?([a-z_]+\.[a-z_]+): \S', re.MULTILINE)
NO_PARSER = ('warmup',)  # takes nothing: there is no parser to ask


class Accepted(Exception):  # noqa: N818 - it is none
    """The parser took the words; the command is not run."""


@pytest.fixture(autouse=True)
def only_parse(monkeypatch):
    """Every parser ends the command once it has taken its words, each option by its full name."""
    real = argparse.ArgumentParser.parse_known_args

    def parse(parser, args=None, namespace=None):
        parser.allow_abbrev = False
        found = real(parser, args, namespace)
        if found[1]:
            parser.error(f'unrecognized arguments: {" ".join(found[1])}')
        raise Accepted(found[0])

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_known_args', parse)
    for name in ('NUMBA_CACHE_DIR', 'ROS_PYTHON_CHECK_FIELDS', 'OMP_NUM_THREADS',
                 'GIT_PYTHON_REFRESH'):  # a command may set them
        monkeypatch.setenv(name, '1')


def blocks(text):
    """What stands in fenced blocks, lines that go on joined."""
    return [body.replace('\\\n', '') for _, body in FENCE.findall(text)]


def command_lines(text):
    """Words of every simple command in the fenced blocks that calls us, without what is before."""
    found = []
    for line in '\n'.join(blocks(text)).splitlines():
        if 'karpathy' not in line:
            continue
        try:
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            words = list(words)
        except ValueError:  # a quote without its end: no command line of ours
            words = []
        while words:
            end = next((i for i, w in enumerate(words) if set(w) <= set('&|;')), len(words))
            command, words = words[:end], words[end + 1:]
            while command and ASSIGNMENT.match(command[0]):
                command = command[1:]
            if command and command[0].rpartition('/')[2] == 'karpathy-control':
                found.append(['karpathy-control', *command[1:]])
            elif command[:4] == ['ros2', 'launch', 'karpathy_control', 'bringup.launch.py']:
                found.append(['karpathy-control', 'up', *command[4:]])
    return found


def complaint(words, capsys):
    """What our command line says against these words; empty where it takes them."""
    name, *rest = words[1:] or ['']
    if name not in cli.COMMANDS:
        return f'no command {name!r}'
    if name in NO_PARSER:
        return f'{name} takes nothing' if rest else ''
    if name == 'up':
        try:
            resolve(parse_arguments([w for w in rest if ':=' in w], {}))
        except ConfigError as error:
            return str(error)
    try:
        status = cli.run([name, *rest])
    except Accepted:
        return ''
    except SystemExit as end:
        status = end.code
    return f'{" ".join(words)}: status {status}: {capsys.readouterr().err[-300:]}'


def prose(text):
    """The text without fenced blocks."""
    return FENCE.sub('', text)


def anchors(text):
    """The anchors of the headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r'^#+ +(.+?) *$', prose(text), re.MULTILINE):
        plain = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading).lower()
        base = re.sub(r'[^\w\- ]', '', plain).replace(' ', '-')
        slug, n = base, 0
        while slug in found:
            n += 1
            slug = f'{base}-{n}'
        found.add(slug)
    return found


def dead_links(page, text):
    """Links of a page to a file or an anchor that is not there."""
    dead = []
    for target in LINK.findall(SPAN.sub('', prose(text))):
        if re.match(r'[a-z]+:', target):
            continue
        name, _, anchor = target.partition('#')
        path = (page.parent / name) if name else page
        inside = path.resolve().is_relative_to(ROOT)
        if not inside or not path.exists():
            dead.append(target)
        elif anchor and anchor not in anchors(text if path == page else path.read_text()):
            dead.append(target)
    return dead


def unknown_names(text, known):
    """Names like those of parameters that are none."""
    return [name for name in NAME.findall(prose(text))
            if name not in known and not name.endswith(FILES)]


def known_names():
    return set(PARAMETER.findall((ROOT / 'config' / 'params.yaml').read_text()))


def test_every_command_line_is_accepted(capsys):
    lines = [(page.name, words) for page in PAGES for words in command_lines(page.read_text())]
    assert len(lines) > 30
    assert [(page, said) for page, words in lines if (said := complaint(words, capsys))] == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert dead_links(page, page.read_text()) == []


def test_parameters_in_the_guides_exist():
    known = known_names()
    assert {'gate.margin', 'robot.max_speed', 'lidar.rate'} <= known
    assert unknown_names((ROOT / 'doc' / 'tuning.md').read_text(), known) == []


def test_every_reason_and_mode_is_explained():
    text = (ROOT / 'doc' / 'troubleshooting.md').read_text()
    rows = set(re.findall(r'^\| `(\w+)` \|', text, re.MULTILINE))
    assert {reason.value for reason in Reason} - rows == set()
    readme = (ROOT / 'README.md').read_text()
    assert all(f'`{mode.value}`' in readme for mode in Mode)


def test_the_guides_are_linked_and_of_one_sitting():
    readme = (ROOT / 'README.md').read_text()
    for name in ('robot', 'tuning', 'troubleshooting', 'training', 'bags'):
        assert f'](doc/{name}.md)' in readme
        assert 60 <= len((ROOT / 'doc' / f'{name}.md').read_text().splitlines()) <= 160


# -- and the checks can fail ----------------------------------------------------------------------

SAMPLE = """
```
ROS_DOMAIN_ID=7 .venv/bin/karpathy-control view --bag a  # said in a comment: karpathy-control x
make venv && karpathy-control bench loop --seconds 5 | tail
karpathy-control record --out b \\
    --topics odom,\\
scan
ros2 launch karpathy_control bringup.launch.py world:=robot
echo "karpathy-control is a name
```
`karpathy-control inline`, and karpathy-control in prose
  ```bash
  karpathy-control doctor
  ```
"""


def test_command_lines_are_found():
    assert [words[1:] for words in command_lines(SAMPLE)] == [
        ['view', '--bag', 'a'], ['bench', 'loop', '--seconds', '5'],
        ['record', '--out', 'b', '--topics', 'odom,scan'], ['up', 'world:=robot'], ['doctor']]


@pytest.mark.parametrize(('line', 'said'), [
    ('fly', "no command 'fly'"), ('', "no command ''"), ('warmup --fast', 'takes nothing'),
    ('doctor --lively', 'unrecognized arguments: --lively'),
    ('doctor --rob jackal', 'unrecognized arguments'),  # no abbreviations
    ('view --port many', 'invalid int value'), ('world --family moon', 'invalid choice'),
    ('up worl:=robot', "unknown argument 'worl'"), ('up world:=moon', "world: 'moon'"),
    ('up --loud', 'unrecognized arguments'), ('train wings', 'status 2'),
    ('train policy --stepps 5', 'unrecognized arguments'), ('bench fly', 'invalid choice'),
    ('bench loop --minutes 5', 'unrecognized arguments'),
])
def test_a_wrong_command_line_is_noticed(line, said, capsys):
    assert said in complaint(['karpathy-control', *line.split()], capsys)


@pytest.mark.parametrize('line', ['doctor --robot jackal', 'warmup', 'bench loop --seconds 5',
                                  'train policy --steps 5', 'up world:=robot --quiet'])
def test_a_right_command_line_is_taken(line, capsys):
    assert complaint(['karpathy-control', *line.split()], capsys) == ''


def test_dead_links_are_noticed():
    text = ('# One thing, `two`\n[a](#one-thing-two) [b](#three) [c](LICENSE) [d](LICENCE) '
            '[e](https://x.y) [f](doc/safety.md#the-invariant) [g](doc/safety.md#the-variant) '
            '`[h](code)` ![i](doc/demo.png) [j](../outside)\n```\n[k](fenced)\n```\n')
    assert dead_links(ROOT / 'README.md', text) == [
        '#three', 'LICENCE', 'doc/safety.md#the-variant', '../outside']


def test_anchors_are_those_of_github():
    assert anchors('# A, b & `c_d`\n## Same\n## Same\n```\n# not\n```\n') == {
        'a-b--c_d', 'same', 'same-1'}


def test_unknown_parameters_are_noticed():
    text = '`gate.margin` `gate.magrin` `rules.yaml` `goal.tolerance`\n```\n`a.b`\n```\n'
    assert unknown_names(text, known_names()) == ['gate.magrin']

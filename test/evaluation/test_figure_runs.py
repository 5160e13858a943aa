"""The figures of the README: rendering, resuming, skipping, refusing; with real processes."""

import json
import shlex
import subprocess
import sys

import pytest

from karpathy_control import cli
from karpathy_control.bringup import docs
from karpathy_control.contracts.config import ConfigError
from karpathy_control.evaluation import figure_records, figure_runs, figure_table
from karpathy_control.evaluation.figure_table import BY_NAME, MEASUREMENTS, Measurement, Row

PLACES = {'run': 'r', 'barn': 'b', 'dynabarn': 'd'}


def counting(name, body, **more):
    """A measurement of one row that runs some Python; `body` sees the list of its arguments."""
    return Measurement(name, f'python -c {shlex.quote(body)} --episodes 50', (
        Row(name, f'what {name} is', lambda r: f'{r["x"]} of {r["argv"][-1]}', 'at most 3',
            lambda r: r['x'] <= 3),), {'--episodes': '2'}, **more)


def prints(x, status=0):
    return (f'import json, sys; print("on the way"); print(json.dumps(dict(x={x}, argv=sys.argv,'
            f' cwd=__import__("os").getcwd() + "/y"))); sys.exit({status})')


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A repository with one commit, and a way to set the table of measurements."""
    (tmp_path / 'benchmarks').mkdir()
    (tmp_path / 'README.md').write_text(
        'a\n<!-- begin generated: figures -->\n<!-- end generated: figures -->\nb\n')
    (tmp_path / 'code.py').write_text('1')
    (tmp_path / '.gitignore').write_text('runs/\n')
    monkeypatch.setattr(docs, 'ROOT', tmp_path)

    def git(*words):
        subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *words],
                       cwd=tmp_path, check=True, capture_output=True)

    def table(*measurements):
        for module in (figure_table, figure_records, figure_runs):
            monkeypatch.setattr(module, 'BY_NAME', {m.name: m for m in measurements})
        monkeypatch.setattr(figure_records, 'MEASUREMENTS', measurements)

    git('init', '-q')
    git('add', '-A')
    git('commit', '-q', '-m', 'first')
    table.root, table.git = tmp_path, git
    return table


def run(capsys, *argv):
    """Exit status, the JSON of the last line, and all that was printed."""
    status = figure_runs.main(list(argv))
    out = capsys.readouterr().out
    return status, json.loads(out.splitlines()[-1]), out


def kept(bench, name):
    return json.loads((bench.root / 'benchmarks' / 'results' / f'{name}.json').read_text())


def test_a_result_is_kept_with_where_it_comes_from(bench, capsys):
    bench(counting('small', prints(2)))
    status, report, out = run(capsys)
    assert (status, report['measured']) == (0, ['small'])
    assert 'on the way' in out
    assert '2 of 50' in out
    record = kept(bench, 'small')
    head = subprocess.check_output(['git', 'rev-parse', 'HEAD'], cwd=bench.root, text=True)
    assert record['commit'] == head.strip()
    assert record['changed'] is False
    assert record['status'] == 0
    assert record['result']['cwd'] == 'y'  # no path of this machine
    assert int(record['machine']['processor cores']) >= 1
    assert record['machine']['Python'] == sys.version.split()[0]
    assert isinstance(record['seconds'], float)
    assert record['date'].count('-') == 2


def test_what_has_a_result_is_not_measured_again_unless_asked_or_changed(bench, capsys):
    marker = bench.root / 'runs' / 'count'
    marker.parent.mkdir()
    body = f'open({str(marker)!r}, "a").write("x"); ' + prints(2)
    bench(counting('small', body))
    run(capsys)
    _, report, _ = run(capsys)
    assert report['measured'] == []
    assert '--again' in report['skipped']['small']
    assert marker.read_text() == 'x'
    run(capsys, '--again')
    assert marker.read_text() == 'xx'
    bench(counting('small', body + '  # another command'))
    assert run(capsys)[1]['measured'] == ['small']


def test_a_figure_from_before_is_no_result(bench, capsys):
    m = counting('small', prints(2))
    bench(m)
    figure_records.write_record(bench.root / 'benchmarks' / 'results', {
        'name': 'small', 'command': m.command, 'recorded': 'before results were kept',
        'commit': 'not recorded', 'figures': {'small': 'few'}, 'missed': ['small'],
        'stated': 'abc1234', 'note': 'an older gate'})
    figure_runs.main(['--write'])
    assert ('| few | at most 3: missed | before results were kept, stated in `abc1234`: an older '
            'gate |') in (bench.root / 'README.md').read_text()
    assert run(capsys)[1]['measured'] == ['small']
    assert kept(bench, 'small')['result']['x'] == 2


def test_a_run_goes_on_after_one_that_failed(bench, capsys):
    bench(counting('breaks', prints(1, status=2)), counting('silent', 'print("no JSON")'),
          counting('missed', prints(4, status=1)),
          counting('lacks', prints(1).replace('x=', 'y=')))
    status, report, out = run(capsys)
    assert status == 1
    assert report['measured'] == ['missed']  # status 1: measured, and its aim is missed
    assert report['failed'].keys() == {'breaks', 'silent', 'lacks'}
    assert 'exit status 2' in report['failed']['breaks']
    assert 'no JSON' in report['failed']['silent']
    assert 'does not tell its figure' in report['failed']['lacks']
    assert 'missed: at most 3' in out
    assert not (bench.root / 'benchmarks' / 'results' / 'breaks.json').exists()


def test_the_table_names_commit_and_changes_and_keeps_the_rest_of_the_page(bench, capsys):
    bench(counting('small', prints(4)), counting('later', prints(1)))
    (bench.root / 'code.py').write_text('2')
    run(capsys, '--only', 'small', '--write')
    text = (bench.root / 'README.md').read_text()
    record = kept(bench, 'small')
    assert record['changed'] is True
    assert (f'| 4 of 50 | at most 3: missed | `{record["commit"][:7]}` with changes, '
            f'{record["date"]} |') in text
    assert '|  | at most 3 | not yet |' in text
    assert f'\nsmall: {record["machine"]["processor"]}, ' in text
    assert text.startswith('a\n')
    assert text.endswith('b\n')
    before = text
    assert figure_runs.main(['--write']) == 0  # alone it measures nothing
    assert (bench.root / 'README.md').read_text() == before
    assert not (bench.root / 'benchmarks' / 'results' / 'later.json').exists()


def test_documents_and_results_are_no_change(bench, capsys):
    bench(counting('small', prints(2)))
    (bench.root / 'README.md').write_text('other')
    (bench.root / 'benchmarks' / 'results').mkdir()
    (bench.root / 'benchmarks' / 'results' / 'note.txt').write_text('other')
    run(capsys)
    assert kept(bench, 'small')['changed'] is False


def test_list_says_how_far_behind_a_result_is(bench, capsys):
    bench(counting('small', prints(2)), counting('later', prints(1)))
    run(capsys, '--only', 'small')
    assert figure_runs.main(['--list']) == 0
    out = capsys.readouterr().out
    assert 'this commit' in out.splitlines()[0]
    assert 'not yet measured' in out.splitlines()[1]
    (bench.root / 'code.py').write_text('2')
    bench.git('commit', '-q', '-am', 'second')
    figure_runs.main(['--list', '--only', 'small'])
    assert '1 commits before HEAD' in capsys.readouterr().out


def test_quick_says_so_and_never_reaches_the_readme(bench, capsys):
    slow = Measurement('slow', 'python -c 1', (Row('slow', 'w', str),))
    bench(counting('small', prints(2)), slow)
    status, report, out = run(capsys, '--quick')
    assert (status, report['quick']) == (0, True)
    assert '2 of 2 (quick)' in out  # episodes: 2 in place of 50
    assert report['skipped'] == {'slow': 'has no quick form'}
    assert not (bench.root / 'benchmarks' / 'results').exists()
    assert run(capsys, '--only', 'small')[1]['measured'] == ['small']  # it counts for nothing
    with pytest.raises(SystemExit):
        figure_runs.main(['--quick', '--write'])


def test_worlds_must_be_brought(bench, capsys, tmp_path):
    m = counting('barn', prints(2))
    m = Measurement('barn', m.command + ' {barn}', m.rows)
    bench(m)
    _, report, _ = run(capsys)
    assert report['skipped'] == {'barn': 'needs --barn FILE'}
    worlds = tmp_path / 'worlds.json'
    worlds.write_text('{}')
    bench.git('add', '-A')
    assert run(capsys, '--barn', str(worlds))[1]['measured'] == ['barn']
    record = kept(bench, 'barn')
    assert record['brought'] == {'barn': '44136fa355b3678a1146ad16f7e8649e'
                                         '94fb4fc21fe77e8310c060f61caaff8a'}  # of b'{}'
    assert record['command'].endswith('{barn}')
    with pytest.raises(SystemExit):
        figure_runs.main(['--barn', str(tmp_path / 'nowhere')])
    assert 'there is no such file' in capsys.readouterr().err


def test_what_runs_beside_ends_with_what_runs_before(bench, capsys):
    beside = 'python -c "import time, pathlib; pathlib.Path(\'up\').touch(); time.sleep(600)"'
    before = ('python -c "import time, pathlib\nwhile not pathlib.Path(\'up\').exists(): '
              'time.sleep(.02)\npathlib.Path(\'{run}/bag\').write_text(\'7\')"')
    m = Measurement('pair', 'python -c "import json; print(json.dumps(dict(x=int(open('
                    '\'{run}/bag\').read()))))"', (Row('pair', 'w', lambda r: str(r['x'])),),
                    before=before, beside=beside)
    bench(m)
    status, report, _ = run(capsys)
    assert (status, report['measured']) == (0, ['pair'])
    assert kept(bench, 'pair')['result'] == {'x': 7}


def test_an_unknown_name_is_refused_with_those_that_there_are(capsys):
    assert cli.run(['figures', '--only', 'calibrate,speed']) == cli.EXIT_REFUSED
    said = capsys.readouterr().err
    assert "'speed'" in said
    assert 'calibrate' in said


@pytest.mark.parametrize(('content', 'said'), [
    ('{', 'cannot be read as JSON'), ('[]', 'lacks name'), ('{"name": "loop"}', 'lacks command'),
    ('{"name": "soak", "command": "", "recorded": "", "figures": {"latency": "", "missed": "", '
     '"cpu": ""}}', "called 'soak' inside"),
    ('{"name": "loop", "command": "", "recorded": "", "figures": {"latency": ""}}',
     'it takes cpu, latency, missed'),
])
def test_a_bad_record_is_refused(tmp_path, content, said):
    path = tmp_path / 'loop.json'
    path.write_text(content)
    with pytest.raises(ConfigError, match=said):
        figure_records.read_records(tmp_path)


def test_a_record_of_no_measurement_is_refused(tmp_path):
    (tmp_path / 'speed.json').write_text('{}')
    with pytest.raises(ConfigError, match="no measurement is called 'speed'; they are demo"):
        figure_records.read_records(tmp_path)


def test_names_and_rows_are_each_their_own():
    assert len(BY_NAME) == len(MEASUREMENTS)
    keys = [row.key for m in MEASUREMENTS for row in m.rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize('m', MEASUREMENTS, ids=lambda m: m.name)
def test_no_place_is_left_unfilled(m):
    for command in (m.command, m.before, m.beside):
        if command:
            words = figure_runs.expand(command, PLACES, m.quick if command == m.command else {})
            assert not any('{' in word for word in words)
            assert words[0] == sys.executable
    assert '{' not in m.shown


@pytest.mark.parametrize(('value', 'text'), [(1.0, '1.000'), (0.9574, '.957'), (0.0, '0'),
                                             (0.05, '.050')])
def test_shares_are_written_without_their_zero(value, text):
    assert figure_table.plain(value) == text


def test_intervals_are_short_at_their_ends():
    assert figure_table.interval((0.992, 1.0)) == '[.992, 1]'
    assert figure_table.interval((0.0, 3.8e-5)) == '[0, 3.8e-5]'


SUCCESS = {'success': 0.996, 'success_ci95': [0.985, 0.999], 'contacts': 1, 'timeouts': 1,
           'score': 0.4951, 'score_ci95': [0.49, 0.5], 'times_physical_limit': 1.15,
           'families': {'dynabarn_easy': 0.99, 'dynabarn_hard': 0.44, 'dynabarn_medium': 0.8}}
HOSTILE = {'contacts': 0, 'contacts_while_moving': 1, 'episodes': 20000,
           'fault_ci95': [9e-6, 2.8e-4], 'provocative': 0.97, 'travel_m': 10.42,
           'not_at_fault': {'standing': 6889}}


@pytest.mark.parametrize(('key', 'result', 'text', 'met'), [
    ('demo', {'reached': 95, 'goals': 100, 'contacts': 1}, '95 of 100 goals, 1 contact', True),
    ('demo', {'reached': 95, 'goals': 100, 'contacts': 2}, '95 of 100 goals, 2 contacts', False),
    ('latency', {'latency_ms': {'p50': 13.84, 'p99': 40.1}, 'floor_ms': {'p50': 5, 'p99': 6}},
     'p50 13.8 ms, p99 40.1 ms (floors of the same run: 5.0 and 6.0 ms)', False),
    ('cpu', {'cpu_percent': {'policy': 9.6, 'sim': 27.2}}, 'sim 27, policy 10', True),
    ('generated', {**SUCCESS, 'episodes': 2000, 'time_s': 6.378},
     'guidance alone: .996 [.985, .999], 1 contact in 2,000, 6.38 s a leg', True),
    ('barn_mujoco', {**SUCCESS, 'against': {'guidance': {**SUCCESS, 'success': 1.0}}},
     'policy: success .996 [.985, .999], score .4951 [.490, .500], 1 contact, 1 time-outs, 1.15 '
     'times length / 2 m/s; guidance alone 1.000, .4951, 1.15', True),
    ('dynabarn', SUCCESS, 'guidance alone: dynabarn_easy .99, dynabarn_hard .44, dynabarn_medium '
     '.80', False),  # .44 < .45
    ('hostile_moving', HOSTILE, '1 contact at fault in 20,000 episodes of 20 s, interval '
     '[9.0e-6, 2.8e-4]; .970 of them touch something with the gate off, median way 10.4 m; not '
     'its fault: 6,889 standing', False),
    ('soak', {'kills': 9, 'recovered': 9, 'contacts': 0, 'shm_left_bytes': 0, 'orphans': 0,
              'memory_growth': {'a': {'whole': 0.031}, 'b': {'renewed': None, 'longest': -0.2}},
              'passed': True},
     '9 kills, 9 recovered, no contact, memory +3.1 % at most, 0 bytes left, 0 orphans', True),
    ('faults', {'passed': 1, 'failed': ['b'], 'faults': [{'contact': 0}, {'contact': 0}]},
     '1 of 2 answered in time and recovered: not `b`; no contact', False),
    ('replay', {'agrees': True, 'stages': {'sensor': {'identical': 1200, 'compared': 1200},
                                           'chain': {'identical': 34, 'compared': 34}}},
     '1,234 of 1,234 messages of sensor, chain the same bit for bit', True),
    ('curves', {'beyond_linear': ['map: gate'],
                'curves': {'map': {'stages': {'gate': {}, 'x': {}}}}},
     '1 of 2 curves linear or better; not map: gate', False),
])
def test_the_text_of_a_figure(key, result, text, met):
    row = next(row for m in MEASUREMENTS for row in m.rows if row.key == key)
    assert row.text(result) == text
    assert row.met(result) is met


def test_a_record_knows_no_place_of_the_machine(tmp_path):
    folder = tmp_path / 'benchmarks' / 'results'
    record = {'name': 'x', 'result': {'file': str(tmp_path / 'config' / 'a.json'), 'y': '/b'}}
    path = figure_records.write_record(folder, record)
    assert json.loads(path.read_text())['result'] == {'file': 'config/a.json', 'y': '/b'}


@pytest.mark.parametrize('path', sorted(
    (docs.ROOT / 'benchmarks' / 'results').glob('*.json')), ids=lambda p: p.stem)
def test_the_kept_records_know_none_either(path):
    def texts(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [text for part in value for text in texts(part)]
        return [value] if isinstance(value, str) else []

    assert not [text for text in texts(json.loads(path.read_text())) if text.startswith('/')]

"""The demo command with a runner that only writes what an observer would."""

import argparse
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from karpathy_control.bringup.runner import RunError
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.types import Pose2
from karpathy_control.evaluation import demo
from karpathy_control.evaluation.progress import Display, Lines
from karpathy_control.evaluation.run_data import RunData, goals_in_odom

sys.path.insert(0, str(Path(__file__).parent))
from demo_events import WORLD, events


class FakeRunner:
    """Writes the observer's log on the first poll; ends there."""

    script = staticmethod(events)
    plans: list = []  # noqa: RUF012
    error: str = ''
    deaf: str = ''  # an observer that says nothing

    def __init__(self, what, folder):
        self.plans.append(what)
        self.folder, self._up = folder, True
        self._observers = [s.process for s in what.nodes if s.name == 'observer']

    def __enter__(self):
        for name in self._observers:
            self.log(name).parent.mkdir(exist_ok=True)
            self.log(name).touch()
        return self

    def __exit__(self, *_):
        self._up = False

    def poll(self):
        if self.error:
            raise RunError(self.error)
        lines = ['[INFO] [observer]: a line of ROS logging', '{broken', '[1, 2]']
        lines += [json.dumps(event) for event in self.script()]
        for name in self._observers:
            if name != self.deaf:
                self.log(name).write_text('\n'.join(lines) + '\n')
        self._up = False

    def pid(self, _name):
        return 1 if self._up else None

    def log(self, name):
        return self.folder / f'{name}.log'


def plain_report(path, *_):
    """Drawing is tested on its own; here it would only take time."""
    path.write_text('report')
    return path


@pytest.fixture
def fake(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, 'Runner', FakeRunner)
    monkeypatch.setattr(demo, 'generate', lambda family, seed: WORLD)
    monkeypatch.setattr(demo, 'write_report', plain_report)
    monkeypatch.setattr(FakeRunner, 'script', staticmethod(events))
    monkeypatch.setattr(FakeRunner, 'plans', [])
    monkeypatch.setattr(FakeRunner, 'error', '')
    monkeypatch.setattr(FakeRunner, 'deaf', '')
    monkeypatch.setattr(demo.signal, 'signal', lambda *_: None)
    return FakeRunner


@pytest.mark.parametrize(('text', 'seeds'), [
    ('3', [3]), ('0..4', [0, 1, 2, 3, 4]), ('7,1..2', [7, 1, 2])])
def test_seeds(text, seeds):
    assert demo.parse_seeds(text) == seeds


@pytest.mark.parametrize('text', ['', 'a', '3..1', '-1', '1..', '1.5'])
def test_seeds_that_are_none(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r'takes seeds such as 3, 0\.\.19'):
        demo.parse_seeds(text)


def test_all_goals_reached_is_exit_0_and_one_json_line(fake, capsys):
    assert demo.main(['--headless', '--goals', '3', '--seed', '3']) == 0
    out = capsys.readouterr().out.splitlines()
    result = json.loads(out[-1])
    assert list(result) == ['goals', 'reached', 'contacts', 'seconds', 'latency_ms',
                            'missed_observations', 'interventions', 'report']
    assert (result['goals'], result['reached'], result['contacts']) == (3, 3, 0)
    assert Path(result['report']).is_file()
    assert any('goal 2/3 reached' in line for line in out)


def test_the_observer_is_part_of_the_plan(fake):
    demo.main(['--headless', '--goals', '3', '--rate-factor', '2', '--timeout', '30'])
    (what,) = fake.plans
    names = [node.name for node in what.nodes]
    assert names[:5] == ['sensor', 'perception', 'policy', 'control', 'sim']
    observer = next(node for node in what.nodes if node.name == 'observer')
    x, y = goals_in_odom(WORLD, 1)[0]
    assert observer.arguments[0].startswith(f'--goals={x:.4f},{y:.4f};')
    assert '--timeout=30.0' in observer.arguments
    assert observer.parameters['observer']['use_sim_time'] is True
    sim = next(node for node in what.nodes if node.name == 'sim')
    assert sim.parameters['sim']['rate_factor'] == 2.0
    assert sim.parameters['sim']['world'] == 'mixed'
    assert 1 <= int(what.environment.get('ROS_DOMAIN_ID', 1)) <= 101


@pytest.mark.parametrize('options', [
    {'outcomes': ('reached', 'blocked', 'reached')}, {'contacts': 1}])
def test_a_missed_goal_or_a_contact_is_exit_1(fake, monkeypatch, options):
    monkeypatch.setattr(fake, 'script', staticmethod(lambda: events(**options)))
    assert demo.main(['--headless', '--goals', '3']) == 1
    allowed = ['--min-reached', '0.6', '--max-contacts', '1']
    assert demo.main(['--headless', '--goals', '3', *allowed]) == 0


def test_a_loop_that_dies_is_reported_and_still_leaves_a_report(fake, monkeypatch, capsys):
    monkeypatch.setattr(fake, 'error', 'sim ended with exit status 1')
    assert demo.main(['--headless', '--goals', '3']) == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result['error'] == 'sim ended with exit status 1'
    assert result['reached'] == 0
    assert Path(result['report']).is_file()


def test_a_node_that_refuses_its_configuration_is_exit_2(fake, monkeypatch):
    def refuse(_self):
        raise RunError('perception refused its configuration', 2)

    monkeypatch.setattr(fake, 'poll', refuse)
    assert demo.main(['--headless', '--goals', '3']) == 2


def test_an_observer_that_ends_early_is_an_error(fake, monkeypatch, capsys):
    monkeypatch.setattr(fake, 'script', staticmethod(lambda: list(events())[:2]))
    assert demo.main(['--headless', '--goals', '3']) == 1
    assert 'observer ended early' in json.loads(capsys.readouterr().out.splitlines()[-1])['error']


def test_a_sweep_lists_every_seed(fake, capsys):
    assert demo.main(['--headless', '--goals', '3', '--seeds', '0..2']) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result['goals'], result['reached']) == (9, 9)
    assert [row['seed'] for row in result['seeds']] == [0, 1, 2]
    assert len({row['report'] for row in result['seeds']}) == 3
    assert Path(result['report']).read_text().count('report</a>') == 3


def test_two_robots_have_goals_results_and_pictures_of_their_own(fake, monkeypatch, capsys):
    second = replace(WORLD, start=Pose2(-3.0, 1.0, 0.0), goals=WORLD.goals[::-1])
    monkeypatch.setattr(demo, 'places', lambda world, count: (WORLD, second)[:count])
    reports = []
    monkeypatch.setattr(demo, 'write_report',
                        lambda path, runs, *_: reports.append(runs) or plain_report(path))
    assert demo.main(['--headless', '--goals', '3', '--robots', '2']) == 0
    (what,) = fake.plans
    watchers = {spec.process: spec for spec in what.nodes if spec.name == 'observer'}
    assert [spec.namespace for spec in watchers.values()] == ['/a', '/b']
    x, y = goals_in_odom(second, 1)[0]
    arguments = watchers['b/observer'].arguments
    assert arguments[0].startswith(f'--goals={x:.4f},{y:.4f};')
    assert '--frame-id=b/odom' in arguments and arguments[2].endswith('frames/b')
    out = capsys.readouterr().out.splitlines()
    result = json.loads(out[-1])
    assert (result['goals'], result['reached'], result['contacts']) == (6, 6, 0)
    assert [(one['robot'], one['goals'], one['reached']) for one in result['robots']] == [
        ('a', 3, 3), ('b', 3, 3)]
    assert any(line.startswith('b: goal 2/3 reached') for line in out)
    assert [run.robot for run in reports[0]] == ['a', 'b']


def test_one_of_two_robots_that_ends_early_ends_the_run(fake, monkeypatch, capsys):
    monkeypatch.setattr(demo, 'places', lambda world, count: (WORLD,) * count)
    monkeypatch.setattr(fake, 'deaf', 'b/observer')
    assert demo.main(['--headless', '--goals', '3', '--robots', '2']) == 1
    assert 'observer ended early; see' in json.loads(
        capsys.readouterr().out.splitlines()[-1])['error']


@pytest.mark.parametrize('count', ['0', '6'])
def test_more_robots_than_a_world_takes_are_refused(fake, count):
    with pytest.raises(ConfigError, match=f'--robots: {count} is not accepted; it takes 1 to 5'):
        demo.main(['--headless', '--robots', count])


def test_a_world_that_is_too_narrow_is_refused():
    with pytest.raises(ConfigError, match="--robots: world family 'field' is too narrow"):
        demo.main(['--headless', '--world', 'field', '--robots', '2'])


def test_more_goals_than_the_world_has_are_refused(fake):
    with pytest.raises(ConfigError, match='takes 1 to 3'):
        demo.main(['--headless', '--goals', '4'])


def test_an_unknown_world_is_refused_with_the_known_ones(fake, capsys):
    with pytest.raises(SystemExit) as stop:
        demo.main(['--world', 'mars'])
    assert stop.value.code == 2
    assert 'cylinders' in capsys.readouterr().err


def test_half_a_line_waits_for_its_end(tmp_path):
    path = tmp_path / 'log'
    reader = demo.EventReader(path)
    assert list(reader.read()) == []
    path.write_text('{"event": "sta')
    assert list(reader.read()) == []
    with path.open('a') as file:
        file.write('tus"}\nnoise\n{"event": "goal"}\n')
    assert [event['event'] for event in reader.read()] == ['status', 'goal']
    assert list(reader.read()) == []


def test_both_displays_show_the_episode(capsys):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    for progress in (Lines(), Display(console, Live(console=console))):
        run = RunData(WORLD, WORLD.goals)
        progress.begin('mixed', 3, 3, '42')
        for event in events(outcomes=('reached', 'timeout', 'reached')):
            run.take(event)
            progress.event(event, run)
        progress.end(run, 'the sun set')
    lines = capsys.readouterr().out
    assert 'goal 2/3 timeout after 2.5 s' in lines
    assert 'reached 2 of 3 goals' in lines
    assert 'ended early: the sun set' in lines
    assert 'goal 2/3 timeout' in text.getvalue()
    for shown in (lines, text.getvalue()):
        assert 'ROS_DOMAIN_ID=42 karpathy-control view' in shown

"""The runner with stand-ins for nodes: order, respawn, required end, no orphan however it ends."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from karpathy_control.bringup import runner as module
from karpathy_control.bringup.plan import NodeSpec, plan
from karpathy_control.bringup.runner import RunError, Runner, node_command, parse_arguments
from karpathy_control.contracts.config import ConfigError

DUMMY = Path(__file__).with_name('dummy_node.py')
PATIENCE = 20.0  # s, for a busy machine


def until(condition, runner=None):
    """Wait for a condition while the runner is polled."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, 'did not happen'
        if runner is not None:
            runner.poll()
        time.sleep(0.01)


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / 'journal'
    path.touch()
    return path


@pytest.fixture
def make(tmp_path, journal):
    """`make(a='good', b=('deaf', {'required': True}))`: a runner of stand-ins."""
    base = plan({'dds_profile': 'none'})

    def build(**behaviours):
        specs = []
        for name, value in behaviours.items():
            behaviour, more = value if isinstance(value, tuple) else (value, {})
            more = {'respawn_delay': 0.05, **more}
            specs.append(NodeSpec(executable=behaviour, name=name, parameters={name: {'k': 1}},
                                  **more))
        return Runner(
            dataclasses.replace(base, nodes=tuple(specs)), tmp_path / 'logs', io.StringIO(),
            lambda spec, file: [sys.executable, '-S', str(DUMMY), spec.name, str(journal),
                                spec.executable])

    return build


def events(journal, name=None):
    rows = [line.split() for line in journal.read_text().splitlines()]
    return [row[1] for row in rows if name is None or row[0] == name]


def test_command_of_a_node_and_of_a_composed_process(tmp_path):
    file = tmp_path / 'p.yaml'
    spec = NodeSpec('sensor', 'sensor', namespace='/r1', parameters={'sensor': {}},
                    remappings=(('imu', 'imu/data'),))
    assert node_command(spec, file)[1:] == [
        '-m', 'karpathy_control.nodes.sensor', '--ros-args', '-r', 'imu:=imu/data',
        '-r', '__node:=sensor', '-r', '__ns:=/r1', '--params-file', str(file),
        '--enclave', '/karpathy_control/r1/sensor']
    both = NodeSpec('pipeline', 'pipeline', parameters={'a': {}, 'b': {}})
    assert '__node' not in ' '.join(node_command(both, file))


def test_logs_parameters_and_environment_are_in_one_place(make, journal):
    with make(a='good') as runner:
        until(lambda: 'start' in events(journal), runner)
        until(lambda: 'a is here' in runner.log('a').read_text(), runner)
        assert yaml.safe_load((runner.folder / 'a.yaml').read_text()) == {
            '/a': {'ros__parameters': {'k': 1}}}
        environment = Path(f'/proc/{runner.pid("a")}/environ').read_bytes().decode()
        assert 'ROS_PYTHON_CHECK_FIELDS=1' in environment
        assert f'ROS_LOG_DIR={runner.folder.absolute()}' in environment
    assert '[a] a is here' in runner._echo.getvalue()


def test_stages_stop_in_order_by_sigint(make, journal):
    with make(sim=('good', {'stop_stage': 3}), control=('good', {'stop_stage': 2}),
              policy='good') as runner:
        until(lambda: events(journal).count('start') == 3, runner)
    stops = [line.split()[:2] for line in journal.read_text().splitlines()
             if 'start' not in line]
    assert stops == [['policy', 'SIGINT'], ['control', 'SIGINT'], ['sim', 'SIGINT']]


def test_deaf_node_is_made_to_end(make, journal, monkeypatch):
    monkeypatch.setattr(module, 'ESCALATION', (
        (signal.SIGINT, 0.3), (signal.SIGTERM, 0.3), (signal.SIGKILL, 5.0)))
    with make(a='stubborn', b='deaf') as runner:
        until(lambda: events(journal).count('start') == 2, runner)
        pids = [runner.pid('a'), runner.pid('b')]
    assert events(journal, 'a') == ['start', 'SIGINT', 'SIGTERM']
    assert events(journal, 'b') == ['start', 'SIGINT', 'SIGTERM']
    assert not any(map(alive, pids))


def test_shared_memory_of_its_nodes_is_removed_however_young(make, journal):
    segment = Path(f'/dev/shm/fastdds_{os.getpid():016x}')
    with make(a=segment.name) as runner:
        until(lambda: 'mapped' in events(journal), runner)
        assert segment.exists()
    assert not segment.exists()
    assert not segment.with_name(f'{segment.name}_el').exists()


def test_killed_node_comes_back(make, journal):
    with make(a='good', b='good') as runner:
        until(lambda: events(journal).count('start') == 2, runner)
        first, other = runner.pid('a'), runner.pid('b')
        runner.kill('a')
        until(lambda: events(journal, 'a').count('start') == 2, runner)
        assert runner.restarts('a') == 1 and runner.pid('a') != first
        assert runner.restarts('b') == 0 and runner.pid('b') == other


def test_end_of_a_required_node_ends_the_run_with_its_last_words(make, journal):
    with make(a='good', sim=('exit0', {'required': True})) as runner:
        with pytest.raises(RunError, match=r'(?s)sim ended with exit status 0.*the reason'
                           ) as error:
            until(lambda: False, runner)
        pid = runner.pid('a')
    assert error.value.status == 1
    assert not alive(pid)


def test_refused_configuration_is_not_tried_again(make):
    with make(a='exit2') as runner:
        with pytest.raises(RunError, match='a refused its configuration') as error:
            until(lambda: False, runner)
    assert error.value.status == 2


def test_failing_node_is_given_up_after_a_few_short_lives(make, journal, monkeypatch):
    monkeypatch.setattr(module, 'MAX_DELAY', 0.1)
    with make(a='exit1') as runner:
        with pytest.raises(RunError, match='5 times within 3 s of its start'):
            until(lambda: False, runner)
    assert events(journal).count('start') == module.MAX_SHORT_LIVES


@pytest.mark.parametrize('behaviour', ['later1', 'later2'])
def test_what_ran_well_is_tried_until_its_trouble_is_over(make, journal, monkeypatch, behaviour):
    monkeypatch.setattr(module, 'MAX_DELAY', 0.1)
    monkeypatch.setattr(module, 'SHORT_LIFE', 1.0)
    with make(a=behaviour) as runner:
        start = time.monotonic()
        until(lambda: time.monotonic() > start + 1.2 and 'start' in events(journal), runner)
        runner.kill('a')
        # six starts fail, more than a node that never ran is given; the next one holds
        until(lambda: events(journal).count('start') == 8, runner)
        assert 6 > module.MAX_SHORT_LIVES and runner.pid('a') is not None


def test_profile_refused_by_fast_dds_ends_the_run(make):
    with make(a='refusal') as runner:
        with pytest.raises(RunError, match='Fast DDS refused its profile') as error:
            until(lambda: False, runner)
    assert error.value.status == 2


def test_a_node_without_transport_is_started_again(make, journal):
    with make(a='cut_off') as runner:
        until(lambda: events(journal, 'a').count('start') == 2, runner)
        assert 'ended with signal SIGKILL' in runner._echo.getvalue()
        started = runner.pid('a')
        runner.poll()
        assert runner.pid('a') == started and runner.restarts('a') == 1


def test_output_that_nobody_reads_does_not_stop_a_node(make, journal):
    with make(a='silent'):
        until(lambda: 'unblocked' in events(journal))  # never polled


def test_node_that_may_not_respawn_stays_down(make, journal):
    with make(a=('exit0', {'respawn': False}), b='good') as runner:
        until(lambda: runner.pid('a') is None and len(events(journal)) == 2, runner)
        runner.poll()
        assert events(journal, 'a').count('start') == 1


def test_ros_packages_are_refused_by_name_without_a_ros_host(tmp_path):
    with pytest.raises(ConfigError, match='ros_gz_sim is part of a ROS 2 installation'):
        Runner(plan({'world': 'gazebo'}, {}), tmp_path)
    with pytest.raises(ConfigError, match='rviz2 is part of a ROS 2 installation'):
        Runner(plan({'rviz': 'true'}, {}), tmp_path)
    # robot_state_publisher is optional, so the plain plan is accepted
    assert 'sim' in Runner(plan({}, {}), tmp_path).names


def test_arguments_are_words_of_ros2_launch():
    assert parse_arguments(['world:=robot', 'seed:=3'], {'seed': '1', 'x': ''}) == {
        'world': 'robot', 'seed': '3', 'x': ''}
    with pytest.raises(ConfigError, match="'world=robot' is not accepted; it takes NAME:=VALUE"):
        parse_arguments(['world=robot'], {})


PROGRAM = '''
import sys, time
from pathlib import Path
from karpathy_control.bringup import runner
from karpathy_control.bringup.plan import NodeSpec, Plan
specs = tuple(NodeSpec(executable='good', name=n, stop_stage=i) for i, n in enumerate('ab'))
runner.plan = lambda values: Plan(specs, (), {'NUMBA_CACHE_DIR': sys.argv[2]}, None)
build = runner.Runner
runner.Runner = lambda what, folder, echo: build(what, folder, echo, lambda spec, file: [
    sys.executable, '-S', sys.argv[3], spec.name, sys.argv[4], spec.executable])
sys.exit(runner.main(['--log-folder', sys.argv[1]]))
'''


@pytest.fixture
def up(tmp_path, journal):
    """`karpathy-control up` with two stand-ins, as a process; yields it and their pids."""
    process = subprocess.Popen(
        # as in the background of a shell: SIGINT ignored must not reach the nodes
        ['sh', '-c', 'trap "" INT; exec "$@"', 'sh', sys.executable, '-c', PROGRAM,
         str(tmp_path / 'logs'), str(tmp_path / 'cache'), str(DUMMY), str(journal)],
        stdout=subprocess.DEVNULL)
    until(lambda: events(journal).count('start') == 2)
    pids = [int(line.split()[2]) for line in journal.read_text().splitlines()]
    yield process, pids
    for pid in (process.pid, *pids):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_up_stops_in_order_and_says_by_its_status_what_stopped_it(up, journal, number, status):
    process, pids = up
    process.send_signal(number)
    assert process.wait(PATIENCE) == status
    assert not any(map(alive, pids))
    assert events(journal)[2:] == ['SIGINT', 'SIGINT']


def test_no_orphan_when_the_runner_is_killed(up):
    process, pids = up
    process.kill()
    process.wait()
    until(lambda: not any(map(alive, pids)))

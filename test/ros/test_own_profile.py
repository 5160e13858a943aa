"""A robot with names and types of its own, and nodes that say what is not as it should be."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import yaml
from conftest import START, moving

from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.plan import plan, with_parameters
from karpathy_control.bringup.resources import share
from karpathy_control.bringup.runner import Runner
from karpathy_control.evaluation.client import ObserverClient
from karpathy_control.evaluation.faults import run_rows, select

pytestmark = pytest.mark.ros

CLI = [sys.executable, '-c', 'from karpathy_control.cli import main; raise SystemExit(main())']
TOPICS = {'scan': 'front/scan', 'imu': 'imu/data', 'cmd_vel': 'drive'}


@pytest.fixture
def profile(tmp_path):
    """The simulated Jackal as if its drivers had other names and took a Twist."""
    data = yaml.safe_load((share() / 'config' / 'robots' / 'jackal.yaml').read_text())
    path = tmp_path / 'own.yaml'
    path.write_text(yaml.safe_dump({**data, 'topics': TOPICS, 'stamped_cmd_vel': False}))
    return str(path)


def tool(loop, *arguments):
    """Run a command beside the loop, which is polled meanwhile; its last line as JSON."""
    process = subprocess.Popen([*CLI, *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        loop.wait(lambda e: True, 10.0, 'word of the observer')
    out, error = process.communicate(timeout=1.0)
    assert out, error
    return json.loads(out.splitlines()[-1])


def silent(loop, *arguments):
    """The topics that the doctor does not hear, by their names in the interface table."""
    checks = {c['name']: c for c in tool(loop, 'doctor', '--live', *arguments)['checks']}
    _, found, names = checks['topics']['detail'].partition('silent: ')
    return set(names.split(', ')) if found else set()


def test_tools_hear_mapped_names_and_a_twist(loop, profile, tmp_path):
    running = loop(robot=profile)
    running.drive()  # so the simulator and the loop agree on the names
    bag = tmp_path / 'bag'
    said = tool(running, 'record', '--out', str(bag), '--robot', profile, '--seconds', '4',
                '--topics', 'scan,imu,odom,cmd_vel')
    assert said['error'] == ''
    assert {name for name, n in said['topics'].items() if n} == {
        '/front/scan', '/imu/data', '/odom', '/drive'}
    assert not silent(running, '--robot', profile) & set(TOPICS)
    assert silent(running) >= set(TOPICS)  # by the names of another robot
    pytest.importorskip('rerun', reason='rerun-sdk is not installed')
    for source in ((), ('--bag', str(bag))):
        with_it = tool(running, 'view', '--no-page', '--save', str(tmp_path / 'a.rrd'),
                       '--robot', profile, '--seconds', '2', *source)
        assert with_it['drawn'] > 0 and with_it['refused'] == 0
    # odom is found under its own name either way: the commands are what this profile adds
    without = tool(running, 'view', '--no-page', '--save', str(tmp_path / 'b.rrd'), '--bag',
                   str(bag))
    assert without['drawn'] < with_it['drawn']


def test_control_says_zero_and_why_while_it_compiles(tmp_path, domain):
    """With an empty cache of kernels, which takes minutes to fill: the word comes at once."""
    what = plan({'dds_profile': 'local'})
    control = [spec for spec in what.nodes if spec.name == 'control']
    what = replace(what, nodes=tuple(control), environment={
        **what.environment, 'NUMBA_CACHE_DIR': str(tmp_path / 'kernels')})
    with Runner(what, tmp_path / 'loop') as runner, ObserverClient(
            ['--record'], {**os.environ, **environment('local')}) as observer:
        end = time.monotonic() + START
        while time.monotonic() < end:
            runner.poll()
            observer.pump(0.2)
            if observer.status.get('reasons') == ['compiling']:
                break
        assert observer.status['mode'] == 'inactive', observer.status
        assert observer.status['reasons'] == ['compiling']
        observer.send(record=0)
        record = observer.wait_for(lambda e: e['event'] == 'record', 10.0, 'record')
        assert record['commands'] and all(c[1:] == [0.0, 0.0] for c in record['commands'])
        assert runner.restarts('control') == 0


def test_perception_says_that_it_cannot_tell_what_is_strange(loop, tmp_path):
    for name in ('encoder.safetensors', 'encoder.json'):
        shutil.copy(share() / 'weights' / name, tmp_path / name)
    what = with_parameters(plan({'dds_profile': 'local', 'world_family': 'cylinders',
                                 'seed': '3'}),
                           {'perception': {'weights': str(tmp_path / 'encoder.safetensors')}})
    running = loop()
    running.runner.stop()
    with Runner(what, tmp_path / 'own') as runner:
        running.runner = runner
        running.drive()
        running.wait(moving, 10.0, 'a robot that drives all the same')
        assert 'no out-of-distribution score' in runner.log('perception').read_text()


def test_faults_reach_a_robot_with_names_and_types_of_its_own(tmp_path, profile, domain):
    """The injector reads the simulator's raw topics and passes them on by the robot's names."""
    results = run_rows(select('scan_silent,second_commander'), tmp_path / 'faults', 'cylinders', 3,
                       robot=profile)
    assert [(r['fault'], r['passed']) for r in results] == [
        ('scan_silent', True), ('second_commander', True)], results


def test_a_robot_without_camera_and_with_slow_sensors_drives_and_misses_nothing(loop):
    running = loop(robot='turtlebot3_burger')
    running.drive()
    status = running.wait(moving, 30.0, 'moving')
    assert status['mode'] == 'lidar_only'
    complaints = {'camera_lost', 'input_slow', 'motion_unchecked', 'lidar_lost', 'action_stale',
                  'motion_disagrees', 'fallback'}
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        status = running.wait(lambda e: True, 5.0, 'word of the observer')
        assert not complaints & set(status['reasons']), status
    assert status['contacts'] == 0

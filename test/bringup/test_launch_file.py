"""The launch file under the real launch and launch_ros, wherever they can be imported."""

import os
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from karpathy_control.bringup.plan import ARGUMENTS, resolve
from karpathy_control.bringup.resources import share

pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS 2 installation')

from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.logging import launch_config
from launch_ros.actions import Node


@pytest.fixture(scope='module')
def launch_file():
    return runpy.run_path(str(share() / 'launch' / 'bringup.launch.py'))


@pytest.fixture
def expand(launch_file, tmp_path, monkeypatch):
    """`expand(world='gazebo')`: the actions, with stand-ins for the packages of Gazebo."""
    prefix = tmp_path / 'prefix'
    index = prefix / 'share/ament_index/resource_index/packages'
    index.mkdir(parents=True)
    for package in ('ros_gz_sim', 'ros_gz_bridge', 'robot_state_publisher', 'rviz2'):
        (index / package).touch()
        (prefix / 'share' / package / 'launch').mkdir(parents=True)
    (prefix / 'share/ros_gz_sim/launch/gz_sim.launch.py').write_text('')
    before = os.environ.get('AMENT_PREFIX_PATH', '')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{prefix}:{before}')
    log_folder = tmp_path / 'log'
    log_folder.mkdir()
    monkeypatch.setattr(launch_config, '_log_dir', str(log_folder))

    def run(**arguments):
        context = LaunchContext()
        values = {a.name: a.default for a in ARGUMENTS}
        context.launch_configurations.update({**values, **arguments})
        return launch_file['actions'](context)

    run.folder = log_folder
    return run


def names(actions):
    return [a._Node__node_name or a._Node__node_executable for a in actions
            if isinstance(a, Node)]


def test_every_argument_of_the_plan_is_declared(launch_file):
    declared = {e.name: e for e in launch_file['generate_launch_description']().entities
                if isinstance(e, DeclareLaunchArgument)}
    assert set(declared) == {a.name for a in ARGUMENTS}
    for argument in ARGUMENTS:
        default = ''.join(part.text for part in declared[argument.name].default_value)
        assert default == argument.default
        assert declared[argument.name].description.startswith(argument.help)


def test_mujoco(expand):
    actions = expand()
    assert names(actions) == ['sensor', 'perception', 'policy', 'control', 'sim',
                              'robot_state_publisher']
    assert not any(isinstance(a, IncludeLaunchDescription) for a in actions)
    first = [type(a) for a in actions].index(Node)
    assert {SetEnvironmentVariable, RegisterEventHandler} == {type(a) for a in actions[:first]}
    data = yaml.safe_load((Path(expand.folder) / 'control.yaml').read_text())
    assert data['/control']['ros__parameters']['use_sim_time'] is True


def test_gazebo(expand):
    actions = expand(world='gazebo', rviz='true')
    assert sum(isinstance(a, IncludeLaunchDescription) for a in actions) == 1
    assert names(actions) == ['sensor', 'perception', 'policy', 'control', 'base_guard', 'create',
                              'bridge_base', 'bridge_camera', 'robot_state_publisher', 'rviz2']


def test_robot(expand, measured):
    assert names(expand(world='robot', robot=measured)) == ['sensor', 'perception', 'policy',
                                                            'control']
    assert resolve({'world': 'robot'})['robot'] == 'generic'


def test_two_robots(expand):
    actions = expand(robots='a,b')
    loop = ['sensor', 'perception', 'policy', 'control']
    assert names(actions) == [*loop, *loop, 'sim', *['robot_state_publisher'] * 2]
    data = yaml.safe_load((Path(expand.folder) / 'b' / 'control.yaml').read_text())
    assert data['/b/control']['ros__parameters']['robot.base_frame'] == 'b/base_link'


def test_composed(expand):
    assert names(expand(composed='true'))[:3] == ['pipeline', 'control', 'sim']


def test_what_a_dead_node_leaves_is_cleared_but_not_at_the_end(launch_file, monkeypatch):
    seen = []
    monkeypatch.setitem(launch_file['clear'].__globals__, 'bury', seen.append)
    context = LaunchContext()
    launch_file['clear'](context, 7400)
    context._set_is_shutdown(True)
    launch_file['clear'](context, 7400)
    assert seen == [7400]


def test_the_end_of_a_process_clears_its_domain(expand, launch_file, monkeypatch, tmp_path):
    """Under the real launch service: one process ends, and the other only once that was heard."""
    monkeypatch.setenv('ROS_DOMAIN_ID', '1')
    handler, = (a for a in expand() if isinstance(a, RegisterEventHandler))
    pipe, seen = tmp_path / 'pipe', []
    os.mkfifo(pipe)

    def heard(port):
        if not seen:
            pipe.write_text('')  # ends the one that reads it
        seen.append(port)

    monkeypatch.setitem(launch_file['clear'].__globals__, 'bury', heard)
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription([
        handler, ExecuteProcess(cmd=[sys.executable, '-c', '']),
        ExecuteProcess(cmd=[sys.executable, '-c', f'open({str(pipe)!r}).read()'])]))
    assert service.run() == 0
    assert seen and set(seen) == {7650}  # 7400 + 250 * 1

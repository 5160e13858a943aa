"""The launch file under the real launch and launch_ros, wherever they can be imported."""

import os
import runpy
from pathlib import Path

import pytest
import yaml

from karpathy_control.bringup.plan import ARGUMENTS, resolve
from karpathy_control.bringup.resources import share

pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS 2 installation')

from launch import LaunchContext
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
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
    assert {SetEnvironmentVariable} == {type(a) for a in actions[:first]}
    data = yaml.safe_load((Path(expand.folder) / 'control.yaml').read_text())
    assert data['/control']['ros__parameters']['use_sim_time'] is True


def test_gazebo(expand):
    actions = expand(world='gazebo', rviz='true')
    assert sum(isinstance(a, IncludeLaunchDescription) for a in actions) == 1
    assert names(actions) == ['sensor', 'perception', 'policy', 'control', 'create',
                              'bridge_base', 'bridge_camera', 'robot_state_publisher', 'rviz2']


def test_robot(expand):
    assert names(expand(world='robot')) == ['sensor', 'perception', 'policy', 'control']
    assert resolve({'world': 'robot'})['robot'] == 'generic'


def test_composed(expand):
    assert names(expand(composed='true'))[:3] == ['pipeline', 'control', 'sim']

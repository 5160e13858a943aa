"""The example for Nav2, by reading: what must agree between its files, and with the loop."""

import ast
import xml.etree.ElementTree as ET

import pytest

from karpathy_control.bringup.plan import plan
from karpathy_control.bringup.resources import share
from karpathy_control.contracts.config import ControlConfig, RobotConfig, SensorConfig
from karpathy_control.contracts.files import read_yaml
from karpathy_control.contracts.interfaces import ACTIONS, BY_NAME
from karpathy_control.sensing.route import MISS

FOLDER = share() / 'config' / 'nav2'


@pytest.fixture
def nav2():
    return read_yaml(FOLDER / 'nav2.yaml')


@pytest.fixture
def tree():
    return ET.parse(FOLDER / 'drive_to_pose.xml').getroot()


def test_nothing_of_nav2_commands_the_base(nav2):
    managed = nav2['lifecycle_manager_navigation']['ros__parameters']['node_names']
    assert managed == ['planner_server', 'bt_navigator'] and set(managed) < set(nav2)
    assert not {'controller_server', 'behavior_server', 'velocity_smoother'} & set(nav2)


def test_the_tree_calls_the_action_that_control_then_serves(tree):
    assert [element.tag for element in tree.find('BehaviorTree').iter()] == [
        'BehaviorTree', 'PipelineSequence', 'RateController', 'ComputePathToPose',
        'NavigateToPose']
    drive = next(tree.iter('NavigateToPose'))
    made = plan({'world': 'mujoco', 'params_file': 'nav2/loop.yaml', 'dds_profile': 'none'})
    control = next(node for node in made.nodes if node.name == 'control')
    assert control.parameters['control']['goal.action'] == drive.get('server_name')
    # The name that both would serve otherwise.
    assert drive.get('server_name') != ControlConfig().goal.action == ACTIONS[0].name
    assert tree.get('main_tree_to_execute') == tree.find('BehaviorTree').get('ID')


def test_the_plan_is_one_that_the_loop_follows(nav2, tree):
    planner = nav2['planner_server']['ros__parameters']
    compute = next(tree.iter('ComputePathToPose'))
    assert [compute.get('planner_id')] == planner['planner_plugins']
    assert planner['GridBased']['tolerance'] <= MISS
    assert 1.0 / float(next(tree.iter('RateController')).get('hz')) < SensorConfig().plan_max_age
    assert BY_NAME['plan'].type == 'nav_msgs/msg/Path'  # nav2's name for it, in this namespace


def test_frames_and_footprint_are_those_of_the_default_robot(nav2):
    robot = RobotConfig()
    costmap = nav2['global_costmap']['global_costmap']['ros__parameters']
    assert [v for corner in ast.literal_eval(costmap['footprint']) for v in corner] == (
        robot.footprint)
    for group in (costmap, nav2['bt_navigator']['ros__parameters']):
        assert (group['global_frame'], group['robot_base_frame']) == (
            robot.odom_frame, robot.base_frame)

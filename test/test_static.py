"""Strict checks of what only a ROS host reads: the rviz view and the robot description.

rviz passes over an unknown key and turns a misspelt policy into its default, both in silence; so
every class, key, topic and policy is compared with a list here and with the interface table.
"""

import ctypes
import ctypes.util
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml

from karpathy_control.bringup.plan import plan
from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.geometry import rotation_rpy
from karpathy_control.contracts.interfaces import BY_NAME, TOPICS, Qos
from karpathy_control.contracts.types import RawImage, RawScan
from karpathy_control.worlds.robot import load_robot

ROOT = Path(__file__).resolve().parents[1]
RVIZ = ROOT / 'config' / 'rviz' / 'karpathy_control.rviz'
XACRO = ROOT / 'description' / 'jackal.urdf.xacro'

# --- rviz ---------------------------------------------------------------------------------------

POLICIES = {
    Qos.SENSOR: ('Best Effort', 'Volatile', 5),
    Qos.LATEST: ('Best Effort', 'Volatile', 1),
    Qos.RELIABLE: ('Reliable', 'Volatile', 10),
    Qos.LATCHED: ('Reliable', 'Transient Local', 1),
}
TOPIC_KEYS = {'Depth', 'Durability Policy', 'History Policy', 'Reliability Policy', 'Value'}
COMMON = {'Class', 'Name', 'Enabled', 'Value'}
POINTS = {'Alpha', 'Color Transformer', 'Color', 'Channel Name', 'Use rainbow', 'Invert Rainbow',
          'Autocompute Intensity Bounds', 'Min Intensity', 'Max Intensity',
          'Position Transformer', 'Style', 'Size (m)', 'Size (Pixels)', 'Decay Time',
          'Selectable'}
# class -> message type ('' where it has no topic of its own) and the keys that it reads
DISPLAYS = {
    'Grid': ('', {'Reference Frame', 'Plane Cell Count', 'Cell Size', 'Color', 'Alpha', 'Plane'}),
    'RobotModel': ('', {'Alpha', 'Description Source', 'Description Topic', 'TF Prefix',
                        'Visual Enabled', 'Collision Enabled'}),
    'TF': ('', {'Show Names', 'Show Axes', 'Show Arrows', 'Marker Scale', 'Frame Timeout'}),
    'Map': ('nav_msgs/msg/OccupancyGrid', {'Alpha', 'Color Scheme', 'Draw Behind',
                                           'Use Timestamp', 'Update Topic'}),
    'LaserScan': ('sensor_msgs/msg/LaserScan', POINTS),
    'PointCloud2': ('sensor_msgs/msg/PointCloud2', POINTS),
    'Path': ('nav_msgs/msg/Path', {'Alpha', 'Color', 'Line Style', 'Line Width', 'Buffer Length',
                                   'Pose Style'}),
    'Pose': ('geometry_msgs/msg/PoseStamped', {
        'Alpha', 'Color', 'Shape', 'Shaft Length', 'Shaft Radius', 'Head Length', 'Head Radius'}),
    'MarkerArray': ('visualization_msgs/msg/MarkerArray', {'Namespaces'}),
    'Odometry': ('nav_msgs/msg/Odometry', {'Keep', 'Position Tolerance', 'Angle Tolerance',
                                           'Shape'}),
    'Image': ('sensor_msgs/msg/Image', {'Normalize Range', 'Min Value', 'Max Value'}),
}
CHOICES = {
    'Color Transformer': {'Intensity', 'FlatColor'},
    'Position Transformer': {'XYZ'},
    'Style': {'Points', 'Squares', 'Flat Squares', 'Spheres', 'Boxes'},
    'Color Scheme': {'map', 'costmap', 'raw'},
    'Line Style': {'Lines', 'Billboards'},
    'Pose Style': {'None', 'Axes', 'Arrows'},
    'Description Source': {'Topic', 'File'},
    'Plane': {'XY', 'XZ', 'YZ'},
}
TOOLS = {'MoveCamera', 'Select', 'FocusCamera', 'Measure', 'SetGoal'}
SHOWN = {'scan', 'perception/scan', 'perception/entities', 'policy/path', 'policy/costmap',
         'control/markers', 'perception/overlay', 'camera/image_raw'}


def view():
    return yaml.safe_load(RVIZ.read_text())


def manager():
    return view()['Visualization Manager']


def displays():
    return manager()['Displays']


def check_topic(entry, message_type=None):
    assert set(entry) == TOPIC_KEYS
    row = BY_NAME[entry['Value']]
    if message_type is not None:
        assert row.type == message_type
    assert entry['History Policy'] == 'Keep Last'
    assert (entry['Reliability Policy'], entry['Durability Policy'],
            entry['Depth']) == POLICIES[row.qos]


def test_the_policies_here_are_those_of_the_nodes():
    qos = pytest.importorskip('karpathy_control.nodes.qos')
    words = {1: 'Reliable', 2: 'Best Effort'}
    keeps = {1: 'Transient Local', 2: 'Volatile'}
    for name, (reliability, durability, depth) in POLICIES.items():
        made = qos.profile(name)
        assert words[int(made.reliability)] == reliability
        assert keeps[int(made.durability)] == durability
        assert made.depth == depth


@pytest.mark.parametrize('display', displays(), ids=lambda d: d['Name'])
def test_every_display_is_read_as_it_is_written(display):
    library, _, kind = display['Class'].partition('/')
    assert library == 'rviz_default_plugins'
    message_type, keys = DISPLAYS[kind]
    topic = {'Topic'} if message_type else set()
    assert set(display) <= COMMON | keys | topic
    assert set(display) >= COMMON | topic
    assert isinstance(display['Enabled'], bool)
    assert display['Enabled'] == display['Value']
    if message_type:
        check_topic(display['Topic'], message_type)
    for key, choices in CHOICES.items():
        assert display.get(key) in choices | {None}
    if 'Color' in display:
        channels = [int(part) for part in display['Color'].split(';')]
        assert len(channels) == 3 and all(0 <= c <= 255 for c in channels)


def test_names_are_unique():
    names = [display['Name'] for display in displays()]
    assert len(set(names)) == len(names)


def test_what_matters_is_shown():
    on = {d['Topic']['Value'] for d in displays() if 'Topic' in d}
    assert on >= SHOWN
    (entities,) = (d for d in displays() if d.get('Topic', {}).get('Value')
                   == 'perception/entities')
    assert entities['Channel Name'] == 'confidence'
    assert any(d['Class'].endswith('/RobotModel') for d in displays())


def test_the_fixed_frame_is_one_that_is_published():
    robot = RobotConfig()
    assert manager()['Global Options']['Fixed Frame'] == robot.odom_frame
    assert manager()['Views']['Current']['Target Frame'] in ('<Fixed Frame>', robot.base_frame)


def test_tools_and_panels():
    tools = {tool['Class'].partition('/')[2]: tool for tool in manager()['Tools']}
    assert set(tools) == TOOLS
    check_topic(tools['SetGoal']['Topic'], 'geometry_msgs/msg/PoseStamped')
    assert tools['SetGoal']['Topic']['Value'] == 'goal_pose'
    assert all(panel['Class'].startswith('rviz_common/') for panel in view()['Panels'])


def test_topics_of_rviz_are_relative_so_that_a_namespace_works():
    values = [d['Topic']['Value'] for d in displays() if 'Topic' in d]
    assert not any(value.startswith('/') for value in values)


def test_the_robot_model_is_latched_as_robot_state_publisher_sends_it():
    (model,) = (d for d in displays() if d['Class'].endswith('/RobotModel'))
    entry = model['Description Topic']
    assert set(entry) == TOPIC_KEYS
    assert entry['Value'] == 'robot_description'
    assert entry['Durability Policy'] == 'Transient Local'


def test_the_plan_starts_rviz_with_this_file():
    (rviz,) = (n for n in plan({'rviz': 'true', 'dds_profile': 'none'}).nodes
               if n.package == 'rviz2')
    flag, path = rviz.arguments
    assert flag == '-d'
    assert Path(path).resolve() == RVIZ


# --- the interface table ------------------------------------------------------------------------


def test_the_interface_table_is_consistent():
    names = [topic.name for topic in TOPICS]
    assert len(set(names)) == len(names)
    for topic in TOPICS:
        package, kind, _ = topic.type.split('/')
        assert package.endswith('_msgs') and kind == 'msg'
        assert topic.name.lower() == topic.name
        assert topic.name.startswith('/') == (topic.name in ('/clock', '/diagnostics'))
        assert topic.rate >= 0 and topic.meaning


def test_cmd_vel_has_one_writer():
    assert BY_NAME['cmd_vel'].writer == 'control'
    assert BY_NAME['cmd_vel'].qos is Qos.RELIABLE


# --- the robot description ----------------------------------------------------------------------


@pytest.fixture(scope='module')
def robot():
    return load_robot(XACRO)


@pytest.fixture(scope='module')
def urdf(robot):
    return ET.fromstring(robot.urdf)


def vector(element, name, default='0 0 0'):
    text = default if element is None else element.get(name, default)
    return np.array([float(part) for part in text.split()])


def test_links_and_joints_form_one_tree_below_base(urdf):
    links = [link.get('name') for link in urdf.findall('link')]
    assert len(set(links)) == len(links)
    parent = {}
    for joint in urdf.findall('joint'):
        child = joint.find('child').get('link')
        assert child in links
        assert child not in parent, f'{child} has two parents'
        parent[child] = joint.find('parent').get('link')
        assert parent[child] in links
        if joint.get('type') != 'fixed':
            assert np.linalg.norm(vector(joint.find('axis'), 'xyz')) == pytest.approx(1.0)
    roots = [link for link in links if link not in parent]
    assert roots == [RobotConfig().base_frame]
    for link in links:
        seen, at = set(), link
        while at in parent:
            assert at not in seen, 'a loop'
            seen.add(at)
            at = parent[at]


def test_every_body_has_an_inertia_that_a_solid_can_have(urdf):
    for link in urdf.findall('link'):
        inertial = link.find('inertial')
        if link.find('collision') is not None:
            assert inertial is not None, link.get('name')
        if inertial is None:
            continue
        assert float(inertial.find('mass').get('value')) > 0
        i = {k: float(v) for k, v in inertial.find('inertia').attrib.items()}
        tensor = np.array([[i['ixx'], i['ixy'], i['ixz']], [i['ixy'], i['iyy'], i['iyz']],
                           [i['ixz'], i['iyz'], i['izz']]])
        a, b, c = np.linalg.eigvalsh(tensor)
        assert a > 0
        assert a + b >= c * (1 - 1e-9), 'principal moments break the triangle inequality'


def test_the_frames_that_messages_carry_exist(urdf):
    links = {link.get('name') for link in urdf.findall('link')}
    scan = RawScan(0, 0.0, 0.1, 0.1, 1.0, np.ones(2, np.float32)).frame_id
    image = RawImage(0, np.zeros((1, 1, 3), np.uint8)).frame_id
    assert {scan, image, 'imu_link', 'camera_link'} <= links


def test_the_optical_frame_looks_along_the_camera(urdf):
    (joint,) = (j for j in urdf.findall('joint')
                if j.find('child').get('link') == 'camera_optical_frame')
    rotation = rotation_rpy(*vector(joint.find('origin'), 'rpy'))
    # REP-103: z of the optical frame is x (forward) of the body, its x is -y, its y is -z
    assert rotation == pytest.approx(np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), abs=1e-6)


def test_gazebo_extensions_refer_to_links_that_exist(urdf):
    names = {element.get('name') for element in urdf if element.tag in ('link', 'joint')}
    for extension in urdf.findall('gazebo'):
        reference = extension.get('reference')
        assert reference is None or reference in names


def test_no_mesh_that_mujoco_cannot_read(urdf):
    for mesh in urdf.iter('mesh'):
        assert not mesh.get('filename').startswith('package://')
        assert Path(mesh.get('filename')).suffix.lower() in ('.stl', '.obj')


def test_defaults_of_the_configuration_are_this_robot(robot):
    values = robot.robot_parameters()
    config = RobotConfig()
    for name in ('lidar_pose', 'camera_pose', 'imu_pose'):
        assert values[f'robot.{name}'] == pytest.approx(getattr(config, name), abs=1e-6)
    length, width = np.ptp(np.reshape(values['robot.footprint'], (-1, 2)), axis=0)
    assert (length, width) == pytest.approx((0.458, 0.416), abs=2e-3)


def test_libsdformat_accepts_the_description(robot, tmp_path, capfd):
    name = next((n for n in (ctypes.util.find_library(f'sdformat{v}') for v in range(12, 17))
                 if n), None)
    if name is None:
        pytest.skip('libsdformat is not installed')
    path = tmp_path / 'robot.urdf'
    path.write_text(robot.urdf)
    assert ctypes.CDLL(name).cmdCheck(str(path).encode()) == 0
    assert 'Error' not in capfd.readouterr().err

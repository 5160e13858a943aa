"""One table of every topic and service: name, type, QoS, nominal rate, who writes, who reads.

Type names are strings so that this table needs no ROS: nodes resolve them, the static checks of
rviz and bridge files, the doctor and the README read them here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Qos(str, Enum):
    """The four profiles in use; the numbers are in nodes/qos.py alone."""

    SENSOR = 'sensor'  # best effort, volatile, depth 5: third-party and periodic data
    LATEST = 'latest'  # best effort, volatile, depth 1: images and entities between own nodes
    RELIABLE = 'reliable'  # reliable, volatile, depth 10: commands and diagnostics
    LATCHED = 'latched'  # reliable, transient local, depth 1: state that late joiners need


@dataclass(frozen=True)
class Topic:
    """One topic. `rate` in Hz, 0 where it is published on change."""

    name: str
    type: str
    qos: Qos
    rate: float
    writer: str  # node, or 'outside'
    readers: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class Service:
    """One service."""

    name: str
    type: str
    server: str
    meaning: str


_S, _L, _R, _T = Qos.SENSOR, Qos.LATEST, Qos.RELIABLE, Qos.LATCHED

TOPICS: tuple[Topic, ...] = (
    Topic('camera/image_raw', 'sensor_msgs/msg/Image', _S, 20, 'sim', ('sensor',),
          'colour image, rgb8'),
    Topic('camera/camera_info', 'sensor_msgs/msg/CameraInfo', _S, 20, 'sim', ('sensor',),
          'intrinsics and distortion'),
    Topic('camera/depth', 'sensor_msgs/msg/Image', _S, 20, 'sim', ('sensor',),
          'depth, 32FC1 m or 16UC1 mm (REP-118)'),
    Topic('scan', 'sensor_msgs/msg/LaserScan', _S, 20, 'sim', ('sensor', 'control'),
          'planar lidar (REP-117)'),
    Topic('imu', 'sensor_msgs/msg/Imu', _S, 100, 'sim', ('sensor', 'control'), 'inertial unit'),
    Topic('odom', 'nav_msgs/msg/Odometry', _S, 50, 'sim', ('sensor', 'control'),
          'wheel odometry, odom -> base_link'),
    Topic('joint_states', 'sensor_msgs/msg/JointState', _S, 50, 'sim', (), 'wheel angles'),
    Topic('/clock', 'rosgraph_msgs/msg/Clock', _S, 50, 'sim',
          ('sensor', 'perception', 'policy', 'control'), 'simulated time'),
    Topic('sim/ground_truth', 'nav_msgs/msg/Odometry', _S, 20, 'sim', (),
          'true pose, for judging only'),
    Topic('sim/contacts', 'std_msgs/msg/Int32', _T, 0, 'sim', (),
          'contacts of the robot with anything but the ground since start or reset'),
    Topic('goal_pose', 'geometry_msgs/msg/PoseStamped', _R, 0, 'outside', ('control',),
          'where to go; a new one pre-empts'),
    Topic('plan', 'nav_msgs/msg/Path', _R, 0, 'outside', ('sensor',),
          'a planner\'s route, optional'),
    Topic('control/goal', 'geometry_msgs/msg/PoseStamped', _T, 0, 'control', ('sensor',),
          'the goal in force, odom frame; an empty frame_id means none'),
    Topic('observation/image', 'sensor_msgs/msg/Image', _L, 20, 'sensor', ('perception',),
          'rgb8, the virtual pinhole of the layout'),
    Topic('observation/depth', 'sensor_msgs/msg/Image', _L, 20, 'sensor', ('perception',),
          '32FC1 m, same pinhole'),
    Topic('observation/scan', 'sensor_msgs/msg/LaserScan', _L, 20, 'sensor',
          ('perception', 'policy'), 'fixed bearings about base; NaN nobody looked'),
    Topic('observation/depth_points', 'sensor_msgs/msg/PointCloud2', _L, 20, 'sensor',
          ('control', 'perception'), 'x y z kind in base: height-filtered depth, no network'),
    Topic('observation/imu', 'sensor_msgs/msg/Image', _L, 20, 'sensor', ('perception',),
          '32FC1 IMU_SAMPLES x 6: wx wy wz ax ay az, oldest first'),
    Topic('observation/state', 'nav_msgs/msg/Odometry', _L, 20, 'sensor',
          ('perception', 'policy'), 'odometry at the common stamp'),
    Topic('observation/goal', 'geometry_msgs/msg/PoseStamped', _L, 20, 'sensor',
          ('policy', 'control'), 'goal in base; frame_id empty while there is none'),
    Topic('observation/plan', 'nav_msgs/msg/Path', _L, 0, 'sensor', ('policy',),
          'route in odom'),
    Topic('perception/entities', 'sensor_msgs/msg/PointCloud2', _L, 20, 'perception',
          ('policy', 'control'), 'a point per entity, fields as in the layout; is_dense false: '
          'the encoder is unsure'),
    Topic('perception/relations', 'sensor_msgs/msg/Image', _L, 20, 'perception', (),
          '32FC1 n x n relation matrix'),
    Topic('perception/scan', 'sensor_msgs/msg/LaserScan', _L, 20, 'perception',
          ('policy', 'control'), 'what the camera says: depth geometry, else learned'),
    Topic('perception/overlay', 'sensor_msgs/msg/Image', _L, 20, 'perception', (),
          'camera image with entities drawn, only while someone listens'),
    Topic('policy/action', 'geometry_msgs/msg/TwistStamped', _L, 20, 'policy', ('control',),
          'the proposal, with the input stamp'),
    Topic('policy/path', 'nav_msgs/msg/Path', _L, 20, 'policy', (),
          'where the policy means to go'),
    Topic('policy/costmap', 'nav_msgs/msg/OccupancyGrid', _T, 1, 'policy', (),
          'memory of the policy'),
    Topic('cmd_vel', 'geometry_msgs/msg/TwistStamped', _R, 50, 'control', ('sim', 'base_guard'),
          'the command; control is its only publisher (Twist by parameter)'),
    Topic('base/cmd_vel', 'geometry_msgs/msg/TwistStamped', _R, 50, 'base_guard', (),
          'cmd_vel behind the watchdog of a base without one (Gazebo)'),
    Topic('cmd_vel_teleop', 'geometry_msgs/msg/TwistStamped', _R, 0, 'outside', ('control',),
          'a person drives, through the gate (Twist by parameter)'),
    Topic('emergency_stop', 'std_msgs/msg/Bool', _R, 0, 'outside', ('control',),
          'true latches the stop'),
    Topic('control/state', 'diagnostic_msgs/msg/DiagnosticStatus', _R, 20, 'control', (),
          'message = mode; values = reasons, ages, counts'),
    Topic('control/markers', 'visualization_msgs/msg/MarkerArray', _R, 5, 'control', (),
          'footprint, braking manoeuvre, interventions'),
    *(Topic(f'{node}/journal', 'std_msgs/msg/String', _R, 1, node, (),
            'what it consumed and in which order, for a replay; only while someone listens')
      for node in ('sensor', 'perception', 'policy')),
    Topic('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', _R, 1, 'all nodes', (),
          'health, stage latencies keyed by stamp'),
)

SERVICES: tuple[Service, ...] = (
    Service('cancel_goal', 'std_srvs/srv/Trigger', 'control', 'give the goal up and stop'),
    Service('reset_emergency_stop', 'std_srvs/srv/Trigger', 'control', 'release the latch'),
    Service('sim/reset', 'std_srvs/srv/Trigger', 'sim', 'robot to its start, contacts to zero'),
)

ACTIONS: tuple[Service, ...] = (
    Service('navigate_to_pose', 'nav2_msgs/action/NavigateToPose', 'control',
            'drive to a pose; where nav2_msgs is installed'),
)

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}


# Twist where a robot's drivers take that (`stamped_cmd_vel: false`)
COMMANDS = ('cmd_vel', 'base/cmd_vel', 'cmd_vel_teleop')


def type_of(name: str, stamped: bool) -> str:
    """Type of a topic of the table, for a robot whose commands are `stamped` or not."""
    return 'geometry_msgs/msg/Twist' if name in COMMANDS and not stamped else BY_NAME[name].type


def status_name(namespace: str, node: str) -> str:
    """Name of a node's status in /diagnostics, which all robots share: `sensor`, `a/sensor`.

    namespace: absolute; '' or '/' for none.
    """
    return f'{namespace}/{node}'.lstrip('/')


def node_of(status: str, namespace: str) -> str:
    """The node of a namespace that a status in /diagnostics is of; '' for another's."""
    above, _, node = status.rpartition('/')
    return node if above == namespace.strip('/') else ''


def prefixed(prefix: str, name: str) -> str:
    """A topic name with a prefix such as `raw/`; an absolute name stays absolute."""
    return f'/{prefix}{name[1:]}' if name.startswith('/') else prefix + name

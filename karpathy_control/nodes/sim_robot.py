"""The topics of one robot of the `sim` node: its sensors out, `cmd_vel` in."""

from __future__ import annotations

import math
from typing import Any

from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Int32

from karpathy_control.contracts.config import SimConfig
from karpathy_control.contracts.interfaces import type_of
from karpathy_control.contracts.types import NANOSECONDS, Command, State
from karpathy_control.nodes import convert
from karpathy_control.nodes.base import LoopNode, StageLog, steady
from karpathy_control.worlds.mujoco_robot import MujocoRobot

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not published as a wheel; present on every ROS host
    TFMessage = None

TRUTH_RATE = 20.0  # Hz
WORLD_FRAME = 'world'


class SimRobot:
    """Publishes what a MujocoRobot senses when it is asked to, and keeps its last command."""

    def __init__(self, node: LoopNode[SimConfig], robot: MujocoRobot, name: str,
                 stages: StageLog) -> None:
        """name: '' for a robot alone, whose topics and frames have no prefix."""
        self._node, self._robot, self._stages = node, robot, stages
        self._prefix = f'{name}/' if name else ''
        self._command, self._commanded = Command(), -NANOSECONDS
        self._contacts = -1
        self._outputs = {topic: node.publisher(topic, self._prefix) for topic in (
            'odom', 'joint_states', 'imu', 'sim/ground_truth', 'scan', 'camera/depth',
            'camera/camera_info', 'camera/image_raw', 'sim/contacts')}
        self._tf = node.create_publisher(TFMessage, '/tf', 100) if TFMessage else None
        node.listen('cmd_vel', self._on_command, below=self._prefix,
                    type_name=type_of('cmd_vel', node.config.stamped_cmd_vel))

    @property
    def command(self) -> Command:
        """What drives the wheels now: a stop once `cmd_vel` has been silent for too long."""
        timeout = self._node.config.robot.command_timeout * NANOSECONDS
        silent = self._robot.stamp - self._commanded > timeout
        return Command() if silent else self._command

    def halt(self) -> None:
        """Forget the last command."""
        self._command = Command()

    def _on_command(self, message: Any, received: int) -> None:
        self._command, _ = convert.command(message)
        self._commanded = self._robot.stamp

    def _frame(self, name: str) -> str:
        """A frame of this robot."""
        return self._prefix + name

    def publish_contacts(self) -> None:
        """The number of contacts, where it has changed."""
        if self._robot.contacts != self._contacts:
            self._contacts = self._robot.contacts
            self._outputs['sim/contacts'].publish(Int32(data=int(self._contacts)))

    def publish_odometry(self) -> None:
        """Wheel angles; pose and speed where odometry is on."""
        config = self._node.config
        names, positions, velocities = self._robot.joints()
        joints = JointState(header=convert.header(self._robot.stamp, ''), name=list(names),
                            position=[float(p) for p in positions],
                            velocity=[float(v) for v in velocities])
        self._outputs['joint_states'].publish(joints)
        if not config.odometry.enabled:
            return
        state = self._robot.odometry()
        odom = self._frame(config.robot.odom_frame)
        base = self._frame(config.robot.base_frame)
        self._outputs['odom'].publish(convert.odometry_message(state, odom, base))
        if self._tf is not None:
            self._tf.publish(TFMessage(transforms=[_transform(state, odom, base)]))

    def publish_imu(self) -> None:
        """An IMU sample, where it is on."""
        if self._node.config.imu.enabled:
            self._outputs['imu'].publish(
                convert.imu_message(self._robot.imu(), self._frame('imu_link')))

    def publish_truth(self) -> None:
        """The true pose in the world."""
        self._outputs['sim/ground_truth'].publish(convert.odometry_message(
            self._robot.true_state(), WORLD_FRAME,
            self._frame(self._node.config.robot.base_frame)))

    def publish_scan(self) -> None:
        """A lidar scan, where it is on."""
        lidar = self._node.config.lidar
        if lidar.enabled:
            scan = self._robot.lidar()
            self._outputs['scan'].publish(convert.scan_message(
                scan.ranges, scan.stamp, self._frame(scan.frame_id), scan.angle_min,
                scan.angle_increment, scan.range_min, scan.range_max, 1.0 / lidar.rate,
                scan.time_increment))

    def publish_camera(self) -> None:
        """A frame with its intrinsics, where the camera is on; depth where that is on, too."""
        if not (self._node.config.camera.enabled and self._robot.has_camera):
            return
        entered = steady()
        image, depth = self._robot.camera()
        frame = self._frame(image.frame_id)
        if depth is not None:
            self._outputs['camera/depth'].publish(
                convert.image_message(depth.metres, depth.stamp, frame, '32FC1'))
        self._outputs['camera/camera_info'].publish(convert.camera_info_message(
            self._robot.camera_model(), image.stamp, frame))
        message = convert.image_message(image.pixels, image.stamp, frame, 'rgb8')
        ready = steady()  # before it goes out: who hears it may be quicker than what follows here
        self._outputs['camera/image_raw'].publish(message)
        self._stages.add(image.stamp, entered, ready)


def _transform(state: State, odom: str, base: str) -> TransformStamped:
    message = TransformStamped(header=convert.header(state.stamp, odom), child_frame_id=base)
    message.transform.translation.x = float(state.x)
    message.transform.translation.y = float(state.y)
    message.transform.rotation.z = math.sin(0.5 * state.yaw)
    message.transform.rotation.w = math.cos(0.5 * state.yaw)
    return message

"""The `sim` node: the embedded MuJoCo world behind a robot's own topics.

No other node knows that the robot is simulated. Like a base driver it stops the wheels when
`cmd_vel` has been silent for `robot.command_timeout` (simulated time).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import TransformStamped
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import SimConfig
from karpathy_control.contracts.types import NANOSECONDS, Command, State
from karpathy_control.nodes import convert
from karpathy_control.nodes.base import LoopNode, steady
from karpathy_control.nodes.spin import run
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import load_robot

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not published as a wheel; present on every ROS host
    TFMessage = None

LOOP_PERIOD = 0.004  # s, steady
CLOCK_RATE = 50.0  # Hz of simulated time
TRUTH_RATE = 20.0  # Hz
MAX_BEHIND = 0.1  # s: beyond this the simulation is declared slow instead of catching up
WORLD_FRAME = 'world'


class Schedule:
    """Calls what is due in simulated time, in the order in which it was added."""

    def __init__(self) -> None:
        self._entries: list[list[Any]] = []  # [next due ns, period ns, callback]

    def add(self, rate: float, callback: Callable[[], None], phase: float = 0.0) -> None:
        """Call `rate` times a second; `phase` in periods shifts the first call."""
        period = round(NANOSECONDS / rate)
        self._entries.append([round(phase * period), period, callback])

    def run(self, stamp: int) -> None:
        """Call everything that is due at `stamp`."""
        for entry in self._entries:
            if entry[0] <= stamp:
                entry[0] = max(entry[0] + entry[1], stamp - entry[1])
                entry[2]()


class SimNode(LoopNode[SimConfig]):
    """Shell around MujocoWorld."""

    NAME = 'sim'
    CONFIG = SimConfig

    def build(self) -> None:
        """Make the world, the robot and its publishers."""
        c = self.config
        robot = load_robot(find('description', c.robot_xacro))
        self._world = MujocoWorld(generate(c.world, c.seed), c, robot)
        self._command, self._commanded = Command(), -NANOSECONDS
        self._contacts = -1
        self._behind = 0
        self._clock_out = self.plain_publisher('/clock')
        self._outputs = {name: self.publisher(name) for name in (
            'odom', 'joint_states', 'imu', 'sim/ground_truth', 'scan', 'camera/depth',
            'camera/camera_info', 'camera/image_raw', 'sim/contacts')}
        self._tf = self.create_publisher(TFMessage, '/tf', 100) if TFMessage else None
        kind = 'geometry_msgs/msg/' + ('TwistStamped' if c.stamped_cmd_vel else 'Twist')
        self.listen('cmd_vel', self._on_command, type_name=kind)
        self.create_service(Trigger, 'sim/reset', self._reset)
        self._schedule = Schedule()
        self._schedule.add(CLOCK_RATE, self._publish_clock)
        self._schedule.add(c.odometry.rate, self._publish_odometry)
        self._schedule.add(c.imu.rate, self._publish_imu)
        self._schedule.add(TRUTH_RATE, self._publish_truth)
        # Half a period apart, as the sensors of a real robot are not triggered together.
        self._schedule.add(c.lidar.rate, self._publish_scan, phase=0.5)
        self._schedule.add(c.camera.rate, self._publish_camera)
        self.steady_timer(LOOP_PERIOD, self._advance)

    def activated(self) -> None:
        """Start the clock now."""
        self._anchor()

    def reconfigured(self) -> None:
        """A new rate factor counts from now."""
        if hasattr(self, '_world'):
            self._anchor()

    def _anchor(self) -> None:
        self._real_start, self._sim_start = steady(), self._world.stamp

    def _advance(self) -> None:
        if not self.active:
            return
        factor = self.config.rate_factor
        if factor > 0.0:
            elapsed = steady() - self._real_start
            target = self._sim_start + round(elapsed * factor)
            if target - self._world.stamp > MAX_BEHIND * NANOSECONDS * max(factor, 1.0):
                self._behind += 1
                self._anchor()
                target = self._world.stamp + round(LOOP_PERIOD * NANOSECONDS * factor)
        else:
            target = self._world.stamp + round(0.02 * NANOSECONDS)
        timeout = self.config.robot.command_timeout * NANOSECONDS
        while self._world.stamp < target:
            silent = self._world.stamp - self._commanded > timeout
            self._world.step(Command() if silent else self._command)
            self._schedule.run(self._world.stamp)

    def _on_command(self, message: Any, received: int) -> None:
        self._command, _ = convert.command(message)
        self._commanded = self._world.stamp

    def _reset(self, request: Any, response: Any) -> Any:
        self._world.reset()
        self._command = Command()
        response.success, response.message = True, 'robot at its start'
        return response

    # -- outputs ------------------------------------------------------------------------------

    def _publish_clock(self) -> None:
        self._clock_out.publish(ClockMessage(clock=convert.time_msg(self._world.stamp)))
        if self._world.contacts != self._contacts:
            self._contacts = self._world.contacts
            self._outputs['sim/contacts'].publish(Int32(data=int(self._contacts)))

    def _publish_odometry(self) -> None:
        robot = self.config.robot
        names, positions, velocities = self._world.joints()
        joints = JointState(header=convert.header(self._world.stamp, ''), name=list(names),
                            position=[float(p) for p in positions],
                            velocity=[float(v) for v in velocities])
        self._outputs['joint_states'].publish(joints)
        if not self.config.odometry.enabled:
            return
        state = self._world.odometry()
        self._outputs['odom'].publish(
            convert.odometry_message(state, robot.odom_frame, robot.base_frame))
        if self._tf is not None:
            self._tf.publish(TFMessage(transforms=[self._transform(state)]))

    def _transform(self, state: State) -> TransformStamped:
        robot = self.config.robot
        message = TransformStamped(header=convert.header(state.stamp, robot.odom_frame),
                                   child_frame_id=robot.base_frame)
        message.transform.translation.x = float(state.x)
        message.transform.translation.y = float(state.y)
        message.transform.rotation.z = math.sin(0.5 * state.yaw)
        message.transform.rotation.w = math.cos(0.5 * state.yaw)
        return message

    def _publish_imu(self) -> None:
        if self.config.imu.enabled:
            self._outputs['imu'].publish(convert.imu_message(self._world.imu(), 'imu_link'))

    def _publish_truth(self) -> None:
        self._outputs['sim/ground_truth'].publish(convert.odometry_message(
            self._world.true_state(), WORLD_FRAME, self.config.robot.base_frame))

    def _publish_scan(self) -> None:
        lidar = self.config.lidar
        if lidar.enabled:
            scan = self._world.lidar()
            self._outputs['scan'].publish(convert.scan_message(
                scan.ranges, scan.stamp, scan.frame_id, scan.angle_min, scan.angle_increment,
                scan.range_min, scan.range_max, 1.0 / lidar.rate))

    def _publish_camera(self) -> None:
        if not self.config.camera.enabled:
            return
        entered = steady()
        image, depth = self._world.camera()
        if depth is not None:
            self._outputs['camera/depth'].publish(
                convert.image_message(depth.metres, depth.stamp, depth.frame_id, '32FC1'))
        self._outputs['camera/camera_info'].publish(convert.camera_info_message(
            self._world.camera_model(), image.stamp, image.frame_id))
        message = convert.image_message(image.pixels, image.stamp, image.frame_id, 'rgb8')
        ready = steady()  # before it goes out: who hears it may be quicker than what follows here
        self._outputs['camera/image_raw'].publish(message)
        self.stages.add(image.stamp, entered, ready)

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """Simulated time and how often it fell behind."""
        if not hasattr(self, '_world'):
            return False, 'not configured', {}
        tf = 'published' if self._tf else 'tf2_msgs is not installed'
        return self.active, 'active' if self.active else 'inactive', {
            'time': f'{self._world.time:.2f}', 'fell_behind': str(self._behind), 'tf': tf}


def main() -> int:
    """Run the node."""
    return run([SimNode])


if __name__ == '__main__':
    sys.exit(main())

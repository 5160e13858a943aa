"""The `control` node: fusion and gate; the only publisher of `cmd_vel`.

Every decision is made by control.controller.Controller. This shell converts, calls it and
publishes: at once on a new action, and never later than TICK after the last command. Inactive or
shutting down, it still publishes zero.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from karpathy_control.bringup.resources import find, log_folder
from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.geometry import from_frame, rotation_rpy
from karpathy_control.contracts.interfaces import status_name, type_of
from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.contracts.types import Action, Command, Pose2, State
from karpathy_control.control.audit import AuditLog
from karpathy_control.control.controller import Controller, Decision
from karpathy_control.control.goals import GoalKeeper
from karpathy_control.control.rules import EMPTY, load_rules
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.base import LoopNode, steady
from karpathy_control.nodes.frames import FrameResolver
from karpathy_control.nodes.navigate import FEEDBACK_PERIOD, make_server
from karpathy_control.nodes.spin import run

TICK = 0.02  # s, steady
STATE_PERIOD = 0.05  # s
MARKER_PERIOD = 0.2  # s
COMMANDER_PERIOD = 0.05  # s
MOST_ANSWERS = 50  # kept for one `control/state`; about one comes in its period
_STOPPED = (Mode.STOPPED, Mode.EMERGENCY_STOP, Mode.INACTIVE)
# A topic that each node publishes for as long as it lives.
_ALIVE = {'sensor': 'observation/goal', 'perception': 'perception/entities',
          'policy': 'policy/action'}


class ControlNode(LoopNode[ControlConfig]):
    """Shell around Controller."""

    NAME = 'control'
    CONFIG = ControlConfig

    def __init__(self) -> None:
        super().__init__()
        twist = type_of('cmd_vel', self.config.stamped_cmd_vel)
        # Made here and plain, so that zero goes out in every lifecycle state.
        self._command = self.plain_publisher('cmd_vel', twist)
        self._state = self.plain_publisher('control/state')
        self._decision: Decision | None = None
        self._odom: State | None = None
        # Since the last state: the first command that went out after each action, under its stamp.
        self._answers: deque[Action] = deque(maxlen=MOST_ANSWERS)
        self._idle_reason = Reason.NOT_ACTIVE  # while there is no decision
        self._navigate = make_server(self, self.config.goal.action, self._goal_of_action,
                                     self._take_goal, self.config.robot.base_frame)
        if self._navigate is not None:
            self.steady_timer(FEEDBACK_PERIOD, self._publish_feedback)
        self._tick_timer = self.steady_timer(TICK, self._tick)
        self.steady_timer(STATE_PERIOD, self._publish_state)

    def build(self) -> None:
        """Create controller, publishers, subscriptions and services."""
        robot = self.config.robot
        twist = type_of('cmd_vel_teleop', self.config.stamped_cmd_vel)
        rules = load_rules(find('config', self.config.rules)) if self.config.rules else EMPTY
        self._controller = Controller(self.config, rules)
        self._warm_up()
        self._frames = FrameResolver(self, robot.odom_frame, robot.base_frame)
        self._imu_rotation = rotation_rpy(*robot.imu_pose[3:])
        self._goal: tuple[float, float] | None = None
        self._arrived = 0, 0  # stamp of the latest action and when it came, until it is in use
        self._audit = AuditLog(self.config.audit, log_folder() / self.get_namespace().strip('/'))
        self._goal_out = self.publisher('control/goal')
        self._markers = self.publisher('control/markers')
        self.listen('scan', self._on_scan)
        self.listen('odom', self._on_odom)
        self.listen('imu', self._on_imu)
        self.listen('observation/depth_points', self._on_depth_points)
        self.listen('observation/goal', self._on_observed_goal)
        self.listen('perception/scan', self._on_camera_scan)
        self.listen('perception/entities', self._on_entities)
        self.listen('policy/action', self._on_action)
        self.listen('goal_pose', self._on_goal_pose)
        self.listen('cmd_vel_teleop', self._on_teleop, type_name=twist)
        self.listen('emergency_stop', self._on_emergency_stop, always=True)
        if self.sim_time:
            self.listen('/clock', self._on_clock)
        self.create_service(Trigger, 'cancel_goal', self._cancel_goal)
        self.create_service(Trigger, 'reset_emergency_stop', self._reset_emergency_stop)
        self.steady_timer(MARKER_PERIOD, self._publish_markers)
        self.steady_timer(COMMANDER_PERIOD, self._count_commanders)

    def _warm_up(self) -> None:
        """Load or compile the kernels, and meanwhile go on to say zero, and why."""
        with ThreadPoolExecutor(1) as aside:
            ready = aside.submit(self._controller.warm_up)
            self._idle_reason = Reason.COMPILING
            while wait([ready], STATE_PERIOD).not_done:
                self._tick()
                self._publish_state()
            self._idle_reason = Reason.NOT_ACTIVE
            ready.result()

    def activated(self) -> None:
        """Begin the log of decisions."""
        self._audit.note(self.now(), f'activated: {self.config}')

    def deactivated(self) -> None:
        """Stop the robot: this is the last word of an active controller."""
        self._controller.deactivate()
        self._decision = None
        self._publish_command(Command())
        if self._navigate is not None:
            self._navigate.update(self.now() * 1e-9, math.nan, True)
        self._audit.note(self.now(), 'deactivated: zero')
        self._audit.close()

    def stop(self) -> None:
        """Leave the graph as a server of actions, too."""
        super().stop()
        if self._navigate is not None:
            self._navigate.destroy()

    def reconfigured(self) -> None:
        """Hand a live parameter change on."""
        if hasattr(self, '_controller'):
            self._controller.configure(self.config)
            self._audit.config = self.config.audit
            self._audit.note(self.now(), f'parameters: {self.config}')

    def on_invalid(self, source: str, text: str) -> None:
        """A refused message also counts against its input."""
        super().on_invalid(source, text)
        self._controller.on_invalid(source, text)

    # -- inputs -------------------------------------------------------------------------------

    def _on_scan(self, message: Any, received: int) -> None:
        self._controller.on_scan(convert.raw_scan(message), received)

    def _on_odom(self, message: Any, received: int) -> None:
        self._odom = convert.state(message)
        self._controller.on_odom(self._odom, received)

    def _on_imu(self, message: Any, received: int) -> None:
        self._controller.on_imu(convert.imu_sample(message, self._imu_rotation), received)

    def _on_depth_points(self, message: Any, received: int) -> None:
        x, y = self.config.robot.camera_pose[:2]
        self._controller.on_depth_points(clouds.depth_points(message, (x, y)), received)

    def _on_camera_scan(self, message: Any, received: int) -> None:
        self._controller.on_camera_scan(convert.layout_scan(message), received)

    def _on_entities(self, message: Any, received: int) -> None:
        self._controller.on_entities(clouds.entities_table(message), clouds.unsure(message),
                                     convert.stamp_ns(message.header), received)

    def _on_action(self, message: Any, received: int) -> None:
        command, stamp = convert.command(message)
        assert stamp is not None  # the table says TwistStamped
        self._arrived = stamp, received
        self._controller.on_action(Action(stamp, command), received)
        self._tick()
        self._tick_timer.reset()

    def _on_teleop(self, message: Any, received: int) -> None:
        command, stamp = convert.command(message)
        self._controller.on_teleop(command, stamp or None, received)  # 0: not stamped

    def _on_emergency_stop(self, message: Any, received: int) -> None:
        self._controller.on_emergency_stop(bool(message.data))
        self._tick()

    def _on_clock(self, message: Any, received: int) -> None:
        self._controller.on_clock(convert.time_ns(message.clock), received)

    def _on_goal_pose(self, message: Any, received: int) -> None:
        self._take_goal(*self._place(message))

    def _place(self, message: Any) -> tuple[float, float]:
        """The point of a pose, m in odom. InvalidMessage is also shown in `control/state`."""
        try:
            point = convert.position(message)
            x, y = self._frames.to_odom([point], message.header.frame_id, self._odom)[0]
        except convert.InvalidMessage as error:
            self._controller.refuse_goal(str(error))
            raise
        return float(x), float(y)

    def _take_goal(self, x: float, y: float) -> GoalKeeper:
        self._controller.on_goal(x, y)
        self.get_logger().info(f'goal {x:.2f} {y:.2f} in odom')
        return self._controller.goals

    def _goal_of_action(self, message: Any) -> tuple[float, float]:
        if not self.active:
            raise convert.InvalidMessage('control is not active')
        return self._place(message)

    def _on_observed_goal(self, message: Any, received: int) -> None:
        """Sensor is alive; after a restart of control, take over the goal that it carries."""
        self._controller.on_observation(convert.stamp_ns(message.header), received)
        if self._goal is None and message.header.frame_id and self._odom is not None:
            point = convert.position(message)
            goal = from_frame([point], self._odom.pose)[0]
            self._controller.adopt_goal(float(goal[0]), float(goal[1]))

    def _cancel_goal(self, request: Any, response: Any) -> Any:
        response.success, response.message = self._controller.cancel_goal()
        return response

    def _reset_emergency_stop(self, request: Any, response: Any) -> Any:
        response.success, response.message = self._controller.reset_emergency_stop()
        return response

    def _count_commanders(self) -> None:
        self._controller.set_commanders(self.writers('cmd_vel'))

    # -- outputs ------------------------------------------------------------------------------

    def _tick(self) -> None:
        if not self.active:
            self._publish_command(Command())
            return
        now = self.now()
        decision = self._controller.tick(now, steady(), self.sim_time)
        self._publish_command(decision.command)
        self._controller.set_audit_lost(not self._audit.write(now, decision, self._odom))
        self._decision = decision
        stamp, received = self._arrived
        if stamp and stamp == decision.stamp:
            self.stages.add(stamp, received, steady())
            self._answers.append(Action(stamp, decision.command))
            self._arrived = 0, 0
        if decision.goal != self._goal:
            self._publish_goal(decision.goal)
        if self._navigate is not None:
            odom = self._odom
            distance = self._controller.goals.distance(odom.x, odom.y) if odom else math.nan
            self._navigate.update(
                now * 1e-9, distance,
                decision.command == Command() or decision.override is Override.TELEOP)

    def _publish_feedback(self) -> None:
        if self._navigate is not None:
            self._navigate.publish_feedback(self._odom, self.config.robot.odom_frame)

    def _publish_command(self, command: Command) -> None:
        self._command.publish(convert.twist_message(
            command, self.now(), self.config.robot.base_frame, self.config.stamped_cmd_vel))

    def _publish_goal(self, goal: tuple[float, float] | None) -> None:
        self._goal = goal
        x, y = goal or (0.0, 0.0)
        frame = self.config.robot.odom_frame if goal else ''
        self._goal_out.publish(convert.pose_message(x, y, self.now(), frame))

    def _publish_state(self) -> None:
        d = self._decision
        mode = d.mode if d else Mode.INACTIVE
        reasons = d.reasons if d else (self._idle_reason,)
        # A robot that never had a camera misses none.
        degraded = mode is Mode.CAMERA_ONLY or (
            mode is Mode.LIDAR_ONLY and self.config.robot.camera_rate > 0.0)
        level = (DiagnosticStatus.ERROR if mode in _STOPPED else
                 DiagnosticStatus.WARN if degraded else DiagnosticStatus.OK)
        values = {'reasons': ' '.join(r.value for r in reasons),
                  'command': f'{d.command.v:.3f} {d.command.w:.3f}' if d else '0 0',
                  'stamp': str(d.stamp if d else 0),
                  convert.ANSWERS: convert.answers_text(self._answers),
                  **(d.values if d else {})}
        self._answers.clear()
        namespace = self.get_namespace()
        status = DiagnosticStatus(level=level, name=status_name(namespace, self.get_name()),
                                  message=mode.value, hardware_id=namespace)
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        self._state.publish(status)

    def _publish_markers(self) -> None:
        d = self._decision
        if not (self.active and d and self._markers.get_subscription_count()):
            return
        colour = (1.0, 0.3, 0.1) if d.limited else (0.1, 0.9, 0.3)
        polygon = self.config.robot.polygon
        base, odom = self.config.robot.base_frame, self.config.robot.odom_frame
        markers = [self._outline(0, polygon, base, colour, 1.0)]
        for i, (x, y, yaw) in enumerate(d.braking):
            corners = from_frame(polygon, Pose2(float(x), float(y), float(yaw)))
            markers.append(self._outline(i + 1, corners, odom, colour, 0.4))
        self._markers.publish(MarkerArray(markers=markers))

    def _outline(self, number: int, corners: Any, frame: str, colour: tuple[float, float, float],
                 alpha: float) -> Marker:
        marker = Marker(header=convert.header(self.now(), frame), ns='braking', id=number,
                        type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.pose.orientation.w = 1.0
        marker.scale.x = 0.01
        marker.color.r, marker.color.g, marker.color.b = colour
        marker.color.a = alpha
        marker.lifetime.nanosec = int(2 * MARKER_PERIOD * 1e9)
        marker.points = [Point(x=float(x), y=float(y), z=0.02) for x, y in [*corners, corners[0]]]
        return marker

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """The mode, whatever the controller reports, and which nodes DDS has lost.

        A node that hangs is alive to DDS: the ages tell of it, in `control/state`, much sooner.
        """
        d = self._decision
        if d is None or not self.active:
            return False, Mode.INACTIVE.value, {}
        gone = [node for node, name in _ALIVE.items() if self.writers(name) == 0]
        values = {**d.values, 'gone': ' '.join(gone)} if gone else d.values
        return d.mode not in _STOPPED and not gone, d.mode.value, values


def main() -> int:
    """Run the node."""
    return run([ControlNode])


if __name__ == '__main__':
    sys.exit(main())

"""The action NavigateToPose, on top of the same goals as `goal_pose`, where nav2_msgs is there.

A goal stays ACCEPTED, never EXECUTING, until it ends: for a coroutine that waits for the end, some
executors of rclpy spin at full load, and this one also runs the gate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from builtin_interfaces.msg import Duration
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.node import Node

from karpathy_control.contracts.types import State
from karpathy_control.control.goals import GoalKeeper
from karpathy_control.control.navigation import End, Ended, Navigation
from karpathy_control.nodes.convert import InvalidMessage, odometry_message

try:
    from nav2_msgs.action import NavigateToPose
except ImportError:  # not published as a wheel; present on a ROS host with Nav2
    NavigateToPose = None

FAILED, TIMED_OUT = 9000, 9003  # UNKNOWN and TIMEOUT of the action; older ones have no codes
FEEDBACK_PERIOD = 0.2  # s, steady


class NavigateServer:
    """Serves one name; of several goals the newest is driven to.

    Args:
        node: of the server; callbacks come in its executor's thread.
        name: of the action, as ROS takes it.
        place: the point of a goal's PoseStamped, m in odom; InvalidMessage says why not.
        take: sets a goal, m in odom, and returns who keeps it.

    """

    def __init__(self, node: Node, name: str, place: Callable[[Any], tuple[float, float]],
                 take: Callable[[float, float], GoalKeeper], base_frame: str) -> None:
        self._node, self._place, self._take, self._base = node, place, take, base_frame
        self._goal = (0.0, 0.0)  # of the request that is being accepted
        self._open: list[tuple[Any, Navigation]] = []
        self._server = ActionServer(
            node, NavigateToPose, name, self._never, goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted, cancel_callback=self._on_cancel)

    def destroy(self) -> None:
        """Take the server off the graph."""
        self._server.destroy()

    def update(self, time: float, distance: float, standing: bool) -> None:
        """After every decision, see Navigation.update."""
        going = []
        for handle, navigation in self._open:
            ended = navigation.update(time, distance, standing)
            if ended is None:
                going.append((handle, navigation))
            else:
                self._node.get_logger().info(f'NavigateToPose {ended.how.value}: {ended.text}')
                handle.execute(partial(_finish, ended=ended))
        self._open = going

    def publish_feedback(self, state: State | None, odom_frame: str) -> None:
        """Tell those who asked how far it is."""
        for handle, navigation in self._open:
            progress = navigation.progress
            if progress is None or state is None:
                continue
            feedback = NavigateToPose.Feedback()
            odometry = odometry_message(state, odom_frame, self._base)
            feedback.current_pose.header = odometry.header
            feedback.current_pose.pose = odometry.pose.pose
            feedback.navigation_time = _duration(progress.elapsed)
            feedback.estimated_time_remaining = _duration(progress.remaining)
            feedback.distance_remaining = float(progress.distance)
            handle.publish_feedback(feedback)

    def _on_goal(self, request: Any) -> GoalResponse:
        try:
            if request.behavior_tree:
                raise InvalidMessage(f'behavior_tree {request.behavior_tree!r}: this server has '
                                     'none; it takes an empty one')
            self._goal = self._place(request.pose)
        except InvalidMessage as error:  # an action has no words for a rejection
            self._node.get_logger().warning(f'NavigateToPose rejected: {error}')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_accepted(self, handle: Any) -> None:
        x, y = self._goal
        now = self._node.get_clock().now().nanoseconds * 1e-9
        self._open.append((handle, Navigation(self._take(x, y), now)))

    def _on_cancel(self, handle: Any) -> CancelResponse:
        for known, navigation in self._open:
            if known == handle:
                navigation.cancel()
                return CancelResponse.ACCEPT
        return CancelResponse.REJECT

    def _never(self, handle: Any) -> Any:
        raise AssertionError('every goal is finished by a callback of its own')


def make_server(node: Node, name: str, place: Callable[[Any], tuple[float, float]],
                take: Callable[[float, float], GoalKeeper], base_frame: str
                ) -> NavigateServer | None:
    """The server, or None where nav2_msgs is not installed or no name is given."""
    if NavigateToPose is None or not name:
        return None
    return NavigateServer(node, name, place, take, base_frame)


def _finish(handle: Any, ended: Ended) -> Any:
    """Bring a handle into its last state, and make its result."""
    {End.SUCCEEDED: handle.succeed, End.ABORTED: handle.abort,
     End.CANCELED: handle.canceled}[ended.how]()
    result = NavigateToPose.Result()
    if hasattr(result, 'error_code') and ended.how is End.ABORTED:
        result.error_code = TIMED_OUT if ended.timed_out else FAILED
    if hasattr(result, 'error_msg'):
        result.error_msg = ended.text
    return result


def _duration(seconds: float) -> Duration:
    return Duration(sec=int(seconds), nanosec=int(seconds % 1.0 * 1e9))

"""Listens to every topic of the interface table and says which are alive, as one JSON line.

It needs nothing but a ROS environment: a node of somebody else sees the loop as this one does.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import rclpy
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from karpathy_control.bringup.robots import load_profile, tool_arguments
from karpathy_control.contracts.interfaces import TOPICS, type_of
from karpathy_control.nodes import convert
from karpathy_control.nodes.qos import message_type, profile, topic
from karpathy_control.nodes.spin import executor


class Probe(Node):
    """Counts messages by topic; optionally sends a goal and measures how far the robot goes."""

    def __init__(self, seconds: float, patience: float, goal: tuple[float, float] | None,
                 stamped: bool) -> None:
        super().__init__('probe')
        self.finished: Future[None] = Future()
        self.counts = {row.name: 0 for row in TOPICS}
        self._goal = goal
        self._seconds = seconds
        self._end = time.monotonic() + patience
        self._heard = False
        self._first: Any = None
        self._last: Any = None
        for row in TOPICS:
            self.create_subscription(message_type(type_of(row.name, stamped)), row.name,
                                     self._counter(row.name), profile(row.qos))
        row = topic('goal_pose')
        self._goal_out = self.create_publisher(message_type(row.type), row.name, profile(row.qos))
        self.create_timer(0.5, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _counter(self, name: str) -> Any:
        def count(message: Any) -> None:
            self.counts[name] += 1
            if not self._heard and name != 'goal_pose':  # which this node sends itself
                self._heard, self._end = True, time.monotonic() + self._seconds
            if name == 'odom':
                self._last = convert.state(message) if isinstance(message, Odometry) else None
                self._first = self._first or self._last
        return count

    def _tick(self) -> None:
        if self._goal and not self.counts['control/goal']:  # until control has taken it
            self._goal_out.publish(convert.pose_message(*self._goal, 0, 'odom'))
        if time.monotonic() > self._end and not self.finished.done():
            self.finished.set_result(None)

    @property
    def moved(self) -> float:
        """Distance between the first and the last odometry, m."""
        if self._first is None:
            return 0.0
        return float(((self._last.x - self._first.x) ** 2
                      + (self._last.y - self._first.y) ** 2) ** 0.5)


def main() -> int:
    """Listen for a while and print the counts."""
    parser = argparse.ArgumentParser(prog='probe', description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=5.0, help='from the first message on')
    parser.add_argument('--patience', type=float, default=10.0,
                        help='seconds to wait for the first message')
    parser.add_argument('--goal', help='"x,y" in odom')
    parser.add_argument('--namespace', default='', help='of the robot: absolute, or empty')
    parser.add_argument('--robot', default='jackal', help='profile, for its topic names and the '
                        'type of its commands')
    arguments = parser.parse_args()
    goal = None
    if arguments.goal:
        x, y = (float(v) for v in arguments.goal.split(','))
        goal = (x, y)
    robot = load_profile(arguments.robot)
    rclpy.init(args=[sys.argv[0], *tool_arguments(robot, arguments.namespace)])
    node = Probe(arguments.seconds, arguments.patience, goal, robot.stamped_cmd_vel)
    spinner = executor()
    spinner.add_node(node)
    try:
        while rclpy.ok() and not node.finished.done():
            spinner.spin_until_future_complete(node.finished, 1e6)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    rates = {name: round(n / arguments.seconds, 2) for name, n in node.counts.items()}
    print(json.dumps({'rates': rates, 'counts': node.counts, 'moved_m': round(node.moved, 3)}),
          flush=True)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())

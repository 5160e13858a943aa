"""The `observer`: watches the loop, sends goals, and speaks JSON lines, so tools need no ROS.

Standard output carries one JSON object a line: `status` about ten times a second, `goal` at each
outcome, `frame` for each saved picture, `answer` for each command, `record` when asked for (with
--record, see recorder.py) and `done` at the end.
Standard input takes one JSON object a line:

    {"goal": [x, y]}                                a goal in odom, m
    {"set": {"node": "sim", "name": "camera.enabled", "value": false}}
    {"call": "cancel_goal"}                         a std_srvs/Trigger service
    {"emergency_stop": true}
    {"teleop": [v, w]}                              one teleop command
    {"record": 123}                                 `record`: what came since that steady time, ns
    {"finish": true}                                print `done` and exit
"""

from __future__ import annotations

import argparse
import json
import math
import queue
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import cv2
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.task import Future
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from karpathy_control.contracts.interfaces import node_of
from karpathy_control.contracts.types import Command
from karpathy_control.nodes import convert
from karpathy_control.nodes.latency import LatencyBook, summary
from karpathy_control.nodes.qos import message_type, profile, topic
from karpathy_control.nodes.recorder import Recorder
from karpathy_control.nodes.spin import executor

STATUS_PERIOD = 0.1  # s
SILENT = 0.5  # s: a controller that says nothing for this long has no mode
FLUSH = 1.3  # s: one period of /diagnostics and a little
RESEND = 1.0  # s: a goal that the controller does not show is sent again
FRAME_PERIOD = 3.0  # s between saved pictures
TRUE_TOLERANCE = 0.5  # m: goal tolerance plus what odometry may drift on the way
BLOCKED = 'goal_blocked'
REACHED = 'goal_reached'


def emit(event: str, **values: Any) -> None:
    """Print one JSON line; NaN becomes null, since JSON has none."""
    clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v
             for k, v in values.items()}
    print(json.dumps({'event': event, **clean}), flush=True)


class Observer(Node):
    """Collects what the loop publishes and works through a list of goals."""

    def __init__(self, goals: list[tuple[float, float]], timeout: float, frames: Path | None,
                 frame_id: str, record: bool = False, keep: int | None = None) -> None:
        super().__init__('observer')
        self._recorder = Recorder(self) if record else None
        self.finished: Future[None] = Future()
        self._goals, self._timeout, self._frames, self._frame_id = goals, timeout, frames, frame_id
        self._book = LatencyBook(keep)
        self._index, self._reached = -1, 0
        self._started, self._sent = 0.0, 0.0  # steady s: of the present goal, of its last sending
        self._values: dict[str, str] = {}
        self._mode = ''
        self._heard = 0.0  # steady s: when control last spoke
        self._reasons: list[str] = []
        self._odom: Any = None
        self._truth: Any = None
        self._start = time.monotonic()
        self._commands: queue.Queue[str] = queue.Queue()
        self._track: deque[list[float]] = deque(maxlen=keep)
        self._contacts, self._interventions, self._limited = 0, 0, False
        self._armed = False  # the state has shown that the present goal is in force
        self._frame_due, self._frame_count, self._frame_sub = 0.0, 0, None
        self._goal_out = self._publisher('goal_pose')
        self._stop_out = self._publisher('emergency_stop')
        self._teleop_out = self._publisher('cmd_vel_teleop')
        self._listen('/diagnostics', self._on_diagnostics)
        self._listen('control/state', self._on_state)
        self._listen('odom', self._on_odom)
        self._listen('sim/ground_truth', self._on_truth)
        self._listen('sim/contacts', self._on_contacts)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(STATUS_PERIOD, self._step, clock=steady)
        threading.Thread(target=self._read_commands, daemon=True).start()

    def _publisher(self, name: str) -> Any:
        row = topic(name)
        return self.create_publisher(message_type(row.type), name, profile(row.qos))

    def _listen(self, name: str, callback: Any) -> Any:
        row = topic(name)
        return self.create_subscription(message_type(row.type), name, callback, profile(row.qos))

    # -- what the loop says -------------------------------------------------------------------

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            self._book.add(node_of(status.name, self.get_namespace()), values.get('stages', ''))

    def _on_state(self, message: DiagnosticStatus) -> None:
        self._mode, self._heard = message.message, time.monotonic()
        self._values = {item.key: item.value for item in message.values}
        self._reasons = self._values.get('reasons', '').split()
        limited = 'gate_limited' in self._reasons or 'gate_braking' in self._reasons
        self._interventions += limited and not self._limited
        self._limited = limited

    def _on_odom(self, message: Odometry) -> None:
        try:
            self._odom = convert.state(message)
        except convert.InvalidMessage as error:  # a watcher outlives what it watches
            self.get_logger().warning(f'odom: {error}', throttle_duration_sec=1.0)

    def _on_truth(self, message: Odometry) -> None:
        truth = convert.state(message)
        if self._truth is None:
            self._origin = truth
        self._truth = truth
        self._track.append([round(v, 4) for v in (
            truth.stamp * 1e-9, truth.x, truth.y, truth.yaw, truth.v, truth.w)]
            + [int(self._limited)])

    def _on_contacts(self, message: Any) -> None:
        self._contacts = int(message.data)

    # -- goals --------------------------------------------------------------------------------

    def _step(self) -> None:
        self._obey()
        now = time.monotonic()
        if now - self._heard > SILENT:
            self._mode, self._reasons = '', []
        ready = self._odom is not None and self._mode in ('idle', 'autonomous', 'lidar_only')
        if self._goals and self._index < 0 and ready:
            self._next_goal(now)
        elif self._goals and 0 <= self._index < len(self._goals):
            self._judge(now)
        self._save_frame(now)
        self._status(now)

    def _next_goal(self, now: float) -> None:
        self._index += 1
        if self._index >= len(self._goals):
            self._finish_later()
            return
        self._started, self._sent, self._armed = now, now, False
        self._send_goal(*self._goals[self._index])

    def _send_goal(self, x: float, y: float) -> None:
        self._goal_out.publish(convert.pose_message(
            x, y, self.get_clock().now().nanoseconds, self._frame_id))

    def _judge(self, now: float) -> None:
        """Compare the controller's word with the true distance; a goal can also time out."""
        active = self._mode in ('autonomous', 'camera_only', 'lidar_only')
        if not self._armed:
            settled = REACHED not in self._reasons and BLOCKED not in self._reasons
            self._armed = active and settled
            if not self._armed and now - self._sent > RESEND:  # control may have been restarting
                self._sent = now
                self._send_goal(*self._goals[self._index])
        elif REACHED in self._reasons:
            near = self._distance_true() <= TRUE_TOLERANCE
            self._reached += near
            self._outcome('reached' if near else 'reached_by_odometry_only', now)
        elif BLOCKED in self._reasons:
            self._outcome('blocked', now)
        if now - self._started > self._timeout:
            self._outcome('timeout', now)

    def _outcome(self, outcome: str, now: float) -> None:
        emit('goal', index=self._index, outcome=outcome, seconds=round(now - self._started, 2),
             true_distance=round(self._distance_true(), 3))
        self._next_goal(now)

    def _distance_true(self) -> float:
        """Distance to the goal by ground truth where there is one, else by odometry, m."""
        if not 0 <= self._index < len(self._goals):
            return math.nan
        x, y = self._goals[self._index]
        if self._truth is None:
            return math.hypot(x - self._odom.x, y - self._odom.y) if self._odom else math.nan
        o, c, s = self._origin, math.cos(self._origin.yaw), math.sin(self._origin.yaw)
        gx, gy = o.x + c * x - s * y, o.y + s * x + c * y
        return math.hypot(gx - self._truth.x, gy - self._truth.y)

    # -- pictures, status, commands -----------------------------------------------------------

    def _save_frame(self, now: float) -> None:
        if self._frames is None or now < self._frame_due or self._frame_sub is not None:
            return
        self._frame_due = now + FRAME_PERIOD
        self._frame_sub = self._listen('perception/overlay', self._on_overlay)

    def _on_overlay(self, message: Any) -> None:
        if self._frame_sub is None:
            return
        # Only one picture is wanted: an overlay is drawn only while someone listens.
        self.destroy_subscription(self._frame_sub)
        self._frame_sub = None
        assert self._frames is not None
        path = self._frames / f'frame_{self._frame_count:03d}.png'
        self._frame_count += 1
        cv2.imwrite(str(path), convert.raw_image(message).pixels[:, :, ::-1])
        emit('frame', index=self._index, png=str(path))

    def _status(self, now: float) -> None:
        pose = self._truth or self._odom
        goal = list(self._goals[self._index]) if 0 <= self._index < len(self._goals) else None
        published, missed = self._book.observations()
        emit('status', t=round(now - self._start, 2), x=pose.x if pose else math.nan,
             y=pose.y if pose else math.nan, yaw=pose.yaw if pose else math.nan,
             v=pose.v if pose else math.nan, w=pose.w if pose else math.nan,
             goal_index=self._index, goal=goal, distance=self._distance_true(), mode=self._mode,
             reasons=self._reasons, values=self._values, contacts=self._contacts,
             interventions=self._interventions, latency_ms=self._book.recent(),
             observed=published, missed=len(missed))

    def _read_commands(self) -> None:
        for line in sys.stdin:
            self._commands.put(line)

    def _obey(self) -> None:
        while True:
            try:
                command = json.loads(self._commands.get_nowait())
            except queue.Empty:
                return
            except ValueError as error:
                emit('answer', ok=False, text=f'not JSON: {error}')
                continue
            self._execute(command)

    def _execute(self, command: dict[str, Any]) -> None:
        if 'goal' in command:
            self._send_goal(*command['goal'])
        elif 'emergency_stop' in command:
            self._stop_out.publish(Bool(data=bool(command['emergency_stop'])))
        elif 'teleop' in command:
            v, w = command['teleop']
            # Unstamped (zero): this process does not follow the clock of the loop.
            self._teleop_out.publish(convert.twist_message(Command(float(v), float(w)), 0, '',
                                                           True))
        elif 'call' in command:
            client: Any = self.create_client(Trigger, command['call'])
            if not client.wait_for_service(timeout_sec=5.0):
                emit('answer', ok=False, text=f'no service {command["call"]}')
                return
            client.call_async(Trigger.Request()).add_done_callback(
                lambda f: emit('answer', ok=f.result().success, text=f.result().message))
        elif 'record' in command and self._recorder is not None:
            emit('record', **self._recorder.since(int(command['record'])))
        elif 'set' in command:
            self._set(**command['set'])
        elif 'finish' in command:
            self._finish_later()
        else:
            emit('answer', ok=False, text=f'unknown command {sorted(command)}')

    def _set(self, node: str, name: str, value: Any) -> None:
        client: Any = AsyncParameterClient(self, node)
        if not client.wait_for_services(timeout_sec=5.0):
            emit('answer', ok=False, text=f'no node {node}')
            return
        client.set_parameters([Parameter(name, value=value)]).add_done_callback(
            lambda f: emit('answer', ok=f.result().results[0].successful,
                           text=f.result().results[0].reason))

    def _finish_later(self) -> None:
        self._goals = []
        self.create_timer(FLUSH, self._done, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _done(self) -> None:
        if self.finished.done():
            return
        latencies = self._book.end_to_end()
        published, missed = self._book.observations()
        emit('done', latency_ms=summary(latencies), latencies=[round(v, 3) for v in latencies],
             stages_ms={name: summary(v) for name, v in self._book.stages().items()},
             missed_observations=len(missed), published_observations=published,
             interventions=self._interventions, contacts=self._contacts, reached=self._reached,
             track=list(self._track))
        self.finished.set_result(None)


def parse_goals(text: str) -> list[tuple[float, float]]:
    """Goals from `x,y;x,y`, m in odom."""
    goals = []
    for item in filter(None, text.split(';')):
        x, y = (float(v) for v in item.split(','))
        goals.append((x, y))
    return goals


def main() -> int:
    """Run the observer until its goals are done or it is told to finish."""
    parser = argparse.ArgumentParser(prog='observer', description=__doc__.splitlines()[0])
    parser.add_argument('--goals', default='', help='goals in odom, "x,y;x,y;..."')
    parser.add_argument('--timeout', type=float, default=60.0, help='seconds a goal may take')
    parser.add_argument('--frames', type=Path, help='folder for pictures')
    parser.add_argument('--frame-id', default='odom', help='frame of the goals')
    parser.add_argument('--record', action='store_true', help='keep when commands arrive')
    parser.add_argument('--keep', type=int, help='observations and poses that are kept for the '
                        'status and `done`, the newest ones (default: all)')
    arguments, rest = parser.parse_known_args()
    rclpy.init(args=[sys.argv[0], *rest])
    node = Observer(parse_goals(arguments.goals), arguments.timeout, arguments.frames,
                    arguments.frame_id, arguments.record, arguments.keep)
    spinner = executor()
    spinner.add_node(node)
    try:
        while rclpy.ok() and not node.finished.done():
            spinner.spin_until_future_complete(node.finished, 1e6)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""Shows the loop in the browser, live or from a bag; see bringup/view.py and viewing/."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import rerun as rr
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from karpathy_control.bags.reading import read_bag
from karpathy_control.bringup.dds import own_ports
from karpathy_control.bringup.environment import bound
from karpathy_control.bringup.robots import RobotProfile, load_profile, tool_arguments, topic_of
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.interfaces import node_of, type_of
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.qos import message_type, profile, topic
from karpathy_control.nodes.spin import EXIT_REFUSED, asked_to_end, executor
from karpathy_control.viewing import scene
from karpathy_control.viewing.page import Page

APPLICATION = 'karpathy_control'
TRAIL = 3000  # places
TRAIL_STEP = 0.03  # m from one to the next
CALENDAR = 10**17  # ns: stamps beyond are dates, below they are simulated time
# At most so often, Hz of stamps; what is not named here is drawn whenever it comes.
RATES = {'camera/image_raw': 10.0, 'observation/scan': 10.0, 'perception/scan': 10.0,
         'observation/depth_points': 10.0, 'perception/entities': 10.0, 'odom': 20.0,
         'cmd_vel': 20.0, 'policy/path': 10.0, 'control/state': 5.0}


# By whose stamps the others are placed: some have none, some are stamped by the wall.
STAMPED = ('odom', 'camera/image_raw', 'observation/scan')


class Drawing:
    """Turns messages of the loop, by topic, into what the viewer shows."""

    def __init__(self, stream: rr.RecordingStream, namespace: str = '') -> None:
        """`namespace` ('' or absolute) is that of the robot: /diagnostics has all of them."""
        self._stream, self._namespace = stream, namespace
        self._time = 0  # ns: the newest stamp, which those without one share
        self._dated: bool | None = None
        self._drawn: dict[str, int] = {}
        self._trail: deque[tuple[float, float]] = deque(maxlen=TRAIL)
        self._mode = ''
        self.drawn = self.refused = 0
        self._makers: dict[str, Callable[[Any], scene.Logs]] = {
            'camera/image_raw': lambda m: scene.image(convert.raw_image(m).pixels),
            'odom': self._odom,
            'observation/scan': lambda m: scene.scan('lidar', convert.layout_scan(m)),
            'perception/scan': lambda m: scene.scan('camera', convert.layout_scan(m)),
            'observation/depth_points':
                lambda m: scene.depth(clouds.depth_points(m, (0.0, 0.0))),
            'perception/entities': lambda m: scene.entities(clouds.entities_table(m)),
            'policy/path': lambda m: scene.path(convert.path_points(m)),
            'policy/costmap': self._costmap,
            'policy/action': lambda m: scene.command('proposed', convert.command(m)[0]),
            'cmd_vel': lambda m: scene.command('applied', convert.command(m)[0]),
            'control/goal': lambda m: scene.goal(
                convert.position(m) if m.header.frame_id else None),
            'control/state': self._state,
            'control/markers': self._markers,
            '/diagnostics': self._diagnostics,
        }
        self.topics = tuple(self._makers)

    def draw(self, name: str, message: Any) -> None:
        """Draw a message of a topic of the interface table, unless one was drawn just before."""
        if name in STAMPED:
            self._time = convert.stamp_ns(message.header)
        elif not self._time:
            return  # when is not known yet
        rate = RATES.get(name, 0.0)
        before = self._drawn.get(name)
        if rate and before is not None and 0 <= self._time - before < 0.9e9 / rate:
            return
        self._drawn[name] = self._time
        try:
            logs = self._makers[name](message)
        except convert.InvalidMessage:
            self.refused += 1
            return
        if self._dated is None:
            self._dated = self._time > CALENDAR
        if self._dated:
            self._stream.set_time('time', timestamp=self._time * 1e-9)
        else:
            self._stream.set_time('time', duration=self._time * 1e-9)
        for path, archetype in logs:
            self._stream.log(path, archetype)
        self.drawn += 1

    def _odom(self, message: Any) -> scene.Logs:
        state = convert.state(message)
        logs = scene.pose(state)
        here = state.x, state.y
        if not self._trail or np.hypot(*np.subtract(here, self._trail[-1])) >= TRAIL_STEP:
            self._trail.append(here)
            logs += scene.trail(self._trail)
        return logs

    def _costmap(self, message: Any) -> scene.Logs:
        info = message.info
        cells = np.array(message.data, np.int8).reshape(info.height, info.width)
        return scene.grid(cells, info.resolution,
                          (info.origin.position.x, info.origin.position.y))

    def _state(self, message: Any) -> scene.Logs:
        logs = scene.state(message.message, {item.key: item.value for item in message.values})
        if message.message != self._mode:
            self._mode = message.message
            logs += scene.mode(self._mode)
        return logs

    def _markers(self, message: Any) -> scene.Logs:
        """The first outline is the footprint in base, the others are in odom; see control."""
        strips = [np.array([(p.x, p.y, p.z) for p in marker.points]) for marker in message.markers]
        if not strips:
            return []
        colour = message.markers[0].color
        rgb = round(255 * colour.r), round(255 * colour.g), round(255 * colour.b)
        return [*scene.outlines('odom/base/footprint', strips[:1], rgb),
                *scene.outlines('odom/braking', strips[1:], rgb)]

    def _diagnostics(self, message: Any) -> scene.Logs:
        logs: scene.Logs = []
        for status in message.status:
            node = node_of(status.name, self._namespace)
            for item in status.values:
                if node and item.key == 'stage_ms.p50':
                    logs += scene.latency(node, float(item.value))
        return logs


class Viewer(Node):
    """Hears the loop and draws it."""

    def __init__(self, drawing: Drawing, stamped: bool, seconds: float) -> None:
        """`stamped`: whether the robot's commands are TwistStamped, else Twist."""
        super().__init__('viewer')
        self.finished: Future[None] = Future()
        self._end = time.monotonic() + seconds
        for name in drawing.topics:
            row = topic(name)
            self.create_subscription(message_type(type_of(name, stamped)), name,
                                     lambda message, name=name: drawing.draw(name, message),
                                     profile(row.qos))
        self.create_timer(0.5, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def finish(self) -> None:
        """End the spinning."""
        if not self.finished.done():
            self.finished.set_result(None)

    def _tick(self) -> None:
        if time.monotonic() > self._end:
            self.finish()


def show_bag(drawing: Drawing, folder: Path, robot: RobotProfile, namespace: str) -> None:
    """Draw every message of a bag that is of a topic of the robot.

    Raises ConfigError where there is none, naming the topics that there are.
    """
    known = {topic_of(robot, namespace, name): name for name in drawing.topics}
    others = set()
    for message in read_bag(folder):
        name = known.get(message.topic)
        if name is None or message.type not in (type_of(name, True), type_of(name, False)):
            others.add(message.topic)
            continue
        drawing.draw(name, deserialize_message(message.data, message_type(message.type)))
    if not drawing.drawn:
        raise ConfigError(f'{folder}: no topic of the loop in namespace {namespace or "/"!r}; it '
                          f'holds {", ".join(sorted(others)) or "no message"}')


def main(argv: Sequence[str] | None = None) -> int:
    """Show until SIGINT, SIGTERM or the time is up; the last line is JSON."""
    parser = argparse.ArgumentParser(prog='viewer', description=__doc__)
    parser.add_argument('--bag', type=Path)
    parser.add_argument('--save', type=Path)
    parser.add_argument('--host', required=True)
    parser.add_argument('--port', type=int, required=True)
    parser.add_argument('--memory', required=True)
    parser.add_argument('--namespace', required=True)
    parser.add_argument('--robot', required=True)
    parser.add_argument('--seconds', type=float, required=True)
    parser.add_argument('--no-page', action='store_true')
    a = parser.parse_args(argv)
    try:
        return _run(a)
    except ConfigError as error:
        print(f'view: {error}', file=sys.stderr)
        return EXIT_REFUSED


def _run(a: argparse.Namespace) -> int:
    robot = load_profile(a.robot)
    asked = asked_to_end()
    stream = rr.RecordingStream(APPLICATION)
    with contextlib.ExitStack() as stack:
        sinks: list[Any] = [] if a.save is None else [rr.FileSink(str(a.save))]
        url = ''
        if not a.no_page:
            page = stack.enter_context(Page(a.host, a.port, a.memory, bound()))
            sinks.append(rr.GrpcSink(page.stream))
            url = page.url
        stream.set_sinks(*sinks, default_blueprint=scene.blueprint())
        drawing = Drawing(stream, a.namespace)
        if url:
            print(f'open {url} (Ctrl-C ends)', flush=True)
        if a.bag is not None:
            show_bag(drawing, a.bag, robot, a.namespace)
            stream.flush()
            end = time.monotonic() + (a.seconds if url else 0.0)
            while not asked.done() and time.monotonic() < end:
                time.sleep(0.1)
        else:
            _live(drawing, a, robot, asked)
        stream.flush()
    print(json.dumps({'drawn': drawing.drawn, 'refused': drawing.refused, 'page': url,
                      'save': str(a.save or '')}))
    return 0


def _live(drawing: Drawing, a: argparse.Namespace, robot: RobotProfile, asked: Future[None]
          ) -> None:
    rclpy.init(args=['viewer', *tool_arguments(robot, a.namespace)],
               signal_handler_options=SignalHandlerOptions.NO)
    with own_ports():
        node = Viewer(drawing, robot.stamped_cmd_vel, a.seconds)
    asked.add_done_callback(lambda future: node.finish())
    spinner = executor()
    spinner.add_node(node)
    while not node.finished.done():  # bounded, see spin.spin
        spinner.spin_until_future_complete(node.finished, 1e6)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())

"""Writes topics to a bag as they come, without a look inside; see bringup/record.py."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from karpathy_control.bags.recording import MB, BagWriter, Offered, definition
from karpathy_control.bringup.dds import own_ports
from karpathy_control.bringup.robots import load_profile, tool_arguments
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.interfaces import Qos, Topic, type_of
from karpathy_control.nodes.qos import message_type, profile, topic
from karpathy_control.nodes.spin import EXIT_REFUSED, asked_to_end, executor

FLUSH = 0.5  # s: what is older than this is whole on disk
DEPTH = 200  # messages of a topic that may wait while the disk is busy
EXIT_FULL = 1  # the disk was


class BagRecorder(Node):
    """Hears topics of the interface table and hands their bytes to the bag."""

    def __init__(self, bag: BagWriter, rows: Sequence[Topic], stamped: bool, seconds: float
                 ) -> None:
        """`stamped`: whether the robot's commands are TwistStamped, else Twist."""
        super().__init__('recorder')
        self.finished: Future[str] = Future()  # empty, or why it could not go on
        self._bag = bag
        self._end = time.monotonic() + seconds
        for row in rows:
            kind = type_of(row.name, stamped)
            definition(kind)  # not when the first message comes
            qos = profile(row.qos)
            qos.depth = 1 if row.qos is Qos.LATCHED else DEPTH
            offered = Offered(qos.reliability == ReliabilityPolicy.RELIABLE,
                              qos.durability == DurabilityPolicy.TRANSIENT_LOCAL, qos.depth)
            name = self.resolve_topic_name(row.name)
            self.create_subscription(message_type(kind), row.name,
                                     self._keeper(name, kind, offered), qos, raw=True)
        self.create_timer(FLUSH, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def finish(self, why: str = '') -> None:
        """End the recording, for a reason or without one."""
        if not self.finished.done():
            self.finished.set_result(why)

    def _keeper(self, name: str, type_name: str, offered: Offered) -> Callable[[Any], None]:
        def keep(data: Any) -> None:
            if not self.finished.done():
                try:
                    self._bag.write(name, type_name, offered, time.time_ns(), bytes(data))
                except OSError as error:
                    self.finish(str(error))
        return keep

    def _tick(self) -> None:
        if not self.finished.done():
            try:
                self._bag.flush()
            except OSError as error:
                self.finish(str(error))
                return
            if time.monotonic() > self._end:
                self.finish()


def main(argv: Sequence[str] | None = None) -> int:
    """Record until SIGINT, SIGTERM or the time is up; the last line is JSON.

    Exit status 1 where the disk was full, 2 for what is not accepted.
    """
    parser = argparse.ArgumentParser(prog='recorder', description=__doc__)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--topics', required=True, help='comma list')
    parser.add_argument('--seconds', type=float, required=True)
    parser.add_argument('--most-mb', type=int, required=True)
    parser.add_argument('--file-mb', type=int, required=True)
    parser.add_argument('--namespace', required=True)
    parser.add_argument('--robot', required=True)
    a = parser.parse_args(argv)
    try:
        robot = load_profile(a.robot)
        rows = [topic(name) for name in a.topics.split(',')]
        bag = BagWriter(a.out, a.most_mb * MB, a.file_mb * MB)
    except (ConfigError, KeyError, OSError) as error:
        print(f'record: {error}', file=sys.stderr)
        return EXIT_REFUSED
    rclpy.init(args=['recorder', *tool_arguments(robot, a.namespace)],
               signal_handler_options=SignalHandlerOptions.NO)
    with own_ports():
        node = BagRecorder(bag, rows, robot.stamped_cmd_vel, a.seconds)

    asked_to_end().add_done_callback(lambda asked: node.finish())
    print(f'recording {len(rows)} topics to {a.out}', flush=True)
    spinner = executor()
    spinner.add_node(node)
    while not node.finished.done():  # bounded, see spin.spin
        spinner.spin_until_future_complete(node.finished, 1e6)
    why = node.finished.result() or ''
    node.destroy_node()
    rclpy.try_shutdown()
    try:
        bag.close()
    except OSError as error:
        why = why or str(error)
    if why:
        print(f'record: {why}; what was written before is kept: '
              f'karpathy-control record --recover {a.out}', file=sys.stderr)
    print(json.dumps({'out': str(a.out), 'messages': sum(bag.messages.values()),
                      'topics': dict(sorted(bag.messages.items())), 'error': why}))
    return EXIT_FULL if why else 0


if __name__ == '__main__':
    sys.exit(main())

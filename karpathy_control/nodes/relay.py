"""The floor of the loop's latency: bare rclpy processes that pass messages of the same sizes on.

`relay --inbound A --outbound B --bytes N` sends N bytes with the inbound stamp for each message.
`relay --source A --sink B --bytes N --seconds S` drives such a chain at 20 Hz and prints the
round trip as one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image

from karpathy_control.contracts.interfaces import Qos
from karpathy_control.nodes import convert
from karpathy_control.nodes.latency import MS, summary
from karpathy_control.nodes.qos import profile
from karpathy_control.nodes.spin import executor

RATE = 20.0  # Hz
WARM_UP = 1.0  # s


def _payload(size: int, stamp: int) -> Image:
    return convert.image_message(np.zeros((1, size), np.uint8), stamp, '', 'mono8')


class Relay(Node):
    """Passes every message on, with a payload of its own size."""

    def __init__(self, inbound: str, outbound: str, size: int) -> None:
        super().__init__('relay_' + outbound.replace('/', '_'))
        self._out = self.create_publisher(Image, outbound, profile(Qos.LATEST))
        self._size = size
        self.create_subscription(Image, inbound, self._pass_on, profile(Qos.LATEST))

    def _pass_on(self, message: Image) -> None:
        self._out.publish(_payload(self._size, convert.stamp_ns(message.header)))


class RoundTrip(Node):
    """Feeds the chain and takes the time until each stamp comes back."""

    def __init__(self, source: str, sink: str, size: int, seconds: float) -> None:
        super().__init__('round_trip')
        self.finished: Future[None] = Future()
        self.latencies: list[float] = []
        self._size, self._end = size, time.monotonic() + seconds + WARM_UP
        self._from = time.monotonic_ns() + round(WARM_UP * 1e9)
        self._out = self.create_publisher(Image, source, profile(Qos.LATEST))
        self.create_subscription(Image, sink, self._arrived, profile(Qos.LATEST))
        self.create_timer(1.0 / RATE, self._send, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _send(self) -> None:
        if time.monotonic() > self._end and not self.finished.done():
            self.finished.set_result(None)
        self._out.publish(_payload(self._size, time.monotonic_ns()))

    def _arrived(self, message: Image) -> None:
        stamp = convert.stamp_ns(message.header)
        if stamp >= self._from:
            self.latencies.append((time.monotonic_ns() - stamp) * MS)


def main() -> int:
    """Run a relay or the two ends of the chain."""
    parser = argparse.ArgumentParser(prog='relay', description=__doc__.splitlines()[0])
    for name in ('inbound', 'outbound', 'source', 'sink'):
        parser.add_argument(f'--{name}')
    parser.add_argument('--bytes', type=int, required=True)
    parser.add_argument('--seconds', type=float, default=10.0)
    a = parser.parse_args()
    rclpy.init(args=sys.argv[:1])
    ends = RoundTrip(a.source, a.sink, a.bytes, a.seconds) if a.source else None
    node = ends or Relay(a.inbound, a.outbound, a.bytes)
    spinner = executor()
    spinner.add_node(node)
    never: Future[None] = Future()
    try:
        while rclpy.ok() and not (ends and ends.finished.done()):
            spinner.spin_until_future_complete(ends.finished if ends else never, 1e6)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    if ends:
        print(json.dumps({'count': len(ends.latencies), **summary(ends.latencies)}), flush=True)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())

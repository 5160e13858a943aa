"""The one way in which every node process starts, spins and ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from karpathy_control.bringup.dds import own_ports
from karpathy_control.contracts.card import WeightsError
from karpathy_control.contracts.config import ConfigError

if TYPE_CHECKING:
    from karpathy_control.nodes.base import LoopNode

EXIT_REFUSED = 2  # wrong parameters, weights or configuration: a restart cannot cure it


class ConfigureError(RuntimeError):
    """A node could not be configured or activated; the text says why."""


def executor() -> Executor:
    """The cheapest executor that this rclpy has."""
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def asked_to_end() -> Future[None]:
    """Done once SIGINT or SIGTERM has come, which from now on do nothing else.

    rclpy's own handlers would shut the context down first, and the last zero of `control` could
    not be published any more. A second signal (a terminal sends one to the whole group, the
    launcher another) changes nothing.
    """
    asked: Future[None] = Future()

    def ask(number: int, frame: FrameType | None) -> None:
        if not asked.done():
            asked.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return asked


def spin(nodes: Sequence[LoopNode]) -> None:
    """Spin until SIGINT, SIGTERM or shutdown.

    EventsExecutor.spin() waits without bound, which overflows a deadline in some builds and then
    burns a core while it delivers nothing; a bounded wait does not.
    """
    asked = asked_to_end()
    spinner = executor()
    for node in nodes:
        spinner.add_node(node)
    while rclpy.ok() and not asked.done():
        spinner.spin_until_future_complete(asked, 1e6)


def run(factories: Sequence[Callable[[], LoopNode]], args: list[str] | None = None) -> int:
    """Build the nodes, start each by its own `start()`, spin, and return the exit status.

    0 after Ctrl-C or SIGTERM; 2 where a node refuses its configuration (reason on stderr).
    """
    if os.environ.get('ROS_PYTHON_CHECK_FIELDS') != '1':
        print('ROS_PYTHON_CHECK_FIELDS is not 1: a wrong field type would be sent as garbage; '
              'start through `karpathy-control up`, the launch file, or set it', file=sys.stderr)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[LoopNode] = []
    status = 0
    try:
        with own_ports():
            for factory in factories:
                nodes.append(factory())
        for node in nodes:
            node.start()
        spin(nodes)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ConfigError, WeightsError, ConfigureError, FileNotFoundError) as error:
        print(f'refused: {error}', file=sys.stderr)
        status = EXIT_REFUSED
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for node in reversed(nodes):
            node.stop()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    return status

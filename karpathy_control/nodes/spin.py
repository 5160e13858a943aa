"""The one way in which every node process starts, spins and ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.task import Future

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


def spin(nodes: Sequence[LoopNode]) -> None:
    """Spin until shutdown.

    EventsExecutor.spin() waits without bound, which overflows a deadline in some builds and then
    burns a core while it delivers nothing; a bounded wait on a future that never comes does not.
    """
    spinner = executor()
    for node in nodes:
        spinner.add_node(node)
    while rclpy.ok():
        spinner.spin_until_future_complete(Future(), 1e6)


def run(factories: Sequence[Callable[[], LoopNode]], args: list[str] | None = None) -> int:
    """Build the nodes, start each by its own `start()`, spin, and return the exit status.

    0 after Ctrl-C or SIGTERM; 2 where a node refuses its configuration (reason on stderr).
    """
    if os.environ.get('ROS_PYTHON_CHECK_FIELDS') != '1':
        print('ROS_PYTHON_CHECK_FIELDS is not 1: a wrong field type would be sent as garbage; '
              'start through `karpathy-control up`, the launch file, or set it', file=sys.stderr)
    rclpy.init(args=args)
    nodes: list[LoopNode] = []
    status = 0
    try:
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
        # A terminal sends SIGINT to the whole group and the launcher sends it again: the second
        # one must not break the shutdown.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for node in reversed(nodes):
            node.stop()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    return status

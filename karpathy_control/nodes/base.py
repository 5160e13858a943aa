"""What every node of the loop shares: lifecycle, parameters, the interface table, diagnostics."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher

from karpathy_control.contracts.card import WeightsError
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.interfaces import prefixed, status_name
from karpathy_control.nodes.convert import FrameGuard, InvalidMessage
from karpathy_control.nodes.journaling import NodeJournal
from karpathy_control.nodes.params import NodeParameters
from karpathy_control.nodes.qos import message_type, profile, topic
from karpathy_control.nodes.spin import ConfigureError

T = TypeVar('T')

DIAGNOSTICS_PERIOD = 1.0  # s, steady
STAGE_HISTORY = 512  # stamps kept between two diagnostics: 20 Hz at 25 times real time


def steady() -> int:
    """CLOCK_MONOTONIC in ns: the clock of safety timers and of latency across processes."""
    return time.monotonic_ns()


class StageLog:
    """When each stamp entered and left this node, in CLOCK_MONOTONIC ns."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, int, int]] = deque(maxlen=STAGE_HISTORY)

    def add(self, stamp: int, entered: int, left: int) -> None:
        """Record one stamp."""
        self._entries.append((stamp, entered, left))

    def drain(self) -> dict[str, str]:
        """What came since the last call: `stages` has `stamp:entered:left` joined by spaces."""
        values = {'stages': ' '.join(f'{s}:{a}:{b}' for s, a, b in self._entries)}
        spans = sorted((left - entered) * 1e-6 for _, entered, left in self._entries)
        if spans:
            values['stage_ms.p50'] = f'{spans[len(spans) // 2]:.2f}'
            values['stage_ms.max'] = f'{spans[-1]:.2f}'
        self._entries.clear()
        return values


class LoopNode(LifecycleNode, Generic[T]):
    """A lifecycle node with typed parameters that configures and activates itself.

    Subclasses name `CONFIG`, build in `build()`, and may override `activated`, `deactivated`,
    `reconfigured` and `diagnostics`.
    """

    NAME = ''
    CONFIG: type

    def __init__(self) -> None:
        super().__init__(self.NAME)
        self.active = False
        self.invalid: dict[str, int] = {}
        self.heard: set[str] = set()  # topics that anything has come on
        self.stages = StageLog()
        self.journal: NodeJournal | None = None  # of a node that can be replayed; made by build
        self._why = ''
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        try:
            self._typed: NodeParameters[T] = NodeParameters(self, self.CONFIG)
        except ConfigError as error:
            raise ConfigError(f'{self.get_name()}: {error}') from error
        self.add_pre_set_parameters_callback(self._parameters_asked)
        self.add_on_set_parameters_callback(
            lambda parameters: self._typed.check(parameters, self.active))
        self.add_post_set_parameters_callback(self._parameters_set)
        # A plain publisher: diagnostics are wanted most when the node is not active.
        self._diagnostics = self.plain_publisher('/diagnostics')
        self.steady_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics)

    # -- what subclasses fill in --------------------------------------------------------------

    def build(self) -> None:
        """Create runtimes, publishers and subscriptions from `self.config`."""
        raise NotImplementedError

    def activated(self) -> None:
        """Called when the node becomes active."""

    def deactivated(self) -> None:
        """Called when the node stops being active, at shutdown too."""

    def reconfigured(self) -> None:
        """Called after a live parameter change was accepted."""

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """Whether all is well, a summary, and values for /diagnostics."""
        return True, 'active' if self.active else 'inactive', {}

    def stage_logs(self) -> list[tuple[str, StageLog]]:
        """Namespace and stages of each robot that the node serves: a status for each."""
        return [(self.get_namespace(), self.stages)]

    # -- services to subclasses ---------------------------------------------------------------

    @property
    def config(self) -> T:
        """The configuration in force."""
        return self._typed.config

    @property
    def sim_time(self) -> bool:
        """Whether the node runs on /clock."""
        return bool(self.get_parameter('use_sim_time').value)

    def now(self) -> int:
        """The node clock in ns."""
        return int(self.get_clock().now().nanoseconds)

    def publisher(self, name: str, below: str = '') -> Publisher:
        """A lifecycle publisher of a row of the interface table: silent while inactive.

        `below` is the namespace of the robot that it is of, seen from that of this node.
        """
        row = topic(name)
        return self.create_lifecycle_publisher(message_type(row.type), prefixed(below, name),
                                               profile(row.qos))

    def writers(self, name: str) -> int:
        """How many publish a topic, whatever it is mapped to."""
        return self.count_publishers(self.resolve_topic_name(name))

    def plain_publisher(self, name: str, type_name: str = '') -> Publisher:
        """A publisher that also speaks while the node is inactive."""
        row = topic(name)
        return self.create_publisher(message_type(type_name or row.type), name, profile(row.qos))

    def listen(self, name: str, handler: Callable[[Any, int], None], *, always: bool = False,
               type_name: str = '', below: str = '') -> None:
        """Subscribe to a row of the table; the handler gets the message and its receipt (ns).

        `below` as for `publisher`. A message that fails its checks is counted and logged, never
        raised into the executor.
        What a robot sends must stay in one frame: its pose is a parameter, so data from another
        would be put in the wrong place.
        """
        row = topic(name)
        frames = FrameGuard() if row.writer == 'sim' and not row.name.startswith('/') else None

        def callback(message: Any) -> None:
            received = steady()
            self.heard.add(name)
            if not (self.active or always):
                return
            try:
                if frames is not None:
                    frames.check(message)
                handler(message, received)
            except InvalidMessage as error:
                self.on_invalid(name, str(error))

        self.create_subscription(message_type(type_name or row.type), prefixed(below, name),
                                 callback, profile(row.qos))

    def on_invalid(self, source: str, text: str) -> None:
        """Count and report a refused message."""
        self.invalid[source] = self.invalid.get(source, 0) + 1
        self.get_logger().warning(f'{source}: refused: {text}', throttle_duration_sec=1.0)

    def steady_timer(self, period: float, callback: Callable[[], None]) -> Any:
        """A timer on the steady clock, which goes on when /clock stops."""
        return self.create_timer(period, callback, clock=self._steady_clock)

    # -- lifecycle ----------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate, unless a manager does. ConfigureError says what failed."""
        if not getattr(self.config, 'autostart', True):
            return
        if self.trigger_configure() != TransitionCallbackReturn.SUCCESS:
            raise ConfigureError(f'{self.get_name()}: {self._why or "configure failed"}')
        if self.trigger_activate() != TransitionCallbackReturn.SUCCESS:
            raise ConfigureError(f'{self.get_name()}: {self._why or "activate failed"}')

    def stop(self) -> None:
        """Leave the active state before the process ends."""
        self._leave()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Build; a refusal is kept for the exit message and for /diagnostics."""
        try:
            self.build()
        except (ConfigError, WeightsError, FileNotFoundError, RuntimeError, ValueError) as error:
            self._why = str(error)
            self.get_logger().error(f'configure: {error}')
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to act."""
        result = super().on_activate(state)
        self.active = True
        self.activated()
        self.get_logger().info('active')
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop acting."""
        self._leave()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release what `build` made."""
        self._leave()
        self.journal = None
        keep = {id(self._diagnostics)}
        for subscription in list(self.subscriptions):
            if not subscription.topic_name.endswith(('/clock', '/parameter_events')):
                self.destroy_subscription(subscription)
        for publisher in list(self.publishers):
            if id(publisher) not in keep and not publisher.topic_name.endswith(
                    ('/rosout', '/parameter_events', '/transition_event')):
                self.destroy_publisher(publisher)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop acting for good."""
        self._leave()
        return TransitionCallbackReturn.SUCCESS

    def _leave(self) -> None:
        if self.active:
            self.active = False
            self.deactivated()
            if self.journal is not None:
                self.journal.send()

    # -- parameters and diagnostics -----------------------------------------------------------

    def _parameters_asked(self, parameters: list[Parameter]) -> list[Parameter]:
        """Before rclpy's own checks, which answer without a word in the log."""
        parameters = self._typed.widened(parameters)
        result = self._typed.check(parameters, self.active)
        if not result.successful:
            self.get_logger().warning(f'parameter refused: {result.reason}')
        return parameters

    def _parameters_set(self, parameters: list[Parameter]) -> None:
        changes = self._typed.take(parameters)
        if self.journal is not None:
            self.journal.parameters()
        self.reconfigured()
        for change in changes:
            self.get_logger().info(f'parameter {change}')

    def _publish_diagnostics(self) -> None:
        message = DiagnosticArray(status=[self._status(*own) for own in self.stage_logs()])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _status(self, namespace: str, stages: StageLog) -> DiagnosticStatus:
        healthy, summary, values = self.diagnostics()
        status = DiagnosticStatus(name=status_name(namespace, self.get_name()),
                                  hardware_id=namespace, message=self._why or summary)
        status.level = DiagnosticStatus.OK if healthy and not self._why else DiagnosticStatus.WARN
        values = {**values, **stages.drain(),
                  **{f'invalid.{source}': str(n) for source, n in self.invalid.items()}}
        status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        return status


def finite(*values: float) -> bool:
    """Whether all numbers are finite."""
    return all(math.isfinite(value) for value in values)

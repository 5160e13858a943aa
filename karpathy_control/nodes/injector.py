"""The `injector`: sits between a robot's sensors and the loop and applies faults when told to.

    injector --raw raw/ TOPIC [TOPIC ...]

Each TOPIC of the interface table is read from its name with the prefix and passed on, bit by bit,
until a fault is in force. What it is passed on as follows the remappings of this process, so a
robot's own names (bringup.robots.tool_arguments) hold for it. It also plays a second commander.
Standard input takes one JSON object a line, standard output answers in the same form; the end of
the input ends the process:

    {"fault": "frozen", "topics": ["scan"], "amount": 0.4}    see injector_faults.py
    {"command": [0.2, 0.0]}                                   commands on cmd_vel, 10 Hz
    {"clear": true}                                           ends either

Answers: `fault` when it is in force, `altered` with the first message of a topic that the fault
met, `clear`, and `error`; `at` is CLOCK_MONOTONIC in ns.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.task import Future

from karpathy_control.contracts.interfaces import prefixed, type_of
from karpathy_control.contracts.types import Command
from karpathy_control.nodes import convert
from karpathy_control.nodes.base import steady
from karpathy_control.nodes.injector_faults import Fault, Past, begin, named
from karpathy_control.nodes.qos import message_type, profile, topic
from karpathy_control.nodes.spin import executor

POLL_PERIOD = 0.01  # s
COMMAND_PERIOD = 0.1  # s


@dataclass
class _Active:
    """A fault in force on one topic."""

    fault: Fault
    amount: float
    past: Past | None = None


def emit(event: str, **values: Any) -> None:
    """Print one JSON line with the time."""
    print(json.dumps({'event': event, 'at': steady(), **values}), flush=True)


class Injector(Node):
    """Passes messages on, through the fault in force where there is one."""

    def __init__(self, names: list[str], raw: str, stamped: bool = True) -> None:
        super().__init__('injector')
        self._stamped = stamped
        self.finished: Future[None] = Future()
        self._faults: dict[str, _Active] = {}
        self._commands: queue.Queue[str | None] = queue.Queue()
        self._commander: Any = None
        self._commanded = Command()
        self._outputs = {}
        for name in names:
            row = topic(name)
            kind, qos = message_type(row.type), profile(row.qos)
            self._outputs[name] = self.create_publisher(kind, name, qos)
            self.create_subscription(kind, prefixed(raw, name), self._passer(name, kind), qos,
                                     raw=True)
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(POLL_PERIOD, self._obey, clock=clock)
        self.create_timer(COMMAND_PERIOD, self._command, clock=clock)
        threading.Thread(target=self._read, daemon=True).start()

    def _passer(self, name: str, kind: Any) -> Any:
        def receive(data: bytes) -> None:
            active = self._faults.get(name)
            if active is None:
                self._outputs[name].publish(data)
                return
            message = deserialize_message(data, kind)
            if active.past is None:
                active.past = begin(message)
                emit('altered', topic=name)
            else:
                active.past = active.past.then(message)
            try:
                for changed in active.fault(active.past, active.amount):
                    self._outputs[name].publish(changed)
            except ValueError as error:
                del self._faults[name]
                emit('error', text=f'{name}: {error}')
        return receive

    def _read(self) -> None:
        for line in sys.stdin:
            self._commands.put(line)
        self._commands.put(None)

    def _obey(self) -> None:
        while not self._commands.empty():
            line = self._commands.get()
            if line is None:
                self.finished.set_result(None)
                return
            try:
                self._execute(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                emit('error', text=str(error))

    def _execute(self, command: dict[str, Any]) -> None:
        if 'fault' in command:
            fault, amount = named(command['fault'])
            unknown = set(command['topics']) - set(self._outputs)
            if unknown:
                raise ValueError(f'topics {sorted(unknown)} are not passed on here; it takes '
                                 + ', '.join(self._outputs))
            amount = float(command.get('amount', amount))
            self._faults = {name: _Active(fault, amount) for name in command['topics']}
            emit('fault', fault=command['fault'], topics=command['topics'])
        elif 'command' in command:
            v, w = command['command']
            self._commanded = Command(float(v), float(w))
            row = topic('cmd_vel')
            self._commander = self.create_publisher(message_type(type_of(row.name, self._stamped)),
                                                    row.name, profile(row.qos))
            self._command()
            emit('fault', fault='command', topics=['cmd_vel'])
        elif 'clear' in command:
            self._faults = {}
            if self._commander is not None:
                self.destroy_publisher(self._commander)
                self._commander = None
            emit('clear')
        else:
            raise ValueError(f'unknown command {sorted(command)}; it takes fault, command or '
                             'clear')

    def _command(self) -> None:
        if self._commander is not None:
            self._commander.publish(convert.twist_message(self._commanded, 0, 'base_link',
                                                          self._stamped))


def main() -> int:
    """Pass on until the input ends."""
    parser = argparse.ArgumentParser(prog='injector', description=__doc__.splitlines()[0])
    parser.add_argument('topics', nargs='+', help='topics of the interface table to pass on')
    parser.add_argument('--raw', default='raw/', help='prefix of the topics to read')
    parser.add_argument('--twist', action='store_true', help='commands are Twist, not stamped')
    arguments, rest = parser.parse_known_args()
    rclpy.init(args=[sys.argv[0], *rest])
    node = Injector(arguments.topics, arguments.raw, not arguments.twist)
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

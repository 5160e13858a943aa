"""Parameters that are set while the robot drives: in force at once, or refused, and logged."""

import os
import subprocess
import sys
import threading
import time

import pytest
from conftest import moving

from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.config import ControlConfig

pytestmark = pytest.mark.ros

ROBOT = ControlConfig().robot
SLACK = 0.1  # s from a tick of control to the observer: two ticks, transport and a busy machine

# Somebody else's node: what it hears on /rosout of control and policy goes out line by line.
LOG = """
import rclpy
from rcl_interfaces.msg import Log
from rclpy.qos import DurabilityPolicy, QoSProfile
rclpy.init()
node = rclpy.create_node('reader')
kept = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
def hear(m):
    if m.name in ('control', 'policy'):
        print(f'{m.name}: {m.msg}', flush=True)
node.create_subscription(Log, '/rosout', hear, kept)
rclpy.spin(node)
"""
GET = """
import sys, rclpy
from rclpy.parameter import parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
rclpy.init()
node = rclpy.create_node('asker')
client = AsyncParameterClient(node, sys.argv[1])
assert client.wait_for_services(timeout_sec=20.0)
answer = client.get_parameters([sys.argv[2]])
rclpy.spin_until_future_complete(node, answer, timeout_sec=20.0)
print(parameter_value_to_python(answer.result().values[0]))
"""


class LogReader:
    """Lines of /rosout as they come."""

    def __init__(self):
        self._process = subprocess.Popen([sys.executable, '-c', LOG], stdout=subprocess.PIPE,
                                         text=True, env={**os.environ, **environment('local')})
        self._lines, self._more = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            with self._more:
                self._lines.append(line.strip())
                self._more.notify_all()

    def wait_for(self, *parts):
        """The first line with all the parts."""
        def find():
            return next((x for x in self._lines if all(p in x for p in parts)), None)
        with self._more:
            assert self._more.wait_for(find, 10.0), (parts, self._lines)
            return find()

    def close(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def log(domain):
    reader = LogReader()
    yield reader
    reader.close()


def get(node, name):
    """A parameter as another node reads it."""
    return subprocess.run([sys.executable, '-c', GET, node, name], capture_output=True, text=True,
                          check=True, timeout=60,
                          env={**os.environ, **environment('local')}).stdout.strip()


def put(running, node, name, value):
    return running.answer(set={'node': node, 'name': name, 'value': value})


def commands(running, since):
    """Forward speeds (steady s, m/s) that came on cmd_vel since a steady time in ns."""
    running.observer.send(record=since)
    record = running.observer.wait_for(lambda e: e['event'] == 'record', 10.0, 'record')
    return [(at * 1e-9, v) for at, v, _ in record['commands']]


def test_half_the_speed_limit_holds_for_every_later_command(loop, log):
    running = loop(observer=['--record'], world_family='open')
    goals = running.goals()
    farthest = max(goals, key=lambda p: p[0] ** 2 + p[1] ** 2)
    running.drive(farthest)
    running.wait(lambda e: (e['v'] or 0.0) > 0.8 * ROBOT.max_speed, 20.0, 'a fast robot')

    # Out of range is refused by name, value and range; not live, with what to do. Nothing changes.
    for node in ('control', 'policy'):
        answer = put(running, node, 'robot.max_speed', 9.0)
        assert not answer['ok']
        for part in ('robot.max_speed', '9.0', '0.05', '4.0'):
            assert part in answer['text']
        log.wait_for(f'{node}: parameter refused: robot.max_speed: 9.0 is out of range; it takes '
                     'float in [0.05, 4]')
        assert get(node, 'robot.max_speed') == str(ROBOT.max_speed)
    answer = put(running, 'control', 'robot.height', 0.6)
    assert not answer['ok'] and 'robot.height cannot change while' in answer['text']
    running.observer.send(goal=goals[0])  # the reading took its time
    running.wait(lambda e: (e['v'] or 0.0) > 0.8 * ROBOT.max_speed, 20.0, 'as fast as before')

    limit = 0.5 * ROBOT.max_speed
    before = time.monotonic_ns()
    assert put(running, 'control', 'robot.max_speed', limit)['ok']
    answered = time.monotonic()
    for _ in range(20):  # the policy goes on to propose more, which the gate takes back
        running.wait(moving, 5.0, 'driving on')
    sent = commands(running, before)
    fastest = max(v for at, v in sent if at <= answered)
    assert fastest > limit  # otherwise nothing had to change
    # Braking from there at the limit of the robot, 0.24 s for half of 1.2 m/s at 2.5 m/s^2.
    for at, v in sent:
        ramp = fastest - ROBOT.deceleration * max(at - answered - SLACK, 0.0)
        assert v <= max(limit, ramp) + 1e-9, (at - answered, v)
    after = [v for at, v in sent if at > answered + SLACK + limit / ROBOT.deceleration]
    assert len(after) > 50 and 0.8 * limit < max(after) <= limit + 1e-9
    assert put(running, 'policy', 'robot.max_speed', limit)['ok']
    for node in ('control', 'policy'):
        log.wait_for(f'{node}: parameter robot.max_speed: {ROBOT.max_speed} -> {limit}')


def test_a_margin_and_a_rate_change_while_driving(loop, log):
    running = loop()
    running.drive()
    assert put(running, 'policy', 'replan_every', 2)['ok']
    log.wait_for('policy: parameter replan_every: 4 -> 2')
    answer = put(running, 'policy', 'replan_every', 0)
    assert not answer['ok'] and all(part in answer['text'] for part in ('0', '1', '100'))
    running.wait(moving, 10.0, 'driving on')

    assert put(running, 'control', 'gate.margin', 0)['ok']  # 0 for 0.0
    log.wait_for('control: parameter gate.margin: 0.04 -> 0.0')
    answer = put(running, 'control', 'gate.margin', 9.0)
    assert not answer['ok'] and all(part in answer['text'] for part in ('9.0', '0.0', '0.5'))
    assert get('control', 'gate.margin') == '0.0'
    # Half a metre all round is more than the posts leave: the gate holds back what is proposed.
    assert put(running, 'control', 'gate.margin', 0.5)['ok']
    running.wait(lambda e: {'gate_limited', 'gate_braking'} & set(e['reasons'])
                 and (e['v'] or 0.0) < 0.1, 20.0, 'a robot that finds no gap wide enough')

"""What people may do while the loop runs: goals, cancel, teleop, emergency stop."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import moving, still

from karpathy_control.bringup.environment import environment

pytestmark = pytest.mark.ros


def test_goals_teleop_and_emergency_stop(loop):
    running = loop()
    first, second = running.goals()[:2]
    running.drive(first)

    running.observer.send(goal=second)  # pre-empts
    running.wait(moving, 10.0, 'moving to the second goal')

    assert running.answer(call='cancel_goal')['ok']
    running.wait(lambda e: e['mode'] == 'idle' and 'goal_cancelled' in e['reasons'] and still(e),
                 5.0, 'cancelled and standing')

    running.observer.send(goal=first)
    running.wait(moving, 10.0, 'moving again')
    running.observer.send(emergency_stop=True)
    running.wait(lambda e: e['mode'] == 'emergency_stop' and still(e), 3.0, 'emergency stop')
    running.observer.send(emergency_stop=False)  # releasing the button does not release the latch
    for _ in range(5):
        latched = running.wait(lambda e: True, 2.0, 'status')
        assert latched['mode'] == 'emergency_stop'
    assert running.answer(call='reset_emergency_stop')['ok']
    running.wait(lambda e: e['mode'] != 'emergency_stop', 5.0, 'released')

    running.observer.send(teleop=[0.0, 0.5])
    running.wait(lambda e: e['mode'] == 'teleop', 3.0, 'teleop')
    running.wait(lambda e: e['mode'] != 'teleop', 3.0, 'dead-man')


def test_a_goal_in_an_unknown_frame_is_refused_by_name(loop):
    running = loop(observer=['--frame-id', 'moon'])
    running.wait(lambda e: e['mode'] == 'idle', 60.0, 'idle robot')
    running.observer.send(goal=[1.0, 0.0])
    running.wait(lambda e: 'goal_refused' in e['reasons'], 5.0, 'goal_refused')


SECOND_COMMANDER = """
import sys, rclpy
from geometry_msgs.msg import TwistStamped
rclpy.init()
node = rclpy.create_node('intruder')
publisher = node.create_publisher(TwistStamped, 'cmd_vel', 10)
sys.stdin.read()
"""


def test_a_second_commander_on_cmd_vel_stops_the_robot_while_it_is_there(loop):
    running = loop()
    running.drive()
    intruder = subprocess.Popen([sys.executable, '-c', SECOND_COMMANDER], stdin=subprocess.PIPE,
                                env={**os.environ, **environment('local')})
    try:
        stopped = running.wait(lambda e: 'second_commander' in e['reasons'], 10.0, 'its reason')
        assert stopped['mode'] == 'stopped'
        running.wait(still, 3.0, 'standing')
    finally:
        intruder.communicate(b'')
    running.wait(lambda e: e['mode'] == 'autonomous', 15.0, 'going on')


MAPPED = """
import time, rclpy
from geometry_msgs.msg import TwistStamped
from karpathy_control.nodes.control import ControlNode
rclpy.init(args=['x', '--ros-args', '-r', '__ns:=/one', '-r', 'cmd_vel:=/base/command'])
control = ControlNode()
others = rclpy.create_node('others', use_global_arguments=False)
ours = others.create_publisher(TwistStamped, '/base/command', 10)
theirs = others.create_publisher(TwistStamped, '/one/cmd_vel', 10)
end = time.monotonic() + 20.0
while control.writers('cmd_vel') != 2 and time.monotonic() < end:
    time.sleep(0.02)
print(control.writers('cmd_vel'))
"""


def test_commanders_are_counted_on_the_topic_that_cmd_vel_is_mapped_to():
    done = subprocess.run([sys.executable, '-c', MAPPED], capture_output=True, text=True,
                          check=False,
                          env={**os.environ, **environment('local'), 'ROS_DOMAIN_ID': '101'})
    assert done.stdout.strip() == '2', done.stderr  # its own and ours


LIFECYCLE = """
import sys, rclpy
from lifecycle_msgs.srv import ChangeState
from lifecycle_msgs.msg import Transition
rclpy.init()
node = rclpy.create_node('manager')
client = node.create_client(ChangeState, 'sensor/change_state')
assert client.wait_for_service(30.0)
for transition in map(int, sys.argv[1:]):
    request = ChangeState.Request(transition=Transition(id=transition))
    future = client.call_async(request)
    rclpy.spin_until_future_complete(node, future, timeout_sec=30.0)
    print(transition, future.result().success)
"""


def test_an_external_manager_drives_a_node_that_does_not_start_itself(tmp_path, domain):
    env = {**os.environ, **environment('local')}
    log = tmp_path / 'sensor.log'
    with log.open('w') as out:
        node = subprocess.Popen([sys.executable, '-m', 'karpathy_control.nodes.sensor',
                                 '--ros-args', '-p', 'autostart:=false'], env=env, stdout=out,
                                stderr=subprocess.STDOUT)
    try:
        # configure 1, activate 3, deactivate 4, cleanup 2, and all again after the cleanup
        order = ['1', '3', '4', '2', '1', '3']
        done = subprocess.run([sys.executable, '-c', LIFECYCLE, *order], env=env, timeout=120,
                              capture_output=True, text=True, check=True)
        assert done.stdout.split('\n')[:-1] == [f'{t} True' for t in order]
    finally:
        node.send_signal(signal.SIGINT)
        assert node.wait(20) == 0, log.read_text()
    assert log.read_text().count(': active') == 2

"""NavigateToPose on the driving loop: real action server, client and DDS, see stand_in/."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import moving, still

from karpathy_control.bringup.environment import environment

pytestmark = pytest.mark.ros

HERE = Path(__file__).parent
ABORTED, CANCELED, SUCCEEDED = 6, 5, 4  # of action_msgs/msg/GoalStatus
FAILED, TIMED_OUT = 9000, 9003  # of nav2_msgs/action/NavigateToPose


class Client:
    """The client process."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / 'navigate_client.py')], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, **environment('local')})
        self._events = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self._events.put(json.loads(line))

    def send(self, **command):
        self._process.stdin.write(json.dumps(command) + '\n')

    def wait(self, event, number, seconds=30.0):
        """The next event of that kind and goal."""
        end = time.monotonic() + seconds
        while True:
            found = self._events.get(timeout=max(end - time.monotonic(), 0.01))
            if (found['event'], found['id']) == (event, number):
                return found

    def close(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def client(domain, monkeypatch):
    """Whoever starts from here on finds the stand-in for nav2_msgs."""
    paths = [str(HERE / 'stand_in'), *filter(None, [os.environ.get('PYTHONPATH')])]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
    one = Client()
    yield one
    one.close()


def test_goals_by_action(client, loop):
    running = loop(world_family='open')
    (x, y), (far_x, far_y) = running.goals()[:2]
    client.wait('ready', 0, 90.0)
    running.wait(lambda e: e['mode'] == 'idle', 60.0, 'idle robot')

    # What cannot be done is rejected, and control says why.
    client.send(id=1, x=1.0, y=0.0, frame='moon')
    assert not client.wait('accepted', 1)['ok']
    running.wait(lambda e: "'moon'" in e['values'].get('refused', ''), 5.0, 'the reason')
    client.send(id=2, x=1.0, y=0.0, tree='follow.xml')
    assert not client.wait('accepted', 2)['ok']

    # A goal in base, 1.5 m ahead: feedback, then reached.
    client.send(id=3, x=1.5, y=0.0, frame='base_link')
    assert client.wait('accepted', 3)['ok']
    first, second = client.wait('feedback', 3), client.wait('feedback', 3)
    assert 0.3 < second['distance'] <= first['distance'] + 0.01 <= 1.6
    assert second['time'] > first['time'] >= 0.0 and second['frame'] == 'odom'
    assert client.wait('result', 3)['status'] == SUCCEEDED
    running.wait(lambda e: e['mode'] == 'idle' and 'goal_reached' in e['reasons'], 5.0, 'reached')

    # Pre-empted by another action, and that by a click in rviz, which goes on.
    client.send(id=4, x=x, y=y)
    running.wait(moving, 20.0, 'moving to the first goal')
    client.send(id=5, x=far_x, y=far_y)
    ended = client.wait('result', 4)
    assert (ended['status'], ended['text']) == (ABORTED, 'preempted by a newer goal')
    running.wait(moving, 20.0, 'moving to the second goal')
    running.observer.send(goal=[x, y])
    ended = client.wait('result', 5)
    assert (ended['status'], ended['text']) == (ABORTED, 'preempted by a newer goal')
    running.wait(moving, 20.0, 'moving to the goal of rviz')

    # Cancelled: accepted at once, told as cancelled when the robot stands.
    client.send(id=6, x=far_x, y=far_y)
    running.wait(moving, 20.0, 'moving again')
    client.send(cancel=6)
    assert client.wait('cancelling', 6)['ok']
    assert client.wait('result', 6, 3.0)['status'] == CANCELED
    running.wait(lambda e: 'goal_cancelled' in e['reasons'] and still(e), 2.0, 'standing')

    # 5 m in a second nobody makes: blocked. Then a timeout, set live as well.
    for name, value in (('goal.progress', 5.0), ('goal.blocked_time', 1.0)):
        assert running.answer(set={'node': 'control', 'name': name, 'value': value})['ok']
    client.send(id=7, x=far_x, y=far_y)
    ended = client.wait('result', 7)
    assert (ended['status'], ended['code']) == (ABORTED, FAILED)
    assert ended['text'] == 'blocked: less than 5 m of progress in 1 s'
    for name, value in (('goal.blocked_time', 60.0), ('goal.timeout', 1.0)):
        assert running.answer(set={'node': 'control', 'name': name, 'value': value})['ok']
    client.send(id=8, x=x, y=y)
    ended = client.wait('result', 8)
    assert (ended['status'], ended['code']) == (ABORTED, TIMED_OUT)
    running.wait(lambda e: e['mode'] == 'idle' and still(e), 3.0, 'standing, with no goal left')

"""What people may do while the loop runs: goals, cancel, teleop, emergency stop, parameters."""

import pytest
from conftest import moving, still

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


def test_live_parameters(loop):
    running = loop()
    running.drive()
    answer = running.answer(set={'node': 'control', 'name': 'gate.margin', 'value': 9.0})
    assert not answer['ok'] and '9' in answer['text'], answer
    answer = running.answer(set={'node': 'control', 'name': 'robot.height', 'value': 0.6})
    assert not answer['ok'] and 'active' in answer['text'], answer
    assert running.answer(set={'node': 'control', 'name': 'robot.max_speed', 'value': 0.2})['ok']
    running.wait(lambda e: 0.05 < e['v'] < 0.23, 5.0, 'the new limit to act')
    for _ in range(10):
        assert running.wait(lambda e: True, 2.0, 'status')['v'] < 0.25

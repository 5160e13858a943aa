"""Every node killed, every sensor switched off, the clock stopped: stop or degrade, then go on."""

import signal

import pytest
from conftest import moving, still

pytestmark = pytest.mark.ros


def to_and_fro(loop):
    """A robot that always has somewhere to go: the farthest goal, from wherever it is."""
    goals = loop.goals()
    return max(goals, key=lambda g: g[0] ** 2 + g[1] ** 2)


def test_each_node_killed_in_turn_comes_back_and_the_robot_goes_on(loop):
    running = loop()
    running.drive(to_and_fro(running))
    for name in ('sensor', 'perception', 'policy', 'control'):
        before = running.runner.restarts(name)
        running.wait(moving, 20.0, f'moving before {name} is killed')
        running.runner.kill(name, signal.SIGKILL)
        running.wait(still, 3.0, f'standing after {name} was killed')
        running.wait(lambda e, name=name, n=before + 1: running.runner.restarts(name) == n, 5.0,
                     f'{name} started again')
        running.wait(lambda e: e['mode'] == 'autonomous' or 'goal_reached' in e['reasons'], 30.0,
                     f'back after {name} was killed')
        if 'goal_reached' in running.observer.status['reasons']:
            goals = running.goals()
            here = running.observer.status
            running.observer.send(goal=max(goals, key=lambda g: (g[0] - here['x']) ** 2
                                           + (g[1] - here['y']) ** 2))
    assert running.observer.status['contacts'] == 0


def test_degraded_modes_are_named_and_end(loop):
    running = loop()
    running.drive(to_and_fro(running))

    def switch(sensor, value):
        answer = running.answer(set={'node': 'sim', 'name': f'{sensor}.enabled', 'value': value})
        assert answer['ok'], answer

    switch('camera', False)
    running.wait(lambda e: e['mode'] == 'lidar_only' and 'camera_lost' in e['reasons'], 5.0,
                 'lidar_only')
    switch('camera', True)
    running.wait(lambda e: e['mode'] == 'autonomous', 10.0, 'camera back')
    switch('lidar', False)
    slow = running.wait(lambda e: e['mode'] == 'camera_only' and 'lidar_lost' in e['reasons'], 5.0,
                        'camera_only')
    switch('camera', False)
    running.wait(lambda e: e['mode'] == 'stopped' and 'sensors_lost' in e['reasons'], 5.0,
                 'both lost')
    running.wait(still, 3.0, 'standing without sensors')
    switch('camera', True)
    switch('lidar', True)
    end = running.wait(lambda e: e['mode'] == 'autonomous', 10.0, 'both back')
    assert slow['contacts'] == end['contacts'] == 0


def test_a_stalled_clock_stops_with_its_reason_and_the_loop_recovers(loop):
    running = loop()
    running.drive(to_and_fro(running))
    running.runner.kill('sim', signal.SIGSTOP)
    stopped = running.wait(lambda e: 'clock_stalled' in e['reasons'], 3.0, 'clock_stalled')
    assert stopped['mode'] == 'stopped'
    running.runner.kill('sim', signal.SIGCONT)
    running.wait(lambda e: e['mode'] == 'autonomous', 15.0, 'clock back')


def test_the_end_of_sim_ends_the_run(loop):
    from karpathy_control.bringup.runner import RunError
    running = loop()
    running.wait(lambda e: e['mode'] == 'idle', 60.0, 'idle robot')
    running.runner.kill('sim', signal.SIGKILL)
    with pytest.raises(RunError, match='sim ended with signal SIGKILL') as ended:
        running.wait(lambda e: False, 10.0, 'end of the run')
    assert ended.value.status != 0

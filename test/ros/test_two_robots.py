"""Two robots in one world, each by a loop of its own in a namespace of its own."""

import os
import time

import pytest
from conftest import START

from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.plan import plan
from karpathy_control.bringup.runner import Runner
from karpathy_control.evaluation.client import ObserverClient
from karpathy_control.evaluation.run_data import goals_in_odom
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.places import places

pytestmark = pytest.mark.ros

NAMES = 'a', 'b'
GOALS = 2
RATE_FACTOR = 0.5  # two loops want more than two cores have: in half the time both keep up
TIMEOUT = 60.0  # s for each goal, of wall time


def observer(name, own):
    """One that sends a robot its goals through its own topics."""
    goals = ';'.join(f'{x:.3f},{y:.3f}' for x, y in goals_in_odom(own, GOALS))
    return ObserverClient([f'--goals={goals}', f'--timeout={TIMEOUT}', f'--frame-id={name}/odom',
                           '--ros-args', '-r', f'__ns:=/{name}'],
                          {**os.environ, **environment('local')})


def test_both_reach_their_goals_and_touch_nothing(tmp_path, domain):
    robots = places(generate('mixed', 3), len(NAMES))
    what = plan({'dds_profile': 'local', 'robots': ','.join(NAMES), 'world_family': 'mixed',
                 'seed': '3', 'rate_factor': str(RATE_FACTOR)})
    done = {}
    with Runner(what, tmp_path / 'loop') as runner:
        watchers = {name: observer(name, own)
                    for name, own in zip(NAMES, robots, strict=True)}
        try:
            end = time.monotonic() + START + GOALS * TIMEOUT
            while len(done) < len(watchers) and time.monotonic() < end:
                for name, watcher in watchers.items():
                    runner.poll()
                    if name not in done:
                        for event in watcher.pump(0.1):
                            if event['event'] == 'done':
                                done[name] = event
            said = {name: watcher.status for name, watcher in watchers.items()}
        finally:
            for watcher in watchers.values():
                watcher.close()
    assert set(done) == set(NAMES), said
    for name, own in zip(NAMES, robots, strict=True):
        assert (done[name]['reached'], done[name]['contacts']) == (GOALS, 0), said[name]
        # each track starts where that robot stands in the world, so the topics are its own
        assert done[name]['track'][0][1:3] == pytest.approx((own.start.x, own.start.y), abs=0.05)
        assert done[name]['latency_ms'], 'the stages of this robot alone make its latency'

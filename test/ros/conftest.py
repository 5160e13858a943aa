"""The whole loop as real processes over real DDS, each test in a domain of its own."""

import itertools
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.plan import plan
from karpathy_control.bringup.runner import Runner
from karpathy_control.contracts.geometry import to_frame
from karpathy_control.evaluation.client import Event, ObserverClient, ObserverError
from karpathy_control.worlds.generators import generate

START = 60.0  # s: processes, kernels from the cache, discovery

_domains = itertools.count(1 + os.getpid() % 40)

pytestmark = pytest.mark.ros


class Loop:
    """A running loop with its observer; `wait` keeps the runner polled."""

    def __init__(self, folder: Path, observer: list[str] | None = None, **arguments: str) -> None:
        values = {'world': 'mujoco', 'dds_profile': 'local', 'world_family': 'cylinders',
                  'seed': '3', **arguments}
        self.world = generate(values['world_family'], int(values['seed']))
        self.runner = Runner(plan(values), folder)
        self.observer = ObserverClient(
            observer or [], {**os.environ, **environment(values['dds_profile'])})

    def __enter__(self) -> 'Loop':
        self.runner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.observer.close()
        self.runner.__exit__(None, None, None)

    def goals(self) -> list[list[float]]:
        """The world's goals in odom, which starts at the robot's start."""
        return [list(map(float, p)) for p in to_frame(self.world.goals, self.world.start)]

    def wait(self, accept: Callable[[Event], bool], timeout: float, what: str) -> Event:
        """The first status that is accepted; the runner goes on respawning meanwhile."""
        end = time.monotonic() + timeout
        for event in self.observer.events(10.0):
            self.runner.poll()
            if event['event'] == 'status' and accept(event):
                return event
            if time.monotonic() > end:
                break
        raise ObserverError(f'{what}: not within {timeout} s; last {self.observer.status}')

    def answer(self, **command: object) -> Event:
        """Send a command that is answered, and return the answer."""
        self.observer.send(**command)
        return self.observer.wait_for(lambda e: e['event'] == 'answer', 10.0, 'answer')

    def drive(self, goal: list[float] | None = None) -> Event:
        """Send a goal and wait until the robot moves towards it."""
        self.wait(lambda e: e['mode'] in ('idle', 'lidar_only'), START, 'idle robot')
        self.observer.send(goal=goal or self.goals()[0])
        return self.wait(moving, START, 'moving robot')

    def tour(self, process: subprocess.Popen, timeout: float) -> int:
        """Drive from goal to goal until a process ends; its exit status."""
        goals, end = itertools.cycle(self.goals()), time.monotonic() + timeout
        while process.poll() is None and time.monotonic() < end:
            if self.wait(lambda e: True, 10.0, 'word of the observer')['mode'] == 'idle':
                self.observer.send(goal=next(goals))
        return process.wait(1.0)


def moving(event: Event) -> bool:
    """Whether the robot drives by its policy."""
    return event['mode'] in ('autonomous', 'lidar_only', 'camera_only') and (event['v'] or 0) > 0.1


def still(event: Event) -> bool:
    """Whether the robot stands, by ground truth."""
    return abs(event['v'] or 0.0) < 0.02 and abs(event['w'] or 0.0) < 0.05


@pytest.fixture
def domain(monkeypatch):
    """A DDS domain that no other test of this run uses."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(next(_domains) % 100 + 1))


@pytest.fixture
def loop(tmp_path, domain):
    """Start a loop: `loop(observer=[...], seed='4')`."""
    running = []

    def start(**arguments):
        one = Loop(tmp_path / f'loop{len(running)}', **arguments)
        running.append(one)
        return one.__enter__()

    yield start
    for one in running:
        one.__exit__()

"""The whole loop, started and kept driving: what fault and soak runs have in common."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.plan import RAW, SENSORS, Plan, intercepted, plan, with_parameters
from karpathy_control.bringup.robots import tool_arguments
from karpathy_control.bringup.runner import Runner
from karpathy_control.contracts.config.core import Value
from karpathy_control.contracts.geometry import to_frame
from karpathy_control.evaluation.client import (
    Event,
    InjectorClient,
    ObserverClient,
    ObserverError,
)
from karpathy_control.worlds.generators import generate

START_LIMIT = 180.0  # s: processes and discovery; a first start compiles kernels
SLICE = 0.05  # s between two looks at the processes
KEEP = 400  # observations that the observer keeps: its memory does not grow with the run
NEAR = 2.5  # m: a goal nearer than this is replaced, so that the robot keeps its speed
DRIVING = ('autonomous', 'lidar_only', 'camera_only')


def own_domain() -> dict[str, str]:
    """A domain that no other run on this machine is likely to use; none where one is set."""
    return {} if 'ROS_DOMAIN_ID' in os.environ else {'ROS_DOMAIN_ID': str(1 + os.getpid() % 101)}


class DrivingLoop:
    """A running loop with observer and, where asked for, injector. A context manager.

    `status` is the observer's last; poses in it are of the world, by ground truth.
    """

    def __init__(self, folder: Path, family: str, seed: int, *, inject: bool = False,
                 params_file: str = '', changes: Mapping[str, Mapping[str, Value]] | None = None,
                 robot: str = '') -> None:
        """Plan; nothing starts before `with`. `changes` are parameters by node."""
        values = {'world': 'mujoco', 'dds_profile': 'local', 'world_family': family,
                  'seed': str(seed)}
        if params_file:
            values['params_file'] = params_file
        if robot:
            values['robot'] = robot
        what = with_parameters(plan(values), changes or {})
        self.plan: Plan = intercepted(what) if inject else what
        domain = own_domain()
        self.plan = replace(self.plan, environment={**self.plan.environment, **domain})
        self._environment = {**os.environ, **environment('local'), **domain}
        self._inject = inject
        self._world = generate(family, seed)
        self._odom_goals = to_frame(self._world.goals, self._world.start)
        self._goal = -1
        self.goals = 0  # reached
        self._counted = False
        self.runner = Runner(self.plan, folder)
        self.observer: ObserverClient
        self.injector: InjectorClient | None = None

    def __enter__(self) -> DrivingLoop:
        """Start everything and wait until the robot could drive."""
        names = tool_arguments(self.plan.profile, '')
        self.observer = ObserverClient(['--record', f'--keep={KEEP}', *names], self._environment)
        try:
            if self._inject:
                twist = [] if self.plan.profile.stamped_cmd_vel else ['--twist']
                self.injector = InjectorClient([*SENSORS, '--raw', RAW, *twist, *names],
                                               self._environment)
            self.runner.__enter__()
            self.wait(lambda e: e['mode'] in ('idle', *DRIVING), START_LIMIT, 'robot ready')
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if self.injector is not None:
                self.injector.close()
            self.observer.close()
        finally:  # last: it removes what shared memory then belongs to nobody
            self.runner.stop()

    @property
    def status(self) -> Event:
        """The last status of the observer."""
        return self.observer.status

    def pump(self, seconds: float, going: bool = False) -> None:
        """Let `seconds` go by while what dies is started again; `going` sends new goals."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            events = self.observer.pump(min(left, SLICE))
            self.runner.poll()
            if going and events:
                self.keep_going()

    def wait(self, accept: Callable[[Event], bool], timeout: float, what: str,
             going: bool = False) -> Event:
        """The first status that is accepted; `going` sends new goals meanwhile.

        Raises ObserverError where none comes within `timeout` seconds.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            events = self.observer.pump(SLICE)
            self.runner.poll()
            for event in events:
                if event['event'] == 'status' and accept(event):
                    return event
            if going and events:
                self.keep_going()
        raise ObserverError(f'{what}: not within {timeout:g} s; last {brief(self.status)}')

    def keep_going(self) -> None:
        """Send the farthest goal where the robot has none or is about to reach it."""
        status = self.status
        reached = 'goal_reached' in status['reasons']
        self.goals += reached and not self._counted
        self._counted = reached
        blocked = 'goal_blocked' in status['reasons']
        if status['x'] is not None and (status['mode'] == 'idle' or blocked):
            self.send_goal()

    def send_goal(self) -> None:
        """Send the goal that is farthest from the robot, but for the present one."""
        far = [math.inf if i == self._goal else -self._distance(i)
               for i in range(len(self._world.goals))]
        self._goal = far.index(min(far))
        self.observer.send(goal=[float(v) for v in self._odom_goals[self._goal]])

    def distance(self) -> float:
        """Distance to the goal, m; NaN where there is none."""
        return self._distance(self._goal) if self._goal >= 0 else math.nan

    def _distance(self, index: int) -> float:
        x, y = self._world.goals[index]
        return math.hypot(float(x) - self.status['x'], float(y) - self.status['y'])

    def at_speed(self, speed: float, timeout: float) -> Event:
        """Wait until the robot drives by its policy, at `speed` m/s or more, to a far goal."""
        def settled(e: Event) -> bool:
            if e['mode'] == 'autonomous' and self._goal >= 0 and self.distance() < NEAR:
                self.send_goal()
            return e['mode'] == 'autonomous' and (e['v'] or 0.0) > speed and self.distance() > NEAR

        return self.wait(settled, timeout, f'robot at {speed} m/s', going=True)

    def record(self, since: int) -> Event:
        """Commands, modes and wheel speeds received since a steady time, ns."""
        self.observer.send(record=since)
        return self.observer.wait_for(lambda e: e['event'] == 'record', 10.0, 'record')


def brief(status: Mapping[str, Any]) -> str:
    """What matters of a status, for messages."""
    return ', '.join(f'{key} {status.get(key)}' for key in ('mode', 'reasons', 'v', 'distance'))

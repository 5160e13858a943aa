"""The `sim` node: the embedded MuJoCo world behind the own topics of a robot, or of several.

No other node knows that its robot is simulated. Like a base driver it stops the wheels when
`cmd_vel` has been silent for `robot.command_timeout` (simulated time). Of several robots
(parameter `robots`) each has its topics in a namespace below that of this node; the clock is one
for all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import Trigger

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import SimConfig
from karpathy_control.contracts.config.sim import robot_names
from karpathy_control.contracts.types import NANOSECONDS
from karpathy_control.nodes import convert
from karpathy_control.nodes.base import LoopNode, StageLog, steady
from karpathy_control.nodes.sim_robot import TRUTH_RATE, SimRobot, TFMessage
from karpathy_control.nodes.spin import run
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import fleet
from karpathy_control.worlds.robot import load_robot

LOOP_PERIOD = 0.004  # s, steady
CLOCK_RATE = 50.0  # Hz of simulated time
MAX_BEHIND = 0.1  # s: beyond this the simulation is declared slow instead of catching up


class Schedule:
    """Calls what is due in simulated time, in the order in which it was added."""

    def __init__(self) -> None:
        self._entries: list[list[Any]] = []  # [next due ns, period ns, callback]

    def add(self, rate: float, callback: Callable[[], None], phase: float = 0.0) -> None:
        """Call `rate` times a second; `phase` in periods shifts the first call."""
        period = round(NANOSECONDS / rate)
        self._entries.append([round(phase * period), period, callback])

    def run(self, stamp: int) -> None:
        """Call everything that is due at `stamp`."""
        for entry in self._entries:
            if entry[0] <= stamp:
                entry[0] = max(entry[0] + entry[1], stamp - entry[1])
                entry[2]()


class SimNode(LoopNode[SimConfig]):
    """Shell around the physics of a world and its robots."""

    NAME = 'sim'
    CONFIG = SimConfig

    def build(self) -> None:
        """Make the world, the robots and their publishers."""
        c = self.config
        names = robot_names(c.robots) or ('',)
        self._physics = fleet(generate(c.world, c.seed), c,
                              load_robot(find('description', c.robot_xacro)), len(names))
        self._behind = 0
        self._clock_out = self.plain_publisher('/clock')
        self._stages = [self.stages, *(StageLog() for _ in names[1:])]
        self._robots = [SimRobot(self, *one) for one in
                        zip(self._physics.robots, names, self._stages, strict=True)]
        self.create_service(Trigger, 'sim/reset', self._reset)
        self._schedule = Schedule()
        self._schedule.add(CLOCK_RATE, self._publish_clock)
        for robot, phase in zip(self._robots, phases(len(names)), strict=True):
            self._schedule.add(CLOCK_RATE, robot.publish_contacts)
            self._schedule.add(c.odometry.rate, robot.publish_odometry)
            self._schedule.add(c.imu.rate, robot.publish_imu)
            self._schedule.add(TRUTH_RATE, robot.publish_truth)
            # Half a period apart, as the sensors of a real robot are not triggered together.
            self._schedule.add(c.lidar.rate, robot.publish_scan, phase=(phase + 0.5) % 1.0)
            self._schedule.add(c.camera.rate, robot.publish_camera, phase=phase)
        self.steady_timer(LOOP_PERIOD, self._advance)

    def activated(self) -> None:
        """Start the clock now."""
        self._anchor()

    def reconfigured(self) -> None:
        """A new rate factor counts from now."""
        if hasattr(self, '_physics'):
            self._anchor()

    def _anchor(self) -> None:
        self._real_start, self._sim_start = steady(), self._physics.stamp

    def _advance(self) -> None:
        if not self.active:
            return
        factor, physics = self.config.rate_factor, self._physics
        if factor > 0.0:
            elapsed = steady() - self._real_start
            target = self._sim_start + round(elapsed * factor)
            if target - physics.stamp > MAX_BEHIND * NANOSECONDS * max(factor, 1.0):
                self._behind += 1
                self._anchor()
                target = physics.stamp + round(LOOP_PERIOD * NANOSECONDS * factor)
        else:
            target = physics.stamp + round(0.02 * NANOSECONDS)
        while physics.stamp < target:
            physics.step([robot.command for robot in self._robots])
            self._schedule.run(physics.stamp)

    def _reset(self, request: Any, response: Any) -> Any:
        self._physics.reset()
        for robot in self._robots:
            robot.halt()
        response.success, response.message = True, 'every robot at its start'
        return response

    def _publish_clock(self) -> None:
        self._clock_out.publish(ClockMessage(clock=convert.time_msg(self._physics.stamp)))

    def stage_logs(self) -> list[tuple[str, StageLog]]:
        """Frames of each robot, in the namespace of its loop."""
        names = robot_names(self.config.robots)
        if not names or not hasattr(self, '_stages'):
            return super().stage_logs()
        above = self.get_namespace().rstrip('/')
        return [(f'{above}/{name}', stages)
                for name, stages in zip(names, self._stages, strict=True)]

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """Simulated time and how often it fell behind."""
        if not hasattr(self, '_physics'):
            return False, 'not configured', {}
        tf = 'published' if TFMessage else 'tf2_msgs is not installed'
        return self.active, 'active' if self.active else 'inactive', {
            'time': f'{self._physics.time:.2f}', 'fell_behind': str(self._behind), 'tf': tf}


def phases(count: int) -> list[float]:
    """When the camera of each robot is due, in periods: spread, so that no two render at once.

    The lidar of each is half a period later, so the robots share the first half among them.
    """
    return [0.5 * i / count for i in range(count)]


def main() -> int:
    """Run the node."""
    return run([SimNode])


if __name__ == '__main__':
    sys.exit(main())

"""The guided drive of `karpathy-control measure`: asks, drives through the gate, and records.

It commands by `cmd_vel_teleop` alone, so `control` has the last word: the gate stops before what
is in the way, and 0.25 s after the last word of this node the robot is told to stand. It ends the
drive itself where anything falls silent, `control` holds the robot, or a person asks (Ctrl-C).
"""

from __future__ import annotations

import argparse
import math
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from karpathy_control.bringup.dds import own_ports
from karpathy_control.bringup.robots import RobotProfile, load_profile, robot_of, tool_arguments
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.geometry import from_frame, rotation_rpy
from karpathy_control.contracts.interfaces import type_of
from karpathy_control.contracts.modes import Mode, Reason
from karpathy_control.contracts.types import CameraModel, Command, ImuSample, Pose2, RawScan, State
from karpathy_control.measuring.manoeuvres import (
    LONGEST,
    Drive,
    Halted,
    Manoeuvre,
    duration,
    in_the_way,
    plan,
    room,
)
from karpathy_control.measuring.matching import points_of
from karpathy_control.measuring.recording import offsets, recording
from karpathy_control.nodes import convert
from karpathy_control.nodes.qos import message_type, profile, topic
from karpathy_control.nodes.spin import EXIT_REFUSED, asked_to_end, executor

PERIOD = 0.02  # s, steady
PATIENCE = 20.0  # s to wait for the first of everything
LOOK = 2.0  # s of listening before anything is judged
SILENCE = {'odom': 0.3, 'scan': 0.5, 'control/state': 0.5, 'cmd_vel': 0.3}  # s, steady
ZEROS = 0.5  # s of zero at the end
SENT = 25  # commands that may still be on their way back to this node
FRAMES = 10  # of depth, from the standing robot
EXIT_HALTED, EXIT_ASKED = 3, 130
CURE = {
    'odom': 'is the base driver up?', 'scan': 'is the lidar up?',
    'control/state': 'start the loop: karpathy-control up world:=robot robot:=PROFILE, in this '
                     'ROS_DOMAIN_ID and under the same --dds-profile',
    'cmd_vel': 'is control up?'}


class GuidedDrive(Node):
    """Waits, looks, asks, drives; `finished` has the exit status."""

    def __init__(self, robot: RobotProfile, steps: Sequence[Manoeuvre], asked: bool) -> None:
        """`asked`: whether a person has agreed already."""
        super().__init__('measure')
        self.finished: Future[int] = Future()
        self.drive: Drive | None = None
        self._profile, self._robot = robot, robot_of(robot, {})
        self._steps, self._asked, self._questioned = steps, asked, False
        self._begun = time.monotonic()
        self._looking: float | None = None
        self._ending: tuple[float, int] | None = None
        self._heard: dict[str, float] = {}
        self._state: State | None = None
        self._scan: RawScan | None = None
        self._pause = 0.0  # s between two beams
        self._applied = Command()
        self._sent: deque[Command] = deque(maxlen=SENT)
        self._mode, self._reasons, self._goal = '', '', False
        self._model: CameraModel | None = None
        self._series: dict[str, list[tuple[float, float, Any]]] = {
            name: [] for name in ('odom', 'imu', 'scan', 'cmd_vel')}  # stamp, received, what
        self._depth: list[Any] = []
        self._imu_rotation = rotation_rpy(*self._robot.imu_pose[3:])
        kind = type_of('cmd_vel_teleop', robot.stamped_cmd_vel)
        row = topic('cmd_vel_teleop')
        self._out = self.create_publisher(message_type(kind), row.name, profile(row.qos))
        for name, handler in (('odom', self._on_odom), ('scan', self._on_scan),
                              ('imu', self._on_imu), ('cmd_vel', self._on_command),
                              ('control/state', self._on_state),
                              ('cmd_vel_teleop', self._on_teleop),
                              ('camera/depth', self._on_depth),
                              ('camera/camera_info', self._on_info)):
            self._listen(name, handler)
        self.create_timer(PERIOD, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # -- what comes ---------------------------------------------------------------------------

    def _listen(self, name: str, handler: Callable[[Any, float], None]) -> None:
        def callback(message: Any) -> None:
            received = time.monotonic()
            try:
                handler(message, received)
            except convert.InvalidMessage as error:
                self._end(EXIT_HALTED, f'{name}: {error}')
            self._heard[name] = received

        row = topic(name)
        qos = profile(row.qos)
        qos.depth = max(qos.depth, 50)  # nothing is lost while a scan is taken
        self.create_subscription(message_type(type_of(name, self._profile.stamped_cmd_vel)), name,
                                 callback, qos)

    def _on_odom(self, message: Any, received: float) -> None:
        self._state = state = convert.state(message)
        self._series['odom'].append((state.stamp * 1e-9, received, state))

    def _on_scan(self, message: Any, received: float) -> None:
        self._scan = scan = convert.raw_scan(message)
        pause = float(message.time_increment)
        self._pause = pause if 0.0 < pause * len(scan.ranges) < 1.0 else 0.0
        self._series['scan'].append((scan.stamp * 1e-9, received, scan))

    def _on_imu(self, message: Any, received: float) -> None:
        sample = convert.imu_sample(message, self._imu_rotation)
        self._series['imu'].append((sample.stamp * 1e-9, received, sample))

    def _on_command(self, message: Any, received: float) -> None:
        self._applied, stamp = convert.command(message)
        self._series['cmd_vel'].append(((stamp or 0) * 1e-9, received, self._applied))

    def _on_state(self, message: Any, received: float) -> None:
        values = {item.key: item.value for item in message.values}
        self._mode, self._reasons = message.message, values.get('reasons', '')
        self._goal = 'goal_distance' in values

    def _on_teleop(self, message: Any, received: float) -> None:
        command, _ = convert.command(message)
        if self.drive is not None and command not in self._sent:
            self._end(EXIT_HALTED, f'somebody else drives by {self._out.topic_name}: the drive '
                      'ends here')

    def _on_depth(self, message: Any, received: float) -> None:
        if self._looking is not None and self.drive is None and len(self._depth) < FRAMES:
            self._depth.append(convert.raw_depth(message).metres)

    def _on_info(self, message: Any, received: float) -> None:
        self._model = convert.camera_model(message)

    # -- what is done -------------------------------------------------------------------------

    def ask_to_end(self) -> None:
        """A person has asked to: stand, and end."""
        self._end(EXIT_ASKED, 'ended by a person: nothing is written')

    def _end(self, status: int, why: str) -> None:
        """Command zero for a moment, then finish."""
        if self._ending is None:
            if why:
                print(f'measure: {why}', file=sys.stderr, flush=True)
            self._ending = time.monotonic() + (ZEROS if self.drive else 0.0), status

    def _tick(self) -> None:
        now = time.monotonic()
        if self._ending is not None:
            if self.drive is not None:
                self._publish(Command())
            if now >= self._ending[0] and not self.finished.done():
                self.finished.set_result(self._ending[1])
            return
        if self.drive is not None:
            self._go_on(now, self.drive)
            return
        lacking = [name for name in SILENCE if name not in self._heard]
        if lacking:
            if now - self._begun > PATIENCE:
                self._end(EXIT_REFUSED, '; '.join(f'{name} is silent: {CURE[name]}'
                                                  for name in lacking))
            return
        if Reason.COMPILING.value in self._reasons.split():
            return  # minutes, at the first start
        if self._looking is None:
            self._looking = now
        if now - self._looking < LOOK:
            return
        why = self._refusal(now)
        if why:
            self._end(EXIT_REFUSED, why)
        elif self._agreed():
            for series in self._series.values():
                series.clear()
            self.drive = Drive(self._steps, self._robot)

    def _refusal(self, now: float) -> str:
        """Why the drive cannot begin, and the cure; empty where it can."""
        why = self._silent(now)
        if why:
            return why
        if self._goal or self._mode != Mode.IDLE.value:
            return (f'control is {self._mode!r} ({self._reasons}); it takes an idle robot without '
                    'a goal: ros2 service call cancel_goal std_srvs/srv/Trigger, and '
                    'doc/troubleshooting.md for other reasons')
        if 'cmd_vel_teleop' in self._heard:
            return f'somebody else drives by {self._out.topic_name}: end that first'
        assert self._scan is not None and self._scan.ranges is not None
        x, y, _, roll, _, yaw = self._robot.lidar_pose
        flip = -1.0 if math.cos(roll) < 0.0 else 1.0
        scan = self._scan
        points = from_frame(points_of(scan.ranges, flip * scan.angle_min,
                                      flip * scan.angle_increment, scan.range_min,
                                      scan.range_max), Pose2(x, y, yaw))
        box = room(self._steps, self._robot)
        blocked = in_the_way(points, box)
        if len(blocked):
            nearest = blocked[np.argmin(np.hypot(*blocked.T))]
            return (f'no room: it takes {_words(box)}, and there is something {nearest[0]:.1f} m '
                    f'ahead and {nearest[1]:.1f} m to the left; place the robot elsewhere, or ask '
                    'for less --speed')
        return ''

    def _silent(self, now: float) -> str:
        """Which of the inputs has fallen silent; empty for none."""
        return '; '.join(f'{name} has been silent for {now - self._heard[name]:.1f} s: '
                         f'{CURE[name]}' for name, most in SILENCE.items()
                         if now - self._heard[name] > most)

    def _agreed(self) -> bool:
        """Whether a person has said yes; asks once, and ends for anything else."""
        if self._asked:
            return True
        if not self._questioned:
            self._questioned = True
            fastest = max(step.command.v for step in self._steps)
            print('The robot will drive by itself for about '
                  f'{duration(self._steps, self._robot):.0f} s, up to {fastest:g} m/s. '
                  f'{_words(room(self._steps, self._robot))} must stay free, on level ground.\n'
                  'Keep its emergency stop in reach; Ctrl-C ends the drive. Type yes to begin: ',
                  end='', file=sys.stderr, flush=True)
        if not select.select([sys.stdin], [], [], 0.0)[0]:
            return False
        said = sys.stdin.readline().strip()
        self._asked = said == 'yes'
        if not self._asked:
            self._end(EXIT_REFUSED, f'{said!r} is not yes; --yes begins without asking')
        return False  # and look again before the first command

    def _go_on(self, now: float, drive: Drive) -> None:
        why = self._silent(now)
        if not why and (self._goal or self._mode not in (Mode.IDLE.value, Mode.TELEOP.value)):
            why = f'control is {self._mode!r} ({self._reasons}): the drive ends here'
        if why:
            self._end(EXIT_HALTED, why)
            self._publish(Command())
            return
        assert self._state is not None
        before = drive.text
        try:
            command = drive.tick(now, self._state, self._applied)
        except Halted as halted:
            self._end(EXIT_HALTED, f'{halted} (control says: {self._reasons})')
            command = Command()
        self._publish(command)
        if drive.text != before:
            print(f'  {drive.text}', file=sys.stderr, flush=True)
        if drive.done:
            self._end(0, '')

    def _publish(self, command: Command) -> None:
        self._sent.append(command)
        # Not stamped (0): what counts for control is when it came.
        self._out.publish(convert.twist_message(command, 0, self._robot.base_frame,
                                                self._profile.stamped_cmd_vel))

    # -- what is kept -------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write what was recorded, all on the steady clock."""
        assert self.drive is not None
        simulated = self.count_publishers('/clock') > 0
        pairs = np.array([(stamp, received) for name in ('odom', 'imu', 'scan')
                          for stamp, received, _ in self._series[name]])
        if simulated:
            at, offset = offsets(pairs[:, 0], pairs[:, 1])
        else:
            at, offset = np.zeros(1), np.array([time.monotonic() - time.time()])

        def steady(stamp: float) -> float:
            return stamp + float(np.interp(stamp, at, offset))

        def when(stamp: float, received: float) -> float:
            # A simulated clock stands still between two of its ticks.
            return received if simulated or not stamp else steady(stamp)

        rows: dict[str, list[tuple[float, ...]]] = {
            'commands': [(when(s, r), c.v, c.w) for s, r, c in self._series['cmd_vel']],
            'odom': [(steady(s), o.x, o.y, o.yaw, o.v, o.w)
                     for s, r, o in self._series['odom']],
            'imu': [(steady(s), *_numbers(i)) for s, r, i in self._series['imu']]}
        scans = [(steady(s), r, scan) for s, r, scan in self._series['scan']]
        model = self._model
        seen = model is not None and not any(model.distortion)
        recording(self.drive.spans, scans, rows, self._depth if seen else [],
                  (model.fx, model.fy, model.cx, model.cy) if model else (0.0,) * 4,
                  self._pause).save(path)


def _words(box: tuple[float, float, float, float]) -> str:
    return (f'{box[1]:.1f} m ahead of base, {-box[0]:.1f} m behind it and {box[3]:.1f} m to each '
            'side')


def _numbers(sample: ImuSample) -> tuple[float, ...]:
    return (*sample.angular_velocity, *sample.linear_acceleration)


def main(argv: Sequence[str] | None = None) -> int:
    """Drive once; 0, 2 refused before it, 3 ended within it, 130 by a person."""
    parser = argparse.ArgumentParser(prog='measure', description=__doc__)
    parser.add_argument('--robot', required=True)
    parser.add_argument('--namespace', required=True)
    parser.add_argument('--speed', type=float, required=True)
    parser.add_argument('--turn', type=float, required=True)
    parser.add_argument('--repeats', type=int, required=True)
    parser.add_argument('--out', type=Path, required=True, help='file of the recording')
    parser.add_argument('--yes', action='store_true')
    a = parser.parse_args(argv)
    robot = load_profile(a.robot)
    steps = plan(robot_of(robot, {}), a.speed, a.turn, a.repeats)
    rclpy.init(args=['measure', *tool_arguments(robot, a.namespace)],
               signal_handler_options=SignalHandlerOptions.NO)
    with own_ports():
        node = GuidedDrive(robot, steps, a.yes)
    asked_to_end().add_done_callback(lambda asked: node.ask_to_end())
    spinner = executor()
    spinner.add_node(node)
    end = time.monotonic() + 10.0 * LONGEST
    while not node.finished.done() and time.monotonic() < end:  # bounded, see spin.spin
        spinner.spin_until_future_complete(node.finished, 1e6)
    status = node.finished.result() if node.finished.done() else EXIT_HALTED
    if status == 0:
        try:
            node.save(a.out)
        except ConfigError as error:
            print(f'measure: {error}', file=sys.stderr)
            status = EXIT_HALTED
    node.destroy_node()
    rclpy.try_shutdown()
    return int(status or 0)


if __name__ == '__main__':
    sys.exit(main())

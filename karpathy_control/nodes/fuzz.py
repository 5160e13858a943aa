"""Fuzzing of everything that is read from messages, up to the command that follows.

Each hostile message goes through every conversion that a node applies to its topic: the answer is
a value that keeps its promises, or InvalidMessage. What `control` reads goes on into real
ControlNodes, through the callbacks that their executor would call, on simulated time:

* `Open` takes everything. Nothing may be raised and no command may leave the robot's limits.
* `Cruise` drives steadily and takes only what was refused. A refused message of another source
  must leave the command exactly as it was (so nothing of it entered the gate's memory); one of
  the commander must be followed by braking, never by more speed, down to zero.
"""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosgraph_msgs.msg import Clock

from karpathy_control.contracts.geometry import from_frame, integrate_twist
from karpathy_control.contracts.interfaces import BY_NAME
from karpathy_control.contracts.layout import ENTITY_FIELDS, SCAN_BEAMS, SECTORS
from karpathy_control.contracts.modes import Mode, Reason
from karpathy_control.contracts.types import NANOSECONDS, Command, Pose2, State
from karpathy_control.control.controller import Decision
from karpathy_control.control.supervisor import STOP_TIME
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.control import TICK, ControlNode
from karpathy_control.nodes.convert import InvalidMessage
from karpathy_control.nodes.hostile import MAKERS, Hostile

START = 1_000 * NANOSECONDS  # simulated time
CRUISE = Command(0.4, 0.3)  # a circle of 1.3 m radius
WALL = 6.0  # m from the origin, on each side
BEAM = 2.0 * math.pi / SCAN_BEAMS
FIRST = -math.pi + 0.5 * BEAM
SETTLE = 200  # ticks within which a loop must cruise again
RESET_EVERY = 500  # messages between two activations of `Open`
IDLE_TIME = NANOSECONDS  # ns of simulated time within which an idle robot stands
BRAKE_EVERY = 200  # refused commands between two that are followed down to zero


class Violation(AssertionError):  # noqa: N818 - no error of the program: a finding
    """A promise that did not hold; the text says which."""


def require(holds: bool, text: str) -> None:
    """Raise Violation where something does not hold."""
    if not holds:
        raise Violation(text)


# -- conversions: what reads a topic, and what it promises ----------------------------------------


def _command(value: Any) -> None:
    command, stamp = value
    require(abs(command.v) <= convert.MAX_SPEED and abs(command.w) <= convert.MAX_SPEED
            and (stamp is None or stamp >= 0), 'bounded command')


def _raw_scan(scan: Any) -> None:
    require(scan.ranges.dtype == np.float32 and scan.ranges.ndim == 1
            and 1 <= len(scan.ranges) <= convert.MAX_BEAMS, 'ranges')
    require(0.0 <= scan.range_min < scan.range_max <= convert.MAX_RANGE, 'limits')
    require(abs(scan.angle_min) + abs(scan.angle_increment) <= 8.0 * math.pi, 'angles')


def _camera_model(model: Any) -> None:
    require(min(model.fx, model.fy) >= 1.0 and min(model.width, model.height) >= 1
            and len(model.distortion) in convert.DISTORTIONS, 'camera')
    require(bool(np.isfinite((model.fx, model.fy, model.cx, model.cy, *model.distortion)).all()),
            'finite camera')


def _state(state: Any) -> None:
    require(max(abs(state.x), abs(state.y)) <= convert.MAX_COORDINATE
            and abs(state.yaw) <= math.pi and max(abs(state.v), abs(state.w))
            <= convert.MAX_SPEED and state.stamp >= 0, 'bounded state')


def _table(columns: int) -> Callable[[Any], None]:
    def check(table: Any) -> None:
        require(table.dtype == np.float32 and table.shape[1:] == (columns,)
                and bool(np.isfinite(table).all()), f'finite table of {columns} columns')
    return check


def _shape(*shape: int) -> Callable[[Any], None]:
    return lambda value: require(value.shape == shape and value.flags.c_contiguous,
                                 f'array of shape {shape}')


def _depth_points(points: Any) -> None:
    _table(3)(points.xyz)
    require(bool(np.isin(points.kind, (0.0, 1.0)).all())
            and len(points.kind) == len(points.xyz), 'kinds')


_EYE = np.eye(3)
_IMAGE, _IMU = convert.IMAGE_SHAPE, convert.IMU_SHAPE
READ: dict[str, tuple[Callable[[Any], Any], Callable[[Any], None]]] = {
    'raw_scan': (convert.raw_scan, _raw_scan),
    'raw_image': (convert.raw_image, lambda v: require(
        v.pixels.dtype == np.uint8 and v.pixels.shape[2:] == (3,), 'rgb8')),
    'raw_depth': (convert.raw_depth, lambda v: require(
        v.metres.dtype == np.float32 and v.metres.ndim == 2, 'metres')),
    'camera_model': (convert.camera_model, _camera_model),
    'imu_sample': (lambda m: convert.imu_sample(m, _EYE), lambda v: require(bool(np.isfinite(
        (*v.angular_velocity, *v.linear_acceleration)).all()), 'finite sample')),
    'state': (convert.state, _state),
    'command': (convert.command, _command),
    'position': (convert.position, lambda v: require(
        max(map(abs, v)) <= convert.MAX_COORDINATE, 'bounded position')),
    'path_points': (convert.path_points, _table(2)),
    'layout_scan': (convert.layout_scan, lambda v: require(
        v.ranges.shape == (SCAN_BEAMS,) and 0.0 < v.range_max <= convert.MAX_RANGE, 'layout')),
    'layout_image': (convert.layout_image, _shape(*_IMAGE, 3)),
    'depth': (lambda m: convert.matrix(m, _IMAGE), _shape(*_IMAGE)),
    'imu': (lambda m: convert.matrix(m, _IMU), _shape(*_IMU)),
    'depth_points': (lambda m: clouds.depth_points(m, (0.0, 0.0)), _depth_points),
    'entities_table': (clouds.entities_table, lambda v: (
        _shape(SECTORS, len(ENTITY_FIELDS))(v), _table(len(ENTITY_FIELDS))(v))[0]),
    'time_ns': (lambda m: convert.time_ns(m.clock), lambda v: require(v >= 0, 'time')),
    'stamp_ns': (lambda m: convert.stamp_ns(m.header), lambda v: require(v >= 0, 'stamp')),
    'unsure': (clouds.unsure, lambda v: require(isinstance(v, bool), 'flag')),
    'bool': (lambda m: bool(m.data), lambda v: None),
}
# By key of hostile.MAKERS; where a node joins by stamp, the stamp is read on its own.
CONVERSIONS: dict[str, tuple[str, ...]] = {
    'camera/image_raw': ('raw_image',), 'camera/depth': ('raw_depth',),
    'camera/camera_info': ('camera_model',), 'scan': ('raw_scan',), 'imu': ('imu_sample',),
    'odom': ('state',), 'goal_pose': ('position',), 'plan': ('path_points',),
    '/clock': ('time_ns',), 'control/goal': ('position',),
    'observation/image': ('layout_image', 'stamp_ns'), 'observation/depth': ('depth', 'stamp_ns'),
    'observation/imu': ('imu', 'stamp_ns'), 'observation/scan': ('layout_scan',),
    'observation/depth_points': ('depth_points',), 'observation/state': ('state',),
    'observation/goal': ('position', 'stamp_ns'), 'observation/plan': ('path_points', 'stamp_ns'),
    'perception/entities': ('entities_table', 'unsure', 'stamp_ns'),
    'perception/scan': ('layout_scan',),
    'policy/action': ('command',), 'cmd_vel': ('command',), 'cmd_vel_teleop': ('command',),
    'emergency_stop': ('bool',), 'Twist': ('command',),
}


# -- control --------------------------------------------------------------------------------------


class Loop:
    """An active ControlNode in a large room, fed as its executor would feed it.

    Needs an initialised rclpy with `use_sim_time`. `driver` is the topic that commands: with
    `policy/action` there is a goal, with `cmd_vel_teleop` there is none.
    """

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self.node = ControlNode()
        self.node.trigger_configure()
        self._listeners: dict[str, list[Any]] = {}
        for subscription in self.node.subscriptions:
            name = subscription.topic_name
            self._listeners.setdefault(name, []).append(subscription.callback)
        self._tick: Callable[[], Any] = next(  # type: ignore[assignment]
            t.callback for t in self.node.timers
            if t.timer_period_ns == round(TICK * NANOSECONDS))
        self.now = START
        self.reset()

    def reset(self) -> None:
        """Activate anew, at the origin, with nothing remembered."""
        if self.node.active:
            self.node.trigger_deactivate()
        self.node.trigger_activate()
        self._pose, self._steps = Pose2(), 0
        self._command = Command()
        if self.driver == 'policy/action':
            self.send('goal_pose', convert.pose_message(1000.0, 0.0, self.now, 'odom'))

    def send(self, topic: str, message: Any) -> None:
        """Call what listens to a topic."""
        for callback in self._listeners['/' + topic.lstrip('/')]:
            callback(message)

    def listens(self, topic: str) -> bool:
        """Whether the node subscribes to a topic."""
        return '/' + topic.lstrip('/') in self._listeners

    def hostile(self, topic: str, message: Any) -> None:
        """Send a hostile message: to the node's own callback, not to the clock of rclpy."""
        self._listeners['/' + topic.lstrip('/')][-1](message)

    def step(self, drive: bool = True) -> Decision:
        """One tick of 20 ms with valid sensors; `drive`: and with a valid command."""
        self.now += round(TICK * NANOSECONDS)
        self._steps += 1
        self._pose = integrate_twist(self._pose, self._command.v, self._command.w, TICK)
        state = State(self.now, self._pose.x, self._pose.y, self._pose.yaw, self._command.v,
                      self._command.w)
        self.send('/clock', Clock(clock=convert.time_msg(self.now)))
        self.send('odom', convert.odometry_message(state, 'odom', 'base_link'))
        if self._steps % 5 == 1:
            self.send('scan', convert.scan_message(
                self._room(), self.now, 'lidar_link', FIRST, BEAM, 0.1, 20.0, 0.05))
        if drive:
            self.send(self.driver, convert.twist_message(CRUISE, self.now, 'base_link', True))
        self._tick()
        self._command = self.decision.command
        return self.decision

    def _room(self) -> NDArray[np.float32]:
        """What the lidar sees of a square room; the scan must follow the motion."""
        x, y = from_frame([self.node.config.robot.lidar_pose[:2]], self._pose)[0]
        angle = self._pose.yaw + FIRST + BEAM * np.arange(SCAN_BEAMS)
        along = np.stack((np.cos(angle), np.sin(angle)))
        walls = np.copysign(WALL, along) - np.array([[x], [y]])
        return np.min(walls / along, axis=0).astype(np.float32)

    @property
    def decision(self) -> Decision:
        """The last decision of the node."""
        assert self.node._decision is not None
        return self.node._decision

    @property
    def refused(self) -> int:
        """Messages that node or controller refused so far, as of the last tick."""
        return sum(int(n) for name, n in self.decision.values.items()
                   if name.startswith('invalid_'))


class Open(Loop):
    """Takes every message, valid or not."""

    def take(self, topic: str, message: Any) -> bool:
        """Whether it was refused. Violation where the command leaves the robot's limits."""
        if self._steps >= RESET_EVERY:
            self.reset()
        if self._steps == 0:
            self.step()
        before = self.refused
        self.hostile(topic, message)
        decision = self.step()
        robot, command = self.node.config.robot, decision.command
        require(-robot.max_reverse - 1e-9 <= command.v <= robot.max_speed + 1e-9
                and abs(command.w) <= robot.max_turn + 1e-9, f'command {command} in its limits')
        return self.refused > before


class Cruise(Loop):
    """Drives steadily and takes only what is refused."""

    def __init__(self, driver: str) -> None:
        super().__init__(driver)
        self.braked = 0

    def settle(self) -> None:
        """Tick until the robot cruises."""
        for _ in range(SETTLE):
            decision = self.step()
            if decision.command == CRUISE and not decision.limited:
                return
        raise Violation(f'does not cruise: {decision.mode} {decision.reasons} {decision.command}')

    def refuse(self, topic: str, message: Any) -> bool:
        """Take a message that is refused. Violation where anything but a stop follows from it.

        False where nothing is proved, as the machine held this process up meanwhile.
        """
        if self._steps == 0 or self.decision.command != CRUISE:
            self.settle()
        before = self.refused
        self.hostile(topic, message)
        ends = topic == self.driver
        decision = self.step(drive=not ends)
        if Reason.CLOCK_STALLED in decision.reasons:
            _require_braking(CRUISE, decision.command)
            return False
        if not ends:
            require(decision.command == CRUISE and not decision.limited,
                    f'command {decision.command}, {decision.mode} {decision.reasons}: the refused '
                    'message changed it')
            return True
        require(self.refused == before + 1, 'refused here as it was elsewhere')
        if self.driver == 'policy/action':
            require(decision.mode is Mode.STOPPED and Reason.ACTION_INVALID in decision.reasons,
                    f'mode {decision.mode} {decision.reasons} after an invalid action')
        _require_braking(CRUISE, decision.command)
        self.braked += 1
        self._brake(decision.command, to_zero=self.braked % BRAKE_EVERY == 1)
        return True

    def _brake(self, command: Command, to_zero: bool) -> None:
        """Follow a stop until it shows, or down to zero.

        A fault is braked on the steady clock, an idle robot within its limits on that of the node.
        Time is read before each tick, which may be a slow one.
        """
        begin, start = time.monotonic(), self.now
        while command != Command() if to_zero else command == CRUISE:
            over = (time.monotonic() - begin > STOP_TIME if self.driver == 'policy/action' else
                    self.now - start > IDLE_TIME)
            last, command = command, self.step(drive=False).command
            _require_braking(last, command)
            require(not over or command == Command(), f'zero by now, not {command}')


def _require_braking(last: Command, command: Command) -> None:
    require(0.0 <= command.v <= last.v and 0.0 <= command.w <= last.w,
            f'braking, not {last} -> {command}')


# -- the run --------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What became of the messages."""

    messages: int = 0
    untouched: int = 0  # messages left valid
    accepted: Counter[str] = field(default_factory=Counter)  # by conversion
    refused: Counter[str] = field(default_factory=Counter)
    to_control: int = 0  # messages that a ControlNode took
    refused_driving: Counter[str] = field(default_factory=Counter)  # by topic, robot cruising
    held_up: int = 0  # refused messages that prove nothing: the machine held the process up
    failures: list[str] = field(default_factory=list)  # crashes and violations
    slowest: dict[str, float] = field(default_factory=dict)  # ms, by conversion


class Fuzzer:
    """Hostile messages of one seed through conversions and nodes."""

    def __init__(self, seed: int) -> None:
        self.tally = Tally()
        self._seed = seed
        self._hostile = Hostile(seed)
        self._open = Open('policy/action')
        self._policy, self._teleop = Cruise('policy/action'), Cruise('cmd_vel_teleop')

    def run(self, messages: int, progress: Callable[[int], None] = lambda n: None) -> Tally:
        """Send so many messages. Warnings count as crashes."""
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            for i in range(messages):
                name = self._hostile.rng.choice(tuple(MAKERS))
                message, valid = self._hostile.message(name, self._open.now)
                self._one(name, message, valid)
                progress(i + 1)
        return self.tally

    def _one(self, name: str, message: Any, valid: bool) -> None:
        tally = self.tally
        tally.messages += 1
        tally.untouched += valid
        where = f'seed {self._seed} message {tally.messages} {name}'
        try:
            for conversion in CONVERSIONS[name]:
                self._convert(conversion, message, valid)
            if name in BY_NAME and self._open.listens(name):
                tally.to_control += 1
                if self._open.take(name, message):
                    self._refuse(name, message)
        except Exception as error:  # whatever it is, it is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            tally.failures.append(f'{where}: {type(error).__name__}: {str(error)[:300]} '
                                  f'({Path(place.filename).name}:{place.lineno})')

    def _convert(self, conversion: str, message: Any, valid: bool) -> None:
        read, check = READ[conversion]
        begin = time.perf_counter()
        try:
            value = read(message)
        except InvalidMessage:
            require(not valid, f'{conversion} takes a valid message')
            self.tally.refused[conversion] += 1
        else:
            check(value)
            self.tally.accepted[conversion] += 1
        spent = 1000.0 * (time.perf_counter() - begin)
        self.tally.slowest[conversion] = max(spent, self.tally.slowest.get(conversion, 0.0))

    def _refuse(self, name: str, message: Any) -> None:
        proved = self._policy.refuse(name, message)
        if name == 'cmd_vel_teleop':
            proved &= self._teleop.refuse(name, message)
        if proved:
            self.tally.refused_driving[name] += 1
        else:
            self.tally.held_up += 1

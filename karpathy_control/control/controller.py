"""The controller: every input in, one command out. No ROS, no torch, no clock of its own.

Messages are noted as they come; everything is decided in `tick`: sensor data enters the gate's
memory at the pose that odometry had at its stamp, the supervisor judges the inputs, and the
proposal of the one who may command goes through the gate. A controller that may not drive ramps
the last command to zero within the time that the supervisor leaves it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.layout import SCAN_BEAMS
from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.contracts.types import (
    NANOSECONDS,
    Action,
    Command,
    DepthPoints,
    ImuSample,
    RawScan,
    Scan,
    State,
)
from karpathy_control.control.ages import Health, Input
from karpathy_control.control.gate import BRAKING, LIMITED, Gate
from karpathy_control.control.goals import GoalKeeper
from karpathy_control.control.limits import braking_time
from karpathy_control.control.odometry import OdometryHistory
from karpathy_control.control.supervisor import Snapshot, Verdict, transition

_SETTLE = NANOSECONDS  # odometry must be consistent this long after a jump
_INVALID_SHOWN = NANOSECONDS  # steady; a refused message shows in the reasons this long
_BACK = NANOSECONDS // 2  # an odometry stamp this far behind the last one is a clock set back
_POSES = 8  # of the braking manoeuvre, for display
_INPUTS = ('scan', 'depth', 'camera_scan', 'odom', 'imu', 'action', 'teleop')
_SOURCES = {'policy/action': 'action', 'cmd_vel_teleop': 'teleop'}


@dataclass(frozen=True)
class Decision:
    """One command and everything that a person wants to know about it."""

    command: Command
    mode: Mode
    reasons: tuple[Reason, ...]
    override: Override
    stamp: int  # ns, of the action that the command was computed from; 0 for none
    limited: bool  # the gate changed the proposal
    goal: tuple[float, float] | None  # m, odom
    values: dict[str, str]
    braking: NDArray[np.float64]  # (n, 3) x y yaw in odom of the braking that would follow
    proposal: Command = field(default_factory=Command)


class Controller:
    """Fusion, supervision and gate of one robot.

    `received` and `steady` are nanoseconds of CLOCK_MONOTONIC, stamps and `now` nanoseconds of
    the node clock. Messages whose numbers are not finite are refused and counted.
    """

    def __init__(self, config: ControlConfig) -> None:
        self.config = config
        self._gate = Gate(config)
        self._goals = GoalKeeper(config.goal)
        self._odometry = OdometryHistory()
        self._inputs = {name: Input() for name in _INPUTS}
        self._clock = Input()
        self._pending: deque[RawScan | DepthPoints | Scan] = deque(maxlen=16)
        self._action: Action | None = None
        self._action_invalid = False
        self._teleop = Command()
        self._emergency = self._emergency_input = False
        self._commanders = 0
        self._now: int | None = None
        self._jumped_back = False
        self._jump_stamp: int | None = None
        self._command = Command()
        self._stop: tuple[Command, int, int] | None = None  # from, steady begin and end, ns
        self._counts: dict[str, int] = {}
        self._invalid: dict[str, int] = {}
        self._invalid_until = 0
        self._invalid_new = False
        self._refused = ''
        self._intervening = False

    # -- inputs -------------------------------------------------------------------------------

    def on_scan(self, scan: RawScan, received: int) -> None:
        """Take a raw scan; single ranges may be NaN or infinite, its geometry may not."""
        numbers = (scan.angle_min, scan.angle_increment, scan.range_min, scan.range_max)
        if (not all(map(math.isfinite, numbers)) or scan.angle_increment == 0.0
                or scan.range_max <= scan.range_min or len(scan.ranges) < 2):
            self.on_invalid('scan', f'{len(scan.ranges)} ranges, angle_min, angle_increment, '
                            f'range_min, range_max {numbers}')
        elif self._inputs['scan'].take(scan.stamp, received, self.config.max_age.scan):
            self._pending.append(scan)

    def on_odom(self, state: State, received: int) -> None:
        """Take odometry."""
        numbers = (state.x, state.y, state.yaw, state.v, state.w)
        if not all(map(math.isfinite, numbers)):
            self.on_invalid('odom', f'x, y, yaw, v, w {numbers}')
            return
        latest = self._odometry.latest
        if latest is not None and state.stamp < latest.stamp - _BACK:
            self._forget_time()
        if not self._inputs['odom'].take(state.stamp, received, self.config.max_age.odom):
            return
        latest = self._odometry.latest
        if latest is not None and state.stamp <= latest.stamp:
            self._odometry.clear()
        if self._odometry.add(state, self.config.odom_jump):
            self._count('odom_jumps')
            self._jump_stamp = state.stamp
            self._gate.forget()
            self._pending.clear()

    def on_imu(self, sample: ImuSample, received: int) -> None:
        """Take an inertial sample."""
        if not all(map(math.isfinite, (*sample.angular_velocity, *sample.linear_acceleration))):
            self.on_invalid('imu', 'a value is not finite')
        else:
            self._inputs['imu'].take(sample.stamp, received, self.config.max_age.imu)

    def on_depth_points(self, points: DepthPoints, received: int) -> None:
        """Take height-filtered depth; points that are not finite are left out by the gate."""
        if points.xyz.ndim != 2 or points.xyz.shape[1] != 3 or len(points.kind) != len(points.xyz):
            self.on_invalid('depth', f'xyz {points.xyz.shape}, kind {points.kind.shape}; '
                            'accepted are (n, 3) and (n,)')
        elif self._inputs['depth'].take(points.stamp, received, self.config.max_age.camera):
            self._pending.append(points)

    def on_camera_scan(self, scan: Scan, received: int) -> None:
        """Take what perception says of the camera's view; it only adds obstacles."""
        if scan.ranges.shape != (SCAN_BEAMS,):
            self.on_invalid('camera_scan', f'{scan.ranges.shape} ranges; accepted is '
                            f'({SCAN_BEAMS},)')
        elif self._inputs['camera_scan'].take(scan.stamp, received, self.config.max_age.camera):
            self._pending.append(scan)

    def on_action(self, action: Action, received: int) -> None:
        """Take a proposal of the policy."""
        if not (math.isfinite(action.command.v) and math.isfinite(action.command.w)):
            self.on_invalid('action', f'v, w {action.command.v}, {action.command.w}')
        elif self._inputs['action'].take(action.stamp, received, self.config.max_age.action):
            self._action, self._action_invalid = action, False

    def on_teleop(self, command: Command, stamp: int | None, received: int) -> None:
        """Take a command of a person; each holds for max_age.teleop."""
        if not (math.isfinite(command.v) and math.isfinite(command.w)):
            self.on_invalid('teleop', f'v, w {command.v}, {command.w}')
        elif self._inputs['teleop'].take(stamp or None, received, self.config.max_age.teleop):
            self._teleop = command

    def on_clock(self, stamp: int, received: int) -> None:
        """Take simulated time."""
        if self._clock.stamp is None or stamp != self._clock.stamp:
            self._clock.stamp, self._clock.received = stamp, received

    def on_emergency_stop(self, pressed: bool) -> None:
        """Latch the stop where `pressed`; false alone releases nothing."""
        self._emergency_input = pressed
        self._emergency = self._emergency or pressed

    def reset_emergency_stop(self) -> tuple[bool, str]:
        """Release the latch, unless the input still says stop. Returns (done, text)."""
        if self._emergency_input:
            return False, 'emergency_stop is still true; publish false first'
        self._emergency = False
        return True, 'emergency stop released'

    def on_goal(self, x: float, y: float) -> None:
        """Take a goal in odom, m; it pre-empts the last."""
        self._goals.set(x, y)

    def adopt_goal(self, x: float, y: float) -> None:
        """Take over a goal after a restart; ignored once a goal was handled here."""
        self._goals.adopt(x, y)

    def refuse_goal(self, text: str) -> None:
        """Note that a goal could not be understood."""
        self._goals.refuse(text)

    def cancel_goal(self) -> tuple[bool, str]:
        """Give the goal up. Returns (done, text)."""
        return self._goals.cancel()

    def on_invalid(self, source: str, text: str) -> None:
        """Note a refused message. One from the policy or a person ends what they had said."""
        self._invalid[source] = self._invalid.get(source, 0) + 1
        self._refused = f'{source}: {text}'
        self._invalid_new = True
        name = _SOURCES.get(source, source)
        if name == 'action':
            self._action, self._action_invalid = None, True
        elif name == 'teleop':
            self._inputs['teleop'].clear()

    def set_commanders(self, n: int) -> None:
        """Say how many publishers of cmd_vel there are, this one included."""
        self._commanders = n

    # -- life ---------------------------------------------------------------------------------

    def configure(self, config: ControlConfig) -> None:
        """Take a changed configuration while running."""
        self.config = config
        self._gate.configure(config)
        self._goals.config = config.goal

    def deactivate(self) -> None:
        """Forget inputs, goal and memory; the robot does not go on by itself afterwards."""
        self._forget_time()
        self._jumped_back = False
        self._goals.cancel()
        self._command, self._stop = Command(), None
        self._gate.reset()

    def warm_up(self) -> None:
        """Compile or load every kernel, on a gate of its own."""
        gate = Gate(self.config)
        pose = np.zeros((1, 3))
        pair = np.zeros((1, 2))
        ranges = np.ones((1, 8), np.float32)
        gate.observe_scan(pose, ranges, -math.pi, 0.25 * math.pi, (0.0, 0.0, 0.0), 0.1, 10.0, 0.0)
        gate.observe_depth(pose, np.ones((1, 2, 2)), [[0.0, 1.0]], 2, (0.0, 0.0), 0.0)
        gate.observe_camera_scan(pose, np.ones((1, SCAN_BEAMS)), 0.0)
        gate.filter(pose, pair, [[10.0, 0.0]], 0.1)
        gate.braking(pose[0], [0.5, 0.1])

    def _forget_time(self) -> None:
        """Drop everything that carries a stamp: the clock was set back."""
        for item in self._inputs.values():
            item.clear()
        self._odometry.clear()
        self._pending.clear()
        self._gate.forget()
        self._action, self._action_invalid = None, False
        self._jump_stamp = None
        self._jumped_back = True

    # -- the loop -----------------------------------------------------------------------------

    def tick(self, now: int, steady: int, sim_time: bool) -> Decision:
        """Decide the command for this moment."""
        if self._now is not None and now < self._now:
            self._count('clock_jumps')
            self._forget_time()
        self._now = now
        self._ingest(now)
        snapshot = self._snapshot(now, steady, sim_time)
        latest = self._odometry.latest
        if latest is not None and snapshot.odom is Health.FRESH:
            verdict = transition(snapshot)
            self._goals.update(latest.x, latest.y, now / NANOSECONDS,
                               verdict.override is Override.POLICY)
            snapshot = replace(snapshot, goal=self._goals.goal is not None,
                               goal_reason=self._goals.reason, goal_blocked=self._goals.blocked)
        verdict = transition(snapshot)
        if verdict.mode in (Mode.STOPPED, Mode.EMERGENCY_STOP):
            return self._halt(verdict, snapshot, now, steady)
        return self._drive(verdict, snapshot, now)

    def _ingest(self, now: int) -> None:
        """Hand what has arrived to the gate, each at the pose of its stamp.

        Data from before the history, or stamped beyond what odometry can be extrapolated to, is
        left out and counted; so is what comes from the future.
        """
        robot = self.config.robot
        while self._pending:
            item = self._pending.popleft()
            pose = self._odometry.pose_at(item.stamp)
            ahead = (item.stamp - now) / NANOSECONDS
            if pose is None or ahead > self.config.future_tolerance:
                self._count('unplaced')
                continue
            where = [[pose.x, pose.y, pose.yaw]]
            time = item.stamp / NANOSECONDS
            if isinstance(item, RawScan):
                x, y, _, roll, _, yaw = robot.lidar_pose
                flip = -1.0 if math.cos(roll) < 0.0 else 1.0  # mounted upside down
                self._gate.observe_scan(where, item.ranges, flip * item.angle_min,
                                        flip * item.angle_increment, (x, y, yaw), item.range_min,
                                        item.range_max, time)
            elif isinstance(item, DepthPoints):
                self._gate.observe_depth(where, item.xyz[:, :2], item.kind, len(item.kind),
                                         item.origin, time)
            else:
                self._gate.observe_camera_scan(where, item.ranges, time)

    def _snapshot(self, now: int, steady: int, sim_time: bool) -> Snapshot:
        config, limits = self.config, self.config.max_age
        bounds = {'scan': limits.scan, 'depth': limits.camera, 'camera_scan': limits.camera,
                  'odom': limits.odom, 'imu': limits.imu, 'action': limits.action,
                  'teleop': limits.teleop}
        health = {name: item.health(now, steady, sim_time, bounds[name], config.future_tolerance)
                  for name, item in self._inputs.items()}
        ages = {name: item.age(now, steady, sim_time) for name, item in self._inputs.items()}
        # A person's dead-man switch runs on the steady clock too, whatever the simulated one does.
        teleop = self._inputs['teleop']
        if teleop.received is not None and (
                steady - teleop.received > limits.teleop * NANOSECONDS):
            health['teleop'] = Health.STALE
        stalled = False
        if sim_time:
            silence = (math.inf if self._clock.received is None
                       else (steady - self._clock.received) / NANOSECONDS)
            ages['clock'] = silence
            stalled = silence > limits.clock
        if self._invalid_new:
            self._invalid_new = False
            self._invalid_until = steady + _INVALID_SHOWN
        if self._jumped_back and self._command == Command() and (
                health['odom'] is Health.FRESH
                and Health.FRESH in (health['scan'], health['depth'])):
            self._jumped_back = False
        latest = self._odometry.latest
        if self._jump_stamp is not None and latest is not None and (
                latest.stamp - self._jump_stamp >= _SETTLE):
            self._jump_stamp = None
        return Snapshot(
            **health, ages=ages, require_imu=config.require_imu,
            camera_only_speed=config.gate.camera_only_speed, emergency=self._emergency,
            second_commander=self._commanders > 1, clock_stalled=stalled,
            clock_jumped_back=self._jumped_back, odom_jump=self._jump_stamp is not None,
            action_invalid=self._action_invalid, input_invalid=steady < self._invalid_until,
            goal=self._goals.goal is not None, goal_reason=self._goals.reason,
            goal_blocked=self._goals.blocked)

    def _drive(self, verdict: Verdict, snapshot: Snapshot, now: int) -> Decision:
        """Pass the proposal of the one who commands through the gate."""
        latest = self._odometry.latest
        assert latest is not None  # the supervisor lets nobody drive without odometry
        self._stop = None
        proposal, stamp = Command(), 0
        if verdict.override is Override.TELEOP:
            proposal = self._teleop
        elif verdict.override is Override.POLICY:
            assert self._action is not None  # nor the policy without an action
            proposal, stamp = self._action.command, self._action.stamp
        result = self._gate.filter(
            [[latest.x, latest.y, latest.yaw]], [[latest.v, latest.w]],
            [[proposal.v, proposal.w]], now / NANOSECONDS, verdict.speed_limit,
            None if verdict.reverse else 0.0)
        command = Command(float(result.applied[0, 0]), float(result.applied[0, 1]))
        status = int(result.status[0])
        limited = status in (LIMITED, BRAKING)
        if limited and not self._intervening:
            self._count('interventions')
        self._intervening = limited
        reasons = verdict.reasons
        if limited:
            reasons += (Reason.GATE_BRAKING if status == BRAKING else Reason.GATE_LIMITED,)
        return self._decide(replace(verdict, reasons=reasons), snapshot, command, proposal, stamp,
                            limited, float(result.clearance[0]))

    def _halt(self, verdict: Verdict, snapshot: Snapshot, now: int, steady: int) -> Decision:
        """Brake on the arc of the last command, down to zero in the time that is left."""
        left = round(verdict.stop_within * NANOSECONDS)
        if self._stop is None:
            robot = self.config.robot
            total = braking_time(self._command.v, self._command.w, robot.deceleration,
                                 robot.turn_acceleration)
            self._stop = (self._command, steady,
                          steady + min(left, round(total * NANOSECONDS)))
        start, begin, end = self._stop
        end = min(end, steady + left)
        self._stop = (start, begin, end)
        share = (end - steady) / (end - begin) if end > max(begin, steady) else 0.0
        command = Command(start.v * share, start.w * share)
        self._intervening = False
        self._gate.record([[command.v, command.w]], now / NANOSECONDS)
        return self._decide(verdict, snapshot, command, Command(), 0, False, math.nan)

    def _decide(self, verdict: Verdict, snapshot: Snapshot, command: Command, proposal: Command,
                stamp: int, limited: bool, clearance: float) -> Decision:
        self._command = command
        latest = self._odometry.latest
        braking = np.zeros((0, 3))
        if latest is not None:
            poses = self._gate.braking((latest.x, latest.y, latest.yaw), (command.v, command.w))
            braking = poses[np.linspace(0, len(poses) - 1, min(_POSES, len(poses))).astype(int)]
        values = {f'age_{name}_ms': f'{1000.0 * age:.0f}' for name, age in snapshot.ages.items()}
        values |= {f'late_{name}': str(item.late) for name, item in self._inputs.items()
                   if item.late}
        values |= {f'invalid_{name}': str(n) for name, n in self._invalid.items()}
        values |= {name: str(n) for name, n in self._counts.items()}
        values['override'] = verdict.override.value
        values['clearance'] = f'{clearance:.3f}'
        values.setdefault('interventions', '0')
        if latest is not None and self._goals.goal is not None:
            values['goal_distance'] = f'{self._goals.distance(latest.x, latest.y):.3f}'
        if self._refused or self._goals.text:
            values['refused'] = self._goals.text or self._refused
        return Decision(command, verdict.mode, verdict.reasons, verdict.override, stamp, limited,
                        self._goals.goal, values, braking, proposal)

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1

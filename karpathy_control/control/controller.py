"""The controller: every input in, one command out. No ROS, no torch, no clock of its own.

Messages are noted as they come (control.intake); everything is decided in `tick`: sensor data
enters the gate's memory at the pose that odometry had at its stamp, the supervisor judges the
inputs, and the proposal of the one who may command goes through the gate. A controller that may
not drive ramps the last command to zero within the time that the supervisor leaves it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.layout import SCAN_BEAMS
from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.contracts.types import NANOSECONDS, Command, DepthPoints, Pose2, RawScan
from karpathy_control.control.ages import Health
from karpathy_control.control.gate import BRAKING, LIMITED, UNAVOIDABLE, Gate
from karpathy_control.control.goals import GoalKeeper
from karpathy_control.control.intake import Intake
from karpathy_control.control.limits import braking_time
from karpathy_control.control.rules import EMPTY, Rules, RuleVerdict, Zone, fence_points, inside
from karpathy_control.control.rules import limits as rule_limits
from karpathy_control.control.supervisor import Snapshot, Verdict, transition
from karpathy_control.mapping.deskew import measured

_SETTLE = NANOSECONDS  # odometry must be consistent this long after a jump
_INVALID_SHOWN = NANOSECONDS  # steady; a refused message shows in the reasons this long
_DEADLINE = NANOSECONDS // 25  # steady; ticks farther apart have missed their deadline of 20 ms
_POSES = 8  # of the braking manoeuvre, for display
_FENCE_SPACING = 0.05  # m, far less than any footprint is wide
_REASON_OF = {LIMITED: Reason.GATE_LIMITED, BRAKING: Reason.GATE_BRAKING,
              UNAVOIDABLE: Reason.UNAVOIDABLE}


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


class Controller(Intake):
    """Fusion, supervision and gate of one robot.

    Takes messages by the methods of Intake and decides in `tick`. `steady` is in nanoseconds of
    CLOCK_MONOTONIC, `now` in nanoseconds of the node clock.
    """

    def __init__(self, config: ControlConfig, rules: Rules = EMPTY) -> None:
        super().__init__(config)
        self._rules = rules
        self._fenced: tuple[Zone, ...] = ()
        self._gate = Gate(config)
        self.goals = GoalKeeper(config.goal)
        self._commanders = 0
        self._audit_lost = False
        self._now: int | None = None
        self._ticked: int | None = None  # steady, ns
        self._command = Command()
        self._stop: tuple[Command, int, int] | None = None  # from, steady begin and end, ns
        self._invalid_until = 0
        self._intervening = False

    # -- goals and life -----------------------------------------------------------------------

    def on_goal(self, x: float, y: float) -> None:
        """Take a goal in odom, m; it pre-empts the last."""
        self.goals.set(x, y)

    def adopt_goal(self, x: float, y: float) -> None:
        """Take over a goal after a restart; ignored once a goal was handled here."""
        self.goals.adopt(x, y)

    def refuse_goal(self, text: str) -> None:
        """Note that a goal could not be understood."""
        self.goals.refuse(text)

    def cancel_goal(self) -> tuple[bool, str]:
        """Give the goal up. Returns (done, text)."""
        return self.goals.cancel()

    def set_commanders(self, n: int) -> None:
        """Say how many publishers of cmd_vel there are, this one included."""
        self._commanders = n

    def set_audit_lost(self, lost: bool) -> None:
        """Say whether the last decision could not be written to the log."""
        self._audit_lost = lost

    def configure(self, config: ControlConfig) -> None:
        """Take a changed configuration while running."""
        self.config = config
        self._gate.configure(config)
        self.goals.config = config.goal

    def deactivate(self) -> None:
        """Forget inputs, goal and memory; the robot does not go on by itself afterwards."""
        self.forget_time()
        self.jumped_back = self.memory_void = False
        self.goals.cancel()
        self._command, self._stop, self._ticked = Command(), None, None
        self._gate.reset()

    def warm_up(self) -> None:
        """Compile or load every kernel, on a gate of its own."""
        gate = Gate(self.config)
        pose = np.zeros((1, 3))
        pair = np.zeros((1, 2))
        ranges = np.ones((1, 8), np.float32)
        scan = RawScan(0, 0.0, 0.1, 0.1, 10.0, ranges[0], time_increment=0.01)
        measured(scan, self.config.robot, lambda stamp: Pose2())
        gate.observe_scan(pose, ranges, -math.pi, 0.25 * math.pi, (0.0, 0.0, 0.0), 0.1, 10.0, 0.0)
        gate.observe_depth(pose, np.ones((1, 2, 2)), [[0.0, 1.0]], 2, (0.0, 0.0), 0.0)
        gate.observe_camera_scan(pose, np.ones((1, SCAN_BEAMS)), 0.0)
        gate.filter(pose, pair, [[10.0, 0.0]], 0.1)
        gate.braking(pose[0], [0.5, 0.1])

    # -- the loop -----------------------------------------------------------------------------

    def tick(self, now: int, steady: int, sim_time: bool) -> Decision:
        """Decide the command for this moment."""
        if self._ticked is not None and steady - self._ticked > _DEADLINE:
            self.count('missed_ticks')
        self._ticked = steady
        if self._now is not None and now < self._now:
            self.count('clock_jumps')
            self.forget_time()
        self._now = now
        self._ingest(now)
        latest = self.odometry.latest
        rule = RuleVerdict()
        if latest is not None:
            rule = self._apply_rules(latest.pose, now, steady, sim_time)
        snapshot = self._snapshot(now, steady, sim_time, rule)
        if latest is not None and snapshot.odom is Health.FRESH:
            verdict = transition(snapshot)
            self.goals.update(latest.x, latest.y, now / NANOSECONDS,
                               verdict.override is Override.POLICY)
            snapshot = replace(snapshot, goal=self.goals.goal is not None,
                               goal_reason=self.goals.reason, goal_blocked=self.goals.blocked)
        verdict = transition(snapshot)
        if verdict.mode in (Mode.STOPPED, Mode.EMERGENCY_STOP):
            return self._halt(verdict, snapshot, rule, now, steady)
        return self._drive(verdict, snapshot, rule, now)

    def _ingest(self, now: int) -> None:
        """Hand what has arrived to the gate, each at the pose of its stamp.

        Data from before the history, or stamped beyond what odometry can be extrapolated to, is
        left out and counted; so are what comes from the future and a scan that is not believed.
        """
        robot = self.config.robot
        while self.pending:
            item = self.pending.popleft()
            pose = self.odometry.pose_at(item.stamp)
            ahead = (item.stamp - now) / NANOSECONDS
            if pose is None or ahead > self.config.future_tolerance:
                self.count('unplaced')
                continue
            if isinstance(item, RawScan):
                told = measured(item, robot, self.odometry.pose_at)
                if told is None:
                    self.count('unplaced')
                    continue
                believed = self.believes(item, pose, told)
                item = told
            else:
                believed = True
            self._drop_void_memory()
            if not believed:
                continue
            where = [[pose.x, pose.y, pose.yaw]]
            time = item.stamp / NANOSECONDS
            if isinstance(item, DepthPoints):
                self._gate.observe_depth(where, item.xyz[:, :2], item.kind, len(item.kind),
                                         item.origin, time)
            elif not isinstance(item, RawScan):
                # With depth the scan is made of that very depth, in coarser bearings.
                if not self._depth_at(item.stamp):
                    self._gate.observe_camera_scan(where, item.ranges, time,
                                                   self.inputs['depth'].stamp is None)
            else:
                x, y, _, roll, _, yaw = robot.lidar_pose
                flip = -1.0 if math.cos(roll) < 0.0 else 1.0  # mounted upside down
                self._gate.observe_scan(where, item.ranges, flip * item.angle_min,
                                        flip * item.angle_increment, (x, y, yaw), item.range_min,
                                        item.range_max, time)
        self._drop_void_memory()

    def _depth_at(self, stamp: int) -> bool:
        """Whether depth points have come that are as new as `stamp`, or nearly so."""
        newest = self.inputs['depth'].stamp
        return newest is not None and (
            stamp - newest <= self.config.max_age.camera * NANOSECONDS)

    def _drop_void_memory(self) -> None:
        if self.memory_void:
            self.memory_void = False
            self._gate.forget()

    def _apply_rules(self, pose: Pose2, now: int, steady: int, sim_time: bool) -> RuleVerdict:
        """What the rules say here and now; fences the zones in which the robot does not stand.

        Only a person drives inside a keep-out zone, and is not to be held in it by its border.
        """
        fenced = tuple(zone for zone in self._rules.keep_out
                       if not inside(zone.polygon, pose.x, pose.y))
        if fenced != self._fenced:
            self._fenced = fenced
            self._gate.fence(fence_points(Rules(keep_out=fenced), _FENCE_SPACING))
        age = self.inputs['entities'].age(now, steady, sim_time)
        known = -self.config.future_tolerance <= age <= self.config.max_age.camera
        return rule_limits(self._rules, pose, self.table if known else None)

    def _snapshot(self, now: int, steady: int, sim_time: bool, rule: RuleVerdict) -> Snapshot:
        config, limits = self.config, self.config.max_age
        health = self.health(now, steady, sim_time)
        ages = {name: item.age(now, steady, sim_time) for name, item in self.inputs.items()}
        # A person's dead-man switch runs on the steady clock too, whatever the simulated one does.
        teleop = self.inputs['teleop']
        if teleop.received is not None and (
                steady - teleop.received > limits.teleop * NANOSECONDS):
            health['teleop'] = Health.STALE
        stalled = False
        if sim_time:
            silence = (math.inf if self.clock.received is None
                       else (steady - self.clock.received) / NANOSECONDS)
            ages['clock'] = silence
            stalled = silence > limits.clock
        if self.invalid_new:
            self.invalid_new = False
            self._invalid_until = steady + _INVALID_SHOWN
        if self.jumped_back and self._command == Command() and (
                health['odom'] is Health.FRESH
                and Health.FRESH in (health['scan'], health['depth'])):
            self.jumped_back = False
        latest = self.odometry.latest
        if self.jump_stamp is not None and latest is not None and (
                latest.stamp - self.jump_stamp >= _SETTLE):
            self.jump_stamp = None
        return Snapshot(
            **health, ages=ages, require_imu=config.require_imu,
            camera_only_speed=config.gate.camera_only_speed, emergency=self.emergency,
            second_commander=self._commanders > 1, clock_stalled=stalled,
            clock_jumped_back=self.jumped_back, odom_jump=self.jump_stamp is not None,
            motion_disagrees=self.motion_disagrees, disagreement=self.disagreement,
            camera=config.robot.camera_rate > 0.0, motion_unchecked=self.motion_unchecked,
            lidar_frozen=self.lidar_frozen,
            lidar_implausible=self.lidar_implausible,
            unsure=self.table is None, slow=any(item.slow for item in self.inputs.values()),
            action_invalid=self.action_invalid, input_invalid=steady < self._invalid_until,
            audit_lost=self._audit_lost, audit_required=config.audit.required,
            keep_out=rule.keep_out_inside, rule_speed=rule.speed_limit,
            goal=self.goals.goal is not None, goal_reason=self.goals.reason,
            goal_blocked=self.goals.blocked)

    def _drive(self, verdict: Verdict, snapshot: Snapshot, rule: RuleVerdict, now: int
               ) -> Decision:
        """Pass the proposal of the one who commands through the gate."""
        latest = self.odometry.latest
        assert latest is not None  # the supervisor lets nobody drive without odometry
        self._stop = None
        proposal, stamp = Command(), 0
        if verdict.override is Override.TELEOP:
            proposal = self.teleop
        elif verdict.override is Override.POLICY:
            assert self.action is not None  # nor the policy without an action
            proposal, stamp = self.action.command, self.action.stamp
        result = self._gate.filter(
            [[latest.x, latest.y, latest.yaw]], [[latest.v, latest.w]],
            [[proposal.v, proposal.w]], now / NANOSECONDS, verdict.speed_limit,
            None if verdict.reverse else 0.0)
        command = Command(float(result.applied[0, 0]), float(result.applied[0, 1]))
        reason = _REASON_OF.get(int(result.status[0]))
        if reason is not None:
            if not self._intervening:
                self.count('interventions')
            verdict = replace(verdict, reasons=(*verdict.reasons, reason))
        self._intervening = reason is not None
        return self._decide(verdict, snapshot, rule, command, proposal, stamp,
                            float(result.clearance[0]))

    def _halt(self, verdict: Verdict, snapshot: Snapshot, rule: RuleVerdict, now: int,
              steady: int) -> Decision:
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
        return self._decide(verdict, snapshot, rule, command, Command(), 0, math.nan)

    def _decide(self, verdict: Verdict, snapshot: Snapshot, rule: RuleVerdict, command: Command,
                proposal: Command, stamp: int, clearance: float) -> Decision:
        self._command = command
        latest = self.odometry.latest
        braking = np.zeros((0, 3))
        if latest is not None:
            poses = self._gate.braking((latest.x, latest.y, latest.yaw), (command.v, command.w))
            braking = poses[np.linspace(0, len(poses) - 1, min(_POSES, len(poses))).astype(int)]
        values = {f'age_{name}_ms': f'{1000.0 * age:.0f}' for name, age in snapshot.ages.items()}
        values |= self.values()
        values['override'] = verdict.override.value
        values['clearance'] = f'{clearance:.3f}'
        values.setdefault('interventions', '0')
        if rule.names:
            values['rules'] = ', '.join(rule.names)
        if latest is not None and self.goals.goal is not None:
            values['goal_distance'] = f'{self.goals.distance(latest.x, latest.y):.3f}'
        if self.refused or self.goals.text:
            values['refused'] = self.goals.text or self.refused
        return Decision(command, verdict.mode, verdict.reasons, verdict.override, stamp,
                        self._intervening, self.goals.goal, values, braking, proposal)

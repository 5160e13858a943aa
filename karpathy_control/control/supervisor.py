"""From the health of the inputs to the mode: one pure function, no state of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from karpathy_control.contracts.config.control import STOP_TIME
from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.control.ages import Health

EVENT = 0.1  # s until an event is seen here and its answer is at the base: graph, tick, transport


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides the mode, at one tick."""

    scan: Health
    depth: Health  # depth points: the camera's geometry
    camera_scan: Health  # what the encoder says of the camera's view
    odom: Health
    imu: Health
    action: Health
    teleop: Health
    ages: dict[str, float]  # s, by the names of the fields above; of the clock: its silence
    camera: bool = True  # the robot has one
    observation: Health = Health.FRESH  # the sets that sensor releases
    entities: Health = Health.FRESH
    require_imu: bool = False
    camera_only_speed: float = 0.4  # m/s
    emergency: bool = False
    second_commander: bool = False
    clock_stalled: bool = False
    clock_jumped_back: bool = False
    odom_jump: bool = False
    motion_disagrees: bool = False
    disagreement: float = 0.15  # s that odometry and IMU may have parted before it shows
    motion_unchecked: bool = False  # nothing compares odometry with the IMU
    lidar_frozen: bool = False
    lidar_implausible: bool = False
    unsure: bool = False  # the encoder says so of its own answer
    slow: bool = False  # an input comes at less than half of its rate
    action_invalid: bool = False
    input_invalid: bool = False
    audit_lost: bool = False
    audit_required: bool = False
    keep_out: bool = False  # the robot stands in a zone where it must not be
    rule_speed: float | None = None  # m/s, the least of the rules that hold
    goal: bool = False  # there is one in force
    goal_reason: Reason = Reason.NO_GOAL  # why there is none
    goal_blocked: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the controller may do."""

    mode: Mode
    reasons: tuple[Reason, ...]
    override: Override = Override.NOBODY
    speed_limit: float | None = None  # m/s, None: the configured ones
    reverse: bool = True
    stop_within: float = STOP_TIME  # s, time left to reach zero; of a stopping mode


def transition(s: Snapshot) -> Verdict:
    """Decide mode, reasons, who commands and the speed limit.

    Emergency stop outranks faults, faults outrank teleop, teleop outranks the policy. Every
    fault that holds is listed, so the reasons name all that must end before the robot goes on.
    """
    warnings = _warnings(s)
    faults, since = _faults(s)
    if s.emergency:
        return Verdict(Mode.EMERGENCY_STOP, (Reason.EMERGENCY_STOP, *faults, *warnings),
                       Override.EMERGENCY_STOP, stop_within=_left(since))
    if faults:
        return Verdict(Mode.STOPPED, (*faults, *warnings), stop_within=_left(since))

    driving, speed_limit, reverse = Mode.AUTONOMOUS, s.rule_speed, True
    degraded: list[Reason] = []
    if not _lidar(s):
        driving, reverse = Mode.CAMERA_ONLY, False
        speed_limit = min(s.camera_only_speed,
                          math.inf if speed_limit is None else speed_limit)
        degraded.append(Reason.LIDAR_FROZEN if s.lidar_frozen else
                        Reason.LIDAR_IMPLAUSIBLE if s.lidar_implausible else Reason.LIDAR_LOST)
    elif not s.camera:
        driving = Mode.LIDAR_ONLY
    elif Health.FRESH not in (s.depth, s.camera_scan):
        driving = Mode.LIDAR_ONLY
        degraded.append(Reason.CAMERA_LOST)
    reasons = (*degraded, *warnings)

    if s.teleop is Health.FRESH:
        return Verdict(Mode.TELEOP, reasons, Override.TELEOP, speed_limit, reverse)
    if not s.goal:
        return Verdict(Mode.IDLE, (s.goal_reason, *reasons), Override.NOBODY, speed_limit, reverse)
    if s.keep_out:
        return Verdict(Mode.STOPPED, reasons)
    if s.action_invalid or s.action is Health.FUTURE:
        return Verdict(Mode.STOPPED, (Reason.ACTION_INVALID, *reasons))
    if s.action is not Health.FRESH:
        return Verdict(Mode.STOPPED, (Reason.ACTION_STALE, *reasons),
                       stop_within=_left([s.ages.get('action', 0.0)]))
    if s.entities is not Health.FRESH or s.unsure:
        reasons = (Reason.FALLBACK, *reasons)
    if s.goal_blocked:
        reasons = (Reason.GOAL_BLOCKED, *reasons)
    return Verdict(driving, reasons, Override.POLICY, speed_limit, reverse)


def _lidar(s: Snapshot) -> bool:
    """Whether the scan can be trusted."""
    return s.scan is Health.FRESH and not (s.lidar_frozen or s.lidar_implausible)


def _warnings(s: Snapshot) -> tuple[Reason, ...]:
    """What a person should know; none of it holds the robot by itself.

    Of a chain of silent nodes the first one is named: what follows starves.
    """
    gone = (Health.STALE, Health.FUTURE)
    found = {
        Reason.INPUT_INVALID: s.input_invalid,
        Reason.DEPTH_LOST: s.depth in gone and s.camera_scan is Health.FRESH and _lidar(s),
        Reason.IMU_LOST: s.imu in gone and not s.require_imu,
        Reason.MOTION_UNCHECKED: s.motion_unchecked and s.imu is Health.FRESH,
        Reason.INPUT_SLOW: s.slow,
        Reason.SENSOR_SILENT: s.observation in gone,
        Reason.PERCEPTION_SILENT: s.entities in gone and s.observation not in gone,
        Reason.POLICY_SILENT: s.action in gone and s.entities not in gone
        and s.observation not in gone,
        Reason.AUDIT_LOST: s.audit_lost and not s.audit_required,
        Reason.KEEP_OUT: s.keep_out,
        Reason.RULE: s.rule_speed is not None,
    }
    return tuple(reason for reason, holds in found.items() if holds)


def _faults(s: Snapshot) -> tuple[list[Reason], list[float]]:
    """Reasons that hold the robot, and for how long (s) the inputs behind them have been gone."""
    faults: list[Reason] = []
    since: list[float] = []
    if s.second_commander:
        faults.append(Reason.SECOND_COMMANDER)
        since.append(EVENT)
    if s.clock_stalled:
        faults.append(Reason.CLOCK_STALLED)
        since.append(s.ages.get('clock', 0.0))
    if s.clock_jumped_back:
        faults.append(Reason.CLOCK_JUMPED_BACK)
        since.append(EVENT)
    if s.odom_jump:
        faults.append(Reason.ODOM_JUMP)
        since.append(EVENT)
    if s.motion_disagrees:
        faults.append(Reason.MOTION_DISAGREES)
        since.append(s.disagreement)
    blind = not _lidar(s) and s.depth is not Health.FRESH
    never_saw = s.scan is Health.NEVER and s.depth is Health.NEVER
    if s.odom is Health.NEVER or never_saw:
        faults.append(Reason.WAITING_FOR_INPUT)
    if s.odom in (Health.STALE, Health.FUTURE):
        faults.append(Reason.ODOM_LOST)
        since.append(s.ages.get('odom', 0.0))
    if blind and not never_saw:
        faults.append(Reason.SENSORS_LOST)
        since.append(min(s.ages.get('scan', 0.0), s.ages.get('depth', 0.0)))
    if s.require_imu and s.imu is not Health.FRESH:
        faults.append(Reason.IMU_LOST)
        since.append(s.ages.get('imu', 0.0))
    if s.audit_lost and s.audit_required:
        faults.append(Reason.AUDIT_LOST)
    return faults, since


def _left(since: list[float]) -> float:
    """Seconds left of STOP_TIME for the fault that has lasted longest."""
    return max(0.0, STOP_TIME - max((max(t, 0.0) for t in since), default=0.0))

"""The transition function, case by case."""

from dataclasses import replace

import pytest

from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.control.ages import Health
from karpathy_control.control.supervisor import Snapshot, transition

FRESH, STALE, NEVER, FUTURE = Health.FRESH, Health.STALE, Health.NEVER, Health.FUTURE
GOOD = Snapshot(scan=FRESH, depth=FRESH, camera_scan=FRESH, odom=FRESH, imu=FRESH, action=FRESH,
                teleop=NEVER, ages={}, goal=True)

CASES = [
    # what differs from a healthy robot on its way, mode, reasons, who commands
    ({}, Mode.AUTONOMOUS, (), Override.POLICY),
    ({'goal': False}, Mode.IDLE, (Reason.NO_GOAL,), Override.NOBODY),
    ({'goal': False, 'goal_reason': Reason.GOAL_REACHED}, Mode.IDLE, (Reason.GOAL_REACHED,),
     Override.NOBODY),
    ({'goal_blocked': True}, Mode.AUTONOMOUS, (Reason.GOAL_BLOCKED,), Override.POLICY),
    ({'action': NEVER}, Mode.STOPPED, (Reason.ACTION_STALE,), Override.NOBODY),
    ({'action': STALE}, Mode.STOPPED, (Reason.ACTION_STALE, Reason.POLICY_SILENT),
     Override.NOBODY),
    ({'action': FUTURE}, Mode.STOPPED, (Reason.ACTION_INVALID, Reason.POLICY_SILENT),
     Override.NOBODY),
    ({'action_invalid': True}, Mode.STOPPED, (Reason.ACTION_INVALID,), Override.NOBODY),
    ({'action': STALE, 'goal': False}, Mode.IDLE, (Reason.NO_GOAL, Reason.POLICY_SILENT),
     Override.NOBODY),
    # sensors
    ({'scan': STALE}, Mode.CAMERA_ONLY, (Reason.LIDAR_LOST,), Override.POLICY),
    ({'scan': FUTURE}, Mode.CAMERA_ONLY, (Reason.LIDAR_LOST,), Override.POLICY),
    ({'scan': NEVER}, Mode.CAMERA_ONLY, (Reason.LIDAR_LOST,), Override.POLICY),
    ({'depth': STALE}, Mode.AUTONOMOUS, (Reason.DEPTH_LOST,), Override.POLICY),
    ({'depth': NEVER}, Mode.AUTONOMOUS, (), Override.POLICY),
    ({'camera_scan': STALE}, Mode.AUTONOMOUS, (), Override.POLICY),
    ({'depth': STALE, 'camera_scan': STALE}, Mode.LIDAR_ONLY, (Reason.CAMERA_LOST,),
     Override.POLICY),
    ({'depth': NEVER, 'camera_scan': NEVER}, Mode.LIDAR_ONLY, (Reason.CAMERA_LOST,),
     Override.POLICY),
    ({'scan': STALE, 'depth': STALE}, Mode.STOPPED, (Reason.SENSORS_LOST,), Override.NOBODY),
    ({'scan': NEVER, 'depth': STALE}, Mode.STOPPED, (Reason.SENSORS_LOST,), Override.NOBODY),
    ({'scan': NEVER, 'depth': NEVER}, Mode.STOPPED, (Reason.WAITING_FOR_INPUT,), Override.NOBODY),
    ({'odom': NEVER}, Mode.STOPPED, (Reason.WAITING_FOR_INPUT,), Override.NOBODY),
    ({'odom': STALE}, Mode.STOPPED, (Reason.ODOM_LOST,), Override.NOBODY),
    ({'odom': FUTURE}, Mode.STOPPED, (Reason.ODOM_LOST,), Override.NOBODY),
    ({'imu': STALE}, Mode.AUTONOMOUS, (Reason.IMU_LOST,), Override.POLICY),
    ({'imu': NEVER}, Mode.AUTONOMOUS, (), Override.POLICY),
    ({'imu': STALE, 'require_imu': True}, Mode.STOPPED, (Reason.IMU_LOST,), Override.NOBODY),
    ({'imu': NEVER, 'require_imu': True}, Mode.STOPPED, (Reason.IMU_LOST,), Override.NOBODY),
    ({'lidar_frozen': True}, Mode.CAMERA_ONLY, (Reason.LIDAR_FROZEN,), Override.POLICY),
    ({'lidar_frozen': True, 'depth': STALE}, Mode.STOPPED, (Reason.SENSORS_LOST,),
     Override.NOBODY),
    ({'lidar_implausible': True}, Mode.CAMERA_ONLY, (Reason.LIDAR_IMPLAUSIBLE,),
     Override.POLICY),
    ({'imu': FUTURE}, Mode.AUTONOMOUS, (Reason.IMU_LOST,), Override.POLICY),
    ({'motion_disagrees': True}, Mode.STOPPED, (Reason.MOTION_DISAGREES,), Override.NOBODY),
    ({'slow': True}, Mode.AUTONOMOUS, (Reason.INPUT_SLOW,), Override.POLICY),
    ({'motion_unchecked': True}, Mode.AUTONOMOUS, (Reason.MOTION_UNCHECKED,), Override.POLICY),
    ({'motion_unchecked': True, 'imu': STALE}, Mode.AUTONOMOUS, (Reason.IMU_LOST,),
     Override.POLICY),
    # silent nodes: of a chain the first is named
    ({'observation': STALE, 'entities': STALE, 'action': STALE}, Mode.STOPPED,
     (Reason.ACTION_STALE, Reason.SENSOR_SILENT), Override.NOBODY),
    ({'entities': STALE, 'action': STALE}, Mode.STOPPED,
     (Reason.ACTION_STALE, Reason.PERCEPTION_SILENT), Override.NOBODY),
    ({'entities': STALE}, Mode.AUTONOMOUS, (Reason.FALLBACK, Reason.PERCEPTION_SILENT),
     Override.POLICY),
    ({'entities': NEVER}, Mode.AUTONOMOUS, (Reason.FALLBACK,), Override.POLICY),
    ({'unsure': True}, Mode.AUTONOMOUS, (Reason.FALLBACK,), Override.POLICY),
    ({'unsure': True, 'goal': False}, Mode.IDLE, (Reason.NO_GOAL,), Override.NOBODY),
    # log and rules
    ({'audit_lost': True}, Mode.AUTONOMOUS, (Reason.AUDIT_LOST,), Override.POLICY),
    ({'audit_lost': True, 'audit_required': True}, Mode.STOPPED, (Reason.AUDIT_LOST,),
     Override.NOBODY),
    ({'audit_required': True}, Mode.AUTONOMOUS, (), Override.POLICY),
    ({'keep_out': True}, Mode.STOPPED, (Reason.KEEP_OUT,), Override.NOBODY),
    ({'keep_out': True, 'teleop': FRESH}, Mode.TELEOP, (Reason.KEEP_OUT,), Override.TELEOP),
    ({'keep_out': True, 'goal': False}, Mode.IDLE, (Reason.NO_GOAL, Reason.KEEP_OUT),
     Override.NOBODY),
    ({'rule_speed': 0.3}, Mode.AUTONOMOUS, (Reason.RULE,), Override.POLICY),
    # the rest
    ({'second_commander': True}, Mode.STOPPED, (Reason.SECOND_COMMANDER,), Override.NOBODY),
    ({'clock_stalled': True}, Mode.STOPPED, (Reason.CLOCK_STALLED,), Override.NOBODY),
    ({'clock_jumped_back': True}, Mode.STOPPED, (Reason.CLOCK_JUMPED_BACK,), Override.NOBODY),
    ({'odom_jump': True}, Mode.STOPPED, (Reason.ODOM_JUMP,), Override.NOBODY),
    ({'input_invalid': True}, Mode.AUTONOMOUS, (Reason.INPUT_INVALID,), Override.POLICY),
    ({'emergency': True}, Mode.EMERGENCY_STOP, (Reason.EMERGENCY_STOP,), Override.EMERGENCY_STOP),
    # priorities
    ({'teleop': FRESH}, Mode.TELEOP, (), Override.TELEOP),
    ({'teleop': FRESH, 'goal': False}, Mode.TELEOP, (), Override.TELEOP),
    ({'teleop': STALE}, Mode.AUTONOMOUS, (), Override.POLICY),
    ({'teleop': FRESH, 'action_invalid': True}, Mode.TELEOP, (), Override.TELEOP),
    ({'teleop': FRESH, 'odom': STALE}, Mode.STOPPED, (Reason.ODOM_LOST,), Override.NOBODY),
    ({'teleop': FRESH, 'scan': STALE}, Mode.TELEOP, (Reason.LIDAR_LOST,), Override.TELEOP),
    ({'teleop': FRESH, 'emergency': True, 'odom': STALE}, Mode.EMERGENCY_STOP,
     (Reason.EMERGENCY_STOP, Reason.ODOM_LOST), Override.EMERGENCY_STOP),
    ({'odom': STALE, 'scan': STALE, 'depth': STALE, 'second_commander': True}, Mode.STOPPED,
     (Reason.SECOND_COMMANDER, Reason.ODOM_LOST, Reason.SENSORS_LOST), Override.NOBODY),
]


@pytest.mark.parametrize(('change', 'mode', 'reasons', 'override'), CASES)
def test_case(change, mode, reasons, override):
    verdict = transition(replace(GOOD, **change))
    assert (verdict.mode, verdict.reasons, verdict.override) == (mode, reasons, override)


def test_without_the_lidar_it_goes_slowly_and_not_backwards():
    verdict = transition(replace(GOOD, scan=STALE, camera_only_speed=0.35))
    assert (verdict.speed_limit, verdict.reverse) == (0.35, False)
    verdict = transition(replace(GOOD, scan=STALE, teleop=FRESH))
    assert (verdict.speed_limit, verdict.reverse) == (0.4, False)
    assert transition(GOOD).speed_limit is None and transition(GOOD).reverse


@pytest.mark.parametrize(('change', 'limit'), [
    ({'rule_speed': 0.3}, 0.3),
    ({'rule_speed': 0.3, 'teleop': FRESH}, 0.3),
    ({'rule_speed': 0.3, 'scan': STALE}, 0.3),  # the lower of 0.3 and 0.4
    ({'rule_speed': 0.9, 'scan': STALE}, 0.4),
])
def test_the_lower_of_two_speed_limits_holds(change, limit):
    assert transition(replace(GOOD, **change)).speed_limit == limit


@pytest.mark.parametrize(('change', 'left'), [
    ({'odom': STALE, 'ages': {'odom': 0.16}}, 0.09),  # 0.25 - 0.16
    ({'action': STALE, 'ages': {'action': 0.21}}, 0.04),
    ({'scan': STALE, 'depth': STALE, 'ages': {'scan': 0.5, 'depth': 0.24}}, 0.01),
    ({'clock_stalled': True, 'ages': {'clock': 0.31}}, 0.0),
    ({'second_commander': True}, 0.15),
    ({'odom_jump': True}, 0.15),
    ({'clock_jumped_back': True}, 0.15),
    ({'motion_disagrees': True}, 0.1),
    ({'emergency': True}, 0.25),
    ({'emergency': True, 'odom': STALE, 'ages': {'odom': 0.2}}, 0.05),
])
def test_the_stop_ends_within_0_3_s_of_the_fault(change, left):
    assert transition(replace(GOOD, **change)).stop_within == pytest.approx(left)

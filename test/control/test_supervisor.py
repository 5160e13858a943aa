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
    ({'action': STALE}, Mode.STOPPED, (Reason.ACTION_STALE,), Override.NOBODY),
    ({'action': FUTURE}, Mode.STOPPED, (Reason.ACTION_INVALID,), Override.NOBODY),
    ({'action_invalid': True}, Mode.STOPPED, (Reason.ACTION_INVALID,), Override.NOBODY),
    ({'action': STALE, 'goal': False}, Mode.IDLE, (Reason.NO_GOAL,), Override.NOBODY),
    # sensors
    ({'scan': STALE}, Mode.CAMERA_ONLY, (Reason.LIDAR_LOST,), Override.POLICY),
    ({'scan': FUTURE}, Mode.CAMERA_ONLY, (Reason.LIDAR_LOST,), Override.POLICY),
    ({'scan': NEVER}, Mode.CAMERA_ONLY, (Reason.LIDAR_LOST,), Override.POLICY),
    ({'depth': STALE}, Mode.AUTONOMOUS, (), Override.POLICY),
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


@pytest.mark.parametrize(('change', 'left'), [
    ({'odom': STALE, 'ages': {'odom': 0.16}}, 0.14),  # 0.3 - 0.16
    ({'action': STALE, 'ages': {'action': 0.21}}, 0.09),
    ({'scan': STALE, 'depth': STALE, 'ages': {'scan': 0.5, 'depth': 0.26}}, 0.04),
    ({'clock_stalled': True, 'ages': {'clock': 0.31}}, 0.0),
    ({'second_commander': True}, 0.3),
    ({'emergency': True}, 0.3),
    ({'emergency': True, 'odom': STALE, 'ages': {'odom': 0.2}}, 0.1),
])
def test_the_stop_ends_within_0_3_s_of_the_fault(change, left):
    assert transition(replace(GOOD, **change)).stop_within == pytest.approx(left)

"""Whole verdicts: time left, limits that go along, and every state of every input."""

from dataclasses import replace
from itertools import product

import pytest

from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.control.ages import Health
from karpathy_control.control.supervisor import STOP_TIME, Snapshot, Verdict, transition

FRESH, STALE, NEVER, FUTURE = Health.FRESH, Health.STALE, Health.NEVER, Health.FUTURE
GOOD = Snapshot(scan=FRESH, depth=FRESH, camera_scan=FRESH, odom=FRESH, imu=FRESH, action=FRESH,
                teleop=NEVER, ages={}, goal=True)


def verdict(**changes):
    return transition(replace(GOOD, **changes))


def test_a_snapshot_begins_without_a_complaint():
    assert verdict() == Verdict(Mode.AUTONOMOUS, (), Override.POLICY)
    assert verdict() == Verdict(Mode.AUTONOMOUS, (), Override.POLICY, None, True, STOP_TIME)


@pytest.mark.parametrize('change', [
    {'clock_stalled': True}, {'odom': STALE}, {'odom': FUTURE}, {'scan': STALE, 'depth': STALE},
    {'imu': STALE, 'require_imu': True}, {'action': STALE}, {'action': NEVER},
    {'audit_lost': True, 'audit_required': True}, {'odom': NEVER}, {'keep_out': True},
    {'action_invalid': True}, {'emergency': True}])
def test_what_has_no_age_leaves_all_the_time(change):
    assert verdict(**change).stop_within == STOP_TIME
    # and what leads the clock is not young
    early = dict.fromkeys(('clock', 'odom', 'scan', 'depth', 'imu', 'action'), -0.2)
    assert verdict(**change, ages=early).stop_within == STOP_TIME


@pytest.mark.parametrize(('change', 'name'), [
    ({'clock_stalled': True}, 'clock'), ({'odom': STALE}, 'odom'),
    ({'imu': STALE, 'require_imu': True}, 'imu'), ({'imu': NEVER, 'require_imu': True}, 'imu'),
    ({'action': STALE}, 'action')])
def test_the_age_of_the_input_counts_and_of_no_other(change, name):
    ages = dict.fromkeys(('clock', 'odom', 'scan', 'depth', 'imu', 'action'), 0.2)
    assert verdict(**change, ages=ages | {name: 0.1}).stop_within == pytest.approx(
        STOP_TIME - 0.1)
    assert verdict(**change, ages={name: 9.0}).stop_within == 0.0


def test_of_the_eyes_the_one_that_saw_last_counts():
    for scan, depth, age in ((0.2, 0.1, 0.1), (0.05, 0.1, 0.05)):
        found = verdict(scan=STALE, depth=STALE, ages={'scan': scan, 'depth': depth})
        assert found.stop_within == pytest.approx(STOP_TIME - age)
    for ages in ({'scan': 0.2}, {'depth': 0.2}):
        assert verdict(scan=STALE, depth=STALE, ages=ages).stop_within == STOP_TIME


def test_of_several_faults_the_oldest_counts():
    found = verdict(odom=STALE, clock_stalled=True, ages={'odom': 0.05, 'clock': 0.2})
    assert found.stop_within == pytest.approx(STOP_TIME - 0.2)
    assert found.reasons == (Reason.CLOCK_STALLED, Reason.ODOM_LOST)
    found = verdict(odom=STALE, second_commander=True, emergency=True, ages={'odom': 0.2})
    assert found == Verdict(Mode.EMERGENCY_STOP, (
        Reason.EMERGENCY_STOP, Reason.SECOND_COMMANDER, Reason.ODOM_LOST),
        Override.EMERGENCY_STOP, stop_within=pytest.approx(STOP_TIME - 0.2))


@pytest.mark.parametrize(('change', 'mode', 'override', 'reason'), [
    ({}, Mode.CAMERA_ONLY, Override.POLICY, ()),
    ({'teleop': FRESH}, Mode.TELEOP, Override.TELEOP, ()),
    ({'goal': False}, Mode.IDLE, Override.NOBODY, (Reason.NO_GOAL,))])
@pytest.mark.parametrize(('lidar', 'why'), [
    ({'scan': STALE}, Reason.LIDAR_LOST), ({'lidar_frozen': True}, Reason.LIDAR_FROZEN),
    ({'lidar_implausible': True}, Reason.LIDAR_IMPLAUSIBLE),
    ({'lidar_frozen': True, 'lidar_implausible': True}, Reason.LIDAR_FROZEN)])
def test_whoever_commands_without_the_lidar_has_its_limits(change, mode, override, reason, lidar,
                                                           why):
    assert verdict(**change, **lidar, camera_only_speed=0.3) == Verdict(
        mode, (*reason, why), override, 0.3, False)
    assert verdict(**change, rule_speed=0.2) == Verdict(
        Mode.AUTONOMOUS if mode is Mode.CAMERA_ONLY else mode, (*reason, Reason.RULE), override,
        0.2, True)


@pytest.mark.parametrize(('scan', 'depth', 'camera'), list(product(Health, repeat=3)))
def test_what_it_can_see_with(scan, depth, camera):
    found = verdict(scan=scan, depth=depth, camera_scan=camera)
    if scan is FRESH:
        lost = FRESH not in (depth, camera)
        assert found.mode is (Mode.LIDAR_ONLY if lost else Mode.AUTONOMOUS)
        assert (Reason.CAMERA_LOST in found.reasons) == lost
        # the one half of the camera is missed only while the other is there
        assert (Reason.DEPTH_LOST in found.reasons) == (
            camera is FRESH and depth in (STALE, FUTURE))
    elif depth is FRESH:
        assert found.mode is Mode.CAMERA_ONLY and found.reasons == (Reason.LIDAR_LOST,)
    else:
        assert found.mode is Mode.STOPPED
        assert found.reasons == ((Reason.WAITING_FOR_INPUT,) if scan is depth is NEVER
                                 else (Reason.SENSORS_LOST,))


@pytest.mark.parametrize('state', list(Health))
def test_a_lidar_that_is_not_believed_and_no_depth_are_no_eyes(state):
    for change in ({'lidar_frozen': True}, {'lidar_implausible': True}):
        found = verdict(depth=state, **change)
        assert found.mode is (Mode.CAMERA_ONLY if state is FRESH else Mode.STOPPED)
        assert (found.reasons == (Reason.SENSORS_LOST,)) == (state is not FRESH)


@pytest.mark.parametrize(('observation', 'entities', 'action'), list(product(Health, repeat=3)))
def test_the_first_silent_node_of_the_chain_is_named(observation, entities, action):
    found = verdict(observation=observation, entities=entities, action=action, teleop=FRESH)
    chain = [(observation, Reason.SENSOR_SILENT), (entities, Reason.PERCEPTION_SILENT),
             (action, Reason.POLICY_SILENT)]
    silent = [reason for state, reason in chain if state in (STALE, FUTURE)]
    assert found == Verdict(Mode.TELEOP, tuple(silent[:1]), Override.TELEOP)


@pytest.mark.parametrize('state', list(Health))
def test_the_policy_follows_the_map_without_entities(state):
    found = verdict(entities=state)
    assert (Reason.FALLBACK in found.reasons) == (state is not FRESH)
    assert verdict(unsure=True, goal_blocked=True) == Verdict(
        Mode.AUTONOMOUS, (Reason.GOAL_BLOCKED, Reason.FALLBACK), Override.POLICY)


@pytest.mark.parametrize(('state', 'required'), list(product(Health, (False, True))))
def test_the_imu_warns_or_holds(state, required):
    found = verdict(imu=state, require_imu=required)
    if required:
        assert (found.mode is Mode.STOPPED) == (state is not FRESH)
        assert found.reasons == (() if state is FRESH else (Reason.IMU_LOST,))
    else:
        assert found == Verdict(Mode.AUTONOMOUS, (Reason.IMU_LOST,) if state in (STALE, FUTURE)
                                else (), Override.POLICY)


@pytest.mark.parametrize(('lost', 'required'), list(product((False, True), repeat=2)))
def test_the_log_warns_or_holds(lost, required):
    found = verdict(audit_lost=lost, audit_required=required)
    assert (found.mode is Mode.STOPPED) == (lost and required)
    assert found.reasons == ((Reason.AUDIT_LOST,) if lost else ())


def test_inside_a_keep_out_zone_only_a_person_drives():
    assert verdict(keep_out=True) == Verdict(Mode.STOPPED, (Reason.KEEP_OUT,))
    assert verdict(keep_out=True, teleop=FRESH) == Verdict(
        Mode.TELEOP, (Reason.KEEP_OUT,), Override.TELEOP)
    assert verdict(keep_out=True, goal=False).mode is Mode.IDLE


def test_all_warnings_in_their_order():
    found = verdict(input_invalid=True, depth=STALE, imu=STALE, slow=True, observation=STALE,
                    audit_lost=True, keep_out=True, rule_speed=0.5, teleop=FRESH)
    assert found.reasons == (
        Reason.INPUT_INVALID, Reason.DEPTH_LOST, Reason.IMU_LOST, Reason.INPUT_SLOW,
        Reason.SENSOR_SILENT, Reason.AUDIT_LOST, Reason.KEEP_OUT, Reason.RULE)
    faults = verdict(second_commander=True, clock_stalled=True, clock_jumped_back=True,
                     odom_jump=True, motion_disagrees=True, odom=STALE, scan=STALE, depth=STALE,
                     require_imu=True, imu=STALE, audit_lost=True, audit_required=True)
    assert faults.reasons == (
        Reason.SECOND_COMMANDER, Reason.CLOCK_STALLED, Reason.CLOCK_JUMPED_BACK,
        Reason.ODOM_JUMP, Reason.MOTION_DISAGREES, Reason.ODOM_LOST, Reason.SENSORS_LOST,
        Reason.IMU_LOST, Reason.AUDIT_LOST)


def test_a_robot_without_a_camera_misses_none():
    found = verdict(camera=False, depth=NEVER, camera_scan=NEVER)
    assert (found.mode, found.reasons, found.override) == (Mode.LIDAR_ONLY, (), Override.POLICY)
    assert verdict(depth=NEVER, camera_scan=NEVER).reasons == (Reason.CAMERA_LOST,)
    # without its lidar it has no eyes left
    lost = verdict(camera=False, depth=NEVER, camera_scan=NEVER, scan=STALE)
    assert lost.mode is Mode.STOPPED and Reason.SENSORS_LOST in lost.reasons


def test_a_longer_comparison_leaves_less_time_to_stop():
    assert verdict(motion_disagrees=True).stop_within == pytest.approx(STOP_TIME - 0.15)
    assert verdict(motion_disagrees=True, disagreement=0.2).stop_within == pytest.approx(
        STOP_TIME - 0.2)
    assert verdict(motion_disagrees=True, disagreement=0.3).stop_within == 0.0

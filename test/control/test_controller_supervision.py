"""What the controller watches beside plain silence: lies, sloth, rules and its own log."""

import math
from dataclasses import replace

import numpy as np
import pytest
from driving import Robot, driving_robot

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.contracts.layout import ENTITY_CLASSES, ENTITY_FIELDS
from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.contracts.types import Command
from karpathy_control.control.rules import EntityRule, Rules, Zone

SQUARE = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
MOVING = ENTITY_CLASSES.index('moving')


@pytest.fixture
def driving():
    return driving_robot()


# -- silent, slow and unsure nodes ----------------------------------------------------------------


@pytest.mark.parametrize(('silent', 'reason'), [
    ({'observation', 'entities', 'action', 'depth'}, Reason.SENSOR_SILENT),
    ({'entities', 'action'}, Reason.PERCEPTION_SILENT),
    ({'action'}, Reason.POLICY_SILENT),
])
def test_the_first_silent_node_of_the_chain_is_named(driving, silent, reason):
    driving.off |= silent
    assert driving.until_zero() <= 0.3
    driving.step(10)
    assert driving.decision.mode is Mode.STOPPED
    assert reason in driving.decision.reasons
    others = {Reason.SENSOR_SILENT, Reason.PERCEPTION_SILENT, Reason.POLICY_SILENT} - {reason}
    assert not others & set(driving.decision.reasons)
    driving.off -= silent
    driving.step(30)
    assert driving.decision.mode is Mode.AUTONOMOUS and reason not in driving.decision.reasons


def test_without_entities_and_with_unsure_ones_it_says_that_the_map_is_followed(driving):
    assert Reason.FALLBACK not in driving.decision.reasons
    driving.unsure = True
    driving.step(10)
    assert driving.decision.mode is Mode.AUTONOMOUS
    assert driving.decision.reasons == (Reason.FALLBACK,)
    driving.unsure = False
    driving.step(10)
    assert driving.decision.reasons == ()
    driving.off.add('entities')
    driving.step(40)
    assert set(driving.decision.reasons) == {Reason.FALLBACK, Reason.PERCEPTION_SILENT}
    assert driving.command.v == pytest.approx(0.5)


def test_an_input_at_less_than_half_of_its_rate_is_slow(driving):
    assert driving.decision.values['rate_scan_hz'] == '20.0'
    driving.off.add('scan')
    for _ in range(40):  # a scan every 0.15 s: 6.7 of 20 Hz, and each later than 2.5 periods
        driving.off.remove('scan')
        driving.step(1)
        driving.off.add('scan')
        driving.step(14)
    assert Reason.INPUT_SLOW in driving.decision.reasons
    assert driving.decision.mode is Mode.AUTONOMOUS  # 0.15 s old at most: fresh all the same
    assert float(driving.decision.values['rate_scan_hz']) == pytest.approx(6.7, abs=0.4)
    assert int(driving.decision.values['missed_scan']) >= 30


# -- frozen lidar ---------------------------------------------------------------------------------


def test_a_frozen_lidar_is_found_within_half_a_second_of_motion_and_its_memory_dropped():
    robot = Robot()
    robot.wall = 6.0
    robot.step(10)
    robot.controller.on_goal(50.0, 0.0)
    robot.step(60)
    robot.frozen = robot.scan()
    robot.step(50)
    assert robot.decision.mode is Mode.CAMERA_ONLY
    assert robot.decision.reasons[0] is Reason.LIDAR_FROZEN
    assert robot.decision.values['lidar_frozen'] == '1'
    # What was marked as free behind the false wall is void; only the camera says what is free.
    assert robot.command.v <= robot.controller.config.gate.camera_only_speed
    robot.frozen = None
    robot.step(40)
    assert robot.decision.mode is Mode.AUTONOMOUS
    assert Reason.LIDAR_FROZEN not in robot.decision.reasons


def test_a_frozen_lidar_without_a_camera_stops():
    robot = Robot()
    robot.wall = 6.0
    robot.off |= {'depth', 'camera_scan'}
    robot.step(10)
    robot.controller.on_goal(50.0, 0.0)
    robot.step(60)
    assert robot.command.v > 0.3
    robot.frozen = robot.scan()
    assert robot.until_zero() <= 0.55  # 0.5 s of motion to find it, and a few ticks of braking
    assert Reason.SENSORS_LOST in robot.decision.reasons


def test_the_watch_can_be_switched_off_and_equal_scans_of_open_space_are_normal():
    for config, wall in (({'watch_lidar': False}, 6.0), ({}, math.inf)):
        robot = Robot(config=from_mapping(ControlConfig, config))
        robot.wall = wall
        robot.step(10)
        robot.controller.on_goal(50.0, 0.0)
        robot.step(60)
        robot.frozen = robot.scan()
        robot.step(60)
        assert Reason.LIDAR_FROZEN not in robot.decision.reasons


# -- odometry against IMU -------------------------------------------------------------------------


def test_a_step_of_the_gyro_stops_within_0_3_s_and_ends_with_it():
    robot = Robot()
    robot.off.remove('imu')
    robot.step(10)
    robot.controller.on_goal(50.0, 0.0)
    robot.step(60)
    assert robot.decision.mode is Mode.AUTONOMOUS
    robot.gyro = 1.0
    assert robot.until_zero() <= 0.3
    assert Reason.MOTION_DISAGREES in robot.decision.reasons
    robot.gyro = 0.0
    robot.step(50)  # half a second of agreement
    assert robot.decision.mode is Mode.STOPPED
    robot.step(20)
    assert robot.decision.mode is Mode.AUTONOMOUS


@pytest.mark.parametrize(('bound', 'gyro'), [(0.4, 0.35), (0.0, 3.0)])
def test_a_bias_within_the_bound_or_no_bound_is_no_reason(bound, gyro):
    robot = Robot(config=from_mapping(ControlConfig, {'turn_disagreement': bound}))
    robot.off.remove('imu')
    robot.gyro = gyro
    robot.step(100)
    assert robot.decision.mode is Mode.IDLE


def test_odometry_that_repeats_itself_contradicts_itself(driving):
    stuck = driving.controller.odometry.latest
    driving.odom = lambda state: replace(stuck, stamp=state.stamp)
    # 0.5 m/s: of 0.1 m in 0.2 s 0.02 + 0.4 * 0.1 m may be missing, which 0.12 s of standing exceed
    assert driving.until_zero() <= 0.3
    assert Reason.MOTION_DISAGREES in driving.decision.reasons
    driving.odom = lambda state: state
    driving.step(150)
    assert driving.decision.mode is Mode.AUTONOMOUS


def test_a_pose_that_moves_without_a_twist_stops_too(driving):
    driving.odom = lambda state: replace(state, v=0.0)
    assert driving.until_zero() <= 0.3
    assert Reason.MOTION_DISAGREES in driving.decision.reasons


def test_silence_of_odometry_is_no_jump(driving):
    driving.wish = Command(1.0, 0.5)
    driving.step(100)
    driving.off.add('odom')
    assert driving.until_zero() <= 0.3
    driving.step(120)  # it brakes meanwhile, and nobody tells how
    driving.off.remove('odom')
    driving.step(20)
    assert driving.decision.mode is Mode.AUTONOMOUS
    assert 'odom_jumps' not in driving.decision.values


def test_a_frozen_imu_is_lost(driving):
    driving.off.remove('imu')
    driving.step(30)
    assert driving.decision.reasons == ()
    driving.imu_frozen = True
    driving.step(12)  # 10 equal samples
    assert Reason.IMU_LOST in driving.decision.reasons
    driving.imu_frozen = False
    driving.step(2)
    assert Reason.IMU_LOST not in driving.decision.reasons


# -- rules ----------------------------------------------------------------------------------------


def person(distance):
    row = np.zeros(len(ENTITY_FIELDS), np.float32)
    for name, value in (('x', distance), ('radius', 0.0), ('confidence', 0.9), ('label', MOVING)):
        row[ENTITY_FIELDS.index(name)] = value
    return row


def test_a_rule_over_entities_slows_down_and_names_itself():
    near = EntityRule('slow near people', (MOVING,), 2.0, 0.2, when_blind=0.3)
    robot = driving_robot(rules=Rules(entities=(near,)))
    robot.entities[0] = person(3.0)
    robot.step(30)
    assert robot.command.v == pytest.approx(0.5)
    robot.entities[0] = person(1.5)
    robot.step(60)
    assert robot.command.v == pytest.approx(0.2)
    assert Reason.RULE in robot.decision.reasons
    assert robot.decision.values['rules'] == 'slow near people'
    for blind in ({'entities'}, set()):  # silent, then unsure: nobody says where people are
        robot.off |= blind
        robot.unsure = not blind
        robot.step(60)
        assert robot.command.v == pytest.approx(0.3)
        robot.off -= blind
    robot.unsure = False
    robot.entities[0] = person(9.0)
    robot.step(60)
    assert robot.command.v == pytest.approx(0.5) and Reason.RULE not in robot.decision.reasons


def test_a_zone_limits_the_speed_inside_alone():
    robot = driving_robot(rules=Rules(zones=(Zone('ramp', SQUARE + np.array((2.0, 0.0)), 0.25),)))
    speeds = {}
    while robot.x < 3.5:
        robot.step()
        speeds[round(robot.x, 1)] = robot.command.v
    assert speeds[1.0] == pytest.approx(0.5) and speeds[3.2] == pytest.approx(0.5)
    assert speeds[2.0] == pytest.approx(0.25) and speeds[2.4] == pytest.approx(0.25)


def test_the_border_of_a_keep_out_zone_is_an_obstacle():
    robot = driving_robot(rules=Rules(keep_out=(Zone('stairs', SQUARE + np.array((2.5, 0.0))),)))
    robot.step(800)
    front = robot.x + robot.controller.config.robot.polygon[:, 0].max()
    assert 1.7 < front < 2.0  # the zone begins at x = 2
    assert robot.command.v == pytest.approx(0.0, abs=1e-3)
    assert Reason.GATE_BRAKING in robot.decision.reasons or (
        Reason.GATE_LIMITED in robot.decision.reasons)


def test_inside_a_keep_out_zone_only_a_person_drives_out():
    robot = Robot(rules=Rules(keep_out=(Zone('stairs', SQUARE),)))
    robot.step(10)
    robot.controller.on_goal(50.0, 0.0)
    robot.step(60)
    assert robot.decision.mode is Mode.STOPPED
    assert robot.decision.reasons == (Reason.KEEP_OUT,)
    assert robot.command == Command()
    robot.teleop = Command(0.4, 0.0)
    robot.off.remove('teleop')
    while robot.x < 1.0:
        robot.step()
        assert robot.ticks < 1000
    assert robot.decision.override is Override.TELEOP
    robot.off.add('teleop')
    robot.step(60)
    assert robot.decision.mode is Mode.AUTONOMOUS  # and the way back is closed
    robot.wish = Command(-0.3, 0.0)
    robot.step(400)
    rear = robot.x + robot.controller.config.robot.polygon[:, 0].min()
    assert rear > 0.5


# -- audit and deadlines --------------------------------------------------------------------------


def test_a_lost_log_warns_or_stops_as_configured():
    for required, mode in ((False, Mode.AUTONOMOUS), (True, Mode.STOPPED)):
        config = from_mapping(ControlConfig, {'audit.required': required})
        robot = driving_robot(config=config)
        robot.controller.set_audit_lost(True)
        robot.step(40)
        assert robot.decision.mode is mode
        assert Reason.AUDIT_LOST in robot.decision.reasons
        robot.controller.set_audit_lost(False)
        robot.step(40)
        assert robot.decision.mode is Mode.AUTONOMOUS
        assert Reason.AUDIT_LOST not in robot.decision.reasons


def test_ticks_that_come_late_are_counted(driving):
    assert 'missed_ticks' not in driving.decision.values
    driving.steady += 50_000_000
    driving.step()
    assert driving.decision.values['missed_ticks'] == '1'

"""Messages at the door: what is taken, refused, counted and forgotten, one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.contracts.interfaces import BY_NAME
from karpathy_control.contracts.layout import ENTITY_FIELDS, SCAN_BEAMS
from karpathy_control.contracts.types import (
    Action,
    Command,
    DepthPoints,
    ImuSample,
    Pose2,
    RawScan,
    Scan,
    State,
)
from karpathy_control.control.ages import Health
from karpathy_control.control.intake import TOPIC_OF, Intake

S = 1_000_000_000
MS = 1_000_000
NAN, INF = math.nan, math.inf
SCAN = RawScan(10 * S, -1.0, 0.5, 0.1, 9.0, np.array([1.0, NAN], np.float32))
STATE = State(10 * S, 1.0, 2.0, 0.5, 0.3, 0.1)
IMU = ImuSample(10 * S, (0.1, 0.2, 0.3), (0.0, 0.0, 9.81))
DEPTH = DepthPoints(10 * S, np.zeros((3, 3), np.float32), np.zeros(3, np.float32))
CAMERA = Scan(10 * S, np.zeros(SCAN_BEAMS, np.float32), 10.0)
TABLE = np.zeros((36, len(ENTITY_FIELDS)), np.float32)


@pytest.fixture
def intake():
    return Intake(ControlConfig())


def refusals(intake):
    """What was refused, and that it is new to whoever asks."""
    assert intake.invalid_new == bool(intake.invalid)
    return intake.invalid


def test_it_begins_with_nothing(intake):
    assert set(intake.inputs) == set(TOPIC_OF)
    for name, item in intake.inputs.items():
        assert item.nominal == BY_NAME[TOPIC_OF[name]].rate and item.received is None
    assert (intake.action, intake.action_invalid, intake.teleop) == (None, False, Command())
    assert not (intake.emergency or intake.memory_void or intake.jumped_back)
    assert not (intake.motion_disagrees or intake.invalid_new or intake.lidar_frozen)
    assert intake.jump_stamp is None and intake.table is None and intake.refused == ''
    assert intake.counts == {} == intake.invalid and intake.values() == {}
    assert len(intake.pending) == 0 and intake.clock.received is None
    assert set(intake.health(0, 0, True).values()) == {Health.NEVER}


# -- what is taken --------------------------------------------------------------------------------

SENT = [
    ('scan', lambda i, t, r: i.on_scan(replace(SCAN, stamp=t), r), 0.25),
    ('odom', lambda i, t, r: i.on_odom(replace(STATE, stamp=t), r), 0.15),
    ('imu', lambda i, t, r: i.on_imu(replace(IMU, stamp=t), r), 0.25),
    ('depth', lambda i, t, r: i.on_depth_points(replace(DEPTH, stamp=t), r), 0.25),
    ('observation', lambda i, t, r: i.on_observation(t, r), 0.25),
    ('camera_scan', lambda i, t, r: i.on_camera_scan(replace(CAMERA, stamp=t), r), 0.25),
    ('entities', lambda i, t, r: i.on_entities(TABLE, False, t, r), 0.25),
    ('action', lambda i, t, r: i.on_action(Action(t, Command(0.1, 0.2)), r), 0.2),
    ('teleop', lambda i, t, r: i.on_teleop(Command(0.1, 0.2), t, r), 0.25)]
AGES = {'scan': 0.31, 'odom': 0.32, 'imu': 0.33, 'camera': 0.34, 'action': 0.35, 'teleop': 0.36}
ROOM = 0.32 - ControlConfig().gate.reaction_time  # fault_budget that pays for the oldest of them


@pytest.mark.parametrize(('name', 'send', '_'), SENT, ids=[name for name, *_ in SENT])
def test_every_input_is_noted_with_stamp_and_receipt(intake, name, send, _):
    send(intake, 10 * S, 5 * S)
    item = intake.inputs.pop(name)
    assert (item.stamp, item.received) == (10 * S, 5 * S)
    assert all(other.received is None for other in intake.inputs.values())
    assert refusals(intake) == {}


@pytest.mark.parametrize(('name', 'send', '_'), SENT, ids=[name for name, *_ in SENT])
def test_each_has_its_own_age(name, send, _):
    """A stamp set back counts once the input was silent for as long as it may be old."""
    intake = Intake(from_mapping(ControlConfig, {
        'robot.fault_budget': ROOM, **{f'max_age.{k}': v for k, v in AGES.items()}}))
    age = AGES.get(name, AGES['camera'])
    send(intake, 10 * S, 5 * S)
    late = 5 * S + round(age * S) - MS
    send(intake, 10 * S - 100 * MS, late)
    assert intake.inputs[name].late == 1 and intake.inputs[name].received == 5 * S
    now = 10 * S + round(age * S)
    for off, health in ((-MS, Health.FRESH), (MS, Health.STALE)):
        assert intake.health(now + off, 5 * S, True)[name] is health
    assert intake.health(10 * S - 101 * MS, 5 * S, True)[name] is Health.FUTURE
    assert intake.health(10 * S - 99 * MS, 5 * S, True)[name] is Health.FRESH
    assert intake.health(10 * S, 5 * S + round(age * S) + MS, False)[name] is Health.STALE
    send(intake, 10 * S - 100 * MS, late + 2 * MS)
    assert intake.inputs[name].stamp == 10 * S - 100 * MS


def test_what_the_gate_reads_waits_in_order(intake):
    intake.on_depth_points(DEPTH, 0)
    intake.on_scan(SCAN, 0)
    intake.on_camera_scan(CAMERA, 0)
    assert list(intake.pending) == [DEPTH, SCAN, CAMERA]
    intake.on_scan(SCAN, 1)  # the same again
    assert len(intake.pending) == 3 and intake.inputs['scan'].late == 1
    for k in range(1, 20):
        intake.on_scan(replace(SCAN, stamp=10 * S + k), k)
    assert len(intake.pending) == 16 and intake.pending[-1].stamp == 10 * S + 19


# -- what is refused ------------------------------------------------------------------------------

NUMBERS = '2 ranges, angle_min, angle_increment, range_min, range_max '
BAD_SCANS = [
    ({'angle_min': NAN}, NUMBERS + '(nan, 0.5, 0.1, 9.0)'),
    ({'angle_increment': INF}, NUMBERS + '(-1.0, inf, 0.1, 9.0)'),
    ({'angle_increment': 0.0}, NUMBERS + '(-1.0, 0.0, 0.1, 9.0)'),
    ({'range_min': NAN}, NUMBERS + '(-1.0, 0.5, nan, 9.0)'),
    ({'range_max': INF}, NUMBERS + '(-1.0, 0.5, 0.1, inf)'),
    ({'range_max': 0.1}, NUMBERS + '(-1.0, 0.5, 0.1, 0.1)'),
    ({'range_max': 0.05}, NUMBERS + '(-1.0, 0.5, 0.1, 0.05)'),
    ({'ranges': np.ones(1, np.float32)}, '1' + NUMBERS[1:] + '(-1.0, 0.5, 0.1, 9.0)')]


@pytest.mark.parametrize(('change', 'says'), BAD_SCANS)
def test_a_scan_of_no_geometry_is_refused(intake, change, says):
    intake.on_scan(replace(SCAN, **change), 5)
    assert refusals(intake) == {'scan': 1} and intake.refused == f'scan: {says}'
    assert len(intake.pending) == 0 and intake.inputs['scan'].received is None


def test_a_scan_may_turn_clockwise_and_say_nothing(intake):
    intake.on_scan(replace(SCAN, angle_increment=-0.5, ranges=np.full(2, NAN, np.float32)), 5)
    assert refusals(intake) == {} and len(intake.pending) == 1


@pytest.mark.parametrize('k', range(5))
def test_odometry_that_is_not_finite_is_refused(intake, k):
    values = [1.0, 2.0, 0.5, 0.3, 0.1]
    values[k] = NAN
    intake.on_odom(State(10 * S, *values), 5)
    said = ', '.join('nan' if i == k else str(v) for i, v in enumerate((1.0, 2.0, 0.5, 0.3, 0.1)))
    assert refusals(intake) == {'odom': 1}
    assert intake.refused == f'odom: x, y, yaw, v, w ({said})'
    assert intake.odometry.latest is None and intake.inputs['odom'].received is None


@pytest.mark.parametrize('k', range(6))
def test_an_imu_that_is_not_finite_is_refused(intake, k):
    values = [0.0] * 6
    values[k] = INF
    intake.on_imu(ImuSample(10 * S, tuple(values[:3]), tuple(values[3:])), 5)
    assert refusals(intake) == {'imu': 1} and intake.refused == 'imu: a value is not finite'
    assert intake.inputs['imu'].received is None


@pytest.mark.parametrize(('xyz', 'kind'), [((3, 2), (3,)), ((3,), (3,)), ((3, 3), (2,)),
                                           ((3, 4), (3,))])
def test_depth_of_another_shape_is_refused(intake, xyz, kind):
    intake.on_depth_points(DepthPoints(10 * S, np.zeros(xyz, np.float32),
                                       np.zeros(kind, np.float32)), 5)
    assert refusals(intake) == {'depth': 1}
    assert intake.refused == f'depth: xyz {xyz}, kind {kind}; accepted are (n, 3) and (n,)'
    assert len(intake.pending) == 0


def test_a_camera_scan_of_another_shape_is_refused(intake):
    for k, shape in enumerate(((SCAN_BEAMS - 1,), (1, SCAN_BEAMS)), 1):
        intake.on_camera_scan(Scan(10 * S, np.zeros(shape, np.float32), 10.0), 5)
        assert refusals(intake) == {'camera_scan': k}
        assert intake.refused == f'camera_scan: {shape} ranges; accepted is ({SCAN_BEAMS},)'
    assert len(intake.pending) == 0


def test_a_table_of_another_shape_is_refused(intake):
    width = len(ENTITY_FIELDS)
    for k, shape in enumerate(((4, width - 1), (width,), (1, 4, width)), 1):
        intake.on_entities(np.zeros(shape, np.float32), False, 10 * S, 5)
        assert refusals(intake) == {'entities': k}
        assert intake.refused == f'entities: shape {shape}; accepted is (n, {width})'
    assert intake.table is None


@pytest.mark.parametrize(('v', 'w'), [(NAN, 0.2), (0.1, INF)])
def test_commands_that_are_not_finite_are_refused(intake, v, w):
    intake.on_action(Action(9 * S, Command(0.5, 0.0)), 4)
    intake.on_teleop(Command(0.5, 0.0), 9 * S, 4)
    intake.on_action(Action(10 * S, Command(v, w)), 5)
    assert refusals(intake) == {'action': 1} and intake.refused == f'action: v, w {v}, {w}'
    assert (intake.action, intake.action_invalid) == (None, True)
    assert intake.inputs['action'].stamp == 9 * S
    intake.on_teleop(Command(v, w), 10 * S, 5)
    assert refusals(intake) == {'action': 1, 'teleop': 1}
    assert intake.refused == f'teleop: v, w {v}, {w}'
    assert intake.inputs['teleop'].received is None and intake.teleop == Command(0.5, 0.0)
    # the next good ones count again
    intake.on_action(Action(11 * S, Command(0.1, 0.2)), 6)
    assert intake.action.command == Command(0.1, 0.2) and not intake.action_invalid


@pytest.mark.parametrize(('source', 'name'), [('policy/action', 'action'), ('action', 'action'),
                                              ('cmd_vel_teleop', 'teleop'), ('scan', 'scan')])
def test_a_refusal_by_topic_or_name(intake, source, name):
    for _, send, _ in SENT:
        send(intake, 10 * S, 5)
    for k in (1, 2):
        intake.on_invalid(source, 'text')
        assert refusals(intake) == {source: k} and intake.refused == f'{source}: text'
    assert (intake.action is None) == intake.action_invalid == (name == 'action')
    assert (intake.inputs['teleop'].received is None) == (name == 'teleop')
    assert intake.inputs['scan'].received == 5  # a sensor only ages
    assert intake.values()[f'invalid_{source}'] == '2'


# -- odometry -------------------------------------------------------------------------------------


def test_a_jump_voids_the_memory_and_what_waits(intake):
    intake.on_scan(SCAN, 0)
    intake.on_odom(replace(STATE, v=0.0, w=0.0), 0)
    assert not intake.memory_void and intake.jump_stamp is None and len(intake.pending) == 1
    intake.on_odom(State(10 * S + 20 * MS, 1.49, 2.0, 0.5, 0.0, 0.0), 1)  # 0.49 m
    assert not intake.memory_void
    intake.on_odom(State(10 * S + 40 * MS, 2.0, 2.0, 0.5, 0.0, 0.0), 2)
    assert intake.memory_void and intake.jump_stamp == 10 * S + 40 * MS
    assert len(intake.pending) == 0 and intake.counts == {'odom_jumps': 1}
    assert intake.odometry.latest.x == 2.0 and intake.values()['odom_jumps'] == '1'


def test_odometry_far_behind_is_a_clock_set_back(intake):
    for _, send, _ in SENT:
        send(intake, 10 * S, 5)
    intake.on_odom(replace(STATE, stamp=10 * S - 500 * MS), 6)  # just as far as is late
    assert intake.inputs['odom'].late == 1 and not intake.jumped_back
    intake.on_odom(replace(STATE, stamp=10 * S - 501 * MS), 7)
    assert intake.jumped_back and intake.memory_void
    assert intake.odometry.latest.stamp == 10 * S - 501 * MS
    assert intake.action is None and len(intake.pending) == 0 and intake.table is None
    assert [name for name, item in intake.inputs.items() if item.received] == ['odom']


def test_odometry_a_little_behind_after_a_silence_starts_anew(intake):
    intake.on_odom(STATE, 0)
    for stamp in (10 * S - 100 * MS, 10 * S - 100 * MS):
        intake.on_odom(replace(STATE, stamp=stamp, x=1.01), S)
        assert intake.odometry.latest.stamp == stamp and not intake.jumped_back
        assert intake.odometry.pose_at(stamp - 1) is None
        assert intake.odometry.pose_at(stamp).x == 1.01
    assert not intake.memory_void


def turning(intake, start, count, wheels, gyro):
    """Odometry and IMU every 10 ms; whether they disagreed at the end."""
    for k in range(count):
        t = start + 10 * MS * k
        intake.on_imu(ImuSample(t, (0.0, 0.0, gyro), (0.0, 1e-3 * (k % 3), 9.81)), t)
        intake.on_odom(State(t, 0.0, 0.0, 0.01 * wheels * (t - 10 * S) / (10 * MS), 0.0, wheels),
                       t)
    return intake.motion_disagrees


@pytest.mark.parametrize(('bound', 'gyro', 'disagree'), [
    (0.4, 0.5, False), (0.4, 0.95, True), (0.4, 0.8, False), (0.0, 9.0, False), (0.2, 0.8, True)])
def test_wheels_and_gyro_are_held_together(bound, gyro, disagree):
    intake = Intake(from_mapping(ControlConfig, {'turn_disagreement': bound}))
    assert turning(intake, 10 * S, 20, 0.5, gyro) == disagree


def test_the_gyro_counts_about_the_vertical_axis(intake):
    for k in range(20):
        t = 10 * S + 10 * MS * k
        intake.on_imu(ImuSample(t, (9.0, 9.0, 0.0), (0.0, 1e-3 * (k % 3), 9.81)), t)
        intake.on_odom(State(t, 0.0, 0.0, 0.0, 0.0, 0.0), t)
    assert not intake.motion_disagrees


def test_odometry_that_contradicts_itself_disagrees_for_half_a_second(intake):
    """A pose that stands at 1 m/s for 0.3 s; then it moves."""
    x, last = 0.0, None
    for k in range(60):
        stamp = 10 * S + 20 * MS * k
        x += 0.0 if k <= 15 else 0.02
        intake.on_odom(State(stamp, x, 0.0, 0.0, 1.0, 0.0), stamp)
        if intake.odometry.contradicts_itself:
            last = stamp
        assert intake.motion_disagrees == (last is not None and stamp - last < 500 * MS)
    assert last is not None and not intake.motion_disagrees


# -- the IMU --------------------------------------------------------------------------------------


def imu_frozen(intake, now=10 * S + 30 * MS):
    return intake.health(now, now, False)['imu'] is Health.STALE


@pytest.mark.parametrize(('v', 'w', 'frozen'), [
    (0.06, 0.0, True), (0.0, 0.06, True), (-0.06, 0.0, True), (0.0, -0.06, True),
    (0.05, 0.05, False), (0.0, 0.0, False)])
def test_an_imu_that_repeats_while_the_robot_moves_is_none(intake, v, w, frozen):
    intake.on_odom(State(10 * S, 0.0, 0.0, 0.0, v, w), 10 * S)
    for k in range(10):  # the first and nine that are equal to it
        intake.on_imu(replace(IMU, stamp=10 * S + k), 10 * S + k)
        assert not imu_frozen(intake)
    for k in (10, 11):
        intake.on_imu(replace(IMU, stamp=10 * S + k), 10 * S + k)
        assert imu_frozen(intake) == frozen
    # one number that differs is life
    intake.on_imu(ImuSample(10 * S + 12, IMU.angular_velocity, (0.0, 1e-9, 9.81)), 10 * S + 12)
    assert not imu_frozen(intake)


def test_without_odometry_nothing_tells_that_the_robot_moves(intake):
    for k in range(20):
        intake.on_imu(replace(IMU, stamp=10 * S + k), 10 * S + k)
    assert not imu_frozen(intake)


def test_equal_samples_count_from_where_the_motion_begins(intake):
    intake.on_odom(State(10 * S, 0.0, 0.0, 0.0, 0.0, 0.0), 10 * S)
    for k in range(15):
        intake.on_imu(replace(IMU, stamp=10 * S + k), 10 * S + k)
    intake.on_odom(State(10 * S + 20 * MS, 0.0, 0.0, 0.0, 0.5, 0.0), 10 * S)
    for k in range(15, 24):
        intake.on_imu(replace(IMU, stamp=10 * S + k), 10 * S + k)
        assert not imu_frozen(intake)
    intake.on_imu(replace(IMU, stamp=10 * S + 24), 10 * S + 24)
    assert imu_frozen(intake)


# -- people and the rest --------------------------------------------------------------------------


def test_teleop_without_a_stamp_ages_by_receipt(intake):
    for stamp in (None, 0):
        intake.on_teleop(Command(0.1, 0.2), stamp, 7)
        assert intake.inputs['teleop'].stamp is None and intake.teleop == Command(0.1, 0.2)
    intake.on_teleop(Command(0.3, 0.2), 5 * S, 8)
    assert intake.inputs['teleop'].stamp == 5 * S and intake.teleop == Command(0.3, 0.2)
    intake.on_teleop(Command(0.9, 0.9), 4 * S, 9)  # late
    assert intake.teleop == Command(0.3, 0.2)


def test_the_emergency_stop_latches(intake):
    assert intake.reset_emergency_stop() == (True, 'emergency stop released')  # nobody pressed it
    intake.on_emergency_stop(False)
    assert not intake.emergency
    intake.on_emergency_stop(True)
    assert intake.emergency
    assert intake.reset_emergency_stop() == (
        False, 'emergency_stop is still true; publish false first')
    assert intake.emergency
    intake.on_emergency_stop(False)
    assert intake.emergency
    assert intake.reset_emergency_stop() == (True, 'emergency stop released')
    assert not intake.emergency
    assert intake.reset_emergency_stop() == (True, 'emergency stop released')


def test_a_clock_that_repeats_itself_is_silent(intake):
    intake.on_clock(10 * S, 5)
    intake.on_clock(10 * S, 6)
    assert (intake.clock.stamp, intake.clock.received) == (10 * S, 5)
    intake.on_clock(9 * S, 7)  # set back, but it runs
    assert (intake.clock.stamp, intake.clock.received) == (9 * S, 7)


def test_entities_that_the_encoder_is_unsure_of_are_none(intake):
    intake.on_entities(TABLE, False, 10 * S, 0)
    assert intake.table is TABLE
    intake.on_entities(TABLE + 1, False, 9 * S, 1)  # late
    assert intake.table is TABLE
    intake.on_entities(TABLE, True, 11 * S, 2)
    assert intake.table is None and intake.inputs['entities'].stamp == 11 * S


def test_a_frozen_lidar_is_watched_and_voids_the_memory_once(intake):
    """A wall ahead that stays as far away while odometry drives at it at 1 m/s."""
    bearings = -0.6 + 0.02 * np.arange(61)
    wall = RawScan(0, -0.6, 0.02, 0.1, 9.0, (2.0 / np.cos(bearings)).astype(np.float32))
    frozen = []
    for k in range(12):
        t = 10 * S + 50 * MS * k
        intake.on_odom(State(t, 0.05 * k, 0.0, 0.0, 1.0, 0.0), t)
        believed = intake.believes(replace(wall, stamp=t), Pose2(0.05 * k, 0.0, 0.0))
        frozen.append(intake.lidar_frozen)
        assert believed is not frozen[-1]
    assert frozen[0] is False and frozen[-1] is True
    assert intake.counts == {'lidar_frozen': 1} and intake.memory_void
    intake.config = from_mapping(ControlConfig, {'watch_lidar': False})
    assert not intake.lidar_frozen
    intake.config = ControlConfig()
    assert intake.lidar_frozen
    intake.forget_time()
    assert not intake.lidar_frozen


def test_a_lidar_that_is_not_watched_is_believed():
    bearings = -0.6 + 0.02 * np.arange(61)
    wall = RawScan(0, -0.6, 0.02, 0.1, 9.0, (2.0 / np.cos(bearings)).astype(np.float32))
    intake = Intake(from_mapping(ControlConfig, {'watch_lidar': False}))
    for k in range(12):
        scan = replace(wall, stamp=50 * MS * k, ranges=wall.ranges if k < 9 else wall.ranges * 2)
        assert intake.believes(scan, Pose2(0.05 * k, 0.0, 0.0))
    assert intake.counts == {} and not intake.memory_void
    assert not (intake.lidar_frozen or intake.lidar_implausible)


def test_a_scan_that_contradicts_the_one_before_is_not_believed_and_counted(intake):
    bearings = -0.6 + 0.02 * np.arange(61)
    wall = RawScan(0, -0.6, 0.02, 0.1, 9.0, (2.0 / np.cos(bearings)).astype(np.float32))
    assert intake.believes(wall, Pose2())
    assert not intake.believes(replace(wall, stamp=50 * MS, ranges=wall.ranges * 2), Pose2())
    assert intake.lidar_implausible and not intake.lidar_frozen and not intake.memory_void
    assert intake.counts == {'lidar_implausible': 1}
    intake.config = from_mapping(ControlConfig, {'watch_lidar': False})
    assert not intake.lidar_implausible
    intake.config = ControlConfig()
    assert intake.believes(replace(wall, stamp=100 * MS), Pose2())
    assert not intake.lidar_implausible


def test_a_clock_set_back_forgets_all_that_carries_a_stamp(intake):
    turning(intake, 10 * S, 20, 0.0, 3.0)
    intake.on_odom(State(11 * S, 9.0, 0.0, 0.0, 0.0, 0.0), 11 * S)
    for _, send, _ in SENT:
        send(intake, 12 * S, 12 * S)
    intake.on_action(Action(13 * S, Command(NAN, 0.0)), 13 * S)
    assert intake.motion_disagrees or intake.jump_stamp
    intake.forget_time()
    assert all(item.received is None and math.isnan(item.interval)
               for item in intake.inputs.values())
    assert intake.odometry.latest is None and len(intake.pending) == 0
    assert (intake.action, intake.action_invalid, intake.table) == (None, False, None)
    assert not intake.motion_disagrees and intake.jump_stamp is None
    assert intake.jumped_back and intake.memory_void
    # nothing of the gyro is left either
    assert not turning(intake, 10 * S, 2, 0.0, 0.0)


def test_counts_and_rates_for_people(intake):
    for k in range(3):
        intake.on_scan(replace(SCAN, stamp=10 * S + 100 * MS * k), k)
        intake.on_teleop(Command(), 10 * S + 100 * MS * k, k)
    intake.on_scan(SCAN, 3)
    intake.on_scan(replace(SCAN, stamp=20 * S), 4)
    intake.count('ticks')
    intake.count('ticks')
    intake.on_invalid('odom', 'x')
    nominal = BY_NAME['scan'].rate
    assert nominal > 0 and BY_NAME['cmd_vel_teleop'].rate == 0
    rate = 1.0 / (0.1 + 0.1 * (9.8 - 0.1))
    missed = int(0.1 * nominal > 2.5) * 2 + 1
    assert intake.values() == {'rate_scan_hz': f'{rate:.1f}', 'late_scan': '1',
                               'missed_scan': str(missed), 'invalid_odom': '1', 'ticks': '2'}


@pytest.mark.parametrize(('period', 'bound', 'unchecked'), [
    (20, 0.4, False), (50, 0.4, True), (50, 0.0, False)])
def test_odometry_that_is_too_slow_for_the_comparison_is_said(period, bound, unchecked):
    """IMU every 10 ms; odometry every 50 ms gives two samples in 0.1 s, of three needed."""
    intake = Intake(from_mapping(ControlConfig, {'turn_disagreement': bound}))
    for k in range(200):
        t = 10 * S + 10 * MS * k
        intake.on_imu(ImuSample(t, (0.0, 0.0, 0.0), (0.0, 1e-3 * (k % 3), 9.81)), t)
        if 10 * k % period == 0:
            intake.on_odom(State(t, 0.0, 0.0, 0.0, 0.0, 0.0), t)
    assert intake.motion_unchecked is unchecked

"""What the controller makes of time, of what it hands to the gate, and of rules."""

import math

import numpy as np
import pytest
from ticking import MS, NAN, START, Loop, S, config, memory, ready

from karpathy_control.contracts.layout import ENTITY_CLASSES, ENTITY_FIELDS, SCAN_BEAMS
from karpathy_control.contracts.modes import Mode, Reason
from karpathy_control.contracts.types import Command, DepthPoints, Pose2, Scan
from karpathy_control.control.memory import EMPTY
from karpathy_control.control.rules import EntityRule, Rules, Zone, fence_points

SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


@pytest.fixture
def loop():
    return ready()


# -- time -----------------------------------------------------------------------------------------


def test_ticks_farther_apart_than_40_ms_are_counted(loop):
    for later, missed in ((0, None), (40, None), (41, '1'), (10, '1'), (500, '2')):
        assert loop.tick(later).values.get('missed_ticks') == missed


def test_a_clock_set_back_forgets_and_stops_until_it_stands(loop):
    loop.tick()
    loop.controller._command = Command(0.2, 0.0)
    decision = loop.controller.tick(loop.now - 1, loop.steady + MS, False)
    assert Reason.CLOCK_JUMPED_BACK in decision.reasons and decision.mode is Mode.STOPPED
    assert decision.values['clock_jumps'] == '1' and decision.values['age_scan_ms'] == 'inf'
    assert not memory(loop).started[0] and not memory(loop).disc[0]
    loop.time += 50
    loop.everything()
    decision = loop.tick()
    assert decision.reasons == (Reason.CLOCK_JUMPED_BACK,) and decision.command.v > 0.0
    loop.time += 100
    loop.everything()
    assert loop.tick().command == Command()
    assert loop.tick(1).mode is Mode.AUTONOMOUS
    assert loop.tick(0).values['clock_jumps'] == '1'  # the same time again is none


@pytest.mark.parametrize(('scan', 'depth', 'odom', 'over'), [
    (True, False, True, True), (False, True, True, True), (False, False, True, False),
    (True, True, False, False)])
def test_a_clock_set_back_is_over_once_it_sees_and_knows_where_it_is(loop, scan, depth, odom,
                                                                     over):
    loop.tick()
    loop.controller._command = Command()
    loop.controller.tick(loop.now - 1, loop.steady, False)
    loop.time += 50
    if odom:
        loop.odom()
    if scan:
        loop.scan()
    if depth:
        loop.depth()
    assert (Reason.CLOCK_JUMPED_BACK in loop.tick().reasons) != over


def test_an_odometry_jump_shows_for_a_second_of_stamps(loop):
    loop.tick()
    loop.time += 20
    loop.odom(x=3.0)
    assert loop.tick().reasons == (Reason.ODOM_JUMP,)
    assert not memory(loop).started[0]
    for later, shows in ((500, True), (499, True), (1, False)):
        loop.time += later
        loop.odom(x=3.0)
        loop.scan()
        assert (Reason.ODOM_JUMP in loop.tick().reasons) == shows


def test_a_refused_message_shows_for_a_second(loop):
    loop.tick()
    loop.controller.on_invalid('imu', 'broken')
    decision = loop.tick(5)
    assert Reason.INPUT_INVALID in decision.reasons
    assert decision.values['refused'] == 'imu: broken' and decision.values['invalid_imu'] == '1'
    assert Reason.INPUT_INVALID in loop.tick(999).reasons
    assert Reason.INPUT_INVALID not in loop.tick(1).reasons
    loop.controller.refuse_goal('frame map is unknown')
    assert loop.tick(1).values['refused'] == 'frame map is unknown'  # the newer kind of refusal


# -- what the gate is given -----------------------------------------------------------------------


def obstacles(loop, layer):
    m = memory(loop)
    cells = getattr(m, f'{layer}_cells')[0][:getattr(m, f'{layer}_count')[0]]
    points = getattr(m, layer)[0].reshape(-1, 4)[cells][:, :2].astype(float)
    return {tuple(p) for p in (points.round(3) + 0.0).tolist()}


def one_beam(k, distance):
    ranges = np.full(24, NAN)
    ranges[k] = distance
    return ranges


def test_a_scan_is_placed_where_the_robot_was_at_its_stamp():
    """At 1 m/s, half way between two stamps 0.1 s apart; the lidar is 0.055 m ahead of base."""
    loop = Loop()
    loop.odom(0.0, 0.0, 0.0, 1.0)
    loop.time = 50
    loop.scan(one_beam(12, 1.0))
    loop.time = 100
    loop.odom(0.1, 0.0, 0.0, 1.0)
    loop.tick()
    assert obstacles(loop, 'lidar') == {(1.105, 0.0)}
    assert memory(loop).epoch[0] == START / S + 0.05


@pytest.mark.parametrize(('roll', 'y'), [(0.0, 1.0), (math.pi, -1.0), (1.5, 1.0), (1.6, -1.0)])
def test_a_lidar_that_hangs_upside_down_turns_the_other_way(roll, y):
    loop = Loop(config(robot__lidar_pose=[0.055, 0.02, 0.3, roll, 0.0, 0.0]))
    loop.odom()
    loop.scan(one_beam(18, 1.0))  # a quarter turn left of ahead
    loop.tick()
    assert obstacles(loop, 'lidar') == {(0.055, 0.02 + y)}


def test_a_lidar_that_looks_aside():
    loop = Loop(config(robot__lidar_pose=[0.055, 0.02, 0.3, 0.0, 0.0, math.pi / 2]))
    loop.odom()
    loop.scan(one_beam(12, 1.0))
    loop.scan(one_beam(12, 0.05), stamp=loop.now + 1)  # nearer than it measures: 0.1 m, inside
    loop.tick()
    assert obstacles(loop, 'lidar') == {(0.055, 1.02)}


def test_ranges_by_the_bounds_of_the_sensor():
    loop = Loop()
    loop.odom()
    loop.scan(one_beam(12, 1.0), range_max=0.9)
    loop.scan(one_beam(12, 0.3), range_min=0.7, stamp=loop.now + 1)
    loop.tick()
    assert obstacles(loop, 'lidar') == {(0.755, 0.0)}


def beside(distance=0.8):
    """A camera scan of one obstacle on the left, and where the gate keeps it."""
    ranges = np.full(SCAN_BEAMS, NAN, np.float32)
    ranges[3 * SCAN_BEAMS // 4] = distance
    bearing = math.pi / 2 + math.pi / SCAN_BEAMS
    return ranges, (round(distance * math.cos(bearing), 3), round(distance * math.sin(bearing), 3))


@pytest.mark.parametrize(('age', 'taken'), [(None, True), (0, False), (250, False), (260, True)])
def test_a_camera_scan_counts_only_where_there_is_no_depth_as_new(age, taken):
    """max_age.camera is 0.25 s; `age` in ms by which the depth is older than the scan."""
    loop = Loop()
    loop.odom()
    if age is not None:
        loop.depth((1.0, 0.5))
        loop.tick()
        loop.time += age
        loop.odom()
    ranges, kept = beside()
    loop.controller.on_camera_scan(Scan(loop.now, ranges, 10.0), loop.steady)
    loop.tick()
    assert (kept in obstacles(loop, 'camera')) is taken


@pytest.mark.parametrize('depth_before', [False, True])
def test_a_camera_scan_takes_back_only_where_no_depth_ever_came(depth_before):
    loop = Loop()
    loop.odom()
    if depth_before:
        loop.depth((1.0, 0.5))
        loop.tick()
        loop.time += 300  # ms: too old
        loop.odom()
    ranges, kept = beside(2.0)
    loop.controller.on_camera_scan(Scan(loop.now, ranges, 10.0), loop.steady)
    loop.tick()
    assert kept in obstacles(loop, 'camera')
    loop.time += 20
    loop.odom()
    clear = np.full(SCAN_BEAMS, math.inf, np.float32)
    loop.controller.on_camera_scan(Scan(loop.now, clear, 10.0), loop.steady)
    loop.tick()
    assert (kept in obstacles(loop, 'camera')) is depth_before


def test_depth_reaches_the_gate():
    loop = Loop()
    loop.odom()
    loop.depth((1.0, 0.5), (1.2, -0.5))
    loop.tick()
    assert obstacles(loop, 'camera') == {(1.0, 0.5), (1.2, -0.5)}
    assert obstacles(loop, 'lidar') == set()
    loop.time += 20
    loop.odom()
    loop.depth((1.5, -0.4), kind=DepthPoints.FREE)  # seen from the camera, 0.19 m ahead
    loop.tick()
    m = memory(loop)
    x, y = 0.19 + 0.8 * 1.31 / math.hypot(1.31, 0.4), -0.8 * 0.4 / math.hypot(1.31, 0.4)
    size = m.free_seen.shape[1]
    seen = m.free_seen[0, math.floor(y / 0.05) % size, math.floor(x / 0.05) % size]
    assert seen == np.float32(0.02)


@pytest.mark.parametrize(('off', 'taken'), [(0, True), (99, True), (101, False), (-1, False)])
def test_what_odometry_cannot_place_is_left_out(off, taken):
    """Before its first stamp, or farther ahead of now than a stamp may be."""
    loop = Loop()
    loop.odom()
    loop.scan(one_beam(12, 1.0), stamp=loop.now + off * MS)
    decision = loop.tick()
    assert bool(memory(loop).lidar_count[0]) == taken
    assert decision.values.get('unplaced') == (None if taken else '1')


def test_one_that_cannot_be_placed_does_not_hold_up_the_next():
    loop = Loop()
    loop.odom()
    loop.scan(one_beam(12, 1.0), stamp=loop.now - 1)
    loop.depth((1.0, 0.5))
    loop.tick()
    assert obstacles(loop, 'camera') == {(1.0, 0.5)} and obstacles(loop, 'lidar') == set()


def test_a_frozen_scan_does_not_reach_the_gate_and_voids_what_it_said():
    loop = Loop()
    bearings = -0.6 + 0.02 * np.arange(61)
    wall = (2.0 / np.cos(bearings)).astype(np.float32)
    for k in range(12):
        loop.time = 50 * k
        loop.odom(0.05 * k, 0.0, 0.0, 1.0)
        loop.scan(wall, angle_min=-0.6, angle_increment=0.02)
        loop.depth((2.5, 0.0))
        decision = loop.tick()
    assert Reason.LIDAR_FROZEN in decision.reasons and decision.values['lidar_frozen'] == '1'
    assert obstacles(loop, 'lidar') == set() and len(obstacles(loop, 'camera')) > 0
    assert not loop.controller.pending  # what came behind the scan was taken in the same tick


# -- rules ----------------------------------------------------------------------------------------

MOVING = ENTITY_CLASSES.index('moving')
PEOPLE = EntityRule('people', (MOVING,), 2.0, 0.15, when_blind=0.2)


def person(x):
    table = np.zeros((2, len(ENTITY_FIELDS)), np.float32)
    for name, value in (('x', x), ('confidence', 1.0), ('label', MOVING)):
        table[0, ENTITY_FIELDS.index(name)] = value
    return table


def ruled(rules, table=None, x=0.0, unsure=False):
    loop = Loop(rules=rules)
    loop.odom(x)
    loop.scan()
    loop.depth()
    loop.entities(table, unsure)
    loop.action(1.0)
    loop.controller.on_goal(9.0, 0.0)
    loop.controller._gate.record([[0.14, 0.0]], loop.now / S - 0.05)
    return loop


def test_a_rule_slows_down_and_names_itself():
    loop = ruled(Rules(entities=(PEOPLE,)), person(1.5))
    decision = loop.tick()
    assert decision.command.v == pytest.approx(0.15) and Reason.RULE in decision.reasons
    assert decision.values['rules'] == 'people'
    decision = ruled(Rules(entities=(PEOPLE,)), person(2.5)).tick()
    assert decision.command.v > 0.18 and 'rules' not in decision.values
    two = Rules((Zone('yard', SQUARE, 0.5),), (), (PEOPLE,))
    assert ruled(two, person(1.5)).tick().values['rules'] == 'yard, people'


@pytest.mark.parametrize(('age', 'known'), [(0, True), (250, True), (251, False), (-100, True),
                                            (-101, False)])
def test_entities_that_are_too_old_are_unknown(age, known):
    loop = ruled(Rules(entities=(PEOPLE,)))
    loop.time -= age
    loop.entities(person(1.5))
    loop.time += age
    if age < 0:
        loop.controller.inputs['entities'].clear()
        loop.controller.on_entities(person(1.5), False, loop.now - age * MS, loop.steady)
    else:
        loop.controller.inputs['entities'].clear()
        loop.controller.on_entities(person(1.5), False, loop.now - age * MS,
                                    loop.steady - age * MS)
    limit = loop.controller._apply_rules(Pose2(), loop.now, loop.steady, False).speed_limit
    assert limit == (0.15 if known else 0.2)


def test_in_simulated_time_entities_age_by_their_stamps():
    loop = ruled(Rules(entities=(PEOPLE,)))
    loop.sim_time = True
    loop.controller.on_clock(loop.now, loop.steady)
    loop.controller.inputs['entities'].clear()
    loop.controller.on_entities(person(1.5), False, loop.now, loop.steady - 900 * MS)
    assert loop.tick().command.v == pytest.approx(0.15)


def test_unsure_entities_are_unknown():
    decision = ruled(Rules(entities=(PEOPLE,)), person(9.0), unsure=True).tick()
    assert decision.command.v == pytest.approx(0.19) or decision.command.v == pytest.approx(0.2)
    assert Reason.RULE in decision.reasons and Reason.FALLBACK in decision.reasons


def test_the_borders_of_zones_in_which_it_does_not_stand_are_fenced():
    far = Zone('far', SQUARE + 4.0)
    here = Zone('here', SQUARE)
    loop = ruled(Rules(keep_out=(here, far)))
    decision = loop.tick()
    assert Reason.KEEP_OUT in decision.reasons and decision.mode is Mode.STOPPED
    fence = memory(loop).fence
    assert np.array_equal(fence, fence_points(Rules(keep_out=(far,)), 0.05))
    loop.time += 20
    loop.odom(0.01)
    loop.tick()
    assert memory(loop).fence is fence  # made anew only when another zone is entered
    loop.time += 20
    loop.odom(2.0)  # out of the one, at a jump
    decision = loop.tick()
    assert len(memory(loop).fence) == 2 * len(fence)
    assert Reason.KEEP_OUT not in decision.reasons


def test_without_odometry_no_rule_is_judged():
    loop = Loop(rules=Rules(keep_out=(Zone('here', SQUARE),)))
    loop.scan()
    decision = loop.tick()
    assert Reason.KEEP_OUT not in decision.reasons and len(memory(loop).fence) == 0


@pytest.mark.parametrize(('sim_time', 'limit'), [(True, 0.15), (False, 0.2)])
def test_entities_age_by_the_clock_that_counts(sim_time, limit):
    """0.9 s pass on the wall while the simulation stands."""
    loop = ruled(Rules(entities=(PEOPLE,)), person(1.5))
    verdict = loop.controller._apply_rules(Pose2(), loop.now, loop.steady + 900 * MS, sim_time)
    assert verdict.speed_limit == limit


def swept(w, order='forward'):
    """Walls 2 m to the left and right as a lidar that turns in 0.2 s sees them, turning at w."""
    turn = np.arange(72)
    seconds = (turn if order == 'forward' else turn[::-1]) * 0.2 / 72 + 0.05
    bearing = -math.pi + turn * 2.0 * math.pi / 72 + w * (seconds - 0.05)
    with np.errstate(divide='ignore'):
        return np.minimum(2.0 / np.abs(np.sin(bearing)), 4.0).astype(np.float32)


@pytest.mark.parametrize('order', ['forward', 'backward'])
def test_the_gate_remembers_a_sweep_as_it_was_measured(order):
    made = Loop(config(robot__scan_order=order, robot__lidar_pose=[0.0] * 6))
    for _ in range(15):  # 1 rad/s on the spot, odometry at 50 Hz
        made.odom(yaw=made.time / 1000.0, w=1.0)
        made.time += 20
    made.time = 50
    made.scan(swept(1.0, order), range_max=3.0, time_increment=0.2 / 72)
    made.time = 280
    made.tick()
    points = memory(made).lidar[0][memory(made).lidar_seen[0] != EMPTY][:, :2]
    # In odom the walls stand turned by the 0.05 rad that base had turned at the stamp.
    x, y = points.T
    beside = np.abs(-math.sin(0.05) * x + math.cos(0.05) * y)
    # Where a wall ends beyond the range of 3 m the nearer of two beams holds for a bearing.
    assert len(points) > 20 and np.max(beside) < 2.01
    assert np.count_nonzero(beside < 1.99) <= 4


def test_a_sweep_without_odometry_to_its_end_is_not_placed():
    made = Loop()
    made.odom()
    made.scan(np.full(72, 2.0), time_increment=0.5 / 72)  # 0.5 s: 0.2 s are extrapolated at most
    made.tick()
    assert made.controller.counts['unplaced'] == 1

"""The gate's configuration, small functions and limits by hand, in open space."""

import math

import numpy as np
import pytest
from gates import INF, NAN, ODD, config, open_gate
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.config import ControlConfig, RobotConfig, from_mapping
from karpathy_control.contracts.view import nearest_ground_distance, whole_band_distance
from karpathy_control.control.candidates import (
    Bounds,
    _by_distance,
    _spread,
    _turn_bound,
    speed_cap,
)
from karpathy_control.control.footprint import outline
from karpathy_control.control.gate import (
    BRAKING,
    UNCHANGED,
    Gate,
)
from karpathy_control.control.memory import Rules
from karpathy_control.control.scene import Motion, stop_reach


def ask(gate, wish, under=(0.0, 0.0), velocity=None, time=0.0, speed=None, reverse=None,
        pose=(0.0, 0.0, 0.0)):
    """The answer to one robot that was commanded `under` one tick ago."""
    if under is not None:
        gate.record([under], time - 0.05)
    result = gate.filter([pose], [under if velocity is None else velocity], [wish], time, speed,
                         reverse)
    return (*result.applied[0].tolist(), int(result.status[0]))


# -- configuration --------------------------------------------------------------------------------


def test_every_number_of_the_configuration_arrives():
    gate = Gate(from_mapping(ControlConfig, ODD), window=64, tick=0.04)
    assert gate._motion == pytest.approx(Motion(
        1.5, 2.25, 5.0, 0.1 + 0.2, 0.04, 0.04, 0.3, 0.02, 0.03, 3.2 * math.sqrt(0.5), 0.25))
    # 1.1 m/s: 0.34 s, then 0.489 s at half the speed; corners are 0.3606 m away at most
    radius = math.hypot(0.3, 0.2)
    reach = 1.1 * (0.34 + 0.5 * 1.1 / 2.25)
    robot = gate.config.robot
    assert gate._rules == pytest.approx(Rules(
        0.05, 0.4, 15.0, 0.28 / math.tan(0.15 + math.atan(0.75)),
        whole_band_distance(robot.camera_pose, 0.04, 0.5), reach + radius + 0.5))
    assert gate._bounds == Bounds(1.1, 0.25, 1.75, 15.0, 3.5, 2.0, 0.05, pytest.approx(0.2),
                                  pytest.approx(0.3), 5, 7)
    assert gate._footprint.radius == pytest.approx(radius)
    assert np.array_equal(gate._samples, outline(gate._footprint, 0.04, 0.05))
    assert gate.batch == 1 and gate.tick == 0.04


def test_what_is_not_asked_for_is_off():
    gate = Gate(from_mapping(ControlConfig, ODD | {
        'gate.occlusion': False, 'robot.max_curvature': 0.0, 'robot.max_reverse': 2.0}))
    assert gate._motion.shadow == INF and gate._bounds.curvature == INF
    # the faster way of driving counts for the reach
    assert gate._rules.free_reach == pytest.approx(
        2.0 * (0.35 + 0.5 * 2.0 / 2.25) + math.hypot(0.3, 0.2) + 0.5)
    assert gate.tick == 0.05 and gate._memory.free_seen.shape == (1, 128, 128)
    assert gate._memory.travel_sums.shape == (1, 153, 2)  # 15 s in tenths, and three


def test_a_turn_that_takes_longer_to_stop_lengthens_the_reach():
    gate = Gate(from_mapping(ControlConfig, ODD | {'robot.turn_acceleration': 1.0}))
    assert gate._rules.free_reach == pytest.approx(
        1.1 * (0.35 + 0.5 * 1.75) + math.hypot(0.3, 0.2) + 0.5)


def test_new_limits_keep_what_was_seen():
    gate = Gate(config(), window=64)
    gate.observe_scan([[0.0, 0.0, 0.0]], np.full((1, 4), 1.0), 0.0, 1.5, (0.0, 0.0, 0.0), 0.1,
                      9.0, 0.0)
    gate.configure(from_mapping(ControlConfig, ODD))
    assert gate._memory.lidar_count[0] == 4 and gate._bounds.max_speed == 1.1


def test_a_gate_without_robots_is_refused():
    for batch in (0, -1):
        with pytest.raises(ValueError) as caught:
            Gate(config(), batch)
        assert str(caught.value) == f'batch {batch}: a gate needs at least one robot'
    assert Gate(config(), 1, 16).batch == 1


@pytest.mark.parametrize(('height', 'pitch', 'expected'), [
    (0.28, 0.15, 0.28 / math.tan(0.15 + math.atan(0.75))), (0.5, 0.0, 0.5 / 0.75),
    (0.5, -0.6, 0.5 / math.tan(math.atan(0.75) - 0.6)), (0.5, -0.7, INF), (0.5, 1.0, INF),
    (0.5, 0.9, 0.5 / math.tan(0.9 + math.atan(0.75)))])
def test_the_nearest_ground_in_view(height, pitch, expected):
    """Half the view is atan(48 / 64) below the axis of the camera."""
    robot = from_mapping(RobotConfig, {'camera_pose': [0.0, 0.0, height, 0.0, pitch, 0.0]})
    assert nearest_ground_distance(robot.camera_pose) == pytest.approx(expected)


def test_no_ground_where_the_edge_is_level_or_straight_down():
    half = math.atan(0.75)
    for pitch in (-half, 0.5 * math.pi - half):
        robot = from_mapping(RobotConfig, {'camera_pose': [0.0, 0.0, 0.4, 0.0, pitch, 0.0]})
        distance = nearest_ground_distance(robot.camera_pose)
        assert distance == INF or distance > 1e9 or distance < 1e-9


# -- small functions ------------------------------------------------------------------------------

BOUNDS = Bounds(1.2, 0.3, 2.0, 20.0, 0.8, 4.0, 0.04, 0.2, 0.3, 3, 3)


@pytest.mark.parametrize(('v', 'most'), [
    (0.0, 0.0), (0.1, 0.4), (0.4, 1.6), (0.5, 1.6), (0.8, 1.0), (-0.8, 1.0), (-0.1, 0.4)])
def test_the_turn_is_bound_by_curvature_and_lateral_acceleration(v, most):
    assert _turn_bound(v, BOUNDS) == pytest.approx(most)  # 4 v, 0.8 / v, 2.0


def test_in_place_it_turns_as_fast_as_it_may_where_no_curvature_bounds():
    free = BOUNDS._replace(curvature=1e300)
    assert _turn_bound(1e-3, free) == 2.0
    assert _turn_bound(1e-9, free._replace(lateral=1e-6)) == pytest.approx(1.0)  # 1e-6 / 1e-6


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 4.0))
def test_speed_cap_is_the_inverse_of_stop_reach(v):
    motion = Gate(config(), window=16)._motion
    assert speed_cap(stop_reach(v, 0.0, motion), motion) == pytest.approx(v, abs=1e-9)
    assert speed_cap(-v, motion) == 0.0


def test_candidates_are_spread_and_the_wish_is_one_of_them():
    assert _spread(0.0, 1.0, 0.3, 5).tolist() == [0.0, 0.3, 0.5, 0.75, 1.0]
    for wish in (0.05, 0.95):  # nearest to an end, which stays
        inner = [wish, 0.5, 0.75] if wish < 0.5 else [0.25, 0.5, wish]
        assert _spread(0.0, 1.0, wish, 5).tolist() == [0.0, *inner, 1.0]
    for wish in (-1.0, 1.0):
        assert _spread(-1.0, 1.0, wish, 3).tolist() == [-1.0, 0.0, 1.0]
    assert _spread(0.2, 0.2, 0.2, 3).tolist() == [0.2, 0.2, 0.2]
    # 0 is one of them too, but that the wish goes first
    assert _spread(-0.5, 0.5, 0.3, 5).tolist() == [-0.5, -0.25, 0.0, 0.3, 0.5]
    assert _spread(-0.5, 0.25, 2.0, 4).tolist() == [-0.5, -0.25, 0.0, 0.25]
    assert _spread(-0.375, 0.625, 0.03, 5).tolist() == [-0.375, 0.03, 0.125, 0.375, 0.625]


def test_nearest_first_by_shares_of_the_limits_and_towards_the_wishs_turn():
    speeds, turns = np.array([0.0, 0.6, 1.2]), np.array([-1.0, 0.0, 1.0])
    wish = (1.2, 0.3)
    # (dv / 1.2)^2 + (dw / 2)^2
    cost = [((v - 1.2) / 1.2) ** 2 + ((w - 0.3) / 2.0) ** 2 for v in speeds for w in turns]
    assert _by_distance(speeds, turns, *wish, BOUNDS).tolist() == np.argsort(cost).tolist()
    for sign in (1.0, -1.0):
        # both turns are equally far from a wish straight on that is just to one side
        order = _by_distance(np.array([0.5]), np.array([-1.0, 1.0]), 0.5, sign * 1e-12, BOUNDS)
        assert order[0] == (1 if sign > 0 else 0)
    # the tie is only a tie: 1e-9 against a real difference
    order = _by_distance(np.array([0.5]), np.array([-0.999, 1.0]), 0.5, 1e-12, BOUNDS)
    assert order[0] == 0


# -- limits ---------------------------------------------------------------------------------------


def test_acceleration_and_jerk_over_two_ticks():
    gate = open_gate()
    # jerk of 20 m/s^3 gives 1 m/s^2 in the first 50 ms, 2 m/s^2 (the limit) in the second
    assert ask(gate, (1.0, 0.0)) == (pytest.approx(0.05), 0.0, UNCHANGED)
    assert ask(gate, (1.0, 0.0), None, (0.05, 0.0), 0.05) == (pytest.approx(0.15), 0.0, UNCHANGED)
    assert ask(gate, (1.0, 0.0), None, (0.15, 0.0), 0.1) == (pytest.approx(0.25), 0.0, UNCHANGED)
    assert gate._last.rate[0] == pytest.approx([2.0, 0.0])
    assert gate._last.command[0] == pytest.approx([0.25, 0.0]) and gate._last.time[0] == 0.1


@pytest.mark.parametrize(('under', 'wish', 'applied'), [
    ((1.0, 0.0), (0.2, 0.0), (0.875, 0.0)),  # 2.5 m/s^2
    ((0.0, 0.0), (0.0, 2.0), (0.0, 0.3)),  # 6 rad/s^2
    ((0.0, 1.0), (0.0, -2.0), (0.0, 0.7)),
    ((0.0, 1.9), (0.0, 5.0), (0.0, 2.0)),  # the most there is
    ((0.0, -1.9), (0.0, -5.0), (0.0, -2.0)),
    ((1.19, 0.0), (3.0, 0.0), (1.2, 0.0)),
    ((-0.29, 0.0), (-3.0, 0.0), (-0.3, 0.0)),
    ((1.5, 0.0), (1.5, 0.0), (1.375, 0.0)),  # beyond: back as fast as it can
    ((0.0, 2.6), (0.0, 2.6), (0.0, 2.3)),
    ((0.0, -2.6), (0.0, -2.6), (0.0, -2.3)),
    ((0.7, 0.4), (0.7, 0.4), (0.7, 0.4))])
def test_each_axis_within_its_limits(under, wish, applied):
    assert ask(open_gate(), wish, under) == (*map(pytest.approx, applied), UNCHANGED)


def test_lateral_acceleration_and_curvature_bound_the_turn():
    gate = open_gate(robot__max_lateral_acceleration=0.5)
    assert ask(gate, (1.0, 2.0), (1.0, 0.5)) == (1.0, pytest.approx(0.5), UNCHANGED)
    assert ask(gate, (1.0, -2.0), (1.0, -0.5)) == (1.0, pytest.approx(-0.5), UNCHANGED)
    # the turn under way cannot end at once: 1.0 - 6 * 0.05, whatever is allowed
    assert ask(gate, (1.0, 2.0), (1.0, 1.0)) == (1.0, pytest.approx(0.7), UNCHANGED)
    # at the speed that is reached: 0.875 m/s allow 0.571 rad/s
    assert ask(gate, (0.0, 2.0), (1.0, 0.5)) == (
        pytest.approx(0.875), pytest.approx(0.5 / 0.875), UNCHANGED)
    gate = open_gate(robot__max_curvature=2.0)
    assert ask(gate, (0.2, 2.0), (0.2, 0.4)) == (0.2, pytest.approx(0.4), UNCHANGED)
    assert ask(gate, (0.0, 1.0)) == (0.0, 0.0, UNCHANGED)
    # the wish alone: what it asks for at its own speed
    assert ask(gate, (0.1, 1.0), (0.2, 0.3)) == (pytest.approx(0.1), pytest.approx(0.2),
                                                 UNCHANGED)


@pytest.mark.parametrize(('under', 'wish', 'speed', 'reverse', 'v'), [
    (0.4, 1.0, 0.4, None, 0.4), (0.38, 1.0, 0.4, None, 0.4), (1.0, 1.0, 0.4, None, 0.875),
    (-0.1, -0.3, 0.1, None, -0.1), (-0.3, -0.3, 0.1, None, -0.175),
    (0.0, -0.3, None, 0.0, 0.0), (-0.2, -0.3, None, 0.2, -0.2), (-0.2, -0.3, 0.2, 0.25, -0.2),
    (-0.25, -0.3, 0.28, 0.25, -0.25), (0.5, 0.5, 9.0, 9.0, 0.5), (-0.3, -0.9, 9.0, 9.0, -0.3),
    (0.6, 0.6, None, 0.0, 0.6), (0.1, 0.2, 0.0, None, 0.0)])
def test_limits_of_speed_and_of_reversing(under, wish, speed, reverse, v):
    gate = open_gate()
    assert ask(gate, (wish, 0.0), (under, 0.0), None, 0.0, speed, reverse) == (
        pytest.approx(v), 0.0, UNCHANGED)


def test_the_wish_is_clamped_before_its_turn_is():
    """2 m/s with a curvature of 1/m asks for 2 rad/s; at 1.2 m/s it is 1.2 rad/s."""
    gate = open_gate(robot__max_curvature=1.0)
    assert ask(gate, (2.0, 2.0), (1.2, 1.2)) == (pytest.approx(1.2), pytest.approx(1.2), UNCHANGED)
    # a limit of 0.4 m/s for the wish bounds its turn to 0.4 rad/s; 1.0 falls to 0.7 rad/s
    assert ask(gate, (2.0, 2.0), (1.2, 1.0), None, 0.0, 0.4) == (
        pytest.approx(1.075), pytest.approx(0.7), UNCHANGED)


@pytest.mark.parametrize(('increment', 'sign'), [(0.1, 1.0), (0.1, -1.0), (0.2, 1.0)])
def test_speed_is_capped_to_where_the_least_obstacle_is_sure_to_be_seen(increment, sign):
    """0.04 m are between two beams at 0.04 / increment; the front is 0.174 m from the lidar."""
    gate = open_gate(robot__max_reverse=1.2, gate__margin=0.03)
    gate._memory.scan_origin[0, 2] = increment
    end = 0.174 if sign > 0 else 0.284
    distance = max(0.04 / increment - 0.03 - end, 0.0)
    # 0.17 v + v^2 / 5 = distance
    v = 1.25 * 2 * (-0.17 + math.sqrt(0.17 ** 2 + 0.8 * distance))
    assert distance == 0.0 or 0.17 * v + v * v / 5.0 == pytest.approx(distance)
    assert ask(gate, (sign * 1.2, 0.0), (sign * (v + 0.01), 0.0)) == (
        pytest.approx(sign * v), 0.0, UNCHANGED)


def test_beams_as_dense_as_they_are_cap_nothing():
    gate = open_gate()
    gate._memory.scan_origin[0, 2] = 0.01
    assert ask(gate, (1.2, 0.0), (1.2, 0.0))[0] == pytest.approx(1.2)
    gate._memory.scan_origin[0, 2] = 0.0
    assert ask(gate, (1.2, 0.0), (1.2, 0.0))[0] == pytest.approx(1.2)


# -- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(('passed', 'dt'), [(0.02, 0.02), (0.07, 0.07), (0.1, 0.1), (0.5, 0.1),
                                            (0.0, 1e-3), (-1.0, 1e-3)])
def test_the_command_changes_by_the_time_that_has_passed(passed, dt):
    gate = open_gate()
    gate.record([[1.0, 0.0]], 7.0)
    result = gate.filter([[0.0, 0.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]], 7.0 + passed)
    assert result.applied[0, 0] == pytest.approx(1.0 - 2.5 * dt)
    assert gate._last.rate[0, 0] == pytest.approx(-2.5)
    assert gate._last.time[0] == 7.0 + passed


def test_without_a_last_command_the_measured_speed_is_under_way():
    gate = open_gate()
    assert ask(gate, (0.6, 0.2), None, (0.6, 0.2)) == (0.6, pytest.approx(0.2), UNCHANGED)
    gate.reset()
    gate._memory.started[:] = True
    result = gate.filter([[0.0, 0.0, 0.0]], [[0.6, NAN]], [[0.6, 0.2]], 0.0)
    # 0.6 m/s takes 0.24 s to stop: 0.05 s of it; the turn is not known
    assert result.applied[0] == pytest.approx([0.6 * (1 - 0.05 / 0.24), 0.0])
    gate.reset()
    result = gate.filter([[0.0, 0.0, 0.0]], [[NAN, 0.6]], [[0.6, 0.2]], 0.0)
    assert result.applied[0] == pytest.approx([0.0, 0.3])


BAD = [('pose', 0), ('pose', 1), ('pose', 2), ('velocity', 0), ('velocity', 1), ('wish', 0),
       ('wish', 1)]


@pytest.mark.parametrize('what', [NAN, INF, -INF])
@pytest.mark.parametrize(('which', 'index'), BAD)
def test_what_is_not_finite_brakes_on_the_arc(which, index, what):
    gate = open_gate()
    given = {'pose': [0.0, 0.0, 0.0], 'velocity': [0.5, 0.6], 'wish': [0.5, 0.6]}
    given[which][index] = what
    gate.record([[0.5, 0.6]], 2.0)
    result = gate.filter([given['pose']], [given['velocity']], [given['wish']], 2.05)
    # 0.5 m/s takes 0.2 s: a quarter of it
    assert result.applied[0] == pytest.approx([0.375, 0.45])
    assert result.status[0] == BRAKING and math.isnan(result.clearance[0])
    assert gate._last.command[0] == pytest.approx([0.375, 0.45])
    assert gate._last.rate[0] == pytest.approx([-2.5, -3.0]) and gate._last.time[0] == 2.05


def test_a_time_that_is_not_finite_brakes_for_a_tick_and_is_not_kept():
    gate = open_gate()
    gate.record([[0.5, 0.6]], 2.0)
    for k in (1, 2):
        result = gate.filter([[0.0, 0.0, 0.0]], [[0.5, 0.6]], [[0.5, 0.6]], NAN)
        assert result.applied[0] == pytest.approx([0.5 - 0.125 * k, 0.6 - 0.15 * k])
        assert result.status[0] == BRAKING and gate._last.time[0] == 2.0
    gate.record([[0.5, 0.6]], NAN)
    result = gate.filter([[0.0, 0.0, 0.0]], [[0.5, 0.6]], [[0.0, 0.0]], 9.0)
    assert result.applied[0] == pytest.approx([0.375, 0.3])

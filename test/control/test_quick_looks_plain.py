"""Cheap looks that rule a command out before the check: never one that the check would pass."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import FINE, FOOTPRINT, MOTION, SAMPLES, manoeuvre, scene_of, square_distance

from karpathy_control.control.braking import culprits, ends_badly, hits_last_culprits
from karpathy_control.control.candidates import _admissible

SPEEDS = st.tuples(st.floats(-0.4, 1.2), st.floats(-2, 2))
POINTS = st.tuples(st.floats(0.3, 1.0), st.floats(-math.pi, math.pi))


def least_room(path, point):
    return min(square_distance(x, y, yaw, *point) for _, x, y, yaw, _, _ in path)


def quick(scene, state, command, duration, motion=MOTION):
    return bool(hits_last_culprits(scene, motion, FOOTPRINT, *state, *command, duration))


@settings(max_examples=80, deadline=None)
@given(SPEEDS, SPEEDS, st.sampled_from([0.05, 0.17]),
       st.lists(POINTS, min_size=1, max_size=5))
def test_the_quick_look_rules_out_only_what_the_check_rules_out(speed, command, duration, points):
    state = (0.1, -0.05, 0.4, *speed)
    places = [(0.1 + r * math.cos(a), -0.05 + r * math.sin(a)) for r, a in points]
    path = manoeuvre(state, command, duration)
    for need in (0.0, 0.03):
        scene = scene_of(places, state[:3], need)
        if quick(scene, state, command, duration):
            assert any(least_room(path, place) < min(need, start) + 0.004
                       for place, start in zip(places, scene.start, strict=True))


@pytest.mark.parametrize(('speed', 'command', 'duration'), [
    ((0.8, 0.0), (0.8, 0.0), 0.17), ((0.2, 0.0), (1.0, 0.0), 0.17), ((1.0, 0.5), (0.2, 2.0), 0.17),
    ((-0.3, 0.0), (-0.3, 0.0), 0.05), ((0.6, -1.0), (0.6, -1.0), 0.05)])
def test_the_quick_look_meets_what_stands_where_the_robot_stops(speed, command, duration):
    state = (0.1, -0.05, 0.4, *speed)
    _, x, y, yaw, _, _ = manoeuvre(state, command, duration)[-1]
    side = math.copysign(1.0, speed[0])
    for inside, hit in ((0.02, True), (-0.02, True), (-0.04, False)):  # margin 0.03 m
        ahead = side * (0.25 - inside)
        place = (x + ahead * math.cos(yaw), y + ahead * math.sin(yaw))
        scene = scene_of([place], state[:3], 0.05)
        assert quick(scene, state, command, duration) == hit
        # only the first three points are looked at
        far = (5.0, 5.0)
        for k in range(5):
            row = [far] * k + [place] + [far] * (4 - k)
            scene = scene_of(row, state[:3], 0.05)
            assert quick(scene, state, command, duration) == (hit and k < 3)


def test_the_quick_look_needs_no_more_than_the_check():
    """The least of margin, what the scene asks for, and what the point had at the start."""
    state, command = (0.0, 0.0, 0.0, 0.5, 0.0), (0.5, 0.0)
    # stops 0.085 + 0.05 = 0.135 m ahead: the front is at 0.385 m
    for need, gap, hit in ((0.05, 0.028, True), (0.05, 0.032, False), (0.01, 0.008, True),
                           (0.01, 0.012, False)):
        assert quick(scene_of([(0.385 + gap, 0.0)], need=need), state, command, 0.17) == hit
    # a point 1 cm before the bumper, and the robot drives away or turns beside it
    scene = scene_of([(0.26, 0.0)], need=0.05)
    assert not quick(scene, (0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0), 0.17)
    assert quick(scene, (0.0, 0.0, 0.0, 0.01, 0.0), (0.01, 0.0), 0.17)


def test_the_quick_look_sees_the_way_of_the_braking_in_four_steps():
    """From 2 m/s: after 0.1 m, braking over 0.8 m, looked at after 1/4, 2/4, 3/4 and all of it."""
    state, command = (0.0, 0.0, 0.0, 2.0, 0.0), (2.0, 0.0)
    ends = [0.1 + 0.8 * (1 - (1 - k / 4) ** 2) for k in (1, 2, 3, 4)]
    # a thin wall aside is met while the robot passes: each look covers 0.5 m
    for k, end in enumerate(ends):
        place = (end, 0.27)  # beside the middle of the robot, 2 cm off
        assert quick(scene_of([place], need=0.05), state, command, 0.05), k
    # before the first look nothing is seen: the tail is then at 0.2 m
    assert not quick(scene_of([(ends[0] - 0.29, 0.27)], (-2.0, 0.0, 0.0), need=0.05), state,
                     command, 0.05)
    assert quick(scene_of([(ends[0] - 0.27, 0.27)], (-2.0, 0.0, 0.0), need=0.05), state,
                 command, 0.05)
    assert quick(scene_of([(ends[3] + 0.27, 0.0)], need=0.05), state, command, 0.05)
    assert not quick(scene_of([(ends[3] + 0.29, 0.0)], need=0.05), state, command, 0.05)


# -- the look at the end --------------------------------------------------------------------------

NEED = 0.05  # m


def bad_end(scene, state, command, duration=0.17, motion=MOTION, elapsed=0.0):
    return bool(ends_badly(scene, motion, FOOTPRINT, SAMPLES, FINE, *state, *command, duration,
                           elapsed))


def poses_at(path, duration):
    """Where half of the arc of the braking is driven, and where it ends."""
    arc = [0.0]
    for (_, x, y, _, _, _), (_, a, b, _, _, _) in zip(path, path[1:], strict=False):
        arc.append(arc[-1] + math.hypot(a - x, b - y))
    begin = next(k for k, row in enumerate(path) if row[0] >= duration - 1e-9)
    half = 0.5 * (arc[begin] + arc[-1])
    return path[int(np.searchsorted(arc, half))][1:4], path[-1][1:4]


@pytest.mark.parametrize(('speed', 'command', 'duration'), [
    ((0.8, 0.0), (0.8, 0.0), 0.17), ((0.9, 0.4), (0.9, 0.4), 0.05), ((0.4, 0.0), (1.2, 0.0), 0.17),
    ((1.0, -0.8), (0.9, -0.8), 0.17), ((-0.4, 0.3), (-0.4, 0.3), 0.05)])
def test_a_point_in_the_way_of_the_end_or_of_half_of_the_arc_is_met(speed, command, duration):
    state = (0.1, -0.05, 0.4, *speed)
    path = manoeuvre(state, command, duration)
    for x, y, yaw in poses_at(path, duration):
        # beside the robot where it then is, nearer than needed by 4 mm, or farther
        for gap, met in ((-0.005, True), (0.006, False)):
            aside = 0.25 + NEED + gap
            place = (x - aside * math.sin(yaw), y + aside * math.cos(yaw))
            scene = scene_of([place], (-3.0, 0.0, 0.0), NEED)
            assert bad_end(scene, state, command, duration) == met or (
                not met and least_room(path, place) < NEED)


def test_turning_in_place_ends_where_it_is_turned_to():
    """2 rad/s for 0.17 s and a third of a second of braking: 0.673 rad; the corner is there."""
    state, command = (0.0, 0.0, 0.0, 0.0, 2.0), (0.0, 2.0)
    for gap, met in ((-0.006, True), (0.006, False)):
        reach = FOOTPRINT.radius + NEED + gap
        at = math.pi / 4 + 0.34 + 1.0 / 3.0
        scene = scene_of([(reach * math.cos(at), reach * math.sin(at))], (-3.0, 0.0, 0.0), NEED)
        assert bad_end(scene, state, command) == met


@settings(max_examples=60, deadline=None)
@given(SPEEDS, SPEEDS, st.sampled_from([0.05, 0.17]), st.lists(POINTS, min_size=1, max_size=4))
def test_it_rules_out_only_what_the_way_rules_out(speed, command, duration, points):
    state = (0.1, -0.05, 0.4, *speed)
    places = [(0.1 + r * math.cos(a), -0.05 + r * math.sin(a)) for r, a in points]
    path = manoeuvre(state, command, duration)
    scene = scene_of(places, state[:3], NEED)
    start = list(scene.start)
    if bad_end(scene, state, command, duration):
        # its poses are off by 2 mm at most at 2.5 m/s^2; 6 rad/s^2 at a corner are 2.1 m/s^2
        assert any(least_room(path, place) < min(NEED, s) + 0.002
                   for place, s in zip(places, start, strict=True))


def test_the_end_is_in_space_that_was_seen():
    state, command = (0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0)
    # 0.17 + 0.2 m: the outline is at 0.65 m then
    for edge, bad in ((0.72, False), (0.55, True)):
        scene = scene_of(unknown=lambda x, y, edge=edge: x > edge)
        assert bad_end(scene, state, command) == bad


@pytest.mark.parametrize('elapsed', [0.0, 0.12])
def test_what_moves_has_come_nearer_by_then(elapsed):
    """0.5 m/s for as long as the robot moves: until it is slower than 0.02 m/s."""
    motion = MOTION._replace(obstacle_speed=0.5)
    state, command = (0.0, 0.0, 0.0, 0.5, 0.0), (0.5, 0.0)
    # 0.05 s, then 0.192 of the 0.2 s of braking; beside the robot where it stands, at 0.075 m
    grown = 0.5 * (elapsed + 0.05 + 0.192)
    for gap, met in ((-0.006, True), (0.006, False)):
        place = (0.075, 0.25 + NEED + grown + gap)
        scene = scene_of([place], (-3.0, 0.0, 0.0), NEED)
        assert bad_end(scene, state, command, 0.05, motion, elapsed) == met


def test_standing_ends_nowhere_else():
    scene = scene_of([(0.26, 0.0)], need=NEED)
    assert not bad_end(scene, (0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0))


def test_the_culprits_are_the_first_three_points_of_the_scene():
    scene = scene_of([(1.0 + k, 0.5) for k in range(5)], need=NEED, excused=[7])
    few, motion = culprits(scene, MOTION)
    assert few.size == 3
    assert all(np.array_equal(a, b) for a, b in zip(few._replace(size=5), scene, strict=True))
    assert culprits(scene._replace(size=2), MOTION)[0].size == 2
    assert motion.step == 0.02 and motion._replace(step=MOTION.step) == MOTION


# -- one command ----------------------------------------------------------------------------------

FILL = [(5.0, 5.0), (5.0, -5.0), (-5.0, 5.0)]  # the culprits of other commands


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize(('before', 'command', 'safe', 'hit'), [
    # From rest to 1 m/s. At once: 0.029 m in 0.17 s to 0.34 m/s and 0.023 m to stop; late: 5 mm.
    (0.0, 1.0, 0.09, 0.06),
    # From 1 m/s to rest. At once: 0.2 m; late: 0.12 m more.
    (1.0, 0.0, 0.36, 0.26)])
def test_each_look_alone_forbids_a_command(before, command, safe, hit, first):
    """A point that only one of both ways comes to; first, as the last culprit was, or behind."""
    at_once = (0.0, 0.0, 0.0, before, 0.0)
    late = (0.12 * before, 0.0, 0.0, before, 0.0)
    for gap, passes in ((safe, True), (hit, False)):
        points = [(0.25 + gap, 0.0), *FILL] if first else [*FILL, (0.25 + gap, 0.0)]
        scene = scene_of(points, need=0.03)
        assert bool(_admissible(scene, MOTION, FOOTPRINT, SAMPLES, FINE, at_once, late, command,
                                0.0)) == passes

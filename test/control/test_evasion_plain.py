"""The least closing speed against steps of 0.04 s done by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import FINE, FOOTPRINT, MOTION, SAMPLES, manoeuvre, scene_of, square_distance

from karpathy_control.control.evasion import closing_speed, least_closing

GOING = 0.17  # s, reaction and tick
RADIUS = math.sqrt(0.125)  # m, of the square of 0.5 m


def closing(scene, speed, command, motion=MOTION, pose=(0.0, 0.0, 0.0)):
    return closing_speed(scene, motion, FOOTPRINT, SAMPLES, FINE, (*pose, *speed), *command)


def straight(v0, v):
    """Positions after each step of 0.04 s and the speed in its middle, towards v and to rest."""
    out, x = [], 0.0
    v1 = v0 + math.copysign(min(abs(v - v0), (2.0 if abs(v) > abs(v0) else 2.5) * GOING), v - v0)
    total = GOING + abs(v1) / 2.5
    for k in range(math.ceil(total / 0.04)):
        middle = 0.04 * k + 0.02
        if middle < GOING:
            rate = 2.0 if abs(v) > abs(v0) else 2.5
            speed = v0 + math.copysign(min(abs(v - v0), rate * middle), v - v0)
        else:
            share = max(0.0, 1.0 - (middle - GOING) / (abs(v1) / 2.5)) if v1 else 0.0
            speed = v1 * share
        x += 0.04 * speed
        out.append((x, speed))
    return out


@pytest.mark.parametrize(('v0', 'v'), [(1.0, 1.0), (0.6, 1.0), (1.0, 0.4), (-0.8, -0.8),
                                       (0.5, 0.5), (-0.3, -0.6)])
def test_the_speed_at_the_first_touch_straight_on(v0, v):
    steps = straight(v0, v)
    side = math.copysign(1.0, v0)
    before = 0.0
    for x, speed in steps:
        if abs(speed) > 0.02 and abs(x - before) > 2e-4:
            for share in (0.05, 0.95):  # just passed, and nearly not reached, in this step
                place = side * 0.25 + before + share * (x - before)
                scene = scene_of([(place, 0.1)])
                assert closing(scene, (v0, 0.0), (v, 0.0)) == pytest.approx(abs(speed))
        before = x
    assert closing(scene_of([(side * 0.251 + before, 0.0)]), (v0, 0.0), (v, 0.0)) == 0.0


def test_meeting_is_touching_and_not_yet_being_beside():
    assert closing(scene_of([(0.5, 0.2501)]), (1.0, 0.0), (1.0, 0.0)) == 0.0
    assert closing(scene_of([(0.5, 0.25)]), (1.0, 0.0), (1.0, 0.0)) == 0.0
    assert closing(scene_of([(0.5, 0.2499)]), (1.0, 0.0), (1.0, 0.0)) > 0.5


@pytest.mark.parametrize(('w0', 'w', 'angle'), [(2.0, 2.0, 0.6), (-2.0, -2.0, -0.6)])
def test_turning_closes_in_with_the_corner(w0, w, angle):
    """0.31 m away and 0.3 rad beside the corner, which is 0.15 rad wide to both sides there.

    2 rad/s for 0.17 s and 1/3 s of braking are 0.67 rad.
    """
    place = 0.31 * np.exp(1j * (math.copysign(math.pi / 4, w0) + angle / 2))
    scene = scene_of([(place.real, place.imag)])
    found = closing(scene, (0.0, w0), (0.0, w))
    # after two steps of 0.08 rad the corner is there
    assert found == pytest.approx(2.0 * RADIUS)
    assert closing(scene, (0.0, -w0), (0.0, -w)) == 0.0


def test_speed_counts_with_the_turn_of_the_farthest_point():
    scene = scene_of([(0.29, 0.0)])
    assert closing(scene, (0.8, 0.5), (0.8, 0.5)) == pytest.approx(0.8 + 0.5 * RADIUS)
    assert closing(scene, (0.8, -0.5), (0.8, -0.5)) == pytest.approx(0.8 + 0.5 * RADIUS)


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.floats(-0.4, 1.2), st.floats(-2, 2)),
       st.tuples(st.floats(-0.4, 1.2), st.floats(-2, 2)), st.floats(0.3, 0.9),
       st.floats(-math.pi, math.pi))
def test_it_is_the_speed_of_the_manoeuvre_where_it_touches(speed, command, r, a):
    pose = (0.2, 0.1, 0.7)
    point = (0.2 + r * math.cos(a), 0.1 + r * math.sin(a))
    if square_distance(*pose, *point) < 0.01:
        return
    path = manoeuvre((*pose, *speed), command, GOING)
    touched = [abs(v) + abs(w) * RADIUS for _, x, y, yaw, v, w in path
               if square_distance(x, y, yaw, *point) < 0.0 and (abs(v) > 0.02 or abs(w) > 0.05)]
    found = closing(scene_of([point], pose), speed, command, pose=pose)
    rate = 2.5 + 6.0 * RADIUS  # m/s^2 that the corner may change its speed by
    if touched and max(touched) > 0.4 and len(touched) > 200:  # for more than 0.1 s
        assert found > 0.0
        assert abs(found - touched[0]) < 0.07 * rate
    nearest = min(square_distance(x, y, yaw, *point) for _, x, y, yaw, _, _ in path)
    if nearest > 0.02:
        assert found == 0.0


@pytest.mark.parametrize(('v', 'w', 'standing'), [
    (0.0199, 0.0, True), (0.0, 0.0499, True), (0.0201, 0.0, False), (0.0, 0.0501, False),
    (0.02, 0.0, True), (0.0, 0.05, True)])
def test_what_comes_while_it_stands_is_not_its_speed(v, w, standing):
    """The point is in the robot already, and it hardly moves."""
    found = closing(scene_of([(0.1, 0.0)]), (v, w), (v, w))
    assert (found == 0.0) == standing


def test_it_may_stand_for_a_moment_and_go_the_other_way():
    """From 0.06 m/s towards -0.4 m/s: 0.01 m/s at the first look, and backwards from then on."""
    assert closing(scene_of([(-0.26, 0.0)]), (0.06, 0.0), (-0.4, 0.0)) > 0.1


def test_what_moves_is_as_near_as_the_time_that_has_passed():
    """From 1 m/s to 0.4 m/s each step has a speed of its own; 0.02 m nearer after each."""
    motion = MOTION._replace(obstacle_speed=0.5)
    reach = [(0.25 + x + 0.02 * (k + 1), speed)
             for k, (x, speed) in enumerate(straight(1.0, 0.4))]
    for (before, _), (after, speed) in zip(reach, reach[1:], strict=False):
        scene = scene_of([(0.5 * (before + after), 0.1)])
        assert closing(scene, (1.0, 0.0), (0.4, 0.0), motion) == pytest.approx(speed)


def test_an_obstacle_that_moves_is_met_earlier():
    """It comes at 0.5 m/s towards 1 m/s: 0.06 m nearer after each step."""
    motion = MOTION._replace(obstacle_speed=0.5)
    for k in (1, 2, 3):
        scene = scene_of([(0.25 + 0.06 * k + 0.03, 0.0)])  # touched in step k, from 0
        assert closing(scene, (1.0, 0.0), (1.0, 0.0), motion) == pytest.approx(1.0)
    # two cells aside: it grows into the side of the robot, 0.05 m after 0.1 s
    assert closing(scene_of([(0.0, 0.29)]), (0.3, 0.0), (0.3, 0.0), motion) > 0.0
    # still there after 0.17 + 0.12 - 0.008 s, 0.29 * 0.5 = 0.145 m
    assert closing(scene_of([(-0.25, 0.40)]), (0.3, 0.0), (0.3, 0.0), motion) == 0.0


def test_unseen_space_counts_as_touched():
    scene = scene_of(unknown=lambda x, y: x > 0.5)
    # the outline is at 0.28 m; after 0.24 m it reaches 0.52 m: step 6 of 1 m/s
    steps = straight(1.0, 1.0)
    first = next(speed for x, speed in steps if x + 0.28 >= 0.5)
    assert closing(scene, (1.0, 0.0), (1.0, 0.0)) == pytest.approx(first)
    assert closing(scene, (0.3, 0.0), (0.3, 0.0)) == 0.0


# -- the choice -----------------------------------------------------------------------------------


def choice(scene, speed, brake, wish_v, low_w=-1.0, high_w=1.0, motion=MOTION):
    found, v, w = least_closing(scene, motion, FOOTPRINT, SAMPLES, FINE, (0.0, 0.0, 0.0, *speed),
                                *brake, wish_v, low_w, high_w)
    return bool(found), float(v), float(w)


def test_where_braking_touches_nothing_it_brakes():
    assert choice(scene_of([(0.9, 0.0)]), (1.0, 0.2), (0.9, 0.18), 1.0) == (False, 0.9, 0.18)


@pytest.mark.parametrize(('speed', 'brake', 'found'), [
    ((0.0, 0.0), (0.0, 0.0), False), ((0.0199, 0.0499), (0.0199, -0.0499), False),
    ((-0.0199, -0.0499), (-0.0199, 0.0), False), ((0.02, 0.05), (0.02, 0.05), False),
    ((0.1, 0.0), (0.0, 0.0), True), ((0.0, 0.5), (0.0, 0.0), True),
    ((0.0, 0.0), (0.1, 0.0), True), ((0.0, 0.0), (0.0, 0.1), True)])
def test_standing_still_is_nothing_to_evade_from(speed, brake, found):
    """A point is in the robot, whatever it does."""
    scene = scene_of([(0.1, 0.0)])
    assert choice(scene, speed, brake, 0.0)[0] == found
    if not found:
        assert choice(scene, speed, brake, 0.0)[1:] == brake


POLES = [([(0.45, -0.22)], 1.0), ([(0.45, 0.22)], -1.0)]


@pytest.mark.parametrize(('points', 'side'), POLES)
def test_it_turns_away_from_what_it_cannot_stop_before(points, side):
    """A pole before one front corner, 0.2 m ahead of the bumper at 1.2 m/s."""
    scene = scene_of(points)
    found, _, w = choice(scene, (1.2, 0.0), (1.1, 0.0), 1.2, -2.0, 2.0)
    assert found and side * w > 0.0
    straight_on = closing(scene_of(points), (1.2, 0.0), (1.1, 0.0))
    assert straight_on > 0.5


def test_equal_closing_speeds_are_met_by_braking():
    """A wall right before the bumper: nothing helps, and so it brakes plainly."""
    wall = [(0.27, y) for y in np.linspace(-1.0, 1.0, 41)]
    assert choice(scene_of(wall), (1.0, 0.0), (0.9, 0.0), 1.0) == (True, 0.9, 0.0)


def cases(count, closing_in):
    """Speeds and points at random; candidates with their closing speeds, and what was chosen."""
    motion = MOTION._replace(obstacle_speed=closing_in)
    rng = np.random.default_rng(7)
    while count > 0:
        speed = (rng.uniform(0.2, 1.2), rng.uniform(-1.0, 1.0))
        points = [(r * math.cos(a), r * math.sin(a)) for r, a in zip(
            rng.uniform(0.37, 0.7, 2), rng.uniform(-math.pi, math.pi, 2), strict=True)]
        brake = (speed[0] - 0.1, speed[1] * (1.0 - 0.1 / speed[0]))
        wish, low, high = speed[0] + 0.4, speed[1] - 1.3, speed[1] + 1.5
        scene = scene_of(points)
        plain = closing(scene, speed, brake, motion)
        if plain < 0.1:
            continue
        count -= 1
        candidates = [(v, low + 0.35 * j) for v in (brake[0], wish) for j in range(9)]
        speeds = {c: closing(scene, speed, c, motion) for c in candidates}
        found, *chosen = choice(scene, speed, brake, wish, low, high, motion)
        assert found
        yield brake, wish, plain, speeds, tuple(chosen)


def off(command, brake):
    return abs(command[0] - brake[0]) + RADIUS * abs(command[1] - brake[1])


@pytest.mark.parametrize('closing_in', [0.0, 0.6])
def test_the_choice_is_the_least_of_all_candidates(closing_in):
    faster = slower = nearest = 0
    for brake, wish, plain, speeds, chosen in cases(25, closing_in):
        least = min(plain, *speeds.values())
        if chosen == brake:
            assert plain <= least + 0.02 + 1e-12
            continue
        same = next(c for c in speeds if c == pytest.approx(chosen))
        assert speeds[same] <= least + 0.02 + 1e-12 and speeds[same] < plain - 0.02 + 1e-12
        faster += same[0] == wish
        slower += same[0] == brake[0]
        free = [c for c in speeds if speeds[c] == 0.0]
        if len(free) > 1 and all(s == 0.0 or s > 0.04 for s in speeds.values()):
            # of those that touch nothing the one nearest to plain braking
            nearest += 1
            assert off(chosen, brake) == pytest.approx(min(off(c, brake) for c in free))
    assert slower > 1 and (nearest > 1 or closing_in > 0.0) and (faster > 0 or closing_in == 0.0)

"""The braking check against manoeuvres driven in half milliseconds, one point at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import (
    FINE,
    FOOTPRINT,
    MOTION,
    SAMPLES,
    driven,
    manoeuvre,
    scene_of,
    square_distance,
)

from karpathy_control.control.braking import advance, approach_and_brake, crept, phase
from karpathy_control.control.scene import _known, _slot, _to_front, room_at, seen_at, stop_reach

REST = (0.0, 0.0)
OPEN = scene_of()
RAMP = 0.0005  # m by which a step is off in which a ramp ends


def test_stop_reach_by_hand():
    # 1 m/s: 0.12 + 0.05 s, then 0.4 s at half the speed
    assert stop_reach(1.0, 0.0, MOTION) == pytest.approx(0.17 + 0.2)
    # 6 rad/s take 1 s to stop at 6 rad/s^2, and 1 m/s falls as slowly
    assert stop_reach(1.0, 6.0, MOTION) == pytest.approx(0.17 + 0.5)
    assert stop_reach(0.0, 6.0, MOTION) == 0.0


@pytest.mark.parametrize('origin', [(-8, -8), (0, 0), (5, -13), (-37, 22), (16, 32), (-1, 1)])
def test_a_slot_is_the_cell_modulo_the_window(origin):
    size = 16
    base = [o - o % size for o in origin]
    scene = scene_of(size=size)._replace(origin_x=origin[0], origin_y=origin[1],
                                         base_x=base[0], base_y=base[1])
    for i in range(origin[0] - 2, origin[0] + size + 2):
        for j in range(origin[1] - 2, origin[1] + size + 2):
            inside = 0 <= i - origin[0] < size and 0 <= j - origin[1] < size
            for share in (0.01, 0.5, 0.99):
                found = _slot(scene, (i + share) * FINE, (j + share) * FINE, FINE)
                assert found == ((j % size) * size + i % size if inside else -1)


def test_known_is_what_was_seen_free_since():
    scene = scene_of(size=16)._replace(oldest=-1.0)
    scene.free[3, 4], scene.free[3, 5], scene.free[4, 3] = -1.0, -1.1, -1.2
    assert _known(scene, 3 * 16 + 4) and _known(scene, 0)
    assert not _known(scene, 3 * 16 + 5) and not _known(scene, 4 * 16 + 3)
    assert not _known(scene, -1)


@pytest.mark.parametrize(('v', 'w', 'dt'), [
    (1.0, 0.0, 0.5), (1.0, 0.8, 0.5), (-0.4, 2.0, 0.7), (0.7, -1.5, 1.1), (0.0, 2.0, 0.4),
    (1.0, 1e-7, 2.0), (1.0, 3e-6, 2.0), (0.5, 0.5, 0.0), (1.0, 1e-3, 400.0)])
def test_advance_is_the_limit_of_small_steps(v, w, dt):
    x, y, yaw = 0.3, -0.2, 0.9
    n = 4000
    for _ in range(n):
        middle = yaw + 0.5 * w * dt / n
        x += v * dt / n * math.cos(middle)
        y += v * dt / n * math.sin(middle)
        yaw += w * dt / n
    assert advance(0.3, -0.2, 0.9, v, w, dt) == pytest.approx((x, y, yaw), abs=2e-6)


@pytest.mark.parametrize('v', [1.0, -0.6])
def test_tyres_that_creep_add_their_share_to_a_stop(v):
    """The base is `creep` seconds later than its wheels: over a stop that makes v * creep."""
    for creep in (0.0, 0.04):
        motion = MOTION._replace(creep=creep)
        total = abs(v) / MOTION.deceleration
        clear, x, _, _ = phase(OPEN, motion, FOOTPRINT, SAMPLES, FINE, 0.0, 0.0, 0.0, v, 0.0,
                               0.0, 0.0, True, total, 0.0)
        assert clear and x == pytest.approx(0.5 * v * total + creep * v, abs=1e-9)


def test_on_the_way_to_a_lower_speed_the_base_creeps_too():
    """From 1 m/s to 0.8 m/s at 2.5 m/s^2, in 0.08 s of 0.2 s: 0.04 s of 0.2 m/s are 8 mm more."""
    ends = []
    for creep in (0.0, 0.04):
        clear, x, _, _ = phase(OPEN, MOTION._replace(creep=creep), FOOTPRINT, SAMPLES, FINE, 0.0,
                               0.0, 0.0, 1.0, 0.0, 0.8, 0.0, False, 0.2, 0.0)
        assert clear
        ends.append(x)
    assert ends[1] - ends[0] == pytest.approx(0.04 * 0.2, abs=0.001)


def test_only_what_slows_down_creeps():
    motion = MOTION._replace(creep=0.04)
    assert crept(1.0, 0.9, 0.05, motion) == pytest.approx(0.04 * 0.1 / 0.05)
    assert crept(-1.0, -0.9, 0.05, motion) == pytest.approx(-0.08)
    assert crept(0.9, 1.0, 0.05, motion) == crept(1.0, 1.0, 0.05, motion) == 0.0
    assert crept(1.0, 0.0, 0.5, MOTION) == 0.0


# -- room and view at one pose --------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-3, 3)),
       st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=6),
       st.floats(0.0, 0.05), st.sampled_from([0.0, 0.04]), st.sampled_from([0.05, 0.3]))
def test_room_is_that_of_the_worst_point(pose, points, need, extra, cap):
    scene = scene_of(points, (0.1, 0.0, 0.2), need, extra)
    grown = 0.02
    rooms = [square_distance(*pose, *p) - min(need + extra, start - 1e-6) - grown
             for p, start in zip(points, scene.start, strict=True)]
    found = room_at(scene, FOOTPRINT, *pose, need, grown, cap)
    if min(rooms) < -1e-9:
        # the first violation is reported, and its point goes to the front
        first = next(k for k, room in enumerate(rooms) if room < 0.0)
        assert found == pytest.approx(rooms[first], abs=1e-9)
        assert (scene.px[0], scene.py[0]) == points[first]
        assert scene.start[0] == square_distance(0.1, 0.0, 0.2, *points[first])
        assert sorted(zip(scene.px, scene.py, strict=True)) == sorted(points)
    elif min(rooms) > 1e-9:
        assert found == pytest.approx(min(cap, *rooms), abs=1e-9)
        assert list(zip(scene.px, scene.py, strict=True)) == points


def test_only_the_points_of_a_scene_count():
    points = [(0.3, 0.0), (0.26, 0.0)]
    scene = scene_of(points, (-1.0, 0.0, 0.0))
    assert room_at(scene, FOOTPRINT, 0.0, 0.0, 0.0, 0.03, 0.0, 0.05) < 0.0
    scene = scene_of(points, (-1.0, 0.0, 0.0))._replace(size=1)
    assert room_at(scene, FOOTPRINT, 0.0, 0.0, 0.0, 0.03, 0.0, 0.05) == pytest.approx(0.02)


def test_a_point_needs_its_own_drift():
    scene = scene_of([(0.40, 0.0), (-0.40, 0.0)])
    scene.extra[1] = 0.1
    # 0.15 m to both; need 0.03, and 0.13 for the one behind
    assert room_at(scene, FOOTPRINT, 0.0, 0.0, 0.0, 0.03, 0.0, 1.0) == pytest.approx(0.02)
    scene.extra[1] = 0.0
    assert room_at(scene, FOOTPRINT, 0.0, 0.0, 0.0, 0.03, 0.0, 1.0) == pytest.approx(0.12)


def test_exactly_as_close_as_at_the_start_is_no_violation():
    scene = scene_of([(0.26, 0.0)])  # 1 cm
    assert room_at(scene, FOOTPRINT, 0.0, 0.0, 0.0, 0.03, 0.0, 1.0) == pytest.approx(1e-6)
    assert room_at(scene, FOOTPRINT, 0.001, 0.0, 0.0, 0.03, 0.0, 1.0) < 0.0
    assert room_at(scene, FOOTPRINT, -0.001, 0.0, 0.0, 0.03, 0.0, 1.0) == pytest.approx(0.001001)


@pytest.mark.parametrize(('k', 'after'), [
    (0, 'abcde'), (1, 'bacde'), (2, 'cabde'), (3, 'dabce'), (4, 'eabdc')])
def test_the_last_three_culprits_stay_in_front(k, after):
    values = np.array([ord(c) for c in 'abcde'])
    _to_front(values, k)
    assert ''.join(map(chr, values)) == after


@pytest.mark.parametrize(('pose', 'seen'), [
    ((0.0, 0.0, 0.0), True),
    ((0.21, 0.0, 0.0), True),  # the outline is 0.28 m ahead: up to 0.49 m
    ((0.23, 0.0, 0.0), False),
    ((0.2, 0.0, math.pi / 4), False),  # its corner 0.384 m
    ((0.23, 0.0, math.pi), False), ((-0.5, 0.0, 0.0), True),
    ((0.0, 0.23, 0.0), True), ((0.0, 0.23, math.pi / 2), True)])
def test_the_outline_lies_in_what_was_seen(pose, seen):
    scene = scene_of(unknown=lambda x, y: x > 0.5)
    assert seen_at(scene, SAMPLES, *pose, FINE) == seen
    # the same beside the robot
    scene = scene_of(unknown=lambda x, y: y > 0.5)
    x, y, yaw = pose
    assert seen_at(scene, SAMPLES, -y, x, yaw, FINE) == seen


def test_outside_the_window_nothing_was_seen():
    scene = scene_of(size=32)  # 0.8 m on each side
    assert seen_at(scene, SAMPLES, 0.5, 0.0, 0.0, FINE)
    for pose in ((0.55, 0.0), (-0.55, 0.0), (0.0, 0.55), (0.0, -0.55)):
        assert not seen_at(scene, SAMPLES, *pose, 0.0, FINE)
        assert not seen_at(scene._replace(excused=np.array([-1]), excused_count=1), SAMPLES,
                           *pose, 0.0, FINE)


def test_what_was_unknown_under_the_outline_already_is_excused():
    unknown = [(5, 0), (5, 1), (2, -6)]
    slots = [(j % 96) * 96 + i % 96 for i, j in unknown]

    def hidden(x, y):
        return (math.floor(x / FINE), math.floor(y / FINE)) in unknown

    pose = (0.01, 0.012, 0.0)
    assert not seen_at(scene_of(unknown=hidden), SAMPLES, *pose, FINE)
    assert seen_at(scene_of(unknown=hidden, excused=slots), SAMPLES, *pose, FINE)
    for k in range(3):  # each of them lies under the outline
        some = slots[:k] + slots[k + 1:]
        assert not seen_at(scene_of(unknown=hidden, excused=some), SAMPLES, *pose, FINE)


# -- parts of a manoeuvre -------------------------------------------------------------------------

SPEEDS = st.tuples(st.floats(-0.4, 1.2), st.floats(-2, 2))
POINTS = st.tuples(st.floats(0.3, 1.0), st.floats(-math.pi, math.pi))


def least_room(path, point, speed=0.0, elapsed=0.0, still=False):
    """Least distance of a point that closes in at `speed` while the robot moves."""
    rooms = [square_distance(x, y, yaw, *point) - speed * (elapsed + t)
             for t, x, y, yaw, v, w in path
             if t == 0.0 or not still or abs(v) > 0.02 or abs(w) > 0.05]
    return min(rooms)


def part(scene, state, target, duration, motion=MOTION, braking=False, elapsed=0.0):
    return phase(scene, motion, FOOTPRINT, SAMPLES, FINE, *state, *target, braking, duration,
                 elapsed)


@pytest.mark.parametrize(('speed', 'target', 'duration'), [
    ((0.8, 0.5), (0.8, 0.5), 0.4), ((0.0, 0.0), (1.2, 0.0), 0.5), ((1.2, 0.0), (0.0, 0.0), 0.3),
    ((0.0, 0.0), (0.0, 2.0), 0.3), ((0.5, 2.0), (0.5, -2.0), 0.5), ((0.4, -1.0), (-0.3, 1.5), 0.4),
    ((0.0, 0.0), (0.0, 0.0), 0.3), ((0.0, -1.5), (0.0, -1.5), 0.2)])
def test_a_part_ends_where_the_base_ends(speed, target, duration):
    state = (0.1, -0.2, 2.5, *speed)
    total = max(abs(speed[0]) / 2.5, abs(speed[1]) / 6.0)
    for time, braking in ((duration, False), (total, True)):
        clear, *end = part(OPEN, state, target, time, braking=braking)
        assert clear
        path = driven(state, target, time, braking=braking)
        assert end == pytest.approx(path[-1][1:4], abs=1.5e-3)


def drawn(seed, count=60):
    """Speeds (v, w) before and after, a time and a place round the robot, at random."""
    rng = np.random.default_rng(seed)
    for v0, w0, v1, w1, time, r, a in rng.uniform((-0.4, -2, -0.4, -2, 0.1, 0.3, -math.pi),
                                                  (1.2, 2, 1.2, 2, 0.4, 1.0, math.pi),
                                                  (count, 7)).tolist():
        yield (v0, w0), (v1, w1), time, (r * math.cos(a), r * math.sin(a))


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('braking', [False, True])
def test_a_part_is_clear_where_the_point_keeps_what_it_needs(seed, braking):
    judged = 0
    for speed, target, time, place in drawn(seed):
        state = (0.0, 0.0, 0.0, *speed)
        duration = max(abs(speed[0]) / 2.5, abs(speed[1]) / 6.0) if braking else time
        least = least_room(driven(state, target, duration, braking=braking), place)
        if not 0.03 < least < square_distance(0.0, 0.0, 0.0, *place) - 0.03:
            continue  # it does not come nearer, or meets
        judged += 1
        off, extra = 0.0 if braking else RAMP, 0.02 * (judged % 2)
        for need, clear in ((least - 0.002 - off, True), (least + 0.0045 + off, False)):
            scene = scene_of([place], need=need - extra, extra=extra)
            assert part(scene, state, target, duration, braking=braking)[0] == clear
    assert judged >= 5


@pytest.mark.parametrize('elapsed', [0.0, 0.3])
@pytest.mark.parametrize('braking', [False, True])
def test_a_moving_obstacle_closes_in_until_the_robot_stands(elapsed, braking):
    """Turning on the spot, away from corners that would matter, a point 0.5 m ahead comes."""
    motion = MOTION._replace(obstacle_speed=0.8)
    state = (0.0, 0.0, 0.0, 0.4, 0.0)
    place = (1.2, 0.0)
    duration = 0.16 if braking else 0.3
    path = driven(state, (0.4, 0.0), duration, motion, braking)
    least = least_room(path, place, 0.8, elapsed, still=braking)
    # it drives 0.032 m while braking: 0.152 s until 0.02 m/s, or 0.12 m in 0.3 s
    expected = 0.95 - 0.8 * elapsed - (0.032 + 0.8 * 0.152 if braking else 0.12 + 0.24)
    assert least == pytest.approx(expected, abs=2e-3)
    for need, clear in ((least - 0.006, True), (least + 0.008, False)):
        scene = scene_of([place], need=need)
        assert part(scene, state, (0.4, 0.0), duration, motion, braking, elapsed)[0] == clear


@pytest.mark.parametrize(('v', 'w', 'passive'), [
    (0.019, 0.0, True), (0.0, 0.049, True), (0.021, 0.0, False), (0.0, 0.051, False),
    (-0.021, 0.0, False), (0.0, -0.051, False), (0.021, 0.051, False)])
def test_below_both_speeds_a_braking_robot_stands(v, w, passive):
    """A long braking, so that the first looks are at nearly the full speed."""
    motion = MOTION._replace(obstacle_speed=1.0, deceleration=0.001, turn_acceleration=0.0025)
    total = max(abs(v) / 0.001, abs(w) / 0.0025)
    scene = scene_of([(0.6, 0.0), (-0.6, 0.0)], need=0.1)
    clear = part(scene, (0.0, 0.0, 0.0, v, w), REST, total, motion, braking=True)[0]
    assert clear == passive
    # without a moving obstacle nothing is passive, and nothing comes nearer than 0.2 m
    calm = motion._replace(obstacle_speed=0.0)
    assert part(scene_of([(0.6, 0.0)], need=0.1), (0.0, 0.0, 0.0, v, w), REST, 0.1, calm,
                braking=True)[0]


def test_standing_needs_no_look():
    """At rest nothing is asked of the points, even of one that closes in."""
    motion = MOTION._replace(obstacle_speed=5.0)
    scene = scene_of([(0.4, 0.0)], need=0.1)
    clear, x, y, yaw = part(scene, (0.0, 0.0, 0.3, 0.0, 0.0), REST, 1.0, motion)
    assert clear and (x, y, yaw) == (0.0, 0.0, 0.3)


def test_a_violation_at_the_start_does_not_hide_the_way_out():
    """Nearer than needed already: it may leave, and it may not come nearer."""
    for v, clear in ((-0.3, True), (0.3, False)):
        scene = scene_of([(0.26, 0.0)], need=0.03)
        assert part(scene, (0.0, 0.0, 0.0, v, 0.0), (v, 0.0), 0.2)[0] == clear


@pytest.mark.parametrize(('edge', 'clear'), [(0.62, True), (0.47, False), (0.55, False)])
def test_a_part_ends_in_space_that_was_seen(edge, clear):
    """0.3 m ahead: the outline then reaches 0.58 m; the cell at an edge counts as unknown."""
    scene = scene_of(unknown=lambda x, y: x > edge)
    assert part(scene, (0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0), 0.3)[0] == clear


def test_space_is_looked_at_on_the_way_too():
    """A turn of pi / 2 sweeps the corners over an unseen cell 0.37 m from the middle."""
    def hidden(x, y):
        return math.floor(x / FINE) == 7 and math.floor(y / FINE) == 0

    scene = scene_of(unknown=hidden)
    assert seen_at(scene, SAMPLES, 0.0, 0.0, 0.0, FINE)
    assert seen_at(scene, SAMPLES, 0.0, 0.0, math.pi / 2, FINE)
    assert not part(scene, (0.0, 0.0, 0.0, 0.0, 2.0), (0.0, 2.0), math.pi / 4)[0]
    assert not part(scene, (0.0, 0.0, 0.0, 0.0, -2.0), (0.0, -2.0), math.pi / 4)[0]


@pytest.mark.parametrize('column', range(6, 14))
def test_no_unseen_cell_on_the_way_is_stepped_over(column):
    """The front goes from 0.28 to 0.73 m, over one cell of 5 cm; the tail does not come there."""
    scene = scene_of(unknown=lambda x, y: math.floor(x / FINE) == column
                     and math.floor(y / FINE) == 0)
    assert not part(scene, (0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0), 0.45)[0]


def test_the_last_pose_is_looked_at_however_short_the_way():
    """22 mm, less than half a cell: the front goes from 0.28 to 0.302 m."""
    scene = scene_of(unknown=lambda x, y: x > 0.3)
    assert not part(scene, (0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0), 0.022)[0]
    assert part(scene, (0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 0.0), 0.018)[0]


def test_a_thin_point_on_the_way_is_not_stepped_over():
    """Corners swing past points between both ends of a quick turn."""
    for place in ((0.33, 0.0), (0.0, 0.33), (-0.33, 0.0), (0.0, -0.33)):
        scene = scene_of([place], need=0.03)
        assert not part(scene, (0.0, 0.0, 0.0, 0.0, 2.0), (0.0, 2.0), math.pi / 4)[0]
        scene = scene_of([(1.2 * place[0], 1.2 * place[1])], need=0.03)  # 0.396 m: beyond
        assert part(scene, (0.0, 0.0, 0.0, 0.0, 2.0), (0.0, 2.0), math.pi / 4)[0]


# -- whole manoeuvres -----------------------------------------------------------------------------


def whole(scene, state, command, duration, motion=MOTION, elapsed=0.0):
    return bool(approach_and_brake(scene, motion, FOOTPRINT, SAMPLES, FINE, *state, *command,
                                   duration, elapsed))


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('duration', [0.05, 0.17])
def test_a_manoeuvre_is_clear_where_the_point_keeps_what_it_needs(seed, duration):
    judged = 0
    for speed, command, _, (x, y) in drawn(seed):
        state, place = (0.1, -0.05, 0.4, *speed), (0.1 + x, -0.05 + y)
        least = least_room(manoeuvre(state, command, duration), place)
        if not 0.03 < least < square_distance(*state[:3], *place) - 0.03:
            continue
        judged += 1
        for need, clear in ((least - 0.003 - RAMP, True), (least + 0.0055 + RAMP, False)):
            assert whole(scene_of([place], state[:3], need), state, command, duration) == clear
    assert judged >= 5


@pytest.mark.parametrize('elapsed', [0.0, 0.12])
def test_a_manoeuvre_counts_the_time_before_it(elapsed):
    motion = MOTION._replace(obstacle_speed=0.5)
    state, place = (0.0, 0.0, 0.0, 0.5, 0.0), (1.2, 0.0)
    path = manoeuvre(state, (0.5, 0.0), 0.05, motion)
    least = least_room(path, place, 0.5, elapsed, still=True)
    # 0.025 m, then 0.05 m in 0.2 s of which 0.192 s are above 0.02 m/s
    assert least == pytest.approx(0.95 - 0.075 - 0.5 * (elapsed + 0.05 + 0.192), abs=2e-3)
    for need, clear in ((least - 0.006, True), (least + 0.008, False)):
        assert whole(scene_of([place], need=need), state, (0.5, 0.0), 0.05, motion,
                     elapsed) == clear


def test_a_manoeuvre_brakes_in_space_that_was_seen():
    """0.05 m and 0.2 m of braking from 1 m/s: the outline reaches 0.53 m."""
    state = (0.0, 0.0, 0.0, 1.0, 0.0)
    for edge, clear in ((0.57, True), (0.48, False), (0.32, False)):
        scene = scene_of(unknown=lambda x, y, edge=edge: x > edge)
        assert whole(scene, state, (1.0, 0.0), 0.05) == clear

"""Which commands pass: the gate against manoeuvres driven in half milliseconds round points."""

import math

import numpy as np
import pytest
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

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.control.candidates import _admissible
from karpathy_control.control.gate import (
    BRAKING,
    LIMITED,
    UNAVOIDABLE,
    UNCHANGED,
    Gate,
)

REACTION, TICK = 0.12, 0.05
SQUARE = {'robot.footprint': [0.25, 0.25, -0.25, 0.25, -0.25, -0.25, 0.25, -0.25],
          'gate.margin': 0.03, 'gate.speed_steps': 3, 'gate.turn_steps': 5, 'robot.jerk': 500.0}


def both_ways(state, command):
    """The paths of a base that answers at once and of one that answers late; poses from now."""
    at_once = manoeuvre(state, command, REACTION + TICK)
    coast = driven(state, state[3:], REACTION)
    late = manoeuvre(coast[-1][1:4] + state[3:], command, TICK)
    return at_once, coast, [(REACTION + t, *rest) for t, *rest in late]


def room(path, point, speed=0.0):
    return min(square_distance(x, y, yaw, *point) - speed * t for t, x, y, yaw, v, w in path
               if t == 0.0 or abs(v) > 0.02 or abs(w) > 0.05 or speed == 0.0)


def admissible(scene, state, command, motion=MOTION):
    late = (*driven(state, state[3:], REACTION)[-1][1:4], *state[3:])
    return bool(_admissible(scene, motion, FOOTPRINT, SAMPLES, FINE, state, late, *command))


@pytest.mark.parametrize('seed', range(4))
def test_a_command_is_admissible_when_both_bases_keep_their_distance(seed):
    rng = np.random.default_rng(seed)
    judged = 0
    for v0, w0, v, w, r, a in rng.uniform((-0.3, -2, -0.3, -2, 0.3, -math.pi),
                                          (1.2, 2, 1.2, 2, 0.9, math.pi), (40, 6)).tolist():
        state, place = (0.1, -0.05, 0.4, v0, w0), (0.1 + r * math.cos(a), -0.05 + r * math.sin(a))
        at_once, _, late = both_ways(state, (v, w))
        least = min(room(at_once, place), room(late, place))
        if not 0.03 < least < square_distance(*state[:3], *place) - 0.03:
            continue  # it does not come nearer, or meets
        judged += 1
        for need, passes in ((least - 0.0045, True), (least + 0.007, False)):
            assert admissible(scene_of([place], state[:3], need), state, (v, w)) == passes
    assert judged >= 5


CASES = [
    # measured, command, point that only the one (late, at once) comes near to
    ((0.8, 0.0), (0.0, 0.0), (0.25 + 0.096 + 0.01, 0.0), 'late'),  # coasts 0.096 m
    ((0.0, 0.0), (1.0, 0.0), (0.25 + 0.04, 0.0), 'at once'),
    ((0.0, 2.0), (0.0, 0.0), 0.5, 'late'),  # turns 0.57 rad, and 0.33 rad if it answers at once
    ((0.0, 0.0), (0.0, 2.0), 0.17, 'at once')]  # 0.17 rad, and 0.015 rad if late


@pytest.mark.parametrize(('speed', 'command', 'place', 'who'), CASES)
def test_both_bases_are_looked_at(speed, command, place, who):
    state = (0.0, 0.0, 0.0, *speed)
    at_once, _, late = both_ways(state, command)
    if isinstance(place, float):  # so far on from the corner
        place = (0.36 * math.cos(math.pi / 4 + place), 0.36 * math.sin(math.pi / 4 + place))
    rooms = {'at once': room(at_once, place), 'late': room(late, place)}
    other = 'late' if who == 'at once' else 'at once'
    between = 0.5 * (rooms[who] + rooms[other])
    assert rooms[who] < between - 0.01
    assert not admissible(scene_of([place], (-2.0, 0.0, 0.0), between), state, command)
    # for the one that does not come near alone it would be clear
    assert admissible(scene_of([place], (-2.0, 0.0, 0.0), rooms[who] - 0.004), state, command)


def test_what_moves_has_come_nearer_when_the_late_base_answers():
    motion = MOTION._replace(obstacle_speed=0.5)
    state, command, place = (0.0, 0.0, 0.0, 0.6, 0.0), (0.6, 0.0), (1.2, 0.0)
    at_once, _, late = both_ways(state, command)
    least = min(room(at_once, place, 0.5), room(late, place, 0.5))
    # 0.102 + 0.072 m of its own; 0.17 + 0.232 s until it is slower than 0.02 m/s
    assert least == pytest.approx(0.95 - 0.174 - 0.5 * 0.402, abs=3e-3)
    for need, passes in ((least - 0.008, True), (least + 0.012, False)):
        assert admissible(scene_of([place], need=need), state, command, motion) == passes


# -- the filter -----------------------------------------------------------------------------------


def square_gate(points, **changes):
    """A gate for the square robot in space that was seen, with points that hold always."""
    gate = Gate(from_mapping(ControlConfig, SQUARE | {
        k.replace('__', '.'): v for k, v in changes.items()}), window=64)
    gate.filter([[0.0, 0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], 0.0)
    gate._memory.free_seen[:] = 1e6
    gate.fence(points)
    return gate


def ask(gate, speed, wish, pose=(0.0, 0.0, 0.0), under=None):
    gate.record([speed if under is None else under], 1.0)
    result = gate.filter([pose], [speed], [wish], 1.0 + TICK)
    return tuple(result.applied[0].tolist()), int(result.status[0]), float(result.clearance[0])


@pytest.mark.parametrize('v', [0.3, 0.7, 1.2, -0.3])
def test_straight_on_it_stops_a_margin_before_the_wall(v):
    """Reaction and tick at full speed, then braking; margin 0.03 and half a step of 0.005 m."""
    side = math.copysign(1.0, v)
    stop = 0.25 + abs(v) * 0.17 + v * v / 5.0 + 0.0325
    for gap, status in ((0.004, UNCHANGED), (-0.004, LIMITED)):
        gate = square_gate([(side * (stop + gap), y) for y in (-0.2, 0.0, 0.2)])
        command, found, clearance = ask(gate, (v, 0.0), (v, 0.0))
        assert found == status and (command == (v, 0.0)) == (status == UNCHANGED)
        if abs(stop) - 0.25 < 0.5:
            assert clearance == pytest.approx(stop + gap - 0.25)
        if status == LIMITED:
            assert abs(command[0]) < abs(v)


@pytest.mark.parametrize(('speed', 'wish', 'acceleration', 'stop'), [
    # 1.2 m/s for 0.12 s, 50 ms of slowing to 1.075 m/s, then braking
    (1.2, 0.0, 2.0, 0.144 + 0.05 * 1.1375 + 1.075 ** 2 / 5.0),
    # 50 ms at 20 m/s^2, 1 m/s for 0.12 s, then braking
    (0.0, 1.2, 20.0, 0.025 + 0.12 + 0.2)])
def test_as_far_as_the_robot_may_get_obstacles_are_found(speed, wish, acceleration, stop):
    """Nothing is under way; the measured speed or the one that is asked for is the fastest.

    The quick look takes a ramp for its middle, so it wants 25 mm more where the ramp is short.
    """
    for gap, passes in ((0.03, True), (-0.005, False)):
        wall = [(0.25 + stop + 0.0325 + gap, y) for y in (-0.2, 0.0, 0.2)]
        gate = square_gate(wall, robot__acceleration=acceleration)
        _, status, _ = ask(gate, (speed, 0.0), (wish, 0.0), under=(0.0, 0.0))
        assert (status == UNCHANGED) == passes


def nearest(points):
    return min(square_distance(0.0, 0.0, 0.0, *p) for p in points)


@pytest.mark.parametrize('seed', range(25))
def test_what_passes_is_the_nearest_of_all_that_are_clear(seed):
    """Speeds and turns on a grid, each judged by driving it; near misses are left out."""
    rng = np.random.default_rng(seed)
    speed = (rng.uniform(0.0, 1.0), rng.uniform(-1.5, 1.5))
    wish = (rng.uniform(0.0, 1.2), rng.uniform(-2.0, 2.0))
    state = (0.0, 0.0, 0.0, *speed)
    coast = driven(state, speed, REACTION)
    places = []
    while len(places) < 3:
        r, a = rng.uniform(0.3, 0.9), rng.uniform(-math.pi, math.pi)
        place = (r * math.cos(a), r * math.sin(a))
        if nearest([place]) > 0.06 and room(coast, place) > 0.05:
            places.append(place)
    low = (max(speed[0] - 2.5 * TICK, -0.3), speed[1] - 6.0 * TICK)
    high = (min(speed[0] + 2.0 * TICK, 1.2), speed[1] + 6.0 * TICK)
    if speed[0] < 2.5 * TICK:  # through zero the rest of the tick speeds up the other way
        low = (max(-2.0 * (TICK - speed[0] / 2.5), -0.3), low[1])
    low, high = (low[0], max(low[1], -2.0)), (high[0], min(high[1], 2.0))
    want = tuple(min(max(wish[k], low[k]), high[k]) for k in (0, 1))
    axes = []
    for k, n in ((0, 3), (1, 5)):
        axis = np.linspace(low[k], high[k], n)
        axis[np.argmin(np.abs(axis - want[k]))] = want[k]
        axes.append(axis.tolist())
    judged = {}
    for v in axes[0]:
        for w in axes[1]:
            at_once, _, late = both_ways(state, (v, w))
            least = min(min(room(at_once, p), room(late, p)) for p in places)
            judged[v, w] = None if abs(least - 0.0325) < 0.007 else least > 0.0325
    cost = {c: ((c[0] - min(max(wish[0], -0.3), 1.2)) / 1.2) ** 2 + ((c[1] - wish[1]) / 2.0) ** 2
            for c in judged}
    gate = square_gate(places)
    command, status, clearance = ask(gate, speed, wish)
    assert clearance == pytest.approx(nearest(places)) or (
        clearance == math.inf and nearest(places) > 0.5)
    if status == UNCHANGED:
        assert command == pytest.approx(want) and judged[want] is not False
    elif status == LIMITED:
        chosen = next(c for c in judged if c == pytest.approx(command))
        assert judged[want] is not True and judged[chosen] is not False
        assert not any(judged[c] and cost[c] < cost[chosen] - 1e-6 for c in judged)
    else:
        assert not any(judged.values())


def test_nothing_but_braking_is_left():
    """A pole on each side: each of the nine candidates comes too near to one, the arc does not.

    Full braking on the arc keeps 36 mm, where 32.5 mm are needed.
    """
    speed, wish = (0.965, 0.809), (0.902, -1.754)
    poles = [(0.443, 0.375), (0.512, -0.221)]
    share = 1.0 - TICK / (0.965 / 2.5)
    brake = (share * speed[0], share * speed[1])
    state = (0.0, 0.0, 0.0, *speed)

    def keeps(command):
        at_once, _, late = both_ways(state, command)
        return min(min(room(at_once, p), room(late, p)) for p in poles)

    # 0.84 .. 1.065 m/s, the wish in place of the middle, and 0.3 rad/s to both sides
    grid = [(v, w) for v in (0.84, 0.902, 1.065) for w in (0.509, 0.809, 1.109)]
    assert max(map(keeps, grid)) < 0.0325 and keeps(brake) > 0.036
    command, status, _ = ask(square_gate(poles, gate__turn_steps=3), speed, wish)
    assert status == BRAKING and command == pytest.approx(brake)


def test_what_it_cannot_miss_it_meets_as_slowly_as_it_can():
    """A wall 5 cm ahead at 1 m/s: within the reaction it is there. It brakes, and says so."""
    wall = [(0.30, y) for y in np.linspace(-0.6, 0.6, 25)]
    command, status, clearance = ask(square_gate(wall), (1.0, 0.0), (1.0, 0.0))
    assert status == UNAVOIDABLE and clearance == pytest.approx(0.05)
    assert command == pytest.approx((0.875, 0.0))
    # a pole before one corner: it turns away as it brakes
    for side in (1.0, -1.0):
        gate = square_gate([(0.45, side * 0.22)], robot__turn_acceleration=25.0)
        command, status, _ = ask(gate, (1.2, 0.0), (1.2, 0.0))
        assert status == UNAVOIDABLE and side * command[1] < 0.0
        assert command[0] in (pytest.approx(1.075), pytest.approx(1.2))


def test_within_its_margin_it_brakes_but_does_not_call_it_unavoidable():
    """A wall 4 cm ahead at 0.2 m/s: it stops before it, nearer than it should."""
    wall = [(0.29, y) for y in (-0.2, 0.0, 0.2)]
    command, status, _ = ask(square_gate(wall), (0.2, 0.0), (0.2, 0.0))
    assert status == BRAKING and command == pytest.approx((0.075, 0.0))


def test_the_turn_of_a_candidate_is_bound_at_its_own_speed():
    """With a curvature of 2/m a slower candidate may turn less; the wall leaves slow ones."""
    gate = square_gate([(0.25 + 0.125, 0.0)], robot__max_curvature=2.0)
    command, status, _ = ask(gate, (0.4, 0.5), (0.4, 0.8))
    assert status == LIMITED
    assert command[0] < 0.4 and abs(command[1]) <= 2.0 * abs(command[0]) + 1e-9


@pytest.mark.parametrize(('speed', 'room_left'), [(0.3, True), (0.5, False)])
def test_what_moves_needs_room_for_as_long_as_the_robot_does(speed, room_left):
    """From 0.6 m/s it moves for 0.17 + 0.232 s and 0.174 m; a point 0.36 m before the bumper."""
    gate = square_gate([(0.25 + 0.36, 0.0)], gate__obstacle_speed=speed)
    gap = 0.36 - 0.174 - speed * 0.402 - 0.0325
    assert (gap > 0.01) == room_left and abs(gap) > 0.01
    assert (ask(gate, (0.6, 0.0), (0.6, 0.0))[1] == UNCHANGED) == room_left


def test_what_comes_from_far_is_seen_in_time():
    """0.1 m/s of the robot, 5 m/s of the obstacle: it is 1 m away, and there in 0.2 s."""
    for ahead, passes in ((1.03, False), (1.1, True)):
        gate = square_gate([(0.25 + ahead, 0.0)], gate__obstacle_speed=5.0)
        # until it is slower than 0.02 m/s: 0.17 + 0.032 s, 1.01 m, and 0.017 + 0.002 + 0.0325 m
        assert (ask(gate, (0.1, 0.0), (0.1, 0.0))[1] == UNCHANGED) == passes


def test_what_may_have_drifted_near_is_kept_away_from():
    """Seen 10 m ago at 0.02 m/m: it may be 0.2 m nearer than it seems."""
    for ahead, passes in ((0.34, False), (0.42, True)):
        gate = square_gate([], gate__drift_per_metre=0.02, gate__memory_time=100.0)
        hit = 0.25 + ahead
        gate.observe_scan([[0.0, 0.0, 0.0]], [[hit, math.nan]], 0.0, 0.1, (0.0, 0.0, 0.0), 0.1,
                          9.0, 1.0)
        gate._memory.scan_origin[0, 2] = 0.0  # no cap of speed
        time = 1.0
        for k in range(1, 21):  # forth and back, a metre each
            time = 1.0 + 0.5 * k
            gate.filter([[0.0, 0.5 * (k % 2), 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], time)
        gate._memory.free_seen[:] = 1e6
        gate.record([[0.6, 0.0]], time)
        result = gate.filter([[0.0, 0.0, 0.0]], [[0.6, 0.0]], [[0.6, 0.0]], time + TICK)
        # 0.174 + 0.0325 + 0.2 m
        assert (result.status[0] == UNCHANGED) == passes


def test_it_does_not_drive_into_what_was_never_seen():
    """The stop disc of 0.33 m is all that is known; the square's corner is 0.354 m away."""
    gate = Gate(from_mapping(ControlConfig, SQUARE), window=64)
    gate.record([[0.0, 0.0]], 0.95)
    result = gate.filter([[0.0, 0.0, 0.0]], [[0.0, 0.0]], [[1.0, 0.0]], 1.0)
    assert 0.0 <= result.applied[0, 0] < 0.3
    held = 0
    for _ in range(10):  # it is held at the same place, however fast it goes
        result = gate.filter([[0.0, 0.0, 0.0]], [result.applied[0]], [[1.0, 0.0]],
                             float(gate._last.time[0]) + TICK)
        assert result.applied[0, 0] < 0.4
        held += result.status[0] != UNCHANGED
    assert held >= 5

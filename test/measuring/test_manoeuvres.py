"""The guided drive: what it never commands, and why it ends."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plant import ROBOT, driven

from karpathy_control.contracts.config import ConfigError, RobotConfig
from karpathy_control.contracts.geometry import wrap_angle
from karpathy_control.contracts.types import Command, State
from karpathy_control.measuring.manoeuvres import (
    ARC,
    LONGEST,
    STRAIGHT,
    TURN,
    Drive,
    Halted,
    duration,
    in_the_way,
    plan,
    room,
)

TICK = 0.02
STEPS = plan(ROBOT, 1.2, 2.0, 1)
ALLOWED = {(0.0, 0.0), *((s.command.v, s.command.w) for s in STEPS)}


def ride(drive, speed=1.0, turn=1.0, gate=lambda t, c: c, lag=0, seconds=LONGEST + 5.0):
    """Drive an ideal base of some gains: all commands, and why it ended (empty: done)."""
    x = y = yaw = 0.0
    applied, given_, past = Command(), [], [Command()] * (lag + 1)
    for k in range(round(seconds / TICK)):
        moving = past[-1 - lag]
        v, w = speed * moving.v, turn * moving.w
        try:
            command = drive.tick(k * TICK, State(0, x, y, wrap_angle(yaw), v, w), applied)
        except Halted as halted:
            return given_, str(halted)
        given_.append((command.v, command.w))
        if drive.done:
            return given_, ''
        applied = gate(k * TICK, command)
        past.append(applied)
        yaw += w * TICK
        x, y = x + v * math.cos(yaw) * TICK, y + v * math.sin(yaw) * TICK
    raise AssertionError('neither done nor halted')


def test_the_whole_drive_comes_back_to_where_it_began():
    drive = Drive(STEPS, ROBOT)
    commands, why = ride(drive)
    assert why == '' and set(commands) == ALLOWED and commands[-1] == (0.0, 0.0)
    assert [s.manoeuvre for s in drive.spans] == list(STEPS)
    for span in drive.spans:
        assert span.go <= span.reached < span.brake <= span.rest < span.end
    assert len(commands) * TICK < duration(STEPS, ROBOT) + 5.0


@settings(max_examples=60, deadline=None)
@given(speed=st.floats(-0.5, 2.0), turn=st.floats(-0.5, 2.0), lag=st.integers(0, 40),
       hold=st.floats(0.0, 1.0), begin=st.floats(0.0, 40.0))
def test_no_base_and_no_gate_makes_it_command_anything_else(speed, turn, lag, hold, begin):
    """Bases that do more, less or the opposite, late, behind a gate that begins to hold back."""
    def gate(t, c):
        return Command(hold * c.v, hold * c.w) if t > begin else c

    commands, _ = ride(Drive(STEPS, ROBOT), speed, turn, gate, lag)
    assert set(commands) <= ALLOWED and len(commands) * TICK <= LONGEST + TICK


def test_a_gate_that_holds_ends_the_drive_at_once():
    commands, why = ride(Drive(STEPS, ROBOT),
                         gate=lambda t, c: c if t < 3.5 else Command(0.3 * c.v, c.w))
    assert 'the gate holds the robot: asked for 0.6 m/s' in why and 'less --speed' in why
    assert len(commands) * TICK < 3.5 + 0.2  # held back for 0.15 s


def test_a_gate_that_never_lets_go_ends_it_after_the_ramp():
    commands, why = ride(Drive(STEPS, ROBOT), gate=lambda t, c: Command())
    assert 'passed 0.00' in why
    assert len(commands) * TICK == pytest.approx(3.0 + 0.6 / 2.0 + 1.0, abs=0.05)


@pytest.mark.parametrize(('speed', 'turn'), [(3.0, 1.0), (1.0, -1.0)])
def test_a_base_that_goes_elsewhere_ends_it(speed, turn):
    _, why = ride(Drive(STEPS, ROBOT), speed, turn)
    assert 'goes elsewhere' in why


def test_a_base_that_does_not_stop_ends_it():
    drive = Drive(STEPS, ROBOT)
    state = State(0, 0.0, 0.0, 0.0, 0.1, 0.0)
    drive.tick(0.0, state, Command())
    with pytest.raises(Halted, match=r'does not come to rest: 0\.10 m/s'):
        drive.tick(4.1, state, Command())


@pytest.mark.parametrize(('changes', 'arguments', 'text'), [
    ({}, (1.3, 2.0, 3), '--speed 1.3: it takes more than 0 and at most 1.2'),
    ({}, (1.2, 0.0, 3), '--turn 0: it takes more than 0 and at most 2'),
    ({}, (1.2, 2.0, 6), '--repeats 6: it takes 1 to 5'),
    ({'max_curvature': 1.0}, (1.2, 2.0, 3), 'turns on the spot'),
    ({'max_turn': 0.4}, (1.2, 0.4, 5), 'so lower it')])
def test_what_cannot_be_driven_is_refused(changes, arguments, text):
    with pytest.raises(ConfigError, match=text):
        plan(replace(ROBOT, **changes), *arguments)


@given(speed=st.floats(0.1, 2.0), turn=st.floats(0.5, 3.0), repeats=st.integers(1, 5))
def test_a_plan_keeps_to_its_limits(speed, turn, repeats):
    robot = replace(RobotConfig(), max_speed=2.0, max_turn=3.0)
    try:
        steps = plan(robot, speed, turn, repeats)
    except ConfigError as error:
        assert 'so lower it' in str(error)
        return
    assert max(s.command.v for s in steps) == speed
    assert max(abs(s.command.w) for s in steps) <= turn * (1.0 + 1e-9)
    assert all(abs(s.command.v * s.command.w) <= robot.max_lateral_acceleration + 1e-9
               for s in steps)
    assert duration(steps, robot) <= LONGEST
    kinds = [s.kind for s in steps]
    assert kinds.count(STRAIGHT) == kinds.count(TURN) >= 4 and kinds.count(ARC) == 2
    assert sum(s.angle for s in steps) == pytest.approx(0.0, abs=1e-9)  # cables


def test_the_room_holds_all_that_is_driven_over():
    recording = driven()
    x0, x1, y0, y1 = room(STEPS, ROBOT)
    out = ROBOT.circumscribed_radius
    x, y = recording.odom[:, 1], recording.odom[:, 2]
    assert x0 + out < x.min() and x.max() < x1 - out
    assert y0 + out < y.min() and y.max() < y1 - out
    # and at full speed, ahead of where it stops, what the gate keeps: 1.2 m/s for 0.12 s
    assert x1 - out - x.max() > 1.2 * 0.12


def test_in_the_way_is_what_lies_within():
    points = np.array([[1.0, 0.0], [4.0, 0.0], [0.0, -2.5], [-0.5, 1.9]])
    assert in_the_way(points, (-1.0, 3.0, -2.0, 2.0)).tolist() == [[1.0, 0.0], [-0.5, 1.9]]

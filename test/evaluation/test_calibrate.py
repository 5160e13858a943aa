"""The calibration against closed forms, and bases that it must refuse."""

import json
from dataclasses import replace

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.cli import run
from karpathy_control.contracts.config import RobotConfig
from karpathy_control.evaluation.calibrate import Trace, calibrate, creep, lag, settled, stopping
from karpathy_control.worlds.robot import load_robot

LIMITS = replace(RobotConfig(), max_speed=2.0, max_turn=3.0, deceleration=4.0,
                 turn_acceleration=10.0, creep=0.03)


@pytest.fixture(scope='module')
def jackal():
    return load_robot(find('description', 'jackal.urdf.xacro'))


def ramp(late=0.0):
    """2 m/s by 4 m/s^2, `late` s late, on until 2.5 s; then to zero by 4 m/s^2."""
    time = np.arange(1, 1801) * 0.0025
    v = np.clip(4.0 * (time - late), 0.0, 2.0)
    v = np.where(time > 2.5, np.clip(2.0 - 4.0 * (time - 2.5), 0.0, None), v)
    x = np.cumsum(v) * 0.0025
    zero = np.zeros_like(v)
    return Trace(time, np.stack((x, zero, zero), axis=1), np.stack((v, zero), axis=1),
                 np.where(time > 2.5, np.clip(v - 0.2, 0.0, None), v))


@pytest.mark.parametrize('late', [0.0, 0.05, 0.2])
def test_a_ramp_has_the_lag_that_it_was_given(late):
    trace = ramp(late)
    assert settled(trace, 0) == pytest.approx(2.0)
    # 1.8 m/s at 0.45 s and `late`; a step is 2.5 ms
    assert lag(trace, 0, 4.0) == pytest.approx(late, abs=0.0026)


def test_a_ramp_stops_in_v_squared_by_two_a():
    way, turned = stopping(ramp())
    assert way == pytest.approx(2.0**2 / (2 * 4.0), abs=0.006)  # 0.5 m; one step at 2 m/s is 5 mm
    assert turned == 0.0


def test_wheels_that_stop_sooner_are_told_as_creep():
    # 0.2 m/s slower than the base, which slows down by 4 m/s^2, are 0.05 s ahead of it; but in the
    # last 0.05 s they stand: 0.2 * 0.45 + 0.2 * 0.05 / 2 = 0.095 m of 2 m/s
    assert creep(ramp()) == pytest.approx(0.095 / 2.0, abs=0.001)


def outside(description, limits=LIMITS):
    return {check.name for check in calibrate(description, limits).checks if not check.ok}


def test_the_jackal_is_within(jackal):
    assert outside(jackal) == set()


def test_a_base_that_turns_less_than_its_multiplier_says_is_found(jackal):
    found = outside(replace(jackal, wheel_separation_multiplier=1.0))
    # 0.98 / 1.5 = 0.65 of what is commanded
    assert {'turning at 0.75 rad/s', 'turning at 3 rad/s', 'least turning on arcs'} <= found
    assert 'speed at 2 m/s' not in found


def test_a_base_on_ice_is_found(jackal):
    found = outside(replace(jackal, wheel_friction=0.15))
    # 0.15 g = 1.5 m/s^2: from 2 m/s it slides 1.36 m and not 0.62 m
    assert {'stop from 2 m/s', 'lag of the speed'} <= found


def test_a_profile_that_hopes_for_more_braking_is_found(jackal):
    # 2 m/s: 0.566 m measured, 4 / 16 + 0.12 = 0.37 m hoped for
    assert 'stop from 2 m/s' in outside(jackal, replace(LIMITS, deceleration=8.0))


def test_a_profile_that_knows_nothing_of_creep_is_found(jackal):
    assert outside(jackal, replace(LIMITS, creep=0.0)) == {'creep of the tyres'}


def test_the_command_prints_one_object_and_draws(tmp_path, capsys):
    assert run(['calibrate', '--robot', 'jackal', '--out', str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said['outside'] == [] and len(said['checks']) == 22
    assert (tmp_path / 'jackal.png').read_bytes().startswith(b'\x89PNG')


def test_an_unknown_robot_and_one_without_a_description_are_refused(capsys):
    assert run(['calibrate', '--robot', 'nobody']) == 2
    assert 'nobody' in capsys.readouterr().err
    assert run(['calibrate', '--robot', 'generic']) == 2
    assert 'description' in capsys.readouterr().err

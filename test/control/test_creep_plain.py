"""A base that slows down later than its wheels: every part of the gate counts with it."""

import numpy as np
import pytest
from scenes import FINE, FOOTPRINT, MOTION, SAMPLES, scene_of

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.control.braking import culprits, phase
from karpathy_control.control.candidates import speed_cap
from karpathy_control.control.evasion import closing_speed
from karpathy_control.control.gate import Gate
from karpathy_control.control.scene import stop_reach

CREEPS = MOTION._replace(creep=0.04)


def test_a_stop_is_longer_by_the_creep_at_full_speed():
    # 1 m/s: 0.17 s and 0.04 s of creep, then 0.2 m
    assert stop_reach(1.0, 0.0, CREEPS) == pytest.approx(0.21 + 0.2)
    assert speed_cap(0.41, CREEPS) == pytest.approx(1.0)


def test_the_gate_takes_the_creep_of_its_robot():
    gate = Gate(from_mapping(ControlConfig, {'robot.creep': 0.03}), window=16)
    assert gate._motion.creep == 0.03
    assert culprits(scene_of(), gate._motion)[1].creep == 0.03


def test_the_braking_that_is_shown_ends_where_the_base_stands():
    """0.2 m by the wheels in 0.4 s, and 0.03 m of creep, evenly over the time of the braking."""
    gate = Gate(from_mapping(ControlConfig, {'robot.creep': 0.03}), window=16)
    poses = gate.braking((0.0, 0.0, 0.0), (1.0, 0.0))
    n = len(poses) - 1
    time = 0.4 * np.arange(n + 1) / n
    assert n * 0.02 == pytest.approx(0.4)
    expected = time - 1.25 * time ** 2 + 0.03 * time / 0.4
    assert poses[:, 0] == pytest.approx(expected, abs=1e-9)


def test_the_braking_that_is_shown_does_not_go_on_after_its_end():
    """0.83 m/s take 0.332 s: the last of 17 steps of 20 ms ends after the base stands."""
    gate = Gate(from_mapping(ControlConfig, {'robot.creep': 0.03}), window=16)
    poses = gate.braking((0.0, 0.0, 0.0), (0.83, 0.0))
    assert len(poses) == 18
    assert poses[-1, 0] == pytest.approx(0.5 * 0.83 * 0.332 + 0.83 * 0.03, abs=2e-3)
    # without creep the last step, whose middle is after the end of the braking, drives nothing
    gate = Gate(from_mapping(ControlConfig, {'robot.creep': 0.0}), window=16)
    assert np.diff(gate.braking((0.0, 0.0, 0.0), (0.825, 0.0))[:, 0])[-1] == 0.0


def test_the_speed_of_a_touch_counts_the_creep():
    """From 0.8 m/s: 0.136 m going on, 0.128 m braking, and 0.032 m of creep."""
    state = (0.0, 0.0, 0.0, 0.8, 0.0)
    scene = scene_of([(0.25 + 0.136 + 0.128 + 0.02, 0.0)])

    def closing(motion):
        return closing_speed(scene, motion, FOOTPRINT, SAMPLES, FINE, state, 0.8, 0.0)

    assert closing(MOTION) == 0.0 and closing(CREEPS) > 0.02


@pytest.mark.parametrize('place', [(0.33, 0.0), (0.0, 0.33), (-0.33, 0.0), (0.0, -0.33)])
def test_a_thin_point_on_a_braking_arc_is_not_stepped_over(place):
    """The base moves faster than its wheels: steps by the wheels' speed would be too long.

    A braking turn from 6 rad/s over 3 rad: every corner comes by every point. The corners are at
    0.354 m, and 0.03 m farther off is too near; from 0.05 m/s the base drives 0.025 m in the
    second that it takes, and creeps 0.005 m.
    """
    scene = scene_of([place], need=0.03)
    assert not phase(scene, MOTION._replace(creep=0.1), FOOTPRINT, SAMPLES, FINE, 0.0, 0.0, 0.0,
                     0.05, 6.0, 0.0, 0.0, True, 1.0, 0.0)[0]

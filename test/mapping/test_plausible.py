"""Scans that cannot be are found, and true ones in every family of worlds never are."""

import math
from dataclasses import replace

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import SimConfig, from_mapping
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.types import Command, Pose2, RawScan
from karpathy_control.mapping.plausible import FEWEST, SHARE, PlausibleScan
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import load_robot

MS = 1_000_000
BEAMS = 360
BEARINGS = -math.pi + (np.arange(BEAMS) + 0.5) * 2.0 * math.pi / BEAMS


def room(pose, stamp=0, half=(2.0, 3.0)):
    """A scan from anywhere in a room 4 m long and 6 m wide; exact."""
    angle = BEARINGS + pose.yaw
    with np.errstate(divide='ignore'):
        x = np.where(np.cos(angle) > 0, half[0] - pose.x, half[0] + pose.x) / np.abs(np.cos(angle))
        y = np.where(np.sin(angle) > 0, half[1] - pose.y, half[1] + pose.y) / np.abs(np.sin(angle))
    return RawScan(stamp, float(BEARINGS[0]), 2.0 * math.pi / BEAMS, 0.1, 10.0,
                   np.minimum(x, y).astype(np.float32))


HERE, THERE = Pose2(0.9, -0.8, 0.6), Pose2(0.96, -0.8, 0.66)


@pytest.fixture
def watch():
    made = PlausibleScan()
    assert made.check(room(HERE), HERE)
    return made


@pytest.mark.parametrize('lie', [
    lambda r: np.full_like(r, np.inf), lambda r: r[::-1], lambda r: np.full_like(r, -np.inf),
    lambda r: np.full_like(r, 0.5), lambda r: np.roll(r, 90), lambda r: r * 2.0])
def test_lies_are_not_believed_and_the_truth_is_again(watch, lie):
    true = room(THERE, 50 * MS)
    assert not watch.check(replace(true, ranges=lie(true.ranges)), THERE)
    assert not watch.believed
    assert watch.check(replace(true, stamp=100 * MS), THERE)
    assert watch.believed


def test_beams_that_say_nothing_are_no_evidence(watch):
    true = room(THERE, 50 * MS)
    rng = np.random.default_rng(1)
    lost = np.where(rng.random(BEAMS) < 0.9, np.nan, true.ranges).astype(np.float32)
    assert watch.check(replace(true, ranges=lost), THERE)


def test_a_share_of_beams_may_tell_something_else(watch):
    """A door opens or someone steps in: up to SHARE of the beams."""
    true = room(THERE, 50 * MS)
    for share, believed in ((SHARE - 0.05, True), (SHARE + 0.05, False)):
        ranges = true.ranges.copy()
        ranges[:round(share * BEAMS)] = np.inf
        assert watch.check(replace(true, ranges=ranges), THERE) == believed
        watch.clear()
        assert watch.check(room(HERE), HERE)


def test_too_few_predicted_beams_say_nothing():
    watch = PlausibleScan()
    few = np.full(BEAMS, np.inf, np.float32)
    few[:int(FEWEST * BEAMS) - 1] = 1.0
    scan = room(HERE)
    assert watch.check(replace(scan, ranges=few), HERE)
    assert watch.check(replace(scan, stamp=50 * MS, ranges=np.full_like(few, np.inf)), HERE)


def test_after_a_while_or_a_long_way_the_next_scan_is_believed(watch):
    false = replace(room(HERE), ranges=np.full(BEAMS, np.inf, np.float32))
    assert not watch.check(replace(false, stamp=4900 * MS), HERE)
    assert watch.check(replace(false, stamp=5100 * MS), HERE)
    for pose in (Pose2(-0.2, -0.8, 0.6), Pose2(0.9, -0.8, 1.7)):
        watch.clear()
        assert watch.check(room(HERE), HERE)
        assert watch.check(replace(false, stamp=50 * MS), pose)


def test_another_layout_starts_anew(watch):
    scan = room(THERE, 50 * MS)
    assert watch.check(replace(scan, ranges=np.full(180, np.inf, np.float32)), THERE)


@pytest.mark.parametrize('family', FAMILIES)
def test_no_false_alarm_in_any_family_of_worlds(family):
    """5 s of hard turns and stops with noise, drift and what moves, by odometry."""
    world = generate(family, 7)
    sim = MujocoWorld(world, from_mapping(SimConfig, {'seed': 3}),
                      load_robot(find('description', 'jackal.urdf.xacro')))
    rng = np.random.default_rng(5)
    watch = PlausibleScan((0.055, 0.0, 0.305, 0.0, 0.0, 0.0))
    command, checked = Command(), 0
    for k in range(2000):
        if k % 200 == 0:
            command = Command(*rng.uniform((-0.3, -2.0), (1.2, 2.0)))
        sim.step(command)
        if sim.contacts:  # nobody holds it back; what follows may tilt it
            break
        if k % 20 == 0:
            assert watch.check(sim.lidar(), sim.odometry().pose), f'{family} at {sim.time:.2f} s'
            checked += 1
    assert checked > 20

"""The batched world: motion, delay, slip, drift, sensing and contact, each by its arithmetic."""

import dataclasses
import math

import numpy as np
import pytest

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.layout import scan_bearings
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, World
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import CONTROL_STEP, BatchedWorld, Leg, place_movers
from karpathy_control.worlds.variation import Variation, from_mapping, none

ROBOT = RobotConfig()
BOUNDS = (-20.0, -20.0, 20.0, 20.0)


def make_world(**parts):
    return World('test', 0, BOUNDS, Pose2(), ((5.0, 0.0),), **parts)


def batched(world, variation=None, batch=1, start=(0.0, 0.0, 0.0), seed=0):
    sim = BatchedWorld(pack([world]), batch, ROBOT, variation or none())
    sim.reset(np.arange(batch), [Leg(0, start, world.goals[0])] * batch, [seed] * batch)
    return sim


def drive(sim, v, w, ticks):
    for _ in range(ticks):
        sim.step(np.tile((v, w), (sim.batch, 1)).astype(float))


def test_speed_ramps_at_the_acceleration_limit():
    sim = batched(make_world())
    drive(sim, 1.0, 0.0, 4)  # 0.2 s at 2 m/s^2
    assert sim.velocity[0, 0] == pytest.approx(0.4)
    drive(sim, 1.0, 0.0, 20)
    assert sim.velocity[0, 0] == pytest.approx(1.0)
    x = sim.true_pose[0, 0]
    drive(sim, 0.0, 0.0, 20)
    # v^2 / (2 a) = 0.2 m; each 10 ms step ends slower, so 0.2 - v dt / 2 = 0.195
    assert sim.true_pose[0, 0] - x == pytest.approx(0.195, abs=1e-6)


def test_turning_on_an_arc():
    sim = batched(make_world())
    drive(sim, 0.5, 0.5, 400)
    # radius 1 m about (0, 1), whatever the phase after the ramp
    centre = sim.true_pose[0, :2] + [-math.sin(sim.true_pose[0, 2]), math.cos(sim.true_pose[0, 2])]
    drive(sim, 0.5, 0.5, 37)
    again = sim.true_pose[0, :2] + [-math.sin(sim.true_pose[0, 2]), math.cos(sim.true_pose[0, 2])]
    np.testing.assert_allclose(centre, again, atol=1e-5)


@pytest.mark.parametrize('delay', [0.0, 0.03, 0.05, 0.12])
def test_a_command_acts_after_the_delay(delay):
    sim = batched(make_world(), dataclasses.replace(none(), delay=(delay, delay)))
    drive(sim, 0.2, 0.0, 4)
    # 2 m/s^2 for what remains of 0.2 s, at most the commanded 0.2 m/s
    assert sim.velocity[0, 0] == pytest.approx(min(0.2, 2.0 * (0.2 - delay)))


def test_slip_is_lost_speed_and_drift_is_not_seen():
    sim = batched(make_world(), dataclasses.replace(none(), slip=(0.1, 0.1), turn_slip=(.2, .2)))
    drive(sim, 1.0, 1.0, 40)
    np.testing.assert_allclose(sim.true_velocity[0], (0.9, 0.8))
    np.testing.assert_allclose(sim.odom_pose, sim.true_pose)
    sim = batched(make_world(), dataclasses.replace(none(), drift=(0.05, 0.05)), seed=3)
    drive(sim, 1.0, 0.0, 40)
    ratio = sim.odom_pose[0, 0] / sim.true_pose[0, 0]
    assert ratio != 1.0
    assert ratio == pytest.approx(sim.velocity[0, 0] / sim.true_velocity[0, 0])


def test_contact_stops_the_robot_and_stays():
    # front edge at 0.229, wall face at 1.0: contact when x = 0.771
    sim = batched(make_world(boxes=(Box(1.5, 0.0, 0.5, 3.0),)))
    drive(sim, 1.0, 0.0, 40)
    assert sim.contact[0]
    assert sim.true_pose[0, 0] == pytest.approx(0.771, abs=0.0101)
    assert sim.contact_speed[0] == pytest.approx(1.0)
    pose = sim.true_pose.copy()
    drive(sim, -0.3, 0.0, 5)
    np.testing.assert_array_equal(pose, sim.true_pose)


@pytest.mark.parametrize('bottom,top,hit', [(0.0, 0.03, False), (0.0, 0.15, True),
                                            (0.4, 1.0, True), (0.55, 1.0, False)])
def test_only_the_robots_height_band_is_touched(bottom, top, hit):
    sim = batched(make_world(cylinders=(Cylinder(1.0, 0.0, 0.2, bottom, top),)))
    drive(sim, 1.0, 0.0, 40)
    assert sim.contact[0] == hit


def test_camera_sees_what_the_lidar_does_not():
    sim = batched(make_world(cylinders=(Cylinder(2.0, 0.0, 0.3, 0.0, 0.15),)))
    assert np.isinf(sim.scan[0, 180])
    assert sim.camera_scan[0, 180] == pytest.approx(1.7, abs=0.001)
    bearings = scan_bearings()
    assert np.all(np.isnan(sim.camera_scan[0, np.abs(bearings) > math.radians(45)]))
    assert np.all(np.isnan(sim.scan[0, np.abs(bearings) > math.radians(135)]))


def test_depth_says_where_a_thing_is_and_how_far_the_way_is_free():
    """A post 1.7 m ahead; no noise. Bearings of the camera: 90 of one degree."""
    sim = batched(make_world(cylinders=(Cylinder(2.0, 0.0, 0.3, 0.0, 0.15),)))
    points, kind = sim.depth_points[0], sim.depth_kind[0]
    assert points.shape == (180, 2) and kind.tolist() == [0.0] * 90 + [1.0] * 90
    hits, ends = points[:90], points[90:]
    half = math.asin(0.3 / 2.0)  # rad, half of the post's width as seen from base
    bearings = np.radians(np.arange(-44.5, 45.0))
    seen = np.isfinite(hits[:, 0])
    np.testing.assert_array_equal(seen, np.abs(bearings) < half)
    np.testing.assert_array_equal(hits[seen], ends[seen])
    np.testing.assert_allclose(np.hypot(*(hits[seen] - (2.0, 0.0)).T), 0.3, atol=1e-5)
    np.testing.assert_allclose(np.hypot(*ends[~seen].T), 4.0, atol=1e-5)
    np.testing.assert_allclose(np.arctan2(ends[:, 1], ends[:, 0]), bearings, atol=1e-6)


def test_depth_says_nothing_of_what_is_under_the_image():
    sim = batched(make_world(cylinders=(Cylinder(0.6, 0.0, 0.2, 0.0, 0.15),)))  # from 0.4 m
    assert np.isnan(sim.depth_points[0][[44, 45, 134, 135]]).all()


def test_depth_noise_is_a_share_of_the_distance():
    spread = []
    for x in (1.3, 2.3):
        sim = batched(make_world(boxes=(Box(x + 0.1, 0.0, 0.1, 3.0),)),
                      dataclasses.replace(none(), depth_noise=(0.02, 0.02)))
        off = []
        for _ in range(60):
            drive(sim, 0.0, 0.0, 1)
            off.append(sim.depth_points[0, :90, 0] / x - 1.0)  # x = r cos: the same share
        spread.append(float(np.std(off)))
    assert spread == pytest.approx([0.02, 0.02], rel=0.05)  # of 5,400 each


def test_mover_follows_its_polyline_and_can_hit_a_standing_robot():
    mover = Mover.patrol(((3.0, 0.0), (-3.0, 0.0)), 1.0, 0.3)
    sim = batched(make_world(movers=(mover,)))
    drive(sim, 0.0, 0.0, 20)
    np.testing.assert_allclose(sim.mover_xy[0, 0], mover.position(1.0), atol=1e-6)
    # reaches the front edge when 3 - t - 0.3 = 0.229, t = 2.471
    drive(sim, 0.0, 0.0, 29)
    assert not sim.contact[0]
    drive(sim, 0.0, 0.0, 1)
    assert sim.contact[0]
    assert sim.contact_speed[0] == 0.0


@pytest.mark.parametrize('mover', [
    Mover.patrol(((0.0, 0.0), (2.0, 0.0), (2.0, 1.0)), 0.5, 0.2, 0.7),
    Mover(((0.0, 0.0, 0.0), (1.3, 2.0, 0.0), (1.5, 3.0, 1.0), (4.0, -1.0, 2.0)), 0.2, 0.4),
    Mover(((0.0, 1.0, 2.0),), 0.2),
])
def test_the_kernel_places_movers_as_the_world_does(mover):
    bank = pack([make_world(movers=(mover,))])
    place = np.zeros((1, 2))
    for t in np.linspace(0.0, 40.0, 173):
        place_movers(t, bank.movers[0], bank.keyframes[0], bank.keyframe_count[0], 1, place)
        assert place[0] == pytest.approx(mover.position(t), abs=1e-5)  # packed in 32 bits


def test_noise_has_the_stated_spread_and_share():
    variation = dataclasses.replace(none(), scan_noise=(0.05, 0.05), scan_drop=(0.1, 0.1))
    sim = batched(make_world(boxes=(Box(2.5, 0.0, 0.5, 30.0),)), variation)
    seen = np.abs(scan_bearings()) < math.radians(60)
    exact = 2.0 / np.cos(scan_bearings())
    errors = []
    for _ in range(200):
        sim.step(np.zeros((1, 2)))
        errors.append((sim.scan[0] - exact)[seen])
    flat = np.concatenate(errors)
    assert np.isnan(flat).mean() == pytest.approx(0.1, abs=0.01)
    assert np.nanstd(flat) == pytest.approx(0.05, rel=0.05)
    assert abs(np.nanmean(flat)) < 0.003


def test_same_seed_same_episode_whatever_the_slot():
    world = make_world(cylinders=(Cylinder(3.0, 1.0, 0.3),), boxes=(Box(0.0, 4.0, 5.0, 0.1),))
    wide, narrow = batched(world, Variation(), 3, seed=5), batched(world, Variation(), 1, seed=5)
    for _ in range(10):
        drive(wide, 0.7, 0.4, 1)
        drive(narrow, 0.7, 0.4, 1)
    np.testing.assert_array_equal(wide.scan[2], narrow.scan[0])
    np.testing.assert_array_equal(wide.camera_scan[1], narrow.camera_scan[0])
    np.testing.assert_array_equal(wide.odom_pose[2], narrow.odom_pose[0])


def test_free_start():
    world = make_world(cylinders=(Cylinder(0.6, 0.0, 0.3),))
    sim = batched(world, start=(-3.0, 0.0, 0.0))
    # front edge 0.229, cylinder from 0.3: 0.071 m
    assert sim.free(Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0)), 0.07)
    assert not sim.free(Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0)), 0.072)


def test_errors_name_the_value():
    with pytest.raises(ValueError, match='at least one world'):
        pack([])
    with pytest.raises(ValueError, match='batch is 0'):
        BatchedWorld(pack([make_world()]), 0, ROBOT)
    with pytest.raises(ValueError, match=r'shape \(2,\)'):
        batched(make_world()).step(np.zeros(2))
    with pytest.raises(ValueError, match=r"unknown variation 'lag'.*known: delay"):
        from_mapping({'lag': [0, 1]})
    with pytest.raises(ValueError, match=r'delay: 2\.0 s is too long'):
        Variation(delay=(0.0, 2.0))
    with pytest.raises(ValueError, match='low <= high'):
        Variation(slip=(0.2, 0.1))


def test_clearance_is_measured_each_step():
    sim = batched(make_world(cylinders=(Cylinder(0.0, 1.0, 0.3),)))
    assert sim.clearance[0] == pytest.approx(1.0 - 0.3 - 0.208)
    assert CONTROL_STEP == 0.05

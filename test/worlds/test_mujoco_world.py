import math
from pathlib import Path

import numpy as np
import pytest

from karpathy_control.contracts.config import SimConfig, from_mapping
from karpathy_control.contracts.geometry import to_frame, wrap_angle
from karpathy_control.contracts.types import Command, Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, World
from karpathy_control.mapping.deskew import measured
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import load_robot

XACRO = Path(__file__).parents[2] / 'description' / 'jackal.urdf.xacro'
JACKAL = load_robot(XACRO)
IDEAL = {'lidar.noise': 0.0, 'camera.depth_noise': 0.0, 'imu.gyro_noise': 0.0,
         'imu.gyro_bias': 0.0, 'imu.accel_noise': 0.0, 'imu.accel_bias': 0.0,
         'odometry.drift_per_metre': 0.0, 'odometry.drift_per_radian': 0.0}


def empty(start=Pose2(), **things):  # noqa: B008
    return World('open', 0, (-20, -20, 20, 20), start, (), **things)


def make(world=None, **values):
    values = {name.replace('__', '.'): value for name, value in values.items()}
    return MujocoWorld(world or empty(), from_mapping(SimConfig, {**IDEAL, **values}), JACKAL)


def drive(sim, v, w, seconds):
    for _ in range(round(seconds / sim.config.physics_step)):
        sim.step(Command(v, w))
    return sim.true_state()


# -- the base ---------------------------------------------------------------------------------


@pytest.mark.parametrize('step', [0.0025, 0.005])
def test_commanded_speed_is_reached(step):
    state = drive(make(physics_step=step), 1.0, 0.0, 2.0)
    assert state.v == pytest.approx(1.0, abs=0.03)
    assert abs(state.y) < 0.01


@pytest.mark.parametrize('step', [0.0025, 0.005])
@pytest.mark.parametrize(('v', 'w'), [(0.0, 1.0), (0.0, -1.0), (0.8, 1.0), (0.3, 0.2)])
def test_commanded_turn_is_reached(step, v, w):
    state = drive(make(physics_step=step), v, w, 2.0)
    assert state.w == pytest.approx(w, rel=0.05)
    assert state.v == pytest.approx(v, abs=0.03)


@pytest.mark.parametrize('step', [0.0025, 0.005])
@pytest.mark.parametrize('speed', [0.6, 1.2, 2.0])
def test_braking_is_at_least_what_the_profile_promises(step, speed):
    sim = make(physics_step=step)
    before = drive(sim, speed, 0.0, 2.0)
    after = drive(sim, 0.0, 0.0, 2.0)
    promised = sim.config.robot.deceleration
    assert after.x - before.x <= speed**2 / (2.0 * promised)  # v^2 / 2a
    assert abs(after.v) < 1e-3


def test_the_base_clips_what_it_cannot_do_and_stops_on_nonsense():
    sim = make()
    assert drive(sim, 9.0, 0.0, 2.0).v == pytest.approx(JACKAL.max_speed, rel=0.02)
    assert abs(drive(sim, math.nan, math.inf, 2.0).v) < 1e-3


def test_it_stands_still():
    sim = make(empty(Pose2(1.0, -2.0, 0.7)))
    state = drive(sim, 0.0, 0.0, 2.0)
    assert (state.x, state.y, state.yaw) == pytest.approx((1.0, -2.0, 0.7), abs=1e-3)


# -- contacts ---------------------------------------------------------------------------------


@pytest.mark.parametrize('obstacle', [
    {'cylinders': (Cylinder(1.5, 0.0, 0.1),)},
    {'boxes': (Box(1.5, 0.0, 0.1, 0.5, top=0.12),)},  # below the lidar's plane
    {'boxes': (Box(1.5, 0.0, 0.3, 0.5, bottom=0.40, top=0.45),)},  # above it
])
def test_driving_into_something_is_one_contact(obstacle):
    sim = make(empty(**obstacle))
    assert sim.contacts == 0
    drive(sim, 0.5, 0.0, 4.0)
    assert sim.contacts == 1


def test_passing_under_what_is_higher_than_the_robot_is_none():
    sim = make(empty(boxes=(Box(1.5, 0.0, 0.3, 0.5, bottom=0.52, top=0.6),)))
    assert drive(sim, 0.8, 0.0, 4.0).x > 2.0
    assert sim.contacts == 0


def test_each_new_touch_is_a_new_episode():
    sim = make(empty(boxes=(Box(0.8, 0.0, 0.1, 0.5),)))
    for expected in (1, 2):
        drive(sim, 0.4, 0.0, 2.0)
        assert sim.contacts == expected
        assert sim.in_contact
        drive(sim, -0.3, 0.0, 1.5)
        assert not sim.in_contact


def test_a_mover_that_runs_into_the_robot_is_a_contact():
    sim = make(empty(movers=(Mover.patrol(((2.0, 0.0), (-2.0, 0.0)), 0.5, 0.2),)))
    drive(sim, 0.0, 0.0, 4.0)
    assert sim.contacts == 1


def test_reset_puts_everything_back_but_time():
    sim = make(empty(Pose2(0.5, 0.0, 0.0), boxes=(Box(1.5, 0.0, 0.1, 0.5),)))
    drive(sim, 0.5, 0.0, 3.0)
    assert sim.contacts == 1
    sim.reset()
    assert sim.contacts == 0 and not sim.in_contact
    state = sim.true_state()
    assert (state.x, state.y, state.yaw, state.v) == pytest.approx((0.5, 0, 0, 0), abs=2e-3)
    assert sim.time == pytest.approx(3.0)
    assert sim.stamp == 3_000_000_000


# -- lidar ------------------------------------------------------------------------------------


def test_scan_measures_a_round_wall_from_where_the_lidar_sits():
    # straight ahead: box face at 2.9 - lidar at 0.055; behind with fov 2 pi: 4.0 + 0.055
    sim = make(empty(boxes=(Box(3.0, 0.0, 0.1, 2.0), Box(-4.1, 0.0, 0.1, 2.0))),
               lidar__fov=2 * math.pi, lidar__beams=360)
    scan = sim.lidar()
    assert len(scan.ranges) == 360
    bearing = scan.angle_min + scan.angle_increment * np.arange(360)
    assert scan.ranges[np.argmin(np.abs(bearing))] == pytest.approx(2.9 - 0.055, abs=5e-3)
    assert scan.ranges[0] == pytest.approx(4.0 + 0.055, abs=5e-3)
    # nothing at the sides, and no ray ends on the robot itself
    assert np.isposinf(scan.ranges[np.abs(np.abs(bearing) - math.pi / 2) < 0.3]).all()
    assert np.nanmin(scan.ranges) > 2.0


def test_scan_of_a_cylinder_agrees_with_geometry():
    c = Cylinder(2.0, 1.0, 0.4)
    sim = make(empty(Pose2(0.2, -0.1, 0.3), cylinders=(c,)))
    scan = sim.lidar()
    state = sim.true_state()
    ox = state.x + 0.055 * math.cos(state.yaw)
    oy = state.y + 0.055 * math.sin(state.yaw)
    angle = state.yaw + scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    ux, uy = np.cos(angle), np.sin(angle)
    along = (c.x - ox) * ux + (c.y - oy) * uy
    across = (c.x - ox) * uy - (c.y - oy) * ux
    hit = (np.abs(across) < c.radius) & (along > 0)
    inside = np.sqrt(np.maximum(c.radius**2 - across**2, 0))
    clear = np.abs(np.abs(across) - c.radius) > 0.01  # not the grazing beams
    assert np.isposinf(scan.ranges[~hit & clear]).all()
    expected = (along - inside)[hit & clear]
    assert scan.ranges[hit & clear] == pytest.approx(expected, abs=0.01)


def test_scan_marks_too_near_and_too_far():
    # box face 0.08 m ahead of the lidar at 0.055 m: nearer than range_min
    near = make(empty(boxes=(Box(0.435, 0.0, 0.1, 0.5),)), lidar__range_min=0.5).lidar()
    assert np.isneginf(near.ranges[len(near.ranges) // 2])
    far = make(empty(boxes=(Box(8.0, 0.0, 0.1, 3.0),)), lidar__range_max=5.0).lidar()
    assert np.isposinf(far.ranges).all()


def test_a_planar_lidar_misses_low_boxes_and_overhangs():
    sim = make(empty(boxes=(Box(1.5, 0.0, 0.3, 1.0, top=0.2),
                            Box(-1.5, 0.0, 0.3, 1.0, bottom=0.35, top=0.5))),
               lidar__fov=2 * math.pi)
    assert np.isposinf(sim.lidar().ranges).all()


# -- camera -----------------------------------------------------------------------------------


def test_depth_of_the_floor_and_of_a_wall():
    sim = make(empty(boxes=(Box(3.1, 0.0, 0.1, 10.0, top=3.0),)))
    image, depth = sim.camera()
    model = sim.camera_model()
    assert image.pixels.shape == (96, 128, 3) and image.pixels.dtype == np.uint8
    v = np.arange(96)
    # a ray of the middle column falls at 0.15 + atan((v - cy) / f) below the horizon; depth is
    # measured along the optical axis, i.e. length times cos of the angle from that axis
    from_axis = np.arctan((v - model.cy) / model.fy)
    below = 0.15 + from_axis
    to_floor = 0.28 / np.sin(np.maximum(below, 1e-3)) * np.cos(from_axis)
    to_wall = (3.0 - 0.19) / np.cos(below) * np.cos(from_axis)
    expected = np.where(below > 0, np.minimum(to_floor, to_wall), to_wall)
    assert depth.metres[:, 64] == pytest.approx(expected, rel=0.02, abs=0.01)


def test_camera_sees_what_the_lidar_does_not():
    plain = make()
    low = make(empty(boxes=(Box(1.5, 0.0, 0.2, 0.3, top=0.2),)))
    over = make(empty(boxes=(Box(1.5, 0.0, 0.2, 0.5, bottom=0.38, top=0.5),)))
    floor = plain.camera()[1].metres
    assert (low.camera()[1].metres < floor - 0.05).sum() > 100
    hanging = over.camera()[1].metres
    assert np.isposinf(floor[:30]).all()  # the sky
    assert (hanging[:45] < 2.0).sum() > 100


def test_floor_obstacle_and_sky_differ_in_colour():
    sim = make(empty(boxes=(Box(2.0, 0.0, 0.1, 0.5, top=0.8),)))
    pixels = sim.camera()[0].pixels.astype(float)
    # the horizon lies 64 px * tan(0.15) = 10 rows above the middle, the box's foot near row 48
    sky, box, floor = pixels[2, 5], pixels[38, 64], pixels[85, 64]
    for a, b in ((sky, box), (sky, floor), (box, floor)):
        assert np.abs(a - b).max() > 25.0
    tiles = pixels[80:, :].mean(axis=2)
    assert tiles.std() > 5.0  # chequered


def test_depth_can_be_switched_off():
    assert make(camera__depth=False).camera()[1] is None


def test_camera_model_is_the_one_that_rendered():
    model = make(camera__width=64, camera__height=48).camera_model()
    assert model.fx == pytest.approx(32.0)  # 90 degrees: half a width
    assert (model.cx, model.cy) == (31.5, 23.5)


# -- inertial and odometry --------------------------------------------------------------------


def test_imu_feels_gravity_turn_and_acceleration():
    sim = make()
    sim.imu()
    drive(sim, 0.0, 1.0, 2.0)
    sim.imu()
    drive(sim, 0.0, 1.0, 0.1)
    sample = sim.imu()
    assert sample.angular_velocity == pytest.approx((0, 0, sim.true_state().w), abs=0.02)
    assert sample.linear_acceleration == pytest.approx((0, 0, 9.81), abs=0.1)
    sim = make()
    drive(sim, 2.0, 0.0, 0.2)
    sim.imu()
    drive(sim, 2.0, 0.0, 0.2)  # the driver ramps at max_acceleration
    assert sim.imu().linear_acceleration[0] == pytest.approx(JACKAL.max_acceleration, rel=0.1)
    assert sim.imu().stamp == sim.stamp  # asked twice within one step: the last reading


def test_odometry_starts_at_zero_follows_and_drifts():
    start = Pose2(1.0, 2.0, 0.5)
    ideal = make(empty(start))
    first = ideal.odometry()
    assert (first.x, first.y, first.yaw) == (0.0, 0.0, 0.0)
    true = drive(ideal, 0.8, 0.3, 5.0)
    seen = ideal.odometry()
    assert to_frame([(true.x, true.y)], start)[0] == pytest.approx(
        (seen.x, seen.y), abs=0.15)  # of 4 m: tyres creep
    assert seen.yaw == pytest.approx(wrap_angle(true.yaw - start.yaw), abs=0.06)
    assert seen.v == pytest.approx(true.v, abs=0.06)
    assert seen.w == pytest.approx(true.w, abs=0.06)
    ideal.reset()
    assert ideal.odometry().pose == Pose2()

    drifting = make(odometry__drift_per_metre=0.2, seed=3)
    true = drive(drifting, 1.0, 0.0, 5.0)
    assert abs(drifting.odometry().x - true.x) > 0.1


def test_joints_turn_as_far_as_the_robot_goes():
    sim = make()
    state = drive(sim, 1.0, 0.0, 3.0)
    names, positions, speeds = sim.joints()
    assert names == JACKAL.wheel_joints
    assert positions * JACKAL.wheel_radius == pytest.approx([state.x] * 4, abs=0.1)
    assert speeds * JACKAL.wheel_radius == pytest.approx([1.0] * 4, abs=0.03)


# -- determinism ------------------------------------------------------------------------------


def trace(seed):
    sim = MujocoWorld(generate('moving', 1), from_mapping(SimConfig, {'seed': seed}), JACKAL)
    drive(sim, 0.3, 0.4, 1.0)
    image, depth = sim.camera()
    odometry = sim.odometry()
    return (sim.lidar().ranges, image.pixels, depth.metres, np.array(sim.imu().angular_velocity),
            np.array([odometry.x, odometry.y, odometry.yaw]))


def test_a_seed_decides_all_noise():
    for a, b in zip(trace(1), trace(1), strict=True):
        assert np.array_equal(a, b)
    for a, b in zip(trace(1), trace(2), strict=True):
        assert not np.array_equal(a, b)


def test_mover_is_where_its_lane_says():
    mover = Mover.patrol(((3.0, -2.0), (3.0, 2.0)), 0.5, 0.3)
    sim = make(empty(movers=(mover,)))
    drive(sim, 0.0, 0.0, 4.0)  # 2 m along: at y = 0
    scan = sim.lidar()
    assert scan.ranges[len(scan.ranges) // 2] == pytest.approx(3.0 - 0.3 - 0.055, abs=0.01)


# -- a lidar that turns -----------------------------------------------------------------------


@pytest.mark.parametrize(('order', 'stamp'), [
    ('forward', 'begin'), ('backward', 'end'), ('backward', 'begin')])
def test_a_sweep_of_a_turning_robot_is_put_right_again(order, stamp):
    walls = tuple(Box(x, y, half_x, half_y, 0.0, 0.0, 1.0) for x, y, half_x, half_y in (
        (4.0, 0.0, 0.1, 4.0), (-4.0, 0.0, 0.1, 4.0), (0.0, 3.0, 4.0, 0.1),
        (0.0, -3.0, 4.0, 0.1)))
    values = {'robot.scan_order': order, 'robot.scan_stamp': stamp, 'robot.scan_rate': 5.0,
              'lidar.rate': 5.0, 'lidar.beams': 360, 'lidar.fov': 6.2831853}
    sim, still = make(empty(boxes=walls), **values, **{'lidar.sweep': True}), None
    poses = {}
    for _ in range(800):  # 2 s
        sim.step(Command(0.2, 1.5))
        poses[sim.stamp] = sim.true_state().pose
    scan = sim.lidar()
    assert scan.time_increment == pytest.approx(0.2 / 360)
    begin = sim.stamp - round(0.2 * 359 / 360 * 1e9)
    assert scan.stamp == (begin if stamp == 'begin' else sim.stamp)
    told = measured(scan, sim.config.robot,
                    lambda ns: poses[min(poses, key=lambda t: abs(t - ns))])
    # Where the robot stood at the stamp, all beams at once, in a world of its own.
    there = poses[min(poses, key=lambda t: abs(t - scan.stamp))]
    still = make(empty(there, boxes=walls), **values)
    drive(still, 0.0, 0.0, 0.5)
    truth = still.lidar().ranges
    known = np.isfinite(told.ranges) & np.isfinite(truth)
    off = np.sort(np.abs(told.ranges - truth)[known])
    raw = np.sort(np.abs(scan.ranges - truth)[known])
    # 2.5 ms of physics at 1.5 rad/s and poses 6 ms apart: 0.01 rad, 3 cm at 3 m
    assert off[len(off) // 2] < 0.03 and off[-20] < 0.15
    assert raw[len(raw) // 2] > 0.08


def test_what_comes_back_from_nothing():
    free = make(**{'lidar.range_max': 5.0}).lidar().ranges
    unknown = make(**{'lidar.range_max': 5.0, 'lidar.no_return': 'unknown'}).lidar().ranges
    assert np.isposinf(free).all() and np.isnan(unknown).all()

"""Several robots in one world: places, sensors that see the others, contacts of each."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.config import ConfigError, SimConfig, from_mapping
from karpathy_control.contracts.config.sim import FAMILIES, MAX_ROBOTS
from karpathy_control.contracts.geometry import wrap_angle
from karpathy_control.contracts.types import Command, Pose2
from karpathy_control.contracts.world import Cylinder, World
from karpathy_control.worlds.free_space import FreeSpace, clearance_at
from karpathy_control.worlds.generators import GOAL_CLEARANCE, START_CLEARANCE, generate
from karpathy_control.worlds.mjcf import ROBOT_GROUPS, WORLD_GROUP
from karpathy_control.worlds.mujoco_robot import MujocoRobot
from karpathy_control.worlds.mujoco_world import MujocoWorld, fleet
from karpathy_control.worlds.physics import Physics
from karpathy_control.worlds.places import BODY, NARROW, START_APART, places, stops
from karpathy_control.worlds.robot import load_robot

JACKAL = load_robot(Path(__file__).parents[2] / 'description' / 'jackal.urdf.xacro')
IDEAL = {'lidar.noise': 0.0, 'camera.depth_noise': 0.0}
WIDE = [family for family in FAMILIES if family not in NARROW]


def world(**things):
    return World('open', 0, (-20, -20, 20, 20), Pose2(), (), **things)


def stand(*starts, **values):
    """Robots at these poses of an empty world."""
    physics = Physics(world(), from_mapping(SimConfig, {**IDEAL, **values}), JACKAL, len(starts))
    for start in starts:
        MujocoRobot(physics, Pose2(*start))
    physics.reset()
    return physics


def drive(physics, commands, seconds):
    for _ in range(round(seconds / physics.config.physics_step)):
        physics.step(commands)


# -- places -----------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(WIDE), st.integers(0, 10_000))
def test_two_robots_have_room_at_every_stop_and_a_way_round_one_another(family, seed):
    made = generate(family, seed)
    one, two = places(made, 2)
    assert one is made  # the first robot has the world's own
    assert (two.cylinders, two.boxes, two.movers) == (made.cylinders, made.boxes, made.movers)
    assert len(two.goals) == len(made.goals)
    assert math.dist(stops(one)[0], stops(two)[0]) >= START_APART
    for own, other in ((one, two), (two, one)):
        bodies = [Cylinder(x, y, BODY) for x, y in stops(other)]
        x, y = np.array(stops(own)).T
        clear = clearance_at(x, y, (*made.cylinders, *bodies), made.boxes)
        assert clear[0] >= START_CLEARANCE - 0.1 and (clear[1:] >= GOAL_CLEARANCE - 0.1).all()
        # a disc of 0.35 m, wider than the robot (0.31 m), gets everywhere on a finer grid
        space = FreeSpace.of(made.bounds, (*made.cylinders, *bodies), made.boxes, 0.05)
        region = space.reachable(0.35, x[0], y[0])
        assert all(region[space.index(*stop)] for stop in stops(own))


def test_movers_leave_room_for_every_robot():
    made = generate('moving', 3)
    for own in places(made, 3):
        for mover in made.movers:
            for t in np.arange(0.0, mover.period, 0.05):
                at = mover.position(t)
                # 0.8 m beside a lane; two samples lie 0.03 m apart
                assert min(math.dist(at, stop) for stop in stops(own)) >= mover.radius + 0.75


def test_places_are_always_the_same_and_fewer_are_the_first():
    made = generate('rooms', 5)
    three = places(made, 3)
    assert places(made, 3) == three
    assert places(made, 2) == three[:2]
    assert places(made, 1) == (made,)


def test_a_world_without_room_says_so():
    with pytest.raises(ValueError, match=r"'field' is too narrow for 2 robots.*mixed"):
        places(generate('field', 0), 2)
    with pytest.raises(ValueError, match=r'world corridor of seed 0 has room for \d robots, not'):
        places(generate('corridor', 0), 12)


# -- physics ----------------------------------------------------------------------------------


def test_rays_of_each_see_the_world_and_the_others():
    assert len({WORLD_GROUP, *ROBOT_GROUPS}) == 1 + MAX_ROBOTS


def test_each_lidar_sees_the_others_and_never_its_own_robot():
    # b stands 2 m ahead of a with its back to it, c is 3 m to the left of a
    a, b, c = stand((0, 0, 0), (2, 0, 0), (0, 3, 0)).robots
    scan = a.lidar()
    bearing = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    # the roll bar of b: its rear face at 2 - 0.17 - 0.02, seen from the lidar at 0.055
    assert scan.ranges[np.argmin(np.abs(bearing))] == pytest.approx(1.81 - 0.055, abs=5e-3)
    # the housing of c's lidar, radius 0.035, straight to the left: 3 - 0.035
    left = scan.ranges[np.argmin(np.abs(bearing - math.pi / 2))]
    assert left == pytest.approx(3.0 - 0.035, abs=5e-3)
    # b looks ahead, where nobody is, and back only as far as 135 degrees
    ahead = np.abs(bearing) < 1.5
    assert np.isposinf(b.lidar().ranges[ahead]).all()
    # nothing that any of them sees is nearer than the nearest other robot
    for robot in (a, b, c):
        finite = robot.lidar().ranges[np.isfinite(robot.lidar().ranges)]
        assert finite.min() > 1.5


def test_the_camera_sees_the_body_of_the_other():
    a, b = stand((0, 0, 0), (2, 0, 0)).robots
    _, depth = a.camera()
    alone = stand((0, 0, 0)).robots[0].camera()[1]
    nearer = depth.metres < alone.metres - 0.1
    # the rear wheels of b end at 2 - 0.131 - 0.098, the camera is at 0.19
    assert depth.metres[nearer].min() == pytest.approx(2 - 0.229 - 0.19, abs=0.05)
    assert (b.camera()[1].metres == alone.metres).all()  # it has a behind it


def test_all_cameras_see_one_world():
    """The same pose in the same world gives the same colours, but for the noise."""
    physics = stand((0, 0, 0), (30, 0, 0))
    a, b = (robot.camera()[0].pixels.astype(float) for robot in physics.robots)
    assert np.abs(a - b)[-20:].mean() < 10.0  # the floor, whose tiles are 0.5 m apart
    assert not (a == b).all()  # noise of its own


@pytest.mark.parametrize(('at', 'touched'), [
    ((1.0, 0.0, math.pi), [1, 1, 0]), ((0.0, 0.6, 0.0), [0, 0, 0])])
def test_contacts_count_for_both_that_touch_and_for_nobody_else(at, touched):
    physics = stand((0, 0, 0), at, (0, -5, 0))
    drive(physics, [Command(0.4, 0.0), Command(0.4, 0.0), Command(0.4, 0.0)], 1.5)
    assert [robot.contacts for robot in physics.robots] == touched


def test_each_robot_follows_its_own_command_and_its_own_odometry():
    physics = stand((0, 0, 0), (0, 4, math.pi / 2), **{
        'odometry.drift_per_metre': 0.0, 'odometry.drift_per_radian': 0.0})
    drive(physics, [Command(0.5, 0.0), Command(0.0, 1.0)], 2.0)
    a, b = physics.robots
    assert a.true_state().x == pytest.approx(1.0, abs=0.1)  # 2 s at 0.5 m/s, less the start
    assert a.true_state().w == pytest.approx(0.0, abs=0.02)
    assert b.true_state().w == pytest.approx(1.0, rel=0.05)
    assert math.dist((b.true_state().x, b.true_state().y), (0, 4)) < 0.1
    # odom begins where each stands, at heading zero
    assert (a.odometry().x, a.odometry().y) == pytest.approx((a.true_state().x, 0.0), abs=0.05)
    turned = wrap_angle(b.true_state().yaw - math.pi / 2)
    assert b.odometry().yaw == pytest.approx(turned, abs=0.15)
    assert b.imu().angular_velocity[2] == pytest.approx(1.0, rel=0.1)
    assert a.stamp == b.stamp == physics.stamp == 2_000_000_000


def test_the_first_robot_drives_as_one_alone_does():
    """The physics of one robot does not change because another stands far away."""
    config = from_mapping(SimConfig, {'seed': 4})
    made = generate('open', 4)
    alone, pair = MujocoWorld(made, config, JACKAL), fleet(made, config, JACKAL, 2)
    for _ in range(400):
        alone.step(Command(0.3, 0.5))
        pair.step([Command(0.3, 0.5), Command()])
    first = pair.robots[0]
    here, there = alone.true_state(), first.true_state()
    assert (there.x, there.y, there.yaw) == pytest.approx((here.x, here.y, here.yaw), abs=1e-3)
    assert first.odometry().x == pytest.approx(alone.odometry().x, abs=1e-3)
    # noise of its own for each, the first one's as ever; it differs where the second one stands
    there, here = first.lidar().ranges, alone.lidar().ranges
    same = np.isclose(there, here, atol=0.02)
    assert 0.9 < same.mean() < 1.0 and (there[~same] < here[~same]).all()
    second = pair.robots[1]
    assert second.imu().linear_acceleration != first.imu().linear_acceleration


def test_reset_puts_all_back():
    physics = stand((0, 0, 0), (1.0, 0, math.pi))
    drive(physics, [Command(0.5, 0.0), Command(0.0, 0.0)], 2.0)
    assert [robot.contacts for robot in physics.robots] == [1, 1]
    physics.reset()
    assert [robot.contacts for robot in physics.robots] == [0, 0]
    for robot, x in zip(physics.robots, (0.0, 1.0), strict=True):
        assert robot.true_state().x == pytest.approx(x, abs=2e-3)
        assert (robot.odometry().x, robot.odometry().yaw) == (0.0, 0.0)


@pytest.mark.parametrize('count', [0, MAX_ROBOTS + 1])
def test_more_robots_than_groups_are_refused(count):
    with pytest.raises(ConfigError, match=f'{count} robots in one world; it takes 1 to 5'):
        Physics(world(), SimConfig(), JACKAL, count)


def test_a_command_for_each_robot_is_needed():
    with pytest.raises(ValueError, match='argument 2'):
        stand((0, 0, 0), (3, 0, 0)).step([Command()])

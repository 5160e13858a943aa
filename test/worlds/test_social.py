"""How people walk: closed forms of one and two bodies, an independent gradient, and walls."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.config import RobotConfig, SimConfig, from_mapping
from karpathy_control.contracts.types import Command, Pose2, State
from karpathy_control.contracts.world import Box, Cylinder, Mover, Person, World
from karpathy_control.worlds import social
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import CONTROL_STEP, BatchedWorld, Leg
from karpathy_control.worlds.free_space import clearance_at
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.social import Crowd
from karpathy_control.worlds.variation import none

FAR = State(0, 500.0, 0.0, 0.0, 0.0, 0.0)  # a robot that nobody notices
REACH = 0.3  # m


def make_world(*people, **parts):
    return World('test', 0, (-20, -20, 20, 20), Pose2(), ((5.0, 0.0),), people=people, **parts)


def walk(crowd, seconds, robot=FAR, dt=social.STEP):
    """Step a crowd beside a robot that stands; everyone's places after each step."""
    places = []
    for k in range(round(seconds / dt)):
        crowd.step(k * dt, robot, dt)
        places.append(crowd.places.copy())
    return np.array(places)


def test_alone_it_walks_straight_at_the_speed_that_it_likes():
    crowd = Crowd(make_world(Person(((0.0, 0.0), (3.0, 4.0)), 1.2, 0.25)), REACH)
    places = walk(crowd, 2.0)
    # 1.2 m/s for 2 s along (3, 4) / 5
    assert places[-1, 0] == pytest.approx((1.44, 1.92))


def test_the_drive_relaxes_to_the_new_direction():
    # at x = 0.75 the waypoint is within ARRIVED, and the next is straight to the left from there
    way = ((0.0, 0.0), (1.02, 0.0), (0.75, 10_000.0))
    crowd = Crowd(make_world(Person(way, 1.0, 0.25)), REACH)
    walk(crowd, 0.75)
    walk(crowd, 6 * social.STEP)
    # each step leaves 1 - dt / tau = 0.9 of what differs from the new velocity, (0, 1)
    assert crowd.velocities[0] == pytest.approx((0.9**6, 1.0 - 0.9**6), abs=1e-3)


def test_a_robot_ahead_slows_it_down_and_turns_it_to_the_right():
    # gap g = 4 - 3.1 - 0.25 - 0.3 = 0.35 m: V0 / sigma exp(-g / sigma) = 7 exp(-0.35 / 0.3)
    crowd = Crowd(make_world(Person(((3.1, 0.0), (9.0, 0.0)), 1.2, 0.25)), REACH)
    walk(crowd, social.STEP, State(0, 4.0, 0.0, 0.0, 0.0, 0.0))
    change = 0.05 * 7.0 * math.exp(-0.35 / 0.3)
    assert crowd.velocities[0] == pytest.approx(
        (1.2 - change * math.cos(0.2), -change * math.sin(0.2)), abs=1e-5)


def test_a_robot_that_stands_in_its_way_is_walked_round():
    crowd = Crowd(make_world(Person(((0.0, 0.0), (9.0, 0.0)), 1.2, 0.25)), REACH)
    places = walk(crowd, 9.0, State(0, 4.0, 0.0, 0.0, 0.0, 0.0))
    gap = np.linalg.norm(places[:, 0] - (4.0, 0.0), axis=1) - 0.25 - REACH
    # drive and repulsion balance at 0.3 ln(7 * 0.5 / 1.2) = 0.321 m; it comes with a swing
    assert 0.1 < gap.min() < 0.321
    assert places[-1, 0, 0] > 8.0 and places[:, 0, 1].min() < -0.5


def test_who_does_not_mind_the_robot_walks_on():
    crowd = Crowd(make_world(Person(((0.0, 0.0), (9.0, 0.0)), 1.2, 0.25, attentive=False)), REACH)
    places = walk(crowd, 5.0, State(0, 4.0, 0.0, 0.0, 0.0, 0.0))
    assert places[-1, 0] == pytest.approx((6.0, 0.0))


def test_before_a_wall_it_stops_where_the_forces_balance():
    # A / m exp(-g / B) = v / tau: g = 0.08 ln(25 * 0.5 / 1.0) = 0.202 m
    wall = Box(5.0, 0.0, 0.5, 8.0)
    crowd = Crowd(make_world(Person(((0.0, 0.0), (9.0, 0.0)), 1.0, 0.3), boxes=(wall,)), REACH)
    walk(crowd, 20.0)
    assert crowd.places[0] == pytest.approx((4.5 - 0.3 - 0.08 * math.log(12.5), 0.0), abs=1e-3)


def test_two_who_meet_head_on_pass_each_other_on_the_right():
    people = (Person(((-4.0, 0.0), (40.0, 0.0)), 1.3, 0.25),
              Person(((4.0, 0.0), (-40.0, 0.0)), 1.3, 0.25))
    crowd = Crowd(make_world(*people), REACH)
    places = walk(crowd, 5.0)
    apart = np.linalg.norm(places[:, 0] - places[:, 1], axis=1)
    assert apart.min() > 0.5  # their radii
    closest = places[apart.argmin()]
    assert closest[0, 1] < 0.0 < closest[1, 1]  # who walks along +x has -y to the right
    np.testing.assert_allclose(places[:, 0], -places[:, 1], atol=1e-9)  # by symmetry


def potential(x, y, vx, vy, gap_of):
    """V of Helbing and Molnar at a place, from the other at the origin; written out anew."""
    r = np.array((x, y)) * gap_of(math.hypot(x, y)) / math.hypot(x, y)
    later = r - 2.0 * np.array((vx, vy))
    total = np.linalg.norm(r) + np.linalg.norm(later)
    return 2.1 * math.exp(-0.5 * math.sqrt(max(0.0, total**2 - 4.0 * (vx**2 + vy**2))) / 0.3)


@given(st.floats(0.5, 3.0), st.floats(-3.1, 3.1), st.floats(0.0, 1.8), st.floats(-3.1, 3.1))
def test_the_repulsion_is_the_gradient_of_the_published_potential(far, bearing, speed, course):
    """Of points, so that way and gradient are those of the paper; seen, so that nothing is halved.

    Numerically, where it is smooth: off the other's way.
    """
    x, y = far * math.cos(bearing), far * math.sin(bearing)
    vx, vy = speed * math.cos(course), speed * math.sin(course)
    off = abs(math.sin(bearing - course)) * far
    if off < 0.05 or math.hypot(x - 2.0 * vx, y - 2.0 * vy) < 0.05:
        return
    h = 1e-6

    def at(dx, dy):
        return potential(x + dx, y + dy, vx, vy, lambda gap: gap)

    slope = np.array(((at(h, 0) - at(-h, 0)), (at(0, h) - at(0, -h)))) / (2.0 * h)
    ahead = slope / max(np.linalg.norm(slope), 1e-300)  # uphill: the other is ahead
    right = social.repulsion(x, y, 0.0, vx, vy, *ahead)
    c, s = math.cos(0.2), math.sin(0.2)
    force = c * right[0] + s * right[1], c * right[1] - s * right[0]  # turned back
    assert force == pytest.approx(tuple(-slope), rel=1e-3, abs=1e-6)
    unseen = social.repulsion(x, y, 0.0, vx, vy, *-ahead)
    assert unseen == pytest.approx(tuple(-0.5 * slope), rel=1e-3, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_nobody_walks_through_what_stands(seed, count):
    """Crowded, and driven straight at thin walls and posts from waypoints on both sides."""
    rng = np.random.default_rng(seed)
    boxes = [Box(*rng.uniform(-3, 3, 2), *rng.uniform((0.3, 0.05), (1.5, 0.06)),
                 rng.uniform(-3, 3)) for _ in range(4)]
    posts = [Cylinder(*rng.uniform(-3, 3, 2), rng.uniform(0.05, 0.3)) for _ in range(4)]
    people = []
    while len(people) < count:
        points = rng.uniform(-4, 4, (4, 2))
        if clearance_at(points[0, 0], points[0, 1], posts, boxes) > 0.32:
            people.append(Person(tuple(map(tuple, points)), rng.uniform(0.8, 1.5),
                                 rng.uniform(0.2, 0.3)))
    crowd = Crowd(make_world(*people, boxes=tuple(boxes), cylinders=tuple(posts)), REACH)
    places = walk(crowd, 15.0, dt=0.01)
    radii = np.array([who.radius for who in people])
    gaps = clearance_at(places[..., 0], places[..., 1], posts, boxes) - radii
    # on the chord of a step, at most 2 m/s * 0.05 s, a disc of 0.2 m dips by 6 mm at a corner
    assert gaps.min() > 0.01 - 0.0065
    moved = np.linalg.norm(np.diff(places, axis=0), axis=2) / 0.01
    assert (moved <= 1.3 * np.array([who.speed for who in people]) + 1e-6).all()


def test_people_of_generated_worlds_get_round():
    """In two minutes everyone has walked; few stand where two block each other's door."""
    far = []
    for seed in range(6):
        world = generate('people', seed)
        crowd = Crowd(world, REACH)
        places = walk(crowd, 120.0)
        walked = np.linalg.norm(np.diff(places, axis=0), axis=2).sum(axis=0)
        far += [metres / (120.0 * who.speed)
                for metres, who in zip(walked, world.people, strict=True)]
    assert min(far) > 0.1 and np.median(far) > 0.8


def test_movers_by_keyframes_are_walked_round():
    mover = Mover(((0.0, 3.0, 0.01),), 0.5)
    world = make_world(Person(((0.0, 0.0), (9.0, 0.0)), 1.2, 0.25), movers=(mover,))
    places = walk(Crowd(world, REACH), 8.0)
    assert places[-1, 0, 0] > 5.0
    assert np.hypot(places[:, 0, 0] - 3.0, places[:, 0, 1] - 0.01).min() > 0.75


def both(world, command, seconds):
    """The batched world and MuJoCo, one command for all the time; places every control step."""
    from test_mujoco_world import IDEAL, JACKAL

    from karpathy_control.worlds.mujoco_world import MujocoWorld
    robot = RobotConfig()
    sim = BatchedWorld(pack([world]), 2, robot, none())
    legs = [Leg(0, (world.start.x, world.start.y, world.start.yaw), world.goals[0])] * 2
    sim.reset([0, 1], legs, [1, 2])
    physics = MujocoWorld(world, from_mapping(SimConfig, IDEAL), JACKAL)
    flat, real = [], []
    for _ in range(round(seconds / CONTROL_STEP)):
        sim.step(np.tile(command, (2, 1)).astype(float))
        for _ in range(round(CONTROL_STEP / physics.config.physics_step)):
            physics.step(Command(*command))
        np.testing.assert_array_equal(sim.mover_xy[0], sim.mover_xy[1])
        flat.append(sim.mover_xy[0].copy())
        real.append(physics.people()[:, :2])
    return np.array(flat), np.array(real), sim, physics


PAIR = (Person(((6.0, 0.4), (-6.0, 0.4)), 1.2, 0.25), Person(((6.0, -1.5), (0.0, 3.0)), 0.9, 0.3))


def test_both_simulators_move_people_alike_beside_a_standing_robot():
    flat, real, _, _ = both(make_world(*PAIR, boxes=(Box(3.0, 2.0, 0.5, 0.5),)), (0.0, 0.0), 8.0)
    # the very kernel; MuJoCo's robot settles on its tyres within a millimetre
    np.testing.assert_allclose(flat, real, atol=0.01)
    assert np.ptp(flat[:, 0, 0]) > 5.0


def test_both_simulators_move_people_alike_beside_a_driving_robot():
    flat, real, sim, _ = both(make_world(*PAIR), (0.8, 0.1), 5.0)
    assert not sim.contact.any()
    # their bases part by some centimetres in 4 m, and people react to them
    np.testing.assert_allclose(flat, real, atol=0.15)
    alone, _, _, _ = both(make_world(*PAIR), (0.0, 0.0), 5.0)
    assert np.abs(alone - flat).max() > 0.2  # so they do react


def test_sensors_and_contacts_find_people_where_they_are():
    # reaches the front edge of the standing robot when 3 - t - 0.25 = 0.229, at t = 2.521 s
    world = make_world(Person(((3.0, 0.0), (-9.0, 0.0)), 1.0, 0.25, attentive=False))
    _, _, sim, physics = both(world, (0.0, 0.0), 2.5)
    # beams half a degree off straight ahead
    ahead = (0.5 - 0.25) / math.cos(math.radians(0.5))
    assert sim.scan[0, 180] == pytest.approx(ahead, abs=1e-3)
    assert sim.person_distance[0] == pytest.approx(0.021, abs=1e-6)
    scan = physics.lidar()
    assert scan.ranges[len(scan.ranges) // 2] == pytest.approx(0.25 - 0.055, abs=0.01)
    assert not sim.contact[0] and physics.contacts == 0
    for _ in range(2):
        sim.step(np.zeros((2, 2)))
    for _ in range(40):
        physics.step(Command())
    assert sim.contact[0] and sim.contact_speed[0] == 0.0 and physics.contacts == 1


def test_without_people_nobody_is_near():
    sim = BatchedWorld(pack([make_world()]), 1, RobotConfig(), none())
    sim.reset([0], [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))], [0])
    assert np.isinf(sim.person_distance[0])


def test_a_reset_begins_anew_in_its_slot_alone():
    world = make_world(*PAIR)
    sim = BatchedWorld(pack([world]), 2, RobotConfig(), none())
    leg = Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))
    sim.reset([0, 1], [leg, leg], [1, 1])
    first = []
    for _ in range(30):
        sim.step(np.zeros((2, 2)))
        first.append(sim.mover_xy[0].copy())
    other = sim.mover_xy[1].copy()
    sim.reset([0], [leg], [1])
    np.testing.assert_array_equal(sim.mover_xy[1], other)
    for k in range(30):
        sim.step(np.zeros((2, 2)))
        np.testing.assert_array_equal(sim.mover_xy[0], first[k])


def test_a_start_beside_someone_is_not_free():
    sim = BatchedWorld(pack([make_world(*PAIR)]), 1, RobotConfig(), none())
    # the front edge at 5.229, the surface at 6 - 0.25 = 5.75 on y = 0.4, half a width off 0.208
    assert sim.free(Leg(0, (5.0, 0.4, 0.0), (0.0, 0.0)), 0.52)
    assert not sim.free(Leg(0, (5.0, 0.4, 0.0), (0.0, 0.0)), 0.522)


@pytest.mark.parametrize(('values', 'message'), [
    ({'waypoints': ((0.0, 0.0),)}, 'at least two'), ({'speed': 0.0}, 'more than 0 m/s'),
    ({'speed': math.nan}, 'more than 0 m/s')])
def test_what_is_no_person_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Person(**{'waypoints': ((0.0, 0.0), (1.0, 0.0)), 'speed': 1.0, 'radius': 0.2, **values})

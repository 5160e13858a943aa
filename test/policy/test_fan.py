"""Roll-outs against brute force: footprint distance by shapely-free geometry, motion by steps."""

import math

import numpy as np
import pytest
from planar import contact, drive, scan_of

from karpathy_control.contracts.config import PolicyConfig, from_mapping
from karpathy_control.policy import fan as f
from karpathy_control.policy.deliberation import Deliberation
from karpathy_control.policy.stepping import STEP

CONFIG = PolicyConfig()
SLABS = f.slabs_of(CONFIG.robot.polygon)
NOBODY = np.zeros((0, 6))
SEEN, SEEN_FROM = np.ones((96, 96), np.uint8), np.full(2, -48)  # all about the robot
LIMITS = np.array([1.2, 0.3, 2.0, 2.0, 2.5, 6.0, f.REACTION])


def clearance(points, x, y, yaw, slabs=SLABS):
    px = np.zeros(f.POINTS, np.float32)
    py, work = px.copy(), np.zeros(f.POINTS, np.int32)
    px[:len(points)], py[:len(points)] = points[:, 0], points[:, 1]
    return f.footprint_clearance(slabs, px, py, len(points), x, y, math.cos(yaw), math.sin(yaw),
                                 work)


def test_clearance_of_a_rectangle():
    rng = np.random.default_rng(0)
    half = np.array([0.229, 0.208])
    for _ in range(200):
        point = rng.uniform(-1, 1, 2)
        x, y, yaw = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), rng.uniform(-3, 3)
        c, s = math.cos(yaw), math.sin(yaw)
        d = point - (x, y)
        local = np.abs([c * d[0] + s * d[1], -s * d[0] + c * d[1]])
        assert clearance(point[None], x, y, yaw) == pytest.approx(np.max(local - half), abs=1.5e-4)


def test_contact_of_a_triangle_agrees_with_half_planes():
    triangle = np.array([[0.5, 0.0], [-0.3, 0.4], [-0.3, -0.4]])
    slabs = f.slabs_of(triangle)
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.8, 0.8, (300, 2))
    for point in points:
        corners = zip(triangle, np.roll(triangle, -1, axis=0), strict=True)
        depth = min(((b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]))
                    / np.hypot(*(b - a)) for a, b in corners)
        if abs(depth) > 2e-4:  # the kernel's resolution
            assert (clearance(point[None], 0.0, 0.0, 0.0, slabs) < 0.0) == (depth > 0.0)


def roll(v, w, velocity, points, start=10.0, applied=None, limits=LIMITS, seen=SEEN):
    px = np.zeros(f.POINTS, np.float32)
    py, work = px.copy(), np.zeros(f.POINTS, np.int32)
    px[:len(points)], py[:len(points)] = points[:, 0], points[:, 1]
    result = np.zeros(f.RESULTS)
    f.roll_out(v, w, np.array(velocity), np.array(applied or velocity), limits, SLABS,
               CONFIG.robot.circumscribed_radius, px, py, len(points), start,
               (100.0, 0.0), 0.2, np.zeros((32, 32), np.float32), np.zeros(2, np.int64), seen,
               SEEN_FROM, 0.1, np.zeros(3), work, result)
    return result


def test_roll_out_of_a_steady_arc():
    result = roll(1.0, 0.5, (1.0, 0.5), np.zeros((0, 2)))
    seconds = f.STEPS * STEP  # exact arc: radius 2 m
    assert result[f.R_X] == pytest.approx(2.0 * math.sin(0.5 * seconds), abs=2e-3)
    assert result[f.R_Y] == pytest.approx(2.0 * (1.0 - math.cos(0.5 * seconds)), abs=2e-3)
    assert result[f.R_YAW] == pytest.approx(0.5 * seconds)
    assert result[f.R_CONTACT] == np.inf
    assert result[f.R_ADMISSIBLE] == LIMITS[0]


def test_roll_out_accelerates_after_the_delay():
    # 0.1 s at rest, then 2 m/s^2 up to 1.2 m/s in 0.6 s (0.36 m), then 0.5 s at 1.2 m/s
    result = roll(1.2, 0.0, (0.0, 0.0), np.zeros((0, 2)))
    assert result[f.R_X] == pytest.approx(0.36 + 0.6, abs=1e-9)


def test_backwards_it_ends_where_nobody_has_looked():
    """Columns up to 0.5 m behind are seen; the rear of the disc gets to the last step before."""
    seen = SEEN.copy()
    seen[:, 48:-5] = 0  # a torus: column -1 is the last
    radius = CONFIG.robot.circumscribed_radius
    result = roll(-0.3, 0.0, (-0.3, 0.0), np.zeros((0, 2)), seen=seen)
    steps = math.floor((0.5 - radius) / (0.3 * STEP) + 1e-9)
    assert steps < f.STEPS and result[f.R_X] == pytest.approx(-0.3 * STEP * steps)
    assert result[f.R_OK] == 1.0 and result[f.R_CONTACT] == np.inf  # the gate stops it in time
    whole = roll(-0.3, 0.0, (-0.3, 0.0), np.zeros((0, 2)))
    assert whole[f.R_X] == pytest.approx(-0.3 * STEP * f.STEPS)
    # To drive on while it still rolls back: 0.1 s at -0.3 m/s, 0.12 s of braking, then ahead.
    turns = roll(0.3, 0.0, (-0.3, 0.0), np.zeros((0, 2)), seen=np.zeros_like(SEEN))
    assert turns[f.R_X] == pytest.approx(roll(0.3, 0.0, (-0.3, 0.0), np.zeros((0, 2)))[f.R_X])
    assert turns[f.R_X] > 0.1
    ahead = roll(0.3, 0.0, (0.3, 0.0), np.zeros((0, 2)), seen=np.zeros_like(SEEN))
    assert ahead[f.R_X] == pytest.approx(0.3 * STEP * f.STEPS)  # there the sensors will see


@pytest.mark.parametrize('best', [0.4, 1.0, -0.7])
def test_a_turn_on_the_spot_ends_at_the_best_heading(best):
    """A field that falls along `best`: at 2 rad/s some step of 0.2 rad is the nearest to it."""
    x, y = np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5)
    field = (10.0 - 0.1 * (x * math.cos(best) + y * math.sin(best))).astype(np.float32)
    result = np.zeros(f.RESULTS)
    turn = math.copysign(2.0, best)
    f.roll_out(0.0, turn, np.array((0.0, turn)), np.array((0.0, turn)), LIMITS, SLABS,
               CONFIG.robot.circumscribed_radius, np.zeros(f.POINTS, np.float32),
               np.zeros(f.POINTS, np.float32), 0, 10.0, (100.0, 0.0), 0.2, field,
               np.full(2, -16), SEEN, SEEN_FROM, 0.1, np.zeros(3), np.zeros(f.POINTS, np.int32),
               result)
    assert abs(result[f.R_YAW] - best) <= 0.1 + 1e-6
    assert result[f.R_NOSE] == pytest.approx(-f.NOSE * math.cos(result[f.R_YAW] - best), abs=1e-3)


def test_a_wall_is_met_and_limits_the_speed():
    # Steady 1 m/s: the margin of 0.045 + 0.05 m before a wall 0.85 m off is met after 0.755 m.
    wall = np.column_stack((np.full(21, 0.229 + 0.85), np.linspace(-0.5, 0.5, 21)))
    result = roll(1.0, 0.0, (1.0, 0.0), wall, start=0.85)
    assert result[f.R_CONTACT] == pytest.approx(0.8)  # the first step at or past 0.755 m
    path, brake = 0.7, f.BRAKE_SHARE * 2.5
    want = -brake * f.REACTION + math.sqrt((brake * f.REACTION) ** 2 + 2.0 * brake * path)
    assert result[f.R_ADMISSIBLE] == pytest.approx(min(want, 1.2))
    assert result[f.R_OK] == 1.0  # 1.0 * 0.2 + 1 / 4 = 0.45 m < 0.7 m
    close = roll(1.0, 0.0, (1.0, 0.0), wall - (0.4, 0.0), start=0.45)
    assert close[f.R_OK] == 0.0


@pytest.mark.parametrize(('budget', 'ok'), [(0.0, 1.0), (0.24, 1.0), (0.26, 0.0)])
def test_the_room_of_the_fault_budget_is_kept(budget, ok):
    """Contact after 0.7 m at 1 m/s: 0.25 m of braking leave 0.45 s, 0.2 of them the reaction."""
    wall = np.column_stack((np.full(21, 0.229 + 0.85), np.linspace(-0.5, 0.5, 21)))
    limits = LIMITS.copy()
    limits[6] += budget
    assert roll(1.0, 0.0, (1.0, 0.0), wall, start=0.85, limits=limits)[f.R_OK] == ok
    think = Deliberation(from_mapping(PolicyConfig, {'robot.fault_budget': budget}))
    assert think._body.limits[6] == pytest.approx(f.REACTION + budget)


def test_a_manoeuvre_that_was_begun_goes_on():
    """Facing away from the goal, both sides are alike; the one that was chosen stays chosen."""
    think = Deliberation(CONFIG)
    pose, goal = np.zeros((1, 3)), [(-4.0, 0.0)]
    scan = scan_of(np.zeros((0, 3)), pose[0])[None]
    think.observe(pose, scan)
    think.replan(goal)
    chosen = []
    for swing in (0.4, -0.4, 0.4, -0.4):  # rad/s that it happens to turn with
        command = think.features(pose, [(0.0, swing)], [[(0.0, swing)] * 3], goal, scan)
        chosen.append(command.base_command[0].tolist())
    assert chosen[0][0] <= 0.0 and all(c == chosen[0] for c in chosen)
    fresh = []
    for swing in (0.4, -0.4):
        think.reset()
        think.observe(pose, scan)
        think.replan(goal)
        command = think.features(pose, [(0.0, swing)], [[(0.0, swing)] * 3], goal, scan)
        fresh.append(command.base_command[0].tolist())
    assert fresh[0] != fresh[1]  # without a history the swing decides


@pytest.mark.parametrize(('a', 'b', 'same'), [
    ((0.0, 1.0), (0.0, 0.35), True), ((0.0, 1.0), (0.0, -1.0), False),
    ((-1.0, 0.6), (-1.0, -0.6), True), ((-1.0, 0.6), (0.0, 1.0), False),
    ((0.0, 1.0), (-1.0, 0.6), False), ((1.0, 0.0), (1.0, 0.0), False),
    ((0.25, 1.0), (0.0, 1.0), False)])
def test_which_manoeuvres_are_the_same(a, b, same):
    assert f._same_manoeuvre(np.array([(*a, 0), (*b, 0)]), 0, 1) == same


def test_skipped_checks_never_hide_a_contact():
    """The motion bound only saves work: contact is where checking every step finds it."""
    rng = np.random.default_rng(4)
    met = 0
    for _ in range(150):
        points = rng.uniform(-1.5, 1.5, (12, 2))
        start = clearance(points, 0.0, 0.0, 0.0)
        if start < 0.2:
            continue
        v, w = rng.uniform(-0.3, 1.2), rng.uniform(-2, 2)
        margin = f.MARGIN + f.MARGIN_PER_SPEED * abs(v)
        x, y, yaw, contact_time = 0.0, 0.0, 0.0, np.inf
        for k in range(f.STEPS):
            middle = yaw + 0.5 * w * STEP
            x, y = x + v * STEP * math.cos(middle), y + v * STEP * math.sin(middle)
            yaw += w * STEP
            if clearance(points, x, y, yaw) < margin:
                contact_time = (k + 1) * STEP
                break
        assert roll(v, w, (v, w), points, start=start)[f.R_CONTACT] == pytest.approx(contact_time)
        met += contact_time < np.inf
    assert met > 10


def command_for(circles, goal, velocity=(0.0, 0.0), config=CONFIG, moving=None):
    think = Deliberation(config)
    pose = np.zeros((1, 3))
    scan = scan_of(np.array(circles, dtype=float).reshape(-1, 3), pose[0])[None]
    think.observe(pose, scan, moving=moving)
    think.replan([goal])
    return think.features(pose, [velocity], [[velocity] * 3], [goal], scan, moving)


def test_open_space_full_speed_ahead():
    assert command_for([], (8.0, 0.0), (1.2, 0.0)).base_command[0] == pytest.approx([1.2, 0.0])


def test_goal_behind_turns_without_driving_off():
    v, w = command_for([], (-4.0, 0.3)).base_command[0]
    assert v < 0.5
    assert w > 0.5


def test_zero_at_the_goal_without_goal_and_without_plan():
    assert np.all(command_for([], (0.2, 0.1)).base_command == 0.0)
    think = Deliberation(CONFIG)
    scan = scan_of(np.zeros((0, 3)), np.zeros(3))[None]
    arguments = np.zeros((1, 3)), np.zeros((1, 2)), np.zeros((1, 3, 2))
    assert np.all(think.features(*arguments, [[3.0, 0.0]], scan).base_command == 0.0)
    think.replan([[3.0, 0.0]])
    assert np.all(think.features(*arguments, [[np.nan, np.nan]], scan).base_command == 0.0)


def test_a_wall_ahead_at_speed_brakes_or_turns():
    wall = [(0.9, y, 0.05) for y in np.arange(-2.0, 2.0, 0.1)]
    v, w = command_for(wall, (5.0, 0.0), (1.2, 0.0)).base_command[0]
    assert v < 0.8 or abs(w) > 0.6


@pytest.mark.parametrize('seed', range(3))
def test_polygon_helper_agrees_with_the_kernel(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        pose = np.array([0.0, 0.0, rng.uniform(-3, 3)])
        x, y = rng.uniform(-0.6, 0.6, 2)
        bearing = rng.uniform(-3, 3)
        ring = np.array([[x + 1e-4 * math.cos(bearing), y + 1e-4 * math.sin(bearing)]])
        inside = clearance(ring, *pose) < -1e-3
        assert not inside or contact(np.array([[x, y, 1e-3]]), pose, CONFIG.robot.polygon)


def test_small_goal_tolerance_is_still_reached():
    config = from_mapping(PolicyConfig, {'goal_tolerance': 0.1})
    outcome, seconds = drive([(2.0, 0.1, 0.3)], (0, 0, 2.0), (4.0, -1.0), 20, config=config)
    assert outcome == 'reached', seconds

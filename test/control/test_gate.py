"""The gate against brute force: shapely polygons swept in millisecond steps.

Nothing here uses the gate's kernels to judge it: ramps, poses and distances are computed anew.
"""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import MultiPoint, Point, Polygon

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.contracts.geometry import integrate_twist
from karpathy_control.contracts.types import Pose2
from karpathy_control.control.gate import BRAKING, LIMITED, UNAVOIDABLE, UNCHANGED, Gate

BEAMS = 360
STEP = 2 * math.pi / BEAMS
BEARINGS = -math.pi + (np.arange(BEAMS) + 0.5) * STEP
DT = 0.002  # s of the sweep
CONFIG = ControlConfig()


def look(gate, ranges, pose=(0.0, 0.0, 0.0), t=0.0):
    """Show a full scan from the base origin; return the hits in odom, (n, 2) m."""
    gate.observe_scan([pose], np.asarray(ranges)[None], BEARINGS[0], STEP, (0.0, 0.0, 0.0), 0.05,
                      12.0, t)
    hit = np.isfinite(ranges)
    angle = BEARINGS[hit] + pose[2]
    return np.stack((pose[0] + ranges[hit] * np.cos(angle), pose[1] + ranges[hit] * np.sin(angle)),
                    1)


def ranges_to(points, pose=(0.0, 0.0, 0.0)):
    """A scan that hits exactly the given points, each on its nearest beam; the rest is free."""
    ranges = np.full(BEAMS, np.inf)
    for x, y in points:
        angle = math.atan2(y - pose[1], x - pose[0]) - pose[2]
        k = round((angle + math.pi) / STEP - 0.5) % BEAMS
        ranges[k] = min(ranges[k], math.hypot(x - pose[0], y - pose[1]))
    return ranges


def towards(value, target, dt, up, down):
    """One small step of a speed on its way to its target."""
    slower = abs(target) < abs(value) or value * target < 0.0
    step = (down if slower else up) * dt
    return value + math.copysign(min(step, abs(target - value)), target - value)


def manoeuvre(config, pose, velocity, command, late):
    """Poses of the braking manoeuvre every 2 ms; `late`: it begins after the reaction time."""
    robot, gate = config.robot, config.gate
    v, w = velocity
    p = Pose2(*pose)
    poses = [p]

    def drive(target, duration):
        nonlocal v, w, p
        for _ in range(round(duration / DT)):
            v = towards(v, target[0], DT, robot.acceleration, robot.deceleration)
            w = towards(w, target[1], DT, robot.turn_acceleration, robot.turn_acceleration)
            p = integrate_twist(p, v, w, DT)
            poses.append(p)

    if late:
        drive(velocity, gate.reaction_time)
        drive(command, 0.05)
    else:
        drive(command, gate.reaction_time + 0.05)
    total = max(abs(v) / robot.deceleration, abs(w) / robot.turn_acceleration)
    v0, w0 = v, w
    n = math.ceil(total / DT)
    for k in range(n):
        share = max(0.0, 1.0 - (k + 0.5) * DT / total)
        p = integrate_twist(p, v0 * share, w0 * share, DT)
        poses.append(p)
    return poses


def swept_distance(config, poses, points):
    """Least distance of each point to the footprint at the first pose and over all poses."""
    shape = Polygon(config.robot.polygon)
    start = np.array([_signed(shape, poses[0], q) for q in points])
    least = start.copy()
    inverse = [(math.cos(p.yaw), math.sin(p.yaw), p.x, p.y) for p in poses]
    for c, s, x, y in inverse:
        dx, dy = points[:, 0] - x, points[:, 1] - y
        local = np.stack((c * dx + s * dy, c * dy - s * dx), 1)
        for k in np.nonzero(np.hypot(*local.T) < 0.5)[0]:
            least[k] = min(least[k], _signed(shape, Pose2(), local[k]))
    return start, least


def _signed(shape, pose, point):
    placed = affinity.translate(affinity.rotate(shape, pose.yaw, (0, 0), True), pose.x, pose.y)
    q = Point(point)
    return -placed.exterior.distance(q) if placed.contains(q) else placed.distance(q)


def check_passed(config, pose, velocity, command, points):
    """No point comes closer than the margin, nor closer than it was if it was nearer already."""
    for late in (True, False):
        poses = manoeuvre(config, pose, velocity, command, late)
        start, least = swept_distance(config, poses, points)
        need = min(config.gate.margin, start.min())
        # 4 mm: half a check step where the robot starts within the margin, and the 2 ms ramps
        slack = 0.004 if start.min() < config.gate.margin + 0.0025 else 0.001
        assert (least >= need - slack).all(), (late, command, (need - least).max())


@st.composite
def scenes(draw):
    n = draw(st.integers(1, 12))
    points = []
    for _ in range(n):
        a = draw(st.floats(-math.pi, math.pi))
        r = draw(st.floats(0.33, 1.4))
        points.append((r * math.cos(a), r * math.sin(a)))
    velocity = (draw(st.floats(-0.3, 1.2)), draw(st.floats(-2, 2)))
    wish = (draw(st.floats(-0.3, 1.2)), draw(st.floats(-2, 2)))
    return points, velocity, wish


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_no_passed_command_brings_the_footprint_to_a_point(scene):
    points, velocity, wish = scene
    gate = Gate(CONFIG)
    hits = look(gate, ranges_to(points))
    gate.record([velocity], -0.05)
    result = gate.filter([[0.0, 0.0, 0.0]], [velocity], [wish], 0.0)
    command = result.applied[0]
    share = 1.0 - 0.05 / max(abs(velocity[0]) / 2.5, abs(velocity[1]) / 6.0, 0.05)
    braking = np.array(velocity) * share
    if result.status[0] == BRAKING:
        assert command == pytest.approx(braking, abs=1e-12)
    elif result.status[0] == UNAVOIDABLE:
        poses = manoeuvre(CONFIG, (0.0, 0.0, 0.0), velocity, braking, late=False)
        _, least = swept_distance(CONFIG, poses, hits)
        assert least.min() < 0.01  # plain braking does touch, within a step of the coarse look
    else:
        check_passed(CONFIG, (0.0, 0.0, 0.0), velocity, command, hits)
    shape = Polygon(CONFIG.robot.polygon)
    nearest = min(_signed(shape, Pose2(), q) for q in hits)
    if nearest < 0.5:
        assert result.clearance[0] == pytest.approx(nearest, abs=1e-5)


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_what_is_safe_with_room_to_spare_passes_unchanged(scene):
    points, velocity, wish = scene
    gate = Gate(CONFIG)
    hits = look(gate, ranges_to(points))
    # the beams that hit leave a shadow: show the free space beyond them, too, from the side
    for shift in ((0.15, 0.1), (-0.15, 0.1), (0.0, -0.2)):
        look(gate, np.full(BEAMS, np.inf), (*shift, 0.0), 0.0)
    hits = look(gate, ranges_to(points), t=0.01)
    gate.record([velocity], -0.05)
    result = gate.filter([[0.0, 0.0, 0.0]], [velocity], [wish], 0.01)
    dv = np.clip(wish[0] - velocity[0], -2.5 * 0.06, 2.5 * 0.06)
    spare = 0.03 + 0.012
    reached = (velocity[0] + dv, wish[1])
    for command in (reached, velocity, wish):
        for late in (True, False):
            poses = manoeuvre(CONFIG, (0.0, 0.0, 0.0), velocity, command, late)
            _, least = swept_distance(CONFIG, poses, hits)
            if (least < spare + 0.03).any():
                return
    assert result.status[0] == UNCHANGED


def drive(gate, world, wish, pose=(0.0, 0.0, 0.0), steps=80, delay=0, fov=math.pi):
    """Drive against point obstacles with a perfect plant; return poses and statuses.

    `world` (n, 2) m; `delay` in ticks of 50 ms; beams beyond +-fov say nothing.
    """
    p = Pose2(*pose)
    queue = [(0.0, 0.0)] * (delay + 1)
    poses, statuses = [p], []
    shape = Polygon(CONFIG.robot.polygon)
    tree = MultiPoint(world)
    for k in range(steps):
        ranges = ranges_to(world, (p.x, p.y, p.yaw))
        ranges[np.abs(BEARINGS) > fov] = np.nan
        look(gate, ranges, (p.x, p.y, p.yaw), 0.05 * k)
        result = gate.filter([[p.x, p.y, p.yaw]], [queue[0]], [wish], 0.05 * k)
        queue.append(tuple(result.applied[0]))
        statuses.append(int(result.status[0]))
        queue.pop(0)
        for _ in range(5):
            p = integrate_twist(p, *queue[0], 0.01)
            poses.append(p)
            placed = affinity.translate(affinity.rotate(shape, p.yaw, (0, 0), True), p.x, p.y)
            assert placed.distance(tree) > 0.0, (k, p)
    return poses, statuses


def wall(x0, y0, x1, y1, spacing=0.02):
    n = max(2, int(math.hypot(x1 - x0, y1 - y0) / spacing))
    return np.stack((np.linspace(x0, x1, n), np.linspace(y0, y1, n)), 1)


@pytest.mark.parametrize('delay', [0, 1, 2])
def test_it_stops_before_a_wall_and_uses_the_room(delay):
    poses, statuses = drive(Gate(CONFIG), wall(2.0, -1.5, 2.0, 1.5), (1.2, 0.0), delay=delay)
    # the bumper is at 0.229, the margin 0.04 and half a step of the check 0.0025
    last = 2.0 - poses[-1].x - 0.229
    assert 0.04 - 1e-3 < last < 0.12
    assert LIMITED in statuses and statuses[0] == UNCHANGED


def test_before_a_wall_it_stands():
    """A robot that can come no nearer does not creep to and fro."""
    poses, statuses = drive(Gate(CONFIG), wall(1.0, -1.5, 1.0, 1.5), (1.2, 0.0), steps=150)
    assert statuses[-1] == LIMITED
    assert set(poses[-100:]) == {poses[-1]}


def test_turning_beside_a_wall_the_rear_corner_does_not_touch():
    """The rear corner swings out: a wall 5 cm beside the robot forbids turning away from it."""
    side = wall(-1.5, 0.258, 1.5, 0.258)
    gate = Gate(CONFIG)
    poses, statuses = drive(gate, side, (0.0, -1.0), steps=30)
    assert statuses[-1] != UNCHANGED or abs(poses[-1].yaw) < 0.2
    assert abs(poses[-1].yaw) < 0.3
    drive(Gate(CONFIG), side, (0.6, -1.2), steps=40)  # forward and away: it goes, untouched


@pytest.mark.parametrize(('clearance', 'turns'), [(0.36, True), (0.30, False)])
def test_turning_in_place_needs_the_circumscribed_circle(clearance, turns):
    """The corners are 0.309 m from the centre; with the margin that is 0.34 m."""
    ring = np.array([(clearance * math.cos(a), clearance * math.sin(a))
                     for a in np.linspace(-math.pi, math.pi, 120, endpoint=False)])
    if not turns:
        ring = ring[(np.abs(ring[:, 1]) > 0.21) | (np.abs(ring[:, 0]) > 0.24)]
    poses, _ = drive(Gate(CONFIG), ring, (0.0, 1.0), steps=40)
    assert (abs(poses[-1].yaw - 0.0) > 1.0 or poses[-1].yaw < -1.0) == turns


def test_reversing_into_a_wall_behind():
    poses, _ = drive(Gate(CONFIG), wall(-1.2, -1.0, -1.2, 1.0), (-0.3, 0.0))
    assert 0.03 - 1e-3 < poses[-1].x - 0.229 + 1.2 < 0.08


def test_it_does_not_back_into_what_it_never_saw():
    far = wall(5.0, -1.0, 5.0, 1.0)
    poses, _ = drive(Gate(CONFIG), far, (-0.3, 0.0), fov=math.radians(135))
    # the start disc of 0.33 m is all that is known behind: 0.33 + a cell - 0.229 - 0.03
    assert -0.13 < poses[-1].x <= 0.0


def test_it_goes_back_where_it_came_from():
    gate = Gate(CONFIG)
    far = wall(4.0, -1.0, 4.0, 1.0)
    poses, _ = drive(gate, far, (0.6, 0.0), steps=40, fov=math.radians(135))
    travelled = poses[-1].x
    assert travelled > 0.8
    p = poses[-1]
    poses, _ = drive(gate, far, (-0.3, 0.0), (p.x, p.y, p.yaw), steps=60, fov=math.radians(135))
    assert poses[-1].x < travelled - 0.5


def test_concave_pocket():
    pocket = np.concatenate((wall(1.0, -0.4, 1.0, 0.4), wall(0.2, 0.4, 1.0, 0.4),
                             wall(0.2, -0.4, 1.0, -0.4)))
    poses, _ = drive(Gate(CONFIG), pocket, (0.8, 0.3), steps=80)
    assert poses[-1].x > 0.2


@pytest.mark.parametrize('wish', [(1.0, 1.0), (0.8, -1.5), (-0.3, 0.8), (0.2, 2.0)])
@pytest.mark.parametrize('delay', [0, 2])
def test_random_fields_are_never_touched(wish, delay):
    rng = np.random.default_rng(5)
    field = rng.uniform(-2.5, 2.5, (60, 2))
    field = field[np.hypot(*field.T) > 0.5]
    drive(Gate(CONFIG), field, wish, steps=60, delay=delay)


def test_too_close_already_it_may_leave_but_not_come_closer():
    gate = Gate(CONFIG)
    hits = look(gate, ranges_to(wall(0.24, -0.3, 0.24, 0.3)))  # 11 mm before the bumper
    for wish, moves in (((-0.3, 0.0), True), ((0.5, 0.0), False), ((0.0, 0.0), False)):
        gate.record([[0.0, 0.0]], -0.05)
        result = gate.filter([[0.0, 0.0, 0.0]], [[0.0, 0.0]], [wish], 0.0)
        v = result.applied[0, 0]
        assert (v < -0.01) == moves and v <= 1e-9
        shape = Polygon(CONFIG.robot.polygon)
        nearest = min(shape.distance(Point(q)) for q in hits)
        assert result.clearance[0] == pytest.approx(nearest, abs=1e-6)


def test_an_approaching_obstacle_needs_more_room():
    """At 1 m/s towards a robot that needs about 0.35 s to stand, a point 0.4 m ahead is lost."""
    for speed, passes in ((0.0, True), (1.0, False)):
        gate = Gate(from_mapping(ControlConfig, {'gate.obstacle_speed': speed}))
        look(gate, ranges_to([(0.229 + 0.45, 0.0)]))
        gate.record([[0.5, 0.0]], -0.05)
        result = gate.filter([[0.0, 0.0, 0.0]], [[0.5, 0.0]], [[0.5, 0.0]], 0.0)
        assert (result.status[0] == UNCHANGED) == passes
        gate.record([[0.0, 0.0]], -0.05)  # standing is passive, whatever comes
        result = gate.filter([[0.0, 0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]], 0.0)
        assert result.status[0] == UNCHANGED


def test_acceleration_jerk_and_speed_limits_hold():
    gate = Gate(CONFIG)
    last = np.zeros(2)
    accelerations = []
    for k in range(60):
        look(gate, np.full(BEAMS, np.inf), (0.0, 0.0, 0.0), 0.02 * k)
        wish = (5.0, 9.0) if k < 40 else (0.0, 0.0)
        result = gate.filter([[0.0, 0.0, 0.0]], [last], [wish], 0.02 * k)
        accelerations.append((result.applied[0] - last) / (0.02 if k else 0.05))
        last = result.applied[0]
        assert last[0] <= 1.2 + 1e-12 and last[1] <= 2.0 + 1e-12
    a = np.array(accelerations)
    assert a[:, 0].max() <= 2.0 + 1e-9 and a[:, 0].min() >= -2.5 - 1e-9
    assert np.abs(a[:, 1]).max() <= 6.0 + 1e-9
    build_up = np.diff(a[:12, 0])
    assert build_up.max() <= 20.0 * 0.02 + 1e-9
    assert a[40, 0] == pytest.approx(-2.5)  # braking comes at once


def test_the_speed_limit_is_reached_by_braking_and_reverse_can_be_forbidden():
    gate = Gate(CONFIG)
    look(gate, np.full(BEAMS, np.inf))
    gate.record([[1.0, 0.0]], -0.05)
    result = gate.filter([[0.0, 0.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]], 0.0, [0.4])
    assert result.applied[0, 0] == pytest.approx(1.0 - 2.5 * 0.05)
    gate.record([[0.0, 0.0]], -0.05)
    result = gate.filter([[0.0, 0.0, 0.0]], [[0.0, 0.0]], [[-0.3, 0.0]], 0.0, None, [0.0])
    assert result.applied[0, 0] == 0.0


@pytest.mark.parametrize('bad', [
    {'pose': (math.nan, 0.0, 0.0)}, {'velocity': (math.inf, 0.0)}, {'velocity': (0.0, math.nan)},
    {'wish': (math.nan, 0.0)}, {'wish': (0.5, -math.inf)}, {'time': math.nan},
])
def test_what_is_not_finite_brakes(bad):
    gate = Gate(CONFIG)
    look(gate, np.full(BEAMS, np.inf))
    gate.record([[0.5, 0.5]], -0.05)
    arguments = {'pose': (0.0, 0.0, 0.0), 'velocity': (0.5, 0.5), 'wish': (0.5, 0.5),
                 'time': 0.0} | bad
    result = gate.filter([arguments['pose']], [arguments['velocity']], [arguments['wish']],
                         arguments['time'])
    assert result.status[0] == BRAKING
    assert abs(result.applied[0, 0]) < 0.5 and abs(result.applied[0, 1]) < 0.5


def test_nearest_admissible_by_the_stated_metric():
    """Straight at a pole the wish turns slightly left: what is applied turns left, not right."""
    for sign in (1.0, -1.0):
        gate = Gate(CONFIG)
        look(gate, ranges_to([(0.40, 0.0)]))
        gate.record([[0.6, 0.0]], -0.05)
        result = gate.filter([[0.0, 0.0, 0.0]], [[0.6, 0.0]], [[0.7, sign * 0.05]], 0.0)
        if result.status[0] == LIMITED:
            assert sign * result.applied[0, 1] >= 0.0
        assert result.status[0] != UNCHANGED


def test_the_braking_to_show_ends_where_the_robot_stands():
    gate = Gate(CONFIG)
    poses = gate.braking((1.0, 2.0, 0.5 * math.pi), (1.0, 0.0))
    # 1 / (2 * 2.5) = 0.2 m along y
    assert poses[0] == pytest.approx([1.0, 2.0, 0.5 * math.pi])
    assert poses[-1] == pytest.approx([1.0, 2.2, 0.5 * math.pi], abs=2e-3)
    assert gate.braking((0.0, 0.0, 0.0), (0.0, 0.0)).shape == (1, 3)


SCRIPT = '''
import json, math
import numpy as np
from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.control.gate import Gate
rng = np.random.default_rng(7)
# few beams, for speed: obstacles as wide as their spacing, so that it does not cap the speed
gate = Gate(from_mapping(ControlConfig, {'gate.least_width': 0.5}))
pose, command, out = np.zeros(3), np.zeros(2), []
for k in range(16):
    angle = -math.pi + 0.1 + math.pi / 24 * np.arange(48) + pose[2]
    ahead = np.cos(angle) > 0.5
    ranges = np.where(ahead, (0.8 - pose[0]) / np.maximum(np.cos(angle), 0.5), np.inf)
    ranges[rng.random(48) < 0.1] = np.nan
    gate.observe_scan([pose], ranges[None], -math.pi, math.pi / 24, (0.05, 0.0, 0.1), 0.1, 9.0,
                      0.05 * k)
    gate.observe_depth([pose], rng.uniform(0.5, 2.5, (1, 12, 2)), [[0, 1] * 6], 12, (0.19, 0.0),
                       0.05 * k)
    wish = rng.uniform((0.5, -1.5), (1.2, 1.5))
    result = gate.filter([pose], [command], [wish], 0.05 * k)
    command = result.applied[0]
    pose = pose + 0.05 * np.array([command[0] * math.cos(pose[2]), command[0] * math.sin(pose[2]),
                                   command[1]])
    out.append([*command, int(result.status[0]), float(result.clearance[0])])
print(json.dumps(out))
'''


def test_compiled_and_plain_python_agree():
    answers = []
    for plain in ('0', '1'):
        done = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True,
                              check=True, env={**os.environ, 'NUMBA_DISABLE_JIT': plain})
        answers.append(np.array(json.loads(done.stdout)))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)  # float32 points
    assert len(set(answers[0][:, 2])) > 1

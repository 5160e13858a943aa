"""What the obstacle memory keeps, forgets and never forgets."""

import math
from dataclasses import replace

import numpy as np
import pytest

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.contracts.layout import SCAN_BEAMS, scan_bearings
from karpathy_control.contracts.types import DepthPoints
from karpathy_control.contracts.view import nearest_ground_distance
from karpathy_control.control.gate import CELL, Gate
from karpathy_control.control.memory import EMPTY

BEAMS = 720
STEP = 2 * math.pi / BEAMS
BEARINGS = -math.pi + (np.arange(BEAMS) + 0.5) * STEP


def scan_of(circles, pose=(0.0, 0.0, 0.0)):
    """Ranges of a lidar at the base origin to (x, y, radius) circles; closed form."""
    ranges = np.full(BEAMS, np.inf)
    for cx, cy, radius in circles:
        dx, dy = cx - pose[0], cy - pose[1]
        angle = BEARINGS + pose[2]
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across2 = dx * dx + dy * dy - along ** 2
        hit = (across2 < radius ** 2) & (along > 0)
        r = along - np.sqrt(np.maximum(radius ** 2 - across2, 0.0))
        ranges = np.where(hit, np.minimum(ranges, r), ranges)
    return ranges


def observe(gate, ranges, t, pose=(0.0, 0.0, 0.0), first=0, last=BEAMS):
    """Show the beams first..last of a full scan."""
    gate.observe_scan([pose], ranges[None, first:last], BEARINGS[first], STEP, (0.0, 0.0, 0.0),
                      0.1, 10.0, t)


def stored(gate, layer):
    """Every stored point of one layer. Shape: (n, 2) m, odom."""
    seen = getattr(gate._memory, f'{layer}_seen')[0]
    points = getattr(gate._memory, layer)[0][seen != EMPTY].reshape(-1, 2)
    count = getattr(gate._memory, f'{layer}_count')[0]
    assert count == (seen != EMPTY).sum()  # the list and the grid agree
    cells = getattr(gate._memory, f'{layer}_cells')[0][:count]
    assert len(set(cells)) == count and (seen.ravel()[cells] != EMPTY).all()
    return points


def free_at(gate, x, y):
    i, j = math.floor(x / CELL), math.floor(y / CELL)
    size = gate._memory.free_seen.shape[1]
    return gate._memory.free_seen[0, j % size, i % size] != EMPTY


def depth(gate, obstacles, free, t, pose=(0.0, 0.0, 0.0), origin=(0.19, 0.0)):
    points = np.array([*obstacles, *free], np.float32).reshape(1, -1, 2)
    kind = [[DepthPoints.OBSTACLE] * len(obstacles) + [DepthPoints.FREE] * len(free)]
    gate.observe_depth([pose], points, kind, points.shape[1], origin, t)


@pytest.fixture
def gate():
    return Gate(ControlConfig())


def test_the_rest_of_a_wall_that_is_half_in_view_stays(gate):
    """A later scan sees one half of a cell: what the first one left in the other half stays."""
    wall = np.where(np.abs(BEARINGS) < 1.4, 1.02 / np.cos(BEARINGS), np.inf)
    observe(gate, wall, 0.0)
    before = stored(gate, 'lidar')
    seam = float(BEARINGS[BEAMS // 2 + 13])  # in the middle of a cell, 0.121 m aside
    observe(gate, wall, 0.1, first=BEAMS // 2 + 13, last=BEAMS)
    after = stored(gate, 'lidar')
    hidden = before[np.arctan2(before[:, 1], before[:, 0]) < seam - 0.5 * STEP]
    assert len(hidden) > 20
    for point in hidden:
        assert np.hypot(*(after - point).T).min() < 1e-6


def test_a_cell_is_unknown_again_when_what_stood_in_it_is_forgotten():
    """Beside a robot that stays free cells do not expire, but one with an obstacle does."""
    gate = Gate(from_mapping(ControlConfig, {'gate.memory_time': 1.0}))
    observe(gate, scan_of([(0.0, 0.32, 0.05)]), 0.0)
    assert free_at(gate, 0.0, 0.27) and len(stored(gate, 'lidar'))
    for k in range(1, 15):  # only ahead from now on
        observe(gate, np.full(BEAMS, np.inf), 0.1 * k, first=BEAMS // 2 - 60, last=BEAMS // 2 + 60)
    assert len(stored(gate, 'lidar')) == 0
    assert not free_at(gate, 0.0, 0.27) and free_at(gate, 0.0, -0.27)


def test_hits_are_kept_exactly(gate):
    observe(gate, scan_of([(1.0, 0.3, 0.1)]), 0.0)
    points = stored(gate, 'lidar')
    assert len(points)
    # every stored point lies on the circle: the grid adds no quantisation
    distances = np.hypot(points[:, 0] - 1.0, points[:, 1] - 0.3)
    assert distances == pytest.approx(np.full(len(points), 0.1), abs=1e-5)


def test_what_moves_away_leaves_no_trail(gate):
    for k in range(20):
        x = 1.0 + 0.05 * k
        observe(gate, scan_of([(x, 0.0, 0.2)]), 0.05 * k)
        points = stored(gate, 'lidar')
        assert np.hypot(points[:, 0] - x, points[:, 1]).max() < 0.2 + 0.06


def test_a_pole_passed_into_the_blind_sector_stays(gate):
    """A 270 degree lidar drives past a pole; behind, nobody looks, and it is still there."""
    first, last = 90, 630  # bearings within +-135 degrees
    pole = (0.8, 0.4, 0.05)
    for k in range(31):
        pose = (0.05 * k, 0.0, 0.0)
        observe(gate, scan_of([pole], pose), 0.05 * k, pose, first, last)
    # now at x = 1.5: the pole is at (-0.7, 0.4) in base, bearing 150 degrees
    points = stored(gate, 'lidar')
    assert len(points) and np.hypot(points[:, 0] - 0.8, points[:, 1] - 0.4).max() < 0.06


@pytest.mark.parametrize('said', [np.nan, -np.inf])
def test_a_beam_that_says_nothing_clears_nothing(gate, said):
    observe(gate, scan_of([(1.0, 0.0, 0.1)]), 0.0)
    before = stored(gate, 'lidar')
    observe(gate, np.full(BEAMS, said), 0.05)
    after = stored(gate, 'lidar')
    assert len(after) >= len(before)


def test_all_infinite_clears_and_frees(gate):
    observe(gate, scan_of([(1.0, 0.0, 0.1)]), 0.0)
    observe(gate, np.full(BEAMS, np.inf), 0.05)
    assert len(stored(gate, 'lidar')) == 0
    for bearing in np.linspace(-3, 3, 50):
        assert free_at(gate, math.cos(bearing), math.sin(bearing))


def test_what_is_occluded_stays(gate):
    observe(gate, scan_of([(1.5, 0.0, 0.1)]), 0.0)
    observe(gate, scan_of([(0.8, 0.0, 0.2)]), 0.05)
    points = stored(gate, 'lidar')
    assert (points[:, 0] > 1.3).any() and (points[:, 0] < 0.9).any()


def test_a_pole_as_wide_as_the_beam_spacing_is_never_cleared(gate):
    """At 1.5 m the beams are 13 mm apart; a pole of 14 mm is hit by one of them at least."""
    rng = np.random.default_rng(1)
    bearing = 0.3
    for k in range(200):
        pose = (0.0, 0.0, rng.uniform(-math.pi, math.pi))
        pole = (1.5 * math.cos(bearing), 1.5 * math.sin(bearing), 0.007)
        observe(gate, scan_of([pole], pose), 0.05 * k, pose)
        assert len(stored(gate, 'lidar')) > 0


def test_free_until_the_hit_and_unknown_behind(gate):
    wall = np.full(BEAMS, np.inf)
    ahead = np.abs(BEARINGS) < 0.6
    wall[ahead] = 1.0 / np.cos(BEARINGS[ahead])
    observe(gate, wall, 0.0)
    assert free_at(gate, 0.97, 0.0)
    assert not free_at(gate, 1.12, 0.0)
    assert not free_at(gate, 1.3, 0.2)


def test_beams_leave_no_gap_in_free_space():
    """However rays are thinned out, every cell nearer than a cell per spacing is touched."""
    for beams in (180, 360, 719, 1080):
        gate = Gate(ControlConfig())
        step = 2 * math.pi / beams
        gate.observe_scan([[0.013, 0.021, 0.4]], np.full((1, beams), 8.0), -math.pi, step,
                          (0.05, 0.0, 0.0), 0.1, 10.0, 0.0)
        reach = min(0.95 * CELL / step, gate._rules.free_reach - 2 * CELL)
        rng = np.random.default_rng(0)
        for _ in range(2000):
            r, a = reach * math.sqrt(rng.random()), rng.uniform(-math.pi, math.pi)
            assert free_at(gate, 0.063 + r * math.cos(a), 0.04 + r * math.sin(a))


def test_thinned_rays_never_free_what_no_beam_saw():
    rng = np.random.default_rng(2)
    step = 2 * math.pi / 240
    for _ in range(4):
        config = ControlConfig()
        gate = Gate(replace(config, gate=replace(config.gate, start_radius=0.0)))
        ranges = rng.uniform(0.4, 1.5, 240)
        ranges[rng.random(240) < 0.2] = np.nan
        gate.observe_scan([[0.0, 0.0, 0.0]], ranges[None], 0.0, step, (0.0, 0.0, 0.0), 0.1, 10.0,
                          0.0)
        touched = {(0, 0)}
        for r, a in zip(ranges, step * np.arange(240), strict=True):
            if not math.isnan(r):
                along = np.linspace(0.0, r, 1500)
                touched |= set(zip(np.floor(along * math.cos(a) / CELL).tolist(),
                                   np.floor(along * math.sin(a) / CELL).tolist(), strict=True))
        slots = np.argwhere(gate._memory.free_seen[0] != EMPTY)
        found = {tuple((slot[::-1] + 64) % 128 - 64) for slot in slots}
        extra = {(i, j) for i, j in found - touched
                 if abs((i + 0.5) * CELL) > 0.23 or abs((j + 0.5) * CELL) > 0.21}
        for i, j in extra:  # a corner clipped by less than the millimetre of the sampling
            assert any(abs(math.sin(math.atan2((j + c) * CELL, (i + a) * CELL) - step * k))
                       * math.hypot((i + a) * CELL, (j + c) * CELL) < 1e-3
                       for a in (0, 1) for c in (0, 1) for k in range(240))


def test_the_lidar_never_clears_what_the_camera_saw(gate):
    """A low box under the plane of the lidar: every beam passes over it."""
    depth(gate, [(0.8, 0.0), (0.8, 0.05)], [], 0.0)
    for k in range(10):
        observe(gate, np.full(BEAMS, np.inf), 0.05 * k)
    assert len(stored(gate, 'camera'))


def test_the_camera_never_clears_what_the_lidar_saw(gate):
    observe(gate, scan_of([(1.0, 0.0, 0.1)]), 0.0)
    depth(gate, [], [(2.5, 0.1 * k) for k in range(-10, 11)], 0.05)
    assert len(stored(gate, 'lidar'))


def test_only_a_free_ray_through_the_cell_clears_a_camera_point(gate):
    depth(gate, [(1.0, 0.0), (1.0, 0.4)], [], 0.0)
    depth(gate, [], [(2.5, 0.0)], 0.05)
    points = stored(gate, 'camera')
    assert points == pytest.approx(np.array([[1.0, 0.4], [1.0, 0.4]]), abs=1e-6)
    depth(gate, [], [(0.9, 0.36)], 0.1)  # ends before it
    assert len(stored(gate, 'camera')) == 2


def test_a_low_box_below_the_view_of_the_camera_stays(gate):
    """Nearer than the nearest ground in view a free ray passes over what stands there."""
    blind = nearest_ground_distance(ControlConfig().robot.camera_pose)
    # 0.28 m high, 0.15 rad down, half of the vertical view is atan(48 / 64) = 0.6435 rad
    assert blind == pytest.approx(0.28 / math.tan(0.15 + math.atan(48 / 64)))
    for k in range(14):
        pose = (0.05 * k, 0.0, 0.0)
        ahead = 0.85 - pose[0] - 0.19  # from the camera to the box
        seen = [(ahead + 0.19, 0.01 * i) for i in range(-5, 6)] if ahead > blind else []
        free = [(2.0, 0.02 * i) for i in range(-5, 6)] if not seen else []
        depth(gate, seen, free, 0.05 * k, pose)
    assert ahead < 0.03
    points = stored(gate, 'camera')
    assert len(points) and points[:, 0] == pytest.approx(np.full(len(points), 0.85), abs=1e-6)


def test_the_camera_scan_only_adds(gate):
    ranges = np.full((1, SCAN_BEAMS), np.nan)
    ranges[0, 180] = 1.0
    gate.observe_camera_scan([[0.0, 0.0, 0.0]], ranges, 0.0)
    angle = scan_bearings()[180]
    assert stored(gate, 'camera')[0] == pytest.approx([math.cos(angle), math.sin(angle)], abs=1e-5)
    gate.observe_camera_scan([[0.0, 0.0, 0.0]], np.full((1, SCAN_BEAMS), np.inf), 0.05)
    assert len(stored(gate, 'camera'))
    assert not free_at(gate, 1.5, 0.0)


def test_without_depth_the_camera_scan_takes_back_what_it_added(gate):
    ranges = np.full((1, SCAN_BEAMS), np.nan)
    ranges[0, [180, 270]] = 2.0, 2.0
    gate.observe_camera_scan([[0.0, 0.0, 0.0]], ranges, 0.0, takes_back=True)
    assert len(np.unique(stored(gate, 'camera'), axis=0)) == 2
    ahead = np.full((1, SCAN_BEAMS), np.nan)
    ahead[0, 150:210] = np.inf
    gate.observe_camera_scan([[0.0, 0.0, 0.0]], ahead, 0.05, takes_back=True)
    angle = scan_bearings()[270]  # out of view: stays
    assert np.unique(stored(gate, 'camera'), axis=0) == pytest.approx(
        np.array([[2.0 * math.cos(angle), 2.0 * math.sin(angle)]]), abs=1e-5)
    assert not free_at(gate, 1.5, 0.0)  # nothing is observed free by it


def test_free_rays_free_only_the_ground_in_view(gate):
    depth(gate, [], [(1.5, 0.0)], 0.0)
    blind = nearest_ground_distance(ControlConfig().robot.camera_pose)
    assert free_at(gate, 0.19 + blind + 0.06, 0.0) and free_at(gate, 1.2, 0.0)
    assert not free_at(gate, 0.19 + blind - 0.06, 0.0)


def test_the_robot_itself_is_no_obstacle(gate):
    ranges = np.full(BEAMS, np.inf)
    ranges[BEAMS // 2] = 0.15  # 8 cm inside the bumper
    ranges[0] = 0.22  # 1 cm inside the tail: a touch, not the robot
    observe(gate, ranges, 0.0)
    assert stored(gate, 'lidar')[:, 0] == pytest.approx([-0.22, -0.22], abs=1e-3)


def test_too_close_stands_at_the_least_range(gate):
    ranges = np.full(BEAMS, np.inf)
    ranges[BEAMS // 2] = -np.inf
    gate.observe_scan([[0.0, 0.0, 0.0]], ranges[None], BEARINGS[0], STEP, (0.0, 0.0, 0.0), 0.3,
                      10.0, 0.0)
    assert stored(gate, 'lidar')[0] == pytest.approx([0.3, 0.0], abs=2e-3)


def test_reversed_and_shifted_scans_say_the_same(gate):
    circles = [(0.9, 0.3, 0.1), (-0.5, -0.7, 0.2)]
    ranges = scan_of(circles)
    observe(gate, ranges, 0.0)
    other = Gate(ControlConfig())
    other.observe_scan([[0.0, 0.0, 0.0]], ranges[None, ::-1].copy(), BEARINGS[-1] - 0.7, -STEP,
                       (0.0, 0.0, 0.7), 0.1, 10.0, 0.0)
    mine, theirs = stored(gate, 'lidar'), stored(other, 'lidar')
    apart = np.linalg.norm(mine[:, None] - theirs[None], axis=2)
    assert apart.min(axis=0).max() < 1e-5 and apart.min(axis=1).max() < 1e-5


def test_memory_expires_but_what_is_free_round_the_robot_does_not():
    gate = Gate(from_mapping(ControlConfig, {'gate.memory_time': 1.0}))
    observe(gate, scan_of([(-1.0, 0.0, 0.2)]), 0.0)
    ahead = slice(90, 630)
    for k in range(1, 30):  # from now on only the front is seen
        observe(gate, np.full(BEAMS, np.inf), 0.05 * k, first=ahead.start, last=ahead.stop)
    assert not len(stored(gate, 'lidar'))
    result = gate.filter([[0.0, 0.0, 0.0]], [[0.0, 0.0]], [[0.0, 2.0]], 1.5)
    assert result.status[0] == 0  # it may still turn where it stands
    result = gate.filter([[0.0, 0.0, 0.0]], [[0.0, 0.0]], [[-0.3, 0.0]], 1.55)
    for k in range(40):
        assert abs(result.applied[0, 0]) < 0.31
        result = gate.filter([[0.0, 0.0, 0.0]], [result.applied[0]], [[-0.3, 0.0]], 1.6 + 0.05 * k)


def test_while_the_camera_is_lost_what_it_saw_stays():
    """By its lidar alone the robot would not see the low box anew, however long it takes."""
    gate = Gate(from_mapping(ControlConfig, {'gate.memory_time': 1.0}))
    depth(gate, [(1.2, 0.02 * k) for k in range(-15, 16)], [], 0.0)
    x = v = 0.0
    for k in range(1, 121):  # 6 s: enough for 3 m at 0.5 m/s
        observe(gate, np.full(BEAMS, np.inf), 0.05 * k, (x, 0.0, 0.0))
        v = gate.filter([[x, 0.0, 0.0]], [[v, 0.0]], [[0.5, 0.0]], 0.05 * k).applied[0, 0]
        x += 0.05 * v
    front = x + ControlConfig().robot.polygon[:, 0].max()
    assert abs(v) < 0.02 and 1.05 < front < 1.2  # 0.02 m/s: what counts as standing
    depth(gate, [], [(2.5, 0.0)], 6.05, (x, 0.0, math.pi))  # the camera is back, looks elsewhere
    assert not len(stored(gate, 'camera'))


@pytest.mark.parametrize('budget', [0.0, 0.5])
def test_the_front_edge_of_a_low_box_does_not_recede_before_the_robot(budget):
    """Of a box under the camera only what is beyond 0.5 m is in the image: first its front edge,
    then a row of its top that moves on with the robot, less than a cell from one to the next."""
    gate = Gate(from_mapping(ControlConfig, {'robot.fault_budget': budget}))
    front = ControlConfig().robot.polygon[:, 0].max()
    edge, nearest = 2.0, 0.19 + 0.5  # m in odom, and of base
    x = v = 0.0
    for k in range(1, 241):  # 12 s
        row = max(edge - x, nearest)
        aside = 0.004 * np.arange(-100, 101)  # in every degree of bearing
        depth(gate, [(row, y) for y in aside], [(row - 0.02, y) for y in aside], 0.05 * k,
              (x, 0.0, 0.0))
        observe(gate, np.full(BEAMS, np.inf), 0.05 * k, (x, 0.0, 0.0))
        v = gate.filter([[x, 0.0, 0.0]], [[v, 0.0]], [[1.2, 0.0]], 0.05 * k).applied[0, 0]
        x += 0.05 * v
    assert abs(v) < 0.02 and edge - 0.12 < x + front < edge - 0.02


def test_the_window_follows_the_robot(gate):
    for k in range(200):
        pose = (0.1 * k, -0.07 * k, 0.02 * k)
        circle = (pose[0] + 1.0, pose[1] + 0.5, 0.1)
        observe(gate, scan_of([circle], pose), 0.05 * k, pose)
        points = stored(gate, 'lidar')
        assert len(points)
        assert np.abs(points - pose[:2]).max() <= 3.2 + CELL


def test_forget_and_a_long_life(gate):
    observe(gate, scan_of([(1.0, 0.0, 0.1)]), 0.0)
    gate.forget()
    assert len(stored(gate, 'lidar')) == 0 and not free_at(gate, 1.0, 0.5)
    observe(gate, scan_of([(1.0, 0.0, 0.1)]), 1.7e9)  # the epoch of a wall clock
    observe(gate, scan_of([(1.0, 0.0, 0.1)]), 1.7e9 + 60_000.0)
    assert len(stored(gate, 'lidar'))
    assert gate._memory.epoch[0] == 1.7e9 + 50_000.0


def test_a_pose_that_is_not_finite_changes_nothing(gate):
    observe(gate, scan_of([(1.0, 0.0, 0.1)]), 0.0, (math.nan, 0.0, 0.0))
    depth(gate, [(1.0, 0.0)], [], 0.0, (0.0, math.inf, 0.0))
    gate.observe_camera_scan([[0.0, 0.0, math.nan]], np.ones((1, SCAN_BEAMS)), 0.0)
    assert len(stored(gate, 'lidar')) == len(stored(gate, 'camera')) == 0
    assert not gate._memory.started[0]


def test_wrong_scan_geometry_is_named(gate):
    with pytest.raises(ValueError, match='increment'):
        gate.observe_scan([[0, 0, 0]], np.ones((1, 4)), 0.0, 0.0, (0, 0, 0), 0.1, 10.0, 0.0)
    with pytest.raises(ValueError, match='batch 0'):
        Gate(ControlConfig(), batch=0)


def test_a_batch_equals_its_robots_one_by_one():
    rng = np.random.default_rng(3)
    batch = Gate(ControlConfig(), batch=3)
    single = [Gate(ControlConfig()) for _ in range(3)]
    for k in range(5):
        pose = rng.uniform(-0.3, 0.3, (3, 3))
        ranges = rng.uniform(0.5, 4.0, (3, 90)).astype(np.float32)
        points = rng.uniform(0.4, 1.5, (3, 20, 2)).astype(np.float32)
        kind = rng.integers(0, 2, (3, 20))
        camera = rng.uniform(0.6, 3.0, (3, SCAN_BEAMS)).astype(np.float32)
        velocity, wish = rng.uniform(-0.3, 0.8, (2, 3, 2))
        t = 0.05 * k

        def drive(gate, rows, pose=pose, ranges=ranges, points=points, kind=kind, camera=camera,
                  velocity=velocity, wish=wish, t=t):
            gate.observe_scan(pose[rows], ranges[rows], -math.pi, 2 * math.pi / 90,
                              (0.05, 0.0, 0.0), 0.1, 10.0, t)
            gate.observe_depth(pose[rows], points[rows], kind[rows], 20, (0.19, 0.0), t)
            gate.observe_camera_scan(pose[rows], camera[rows], t)
            return gate.filter(pose[rows], velocity[rows], wish[rows], t)

        together = drive(batch, slice(0, 3))
        for b in range(3):
            alone = drive(single[b], slice(b, b + 1))
            np.testing.assert_array_equal(alone.applied[0], together.applied[b])
            assert alone.status[0] == together.status[b]
            assert alone.clearance[0] == together.clearance[b]
    batch.reset([1])
    assert batch._memory.started.tolist() == [True, False, True]

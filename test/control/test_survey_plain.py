"""What the check is told of a scene: every point of the memory by hand, need, unknown, shadows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import CELL, FOOTPRINT, MOTION, RULES, memory_of, square_distance

from karpathy_control.control.drift import track
from karpathy_control.control.footprint import outline
from karpathy_control.control.memory import EMPTY, mark_obstacle, place
from karpathy_control.control.scene import survey

FAR = 1e9
NAN = math.nan
SAMPLES = outline(FOOTPRINT, 0.03, CELL)
DRIFT = MOTION._replace(drift_per_metre=0.1, drift_per_radian=0.2)


def remembered(scan=(), scan_time=10.0, lidar=(), camera=(), fence=(), beams=None):
    """A memory that began at time 0 with robot 1 at the origin; points are (x, y) or with a time.

    Robot 0's memory is full of what must not matter.
    """
    beams = len(scan) if beams is None else beams
    memory = memory_of()._replace(scan=np.full((2, beams, 2), NAN, np.float32),
                                  fence=np.array(fence, float).reshape(-1, 2))
    memory.scan[0] = 0.3
    memory.scan_time[0] = 10.0
    for b in (0, 1):
        place(memory, b, 0.0, 0.0, 0.0, 0.0, RULES)
        memory.scan_time[b] = scan_time
    memory.scan[1, :len(scan)] = np.array(scan).reshape(-1, 2)
    for layer, points in (('lidar', lidar), ('camera', camera)):
        for b, some in ((0, [(0.4, 0.4, 10.0)]), (1, points)):
            for x, y, time in some:
                mark_obstacle(getattr(memory, layer)[b], getattr(memory, f'{layer}_seen')[b],
                              getattr(memory, f'{layer}_cells')[b],
                              getattr(memory, f'{layer}_count'), b, memory.origin[b], x, y,
                              np.float32(time), CELL)
    return memory


def look(memory, pose=(0.0, 0.0, 0.0), now=10.0, reach=1.5, motion=MOTION, rules=RULES):
    return survey(1, memory, rules, motion, FOOTPRINT, SAMPLES, *pose, now, reach)


def rows(scene):
    """The points of a scene with their drift: {(x, y): extra}, in cm and um."""
    found = {(round(float(x), 2), round(float(y), 2)): round(float(e), 6) for x, y, e in zip(
        scene.px[:scene.size], scene.py[:scene.size], scene.extra[:scene.size], strict=True)}
    assert len(found) == scene.size
    return found


def test_every_source_says_where_something_is():
    memory = remembered([(0.6, 0.1), (NAN, NAN), (-0.5, 0.5)], lidar=[(0.9, -0.7, 9.5)],
                        camera=[(0.4, -0.6, 9.8)], fence=[(0.0, 1.2), (-1.0, 0.0)])
    scene, clearance = look(memory)
    assert rows(scene) == dict.fromkeys([(0.6, 0.1), (-0.5, 0.5), (0.9, -0.7), (0.4, -0.6),
                                         (0.0, 1.2), (-1.0, 0.0)], 0.0)
    # the nearest of them: 0.35 m ahead; (-0.5, 0.5) is 0.354 m off the corner
    assert clearance == pytest.approx(0.35)
    assert scene.origin_x == scene.origin_y == -8
    assert scene.base_x == scene.base_y == -16
    assert scene.free is not None and np.shares_memory(scene.free, memory.free_seen[1])


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(-3, 3)),
       st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)), min_size=1, max_size=8),
       st.sampled_from([0.0, 0.1]), st.floats(0.2, 1.4))
def test_reach_clearance_and_start_against_all_points(pose, points, speed, reach):
    points = [tuple(np.float32(p).tolist()) for p in points]
    motion = MOTION._replace(obstacle_speed=speed)
    scene, clearance = look(remembered(points), pose, reach=reach, motion=motion)
    away = [math.dist(p, pose[:2]) for p in points]
    off = [square_distance(*pose, *p) for p in points]
    assert list(zip(scene.px[:scene.size], scene.py[:scene.size], strict=True)) == [
        p for p, d in zip(points, away, strict=True) if d < reach]
    # points within 0.5 m of the circle round the footprint, or within reach, are looked at
    looked = [o for o, d in zip(off, away, strict=True)
              if d < max(reach, FOOTPRINT.radius + 0.5)]
    assert clearance == pytest.approx(min(looked, default=math.inf))
    within = [o for o, d in zip(off, away, strict=True) if d < reach]
    for start, o in zip(scene.start, within, strict=False):
        assert start == pytest.approx(o) or (
            start == FAR and o > max(clearance, 0.035 + 10.0 * speed) - 1e-9)


def test_clearance_is_told_up_to_half_a_metre_even_beyond_the_reach():
    scene, clearance = look(remembered([(0.7, 0.0)]), reach=0.4)
    assert scene.size == 0 and clearance == pytest.approx(0.45)
    scene, clearance = look(remembered([(0.86, 0.0)]), reach=0.4)  # radius 0.354 + 0.5 = 0.854
    assert scene.size == 0 and clearance == math.inf
    scene, clearance = look(remembered([(0.86, 0.0)]), reach=0.9)
    assert scene.size == 1 and clearance == pytest.approx(0.61)
    assert look(remembered([]))[1] == math.inf


def test_near_points_have_their_start_whatever_the_order():
    points = [(0.3, 0.0), (-0.32, 0.0), (0.0, 0.33), (0.0, -0.9)]
    for order in (points, points[::-1]):
        scene, _ = look(remembered(order))
        start = dict(zip(zip(scene.px.round(4), scene.py.round(4), strict=True), scene.start,
                         strict=True))
        assert start[0.3, 0.0] == pytest.approx(0.05)
        assert start[-0.32, 0.0] in (pytest.approx(0.07), FAR)
        # 0.03 + 0.005 m is the horizon of a world that stands; 0.65 m is far beyond it
        assert start[0.0, -0.9] == (pytest.approx(0.65) if order is not points else FAR)


@pytest.mark.parametrize(('x', 'speed', 'known'), [
    (0.284, 0.0, True), (0.286, 0.0, False), (1.2, 0.1, True), (1.29, 0.1, False)])
def test_the_start_is_known_within_the_horizon(x, speed, known):
    """Margin, a step of 5 mm and what comes in 10 s; the first point is nearer than any."""
    motion = MOTION._replace(obstacle_speed=speed)
    turned = (0.0, 0.0, math.pi / 4)  # circles and distances part at the corner: 0.354 m
    memory = remembered([(-0.36, 0.0), (x + FOOTPRINT.radius - 0.25, 0.0)])
    scene, _ = look(memory, turned, motion=motion, reach=2.0)
    assert (scene.start[1] < FAR) == known


@pytest.mark.parametrize(('gap', 'need'), [
    (0.4, 0.0325), (0.0330, 0.0325), (0.0320, 0.031999), (0.025, 0.024999), (0.0201, 0.020099),
    (0.019, 0.02), (-0.1, 0.02)])
def test_need_is_the_margin_or_what_the_nearest_has(gap, need):
    """Two thirds of the margin of 0.03 m at least, the margin and half a step at most."""
    scene, clearance = look(remembered([(0.25 + gap, 0.1), (0.0, 0.9)]))
    assert clearance == pytest.approx(gap, abs=1e-6)
    assert scene.need == pytest.approx(need, abs=1e-6)


@pytest.mark.parametrize(('age', 'kept'), [(0.0, True), (1.0, True), (1.25, False)])
def test_a_scan_holds_for_the_memory_time(age, kept):
    memory = remembered([(0.6, 0.1), (0.7, 0.1)], scan_time=10.0 - age, fence=[(0.9, 0.0)])
    scene, _ = look(memory, motion=MOTION._replace(shadow=0.25))
    points = set(rows(scene))
    assert ((0.6, 0.1) in points) == kept and (0.9, 0.0) in points


def test_nothing_is_known_before_anything_was_seen():
    memory = remembered([(0.6, 0.1)], scan_time=EMPTY)
    memory.free_seen[1] = EMPTY
    scene, clearance = look(memory, now=0.0)
    assert scene.size == 0 and clearance == math.inf
    assert scene.excused_count == len(SAMPLES)  # all is unknown


def test_points_of_the_lidar_hold_for_the_memory_time_those_of_the_camera_until_it_speaks():
    stored = [(0.6, 0.6, 9.0), (0.6, -0.6, 8.75), (-0.6, 0.6, 9.75)]
    scene, _ = look(remembered(scan_time=8.0, lidar=stored))
    assert set(rows(scene)) == {(0.6, 0.6), (-0.6, 0.6)}
    scene, _ = look(remembered(scan_time=8.0, camera=stored))
    assert set(rows(scene)) == {(0.6, 0.6), (0.6, -0.6), (-0.6, 0.6)}


def test_the_latest_scan_stands_for_its_own_points_but_not_for_the_cameras():
    seen = [(0.6, 0.6, 9.5), (0.6, -0.6, 9.0)]
    scene, _ = look(remembered(scan_time=9.5, lidar=seen, camera=[(-0.6, 0.6, 9.5)]))
    assert set(rows(scene)) == {(0.6, -0.6), (-0.6, 0.6)}


@pytest.mark.parametrize('second', [(0.70, 0.60), (0.60, 0.70), (0.72, 0.74)])
def test_both_ends_of_a_cell_and_their_middle_count_once_each(second):
    for layer in ('lidar', 'camera'):
        pair = [(0.6, 0.6, 9.5), (*second, 9.5), (-0.9, 0.1, 9.5)]
        scene, _ = look(remembered(**{layer: pair}))
        middle = (round(0.3 + second[0] / 2, 2), round(0.3 + second[1] / 2, 2))
        assert set(rows(scene)) == {(0.6, 0.6), middle, second, (-0.9, 0.1)}


def test_an_end_within_reach_counts_alone():
    pair = [(0.51, 0.51, 9.5), (0.73, 0.73, 9.5)]  # 0.72 m and 1.03 m away, the middle 0.88 m
    for stored in (pair, pair[::-1]):
        scene, _ = look(remembered(lidar=stored), reach=0.87)
        assert set(rows(scene)) == {(0.51, 0.51)}
        scene, _ = look(remembered(lidar=stored), reach=0.9)
        assert set(rows(scene)) == {(0.51, 0.51), (0.62, 0.62)}


def test_rows_and_columns_of_the_layers_are_not_mixed_up():
    places = [(1.2, 0.1, 9.5), (0.1, 0.8, 9.6), (-0.9, -0.3, 9.7)]
    for layer in ('lidar', 'camera'):
        scene, _ = look(remembered(**{layer: places}))
        assert set(rows(scene)) == {(x, y) for x, y, _ in places}


# -- drift ----------------------------------------------------------------------------------------


def moved(memory):
    """Robot 1 goes 0.5 m and turns 0.4 rad in each of the last two tenths of a second."""
    for time, x, turn in ((9.75, 0.0, 0.0), (9.85, 0.5, 0.4), (9.95, 1.0, 0.8)):
        track(memory, 1, x, 0.0, turn, time)
    return memory


@pytest.mark.parametrize('at', [(0.0, 0.0), (0.75, -0.5), (-0.5, -0.75)])
def test_reach_is_the_same_all_round(at):
    """Of points on circles round the robot those within reach are taken, whatever their source."""
    angles = np.linspace(0.0, 2.0 * math.pi, 13)[:-1] + 0.1
    circles = [[(at[0] + r * math.cos(a), at[1] + r * math.sin(a)) for a in angles]
               for r in (0.9, 1.1)]
    for source in ('scan', 'lidar', 'camera', 'fence'):
        points = circles[0] + circles[1]
        if source in ('lidar', 'camera'):
            points = [(x, y, 9.9) for x, y in points]
        scene, _ = look(remembered(**{source: points}), (*at, 0.0), reach=1.0)
        assert scene.size == len(angles), source
        found = np.hypot(scene.px[:scene.size] - at[0], scene.py[:scene.size] - at[1])
        assert found == pytest.approx(0.9, abs=1e-6)


def test_there_is_room_for_all_that_may_be_near():
    """Every beam, three points of every cell of both layers, and every place of the fence."""
    cells = [(0.25 * i + 0.02, 0.25 * j + 0.03) for i in range(-6, 6) for j in range(-6, 6)]
    pairs = [(x + d, y + d, 9.9) for x, y in cells for d in (0.0, 0.2)]
    fence = [(0.01 * k, 0.9) for k in range(700)]
    memory = remembered([(0.6, 0.1), (0.7, 0.1)], lidar=pairs, camera=pairs, fence=fence)
    scene, _ = look(memory, reach=30.0)
    assert scene.size == 2 + 2 * 3 * len(cells) + len(fence)


def test_what_is_remembered_may_be_off_by_what_odometry_drifts():
    memory = moved(remembered([(0.6, 1.0)], scan_time=9.82, lidar=[(0.9, -1.0, 9.72)],
                              camera=[(1.5, 1.0, 9.92)], fence=[(1.2, -0.6)]))
    scene, _ = look(memory, (1.0, 0.0, 0.8), reach=1.3, motion=DRIFT)
    # slot of the scan: 0.5 m and 0.4 rad before it, so 1.0 m and 0.8 rad since its beginning;
    # a scan is taken to be as far as the reach. The window bounds no lever here (3 m)
    swing = 0.4 * 1.0 + 0.4 * 0.5  # from here, where it turned first and then
    scan = 0.1 * 1.0 + 0.2 * (0.8 * 1.3 + swing)
    lidar = 0.1 * 1.0 + 0.2 * (0.8 * math.hypot(0.1, 1.0) + swing)
    camera = 0.1 * 0.5 + 0.2 * 0.4 * (math.hypot(0.5, 1.0) + 0.5)
    expected = {(0.6, 1.0): scan, (0.9, -1.0): lidar, (1.5, 1.0): camera, (1.2, -0.6): 0.0}
    assert rows(scene) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(('age', 'moved_by'), [(0.0, 0.0), (0.05, 0.02), (0.12, 0.048),
                                               (0.5, 0.048), (-0.3, 0.0)])
def test_what_the_scan_saw_may_have_moved_for_a_reaction_time(age, moved_by):
    """0.4 m/s for as long as the scan is old, for 0.12 s at most; and it may drift."""
    memory = remembered([(0.8, 0.0)], scan_time=10.0 - age, lidar=[(0.6, 0.6, 9.25)])
    scene, _ = look(memory, motion=MOTION._replace(obstacle_speed=0.4))
    assert rows(scene) == pytest.approx({(0.8, 0.0): moved_by, (0.6, 0.6): 0.0}, abs=1e-6)
    memory = moved(remembered([(0.8, 0.0)], scan_time=9.95))
    scene, _ = look(memory, (1.0, 0.0, 0.8), motion=DRIFT._replace(obstacle_speed=0.4))
    expected = 0.1 * 0.5 + 0.2 * 0.4 * 2.0 + 0.4 * 0.05
    assert rows(scene) == pytest.approx({(0.8, 0.0): expected}, abs=1e-6)


# -- unknown space --------------------------------------------------------------------------------


def cells_under_the_outline(pose):
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return [(math.floor((pose[0] + c * x - s * y) / CELL),
             math.floor((pose[1] + s * x + c * y) / CELL)) for x, y in SAMPLES]


@pytest.mark.parametrize('pose', [(0.06, 0.07, 0.1), (-0.4, 0.3, 2.0), (0.9, -0.7, -0.5)])
def test_what_is_unknown_under_the_outline_is_excused(pose):
    memory = remembered()
    memory.free_seen[1] = 9.5
    under = cells_under_the_outline(pose)
    hidden = set(under[::3])
    for i, j in hidden:
        memory.free_seen[1, j % 16, i % 16] = 8.5  # more than the memory time ago
    scene, _ = look(memory, pose)
    assert scene.excused[:scene.excused_count].tolist() == [
        (j % 16) * 16 + i % 16 for i, j in under if (i, j) in hidden]
    assert scene.oldest == 9.0


def test_free_space_that_may_have_drifted_by_a_cell_is_unknown_again():
    memory = moved(remembered())
    # 0.1 m/m: 0.05 m are 0.5 m, the last slot; with the one before it 1 m
    assert look(memory, motion=MOTION._replace(drift_per_metre=0.0999))[0].oldest == (
        pytest.approx(9.9))
    assert look(memory, motion=MOTION._replace(drift_per_metre=0.0499))[0].oldest == (
        pytest.approx(9.0))
    # 0.2 rad/rad * 0.4 rad * (radius + margin + 0.5 m) = 0.0707 m; 0.1 rad/rad: 0.035 m
    turning = MOTION._replace(drift_per_radian=0.1)
    assert look(memory, motion=turning)[0].oldest == pytest.approx(9.9)
    # of both slots: 0.8 rad seen from the outline, 0.4 rad at 1 m from here and 0.4 rad at 0.5 m
    swing = 0.8 * (FOOTPRINT.radius + 0.03) + 0.4 * 1.0 + 0.4 * 0.5
    for per_radian, since in ((0.0551, 9.0), (0.0552, 9.9)):
        turning = MOTION._replace(drift_per_radian=per_radian)
        assert per_radian * swing == pytest.approx(0.05, abs=2e-4)
        assert look(memory, motion=turning)[0].oldest == pytest.approx(since)


def test_the_window_of_the_scene_is_that_of_the_memory():
    memory = remembered()
    place(memory, 1, 5.3, -2.6, 0.0, 9.0, RULES)
    scene, _ = look(memory, (5.3, -2.6, 0.0))
    assert (scene.origin_x, scene.origin_y) == (21 - 8, -11 - 8)
    assert (scene.base_x, scene.base_y) == (0, -32)


# -- shadows --------------------------------------------------------------------------------------

SHADOW = MOTION._replace(shadow=0.25)


def shadows(ranges, motion=SHADOW, eye=(0.2, 0.0), pose=(0.0, 0.0, 0.0), reach=1.5, first=0.3):
    """Points beside those of the scan itself; beams 0.1 rad apart, NaN for no hit."""
    hits = [(eye[0] + r * math.cos(first + 0.1 * k), eye[1] + r * math.sin(first + 0.1 * k))
            for k, r in enumerate(ranges)]
    memory = remembered(hits)
    memory.scan_origin[1] = (*eye, 0.1)
    scene, _ = look(memory, pose, reach=reach, motion=motion)
    own = sum(math.dist(h, pose[:2]) < reach for h in hits)
    points = np.stack((scene.px, scene.py, scene.extra), 1)[own:scene.size]
    return points, hits[:]


def behind(ranges, k, stop, eye=(0.2, 0.0), first=0.3):
    """Every 0.1 m along beam k behind its hit, nearer than `stop`."""
    r = np.arange(ranges[k] + 0.1, stop, 0.1)
    return np.stack((eye[0] + r * math.cos(first + 0.1 * k),
                     eye[1] + r * math.sin(first + 0.1 * k)), 1)


def same(points, expected):
    return len(points) == len(expected) and (
        len(points) == 0 or np.allclose(points[:, :2], np.concatenate(expected) if isinstance(
            expected, list) else expected, atol=1e-5))


def test_a_jump_between_two_beams_has_a_shadow_along_the_nearer():
    for ranges, k in (([0.5, 0.5, 1.05, 1.05], 1), ([1.05, 1.05, 0.5, 0.5], 2)):
        points, _ = shadows(ranges)
        assert same(points, behind(ranges, k, 1.05)) and len(points) == 5
        assert (points[:, 2] == 0.0).all()


@pytest.mark.parametrize('at', [(0.75, -0.5), (-0.5, 0.75)])
def test_a_shadow_is_where_the_robot_is(at):
    ranges = [0.5, 0.5, 1.05, NAN, 0.7]
    here = {'eye': (0.2 + at[0], at[1])}
    points, _ = shadows(ranges, reach=1.5, pose=(*at, 0.0), **here)
    expected = np.concatenate([behind(ranges, 1, 1.05, **here), behind(ranges, 2, 9.0, **here),
                               behind(ranges, 4, 9.0, **here)])
    expected = expected[np.hypot(*(expected - at).T) < 1.5]
    assert len(expected) > 10 and same(points, expected)


def test_a_small_step_has_none():
    assert len(shadows([0.5, 0.74, 0.98])[0]) == 0
    assert len(shadows([0.5, 0.76, 1.0])[0]) == 2  # at 0.6 and 0.7 m
    assert len(shadows([0.5, 0.5, 1.05], MOTION)[0]) == 0  # shadows are off


@pytest.mark.parametrize(('ranges', 'k'), [([0.5, NAN], 0), ([NAN, 0.5], 1)])
def test_beside_a_beam_that_hit_nothing_the_shadow_has_no_end(ranges, k):
    points, _ = shadows(ranges, reach=1.0)
    expected = behind(ranges, k, 5.0)
    expected = expected[np.hypot(*expected.T) < 1.0]
    assert len(expected) >= 2 and same(points, expected)


def test_two_beams_that_hit_nothing_have_none():
    assert len(shadows([NAN, NAN, NAN])[0]) == 0


def test_a_shadow_may_come_back_into_reach():
    """The hit is out of reach, what lies behind it is not: the ray goes by the robot."""
    ranges = [0.5, NAN]
    away = {'eye': (-1.5, 0.3), 'first': 0.0}
    points, _ = shadows(ranges, reach=0.9, **away)
    expected = behind(ranges, 0, 9.0, **away)
    expected = expected[np.hypot(*expected.T) < 0.9]
    # y is 0.3 m, so x goes from -0.85 to 0.85 m
    assert len(expected) == 17 and same(points, expected)


def test_a_shadow_far_beyond_the_robot_is_given_up():
    """Twice the reach behind the hit: the robot can be nowhere farther along the ray."""
    ranges = [0.5, NAN]
    points, _ = shadows(ranges, reach=0.9, eye=(-3.3, 0.3), first=0.0)
    # it begins at x = -2.8 and is given up at -2.8 + 1.8 m, before it is within reach at -0.85 m
    assert len(points) == 0
    points, _ = shadows(ranges, reach=0.9, eye=(-3.1, 0.3), first=0.0)
    assert len(points) == 17  # -2.6 + 1.8 m is within


def test_every_jump_of_a_scan_has_its_shadow():
    ranges = [0.5, 0.9, 0.5, NAN, 0.6]
    points, _ = shadows(ranges, reach=0.9)
    expected = [behind(ranges, 0, 0.9), behind(ranges, 2, 0.9), behind(ranges, 2, 9.0),
                behind(ranges, 4, 9.0)]
    expected = np.concatenate(expected)
    expected = expected[np.hypot(*expected.T) < 0.9]
    assert same(points, expected)


def test_shadows_drift_and_move_as_the_scan_does():
    points, _ = shadows([0.5, 0.5, 1.05], SHADOW._replace(obstacle_speed=0.4))
    assert (points[:, 2] == 0.0).all()
    memory = remembered([(0.7, 0.0), (1.2, 0.1)], scan_time=9.95)
    memory.scan_origin[1] = (0.0, 0.0, 0.1)
    scene, _ = look(memory, motion=SHADOW._replace(obstacle_speed=0.4))
    assert scene.size == 2 + 5  # 0.8 .. 1.2 m; the far hit is 1.204 m away
    assert scene.extra[:7] == pytest.approx(np.full(7, 0.02), abs=1e-6)


def test_there_is_room_for_512_points_of_shadows():
    ranges = [0.3, NAN] * 60
    hits = [(r * math.cos(0.05 * k), r * math.sin(0.05 * k)) for k, r in enumerate(ranges)]
    memory = remembered(hits, lidar=[(0.9, -0.7, 9.5)], fence=[(0.0, 1.2)])
    scene, _ = look(memory, motion=SHADOW)
    # each of 119 jumps has 12 points, 0.4 .. 1.5 m (1.5 itself is out of reach): 512 at most
    assert scene.size == 60 + 2 + 512


def test_a_hit_on_the_sensor_itself_has_a_shadow_nowhere():
    memory = remembered([(0.2, 0.0), (1.0, 0.0)])
    memory.scan_origin[1] = (0.2, 0.0, 0.1)
    scene, _ = look(memory, motion=SHADOW)
    assert scene.size == 2 + 7  # 0.1 .. 0.7 m: points, but at the sensor, since it says no way
    assert np.allclose(scene.px[2:9], 0.2, atol=0.01)  # 0.2 is not exact in single precision

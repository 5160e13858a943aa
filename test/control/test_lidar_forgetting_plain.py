"""What a scan takes away: seen beyond, seen anew, too old."""

import math

import numpy as np
import pytest
from beams import FAR, INF, NAN, NEAR, UNDER, points, scan, with_beams
from scenes import CELL, FOOTPRINT, RULES, free_cells, obstacles

from karpathy_control.control.lidar_layer import (
    _forgotten,
    scan_all,
    scan_one,
)
from karpathy_control.control.memory import place

EIGHTH = math.pi / 4


def forgotten(at, ranges, hits=None, first=0.0, increment=EIGHTH, sensor=(0.0, 0.0, 0.0)):
    """Whether a scan forgets a point `at` (bearing, distance) from the sensor."""
    eye_x, eye_y, eye_yaw = sensor
    x = eye_x + at[1] * math.cos(eye_yaw + at[0])
    y = eye_y + at[1] * math.sin(eye_yaw + at[0])
    ends = np.full((len(ranges), 2), np.nan)
    for k, off in (hits or {}).items():
        ends[k] = (x + off[0], y + off[1])
    bearing = math.remainder(eye_yaw + first, 2.0 * math.pi)
    return bool(_forgotten(x, y, eye_x, eye_y, bearing, np.array(ranges), ends, increment, NEAR,
                           FAR, CELL))


def ranges_of(said, n=8, rest=0.5):
    """Ranges of n beams; those in `said` by number, the others short."""
    return [said.get(k, rest) for k in range(n)]


@pytest.mark.parametrize('sensor', [(0.0, 0.0, 0.0), (0.4, -0.3, 1.0)])
@pytest.mark.parametrize(('at', 'pair'), [
    (0.1, (0, 1)), (0.7, (0, 1)), (0.9, (1, 2)), (2.9, (3, 4)), (-0.1, (7, 0)), (-0.7, (7, 0)),
    (-0.9, (6, 7)), (6.0, (7, 0)), (-3.0, (4, 5))])
def test_a_point_goes_when_both_beams_beside_it_pass_beyond(at, pair, sensor):
    beyond = {pair[0]: 1.1, pair[1]: 1.2}
    assert forgotten((at, 1.0), ranges_of(beyond), sensor=sensor)
    for k in pair:  # one of them does not, says nothing, or was too close to measure
        for said in (1.04, NAN, -INF, 0.05):
            assert not forgotten((at, 1.0), ranges_of({**beyond, k: said}), sensor=sensor)
    assert not forgotten((at, 1.0), ranges_of({k: 2.0 for k in range(8) if k not in pair}),
                         sensor=sensor)


def test_beyond_is_5_cm_behind_the_point():
    assert forgotten((0.3, 1.0), ranges_of({0: 1.051, 1: 1.051}))
    assert not forgotten((0.3, 1.0), ranges_of({0: 1.049, 1: 1.051}))
    assert not forgotten((0.3, 1.0), ranges_of({0: 1.051, 1: 1.049}))
    assert forgotten((0.3, 2.9), ranges_of({0: INF, 1: 3.5}))
    assert not forgotten((0.3, 2.96), ranges_of({0: INF, 1: INF}))  # too far to measure
    assert not forgotten((0.0, 0.95), ranges_of({0: 1.0, 1: 2.0}))  # at the bound
    assert not forgotten((EIGHTH / 2, 0.95), ranges_of({0: 2.0, 1: 0.95 + 0.05}))


@pytest.mark.parametrize('first', [0.0, -1.0, 2.5, -math.pi])
def test_the_first_beam_may_point_anywhere(first):
    assert forgotten((first + 0.1, 1.0), ranges_of({0: 1.1, 1: 1.1}), first=first)
    assert forgotten((first + 4.3 * EIGHTH, 1.0), ranges_of({4: 1.1, 5: 1.1}), first=first)
    assert forgotten((first - 0.1, 1.0), ranges_of({7: 1.1, 0: 1.1}), first=first)


@pytest.mark.parametrize(('at', 'pair'), [(-0.1, (0, 1)), (-1.0, (1, 2)), (0.1, (7, 0)),
                                          (1.0, (6, 7)), (3.0, (4, 5))])
def test_a_scan_may_turn_clockwise(at, pair):
    assert forgotten((at, 1.0), ranges_of(dict.fromkeys(pair, 1.1)), increment=-EIGHTH)
    for k in pair:
        assert not forgotten((at, 1.0), ranges_of({k: 1.1}), increment=-EIGHTH)


@pytest.mark.parametrize('increment', [0.3, -0.3])
def test_outside_the_field_of_view_nothing_is_forgotten(increment):
    """Five beams, 0 .. 1.2 rad."""
    side = math.copysign(1.0, increment)
    everywhere = [2.0] * 5
    for at in (0.0, 0.4, 1.19):
        assert forgotten((side * at, 1.0), everywhere, increment=increment)
    for at in (1.21, 1.4, 3.0, -0.01, -1.0):
        assert not forgotten((side * at, 1.0), everywhere, increment=increment)
        # not even by a hit beside it
        assert not forgotten((side * at, 1.0), everywhere, dict.fromkeys(range(5), (0.0, 0.0)),
                             increment=increment)


@pytest.mark.parametrize(('share', 'closed'), [(1.0, True), (0.96, True), (0.9, False)])
def test_a_scan_is_a_whole_turn_when_less_than_half_a_beam_is_missing(share, closed):
    """Eight beams; with 2 pi * share / 8 between them, 8 * (1 - share) are missing."""
    increment = share * EIGHTH
    at = 7.3 * increment  # between the last beam and the first
    # 0.96: 0.33 beams are missing; 0.9: 0.89 beams
    assert forgotten((at, 1.0), [2.0] * 8, increment=increment) == closed


@pytest.mark.parametrize(('off', 'anew'), [
    ((0.2, 0.1), True),  # 0.224 m away, cells of 0.25 m
    ((0.0, 0.0), True),
    ((0.2, 0.2), False),  # 0.283 m
    ((-0.2, 0.2), False), ((0.26, 0.0), False), ((0.0, -0.26), False),
    ((CELL, 0.0), False), ((0.0, CELL), False), ((-CELL, 0.0), False)])  # at the bound
def test_a_point_goes_when_both_beams_hit_within_a_cell_of_it(off, anew):
    here = (0.0, 0.0)
    for first, second in ((off, here), (here, off)):
        assert forgotten((0.0, 1.0), ranges_of({}), {0: first, 1: second}) == anew
    assert not forgotten((0.3, 1.0), ranges_of({}), {2: here, 7: here})  # not beside it


@pytest.mark.parametrize('pair', [(0, 1), (1, 0)])
def test_one_beam_may_pass_beyond_and_the_other_hit(pair):
    """The end of a wall: the hit takes the place of the point."""
    hit, passes = pair
    assert forgotten((0.3, 1.0), ranges_of({passes: 1.1}), {hit: (0.1, 0.0)})
    assert not forgotten((0.3, 1.0), ranges_of({passes: 1.04}), {hit: (0.1, 0.0)})
    assert not forgotten((0.3, 1.0), ranges_of({passes: 1.1}), {hit: (0.26, 0.0)})


@pytest.mark.parametrize('silent', [0, 1])
def test_the_edge_of_the_view_does_not_eat_the_wall_that_leaves_it(silent):
    """A beam that says nothing leaves its side of the point unseen, whatever the other hits."""
    assert not forgotten((0.3, 1.0), ranges_of({silent: NAN}), {1 - silent: (0.0, 0.0)})


def test_of_two_points_in_a_cell_each_is_forgotten_for_itself():
    """Two hits in one cell, on either side of the beam at 0.9 rad."""
    memory = with_beams(8)
    place(memory, 1, 0.0, 0.0, 0.0, 0.0, RULES)
    ends = [(1.01, 1.24), (1.24, 1.01)]  # bearings 0.887 and 0.684, both in cell (4, 4)
    for x, y in ends:
        scan(memory, [math.hypot(x, y)] + [NAN] * 7, first=math.atan2(y, x), increment=EIGHTH,
             time=0.0)
    assert obstacles(memory, 1, 'lidar')[0] == pytest.approx([*ends[0], *ends[1]], abs=1e-6)
    # beams at 0.785 and at 0 see beyond the point at 0.684: the other one takes its place
    scan(memory, ranges_of({0: INF, 1: INF}, rest=NAN), increment=EIGHTH, time=0.1)
    assert obstacles(memory, 1, 'lidar')[0] == pytest.approx([*ends[0], *ends[0]], abs=1e-6)
    scan(memory, ranges_of({1: INF, 2: INF}, rest=NAN), increment=EIGHTH, time=0.1)
    assert len(obstacles(memory, 1, 'lidar')) == 0


def test_each_end_is_judged_where_it_is():
    """Ends at 0.45 and 0.21 rad in cell (4, 1); three beams see beyond, and no other says much."""
    memory = with_beams(4)
    for x, y in ((1.01, 0.49), (1.24, 0.26)):
        scan(memory, [math.hypot(x, y), NAN, NAN, NAN], first=math.atan2(y, x), increment=0.3)
    assert len(obstacles(memory, 1, 'lidar')) == 1
    scan(memory, [NAN, INF, INF, NAN], increment=0.3, time=0.1)  # between 0.3 and 0.6 rad
    assert points(memory) == {(1.24, 0.26)}
    scan(memory, [NAN, INF, INF, NAN], increment=0.3, time=0.1)
    assert points(memory) == {(1.24, 0.26)}
    scan(memory, [INF, INF, NAN, NAN], increment=0.3, time=0.1)
    assert len(obstacles(memory, 1, 'lidar')) == 0


@pytest.mark.parametrize('first', [-0.1, 2.0, -2.5, 3.1])
def test_forgetting_goes_by_the_pose_and_the_sensor(first):
    """Points all round; from another pose only those beside two beams that pass beyond go."""
    memory = with_beams(8)
    scan(memory, [1.0] * 8, increment=EIGHTH)
    before = points(memory)
    assert len(before) == 8
    # the robot at (0.2, 0.1) turned by 0.5; its sensor 0.1 ahead, turned by -0.2; two long beams
    pose, sensor = (0.2, 0.1, 0.5), (0.1, 0.0, -0.2)
    said = [1.9, 1.9] + [NAN] * 6
    scan(memory, said, pose, first, EIGHTH, sensor, time=0.1)
    eye = (0.2 + 0.1 * math.cos(0.5), 0.1 + 0.1 * math.sin(0.5))
    begin = 0.5 - 0.2 + first  # odom bearing of the first beam
    gone = {(x, y) for x, y in before
            if 0.0 <= (math.atan2(y - eye[1], x - eye[0]) - begin) % (2 * math.pi) <= EIGHTH
            and math.dist((x, y), eye) < min(1.9, FAR) - 0.05}
    assert len(gone) == 1
    stays = before - gone
    assert stays <= points(memory)
    assert not gone & points(memory)


def test_what_was_not_seen_for_the_memory_time_is_forgotten():
    memory = with_beams(4)
    scan(memory, [1.0, NAN, NAN, NAN], time=10.0)
    scan(memory, [NAN, 1.0, NAN, NAN], time=10.5)
    assert points(memory) == {(1.0, 0.0), (0.0, 1.0)}
    scan(memory, [NAN] * 4, time=11.0)  # memory_time is 1 s: just as old is not too old
    assert points(memory) == {(1.0, 0.0), (0.0, 1.0)}
    scan(memory, [NAN] * 4, time=11.25)
    assert points(memory) == {(0.0, 1.0)}
    scan(memory, [NAN, NAN, NAN, 1.0], time=11.75)
    assert points(memory) == {(-0.0, -1.0)}


def test_the_cells_under_the_robot_are_kept_free():
    memory = with_beams(2)
    forgetful = RULES._replace(start_radius=0.0)
    scan(memory, [NAN, NAN], rules=forgetful, time=3.0)
    assert free_cells(memory, 1) == UNDER
    scan(memory, [NAN, NAN], (0.5, 0.5, 0.0), rules=forgetful, time=4.0)
    assert free_cells(memory, 1, since=1.0) == {(i + 2, j + 2) for i, j in UNDER}


def test_every_robot_of_a_batch_has_its_own_scan():
    together, alone = with_beams(4), with_beams(4)
    pose = np.array([(0.1, 0.2, 0.3), (1.0, -1.0, -2.0)])
    ranges = np.array([(1.0, 2.0, INF, NAN), (0.7, INF, 1.4, -INF)], np.float32)
    time = np.array([3.0, 8.0])
    rest = (-1.0, 1.3, (0.1, 0.05, 0.2), NEAR, FAR)
    scan_all(together, RULES, FOOTPRINT, pose, ranges, *rest, time)
    for b in (0, 1):
        scan_one(b, alone, RULES, FOOTPRINT, pose, ranges, *rest, time)
    for one, other in zip(together, alone, strict=True):
        if one.dtype != np.int32:  # the lists are only valid up to their counts
            np.testing.assert_array_equal(one, other)
    for b in (0, 1):
        assert np.array_equal(np.sort(obstacles(together, b, 'lidar'), 0),
                              np.sort(obstacles(alone, b, 'lidar'), 0))
        assert len(obstacles(together, b, 'lidar')) == 2


@pytest.mark.parametrize('ends', [
    [(1.01, 1.1), (1.24, 1.1)], [(1.1, 1.01), (1.1, 1.24)], [(1.01, 1.24), (1.24, 1.01)]])
def test_a_pair_that_nothing_is_said_of_stays_a_pair(ends):
    """Beside each other, one above the other, on the diagonal: all in cell (4, 4)."""
    memory = with_beams(8)
    place(memory, 1, 0.0, 0.0, 0.0, 0.0, RULES)
    for x, y in ends:
        scan(memory, [math.hypot(x, y)] + [NAN] * 7, first=math.atan2(y, x), increment=EIGHTH,
             time=0.0)
    want = pytest.approx([*ends[0], *ends[1]], abs=1e-6)
    assert obstacles(memory, 1, 'lidar')[0] == want
    scan(memory, [NAN] * 8, increment=EIGHTH, time=0.1)
    assert obstacles(memory, 1, 'lidar')[0] == want
    # beams at 0.785 and 1.571 rad, or at 0 and 0.785, see beyond the one on their side
    for pair, gone in (((1, 2), max), ((0, 1), min)):
        again = with_beams(8)
        place(again, 1, 0.0, 0.0, 0.0, 0.0, RULES)
        for x, y in ends:
            scan(again, [math.hypot(x, y)] + [NAN] * 7, first=math.atan2(y, x),
                 increment=EIGHTH, time=0.0)
        bearings = {end: math.atan2(end[1], end[0]) for end in ends}
        inside = [end for end in ends if pair[0] * EIGHTH < bearings[end] < pair[1] * EIGHTH]
        scan(again, ranges_of(dict.fromkeys(pair, INF), rest=NAN), increment=EIGHTH, time=0.1)
        left = {end for end in ends if end not in inside}
        assert points(again) == {(round(x, 4), round(y, 4)) for x, y in left}
        assert gone(bearings.values()) in [bearings[end] for end in inside]

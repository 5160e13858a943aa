"""The memory: points kept exactly, cleared only by the sensor that saw past them."""

import math

import numpy as np
import pytest
from planar import scan_of

from karpathy_control.contracts.config import PolicyConfig, from_mapping
from karpathy_control.contracts.layout import MOVER_FIELDS, SCAN_BEAMS
from karpathy_control.policy.deliberation import Deliberation, camera_blind_distance
from karpathy_control.policy.memory import SUB, encode, fraction_x, fraction_y

FREE = np.full((1, SCAN_BEAMS), np.inf, np.float32)
UNSEEN = np.full((1, SCAN_BEAMS), np.nan, np.float32)
ORIGIN = np.zeros((1, 3))


def beam_at(bearing):
    return int((bearing + math.pi) * SCAN_BEAMS / (2.0 * math.pi))


def one_hit(bearing, distance, rest):
    scan = rest.copy()
    scan[0, beam_at(bearing)] = distance
    return scan


def occupied(memory):
    grid, x, y, cell = memory.costmap()
    rows, columns = np.nonzero(grid == 100)
    return [(round(x + (c + 0.5) * cell, 3), round(y + (r + 0.5) * cell, 3))
            for r, c in zip(rows, columns, strict=True)]


def test_every_byte_stands_for_one_place():
    centres = (np.arange(SUB) + 0.5) / SUB
    codes = {encode(x, y) for x in centres for y in centres}
    assert codes == set(range(1, SUB * SUB + 1))
    for x in centres:
        for y in centres:
            code = encode(x, y)
            assert (fraction_x(code), fraction_y(code)) == (pytest.approx(x), pytest.approx(y))


def test_a_point_is_kept_where_nobody_looks_and_cleared_by_a_beam_past_it():
    memory = Deliberation(PolicyConfig())
    memory.observe(ORIGIN, one_hit(0.001, 2.05, FREE))
    assert occupied(memory) == [(2.05, 0.05)]
    memory.observe(ORIGIN, UNSEEN)
    assert occupied(memory) == [(2.05, 0.05)]
    short = np.full_like(FREE, 1.0)  # a surface in front hides it
    memory.observe(ORIGIN, short)
    assert (2.05, 0.05) in occupied(memory)
    memory.observe(ORIGIN, FREE)
    assert occupied(memory) == []


def test_lidar_does_not_clear_what_the_camera_saw():
    config = PolicyConfig()
    memory = Deliberation(config)
    far = camera_blind_distance(config) + 0.5
    memory.observe(ORIGIN, FREE, one_hit(0.001, far, UNSEEN))
    for _ in range(3):
        memory.observe(ORIGIN, FREE)  # lidar looks over it, the camera is off
    assert len(occupied(memory)) == 1
    memory.observe(ORIGIN, FREE, FREE)  # the camera looks past it
    assert occupied(memory) == []


def test_camera_does_not_clear_its_blind_zone_but_time_does():
    config = PolicyConfig()
    memory = Deliberation(config)
    near = camera_blind_distance(config) - 0.1
    memory.observe(ORIGIN, FREE, one_hit(0.001, near, UNSEEN))
    # it ages by one with every 16th observation, from the first on, and goes with age 11
    for _ in range(10 * 16):
        memory.observe(ORIGIN, FREE, FREE)
    assert len(occupied(memory)) == 1
    for _ in range(16):
        memory.observe(ORIGIN, FREE, FREE)
    assert occupied(memory) == []


def test_blind_distance_arithmetic():
    # Camera 0.28 m up at x = 0.19, pitched 0.15 down. The upper corners of the image are at
    # (1, +-1, 0.75) forward, aside, up; pitched, at (cos + 0.75 sin, 1, 0.75 cos - sin), and climb
    # 0.5921 over a plan distance of hypot(1.1008, 1) = 1.4872: 0.22 m up takes 0.5526 m. The lower
    # edge falls faster: from 0.28 to 0.04 m in 0.24 / (0.8910 / hypot(0.8767, 1)) = 0.3582 m.
    c, s = math.cos(0.15), math.sin(0.15)
    want = 0.19 + 0.22 * math.hypot(c + 0.75 * s, 1.0) / (0.75 * c - s) + 0.1
    assert want == pytest.approx(0.19 + 0.5526 + 0.1, abs=1e-3)
    assert camera_blind_distance(PolicyConfig()) == pytest.approx(want)


def test_the_window_rolls_and_forgets_what_leaves_it():
    memory = Deliberation(from_mapping(PolicyConfig, {'memory.width': 120}))  # 12 m wide
    memory.observe(ORIGIN, one_hit(0.001, 2.05, FREE))
    memory.observe(np.array([[7.0, 3.0, 0.0]]), UNSEEN)
    assert occupied(memory) == [(2.05, 0.05)]
    memory.observe(np.array([[9.0, 3.0, 0.0]]), UNSEEN)
    assert occupied(memory) == []
    memory.observe(ORIGIN, UNSEEN)
    assert occupied(memory) == []


@pytest.mark.parametrize(('lidar', 'kept'), [
    (2.36, True), (2.35, False),  # 2.05 m may be off by 0.1 + 0.1 * 2.05 m
    (1.05, False),  # hidden behind another
    (np.inf, True), (np.nan, True), (-1.0, True)])
def test_the_camera_adds_what_stands_in_front_of_what_the_lidar_sees(lidar, kept):
    memory = Deliberation(PolicyConfig())
    memory.observe(ORIGIN, one_hit(0.001, lidar, UNSEEN), one_hit(0.001, 2.05, UNSEEN))
    assert ((2.05, 0.05) in occupied(memory)) == kept


def test_points_at_moving_entities_are_not_kept():
    memory = Deliberation(PolicyConfig())
    circles = np.array([[2.0, 0.0, 0.3], [0.0, 2.0, 0.3]])
    scan = scan_of(circles, ORIGIN[0])[None]
    memory.observe(ORIGIN, scan)
    before = occupied(memory)
    movers = np.zeros((1, 2, MOVER_FIELDS))
    movers[0, 0] = 2.0, 0.0, 0.5, 0.0, 0.3, 0.9, 0.0, 0.3, 0.0
    memory.observe(ORIGIN, scan, moving=movers)
    after = occupied(memory)
    assert after == [p for p in before if math.hypot(p[0] - 2.0, p[1]) > 0.6]
    assert len(after) > 3
    movers[0, 0, 5] = 0.2  # too uncertain to forget an obstacle for
    memory.observe(ORIGIN, scan, moving=movers)
    assert occupied(memory) == before


def test_marked_cells_lie_on_the_surface_from_any_pose():
    rng = np.random.default_rng(2)
    circles = np.array([[2.0, 1.0, 0.4], [-1.5, -2.0, 0.3], [0.5, -1.5, 0.2]])
    memory = Deliberation(PolicyConfig())
    for _ in range(20):
        pose = np.array([*rng.uniform(-0.5, 0.5, 2), rng.uniform(-3, 3)])
        memory.observe(pose[None], scan_of(circles, pose)[None])
    points = np.array(occupied(memory))
    gap = np.min([np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - r)
                  for x, y, r in circles], axis=0)
    assert gap.max() < 0.1 * math.sqrt(0.5) + 0.01


def test_a_pose_that_is_not_finite_changes_nothing():
    memory = Deliberation(PolicyConfig())
    memory.observe(ORIGIN, one_hit(0.001, 2.05, FREE))
    memory.observe(np.array([[math.nan, 0.0, 0.0]]), FREE)
    assert occupied(memory) == [(2.05, 0.05)]

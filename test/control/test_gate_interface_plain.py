"""The interface of the gate: arrays in any shape, batches, what is kept and forgotten."""

import math

import numpy as np
import pytest
from gates import INF, NAN, ODD, config, open_gate

from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.control.gate import (
    BRAKING,
    LIMITED,
    UNAVOIDABLE,
    UNCHANGED,
    Gate,
)
from karpathy_control.control.memory import EMPTY

# -- what is kept and forgotten -------------------------------------------------------------------


def test_recording_says_what_was_commanded_instead():
    gate = open_gate(batch=2)
    gate._last.rate[:] = 9.0
    gate.record([[0.3, 0.1], [0.2, -0.4]], [1.0, 2.0])
    assert gate._last.command.tolist() == [[0.3, 0.1], [0.2, -0.4]]
    assert gate._last.time.tolist() == [1.0, 2.0] and not gate._last.rate.any()
    gate.record([0.3, 0.1, 0.2, -0.4], 3.0)
    assert gate._last.command.tolist() == [[0.3, 0.1], [0.2, -0.4]]
    assert gate._last.time.tolist() == [3.0, 3.0]


@pytest.mark.parametrize(('index', 'rows'), [(None, [0, 1, 2]), (1, [1]), ([0, 2], [0, 2]),
                                             (np.array([2]), [2]), ([], [])])
def test_reset_forgets_robots_by_their_number(index, rows):
    gate = Gate(config(), 3, 16)
    gate.record(np.ones((3, 2)), 5.0)
    gate._last.rate[:] = 7.0
    gate._memory.started[:] = True
    gate._memory.disc[:] = False
    gate.reset(index)
    for b in range(3):
        gone = b in rows
        assert gate._memory.started[b] != gone and gate._memory.disc[b] == gone
        assert np.isnan(gate._last.command[b]).all() == gone
        assert np.isnan(gate._last.time[b]) == gone
        assert gate._last.rate[b].tolist() == ([0.0, 0.0] if gone else [7.0, 7.0])


def test_forgetting_may_declare_the_disc_free():
    gate = Gate(config(), 2, 16)
    for call, robot, disc in (({}, 0, False), ({'index': 1}, 1, False),
                              ({'index': 1, 'disc': True}, 1, True), ({'disc': True}, 0, True)):
        gate._memory.started[:] = True
        gate._memory.disc[:] = not disc
        gate.forget(**call)
        assert gate._memory.started.tolist() == [robot != 0, robot != 1]
        assert gate._memory.disc[robot] == disc and gate._memory.disc[1 - robot] != disc


def test_fences_hold_for_all():
    gate = Gate(config(), 2, 16)
    gate.fence([[1, 2], [3, 4], [5, 6]])
    assert gate._memory.fence.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert gate._memory.fence.dtype == np.float64 and gate._memory.fence.flags.c_contiguous
    gate.fence(np.zeros((0, 2)))
    assert gate._memory.fence.shape == (0, 2)
    gate.fence([])
    assert gate._memory.fence.shape == (0, 2)


def test_the_braking_to_show():
    gate = Gate(from_mapping(ControlConfig, ODD))
    poses = gate.braking((1.0, 2.0, 0.5), (0.9, 0.0))
    # 0.4 s in steps of 20 ms, and 0.18 m
    assert poses.shape == (21, 3) and poses[0].tolist() == [1.0, 2.0, 0.5]
    assert poses[-1] == pytest.approx([1.0 + 0.18 * math.cos(0.5), 2.0 + 0.18 * math.sin(0.5),
                                       0.5], abs=1e-3)
    # 1.5 rad/s take 0.3 s at 5 rad/s^2: 0.225 rad
    poses = gate.braking(np.array([0.0, 0.0, -0.5]), [0.0, 1.5])
    assert len(poses) == 16 and poses[-1] == pytest.approx([0.0, 0.0, -0.275], abs=1e-3)
    assert gate.braking((0.5, 0.0, 0.0), (0.0, 0.0)).tolist() == [[0.5, 0.0, 0.0]]
    # both: speeds fall together, so the arc keeps its radius of 0.6 m
    poses = gate.braking((0.0, 0.0, 0.0), (0.9, 1.5))
    assert np.hypot(poses[:, 0], poses[:, 1] - 0.6) == pytest.approx(np.full(21, 0.6))
    assert poses[-1, 2] == pytest.approx(0.3, abs=1e-3)
    # and the first step is taken at the speed in its middle: 0.9 * (1 - 0.01 / 0.4)
    straight = gate.braking((0.0, 0.0, 0.0), (0.9, 0.0))
    assert straight[1, 0] == pytest.approx(0.02 * 0.9 * 0.975)
    assert straight[2, 0] == pytest.approx(0.02 * 0.9 * (0.975 + 0.925))


# -- the interface --------------------------------------------------------------------------------

SCAN = {'angle_min': 0.2, 'angle_increment': 0.5, 'sensor': (0.1, 0.05, 0.3), 'range_min': 0.1,
        'range_max': 4.0}


@pytest.mark.parametrize(('change', 'says'), [
    ({'angle_min': NAN}, 'angle_min nan, angle_increment 0.5'),
    ({'angle_min': INF}, 'angle_min inf, angle_increment 0.5'),
    ({'angle_increment': NAN}, 'angle_min 0.2, angle_increment nan'),
    ({'angle_increment': INF}, 'angle_min 0.2, angle_increment inf'),
    ({'angle_increment': 0.0}, 'angle_min 0.2, angle_increment 0.0')])
def test_a_scan_of_no_geometry_is_refused(change, says):
    gate = Gate(config(), window=16)
    with pytest.raises(ValueError) as caught:
        gate.observe_scan([[0.0, 0.0, 0.0]], np.ones((1, 4)), **{**SCAN, **change}, time=0.0)
    assert str(caught.value) == f'{says}: both must be finite and the increment not zero'
    assert not gate._memory.started[0]


def test_a_scan_in_any_shape():
    """One robot's ranges may be a row, its pose too; another number of beams makes new room."""
    gate = Gate(config(), window=64)
    gate.observe_scan([1.0, 2.0, 0.5], [2.0, 1.5, NAN], **SCAN, time=3.0)
    eye = complex(1.0, 2.0) + np.exp(0.5j) * complex(0.1, 0.05)
    hits = [eye + r * np.exp(1j * (0.5 + 0.3 + 0.2 + 0.5 * k)) for k, r in enumerate((2.0, 1.5))]
    assert gate._memory.scan[0, :2] == pytest.approx(np.array([(h.real, h.imag) for h in hits]),
                                                     abs=1e-5)
    assert np.isnan(gate._memory.scan[0, 2]).all() and gate._memory.epoch[0] == 3.0
    assert gate._memory.scan.dtype == np.float32
    kept = gate._memory.scan
    gate.observe_scan([[1.0, 2.0, 0.5]], [[2.0, 1.5, 1.0]], **SCAN, time=[3.1])
    assert gate._memory.scan is kept and gate._memory.scan_time[0] == pytest.approx(0.1)
    gate.observe_scan([[1.0, 2.0, 0.5]], np.full((1, 5), 1.0), **SCAN, time=3.2)
    assert gate._memory.scan.shape == (1, 5, 2)
    # too close and too far by the sensor's own bounds
    gate.observe_scan([[0.0, 0.0, 0.0]], [[0.05, 4.0, 3.9]], **SCAN, time=3.3)
    assert np.isnan(gate._memory.scan[0]).any(axis=1).tolist() == [True, True, False]


def test_depth_in_any_shape():
    gate = Gate(config(), window=64)
    points = [[1.0, 0.5], [0.9, -0.6], [1.3, 0.0]]
    gate.observe_depth([0.0, 0.0, 0.0], points, [0, 0, 1], 2, (0.2, 0.1), 4.0)
    assert gate._memory.camera_count[0] == 2 and gate._memory.epoch[0] == 4.0
    stored = gate._memory.camera[0].reshape(-1, 4)[gate._memory.camera_cells[0, :2]]
    assert stored[:, :2] == pytest.approx(np.array(points[:2]), abs=1e-6)
    gate.observe_depth([[0.0, 0.0, 0.0]], [points], [[1, 1, 1]], [3], (0.2, 0.1), [4.1])
    assert gate._memory.camera_count[0] == 2
    # the ray to (1.3, 0) from (0.2, 0.1) frees what is 0.28 / tan(0.79) = 0.276 m away and more
    size = gate._memory.free_seen.shape[1]
    for r in (0.4, 0.9):
        x, y = 0.2 + r * 1.1 / math.hypot(1.1, 0.1), 0.1 - r * 0.1 / math.hypot(1.1, 0.1)
        seen = gate._memory.free_seen[0, math.floor(y / 0.05) % size, math.floor(x / 0.05) % size]
        assert seen == np.float32(0.1)


def test_a_camera_scan_in_any_shape():
    for ranges in ([1.0, NAN, 0.7, INF], [[1.0, NAN, 0.7, INF]]):
        gate = Gate(config(), window=64)
        gate.observe_camera_scan([0.0, 0.0, 0.0], ranges, 6.0)
        stored = gate._memory.camera[0].reshape(-1, 4)[gate._memory.camera_cells[0, :2]]
        root = math.sqrt(0.5)
        assert stored[:, :2] == pytest.approx(np.array([[-root, -root], [0.7 * root, 0.7 * root]]),
                                              abs=1e-6)
        assert gate._memory.camera_count[0] == 2 and gate._memory.epoch[0] == 6.0


def test_a_batch_is_its_robots_one_by_one():
    rng = np.random.default_rng(5)
    together, alone = Gate(config(), 2, 64), [Gate(config(), 1, 64) for _ in range(2)]
    for k in range(3):
        pose = rng.uniform(-0.2, 0.2, (2, 3))
        ranges = rng.uniform(0.5, 2.0, (2, 12)).astype(np.float32)
        points = rng.uniform(0.4, 1.5, (2, 5, 2)).astype(np.float32)
        kind = rng.integers(0, 2, (2, 5))
        camera = rng.uniform(0.6, 2.0, (2, 8)).astype(np.float32)
        velocity, wish = rng.uniform(-0.2, 0.6, (2, 2, 2))
        time, count, limit = 0.05 * k + np.array([0.0, 7.0]), np.array([5, 3]), [0.4, 0.9]

        def run(gate, rows, pose=pose, ranges=ranges, points=points, kind=kind, camera=camera,
                velocity=velocity, wish=wish, time=time, count=count, limit=limit):
            gate.observe_scan(pose[rows], ranges[rows], -math.pi, 0.5, (0.05, 0.0, 0.0), 0.1, 9.0,
                              time[rows])
            gate.observe_depth(pose[rows], points[rows], kind[rows], count[rows], (0.19, 0.0),
                               time[rows])
            gate.observe_camera_scan(pose[rows], camera[rows], time[rows])
            return gate.filter(pose[rows], velocity[rows], wish[rows], time[rows],
                               np.array(limit)[rows], np.array([0.1, 0.2])[rows])

        both = run(together, slice(0, 2))
        for b in range(2):
            one = run(alone[b], slice(b, b + 1))
            np.testing.assert_array_equal(one.applied[0], both.applied[b])
            np.testing.assert_array_equal(one.clearance[0], both.clearance[b])
            assert one.status[0] == both.status[b]
    for b in range(2):
        for name in ('lidar_seen', 'camera_seen', 'free_seen', 'scan', 'origin', 'travel_sums'):
            np.testing.assert_array_equal(getattr(together._memory, name)[b],
                                          getattr(alone[b]._memory, name)[0])


def test_a_result_has_a_row_a_robot():
    gate = open_gate(batch=3)
    result = gate.filter(np.zeros((3, 3)), np.zeros((3, 2)), np.zeros((3, 2)), 0.0)
    assert result.applied.shape == (3, 2) and result.status.dtype == np.int8
    assert result.status.tolist() == [UNCHANGED] * 3 and (result.clearance == INF).all()
    assert (UNCHANGED, LIMITED, BRAKING, UNAVOIDABLE) == (0, 1, 2, 3)
    assert gate._memory.lidar_seen.max() == EMPTY

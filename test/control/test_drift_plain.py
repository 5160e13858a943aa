"""Drift since something was seen: travelled and turned, each sum by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import MOTION, is_untouched, memory_of

from karpathy_control.control.drift import (
    NONE,
    SLOT,
    drift_since,
    forget_travel,
    shift_travel,
    steady_since,
    track,
)

METRE = MOTION._replace(drift_per_metre=0.1)
RADIAN = MOTION._replace(drift_per_radian=0.2, lever=3.0)
BOTH = MOTION._replace(drift_per_metre=0.1, drift_per_radian=0.2, lever=3.0)


def travelled(poses, memory=None):
    """A memory whose robot 1 went through (time, x, y, yaw)."""
    memory = memory_of() if memory is None else memory
    for time, x, y, yaw in poses:
        track(memory, 1, x, y, yaw, time)
    return memory


def test_totals_add_up_each_way_and_each_turn():
    memory = travelled([(0.0, 1.0, 2.0, 0.0),
                        (0.05, 1.3, 2.4, 0.5),  # 0.5 m, 0.5 rad
                        (0.15, 1.3, 2.0, 0.2)])  # back 0.4 m, back 0.3 rad
    assert memory.travel_total[1] == pytest.approx([0.9, 0.8])
    assert memory.travel_pose[1] == pytest.approx([1.3, 2.0, 0.2])
    assert memory.travel_time[1] == 0.15
    assert memory.travel_slot[1] == 1
    assert memory.travel_sums[1, 1] == pytest.approx([0.5, 0.5])  # as it was when slot 1 began
    assert is_untouched(memory)


@pytest.mark.parametrize(('before', 'after', 'turned'), [
    (3.0, -3.0, 2 * math.pi - 6.0), (-3.0, 3.0, 2 * math.pi - 6.0), (0.0, 3.1, 3.1),
    (0.5, 0.5 + 2 * math.pi, 0.0), (0.0, -3.1, 3.1)])
def test_the_shorter_way_round_counts(before, after, turned):
    memory = travelled([(0.0, 0.0, 0.0, before), (0.1, 0.0, 0.0, after)])
    assert memory.travel_total[1] == pytest.approx([0.0, turned])


@pytest.mark.parametrize('late', [0.05, 0.15])
def test_a_pose_that_is_not_newer_is_left_out(late):
    memory = travelled([(0.0, 0.0, 0.0, 0.0), (0.15, 0.3, 0.0, 0.1), (late, 9.0, 9.0, 1.0)])
    assert memory.travel_total[1] == pytest.approx([0.3, 0.1])
    assert memory.travel_pose[1] == pytest.approx([0.3, 0.0, 0.1])
    assert memory.travel_time[1] == 0.15


def test_a_start_is_a_new_sum():
    memory = travelled([(0.0, 0.0, 0.0, 0.0), (0.35, 1.0, 0.0, 0.0)])
    forget_travel(memory, 1)
    assert memory.travel_slot[1] == NONE and NONE < -1e9
    travelled([(0.2, 5.0, 5.0, 1.0)], memory)  # earlier than before, and far away
    assert memory.travel_total[1].tolist() == [0.0, 0.0]
    assert not memory.travel_sums[1].any()
    assert memory.travel_slot[1] == 2 and memory.travel_time[1] == 0.2
    assert memory.travel_pose[1].tolist() == [5.0, 5.0, 1.0]


STRAIGHT = [(0.1 * k + 0.05, 0.2 * k, 0.0, 0.1 * k) for k in range(6)]  # 0.2 m, 0.1 rad a slot


@pytest.mark.parametrize(('seen', 'metres'), [
    (0.55, 0.2),  # slot 5 began at 0.8 m, now 1.0 m
    (0.5, 0.2), (0.599, 0.2),  # the whole slot counts from its beginning
    (0.35, 0.6), (0.05, 1.0),
    (-3.0, 1.0),  # older than the robot's first pose
    (7.0, 0.2),  # newer than the last: the last slot
])
def test_drift_per_metre_since_the_start_of_the_slot(seen, metres):
    memory = travelled(STRAIGHT)
    assert drift_since(memory, 1, seen, 0.0, METRE) == pytest.approx(0.1 * metres)


def test_drift_of_heading_swings_what_is_far():
    memory = travelled(STRAIGHT)
    # seen in slot 4, 0.2 rad ago: half of them at most 0.4 m from here, the others 0.2 m
    swing = 0.2 * 1.5 + 0.1 * 0.4 + 0.1 * 0.2
    assert drift_since(memory, 1, 0.45, 1.5, RADIAN) == pytest.approx(0.2 * swing)
    assert drift_since(memory, 1, 0.45, 2.7, RADIAN) == pytest.approx(0.2 * 0.2 * 3.0)  # lever
    assert drift_since(memory, 1, 0.45, 1.5, BOTH) == pytest.approx(0.04 + 0.2 * swing)


def test_what_is_turned_here_does_not_count_with_the_way_before():
    """2 m out and back, then a turn on the spot: it moves what is near by little."""
    out = [(0.1 * k + 0.05, 1.0 - abs(1.0 - 0.2 * k), 0.0, 0.0) for k in range(11)]
    memory = travelled([*out, (1.15, 0.0, 0.0, 0.8)])
    assert drift_since(memory, 1, 0.35, 0.5, RADIAN) == pytest.approx(0.2 * 0.8 * 0.5)


def test_the_history_is_as_long_as_the_memory():
    # span 1 s: 13 slots. 20 slots of 0.2 m; what is older than 13 counts from there
    memory = travelled([(0.1 * k + 0.05, 0.2 * k, 0.0, 0.0) for k in range(21)])
    assert memory.travel_sums.shape == (2, 13, 2)
    assert memory.travel_slot[1] == 20
    # slot 8 is the oldest of 13, 8..20; it began with 1.4 m, now there are 4.0 m
    for seen in (0.0, 0.75, 0.85):
        assert drift_since(memory, 1, seen, 0.0, METRE) == pytest.approx(0.26)
    assert drift_since(memory, 1, 0.95, 0.0, METRE) == pytest.approx(0.24)


def test_slots_without_a_pose_carry_the_sum_on():
    memory = travelled([(0.05, 0.0, 0.0, 0.0), (0.15, 1.0, 0.0, 0.0), (0.75, 3.0, 0.0, 0.0)])
    for k in (2, 3, 4, 5, 6, 7):  # all began before the 2 m were travelled
        assert memory.travel_sums[1, k, 0] == 1.0
        assert drift_since(memory, 1, 0.1 * k + 0.05, 0.0, METRE) == pytest.approx(0.2)
    assert drift_since(memory, 1, 0.15, 0.0, METRE) == pytest.approx(0.3)


def test_a_long_silence_fills_every_slot_once():
    memory = travelled([(0.05, 0.0, 0.0, 0.0), (0.15, 1.0, 0.0, 0.0), (9.05, 2.0, 0.0, 0.0)])
    assert memory.travel_slot[1] == 90
    assert memory.travel_sums[1, :, 0] == pytest.approx(np.ones(13))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 0.4), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5),
                          st.floats(-0.5, 0.5)), min_size=1, max_size=12),
       st.floats(0.0, 5.0), st.floats(0.0, 4.0))
def test_drift_bounds_what_was_travelled_since(steps, seen, distance):
    time, pose, path = 0.0, np.zeros(3), [(0.0, 0.0, 0.0, 0.0)]
    for dt, *move in steps:
        time, pose = time + dt, pose + move
        path.append((time, *pose))
    memory = travelled(path)
    since = [(np.hypot(b[1] - a[1], b[2] - a[2]), abs(b[3] - a[3]))
             for a, b in zip(path, path[1:], strict=False)
             if b[0] >= max(seen, time - 1.0)]  # the memory's span
    metres, turned = np.sum(since, axis=0) if since else (0.0, 0.0)
    bound = drift_since(memory, 1, seen, distance, BOTH)
    swing = sum(abs(b[3] - a[3]) * (distance + math.dist(b[1:3], path[-1][1:3]))
                for a, b in zip(path, path[1:], strict=False) if b[0] >= max(seen, time - 1.0))
    least = 0.1 * metres + 0.2 * min(swing, 3.0 * turned)
    assert least - 1e-9 <= bound <= 0.1 * memory.travel_total[1, 0] + 0.2 * (
        memory.travel_total[1, 1] * 3.0) + 1e-9


@pytest.mark.parametrize('span', [0.5, 1.3, 50_000.0])
def test_shifting_the_epoch_changes_no_drift(span):
    memory = travelled([(time + span, *pose) for time, *pose in STRAIGHT])
    before = [drift_since(memory, 1, span + 0.1 * k + 0.05, 1.0, BOTH) for k in range(6)]
    slot = int(memory.travel_slot[1])
    shift_travel(memory, 1, span)
    assert memory.travel_slot[1] == slot - round(span / SLOT) == 5
    assert memory.travel_time[1] == pytest.approx(0.55)
    assert [drift_since(memory, 1, 0.1 * k + 0.05, 1.0, BOTH) for k in range(6)] == before
    assert len(set(before)) == 5  # the robot had its first pose in slot 0
    travelled([(0.65, 1.2, 0.0, 0.6)], memory)
    assert memory.travel_total[1] == pytest.approx([1.2, 0.6])
    assert is_untouched(memory)


def test_steady_since_is_the_earliest_slot_within_the_bound():
    memory = travelled(STRAIGHT)
    # seen in slot 5: 0.2 m since, 4: 0.4, 3: 0.6, 2: 0.8
    assert steady_since(memory, 1, 0.0, METRE, 0.065) == pytest.approx(0.3)
    assert steady_since(memory, 1, 0.0, METRE, 0.06 + 1e-12) == pytest.approx(0.3)  # at the bound
    assert steady_since(memory, 1, 0.0, METRE, 0.045) == pytest.approx(0.4)
    assert steady_since(memory, 1, 0.0, METRE, 0.0) == pytest.approx(0.5)  # the present slot
    assert steady_since(memory, 1, 0.0, METRE, 1.0) == -math.inf
    # at the very bound: 0.5 m a slot, 0.125 m/m
    exact = travelled([(0.125 * k + 0.01, 0.5 * k, 0.0, 0.0) for k in range(5)])
    bound = MOTION._replace(drift_per_metre=0.125)
    assert exact.travel_slot[1] == 5
    assert steady_since(exact, 1, 0.0, bound, 0.125) == pytest.approx(0.3)  # slot 3: 1 m since
    # 0.1 rad a slot at 1 m and what was travelled: 5: 0.2 * 0.1 * 1.2, 4: 0.2 * 0.2 * 1.4
    assert steady_since(memory, 1, 1.0, RADIAN, 0.056 + 1e-9) == pytest.approx(0.4)
    assert steady_since(memory, 1, 1.0, RADIAN, 0.05) == pytest.approx(0.5)


def test_steady_since_within_the_history():
    memory = travelled([(0.1 * k + 0.05, 0.2 * k, 0.0, 0.0) for k in range(21)])
    for allowed, slots in ((0.021, 1), (0.041, 2), (0.201, 10), (0.241, 12)):
        since = steady_since(memory, 1, 0.0, METRE, allowed)
        assert since == pytest.approx(2.1 - 0.1 * slots)
        for k in range(21 - slots, 21):  # all that was seen since then is within the bound
            assert drift_since(memory, 1, 0.1 * k + 0.05, 0.0, METRE) <= allowed
    # the 13th slot is the first of the history and cannot be told from what is older
    assert steady_since(memory, 1, 0.0, METRE, 0.261) == -math.inf


@pytest.mark.parametrize('at', [(0.0, 0.0), (1.0, -2.0), (-0.5, 1.5)])
def test_who_only_turned_is_off_by_what_the_turn_swings_wherever_that_was(at):
    # 1 rad in place: what is 0.5 m away swings by 0.2 * 1 * 0.5 m, and the place itself by nothing
    memory = travelled([(0.0, *at, 0.0), (1.0, *at, 1.0)])
    assert drift_since(memory, 1, 0.0, 0.5, RADIAN) == pytest.approx(0.1)

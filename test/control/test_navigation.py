"""An action's goal: on the way, at its end, and every way in which it may end badly."""

import math

import pytest

from karpathy_control.contracts.config.control import GoalConfig
from karpathy_control.control.goals import GoalKeeper
from karpathy_control.control.navigation import End, Navigation, Progress

NAN = math.nan


@pytest.fixture
def goals():
    keeper = GoalKeeper(GoalConfig(tolerance=0.3, blocked_time=10.0, progress=0.2, timeout=60.0))
    keeper.set(4.0, 0.0)
    return keeper


@pytest.fixture
def navigation(goals):
    return Navigation(goals, 100.0)


def test_progress_tells_distance_time_and_what_is_left_at_the_mean_rate(navigation):
    assert navigation.update(100.0, NAN, True) is None and navigation.progress is None
    assert navigation.update(100.0, 4.0, True) is None
    assert navigation.progress == Progress(4.0, 0.0, 0.0)  # no rate yet
    assert navigation.update(102.0, 3.0, False) is None
    assert navigation.progress == Progress(3.0, 2.0, 6.0)  # 1 m in 2 s, so 3 m in 6 s
    navigation.update(100.5, 3.5, False)
    assert navigation.progress == Progress(3.5, 0.5, 3.5)
    navigation.update(110.0, 3.6, False)  # 0.4 m in 10 s: nobody can say
    assert navigation.progress == Progress(3.6, 10.0, 0.0)


def test_two_looks_at_one_moment_begin_nothing_anew(navigation):
    for time, distance in ((100.0, 4.0), (100.0, 3.0), (102.0, 2.0)):
        navigation.update(time, distance, False)
    assert navigation.progress == Progress(2.0, 2.0, 2.0)  # 2 m in 2 s


def test_the_least_rate_still_counts(navigation):
    navigation.update(100.0, 4.0, True)
    navigation.update(108.0, 3.5, False)  # 1/16 m/s
    assert navigation.progress == Progress(3.5, 8.0, 56.0)


def test_reached(goals, navigation):
    goals.update(3.8, 0.0, 105.0, True)
    ended = navigation.update(105.0, NAN, False)
    assert ended.how is End.SUCCEEDED and ended.text == 'within 0.3 m of the goal'


def test_cancelled_is_told_once_the_robot_stands(goals, navigation):
    assert navigation.cancelling is False
    navigation.cancel()
    assert goals.goal is None
    assert navigation.update(101.0, NAN, False) is None
    ended = navigation.update(101.3, NAN, True)
    assert (ended.how, ended.text) == (End.CANCELED, 'cancelled, and the robot stands')


def test_reached_just_before_it_was_cancelled_is_reached(goals, navigation):
    goals.update(4.0, 0.0, 105.0, True)
    navigation.cancel()
    assert navigation.update(105.0, NAN, True).how is End.SUCCEEDED


def test_preempted_by_a_newer_goal_which_stays(goals, navigation):
    goals.set(4.0, 0.0)  # the same place, and yet another's
    ended = navigation.update(101.0, 4.0, False)
    assert (ended.how, ended.text) == (End.ABORTED, 'preempted by a newer goal')
    navigation.cancel()  # what comes too late takes nothing from the newer one
    assert goals.goal == (4.0, 0.0)


def test_cancelled_by_somebody_else_is_aborted(goals, navigation):
    goals.cancel()
    ended = navigation.update(101.0, NAN, True)
    assert (ended.how, ended.text) == (
        End.ABORTED, 'the goal was cancelled by somebody else, or control was deactivated')
    assert not ended.timed_out


def test_blocked_is_aborted_and_gives_the_goal_up(goals, navigation):
    goals.update(0.0, 0.0, 100.0, True)
    goals.update(0.1, 0.0, 109.9, True)
    assert navigation.update(109.9, 3.9, False) is None
    goals.update(0.1, 0.0, 110.0, True)
    ended = navigation.update(110.0, 3.9, False)
    assert (ended.how, ended.text) == (End.ABORTED,
                                       'blocked: less than 0.2 m of progress in 10 s')
    assert goals.goal is None and not ended.timed_out


@pytest.mark.parametrize('limit, time, over', [
    (60.0, 159.9, False), (60.0, 160.0, True), (0.5, 100.5, True), (0.0, 1e6, False)])
def test_timeout(goals, navigation, limit, time, over):
    goals.config = GoalConfig(timeout=limit)  # live
    ended = navigation.update(time, 4.0, False)
    assert (ended is not None) == over == (goals.goal is None)
    if over:
        assert (ended.how, ended.timed_out) == (End.ABORTED, True)
        assert ended.text == f'not reached within goal.timeout, {limit:g} s'


def test_a_clock_that_jumps_back_begins_anew(navigation):
    navigation.update(100.0, 4.0, True)
    navigation.update(150.0, 3.0, False)
    assert navigation.update(10.0, 3.0, False) is None
    assert navigation.progress == Progress(3.0, 0.0, 0.0)
    assert navigation.update(69.0, 2.0, False) is None
    assert navigation.update(70.0, 2.0, False).timed_out


def test_a_refused_goal_leaves_the_one_in_force(goals, navigation):
    goals.refuse('frame moon')
    assert navigation.update(101.0, 4.0, False) is None

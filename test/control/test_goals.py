"""Goals: reached, blocked, pre-empted, cancelled, refused, adopted."""

import math

import pytest

from karpathy_control.contracts.config.control import GoalConfig
from karpathy_control.contracts.modes import Reason
from karpathy_control.control.goals import GoalKeeper


@pytest.fixture
def keeper():
    return GoalKeeper(GoalConfig(tolerance=0.3, blocked_time=10.0, progress=0.2))


def test_it_starts_without_a_goal(keeper):
    assert (keeper.goal, keeper.reason, keeper.blocked, keeper.text) == (
        None, Reason.NO_GOAL, False, '')
    keeper.update(0.0, 0.0, 0.0, True)  # nothing to judge
    assert keeper.reason is Reason.NO_GOAL


def test_the_bounds_themselves(keeper):
    keeper = GoalKeeper(GoalConfig(tolerance=0.25, blocked_time=10.0, progress=0.25))
    keeper.set(1.0, 0.0)
    keeper.update(0.0, 0.0, 0.0, True)
    keeper.update(0.25, 0.0, 9.0, True)  # just as much as counts as progress
    keeper.update(0.25, 0.0, 11.0, True)
    assert not keeper.blocked
    keeper.update(0.75, 0.0, 12.0, True)  # just as near as counts as reached
    assert keeper.reason is Reason.GOAL_REACHED


@pytest.mark.parametrize('handled', ['cancel', 'refuse', 'set', 'none to cancel'])
def test_nothing_is_adopted_once_a_goal_was_handled(keeper, handled):
    if handled in ('cancel', 'set'):
        keeper.set(1.0, 2.0)
    if handled in ('cancel', 'none to cancel'):
        keeper.cancel()
    elif handled == 'refuse':
        keeper.refuse('no')
    else:
        keeper.update(1.0, 2.0, 0.0, True)
    assert not keeper.adopt(5.0, 6.0) and keeper.goal is None


def test_a_goal_that_ended_blocked_leaves_no_mark(keeper):
    keeper.set(5.0, 0.0)
    keeper.update(0.0, 0.0, 0.0, True)
    keeper.update(0.0, 0.0, 10.0, True)
    assert keeper.blocked
    keeper.cancel()
    assert not keeper.blocked


def test_reached_within_tolerance(keeper):
    keeper.set(3.0, 4.0)
    keeper.update(0.0, 0.0, 0.0, True)
    assert keeper.distance(0.0, 0.0) == pytest.approx(5.0)
    keeper.update(3.0, 3.69, 1.0, True)  # 0.31 m away
    assert keeper.goal == (3.0, 4.0)
    keeper.update(3.0, 3.71, 2.0, True)  # 0.29 m
    assert (keeper.goal, keeper.reason) == (None, Reason.GOAL_REACHED)
    assert math.isnan(keeper.distance(0.0, 0.0))


def test_blocked_after_ten_seconds_without_progress_and_free_again_with_it(keeper):
    keeper.set(5.0, 0.0)
    keeper.update(0.0, 0.0, 100.0, True)
    keeper.update(0.19, 0.0, 109.9, True)
    assert not keeper.blocked
    keeper.update(0.19, 0.0, 110.0, True)
    assert keeper.blocked and keeper.goal is not None
    keeper.update(0.21, 0.0, 110.1, True)
    assert not keeper.blocked


def test_time_held_by_something_else_does_not_count(keeper):
    keeper.set(5.0, 0.0)
    keeper.update(0.0, 0.0, 0.0, True)
    keeper.update(0.0, 0.0, 9.0, False)
    keeper.update(0.0, 0.0, 18.0, True)
    assert not keeper.blocked
    keeper.update(0.0, 0.0, 19.0, True)
    assert keeper.blocked


def test_a_new_goal_pre_empts_and_restarts_the_clock(keeper):
    keeper.set(5.0, 0.0)
    keeper.update(0.0, 0.0, 0.0, True)
    keeper.update(0.0, 0.0, 10.0, True)
    keeper.set(-5.0, 0.0)
    assert keeper.goal == (-5.0, 0.0) and not keeper.blocked
    keeper.update(0.0, 0.0, 19.0, True)
    assert not keeper.blocked


def test_cancel(keeper):
    assert keeper.cancel() == (False, 'there is no goal to cancel')
    keeper.set(1.0, 2.0)
    assert keeper.cancel() == (True, 'goal 1.00 2.00 cancelled')
    assert (keeper.goal, keeper.reason) == (None, Reason.GOAL_CANCELLED)


def test_refused_goals_leave_the_one_in_force(keeper):
    assert not keeper.set(math.nan, 0.0)
    assert keeper.reason is Reason.GOAL_REFUSED and 'nan' in keeper.text
    keeper.set(1.0, 2.0)
    assert keeper.text == ''
    keeper.refuse('frame "map" is unknown')
    assert keeper.goal == (1.0, 2.0) and 'map' in keeper.text


def test_adopt_only_after_a_restart(keeper):
    assert keeper.adopt(1.0, 2.0)
    assert not keeper.adopt(3.0, 4.0)
    keeper.update(1.0, 2.0, 0.0, True)
    assert keeper.reason is Reason.GOAL_REACHED
    assert not keeper.adopt(1.0, 2.0)  # an echo of the goal just reached
    assert keeper.goal is None


def test_every_goal_that_is_set_has_a_number_of_its_own(keeper):
    numbers = [keeper.number]
    for x in (1.0, math.nan, 1.0):  # what is refused gets none
        keeper.set(x, 0.0)
        numbers.append(keeper.number)
    assert numbers == [0, 1, 1, 2]

"""Ages of inputs on both clocks, and the odometry history."""

import math

import pytest

from karpathy_control.contracts.types import State
from karpathy_control.control.ages import Health, Input
from karpathy_control.control.odometry import OdometryHistory

S = 1_000_000_000
MS = 1_000_000


def health(item, now, steady, sim_time):
    return item.health(now, steady, sim_time, 0.25, 0.1)


def test_never_fresh_stale_future():
    item = Input()
    assert health(item, 0, 0, True) is Health.NEVER
    item.take(10 * S, 5 * S, 0.25)
    assert health(item, 10 * S + 250 * MS, 5 * S, True) is Health.FRESH
    assert health(item, 10 * S + 251 * MS, 5 * S, True) is Health.STALE
    assert health(item, 10 * S - 100 * MS, 5 * S, True) is Health.FRESH  # leads by the tolerance
    assert health(item, 10 * S - 101 * MS, 5 * S, True) is Health.FUTURE


def test_before_the_first_message_and_after_clear_there_is_no_age():
    item = Input()
    assert item.age(10 * S, 5 * S, True) == item.age(10 * S, 5 * S, False) == math.inf
    item.take(10 * S, 5 * S, 0.25)
    item.clear()
    assert (item.stamp, item.received) == (None, None)
    assert item.age(10 * S, 5 * S, True) == math.inf
    assert health(item, 10 * S, 5 * S, True) is Health.NEVER
    assert item.take(1 * S, 5 * S, 0.25)  # older than what was forgotten


def test_health_judges_the_age_of_its_clock():
    item = Input()
    item.take(10 * S, 5 * S, 0.25)
    # the receipt is too old, the stamp is not: only sim time goes by the stamp alone
    assert health(item, 10 * S, 5 * S + 300 * MS, True) is Health.FRESH
    assert health(item, 10 * S, 5 * S + 300 * MS, False) is Health.STALE


def test_without_sim_time_a_stamp_of_now_ages_by_receipt():
    item = Input()
    item.take(10 * S, 5 * S, 0.25)
    assert item.age(10 * S, 5 * S + 200 * MS, False) == 0.2
    assert item.age(10 * S - 50 * MS, 5 * S + 200 * MS, False) == -0.05  # from the future


def test_without_sim_time_the_older_of_stamp_and_receipt():
    item = Input()
    item.take(10 * S, 5 * S, 0.25)
    # the stamp is 0.1 s old, the receipt 0.2 s
    assert item.age(10 * S + 100 * MS, 5 * S + 200 * MS, False) == pytest.approx(0.2)
    assert item.age(10 * S + 300 * MS, 5 * S + 200 * MS, False) == pytest.approx(0.3)
    assert item.age(10 * S + 100 * MS, 5 * S + 200 * MS, True) == pytest.approx(0.1)


def test_a_message_without_a_stamp_ages_by_receipt():
    item = Input()
    item.take(None, 5 * S, 0.25)
    assert item.age(99 * S, 5 * S + 40 * MS, True) == pytest.approx(0.04)


def test_repeated_and_late_stamps_are_left_out_until_the_input_was_silent():
    item = Input()
    assert item.take(10 * S, 0, 0.25)
    assert not item.take(10 * S, 50 * MS, 0.25)
    assert not item.take(9 * S, 100 * MS, 0.25)
    assert item.late == 2
    assert item.take(2 * S, 260 * MS, 0.25)  # its driver's clock was set back
    later = 100 * S + 260 * MS
    assert item.take(3 * S, later, 0.25)
    assert not item.take(1 * S, later + 250 * MS, 0.25)  # as long as the bound is not silence
    assert item.late == 3


def test_the_rate_is_that_of_the_stamps_smoothed():
    item = Input(nominal=20.0)
    assert math.isnan(item.rate) and not item.slow
    item.take(1 * S, 0, 0.25)
    assert math.isnan(item.rate)
    item.take(1 * S + 100 * MS, 1, 0.25)
    assert item.interval == pytest.approx(0.1) and item.rate == pytest.approx(10.0)
    item.take(1 * S + 150 * MS, 2, 0.25)  # a tenth of the way from 0.1 to 0.05 s
    assert item.interval == pytest.approx(0.095)
    item.take(1 * S + 150 * MS, 3, 0.25)  # the same again says nothing
    assert item.interval == pytest.approx(0.095)
    item.take(None, 4, 0.25)
    item.take(9 * S, 5, 0.25)
    assert item.interval == pytest.approx(0.095)  # nor does one without a stamp before it
    item.clear()
    assert math.isnan(item.interval)


@pytest.mark.parametrize(('milliseconds', 'slow'), [(100, False), (111, False), (112, True)])
def test_slow_is_less_than_45_percent_of_the_nominal_rate(milliseconds, slow):
    item = Input(nominal=20.0)  # 9 Hz, an interval of 111.1 ms
    item.take(1 * S, 0, 0.25)
    item.take(1 * S + milliseconds * MS, 1, 0.25)
    assert item.slow == slow
    item.nominal = 0.0
    assert not item.slow


def test_slow_begins_below_the_bound():
    item = Input(nominal=20.0, interval=1.0 / 9.0)
    assert item.rate == 9.0 and not item.slow


@pytest.mark.parametrize(('milliseconds', 'missed'), [(50, 0), (125, 0), (126, 1)])
def test_a_deadline_is_two_and_a_half_periods(milliseconds, missed):
    item = Input(nominal=20.0)
    item.take(1 * S, 0, 0.25)
    assert item.missed == 0
    for k in (1, 2):
        item.take(1 * S + k * milliseconds * MS, k, 0.25)
        assert item.missed == k * missed
    other = Input()
    other.take(1 * S, 0, 0.25)
    other.take(99 * S, 1, 0.25)
    assert other.missed == 0  # no rate is expected of it


def test_a_clock_set_back_is_no_interval():
    item = Input(nominal=20.0)
    item.take(10 * S, 0, 0.25)
    assert item.take(2 * S, 300 * MS, 0.25)
    assert math.isnan(item.interval) and item.missed == 0


def state(t, x=0.0, yaw=0.0, v=0.0, w=0.0, y=0.0):
    return State(round(t * S), x, y, yaw, v, w)


def test_pose_between_and_after_states():
    history = OdometryHistory()
    assert history.pose_at(0) is None
    history.add(state(1.0, 0.0, math.pi - 0.1, v=1.0), 0.5)
    history.add(state(1.1, -0.1, -math.pi + 0.1, v=1.0, w=2.0), 0.5)
    middle = history.pose_at(round(1.05 * S))
    assert middle.x == pytest.approx(-0.05)
    assert abs(middle.yaw) == pytest.approx(math.pi)  # across the wrap, not through zero
    assert history.pose_at(round(0.99 * S)) is None
    after = history.pose_at(round(1.15 * S))
    assert after.yaw == pytest.approx(-math.pi + 0.1 + 0.05 * 2.0)
    assert history.pose_at(round(1.31 * S)) is None  # more than 0.2 s ahead


def test_pose_between_two_states_by_shares():
    history = OdometryHistory()
    history.add(state(1.0, 2.0, 0.2, y=5.0, v=1.0, w=0.5), 9.0)
    history.add(state(1.2, 3.0, 0.4, y=7.0, v=1.0, w=0.5), 9.0)
    history.add(state(1.3, 9.0, 0.4, y=9.0, v=1.0, w=0.5), 9.0)
    for time, pose in ((1.05, (2.25, 5.5, 0.25)),  # a quarter of the way
                       (1.0, (2.0, 5.0, 0.2)), (1.2, (3.0, 7.0, 0.4)), (1.3, (9.0, 9.0, 0.4))):
        found = history.pose_at(round(time * S))
        assert (found.x, found.y, found.yaw) == pytest.approx(pose)
    assert history.pose_at(round(1.5 * S)).yaw == pytest.approx(0.5)  # 0.2 s ahead at 0.5 rad/s


def test_the_base_is_behind_its_wheels():
    """At 2 m/s along y and 45 ms: 9 cm. What was told is what jumps and contradictions are of."""
    history = OdometryHistory(0.045)
    history.add(state(1.0, x=1.0, y=3.0, yaw=math.pi / 2, v=2.0), 0.5)
    assert (history.latest.x, history.latest.y) == pytest.approx((1.0, 2.91))
    history.add(state(1.1, x=1.0, y=3.1, yaw=math.pi / 2), 0.005)  # mean twist: 0.1 m, no jump
    between = history.pose_at(round(1.05 * S))
    assert (between.x, between.y) == pytest.approx((1.0, 0.5 * (2.91 + 3.1)))


def test_a_jump_is_measured_from_the_mean_twist():
    history = OdometryHistory()
    # from 1 to 3 rad/s over 0.5 s is 1 rad; standing on the spot
    assert history.add(state(0.0, w=1.0), 0.5) is False
    assert not history.add(state(0.5, yaw=1.4, w=3.0), 0.5)  # 0.4 rad off
    assert history.add(state(0.6, yaw=2.3, w=3.0), 0.5)  # 0.6 rad off
    assert not history.add(state(0.6 + 0.125, x=0.25, yaw=2.3), 0.25)  # just at the bound
    assert history.add(state(0.6 + 0.25, x=0.51, yaw=2.3), 0.25)


def test_half_a_radian_is_not_a_jump_yet():
    history = OdometryHistory()
    history.add(state(0.0, yaw=-2.0), 0.5)
    assert not history.add(state(0.1, yaw=-1.5), 0.5)
    assert history.add(state(0.2, yaw=-0.99), 0.5)


def test_a_jump_is_motion_that_the_twist_does_not_explain():
    history = OdometryHistory()
    assert not history.add(state(0.0, 0.0, v=1.0), 0.5)
    assert not history.add(state(0.5, 0.9, v=1.0), 0.5)  # 0.4 m off
    assert history.add(state(0.52, 1.5, v=1.0), 0.5)  # 0.58 m off
    assert history.pose_at(round(0.51 * S)) is None
    assert history.add(state(0.54, 1.52, yaw=0.6, v=1.0), 0.5)


def test_the_history_is_two_seconds():
    history = OdometryHistory()
    for k in range(200):
        history.add(state(0.02 * k), 0.5)
    assert history.pose_at(round(1.99 * S)) is not None
    assert history.pose_at(round(1.9 * S)) is None


# -- odometry against itself ----------------------------------------------------------------------


def driven(seconds, pose, twist, start=0.0, history=None, step=0.05):
    """A history of states every 50 ms: pose(t) -> (x, y, yaw) and twist(t) -> (v, w)."""
    history = OdometryHistory() if history is None else history
    for k in range(round(seconds / step) + 1):
        t = start + step * k
        x, y, yaw = pose(t)
        v, w = twist(t)
        assert not history.add(State(round(t * S), x, y, yaw, v, w), 9.0)
    return history


@pytest.mark.parametrize(('moved', 'told', 'contradicts'), [
    # 0.2 s: 0.4 of the way that the twist tells, and 2 cm, may be missing or too much
    (0.5, 0.5, False), (0.0, 0.16, False), (0.0, 0.17, True), (0.0, -0.17, True),
    (0.5, 0.42, False), (0.5, 0.28, True), (0.5, 0.3, False), (0.09, 0.0, False),
    (0.11, 0.0, True), (-0.11, 0.0, True)])
def test_a_pose_that_does_not_follow_its_speed(moved, told, contradicts):
    """At v told over 0.2 s it may be off by 0.02 + 0.08 v."""
    assert (abs(0.2 * (moved - told)) > 0.02 + 0.08 * abs(told)) == contradicts
    history = driven(0.2, lambda t: (1.0, 2.0 + moved * t, math.pi / 2), lambda t: (told, 0.0))
    assert history.contradicts_itself == contradicts


@pytest.mark.parametrize(('turned', 'told', 'contradicts'), [
    (0.5, 0.5, False), (0.0, 0.49, False), (0.0, 0.51, True), (0.0, -0.51, True),
    (0.32, 0.0, True), (0.28, 0.0, False), (-0.32, 0.0, True), (1.0, 0.4, True),
    (1.0, 0.6, False)])
def test_a_heading_that_does_not_follow_its_turn(turned, told, contradicts):
    """At w told over 0.2 s it may be off by 0.06 + 0.08 w."""
    assert (abs(0.2 * (turned - told)) > 0.06 + 0.08 * abs(told)) == contradicts
    for first in (0.0, 3.1, -3.1):
        history = driven(0.2, lambda t, first=first: (0.0, 0.0, first + turned * t),
                         lambda t: (0.0, told))
        assert history.contradicts_itself == contradicts


def test_ways_and_turns_add_up_whatever_their_sign():
    """Forth and back quickly, 0.2 m of way: the pose may be 0.10 m off, not 0.02."""
    for off, contradicts in ((0.09, False), (0.11, True)):
        def pose(t, off=off):
            return (off * t / 0.2, 0.0, 0.0)

        history = driven(0.2, pose, lambda t: (1.0 if round(t / 0.05) % 2 else -1.0, 0.0))
        # the mean of neighbours is 0 m/s, their way is 1 m/s
        assert history.contradicts_itself == contradicts
    for off, contradicts in ((0.13, False), (0.15, True)):
        def turn(t, off=off):
            return (0.0, 0.0, off * t / 0.2)

        history = driven(0.2, turn, lambda t: (0.0, 1.0 if round(t / 0.05) % 2 else -1.0))
        assert history.contradicts_itself == contradicts


def test_it_is_compared_in_the_frame_of_the_robot():
    """A circle of 0.5 m about the origin, from anywhere and with any heading."""
    def pose(t):
        return (3.0 + 0.5 * math.cos(2.0 * t), -1.0 + 0.5 * math.sin(2.0 * t),
                2.0 * t + math.pi / 2)

    history = driven(1.0, pose, lambda t: (1.0, 2.0))
    assert not history.contradicts_itself
    # the same poses with a turn the other way are none of it
    history = driven(0.3, pose, lambda t: (1.0, -2.0))
    assert history.contradicts_itself


def test_only_the_last_0_2_s_are_compared():
    history = driven(0.3, lambda t: (0.0, 0.0, 0.0), lambda t: (0.5, 0.0))
    assert history.contradicts_itself
    driven(0.2, lambda t: (0.0, 0.0, 0.0), lambda t: (0.0, 0.0), 0.35, history)
    assert not history.contradicts_itself


def test_less_than_0_2_s_says_nothing():
    assert not OdometryHistory().contradicts_itself
    history = driven(0.15, lambda t: (0.0, 0.0, 0.0), lambda t: (1.0, 0.0))
    assert not history.contradicts_itself
    history.add(State(round(0.2 * S), 0.0, 0.0, 0.0, 1.0, 0.0), 9.0)
    assert history.contradicts_itself


@pytest.mark.parametrize(('gap', 'after'), [(0.14, True), (0.16, False)])
def test_a_gap_begins_anew(gap, after):
    history = driven(0.2, lambda t: (0.0, 0.0, 0.0), lambda t: (1.0, 0.0))
    history.add(State(round((0.2 + gap) * S), 0.0, 0.0, 0.0, 1.0, 0.0), 9.0)
    assert history.contradicts_itself == after
    driven(0.3, lambda t: (0.0, 0.0, 0.0), lambda t: (1.0, 0.0), 0.25 + gap, history)
    assert history.contradicts_itself


def test_a_jump_begins_anew():
    history = driven(0.3, lambda t: (0.0, 0.0, 0.0), lambda t: (1.0, 0.0))
    assert history.contradicts_itself
    assert history.add(State(round(0.35 * S), 5.0, 0.0, 0.0, 1.0, 0.0), 0.5)
    assert not history.contradicts_itself and history.pose_at(round(0.3 * S)) is None
    history.clear()
    assert history.latest is None and not history.contradicts_itself


def test_after_a_gap_anything_up_to_twice_the_twist_is_no_jump():
    """1 m/s and 2 rad/s for half a second: 0.5 m and 1 rad more, or less, are explained."""
    for x, yaw, jumped in ((1.49, 1.0, False), (1.51, 1.0, True), (-0.49, 1.0, False),
                           (-0.51, 1.0, True), (0.5, 2.49, False), (0.5, 2.51, True),
                           (0.5, -0.49, False), (0.5, -0.51, True)):
        # 0.5 m and 0.5 rad are the bounds without a gap; x is along the way, whatever the turn
        history = OdometryHistory()
        history.add(State(0, 0.0, 0.0, 0.0, 1.0, 0.0 if x != 0.5 else 2.0), 0.5)
        w = 0.0 if x != 0.5 else 2.0
        at = State(S // 2, x, 0.0, 0.0, 1.0, w)
        if x == 0.5:
            # a quarter of a circle of 0.5 m, so far: (0.42, 0.23)
            at = State(S // 2, 0.5 * math.sin(1.0), 0.5 - 0.5 * math.cos(1.0), yaw, 1.0, w)
        assert history.add(at, 0.5) == jumped, (x, yaw)


def test_ways_of_both_speeds_count_after_a_gap():
    """From 2 m/s backwards to 1 m/s forwards the mean is 0.5 m/s backwards, the way 1.5 m/s."""
    for x, jumped in ((-0.2 + 0.5 + 0.59, False), (-0.2 + 0.5 + 0.61, True)):
        history = OdometryHistory()
        history.add(State(0, 0.0, 0.0, 0.0, -2.0, 0.0), 0.5)
        assert history.add(State(2 * S // 5, x, 0.0, 0.0, 1.0, 0.0), 0.5) == jumped


def test_the_history_of_twists_is_as_long_as_that_of_poses():
    history = driven(4.0, lambda t: (0.5 * t, 0.0, 0.0), lambda t: (0.5, 0.0))
    assert len(history._reckoned) == len(history._states) == 41
    assert not history.contradicts_itself
    for k in range(7):
        history.add(State(round((4.05 + 0.05 * k) * S), 2.0, 0.0, 0.0, 0.5, 0.0), 9.0)
    assert history.contradicts_itself


def test_a_deadline_is_missed_at_any_rate():
    """One message in two seconds: 6 s are 3 of its periods."""
    item = Input(nominal=0.5)
    item.take(10 * S, 5 * S, 0.25)
    item.take(16 * S, 11 * S, 0.25)
    assert item.missed == 1
    unknown = Input()  # on change: no rate is expected
    unknown.take(10 * S, 5 * S, 0.25)
    unknown.take(900 * S, 895 * S, 0.25)
    assert unknown.missed == 0


def test_the_same_stamp_anew_says_nothing_of_the_rate():
    item = Input(nominal=10.0)
    item.take(10 * S, 5 * S, 0.25)
    item.take(10 * S + 100 * MS, 5 * S + 100 * MS, 0.25)
    assert item.take(10 * S + 100 * MS, 9 * S, 0.25)  # after a silence any stamp is taken
    assert item.interval == pytest.approx(0.1)

"""Turning rates of odometry and IMU, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.control.turn_check import WINDOW, TurnCheck

MS = 1_000_000
BOUND = 0.4


def feed(check, start, milliseconds, wheels, gyro):
    """Odometry every 20 ms, IMU every 10; returns the last answer and when it was first true."""
    answer, first = False, None
    for t in range(start, start + milliseconds, 10):
        check.on_imu(t * MS, gyro(t))
        if t % 20 == 0:
            answer = check.on_odom(t * MS, wheels(t), BOUND)
            if answer and first is None:
                first = t
    return answer, first


def test_a_step_is_found_within_the_window():
    check = TurnCheck()
    assert feed(check, 0, 500, lambda t: 0.5, lambda t: 0.5) == (False, None)
    answer, first = feed(check, 500, 300, lambda t: 0.5, lambda t: 1.5)
    # The mean over 0.1 s passes 0.5 + max(0.4, a third of the larger) once half of it is new.
    assert answer and first - 500 <= WINDOW // MS
    answer, _ = feed(check, 800, 400, lambda t: 0.5, lambda t: 0.5)
    assert answer  # they have not agreed for half a second yet
    answer, _ = feed(check, 1200, 400, lambda t: 0.5, lambda t: 0.5)
    assert not answer


@pytest.mark.parametrize(('wheels', 'gyro', 'parted'), [
    (0.0, 0.39, False), (0.0, 0.41, True),  # the bound
    (1.8, 1.25, False), (1.8, 1.15, True),  # a third of 1.8 is 0.6
    (-1.8, -1.15, True), (0.3, -0.3, True),
])
def test_the_bound_and_the_slip(wheels, gyro, parted):
    answer, _ = feed(TurnCheck(), 0, 400, lambda t: wheels, lambda t: gyro)
    assert answer is parted


def test_a_ramp_that_both_follow_is_no_disagreement():
    def rate(t):
        return min(0.006 * t, 2.0)  # 6 rad/s^2

    assert feed(TurnCheck(), 0, 600, rate, rate) == (False, None)


def test_without_an_imu_or_a_bound_nothing_is_said():
    check = TurnCheck()
    for t in range(0, 400, 20):
        assert not check.on_odom(t * MS, 3.0, BOUND)
    for t in range(400, 800, 10):
        check.on_imu(t * MS, 0.0)
        assert not check.on_odom(t * MS, 3.0, 0.0)
    assert check.on_odom(801 * MS, 3.0, BOUND)
    check.clear()
    assert not check.on_odom(802 * MS, 3.0, BOUND)


@given(wheels=st.lists(st.floats(-4.0, 4.0), min_size=5, max_size=40),
       gyro=st.floats(-4.0, 4.0))
def test_what_is_within_the_bound_at_every_sample_never_disagrees(wheels, gyro):
    check = TurnCheck()
    for k, rate in enumerate(wheels):
        near = gyro + max(-0.35, min(0.35, rate))
        check.on_imu((20 * k - 10) * MS, gyro)
        check.on_imu(20 * k * MS, gyro)
        assert not check.on_odom(20 * k * MS, near, BOUND)


@pytest.mark.parametrize(('odom', 'imu', 'parted'), [(3, 3, True), (2, 5, False), (5, 2, False)])
def test_three_samples_of_each_are_enough(odom, imu, parted):
    check = TurnCheck()
    for k in range(imu):
        check.on_imu((10 + k) * MS, 2.0)
    for k in range(odom):
        answer = check.on_odom((9 if k == 0 else 20 + k) * MS, 0.0, BOUND)
    assert answer is parted


def test_a_bound_of_zero_switches_it_off():
    check = TurnCheck()
    for k in range(20):
        check.on_imu(k * 10 * MS, 2.0)
        assert not check.on_odom(k * 10 * MS, 0.0, 0.0)


@pytest.mark.parametrize(('first', 'last', 'counts'), [(20, 60, True), (19, 60, False),
                                                       (20, 61, False)])
def test_a_gyro_sample_at_either_end_of_the_window_counts(first, last, counts):
    """Three of odometry from 20 to 60 ms; of the gyro's three one may lie just outside."""
    check = TurnCheck()
    for t in (first, 40, last):
        check.on_imu(t * MS, 2.0)
    for t in (20, 40, 60):
        answer = check.on_odom(t * MS, 0.0, BOUND)
    assert answer is counts


@pytest.mark.parametrize(('age', 'counts'), [(99, True), (100, False)])
def test_what_is_a_window_old_is_out(age, counts):
    check = TurnCheck()
    for t in (450, 460, 470, 480):
        check.on_imu(t * MS, 2.0)
    for t in (500 - age, 460, 500):
        answer = check.on_odom(t * MS, 0.0, BOUND)
    assert answer is counts


def pace(check, odom_hz, imu_hz, seconds, start=0):
    """Samples that agree, at two rates; whether it says at the end that it compares nothing."""
    events = sorted([(start + round(k * 1e9 / odom_hz), 1) for k in range(int(seconds * odom_hz))]
                    + [(start + round(k * 1e9 / imu_hz), 0) for k in range(int(seconds * imu_hz))])
    for stamp, odom in events:
        if odom:
            assert not check.on_odom(stamp, 0.5, BOUND)
        else:
            check.on_imu(stamp, 0.5)
    return check.unchecked


@pytest.mark.parametrize(('odom_hz', 'imu_hz', 'unchecked'), [
    (50, 100, False), (25, 100, False), (21, 100, False),
    (20, 100, True), (10, 100, True),  # two samples of odometry at most in 0.1 s
    (50, 15, True),  # nor three of the IMU
])
def test_that_nothing_is_compared_is_said(odom_hz, imu_hz, unchecked):
    assert pace(TurnCheck(), odom_hz, imu_hz, 3.0) is unchecked


def test_it_is_not_said_at_the_start_nor_without_an_imu_and_ends_with_better_rates():
    check = TurnCheck()
    assert not pace(check, 10, 100, 0.9)
    assert pace(check, 10, 100, 1.0, 900 * MS)
    assert not pace(check, 50, 100, 0.5, 1900 * MS)
    for t in range(2400, 4500, 100):  # the IMU falls silent: that is another's to say
        check.on_odom(t * MS, 0.5, BOUND)
    assert not check.unchecked
    check.clear()
    assert not check.unchecked


def test_slow_sensors_are_compared_over_a_longer_window():
    """20 Hz each: two samples fit into 0.1 s, three into 3.5 periods of 50 ms."""
    def run(check):
        found = []
        for t in range(0, 3000, 50):
            wheels, gyro = 0.5, 0.5 if t < 1500 else 1.5
            check.on_imu(t * MS, gyro)
            found.append(check.on_odom(t * MS, wheels, BOUND))
        return found

    blind = TurnCheck()
    assert not any(run(blind)) and blind.unchecked
    seeing = TurnCheck(20.0, 20.0)
    assert seeing.window == 175 * MS
    found = run(seeing)
    # After two of the four samples in the window the mean is off by half of 1 rad/s.
    assert not any(found[:31]) and all(found[31:]) and not seeing.unchecked


def test_without_imu_the_odometry_alone_decides_the_window():
    assert TurnCheck(10.0, 0.0).window == 350 * MS
    assert TurnCheck(200.0, 400.0).window == WINDOW

"""What follows from the rates of a robot, and what of it the gate can bear."""

import pytest

from karpathy_control.contracts.config import (
    NODE_CONFIGS,
    ConfigError,
    ControlConfig,
    RobotConfig,
    following,
    from_mapping,
    rate_of,
    to_mapping,
)
from karpathy_control.contracts.interfaces import TOPICS

SLOW = {'scan_rate': 5.0, 'scan_stamp': 'end', 'camera_rate': 0.0, 'odom_rate': 20.0,
        'imu_rate': 20.0}


def robot(**changes):
    return from_mapping(RobotConfig, changes)


def control(values, **of_robot):
    """A `control` with what follows from its robot, and `values` in its place."""
    one = robot(**of_robot)
    return from_mapping(ControlConfig, {
        **{f'robot.{name}': value for name, value in of_robot.items()},
        **following(one)['control'], **values})


def test_of_the_table_nothing_changes():
    for topic in TOPICS:
        assert rate_of(topic.name, robot()) == topic.rate, topic.name
    for node, values in following(robot()).items():
        defaults = to_mapping(NODE_CONFIGS[node]())
        assert values == {name: defaults[name] for name in values}


def test_of_a_robot_without_camera_the_scan_sets_the_pace():
    one = robot(**SLOW)
    assert rate_of('scan', one) == rate_of('observation/state', one) == 5.0
    assert rate_of('policy/action', one) == rate_of('perception/entities', one) == 5.0
    assert rate_of('camera/image_raw', one) == rate_of('perception/scan', one) == 0.0
    assert rate_of('cmd_vel', one) == 50.0 and rate_of('policy/costmap', one) == 1.0


def test_ages_of_five_scans_a_second():
    found = following(robot(**SLOW))
    # 2.5 periods of 0.2 s; of odometry and IMU at 20 Hz, 0.125 s are less than the defaults
    assert found['control']['max_age.scan'] == found['control']['max_age.action'] == 0.5
    assert found['control']['max_age.odom'] == 0.15 and found['control']['max_age.imu'] == 0.25
    # 50 ms between odometry messages instead of 20
    assert found['control']['gate.reaction_time'] == pytest.approx(0.12 + 0.03)
    # a plan every 0.2 s, used 0.1 s later: each set, one set later
    assert found['policy'] == {'replan_every': 1, 'replan_delay': 1}
    assert found['sim']['camera.enabled'] is False
    # stamped with its begin, a scan is 0.2 s old when it comes
    begin = following(robot(**{**SLOW, 'scan_stamp': 'begin'}))['control']
    assert begin['max_age.scan'] == begin['max_age.action'] == 0.7


def test_a_camera_of_another_rate():
    found = following(robot(camera_rate=10.0))
    assert found['sensor']['camera_period'] == 0.1
    assert found['control']['max_age.action'] == 0.25 and found['policy']['replan_every'] == 2


def test_the_start_disc_is_as_large_as_the_robot_needs():
    small = robot(footprint=[0.1, 0.1, -0.1, 0.1, -0.1, -0.1, 0.1, -0.1])
    # corners at 0.1414 m, margin 0.04, a centimetre: 0.1914
    assert following(small)['control']['gate.start_radius'] == 0.2
    # and no smaller than a large one does: corners at 0.5 m
    large = robot(footprint=[0.4, 0.3, -0.4, 0.3, -0.4, -0.3, 0.4, -0.3])
    assert following(large)['control']['gate.start_radius'] == 0.5


def test_a_lidar_that_is_lost_between_two_scans_is_refused():
    with pytest.raises(ConfigError, match=r'max_age\.scan: 0\.19 s is less than the 0\.2 s .* '
                       r'takes at least 0\.5'):
        control({'max_age.scan': 0.19}, **SLOW, fault_budget=0.5)


def test_an_old_scan_is_paid_for_by_the_fault_budget():
    # The oldest beam may be 0.5 s + a sweep of 0.2 s old; 0.15 s are the gate's reaction time.
    control({}, **SLOW, fault_budget=0.55)
    with pytest.raises(ConfigError, match=r'may be 0\.7 s old, the gate keeps room for 0\.25 s '
                       r'.*fault_budget of at least 0\.55'):
        control({}, **SLOW)


def test_or_by_speed():
    # 0.45 s beyond the 0.25 s that every fault may take, within the margin of 0.04 m: 0.0888 m/s
    # of the farthest corner, which max_turn 0.1 rad/s alone moves by 0.031 m/s.
    assert robot().circumscribed_radius == pytest.approx(0.3094, abs=1e-4)
    control({}, **SLOW, max_speed=0.057, max_turn=0.1)
    with pytest.raises(ConfigError, match=r'0\.041 m at 0\.09 m/s .* or 0\.08 m/s'):
        control({}, **SLOW, max_speed=0.06, max_turn=0.1)


def test_old_odometry_is_paid_for_alike():
    control({'max_age.odom': 0.25})
    with pytest.raises(ConfigError, match=r'max_age\.odom: .* 0\.4 s old'):
        control({'max_age.odom': 0.4})
    control({'max_age.odom': 0.4}, fault_budget=0.3)

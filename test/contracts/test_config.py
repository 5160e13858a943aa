"""Typed configuration: every refusal names the value and what is accepted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.contracts.config import (
    NODE_CONFIGS,
    ConfigError,
    ControlConfig,
    RobotConfig,
    SimConfig,
    from_mapping,
    markdown_table,
    replace_value,
    specs,
    to_mapping,
)
from karpathy_control.contracts.geometry import convex_hull


@pytest.mark.parametrize('kind', NODE_CONFIGS.values(), ids=NODE_CONFIGS)
def test_defaults_are_accepted_and_round_trip(kind):
    config = from_mapping(kind, {})
    assert from_mapping(kind, to_mapping(config)) == config
    assert [s.name for s in specs(kind)] == list(to_mapping(config))


@pytest.mark.parametrize('kind', NODE_CONFIGS.values(), ids=NODE_CONFIGS)
def test_every_parameter_is_documented(kind):
    for spec in specs(kind):
        assert spec.description, spec.name
        assert spec.name in markdown_table(kind)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'gate\.margn'.*'gate\.margin'"):
        from_mapping(ControlConfig, {'gate.margn': 0.1})


@pytest.mark.parametrize('name, value, text', [
    ('gate.margin', 0.6, r'0\.6 is out of range; it takes float in \[0, 0\.5\]'),
    ('gate.margin', -0.1, r'out of range'),
    ('gate.margin', 'wide', r"'wide' is not accepted"),
    ('gate.margin', math.nan, r'nan is not accepted'),
    ('gate.speed_steps', 3.5, r'3\.5 is not accepted'),
    ('gate.speed_steps', True, r'True is not accepted'),
    ('autostart', 1, r'1 is not accepted'),
    ('robot.footprint', [0.1, 0.2], r'three corners'),
    ('robot.footprint', [0.1, 0.1, 0.1, -0.1, -0.1, -0.1, -0.1, 0.1], r'counter-clockwise'),
    ('robot.lidar_pose', [0.0], r'x y z roll pitch yaw'),
    ('robot.command_timeout', 0.5, r'out of range'),
])
def test_wrong_values_are_refused(name, value, text):
    with pytest.raises(ConfigError, match=text):
        from_mapping(ControlConfig, {name: value})


def test_choices():
    with pytest.raises(ConfigError, match=r"'moon'.*'mixed'"):
        from_mapping(SimConfig, {'world': 'moon'})


def test_an_int_is_taken_for_a_float_as_yaml_writes_it():
    config = from_mapping(ControlConfig, {'robot.max_speed': 1})
    assert config.robot.max_speed == 1.0 and isinstance(config.robot.max_speed, float)


def test_a_refused_change_leaves_the_old_value():
    config = from_mapping(ControlConfig, {})
    with pytest.raises(ConfigError):
        replace_value(config, 'gate.margin', 9.0)
    assert config.gate.margin == 0.04
    assert replace_value(config, 'gate.margin', 0.1).gate.margin == 0.1


@pytest.mark.parametrize('corners', [
    [1, 0, 0.2, 0.2, 0, 1, -1, 0, 0, -1],  # a notch at (0.2, 0.2)
    [1, 0, -0.81, 0.59, 0.31, -0.95, 0.31, 0.95, -0.81, -0.59],  # a star goes round twice
])
def test_a_footprint_that_is_not_convex_is_refused_with_its_hull(corners):
    with pytest.raises(ConfigError, match=r'robot\.footprint: not convex.*it takes the hull'):
        from_mapping(RobotConfig, {'footprint': [float(v) for v in corners]})


@given(st.lists(st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0)), min_size=3, max_size=12))
def test_every_hull_is_accepted_and_a_corner_pulled_in_is_not(points):
    try:
        hull = convex_hull(np.array(points))
    except ValueError:
        return
    x, y = hull.T
    area = 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    if area < 0.01:
        return  # too thin to tell a notch from rounding
    assert from_mapping(RobotConfig, {'footprint': hull.ravel().tolist()})
    middle = hull.mean(axis=0)
    notched = np.insert(hull, 1, 0.5 * (0.5 * (hull[0] + hull[1]) + middle), axis=0)
    with pytest.raises(ConfigError, match='not convex'):
        from_mapping(RobotConfig, {'footprint': notched.ravel().tolist()})


def test_a_start_disc_that_ends_inside_the_footprint_is_refused_with_what_is_needed():
    # sqrt(0.229^2 + 0.208^2) = 0.3094, rounded up to a centimetre 0.31
    with pytest.raises(ConfigError, match=r'gate\.start_radius: 0\.3 m .* 0\.3094 m.*least 0\.31'):
        from_mapping(ControlConfig, {'gate.start_radius': 0.3})
    assert from_mapping(ControlConfig, {'gate.start_radius': 0.31}).gate.start_radius == 0.31
    wide = [0.5, 0.4, -0.5, 0.4, -0.5, -0.4, 0.5, -0.4]  # 0.6403 m
    with pytest.raises(ConfigError, match=r'at least 0\.65'):
        from_mapping(ControlConfig, {'robot.footprint': wide})


def test_radii_of_a_rectangle():
    # 0.458 x 0.416: inscribed 0.416 / 2 = 0.208, circumscribed sqrt(0.229^2 + 0.208^2) = 0.30936
    robot = RobotConfig()
    assert robot.inscribed_radius == pytest.approx(0.208)
    assert robot.circumscribed_radius == pytest.approx(math.hypot(0.229, 0.208))


@given(st.text(max_size=20), st.one_of(st.none(), st.floats(), st.integers(), st.text(max_size=5),
                                       st.lists(st.floats(), max_size=3)))
def test_anything_is_taken_or_refused_as_config_error(name, value):
    for key in (name, 'gate.margin', 'robot.footprint', 'goal.tolerance'):
        try:
            config = from_mapping(ControlConfig, {key: value})
        except ConfigError:
            continue
        assert np.isfinite(config.gate.margin)

"""Which faults concern a robot."""

import pytest

from karpathy_control.contracts.config import ConfigError
from karpathy_control.evaluation.faults import select, without


def test_sensors_that_a_robot_does_not_have_cannot_fail():
    assert without(select(''), 'jackal') == {}
    left_out = without(select(''), 'turtlebot3_burger')
    assert {name.partition('_')[0] for name in left_out} == {'camera', 'image', 'depth'}
    assert left_out['depth_nan'] == 'turtlebot3_burger has no camera/depth'
    assert 'sensors_silent' not in left_out  # of its topics the robot has one
    assert 'perception_kill' not in left_out


def test_an_unknown_robot_is_refused():
    with pytest.raises(ConfigError, match='config/robots'):
        without(select('short'), 'husky')

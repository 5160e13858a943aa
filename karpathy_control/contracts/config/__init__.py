"""Typed configuration of every node: the one source of ROS parameters, bounds, docs and YAML."""

from karpathy_control.contracts.config.base_guard import BaseGuardConfig
from karpathy_control.contracts.config.control import ControlConfig
from karpathy_control.contracts.config.core import (
    ConfigError,
    ParameterSpec,
    changed,
    from_mapping,
    markdown_table,
    parameter,
    replace_value,
    specs,
    to_mapping,
)
from karpathy_control.contracts.config.perception import PerceptionConfig
from karpathy_control.contracts.config.policy import PolicyConfig
from karpathy_control.contracts.config.rates import (
    SENSORS_OF_SIM,
    following,
    is_of_profile,
    rate_of,
)
from karpathy_control.contracts.config.robot import RobotConfig
from karpathy_control.contracts.config.sensor import SensorConfig
from karpathy_control.contracts.config.sim import SimConfig

NODE_CONFIGS = {
    'sensor': SensorConfig,
    'perception': PerceptionConfig,
    'policy': PolicyConfig,
    'control': ControlConfig,
    'sim': SimConfig,
    'base_guard': BaseGuardConfig,
}

__all__ = [
    'NODE_CONFIGS', 'SENSORS_OF_SIM', 'BaseGuardConfig', 'ConfigError', 'ControlConfig',
    'ParameterSpec', 'PerceptionConfig', 'PolicyConfig', 'RobotConfig', 'SensorConfig',
    'SimConfig', 'changed', 'following', 'from_mapping', 'is_of_profile', 'markdown_table',
    'parameter', 'rate_of', 'replace_value', 'specs', 'to_mapping',
]

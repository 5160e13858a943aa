"""Robot profiles (config/robots/*.yaml): shape, limits, frames, topics and the command timeout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import (
    NODE_CONFIGS,
    SENSORS_OF_SIM,
    ConfigError,
    ControlConfig,
    RobotConfig,
    SimConfig,
    following,
    from_mapping,
    to_mapping,
)
from karpathy_control.contracts.config.core import Value
from karpathy_control.contracts.files import read_yaml
from karpathy_control.contracts.interfaces import BY_NAME

T = TypeVar('T')
_TEXT, _NUMBER, _FLAG, _MAP = str, (int, float), bool, dict
_OPTIONAL: dict[str, Any] = {'simulation': _MAP}
_KEYS: dict[str, Any] = {
    'name': _TEXT, 'description': _TEXT, 'command_timeout': _NUMBER,
    'command_timeout_verified_by': _TEXT, 'stamped_cmd_vel': _FLAG, 'robot': _MAP, 'topics': _MAP,
}
# What a robot's own drivers publish or take: the names that a profile may map.
_ROBOT_TOPICS = tuple(name for name, topic in BY_NAME.items()
                      if (topic.writer == 'sim' and not name.startswith(('/', 'sim/')))
                      or name == 'cmd_vel')
# What `simulation` may not say, since a rate of the robot does.
_RATES = {'lidar.rate': 'scan_rate', 'camera.rate': 'camera_rate', 'camera.enabled': 'camera_rate',
          'imu.rate': 'imu_rate', 'imu.enabled': 'imu_rate', 'odometry.rate': 'odom_rate'}
_NAME = re.compile(r'[A-Za-z][\w-]{0,39}', re.ASCII)
_TOPIC = re.compile(r'[/~]?[A-Za-z]\w*(/[A-Za-z]\w*)*', re.ASCII)
_DESCRIPTIONS = ('.xacro', '.urdf')
NOT_VERIFIED = 'not verified'  # what command_timeout_verified_by begins with until then
# Without a description nothing else says where these are.
_SHAPE = ('footprint', 'lidar_pose', 'camera_pose', 'imu_pose')


@dataclass(frozen=True)
class RobotProfile:
    """One robot, checked as a whole."""

    name: str
    path: Path
    description: Path | None  # xacro
    command_timeout: float  # s
    command_timeout_verified_by: str
    stamped_cmd_vel: bool
    parameters: Mapping[str, Value]  # dotted `robot.*`
    topics: Mapping[str, str]  # name in the interface table -> the robot's name
    simulation: Mapping[str, Value]  # dotted parameters of `sim` but for `robot.*`

    @property
    def verified(self) -> bool:
        """Whether somebody has measured the command timeout."""
        return not self.command_timeout_verified_by.lower().startswith(NOT_VERIFIED)

    def require_verified(self) -> None:
        """ConfigError with the cure where nobody has: a real base might not stop by itself."""
        if not self.verified:
            raise ConfigError(f'{self.path}: command_timeout_verified_by: '
                              f'{self.command_timeout_verified_by[:40]!r}... is no measurement, '
                              'and a real robot does not start on it; measure the time from the '
                              'last cmd_vel to standing wheels (doc/robot.md), and write who '
                              'measured what into a copy of the profile')


def load_profile(name: str) -> RobotProfile:
    """Read a profile by name (config/robots/NAME.yaml) or path.

    Raises ConfigError naming the file, the key and what it takes.
    """
    file = name if name.endswith(('.yaml', '.yml')) else f'{name}.yaml'
    try:
        path = find('config/robots', file)
    except FileNotFoundError as error:
        raise ConfigError(f'robot: {error}') from error
    data = read_yaml(path)
    try:
        return _profile(path, data)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error


def _profile(path: Path, data: Any) -> RobotProfile:
    if not isinstance(data, dict):
        raise ConfigError(f'takes a map with {", ".join(_KEYS)}')
    unknown = sorted(set(data) - set(_KEYS) - set(_OPTIONAL))
    if unknown:
        raise ConfigError(f'unknown key {unknown[0]!r}; it takes {", ".join(_KEYS)} and, where '
                          f'wanted, {", ".join(_OPTIONAL)}')
    for key, kind in {**_KEYS, **_OPTIONAL}.items():
        if key not in data and key in _OPTIONAL:
            continue
        if key not in data:
            raise ConfigError(f'{key} is missing'
                              + ('; the base must stop by itself when cmd_vel falls silent'
                                 if key.startswith('command_timeout') else ''))
        if not isinstance(data[key], kind) or (kind is not bool and isinstance(data[key], bool)):
            raise ConfigError(f'{key}: {data[key]!r} has the wrong type')
    if not data['command_timeout_verified_by'].strip():
        raise ConfigError('command_timeout_verified_by is empty; it takes who measured the '
                          'command timeout of the base, and how')
    if 'command_timeout' in data['robot']:
        raise ConfigError('command_timeout belongs to the top level, not to robot')
    for topic, target in data['topics'].items():
        if topic not in _ROBOT_TOPICS:
            raise ConfigError(f'topics: {topic!r} is not a topic of the robot; it takes '
                              + ', '.join(_ROBOT_TOPICS))
        if not isinstance(target, str) or not _TOPIC.fullmatch(target):
            raise ConfigError(f'topics: {topic}: {target!r} is not a topic name')
    if not _NAME.fullmatch(data['name']):
        raise ConfigError(f'name: {data["name"]!r:.80} is not accepted; it takes letters, digits, '
                          '_ and -, at most 40')
    if data['description'] and not data['description'].endswith(_DESCRIPTIONS):
        raise ConfigError(f'description: {data["description"]!r:.80} is not accepted; it takes a '
                          f'file that ends in {", ".join(_DESCRIPTIONS)}')
    description: Path | None = None
    values: dict[str, Any] = {}
    if data['description']:
        try:
            description = find('description', data['description'])
        except FileNotFoundError as error:
            raise ConfigError(str(error)) from error
        values.update(_described(description))
    else:
        missing = [key for key in _SHAPE if key not in data['robot']]
        if missing:
            raise ConfigError(f'robot.{missing[0]} is missing; without a description the profile '
                              f'states {", ".join(_SHAPE)}')
    values.update({f'robot.{key}': value for key, value in data['robot'].items()})
    values['robot.command_timeout'] = float(data['command_timeout'])
    prefix = len('robot.')
    robot = from_mapping(RobotConfig, {key[prefix:]: value for key, value in values.items()})
    if robot.camera_rate and description and 'robot.camera_pose' not in values:
        raise ConfigError(f'robot.camera_rate: {robot.camera_rate:g} Hz, but {description.name} '
                          'has no camera_link; it takes 0 for a robot without a camera')
    # Whether the gate can bear what the rates say; its parameters may still be changed by a file.
    adapted(ControlConfig(), robot)
    return RobotProfile(
        name=data['name'], path=path, description=description,
        command_timeout=float(data['command_timeout']),
        command_timeout_verified_by=data['command_timeout_verified_by'].strip(),
        stamped_cmd_vel=data['stamped_cmd_vel'], parameters=values, topics=dict(data['topics']),
        simulation=_simulation(data.get('simulation', {}), robot))


def _simulation(given: Mapping[str, Any], robot: RobotConfig) -> dict[str, Value]:
    """Parameters of the sensors of `sim`, by what the profile says of them and by their rates."""
    for name in given:
        if name in _RATES:
            raise ConfigError(f'simulation.{name}: robot.{_RATES[name]} says that; leave it out')
        if not name.startswith(SENSORS_OF_SIM):
            raise ConfigError(f'simulation.{name}: it takes parameters of the sensors of sim, '
                              f'which begin with {", ".join(SENSORS_OF_SIM)}')
    values = {**following(robot)['sim'], **given}
    try:
        from_mapping(SimConfig, values)
    except ConfigError as error:
        raise ConfigError(f'simulation: {error}') from error
    return values


def adapted(config: T, robot: RobotConfig) -> T:
    """A configuration of a node for a robot: what follows from its rates in place of defaults.

    What differs from the default already is somebody's choice and stays. ConfigError where the
    robot does not go together with it.
    """
    node = next(name for name, kind in NODE_CONFIGS.items() if type(config) is kind)
    values, defaults = to_mapping(config), to_mapping(type(config)())
    follow = {name: value for name, value in following(robot).get(node, {}).items()
              if values[name] == defaults[name]}
    of_robot = {f'robot.{name}': value for name, value in to_mapping(robot).items()}
    return from_mapping(type(config), {**values, **of_robot, **follow})


def robot_of(profile: RobotProfile, changes: Mapping[str, object]) -> RobotConfig:
    """The robot of a profile, with changes by name without `robot.`."""
    prefix = len('robot.')
    values = {name[prefix:]: value for name, value in profile.parameters.items()}
    return from_mapping(RobotConfig, {**values, **changes})


def tool_arguments(profile: RobotProfile, namespace: str) -> list[str]:
    """ROS arguments with which a tool speaks of a robot by the names of the interface table.

    namespace: '' or absolute.
    """
    rules = [*profile.topics.items(), *([('__ns', namespace)] if namespace else [])]
    return ['--ros-args', *(word for source, target in rules
                            for word in ('-r', f'{source}:={target}'))] if rules else []


def topic_of(profile: RobotProfile, namespace: str, name: str) -> str:
    """The full name of a topic of the interface table on a robot. namespace: '' or absolute."""
    own = profile.topics.get(name, name)
    return own if own.startswith('/') else f'{namespace}/{own}'


def _described(xacro: Path) -> dict[str, Any]:
    """Footprint and sensor poses of a xacro as `robot.*` parameters."""
    from karpathy_control.worlds.robot import load_robot

    return dict(load_robot(xacro).robot_parameters())


def robot_description(profile: RobotProfile) -> str:
    """The URDF text of a profile that has a description."""
    from karpathy_control.worlds.robot import load_robot

    if profile.description is None:
        raise ConfigError(f'{profile.path}: has no description')
    return str(load_robot(profile.description).urdf)

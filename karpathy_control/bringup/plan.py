"""What is started, how, and with which parameters: one pure plan for launch file and runner.

Nothing here imports launch or rclpy, and nothing is started: the launch file turns the plan into
actions, the runner into processes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from karpathy_control.bringup.dds import PROFILES
from karpathy_control.bringup.environment import cache_folder, environment
from karpathy_control.bringup.parameters import checked, node_yaml, read_parameters
from karpathy_control.bringup.resources import PACKAGE, find, share
from karpathy_control.bringup.robots import (
    RobotProfile,
    load_profile,
    robot_description,
    robot_of,
)
from karpathy_control.contracts.config import (
    NODE_CONFIGS,
    ConfigError,
    RobotConfig,
    following,
)
from karpathy_control.contracts.config.core import Value
from karpathy_control.contracts.config.sim import FAMILIES, robot_names
from karpathy_control.contracts.interfaces import prefixed
from karpathy_control.contracts.types import Pose2

RAW = 'raw/'  # prefix of the sensor topics of a robot whose sensors are intercepted
SENSORS = ('camera/image_raw', 'camera/camera_info', 'camera/depth', 'scan', 'imu', 'odom',
           '/clock')
COMPOSED = ('sensor', 'perception', 'policy')  # the gate always has a process of its own


@dataclass(frozen=True)
class ArgumentSpec:
    """One argument of the launch file and of `karpathy-control up`; all values are text."""

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()


_FLAG = ('true', 'false')
_FRAMES = {'robot.odom_frame': RobotConfig.odom_frame, 'robot.base_frame': RobotConfig.base_frame}

ARGUMENTS: tuple[ArgumentSpec, ...] = (
    ArgumentSpec('world', 'mujoco', 'embedded MuJoCo world, Gazebo, or the real robot',
                 ('mujoco', 'gazebo', 'robot')),
    ArgumentSpec('robot', '', 'profile: a name in config/robots or a path; empty: jackal in a '
                 'simulator, generic on a robot'),
    ArgumentSpec('params_file', 'params.yaml', 'ROS parameter file: a name in config or a path'),
    ArgumentSpec('namespace', '', 'namespace of all nodes and relative topics'),
    ArgumentSpec('robots', '', 'names of several robots in one world (mujoco), such as a,b: a '
                 'loop for each, in a namespace of its own; empty: one robot'),
    ArgumentSpec('rviz', 'false', 'start rviz2 with the shipped configuration', _FLAG),
    ArgumentSpec('gui', 'false', 'Gazebo with its window instead of server only', _FLAG),
    ArgumentSpec('device', '', 'torch device of perception and policy: cpu, cuda or cuda:N; '
                 'empty: as in params_file'),
    ArgumentSpec('composed', 'false', 'sensor, perception and policy in one process', _FLAG),
    ArgumentSpec('dds_profile', 'host', 'Fast DDS: host (shared memory and UDP), local (shared '
                 'memory only: seen by nobody outside) or none', PROFILES),
    ArgumentSpec('use_sim_time', '', 'nodes follow /clock; empty: true in a simulator, false on '
                 'a robot', ('', *_FLAG)),
    ArgumentSpec('world_family', '', 'kind of generated world; in Gazebo a file in worlds, too; '
                 'empty: as in params_file, yard in Gazebo'),
    ArgumentSpec('seed', '', 'seed of the world, in mujoco of noise and drift too; empty: as in '
                 'params_file, 0 in Gazebo'),
    ArgumentSpec('rate_factor', '', 'simulated seconds per second (mujoco), 0: as fast as it '
                 'goes; empty: as in params_file'),
)


def enclave(namespace: str, process: str) -> str:
    """Path of the SROS 2 enclave of a process. namespace: '' or absolute."""
    return f'/{PACKAGE}{namespace}/{process}'


@dataclass(frozen=True)
class NodeSpec:
    """One process. `parameters` maps the names of the nodes in it to their parameters."""

    executable: str
    name: str
    package: str = PACKAGE
    robot: str = ''  # which of several it belongs to
    namespace: str = ''  # '' or absolute
    parameters: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()
    respawn: bool = True
    respawn_delay: float = 0.5  # s
    required: bool = False  # its end is the end of the run, with a non-zero exit
    optional: bool = False  # left out where its package is not installed
    stop_stage: int = 0  # lower stages are stopped first

    def parameter_yaml(self) -> str:
        """The parameter file of this process, by fully qualified node names."""
        return node_yaml({f'{self.namespace}/{node}': values
                          for node, values in self.parameters.items()})

    @property
    def process(self) -> str:
        """Its name among all processes of the plan: `control`, `a/control`."""
        return f'{self.robot}/{self.name}' if self.robot else self.name

    @property
    def node_name(self) -> str | None:
        """The name to force on the node; None where the process holds several."""
        return self.name if tuple(self.parameters) in ((), (self.name,)) else None

    @property
    def enclave(self) -> str:
        """Its SROS 2 enclave: each process has a key of its own. Unused without security."""
        return enclave(self.namespace, self.name)


@dataclass(frozen=True)
class IncludeSpec:
    """A launch file of another package."""

    package: str
    launch_file: str  # below its share folder
    arguments: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """Everything to start, and the environment to start it in."""

    nodes: tuple[NodeSpec, ...]
    includes: tuple[IncludeSpec, ...]
    environment: Mapping[str, str]  # to be added to the caller's
    profile: RobotProfile
    files: Mapping[Path, str] = field(default_factory=dict)  # to be written first: path -> text


def resolve(config: Mapping[str, str]) -> dict[str, str]:
    """Defaults filled in. ConfigError for an unknown argument or a value not accepted."""
    known = {argument.name: argument for argument in ARGUMENTS}
    for name in config:
        if name not in known:
            raise ConfigError(f'unknown argument {name!r}; known: {", ".join(known)}')
    values = {name: config.get(name, argument.default) for name, argument in known.items()}
    for name, argument in known.items():
        if argument.choices and values[name] not in argument.choices:
            raise ConfigError(f'{name}: {values[name]!r} is not accepted; it takes one of '
                              + ', '.join(repr(choice) for choice in argument.choices))
    simulated = values['world'] != 'robot'
    values['robot'] = values['robot'] or ('jackal' if simulated else 'generic')
    values['use_sim_time'] = values['use_sim_time'] or ('true' if simulated else 'false')
    return values


def plan(config: Mapping[str, str], base_environment: Mapping[str, str] | None = None) -> Plan:
    """The plan for launch arguments (all text; absent ones have their default).

    Raises ConfigError, naming the argument, parameter or file and what is accepted.
    """
    base_environment = os.environ if base_environment is None else base_environment
    values = resolve(config)
    namespace = _namespace(values['namespace'])
    robots = robot_names(values['robots'])
    if robots and values['world'] != 'mujoco':
        raise ConfigError(f'robots: world:={values["world"]} has one robot, with namespace:=NAME '
                          f'for each further start; given {values["robots"]!r}')
    profile = load_profile(values['robot'])
    loop: list[NodeSpec] = []
    for robot in robots or ('',):
        loop += _loop(values, namespace, robot, robots, profile)
    sims = [node for node in loop if node.name == 'sim']  # one world for all
    loop = [node for node in loop if node.name != 'sim']
    loop += [replace(sims[0], remappings=_sim_remappings(robots, profile))] if sims else []
    extra: list[NodeSpec] = []
    includes: list[IncludeSpec] = []
    files: dict[Path, str] = {}
    if values['world'] == 'gazebo':
        extra, includes, files = _gazebo(values, namespace, profile)
    for robot in robots or ('',):
        extra += _host_tools(values, namespace, profile, robot)
    return Plan(nodes=(*loop, *extra), includes=tuple(includes), profile=profile,
                environment=environment(values['dds_profile'], base_environment), files=files)


def intercepted(what: Plan) -> Plan:
    """The plan with the sensors and clock of `sim` on raw topics, for the injector to pass on.

    The injector is no part of the plan: it is a tool that its user starts and speaks to.
    """
    raw = {name: prefixed(RAW, name) for name in SENSORS}
    return replace(what, nodes=tuple(
        replace(spec, remappings=(*(pair for pair in spec.remappings if pair[0] not in raw),
                                  *raw.items())) if spec.name == 'sim' else spec
        for spec in what.nodes))


def with_parameters(what: Plan, changes: Mapping[str, Mapping[str, Value]]) -> Plan:
    """The plan with parameters changed by node name. ConfigError for what is not accepted."""
    def changed(spec: NodeSpec) -> NodeSpec:
        parameters = {node: checked(node, {**values, **changes[node]}) if node in changes
                      else values for node, values in spec.parameters.items()}
        return replace(spec, parameters=parameters)

    return replace(what, nodes=tuple(map(changed, what.nodes)))


def _below(namespace: str, robot: str) -> str:
    """The namespace of one of several robots."""
    return f'{namespace}/{robot}' if robot else namespace


def _sim_remappings(robots: tuple[str, ...], profile: RobotProfile
                    ) -> tuple[tuple[str, str], ...]:
    """The names of a profile for `sim`, which stands in for the drivers of each robot."""
    prefixes = [f'{robot}/' for robot in robots] or ['']
    return tuple((prefix + name, target if target.startswith('/') else prefix + target)
                 for prefix in prefixes for name, target in profile.topics.items())


def _namespace(text: str) -> str:
    stripped = text.strip('/')
    if stripped and not all(part.isidentifier() for part in stripped.split('/')):
        raise ConfigError(f'namespace: {text!r} is not accepted; it takes names of letters, '
                          'digits and underscores, joined by /')
    return f'/{stripped}' if stripped else ''


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f'{name}: {text!r} is not accepted; it takes {kind.__name__}'
                          ) from None


def _loop(values: Mapping[str, str], namespace: str, robot: str, robots: tuple[str, ...],
          profile: RobotProfile) -> list[NodeSpec]:
    """The processes of the loop of one robot, the first or only one with its world."""
    parameters = _parameters(values, namespace, robot, robots, profile)
    loop = [_loop_node(name, namespace, robot, parameters, profile) for name in NODE_CONFIGS]
    absent = {'mujoco': ('base_guard',), 'gazebo': ('sim',), 'robot': ('sim', 'base_guard')}
    loop = [node for node in loop if node.name not in absent[values['world']]]
    return _compose(loop) if values['composed'] == 'true' else loop


def _parameters(values: Mapping[str, str], namespace: str, robot: str, robots: tuple[str, ...],
                profile: RobotProfile) -> dict[str, dict[str, Value]]:
    """Every node's parameters: profile and what follows from it, params_file, arguments; checked.

    Frames of one of several robots begin with its name, but for `sim`, which has all of them.
    """
    try:
        file = find('config', values['params_file'])
    except FileNotFoundError as error:
        raise ConfigError(f'params_file: {error}') from error
    from_file = read_parameters(file, namespace, robot, robots)
    from_arguments: dict[str, dict[str, Value]] = {name: {} for name in NODE_CONFIGS}
    if values['device']:
        for name in ('perception', 'policy'):
            from_arguments[name]['device'] = values['device']
    if values['world'] == 'mujoco':
        from_arguments['sim'].update(_sim_arguments(values, profile))
    else:
        for name in ('rate_factor',) if values['world'] == 'gazebo' else ('seed', 'rate_factor'):
            if values[name]:
                raise ConfigError(f'{name}: world:={values["world"]} has none; given '
                                  f'{values[name]!r}')
        if values['world'] == 'robot' and values['world_family']:
            raise ConfigError('world_family: a real robot has none; given '
                              f'{values["world_family"]!r}')
        if values['world'] == 'robot':
            profile.require_verified()
    merged: dict[str, dict[str, Value]] = {}
    follow = {**following(robot_of(profile, {})), 'sim': profile.simulation}
    for name in NODE_CONFIGS:
        from_profile = {**profile.parameters, **follow.get(name, {})}
        if name in ('control', 'sim', 'base_guard'):
            from_profile['stamped_cmd_vel'] = profile.stamped_cmd_vel
        # The sim node makes the clock, so it cannot follow it.
        sim_time = {'use_sim_time': values['use_sim_time'] == 'true' and name != 'sim'}
        given = {**from_profile, **from_file[name], **from_arguments[name], **sim_time}
        if robot and name != 'sim':
            given.update({frame: f'{robot}/{given.get(frame, default)}'
                          for frame, default in _FRAMES.items()})
        merged[name] = checked(name, given)
    alone = str(merged['sim'].get('robots', ''))
    if alone and not robots:
        raise ConfigError(f'sim: robots: {alone!r} in params_file starts no loops for them; give '
                          f'robots:={alone} instead')
    return merged


def _sim_arguments(values: Mapping[str, str], profile: RobotProfile) -> dict[str, Value]:
    if profile.description is None:
        raise ConfigError(f'robot: {profile.name!r} has no description, which world:=mujoco '
                          'needs')
    found: dict[str, Value] = {'robot_xacro': str(profile.description)}
    if values['world_family']:
        found['world'] = values['world_family']
    if values['seed']:
        found['seed'] = _number('seed', values['seed'], int)
    if values['robots']:
        found['robots'] = values['robots']
    if values['rate_factor']:
        found['rate_factor'] = _number('rate_factor', values['rate_factor'], float)
    return found


# The robot must stop first, so what proposes goes first, then what feeds it, then the gate,
# which has sent its zero by then; the world is last to take it.
_STOP_STAGES = {'policy': 0, 'sensor': 1, 'perception': 1, 'control': 2, 'base_guard': 3, 'sim': 3}


def _loop_node(name: str, namespace: str, robot: str,
               parameters: Mapping[str, Mapping[str, Value]], profile: RobotProfile) -> NodeSpec:
    own = '' if name == 'sim' else robot
    remappings = tuple(profile.topics.items())
    return NodeSpec(executable=name, name=name, namespace=_below(namespace, own), robot=own,
                    parameters={name: parameters[name]}, remappings=remappings,
                    respawn=name != 'sim', required=name == 'sim',
                    stop_stage=_STOP_STAGES[name])


def _compose(loop: list[NodeSpec]) -> list[NodeSpec]:
    """One process for the nodes that may share one. A bare `__node:=` would rename them all."""
    parts = [node for node in loop if node.name in COMPOSED]
    parameters = {node.name: node.parameters[node.name] for node in parts}
    remappings = tuple((f'{node.name}:__node', node.name) for node in parts)
    pipeline = NodeSpec(executable='pipeline', name='pipeline', robot=parts[0].robot,
                        namespace=parts[0].namespace, parameters=parameters,
                        remappings=remappings + parts[0].remappings, stop_stage=0)
    return [pipeline, *(node for node in loop if node.name not in COMPOSED)]


def _gazebo(values: Mapping[str, str], namespace: str, profile: RobotProfile
            ) -> tuple[list[NodeSpec], list[IncludeSpec], dict[Path, str]]:
    if profile.description is None or not profile.stamped_cmd_vel:
        raise ConfigError(f'robot: {profile.name!r}: world:=gazebo needs a description to spawn '
                          'and stamped_cmd_vel: true, which the bridge carries')
    world, start, files = _gazebo_world(values)
    flags = '-r' if values['gui'] == 'true' else '-r -s --headless-rendering'
    includes = [IncludeSpec('ros_gz_sim', 'launch/gz_sim.launch.py',
                            {'gz_args': f'{flags} {world}', 'on_exit_shutdown': 'true'})]
    robot = namespace.strip('/').replace('/', '_') or 'robot'
    nodes = [NodeSpec(package='ros_gz_sim', executable='create', name='create', respawn=False,
                      namespace=namespace,
                      arguments=('-name', robot, '-topic', 'robot_description', '-x',
                                 f'{start.x:.3f}', '-y', f'{start.y:.3f}', '-z', '0.1', '-Y',
                                 f'{start.yaw:.4f}'))]
    # Cameras have a process of their own: large images must not delay cmd_vel and odom.
    for part in ('base', 'camera'):
        name = f'bridge_{part}'
        file = share() / 'config' / 'bridge' / f'{part}.yaml'
        nodes.append(NodeSpec(
            package='ros_gz_bridge', executable='parameter_bridge', name=name,
            namespace=namespace, remappings=tuple(profile.topics.items()),
            parameters={name: {'config_file': str(file), 'use_sim_time': True}}))
    return nodes, includes, files


def _gazebo_world(values: Mapping[str, str]) -> tuple[Path, Pose2, dict[Path, str]]:
    """The world file, where the robot starts, and the text of a world that is generated."""
    family, worlds = values['world_family'] or 'yard', share() / 'worlds'
    if family in FAMILIES:
        from karpathy_control.worlds.generators import generate
        from karpathy_control.worlds.sdf import sdf_text

        seed = int(_number('seed', values['seed'] or '0', int))
        try:
            world = generate(family, seed)
        except ValueError as error:
            raise ConfigError(f'seed: {error}') from error
        path = cache_folder().parent / 'worlds' / f'{family}_{seed}.sdf'
        return path, world.start, {path: sdf_text(world)}
    path = worlds / f'{family}.sdf'
    if not path.is_file():
        known = ', '.join(sorted(path.stem for path in worlds.glob('*.sdf')))
        raise ConfigError(f'world_family: no Gazebo world {family!r}; it takes {known}, or one '
                          f'that is generated: {", ".join(FAMILIES)}')
    if values['seed']:
        raise ConfigError(f'seed: the world {family!r} has none; given {values["seed"]!r}')
    return path, Pose2(0.0, 0.0, 0.0), {}


def _host_tools(values: Mapping[str, str], namespace: str, profile: RobotProfile, robot: str
                ) -> list[NodeSpec]:
    """What only a ROS installation has, for one robot."""
    sim_time = values['use_sim_time'] == 'true'
    namespace = _below(namespace, robot)
    prefix = f'{robot}/' if robot else ''
    tools = []
    if profile.description is not None:
        tools.append(NodeSpec(
            package='robot_state_publisher', executable='robot_state_publisher',
            name='robot_state_publisher', namespace=namespace, robot=robot, optional=True,
            remappings=tuple((name, own) for name, own in profile.topics.items()
                             if name == 'joint_states'),
            parameters={'robot_state_publisher': {
                'robot_description': robot_description(profile), 'use_sim_time': sim_time,
                **({'frame_prefix': prefix} if prefix else {})}}))
    if values['rviz'] == 'true':
        config: Path = share() / 'config' / 'rviz' / 'karpathy_control.rviz'
        tools.append(NodeSpec(
            package='rviz2', executable='rviz2', name='rviz2', namespace=namespace,
            robot=robot, respawn=False,
            arguments=('-d', str(config), *(('-f', f'{prefix}odom') if prefix else ())),
            parameters={'rviz2': {'use_sim_time': sim_time}}))
    return tools

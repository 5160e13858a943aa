"""The plan: arguments in, processes out; nothing is started."""

from pathlib import Path

import pytest
import yaml

from karpathy_control.bringup.plan import (
    ARGUMENTS,
    SENSORS,
    intercepted,
    plan,
    resolve,
    with_parameters,
)
from karpathy_control.bringup.resources import share
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.interfaces import BY_NAME, TOPICS
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.sdf import sdf_text


def nodes(**config):
    return {spec.name: spec for spec in plan(config, {}).nodes}


def test_mujoco_is_the_loop_with_its_world():
    found = nodes()
    assert list(found) == ['sensor', 'perception', 'policy', 'control', 'sim',
                           'robot_state_publisher']
    assert [name for name, spec in found.items() if spec.required] == ['sim']
    assert not found['sim'].respawn
    assert all(found[name].respawn and found[name].respawn_delay == 0.5
               for name in ('sensor', 'perception', 'policy', 'control'))
    assert found['robot_state_publisher'].optional


def test_robot_has_no_simulator_and_wall_clock(measured):
    found = nodes(world='robot', robot=measured)
    assert list(found) == ['sensor', 'perception', 'policy', 'control']
    assert found['control'].parameters['control']['use_sim_time'] is False
    assert ('imu', 'imu/data') in found['sensor'].remappings


def test_a_real_robot_whose_command_timeout_nobody_measured_does_not_start():
    with pytest.raises(ConfigError, match=r"generic\.yaml: command_timeout_verified_by: 'Not ver"
                       r".*measure the time .*into a copy of the profile"):
        plan({'world': 'robot'}, {})


def test_sim_time_follows_the_world_but_never_for_the_clock_itself():
    found = nodes()
    assert found['control'].parameters['control']['use_sim_time'] is True
    assert found['sim'].parameters['sim']['use_sim_time'] is False
    assert nodes(use_sim_time='false')['policy'].parameters['policy']['use_sim_time'] is False


def test_stop_order_lets_the_gate_send_its_zero_before_the_world_goes():
    found = nodes()
    stages = [found[n].stop_stage for n in ('policy', 'sensor', 'perception', 'control', 'sim')]
    assert stages == [0, 1, 1, 2, 3]


def test_composed_is_one_process_and_never_renames_all_with_a_bare_node_remap():
    found = nodes(composed='true', namespace='r1')
    assert list(found) == ['pipeline', 'control', 'sim', 'robot_state_publisher']
    pipeline = found['pipeline']
    assert pipeline.node_name is None
    assert {a for a, _ in pipeline.remappings} == {
        'sensor:__node', 'perception:__node', 'policy:__node'}
    assert set(yaml.safe_load(pipeline.parameter_yaml())) == {
        '/r1/sensor', '/r1/perception', '/r1/policy'}


def test_order_of_precedence_profile_then_file_then_argument(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('/**: {ros__parameters: {robot.max_speed: 0.7}}\n'
                    'sim: {ros__parameters: {seed: 5, world: open}}\n'
                    'policy: {ros__parameters: {device: cpu}}')
    found = nodes(params_file=str(file), seed='9', device='cuda:1')
    assert found['control'].parameters['control']['robot.max_speed'] == 0.7
    assert found['control'].parameters['control']['robot.command_timeout'] == 0.25
    sim = found['sim'].parameters['sim']
    assert (sim['seed'], sim['world']) == (9, 'open')
    assert found['policy'].parameters['policy']['device'] == 'cuda:1'
    assert found['perception'].parameters['perception']['device'] == 'cuda:1'


def test_every_node_gets_the_shape_of_the_robot():
    found = nodes()
    shapes = [found[n].parameters[n]['robot.footprint']
              for n in ('sensor', 'perception', 'policy', 'control', 'sim')]
    assert all(shape == shapes[0] for shape in shapes) and len(shapes[0]) >= 8


def test_namespace_is_made_absolute():
    for text in ('r1', '/r1', '/r1/'):
        assert nodes(namespace=text)['sensor'].namespace == '/r1'
    assert set(yaml.safe_load(nodes()['sim'].parameter_yaml())) == {'/sim'}


def test_gazebo_includes_the_simulator_spawns_and_bridges_twice():
    what = plan({'world': 'gazebo'}, {})
    (include,) = what.includes
    assert (include.package, include.launch_file) == ('ros_gz_sim', 'launch/gz_sim.launch.py')
    assert include.arguments['gz_args'].startswith('-r -s --headless-rendering /')
    assert include.arguments['gz_args'].endswith('/worlds/yard.sdf')
    found = {spec.name: spec for spec in what.nodes}
    assert 'sim' not in found and 'base_guard' in found
    assert [s.name for s in what.nodes if s.executable == 'parameter_bridge'] == [
        'bridge_base', 'bridge_camera']
    assert found['create'].arguments[:4] == ('-name', 'robot', '-topic', 'robot_description')
    assert found['create'].respawn is False
    window = plan({'world': 'gazebo', 'gui': 'true'}, {})
    assert '--headless-rendering' not in window.includes[0].arguments['gz_args']


def test_gazebo_takes_generated_worlds_and_starts_where_they_say():
    what = plan({'world': 'gazebo', 'world_family': 'rooms', 'seed': '7'}, {})
    path = Path(what.includes[0].arguments['gz_args'].split()[-1])
    world = generate('rooms', 7)
    assert path.name == 'rooms_7.sdf' and what.files == {path: sdf_text(world)}
    arguments = next(s for s in what.nodes if s.name == 'create').arguments
    given = {arguments[i]: float(arguments[i + 1]) for i in (4, 6, 10)}
    assert given == pytest.approx(
        {'-x': world.start.x, '-y': world.start.y, '-Y': world.start.yaw}, abs=1e-3)


def test_bridge_files_agree_with_the_interface_table():
    known = set()
    for part in ('base', 'camera'):
        for row in yaml.safe_load((share() / 'config/bridge' / f'{part}.yaml').read_text()):
            name = row['ros_topic_name']
            known.add(name)
            if name == '/tf':
                continue
            topic = BY_NAME[name]
            assert row['ros_type_name'] == topic.type
            assert row['direction'] == ('GZ_TO_ROS' if topic.writer == 'sim' else 'ROS_TO_GZ')
    physical = {name for name, topic in BY_NAME.items()
                if topic.writer == 'sim' and not name.startswith('sim/')}
    # the base is reached through the guard, since DiffDrive has no command timeout
    assert known - {'/tf', 'base/cmd_vel'} == physical


def test_several_robots_are_one_world_and_a_loop_for_each():
    specs = plan({'robots': 'a, b', 'namespace': 'hall', 'seed': '3'}, {}).nodes
    found = {spec.process: spec for spec in specs}
    assert len(found) == len(specs)  # no two share a log or a parameter file
    loop = ('sensor', 'perception', 'policy', 'control')
    assert list(found) == [*(f'a/{n}' for n in loop), *(f'b/{n}' for n in loop), 'sim',
                           'a/robot_state_publisher', 'b/robot_state_publisher']
    assert set(yaml.safe_load(found['b/control'].parameter_yaml())) == {'/hall/b/control'}
    assert set(yaml.safe_load(found['sim'].parameter_yaml())) == {'/hall/sim'}
    assert len({spec.enclave for spec in specs}) == len(specs)
    sim = found['sim'].parameters['sim']
    # the simulator puts the name before the frames itself, for all of them
    assert (sim['robots'], sim['robot.odom_frame']) == ('a, b', 'odom')
    for name in loop:
        own = found[f'b/{name}'].parameters[name]
        assert (own['robot.odom_frame'], own['robot.base_frame']) == ('b/odom', 'b/base_link')
    publisher = found['b/robot_state_publisher'].parameters['robot_state_publisher']
    assert publisher['frame_prefix'] == 'b/'
    composed = {spec.process for spec in plan({'robots': 'a,b', 'composed': 'true'}, {}).nodes}
    assert {'a/pipeline', 'a/control', 'b/pipeline', 'b/control', 'sim'} <= composed


def test_the_simulator_speaks_by_the_names_of_the_profile(tmp_path):
    jackal = yaml.safe_load((share() / 'config' / 'robots' / 'jackal.yaml').read_text())
    jackal['topics'] = {'scan': 'front/scan', 'cmd_vel': '/drive'}
    path = tmp_path / 'own.yaml'
    path.write_text(yaml.safe_dump(jackal))
    alone = nodes(robot=str(path))
    for name in ('sim', 'control'):
        assert dict(alone[name].remappings) == {'scan': 'front/scan', 'cmd_vel': '/drive'}
    two = {spec.process: spec for spec in plan({'robot': str(path), 'robots': 'a,b'}, {}).nodes}
    assert two['b/control'].remappings == alone['control'].remappings  # below its namespace
    assert dict(two['sim'].remappings) == {
        'a/scan': 'a/front/scan', 'a/cmd_vel': '/drive',
        'b/scan': 'b/front/scan', 'b/cmd_vel': '/drive'}


def test_a_robot_alone_has_no_prefix():
    assert all(spec.process == spec.name for spec in plan({'namespace': 'r1'}, {}).nodes)
    control = nodes(namespace='r1')['control'].parameters['control']
    assert control['robot.odom_frame'] == 'odom'
    assert nodes()['sim'].parameters['sim']['robots'] == ''
    publisher = nodes()['robot_state_publisher'].parameters['robot_state_publisher']
    assert 'frame_prefix' not in publisher


def test_a_file_may_speak_of_all_robots_or_of_one(tmp_path):
    file = tmp_path / 'mine.yaml'
    # the exact one comes first, and still wins
    file.write_text('/b/control: {ros__parameters: {gate.margin: 0.2}}\n'
                    'control: {ros__parameters: {gate.margin: 0.1, robot.odom_frame: o}}\n')
    found = {spec.process: spec.parameters.get(spec.name)
             for spec in plan({'robots': 'a,b', 'params_file': str(file)}, {}).nodes}
    assert found['a/control']['gate.margin'] == 0.1
    assert found['b/control']['gate.margin'] == 0.2
    assert found['a/control']['robot.odom_frame'] == 'a/o'
    with pytest.raises(ConfigError, match=r"section '/b/control' means no node.*in /a"):
        plan({'robots': 'a', 'params_file': str(file)}, {})


def test_robots_in_the_file_alone_would_have_no_loop(tmp_path):
    file = tmp_path / 'mine.yaml'
    file.write_text('sim: {ros__parameters: {robots: "a,b"}}')
    with pytest.raises(ConfigError, match=r"sim: robots: 'a,b'.*robots:=a,b"):
        plan({'params_file': str(file)}, {})
    assert 'c/control' in {s.process for s in plan(
        {'params_file': str(file), 'robots': 'c'}, {}).nodes}


@pytest.mark.parametrize(('config', 'said'), [
    ({'robots': 'a,a'}, "robots: 'a,a' is not accepted; it takes up to 5 different names"),
    ({'robots': 'a,,b'}, "robots: 'a,,b' is not accepted"),
    ({'robots': 'a b'}, "robots: 'a b' is not accepted"),
    ({'robots': '1st,2nd'}, "robots: '1st,2nd' is not accepted"),
    ({'robots': 'a__b'}, "robots: 'a__b' is not accepted"),
    ({'robots': 'a,b,c,d,e,f'}, 'takes up to 5'),
    ({'robots': 'a,b', 'world': 'gazebo'}, 'robots: world:=gazebo has one robot'),
    ({'wrold': 'mujoco'}, "unknown argument 'wrold'"),
    ({'world': 'moon'}, "world: 'moon' is not accepted; it takes one of 'mujoco'"),
    ({'world_family': 'moon'}, "sim: world: 'moon' is not accepted; it takes one of 'mixed'"),
    ({'world': 'gazebo', 'world_family': 'moon'}, "no Gazebo world 'moon'.*yard"),
    ({'world': 'robot', 'seed': '1'}, 'seed: world:=robot has none'),
    ({'world': 'gazebo', 'rate_factor': '1'}, 'rate_factor: world:=gazebo has none'),
    ({'world': 'gazebo', 'seed': '1'}, "the world 'yard' has none; given '1'"),
    ({'world': 'gazebo', 'world_family': 'open', 'seed': '-1'}, 'seed: world seed -1'),
    ({'world': 'robot', 'world_family': 'open'}, 'a real robot has none'),
    ({'seed': 'one'}, "seed: 'one' is not accepted; it takes int"),
    ({'seed': '-1'}, r'sim: seed: -1 is out of range'),
    ({'rate_factor': '1000'}, r'rate_factor: 1000.0 is out of range'),
    ({'robot': 'generic'}, 'has no description'),
    ({'params_file': 'none.yaml'}, 'none.yaml'),
    ({'dds_profile': 'lan'}, "dds_profile: 'lan'"),
    ({'namespace': 'a b'}, "namespace: 'a b'"),
])
def test_wrong_argument_is_refused_by_name_and_value(config, said):
    with pytest.raises(ConfigError, match=said):
        plan(config, {})


def test_resolve_fills_in_the_robot():
    assert resolve({})['robot'] == 'jackal'
    assert resolve({'world': 'robot'})['robot'] == 'generic'
    assert all(a.default in a.choices for a in ARGUMENTS if a.choices)


def test_environment_is_part_of_the_plan():
    values = plan({'dds_profile': 'local'}, {}).environment
    assert values['FASTDDS_DEFAULT_PROFILES_FILE'].endswith('local.xml')
    assert values['ROS_PYTHON_CHECK_FIELDS'] == '1'


def test_intercepted_sensors_are_raw_at_the_simulator_alone():
    before, after = plan({}, {}), intercepted(plan({}, {}))
    for old, new in zip(before.nodes, after.nodes, strict=True):
        if new.name != 'sim':
            assert new == old
            continue
        assert dict(new.remappings) == {
            **{name: f'raw/{name}' for name in SENSORS}, '/clock': '/raw/clock'}
        written = {t.name for t in TOPICS if t.writer == 'sim' and 'sensor' in t.readers}
        assert written == set(SENSORS)


def test_parameters_are_changed_by_node_and_checked():
    changed = with_parameters(plan({}, {}), {'control': {'gate.margin': 0.1}})
    control = next(node for node in changed.nodes if node.name == 'control')
    assert control.parameters['control']['gate.margin'] == 0.1
    with pytest.raises(ConfigError, match=r'gate\.margin'):
        with_parameters(plan({}, {}), {'control': {'gate.margin': 9.0}})


def own_names(folder, **topics):
    """The Jackal with other names for its topics."""
    jackal = yaml.safe_load((share() / 'config' / 'robots' / 'jackal.yaml').read_text())
    path = folder / 'own.yaml'
    path.write_text(yaml.safe_dump({**jackal, 'topics': topics}))
    return str(path)


def test_the_bridges_speak_by_the_names_of_the_profile(tmp_path):
    topics = {'scan': 'front/scan', 'camera/image_raw': 'oak/image', 'joint_states': 'wheels',
              'cmd_vel': 'drive'}
    found = nodes(world='gazebo', robot=own_names(tmp_path, **topics))
    for name in ('sensor', 'control', 'base_guard', 'bridge_base', 'bridge_camera'):
        assert dict(found[name].remappings) == topics
    # The bridge files name the topics of the table, so each remapping meets one of them.
    told = {row['ros_topic_name'] for part in ('base', 'camera') for row in yaml.safe_load(
        (share() / 'config/bridge' / f'{part}.yaml').read_text())}
    assert set(topics) - {'cmd_vel'} <= told  # which ends at the guard
    assert found['robot_state_publisher'].remappings == (('joint_states', 'wheels'),)
    assert nodes(world='gazebo')['bridge_base'].remappings == ()


def test_faults_come_between_a_robot_of_other_names_and_its_loop(tmp_path):
    own = plan({'robot': own_names(tmp_path, scan='front/scan', cmd_vel='drive')}, {})
    found = {spec.name: dict(spec.remappings) for spec in intercepted(own).nodes}
    # The simulator sends raw/scan, the injector makes front/scan of it (tool_arguments), which
    # the loop hears.
    assert found['sim']['scan'] == 'raw/scan' and found['sim']['cmd_vel'] == 'drive'
    assert found['control'] == {'scan': 'front/scan', 'cmd_vel': 'drive'}


def test_what_follows_from_the_rates_reaches_the_nodes_and_a_file_wins(tmp_path):
    found = nodes(robot='turtlebot3_burger')
    assert found['control'].parameters['control']['max_age.scan'] == 0.5
    assert found['sensor'].parameters['sensor']['robot.camera_rate'] == 0.0
    sim = found['sim'].parameters['sim']
    assert (sim['lidar.rate'], sim['lidar.beams'], sim['camera.enabled']) == (5.0, 360, False)
    file = tmp_path / 'own.yaml'
    file.write_text('control: {ros__parameters: {max_age.scan: 0.45}}\n'
                    'sim: {ros__parameters: {lidar.beams: 90}}\n')
    found = nodes(robot='turtlebot3_burger', params_file=str(file))
    assert found['control'].parameters['control']['max_age.scan'] == 0.45
    assert found['sim'].parameters['sim']['lidar.beams'] == 90
    file.write_text('control: {ros__parameters: {max_age.scan: 1.0}}\n')
    with pytest.raises(ConfigError, match=r'control: max_age\.scan: .*fault_budget of at least'):
        plan({'robot': 'turtlebot3_burger', 'params_file': str(file)}, {})


def test_the_turtlebots_are_for_a_simulator_until_somebody_measures():
    for robot in ('turtlebot3_burger', 'turtlebot3_waffle_pi', 'turtlebot4'):
        for world in ('mujoco', 'gazebo'):
            assert nodes(world=world, robot=robot)['control']
        with pytest.raises(ConfigError, match=rf'{robot}\.yaml: command_timeout_verified_by'):
            plan({'world': 'robot', 'robot': robot}, {})

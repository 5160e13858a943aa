"""Robot profiles: what they must state, and what is refused."""

import math
import xml.etree.ElementTree as ET

import pytest
import yaml

from karpathy_control.bringup.resources import share
from karpathy_control.bringup.robots import (
    adapted,
    load_profile,
    robot_description,
    robot_of,
    tool_arguments,
    topic_of,
)
from karpathy_control.contracts.config import (
    ConfigError,
    ControlConfig,
    SimConfig,
    from_mapping,
)


@pytest.fixture
def generic():
    return yaml.safe_load((share() / 'config' / 'robots' / 'generic.yaml').read_text())


def load(folder, data):
    path = folder / 'robot.yaml'
    path.write_text(yaml.safe_dump(data))
    return load_profile(str(path))


def test_jackal_takes_its_shape_from_the_xacro():
    profile = load_profile('jackal')
    footprint = profile.parameters['robot.footprint']
    # 0.458 x 0.416 m overall, centred
    assert max(footprint[::2]) == pytest.approx(0.229, abs=1e-3)
    assert min(footprint[1::2]) == pytest.approx(-0.208, abs=1e-3)
    assert profile.parameters['robot.command_timeout'] == 0.25
    assert '<robot' in robot_description(profile)


def test_generic_states_its_shape_itself():
    profile = load_profile('generic')
    assert profile.description is None
    assert profile.topics['camera/image_raw'] == 'camera/color/image_raw'
    with pytest.raises(ConfigError, match='has no description'):
        robot_description(profile)


def test_what_begins_with_not_verified_is_no_measurement(tmp_path, generic):
    assert not load_profile('generic').verified
    assert load_profile('jackal').verified
    own = {**generic, 'command_timeout_verified_by': 'A. N. Other, 0.2 s, 2026-11-02'}
    profile = load(tmp_path, own)
    profile.require_verified()
    own['command_timeout_verified_by'] = '  NOT verified yet'
    with pytest.raises(ConfigError, match=r"robot\.yaml: command_timeout_verified_by: 'NOT verif"):
        load(tmp_path, own).require_verified()


def test_a_tool_hears_a_robot_by_its_own_names(generic):
    generic_profile = load_profile('generic')
    arguments = tool_arguments(generic_profile, '/r1')
    assert arguments[0] == '--ros-args' and arguments[1::2] == ['-r'] * 5
    assert {'imu:=imu/data', '__ns:=/r1'} <= set(arguments)
    assert topic_of(generic_profile, '/r1', 'imu') == '/r1/imu/data'
    assert topic_of(generic_profile, '', 'scan') == '/scan'
    assert topic_of(generic_profile, '/r1', '/diagnostics') == '/diagnostics'
    assert tool_arguments(load_profile('jackal'), '') == []  # a bare --ros-args is refused


@pytest.mark.parametrize(('change', 'said'), [
    ({'command_timeout_verified_by': ' '}, 'who measured'),
    ({'command_timeout': 0.5}, r'command_timeout: 0.5 is out of range; .* 0.3'),
    ({'command_timeout': '0.2'}, 'wrong type'),
    ({'colour': 'red'}, "unknown key 'colour'"),
    ({'topics': {'observation/scan': 'x'}}, 'not a topic of the robot'),
    ({'topics': {'scan': ''}}, 'not a topic name'),
    ({'description': 'no.xacro'}, 'no.xacro'),
    ({'stamped_cmd_vel': 1}, 'wrong type'),
    ({'name': '../../etc/cron.d/x'}, 'name: '),
    ({'name': 'r\nx'}, 'name: '),
    ({'name': ''}, 'name: '),
    ({'topics': {'scan': 'scan -p use_sim_time:=true'}}, 'not a topic name'),
    ({'topics': {'scan': 'a//b'}}, 'not a topic name'),
    ({'topics': {'scan': '../scan'}}, 'not a topic name'),
    ({'description': '/etc/passwd'}, 'ends in .xacro'),
    ({'description': '/dev/zero.xacro'}, '/dev/zero.xacro'),
    ({'robot': {'max_speed': math.inf}}, 'footprint is missing|max_speed'),
    ({'command_timeout': math.nan}, 'command_timeout: nan'),
])
def test_wrong_profile_is_refused_with_file_and_reason(tmp_path, generic, change, said):
    with pytest.raises(ConfigError, match=said) as error:
        load(tmp_path, {**generic, **change})
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize('key', ['command_timeout', 'command_timeout_verified_by', 'robot'])
def test_nothing_may_be_missing(tmp_path, generic, key):
    del generic[key]
    with pytest.raises(ConfigError, match=f'{key} is missing'):
        load(tmp_path, generic)


@pytest.mark.parametrize('key', ['footprint', 'lidar_pose'])
def test_without_description_the_shape_is_stated(tmp_path, generic, key):
    del generic['robot'][key]
    with pytest.raises(ConfigError, match=f'robot.{key} is missing'):
        load(tmp_path, generic)


def test_wrong_limit_is_refused_by_the_same_rules_as_a_parameter(tmp_path, generic):
    generic['robot']['max_speed'] = 40.0
    with pytest.raises(ConfigError, match=r'max_speed: 40.0 is out of range'):
        load(tmp_path, generic)
    generic['robot'] = {**generic['robot'], 'max_speed': 1.0, 'maximum': 1.0}
    with pytest.raises(ConfigError, match="unknown parameter 'maximum'"):
        load(tmp_path, generic)


@pytest.mark.parametrize(('text', 'said'), [
    ('a: &a [1]\nb: *a\n', 'alias'),
    ('name: a\nname: b\n', 'twice'),
    ('1: a\n', 'not text'),
    ('name: !!python/object/apply:os.system ["true"]', 'not readable as YAML'),
    ('name: ' + 'x' * 300_000, 'larger than'),
])
def test_hostile_file_is_refused(tmp_path, text, said):
    path = tmp_path / 'robot.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        load_profile(str(path))
    assert str(path) in str(error.value)


def test_hostile_description_of_a_profile_is_refused(tmp_path, generic):
    own = tmp_path / 'own.xacro'
    own.write_text('<!DOCTYPE robot [<!ENTITY a "b">]><robot>&a;</robot>')
    with pytest.raises(ConfigError, match='document type definition'):
        load(tmp_path, {**generic, 'description': str(own)})


def test_unknown_name_says_where_it_looked():
    with pytest.raises(ConfigError, match='config/robots'):
        load_profile('husky')


TURTLEBOTS = ('turtlebot3_burger', 'turtlebot3_waffle_pi', 'turtlebot4')


def sensor(root, kind):
    """A sensor of the <gazebo> blocks of a description."""
    return next(s for s in root.iter('sensor') if kind in s.get('type'))


@pytest.mark.parametrize('name', ['jackal', *TURTLEBOTS])
def test_profile_and_description_tell_the_same_of_the_sensors(name):
    """MuJoCo takes them from the profile, Gazebo from the description."""
    profile = load_profile(name)
    sim = from_mapping(SimConfig, profile.simulation)
    root = ET.fromstring(robot_description(profile))
    lidar = sensor(root, 'lidar')
    assert float(lidar.findtext('update_rate')) == sim.lidar.rate
    assert int(lidar.findtext('lidar/scan/horizontal/samples')) == sim.lidar.beams
    limits = [float(lidar.findtext(f'lidar/range/{end}')) for end in ('min', 'max')]
    assert limits == [sim.lidar.range_min, sim.lidar.range_max]
    first, last = (float(lidar.findtext(f'lidar/scan/horizontal/{end}_angle'))
                   for end in ('min', 'max'))
    assert first == pytest.approx(-0.5 * sim.lidar.fov, abs=1e-4)
    step = (last - first) / (sim.lidar.beams - 1)
    assert last - first == pytest.approx(min(sim.lidar.fov, 2.0 * math.pi - step), abs=1e-4)
    assert float(sensor(root, 'imu').findtext('update_rate')) == sim.imu.rate
    drive = next(p for p in root.iter('plugin') if 'DiffDrive' in p.get('name'))
    assert float(drive.findtext('odom_publish_frequency')) == sim.odometry.rate
    # the profile asks no more of the base than its driver allows
    robot = robot_of(profile, {})
    for tag, wanted in (('linear_velocity', robot.max_speed), ('angular_velocity', robot.max_turn),
                        ('linear_acceleration', robot.acceleration),
                        ('angular_acceleration', robot.turn_acceleration)):
        assert wanted <= float(drive.findtext(f'max_{tag}'))
    assert robot.deceleration <= -float(drive.findtext('min_linear_acceleration'))
    cameras = [s for s in root.iter('sensor') if 'camera' in s.get('type')]
    assert len(cameras) == (name != 'turtlebot3_burger')
    if not cameras:
        assert not sim.camera.enabled
        return
    camera, = cameras  # of the TurtleBots it is described, and left out by the profile
    assert float(camera.findtext('update_rate')) == sim.camera.rate
    size = [int(camera.findtext(f'camera/image/{side}')) for side in ('width', 'height')]
    assert size == [sim.camera.width, sim.camera.height]
    assert float(camera.findtext('camera/horizontal_fov')) == pytest.approx(sim.camera.hfov)
    assert ('rgbd' in camera.get('type')) is sim.camera.depth


@pytest.mark.parametrize(('name', 'length', 'width', 'height'), [
    ('turtlebot3_burger', 0.138, 0.178, 0.192), ('turtlebot3_waffle_pi', 0.281, 0.306, 0.141),
    ('turtlebot4', 0.342, 0.339, 0.351)])
def test_sizes_are_those_of_the_makers(name, length, width, height):
    """By their data sheets, m; the descriptions that ours follow differ by millimetres."""
    robot = robot_of(load_profile(name), {})
    spans = robot.polygon.max(axis=0) - robot.polygon.min(axis=0)
    assert spans == pytest.approx([length, width], abs=0.004)
    assert robot.height == pytest.approx(height, abs=0.002)


@pytest.mark.parametrize('name', TURTLEBOTS)
def test_nobody_has_measured_a_turtlebot(name):
    profile = load_profile(name)
    assert not profile.verified
    assert robot_of(profile, {}).scan_order == 'backward'


def test_a_profile_whose_lidar_the_gate_cannot_bear_is_refused(tmp_path, generic):
    generic['robot'] = {**generic['robot'], 'scan_rate': 5.0, 'fault_budget': 0.0}
    with pytest.raises(ConfigError, match=r'robot\.yaml: max_age\.scan: .*fault_budget of at '):
        load(tmp_path, generic)
    generic['robot']['fault_budget'] = 0.6
    assert load(tmp_path, generic).simulation['lidar.rate'] == 5.0


@pytest.mark.parametrize(('simulation', 'said'), [
    ({'lidar.rate': 5.0}, r'simulation\.lidar\.rate: robot\.scan_rate says that'),
    ({'camera.enabled': False}, r'robot\.camera_rate says that'),
    ({'world': 'open'}, r'simulation\.world: it takes parameters of the sensors'),
    ({'lidar.beam': 9}, r"simulation: unknown parameter 'lidar\.beam'; did you mean"),
    ({'lidar.fov': 9.0}, r'simulation: lidar\.fov: 9\.0 is out of range'),
    ([], 'simulation: .* wrong type')])
def test_wrong_simulation_is_refused(tmp_path, generic, simulation, said):
    with pytest.raises(ConfigError, match=said) as error:
        load(tmp_path, {**generic, 'simulation': simulation})
    assert str(tmp_path) in str(error.value)


def test_a_camera_that_the_description_lacks_is_refused(tmp_path):
    data = yaml.safe_load((share() / 'config/robots/turtlebot3_burger.yaml').read_text())
    data['robot']['camera_rate'] = 20.0
    with pytest.raises(ConfigError, match=r'robot\.camera_rate: 20 Hz, but .* no camera_link'):
        load(tmp_path, data)


def test_what_somebody_chose_is_not_adapted():
    burger = robot_of(load_profile('turtlebot3_burger'), {})
    assert adapted(ControlConfig(), burger).max_age.scan == 0.5
    chosen = from_mapping(ControlConfig, {'max_age.scan': 0.45, 'robot.fault_budget': 0.5})
    assert adapted(chosen, burger).max_age.scan == 0.45
    assert adapted(ControlConfig(), burger).robot == burger

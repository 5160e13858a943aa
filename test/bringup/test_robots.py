"""Robot profiles: what they must state, and what is refused."""

import math

import pytest
import yaml

from karpathy_control.bringup.resources import share
from karpathy_control.bringup.robots import (
    load_profile,
    robot_description,
    tool_arguments,
    topic_of,
)
from karpathy_control.contracts.config import ConfigError


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

"""Which Fast DDS profile is put into force, and which files are refused before anything starts."""

import os
import re
from pathlib import Path

import pytest

from karpathy_control.bringup.dds import (
    check_profile,
    dds_environment,
    opened,
    own_ports,
    participant_number,
    profile_file,
)
from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.config import ConfigError

GOOD = ('<dds xmlns="http://www.eprosima.com"><profiles><participant profile_name="p" '
        'is_default_profile="true"/></profiles></dds>')


@pytest.mark.parametrize('name', ['local', 'host'])
def test_shipped_profiles_are_accepted(name):
    check_profile(profile_file(name))


def test_local_profile_opens_no_socket_and_host_profile_has_udp():
    local, host = (profile_file(name).read_text() for name in ('local', 'host'))
    assert 'UDP' not in local and '<useBuiltinTransports>false' in local
    assert '<type>UDPv4</type>' in host and '<type>SHM</type>' in host
    # 8 MB: eight 640x480 rgb8 images of 0.92 MB, where the default of 512 KB holds none
    assert '<segment_size>8388608</segment_size>' in local
    assert '<segment_size>8388608</segment_size>' in host


@pytest.mark.parametrize(('text', 'said'), [
    (GOOD.replace('</dds>', ''), 'not well-formed'),
    ('<!DOCTYPE dds [<!ENTITY a "b">]>' + GOOD, 'document type definition'),
    ('<config/>', 'the root is <config>'),
    ('<dds><profile/></dds>', 'unknown section <profile>'),
    ('<dds><profiles/></dds>', 'no profile'),
    ('', 'not well-formed'),
])
def test_profile_that_fast_dds_would_drop_is_refused(tmp_path, text, said):
    path = tmp_path / 'profile.xml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        check_profile(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('text', [
    GOOD, '<profiles><participant profile_name="p"/></profiles>'])
def test_both_roots_of_fast_dds_are_accepted(tmp_path, text):
    path = tmp_path / 'profile.xml'
    path.write_text(text)
    check_profile(path)


def test_unknown_profile_name_says_which_there_are():
    with pytest.raises(ConfigError, match=r"'lan'.*'host', 'local', 'none'"):
        profile_file('lan')


def test_missing_file_is_refused():
    with pytest.raises(ConfigError, match='no such file'):
        check_profile(Path('/nowhere/profile.xml'))


def test_profile_in_force():
    assert dds_environment('none', {}) == {'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp'}
    host = dds_environment('host', {})
    assert host['FASTDDS_DEFAULT_PROFILES_FILE'].endswith('config/dds/host.xml')
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE' not in host
    # LOCALHOST would add sockets to the local profile without a word
    local = dds_environment('local', {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
    assert local['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SYSTEM_DEFAULT'


def test_profile_of_the_caller_is_kept_but_checked(tmp_path):
    own = tmp_path / 'own.xml'
    own.write_text(GOOD)
    base = {'FASTDDS_DEFAULT_PROFILES_FILE': str(own)}
    assert 'FASTDDS_DEFAULT_PROFILES_FILE' not in dds_environment('local', base)
    own.write_text('<dds>')
    with pytest.raises(ConfigError, match='not well-formed'):
        dds_environment('local', base)


def test_another_rmw_is_left_alone():
    assert dds_environment('local', {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'}) == {}


def test_environment_keeps_what_the_caller_chose():
    values = environment('none', {'OMP_NUM_THREADS': '4', 'NUMBA_CACHE_DIR': '/c'})
    assert 'OMP_NUM_THREADS' not in values and 'NUMBA_CACHE_DIR' not in values
    assert values['NUMBA_NUM_THREADS'] == '1'
    # Not a choice: without it an int in a float field is sent as garbage.
    assert environment('none', {'ROS_PYTHON_CHECK_FIELDS': '0'})['ROS_PYTHON_CHECK_FIELDS'] == '1'


@pytest.mark.parametrize(('profile', 'base', 'said'), [
    ('local', {}, 'no socket'),
    ('host', {}, 'ports 7000, 7400 (multicast 239.255.0.1), two of 7410 to 7649'),
    ('host', {'ROS_DOMAIN_ID': '3'},
     'ports 7000, 8150 (multicast 239.255.0.1), two of 8160 to 8399'),
    ('none', {'ROS_DOMAIN_ID': '0'}, 'UDPv4 on every interface (lo'),
    ('local', {'RMW_IMPLEMENTATION': 'rmw_zenoh_cpp'}, 'rmw_zenoh_cpp decides'),
    ('local', {'FASTDDS_DEFAULT_PROFILES_FILE': str(profile_file('host'))}, 'in the environment'),
])
def test_what_a_profile_opens_is_said(profile, base, said):
    assert said in opened(profile, base)


@pytest.mark.parametrize('domain', ['233', '-1', '1e999', 'x', '\u0663'])
def test_domain_that_has_no_ports_is_refused(domain):
    with pytest.raises(ConfigError, match='takes 0 to 232'):
        opened('host', {'ROS_DOMAIN_ID': domain})


def test_a_number_whose_port_is_there_is_not_taken_again(tmp_path):
    # domain 3: 7400 + 750 + 10 + 2 n; pid 205 starts at 20 + 205 % 100 = 25
    assert participant_number(205, 3, tmp_path) == 25
    (tmp_path / 'fastdds_port8210').touch()
    assert participant_number(205, 3, tmp_path) == 26
    assert participant_number(205, 4, tmp_path) == 25
    for n in range(20, 120):
        (tmp_path / f'fastdds_port{8160 + 2 * n}').touch()
    assert participant_number(205, 3, tmp_path) == 25  # all are taken: Fast DDS moves on itself


def test_a_process_has_ports_of_its_own(monkeypatch):
    path = str(profile_file('local'))
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', path)
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    with own_ports():
        file = Path(os.environ['FASTDDS_DEFAULT_PROFILES_FILE'])
        check_profile(file)
        number = re.search(r'<rtps><participantID>(\d+)</participantID>', file.read_text())
        assert 20 <= int(number[1]) <= 119
    assert os.environ['FASTDDS_DEFAULT_PROFILES_FILE'] == path
    assert not file.exists()


@pytest.mark.parametrize(('path', 'domain'), [('/else.xml', '7'), ('', '7'), ('local', '232')])
def test_another_profile_is_left_alone(monkeypatch, path, domain):
    path = str(profile_file('local')) if path == 'local' else path
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', path)
    monkeypatch.setenv('ROS_DOMAIN_ID', domain)
    with own_ports():
        assert os.environ['FASTDDS_DEFAULT_PROFILES_FILE'] == path


def test_a_domain_that_is_none_is_refused_by_name(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', 'x')
    with pytest.raises(ConfigError, match="ROS_DOMAIN_ID: 'x'"), own_ports():
        pass

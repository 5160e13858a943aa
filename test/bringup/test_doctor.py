"""The doctor: each finding has a detail, and a cure where it is bad."""

import json
import os

import pytest

from karpathy_control.bringup import doctor
from karpathy_control.bringup.plan import enclave
from karpathy_control.bringup.resources import share
from karpathy_control.contracts.card import write_card


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'actor.safetensors'
    path.write_bytes(b'tensor')
    write_card(path, 'actor', {}, 'train', 0, 'abc', {})
    return path


def test_weights_with_their_card_are_well(weights):
    found = doctor.check_weights('actor', str(weights))
    assert found.ok and not found.cure


def test_tampered_and_missing_weights_are_found(weights, tmp_path):
    weights.write_bytes(b'another')
    found = doctor.check_weights('actor', str(weights))
    assert not found.ok and 'sha256' in found.detail
    assert 'karpathy-control train policy' in found.cure
    assert not doctor.check_weights('encoder', str(tmp_path / 'none.safetensors')).ok


def test_a_robot_that_nobody_measured_is_found():
    found = doctor.check_robot('generic')
    assert not found.ok and 'is no measurement' in found.detail and found.cure
    assert doctor.check_robot('jackal').ok


def test_an_encoder_without_its_statistics_is_found(tmp_path):
    assert doctor.check_novelty('encoder.safetensors').ok
    shipped = share() / 'weights' / 'encoder.safetensors'
    own = tmp_path / 'encoder.safetensors'
    own.write_bytes(shipped.read_bytes())
    found = doctor.check_novelty(str(own))
    assert not found.ok and 'encoder.ood.safetensors: no such file' in found.detail
    assert found.cure == f'karpathy-control train novelty --weights {own}'
    beside = tmp_path / 'encoder.ood.safetensors'
    beside.write_bytes((share() / 'weights' / 'encoder.ood.safetensors').read_bytes())
    assert doctor.check_novelty(str(own)).ok
    own.write_bytes(own.read_bytes() + b'x')
    assert 'made for other weights' in doctor.check_novelty(str(own)).detail
    assert not doctor.check_novelty(str(tmp_path / 'none.safetensors')).ok


def test_small_shared_memory_is_found(tmp_path, monkeypatch):
    assert doctor.check_shared_memory(tmp_path / 'none').ok is False
    usage = doctor.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, 'disk_usage',
                        lambda _path: usage._replace(total=64_000_000, free=64_000_000))
    found = doctor.check_shared_memory(tmp_path)
    assert not found.ok and '--shm-size' in found.cure  # Docker's default of 64 MB


def test_files_of_dead_nodes_are_counted(tmp_path):
    for name in ('fastdds_0123456789abcdef', 'fastdds_0123456789abcdef_el'):
        (tmp_path / name).write_bytes(bytes(3_000_000))
        os.utime(tmp_path / name, (0, 0))
    assert '2 files of dead nodes hold 6' in doctor.check_shared_memory(tmp_path).detail


def test_device_that_is_not_there_is_found():
    assert doctor.check_device('cpu').ok
    found = doctor.check_device('cuda:99')
    assert not found.ok and 'device:=cpu' in found.cure


def test_robot_without_a_verified_timeout_is_found(tmp_path):
    profile = tmp_path / 'r.yaml'
    profile.write_text('name: r\n')
    assert not doctor.check_robot(str(profile)).ok
    assert '0.25 s' in doctor.check_robot('jackal').detail


def test_bad_profile_file_is_found_without_starting_anything(tmp_path):
    bad = tmp_path / 'bad.xml'
    bad.write_text('<dds>')
    found = doctor.check_dds('local', {'FASTDDS_DEFAULT_PROFILES_FILE': str(bad)})
    assert not found.ok and 'not well-formed' in found.detail
    assert doctor.check_dds('local', {'RMW_IMPLEMENTATION': 'rmw_zenoh_cpp'}).ok


ASKED = {'ROS_SECURITY_ENABLE': 'true', 'ROS_SECURITY_STRATEGY': 'Enforce'}


@pytest.mark.parametrize(('base', 'said'), [
    ({'ROS_SECURITY_ENABLE': 'True'}, "off: ROS_SECURITY_ENABLE is 'True'"),  # rcl: exactly true
    ({'ROS_SECURITY_ENABLE': '1'}, "off: ROS_SECURITY_ENABLE is '1'"),
    ({'ROS_SECURITY_STRATEGY': 'Enforce'}, 'off: ROS_SECURITY_STRATEGY set'),
    ({'ROS_SECURITY_KEYSTORE': '/k', 'ROS_SECURITY_ENABLE': 'false'}, 'off: ROS_SECURITY_KEYST'),
    ({**ASKED, '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'}, 'built without it'),
    ({'ROS_SECURITY_ENABLE': 'true'}, "permissive: ROS_SECURITY_STRATEGY is ''"),
    ({**ASKED, 'ROS_SECURITY_STRATEGY': 'enforce'}, "permissive: ROS_SECURITY_STRATEGY is 'enfo"),
    (ASKED, "keystore '' has no enclaves"),
    ({**ASKED, 'ROS_SECURITY_KEYSTORE': '/none'}, "keystore '/none' has no enclaves"),
])
def test_security_that_is_off_or_permissive_is_found_with_a_cure(base, said):
    found = doctor.check_security(base)
    assert not found.ok and said in found.detail and found.cure


def test_security_that_was_not_asked_for_is_well():
    assert doctor.check_security({}).ok
    assert doctor.check_security({'ROS_SECURITY_ENABLE': 'false'}).ok


def test_keystore_must_hold_an_enclave_of_every_process(tmp_path):
    base = {**ASKED, 'ROS_SECURITY_KEYSTORE': str(tmp_path)}
    needed = [enclave('', 'control'), enclave('', 'policy')]
    for name in needed:
        folder = tmp_path / 'enclaves' / name.strip('/')
        folder.mkdir(parents=True)
        for file in doctor.ENCLAVE_FILES:
            (folder / file.strip('/')).touch()
    assert doctor.check_security(base, needed).ok
    (folder / 'key.pem').unlink()
    found = doctor.check_security(base, needed)
    assert not found.ok and '/karpathy_control/policy/key.pem' in found.detail
    shared = {**base, 'ROS_SECURITY_ENCLAVE_OVERRIDE': needed[0]}
    assert 'one key for all' in doctor.check_security(shared).detail


@pytest.mark.parametrize(('profile', 'base', 'ok'), [
    ('local', {}, True), ('host', {}, True), ('host', {'ROS_DOMAIN_ID': '400'}, False)])
def test_what_is_opened_is_said(profile, base, ok):
    found = doctor.check_sockets(profile, base)
    assert found.ok is ok and bool(found.cure) is not ok


def test_last_line_is_json_with_a_cure_for_every_failure(monkeypatch, capsys):
    # The participant that check_dds starts belongs to the graph tests.
    monkeypatch.setattr(doctor, 'PARTICIPANT', 'pass')
    status = doctor.main(['--robot', 'generic'])
    checks = json.loads(capsys.readouterr().out.splitlines()[-1])['checks']
    assert {'versions', 'disk', 'shared_memory', 'dds_profile', 'device', 'weights_encoder',
            'weights_actor', 'robot', 'host_tools', 'sockets', 'security'} <= {
                c['name'] for c in checks}
    assert all(set(c) == {'name', 'ok', 'detail', 'cure'} for c in checks)
    assert all(c['ok'] or c['cure'] for c in checks)
    assert status == (0 if all(c['ok'] for c in checks) else 1)


@pytest.mark.ros
def test_fast_dds_itself_accepts_the_shipped_profiles_and_names_a_wrong_one(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '96')
    for name in ('local', 'host'):
        assert doctor.check_dds(name, os.environ).ok
    wrong = tmp_path / 'wrong.xml'
    wrong.write_text('<dds xmlns="http://www.eprosima.com"><profiles><participant '
                     'profile_name="p" is_default_profile="true"><rtps><noSuchTag/></rtps>'
                     '</participant></profiles></dds>')
    found = doctor.check_dds('local', {**os.environ, 'FASTDDS_DEFAULT_PROFILES_FILE': str(wrong)})
    assert not found.ok and str(wrong) in found.detail

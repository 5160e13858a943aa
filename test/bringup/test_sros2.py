"""The SROS 2 policy against the interface table, by reading the file as the tools do."""

import xml.etree.ElementTree as ET

import pytest

from karpathy_control.bringup import sros2
from karpathy_control.bringup.plan import enclave, plan
from karpathy_control.bringup.resources import share
from karpathy_control.contracts.config import NODE_CONFIGS
from karpathy_control.contracts.interfaces import ACTIONS, SERVICES, TOPICS

SHIPPED = share() / 'config' / 'sros2' / 'policy.xml'
COMPOSED = ('sensor', 'perception', 'policy')
PEOPLE = {'operator', 'observer'}


def holders(text, verb):
    """Name on the graph -> the enclaves that may `verb` it."""
    found = {}
    for place in ET.fromstring(text).iter('enclave'):
        for profile in place.iter('profile'):
            space = profile.get('ns').rstrip('/')
            for group in profile:
                if group.get(verb) != 'ALLOW':
                    continue
                for entry in group:
                    name = entry.text.replace('~', f'{space}/{profile.get("node")}')
                    full = name if name.startswith('/') else f'{space}/{name}'
                    found.setdefault(full, set()).add(place.get('path').rpartition('/')[2])
    return found


def with_pipeline(*nodes):
    """The enclaves of nodes, those of the process that they may share included."""
    return {*nodes, *(['pipeline'] if set(nodes) & set(COMPOSED) else [])}


@pytest.fixture(scope='module')
def shipped():
    return SHIPPED.read_text()


def test_shipped_file_is_the_one_the_code_makes(shipped):
    assert shipped == sros2.policy_xml({}), (
        'python -m karpathy_control.bringup.sros2 > config/sros2/policy.xml')


def test_structure_is_that_of_the_schema(shipped):
    policy = ET.fromstring(shipped)
    assert (policy.tag, policy.attrib) == ('policy', {'version': '0.2.0'})
    (enclaves,) = policy
    paths = [place.get('path') for place in enclaves]
    assert len(set(paths)) == len(paths)
    for place in enclaves:
        assert (place.tag, set(place.attrib)) == ('enclave', {'path'})
        (profiles,) = place
        assert profiles.tag == 'profiles' and len(profiles)
        for profile in profiles:
            assert (profile.tag, set(profile.attrib)) == ('profile', {'ns', 'node'})
            for group in profile:
                kind = group.tag
                verbs = {'topics': {'publish', 'subscribe'}, 'services': {'reply', 'request'},
                         'actions': {'execute', 'call'}}
                assert set(group.attrib) <= verbs[kind] and set(group.attrib.values()) == {'ALLOW'}
                assert len(group) and {entry.tag for entry in group} == {kind[:-1]}


def test_nothing_is_allowed_by_a_pattern(shipped):
    for name in holders(shipped, 'publish') | holders(shipped, 'subscribe') | holders(
            shipped, 'reply') | holders(shipped, 'request'):
        assert all(part.isidentifier() for part in name.strip('/').split('/')), name


def test_only_control_publishes_cmd_vel(shipped):
    assert holders(shipped, 'publish')['/cmd_vel'] == {'control'}
    assert holders(shipped, 'publish')['/control/state'] == {'control'}
    path = enclave('', 'control')
    nodes = ET.fromstring(shipped).findall(f".//enclave[@path='{path}']//profile")
    assert [node.get('node') for node in nodes] == ['control']


@pytest.mark.parametrize('topic', TOPICS, ids=lambda t: t.name)
def test_every_topic_has_the_writers_and_readers_of_the_table(shipped, topic):
    name = topic.name if topic.name.startswith('/') else f'/{topic.name}'
    own = {*NODE_CONFIGS, 'pipeline'}
    writers = own if topic.writer == 'all nodes' else with_pipeline(topic.writer) & own
    publish, subscribe = (holders(shipped, verb)[name] for verb in ('publish', 'subscribe'))
    assert publish & own == writers
    assert (publish >= PEOPLE) == (topic.writer == 'outside')
    readers = own if topic.name == '/clock' else with_pipeline(*topic.readers)
    assert subscribe & own == readers
    assert subscribe >= PEOPLE | {'watcher', 'rviz2'}
    # Whoever else may publish it stands where the simulator or a person does.
    others = publish - own - PEOPLE
    assert others <= {'robot', 'bridge_base', 'bridge_camera', 'rviz2'}
    assert not others or topic.writer in ('sim', 'outside', 'all nodes')


@pytest.mark.parametrize('service', SERVICES, ids=lambda s: s.name)
def test_every_service_has_one_server_and_people_call_it(shipped, service):
    assert holders(shipped, 'reply')[f'/{service.name}'] == {service.server}
    assert holders(shipped, 'request')[f'/{service.name}'] == PEOPLE


@pytest.mark.parametrize('action', ACTIONS, ids=lambda a: a.name)
def test_every_action_has_one_server_and_people_call_it(shipped, action):
    assert holders(shipped, 'execute')[f'/{action.name}'] == {action.server}
    assert holders(shipped, 'call')[f'/{action.name}'] == PEOPLE


@pytest.mark.parametrize('node', NODE_CONFIGS)
def test_what_every_node_has_besides(shipped, node):
    publish, subscribe, reply, request = (
        holders(shipped, verb) for verb in ('publish', 'subscribe', 'reply', 'request'))
    assert {'/rosout', '/parameter_events', f'/{node}/transition_event'} <= set(publish)
    assert node in publish['/rosout'] & publish['/parameter_events'] & subscribe['/clock']
    assert publish[f'/{node}/transition_event'] == with_pipeline(node)
    for name in ('get_parameters', 'set_parameters', 'change_state', 'get_state'):
        assert reply[f'/{node}/{name}'] == with_pipeline(node)
        assert request[f'/{node}/{name}'] == PEOPLE


def test_every_process_of_every_plan_has_its_enclave(measured):
    values = [{'world': 'mujoco', 'rviz': 'true'}, {'world': 'gazebo'},
              {'world': 'robot', 'robot': measured}, {'composed': 'true'}]
    for arguments in values:
        what = plan({'dds_profile': 'none', **arguments})
        paths = {place.get('path') for place in ET.fromstring(
            sros2.policy_xml(what.profile.topics)).iter('enclave')}
        assert {node.enclave for node in what.nodes} <= paths


def test_names_of_a_robot_and_its_namespace_are_followed(capsys):
    assert sros2.main(['--robot', 'generic', '--namespace', 'r1']) == 0
    text = capsys.readouterr().out
    publish = holders(text, 'publish')
    assert publish['/r1/camera/color/image_raw'] >= {'robot'}
    assert 'robot' not in publish.get('/r1/camera/image_raw', set())
    assert 'sensor' in holders(text, 'subscribe')['/r1/camera/color/image_raw']
    assert publish['/r1/cmd_vel'] == {'control'}
    assert f'path="{enclave("/r1", "control")}"' in text

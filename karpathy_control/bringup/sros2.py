"""The SROS 2 policy of the loop: who may publish, subscribe, serve and call what, and nobody else.

Made from the interface table, so that the two cannot drift apart; config/sros2/policy.xml is what
this prints for a robot without a namespace and with the table's own topic names:

    python -m karpathy_control.bringup.sros2 [--robot PROFILE] [--namespace NS] > policy.xml

One enclave is one process, and every process of the plan has its own, so that only `control` holds
a key that may publish `cmd_vel`. The plan passes each process its enclave.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from karpathy_control.bringup.plan import COMPOSED, enclave
from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import load_profile
from karpathy_control.contracts.config import NODE_CONFIGS
from karpathy_control.contracts.files import read_yaml
from karpathy_control.contracts.interfaces import ACTIONS, SERVICES, TOPICS

VERSION = '0.2.0'  # of the policy schema
OPERATOR, ROBOT, WATCHER = 'operator', 'robot', 'watcher'  # enclaves beside those of the plan
LOGS = ('/rosout', '/parameter_events')
PARAMETER_SERVICES = tuple(f'~/{name}' for name in (
    'describe_parameters', 'get_parameter_types', 'get_parameters', 'get_type_description',
    'list_parameters', 'set_parameters', 'set_parameters_atomically'))
LIFECYCLE_SERVICES = tuple(f'~/{name}' for name in (
    'change_state', 'get_available_states', 'get_available_transitions', 'get_state',
    'get_transition_graph'))
TRANSFORMS = ('/tf', '/tf_static')
_HEADER = (' Generated from the interface table: python -m karpathy_control.bringup.sros2\n'
           '     Only the enclave of control may publish cmd_vel. See doc/safety.md. ')


@dataclass(frozen=True)
class Rights:
    """What one node may do; names as a policy has them: relative, absolute or below `~`."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    reply: tuple[str, ...] = ()
    request: tuple[str, ...] = ()
    execute: tuple[str, ...] = ()  # actions
    call: tuple[str, ...] = ()


def rights(topics: Mapping[str, str]) -> dict[str, dict[str, Rights]]:
    """By process and node. `topics`: names in the table -> the robot's names for them."""
    everything = tuple(topics.get(t.name, t.name) for t in TOPICS)
    own = {name: _loop_node(name, topics) for name in NODE_CONFIGS}
    found = {name: {name: of} for name, of in own.items()}
    found['pipeline'] = {name: own[name] for name in NODE_CONFIGS if name in COMPOSED}
    for part in ('base', 'camera'):
        rows = read_yaml(find('config/bridge', f'{part}.yaml'))
        found[f'bridge_{part}'] = {f'bridge_{part}': _other(
            tuple(topics.get(r['ros_topic_name'], r['ros_topic_name']) for r in rows
                  if r['direction'] == 'GZ_TO_ROS'),
            tuple(r['ros_topic_name'] for r in rows if r['direction'] == 'ROS_TO_GZ'))}
    description = ('robot_description',)
    found['create'] = {'create': _other((), description)}
    found['robot_state_publisher'] = {'robot_state_publisher': _other(
        (*TRANSFORMS, *description), (topics.get('joint_states', 'joint_states'),))}
    found['rviz2'] = {'rviz2': _other(('goal_pose',), (*everything, *TRANSFORMS, *description))}
    robot = tuple(topics.get(t.name, t.name) for t in TOPICS
                  if t.writer == 'sim' and not t.name.startswith(('/', 'sim/')))
    found[ROBOT] = {ROBOT: _other((*robot, *TRANSFORMS, '/diagnostics'),
                                  (topics.get('cmd_vel', 'cmd_vel'),))}
    services = tuple(s.name for s in SERVICES) + tuple(
        name.replace('~', node) for node in NODE_CONFIGS
        for name in (*PARAMETER_SERVICES, *LIFECYCLE_SERVICES))
    people = tuple(t.name for t in TOPICS if t.writer == 'outside')
    for name in (OPERATOR, 'observer'):  # which drives the demo
        found[name] = {name: replace(_other(people, everything, services),
                                     call=tuple(a.name for a in ACTIONS))}
    found[WATCHER] = {WATCHER: _other((), everything)}
    return found


def _loop_node(name: str, topics: Mapping[str, str]) -> Rights:
    """A lifecycle node of the loop."""
    def named(names: list[str]) -> tuple[str, ...]:
        return tuple(topics.get(n, n) for n in names)

    publish = named([t.name for t in TOPICS if t.writer in (name, 'all nodes')])
    subscribe = named([t.name for t in TOPICS if name in t.readers and t.name != '/clock'])
    resolves = name in ('sensor', 'control')  # goals in other frames, where there is tf2
    return Rights(
        publish=(*publish, *LOGS, '~/transition_event', *(('/tf',) if name == 'sim' else ())),
        subscribe=(*subscribe, '/clock', '/parameter_events', *(TRANSFORMS if resolves else ())),
        reply=(*PARAMETER_SERVICES, *LIFECYCLE_SERVICES,
               *(s.name for s in SERVICES if s.server == name)),
        execute=tuple(a.name for a in ACTIONS if a.server == name))


def _other(publish: tuple[str, ...], subscribe: tuple[str, ...],
           request: tuple[str, ...] = ()) -> Rights:
    """A node that is not of the loop: parameters, log and clock besides what is named."""
    return Rights((*publish, *LOGS), (*subscribe, '/clock', '/parameter_events'),
                  PARAMETER_SERVICES, request)


def policy_xml(topics: Mapping[str, str], namespace: str = '') -> str:
    """The policy file. namespace: '' or absolute."""
    policy = ET.Element('policy', version=VERSION)
    enclaves = ET.SubElement(policy, 'enclaves')
    for process, nodes in sorted(rights(topics).items()):
        profiles = ET.SubElement(ET.SubElement(
            enclaves, 'enclave', path=enclave(namespace, process)), 'profiles')
        for node, of in nodes.items():
            profile = ET.SubElement(profiles, 'profile', ns=namespace or '/', node=node)
            for kind, verb, names in (
                    ('topic', 'publish', of.publish), ('topic', 'subscribe', of.subscribe),
                    ('service', 'reply', of.reply), ('service', 'request', of.request),
                    ('action', 'execute', of.execute), ('action', 'call', of.call)):
                if names:
                    group = ET.SubElement(profile, f'{kind}s', {verb: 'ALLOW'})
                    for name in sorted(set(names)):
                        ET.SubElement(group, kind).text = name
    ET.indent(policy)
    return ('<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<!--{_HEADER}-->\n{ET.tostring(policy, encoding="unicode")}\n')


def main(argv: Sequence[str]) -> int:
    """Print the policy of one robot."""
    parser = argparse.ArgumentParser(prog='python -m karpathy_control.bringup.sros2',
                                     description=main.__doc__)
    parser.add_argument('--robot', default='jackal', help='profile, for its topic names')
    parser.add_argument('--namespace', default='', help='of all nodes, as for up')
    options = parser.parse_args(argv)
    name = options.namespace.strip('/')
    print(policy_xml(load_profile(options.robot).topics, f'/{name}' if name else ''), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

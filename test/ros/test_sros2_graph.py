"""The SROS 2 policy against the running graph: what every node really opens, built-in ones too."""

import json
import os
import subprocess
import sys

import pytest

from karpathy_control.bringup import sros2
from karpathy_control.bringup.environment import environment

pytestmark = pytest.mark.ros

NODES = ('sensor', 'perception', 'policy', 'control', 'sim')
# Opened only where something is installed or asked for: Gazebo's base, tf2, one's own clock.
OPTIONAL = {'/tf', '/tf_static', '/clock', '/parameter_events'}
GRAPH = """
import json, sys, time
import rclpy
rclpy.init()
node = rclpy.create_node('watcher')
queries = {'publish': node.get_publisher_names_and_types_by_node,
           'subscribe': node.get_subscriber_names_and_types_by_node,
           'reply': node.get_service_names_and_types_by_node,
           'request': node.get_client_names_and_types_by_node}
names = sys.argv[1].split(',')
end = time.monotonic() + 30
while time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.2)
    known = dict(node.get_node_names_and_namespaces())
    if all(n in known and queries['reply'](n, '/') for n in names):
        break
# The graph of a node grows for a moment after the node is seen: twice the same is the whole.
found, last = {}, None
while found != last or last is None:
    rclpy.spin_once(node, timeout_sec=1.0)
    last, found = found, {n: {verb: sorted(name for name, _ in query(n, '/'))
                              for verb, query in queries.items()} for n in names}
print(json.dumps(found))
rclpy.shutdown()
"""


def full(names, node):
    """Names as the graph has them, from names as the policy has them."""
    return {name.replace('~', f'/{node}') if name.startswith('~') else
            name if name.startswith('/') else f'/{name}' for name in names}


def test_every_node_does_what_its_policy_allows_and_nothing_else(loop):
    running = loop()
    running.drive()
    done = subprocess.run([sys.executable, '-c', GRAPH, ','.join(NODES)], capture_output=True,
                          text=True, check=False, timeout=120,
                          env={**os.environ, **environment('local')})
    assert done.returncode == 0, done.stderr
    graph = json.loads(done.stdout.splitlines()[-1])
    rights = sros2.rights({})
    for node in NODES:
        of = rights[node][node]
        for verb in ('publish', 'subscribe', 'reply', 'request'):
            allowed, real = full(getattr(of, verb), node), set(graph[node][verb])
            assert real <= allowed, f'{node} may not {verb} {sorted(real - allowed)}'
            unused = allowed - real - OPTIONAL
            assert not unused, f'{node} does not {verb} {sorted(unused)}'
    publishers = {node for node in NODES if '/cmd_vel' in graph[node]['publish']}
    assert publishers == {'control'}

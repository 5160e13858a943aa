"""What the running loop opens: nothing under `local`, what the doctor says under `host`.

Sockets are read from /proc, descriptor by descriptor, of every process that there is.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from karpathy_control.bringup.dds import opened
from karpathy_control.bringup.environment import environment

pytestmark = pytest.mark.ros

TABLES = ('tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'udplite6', 'raw', 'raw6', 'icmp', 'icmp6',
          'packet')
NODES = {'sensor', 'perception', 'policy', 'control', 'sim', 'observer'}


def inet_sockets(pid):
    """`udp 00000000:1B58` and the like: the network sockets that a process holds."""
    kinds = {}
    for table in TABLES:
        path = Path(f'/proc/{pid}/net/{table}')
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            columns = line.split()
            inode = columns[8] if table == 'packet' else columns[9]
            kinds[inode] = f'{table} {columns[1]}'
    held = []
    for descriptor in Path(f'/proc/{pid}/fd').iterdir():
        try:
            inode = re.fullmatch(r'socket:\[(\d+)\]', os.readlink(descriptor))
        except FileNotFoundError:  # closed meanwhile
            continue
        if inode and inode[1] in kinds:
            held.append(kinds[inode[1]])
    return sorted(held)


def descendants(pid):
    """Process ids below one."""
    found = []
    for children in Path(f'/proc/{pid}/task').glob('*/children'):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


def node_of(pid):
    """The node that a process runs, by its command line; empty for others."""
    command = Path(f'/proc/{pid}/cmdline').read_bytes().decode()
    module = re.search(r'karpathy_control\.nodes\.(\w+)', command)
    return module[1] if module else ''


def test_up_opens_no_network_socket(loop):
    running = loop()
    running.drive()  # every node has found its peers and works
    pids = {name: running.runner.pid(name) for name in NODES - {'observer'}}
    pids['observer'] = running.observer.pid
    assert {name: inet_sockets(pid) for name, pid in pids.items()} == {n: [] for n in NODES}


def test_demo_opens_no_network_socket(tmp_path, domain):
    command = [sys.executable, '-m', 'karpathy_control.cli', 'demo', '--world', 'cylinders',
               '--seed', '3', '--goals', '1', '--headless', '--out', str(tmp_path)]
    seen, held = set(), []
    with (tmp_path / 'log').open('wb') as log, subprocess.Popen(
            command, stdout=log, stderr=log) as demo:
        end = time.monotonic() + 200.0
        while demo.returncode is None:
            for pid in [demo.pid, *descendants(demo.pid)]:
                try:
                    seen.add(node_of(pid))
                    held += inet_sockets(pid)
                except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
                    continue
            try:
                demo.wait(0.2)
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    demo.terminate()
    assert demo.returncode == 0, (tmp_path / 'log').read_text()[-2000:]
    assert seen >= NODES and not held, (seen, held)


HOST = """
import fcntl, os, socket, struct, subprocess, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # loopback up: SIOCSIFFLAGS, IFF_UP
    fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 1))
import rclpy
from karpathy_control.bringup.dds import own_ports
rclpy.init()
with own_ports():
    node = rclpy.create_node('host')
sys.path.insert(0, sys.argv[1])
from test_sockets import inet_sockets
print(*inet_sockets(os.getpid()), sep='\\n')
rclpy.shutdown()
"""


@pytest.mark.skipif(shutil.which('unshare') is None, reason='unshare (util-linux) is missing')
def test_host_opens_the_ports_that_the_doctor_names(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '3')
    # A profile that is set already is never overridden, and the tests themselves run under one.
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith(('FASTDDS', 'FASTRTPS', 'ROS_AUTOMATIC'))}
    space = ['unshare', '--net', *([] if os.geteuid() == 0 else ['--map-root-user'])]
    done = subprocess.run(
        [*space, sys.executable, '-c', HOST, str(Path(__file__).parent)], check=False,
        capture_output=True, text=True, timeout=60, env={**clean, **environment('host', clean)})
    assert done.returncode == 0, done.stderr
    kinds, addresses = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert set(kinds) == {'udp'}
    hosts, ports = zip(*(address.split(':') for address in addresses), strict=True)
    assert set(hosts) == {'00000000'}  # every interface
    said = set(map(int, re.findall(r'\b\d{4}\b', opened('host', {'ROS_DOMAIN_ID': '3'}))))
    assert said == {7000, 8150, 8160, 8399}
    used = {int(port, 16) for port in ports}
    assert {7000, 8150} < used
    own = {port for port in used if 8160 <= port <= 8399}
    assert len(own) == 2
    assert len(ports) == 5
    assert min(used - said - own) > 1024

"""The `host` profile in a network namespace with loopback alone: outsiders see the whole loop.

The probe has a clean environment: no profile, as any node of somebody else. No packet can leave,
since the namespace has no other interface.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from karpathy_control.contracts.interfaces import TOPICS

pytestmark = pytest.mark.ros

# Sent by people or planners, or only on a ROS host, or only when there is something to say.
OPTIONAL = {'plan', 'observation/plan', 'cmd_vel_teleop', 'emergency_stop', 'goal_pose',
            'base/cmd_vel'}
SCRIPT = """
import fcntl, socket, struct, subprocess, sys, os, json, time
# Bring loopback up (SIOCSIFFLAGS, IFF_UP): iproute2 need not be installed.
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 1))
# A profile that is set is never overridden, so that of the test run must go, for both.
clean = {k: v for k, v in os.environ.items()
         if not k.startswith(('FASTDDS', 'ROS_AUTOMATIC', 'MALLOC', 'OMP', 'NUMBA'))}
up = subprocess.Popen([sys.executable, '-m', 'karpathy_control.cli', 'up', 'dds_profile:=host',
                       'world_family:=cylinders', 'seed:=3', '--quiet', '--log-folder',
                       sys.argv[1]], env=clean)
try:
    probe = subprocess.run([sys.executable, '-m', 'karpathy_control.nodes.probe', '--seconds',
                            '30', '--patience', '90', '--goal', sys.argv[2]], env=clean,
                           check=True, capture_output=True, text=True)
    print(probe.stdout.splitlines()[-1])
finally:
    up.terminate()
    sys.exit(up.wait(20) not in (0, 143, -15))
"""


@pytest.mark.skipif(shutil.which('unshare') is None, reason='unshare (util-linux) is missing')
def test_a_node_with_a_clean_environment_sees_every_topic_and_its_goal_moves_the_robot(
        tmp_path, domain):
    from karpathy_control.contracts.geometry import to_frame
    from karpathy_control.worlds.generators import generate
    world = generate('cylinders', 3)
    x, y = to_frame(world.goals, world.start)[0]
    namespace = ['unshare', '--net', *([] if os.geteuid() == 0 else ['--map-root-user'])]
    done = subprocess.run(
        [*namespace, sys.executable, '-c', SCRIPT, str(tmp_path), f'{x:.2f},{y:.2f}'],
        capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    silent = {t.name for t in TOPICS if not result['counts'][t.name]} - OPTIONAL
    assert not silent, f'nothing received on {sorted(silent)}'
    assert result['moved_m'] > 1.0

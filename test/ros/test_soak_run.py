"""A short soak as a user runs it: two nodes killed while the robot drives, nothing left behind."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ros

SEED = 8  # strikes perception, then control
LIMIT = 120.0  # s


def test_the_robot_drives_on_after_every_kill_and_nothing_is_left(domain, tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'karpathy_control.cli', 'soak', '--minutes', '0.4', '--every', '12',
         '--world', 'cylinders', '--seed', str(SEED), '--out', str(tmp_path)],
        capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result['kills_by_node'] == {'control': 1, 'perception': 1}
    assert result['recovered'] == 2 and result['recovery_s']['max'] < 20.0
    assert result['restarts'] == {'sensor': 0, 'perception': 1, 'policy': 0, 'control': 1}
    assert (result['contacts'], result['shm_left_bytes'], result['orphans']) == (0, 0, 0)
    assert (tmp_path / 'soak.png').stat().st_size < 100_000

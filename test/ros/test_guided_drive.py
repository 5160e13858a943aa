"""`measure` on the running loop: a short drive against the known base, and all that ends one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import START, still

from karpathy_control.bringup.robots import load_profile, robot_of
from karpathy_control.contracts.config import SimConfig, from_mapping
from karpathy_control.learning.config import load
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import load_robot

pytestmark = pytest.mark.ros

CLI = [sys.executable, '-c', 'from karpathy_control.cli import main; raise SystemExit(main())']
ROOMY = {'world_family': 'open', 'seed': '3'}  # nothing within 3 m of the start
DRIVE = 120.0  # s


def measure(out, *arguments, answer=None):
    process = subprocess.Popen([*CLI, 'measure', '--out', str(out), '--repeats', '1', *arguments],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    if answer is not None:
        process.stdin.write(answer)
        process.stdin.flush()
    return process


def ended(loop, process, seconds=START):
    """Status, standard output and error of a process, the loop being polled meanwhile."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        loop.wait(lambda e: True, 10.0, 'word of the observer')
    out, error = process.communicate(timeout=1.0)
    return process.returncode, out, error


def idle(loop):
    loop.wait(lambda e: e['mode'] == 'idle' and still(e), START, 'idle robot')


def test_a_short_drive_finds_what_the_base_is(loop, tmp_path):
    running = loop(**ROOMY)
    idle(running)
    status, out, error = ended(running, measure(tmp_path / 'm', answer='yes\n'), DRIVE)
    assert status == 0, error
    assert 'Type yes to begin' in error and '10 of 10: arc' in error
    said = json.loads(out.splitlines()[-1])
    mean = {name: figure['mean'] for name, figure in said['figures'].items()}
    # The simulated odometry: its scale is drawn from the seed.
    profile = load_profile('jackal')
    world = MujocoWorld(generate('open', 3), from_mapping(SimConfig, {'seed': 3}),
                        load_robot(profile.description))
    assert mean['odometry_scale'] == pytest.approx(world._scale_v, abs=0.004)
    # and what `karpathy-control calibrate --robot jackal` says of the base
    assert mean['creep'] == pytest.approx(0.030, abs=0.012)
    assert mean['turn_gain'] == pytest.approx(0.982, abs=0.01)
    assert mean['speed_gain'] == pytest.approx(0.999, abs=0.01)
    assert mean['scan_noise'] == pytest.approx(0.01, rel=0.1)
    assert said['lidar'] == pytest.approx([0.055, 0.0, 0.0], abs=0.01)
    assert 0.0 <= mean['turn_latency_stop'] < 0.1
    robot = robot_of(profile, {})
    assert said['gate']['robot.lidar_pose'] == robot.lidar_pose
    assert said['gate']['robot.camera_pose'] == robot.camera_pose
    for v, way in said['stops']:
        assert way < v * v / (2 * robot.deceleration) + v * said['gate']['gate.reaction_time']
    drawn = load(tmp_path / 'm' / 'train.yaml').randomisation
    assert drawn.delay[1] <= 0.2 and drawn.lidar_fov[0] == pytest.approx(4.712, abs=0.01)


def test_all_that_refuses_or_ends_a_drive(loop, tmp_path):
    running = loop(**ROOMY)
    idle(running)
    status, _, error = ended(running, measure(tmp_path / 'a', answer='perhaps\n'))
    assert status == 2 and "'perhaps' is not yes" in error

    process = measure(tmp_path / 'b', '--yes')
    running.wait(lambda e: (e['v'] or 0.0) > 0.3, START, 'moving robot')
    process.send_signal(signal.SIGINT)
    status, _, error = ended(running, process)
    assert status == 130 and 'ended by a person' in error
    idle(running)

    process = measure(tmp_path / 'c', '--yes')
    running.wait(lambda e: (e['v'] or 0.0) > 0.3, START, 'moving robot')
    process.kill()  # the node ends with it, and its last command holds 0.25 s
    process.communicate()
    running.wait(still, 5.0, 'robot that stands')
    idle(running)

    process = measure(tmp_path / 'd', '--yes')
    running.wait(lambda e: (e['v'] or 0.0) > 0.3, START, 'moving robot')
    running.observer.send(teleop=[0.1, 0.0])
    status, _, error = ended(running, process)
    assert status == 3 and 'somebody else drives' in error
    idle(running)

    process = measure(tmp_path / 'e', '--yes')
    running.wait(lambda e: (e['v'] or 0.0) > 0.3, START, 'moving robot')
    running.observer.send(emergency_stop=True)
    status, _, error = ended(running, process)
    assert status == 3 and "'emergency_stop'" in error
    status, _, error = ended(running, measure(tmp_path / 'f', '--yes'))
    assert status == 2 and "control is 'emergency_stop'" in error
    assert not any((tmp_path / name / 'gate.yaml').exists() for name in 'abcdef')


def test_without_room_it_does_not_begin(loop, tmp_path):
    running = loop()  # cylinders
    idle(running)
    status, _, error = ended(running, measure(tmp_path / 'a', '--yes'))
    assert status == 2 and 'no room: it takes 3.1 m ahead' in error and '--speed' in error


def test_without_a_loop_it_says_what_is_silent(domain, tmp_path):
    process = measure(tmp_path / 'a', '--yes')
    _, error = process.communicate(timeout=START)
    assert process.returncode == 2
    assert 'odom is silent: is the base driver up?' in error and 'karpathy-control up' in error

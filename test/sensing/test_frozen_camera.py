"""A frozen camera on MuJoCo's sensors: found, left out as if silent, and taken back."""

from dataclasses import replace

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import SensorConfig, SimConfig, from_mapping
from karpathy_control.contracts.types import Command, RawImage, RawScan, State
from karpathy_control.mapping.frozen import FrozenScan
from karpathy_control.sensing.pipeline import SensorPipeline
from karpathy_control.sensing.preprocess import virtual_model
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import load_robot

ROBOT = load_robot(find('description', 'jackal.urdf.xacro'))
FREEZE, THAW, END = 20, 45, 60  # frames of 50 ms


def drive(family, command, frozen='', config=None, seed=3, noise=0.0):
    """The sets of three seconds; `frozen` names what stays the same between FREEZE and THAW."""
    sim = MujocoWorld(generate(family, seed), from_mapping(SimConfig, {
        'seed': seed, 'lidar.beams': 360, 'physics_step': 0.005, 'lidar.noise': noise,
        'camera.depth_noise': noise}), ROBOT)
    pipe = SensorPipeline(config or SensorConfig())
    pipe.on_camera_model(sim.camera_model())
    watch, out, kept = FrozenScan(ROBOT.lidar_pose), [], {}
    for k in range(END):
        now, state = sim.stamp, sim.odometry()
        image, depth = sim.camera()
        frame = {'image': image, 'depth': depth, 'scan': sim.lidar()}
        if k == FREEZE:
            kept = frame
        if FREEZE <= k < THAW:
            frame |= {n: replace(kept[n], stamp=now) for n in frozen.split()}
        pipe.on_odom(state, now)
        pipe.on_scan(frame['scan'], now)
        pipe.on_depth(frame['depth'], now)
        pipe.on_image(frame['image'], now)
        (got,) = pipe.release(now, now)
        out.append((got, pipe.frozen, watch.update(frame['scan'], state.pose)))
        for _ in range(10):
            sim.step(command)
    return out, pipe


@pytest.mark.parametrize('family', ['mixed', 'rooms', 'corridor', 'moving', 'open', 'low'])
@pytest.mark.parametrize('command', [Command(0.3, 0.0), Command(0.0, 0.4), Command(0.0, 0.0)],
                         ids=['forward', 'turning', 'standing'])
def test_live_sensors_raise_no_alarm(family, command):
    """Without noise, the hardest case: nothing but the motion makes two frames differ."""
    out, pipe = drive(family, command)
    assert not any(names or scan for _, names, scan in out)
    assert all(got.image is not None and got.depth_points is not None for got, _, _ in out)
    assert not any(name.startswith('frozen') for name in pipe.counts)


@pytest.mark.parametrize('command', [Command(0.3, 0.0), Command(0.0, 0.4)],
                         ids=['forward', 'turning'])
@pytest.mark.parametrize('frozen', ['image', 'depth', 'image depth scan'])
def test_found_within_half_a_second_and_taken_back(frozen, command):
    out, pipe = drive('mixed', command, frozen, noise=0.003)
    names = frozen.split()
    for name in set(names) & {'image', 'depth'}:
        alarms = [k for k, (_, found, _) in enumerate(out) if name in found]
        assert FREEZE < alarms[0] <= FREEZE + 10, name  # 10 frames: 0.5 s
        assert alarms == list(range(alarms[0], THAW)), name
        assert pipe.counts[f'frozen_{name}'] == len(alarms)
    scans = [k for k, (_, _, scan) in enumerate(out) if scan]
    assert (scans and scans[0] <= FREEZE + 10 and scans[-1] == THAW - 1) if (
        'scan' in names) else not scans
    for got, found, _ in out:
        assert (got.image is None) == ('image' in found)
        assert (got.depth is None) == (got.depth_points is None) == bool(found)
        assert got.scan is not None  # the lidar's part goes out as ever


def test_can_be_switched_off():
    config = from_mapping(SensorConfig, {'find_frozen': False})
    out, pipe = drive('mixed', Command(0.3, 0.0), 'image depth', config)
    assert all(got.image is not None and got.depth is not None for got, _, _ in out)
    assert pipe.frozen == ()


def turn(pipe, start, image=None):
    """Turn for a second from `start` (frames of 50 ms), seeing one image or, without, a scan."""
    for k in range(start, start + 20):
        stamp = k * 50_000_000
        pipe.on_odom(State(stamp, 0.0, 0.0, 0.02 * k, 0.0, 0.4), stamp)
        if image is None:
            pipe.on_scan(RawScan(stamp, -2.0, 0.01, 0.1, 10.0, np.ones(400, np.float32)), stamp)
        else:
            pipe.on_image(RawImage(stamp, image), stamp)
        pipe.release(stamp, stamp)


def test_switching_off_and_a_silent_camera_end_the_verdict():
    pipe = SensorPipeline(SensorConfig())
    pipe.on_camera_model(virtual_model())
    image = np.full((96, 128, 3), 9, np.uint8)
    image[:, 64:] = 200
    turn(pipe, 0, image)
    assert pipe.frozen == ('image',)
    turn(pipe, 20)
    assert pipe.frozen == ()
    turn(pipe, 40, image)
    assert pipe.frozen == ('image',)
    pipe.configure(from_mapping(SensorConfig, {'find_frozen': False}))
    assert pipe.frozen == ()

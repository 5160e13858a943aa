"""What `karpathy-control adapt` gives back: bags of a changed camera, and the exact figures.

Robots wander through generated worlds in MuJoCo and their raw topics go into bags as `record`
writes them; beside each bag lies `truth.npz` with what its camera could see, from depth without
noise, which no adaptation reads. Two changes, alone or together:

    --pitch, --lift   the camera sits otherwise than the loop believes (degrees down, m up)
    --look gl         pictures by MuJoCo's own OpenGL renderer (textures, lights, shadows, gloss)
                      in place of the ray cast ones of training; needs PyOpenGL and EGL

    python benchmarks/adapt.py bags runs/adapt/bags --pitch 10 --look gl
    karpathy-control adapt --robot jackal --bags runs/adapt/bags/train \
        --held-out runs/adapt/bags/held_out --out runs/adapt/out
    python benchmarks/adapt.py measure runs/adapt/bags runs/adapt/out/encoder.safetensors

Theory: the lidar labels what crosses its plane, so what only the camera sees tests what was
learned of the camera, not of labels. Frames in which the robot touches something are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MUJOCO_GL', 'egl')

import mujoco
import numpy as np
import torch
from rclpy.serialization import serialize_message

from karpathy_control.bags.recording import BagWriter, Offered
from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import SimConfig, from_mapping
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.types import Command, Pose2
from karpathy_control.learning.adapt_judge import drive_metrics
from karpathy_control.learning.augment import FrameSet
from karpathy_control.learning.bag_frames import Source, extract, load
from karpathy_control.learning.dataset import Wander, furnish, robot_config
from karpathy_control.learning.encoder_losses import shown_by_lidar
from karpathy_control.learning.labels import CameraLabels
from karpathy_control.nodes import convert
from karpathy_control.perception.runtime import load_encoder
from karpathy_control.sensing.preprocess import ImageWarp
from karpathy_control.sensing.resample import ScanResampler
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mjcf import FLOOR, WORLD_GROUP, build_spec
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import RobotDescription, load_robot

STEP = 0.005  # s of physics
ODOM, IMU, SCAN, CAMERA = 4, 4, 10, 40  # periods in steps: 50, 50, 20 and 5 Hz
PHASE = 5  # steps that the lidar comes after the camera
SEEDS = {'train': 180_000, 'held_out': 181_000, 'test': 182_000}  # as no training uses
CYCLE = ('mixed', 'rooms', 'low', 'cylinders', 'corridor', 'moving')
BEST_EFFORT = Offered(False, False, 5)


def shifted(robot: RobotDescription, pitch: float, lift: float) -> RobotDescription:
    """The robot with another camera mount (rad down, m up); its parameters stay as they were."""
    x, y, z, roll, tilt, yaw = robot.camera_pose
    root = ET.fromstring(robot.urdf)
    origin = root.find("joint[@name='camera_joint']/origin")
    assert origin is not None
    origin.set('xyz', f'{x} {y} {z + lift}')
    origin.set('rpy', f'{roll} {tilt + pitch} {yaw}')
    return replace(robot, urdf=ET.tostring(root, encoding='unicode'))


class Gl:
    """MuJoCo's OpenGL pictures of a world, from a twin of its model with materials and lights."""

    def __init__(self, sim: MujocoWorld, seed: int) -> None:
        rng = np.random.default_rng(seed)
        camera = sim.camera_model()
        spec = build_spec(sim.world, sim.robot, STEP)
        body = spec.body('camera_optical_frame')
        eye = body.add_camera(name='eye', quat=[0.0, 1.0, 0.0, 0.0])  # z back, y up
        eye.fovy = math.degrees(2.0 * math.atan(0.5 * camera.height / camera.fy))
        spec.compiler.discardvisual = False  # textures too, where a URDF says nothing
        self._materials(spec, rng)
        x, y = rng.uniform(-0.6, 0.6, 2)
        spec.worldbody.add_light(
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, dir=[x, y, -1.0], pos=[0.0, 0.0, 8.0],
            castshadow=True, diffuse=[rng.uniform(0.3, 0.6)] * 3, specular=[0.3] * 3)
        spec.visual.headlight.ambient = [rng.uniform(0.15, 0.35)] * 3
        spec.visual.headlight.diffuse = [0.1] * 3
        spec.visual.map.znear = 0.005
        spec.visual.quality.shadowsize = 1024
        self._sim, self._model = sim, spec.compile()
        self._data = mujoco.MjData(self._model)
        self._renderer = mujoco.Renderer(self._model, camera.height, camera.width)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[WORLD_GROUP] = 1

    def _materials(self, spec: mujoco.MjSpec, rng: np.random.Generator) -> None:
        spec.add_texture(name='sky', type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=64, height=384,
                         builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                         rgb1=rng.uniform(0.4, 0.9, 3), rgb2=rng.uniform(0.2, 0.8, 3))
        kinds = (mujoco.mjtBuiltin.mjBUILTIN_CHECKER, mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
                 mujoco.mjtBuiltin.mjBUILTIN_FLAT)
        marks = (mujoco.mjtMark.mjMARK_RANDOM, mujoco.mjtMark.mjMARK_CROSS,
                 mujoco.mjtMark.mjMARK_NONE)
        count = 6
        for i in range(count):
            first = rng.uniform(0.1, 0.9, 3)
            spec.add_texture(
                name=f'texture_{i}', type=mujoco.mjtTexture.mjTEXTURE_2D, width=128, height=128,
                builtin=kinds[rng.integers(len(kinds))], mark=marks[rng.integers(len(marks))],
                random=rng.uniform(0.01, 0.1), rgb1=first,
                rgb2=np.clip(first + rng.normal(0.0, 0.12, 3), 0.0, 1.0),
                markrgb=rng.uniform(0.0, 1.0, 3))
            material = spec.add_material(
                name=f'material_{i}', texuniform=True, texrepeat=[rng.uniform(0.5, 3.0)] * 2,
                specular=rng.uniform(0.0, 0.6), shininess=rng.uniform(0.1, 0.8),
                reflectance=0.1 if i == 0 else 0.0)
            material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f'texture_{i}'
        for geom in spec.geoms:
            if geom.group == WORLD_GROUP:
                geom.material = f'material_{0 if geom.name == FLOOR else rng.integers(1, count)}'
                geom.rgba = [*rng.uniform(0.6, 1.0, 3), 1.0]

    def picture(self) -> np.ndarray:
        """The picture of this moment. Shape: (height, width, 3) rgb8."""
        there, here = self._sim._data, self._data
        here.qpos[:] = there.qpos
        here.mocap_pos[:] = there.mocap_pos
        mujoco.mj_forward(self._model, here)
        self._renderer.update_scene(here, 'eye', self._options)
        return self._renderer.render()

    def close(self) -> None:
        """Free the context."""
        self._renderer.close()


def drive(bag: BagWriter, start: float, family: str, seed: int, seconds: float,
          robot: RobotDescription, truth_of: CameraLabels, gl: bool) -> dict[int, np.ndarray]:
    """Wander through one world into the bag, from `start` s on; the truth by image stamp."""
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    config = from_mapping(SimConfig, {'seed': seed, 'physics_step': STEP,
                                      'camera.depth_noise': 0.0})
    world = furnish(generate(family, seed), rng)
    world = replace(world, start=Pose2(world.start.x, world.start.y,
                                       float(rng.uniform(-math.pi, math.pi))))
    sim = MujocoWorld(world, config, robot)
    look = Gl(sim, seed) if gl else None
    body, warp = robot_config(robot), ImageWarp(sim.camera_model())
    resampler, wander, command = ScanResampler(body.lidar_pose), Wander(rng), Command()
    truth: dict[int, np.ndarray] = {}

    def later(stamp: int) -> int:
        return stamp + round(start * 1e9)

    def send(topic: str, type_name: str, message: object) -> None:
        bag.write(topic, type_name, BEST_EFFORT, later(sim.stamp), serialize_message(message))

    for step in range(round(seconds / STEP)):
        if step % IMU == 0:
            sample = sim.imu()
            send('/imu', 'sensor_msgs/msg/Imu',
                 convert.imu_message(replace(sample, stamp=later(sample.stamp)), 'imu_link'))
        if step % ODOM == 0:
            state = sim.odometry()
            send('/odom', 'nav_msgs/msg/Odometry', convert.odometry_message(
                replace(state, stamp=later(state.stamp)), 'odom', 'base_link'))
        if step % SCAN == PHASE:
            scan = sim.lidar()
            send('/scan', 'sensor_msgs/msg/LaserScan', convert.scan_message(
                scan.ranges, later(scan.stamp), 'lidar_link', scan.angle_min,
                scan.angle_increment, scan.range_min, scan.range_max, SCAN * STEP))
            if step % (4 * SCAN) == PHASE:
                command = wander(resampler(scan, scan.stamp).ranges, sim.in_contact)
        if step % CAMERA == 0:
            image, depth = sim.camera()
            assert depth is not None
            pixels = image.pixels if look is None else look.picture()
            stamp = later(image.stamp)
            send('/camera/camera_info', 'sensor_msgs/msg/CameraInfo',
                 convert.camera_info_message(sim.camera_model(), stamp, image.frame_id))
            send('/camera/image_raw', 'sensor_msgs/msg/Image',
                 convert.image_message(pixels, stamp, image.frame_id, 'rgb8'))
            if not sim.in_contact:  # one that climbs on things does not stand upright
                truth[stamp] = truth_of(warp.depth(depth.metres))
        sim.step(command)
    if look is not None:
        look.close()
    return truth


def bags(args: argparse.Namespace) -> None:
    """Write the bags of every split."""
    robot = shifted(load_robot(find('description', SimConfig().robot_xacro)),
                    math.radians(args.pitch), args.lift)
    body = robot_config(robot)
    x, y, z, roll, tilt, yaw = body.camera_pose
    truth_of = CameraLabels((x, y, z + args.lift, roll, tilt + math.radians(args.pitch), yaw),
                            body.ground_clearance, body.height)
    for split, first in SEEDS.items():
        count = {'train': args.worlds}.get(split, max(args.worlds // 3, 1))
        truth: dict[int, np.ndarray] = {}
        with BagWriter(args.folder / split) as bag:
            for i in range(count):
                began = time.monotonic()
                found = drive(bag, 10.0 + i * (args.seconds + 10.0), CYCLE[i % len(CYCLE)],
                              first + i, args.seconds, robot, truth_of, args.look == 'gl')
                truth |= found
                print(f'{split} {i + 1}/{count}: {len(found)} images, '
                      f'{time.monotonic() - began:.1f} s', file=sys.stderr, flush=True)
        np.savez(args.folder / f'{split}_truth.npz', stamp=np.array(list(truth), np.int64),
                 camera=np.stack(list(truth.values())))


def measure(folder: Path, weights: list[Path]) -> dict[str, dict[str, dict[str, float]]]:
    """Figures on the test bag against what its camera could see, by weights and what was shown."""
    path = extract(folder / 'test', folder / 'frames', Source(robot='jackal'))
    frames = load(path)
    with np.load(folder / 'test_truth.npz') as file:
        rows = {int(stamp): labels for stamp, labels in zip(file['stamp'], file['camera'],
                                                            strict=True)}
    kept = [i for i, stamp in enumerate(frames['stamp']) if int(stamp) in rows]
    frames = {name: values[kept] for name, values in frames.items()}
    frames['camera'] = np.stack([rows[int(stamp)] for stamp in frames['stamp']])
    beams = torch.from_numpy(np.where(np.isinf(frames['scan']), np.nan, frames['scan']))
    shown = shown_by_lidar(beams, torch.from_numpy(frames['camera'])).numpy()
    unseen = {**frames, 'camera': np.where(shown, np.float32(np.nan), frames['camera'])}
    every, hidden = FrameSet(frames), FrameSet(unseen)
    return {str(file): {
        'camera_and_lidar': drive_metrics(encoder, every, scan=True),
        'camera_alone': drive_metrics(encoder, every, scan=False),
        'not_shown_by_lidar': drive_metrics(encoder, hidden, scan=True)}
        for file in weights for encoder in [load_encoder(file)]}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    making = commands.add_parser('bags')
    making.add_argument('folder', type=Path)
    making.add_argument('--pitch', type=float, default=0.0, help='degrees down')
    making.add_argument('--lift', type=float, default=0.0, help='m up')
    making.add_argument('--look', choices=('ray', 'gl'), default='ray')
    making.add_argument('--worlds', type=int, default=6, help='to adapt on; a third as many to '
                        'stop by, and to test on')
    making.add_argument('--seconds', type=float, default=60.0, help='in each world')
    judging = commands.add_parser('measure')
    judging.add_argument('folder', type=Path, help='of `bags`')
    judging.add_argument('weights', type=Path, nargs='+')
    args = parser.parse_args(argv)
    if args.command == 'bags':
        bags(args)
    else:
        torch.set_num_threads(1)
        print(json.dumps(measure(args.folder, args.weights), indent=1))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

"""Frames for the encoder: a robot wanders through generated worlds, everything is recorded.

Images, scans and the inertial window pass through the sensing code of the robot; labels come
from the world's geometry and noise-free depth. Shards are plain .npz files, one per group of
worlds, each decided by its index alone: an interrupted recording goes on where it stopped.
Depth is stored without noise; training adds it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import RobotConfig, SimConfig, from_mapping
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.layout import scan_bearings
from karpathy_control.contracts.types import Command, FloatArray, Pose2, State
from karpathy_control.contracts.world import Box, World
from karpathy_control.learning.labels import CameraLabels, sector_labels
from karpathy_control.perception.encoder import PAST_AGES
from karpathy_control.perception.history import History
from karpathy_control.sensing.align import ImuHistory, OdometryHistory
from karpathy_control.sensing.preprocess import ImageWarp
from karpathy_control.sensing.resample import ScanResampler
from karpathy_control.worlds.free_space import clearance_at
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import RobotDescription, load_robot

FIRST_SEED = 100_000  # no demo or evaluation uses worlds from here on
SPLITS = {'train': 0, 'validation': 50_000, 'test': 60_000}  # first seed above FIRST_SEED
SPLIT_WORLDS = 10_000  # fewer worlds than this in each split, so that splits stay disjoint
WORLDS = 8  # per shard
FRAMES = 30  # per world
STEP = 0.005  # s of physics
ODOM_STEPS, STATE_STEPS, SCAN_STEPS, FRAME_STEPS = 4, 10, 40, 80  # periods in physics steps
CYCLE = ('mixed', 'low', 'moving', 'cylinders', 'mixed', 'low', 'moving', 'corridor', 'mixed',
         'low', 'rooms', 'moving', 'mixed', 'low', 'cylinders', 'open', 'mixed', 'moving',
         'corridor', 'rooms', 'field', 'people', 'swarm')  # one family after another
LIDARS = ((720, 4.71239), (360, 4.71239), (1080, 4.71239), (360, 2 * math.pi), (247, 4.18879),
          (720, math.pi), (90, 2 * math.pi))  # beams and field of view, rad
_AHEAD = np.abs(scan_bearings()) < math.radians(35.0)

FURNISHED = 0.7  # share of worlds with more low and hanging boxes than their family has
ROOM = 0.15  # m between such a box and what stands already
START_ROOM = 0.8  # m around the start
PATIENCE = 2  # times as long as the frames take, before those of a robot that touches count

Frames = dict[str, NDArray]


class Wander:
    """Drives at random, mostly clear of things and at times close up to them."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng
        self._command = Command()
        self._left = 0

    def __call__(self, scan: FloatArray, touching: bool) -> Command:
        """The command for the next SCAN_STEPS steps."""
        rng = self._rng
        ahead = scan[_AHEAD]
        clear = float(np.min(ahead, initial=np.inf, where=np.isfinite(ahead)))
        self._left -= 1
        if touching:
            self._command = Command(-0.3, float(rng.choice((-1.0, 1.0)) * rng.uniform(0.5, 1.5)))
            self._left = 6
        elif self._left <= 0 or (clear < 0.6 and self._command.v > 0.3):
            near = clear < 0.9 and rng.random() < 0.8
            v = float(rng.uniform(-0.2, 0.1) if near else rng.uniform(0.2, 1.2))
            w = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.8, 1.8) if near
                      else rng.normal(0.0, 0.6))
            self._command = Command(v, w)
            self._left = int(rng.integers(2, 8))
        return self._command


def furnish(world: World, rng: Generator) -> World:
    """The world with low and hanging boxes at random free places, in FURNISHED of the cases.

    They are what only the camera shows, and rare in most families. A way through is not kept.
    """
    boxes = list(world.boxes)
    if rng.random() < FURNISHED:
        x_min, y_min, x_max, y_max = world.bounds
        for _ in range(int(rng.integers(12, 40))):
            x, y = rng.uniform(x_min, x_max), rng.uniform(y_min, y_max)
            half_x, half_y = rng.uniform(0.04, 0.4, 2)
            reach = math.hypot(half_x, half_y)
            clear = clearance_at(np.array(x), np.array(y), world.cylinders, boxes)
            if (clear < reach + ROOM
                    or math.hypot(x - world.start.x, y - world.start.y) < reach + START_ROOM):
                continue
            low = rng.random() < 0.6
            bottom = 0.0 if low else rng.uniform(0.32, 0.46)
            top = rng.uniform(0.07, 0.28) if low else bottom + rng.uniform(0.04, 0.4)
            boxes.append(Box(float(x), float(y), float(half_x), float(half_y),
                             float(rng.uniform(-math.pi, math.pi)), float(bottom), float(top)))
    return replace(world, boxes=tuple(boxes))


def robot_config(robot: RobotDescription) -> RobotConfig:
    """The robot's parameters as the nodes get them."""
    values = {name.removeprefix('robot.'): value
              for name, value in robot.robot_parameters().items()}
    return from_mapping(RobotConfig, values)


def record_world(family: str, seed: int, frames: int, robot: RobotDescription) -> Frames:
    """Drive through one world and record `frames` frames, one every 0.4 s unless it touches.

    What touches something may have climbed on it, and then no longer stands upright. One that
    does not get free is recorded as it is, in the end.
    Returns arrays with the frame as first axis: image, depth, scan, past, past_age, imu, history,
    camera_pose (inputs) and sectors, camera (labels), pose (world frame), origin (family, seed).
    """
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    beams, fov = LIDARS[rng.integers(len(LIDARS))]
    config = from_mapping(SimConfig, {
        'seed': seed, 'physics_step': STEP, 'camera.depth_noise': 0.0, 'lidar.beams': beams,
        'lidar.fov': min(fov, 6.2831853), 'lidar.noise': float(rng.uniform(0.003, 0.02))})
    body = robot_config(robot)
    world = furnish(generate(family, seed), rng)
    world = replace(world, start=Pose2(world.start.x, world.start.y,
                                       float(rng.uniform(-math.pi, math.pi))))
    sim = MujocoWorld(world, config, robot)
    odom, imu, history = OdometryHistory(), ImuHistory(), History(PAST_AGES)
    resampler, warp = ScanResampler(body.lidar_pose), ImageWarp(sim.camera_model())
    labels = CameraLabels(body.camera_pose, body.ground_clearance, body.height)
    wander, command = Wander(rng), Command()
    rows: dict[str, list] = {}
    step = 0
    while not rows or len(rows['image']) < frames:
        if step % (ODOM_STEPS // 2) == 0:
            imu.add(sim.imu())
        if step % ODOM_STEPS == 0:
            odom.add(sim.odometry())
        ranges = None
        if step % SCAN_STEPS == 0:
            ranges = resampler(sim.lidar(), sim.stamp).ranges
        stuck = step > PATIENCE * frames * FRAME_STEPS
        if (step % FRAME_STEPS == 0 and step >= FRAME_STEPS and ranges is not None
                and (stuck or not sim.in_contact)):
            state = odom.at(sim.stamp, 0.1)
            assert state is not None
            frame = _frame(sim, state, ranges, history, warp, labels, body)
            frame['imu'] = imu.window(sim.stamp)
            frame['origin'] = np.array((FAMILIES.index(family), seed), np.int32)
            for name, value in frame.items():
                rows.setdefault(name, []).append(value)
        if step % STATE_STEPS == 0:
            history.push(sim.odometry(), ranges)
        if ranges is not None:
            command = wander(ranges, sim.in_contact)
        sim.step(command)
        step += 1
    return {name: np.stack(values) for name, values in rows.items()}


def _frame(sim: MujocoWorld, state: State, ranges: FloatArray, history: History,
           warp: ImageWarp, labels: CameraLabels, body: RobotConfig) -> dict:
    image, depth = sim.camera()
    assert depth is not None
    true = sim.true_state()
    warped = warp.depth(depth.metres)
    camera = labels(warped)
    band = (body.ground_clearance, body.height)
    past, ages = history.past(state.stamp, state.pose)
    return {
        'image': warp.image(image.pixels), 'depth': warped.astype(np.float16), 'scan': ranges,
        'past': past, 'past_age': ages, 'history': history.speeds(state),
        'camera_pose': np.array(body.camera_pose, np.float32), 'camera': camera,
        'sectors': sector_labels(sim.world, true.pose, sim.time, ranges, camera, band,
                                 body.lidar_pose[2], sim.people()),
        'pose': np.array((true.x, true.y, true.yaw, sim.time), np.float64)}


def record_shard(path: Path, split: str, index: int) -> Path:
    """Record shard `index` of a split into `path`, unless it is there already."""
    if path.exists():
        return path
    robot = load_robot(find('description', SimConfig().robot_xacro))
    parts = []
    for world in range(index * WORLDS, (index + 1) * WORLDS):
        if world >= SPLIT_WORLDS:
            raise ValueError(f'{split} world {world}: a split has fewer than {SPLIT_WORLDS}')
        seed = FIRST_SEED + SPLITS[split] + world
        parts.append(record_world(CYCLE[world % len(CYCLE)], seed, FRAMES, robot))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix('.partial.npz')
    np.savez(partial, **{name: np.concatenate([p[name] for p in parts])  # type: ignore[arg-type]
                         for name in parts[0]})
    os.replace(partial, path)
    return path


def shard_paths(folder: Path, split: str, count: int) -> list[Path]:
    """Where the first `count` shards of a split lie."""
    return [folder / f'{split}_{index:04d}.npz' for index in range(count)]


def record(folder: Path, split: str, count: int, workers: int = 1) -> Iterable[Path]:
    """Record the first `count` shards of a split that are missing; yields each when it is there.

    More than one worker uses that many processes.
    """
    jobs = [(path, split, index)
            for index, path in enumerate(shard_paths(folder, split, count))]
    missing = [job for job in jobs if not job[0].exists()]
    if workers <= 1 or len(missing) < 2:
        for job in missing:
            yield record_shard(*job)
        return
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from pool.imap(_record_job, missing)


def _record_job(job: tuple[Path, str, int]) -> Path:
    return record_shard(*job)


def load(folder: Path, split: str, count: int) -> Frames:
    """Read the first `count` shards of a split. Raises FileNotFoundError naming a missing one."""
    shards = []
    for path in shard_paths(folder, split, count):
        if not path.is_file():
            raise FileNotFoundError(f'shard {path}: no such file; record it first')
        with np.load(path, allow_pickle=False) as file:
            shards.append({name: file[name] for name in file.files})
    return {name: np.concatenate([s[name] for s in shards]) for name in shards[0]}


def main(argv: list[str] | None = None) -> int:
    """Record shards: `python -m karpathy_control.learning.dataset --shards 8`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('--out', type=Path, default=Path('runs/frames'))
    parser.add_argument('--split', choices=tuple(SPLITS), default='train')
    parser.add_argument('--shards', type=int, default=72)
    parser.add_argument('--workers', type=int, default=1)
    args = parser.parse_args(argv)
    for path in record(args.out, args.split, args.shards, args.workers):
        print(path, flush=True)
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

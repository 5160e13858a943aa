"""What the camera scan says, frame after frame, beside what the batched world calls the truth.

A robot wanders through generated worlds that no training saw. Its sensors pass through the sensing
code of the robot at the camera's own rate, and the shipped encoder answers through its runtime, so
that errors follow each other as they do on the robot. One file per world: an interrupted recording
goes on where it stopped.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from karpathy_control.contracts.config import PerceptionConfig, SensorConfig, SimConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.contracts.types import Command, FloatArray, Pose2
from karpathy_control.learning.dataset import CYCLE, FIRST_SEED, Wander, robot_config
from karpathy_control.perception.camera_scan import scan_from_depth
from karpathy_control.perception.runtime import PerceptionRuntime
from karpathy_control.sensing.pipeline import SensorPipeline
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import place_movers
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.raycast import cast
from karpathy_control.worlds.robot import RobotDescription
from karpathy_control.worlds.surrogate import RAYS

HELD_OUT = FIRST_SEED + 70_000  # seeds from here on are in no split of `dataset`
PERIODS = {'imu': 0.01, 'odometry': 0.02, 'lidar': 0.05, 'camera': 0.05}  # s, of the sim node
LIDAR_PHASE = 0.025  # s: scans fall between the frames, as in evaluation.inprocess
WANDER_PERIOD = 0.2  # s between two commands


@dataclass(frozen=True)
class Sequence:
    """Frames of one world, one after the other; scans about base in the observation layout."""

    truth: FloatArray  # (frames, RAYS) m, nearest in the height band of the robot
    plane: FloatArray  # (frames, RAYS) m, nearest in the plane of the lidar
    learned: FloatArray  # (frames, SCAN_BEAMS) m, the camera scan from colour alone
    depth: FloatArray  # (frames, SCAN_BEAMS) m, the camera scan where there is depth


class Truth:
    """Ranges of a world by the ray casts of the batched world."""

    def __init__(self, sim: MujocoWorld, band: tuple[float, float], lidar_height: float) -> None:
        self._sim, self._bank = sim, pack([sim.world])
        self._heights = (band, (lidar_height, lidar_height))
        bearings = scan_bearings(RAYS).astype(np.float64)
        self._cosine, self._sine = np.cos(bearings), np.sin(bearings)

    def __call__(self) -> tuple[FloatArray, FloatArray]:
        """Nearest in the band and in the lidar's plane now, (RAYS,) m each."""
        b, state = self._bank, self._sim.true_state()
        xy = np.zeros((b.movers.shape[1], 2))
        place_movers(self._sim.time, b.movers[0], b.keyframes[0], b.keyframe_count[0],
                     b.mover_count[0], xy)
        people = self._sim.people()
        xy[b.mover_count[0] - len(people):b.mover_count[0]] = people[:, :2]
        pose, found = (state.x, state.y, state.yaw - math.pi / RAYS), []
        for low, high in self._heights:
            ranges = np.empty(RAYS, np.float32)
            cast(ranges, self._cosine, self._sine, pose, low, high, b.circles[0],
                 b.circle_count[0], b.boxes[0], b.box_count[0], b.movers[0], xy, b.mover_count[0],
                 SCAN_RANGE_MAX)
            found.append(ranges)
        return found[0], found[1]


def record_sequence(family: str, seed: int, frames: int, robot: RobotDescription,
                    weights: Path) -> Sequence:
    """Drive through one world and note `frames` frames that follow each other."""
    rng = np.random.default_rng([seed, 11])
    body = robot_config(robot)
    world = generate(family, seed)
    world = replace(world, start=Pose2(world.start.x, world.start.y,
                                       float(rng.uniform(-math.pi, math.pi))))
    config = replace(SimConfig(), robot=body, seed=seed)
    sim = MujocoWorld(world, config, robot)
    sensor = SensorPipeline(replace(SensorConfig(), robot=body))
    sensor.on_camera_model(sim.camera_model())
    perception = PerceptionRuntime(weights, replace(PerceptionConfig(), robot=body))
    truth = Truth(sim, (body.ground_clearance, body.height), body.lidar_pose[2])
    wander, command = Wander(rng), Command()
    steps = {name: round(period / config.physics_step) for name, period in PERIODS.items()}
    phase, every = round(LIDAR_PHASE / config.physics_step), round(
        WANDER_PERIOD / config.physics_step)
    true: dict[int, tuple[FloatArray, FloatArray]] = {}
    rows: list[tuple[FloatArray, ...]] = []
    step = 0
    while len(rows) < frames:
        now = sim.stamp
        if step % steps['imu'] == 0:
            sensor.on_imu(sim.imu(), now)
        if step % steps['odometry'] == 0:
            sensor.on_odom(sim.odometry(), now)
        if step % steps['lidar'] == phase:
            sensor.on_scan(sim.lidar(), now)
        if step % steps['camera'] == 0:
            image, depth = sim.camera()
            assert depth is not None
            sensor.on_depth(depth, now)
            sensor.on_image(image, now)
            true = {now: truth()}
        for observation in sensor.release(now, now):
            said = perception.step(replace(observation, depth=None, depth_points=None))
            if observation.stamp not in true or observation.depth_points is None:
                continue
            assert said.camera_scan is not None
            rows.append((*true[observation.stamp], said.camera_scan.ranges,
                         scan_from_depth(observation.depth_points).ranges))
        if step % every == 0:
            scan = true[max(true)][1][1::2] if true else np.full(SCAN_BEAMS, np.inf, np.float32)
            command = wander(scan, sim.in_contact)
        sim.step(command)
        step += 1
    return Sequence(*(np.stack(column) for column in zip(*rows, strict=True)))


def record(folder: Path, worlds: int, frames: int, robot: RobotDescription, weights: Path,
           mark: str) -> Iterator[Sequence]:
    """The sequences of `worlds` worlds, family after family; `mark` names the encoder.

    Those that lie in `folder` already are read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(worlds):
        family, seed = CYCLE[k % len(CYCLE)], HELD_OUT + k
        path = folder / f'{mark}_{family}_{seed}_{frames}.npz'
        if path.is_file():
            with np.load(path, allow_pickle=False) as file:
                yield Sequence(*(file[item.name] for item in fields(Sequence)))
            continue
        sequence = record_sequence(family, seed, frames, robot, weights)
        partial = path.with_suffix('.partial.npz')
        np.savez(partial, **{item.name: getattr(sequence, item.name)
                             for item in fields(Sequence)})
        os.replace(partial, path)
        yield sequence

"""Frames for the encoder out of a bag: the very sets that `sensor` would have made, in one file.

    python -m karpathy_control.nodes.bag_frames --bag FOLDER --out FRAMES.npz --every 0.2 \
        --namespace '' [--robot PROFILE]

Raw topics go through the intake and the pipeline of the node, in the order in which they came,
and past and speeds through the history of perception, so a frame holds what the loop saw. A bag
can wait for its odometry, so states are interpolated and never extrapolated. Kept is a set with an
image and a scan that is fresh, where the robot has moved since the one before. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message

from karpathy_control.bags.journal import parse
from karpathy_control.bags.reading import BagMessage, read_bag
from karpathy_control.bringup.robots import (
    RobotProfile,
    adapted,
    load_profile,
    robot_of,
    topic_of,
)
from karpathy_control.contracts.config import ConfigError, SensorConfig, from_mapping
from karpathy_control.contracts.layout import IMU_SAMPLES
from karpathy_control.contracts.types import NANOSECONDS, Observation, Pose2
from karpathy_control.nodes import convert
from karpathy_control.nodes.frames import FrameResolver
from karpathy_control.nodes.intake import Intake
from karpathy_control.nodes.qos import message_type, topic
from karpathy_control.nodes.spin import EXIT_REFUSED
from karpathy_control.perception.encoder import PAST_AGES
from karpathy_control.perception.history import History
from karpathy_control.sensing.pipeline import SensorPipeline

REQUIRED = ('camera/camera_info', 'camera/image_raw', 'scan', 'odom')
TAKEN = (*REQUIRED, 'imu')
JOURNAL = 'sensor/journal'
SCAN_AGE = 0.1  # s: an older scan says too little of what moves to be a label
PATIENCE = 0.1  # s of arrival that a set waits for the odometry after it
MOVED, TURNED = 0.05, 0.05  # m and rad since the frame before: else it shows nothing new

Arrays = dict[str, NDArray[Any]]


def recorded_config(folder: Path, namespace: str) -> SensorConfig | None:
    """The parameters of `sensor` as its journal has them; None where the bag holds no journal."""
    for message in read_bag(folder, {f'{namespace}/{JOURNAL}'}):
        text = deserialize_message(message.data, message_type(message.type)).data
        try:
            return from_mapping(SensorConfig, parse(text).parameters)
        except ConfigError as error:
            raise ConfigError(f'{folder}: sensor, as recorded: {error}; --robot says where the '
                              'sensors sit') from None
    return None


def observations(config: SensorConfig, messages: Iterator[tuple[str, BagMessage]]
                 ) -> Iterator[Observation]:
    """The sets of raw messages, each given with its name in the interface table."""
    pipeline = SensorPipeline(config)
    frames = FrameResolver(None, config.robot.odom_frame, config.robot.base_frame)
    intake = Intake(pipeline, config, frames.to_odom)
    now = 0
    for name, raw in messages:
        message = deserialize_message(raw.data, message_type(raw.type))
        try:
            now = max(now, convert.stamp_ns(message.header))
            intake.take(name, message, raw.received)
        except convert.InvalidMessage:
            continue  # as the node does
        yield from pipeline.release(now, raw.received)


class Frames:
    """Keeps the sets that are worth learning from, with what the encoder takes beside them."""

    def __init__(self, config: SensorConfig, every: float) -> None:
        """every: s between two frames at least."""
        self._config, self._every = config, round(every * NANOSECONDS)
        self._history = History(PAST_AGES)
        self._stamp: int | None = None
        self._pose = Pose2()
        self._rows: dict[str, list[Any]] = {}
        self.sets = 0

    def __len__(self) -> int:
        return len(self._rows.get('stamp', ()))

    def add(self, o: Observation) -> None:
        """Take the next set."""
        self.sets += 1
        if o.image is not None and o.scan is not None and self._due(o):
            past, ages = self._history.past(o.stamp, o.state.pose)
            imu = o.imu if o.imu is not None and np.isfinite(o.imu).all() else None
            row = {'image': o.image, 'scan': o.scan.ranges, 'reach': o.scan.range_max,
                   'past': past, 'past_age': ages, 'history': self._history.speeds(o.state),
                   'imu': np.zeros((IMU_SAMPLES, 6), np.float32) if imu is None else imu,
                   'has_imu': imu is not None, 'stamp': o.stamp}
            for name, value in row.items():
                self._rows.setdefault(name, []).append(value)
            self._stamp, self._pose = o.stamp, o.state.pose
        self._history.push(o.state, None if o.scan is None else o.scan.ranges)

    def _due(self, o: Observation) -> bool:
        if self._stamp is None or o.stamp < self._stamp:  # the clock was set back
            return True
        moved = math.hypot(o.state.x - self._pose.x, o.state.y - self._pose.y)
        turned = abs(math.remainder(o.state.yaw - self._pose.yaw, 2.0 * math.pi))
        return o.stamp - self._stamp >= self._every and (moved >= MOVED or turned >= TURNED)

    def arrays(self) -> Arrays:
        """Every frame kept, the frame as the first axis, and where the sensors sit."""
        robot = self._config.robot
        return {**{name: np.stack(values) for name, values in self._rows.items()},
                'camera_pose': np.array(robot.camera_pose, np.float32),
                'lidar_pose': np.array(robot.lidar_pose, np.float32),
                'band': np.array([robot.ground_clearance, robot.height], np.float32)}


def _named(folder: Path, names: dict[str, str]) -> Iterator[tuple[str, BagMessage]]:
    for message in read_bag(folder, set(names)):
        name = names[message.topic]
        if message.type != topic(name).type:
            raise ConfigError(f'{folder}: {message.topic} is of type {message.type}; it takes '
                              f'{topic(name).type}')
        yield name, message


def frames_of(folder: Path, namespace: str, profile: RobotProfile | None, every: float) -> Frames:
    """The frames of a bag. ConfigError where it lacks what they need, or holds none."""
    if profile is None:
        config = recorded_config(folder, namespace)
        if config is None:
            raise ConfigError(f'{folder}: holds no {namespace}/{JOURNAL}, which says where the '
                              'sensors sit; --robot PROFILE says it instead')
        names = {f'{namespace}/{name}': name for name in TAKEN}
    else:
        config = adapted(SensorConfig(), robot_of(profile, {}))
        names = {topic_of(profile, namespace, name): name for name in TAKEN}
    if not config.robot.camera_rate:
        raise ConfigError(f'{folder}: robot.camera_rate is 0; a robot without a camera has '
                          'nothing to adapt')
    config = replace(config, align_wait=PATIENCE,
                     scan_max_age=min(config.scan_max_age, SCAN_AGE))
    found: set[str] = set()

    def watched() -> Iterator[tuple[str, BagMessage]]:
        for name, message in _named(folder, names):
            found.add(name)
            yield name, message

    frames = Frames(config, every)
    for observation in observations(config, watched()):
        frames.add(observation)
    missing = [full for full, name in names.items() if name in REQUIRED and name not in found]
    if missing:
        raise ConfigError(f'{folder}: holds no {", ".join(missing)}; adapting takes '
                          f'{", ".join(REQUIRED)}, and imu where there is one')
    if not len(frames):
        raise ConfigError(f'{folder}: {frames.sets} sets, none with an image and a scan of at '
                          f'most {SCAN_AGE} s')
    return frames


def main(argv: Sequence[str] | None = None) -> int:
    """Write the frames of one bag."""
    parser = argparse.ArgumentParser(prog='bag_frames', description=__doc__)
    parser.add_argument('--bag', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--every', type=float, required=True, help='s')
    parser.add_argument('--namespace', required=True)
    parser.add_argument('--robot', default='')
    a = parser.parse_args(argv)
    try:
        frames = frames_of(a.bag, a.namespace, load_profile(a.robot) if a.robot else None,
                           a.every)
    except (ConfigError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    partial = a.out.with_suffix('.partial.npz')
    np.savez(partial, **frames.arrays())  # type: ignore[arg-type]  # numpy's stub: a flag of savez
    os.replace(partial, a.out)
    print(json.dumps({'bag': str(a.bag), 'sets': frames.sets, 'frames': len(frames)}))
    return 0


if __name__ == '__main__':
    sys.exit(main())

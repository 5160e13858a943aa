"""Recorded drives as frames to learn from: what `nodes/bag_frames.py` took from a bag, labelled.

The bag is read by a process of its own, since only `nodes` knows ROS. Its frames are kept in a
file beside the run; one that was made of the same bag in the same way is taken again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.layout import DEPTH_MAX, IMAGE_HEIGHT, IMAGE_WIDTH, SECTORS
from karpathy_control.learning.dataset import Frames
from karpathy_control.learning.labels import LABEL_FIELDS
from karpathy_control.learning.lidar_labels import LidarLabels


@dataclass(frozen=True)
class Source:
    """How bags become frames."""

    every: float = 0.2  # s between two frames at least
    namespace: str = ''  # of the robot in the bag, absolute
    robot: str = ''  # profile; empty: what the bag's own journal says


def extract(bag: Path, folder: Path, source: Source) -> Path:
    """The frames of a bag as a file in `folder`, made where it is not there yet.

    ConfigError with what was wrong with the bag.
    """
    files = sorted(bag.glob('*.mcap')) if bag.is_dir() else []
    made_of = [str(bag.resolve()), *((f.name, f.stat().st_size, f.stat().st_mtime_ns)
                                     for f in files), vars(source)]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]
    out = folder / f'{bag.resolve().name}_{key}.npz'
    if out.is_file():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-m', 'karpathy_control.nodes.bag_frames', '--bag', str(bag),
               '--out', str(out), '--every', str(source.every), '--namespace', source.namespace]
    if source.robot:
        command += ['--robot', source.robot]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment('none')})
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise ConfigError(why[-1] if why else f'{bag}: its reader ended with status '
                                              f'{done.returncode}')
    return out


def load(path: Path) -> Frames:
    """Frames for a FrameSet from a file of `extract`: colour and lidar, no depth, no sectors.

    `camera` holds the labels of the lidar; `stamp` and `has_imu` come along.
    """
    with np.load(path, allow_pickle=False) as file:
        kept = {name: file[name] for name in file.files}
    n = len(kept['stamp'])
    low, high = (float(v) for v in kept['band'])
    labels = LidarLabels([float(v) for v in kept['camera_pose']],
                         [float(v) for v in kept['lidar_pose']], (low, high))
    sectors = np.zeros((n, SECTORS, len(LABEL_FIELDS)), np.float32)
    sectors[..., 0] = np.inf
    reach = np.minimum(kept['reach'], DEPTH_MAX)
    return {
        'image': kept['image'], 'scan': kept['scan'], 'past': kept['past'],
        'past_age': kept['past_age'], 'imu': kept['imu'], 'history': kept['history'],
        'depth': np.full((n, IMAGE_HEIGHT, IMAGE_WIDTH), np.nan, np.float16),
        'camera_pose': np.repeat(kept['camera_pose'][None], n, 0), 'sectors': sectors,
        'camera': np.stack([labels(scan, float(most)) for scan, most in
                            zip(kept['scan'], reach, strict=True)]),
        'origin': np.zeros((n, 2), np.int32), 'stamp': kept['stamp'],
        'has_imu': kept['has_imu']}


def together(parts: list[Frames]) -> Frames:
    """Several bags as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def labels_of(frames: Frames) -> int:
    """How many sub-bins the lidar labels."""
    return int(np.count_nonzero(~np.isnan(frames['camera'])))

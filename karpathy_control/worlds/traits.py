"""What an episode draws at its start, the same for every backend of the batched world."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.worlds.variation import Variation

# columns of the per-slot traits
(DELAY, ACCELERATION, DECELERATION, TURN_ACCELERATION, SLIP, TURN_SLIP, DRIFT, TURN_DRIFT,
 SCAN_NOISE, SCAN_DROP, LIDAR_FOV, CAMERA_ERROR, CAMERA_DEPTH, CAMERA_RANGE,
 DEPTH_NOISE) = range(15)
TRAITS = ('delay', 'acceleration', 'deceleration', 'turn_acceleration', 'slip', 'turn_slip',
          'drift', 'turn_drift', 'scan_noise', 'scan_drop', 'lidar_fov', 'camera_error',
          'camera_depth', 'camera_range', 'depth_noise')

NORMAL = np.random.default_rng(20240229).standard_normal(1 << 14).astype(np.float32)


def draw_traits(robot: RobotConfig, v: Variation, seed: int
                ) -> tuple[NDArray[np.float64], np.uint64]:
    """The traits (15,) of an episode, SI, and where its own random numbers begin."""
    rng = np.random.default_rng([seed, 7919])
    t = np.empty(len(TRAITS))
    t[DELAY] = rng.uniform(*v.delay)
    t[ACCELERATION] = robot.acceleration * (factor := rng.uniform(*v.acceleration))
    t[TURN_ACCELERATION] = robot.turn_acceleration * factor
    t[DECELERATION] = robot.deceleration * rng.uniform(*v.deceleration)
    t[SLIP], t[TURN_SLIP] = rng.uniform(*v.slip), rng.uniform(*v.turn_slip)
    t[DRIFT] = rng.uniform(*v.drift) * rng.standard_normal()
    t[TURN_DRIFT] = rng.uniform(*v.turn_drift) * rng.standard_normal()
    t[SCAN_NOISE], t[SCAN_DROP] = rng.uniform(*v.scan_noise), rng.uniform(*v.scan_drop)
    t[LIDAR_FOV] = rng.uniform(*v.lidar_fov)
    t[CAMERA_ERROR], has_depth = rng.uniform(*v.camera_error), rng.uniform(*v.camera_depth)
    t[CAMERA_RANGE], t[DEPTH_NOISE] = rng.uniform(*v.camera_range), rng.uniform(*v.depth_noise)
    random = rng.integers(0, 2**63, dtype=np.uint64)
    t[CAMERA_DEPTH] = rng.random() < has_depth
    return t, random

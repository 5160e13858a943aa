"""The one observation layout of training, simulation and robot; its hash is part of every weight.

Change a number here and every weight file made before is refused by name: `LAYOUT_VERSION` for
a change of meaning, the hash for a change of shape.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LAYOUT_VERSION = 1

SCAN_BEAMS = 360  # bearings of the observation scan, about the origin of base
SCAN_RANGE_MAX = 10.0  # m; farther is +Inf to the learner

IMAGE_WIDTH = 128  # px of the virtual pinhole that every camera is warped to
IMAGE_HEIGHT = 96  # px
IMAGE_HFOV = math.radians(90.0)  # rad
DEPTH_MAX = 10.0  # m

IMU_SAMPLES = 8  # samples of the window, resampled evenly from the last 0.1 s
STATE_HISTORY = 4  # past (v, w) pairs that the encoder sees

SECTORS = 36  # entities, one per 10 degrees, first sector at bearing -pi
SECTOR_WIDTH = 2.0 * math.pi / SECTORS

EMBEDDING = 16
MOVERS = 8  # moving things that a policy is told of at most, the nearest
MOVER_FIELDS = 9  # x y vx vy (m, m/s, base) radius (m) confidence (0: no more rows) turn_rate
# (rad/s, to the left, wearing off) spread (m/s that its way is unsure by) gain (m/s^2 along its
# way, wearing off); see mapping.motion
ENTITY_CLASSES = ('free', 'static', 'low', 'overhang', 'moving')
ENTITY_COLOURS = ((160, 160, 160), (70, 160, 255), (255, 200, 0), (230, 90, 230),
                  (255, 60, 60))  # rgb of the classes, in pictures for people
ENTITY_FIELDS = (
    'x', 'y', 'z', 'vx', 'vy', 'radius', 'confidence', 'label',
    *(f'e{i}' for i in range(EMBEDDING)), 'turn_rate', 'spread', 'gain',
)


def scan_bearings(beams: int = SCAN_BEAMS) -> NDArray[np.float32]:
    """Bearings of the observation scan. Shape: (beams,), rad in base, ascending from -pi."""
    return (-math.pi + (np.arange(beams) + 0.5) * (2.0 * math.pi / beams)).astype(np.float32)


_COSINES = np.cos(scan_bearings().astype(np.float64))
_SINES = np.sin(scan_bearings().astype(np.float64))


def in_view(ranges: NDArray[np.floating], camera_pose: Sequence[float]) -> NDArray[np.bool_]:
    """Whether the camera's horizontal field of view holds the point at each bearing and range.

    `ranges` (SCAN_BEAMS,) m about base; `camera_pose` x y z roll pitch yaw in base.
    """
    x = ranges * _COSINES - camera_pose[0]
    y = ranges * _SINES - camera_pose[1]
    azimuth = np.arctan2(y, x) - camera_pose[5]
    azimuth = (azimuth + math.pi) % (2.0 * math.pi) - math.pi
    return np.abs(azimuth) <= 0.5 * IMAGE_HFOV


def image_focal() -> float:
    """Focal length of the virtual pinhole in px (square pixels, centred)."""
    return 0.5 * IMAGE_WIDTH / math.tan(0.5 * IMAGE_HFOV)


def layout_dict() -> dict[str, object]:
    """Everything that shapes a tensor, by name."""
    return {
        'version': LAYOUT_VERSION,
        'scan_beams': SCAN_BEAMS,
        'scan_range_max': SCAN_RANGE_MAX,
        'image': [IMAGE_HEIGHT, IMAGE_WIDTH, 3],
        'image_hfov': round(IMAGE_HFOV, 6),
        'depth_max': DEPTH_MAX,
        'imu_samples': IMU_SAMPLES,
        'state_history': STATE_HISTORY,
        'sectors': SECTORS,
        'embedding': EMBEDDING,
        'classes': list(ENTITY_CLASSES),
    }


def layout_hash() -> str:
    """First 16 hex digits of the SHA-256 of the canonical JSON of the layout."""
    text = json.dumps(layout_dict(), sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

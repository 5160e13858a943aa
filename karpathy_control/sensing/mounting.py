"""Mounting poses `x y z roll pitch yaw` (URDF order) as a position and a rotation matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import rotation_rpy
from karpathy_control.contracts.types import Pose3

# An optical frame (x right, y down, z forward; REP-103) seen from the camera body (x forward).
BODY_FROM_OPTICAL: NDArray[np.float64] = np.array([[0.0, 0.0, 1.0],
                                                   [-1.0, 0.0, 0.0],
                                                   [0.0, -1.0, 0.0]])


def mounting_pose(pose: Sequence[float]) -> Pose3:
    """Turn `x y z roll pitch yaw` (m, rad) into a Pose3.

    Raises ValueError where there are not six finite numbers.
    """
    if len(pose) != 6 or not all(math.isfinite(value) for value in pose):
        raise ValueError(f'mounting pose {list(pose)}: it takes 6 finite numbers, '
                         'x y z roll pitch yaw')
    return Pose3(np.array(pose[:3], np.float64), rotation_rpy(*pose[3:]))

"""What the camera of the observation layout can see of the robot's height band."""

from __future__ import annotations

import math
from collections.abc import Sequence

from karpathy_control.contracts.layout import IMAGE_HEIGHT, IMAGE_HFOV, IMAGE_WIDTH, image_focal


def whole_band_distance(camera_pose: Sequence[float], low: float, high: float) -> float:
    """Plan distance in m from the camera beyond which it sees everything from `low` to `high` m.

    The image's edges bound it: from the upper one to `high`, from the lower one to `low`. They
    are worst at the corners, where a ray climbs least over its longer way in plan; camera_pose
    is x y z roll pitch yaw in base. Infinite where an edge does not climb or fall.
    """
    z, pitch = camera_pose[2], camera_pose[4]
    c, s = math.cos(pitch), math.sin(pitch)
    side = math.tan(0.5 * IMAGE_HFOV)
    rise = side * IMAGE_HEIGHT / IMAGE_WIDTH

    def slope(up: float, aside: float) -> float:
        return (up * c - s) / math.hypot(c + up * s, aside)

    climb = min(slope(rise, aside) for aside in (0.0, side))
    fall = min(-slope(-rise, aside) for aside in (0.0, side))
    above = max(high - z, 0.0) / climb if climb > 0.02 else math.inf
    below = max(z - low, 0.0) / fall if fall > 0.02 else math.inf
    return max(above, below)


def nearest_ground_distance(camera_pose: Sequence[float]) -> float:
    """Plan distance in m from the camera to the nearest ground that it sees, in its middle column.

    The lower edge of the image looks down by the camera's pitch plus half its vertical view;
    infinite where that is not below the horizon. camera_pose is x y z roll pitch yaw in base.
    """
    down = camera_pose[4] + math.atan(0.5 * IMAGE_HEIGHT / image_focal())
    return camera_pose[2] / math.tan(down) if 0.0 < down < 0.5 * math.pi else math.inf

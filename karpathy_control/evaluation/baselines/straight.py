"""Straight to the goal: what remains when nothing but the gate knows of obstacles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from karpathy_control.policy.situation import Situation

GAIN = 2.0  # 1/s, turning rate per bearing of the goal


def straight(s: Situation) -> NDArray[np.floating]:
    """Turn towards the goal, and drive the faster the better it lies ahead. Shape: (B, 2)."""
    bearing = np.arctan2(s.goal[:, 1], s.goal[:, 0])
    distance = np.linalg.norm(s.goal, axis=1)
    brake = np.sqrt(s.robot.deceleration * distance)  # half of it, so that it stops at the goal
    v = np.minimum(s.robot.max_speed, brake) * np.maximum(np.cos(bearing), 0.0)
    w = np.clip(GAIN * bearing, -s.robot.max_turn, s.robot.max_turn)
    return np.column_stack((v, w))

"""An oracle with full knowledge: which commands are safe with room to spare, the gate aside.

It knows the exact world and pose and asks only what the robot can do: the base answers late or at
once, goes towards the command, and then brakes on its arc. Where the footprint keeps `SPARE` from
everything on the way, a gate that changes the command is too timid.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.evaluation.continuous import HORIZON, Shapes, distance
from karpathy_control.mapping.jit import kernel
from karpathy_control.worlds.batched import CONTROL_STEP

SPARE = 0.10  # m
_STEP = 0.01  # s of the motion between two looks


@kernel
def _towards(speed, wish, faster, slower):
    """`speed` one step nearer to `wish`."""
    most = slower if wish * speed < 0.0 or abs(wish) < abs(speed) else faster
    return speed + max(-most, min(most, wish - speed))


@kernel
def _proves(polygon, reach, scene, pose, speed, command, acceleration, deceleration,
            turn_acceleration, hold, go, ring):
    """Whether (hold, go towards the command, brake on the arc) keeps SPARE from everything."""
    nobody = np.empty((0, 3))
    x, y, yaw = pose[0], pose[1], pose[2]
    v, w = speed[0], speed[1]
    spare = distance(polygon, reach, scene, nobody, x, y, yaw, ring, HORIZON)[0] - SPARE
    if spare <= 0.0:
        return False
    n = math.ceil((hold + go) / _STEP - 1e-9)
    start_v, start_w, total, k = v, w, 0.0, 0
    while True:
        if k < n:
            if (k + 1) * _STEP > hold + 1e-9:
                v = _towards(v, command[0], acceleration * _STEP, deceleration * _STEP)
                w = _towards(w, command[1], turn_acceleration * _STEP, turn_acceleration * _STEP)
        else:
            if k == n:
                start_v, start_w = v, w
                total = max(abs(v) / deceleration, abs(w) / turn_acceleration)
            left = 1.0 - ((k - n + 0.5) * _STEP / total if total > 0.0 else 1.0)
            if left <= 0.0:
                return True
            v, w = start_v * left, start_w * left
        middle = yaw + 0.5 * w * _STEP
        x += v * _STEP * math.cos(middle)
        y += v * _STEP * math.sin(middle)
        yaw += w * _STEP
        k += 1
        spare -= (abs(v) + abs(w) * reach) * _STEP
        if spare <= 0.0:
            spare = distance(polygon, reach, scene, nobody, x, y, yaw, ring, HORIZON)[0] - SPARE
            if spare <= 0.0:
                return False


class Oracle:
    """Proves commands of one robot safe in a world that stands still."""

    def __init__(self, control: ControlConfig) -> None:
        r = control.robot
        self._polygon = np.ascontiguousarray(r.polygon)
        self._reach = r.circumscribed_radius
        self._limits = r.acceleration, r.deceleration, r.turn_acceleration
        self._reaction = control.gate.reaction_time
        self._ring = np.empty_like(self._polygon)

    def proves(self, scene: Shapes, pose: NDArray[np.float64], speed: NDArray[np.float64],
               command: NDArray[np.float64]) -> bool:
        """Whether a command is safe with SPARE to spare, by a base that is late or at once.

        Shapes: true pose (3,), true v and w (2,), command (2,) within the limits of the robot.
        """
        timings = ((self._reaction, CONTROL_STEP), (0.0, self._reaction + CONTROL_STEP))
        return all(_proves(self._polygon, self._reach, scene, pose, speed, command, *self._limits,
                           hold, go, self._ring) for hold, go in timings)

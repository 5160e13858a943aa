"""The dynamic window approach (Fox, Burgard and Thrun 1997), as ROS's dwa_local_planner uses it.

Commands that the base can reach within a control step are rolled out for SIM_TIME at constant
speed; the one with the lowest weighted sum of cost-to-go at its end, cost of the obstacles on its
way and lost speed wins. The cost-to-go takes the place of the distances to the global path and to
the local goal, which is what they are computed from there. Parameters are fixed here, before any
figure, after the Jackal of the BARN challenge: 6 x 20 samples, 2 s, at most 0.5 m/s and 1.57
rad/s.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.layout import scan_bearings
from karpathy_control.mapping.jit import kernel
from karpathy_control.policy.cost_to_go import value_at
from karpathy_control.policy.fan import footprint_clearance, slabs_of
from karpathy_control.policy.situation import Situation

MAX_SPEED, MAX_TURN = 0.5, 1.57  # m/s, rad/s
SPEEDS, TURNS = 6, 20
SIM_TIME, STEPS = 2.0, 20  # s
WINDOW = 0.2  # s: what the base can reach in this time is a candidate
INFLATION = 0.3  # m beyond the footprint, where the cost of obstacles ends
DECAY = 10.0  # 1/m, how fast it falls, as costmap_2d's cost_scaling_factor
OBSTACLE_WEIGHT, SPEED_WEIGHT = 1.0, 0.2  # m of path
TOUCH = 0.01  # m
REACH = 3.0  # m: obstacles farther away do not matter in SIM_TIME


@kernel
def choose(scan, cosines, sines, slabs, limits, field, field_origin, cell, pose, best):
    """Write the winning command (2,) m/s, rad/s into `best`; whether any is free.

    scan (n,) m about base; limits: lowest and highest v, lowest and highest w of the window; pose
    (x, y, yaw) in odom; field as of Deliberation.field.
    """
    px = np.empty(scan.shape[0], np.float32)
    py = np.empty(scan.shape[0], np.float32)
    work = np.empty(scan.shape[0], np.int32)
    count = 0
    for i in range(scan.shape[0]):
        if scan[i] > 0.0 and scan[i] < REACH:
            px[count], py[count] = scan[i] * cosines[i], scan[i] * sines[i]
            count += 1
    c0, s0 = math.cos(pose[2]), math.sin(pose[2])
    least = np.inf
    best[:] = 0.0
    for i in range(SPEEDS):
        v = limits[0] + (limits[1] - limits[0]) * i / (SPEEDS - 1)
        for j in range(TURNS):
            w = limits[2] + (limits[3] - limits[2]) * j / (TURNS - 1)
            x, y, yaw, near, free = 0.0, 0.0, 0.0, 10.0, True
            for _ in range(STEPS):
                dt = SIM_TIME / STEPS
                middle = yaw + 0.5 * w * dt
                x += v * dt * math.cos(middle)
                y += v * dt * math.sin(middle)
                yaw += w * dt
                d = footprint_clearance(slabs, px, py, count, x, y, math.cos(yaw), math.sin(yaw),
                                        work)
                if d < TOUCH:
                    free = False
                    break
                near = min(near, d)
            if not free:
                continue
            gx = (pose[0] + c0 * x - s0 * y) / cell - field_origin[0]
            gy = (pose[1] + s0 * x + c0 * y) / cell - field_origin[1]
            ahead = pose[2] + yaw
            # a third of a metre before the end, so that turning towards the way is worth something
            cost = 0.5 * value_at(field, cell, gx, gy) + 0.5 * value_at(
                field, cell, gx + 0.33 / cell * math.cos(ahead),
                gy + 0.33 / cell * math.sin(ahead))
            if near < INFLATION:
                cost += OBSTACLE_WEIGHT * math.exp(-DECAY * near)
            cost += SPEED_WEIGHT * (1.0 - v / MAX_SPEED)
            if cost < least:
                least = cost
                best[0], best[1] = v, w
    return least < np.inf


class DynamicWindow:
    """One planner for a batch; it keeps nothing between calls but the shape of the robot."""

    def __init__(self) -> None:
        self._slabs: NDArray[np.float64] | None = None
        bearings = scan_bearings().astype(np.float64)
        self._cosines, self._sines = np.cos(bearings), np.sin(bearings)

    def __call__(self, s: Situation) -> NDArray[np.floating]:
        """Commands (B, 2)."""
        robot, d = s.robot, s.deliberation
        if self._slabs is None:
            self._slabs = slabs_of(robot.polygon)
        command = np.zeros((len(s.scan), 2))
        fastest, turn = min(MAX_SPEED, robot.max_speed), min(MAX_TURN, robot.max_turn)
        for b in range(len(s.scan)):
            field, origin, cell = d.field(b)
            v, w = s.velocity[b]
            dv, dw = robot.acceleration * WINDOW, robot.turn_acceleration * WINDOW
            limits = np.array((max(0.0, min(v - dv, fastest)), min(fastest, max(v + dv, 0.0)),
                               max(-turn, min(w - dw, turn)), min(turn, max(w + dw, -turn))))
            found = choose(s.scan[b], self._cosines, self._sines, self._slabs, limits,
                           field, origin, cell, s.pose[b], command[b])
            if not found:  # rotate in place, as move_base's recovery behaviour does
                command[b] = 0.0, turn
        return command

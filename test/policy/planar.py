"""A planar world of circles: closed-form scan, unicycle with limits, exact contact."""

import math

import numpy as np

from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.policy.deliberation import Deliberation

DT = 0.05  # s
BEARINGS = scan_bearings().astype(np.float64)


def scan_of(circles, pose, fov=2.0 * math.pi, noise=0.0, rng=None):
    """Ray against circles (n, 3: x y r): |o + t u - c| = r, smaller root; NaN outside fov."""
    angle = BEARINGS + pose[2]
    u = np.stack((np.cos(angle), np.sin(angle)), 1)
    d = circles[:, :2] - pose[:2]
    along = d @ u.T  # (n, beams)
    under = circles[:, 2:] ** 2 - (np.sum(d * d, 1)[:, None] - along ** 2)
    t = along - np.sqrt(np.maximum(under, 0.0))
    t = np.where((under > 0.0) & (t > 0.0) & (t < SCAN_RANGE_MAX), t, np.inf)
    ranges = t.min(axis=0) if len(circles) else np.full(SCAN_BEAMS, np.inf)
    if noise:
        ranges = ranges + noise * rng.standard_normal(SCAN_BEAMS)
    return np.where(np.abs(BEARINGS) <= 0.5 * fov, ranges, np.nan).astype(np.float32)


def contact(circles, pose, polygon):
    """Whether a circle meets the footprint, for an axis-aligned rectangle about base."""
    half = np.ptp(polygon, axis=0) / 2.0
    c, s = math.cos(pose[2]), math.sin(pose[2])
    d = circles[:, :2] - pose[:2]
    x, y = c * d[:, 0] + s * d[:, 1], -s * d[:, 0] + c * d[:, 1]
    gap = np.hypot(np.maximum(np.abs(x) - half[0], 0.0), np.maximum(np.abs(y) - half[1], 0.0))
    return bool(np.any(gap < circles[:, 2]))


def drive(circles, start, goal, seconds, config=None, fov=2.0 * math.pi, noise=0.0, delay=1,
          turn_slip=0.0, seed=0, motion=None, trace=None):
    """Drive by guidance alone. Returns ('reached' | 'contact' | 'timeout', seconds)."""
    config = config or PolicyConfig()
    robot = config.robot
    rng = np.random.default_rng(seed)
    think = Deliberation(config)
    pose, v, w = np.array(start, dtype=np.float64), 0.0, 0.0
    goal = np.array([goal], dtype=np.float64)
    commands = [(0.0, 0.0)] * (3 + delay)  # newest first
    circles = np.array(circles, dtype=np.float64).reshape(-1, 3)
    for k in range(int(seconds / DT)):
        if math.hypot(*(goal[0] - pose[:2])) < config.goal_tolerance:
            return 'reached', k * DT
        scan = scan_of(circles, pose, fov, noise, rng)[None]
        think.observe(pose[None], scan)
        if k % config.replan_every == 0:
            think.replan(goal)
        base = think.features(pose[None], np.array([[v, w]]), np.array([commands[:3]]), goal,
                              scan).base_command[0]
        commands = [(float(base[0]), float(base[1])), *commands[:-1]]
        target_v, target_w = commands[delay]
        rise = robot.acceleration if abs(target_v) > abs(v) else robot.deceleration
        v += float(np.clip(target_v - v, -rise * DT, rise * DT))
        w += float(np.clip(target_w - w, -robot.turn_acceleration * DT,
                           robot.turn_acceleration * DT))
        turn = w * (1.0 - turn_slip)
        pose += DT * np.array([v * math.cos(pose[2] + 0.5 * DT * turn),
                               v * math.sin(pose[2] + 0.5 * DT * turn), turn])
        if motion is not None:
            circles = motion(circles, DT)
        if trace is not None:
            trace.append((*pose, v, w))
        if contact(circles, pose, robot.polygon):
            return 'contact', k * DT
    return 'timeout', seconds


def cylinder_field(seed):
    """A walled lane 4.4 m wide and 10 m long with cylinders; a 0.3 m disc always gets through."""
    rng = np.random.default_rng(seed)
    wall = [(x, y, 0.075) for x in np.arange(-2.0, 10.0, 0.14) for y in (-2.2, 2.2)]
    back = [(-2.0, y, 0.075) for y in np.arange(-2.2, 2.2, 0.14)]
    placed = []
    for _ in range(400):
        x, y, r = rng.uniform(1.0, 6.5), rng.uniform(-2.0, 2.0), rng.uniform(0.05, 0.25)
        apart = [math.hypot(x - a, y - b) - r - c for a, b, c in placed]
        if all(g > 0.75 or g < 0.05 for g in apart) and sum(g < 0.05 for g in apart) <= 1:
            placed.append((x, y, r))
        if len(placed) == 28:
            break
    return np.array(wall + back + placed)

"""A base and its sensors in closed form, driven by the guided drive: their truth is given.

An ideal gate passes what is asked for within the limits of the profile. Nothing of the package
but the drive and the record of it is used.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.geometry import wrap_angle
from karpathy_control.contracts.types import Command, Pose2, RawScan, State
from karpathy_control.measuring.manoeuvres import Drive, plan
from karpathy_control.measuring.recording import recording

STEP = 0.0025  # s
# An uneven hall with a pillar, m: walls in four directions and more.
HALL = [(-6.0, -5.0), (7.0, -6.0), (8.0, 3.0), (2.0, 6.0), (-5.0, 4.0)]
PILLAR = [(4.5, -2.5), (5.5, -2.5), (5.5, -3.5), (4.5, -3.5)]
ROBOT = replace(RobotConfig(), max_speed=1.2, max_turn=2.0, acceleration=2.0, deceleration=2.5,
                turn_acceleration=6.0, lidar_pose=[0.1, 0.0, 0.3, 0.0, 0.0, 0.0])


@dataclass(frozen=True)
class Plant:
    delay: float = 0.04  # s, command to wheels
    lag: float = 0.0  # s, time constant of the wheels
    creep: float = 0.0  # s, time constant of base behind its wheels, straight on
    speed_gain: float = 1.0  # driven / commanded
    turn_gain: float = 1.0
    odometry: float = 1.0  # distance of odometry / true
    turn_odometry: float = 1.0
    acceleration: float = 9.0  # m/s^2 that the wheels can
    deceleration: float = 9.0
    turn_acceleration: float = 30.0
    lidar: Pose2 = Pose2(0.1, 0.0, 0.0)
    range_noise: float = 0.005  # m
    gyro_bias: float = 0.01  # rad/s
    sweep: float = 0.0  # s from the first beam to the last
    upside_down: bool = False


def segments():
    """Walls as (n, 4) x y x y."""
    return np.array([(*a, *b) for ring in (HALL, PILLAR)
                     for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)])


def ranges(x, y, heading, walls):
    """Distance to the nearest wall along each ray; all of shape (beams,)."""
    c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
    px, py = walls[:, 0] - x[:, None], walls[:, 1] - y[:, None]
    ex, ey = walls[:, 2] - walls[:, 0], walls[:, 3] - walls[:, 1]
    across = c * ey - s * ex
    t = (px * ey - py * ex) / across
    u = (px * s - py * c) / across
    return np.where((t > 0) & (u >= 0) & (u <= 1), t, np.inf).min(axis=1)


def towards(value, target, up, down, dt):
    rate = up if abs(target) > abs(value) else down
    return value + min(max(target - value, -rate * dt), rate * dt)


class Body:
    """The state of the plant; `run` drives a whole plan."""

    def __init__(self, plant, robot, seed=0):
        self.plant, self.robot = plant, robot
        self.random = np.random.default_rng(seed)
        self.path = []  # t x y yaw of base, each step: for sweeps

    def run(self, steps, imu=True):
        plant, robot, drive = self.plant, self.robot, Drive(steps, self.robot)
        walls, n = segments(), round(180.0 / STEP)
        x = y = yaw = ox = oy = oyaw = v = w = ramp_v = ramp_w = wheel_v = wheel_w = ov = ow = 0.0
        passed, queue, told = Command(), [], Command()
        series, scans = {'commands': [], 'odom': [], 'imu': []}, []
        for k in range(n):
            t = k * STEP
            if k % 8 == 0:
                odom = State(0, ox, oy, wrap_angle(oyaw), ov, ow)
                series['odom'].append((t, ox, oy, oyaw, ov, ow))
                wanted = drive.tick(t, odom, passed)
                passed = Command(
                    towards(passed.v, wanted.v, robot.acceleration, robot.deceleration, 0.02),
                    towards(passed.w, wanted.w, *(robot.turn_acceleration,) * 2, 0.02))
                series['commands'].append((t, passed.v, passed.w))
                queue.append((t + plant.delay, passed))
            if imu and k % 4 == 0:
                series['imu'].append((t, 0.0, 0.0, w + plant.gyro_bias, 0.0, 0.0, 9.81))
            if k % 20 == 0:
                scans.append(t)
            self.path.append((t, x, y, yaw))
            if drive.done:
                break
            while queue and queue[0][0] <= t + 1e-9:
                told = queue.pop(0)[1]
            ramp_v = towards(ramp_v, told.v, plant.acceleration, plant.deceleration, STEP)
            ramp_w = towards(ramp_w, told.w, *(plant.turn_acceleration,) * 2, STEP)
            share = 1.0 if plant.lag == 0.0 else 1.0 - math.exp(-STEP / plant.lag)
            wheel_v += share * (ramp_v - wheel_v)
            wheel_w += share * (ramp_w - wheel_w)
            share = 1.0 if plant.creep == 0.0 else 1.0 - math.exp(-STEP / plant.creep)
            v += share * (plant.speed_gain * wheel_v - v)
            w = plant.turn_gain * wheel_w
            middle = yaw + 0.5 * w * STEP
            x, y, yaw = (x + v * STEP * math.cos(middle), y + v * STEP * math.sin(middle),
                         yaw + w * STEP)
            ov, ow = plant.odometry * plant.speed_gain * wheel_v, plant.turn_odometry * w
            middle = oyaw + 0.5 * ow * STEP
            ox, oy, oyaw = (ox + ov * STEP * math.cos(middle), oy + ov * STEP * math.sin(middle),
                            oyaw + ow * STEP)
        assert drive.done
        return self._recording(drive.spans, [t for t in scans if t + plant.sweep <= t_end(self)],
                               series, walls)

    def _recording(self, spans, times, series, walls):
        plant, path = self.plant, np.array(self.path)
        angle = np.linspace(-2.3, 2.3, 360)
        pause = plant.sweep / (len(angle) - 1)
        taken = []
        for t in times:
            at = t + pause * np.arange(len(angle))
            x, y, yaw = (np.interp(at, path[:, 0], path[:, i]) for i in (1, 2, 3))
            m, c, s = plant.lidar, np.cos(yaw), np.sin(yaw)
            bearing = yaw + m.yaw + (-angle if plant.upside_down else angle)
            r = ranges(x + c * m.x - s * m.y, y + s * m.x + c * m.y, bearing, walls)
            r += plant.range_noise * self.random.standard_normal(len(r))
            taken.append((t, t + 0.005, RawScan(0, float(angle[0]), float(angle[1] - angle[0]),
                                                0.1, 20.0, r.astype(np.float32))))
        return recording(spans, taken, series, [], (0.0,) * 4, pause)


def t_end(body):
    return body.path[-1][0]


def driven(plant=None, robot=ROBOT, repeats=1, imu=True, seed=0):
    """The recording of a whole drive of a plant."""
    steps = plan(robot, robot.max_speed, robot.max_turn, repeats)
    return Body(plant or Plant(), robot, seed).run(steps, imu)

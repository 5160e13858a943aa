"""A robot in the physics of a world: its base driver, its sensors and what it touches.

Frames: `world` is the generator's; `odom` is where the robot stands at start and after a reset,
as on a real robot, and drifts from there.
Random numbers come from `config.seed` and the robot's index alone, one stream per sensor, so that
switching one sensor off does not change another.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

import mujoco
import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.geometry import rotation_rpy, wrap_angle, yaw_of_quaternion
from karpathy_control.contracts.types import (
    NANOSECONDS,
    CameraModel,
    Command,
    ImuSample,
    Pose2,
    RawDepth,
    RawImage,
    RawScan,
    State,
)
from karpathy_control.worlds.base_driver import BaseDriver
from karpathy_control.worlds.mjcf import ROBOT_GROUPS, robot_prefix
from karpathy_control.worlds.physics import Physics
from karpathy_control.worlds.rays import Camera, Lidar
from karpathy_control.worlds.robot import BASE_FRAME

EPISODE_GAP = 0.3  # s without contact that ends a contact episode
ODOMETRY_NOISE = 0.01  # standard deviation of measured speed per speed, white at each step
SWEEP_POSES = 32  # from which the beams of a sweep are cast
STREAMS = 4  # random streams of a robot: lidar, camera, IMU, odometry


class MujocoRobot:
    """Samples the sensors at the moment they are asked."""

    def __init__(self, physics: Physics, start: Pose2) -> None:
        """The next robot of `physics`, which places it at `start` (world frame) on a reset."""
        self.index = len(physics.robots)
        physics.robots.append(self)
        self.start = start
        self.config, self.robot, self.world = physics.config, physics.robot, physics.world
        self._physics, self._model, self._data = physics, physics.model, physics.data
        self._driver = BaseDriver(self.robot)
        config, group = self.config, ROBOT_GROUPS[self.index]
        sequences = np.random.SeedSequence(config.seed).spawn(STREAMS * (self.index + 1))
        lidar, camera, self._imu_rng, self._odom_rng = map(np.random.default_rng,
                                                           sequences[-STREAMS:])
        self._lidar = Lidar(self._model, config.lidar, lidar, group)
        # The look of the world is one for all: the others' paint is drawn as the first one's.
        paint = np.random.default_rng(sequences[1]) if self.index else camera
        self._camera = Camera(self._model, config.camera, camera, paint, group)
        self._locate()
        self._gyro_bias = config.imu.gyro_bias * self._imu_rng.standard_normal(3)
        self._accel_bias = config.imu.accel_bias * self._imu_rng.standard_normal(3)
        self._scale_v = 1.0 + config.odometry.drift_per_metre * self._odom_rng.standard_normal()
        self._scale_w = 1.0 + config.odometry.drift_per_radian * self._odom_rng.standard_normal()
        self._noise: list[float] = []  # drawn in blocks

    def _locate(self) -> None:
        """Look names up once; views into MjData are made once, a step runs 400 times a second."""
        model, data, prefix = self._model, self._data, robot_prefix(self.index)

        def body(name: str) -> int:
            return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, prefix + name)

        self._base = body(BASE_FRAME)
        self._lidar_body = body('lidar_link')
        self._camera_body = body('camera_optical_frame')
        self._imu_body = body('imu_link')
        free = model.joint(prefix + 'base')
        position, speed = int(free.qposadr[0]), int(free.dofadr[0])
        self._pose7, self._twist6 = data.qpos[position:position + 7], data.qvel[speed:speed + 6]
        joints = [model.joint(prefix + name) for name in self.robot.wheel_joints]
        self._wheel_positions = np.array([int(j.qposadr[0]) for j in joints])
        self._wheel_speeds = np.array([int(j.dofadr[0]) for j in joints])
        left, count = len(self.robot.left_joints), len(joints)
        control = data.ctrl[self.index * count:(self.index + 1) * count]
        self._ctrl_left, self._ctrl_right = control[:left], control[left:]
        gyro, contacts = (int(model.sensor(prefix + name).adr[0])
                          for name in ('gyro', 'contacts'))
        self._inertial = data.sensordata[gyro:gyro + 6]
        self._touches = data.sensordata[contacts:contacts + 2]  # anything, the floor
        self._qvel = data.qvel
        self._average = np.zeros((2, model.nv))  # mean speed of the left and the right wheels
        self._average[0, self._wheel_speeds[:left]] = 1.0 / left
        self._average[1, self._wheel_speeds[left:]] = 1.0 / len(self.robot.right_joints)

    # -- what the physics calls -----------------------------------------------------------------

    def place(self) -> None:
        """Stand at the start, with the wheels at rest."""
        start = self.start
        self._pose7[:] = (start.x, start.y, 0.0, math.cos(0.5 * start.yaw), 0.0, 0.0,
                          math.sin(0.5 * start.yaw))
        self._driver.reset()

    def forget(self) -> None:
        """No contact yet, and odometry at its origin."""
        self._contacts = 0
        self._last_contact = -math.inf
        self._imu_sum = np.zeros(6)
        self._imu_count = 0
        self._odom = (0.0, 0.0, 0.0)
        self._odom_twist = (0.0, 0.0)
        self._way: deque[tuple[float, Pose2]] = deque()  # time in s and pose, over a sweep

    def drive(self, command: Command, dt: float) -> None:
        """Set the motors for one step."""
        left, right = self._driver.update(command, dt)
        self._ctrl_left[:] = left
        self._ctrl_right[:] = right

    def note(self, dt: float) -> None:
        """Take in what one step brought."""
        self._imu_sum += self._inertial
        self._imu_count += 1
        if self._touches[0] > self._touches[1]:
            if self.time - self._last_contact > EPISODE_GAP:
                self._contacts += 1
            self._last_contact = self.time
        self._integrate_odometry(dt)
        if self.config.lidar.sweep:
            self._way.append((self.time, self.true_state().pose))
            while self._way[0][0] < self.time - 1.0 / self.config.lidar.rate - dt:
                self._way.popleft()

    def _integrate_odometry(self, dt: float) -> None:
        v, w = self._driver.twist(*(self._average @ self._qvel).tolist())
        if not self._noise:
            self._noise = self._odom_rng.normal(0.0, ODOMETRY_NOISE, 512).tolist()
        v *= self._scale_v + self._noise.pop()
        w *= self._scale_w + self._noise.pop()
        x, y, yaw = self._odom
        middle = yaw + 0.5 * w * dt  # exact to the second order of a step of a few ms
        self._odom = (x + v * dt * math.cos(middle), y + v * dt * math.sin(middle), yaw + w * dt)
        self._odom_twist = (v, w)

    # -- time -----------------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """Simulated time since construction, s; a reset does not turn it back."""
        return self._physics.time

    @property
    def stamp(self) -> int:
        """Simulated time, ns."""
        return self._physics.stamp

    # -- judging --------------------------------------------------------------------------------

    @property
    def contacts(self) -> int:
        """Contact episodes of the robot with anything but the ground since start or reset.

        Where two robots touch, each has one.
        """
        return self._contacts

    @property
    def in_contact(self) -> bool:
        """Whether the robot touched anything but the ground in the last step."""
        return self._last_contact == self.time

    def people(self) -> NDArray[np.float64]:
        """Where the people of the world are and how they walk. Shape: (n, 4) x y vx vy, m, m/s."""
        crowd = self._physics.crowd
        if crowd is None:
            return np.zeros((0, 4))
        return np.concatenate((crowd.places, crowd.velocities), axis=1)

    def person_distance(self) -> float:
        """Distance from the footprint to the nearest person, m; inf where there is nobody."""
        crowd = self._physics.crowd
        if crowd is None:
            return math.inf
        return crowd.distance(self.config.robot.polygon, self.true_state())

    def true_state(self) -> State:
        """Pose of base in the world frame and its velocity in base, without any error."""
        q, qvel = self._pose7, self._twist6
        yaw = yaw_of_quaternion(q[4], q[5], q[6], q[3])
        v = math.cos(yaw) * qvel[0] + math.sin(yaw) * qvel[1]
        return State(self.stamp, float(q[0]), float(q[1]), yaw, float(v), float(qvel[5]))

    # -- sensors --------------------------------------------------------------------------------

    def lidar(self) -> RawScan:
        """A scan of this moment, or of the period that ends now where the beams are swept."""
        self._physics.refresh()
        position, rotation = self._pose(self._lidar_body)
        config, robot = self.config.lidar, self.config.robot
        if not config.sweep or self.time < 1.0 / config.rate:  # stamps begin at 0
            return self._lidar.scan(self._data, position, rotation, self.stamp)
        between = 1.0 / config.rate / config.beams
        ages = (np.arange(SWEEP_POSES)[::-1] + 0.5) / (SWEEP_POSES * config.rate)
        way = list(self._way) or [(self.time, self.true_state().pose)]
        times = [time for time, _ in way]
        here, poses = way[-1][1], []
        for age in ages:
            then = way[min(bisect_left(times, self.time - age), len(way) - 1)][1]
            turn = rotation_rpy(0.0, 0.0, then.yaw - here.yaw)
            moved = turn @ (position - (here.x, here.y, 0.0)) + (then.x, then.y, 0.0)
            poses.append((moved, turn @ rotation))
        begin = self.stamp - round(between * (config.beams - 1) * NANOSECONDS)
        return self._lidar.swept(self._data, poses, robot.scan_order, between,
                                 begin if robot.scan_stamp == 'begin' else self.stamp)

    @property
    def has_camera(self) -> bool:
        """Whether its description has one."""
        return self.robot.camera_pose is not None

    def camera(self) -> tuple[RawImage, RawDepth | None]:
        """A frame of this moment; depth where `camera.depth` is on."""
        self._physics.refresh()
        position, rotation = self._pose(self._camera_body)
        return self._camera.frame(self._data, position, rotation, self.stamp)

    def camera_model(self) -> CameraModel:
        """The camera's intrinsics."""
        return self._camera.model

    def imu(self) -> ImuSample:
        """Mean over the time since the last sample, as an IMU's own filter; rotated to base."""
        mean = self._imu_sum / self._imu_count if self._imu_count else self._inertial
        self._imu_sum, self._imu_count = np.zeros(6), 0
        config = self.config.imu
        noise = self._imu_rng.standard_normal(6)
        gyro = mean[:3] + self._gyro_bias + config.gyro_noise * noise[:3]
        accel = mean[3:] + self._accel_bias + config.accel_noise * noise[3:]
        self._physics.refresh()
        to_base = (self._data.xmat[self._base].reshape(3, 3).T
                   @ self._data.xmat[self._imu_body].reshape(3, 3))
        gyro, accel = to_base @ gyro, to_base @ accel
        return ImuSample(self.stamp, (float(gyro[0]), float(gyro[1]), float(gyro[2])),
                         (float(accel[0]), float(accel[1]), float(accel[2])))

    def odometry(self) -> State:
        """Wheel odometry: pose in odom, drifting, and the measured twist."""
        x, y, yaw = self._odom
        return State(self.stamp, x, y, wrap_angle(yaw), *self._odom_twist)

    def joints(self) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
        """Names, positions (rad) and velocities (rad/s) of the wheel joints."""
        return (self.robot.wheel_joints, self._data.qpos[self._wheel_positions],
                self._data.qvel[self._wheel_speeds])

    def _pose(self, body: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._data.xpos[body], self._data.xmat[body].reshape(3, 3)

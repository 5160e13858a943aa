"""One robot in one world with MuJoCo contact physics and the sensors of a real robot.

Frames: `world` is the generator's; `odom` is where the robot stands at start and after a reset,
as on a real robot, and drifts from there.
Random numbers come from `config.seed` alone, one stream per sensor, so that switching one sensor
off does not change another.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config.sim import SimConfig
from karpathy_control.contracts.geometry import wrap_angle, yaw_of_quaternion
from karpathy_control.contracts.types import (
    NANOSECONDS,
    CameraModel,
    Command,
    ImuSample,
    RawDepth,
    RawImage,
    RawScan,
    State,
)
from karpathy_control.contracts.world import World
from karpathy_control.worlds.base_driver import BaseDriver
from karpathy_control.worlds.mjcf import build_model, mover_name, person_name
from karpathy_control.worlds.rays import Camera, Lidar
from karpathy_control.worlds.robot import BASE_FRAME, RobotDescription
from karpathy_control.worlds.social import Crowd

EPISODE_GAP = 0.3  # s without contact that ends a contact episode
SETTLE_TIME = 0.5  # s of physics before the first stamp, so that the robot stands on its tyres
ODOMETRY_NOISE = 0.01  # standard deviation of measured speed per speed, white at each step


class MujocoWorld:
    """Steps the physics and samples the sensors at the moment they are asked."""

    def __init__(self, world: World, config: SimConfig, robot: RobotDescription) -> None:
        self.world = world
        self.config = config
        self.robot = robot
        self._model = model = build_model(world, robot, config.physics_step)
        self._data = mujoco.MjData(model)
        self._driver = BaseDriver(robot)
        self._crowd = (Crowd(world, config.robot.circumscribed_radius) if world.people else None)
        streams = np.random.SeedSequence(config.seed).spawn(4)
        lidar, camera, self._imu_rng, self._odom_rng = map(np.random.default_rng, streams)
        self._lidar = Lidar(model, config.lidar, lidar)
        self._camera = Camera(model, config.camera, camera)
        self._index()
        self._gyro_bias = config.imu.gyro_bias * self._imu_rng.standard_normal(3)
        self._accel_bias = config.imu.accel_bias * self._imu_rng.standard_normal(3)
        self._scale_v = 1.0 + config.odometry.drift_per_metre * self._odom_rng.standard_normal()
        self._scale_w = 1.0 + config.odometry.drift_per_radian * self._odom_rng.standard_normal()
        self._noise: list[float] = []  # drawn in blocks
        self._steps = 0
        self.reset()

    def _index(self) -> None:
        """Look names up once."""
        model = self._model

        def body(name: str) -> int:
            return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)

        self._base = body(BASE_FRAME)
        self._lidar_body = body('lidar_link')
        self._camera_body = body('camera_optical_frame')
        self._imu_body = body('imu_link')
        joints = [model.joint(name) for name in self.robot.wheel_joints]
        self._wheel_positions = np.array([int(j.qposadr[0]) for j in joints])
        self._wheel_speeds = np.array([int(j.dofadr[0]) for j in joints])
        left = len(self.robot.left_joints)
        # views into MjData, made once: a step runs 400 times a second
        self._ctrl_left, self._ctrl_right = self._data.ctrl[:left], self._data.ctrl[left:]
        self._qvel, self._sensordata = self._data.qvel, self._data.sensordata
        self._average = np.zeros((2, model.nv))  # mean speed of the left and the right wheels
        self._average[0, self._wheel_speeds[:left]] = 1.0 / left
        self._average[1, self._wheel_speeds[left:]] = 1.0 / len(self.robot.right_joints)
        self._movers = [(int(model.body_mocapid[body(mover_name(i))]), mover)
                        for i, mover in enumerate(self.world.movers)]
        self._people = [int(model.body_mocapid[body(person_name(i))])
                        for i in range(len(self.world.people))]

    def reset(self) -> None:
        """Put the robot and all that moves to their start, forget contacts; time goes on."""
        data, start = self._data, self.world.start
        mujoco.mj_resetData(self._model, data)
        data.qpos[:7] = (start.x, start.y, 0.0, math.cos(0.5 * start.yaw), 0.0, 0.0,
                         math.sin(0.5 * start.yaw))
        self._driver.reset()
        self._episode_start = self._steps
        if self._crowd is not None:
            self._crowd.reset()
        self._place_movers()
        for _ in range(round(SETTLE_TIME / self.config.physics_step)):
            mujoco.mj_step(self._model, data)
        self._fresh = False
        self._contacts = 0
        self._last_contact = -math.inf
        self._imu_sum = np.zeros(6)
        self._imu_count = 0
        self._odom = (0.0, 0.0, 0.0)
        self._odom_twist = (0.0, 0.0)

    # -- time -----------------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """Simulated time since construction, s; a reset does not turn it back."""
        return self._steps * self.config.physics_step

    @property
    def stamp(self) -> int:
        """Simulated time, ns."""
        return round(self.time * NANOSECONDS)

    # -- physics --------------------------------------------------------------------------------

    def step(self, command: Command) -> None:
        """One physics step under a base command."""
        dt = self.config.physics_step
        left, right = self._driver.update(command, dt)
        self._ctrl_left[:] = left
        self._ctrl_right[:] = right
        if self._crowd is not None:
            self._crowd.step((self._steps - self._episode_start) * dt, self.true_state(), dt)
        self._steps += 1
        self._place_movers()
        mujoco.mj_step(self._model, self._data)
        self._fresh = False
        self._imu_sum += self._sensordata[:6]
        self._imu_count += 1
        self._note_contacts()
        self._integrate_odometry(dt)

    def _place_movers(self) -> None:
        t = (self._steps - self._episode_start) * self.config.physics_step
        positions = self._data.mocap_pos
        for mocap, mover in self._movers:
            positions[mocap, :2] = mover.position(t)
        if self._crowd is not None:
            positions[self._people, :2] = self._crowd.places

    def _note_contacts(self) -> None:
        if self._sensordata[6] > self._sensordata[7]:  # with anything, with the floor
            if self.time - self._last_contact > EPISODE_GAP:
                self._contacts += 1
            self._last_contact = self.time

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

    def _refresh(self) -> None:
        """Bring body poses up to the state after the last step."""
        if not self._fresh:
            mujoco.mj_kinematics(self._model, self._data)
            self._fresh = True

    # -- judging --------------------------------------------------------------------------------

    @property
    def contacts(self) -> int:
        """Contact episodes of the robot with anything but the ground since start or reset."""
        return self._contacts

    @property
    def in_contact(self) -> bool:
        """Whether the robot touched anything but the ground in the last step."""
        return self._last_contact == self.time

    def people(self) -> NDArray[np.float64]:
        """Where the people of the world are and how they walk. Shape: (n, 4) x y vx vy, m, m/s."""
        if self._crowd is None:
            return np.zeros((0, 4))
        return np.concatenate((self._crowd.places, self._crowd.velocities), axis=1)

    def person_distance(self) -> float:
        """Distance from the footprint to the nearest person, m; inf where there is nobody."""
        if self._crowd is None:
            return math.inf
        return self._crowd.distance(self.config.robot.polygon, self.true_state())

    def true_state(self) -> State:
        """Pose of base in the world frame and its velocity in base, without any error."""
        qpos, qvel = self._data.qpos, self._data.qvel
        yaw = yaw_of_quaternion(qpos[4], qpos[5], qpos[6], qpos[3])
        v = math.cos(yaw) * qvel[0] + math.sin(yaw) * qvel[1]
        return State(self.stamp, float(qpos[0]), float(qpos[1]), yaw, float(v), float(qvel[5]))

    # -- sensors --------------------------------------------------------------------------------

    def lidar(self) -> RawScan:
        """A scan of this moment."""
        self._refresh()
        position, rotation = self._pose(self._lidar_body)
        return self._lidar.scan(self._data, position, rotation, self.stamp)

    def camera(self) -> tuple[RawImage, RawDepth | None]:
        """A frame of this moment; depth where `camera.depth` is on."""
        self._refresh()
        position, rotation = self._pose(self._camera_body)
        return self._camera.frame(self._data, position, rotation, self.stamp)

    def camera_model(self) -> CameraModel:
        """The camera's intrinsics."""
        return self._camera.model

    def imu(self) -> ImuSample:
        """Mean over the time since the last sample, as an IMU's own filter; rotated to base."""
        mean = self._imu_sum / self._imu_count if self._imu_count else self._sensordata[:6]
        self._imu_sum, self._imu_count = np.zeros(6), 0
        config = self.config.imu
        noise = self._imu_rng.standard_normal(6)
        gyro = mean[:3] + self._gyro_bias + config.gyro_noise * noise[:3]
        accel = mean[3:] + self._accel_bias + config.accel_noise * noise[3:]
        self._refresh()
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

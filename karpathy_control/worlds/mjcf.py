"""A world and the robots in it as one MuJoCo model."""

from __future__ import annotations

import math

import mujoco

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.config.sim import MAX_ROBOTS
from karpathy_control.contracts.world import World
from karpathy_control.worlds.robot import BASE_FRAME, RobotDescription

WORLD_GROUP = 0  # geom group of floor and obstacles: what rays see
# Geom group of each robot, the first one's first: its own rays pass through it, those of the
# others do not. MuJoCo has six groups.
ROBOT_GROUPS = (3, 1, 2, 4, 5)[:MAX_ROBOTS]
FLOOR = 'floor'
MOTOR_GAIN = 16.0  # N m s/rad: the base follows its speed target within about 40 ms
MOTOR_TORQUE = 12.0  # N m per wheel, above what the tyres can carry
ARMATURE = 0.025  # kg m^2, the motor's inertia seen through its gear
# Friction softer than the normal force: a tyre creeps a little before it slides. Stiffer friction
# makes MuJoCo's convex contact push a sliding wheel off the floor (the base hops while turning,
# and turns at 0.6 of the commanded rate).
TYRE_STIFFNESS = 0.008
# A base of one wheel on each side turns without sliding; on soft tyres the drag of its casters
# alone would make it slip.
ROLLING_STIFFNESS = 0.5
FLOOR_FRICTION = 0.01  # MuJoCo takes the larger of two geoms: the tyre decides
OBSTACLE_FRICTION = 0.3


def mover_name(index: int) -> str:
    """Name of the mocap body of World.movers[index]."""
    return f'mover_{index}'


def person_name(index: int) -> str:
    """Name of the mocap body of World.people[index]."""
    return f'person_{index}'


def robot_prefix(index: int) -> str:
    """What the names of a robot's bodies, joints, actuators and sensors begin with."""
    return '' if index == 0 else f'robot_{index}/'


def build_model(world: World, robot: RobotDescription, step: float, count: int = 1
                ) -> mujoco.MjModel:
    """Compile the physics of `build_spec`."""
    return build_spec(world, robot, step, count).compile()


def build_spec(world: World, robot: RobotDescription, step: float, count: int = 1
                ) -> mujoco.MjSpec:
    """Describe the physics: `count` robots of one kind are free, movers and people mocap bodies.

    Actuators are velocity servos in the order of `robot.wheel_joints`. Sensors of each robot:
    `gyro` and `accelerometer` in imu_link, `contacts` with anything and `floor_contacts`. Names
    begin with `robot_prefix`. Raises ConfigError for a `count` that the world cannot hold.
    """
    if not 1 <= count <= MAX_ROBOTS:
        raise ConfigError(f'{count} robots in one world; it takes 1 to {MAX_ROBOTS}')
    spec = _robot_spec(robot, ROBOT_GROUPS[0])
    spec.modelname = f'{robot.name}_{world.family}_{world.seed}'
    spec.option.timestep = step
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    skids = len(robot.wheel_joints) > 2
    spec.option.impratio = TYRE_STIFFNESS if skids else ROLLING_STIFFNESS
    for index in range(1, count):
        spec.attach(_robot_spec(robot, ROBOT_GROUPS[index]), prefix=robot_prefix(index),
                    frame=spec.worldbody.add_frame())
    _add_floor(spec, world)
    _add_obstacles(spec, world)
    for index in range(count):
        _add_contact_counts(spec, robot_prefix(index))
    return spec


def _robot_spec(robot: RobotDescription, group: int) -> mujoco.MjSpec:
    """One robot as a free body with its motors and its IMU."""
    spec = mujoco.MjSpec.from_string(robot.urdf)
    spec.compiler.fusestatic = False
    spec.compiler.autolimits = True
    _add_drive(spec, robot, group)
    return spec


def _add_drive(spec: mujoco.MjSpec, robot: RobotDescription, group: int) -> None:
    for geom in spec.geoms:  # nothing but the robot so far
        geom.group = group
        geom.friction[0] = OBSTACLE_FRICTION
    for name, friction in robot.frictions.items():
        for geom in spec.body(name).geoms:
            geom.friction[0] = friction
    spec.body(BASE_FRAME).add_freejoint(name='base')
    for name in robot.wheel_joints:
        joint = spec.joint(name)
        joint.armature = ARMATURE
        for geom in joint.parent.geoms:
            geom.friction[0] = robot.wheel_friction
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT,
                                  forcerange=[-MOTOR_TORQUE, MOTOR_TORQUE])
        servo.set_to_velocity(kv=MOTOR_GAIN)
    site = spec.body('imu_link').add_site(name='imu')
    for kind, name in ((mujoco.mjtSensor.mjSENS_GYRO, 'gyro'),
                       (mujoco.mjtSensor.mjSENS_ACCELEROMETER, 'accelerometer')):
        spec.add_sensor(name=name, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE,
                        objname=site.name)


def _add_floor(spec: mujoco.MjSpec, world: World) -> None:
    x_min, y_min, x_max, y_max = world.bounds
    spec.worldbody.add_geom(
        name=FLOOR, type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0.0, 0.0, 0.05], group=WORLD_GROUP,
        pos=[0.5 * (x_min + x_max), 0.5 * (y_min + y_max), 0.0],
        friction=[FLOOR_FRICTION, 0.005, 0.0001])


def _add_obstacles(spec: mujoco.MjSpec, world: World) -> None:
    friction = [OBSTACLE_FRICTION, 0.005, 0.0001]
    for i, c in enumerate(world.cylinders):
        spec.worldbody.add_geom(
            name=f'cylinder_{i}', type=mujoco.mjtGeom.mjGEOM_CYLINDER, group=WORLD_GROUP,
            size=[c.radius, 0.5 * (c.top - c.bottom), 0.0],
            pos=[c.x, c.y, 0.5 * (c.top + c.bottom)], friction=friction)
    for i, b in enumerate(world.boxes):
        spec.worldbody.add_geom(
            name=f'box_{i}', type=mujoco.mjtGeom.mjGEOM_BOX, group=WORLD_GROUP,
            size=[b.half_x, b.half_y, 0.5 * (b.top - b.bottom)],
            pos=[b.x, b.y, 0.5 * (b.top + b.bottom)],
            quat=[math.cos(0.5 * b.yaw), 0.0, 0.0, math.sin(0.5 * b.yaw)], friction=friction)
    moving = [(mover_name(i), m.position(0.0), m.radius, m.top)
              for i, m in enumerate(world.movers)]
    moving += [(person_name(i), who.waypoints[0], who.radius, who.top)
               for i, who in enumerate(world.people)]
    for name, (x, y), radius, top in moving:
        body = spec.worldbody.add_body(name=name, mocap=True, pos=[x, y, 0.5 * top])
        body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_CYLINDER, group=WORLD_GROUP,
                      size=[radius, 0.5 * top, 0.0], friction=friction)


def _add_contact_counts(spec: mujoco.MjSpec, prefix: str) -> None:
    """Count contacts in the engine: reading its contact list from Python costs half a step."""
    found = 1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND)
    for name, other in (('contacts', None), ('floor_contacts', FLOOR)):
        sensor = spec.add_sensor(name=prefix + name, type=mujoco.mjtSensor.mjSENS_CONTACT,
                                 objtype=mujoco.mjtObj.mjOBJ_XBODY,
                                 objname=prefix + BASE_FRAME, intprm=[found, 0, 1])
        if other is not None:
            sensor.reftype = mujoco.mjtObj.mjOBJ_GEOM
            sensor.refname = other

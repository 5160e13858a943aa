"""A world and a robot as one MuJoCo model."""

from __future__ import annotations

import math

import mujoco

from karpathy_control.contracts.world import World
from karpathy_control.worlds.robot import BASE_FRAME, RobotDescription

WORLD_GROUP = 0  # geom group of floor and obstacles: what rays see
ROBOT_GROUP = 3  # geom group of the robot: rays pass through it
FLOOR = 'floor'
MOTOR_GAIN = 16.0  # N m s/rad: the base follows its speed target within about 40 ms
MOTOR_TORQUE = 12.0  # N m per wheel, above what the tyres can carry
ARMATURE = 0.025  # kg m^2, the motor's inertia seen through its gear
# Friction softer than the normal force: a tyre creeps a little before it slides. Stiffer friction
# makes MuJoCo's convex contact push a sliding wheel off the floor (the base hops while turning,
# and turns at 0.6 of the commanded rate).
TYRE_STIFFNESS = 0.008
FLOOR_FRICTION = 0.01  # MuJoCo takes the larger of two geoms: the tyre decides
OBSTACLE_FRICTION = 0.3


def mover_name(index: int) -> str:
    """Name of the mocap body of World.movers[index]."""
    return f'mover_{index}'


def person_name(index: int) -> str:
    """Name of the mocap body of World.people[index]."""
    return f'person_{index}'


def build_model(world: World, robot: RobotDescription, step: float) -> mujoco.MjModel:
    """Compile the physics of `build_spec`."""
    return build_spec(world, robot, step).compile()


def build_spec(world: World, robot: RobotDescription, step: float) -> mujoco.MjSpec:
    """Describe the physics. The robot is a free body; movers and people are mocap bodies.

    Actuators are velocity servos in the order of `robot.wheel_joints`. Sensor data, in order:
    gyro (3) and accelerometer (3) in imu_link, then the robot's contacts with anything and those
    with the floor.
    """
    spec = mujoco.MjSpec.from_string(robot.urdf)
    spec.modelname = f'{robot.name}_{world.family}_{world.seed}'
    spec.compiler.fusestatic = False
    spec.compiler.autolimits = True
    spec.option.timestep = step
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = TYRE_STIFFNESS
    _add_drive(spec, robot)
    _add_floor(spec, world)
    _add_obstacles(spec, world)
    _add_contact_counts(spec)
    return spec


def _add_drive(spec: mujoco.MjSpec, robot: RobotDescription) -> None:
    for geom in spec.geoms:  # nothing but the robot so far
        geom.group = ROBOT_GROUP
        geom.friction[0] = OBSTACLE_FRICTION
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


def _add_contact_counts(spec: mujoco.MjSpec) -> None:
    """Count contacts in the engine: reading its contact list from Python costs half a step."""
    found = 1 << int(mujoco.mjtConDataField.mjCONDATA_FOUND)
    for name, other in (('contacts', None), ('floor_contacts', FLOOR)):
        sensor = spec.add_sensor(name=name, type=mujoco.mjtSensor.mjSENS_CONTACT,
                                 objtype=mujoco.mjtObj.mjOBJ_XBODY, objname=BASE_FRAME,
                                 intprm=[found, 0, 1])
        if other is not None:
            sensor.reftype = mujoco.mjtObj.mjOBJ_GEOM
            sensor.refname = other

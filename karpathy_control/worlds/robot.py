"""The robot as its xacro describes it: shape, sensor poses, wheels; one file for everyone."""

from __future__ import annotations

import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import xml_paths
from karpathy_control.contracts.geometry import convex_hull

BASE_FRAME = 'base_link'
SENSOR_FRAMES = {'lidar_pose': 'lidar_link', 'camera_pose': 'camera_link',
                 'imu_pose': 'imu_link'}
OPTIONAL_FRAME = 'camera_link'
CIRCLE_CORNERS = 32  # of the polygon that stands for a collision cylinder
MAX_NUMBER = 1e4  # of a description, in whatever unit
EXPANSION_TIME = 30.0  # s, of wall time


@dataclass(frozen=True)
class RobotDescription:
    """What the nodes and simulators need of a URDF; poses are x y z roll pitch yaw in base."""

    name: str
    urdf: str  # the expanded text
    footprint: NDArray[np.float64]  # (n, 2) m, convex, counter-clockwise, of all collisions
    height: float  # m, top of the collision geometry
    lidar_pose: tuple[float, ...]  # of lidar_link
    camera_pose: tuple[float, ...] | None  # of camera_link (x forward); None: it has no camera
    imu_pose: tuple[float, ...]  # of imu_link
    left_joints: tuple[str, ...]
    right_joints: tuple[str, ...]
    wheel_radius: float  # m
    wheel_separation: float  # m, between the wheels' middles as they stand
    wheel_separation_multiplier: float  # skid steer turns as if they stood this much farther
    wheel_friction: float  # mu1 of the wheels
    frictions: dict[str, float]  # mu1 of other links that say so, as of casters
    max_speed: float  # m/s, of the base driver
    max_turn: float  # rad/s, of the base driver
    max_acceleration: float  # m/s^2, of the base driver
    max_braking: float  # m/s^2, of the base driver
    max_turn_acceleration: float  # rad/s^2, of the base driver, braking too

    @property
    def wheel_joints(self) -> tuple[str, ...]:
        """Every driven joint, left ones first."""
        return self.left_joints + self.right_joints

    def robot_parameters(self) -> dict[str, Any]:
        """Values for RobotConfig that the description decides, by dotted parameter name."""
        return {
            'robot.footprint': [round(float(v), 6) for v in self.footprint.ravel()],
            'robot.height': round(self.height, 6),
            'robot.lidar_pose': list(self.lidar_pose),
            'robot.imu_pose': list(self.imu_pose),
            **({} if self.camera_pose is None else {'robot.camera_pose': list(self.camera_pose)}),
        }


def load_robot(path: Path | str) -> RobotDescription:
    """Expand a xacro (or read a plain URDF) and measure the robot.

    Raises ConfigError naming the file and what is missing in it.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f'robot description {path}: no such file')
    return parse_urdf(_expanded(path), str(path))


def _expanded(path: Path) -> str:
    """The URDF text of a xacro, made by a process that is bounded: see worlds/expand.py."""
    command = [sys.executable, '-m', 'karpathy_control.worlds.expand', str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=EXPANSION_TIME)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f'robot description {path}: takes more than {EXPANSION_TIME:g} s to '
                          'expand') from error
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise ConfigError(f'robot description {path}: not a valid xacro '
                          f'({why[-1] if why else "out of time or memory"})')
    return done.stdout


def parse_urdf(urdf: str, source: str = 'URDF text') -> RobotDescription:
    """Measure the robot of a URDF. Raises ConfigError naming `source` and what is missing."""
    xml_paths(urdf, f'robot description {source}')
    root = ET.fromstring(urdf)
    frames = _frames(root, source)
    adrift = [link.get('name') for link in root.iter('link') if link.get('name') not in frames]
    if adrift:
        raise ConfigError(f'robot description {source}: no joint leads from {BASE_FRAME} to '
                          f'{", ".join(map(repr, adrift))}')
    poses: dict[str, Any] = {}
    for field, frame in SENSOR_FRAMES.items():
        if frame in frames:
            poses[field] = _xyz_rpy(frames[frame])
        elif frame == OPTIONAL_FRAME:
            poses[field] = None
        else:
            raise ConfigError(f'robot description {source}: no link {frame!r}; it needs '
                              f'{", ".join(SENSOR_FRAMES.values())}')
    corners = [_collision_corners(link, frames[link.attrib['name']], source)
               for link in root.iter('link') if link.find('collision') is not None]
    if not corners:
        raise ConfigError(f'robot description {source}: no collision geometry to take the '
                          'footprint from')
    points = np.concatenate(corners)
    # base_link lies on the floor, so a wheel rounded to polygons still spans its full length
    try:
        hull = convex_hull(np.round(points[:, :2], 6))
    except ValueError as error:
        raise ConfigError(f'robot description {source}: {error}') from error
    return RobotDescription(name=root.attrib.get('name', 'robot'), urdf=urdf, footprint=hull,
                            height=float(points[:, 2].max()),
                            **poses, **_wheels(root, frames, source))


def _numbers(text: str | None, count: int, source: str) -> NDArray[np.float64]:
    """Numbers of an attribute or element. Shape: (count,)."""
    try:
        values = np.array([float(v) for v in (text or '').split()])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count or not (np.abs(values) <= MAX_NUMBER).all():
        raise ConfigError(f'robot description {source}: {text!r:.80} is not accepted; it takes '
                          f'{count} numbers of at most {MAX_NUMBER:g}')
    return values


def _number(text: str | None, source: str) -> float:
    return float(_numbers(text, 1, source)[0])


def _link(joint: ET.Element, end: str, source: str) -> str:
    """Name of the link at one end of a joint: parent or child."""
    element = joint.find(end)
    name = None if element is None else element.get('link')
    if name is None:
        raise ConfigError(f'robot description {source}: joint {joint.get("name")!r} lacks its '
                          f'{end}')
    return name


def _transform(origin: ET.Element | None, source: str) -> NDArray[np.float64]:
    """Homogeneous matrix of a URDF <origin>; the identity where there is none. Shape: (4, 4)."""
    matrix = np.eye(4)
    if origin is not None:
        matrix[:3, 3] = _numbers(origin.get('xyz', '0 0 0'), 3, source)
        roll_pitch_yaw = _numbers(origin.get('rpy', '0 0 0'), 3, source)
        matrix[:3, :3] = Rotation.from_euler('xyz', roll_pitch_yaw).as_matrix()
    return matrix


def _xyz_rpy(matrix: NDArray[np.float64]) -> tuple[float, ...]:
    angles = Rotation.from_matrix(matrix[:3, :3]).as_euler('xyz')
    return tuple(round(float(v), 9) + 0.0 for v in (*matrix[:3, 3], *angles))


def _frames(root: ET.Element, source: str) -> dict[str, NDArray[np.float64]]:
    """Pose of every link in base with all joints at zero. Values: (4, 4)."""
    children: dict[str, list[ET.Element]] = {}
    for joint in root.findall('joint'):
        children.setdefault(_link(joint, 'parent', source), []).append(joint)
    if root.find(f"link[@name='{BASE_FRAME}']") is None:
        raise ConfigError(f'robot description {source}: no link {BASE_FRAME!r}')
    frames = {BASE_FRAME: np.eye(4)}
    queue = [BASE_FRAME]
    while queue:
        parent_name = queue.pop()
        for joint in children.get(parent_name, []):
            child_name = _link(joint, 'child', source)
            if child_name in frames:
                raise ConfigError(f'robot description {source}: two joints, or a loop of them, '
                                  f'lead to {child_name!r}')
            frames[child_name] = frames[parent_name] @ _transform(joint.find('origin'), source)
            queue.append(child_name)
    return frames


def _collision_corners(link: ET.Element, frame: NDArray[np.float64], source: str
                       ) -> NDArray[np.float64]:
    """Corners of a link's collision shapes in base. Shape: (n, 3) m."""
    found = []
    for collision in link.findall('collision'):
        geometry = collision.find('geometry')
        shape = geometry[0] if geometry is not None and len(geometry) else None
        if shape is not None and shape.tag == 'box':
            half = 0.5 * _numbers(shape.get('size'), 3, source)
            corners = np.array([(i, j, k) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)])
            local = corners * half
        elif shape is not None and shape.tag == 'cylinder':
            radius = _number(shape.get('radius'), source)
            half_length = 0.5 * _number(shape.get('length'), source)
            angle = np.arange(CIRCLE_CORNERS) * (2.0 * math.pi / CIRCLE_CORNERS)
            ring = radius * np.stack((np.cos(angle), np.sin(angle)), 1)
            local = np.concatenate([np.column_stack((ring, np.full(len(ring), z)))
                                    for z in (-half_length, half_length)])
        elif shape is not None and shape.tag == 'sphere':
            radius = _number(shape.get('radius'), source)
            local = radius * np.array([(i, j, k) for i in (-1, 1) for j in (-1, 1)
                                       for k in (-1, 1)])
        else:
            name = 'nothing' if shape is None else repr(shape.tag)
            raise ConfigError(f'robot description {source}: collision of link '
                              f'{link.get("name")!r} is {name}; it takes box, cylinder, sphere')
        placed = frame @ _transform(collision.find('origin'), source)
        found.append(local @ placed[:3, :3].T + placed[:3, 3])
    return np.concatenate(found)


def _wheels(root: ET.Element, frames: dict[str, NDArray[np.float64]], source: str
            ) -> dict[str, Any]:
    """Wheel values from the DiffDrive plugin and from where the joints stand."""
    drive = next((p for p in root.iter('plugin') if 'DiffDrive' in p.get('name', '')), None)
    if drive is None:
        raise ConfigError(f'robot description {source}: no DiffDrive plugin in a <gazebo> block')
    child = {j.get('name'): _link(j, 'child', source) for j in root.findall('joint')}

    def value(tag: str) -> float:
        text = drive.findtext(tag)
        if text is None:
            raise ConfigError(f'robot description {source}: DiffDrive lacks <{tag}>')
        return _number(text, source)

    sides = {}
    for side in ('left', 'right'):
        names = tuple((e.text or '').strip() for e in drive.findall(f'{side}_joint'))
        unknown = [n for n in names if child.get(n) not in frames]
        if unknown or not names:
            raise ConfigError(f'robot description {source}: DiffDrive {side}_joint '
                              f'{unknown or "missing"}; joints: {", ".join(map(str, child))}')
        sides[side] = names
    lateral = {side: float(np.mean([frames[child[n]][1, 3] for n in names]))
               for side, names in sides.items()}
    separation = lateral['left'] - lateral['right']
    if separation <= 0.0:
        raise ConfigError(f'robot description {source}: left wheels at y {lateral["left"]:g}, '
                          f'right ones at {lateral["right"]:g}; left is +y')
    wheel_links = {child[n] for names in sides.values() for n in names}
    told = {block.get('reference', ''): _number(block.findtext('mu1'), source)
            for block in root.findall('gazebo') if block.find('mu1') is not None}
    friction = [mu for link, mu in told.items() if link in wheel_links]
    return {'left_joints': sides['left'], 'right_joints': sides['right'],
            'wheel_radius': value('wheel_radius'), 'wheel_separation': separation,
            'wheel_separation_multiplier': value('wheel_separation') / separation,
            'wheel_friction': float(np.mean(friction)) if friction else 1.0,
            'frictions': {link: mu for link, mu in told.items()
                          if link in frames and link not in wheel_links},
            'max_speed': value('max_linear_velocity'),
            'max_turn': value('max_angular_velocity'),
            'max_acceleration': value('max_linear_acceleration'),
            'max_braking': -value('min_linear_acceleration'),
            'max_turn_acceleration': value('max_angular_acceleration')}

"""A world as SDF 1.9 for gz sim, with the very shapes of the MuJoCo world."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from karpathy_control.contracts.world import World

MAX_STEP = 0.004  # s
SYSTEMS = {  # gz-sim system plugins: file -> class
    'gz-sim-physics-system': 'Physics', 'gz-sim-user-commands-system': 'UserCommands',
    'gz-sim-scene-broadcaster-system': 'SceneBroadcaster', 'gz-sim-imu-system': 'Imu',
    'gz-sim-contact-system': 'Contact', 'gz-sim-sensors-system': 'Sensors'}


def sdf_text(world: World) -> str:
    """The world as the text of an SDF file. Names and poses are those of the MuJoCo model.

    Moving obstacles and people stand where they are at the start: gz sim moves nothing by
    keyframes that sensors and contacts both see.
    """
    root = ET.Element('sdf', version='1.9')
    element = ET.SubElement(root, 'world', name=f'{world.family}_{world.seed}')
    physics = ET.SubElement(element, 'physics', name='step', type='ode')
    _text(physics, 'max_step_size', MAX_STEP)
    _text(physics, 'real_time_factor', 1.0)
    for file, name in SYSTEMS.items():
        plugin = ET.SubElement(element, 'plugin', filename=file, name=f'gz::sim::systems::{name}')
        if name == 'Sensors':
            _text(plugin, 'render_engine', 'ogre2')
    light = ET.SubElement(element, 'light', name='sun', type='directional')
    _text(light, 'pose', '0 0 10 0 0 0')
    _text(light, 'cast_shadows', 'true')
    _text(light, 'diffuse', '0.9 0.9 0.9 1')
    _text(light, 'direction', '-0.5 0.2 -0.9')
    x_min, y_min, x_max, y_max = world.bounds
    plane = ET.Element('plane')
    _text(plane, 'normal', '0 0 1')
    _text(plane, 'size', f'{x_max - x_min + 20.0:g} {y_max - y_min + 20.0:g}')
    _model(element, 'ground', (0.5 * (x_min + x_max), 0.5 * (y_min + y_max), 0.0, 0.0), plane)
    for i, c in enumerate(world.cylinders):
        _model(element, f'cylinder_{i}', (c.x, c.y, 0.5 * (c.bottom + c.top), 0.0),
               _cylinder(c.radius, c.top - c.bottom))
    for i, b in enumerate(world.boxes):
        box = ET.Element('box')
        _text(box, 'size', f'{2.0 * b.half_x!r} {2.0 * b.half_y!r} {b.top - b.bottom!r}')
        _model(element, f'box_{i}', (b.x, b.y, 0.5 * (b.bottom + b.top), b.yaw), box)
    for i, m in enumerate(world.movers):
        _model(element, f'mover_{i}', (*m.position(0.0), 0.5 * m.top, 0.0),
               _cylinder(m.radius, m.top))
    for i, who in enumerate(world.people):
        _model(element, f'person_{i}', (*who.waypoints[0], 0.5 * who.top, 0.0),
               _cylinder(who.radius, who.top))
    ET.indent(root)
    return '<?xml version="1.0"?>\n' + ET.tostring(root, encoding='unicode') + '\n'


def _text(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, name).text = str(value)


def _cylinder(radius: float, length: float) -> ET.Element:
    cylinder = ET.Element('cylinder')
    _text(cylinder, 'radius', float(radius))
    _text(cylinder, 'length', float(length))
    return cylinder


def _model(world: ET.Element, name: str, pose: tuple[float, float, float, float],
           shape: ET.Element) -> None:
    """A static model. pose: x y z in m and yaw in rad."""
    model = ET.SubElement(world, 'model', name=name)
    _text(model, 'static', 'true')
    x, y, z, yaw = (float(v) for v in pose)
    _text(model, 'pose', f'{x!r} {y!r} {z!r} 0 0 {yaw!r}')
    link = ET.SubElement(model, 'link', name='link')
    for kind in ('collision', 'visual'):
        ET.SubElement(ET.SubElement(link, kind, name=kind), 'geometry').append(shape)

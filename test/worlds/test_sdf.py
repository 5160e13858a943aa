"""One world in SDF and in MuJoCo: the same shapes at the same places."""

import math
import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pytest

from karpathy_control.bringup import world as command
from karpathy_control.bringup.resources import find
from karpathy_control.cli import run
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.worlds.files import read_worlds
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mjcf import build_model
from karpathy_control.worlds.robot import load_robot
from karpathy_control.worlds.sdf import MAX_STEP, sdf_text


@pytest.fixture(scope='module')
def robot():
    return load_robot(find('description', 'jackal.urdf.xacro'))


def shapes(text):
    """name -> (kind, sizes as MuJoCo states them, x y z, yaw) of every model, read as SDF."""
    found = {}
    for model in ET.fromstring(text).findall('world/model'):
        pose = [float(v) for v in model.findtext('pose').split()]
        assert pose[3:5] == [0.0, 0.0] and model.findtext('static') == 'true'
        for part in ('collision', 'visual'):
            (geometry,) = model.findall(f'link/{part}/geometry')
            (shape,) = geometry
            if shape.tag == 'cylinder':
                size = [float(shape.findtext('radius')), 0.5 * float(shape.findtext('length'))]
            else:
                size = [0.5 * float(v) for v in shape.findtext('size').split()]
            now = (shape.tag, size, pose[:3], pose[5])
            assert found.setdefault(model.get('name'), now) == now
    return found


@pytest.mark.parametrize('family', FAMILIES)
def test_geometry_is_that_of_mujoco(family, robot):
    world = generate(family, 3)
    model = build_model(world, robot, 0.002)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    found = shapes(sdf_text(world))
    assert found.pop('ground')[0] == 'plane'
    assert len(found) == (len(world.cylinders) + len(world.boxes) + len(world.movers)
                          + len(world.people)) > 0
    for name, (kind, size, place, yaw) in found.items():
        geom = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, name)
        assert geom >= 0, name
        assert model.geom_type[geom] == {
            'cylinder': mujoco.mjtGeom.mjGEOM_CYLINDER, 'box': mujoco.mjtGeom.mjGEOM_BOX}[kind]
        np.testing.assert_allclose(model.geom_size[geom][:len(size)], size, atol=1e-3)
        np.testing.assert_allclose(data.geom_xpos[geom], place, atol=1e-3)
        x, y = data.geom_xmat[geom].reshape(3, 3)[:2, 0]
        assert math.cos(yaw) * x + math.sin(yaw) * y == pytest.approx(1.0, abs=1e-6)


def test_what_gazebo_needs_is_there():
    world = ET.fromstring(sdf_text(generate('rooms', 1))).find('world')
    assert float(world.findtext('physics/max_step_size')) == MAX_STEP == 0.004
    names = {plugin.get('name').rsplit('::')[-1] for plugin in world.findall('plugin')}
    assert {'Physics', 'Sensors', 'Imu', 'SceneBroadcaster', 'UserCommands'} <= names
    models = [model.get('name') for model in world.findall('model')]
    assert len(models) == len(set(models))


def test_every_format_is_written_and_read(tmp_path, capsys):
    world = generate('low', 5)
    for form in command.FORMATS:
        path = tmp_path / f'world.{form}'
        assert run(['world', '--family', 'low', '--seed', '5', '--format', form, '--out',
                    str(path)]) == 0
        assert run(['world', '--family', 'low', '--seed', '5', '--format', form]) == 0
        assert capsys.readouterr().out == path.read_text()
    assert read_worlds(tmp_path / 'world.json') == [world]
    model = mujoco.MjModel.from_xml_path(str(tmp_path / 'world.mjcf'))
    assert {f'box_{i}' for i in range(len(world.boxes))} <= {
        model.geom(i).name for i in range(model.ngeom)}
    (tmp_path / 'world.sdf').rename(tmp_path / 'low_5.world')
    (again,) = read_worlds(tmp_path / 'low_5.world')  # as Gazebo's own worlds are read
    assert len(again.boxes) == len(world.boxes) and again.seed == 5
    for ours, theirs in zip(world.boxes, again.boxes, strict=True):
        assert (ours.x, ours.y, ours.half_x, ours.bottom, ours.top) == pytest.approx(
            (theirs.x, theirs.y, theirs.half_x, theirs.bottom, theirs.top))


@pytest.mark.parametrize(('arguments', 'said'), [
    (['--seed', '-1'], 'world seed -1; it takes 0 or more'),
    (['--format', 'mjcf', '--robot', 'generic'], 'no description, which --format mjcf needs'),
    (['--out', '/nowhere/at/all.sdf'], '/nowhere/at/all.sdf'),
])
def test_what_cannot_be_written_is_said(arguments, said, capsys):
    assert run(['world', *arguments]) == 2
    assert said in capsys.readouterr().err

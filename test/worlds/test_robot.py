from pathlib import Path

import mujoco
import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon, box

from karpathy_control.contracts.config import ConfigError, SimConfig, from_mapping
from karpathy_control.contracts.config.robot import RobotConfig
from karpathy_control.worlds.robot import load_robot, parse_urdf

XACRO = Path(__file__).parents[2] / 'description' / 'jackal.urdf.xacro'


@pytest.fixture(scope='module')
def jackal():
    return load_robot(XACRO)


def test_footprint_is_the_hull_of_body_and_wheels(jackal):
    body = box(-0.21, -0.155, 0.21, 0.155)
    wheels = [box(x - 0.098, y - 0.02, x + 0.098, y + 0.02)
              for x in (-0.131, 0.131) for y in (-0.188, 0.188)]
    expected = MultiPolygon([body, *wheels]).convex_hull
    assert Polygon(jackal.footprint).symmetric_difference(expected).area < 1e-6
    assert Polygon(jackal.footprint).exterior.is_ccw
    low, high = jackal.footprint.min(axis=0), jackal.footprint.max(axis=0)
    assert high - low == pytest.approx([0.458, 0.416], abs=1e-6)


def test_poses_and_wheels(jackal):
    assert jackal.lidar_pose == pytest.approx((0.055, 0, 0.305, 0, 0, 0))
    assert jackal.camera_pose == pytest.approx((0.19, 0, 0.28, 0, 0.15, 0))
    assert jackal.imu_pose == pytest.approx((0, 0, 0.06, 0, 0, 0))
    assert jackal.wheel_radius == 0.098
    assert jackal.wheel_separation == pytest.approx(2 * 0.188)
    assert jackal.wheel_separation_multiplier == pytest.approx(1.5)
    assert jackal.wheel_joints == ('front_left_wheel_joint', 'rear_left_wheel_joint',
                                   'front_right_wheel_joint', 'rear_right_wheel_joint')
    assert jackal.height == pytest.approx(0.5)


def test_parameters_are_accepted_and_are_the_defaults(jackal):
    config = from_mapping(SimConfig, jackal.robot_parameters())
    default = RobotConfig()
    assert Polygon(config.robot.polygon).equals_exact(Polygon(default.polygon), 1e-6) or (
        Polygon(config.robot.polygon).symmetric_difference(Polygon(default.polygon)).area < 1e-9)
    assert config.robot.lidar_pose == pytest.approx(default.lidar_pose)
    assert config.robot.camera_pose == pytest.approx(default.camera_pose)
    assert config.robot.imu_pose == pytest.approx(default.imu_pose)


def test_mass_and_inertia_are_those_of_a_jackal(jackal):
    spec = mujoco.MjSpec.from_string(jackal.urdf)
    spec.compiler.fusestatic = False  # or the chassis becomes part of the world
    model = spec.compile()
    assert model.body_mass.sum() == pytest.approx(17.0, abs=0.5)
    # principal moments of a body obey the triangle inequality
    for inertia in model.body_inertia[model.body_mass > 0]:
        a, b, c = np.sort(inertia)
        assert a > 0 and a + b >= c


def test_optical_frame_looks_forward(jackal):
    model = mujoco.MjSpec.from_string(jackal.urdf)
    model.compiler.fusestatic = False
    compiled = model.compile()
    data = mujoco.MjData(compiled)
    mujoco.mj_kinematics(compiled, data)
    axes = data.body('camera_optical_frame').xmat.reshape(3, 3)
    forward = [np.cos(0.15), 0, -np.sin(0.15)]  # pitched 0.15 rad down
    assert axes[:, 2] == pytest.approx(forward, abs=1e-9)  # z: forward
    assert axes[:, 0] == pytest.approx([0, -1, 0], abs=1e-9)  # x: right


@pytest.mark.parametrize(('old', 'new', 'message'), [
    ('name="lidar_link"', 'name="laser"', 'laser'),
    ('"lidar_link"', '"laser"', 'lidar_link'),
    ('DiffDrive', 'Other', 'DiffDrive'),
    ('<left_joint>front_left_wheel_joint', '<left_joint>nonsense', 'nonsense'),
    ('<wheel_radius>0.098</wheel_radius>', '', 'wheel_radius'),
])
def test_what_is_missing_is_named(jackal, old, new, message):
    assert old in jackal.urdf
    with pytest.raises(ConfigError, match=message):
        parse_urdf(jackal.urdf.replace(old, new))


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match='no such file'):
        load_robot(tmp_path / 'none.xacro')
    broken = tmp_path / 'broken.xacro'
    broken.write_text('<robot name="x"><link></robot>')
    with pytest.raises(ConfigError, match=r'broken\.xacro'):
        load_robot(broken)


def test_a_plain_urdf_is_read_too(jackal, tmp_path):
    plain = tmp_path / 'robot.urdf'
    plain.write_text(jackal.urdf)
    assert np.array_equal(load_robot(plain).footprint, jackal.footprint)

"""The lidar's labels of the camera's sub-bins, against plain loops and against depth."""

import math

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ConfigError, SimConfig, from_mapping
from karpathy_control.learning.dataset import robot_config
from karpathy_control.learning.labels import CameraLabels
from karpathy_control.learning.lidar_labels import LidarLabels
from karpathy_control.sensing.preprocess import ImageWarp
from karpathy_control.sensing.resample import ScanResampler
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import load_robot

CAMERA, LIDAR, BAND = [0.19, 0.02, 0.28, 0.0, 0.15, 0.1], [0.055, 0.0, 0.305, 0.0, 0.0, 0.0], (
    0.04, 0.5)


def in_picture(bearing, r, camera, height):
    """Whether a point in the lidar's plane lies in the picture of 90 degrees and 128 x 96 px."""
    x, y, z, _, pitch, yaw = camera  # no roll here
    dx, dy, dz = r * math.cos(bearing) - x, r * math.sin(bearing) - y, height - z
    ahead, left = math.cos(yaw) * dx + math.sin(yaw) * dy, -math.sin(yaw) * dx + math.cos(yaw) * dy
    depth = math.cos(pitch) * ahead - math.sin(pitch) * dz  # pitched down by `pitch`
    up = math.sin(pitch) * ahead + math.cos(pitch) * dz
    return depth > 0.0 and abs(left / depth) <= 1.0 and abs(up / depth) <= 48.0 / 64.0


def by_loops(ranges, reach):
    """The rule of the module's words, one beam and one sub-bin at a time."""
    def azimuth_bin(bearing, r):
        dx, dy = r * math.cos(bearing) - CAMERA[0], r * math.sin(bearing) - CAMERA[1]
        return int((math.atan2(dy, dx) + math.pi) / math.radians(2.5)) % 144, math.hypot(dx, dy)

    bearings = [math.radians(-180.0 + i + 0.5) for i in range(360)]
    nearest = {}
    for bearing, r in zip(bearings, ranges, strict=True):
        if math.isfinite(r):
            k, d = azimuth_bin(bearing, r)
            nearest[k] = min(nearest.get(k, math.inf), d)
    speaks = []
    for bearing, r in zip(bearings, ranges, strict=True):
        at = r if math.isfinite(r) else 5.0
        k, d = azimuth_bin(bearing, at) if not math.isnan(r) else (0, 0.0)
        speaks.append(not math.isnan(r) and in_picture(bearing, at, CAMERA, LIDAR[2])
                      and nearest.get(k, math.inf) >= 0.8 * d
                      and not (r == math.inf and reach < 5.0))
    labels = []
    for k in range(144):
        low, high = 2.5 * k, 2.5 * (k + 1)  # degrees from -180
        inner = [i for i in range(360) if low <= i and i + 1 <= high]
        border = [i for i in range(360) if (i < low < i + 1) or (i < high < i + 1)]
        values = [ranges[i] if ranges[i] <= 10.0 else math.inf for i in inner]
        label = min(values)
        beside = min(math.inf if math.isnan(ranges[i]) else ranges[i] for i in border)
        fine = all(speaks[i] for i in inner) and not beside < 0.9 * label
        labels.append(label if fine else math.nan)
    return np.array(labels, np.float32).reshape(36, 4)


@pytest.mark.parametrize('seed', range(12))
def test_labels_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0.15, 9.0, 40).repeat(9)  # surfaces, with edges between
    ranges = (steps * rng.normal(1.0, 0.01, 360)).astype(np.float32)
    ranges[rng.random(360) < 0.05] = np.nan
    ranges[rng.random(360) < 0.1] = np.inf
    ranges[100:130] = np.inf
    for reach in (10.0, 4.0):
        found = LidarLabels(CAMERA, LIDAR, BAND)(ranges, reach)
        np.testing.assert_array_equal(found, by_loops([float(r) for r in ranges], reach))
        assert 5 < np.count_nonzero(~np.isnan(found)) < 40  # of the 36 sub-bins ahead


def test_what_passes_over_the_picture_is_not_asked_for():
    """Camera 0.28 m high, level: at 0.1 m before it the picture ends 0.075 m above and below."""
    labels = LidarLabels([0.0, 0.0, 0.28, 0.0, 0.0, 0.0], [0, 0, 0.4, 0, 0, 0], BAND)
    near, far = np.full(360, 0.15, np.float32), np.full(360, 0.17, np.float32)
    # 0.12 m above the camera: seen from 0.12 * 64 / 48 = 0.16 m on
    assert np.isnan(labels(near, 10.0)).all()
    assert labels(far, 10.0)[18, 0] == pytest.approx(0.17)


def test_a_post_hides_the_wall_behind_it_from_a_camera_beside_the_lidar():
    """Camera 0.3 m to the left: a post at 1 m straight ahead hides the wall at 4 m to the right.

    The line from (0, 0.3) through (1, 0) meets x = 4 at y = -0.9: bearing -12.7 degrees; the
    post is 0.1 m wide, so its shadow on the wall goes from -9.5 to -15.4.
    """
    ranges = (4.0 / np.maximum(np.cos(np.radians(np.arange(-179.5, 180.0))), 0.2)).astype(
        np.float32)
    ranges[177:183] = 1.0
    found = LidarLabels([0.0, 0.3, 0.3, 0, 0, 0], LIDAR, BAND)(ranges, 10.0).ravel()
    at = int((180.0 - 12.7) / 2.5)
    assert np.isnan(found[at]) and found[at - 3] > 3.9 and found[at + 3] > 3.9


def test_labels_agree_with_depth_where_everything_crosses_the_plane():
    """In worlds of walls and posts the lidar says what noise-free depth says."""
    robot = load_robot(find('description', 'jackal.urdf.xacro'))
    body = robot_config(robot)
    band = (body.ground_clearance, body.height)
    lidar = LidarLabels(body.camera_pose, body.lidar_pose, band)
    camera = CameraLabels(body.camera_pose, *band)
    ratios = []
    for seed in range(6):
        config = from_mapping(SimConfig, {'seed': seed, 'camera.depth_noise': 0.0,
                                          'lidar.noise': 0.0})
        sim = MujocoWorld(generate('cylinders', seed), config, robot)
        depth = sim.camera()[1]
        true = camera(ImageWarp(sim.camera_model()).depth(depth.metres))
        said = lidar(ScanResampler(body.lidar_pose)(sim.lidar(), sim.stamp).ranges, 10.0)
        both = np.isfinite(true) & np.isfinite(said)
        ratios.append(said[both] / true[both])
    ratio = np.concatenate(ratios)
    assert len(ratio) > 60
    assert np.mean(np.abs(ratio - 1.0) < 0.03) > 0.9
    assert ratio.min() > 0.9  # nothing is said nearer than it is


def test_a_lidar_that_cannot_teach_is_refused():
    with pytest.raises(ConfigError, match=r'tilted by 5\.7 degrees; .* at most 3'):
        LidarLabels(CAMERA, [0, 0, 0.3, 0, 0.1, 0], BAND)
    with pytest.raises(ConfigError, match=r'0\.8 m high; .* 0\.04 to 0\.5'):
        LidarLabels(CAMERA, [0, 0, 0.8, 0, 0, 0], BAND)
    LidarLabels(CAMERA, [0, 0, 0.3, math.pi, 0, 0], BAND)  # upside down is level

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.layout import (
    ENTITY_CLASSES,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    IMU_SAMPLES,
    SCAN_BEAMS,
    SECTORS,
)
from karpathy_control.learning import dataset
from karpathy_control.perception.encoder import BEAMS
from karpathy_control.worlds.free_space import clearance_at
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.robot import load_robot


@pytest.fixture(scope='module')
def robot():
    return load_robot(find('description', 'jackal.urdf.xacro'))


@pytest.fixture(scope='module')
def frames(robot):
    return dataset.record_world('moving', 100_002, 6, robot)


def test_shapes(frames):
    assert frames['image'].shape == (6, IMAGE_HEIGHT, IMAGE_WIDTH, 3)
    assert frames['image'].dtype == np.uint8 and frames['depth'].dtype == np.float16
    assert frames['scan'].shape == (6, SCAN_BEAMS)
    assert frames['past'].shape == (6, 2, SCAN_BEAMS)
    np.testing.assert_allclose(frames['past_age'], [[0.2, 0.4]] * 6, atol=1e-6)
    assert frames['imu'].shape == (6, IMU_SAMPLES, 6)
    assert np.abs(frames['imu'][..., 5].mean() - 9.81) < 0.3  # gravity
    assert (frames['origin'] == (dataset.FAMILIES.index('moving'), 100_002)).all()


def test_the_seed_decides_everything(robot, frames):
    again = dataset.record_world('moving', 100_002, 6, robot)
    for name, value in frames.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)


@pytest.fixture(scope='module')
def crowd(robot):
    return dataset.record_world('people', 100_021, 12, robot)


def test_people_are_labelled_as_what_moves(crowd):
    label = crowd['sectors']
    walking = label[..., 6] == ENTITY_CLASSES.index('moving')
    assert walking.sum() >= 5
    # at most 1.3 times the 1.5 m/s that anyone likes
    assert np.hypot(label[walking][:, 3], label[walking][:, 4]).max() <= 1.95 + 1e-6


@pytest.mark.parametrize('recorded', ['frames', 'crowd'])
def test_labels_agree_with_the_measured_scan(recorded, request):
    """Two ways to the same distance: the label from geometry, the scan from simulated rays."""
    frames = request.getfixturevalue(recorded)
    near = np.where(np.isfinite(frames['scan']), frames['scan'], np.inf)
    near = near.reshape(-1, SECTORS, BEAMS).min(2)
    label = frames['sectors'][..., 0]
    both = np.isfinite(near) & np.isfinite(label) & (frames['sectors'][..., 7] > 0.5)
    assert both.sum() > 50
    assert np.median(np.abs(near[both] - label[both])) < 0.03
    assert np.mean(np.abs(near[both] - label[both]) < 0.15) > 0.95


def test_furniture_stands_free_and_off_the_start():
    furnished = 0
    for seed in range(40):
        world = generate('open', 100_000 + seed)
        more = dataset.furnish(world, np.random.default_rng(seed)).boxes
        assert more[:len(world.boxes)] == world.boxes
        furnished += len(more) > len(world.boxes)
        for i in range(len(world.boxes), len(more)):
            box = more[i]
            reach = np.hypot(box.half_x, box.half_y)
            gap = clearance_at(np.array(box.x), np.array(box.y), world.cylinders, more[:i])
            assert gap >= reach + dataset.ROOM
            assert np.hypot(box.x - world.start.x, box.y - world.start.y) > reach + 0.7
            assert box.top <= 0.29 or box.bottom >= 0.31  # below or above the lidar at 0.305 m
    assert 20 <= furnished <= 36  # 0.7 of 40 is 28, with three standard deviations of 2.9


def test_splits_are_disjoint():
    starts = sorted(dataset.SPLITS.values())
    assert all(b - a >= dataset.SPLIT_WORLDS for a, b in zip(starts, starts[1:], strict=False))
    assert set(dataset.CYCLE) == set(dataset.FAMILIES)


def test_shards_resume_and_load(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, 'WORLDS', 1)
    monkeypatch.setattr(dataset, 'FRAMES', 2)
    made = list(dataset.record(tmp_path, 'validation', 2))
    assert [p.name for p in made] == ['validation_0000.npz', 'validation_0001.npz']
    assert list(dataset.record(tmp_path, 'validation', 2)) == []
    frames = dataset.load(tmp_path, 'validation', 2)
    assert frames['origin'][:, 1].tolist() == [150_000, 150_000, 150_001, 150_001]
    with pytest.raises(FileNotFoundError, match='validation_0002'):
        dataset.load(tmp_path, 'validation', 3)

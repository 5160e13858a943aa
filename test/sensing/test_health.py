"""Every check says what is wrong with the message and what is accepted."""

from dataclasses import replace

import numpy as np
import pytest

from karpathy_control.contracts.types import (
    CameraModel,
    ImuSample,
    RawDepth,
    RawImage,
    RawScan,
    State,
)
from karpathy_control.sensing import health

SCAN = RawScan(1, -1.0, 0.01, 0.1, 20.0, np.ones(200, np.float32))
MODEL = CameraModel(64, 48, 40.0, 40.0, 31.5, 23.5)
NAN = float('nan')


@pytest.mark.parametrize(('change', 'text'), [
    ({'ranges': np.ones(1, np.float32)}, 'takes 2 to'),
    ({'ranges': np.ones((2, 2), np.float32)}, 'takes 2 to'),
    ({'angle_min': NAN}, 'must be finite'),
    ({'angle_increment': float('inf')}, 'must be finite'),
    ({'angle_increment': 0.0}, 'not zero'),
    ({'angle_increment': 0.5}, 'at most a turn and a half'),
    ({'range_min': -1.0}, '0 <= range_min < range_max'),
    ({'range_max': NAN}, '0 <= range_min < range_max'),
    ({'stamp': -5}, 'takes >= 0'),
])
def test_scan(change, text):
    assert health.check_scan(SCAN) is None
    assert text in health.check_scan(replace(SCAN, **change))


def test_scan_with_negative_order_is_fine():
    assert health.check_scan(replace(SCAN, angle_min=1.0, angle_increment=-0.01)) is None


def test_image():
    good = RawImage(1, np.full((48, 64, 3), 90, np.uint8))
    assert health.check_image(good, MODEL) is None
    for end in (0, 255):  # covered, blinded; a twentieth of the picture that is not is enough
        pixels = np.full((48, 64, 3), end, np.uint8)
        said = health.check_image(RawImage(1, pixels), MODEL)
        assert 'with 100% of its pixels at the end of the scale' in said
        pixels[:4] = 90
        assert health.check_image(RawImage(1, pixels), MODEL) is None
    bad = RawImage(1, np.zeros((64, 48, 3), np.uint8))
    assert 'camera_info says (48, 64, 3)' in health.check_image(bad, MODEL)


def test_depth():
    metres = np.full((40, 40), NAN, np.float32)
    assert 'with 0.0% of its pixels measured' in health.check_depth(RawDepth(1, metres))
    metres[0, 0] = 2.0  # 1 of the 10 x 10 that are looked at
    assert health.check_depth(RawDepth(1, metres)) is None
    assert 'measured' in health.check_depth(RawDepth(1, np.full((40, 40), np.inf, np.float32)))
    assert 'takes (height, width)' in health.check_depth(RawDepth(1, np.zeros(4, np.float32)))


@pytest.mark.parametrize('change', [{'fx': NAN}, {'fy': 0.0}, {'width': 0},
                                    {'distortion': (0.1, NAN)}])
def test_camera_model(change):
    assert health.check_camera_model(MODEL) is None
    assert 'camera_info' in health.check_camera_model(replace(MODEL, **change))


def test_odometry_and_imu():
    assert health.check_odom(State(1, 0, 0, 0, 0, 0)) is None
    assert 'must be finite' in health.check_odom(State(1, 0, NAN, 0, 0, 0))
    assert health.check_imu(ImuSample(1, (0, 0, 0), (0, 0, 9.8))) is None
    assert 'must be finite' in health.check_imu(ImuSample(1, (0, NAN, 0), (0, 0, 9.8)))

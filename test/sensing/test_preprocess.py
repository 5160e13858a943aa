"""The warp against OpenCV's projection and against pictures whose answer is known."""

import math

import cv2
import numpy as np
import pytest

from karpathy_control.contracts.layout import IMAGE_HEIGHT, IMAGE_WIDTH, image_focal
from karpathy_control.contracts.types import CameraModel
from karpathy_control.sensing.preprocess import (
    ImageWarp,
    distort,
    scaled_model,
    undistorted_rays,
    virtual_model,
)

LENS = CameraModel(640, 480, 420.0, 425.0, 330.0, 236.0, (-0.28, 0.07, 8e-4, -3e-4, -0.01))
RATIONAL = CameraModel(640, 480, 420.0, 425.0, 330.0, 236.0,
                       (0.3, 0.05, 1e-4, 2e-4, 0.01, 0.6, 0.1, 0.02))


@pytest.mark.parametrize('model', [LENS, RATIONAL])
def test_distortion_agrees_with_opencv(model):
    rng = np.random.default_rng(0)
    points = np.column_stack((rng.uniform(-0.7, 0.7, (50, 2)), np.ones(50)))
    camera = np.array([[model.fx, 0, model.cx], [0, model.fy, model.cy], [0, 0, 1]])
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera,
                                  np.array(model.distortion))
    x, y = distort(points[:, 0], points[:, 1], model)
    ours = np.column_stack((model.fx * x + model.cx, model.fy * y + model.cy))
    assert np.allclose(ours, theirs[:, 0], atol=1e-6)


def test_rays_invert_the_distortion():
    rays = undistorted_rays(LENS)
    x, y = distort(rays[..., 0], rays[..., 1], LENS)
    v, u = np.mgrid[0:480, 0:640]
    found = np.isfinite(x)
    assert found.mean() > 0.97
    assert np.nanmax(np.abs(LENS.fx * x + LENS.cx - u)) < 0.1
    assert np.nanmax(np.abs(LENS.fy * y + LENS.cy - v)) < 0.1


def test_where_the_polynomial_folds_back_there_is_no_ray():
    # r (1 - 0.5 r^2) turns at r = sqrt(2 / 3) = 0.816: a ray at r = 1 would come back into view.
    folded = CameraModel(640, 480, 300.0, 300.0, 320.0, 240.0, (-0.5, 0, 0, 0))
    x, _ = distort(np.array([0.5, 1.0]), np.array([0.0, 0.0]), folded)
    assert x[0] == pytest.approx(0.5 * (1 - 0.5 * 0.25))
    assert np.isnan(x[1])


def test_the_layouts_own_camera_passes_through_untouched():
    pixels = np.random.default_rng(1).integers(0, 255, (IMAGE_HEIGHT, IMAGE_WIDTH, 3), np.uint8)
    assert ImageWarp(virtual_model()).image(pixels) is pixels


def test_a_larger_camera_of_the_same_view_is_averaged():
    model = scaled_model(virtual_model(), 5 * IMAGE_WIDTH, 5 * IMAGE_HEIGHT)
    assert model.cx == pytest.approx((5 * IMAGE_WIDTH - 1) / 2)
    small = np.random.default_rng(2).integers(0, 255, (IMAGE_HEIGHT, IMAGE_WIDTH, 3), np.uint8)
    big = np.repeat(np.repeat(small, 5, axis=0), 5, axis=1)
    assert np.array_equal(ImageWarp(model).image(big), small)


@pytest.mark.parametrize('model', [LENS, CameraModel(320, 240, 300, 300, 159.5, 119.5)])
def test_a_known_direction_lands_on_its_pixel(model):
    """A spot drawn where the lens puts a ray appears where the pinhole puts the same ray."""
    for ray in ((0.0, 0.0), (0.3, -0.2), (-0.35, 0.25)):
        x, y = distort(np.array([ray[0]]), np.array([ray[1]]), model)
        v, u = np.mgrid[0:model.height, 0:model.width]
        spot = np.exp(-((u - (model.fx * x + model.cx))**2 + (v - (model.fy * y + model.cy))**2)
                      / (2 * (model.fx / 40)**2))
        pixels = np.repeat((255 * spot)[..., None], 3, axis=2).astype(np.uint8)
        warped = ImageWarp(model).image(pixels)[..., 0].astype(float)
        yy, xx = np.mgrid[0:IMAGE_HEIGHT, 0:IMAGE_WIDTH]
        f = image_focal()
        assert (warped * xx).sum() / warped.sum() == pytest.approx(
            f * ray[0] + 63.5, abs=0.6)
        assert (warped * yy).sum() / warped.sum() == pytest.approx(
            f * ray[1] + 47.5, abs=0.6)


def test_outside_a_narrow_view_is_black_and_nan():
    model = CameraModel(320, 240, 400, 400, 159.5, 119.5)  # 44 degrees wide
    warp = ImageWarp(model)
    image = warp.image(np.full((240, 320, 3), 200, np.uint8))
    depth = warp.depth(np.full((240, 320), 2.0, np.float32))
    assert image[48, 64, 0] == 200
    assert image[48, 5, 0] == 0
    assert depth[48, 64] == 2.0
    assert np.isnan(depth[48, 5])
    # half the view is 21.8 degrees: tan = 0.4 -> 0.4 * 64 px on either side
    assert np.isfinite(depth[48]).sum() == pytest.approx(2 * 0.4 * 64, abs=2)


def test_depth_is_never_mixed_across_an_edge():
    metres = np.full((480, 640), 1.0, np.float32)
    metres[:, 320:] = 8.0
    metres[100:200] = np.nan
    metres[300:] = np.inf
    metres[250:300] = 12.0  # beyond the layout's range
    out = ImageWarp(LENS).depth(metres)
    values = out[np.isfinite(out)]
    assert set(np.unique(values)) == {1.0, 8.0}
    assert np.isinf(out).any()
    assert np.isnan(out).any()


def test_impossible_cameras_are_refused():
    with pytest.raises(ValueError, match='focal lengths above zero'):
        ImageWarp(CameraModel(64, 48, 0.0, 50.0, 32, 24))
    with pytest.raises(ValueError, match='has 3 coefficients'):
        ImageWarp(CameraModel(64, 48, 50.0, 50.0, 32, 24, (0.1, 0.2, 0.3)))


def test_the_virtual_camera_is_ninety_degrees_wide():
    assert 2 * math.degrees(math.atan(0.5 * IMAGE_WIDTH / virtual_model().fx)) == (
        pytest.approx(90.0))

"""Any camera undistorted and warped to the virtual pinhole of the observation layout.

The virtual pinhole shares the real camera's centre and optical axis, so depth along that axis is
unchanged by the warp. Distortion is Brown-Conrady, and its rational form with 8 coefficients, as
OpenCV and ROS write it: k1 k2 p1 p2 [k3 [k4 k5 k6]].
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.layout import (
    DEPTH_MAX,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    image_focal,
)
from karpathy_control.contracts.types import ByteArray, CameraModel, FloatArray

COEFFICIENTS = (0, 4, 5, 8)


def virtual_model() -> CameraModel:
    """The virtual pinhole; the integer coordinates of a pixel are those of its centre."""
    focal = image_focal()
    return CameraModel(IMAGE_WIDTH, IMAGE_HEIGHT, focal, focal, 0.5 * (IMAGE_WIDTH - 1),
                       0.5 * (IMAGE_HEIGHT - 1))


def scaled_model(model: CameraModel, width: int, height: int) -> CameraModel:
    """The same camera read out at another size; pixel edges, not centres, keep their place."""
    sx, sy = width / model.width, height / model.height
    return CameraModel(width, height, model.fx * sx, model.fy * sy, (model.cx + 0.5) * sx - 0.5,
                       (model.cy + 0.5) * sy - 0.5, model.distortion)


def _coefficients(model: CameraModel) -> NDArray[np.float64]:
    given = np.asarray(model.distortion, np.float64)
    if given.size not in COEFFICIENTS:
        raise ValueError(f'camera distortion has {given.size} coefficients; it takes one of '
                         f'{COEFFICIENTS} (k1 k2 p1 p2 k3 k4 k5 k6)')
    return np.concatenate((given, np.zeros(8 - given.size)))


def distort(x: NDArray[np.float64], y: NDArray[np.float64], model: CameraModel
            ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Brown-Conrady distortion of normalised image points; any shape, same shape out.

    NaN where the polynomial has turned back on itself: there it describes no ray.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = _coefficients(model)
    r2 = x * x + y * y
    above, below = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = above / below
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    r = np.linspace(0.0, float(np.sqrt(r2.max(initial=0.0))) + 1e-9, 512)
    q = r * r
    bent = r * (1 + q * (k1 + q * (k2 + q * k3))) / (1 + q * (k4 + q * (k5 + q * k6)))
    turned = np.nonzero(np.diff(bent) <= 0)[0]
    if turned.size:
        outside = r2 > q[turned[0]]
        u, v = np.where(outside, np.nan, u), np.where(outside, np.nan, v)
    return u, v


def undistorted_rays(model: CameraModel) -> NDArray[np.float64]:
    """Normalised coordinates of every pixel's ray. Shape: (height, width, 2), z = 1.

    Inverts the distortion by fixed-point iteration; NaN where that finds no ray.
    """
    v, u = np.mgrid[0:model.height, 0:model.width].astype(np.float64)
    xd, yd = (u - model.cx) / model.fx, (v - model.cy) / model.fy
    x, y = xd.copy(), yd.copy()
    if any(model.distortion):
        for _ in range(50):
            xe, ye = distort(x, y, model)
            # A point outside the polynomial's domain would run away; it is sorted out below.
            x, y = np.clip(x + (xd - xe), -5, 5), np.clip(y + (yd - ye), -5, 5)
        xe, ye = distort(x, y, model)
        lost = ~(np.hypot(xe - xd, ye - yd) < 1e-4)
        x[lost], y[lost] = np.nan, np.nan
    return np.stack((x, y), axis=2)


def _maps(source: CameraModel) -> tuple[FloatArray, FloatArray]:
    """Where in the source each pixel of the virtual pinhole lies. Shape: (h, w) px each."""
    target = virtual_model()
    v, u = np.mgrid[0:target.height, 0:target.width].astype(np.float64)
    x, y = distort((u - target.cx) / target.fx, (v - target.cy) / target.fy, source)
    mx, my = source.fx * x + source.cx, source.fy * y + source.cy
    return (np.nan_to_num(mx, nan=-1e4).astype(np.float32),
            np.nan_to_num(my, nan=-1e4).astype(np.float32))


def _same_view(a: CameraModel, b: CameraModel) -> bool:
    """True where two cameras map to each other within about half a pixel."""
    return (a.width == b.width and a.height == b.height and not any(a.distortion)
            and abs(a.fx / b.fx - 1) < 0.01 and abs(a.fy / b.fy - 1) < 0.01
            and abs(a.cx - b.cx) < 0.75 and abs(a.cy - b.cy) < 0.75)


class ImageWarp:
    """Warps the pictures of one camera; the tables are made once.

    Raises ValueError for a camera model that cannot be one.
    """

    def __init__(self, model: CameraModel) -> None:
        if model.width < 1 or model.height < 1 or not (model.fx > 0.0 and model.fy > 0.0):
            raise ValueError(f'camera model {model.width} x {model.height} px, fx {model.fx}, '
                             f'fy {model.fy}: it takes a size and focal lengths above zero')
        self.model = model
        target = virtual_model()
        # A picture that is sampled more than twice too coarsely is averaged first.
        factor = max(int(min(model.fx, model.fy) / target.fx + 1e-6), 1)
        self._reduced = scaled_model(model, max(model.width // factor, 1),
                                     max(model.height // factor, 1))
        self._colour = None if _same_view(self._reduced, target) else _maps(self._reduced)
        self._depth: dict[tuple[int, int], tuple[FloatArray, FloatArray] | None] = {}

    def image(self, pixels: ByteArray) -> ByteArray:
        """Warp a colour image; outside the camera's view it is black.

        Shape: (model.height, model.width, 3) -> (IMAGE_HEIGHT, IMAGE_WIDTH, 3). The input itself
        is returned where camera and layout agree.
        """
        size = (self._reduced.width, self._reduced.height)
        if (pixels.shape[1], pixels.shape[0]) != size:
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        if self._colour is None:
            return pixels
        return cv2.remap(pixels, *self._colour, cv2.INTER_LINEAR,  # type: ignore[return-value]
                         borderMode=cv2.BORDER_CONSTANT, borderValue=0)

    def depth(self, metres: FloatArray) -> FloatArray:
        """Warp a depth image by the nearest neighbour; NaN outside the view, +Inf past DEPTH_MAX.

        Shape: (h, w) m, of the camera's size or read out at another -> (IMAGE_HEIGHT, IMAGE_WIDTH)
        """
        size = (metres.shape[1], metres.shape[0])
        if size not in self._depth:
            source = scaled_model(self.model, *size)
            self._depth[size] = None if _same_view(source, virtual_model()) else _maps(source)
        maps = self._depth[size]
        warped = metres if maps is None else cv2.remap(
            metres, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT,
            borderValue=float('nan'))
        return np.where(warped > DEPTH_MAX, np.float32(np.inf), warped)

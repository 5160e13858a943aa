"""The frames of one camera as a set holds them: warped to the layout, and as points about base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config.sensor import SensorConfig
from karpathy_control.contracts.geometry import from_frame
from karpathy_control.contracts.types import (
    ByteArray,
    CameraModel,
    DepthPoints,
    FloatArray,
    Pose2,
    RawDepth,
    RawImage,
    State,
)
from karpathy_control.mapping.frozen import FrozenImage, FrozenScan
from karpathy_control.sensing import health
from karpathy_control.sensing.align import relative_pose
from karpathy_control.sensing.depth_filter import DepthFilter
from karpathy_control.sensing.preprocess import ImageWarp, scaled_model, virtual_model


class Camera:
    """Reads colour images and the depth registered to them, and tells whether they are frozen.

    The verdict follows the frames that are read: read each once, in order of the sets.
    """

    def __init__(self, config: SensorConfig) -> None:
        self._warp: ImageWarp | None = None
        self._frozen_image, self._frozen_depth = FrozenImage(), FrozenScan()
        self.configure(config)

    def configure(self, config: SensorConfig) -> None:
        """Take a configuration; the model stays."""
        self._config = config
        self._filter: DepthFilter | None = None  # of the latest size of depth images
        if not config.find_frozen:
            self.clear()

    def warm_up(self) -> None:
        """Compile the depth filter."""
        model = virtual_model()
        self._filter_of(model)(np.ones((model.height, model.width), np.float32), 0)

    def clear(self) -> None:
        """Forget the frames; the model stays."""
        self._frozen_image.clear()
        self._frozen_depth.clear()

    @property
    def model(self) -> CameraModel | None:
        """Intrinsics of the colour camera; None until there are any."""
        return None if self._warp is None else self._warp.model

    def take_model(self, model: CameraModel) -> str | None:
        """Take intrinsics. Returns what is wrong with them, and then the last ones stay."""
        problem = health.check_camera_model(model)
        if problem is None and model != self.model:
            try:
                self._warp, self._filter = ImageWarp(model), None
            except ValueError as error:
                problem = str(error)
        return problem

    @property
    def frozen(self) -> tuple[str, ...]:
        """What was found frozen when last read: `image`, `depth`."""
        verdicts = {'image': self._frozen_image.frozen, 'depth': self._frozen_depth.frozen}
        return tuple(name for name, frozen in verdicts.items() if frozen)

    def image(self, raw: RawImage, base: Pose2) -> ByteArray | None:
        """A colour image in the layout. Shape: (IMAGE_HEIGHT, IMAGE_WIDTH, 3).

        base: pose of base (odom) at its stamp. None for an image that is not of the model's size.
        """
        warp = self._warp
        if warp is None or raw.pixels.shape[:2] != (warp.model.height, warp.model.width):
            return None
        image = warp.image(raw.pixels)
        if self._config.find_frozen:
            self._frozen_image.update(raw.stamp, image, base)
        return image

    def no_image(self) -> None:
        """Take note of a set without image: a silent camera is not a frozen one, it is worse."""
        self._frozen_image.clear()

    def depth(self, raw: RawDepth, base: Pose2, state: State
              ) -> tuple[FloatArray, DepthPoints] | None:
        """Depth in the layout, and its points in base at `state`. None while there is no model.

        Shape: (h, w) -> (IMAGE_HEIGHT, IMAGE_WIDTH) m. base: pose of base (odom) at its stamp.
        """
        if self._warp is None:
            return None
        height, width = raw.metres.shape
        if self._filter is None or self._filter.size != (width, height):
            self._filter = self._filter_of(scaled_model(self._warp.model, width, height))
        points = self._filter(raw.metres, state.stamp)
        if self._config.find_frozen:
            self._frozen_depth.update_points(replace(points, stamp=raw.stamp), base)
        if raw.stamp != state.stamp:
            points = _moved(points, relative_pose(state.pose, base))
        return self._warp.depth(raw.metres), points

    def state(self) -> dict[str, NDArray[Any]]:
        """The model for a replay, empty without one; the frames are left out."""
        return {} if self.model is None else {'model': np.array(
            [*astuple(self.model)[:6], *self.model.distortion], np.float64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> str | None:
        """Go on from what `state` gave, if there was a model; as `take_model`."""
        self.clear()
        if 'model' not in state:
            return None
        width, height, fx, fy, cx, cy, *distortion = map(float, state['model'])
        return self.take_model(CameraModel(int(width), int(height), fx, fy, cx, cy,
                                           tuple(distortion)))

    def _filter_of(self, model: CameraModel) -> DepthFilter:
        robot = self._config.robot
        return DepthFilter(model, robot.camera_pose, robot.ground_clearance, robot.height)


def _moved(points: DepthPoints, shift: Pose2) -> DepthPoints:
    """Depth points seen from a base that has moved; `shift` is the old base in the new one."""
    xyz = points.xyz.copy()
    xyz[:, :2] = from_frame(xyz[:, :2], shift)
    x, y = from_frame([points.origin], shift)[0]
    return replace(points, xyz=xyz, origin=(float(x), float(y)))

"""Raw messages into the sensor pipeline and its sets into messages: by the node, and by a replay.

Nothing here listens or publishes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import SensorConfig
from karpathy_control.contracts.geometry import rotation_rpy
from karpathy_control.contracts.types import Observation, State
from karpathy_control.nodes import clouds, convert
from karpathy_control.sensing.pipeline import SensorPipeline

ToOdom = Callable[[NDArray[np.float32], str, State | None], NDArray[np.floating]]
PARTS = ('image', 'depth', 'scan', 'depth_points', 'imu', 'plan', 'goal', 'state')


class Intake:
    """Takes messages by topic. `to_odom` brings points (n, 2) m from a frame into odom."""

    def __init__(self, pipeline: SensorPipeline, config: SensorConfig, to_odom: ToOdom) -> None:
        self._pipeline, self._to_odom = pipeline, to_odom
        self._imu_rotation = rotation_rpy(*config.robot.imu_pose[3:])
        self._state: State | None = None
        self._takers: dict[str, Callable[[Any, int], str | None]] = {
            'camera/image_raw': lambda m, at: pipeline.on_image(convert.raw_image(m), at),
            'camera/camera_info': lambda m, at: pipeline.on_camera_model(convert.camera_model(m)),
            'camera/depth': lambda m, at: pipeline.on_depth(convert.raw_depth(m), at),
            'scan': lambda m, at: pipeline.on_scan(convert.raw_scan(m), at),
            'imu': lambda m, at: pipeline.on_imu(convert.imu_sample(m, self._imu_rotation), at),
            'odom': self._on_odom, 'control/goal': self._on_goal, 'plan': self._on_plan}
        if not config.robot.camera_rate:  # whatever somebody sends on its topics
            self._takers = {name: take for name, take in self._takers.items()
                            if not name.startswith('camera/')}

    @property
    def topics(self) -> tuple[str, ...]:
        """What it takes."""
        return tuple(self._takers)

    def take(self, name: str, message: Any, received: int) -> str | None:
        """Hand a message on (receipt: steady ns); the text of what was wrong with it, or None.

        InvalidMessage for one that fails its checks.
        """
        return self._takers[name](message, received)

    def _on_odom(self, message: Any, received: int) -> str | None:
        self._state = convert.state(message)
        return self._pipeline.on_odom(self._state, received)

    def _on_goal(self, message: Any, received: int) -> None:
        has_goal = bool(message.header.frame_id)
        self._pipeline.on_goal(convert.position(message) if has_goal else None)

    def _on_plan(self, message: Any, received: int) -> str | None:
        points = convert.path_points(message)
        if len(points) == 0:
            return self._pipeline.on_plan(None)
        odom = self._to_odom(points, message.header.frame_id, self._state)
        return self._pipeline.on_plan(odom.astype(np.float32), convert.stamp_ns(message.header))


def observation_messages(o: Observation, config: SensorConfig) -> dict[str, Any]:
    """One set as messages by part; the state last, as the anchor on which consumers join."""
    base, odom = config.robot.base_frame, config.robot.odom_frame
    out: dict[str, Any] = {}
    if o.image is not None:
        out['image'] = convert.image_message(o.image, o.stamp, base, 'rgb8')
    if o.depth is not None:
        out['depth'] = convert.image_message(o.depth, o.stamp, base, '32FC1')
    if o.scan is not None:
        out['scan'] = convert.layout_scan_message(o.scan, base)
    if o.depth_points is not None:
        out['depth_points'] = clouds.depth_points_message(o.depth_points, base)
    if o.imu is not None:
        out['imu'] = convert.image_message(o.imu, o.stamp, base, '32FC1')
    if o.plan is not None:
        out['plan'] = convert.path_message(o.plan, o.stamp, odom)
    x, y = o.goal if o.goal is not None else (0.0, 0.0)
    out['goal'] = convert.pose_message(x, y, o.stamp, base if o.goal else '')
    out['state'] = convert.odometry_message(o.state, odom, base)
    return out

"""Goals and plans in other frames: odom and base always, the rest through tf2 where it exists."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.time import Time

from karpathy_control.contracts.geometry import from_frame, yaw_of_quaternion
from karpathy_control.contracts.types import Pose2, State
from karpathy_control.nodes.convert import InvalidMessage

try:
    from tf2_ros import Buffer, TransformException, TransformListener
except ImportError:  # not published as a wheel; present on every ROS host
    Buffer = None


class FrameResolver:
    """Brings plan positions into the odom frame. Without a node (a replay) there is no tf2."""

    def __init__(self, node: Node | None, odom: str, base: str) -> None:
        self._odom, self._base = odom, base
        self._buffer: Any = None
        if Buffer is not None and node is not None:
            self._buffer = Buffer()
            self._listener = TransformListener(self._buffer, node)

    def to_odom(self, points: Any, frame: str, state: State | None) -> Any:
        """Express points in odom. points: (n, 2) m.

        Raises InvalidMessage naming the frame and the accepted ones.
        """
        if frame == self._odom:
            return from_frame(points, Pose2())
        if frame == self._base:
            if state is None:
                raise InvalidMessage(f'frame {frame!r} needs odometry, which has not arrived yet')
            return from_frame(points, state.pose)
        if self._buffer is None:
            raise InvalidMessage(f'frame {frame!r}: without tf2 this takes {self._odom!r} or '
                                 f'{self._base!r}')
        return from_frame(points, self._lookup(frame))

    def _lookup(self, frame: str) -> Pose2:
        try:
            transform = self._buffer.lookup_transform(self._odom, frame, Time()).transform
        except TransformException as error:
            raise InvalidMessage(f'frame {frame!r}: no transform to {self._odom!r} ({error})'
                                 ) from error
        t, q = transform.translation, transform.rotation
        return Pose2(t.x, t.y, yaw_of_quaternion(q.x, q.y, q.z, q.w))

"""Point clouds to contract types and back, as in convert.py: entities and filtered depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from karpathy_control.contracts.layout import (
    ENTITY_FIELDS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    SECTORS,
)
from karpathy_control.contracts.types import DepthPoints
from karpathy_control.nodes.convert import (
    MAX_COORDINATE,
    InvalidMessage,
    header,
    octets,
    stamp_ns,
)

DEPTH_POINT_FIELDS = ('x', 'y', 'z', 'kind')


def cloud_message(points: NDArray[np.float32], names: tuple[str, ...], stamp: int,
                  frame: str) -> PointCloud2:
    """Float32 columns as a PointCloud2. points: (n, len(names))."""
    n, width = points.shape
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
              for i, name in enumerate(names)]
    return PointCloud2(header=header(stamp, frame), height=1, width=n, fields=fields,
                       is_bigendian=False, point_step=4 * width, row_step=4 * width * n,
                       data=octets(points.astype(np.float32, copy=False)), is_dense=False)


def cloud(message: PointCloud2, names: tuple[str, ...], most: int) -> NDArray[np.float32]:
    """The inverse of `cloud_message`; refuses another layout and more than `most` points.

    Shape: (n, len(names)), all finite.
    """
    size, n = 4 * len(names), message.width * message.height
    found = tuple((f.name, f.offset, f.datatype, f.count) for f in message.fields[:len(names) + 1])
    wanted = tuple((name, 4 * i, PointField.FLOAT32, 1) for i, name in enumerate(names))
    if found != wanted or message.point_step != size or message.is_bigendian:
        raise InvalidMessage(f'cloud with fields {found} of {message.point_step} bytes a point, '
                             f'is_bigendian {message.is_bigendian}; it takes {names} as '
                             'little-endian float32 without gaps')
    if n > most or len(message.data) != n * size:
        raise InvalidMessage(f'cloud of {n} points with {len(message.data)} bytes; it takes '
                             f'{size} a point and at most {most} points')
    table = np.frombuffer(message.data, np.float32).reshape(n, len(names))
    if not np.abs(table).max(initial=0.0) <= MAX_COORDINATE:  # false for NaN
        raise InvalidMessage(f'cloud with a value that is not finite or beyond {MAX_COORDINATE:g}')
    return table


def depth_points_message(points: DepthPoints, frame: str) -> PointCloud2:
    """Height-filtered depth as a cloud."""
    table = np.column_stack((points.xyz, points.kind)).astype(np.float32)
    return cloud_message(table, DEPTH_POINT_FIELDS, points.stamp, frame)


def depth_points(message: PointCloud2, origin: tuple[float, float]) -> DepthPoints:
    """The inverse; the camera's plan position comes from the receiver's own configuration."""
    table = cloud(message, DEPTH_POINT_FIELDS, IMAGE_HEIGHT * IMAGE_WIDTH)
    if not np.isin(table[:, 3], (DepthPoints.OBSTACLE, DepthPoints.FREE)).all():
        raise InvalidMessage(f'depth points of kinds {np.unique(table[:, 3])[:8]}; it takes '
                             f'{DepthPoints.OBSTACLE} and {DepthPoints.FREE}')
    return DepthPoints(stamp_ns(message.header), table[:, :3], table[:, 3], origin)


def entities_message(table: NDArray[np.float32], stamp: int, frame: str, unsure: bool = False
                     ) -> PointCloud2:
    """Entities as a cloud, fields of the layout; one that is unsure is not dense."""
    message = cloud_message(table, ENTITY_FIELDS, stamp, frame)
    message.is_dense = not unsure  # by its definition: no point is invalid
    return message


def unsure(message: PointCloud2) -> bool:
    """Whether the encoder was unsure of the entities in this message."""
    return not message.is_dense


def entities_table(message: PointCloud2) -> NDArray[np.float32]:
    """The inverse. Shape: (SECTORS, len(ENTITY_FIELDS))."""
    table = cloud(message, ENTITY_FIELDS, SECTORS)
    if len(table) != SECTORS:
        raise InvalidMessage(f'{len(table)} entities; the layout has {SECTORS}')
    return table

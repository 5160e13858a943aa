"""What perception believes, drawn over the image it came from: for people and for debugging."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from karpathy_control.contracts.layout import (
    ENTITY_CLASSES,
    ENTITY_COLOURS,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    image_focal,
    scan_bearings,
)
from karpathy_control.contracts.types import ByteArray, Entities

SCALE = 5  # the picture is this many times as large as the image
COLOURS = dict(zip(ENTITY_CLASSES, ENTITY_COLOURS, strict=True))
ROD = 0.12  # m: a camera range is drawn as an upright mark of this height
FAR = 5.0  # m: the far end of the colour scale of ranges


def project(points: NDArray[np.floating], camera_pose: Sequence[float]) -> NDArray[np.float64]:
    """Points in base to pixels of the virtual pinhole; NaN for what lies behind the camera.

    Shape: (n, 3) m -> (n, 2) px (u right, v down). camera_pose: x y z roll pitch yaw in base.
    """
    rotation = Rotation.from_euler('xyz', camera_pose[3:6]).as_matrix()  # base <- body
    body = (np.asarray(points, np.float64) - camera_pose[:3]) @ rotation
    depth = np.where(body[:, 0] > 0.05, body[:, 0], np.nan)
    f = image_focal()
    return np.stack((0.5 * (IMAGE_WIDTH - 1) - f * body[:, 1] / depth,
                     0.5 * (IMAGE_HEIGHT - 1) - f * body[:, 2] / depth), 1)


def _pixel(uv: NDArray[np.float64]) -> tuple[int, int] | None:
    if not np.isfinite(uv).all() or np.abs(uv).max() > 10 * IMAGE_WIDTH:
        return None
    return round((uv[0] + 0.5) * SCALE), round((uv[1] + 0.5) * SCALE)


def _range_colour(distance: float) -> tuple[int, int, int]:
    """Red near, green far."""
    f = min(max(distance / FAR, 0.0), 1.0)
    return round(255 * (1.0 - f)), round(230 * f), 40


def _text(canvas: ByteArray, text: str, at: tuple[int, int], colour: tuple[int, int, int]
          ) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)


def overlay(image: ByteArray, entities: Entities, camera_pose: Sequence[float],
            min_confidence: float = 0.5) -> ByteArray:
    """Draw entities and camera scan into the image, with a plan view beside it.

    image (IMAGE_HEIGHT, IMAGE_WIDTH, 3) rgb8; camera_pose x y z roll pitch yaw in base.
    Shape of the result: (SCALE * IMAGE_HEIGHT, SCALE * (IMAGE_WIDTH + IMAGE_HEIGHT), 3) rgb8.
    """
    size = (IMAGE_WIDTH * SCALE, IMAGE_HEIGHT * SCALE)
    canvas: ByteArray = cv2.resize(image, size,  # type: ignore[assignment]
                                   interpolation=cv2.INTER_NEAREST)
    _draw_scan(canvas, entities, camera_pose)
    for row in entities.table:
        x, y, z, vx, vy, _, confidence, label = (float(v) for v in row[:8])
        if confidence < min_confidence:
            continue
        ends = project(np.array([[x, y, z], [x + vx, y + vy, z]]), camera_pose)
        at, tip = _pixel(ends[0]), _pixel(ends[1])
        if at is None or not (0 <= at[0] < size[0] and 0 <= at[1] < size[1]):
            continue
        name = ENTITY_CLASSES[int(label)]
        cv2.circle(canvas, at, 7, COLOURS[name], 2, cv2.LINE_AA)
        if tip is not None and name == 'moving':
            cv2.arrowedLine(canvas, at, tip, COLOURS[name], 2, cv2.LINE_AA)
        _text(canvas, f'{math.hypot(x, y):.1f} {name[:4]}', (at[0] + 8, at[1] + 4),
              COLOURS[name])
    return np.concatenate((canvas, _plan(entities, min_confidence)), 1)


def _draw_scan(canvas: ByteArray, entities: Entities, camera_pose: Sequence[float]) -> None:
    """Each finite camera range as a short upright mark on the floor where it stands."""
    if entities.camera_scan is None:
        return
    ranges = entities.camera_scan.ranges
    bearings = scan_bearings()
    for i in np.flatnonzero(np.isfinite(ranges)):
        x, y = ranges[i] * math.cos(bearings[i]), ranges[i] * math.sin(bearings[i])
        ends = project(np.array([[x, y, 0.0], [x, y, ROD]]), camera_pose)
        foot, top = _pixel(ends[0]), _pixel(ends[1])
        if foot is not None and top is not None:
            cv2.line(canvas, foot, top, _range_colour(float(ranges[i])), 2, cv2.LINE_AA)


def _plan(entities: Entities, min_confidence: float) -> ByteArray:
    """Seen from above: x up, y left, the robot in the middle, rings at every metre."""
    side = IMAGE_HEIGHT * SCALE
    per_metre = side / (2.0 * FAR)
    plan: ByteArray = np.full((side, side, 3), 24, np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(side / 2 - y * per_metre), round(side / 2 - x * per_metre)

    for ring in range(1, int(FAR) + 1):
        cv2.circle(plan, at(0, 0), round(ring * per_metre), (60, 60, 60), 1, cv2.LINE_AA)
    cv2.arrowedLine(plan, at(-0.2, 0), at(0.3, 0), (240, 240, 240), 2, cv2.LINE_AA)
    if entities.camera_scan is not None:
        ranges, bearings = entities.camera_scan.ranges, scan_bearings()
        for i in np.flatnonzero(np.isfinite(ranges)):
            x, y = ranges[i] * math.cos(bearings[i]), ranges[i] * math.sin(bearings[i])
            cv2.circle(plan, at(x, y), 2, _range_colour(float(ranges[i])), -1)
    for row in entities.table:
        x, y, _, vx, vy, radius, confidence, label = (float(v) for v in row[:8])
        if confidence < min_confidence:
            continue
        colour = COLOURS[ENTITY_CLASSES[int(label)]]
        cv2.circle(plan, at(x, y), max(3, round(radius * per_metre)), colour, 1, cv2.LINE_AA)
        if ENTITY_CLASSES[int(label)] == 'moving':
            cv2.arrowedLine(plan, at(x, y), at(x + vx, y + vy), colour, 2, cv2.LINE_AA)
    return plan

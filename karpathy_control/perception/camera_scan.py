"""The camera scan: per degree of bearing, how far the camera says the way is clear.

Geometry from depth where there is depth; the encoder's learned ranges where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from karpathy_control.contracts.layout import (
    DEPTH_MAX,
    SCAN_BEAMS,
    SECTORS,
    in_view,
    scan_bearings,
)
from karpathy_control.contracts.types import DepthPoints, FloatArray, Scan

FREE_REACH = 0.9  # share of range_max to which ground must be seen before a bin counts as free
FREE_BELOW = 0.05  # a learned sub-bin less probable than this counts as free
GAP_STEP = 0.3  # m: a bin missed between two neighbours this alike takes the nearer one


def scan_from_depth(points: DepthPoints, range_max: float = DEPTH_MAX) -> Scan:
    """Height-filtered depth as a scan in the layout: pure geometry.

    A bin with obstacle points takes the nearest one's distance from base. A bin without, in which
    a free ray ends at FREE_REACH of `range_max` or beyond, is +Inf; every other bin is NaN.
    """
    distance = np.hypot(points.xyz[:, 0], points.xyz[:, 1])
    bearing = np.arctan2(points.xyz[:, 1], points.xyz[:, 0])
    usable = np.isfinite(distance)
    bins = np.zeros(len(distance), np.intp)
    bins[usable] = ((bearing[usable] + math.pi) * (SCAN_BEAMS / (2.0 * math.pi))).astype(np.intp)
    bins %= SCAN_BEAMS
    obstacle = usable & (points.kind == DepthPoints.OBSTACLE) & (distance <= range_max)
    nearest = np.full(SCAN_BEAMS, np.inf)
    np.minimum.at(nearest, bins[obstacle], distance[obstacle])
    reach = np.zeros(SCAN_BEAMS)
    free = usable & (points.kind == DepthPoints.FREE)
    np.maximum.at(reach, bins[free], distance[free])
    out = np.full(SCAN_BEAMS, np.nan, np.float32)
    out[reach >= FREE_REACH * range_max] = np.inf
    hit = np.isfinite(nearest)
    out[hit] = nearest[hit]
    left, right = np.roll(out, 1), np.roll(out, -1)
    with np.errstate(invalid='ignore'):
        bridged = np.isnan(out) & (np.abs(left - right) < GAP_STEP)
    out[bridged] = np.minimum(left, right)[bridged]
    return Scan(points.stamp, out, range_max)


def scan_from_network(stamp: int, confidence: FloatArray, ranges: FloatArray,
                      camera_pose: Sequence[float], min_confidence: float,
                      range_max: float) -> Scan:
    """The learned camera ranges as a scan in the layout.

    confidence and ranges (SECTORS, SUB_BINS), m about base. A sub-bin at or above
    `min_confidence` gives its range, one below FREE_BELOW +Inf (free up to `range_max`); between
    the two, and outside the camera's view, NaN.
    """
    sub_bins = confidence.size
    index = (np.arange(SCAN_BEAMS) + 0.5) * (sub_bins / SCAN_BEAMS)
    index = index.astype(np.intp)
    p, r = confidence.reshape(-1)[index], ranges.reshape(-1)[index]
    seen = (p >= min_confidence) & (r <= range_max)
    out = np.where(seen, r, np.where(p < FREE_BELOW, np.inf, np.nan)).astype(np.float32)
    out[~in_view(np.where(seen, r, range_max), camera_pose)] = np.nan
    return Scan(stamp, out, range_max)


def sector_bearings(offset: FloatArray) -> FloatArray:
    """Bearing of a point inside each sector; offset -1 right edge, 1 left edge. (SECTORS,) rad."""
    centres = scan_bearings(SECTORS)
    return (centres + offset * (math.pi / SECTORS)).astype(np.float32)

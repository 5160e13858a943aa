"""Rays, distances and movers of a batch on torch: every robot against every primitive.

What `worlds.raycast`, `worlds.contact` and `worlds.batched.place_movers` do one robot and one
primitive at a time, without their short cuts, and so with other arithmetic: the brute force that
their tests hold them against, and the way to do it where a GPU takes all at once. Shapes depend on
no value and no value is read back, so a step can be compiled or captured as a CUDA graph. Places
are 64-bit up to the robot's own frame, what is measured there is 32-bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karpathy_control.worlds.bank import PERIOD, PHASE, RADIUS, TOP, Bank

FAR = 1e4  # m: what is not there, or not at that height, is put this far off
NO_DISC = (FAR, 0.0, 0.0)
NO_BOX = (FAR, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Primitives:
    """What a sensor or the footprint can meet; of W worlds, or of B robots, each in its own."""

    discs: Tensor  # (W, C, 3) x y radius, m, world
    boxes: Tensor  # (W, X, 6) x y half_x half_y cos(yaw) sin(yaw)
    hidden: Tensor  # (W, M) bool, movers that are not met
    radii: Tensor  # (W, M) m, of the movers

    def of(self, world: Tensor) -> Primitives:
        """Those of the worlds with the numbers (B,)."""
        return Primitives(self.discs[world], self.boxes[world], self.hidden[world],
                          self.radii[world])

    def part(self, rows: slice) -> Primitives:
        """Those of some of the robots."""
        return Primitives(self.discs[rows], self.boxes[rows], self.hidden[rows], self.radii[rows])

    @property
    def sizes(self) -> tuple[int, int]:
        """How many discs, movers included, and how many boxes."""
        return self.discs.shape[1] + self.radii.shape[1], self.boxes.shape[1]


def seen_at(bank: Bank, height: float, device: torch.device) -> Primitives:
    """What crosses the plane of a lidar at `height` m."""
    return _primitives(bank, device, bank.circles[:, :, 3] <= height,
                       bank.circles[:, :, 4] >= height, bank.boxes[:, :, 6] <= height,
                       bank.boxes[:, :, 7] >= height, bank.movers[:, :, TOP] >= height)


def touched_between(bank: Bank, low: float, high: float, device: torch.device) -> Primitives:
    """What reaches into the height band of a robot, from `low` to `high` m."""
    return _primitives(bank, device, bank.circles[:, :, 3] < high, bank.circles[:, :, 4] > low,
                       bank.boxes[:, :, 6] < high, bank.boxes[:, :, 7] > low,
                       bank.movers[:, :, TOP] > low)


def _primitives(bank: Bank, device: torch.device, circle_bottom: NDArray[np.bool_],
                circle_top: NDArray[np.bool_], box_bottom: NDArray[np.bool_],
                box_top: NDArray[np.bool_], mover_top: NDArray[np.bool_]) -> Primitives:
    there = np.arange(bank.movers.shape[1]) < bank.mover_count[:, None]
    discs = _kept(bank.circles, bank.circle_count, circle_bottom & circle_top, NO_DISC)
    boxes = _kept(bank.boxes, bank.box_count, box_bottom & box_top, NO_BOX)
    return Primitives(*(torch.from_numpy(array).to(device) for array in (
        discs, boxes, ~(there & mover_top), bank.movers[:, :, RADIUS].copy())))


def _kept(rows: NDArray[np.float32], count: NDArray[np.int32], meets: NDArray[np.bool_],
          nothing: tuple[float, ...]) -> NDArray[np.float32]:
    """The rows of each world that are met, in as few as the fullest needs, then `nothing`.

    Columns are those of `nothing`, the first ones of `rows`.
    """
    keep = meets & (np.arange(rows.shape[1]) < count[:, None])
    widest = max(1, int(keep.sum(axis=1).max()))
    out = np.tile(np.array(nothing, np.float32), (len(rows), widest, 1))
    for w, mine in enumerate(keep):
        out[w, :mine.sum()] = rows[w, mine, :len(nothing)]
    return out


class Movers:
    """The movers of a bank on a device, each by its keyframes."""

    def __init__(self, bank: Bank, device: torch.device) -> None:
        def put(array: NDArray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self._count = bank.movers.shape[1]
        self._phase = put(bank.movers[:, :, PHASE].astype(np.float64))  # (W, M)
        self._period = put(bank.movers[:, :, PERIOD].astype(np.float64))
        self._last = put(bank.keyframe_count.astype(np.int64) - 1)
        self._keys = put(bank.keyframes.reshape(-1, *bank.keyframes.shape[2:]).astype(np.float64))
        self._halvings = math.ceil(math.log2(max(2, bank.keyframes.shape[2])))
        self._number = torch.arange(self._count, device=device)

    def place(self, world: Tensor, time: Tensor) -> Tensor:
        """Where they are `time` (B,) s after the start of robots in worlds (B,). (B, M, 2) m."""
        row = world[:, None] * self._count + self._number
        period = self._period[world]
        now = torch.remainder(self._phase[world] + time[:, None], period)  # NaN for what stands
        before, after = torch.zeros_like(row), self._last[world]
        for _ in range(self._halvings):
            middle = (before + after) // 2
            passed = self._keys[row, middle, 0] <= now
            before, after = torch.where(passed, middle, before), torch.where(passed, after, middle)
        last, following = self._keys[row, before], self._keys[row, after]
        part = ((now - last[..., 0]) / (following[..., 0] - last[..., 0]))[..., None]
        xy = last[..., 1:] + part * (following[..., 1:] - last[..., 1:])
        return torch.where(period[..., None] > 0.0, xy, self._keys[row, 0, 1:])


def _turned(pose: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (B, K) of the world along the axes of the robots at (B, 3) x y yaw."""
    c, s = pose[:, 2:3].cos(), pose[:, 2:3].sin()
    return c * x + s * y, c * y - s * x


def _discs(pose: Tensor, near: Primitives, xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x, y in base and radius of all discs, movers at xy (B, M, 2) last. (B, K) m each."""
    away = xy.masked_fill(near.hidden[..., None], FAR)
    x, y = _turned(pose, torch.cat((near.discs[..., 0], away[..., 0]), 1) - pose[:, 0:1],
                   torch.cat((near.discs[..., 1], away[..., 1]), 1) - pose[:, 1:2])
    return x.float(), y.float(), torch.cat((near.discs[..., 2], near.radii), 1)


def _boxes(pose: Tensor, near: Primitives) -> tuple[Tensor, ...]:
    """x, y, half_x, half_y, cos and sin of all boxes in base. (B, X), 64-bit."""
    x, y = _turned(pose, near.boxes[..., 0] - pose[:, 0:1], near.boxes[..., 1] - pose[:, 1:2])
    c, s = _turned(pose, near.boxes[..., 4], near.boxes[..., 5])
    return x, y, near.boxes[..., 2].double(), near.boxes[..., 3].double(), c, s


def cast(cosine: Tensor, sine: Tensor, pose: Tensor, near: Primitives, xy: Tensor, limit: float
         ) -> Tensor:
    """Ranges along the bearings (n,) to the nearest of everything, +Inf beyond `limit` m.

    pose (B, 3), movers at xy (B, M, 2), world. A sensor inside of something reads 0. (B, n) m.
    """
    x, y, radius = (v[:, None] for v in _discs(pose, near, xy))
    cosine, sine = cosine[:, None], sine[:, None]  # against (B, 1, K)
    along, across = x * cosine + y * sine, x * sine - y * cosine
    square = radius * radius - across * across
    half = square.clamp(min=0.0).sqrt()  # of the chord
    missed = (square < 0.0) | (along + half < 0.0)
    ranges = (along - half).clamp(min=0.0).masked_fill(missed, math.inf).amin(2)

    x, y, half_x, half_y, c, s = (v[:, None] for v in _boxes(pose, near))
    ox, oy = -(c * x + s * y), s * x - c * y  # the sensor in the box's frame
    faces = [v.float() for v in (-half_x - ox, half_x - ox, -half_y - oy, half_y - oy)]
    c, s = c.float(), s.float()
    per_x, per_y = (c * cosine + s * sine).reciprocal(), (c * sine - s * cosine).reciprocal()
    x0, x1, y0, y1 = faces[0] * per_x, faces[1] * per_x, faces[2] * per_y, faces[3] * per_y
    enter = torch.maximum(torch.minimum(x0, x1), torch.minimum(y0, y1)).clamp(min=0.0)
    leave = torch.minimum(torch.maximum(x0, x1), torch.maximum(y0, y1))
    # not (enter > leave): along a face, 0 * inf is NaN and no hit
    walls = enter.masked_fill(~(enter <= leave), math.inf).amin(2)
    ranges = torch.minimum(ranges, walls)
    return ranges.masked_fill(ranges > limit, math.inf)


def _to_polygon(polygon: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """How far points (...,) lie outside of each edge's line (..., n), and from the outline (...,).

    polygon (n, 2) m, convex, counter-clockwise.
    """
    edge = polygon.roll(-1, 0) - polygon
    ex, ey = edge[:, 0], edge[:, 1]
    square = ex * ex + ey * ey
    qx, qy = x[..., None] - polygon[:, 0], y[..., None] - polygon[:, 1]
    outside = (ey * qx - ex * qy) / square.sqrt()
    t = ((qx * ex + qy * ey) / square).clamp(0.0, 1.0)
    dx, dy = qx - t * ex, qy - t * ey
    return outside, (dx * dx + dy * dy).amin(-1).sqrt()


def clearance(footprint: Tensor, pose: Tensor, near: Primitives, xy: Tensor, horizon: float
              ) -> Tensor:
    """Distance from the footprint (n, 2) m to the nearest of everything, at most `horizon`.

    pose (B, 3), movers at xy (B, M, 2), world. 0 or less is contact. Shape: (B,) m.
    """
    x, y, radius = _discs(pose, near, xy)
    outside, outline = _to_polygon(footprint, x, y)
    depth = outside.amax(-1)
    nearest = (torch.where(depth <= 0.0, depth, outline) - radius).amin(1)

    x, y, half_x, half_y, c, s = (v.float()[..., None] for v in _boxes(pose, near))
    u, v = (torch.cat(signed, -1) for signed in ((half_x, -half_x, -half_x, half_x),
                                                 (half_y, half_y, -half_y, -half_y)))
    outside, outline = _to_polygon(footprint, x + c * u - s * v, y + s * u + c * v)
    dx, dy = footprint[:, 0] - x, footprint[:, 1] - y
    px, py = c * dx + s * dy, c * dy - s * dx  # (B, X, n), the footprint in the box's frame
    beyond = torch.hypot((px.abs() - half_x).clamp(min=0.0), (py.abs() - half_y).clamp(min=0.0))
    half_x, half_y = half_x[..., 0], half_y[..., 0]
    # apart where an edge of the one has all of the other outside of it
    apart = ((outside.amin(-2).amax(-1) > 0.0)
             | (px.amin(-1) > half_x) | (px.amax(-1) < -half_x)
             | (py.amin(-1) > half_y) | (py.amax(-1) < -half_y))
    between = torch.minimum(outline.amin(-1), beyond.amin(-1)).masked_fill(~apart, 0.0)
    return torch.minimum(nearest, between.amin(1)).double().clamp(max=horizon)

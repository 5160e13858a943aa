"""The gate's obstacle memory: what was seen, where exactly, by which sensor and when.

Three layers roll with the robot in odom under one origin (see mapping.rolling):

* `lidar` and `camera` keep obstacles, apart, because only a sensor that could see a cell may
  clear it: the plane of the lidar passes over a low box and under a table top. Each cell keeps two
  exact points of the surface in it (those farthest apart), so the grid adds no quantisation.
* `free_seen` keeps when a cell was last observed free. A cell that holds a hit counts as
  observed too: what is in it is known exactly by its points. Never observed means occupied.

Beside them lie the fence (points that hold always: borders of keep-out zones) and what odometry
travelled, by which remembered points are inflated (control.drift).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from karpathy_control.control.drift import NONE, SLOT, forget_travel, shift_travel, track
from karpathy_control.control.footprint import signed_distance
from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.rolling import in_window, recentre, window_origin

EMPTY = np.float32(-1e9)  # the time of what was never seen, s
_FINE = 25  # points from one sample of the outline to the next, 2 mm apart
_WIDER = 1.03  # of the outline: 7 mm beside a robot that is 0.5 m wide
_EPOCH_SPAN = 50_000.0  # s after which the epoch moves on: float32 then still resolves 4 ms


class Memory(NamedTuple):
    """The layers of a batch of robots. B robots, H = W cells, N beams."""

    origin: NDArray[np.int64]  # (B, 2) lowest global column and row
    started: NDArray[np.bool_]  # (B,) whether the window has been placed
    epoch: NDArray[np.float64]  # (B,) s; times in the layers are relative to it, to fit float32
    lidar: NDArray[np.float32]  # (B, H, W, 4) m, odom: x y of one hit, x y of the other
    lidar_seen: NDArray[np.float32]  # (B, H, W) s since the epoch
    lidar_cells: NDArray[np.int32]  # (B, H * W) the slots that are not empty, row * W + column
    lidar_count: NDArray[np.int64]  # (B,) how many
    camera: NDArray[np.float32]  # (B, H, W, 4)
    camera_seen: NDArray[np.float32]  # (B, H, W)
    camera_cells: NDArray[np.int32]  # (B, H * W)
    camera_count: NDArray[np.int64]  # (B,)
    free_seen: NDArray[np.float32]  # (B, H, W)
    scan: NDArray[np.float32]  # (B, N, 2) m, odom: the latest scan, NaN where it hit nothing
    scan_time: NDArray[np.float32]  # (B,) s since the epoch
    scan_origin: NDArray[np.float64]  # (B, 3) x y of the sensor at that time, rad between beams
    disc: NDArray[np.bool_]  # (B,) whether the next start declares its disc free
    stands: NDArray[np.bool_]  # (B,) whether the place where it started is still to be marked
    fence: NDArray[np.float64]  # (n, 2) m, odom: holds always, for every robot
    travel_sums: NDArray[np.float64]  # (B, K, 2) m and rad in all, at the start of each slot
    travel_places: NDArray[np.float64]  # (B, K, 2) m, odom: where each slot began
    travel_swing: NDArray[np.float64]  # (B, K) m rad, see drift.track
    travel_slot: NDArray[np.int64]  # (B,) number of the latest slot since the epoch
    travel_total: NDArray[np.float64]  # (B, 2) m and rad travelled and turned, now
    travel_pose: NDArray[np.float64]  # (B, 3) x y yaw, the latest
    travel_time: NDArray[np.float64]  # (B,) s since the epoch, of that pose


class Rules(NamedTuple):
    """Numbers that the memory kernels need."""

    cell: float  # m
    start_radius: float  # m
    memory_time: float  # s
    camera_blind: float  # m from the camera within which it does not see the ground
    camera_clears: float  # m from the camera beyond which it sees the whole height band
    free_reach: float  # m from a sensor up to which it marks cells as free


def make_memory(batch: int, size: int, span: float) -> Memory:
    """An empty memory of `size` x `size` cells for `batch` robots that remember `span` s."""
    slots = math.ceil(span / SLOT) + 3

    def layer() -> NDArray[np.float32]:
        return np.full((batch, size, size), EMPTY, np.float32)

    def points() -> NDArray[np.float32]:
        return np.zeros((batch, size, size, 4), np.float32)

    def cells() -> NDArray[np.int32]:
        return np.empty((batch, size * size), np.int32)

    def count() -> NDArray[np.int64]:
        return np.zeros(batch, np.int64)

    return Memory(np.zeros((batch, 2), np.int64), np.zeros(batch, np.bool_), np.zeros(batch),
                  points(), layer(), cells(), count(), points(), layer(), cells(), count(),
                  layer(),
                  np.full((batch, 0, 2), np.nan, np.float32), np.full(batch, EMPTY, np.float32),
                  np.zeros((batch, 3)), np.ones(batch, np.bool_), np.ones(batch, np.bool_),
                  np.zeros((0, 2)),
                  np.zeros((batch, slots, 2)), np.zeros((batch, slots, 2)),
                  np.zeros((batch, slots)),
                  np.full(batch, NONE, np.int64), np.zeros((batch, 2)), np.zeros((batch, 3)),
                  np.zeros(batch))


@kernel
def forget(memory, b, disc):
    """Empty everything that robot b remembers; the next pose starts it anew.

    `disc`: that pose declares the start disc free. Not where the robot only lost its bearings:
    it must not turn or back into what it has not seen.
    """
    memory.disc[b] = disc
    memory.stands[b] = True
    forget_travel(memory, b)
    memory.started[b] = False
    memory.lidar_seen[b] = EMPTY
    memory.lidar_count[b] = 0
    memory.camera_seen[b] = EMPTY
    memory.camera_count[b] = 0
    memory.free_seen[b] = EMPTY
    memory.scan[b] = np.float32(np.nan)
    memory.scan_time[b] = EMPTY


@kernel
def place(memory, b, x, y, yaw, time, rules):
    """Centre the window of robot b on a pose; return `time` relative to the epoch.

    The first pose after `forget` sets the epoch and may declare the start disc free.
    """
    size = memory.free_seen.shape[1]
    column = window_origin(x, rules.cell, size)
    row = window_origin(y, rules.cell, size)
    if not memory.started[b]:
        memory.started[b] = True
        memory.epoch[b] = time
        memory.origin[b, 0] = column
        memory.origin[b, 1] = row
        if memory.disc[b]:
            _start_disc(memory.free_seen[b], x, y, rules)
        track(memory, b, x, y, yaw, 0.0)
        return 0.0
    if column != memory.origin[b, 0] or row != memory.origin[b, 1]:
        recentre(memory.lidar_seen[b], memory.origin[b], column, row, EMPTY)
        recentre(memory.camera_seen[b], memory.origin[b], column, row, EMPTY)
        recentre(memory.free_seen[b], memory.origin[b], column, row, EMPTY)
        memory.origin[b, 0] = column
        memory.origin[b, 1] = row
        _drop_empty(memory.lidar_seen[b], memory.lidar_cells[b], memory.lidar_count, b)
        _drop_empty(memory.camera_seen[b], memory.camera_cells[b], memory.camera_count, b)
    if time - memory.epoch[b] > _EPOCH_SPAN:
        memory.epoch[b] += _EPOCH_SPAN
        _shift_times(memory.lidar_seen[b])
        _shift_times(memory.camera_seen[b])
        _shift_times(memory.free_seen[b])
        memory.scan_time[b] -= np.float32(_EPOCH_SPAN)
        shift_travel(memory, b, _EPOCH_SPAN)
    track(memory, b, x, y, yaw, time - memory.epoch[b])
    return time - memory.epoch[b]


@kernel
def _drop_empty(seen, cells, count, b):
    """Take the cells that have scrolled out off the list of those that are not empty."""
    size = seen.shape[0]
    kept = 0
    for k in range(count[b]):
        slot = cells[k]
        if seen[slot // size, slot % size] != EMPTY:
            cells[kept] = slot
            kept += 1
    count[b] = kept


@kernel
def _shift_times(seen):
    for j in range(seen.shape[0]):
        for i in range(seen.shape[1]):
            if seen[j, i] != EMPTY:
                seen[j, i] -= np.float32(_EPOCH_SPAN)


@kernel
def _start_disc(free, x, y, rules):
    """Mark every cell that touches the start disc about (x, y) as free at the epoch."""
    size = free.shape[0]
    n = math.ceil(rules.start_radius / rules.cell) + 1
    i0 = math.floor(x / rules.cell)
    j0 = math.floor(y / rules.cell)
    for j in range(j0 - n, j0 + n + 1):
        for i in range(i0 - n, i0 + n + 1):
            dx = max(i * rules.cell - x, x - (i + 1) * rules.cell, 0.0)
            dy = max(j * rules.cell - y, y - (j + 1) * rules.cell, 0.0)
            if dx * dx + dy * dy < rules.start_radius * rules.start_radius:
                free[j % size, i % size] = 0.0


@kernel
def mark_place(memory, b, samples, footprint, margin, x, y, yaw, time, cell):
    """Mark the cells in and along the outline as free where the memory of robot b begins anew.

    It stands there, so nothing else does. Without them a robot that has forgotten everything
    could not even drive straight on: what lies beside its rear no sensor may see, and its outline
    moves through it. The line between the samples counts too, or cells would be left between
    them, and so does one a little outside, since nobody drives straight to the millimetre.
    """
    if not memory.stands[b]:
        return
    memory.stands[b] = False
    free = memory.free_seen[b]
    size = free.shape[0]
    c = math.cos(yaw)
    s = math.sin(yaw)
    count = samples.shape[0]
    for k in range(2 * count * _FINE):
        scale = 1.0 if k % 2 == 0 else _WIDER
        i = k // (2 * _FINE)
        j = (i + 1) % count
        part = (k // 2 % _FINE) / _FINE
        bx = scale * (samples[i, 0] + (samples[j, 0] - samples[i, 0]) * part)
        by = scale * (samples[i, 1] + (samples[j, 1] - samples[i, 1]) * part)
        free[math.floor((y + s * bx + c * by) / cell) % size,
             math.floor((x + c * bx - s * by) / cell) % size] = time
    n = math.ceil((footprint.radius + margin) / cell)
    i0 = math.floor(x / cell)
    j0 = math.floor(y / cell)
    for j in range(j0 - n, j0 + n + 1):  # a cell that no line meets is inside with its centre
        for i in range(i0 - n, i0 + n + 1):
            dx = (i + 0.5) * cell - x
            dy = (j + 0.5) * cell - y
            if signed_distance(footprint, c * dx + s * dy, c * dy - s * dx) < margin:
                free[j % size, i % size] = time


@kernel
def keep_near_free(free, x, y, yaw, time, rules, footprint):
    """Mark the cells under the footprint as free and keep the free ones round it from expiring.

    Where the robot stands there is nothing else; a cell counts as under it when its centre is.
    Free cells within `start_radius` do not expire while the robot stays, so that a robot that has
    waited can still turn in the place that it once saw.
    """
    size = free.shape[0]
    reach = max(rules.start_radius, footprint.radius)
    n = math.ceil(reach / rules.cell)
    i0 = math.floor(x / rules.cell)
    j0 = math.floor(y / rules.cell)
    c = math.cos(yaw)
    s = math.sin(yaw)
    for j in range(j0 - n, j0 + n + 1):
        for i in range(i0 - n, i0 + n + 1):
            dx = (i + 0.5) * rules.cell - x
            dy = (j + 0.5) * rules.cell - y
            if dx * dx + dy * dy > reach * reach:
                continue
            seen = free[j % size, i % size]
            if seen == time:
                continue
            if (seen < time and time - seen <= rules.memory_time) or signed_distance(
                    footprint, c * dx + s * dy, c * dy - s * dx) < 0.0:
                free[j % size, i % size] = time


@kernel
def forget_free(free, j, i, time):
    """An obstacle in slot (j, i) is too old to count: unless seen free now, it is unknown again.

    Free cells near a robot that stays do not expire (`keep_near_free`); one with an obstacle must
    not outlive it.
    """
    if free[j, i] != time:
        free[j, i] = EMPTY


@kernel
def mark_obstacle(points, seen, cells, count, b, origin, x, y, time, cell, renew=False):
    """Keep (x, y) in its cell; of all that is kept there the two points that are farthest apart.

    What an earlier sight left in the cell stays, and the cell keeps that earlier time: where only
    a part of it is in view, the rest of a wall must not be forgotten. With `renew` it goes.
    """
    size = seen.shape[0]
    i = math.floor(x / cell)
    j = math.floor(y / cell)
    if not (in_window(i, origin[0], size) and in_window(j, origin[1], size)):
        return
    i %= size
    j %= size
    if seen[j, i] == EMPTY or (renew and seen[j, i] != time):
        if seen[j, i] == EMPTY:
            cells[count[b]] = j * size + i
            count[b] += 1
        seen[j, i] = time
        points[j, i, 0] = x
        points[j, i, 1] = y
        points[j, i, 2] = x
        points[j, i, 3] = y
        return
    x0 = points[j, i, 0]
    y0 = points[j, i, 1]
    x1 = points[j, i, 2]
    y1 = points[j, i, 3]
    apart = (x1 - x0) ** 2 + (y1 - y0) ** 2
    from_first = (x - x0) ** 2 + (y - y0) ** 2
    from_second = (x - x1) ** 2 + (y - y1) ** 2
    if from_first > apart and from_first >= from_second:
        points[j, i, 2] = x
        points[j, i, 3] = y
    elif from_second > apart:
        points[j, i, 0] = x
        points[j, i, 1] = y

"""What moves, and how fast: discs followed through lidar scans, for a batch of robots.

A scan is cut into segments where it jumps. A segment is a candidate where it is small, and where
some of its points lie in space that a scan half a second ago saw free, or a place before it that
was taken then is free now: what merely comes out from behind something does neither. Where a side
is hidden, the circle that fits what is seen says where it is (perception.segments). Candidates are
followed by Kalman filters with constant velocity (Bar-Shalom, Li and Kirubarajan 2001, ch. 6);
one is said to move when its speed stands out of its uncertainty, and how it goes on, a small
network says (perception.motion). The very kernel runs in the batched world and on the robot.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.layout import (
    MOVER_FIELDS,
    MOVERS,
    SCAN_BEAMS,
    scan_bearings,
)
from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.motion import GAIN, SPREAD, TURN_RATE
from karpathy_control.perception.motion import (
    FEATURES,
    Network,
    describe,
    forecast,
    no_network,
)
from karpathy_control.perception.segments import JUMP, disc_behind, fit_arc, mark_motion, parted

TRACKS = 16  # per robot, at most
KEPT = 22  # scans of the past: a second at 20 Hz and some

LARGEST = 1.3  # m, chord of a segment that may be one thing that moves
PAST_AGES = (0.5, 1.0)  # s: what is compared with; the longer shows what is slow

ACCELERATION = 1.6  # m/s^2, standard deviation of the white acceleration of a thing
NOISE, NOISE_PER_RANGE = 0.015, 0.004  # m and its growth with range: a quarter of a beam spacing
ARC_NOISE, HIDDEN_NOISE = 2.0, 3.0  # times, where one side is hidden
START_SPEED = 1.2  # m/s, standard deviation of the speed of what was just found
GATE = 0.35  # m, and three standard deviations, between where a thing is and should be
FORGET = 1.0  # s without a look before a thing is given up
EVIDENCE_LEFT = 0.85  # of the evidence, after each look
NEEDED_EVIDENCE = 0.4  # new points per look, summed up as they fade
KEPT_EVIDENCE = 0.1  # below it what moved stands: nothing has come or gone any more
NEEDED_LOOKS, SLOW_LOOKS = 3, 6  # before a thing moves clearly, or at all
SLOWEST = 0.15  # m/s
CLEARLY = 2.5  # standard deviations by which the speed stands out; one after SLOW_LOOKS
SLOW_AGAIN = 0.1  # m/s: below it what moved stands

(ALIVE, X, Y, VX, VY, PP, PV, VV, RADIUS, LOOKS, SEEN, EVIDENCE, MOVES) = range(13)
COLUMNS = 13


@kernel
def _predict(tracks, now, dt):
    q = ACCELERATION * ACCELERATION
    for k in range(tracks.shape[0]):
        t = tracks[k]
        if t[ALIVE] == 0.0:
            continue
        if now - t[SEEN] > FORGET:
            t[ALIVE] = 0.0
            continue
        t[X] += t[VX] * dt
        t[Y] += t[VY] * dt
        t[PP] += 2.0 * dt * t[PV] + dt * dt * t[VV] + 0.25 * dt**4 * q
        t[PV] += dt * t[VV] + 0.5 * dt**3 * q
        t[VV] += dt * dt * q


@kernel
def _update(t, x, y, noise, radius, sized, new, now):
    """Kalman update of one track; both axes share their variances, so gains are scalars.

    sized: whether `radius` was seen, not supposed.
    """
    s = t[PP] + noise * noise
    gain_p, gain_v = t[PP] / s, t[PV] / s
    ex, ey = x - t[X], y - t[Y]
    t[X] += gain_p * ex
    t[Y] += gain_p * ey
    t[VX] += gain_v * ex
    t[VY] += gain_v * ey
    t[VV] -= gain_v * t[PV]
    t[PV] -= gain_p * t[PV]
    t[PP] -= gain_p * t[PP]
    if sized:
        t[RADIUS] += (radius - t[RADIUS]) / min(t[LOOKS] + 1.0, 10.0)
    t[LOOKS] += 1.0
    t[SEEN] = now
    t[EVIDENCE] = EVIDENCE_LEFT * t[EVIDENCE] + new
    speed = math.sqrt(t[VX] * t[VX] + t[VY] * t[VY])
    if t[MOVES] == 0.0:
        sure = speed > CLEARLY * math.sqrt(t[VV]) or (
            t[LOOKS] >= SLOW_LOOKS and speed > math.sqrt(t[VV]))
        if (sure and t[LOOKS] >= NEEDED_LOOKS and t[EVIDENCE] > NEEDED_EVIDENCE
                and speed > SLOWEST):
            t[MOVES] = 1.0
    elif speed < SLOW_AGAIN or t[EVIDENCE] < KEPT_EVIDENCE:
        t[MOVES] = 0.0


@kernel
def _matching(tracks, taken, x, y):
    """The track nearest to (x, y) within its gate that no segment has taken yet; -1: none."""
    best, least = -1, np.inf
    for k in range(tracks.shape[0]):
        t = tracks[k]
        if t[ALIVE] == 0.0 or taken[k]:
            continue
        off = math.sqrt((t[X] - x) ** 2 + (t[Y] - y) ** 2)
        if off < GATE + 3.0 * math.sqrt(t[PP]) and off < least:
            best, least = k, off
    return best


@kernel
def _segment(scan, first, count, cosines, sines, pose, signs, now, tracks, taken, disc):
    """Follow the thing behind one segment, or begin to."""
    n = scan.shape[0]
    a, b = first, (first + count - 1) % n
    cx = scan[a] * cosines[a] - scan[b] * cosines[b]
    cy = scan[a] * sines[a] - scan[b] * sines[b]
    if count < 2 or cx * cx + cy * cy > LARGEST * LARGEST:
        return
    left, right = scan[(b + 1) % n], scan[(a - 1) % n]  # NaN: nobody looked, so not free
    left_free, right_free = left > scan[b] + JUMP, right > scan[a] + JUMP
    whole = left_free and right_free
    arc = not whole and fit_arc(scan, first, count, cosines, sines, disc)
    if not arc and not disc_behind(scan, first, count, left_free, right_free, -1.0, disc):
        return
    c, s = math.cos(pose[2]), math.sin(pose[2])
    bx, by = disc[1] * math.cos(disc[0]), disc[1] * math.sin(disc[0])
    x, y = pose[0] + c * bx - s * by, pose[1] + s * bx + c * by
    k = _matching(tracks, taken, x, y)
    if k >= 0 and not whole and not arc and tracks[k, LOOKS] > 0:
        disc_behind(scan, first, count, left_free, right_free, tracks[k, RADIUS], disc)
        bx, by = disc[1] * math.cos(disc[0]), disc[1] * math.sin(disc[0])
        x, y = pose[0] + c * bx - s * by, pose[1] + s * bx + c * by
    new = 0.0
    for i in range(count):
        new += signs[(first + i) % n] / count
    noise = NOISE + NOISE_PER_RANGE * disc[1]
    if not whole:
        noise *= ARC_NOISE if arc else HIDDEN_NOISE
    if k >= 0:
        taken[k] = True
        _update(tracks[k], x, y, noise, disc[2], whole or arc, new, now)
    elif new > 0.0:
        slot = -1
        for j in range(tracks.shape[0]):
            if tracks[j, ALIVE] == 0.0:
                slot = j
                break
        if slot >= 0:
            t = tracks[slot]
            t[:] = 0.0
            t[ALIVE], t[X], t[Y], t[RADIUS], t[SEEN] = 1.0, x, y, disc[2], now
            t[PP], t[VV] = noise * noise, START_SPEED * START_SPEED
            t[LOOKS], t[EVIDENCE] = 1.0, new
            taken[slot] = True


@kernel
def track_one(scan, time, pose, cosines, sines, network, tracks, ways, scans, poses, times,
              rows, seen):
    """Enter one scan and write what moves into rows (MOVERS, MOVER_FIELDS), nearest first.

    scans (KEPT, n) m, poses (KEPT, 3) and times (KEPT,) s, newest first, and ways (TRACKS, KEPT,
    4), x y vx vy of every track at these times, are the past and are moved on. A time that does
    not rise forgets everything. seen (MOVERS, FEATURES): what the network saw of each row.
    """
    rows[:] = 0.0
    if times[0] >= time:
        tracks[:] = 0.0
        times[:] = -np.inf
    signs = np.zeros(scan.shape[0], np.bool_)
    for p in range(len(PAST_AGES)):
        compared, off = -1, PAST_AGES[p]  # nearer than this to the wanted age, or there is none
        for k in range(KEPT):
            if abs(time - times[k] - PAST_AGES[p]) < off:
                compared, off = k, abs(time - times[k] - PAST_AGES[p])
        if compared >= 0:
            mark_motion(scan, cosines, sines, pose, scans[compared], poses[compared], signs)
    if times[0] > -np.inf:
        _predict(tracks, time, time - times[0])
        n = scan.shape[0]
        taken = np.zeros(TRACKS, np.bool_)
        disc = np.zeros(3)
        step = 2.0 * math.pi / n
        start = -1  # a beam with which a segment begins
        for i in range(n):
            if parted(scan[i - 1], scan[i], step):
                start = i
                break
        k = 0
        while start >= 0 and k < n:
            first = (start + k) % n
            count = 1
            while k + count < n and not parted(scan[(first + count - 1) % n],
                                                scan[(first + count) % n], step):
                count += 1
            if scan[first] > 0.0 and scan[first] < np.inf:
                _segment(scan, first, count, cosines, sines, pose, signs, time, tracks, taken,
                         disc)
            k += count
    for k in range(KEPT - 1, 0, -1):
        scans[k] = scans[k - 1]
        poses[k] = poses[k - 1]
        times[k] = times[k - 1]
    scans[0], poses[0], times[0] = scan, pose, time
    for k in range(TRACKS):
        for i in range(KEPT - 1, 0, -1):
            ways[k, i] = ways[k, i - 1]
        if tracks[k, ALIVE] == 0.0 or tracks[k, LOOKS] <= 1.0:
            ways[k] = np.nan  # of another thing
        if tracks[k, ALIVE] > 0.0:
            ways[k, 0] = tracks[k, X:VY + 1]
    _tell(network, tracks, ways, times, pose, rows, seen)


@kernel
def _tell(network, tracks, ways, times, pose, rows, seen):
    """Write the moving tracks into rows, the nearest first, and how each goes on."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    told = np.zeros(TRACKS, np.bool_)
    for row in range(MOVERS):
        best, least = -1, np.inf
        for k in range(TRACKS):
            off = (tracks[k, X] - pose[0]) ** 2 + (tracks[k, Y] - pose[1]) ** 2
            if tracks[k, ALIVE] > 0.0 and tracks[k, MOVES] > 0.0 and not told[k] and off < least:
                best, least = k, off
        if best < 0:
            break
        told[best] = True
        t, out = tracks[best], rows[row]
        dx, dy = t[X] - pose[0], t[Y] - pose[1]
        out[0], out[1] = c * dx + s * dy, c * dy - s * dx
        out[2], out[3] = c * t[VX] + s * t[VY], c * t[VY] - s * t[VX]
        out[4] = t[RADIUS]
        out[5] = max(0.5, 1.0 - math.sqrt(t[VV]))
        describe(ways[best], times, times[0], t[RADIUS], t[LOOKS], math.sqrt(t[VV]), seen[row])
        out[TURN_RATE], out[SPREAD], out[GAIN] = forecast(network, seen[row])


@kernel
def _track_single(scan, time, pose, cosines, sines, network, tracks, ways, scans, poses, times,
                  rows, seen):
    track_one(scan[0], time[0], pose[0], cosines, sines, network, tracks[0], ways[0], scans[0],
              poses[0], times[0], rows[0], seen[0])


@kernel(parallel=True)
def _track_batch(scan, time, pose, cosines, sines, network, tracks, ways, scans, poses, times,
                 rows, seen):
    for b in prange(scan.shape[0]):
        track_one(scan[b], time[b], pose[b], cosines, sines, network, tracks[b], ways[b],
                  scans[b], poses[b], times[b], rows[b], seen[b])


class Tracker:
    """Follows what moves around `batch` robots.

    seen: (B, MOVERS, FEATURES), what the network saw of each row, see perception.motion.
    """

    def __init__(self, batch: int = 1, network: Network | None = None) -> None:
        """network: how things go on; None: straight."""
        if batch < 1:
            raise ValueError(f'batch is {batch}; it takes at least 1')
        self.batch = batch
        self._network = network or no_network()
        bearings = scan_bearings().astype(np.float64)
        self._cosines, self._sines = np.cos(bearings), np.sin(bearings)
        self._tracks = np.zeros((batch, TRACKS, COLUMNS))
        self._scans = np.full((batch, KEPT, SCAN_BEAMS), np.nan, np.float32)
        self._poses = np.zeros((batch, KEPT, 3))
        self._times = np.full((batch, KEPT), -np.inf)
        self._ways = np.full((batch, TRACKS, KEPT, 4), np.nan)
        self._rows = np.zeros((batch, MOVERS, MOVER_FIELDS))
        self.seen = np.zeros((batch, MOVERS, FEATURES), np.float32)

    def reset(self, index: ArrayLike | None = None) -> None:
        """Forget everything, of all robots or of those in `index` (indices or a mask)."""
        which = slice(None) if index is None else np.asarray(index)
        self._tracks[which] = 0.0
        self._times[which] = -np.inf

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What later answers depend on, by name: views, to be copied or written to."""
        return {'tracks': self._tracks, 'ways': self._ways, 'scans': self._scans,
                'poses': self._poses, 'times': self._times}

    def warm_up(self) -> None:
        """Compile the kernels, or load them from the cache; then forget."""
        self.step(np.full((self.batch, SCAN_BEAMS), np.nan), np.zeros(self.batch),
                  np.zeros((self.batch, 3)))
        self.reset()

    def step(self, scan: ArrayLike, time: ArrayLike, pose: ArrayLike) -> NDArray[np.float64]:
        """Enter a scan of every robot and say what moves.

        Args:
            scan: (B, SCAN_BEAMS) m in the observation layout; NaN where nobody looked.
            time: (B,) s, rising; one that does not rise forgets what was before.
            pose: (B, 3) x y yaw in odom, m and rad. ValueError where it is not finite.

        Returns (B, MOVERS, MOVER_FIELDS): x y (m, base), vx vy (m/s over ground, base), radius
        (m), confidence (0: no more rows), turn rate (rad/s), spread (m/s), gain (m/s^2), nearest
        first. The next call writes to the same array.

        """
        scan = np.ascontiguousarray(scan, np.float32)
        time = np.ascontiguousarray(time, np.float64)
        pose = np.ascontiguousarray(pose, np.float64)
        if (scan.shape, time.shape, pose.shape) != ((self.batch, SCAN_BEAMS), (self.batch,),
                                                    (self.batch, 3)):
            raise ValueError(f'scan, time and pose have shapes {scan.shape}, {time.shape} and '
                             f'{pose.shape}; they take {(self.batch, SCAN_BEAMS)}, '
                             f'{(self.batch,)} and {(self.batch, 3)}')
        if not (np.isfinite(pose).all() and np.isfinite(time).all()):
            raise ValueError('pose or time is not finite')
        track = _track_batch if self.batch > 1 else _track_single
        track(scan, time, pose, self._cosines, self._sines, self._network, self._tracks,
              self._ways, self._scans, self._poses, self._times, self._rows, self.seen)
        return self._rows

"""Segments of a lidar scan: where they part, what disc is behind one, and what has moved."""

from __future__ import annotations

import math

import numpy as np

from karpathy_control.mapping.jit import kernel

JUMP = 0.12  # m between neighbours that parts two segments; grows with the range
JUMP_PER_BEAM = 3.0  # and by this many beam spacings
NEW = 0.1  # m in front of what was seen there: free space then
LEFT = 1.5  # m behind the place that is free now, at most, where what was there may be
BEAMS_OFF = 2  # bearings that a pose may be off between two scans
LARGEST_RADIUS, SMALLEST_RADIUS = 0.8, 0.05  # m
ARC_POINTS = 6  # of a segment, at least, that a circle is fitted to
ARC_BULGE, ARC_OFF = 0.03, 0.03  # m: a flatter one may be a wall; root mean square off the circle
USUAL_RADIUS = 0.25  # m, where no side of a thing says how large it is


@kernel
def parted(a, b, step):
    """Whether two neighbouring ranges belong to different segments."""
    if not (a > 0.0 and b > 0.0 and a < np.inf and b < np.inf):
        return True
    return abs(a - b) > JUMP + JUMP_PER_BEAM * step * min(a, b)


@kernel
def fit_arc(scan, first, count, cosines, sines, out):
    """Bearing, distance and radius (3,) of the circle that fits a segment; whether there is one.

    Least squares of the squared radius (Kasa, A circle fitting procedure and its error analysis,
    1976). What bulges towards the robot by less than ARC_BULGE might be flat, and says nothing.
    """
    n = scan.shape[0]
    if count < ARC_POINTS:
        return False
    mx, my = 0.0, 0.0
    for k in range(count):
        i = (first + k) % n
        mx += scan[i] * cosines[i] / count
        my += scan[i] * sines[i] / count
    xx, xy, yy, xz, yz, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(count):
        i = (first + k) % n
        x, y = scan[i] * cosines[i] - mx, scan[i] * sines[i] - my
        z = x * x + y * y
        xx += x * x
        xy += x * y
        yy += y * y
        xz += x * z
        yz += y * z
        zz += z
    det = xx * yy - xy * xy
    if det < 1e-9:
        return False
    a, b = 0.5 * (xz * yy - yz * xy) / det, 0.5 * (yz * xx - xz * xy) / det
    radius = math.sqrt(a * a + b * b + zz / count)
    if not SMALLEST_RADIUS <= radius <= LARGEST_RADIUS:
        return False
    off = 0.0
    for k in range(count):
        i = (first + k) % n
        x, y = scan[i] * cosines[i] - mx - a, scan[i] * sines[i] - my - b
        off += (math.sqrt(x * x + y * y) - radius) ** 2 / count
    x, y = mx + a, my + b
    distance = math.sqrt(x * x + y * y)
    i, j = first, (first + count - 1) % n
    chord = math.hypot(scan[i] * cosines[i] - scan[j] * cosines[j],
                       scan[i] * sines[i] - scan[j] * sines[j])
    if (math.sqrt(off) > ARC_OFF or chord * chord / (8.0 * radius) < ARC_BULGE
            or distance < math.sqrt(mx * mx + my * my)):
        return False
    out[0], out[1], out[2] = math.atan2(y, x), distance, radius
    return True


@kernel
def disc_behind(scan, first, count, left_free, right_free, known, out):
    """Centre bearing, distance and radius (3,) of the disc behind a segment; whether there is one.

    first, count: beams of the segment. A side is free where what lies beside it is farther. With
    both free, half the angle that the disc fills and its nearest range give its radius:
    sin(half) = R / (r + R). With one hidden, `known` is the radius (m, < 0: not known).
    """
    n = scan.shape[0]
    step = 2.0 * math.pi / n
    nearest, weight = 0.0, 0
    middle = first + 0.5 * (count - 1)
    least = np.inf
    for k in range(count):
        r = scan[(first + k) % n]
        least = min(least, r)
        if abs(first + k - middle) <= max(0.5, count / 6.0):
            nearest += r
            weight += 1
    # the middle third averages noise out; a side-on box is nearest elsewhere
    nearest = min(nearest / weight, least + 0.05)
    half = 0.5 * count * step
    bearing = -math.pi + (middle + 0.5) * step
    if left_free and right_free:
        sine = min(math.sin(min(half, 1.4)), 0.95)
        radius = min(max(nearest * sine / (1.0 - sine), SMALLEST_RADIUS), LARGEST_RADIUS)
    elif left_free or right_free:
        radius = known if known > 0.0 else USUAL_RADIUS
        distance = least + radius
        width = math.asin(min(radius / distance, 0.99))
        if left_free:  # the side with the larger bearing
            bearing = -math.pi + (first + count) * step - width
        else:
            bearing = -math.pi + first * step + width
        nearest = least
    else:
        return False
    out[0], out[1], out[2] = bearing, nearest + radius, radius
    return True


@kernel
def mark_motion(scan, cosines, sines, pose, past, past_pose, signs):
    """Mark the beams of a scan that say that something moved since a past one, in signs (n,).

    A hit that lies in what the past one saw free came there; and where a past hit is now seen
    through, what was there may be the thing behind, a little farther away.
    """
    n = scan.shape[0]
    step = 2.0 * math.pi / n
    c, s = math.cos(pose[2]), math.sin(pose[2])
    pc, ps = math.cos(past_pose[2]), math.sin(past_pose[2])
    for i in range(n):
        if scan[i] > 0.0 and scan[i] < np.inf:
            x, y = scan[i] * cosines[i], scan[i] * sines[i]
            dx = pose[0] + c * x - s * y - past_pose[0]
            dy = pose[1] + s * x + c * y - past_pose[1]
            x, y = pc * dx + ps * dy, pc * dy - ps * dx
            if seen_through(past, x, y, step):
                signs[i] = True
        if past[i] > 0.0 and past[i] < np.inf:
            x, y = past[i] * cosines[i], past[i] * sines[i]
            dx = past_pose[0] + pc * x - ps * y - pose[0]
            dy = past_pose[1] + ps * x + pc * y - pose[1]
            x, y = c * dx + s * dy, c * dy - s * dx
            k = int((math.atan2(y, x) + math.pi) / step) % n
            if seen_through(scan, x, y, step) and scan[k] < math.sqrt(x * x + y * y) + LEFT:
                signs[k] = True


@kernel
def seen_through(scan, x, y, step):
    """Whether every beam about the bearing of a point in the scan's base goes well past it."""
    distance = math.sqrt(x * x + y * y)
    k = int((math.atan2(y, x) + math.pi) / step)
    for o in range(-BEAMS_OFF, BEAMS_OFF + 1):
        if not scan[(k + o) % scan.shape[0]] > distance + NEW:  # nearer, or nobody looked
            return False
    return True

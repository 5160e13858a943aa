"""How people walk: a social force, the same for every simulator.

The model of Helbing and Molnar (Social force model for pedestrian dynamics, Phys. Rev. E 51, 4282,
1995) with its constants: a drive towards the next waypoint and a repulsion from others that is
elliptical, since it looks a stride of the other ahead. Distances count from surface to surface,
as in Helbing, Farkas and Vicsek (Simulating dynamical features of escape panic, Nature 407, 487,
2000), whose repulsion from walls this is, too. The fluctuations of 1995, without which two who
meet head-on stand before each other, are left out for a repulsion that is turned by ASIDE: people
give way to their right, and nothing is left to chance.

People decide every STEP and walk straight on in between, so simulators of any step agree.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.types import State
from karpathy_control.contracts.world import World
from karpathy_control.mapping.jit import kernel
from karpathy_control.worlds.bank import ATTENTIVE, HURRY, RADIUS, TOP, WALKING, pack
from karpathy_control.worlds.contact import point_to_polygon

STEP = 0.05  # s between two decisions
RELAXATION = 0.5  # s, tau of 1995
OTHERS, OTHERS_REACH = 2.1, 0.3  # m^2/s^2 and m, V0 and sigma of 1995
STRIDE = 2.0  # s, delta t of 1995: so far ahead others are looked at
SIGHT = math.cos(math.radians(100.0))  # half of the field of view, phi of 1995
UNSEEN = 0.5  # c of 1995: weight of who is out of sight
ASIDE = 0.2  # rad: straight before something that stands, a fifth of the speed goes sideways
WALLS, WALLS_REACH = 25.0, 0.08  # m/s^2 and m of 2000: A = 2000 N by a mass of 80 kg, and B
WALLS_END = 10.0 * WALLS_REACH  # m: from here on the force is below a thousandth of m/s^2
ARRIVED = 0.3  # m from a waypoint, on to the next
KEEP = 0.01  # m that nobody gives up between himself and what stands
NEAREST = 0.02  # m: nearer, surfaces that touch or overlap count as so far apart
WALK_COLUMNS = 3  # vx vy (m/s, world) and number of the next waypoint


@kernel
def start_people(movers, keyframes, mover_count, xy, walk):
    """Put everyone at the first waypoint, walking to the second at the speed that they like.

    Of one world of a bank: movers (M, MOVER_COLUMNS), keyframes (M, P, 3). Writes the rows of
    people in xy (M, 2) m and walk (M, WALK_COLUMNS), and zeros into the others of walk.
    """
    for j in range(mover_count):
        walk[j] = 0.0
        if movers[j, WALKING] <= 0.0:
            continue
        xy[j, 0], xy[j, 1] = keyframes[j, 0, 1], keyframes[j, 0, 2]
        dx, dy = keyframes[j, 1, 1] - xy[j, 0], keyframes[j, 1, 2] - xy[j, 1]
        far = math.hypot(dx, dy)
        if far > 0.0:
            walk[j, 0] = movers[j, WALKING] * dx / far
            walk[j, 1] = movers[j, WALKING] * dy / far
        walk[j, 2] = 1.0


@kernel
def repulsion(dx, dy, radii, vx, vy, ex, ey):
    """Acceleration of someone away from another, m/s^2.

    (dx, dy) from the other to the one, m between centres; radii: of both, summed, m; (vx, vy) m/s
    of the other; (ex, ey) the direction that the one wants. Minus the gradient of OTHERS exp(-b /
    OTHERS_REACH), where 2 b = sqrt((r + q)^2 - s^2) is the minor axis of the ellipse with the
    other now and a stride s later as its foci, r and q the one's distances from these. The
    gradient of b is (r + q) / (2 sqrt(r q)) long along the bisector of the ways from both. Of
    someone in sight the force is turned by ASIDE, of others it is halved.
    """
    far = math.hypot(dx, dy)
    ux, uy = (dx / far, dy / far) if far > 1e-9 else (-ex, -ey)
    r = max(far - radii, NEAREST)
    sx, sy = STRIDE * vx, STRIDE * vy
    qx, qy = r * ux - sx, r * uy - sy
    q = max(math.hypot(qx, qy), NEAREST)
    gx, gy = ux + qx / q, uy + qy / q
    size = math.hypot(gx, gy)
    if size > 1e-6:
        gx, gy = gx / size, gy / size
    else:  # on the very way of the other: aside
        gx, gy = ey, -ex
    b = 0.5 * math.sqrt(max(0.0, (r + q) ** 2 - sx * sx - sy * sy))
    force = OTHERS / OTHERS_REACH * math.exp(-b / OTHERS_REACH) * (r + q) / (
        2.0 * math.sqrt(r * q))
    if -(ex * gx + ey * gy) < SIGHT:
        return UNSEEN * force * gx, UNSEEN * force * gy
    c, s = math.cos(ASIDE), math.sin(ASIDE)
    return force * (c * gx - s * gy), force * (s * gx + c * gy)


@kernel
def _from_circle(x, y, circle):
    """Distance from a point to a circle's surface, m, < 0 inside, and the way out of it."""
    dx, dy = x - circle[0], y - circle[1]
    far = math.hypot(dx, dy)
    if far < 1e-9:
        return -circle[2], 1.0, 0.0
    return far - circle[2], dx / far, dy / far


@kernel
def _from_box(x, y, box):
    """Distance from a point to a turned box, m, 0 inside, and the way from its nearest point."""
    dx, dy = x - box[0], y - box[1]
    u, v = box[4] * dx + box[5] * dy, box[4] * dy - box[5] * dx
    u -= min(max(u, -box[2]), box[2])
    v -= min(max(v, -box[3]), box[3])
    far = math.hypot(u, v)
    if far < 1e-9:
        return 0.0, 0.0, 0.0
    return far, (box[4] * u - box[5] * v) / far, (box[5] * u + box[4] * v) / far


@kernel
def _standing(x, y, radius, top, circles, circle_count, boxes, box_count):
    """Force from what stands, m/s^2, and the nearest of it: gap in m and the way from it."""
    fx = fy = nx = ny = 0.0
    nearest = np.inf
    for k in range(circle_count + box_count):
        if k < circle_count:
            if circles[k, 3] >= top:
                continue
            far, ux, uy = _from_circle(x, y, circles[k])
        else:
            if boxes[k - circle_count, 6] >= top:
                continue
            far, ux, uy = _from_box(x, y, boxes[k - circle_count])
        gap = far - radius
        if gap < nearest:
            nearest, nx, ny = gap, ux, uy
        if gap < WALLS_END:
            force = WALLS * math.exp(-max(gap, 0.0) / WALLS_REACH)
            fx += force * ux
            fy += force * uy
    return fx, fy, nearest, nx, ny


@kernel
def decide(xy, walk, movers, keyframes, keyframe_count, mover_count, robot, reach, circles,
           circle_count, boxes, box_count):
    """Give everyone of one world the velocity of the next STEP, from where all are now.

    xy (M, 2) m; walk (M, WALK_COLUMNS), of which velocity and waypoint are written; the rest as
    packed by `worlds.bank`; robot (x, y, vx, vy) m and m/s, world; reach: m, of the disc that
    people take it for. Movers that go by keyframes are taken for standing. Nobody walks into what
    stands: what of a velocity would lead there is left out, or all of it.
    """
    fresh = np.empty((mover_count, 2))
    for j in range(mover_count):
        speed = movers[j, WALKING]
        if speed <= 0.0:
            continue
        x, y, radius, top = xy[j, 0], xy[j, 1], movers[j, RADIUS], movers[j, TOP]
        to = int(walk[j, 2])
        dx, dy = keyframes[j, to, 1] - x, keyframes[j, to, 2] - y
        if math.hypot(dx, dy) < ARRIVED:
            to = (to + 1) % keyframe_count[j]
            walk[j, 2] = to
            dx, dy = keyframes[j, to, 1] - x, keyframes[j, to, 2] - y
        far = max(math.hypot(dx, dy), 1e-9)
        ex, ey = dx / far, dy / far
        fx, fy, gap, _, _ = _standing(x, y, radius, top, circles, circle_count, boxes, box_count)
        fx += (speed * ex - walk[j, 0]) / RELAXATION
        fy += (speed * ey - walk[j, 1]) / RELAXATION
        if movers[j, ATTENTIVE] > 0.0:
            ox, oy = repulsion(x - robot[0], y - robot[1], reach + radius, robot[2], robot[3], ex,
                               ey)
            fx, fy = fx + ox, fy + oy
        for k in range(mover_count):
            if k != j:
                ox, oy = repulsion(x - xy[k, 0], y - xy[k, 1], movers[k, RADIUS] + radius,
                                   walk[k, 0], walk[k, 1], ex, ey)
                fx, fy = fx + ox, fy + oy
        vx, vy = walk[j, 0] + STEP * fx, walk[j, 1] + STEP * fy
        excess = math.hypot(vx, vy) / (HURRY * speed)
        if excess > 1.0:
            vx, vy = vx / excess, vy / excess
        for attempt in range(2):
            _, _, after, nx, ny = _standing(x + STEP * vx, y + STEP * vy, radius, top, circles,
                                            circle_count, boxes, box_count)
            if after >= KEEP or after >= gap:
                break
            into = min(0.0, vx * nx + vy * ny) if attempt == 0 else 0.0
            vx, vy = (vx - into * nx, vy - into * ny) if into < 0.0 else (0.0, 0.0)
        fresh[j, 0], fresh[j, 1] = vx, vy
    for j in range(mover_count):
        if movers[j, WALKING] > 0.0:
            walk[j, 0], walk[j, 1] = fresh[j, 0], fresh[j, 1]


@kernel
def distance_to_people(footprint, pose, movers, mover_xy, mover_count):
    """Distance from a footprint (n, 2) m at a pose (x, y, yaw) to the nearest person, m.

    Of one world: movers (M, MOVER_COLUMNS), mover_xy (M, 2) m; inf where there is nobody, 0 or
    less where someone is touched.
    """
    nearest = np.inf
    c, s = math.cos(pose[2]), math.sin(pose[2])
    for j in range(mover_count):
        if movers[j, WALKING] > 0.0:
            dx, dy = mover_xy[j, 0] - pose[0], mover_xy[j, 1] - pose[1]
            d = point_to_polygon(footprint, c * dx + s * dy, c * dy - s * dx)
            nearest = min(nearest, d - movers[j, RADIUS])
    return nearest


class Crowd:
    """The people of one world, for a simulator with steps of its own.

    ValueError for a world without a goal.
    """

    def __init__(self, world: World, reach: float) -> None:
        """reach: m, circumscribed radius of the robot."""
        self._bank, self._reach = pack([world]), reach
        self._first = len(world.movers)
        movers = self._bank.movers.shape[1]
        self._xy, self._walk = np.zeros((movers, 2)), np.zeros((movers, WALK_COLUMNS))
        self._world = world
        self.reset()

    def reset(self) -> None:
        """Everyone back to the start."""
        b = self._bank
        start_people(b.movers[0], b.keyframes[0], b.mover_count[0], self._xy, self._walk)
        self._undecided = STEP  # s since the last decision

    @property
    def places(self) -> NDArray[np.float64]:
        """Where everyone is. Shape: (n, 2) m, world; a view."""
        return self._xy[self._first:]

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Shape: (n, 2) m/s, world; a view."""
        return self._walk[self._first:, :2]

    def distance(self, footprint: NDArray[np.float64], robot: State) -> float:
        """Distance in m from a footprint (n, 2) m at the robot's pose to the nearest person."""
        b = self._bank
        return float(distance_to_people(footprint, (robot.x, robot.y, robot.yaw), b.movers[0],
                                        self._xy, b.mover_count[0]))

    def step(self, time: float, robot: State, dt: float) -> None:
        """Walk for dt s from `time` on; robot: its true state at `time`, world frame."""
        b = self._bank
        if self._undecided >= STEP - 1e-9:
            for j, mover in enumerate(self._world.movers):
                self._xy[j] = mover.position(time)
            decide(self._xy, self._walk, b.movers[0], b.keyframes[0], b.keyframe_count[0],
                   b.mover_count[0],
                   (robot.x, robot.y, robot.v * math.cos(robot.yaw),
                    robot.v * math.sin(robot.yaw)),
                   self._reach, b.circles[0], b.circle_count[0], b.boxes[0], b.box_count[0])
            self._undecided = 0.0
        self.places[:] += dt * self.velocities
        self._undecided += dt

"""What moves in the families `swarm` and `people`: fast things on closed ways, and people."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from karpathy_control.contracts.world import Mover, Person
from karpathy_control.worlds.free_space import FreeSpace, Roadmap

Point = tuple[float, float]

# as many and as fast as the things of DynaBARN's easy, medium and hard worlds, whose radius is
# 0.5 m (doc/log.md has both beside each other)
TIERS = ((5, 14, 0.5, 0.9), (15, 19, 1.0, 1.4), (20, 24, 1.5, 1.9))  # from, to; from, to in m/s
SWARM_RADIUS = 0.4, 0.6  # m, range
SWARM_HALF = 9.0, 9.3  # m, |x| and |y| of the middle of anything on its way
CORNERS = 4, 8  # points of a way, range without its end
BETWEEN_CORNERS = 0, 3  # points more on a side, range without its end
SAMPLE = 0.2  # s between two keyframes: 1.9 m/s, 4 mm off a circle of 5 m
SHARPEST = 4.0  # rad/s that a way turns, at most
ROUND = math.radians(130.0)  # turn at a corner, at most: what is sharper is hardly ever smooth
SWARM_APART = 2.0  # m from the surface of anything to where a robot may start, at the start

PEOPLE = 3, 10  # range
PERSON_RADIUS = 0.2, 0.3  # m, range
PERSON_TOP = 1.5, 1.9  # m, range
WALK = 0.8, 1.5  # m/s, range
INATTENTIVE = 0.0, 0.5  # share of people who do not mind the robot, range over worlds
LANE = 0.5  # m that the lines between waypoints keep from what stands
PEOPLE_APART = 2.0  # m from a person's middle to where a robot may start, at the start
BETWEEN = 1.0  # m between two people, at the start
WAY = 3.0, 12.0  # m, range of the length of a way


def hermite_way(txy: NDArray[np.float64], tangents: NDArray[np.float64]
                ) -> tuple[tuple[float, float, float], ...]:
    """Keyframes every SAMPLE s or a little less on the spline through rows t, x, y (n, 3).

    tangents: (n, 2) m a segment. As gazebo's PoseAnimation: the parameter of a segment is the
    share of its time that has gone by, so a thing is now faster and now slower.
    """
    points = txy[:, 1:]
    keyframes = []
    for i, (start, end) in enumerate(zip(txy[:-1], txy[1:], strict=True)):
        count = max(1, math.ceil((end[0] - start[0]) / SAMPLE))
        u = np.arange(count)[:, None] / count
        xy = ((2 * u**3 - 3 * u**2 + 1) * points[i] + (u**3 - 2 * u**2 + u) * tangents[i]
              + (3 * u**2 - 2 * u**3) * points[i + 1] + (u**3 - u**2) * tangents[i + 1])
        t = start[0] + u[:, 0] * (end[0] - start[0])
        keyframes += [tuple(row) for row in np.column_stack((t, xy)).tolist()]
    keyframes.append((float(txy[-1, 0]), float(points[-1, 0]), float(points[-1, 1])))
    return tuple(keyframes)


def closed_way(points: NDArray[np.float64], speed: float
               ) -> tuple[tuple[float, float, float], ...]:
    """Keyframes round a closed Catmull-Rom spline, as fast as `speed` from point to point.

    points: (n, 2) m, at least three. The last keyframe is where the first is.
    """
    around = np.concatenate((points, points[:1]))
    legs = np.linalg.norm(np.diff(around, axis=0), axis=1)
    times = np.concatenate(([0.0], np.cumsum(legs) / speed))
    tangents = 0.5 * (np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0))
    return hermite_way(np.column_stack((times, around)),
                       np.concatenate((tangents, tangents[:1])))


def swarm(rng: Generator, starts: tuple[Point, ...]) -> tuple[Mover, ...]:
    """Movers of one of TIERS, each on a way of its own, none near a start when time begins."""
    low, high, slow, fast = TIERS[int(rng.integers(len(TIERS)))]
    wanted = int(rng.integers(low, high + 1))
    movers: list[Mover] = []
    while len(movers) < wanted:
        corners = rng.uniform(-1.0, 1.0, (int(rng.integers(*CORNERS)), 2)) * np.array(SWARM_HALF)
        if _turning(np.concatenate((corners, corners[:1]))) > ROUND:
            continue
        keyframes = closed_way(_with_points(corners, rng), float(rng.uniform(slow, fast)))
        xy = np.array(keyframes)[:, 1:]
        if (np.abs(xy) > SWARM_HALF).any() or _turning(xy) > SHARPEST * SAMPLE:
            continue
        mover = Mover(keyframes, float(rng.uniform(*SWARM_RADIUS)),
                      float(rng.uniform(0.0, keyframes[-1][0])), float(rng.uniform(0.8, 1.2)))
        x, y = mover.position(0.0)
        if all(math.hypot(x - a, y - b) >= SWARM_APART + mover.radius for a, b in starts):
            movers.append(mover)
    return tuple(movers)


def _with_points(corners: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """Some points more on the sides of a polygon (n, 2) m, anywhere: they make speed uneven."""
    found = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        shares = np.sort(rng.uniform(0.0, 1.0, int(rng.integers(*BETWEEN_CORNERS))))
        found += [a, *(a + share * (b - a) for share in shares)]
    return np.array(found)


def _turning(xy: NDArray[np.float64]) -> float:
    """The sharpest turn between two pieces of a closed polyline, rad."""
    pieces = np.diff(xy, axis=0)
    heading = np.arctan2(pieces[:, 1], pieces[:, 0])
    turn = np.diff(heading, append=heading[0])
    return float(np.abs((turn + math.pi) % (2.0 * math.pi) - math.pi).max())


def people(rng: Generator, space: FreeSpace, starts: tuple[Point, ...]
           ) -> tuple[Person, ...] | None:
    """PEOPLE who walk to and fro on ways of their own, none near a start when time begins.

    None where fewer than the least found room.
    """
    wanted = int(rng.integers(PEOPLE[0], PEOPLE[1] + 1))
    inattentive = float(rng.uniform(*INATTENTIVE))
    region = space.reachable(LANE)
    roadmap = space.roadmap(region)
    grid_x, grid_y = np.meshgrid(space.x, space.y)
    begin = region.copy()
    for x, y in starts:
        begin &= np.hypot(grid_x - x, grid_y - y) >= PEOPLE_APART
    found: list[Person] = []
    while len(found) < wanted and begin.any():
        row, column = _pick(rng, begin)
        x, y = float(space.x[column]), float(space.y[row])
        lengths = roadmap.lengths(x, y, WAY[1])
        goals = (lengths >= WAY[0]) & np.isfinite(lengths)
        begin &= np.hypot(grid_x - x, grid_y - y) >= BETWEEN
        if not goals.any():
            continue
        way = walk_between(roadmap, lengths, _pick(rng, goals))
        found.append(Person((*way, *way[-2:0:-1]), float(rng.uniform(*WALK)),
                            float(rng.uniform(*PERSON_RADIUS)), float(rng.uniform(*PERSON_TOP)),
                            bool(rng.random() >= inattentive)))
    return tuple(found) if len(found) >= PEOPLE[0] else None


def _pick(rng: Generator, allowed: NDArray[np.bool_]) -> tuple[int, int]:
    """Row and column of a cell that is allowed."""
    cells = np.argwhere(allowed)
    row, column = cells[rng.integers(len(cells))]
    return int(row), int(column)


def walk_between(roadmap: Roadmap, lengths: NDArray[np.float64], goal: tuple[int, int]
                 ) -> tuple[Point, ...]:
    """A short way to the cell `goal` from where `lengths` are 0, in straight lines, m.

    Down the lengths of a roadmap, then without the points that can be seen past: what lies on the
    lines is in the region.
    """
    space, region = roadmap.space, roadmap.region
    row, column = goal
    cells = [goal]
    while lengths[row, column] > 0.0:
        beside = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)
                  if 0 <= row + i < len(space.y) and 0 <= column + j < len(space.x)]
        row, column = min(beside, key=lambda cell: lengths[cell])
        cells.append((row, column))
    points = np.array([(space.x[c], space.y[r]) for r, c in reversed(cells)])
    way, at = [points[0]], 0
    while at < len(points) - 1:
        ahead = at + 1
        while ahead + 1 < len(points) and _clear(space, region, points[at], points[ahead + 1]):
            ahead += 1
        way.append(points[ahead])
        at = ahead
    return tuple((float(x), float(y)) for x, y in way)


def _clear(space: FreeSpace, region: NDArray[np.bool_], a: NDArray[np.float64],
           b: NDArray[np.float64]) -> bool:
    """Whether the cells on the line from a to b are all in a region."""
    line = np.linspace(a, b, 2 + math.ceil(2.0 * float(np.linalg.norm(b - a)) / space.cell))
    rows = np.rint((line[:, 1] - space.y[0]) / space.cell).astype(int)
    columns = np.rint((line[:, 0] - space.x[0]) / space.cell).astype(int)
    return bool(region[rows, columns].all())

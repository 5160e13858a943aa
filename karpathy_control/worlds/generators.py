"""Worlds by family and seed: the same pair always gives the same world.

Every world is a closed arena of about 12 x 12 m with a free start and five goals, each 3 to 8 m
from the one before and reachable from it by a disc of 0.40 m radius; a layout without that is
thrown away and drawn anew from the same random stream. A `field` is 10 x 4 m, its goals lie at
one end and the other in turn, and a disc of 0.34 m gets from one to the next. A `swarm` is 22 x
20 m, with its goals likewise, 19 m and more apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, Person, World
from karpathy_control.worlds import crowds, field
from karpathy_control.worlds.free_space import FreeSpace, clearance_at

GOALS = 5
GOAL_NEAR, GOAL_FAR = 3.0, 8.0  # m, straight line from one goal to the next
PATH_MAX = 14.0  # m, shortest way from one goal to the next
GOAL_APART = 1.5  # m between any two goals
GOAL_CLEARANCE = 0.6  # m
START_CLEARANCE = 0.7  # m
DISC = 0.40  # m, the disc that must get everywhere
WALL = 0.1  # m, half the thickness of an outer wall
WALL_TOP = 1.0  # m
MOVER_RADIUS = 0.15, 0.3  # m, range
MOVER_PASSAGE = 0.8  # m left between a mover's lane and what stands still
ATTEMPTS = 400
FIELD_HALF = 5.0, 0.5 * field.LENGTH - field.RADIUS  # m, half of the arena of a field
FIELD_GRID = 0.05  # m
FIELD_ATTEMPTS = 4000
SWARM_HALF = 11.0, 10.0  # m, half of the arena of a swarm
SWARM_STOPS = (9.7, 10.2), (-4.0, 4.0)  # m, |x| and y of start and goals, ranges


@dataclass
class _Draft:
    """A world while it is being drawn: an arena |x| <= half_x, |y| <= half_y."""

    rng: Generator
    half_x: float
    half_y: float
    cylinders: list[Cylinder] = dataclasses.field(default_factory=list)
    boxes: list[Box] = dataclasses.field(default_factory=list)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Of arena and walls: x_min, y_min, x_max, y_max, m."""
        x, y = self.half_x + 2 * WALL, self.half_y + 2 * WALL
        return -x, -y, x, y

    def world(self, family: str, seed: int, stops: tuple[tuple[float, float], ...],
              movers: tuple[Mover, ...] = (), people: tuple[Person, ...] = ()) -> World:
        """What was drawn, with a start and goals; the heading at the start is drawn here."""
        start = Pose2(*stops[0], self.uniform(-math.pi, math.pi))
        return World(family, seed, self.bounds, start, stops[1:], tuple(self.cylinders),
                     tuple(self.boxes), movers, people)

    def clear(self, x: float, y: float) -> float:
        """Distance from a point to the nearest obstacle so far, m."""
        return float(clearance_at(np.array(x), np.array(y), self.cylinders, self.boxes))

    def place(self, radius: float, gap: float) -> tuple[float, float] | None:
        """A random centre whose disc of `radius` stays `gap` clear of everything so far."""
        for _ in range(30):
            x = self.uniform(radius - self.half_x, self.half_x - radius)
            y = self.uniform(radius - self.half_y, self.half_y - radius)
            if self.clear(x, y) >= radius + gap:
                return x, y
        return None

    def add_walls(self) -> None:
        """The four outer walls, outside of the arena."""
        for side in (-1.0, 1.0):
            self.boxes.append(Box(side * (self.half_x + WALL), 0.0, WALL,
                                  self.half_y + 2 * WALL, top=WALL_TOP))
            self.boxes.append(Box(0.0, side * (self.half_y + WALL), self.half_x + 2 * WALL, WALL,
                                  top=WALL_TOP))

    def add_cylinders(self, count: int, gap: float, low: float = 0.08, high: float = 0.35) -> None:
        for _ in range(count):
            radius = self.uniform(low, high)
            spot = self.place(radius, gap)
            if spot:
                self.cylinders.append(Cylinder(*spot, radius, top=self.uniform(0.5, 1.2)))

    def add_blocks(self, count: int, gap: float, bottom: tuple[float, float] = (0.0, 0.0),
                   height: tuple[float, float] = (0.5, 1.2),
                   half: tuple[float, float] = (0.12, 0.45)) -> list[Box]:
        """Boxes of any heading; bottom and height are drawn from their ranges (m)."""
        added = []
        for _ in range(count):
            half_x, half_y = self.uniform(*half), self.uniform(*half)
            spot = self.place(math.hypot(half_x, half_y), gap)
            if spot:
                low = self.uniform(*bottom)
                added.append(Box(*spot, half_x, half_y, self.uniform(-math.pi, math.pi), low,
                                 low + self.uniform(*height)))
                self.boxes.append(added[-1])
        return added

    def add_low(self, count: int, gap: float) -> None:
        """Boxes that end below the plane of the lidar (0.305 m)."""
        self.add_blocks(count, gap, height=(0.10, 0.22), half=(0.10, 0.40))

    def add_overhangs(self, count: int, gap: float) -> None:
        """Table tops that begin above the plane of the lidar and below the robot's height.

        Every second one stands on legs, which the lidar sees; the others hang.
        """
        tops = self.add_blocks(count, gap, bottom=(0.33, 0.45), height=(0.05, 0.20),
                               half=(0.30, 0.55))
        for top in tops[::2]:
            cos, sin = math.cos(top.yaw), math.sin(top.yaw)
            for i, j in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                u, v = i * (top.half_x - 0.05), j * (top.half_y - 0.05)
                self.boxes.append(Box(top.x + cos * u - sin * v, top.y + sin * u + cos * v, 0.05,
                                      0.05, top.yaw, 0.0, top.bottom))

    def add_partitions(self, count: int, gap: float) -> None:
        """Free-standing walls of 1 to 2.6 m."""
        for _ in range(count):
            half = self.uniform(0.5, 1.3)
            yaw = float(self.rng.choice((0.0, 0.5 * math.pi)) + self.rng.normal(0.0, 0.2))
            spot = self.place(half, gap)
            if spot:
                self.boxes.append(Box(*spot, half, 0.05, yaw, top=WALL_TOP))


def _mixed(d: _Draft) -> None:
    d.add_partitions(3, 0.9)
    d.add_overhangs(int(d.rng.integers(2, 4)), 0.95)
    d.add_low(int(d.rng.integers(3, 6)), 0.95)
    d.add_cylinders(int(d.rng.integers(8, 15)), 0.9)


def _cylinders(d: _Draft) -> None:
    d.add_cylinders(int(d.rng.integers(20, 45)), float(d.rng.choice((0.6, 0.75, 0.9))))


def _corridor(d: _Draft) -> None:
    """Lanes side by side, joined at alternating ends; posts stand in the lanes."""
    lanes = int(d.rng.integers(4, 7))
    width = 2.0 * d.half_y / lanes
    side = float(d.rng.choice((-1.0, 1.0)))
    for i in range(1, lanes):
        opening = d.uniform(1.3, 2.2)
        d.boxes.append(Box(-side * 0.5 * opening, -d.half_y + i * width,
                           d.half_x - 0.5 * opening, 0.05, top=WALL_TOP))
        side = -side
    for _ in range(int(d.rng.integers(2, 2 * lanes))):
        lane = int(d.rng.integers(lanes))
        radius = d.uniform(0.08, 0.2)
        x = d.uniform(-d.half_x + 1.5, d.half_x - 1.5)
        wall = float(d.rng.choice((-1.0, 1.0)))  # beside a wall, so that a passage is left
        y = -d.half_y + (lane + 0.5) * width + wall * (0.5 * width - radius - d.uniform(0, 0.2))
        d.cylinders.append(Cylinder(x, y, radius, top=d.uniform(0.5, 1.2)))


def _rooms(d: _Draft) -> None:
    """Two to three by two rooms; every wall between two of them has a door."""
    edges_x = np.linspace(-d.half_x, d.half_x, int(d.rng.integers(3, 5)))
    edges_y = np.linspace(-d.half_y, d.half_y, 3)
    edges_x[1:-1] += d.rng.uniform(-0.6, 0.6, len(edges_x) - 2)
    edges_y[1] += d.uniform(-0.6, 0.6)

    def wall_with_door(a: float, b: float, at: float, upright: bool) -> None:
        door = d.uniform(1.0, 1.5)
        left = d.uniform(a + 0.6, b - 0.6 - door)
        for p, q in ((a, left), (left + door, b)):
            centre, half = 0.5 * (p + q), 0.5 * (q - p)
            d.boxes.append(Box(at, centre, 0.05, half, top=WALL_TOP) if upright else
                           Box(centre, at, half, 0.05, top=WALL_TOP))

    for x in edges_x[1:-1]:
        for a, b in zip(edges_y[:-1], edges_y[1:], strict=True):
            wall_with_door(float(a), float(b), float(x), True)
    for a, b in zip(edges_x[:-1], edges_x[1:], strict=True):
        wall_with_door(float(a), float(b), float(edges_y[1]), False)
    d.add_blocks(int(d.rng.integers(2, 6)), 0.9, half=(0.15, 0.35))
    d.add_cylinders(int(d.rng.integers(2, 6)), 0.9)


def _open(d: _Draft) -> None:
    d.add_cylinders(int(d.rng.integers(2, 6)), 1.2)
    d.add_blocks(int(d.rng.integers(0, 4)), 1.2)


def _low(d: _Draft) -> None:
    d.add_overhangs(int(d.rng.integers(2, 6)), 0.95)
    d.add_low(int(d.rng.integers(6, 12)), 0.95)
    d.add_cylinders(int(d.rng.integers(2, 6)), 0.9)


def _moving(d: _Draft) -> None:
    d.add_cylinders(int(d.rng.integers(3, 7)), 1.6)
    d.add_blocks(int(d.rng.integers(0, 3)), 1.6)


def _people(d: _Draft) -> None:
    (_corridor, _rooms, _open)[int(d.rng.integers(3))](d)


_LAYOUTS: dict[str, Callable[[_Draft], None]] = {
    'mixed': _mixed, 'cylinders': _cylinders, 'corridor': _corridor, 'rooms': _rooms,
    'open': _open, 'low': _low, 'moving': _moving, 'people': _people,
}


def generate(family: str, seed: int) -> World:
    """The world of a family and a seed.

    Raises ValueError for an unknown family (naming the known ones) or a negative seed.
    """
    if family not in FAMILIES:
        raise ValueError(f'unknown world family {family!r}; known: {", ".join(FAMILIES)}')
    if seed < 0:
        raise ValueError(f'world seed {seed}; it takes 0 or more')
    rng = np.random.default_rng([FAMILIES.index(family), seed])
    if family == 'field':
        return _field(seed, rng)
    if family == 'swarm':
        return _swarm(seed, rng)
    for _ in range(ATTEMPTS):
        world = _attempt(family, seed, rng)
        if world is not None:
            return world
    raise RuntimeError(f'no {family} world for seed {seed} in {ATTEMPTS} attempts')


def _attempt(family: str, seed: int, rng: Generator) -> World | None:
    draft = _Draft(rng, float(rng.uniform(5.6, 6.2)), float(rng.uniform(5.6, 6.2)))
    draft.add_walls()
    _LAYOUTS[family](draft)
    space = FreeSpace.of(draft.bounds, draft.cylinders, draft.boxes)
    # outside of the walls the grid ends, so only the arena itself can be a region
    region = space.reachable(DISC)
    stops = draw_stops(rng, space, region, (region,))
    if stops is None:
        return None
    movers = _movers(rng, space, region, stops) if family == 'moving' else ()
    people = crowds.people(rng, space, stops[:-1]) if family == 'people' else ()
    if movers is None or people is None:
        return None
    return draft.world(family, seed, stops, movers, people)


def _field(seed: int, rng: Generator) -> World:
    fill = float(rng.uniform(*field.FILL))  # once: dense ones are rarely passable
    for _ in range(FIELD_ATTEMPTS):
        posts = field.make_field(rng, fill)
        if not field.as_hard_as_barn(posts):
            continue
        draft = _Draft(rng, *FIELD_HALF)
        draft.add_walls()
        draft.cylinders = [Cylinder(float(x), float(y), field.RADIUS, top=WALL_TOP)
                           for x, y in field.positions(posts)]
        space = FreeSpace.of(draft.bounds, draft.cylinders, draft.boxes, FIELD_GRID)
        region = space.reachable(field.DISC - FIELD_GRID)
        beyond = 0.5 * field.LENGTH + field.RADIUS
        stops = draw_stops(rng, space, region,
                       (region & (space.x < -beyond), region & (space.x > beyond)))
        if stops is not None:
            return draft.world('field', seed, stops)
    raise RuntimeError(f'no field for seed {seed} in {FIELD_ATTEMPTS} attempts')


def _swarm(seed: int, rng: Generator) -> World:
    draft = _Draft(rng, *SWARM_HALF)
    draft.add_walls()
    side = float(rng.choice((-1.0, 1.0)))
    stops: list[tuple[float, float]] = []
    while len(stops) < 1 + GOALS:
        x, y = side * draft.uniform(*SWARM_STOPS[0]), draft.uniform(*SWARM_STOPS[1])
        if all(math.hypot(x - a, y - b) >= GOAL_APART for a, b in stops):
            stops.append((x, y))
            side = -side
    return draft.world('swarm', seed, tuple(stops), crowds.swarm(rng, tuple(stops[:-1])))


def _choose(rng: Generator, space: FreeSpace, allowed: np.ndarray
            ) -> tuple[float, float] | None:
    cells = np.argwhere(allowed)
    if len(cells) == 0:
        return None
    row, column = cells[rng.integers(len(cells))]
    return float(space.x[column]), float(space.y[row])


def draw_stops(rng: Generator, space: FreeSpace, region: np.ndarray,
               ends: tuple[np.ndarray, ...]
               ) -> tuple[tuple[float, float], ...] | None:
    """A start and goals one after another, or None where the layout has no such chain.

    They lie in the `ends` of the region in turn.
    """
    grid_x, grid_y = np.meshgrid(space.x, space.y)
    roadmap = space.roadmap(region)
    chain: list[tuple[float, float]] = []
    for k in range(1 + GOALS):
        allowed = ends[k % len(ends)] & (
            space.clearance >= (GOAL_CLEARANCE if chain else START_CLEARANCE))
        if chain:
            x, y = chain[-1]
            distance = np.hypot(grid_x - x, grid_y - y)
            allowed &= (distance >= GOAL_NEAR) & (distance <= GOAL_FAR)
            allowed &= np.isfinite(roadmap.lengths(x, y, PATH_MAX))
        for other_x, other_y in chain:
            allowed &= np.hypot(grid_x - other_x, grid_y - other_y) >= GOAL_APART
        stop = _choose(rng, space, allowed)
        if stop is None:
            return None
        chain.append(stop)
    return tuple(chain)


def _movers(rng: Generator, space: FreeSpace, region: np.ndarray,
            keep_clear: tuple[tuple[float, float], ...]) -> tuple[Mover, ...] | None:
    """Three to five movers whose lanes leave a way past and keep off start and goals.

    None where fewer than two found room.
    """
    wanted = int(rng.integers(3, 6))
    grid_x, grid_y = np.meshgrid(space.x, space.y)
    fits = region & (space.clearance >= MOVER_RADIUS[1] + MOVER_PASSAGE)
    for x, y in keep_clear:
        fits &= np.hypot(grid_x - x, grid_y - y) >= MOVER_RADIUS[1] + MOVER_PASSAGE
    cells = np.argwhere(fits)
    movers: list[Mover] = []
    lanes: list[np.ndarray] = []
    for _ in range(100 * wanted if len(cells) else 0):
        if len(movers) == wanted:
            break
        picked = cells[rng.integers(len(cells), size=int(rng.integers(2, 5)))]
        corners = [(float(space.x[column]), float(space.y[row])) for row, column in picked]
        lane = _sample(corners)
        rows = np.rint((lane[:, 1] - space.y[0]) / space.cell).astype(int)
        columns = np.rint((lane[:, 0] - space.x[0]) / space.cell).astype(int)
        if len(lane) < 30 or not fits[rows, columns].all() or any(
                np.hypot(*(lane[:, None] - other[None]).T).min() < 1.0 for other in lanes):
            continue
        lanes.append(lane)
        movers.append(Mover.patrol(
            corners, float(rng.uniform(0.2, 0.6)), float(rng.uniform(*MOVER_RADIUS)),
            float(rng.uniform(0.0, 0.1 * len(lane))), float(rng.uniform(0.6, 1.2))))
    return tuple(movers) if len(movers) >= 2 else None


def lane_clearance(movers: Iterable[Mover]) -> np.ndarray:
    """Points along the lanes of movers and the room that each takes there.

    Shape: (n, 3) m: x, y, distance from the lane to where something else may stand.
    """
    return np.array([(x, y, mover.radius + MOVER_PASSAGE) for mover in movers
                     for x, y in _sample([key[1:] for key in mover.keyframes])]).reshape(-1, 3)


def _sample(corners: Sequence[tuple[float, float]]) -> np.ndarray:
    """Points every 0.1 m along a closed polyline. Shape: (n, 2) m."""
    points = np.array([*corners, corners[0]])
    pieces = [np.linspace(a, b, max(2, math.ceil(float(np.linalg.norm(b - a)) / 0.1)))
              for a, b in zip(points[:-1], points[1:], strict=True)]
    return np.concatenate(pieces)

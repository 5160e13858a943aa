"""A world as data: what generators make, and what the simulators, writers and pictures read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from karpathy_control.contracts.types import Pose2


@dataclass(frozen=True)
class Cylinder:
    """An upright cylinder; `bottom` > 0 makes it an overhang, a small `top` a low obstacle."""

    x: float  # m, world
    y: float  # m, world
    radius: float  # m
    bottom: float = 0.0  # m above the floor
    top: float = 1.0  # m above the floor


@dataclass(frozen=True)
class Box:
    """A box that stands upright and is turned by `yaw`; walls are long thin boxes."""

    x: float  # m, world, centre
    y: float  # m, world, centre
    half_x: float  # m
    half_y: float  # m
    yaw: float = 0.0  # rad
    bottom: float = 0.0  # m above the floor
    top: float = 1.0  # m above the floor


@dataclass(frozen=True)
class Mover:
    """A cylinder that goes through its keyframes over and over, straight between two of them.

    After the last keyframe it is at the first: a patrol ends where it began, others jump.
    """

    keyframes: tuple[tuple[float, float, float], ...]  # t x y: s, m, m in world; t rises from 0
    radius: float  # m
    phase: float = 0.0  # s into the keyframes at the start
    top: float = 1.0  # m above the floor

    def __post_init__(self) -> None:
        times = [t for t, _, _ in self.keyframes]
        if not times or times[0] != 0.0 or any(a >= b for a, b in pairwise(times)):
            raise ValueError(f'keyframes of a mover at {times} s: they take times that rise '
                             'from 0')

    @classmethod
    def patrol(cls, waypoints: Sequence[tuple[float, float]], speed: float, radius: float,
               along: float = 0.0, top: float = 1.0) -> Mover:
        """One that walks a closed polyline (m) at `speed` m/s, `along` metres into it at t = 0."""
        if not speed > 0.0:
            raise ValueError(f'speed of a patrol is {speed}; it takes more than 0 m/s')
        first = waypoints[0]
        keyframes = [(0.0, *first)]
        for a, b in pairwise((*waypoints, first)):
            length = ((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5
            if length > 0.0:
                keyframes.append((keyframes[-1][0] + length / speed, *b))
        return cls(tuple(keyframes), radius, along / speed, top)

    @property
    def period(self) -> float:
        """Time of one round, s; 0 for what stands."""
        return self.keyframes[-1][0]

    @property
    def speed(self) -> float:
        """The fastest that it goes between two keyframes, m/s."""
        return max((((b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2) ** 0.5 / (b[0] - a[0])
                    for a, b in pairwise(self.keyframes)), default=0.0)

    def position(self, t: float) -> tuple[float, float]:
        """Where its axis is, t seconds after the start; world frame, m."""
        keys = self.keyframes
        if self.period == 0.0:
            return keys[0][1:]
        now = (self.phase + t) % self.period
        i = bisect_right(keys, (now, inf, inf))  # the next keyframe: now < period, so there is one
        (t0, x0, y0), (t1, x1, y1) = keys[i - 1], keys[i]
        part = (now - t0) / (t1 - t0)
        return x0 + part * (x1 - x0), y0 + part * (y1 - y0)


@dataclass(frozen=True)
class Person:
    """Someone who walks from waypoint to waypoint and round again, and gives way (worlds.social).

    An upright cylinder. Where it is depends on where the robot goes, so only a simulator knows it.
    """

    waypoints: tuple[tuple[float, float], ...]  # m, world; at least two, the first is the start
    speed: float  # m/s that it likes to walk at
    radius: float  # m
    top: float = 1.7  # m above the floor
    attentive: bool = True  # whether it minds the robot

    def __post_init__(self) -> None:
        if len(self.waypoints) < 2:
            raise ValueError(f'waypoints of a person are {self.waypoints}; it takes at least two')
        if not self.speed > 0.0:
            raise ValueError(f'speed of a person is {self.speed}; it takes more than 0 m/s')


@dataclass(frozen=True)
class World:
    """One world. `bounds` encloses everything; `goals` are reachable one after another.

    `path_length` is what a benchmark takes as the way from the start to the first goal, m, to
    judge times by; None where nobody said.
    """

    family: str
    seed: int
    bounds: tuple[float, float, float, float]  # x_min y_min x_max y_max, m
    start: Pose2
    goals: tuple[tuple[float, float], ...]  # m, world
    cylinders: tuple[Cylinder, ...] = ()
    boxes: tuple[Box, ...] = ()
    movers: tuple[Mover, ...] = ()
    people: tuple[Person, ...] = ()
    path_length: float | None = None

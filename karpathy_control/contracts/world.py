"""A world as data: what generators make, and what the simulators, writers and pictures read."""

from __future__ import annotations

from dataclasses import dataclass

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
    """A cylinder that walks a closed polyline at constant speed, starting `phase` metres along."""

    waypoints: tuple[tuple[float, float], ...]  # m, world; the last joins the first
    speed: float  # m/s
    radius: float  # m
    phase: float = 0.0  # m
    top: float = 1.0  # m above the floor

    def position(self, t: float) -> tuple[float, float]:
        """Where its axis is, t seconds after the start; world frame, m."""
        points = (*self.waypoints, self.waypoints[0])
        lengths = [((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5
                   for a, b in zip(points, points[1:], strict=False)]
        total = sum(lengths)
        if total <= 0.0:
            return points[0]
        along = (self.phase + self.speed * t) % total
        for (ax, ay), (bx, by), length in zip(points, points[1:], lengths, strict=False):
            if along <= length and length > 0.0:
                f = along / length
                return ax + f * (bx - ax), ay + f * (by - ay)
            along -= length
        return points[0]


@dataclass(frozen=True)
class World:
    """One world. `bounds` encloses everything; `goals` are reachable one after another."""

    family: str
    seed: int
    bounds: tuple[float, float, float, float]  # x_min y_min x_max y_max, m
    start: Pose2
    goals: tuple[tuple[float, float], ...]  # m, world
    cylinders: tuple[Cylinder, ...] = ()
    boxes: tuple[Box, ...] = ()
    movers: tuple[Mover, ...] = ()

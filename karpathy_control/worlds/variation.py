"""What differs from episode to episode beside the world: body, actuation and sensor errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True)
class Variation:
    """Ranges that an episode draws from, uniformly unless the comment says otherwise.

    A range whose ends are equal switches that variation off.
    """

    delay: Range = (0.02, 0.1)  # s, from a command to its effect; input age included
    acceleration: Range = (1.0, 1.3)  # multiple of the stated acceleration that the base reaches
    deceleration: Range = (1.0, 1.3)  # multiple of the stated braking that the base reaches
    slip: Range = (0.0, 0.03)  # forward speed lost
    turn_slip: Range = (0.0, 0.15)  # turning rate lost (skid steer)
    drift: Range = (0.0, 0.01)  # standard deviation of the odometry's distance scale error
    turn_drift: Range = (0.0, 0.01)  # standard deviation of the odometry's turning scale error
    scan_noise: Range = (0.0, 0.015)  # m, standard deviation of a range
    scan_drop: Range = (0.0, 0.01)  # share of beams that return nothing (NaN)
    lidar_fov: Range = (4.71239, 4.71239)  # rad, centred on forward
    camera_error: Range = (1.0, 1.0)  # multiple of the fitted errors of the camera scan
    camera_depth: Range = (1.0, 1.0)  # chance that the camera has depth, else colour alone
    camera_range: Range = (4.0, 4.0)  # m, of depth points
    depth_noise: Range = (0.0, 0.01)  # standard deviation as a share of the distance

    def __post_init__(self) -> None:
        for item in fields(self):
            low, high = getattr(self, item.name)
            if not 0.0 <= low <= high:
                raise ValueError(f'variation {item.name}: ({low}, {high}) is not accepted; it '
                                 'takes two numbers, 0 <= low <= high')
        if self.camera_depth[1] > 1.0:
            raise ValueError(f'variation camera_depth: {self.camera_depth[1]} is no chance; at '
                             'most 1')
        if self.delay[1] > MAX_DELAY:
            raise ValueError(f'variation delay: {self.delay[1]} s is too long; at most '
                             f'{MAX_DELAY} s')


MAX_DELAY = 0.3  # s, what the command history of the batched world holds


def none() -> Variation:
    """No variation at all: an ideal base and ideal sensors."""
    values = {item.name: (0.0, 0.0) for item in fields(Variation)}
    return Variation(**values | {'acceleration': (1.0, 1.0), 'deceleration': (1.0, 1.0),
                                 'lidar_fov': Variation.lidar_fov, 'camera_depth': (1.0, 1.0),
                                 'camera_range': Variation.camera_range})


def from_mapping(values: Mapping[str, Any]) -> Variation:
    """Build a Variation from YAML; ValueError names an unknown field and the known ones."""
    known = [item.name for item in fields(Variation)]
    for name, value in values.items():
        if name not in known:
            raise ValueError(f'unknown variation {name!r}; known: {", ".join(known)}')
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError(f'variation {name}: {value!r} is not accepted; it takes [low, high]')
    return Variation(**{name: (float(v[0]), float(v[1])) for name, v in values.items()})

"""Worlds in files: what is written here, and the benchmarks' own formats.

`read_worlds` takes a folder, a JSON file of this package (`write_worlds`), a JSON file of BARN or
DynaBARN, or a Gazebo `.world` with cylinders and boxes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import read_text
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, Person, World
from karpathy_control.worlds.benchmarks import barn_worlds, dynabarn_worlds
from karpathy_control.worlds.gazebo import gazebo_world

SCHEMA = 'karpathy-control-worlds-v1'
MAX_BYTES = 20_000_000
MAX_METRES = 1e4
_READERS = {'barn-v1': barn_worlds, 'dynabarn-v1': dynabarn_worlds}


def read_worlds(path: Path) -> list[World]:
    """The worlds of a file, or of all `.json` and `.world` files of a folder in order of name.

    Raises ConfigError naming the file and what it takes: for a file that is missing, too large,
    of another format, or that holds what is no world.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in ('.json', '.world'))
        if not files:
            raise ConfigError(f'{path}: no .json or .world file in it')
        return [world for file in files for world in read_worlds(file)]
    text = read_text(path, MAX_BYTES)
    try:
        worlds = ([gazebo_world(text, str(path), _number(path))] if path.suffix == '.world'
                  else _from_json(text))
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigError(f'{path}: holds what is no world: {error!r}') from error
    if not worlds:
        raise ConfigError(f'{path}: holds no world')
    for world in worlds:
        _check(world, str(path))
    return worlds


def worlds_text(worlds: Sequence[World]) -> str:
    """Worlds as the text of a file of which `read_worlds` makes the very same."""
    return json.dumps({'schema': SCHEMA, 'worlds': [asdict(w) for w in worlds]})


def write_worlds(path: Path, worlds: Sequence[World]) -> None:
    """Write worlds to a file, and the folders on the way to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(worlds_text(worlds))


def _from_json(text: str) -> list[World]:
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ConfigError(f'takes an object with a schema, got {type(data).__name__}')
    schema = str(data.get('schema', ''))
    if schema == SCHEMA:
        return [_world(values) for values in data['worlds']]
    for name, reader in _READERS.items():
        if schema.startswith(name):
            return reader(data)
    raise ConfigError(f'schema {schema!r:.80} is unknown; it takes {SCHEMA}, '
                      + ', '.join(f'{name}...' for name in _READERS))


def _world(values: Mapping[str, Any]) -> World:
    taken = dict(values)
    taken['bounds'] = tuple(taken['bounds'])
    taken['start'] = Pose2(**taken['start'])
    taken['goals'] = tuple((float(x), float(y)) for x, y in taken['goals'])
    taken['cylinders'] = tuple(Cylinder(**c) for c in taken['cylinders'])
    taken['boxes'] = tuple(Box(**b) for b in taken['boxes'])
    taken['movers'] = tuple(
        Mover(**{**m, 'keyframes': tuple((float(t), float(x), float(y))
                                         for t, x, y in m['keyframes'])})
        for m in taken['movers'])
    taken['people'] = tuple(
        Person(**{**p, 'waypoints': tuple((float(x), float(y)) for x, y in p['waypoints'])})
        for p in taken.get('people', ()))  # files of before have none
    return World(**taken)


def _check(world: World, source: str) -> None:
    """ConfigError for a number that no simulator could take."""
    def numbers(value: Any) -> list[float]:
        if isinstance(value, (int, float)):
            return [float(value)]
        if isinstance(value, Mapping):
            return [n for item in value.values() for n in numbers(item)]
        return ([n for item in value for n in numbers(item)]
                if isinstance(value, (list, tuple)) else [])

    for field, value in asdict(world).items():
        for number in numbers(value) if field != 'seed' else ():
            if not math.isfinite(number) or abs(number) > MAX_METRES:
                raise ConfigError(f'{source}: {field} holds {number}; it takes numbers within '
                                  f'{MAX_METRES:g}')
    sizes = [c.radius for c in world.cylinders] + [m.radius for m in world.movers]
    sizes += [who.radius for who in world.people]
    sizes += [half for b in world.boxes for half in (b.half_x, b.half_y)]
    if (not world.goals or any(len(goal) != 2 for goal in world.goals)
            or any(size <= 0.0 for size in sizes)):
        raise ConfigError(f'{source}: world {world.seed} has no goal, or a radius or half length '
                          'that is not above 0')


def _number(path: Path) -> int:
    """The number in the name of a file, as BARN names its worlds; 0 where there is none."""
    digits = ''.join(c for c in path.stem if c.isdigit())
    return int(digits[:9]) if digits else 0

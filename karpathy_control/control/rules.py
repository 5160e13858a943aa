"""Rules of people over speed: zones in odom, and what to do near which entities.

For the node::

    rules = load_rules(path)                                   # ConfigError; EMPTY: none
    fence = fence_points(rules, spacing)                       # once; fixed obstacles, odom
    verdict = limits(rules, pose, table_or_None)               # every tick
    verdict.speed_limit    # m/s or None: the least of all limits that hold
    verdict.keep_out_inside, verdict.names

Distances to entities are from the origin of base to the near edge of the entity; a zone holds
while the origin of base is in it, its border included. The caller passes None for a table that
is missing or stale; rules over entities then fall back to their `when_blind`. A table with a
number that is not finite counts as none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config.core import ConfigError
from karpathy_control.contracts.files import read_yaml
from karpathy_control.contracts.layout import ENTITY_CLASSES, ENTITY_FIELDS
from karpathy_control.contracts.types import FloatArray, Pose2

CLASSES = ENTITY_CLASSES[1:]  # near what is free there is nothing to slow down for
MAX_BYTES = 100_000
MAX_RULES = 100  # of each kind
MAX_CORNERS = 100
MAX_SPEED = 4.0  # m/s
MAX_COORDINATE = 1e5  # m
_X, _Y, _RADIUS, _CONFIDENCE, _LABEL = (
    ENTITY_FIELDS.index(name) for name in ('x', 'y', 'radius', 'confidence', 'label'))


@dataclass(frozen=True)
class Zone:
    """A simple polygon in odom; None: it limits nothing by itself, rules over entities name it."""

    name: str
    polygon: NDArray[np.float64]  # (n, 2) m
    max_speed: float | None = None  # m/s


@dataclass(frozen=True)
class EntityRule:
    """While an entity of `classes` is within `within`, and the robot in `zone`: `max_speed`."""

    name: str
    classes: tuple[int, ...]  # indices into ENTITY_CLASSES
    within: float  # m, origin of base to the near edge
    max_speed: float  # m/s
    min_confidence: float = 0.5
    zone: Zone | None = None
    when_blind: float | None = None  # m/s, while nobody says where the entities are


@dataclass(frozen=True)
class Rules:
    """Everything that a rules file says."""

    zones: tuple[Zone, ...] = ()
    keep_out: tuple[Zone, ...] = ()
    entities: tuple[EntityRule, ...] = ()


@dataclass(frozen=True)
class RuleVerdict:
    """What holds here and now."""

    speed_limit: float | None = None  # m/s, None: no rule limits
    keep_out_inside: bool = False
    names: tuple[str, ...] = field(default=())  # of what holds, in the order of the file


EMPTY = Rules()


def limits(rules: Rules, pose: Pose2, table: FloatArray | None) -> RuleVerdict:
    """Judge a pose in odom and the entities around it. table: (n, len(ENTITY_FIELDS)), base."""
    names: list[str] = []
    found: list[float] = []
    for zone in rules.zones:
        if zone.max_speed is not None and inside(zone.polygon, pose.x, pose.y):
            names.append(zone.name)
            found.append(zone.max_speed)
    stands = [zone.name for zone in rules.keep_out if inside(zone.polygon, pose.x, pose.y)]
    names += stands
    known = _known(table)
    for rule in rules.entities:
        if rule.zone is not None and not inside(rule.zone.polygon, pose.x, pose.y):
            continue
        limit = rule.when_blind if known is None else (
            rule.max_speed if _near(rule, known) else None)
        if limit is not None:
            names.append(rule.name)
            found.append(limit)
    return RuleVerdict(min(found, default=None), bool(stands), tuple(names))


def _known(table: FloatArray | None) -> FloatArray | None:
    """The table where it can be judged, else None."""
    if table is None or table.ndim != 2 or table.shape[1] != len(ENTITY_FIELDS):
        return None
    return table if bool(np.isfinite(table[:, :_LABEL + 1]).all()) else None


def _near(rule: EntityRule, table: FloatArray) -> bool:
    distance = np.hypot(table[:, _X], table[:, _Y]) - table[:, _RADIUS]
    meant = np.isin(table[:, _LABEL], rule.classes) & (
        table[:, _CONFIDENCE] >= rule.min_confidence)
    return bool(np.any(meant & (distance <= rule.within)))


def inside(polygon: NDArray[np.float64], x: float, y: float) -> bool:
    """Whether a point lies in a simple polygon or on its border. polygon: (n, 2)."""
    a = polygon - (x, y)
    if (a.min(axis=0) > 0.0).any() or (a.max(axis=0) < 0.0).any():
        return False
    b = np.roll(a, -1, axis=0)
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    on_line = (cross == 0.0) & (np.sum(a * b, axis=1) <= 0.0)
    if on_line.any():
        return True
    # Edges that cross the ray from the point along +x, upwards with it on the left or downwards
    # with it on the right; each counts its lower end alone, so a corner is not counted twice.
    up = (a[:, 1] <= 0.0) & (b[:, 1] > 0.0) & (cross > 0.0)
    down = (a[:, 1] > 0.0) & (b[:, 1] <= 0.0) & (cross < 0.0)
    return bool((np.count_nonzero(up) + np.count_nonzero(down)) % 2)


def fence_points(rules: Rules, spacing: float) -> NDArray[np.float64]:
    """Points along the borders of the keep-out zones, corners included. Shape: (n, 2) m, odom.

    Neighbours on a border are at most `spacing` m apart.
    """
    parts = [np.zeros((0, 2))]
    for zone in rules.keep_out:
        for a, b in zip(zone.polygon, np.roll(zone.polygon, -1, axis=0), strict=True):
            count = max(math.ceil(math.dist(a, b) / spacing), 1)
            parts.append(a + (b - a) * (np.arange(count) / count)[:, None])
    return np.concatenate(parts)


# -- the file -------------------------------------------------------------------------------------


def load_rules(path: Path) -> Rules:
    """Read a rules file. ConfigError names the file, the key, the value and what is accepted."""
    data = read_yaml(path, MAX_BYTES)
    try:
        return _rules(data)
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error


def _rules(data: Any) -> Rules:
    if data is None:
        return EMPTY
    top = _map('the file', data, ('zones', 'keep_out', 'entities'), ())
    zones = tuple(_zone(f'zones[{i}]', item, ('max_speed',))
                  for i, item in enumerate(_list('zones', top.get('zones'))))
    keep_out = tuple(_zone(f'keep_out[{i}]', item, ())
                     for i, item in enumerate(_list('keep_out', top.get('keep_out'))))
    named = {zone.name: zone for zone in zones}
    entities = tuple(_entity_rule(f'entities[{i}]', item, named)
                     for i, item in enumerate(_list('entities', top.get('entities'))))
    names = [zone.name for zone in zones + keep_out] + [rule.name for rule in entities]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f'name {name!r} is given twice; a name is shown as the reason of a '
                              'limit and must be unique')
    return Rules(zones, keep_out, entities)


def _zone(key: str, item: Any, optional: tuple[str, ...]) -> Zone:
    values = _map(key, item, ('name', 'polygon', *optional), ('name', 'polygon'))
    speed = None
    if 'max_speed' in values:
        # A limit of zero would hold the robot in the zone for ever: that is what keep_out is for.
        speed = _number(f'{key}.max_speed', values['max_speed'], 0.05, MAX_SPEED)
    return Zone(_name(f'{key}.name', values['name']),
                _polygon(f'{key}.polygon', values['polygon']), speed)


def _entity_rule(key: str, item: Any, zones: dict[str, Zone]) -> EntityRule:
    values = _map(key, item, ('name', 'class', 'within', 'max_speed', 'min_confidence', 'zone',
                              'when_blind'), ('name', 'class', 'within', 'max_speed'))
    given = values['class'] if isinstance(values['class'], list) else [values['class']]
    for kind in given:
        if not isinstance(kind, str) or kind not in CLASSES:
            raise ConfigError(f'{key}.class: {kind!r} is not accepted; it takes one or a list of '
                              + ', '.join(CLASSES))
    if not given:
        raise ConfigError(f'{key}.class: the list is empty; it takes {", ".join(CLASSES)}')
    zone = None
    if 'zone' in values:
        if not isinstance(values['zone'], str) or values['zone'] not in zones:
            raise ConfigError(f'{key}.zone: {values["zone"]!r} is not a zone; it takes one of '
                              + (', '.join(zones) or 'zones, of which there are none'))
        zone = zones[values['zone']]
    blind = None
    if 'when_blind' in values:
        blind = _number(f'{key}.when_blind', values['when_blind'], 0.0, MAX_SPEED)
    return EntityRule(
        _name(f'{key}.name', values['name']), tuple(ENTITY_CLASSES.index(k) for k in given),
        _number(f'{key}.within', values['within'], 0.0, 100.0),
        _number(f'{key}.max_speed', values['max_speed'], 0.0, MAX_SPEED),
        _number(f'{key}.min_confidence', values.get('min_confidence', 0.5), 0.0, 1.0), zone,
        blind)


def _map(key: str, item: Any, known: Iterable[str], needed: Iterable[str]) -> dict[str, Any]:
    known = tuple(known)
    if not isinstance(item, dict):
        raise ConfigError(f'{key}: {item!r:.80} is not accepted; it takes a map with '
                          + ', '.join(known))
    for name in item:
        if name not in known:
            raise ConfigError(f'{key}: unknown key {name!r:.80}; it takes {", ".join(known)}')
    for name in needed:
        if name not in item:
            raise ConfigError(f'{key}: {name} is missing; it takes {", ".join(known)}')
    return item


def _list(key: str, item: Any) -> list[Any]:
    if item is None:
        return []
    if not isinstance(item, list) or len(item) > MAX_RULES:
        raise ConfigError(f'{key}: {item!r:.80} is not accepted; it takes a list of at most '
                          f'{MAX_RULES}')
    return item


def _name(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 80 or (
            not value.isprintable()):
        raise ConfigError(f'{key}: {value!r:.80} is not accepted; it takes a line of text of at '
                          'most 80 letters')
    return value


def _number(key: str, value: Any, low: float, high: float) -> float:
    number = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    if not low <= number <= high:
        raise ConfigError(f'{key}: {value!r:.80} is not accepted; it takes a number in '
                          f'[{low:g}, {high:g}]')
    return number


def _polygon(key: str, value: Any) -> NDArray[np.float64]:
    if not isinstance(value, list) or not 3 <= len(value) <= MAX_CORNERS:
        raise ConfigError(f'{key}: {value!r:.80} is not accepted; it takes a list of 3 to '
                          f'{MAX_CORNERS} corners [x, y] in m, odom')
    corners = []
    for i, corner in enumerate(value):
        if not isinstance(corner, list) or len(corner) != 2:
            raise ConfigError(f'{key}[{i}]: {corner!r:.80} is not accepted; it takes [x, y]')
        corners.append([_number(f'{key}[{i}]', v, -MAX_COORDINATE, MAX_COORDINATE)
                        for v in corner])
    n = len(corners)
    for i in range(n):
        for j in range(i + 1, n):
            a, b = (corners[i], corners[(i + 1) % n]), (corners[j], corners[(j + 1) % n])
            if _touch(a, b, neighbours=j == i + 1 or (i == 0 and j == n - 1)):
                raise ConfigError(f'{key}: the edges from corner {i} and from corner {j} cross or '
                                  'touch; it takes a border that does not meet itself')
    return np.array(corners)


def _touch(a: Any, b: Any, neighbours: bool) -> bool:
    """Whether two edges of a polygon meet, other than neighbours in the corner they share."""
    if neighbours:
        if a[1] != b[0]:
            a, b = b, a
        # They run on from their corner; only straight back would be wrong.
        turn, along = _cross(a[0], a[1], b[1]), _dot(a[0], a[1], b[1])
        return a[0] == a[1] or b[0] == b[1] or (turn == 0.0 and along > 0.0)
    sides = [_cross(a[0], a[1], b[0]), _cross(a[0], a[1], b[1]),
             _cross(b[0], b[1], a[0]), _cross(b[0], b[1], a[1])]
    if sides[0] * sides[1] < 0.0 and sides[2] * sides[3] < 0.0:
        return True
    ends = ((a, b[0]), (a, b[1]), (b, a[0]), (b, a[1]))
    return any(side == 0.0 and _between(edge, p)
               for side, (edge, p) in zip(sides, ends, strict=True))


def _cross(p: Any, q: Any, r: Any) -> float:
    return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))


def _dot(p: Any, q: Any, r: Any) -> float:
    """How far q to p and q to r point the same way."""
    return float((p[0] - q[0]) * (r[0] - q[0]) + (p[1] - q[1]) * (r[1] - q[1]))


def _between(edge: Any, p: Any) -> bool:
    return all(min(edge[0][k], edge[1][k]) <= p[k] <= max(edge[0][k], edge[1][k])
               for k in (0, 1))

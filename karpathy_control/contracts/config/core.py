"""How a configuration is declared, checked and listed.

A configuration is a frozen dataclass whose fields are made by `parameter(...)`; a nested
dataclass is a dotted group. Names, defaults, units, ranges and descriptions live there alone:
ROS descriptors, the YAML template and the README table are generated from them.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar, get_type_hints

T = TypeVar('T')

Value = bool | int | float | str | list[float] | list[str]


class ConfigError(ValueError):
    """A parameter's name, type or value is not accepted; the text names it and what is."""


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter as the outside sees it."""

    name: str  # dotted
    type: type
    default: Value
    description: str
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False  # may be changed while the node is active

    @property
    def accepted(self) -> str:
        """What the parameter takes, for messages and tables."""
        if self.choices:
            return 'one of ' + ', '.join(repr(c) for c in self.choices)
        if self.minimum is not None or self.maximum is not None:
            low = '-inf' if self.minimum is None else f'{self.minimum:g}'
            high = 'inf' if self.maximum is None else f'{self.maximum:g}'
            return f'{self.type.__name__} in [{low}, {high}]'
        return 'list of float' if self.type is list else self.type.__name__

    def check(self, value: Any) -> Value:
        """Return the value in its declared type; ConfigError names value and accepted range."""
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.type is list and isinstance(value, (list, tuple)):
            value = [float(v) if isinstance(v, int) and not isinstance(v, bool) else v
                     for v in value]
        wrong_type = not isinstance(value, self.type) or (
            self.type is int and isinstance(value, bool))
        numbers = value if isinstance(value, list) else [value]
        bad_number = any(isinstance(v, float) and not math.isfinite(v) for v in numbers)
        if wrong_type or bad_number:
            raise ConfigError(f'{self.name}: {value!r} is not accepted; it takes {self.accepted}')
        if self.choices and value not in self.choices:
            raise ConfigError(f'{self.name}: {value!r} is not accepted; it takes {self.accepted}')
        for v in numbers:
            if isinstance(v, (int, float)) and not isinstance(v, bool) and (
                    (self.minimum is not None and v < self.minimum)
                    or (self.maximum is not None and v > self.maximum)):
                raise ConfigError(f'{self.name}: {v!r} is out of range; it takes {self.accepted}')
        return value


def parameter(default: Any, description: str, *, unit: str = '', minimum: float | None = None,
              maximum: float | None = None, choices: tuple[str, ...] = (),
              live: bool = False) -> Any:
    """Declare one field of a configuration, documented beside its default."""
    meta = {'description': description, 'unit': unit, 'minimum': minimum, 'maximum': maximum,
            'choices': choices, 'live': live}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=meta)
    return dataclasses.field(default=default, metadata=meta)


def group(kind: type[T]) -> T:
    """Declare a dotted group of parameters."""
    return dataclasses.field(default_factory=kind)


def specs(kind: type, prefix: str = '') -> list[ParameterSpec]:
    """Every parameter of a configuration, groups flattened to dotted names."""
    found: list[ParameterSpec] = []
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            found += specs(hint, f'{prefix}{item.name}.')
            continue
        default = item.default
        if default is MISSING:
            assert item.default_factory is not MISSING
            default = item.default_factory()
        found.append(ParameterSpec(prefix + item.name, type(default), default, **item.metadata))
    return found


def from_mapping(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build and check a configuration from dotted names; absent ones keep their default.

    Raises ConfigError for an unknown name (with the nearest known one), a wrong type or a value
    out of range.
    """
    known = {spec.name: spec for spec in specs(kind)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f'; did you mean {near[0]!r}?' if near else f'; known: {", ".join(known)}'
            raise ConfigError(f'unknown parameter {name!r}{hint}')
    checked = {name: known[name].check(value) for name, value in values.items()}
    return _build(kind, checked, '')


def _build(kind: type[T], values: Mapping[str, Value], prefix: str) -> T:
    hints = get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        name, hint = prefix + item.name, hints[item.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            arguments[item.name] = _build(hint, values, name + '.')
        elif name in values:
            arguments[item.name] = values[name]
    result = kind(**arguments)
    validate = getattr(result, 'validate', None)  # checks that span several fields
    if validate is not None:
        validate()
    return result


def to_mapping(config: Any, prefix: str = '') -> dict[str, Value]:
    """The inverse of `from_mapping`: dotted names to values."""
    flat: dict[str, Value] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat.update(to_mapping(value, f'{prefix}{item.name}.'))
        else:
            flat[prefix + item.name] = value
    return flat


def replace_value(config: T, name: str, value: Any) -> T:
    """A new configuration with one value changed, checked as a whole."""
    return from_mapping(type(config), {**to_mapping(config), name: value})


def markdown_table(kind: type) -> str:
    """The parameters of one node as a Markdown table."""
    lines = ['| parameter | default | unit | accepts | live | meaning |',
             '| --- | --- | --- | --- | --- | --- |']
    for spec in specs(kind):
        default = f'`{spec.default}`' if spec.default != '' else '(empty)'
        accepted = spec.accepted.replace('|', '\\|')
        lines.append(f'| `{spec.name}` | {default} | {spec.unit} | {accepted} | '
                     f'{"yes" if spec.live else ""} | {spec.description} |')
    return '\n'.join(lines)


def changed(values: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """The values with NAME=VALUE applied, each VALUE as JSON or else as text.

    ConfigError for what has no `=`; whether name and value are accepted, `from_mapping` says.
    """
    result = dict(values)
    for change in changes:
        name, found, text = change.partition('=')
        if not found:
            raise ConfigError(f'{change!r} is not accepted; it takes NAME=VALUE')
        try:
            result[name] = json.loads(text)
        except json.JSONDecodeError:
            result[name] = text
    return result

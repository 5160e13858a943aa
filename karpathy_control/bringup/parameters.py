"""Parameter files: the template made from the code, and what a user's file means for each node."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from karpathy_control.contracts.config import (
    NODE_CONFIGS,
    ConfigError,
    ParameterSpec,
    RobotConfig,
    from_mapping,
    is_of_profile,
    markdown_table,
    specs,
    to_mapping,
)
from karpathy_control.contracts.config.core import Value
from karpathy_control.contracts.files import read_yaml

_WRAP = 97


def yaml_template() -> str:
    """config/params.yaml: every parameter with its default, unit and range beside it.

    What the robot profile fills is commented out: `robot.*`, the same for every node, and what it
    states or what follows from its rates for one.
    """
    lines = [
        '# Every parameter with its default. Generated: karpathy-control params --yaml',
        '# [live] may be changed while the node is active (ros2 param set).',
        '',
        '# robot.* come from the robot profile (config/robots) and its xacro; a line here wins.',
        '# /**:',
        '#   ros__parameters:',
    ]
    for spec in specs(RobotConfig, 'robot.'):
        lines += ['# ' + line for line in _template_lines(spec)]
    for node, kind in NODE_CONFIGS.items():
        lines += ['', f'{node}:', '  ros__parameters:']
        for spec in specs(kind):
            if spec.name.startswith('robot.'):
                continue
            if is_of_profile(node, spec.name):
                lines += ['    # from the robot profile unless set here:',
                          *('    # ' + line[4:].removeprefix('# ')
                            for line in _template_lines(spec))]
            else:
                lines += _template_lines(spec)
    return '\n'.join(lines) + '\n'


def _template_lines(spec: ParameterSpec) -> list[str]:
    unit = f' [{spec.unit}]' if spec.unit else ''
    live = ' [live]' if spec.live else ''
    comment = f'{spec.description}{unit}; {spec.accepted}{live}'
    value = yaml.safe_dump(spec.default, default_flow_style=True, width=10_000).split('\n')[0]
    return [*textwrap.wrap(comment, _WRAP, initial_indent='    # ', subsequent_indent='    # '),
            f'    {spec.name}: {value}']


def markdown() -> str:
    """The parameters of every node as Markdown, for the README."""
    return '\n\n'.join(f'### `{node}`\n\n{markdown_table(kind)}'
                       for node, kind in NODE_CONFIGS.items()) + '\n'


def read_parameters(path: Path, namespace: str = '', robot: str = '', robots: Sequence[str] = (),
                    nodes: Iterable[str] = tuple(NODE_CONFIGS)) -> dict[str, dict[str, Value]]:
    """What a ROS parameter file says for each node: node -> dotted name -> value.

    Sections `/**` and `*` are for all nodes, `NODE`, `/NODE`, `/**/NODE` and `/NAMESPACE/NODE` for
    one; the more exact wins. rclpy alone would pass over `NODE` in a namespace without a word.
    Of several `robots` (names below the namespace) it says what holds for `robot`.
    Raises ConfigError for a section that means no node and for a wrong structure.
    """
    data = read_yaml(path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f'params_file {path}: takes a map of node names')
    nodes = tuple(nodes)
    shared: dict[str, Value] = {}
    plain: dict[str, dict[str, Value]] = {node: {} for node in nodes}
    exact: dict[str, dict[str, dict[str, Value]]] = {
        name: {node: {} for node in nodes}
        for name in (namespace, *(f'{namespace}/{other}' for other in robots)) if name}
    for section, body in data.items():
        values = _section(path, section, body)
        if section in ('/**', '/*', '**', '*'):
            shared.update(values)
            continue
        above, _, node = str(section).rpartition('/')
        of = plain if above in ('', '/**', '/*') else exact.get(f'/{above.lstrip("/")}', {})
        if node not in of:
            raise ConfigError(f'params_file {path}: section {section!r} means no node; the nodes '
                              f'are {", ".join(nodes)}'
                              + (f', in {", ".join(exact)}' if exact else ''))
        of[node].update(values)
    mine = (namespace, f'{namespace}/{robot}' if robot else '')
    layers = [plain, *(exact[name] for name in mine if name)]
    return {node: {**shared, **{key: value for layer in layers
                                for key, value in layer[node].items()}} for node in nodes}


def _section(path: Path, section: Any, body: Any) -> dict[str, Value]:
    single = isinstance(body, dict) and set(body) == {'ros__parameters'}
    values = body['ros__parameters'] if single else None
    if not single or not isinstance(values, dict | None):
        raise ConfigError(f'params_file {path}: section {section!r} takes one key, '
                          'ros__parameters, and a map below it')
    return _flatten(values or {}, '')


def _flatten(values: Mapping[str, Any], prefix: str) -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def checked(node: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """The parameters of one node in their declared types, `use_sim_time` included.

    Raises ConfigError naming the node, the parameter and what it takes.
    """
    own = {name: value for name, value in values.items() if name != 'use_sim_time'}
    kind = NODE_CONFIGS[node]
    try:
        flat = to_mapping(from_mapping(kind, own))
    except ConfigError as error:
        raise ConfigError(f'{node}: {error}') from error
    return {name: flat.get(name, value) for name, value in values.items()}


def node_yaml(sections: Mapping[str, Mapping[str, Value]]) -> str:
    """A ROS parameter file from fully qualified node names to dotted names and values."""
    return yaml.safe_dump({name: {'ros__parameters': dict(values)}
                           for name, values in sections.items()},
                          default_flow_style=None, sort_keys=True, width=10_000)


def main(argv: Sequence[str]) -> int:
    """Print every parameter of every node."""
    parser = argparse.ArgumentParser(prog='karpathy-control params', description=main.__doc__)
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--yaml', action='store_true', help='config/params.yaml (default)')
    form.add_argument('--markdown', action='store_true', help='tables for the README')
    options = parser.parse_args(argv)
    print(markdown() if options.markdown else yaml_template(), end='')
    return 0

"""Reading small text, YAML and XML files that come from outside: bounded, and refused by name."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any
from xml.parsers import expat

import yaml

from karpathy_control.contracts.config.core import ConfigError

MAX_TEXT = 1_000_000  # bytes of a configuration file, a description or a world
MAX_YAML = 200_000  # bytes: a YAML reader takes seconds for more
MAX_INTEGER = 1 << 63
MAX_DEPTH = 40  # of nested YAML values or XML elements
MAX_ELEMENTS = 20_000  # of an XML document


def read_text(path: Path, limit: int = MAX_TEXT) -> str:
    """The text of a file of at most `limit` bytes.

    ConfigError for a file that is larger, not there, not a regular file (a pipe or device would
    never end) or not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f'{path}: is not a regular file')
    try:
        with path.open('rb') as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f'{path}: not readable: {error.strerror}') from error
    if len(data) > limit:
        raise ConfigError(f'{path}: larger than {limit} bytes, the most that is read')
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f'{path}: not readable as UTF-8 text: {error}') from error


class _Loader(yaml.SafeLoader):
    """Plain values alone, nothing that expands, nothing that is dropped without a word."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        where = f'line {self.peek_event().start_mark.line + 1}'
        if self.check_event(yaml.AliasEvent):
            raise ConfigError(f'{where}: an alias is not accepted; write the value out')
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ConfigError(f'{where}: nested deeper than {MAX_DEPTH}, the most that is read')
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            where = f'line {key.start_mark.line + 1}'
            if key.tag != 'tag:yaml.org,2002:str':
                raise ConfigError(f'{where}: key {key.value!r:.80} is not text; quote it')
            if key.value in seen:
                raise ConfigError(f'{where}: key {key.value!r:.80} is given twice')
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_bounded_int(self, node: Any) -> int:
        value = self.construct_yaml_int(node)
        if abs(value) >= MAX_INTEGER:
            raise ConfigError(f'line {node.start_mark.line + 1}: {node.value!r:.80} is out of '
                              'range; an integer has 64 bits')
        return int(value)


_Loader.add_constructor('tag:yaml.org,2002:int', _Loader.construct_bounded_int)


def read_yaml(path: Path, limit: int = MAX_YAML) -> Any:
    """The one document of a YAML file as plain values; None where it is empty.

    ConfigError names file, line and value: besides what `read_text` refuses, for an alias (it can
    expand without bound), a key that is given twice or is not text, a tag of Python, nesting
    beyond MAX_DEPTH, and what is no YAML.
    """
    text = read_text(path, limit)
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or number out of range
        raise ConfigError(f'{path}: not readable as YAML: {error}') from error


def xml_paths(text: str, source: str,
              most: int = MAX_ELEMENTS) -> list[tuple[str, ...]]:
    """The tags from the root down to each element of an XML text, in the order of the file.

    ConfigError naming `source` for what is not well-formed, for a document type definition (no
    entity can expand, no other file is read), and beyond MAX_DEPTH or `most` elements.
    """
    paths: list[tuple[str, ...]] = []
    stack: list[str] = []

    def start(tag: str, _attributes: dict[str, str]) -> None:
        stack.append(tag)
        paths.append(tuple(stack))
        if len(stack) > MAX_DEPTH or len(paths) > most:
            raise ConfigError(f'{source}: more than {MAX_DEPTH} nested elements, or than '
                              f'{most} in all, the most that is read')

    def refuse_dtd(*_args: object) -> None:
        raise ConfigError(f'{source}: a document type definition is not accepted')

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: stack.pop()
    parser.StartDoctypeDeclHandler = refuse_dtd
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ConfigError(f'{source}: not well-formed XML: {error}') from error
    return paths

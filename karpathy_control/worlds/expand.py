"""Expand a xacro to a URDF in a process of its own, and trust nothing in it.

A xacro is a program: xacro hands every `${...}` to Python's evaluator, macros can multiply without
bound, and includes read any file. Here an expression is arithmetic on numbers and strings, worked
out by walking its syntax tree; `$(...)` is `arg`, `cwd` or `dirname`; an include lies below the
folder of the file; no text has a document type definition; and the process has a bounded time and
memory. A description that needs more is expanded by whoever trusts it, with `xacro IN > OUT.urdf`.

    python -m karpathy_control.worlds.expand FILE      URDF on stdout; status 1 and why on stderr
"""

from __future__ import annotations

import ast
import math
import operator
import re
import resource
import sys
import xml.dom.minidom
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xacro

from karpathy_control.contracts.config.core import ConfigError
from karpathy_control.contracts.files import MAX_TEXT, read_text, xml_paths

CPU_TIME = 5  # s; a description of a real robot takes 0.3
MEMORY = 1 << 30  # bytes of address space beyond what the imports have taken
MAX_EXPRESSION = 1000  # characters
MAX_INTEGER = 1 << 63
_SUBSTITUTION = re.compile(r'\$\((arg [A-Za-z_]\w*|cwd|dirname)\)')
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in (
        'acos', 'asin', 'atan', 'atan2', 'ceil', 'cos', 'degrees', 'exp', 'fabs', 'floor',
        'hypot', 'log', 'radians', 'sin', 'sqrt', 'tan')},
    'abs': abs, 'bool': bool, 'float': float, 'int': int, 'max': max, 'min': min, 'round': round,
    'str': str}
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: lambda a, b: a**b if isinstance(a, int) and b in range(64) else math.pow(a, b)}
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_}
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge}


def evaluate(expression: str, names: Mapping[str, Any], _locals: object = None) -> Any:
    """The value of an expression: a number, a flag or a string. `names`: xacro's properties.

    The signature is that of xacro.safe_eval, whose place it takes. ConfigError names what is not
    accepted; NameError a property that is not defined; arithmetic raises what it does in Python.
    """
    if len(expression) > MAX_EXPRESSION:
        raise ConfigError(f'expression of {len(expression)} characters; the most is '
                          f'{MAX_EXPRESSION}')
    return _value(ast.parse(expression.strip(), mode='eval').body, names)


def _value(node: ast.AST, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return _plain(node.value)
    if isinstance(node, ast.Name):
        try:
            return _plain(names[node.id])
        except KeyError:
            raise NameError(f'name {node.id!r} is not defined') from None
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left, names), _value(node.right, names)
        texts = isinstance(left, str) + isinstance(right, str)
        if texts == 1 or (texts == 2 and not isinstance(node.op, ast.Add)):
            raise ConfigError(f'{ast.unparse(node)!r} mixes text and numbers')
        return _plain(_BINARY[type(node.op)](left, right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand, names))
    if isinstance(node, ast.BoolOp):
        return (all if isinstance(node.op, ast.And) else any)(
            _value(part, names) for part in node.values)
    if isinstance(node, ast.IfExp):
        return _value(node.body if _value(node.test, names) else node.orelse, names)
    if isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
        values = [_value(part, names) for part in (node.left, *node.comparators)]
        return all(_COMPARE[type(op)](a, b)
                   for op, a, b in zip(node.ops, values, values[1:], strict=False))
    if isinstance(node, ast.Call) and not node.keywords:
        called = ast.unparse(node.func).removeprefix('math.')
        if called in _FUNCTIONS:
            return _plain(_FUNCTIONS[called](*(_value(a, names) for a in node.args)))
    raise ConfigError(f'expression {ast.unparse(node)!r:.80} is not accepted; it takes arithmetic '
                      f'on numbers, text and properties, and {", ".join(_FUNCTIONS)}')


def _plain(value: Any) -> Any:
    """A value as it is, where it is a bounded number or text; functions and objects are not."""
    if isinstance(value, (bool, float)) or (isinstance(value, str) and len(value) <= MAX_TEXT) or (
            isinstance(value, int) and abs(value) < MAX_INTEGER):
        return value
    raise ConfigError(f'{type(value).__name__} {value!r:.80} is not accepted; expressions take '
                      f'text and numbers below {MAX_INTEGER}')


def substitute(text: str) -> str:
    """What `$(...)` stands for; ConfigError for anything but arg, cwd and dirname."""
    if not _SUBSTITUTION.fullmatch(text):
        raise ConfigError(f'{text!r:.80} is not accepted; it takes $(arg NAME), $(cwd) and '
                          '$(dirname)')
    return str(_XACRO_SUBSTITUTE(text))


_XACRO_SUBSTITUTE = xacro.eval_extension


def expand(path: Path) -> str:
    """The URDF of a xacro or URDF file. Changes the xacro module of this process for good."""
    folder = path.resolve().parent

    def parse(_text: None, filename: str) -> xml.dom.minidom.Document:
        place = Path(filename).resolve()
        if not place.is_relative_to(folder):
            raise ConfigError(f'{place}: is included, but does not lie in {folder}')
        text = read_text(place)
        xml_paths(text, str(place))
        return xml.dom.minidom.parseString(text)

    # The three places where xacro evaluates, substitutes and reads; a xacro without one of them
    # would be left as it is, so that is an error.
    for name, own in (('safe_eval', evaluate), ('eval_extension', substitute), ('parse', parse)):
        if not callable(getattr(xacro, name, None)):
            raise ConfigError(f'xacro {xacro.__file__} has no {name}; it takes version 2')
        setattr(xacro, name, own)
    urdf = str(xacro.process_file(str(path)).toprettyxml(indent='  '))
    if len(urdf) > MAX_TEXT:
        raise ConfigError(f'{path}: expands to more than {MAX_TEXT} characters')
    return urdf


def main() -> int:
    """Expand the file that is named, within the bounds of this process."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_TIME, CPU_TIME))
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    space = MEMORY + pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    try:
        text = expand(Path(sys.argv[1]))
    except Exception as error:  # xacro raises whatever its input makes it raise
        print(f'{type(error).__name__}: {error}', file=sys.stderr)
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())

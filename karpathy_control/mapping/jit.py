"""The decorator of every kernel: numba, cached on disk under a key that cannot go stale.

numba's own cache looks at the file of the cached function alone: after a change in a helper of
another file the old machine code, helper included, is loaded without a word. A gate must not run
on yesterday's braking check, so the cache folder carries a hash of all sources that a kernel may
have been built from: its own file and, on and on, every file of this project that it imports.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar('F', bound=Callable[..., Any])

_CONFIG: Any = numba.config  # its attributes are made at run time
_ROOT = Path(__file__).resolve().parents[2]


def _imported(path: Path) -> set[Path]:
    """The files of this project, or beside `path`, that it imports by name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    places = [base.joinpath(*name.split('.')) for name in names for base in (_ROOT, path.parent)]
    return {file for place in places
            for file in (place.with_suffix('.py'), place / '__init__.py') if file.is_file()}


@functools.cache
def source_key(path: Path) -> str:
    """Sixteen hex digits of the SHA-256 of a source file and of all that it builds upon."""
    found, left = {path}, [path]
    while left:
        new = _imported(left.pop()) - found
        found |= new
        left += new
    digest = hashlib.sha256()
    for file in sorted(found):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _folder(source: Path) -> str:
    """Where the kernels of a file are cached: under NUMBA_CACHE_DIR, beside it, or at home."""
    beside = source.parent / '__pycache__'
    if _CONFIG.CACHE_DIR:
        base = Path(_CONFIG.CACHE_DIR)
    elif os.access(beside if beside.exists() else source.parent, os.W_OK):
        base = beside
    else:
        base = Path.home() / '.cache' / 'karpathy_control'
    return str(base / f'kernels-{source_key(source)}')


def kernel(function: F | None = None, **options: Any) -> Any:
    """`njit(cache=True, nogil=True)` with the cache described above and numba's other options."""
    if function is None:
        return functools.partial(kernel, **options)
    before = _CONFIG.CACHE_DIR
    # numba reads it once, when the function is decorated.
    _CONFIG.CACHE_DIR = _folder(Path(function.__code__.co_filename).resolve())
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    finally:
        _CONFIG.CACHE_DIR = before

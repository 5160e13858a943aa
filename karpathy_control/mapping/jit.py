"""The decorator of every kernel: numba, cached on disk under a key that cannot go stale.

numba's own cache looks at the file of the cached function alone: after a change in a helper of
another file the old machine code, helper included, is loaded without a word. A gate must not run
on yesterday's braking check, so the cache folder carries a hash of all sources that a kernel may
have been built from: those of its own room and of `mapping`.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar('F', bound=Callable[..., Any])

_CONFIG: Any = numba.config  # its attributes are made at run time
_MAPPING = Path(__file__).resolve().parent


@functools.cache
def source_key(room: Path) -> str:
    """Sixteen hex digits of the SHA-256 of the sources of a room and of `mapping`."""
    digest = hashlib.sha256()
    for path in [*sorted(room.glob('*.py')), *sorted(_MAPPING.glob('*.py'))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _folder(room: Path) -> str:
    """Where the kernels of a room are cached: under NUMBA_CACHE_DIR, beside it, or at home."""
    beside = room / '__pycache__'
    if _CONFIG.CACHE_DIR:
        base = Path(_CONFIG.CACHE_DIR)
    elif os.access(beside if beside.exists() else room, os.W_OK):
        base = beside
    else:
        base = Path.home() / '.cache' / 'karpathy_control'
    return str(base / f'kernels-{source_key(room)}')


def kernel(function: F | None = None, **options: Any) -> Any:
    """`njit(cache=True, nogil=True)` with the cache described above and numba's other options."""
    if function is None:
        return functools.partial(kernel, **options)
    before = _CONFIG.CACHE_DIR
    # numba reads it once, when the function is decorated.
    _CONFIG.CACHE_DIR = _folder(Path(function.__code__.co_filename).resolve().parent)
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    finally:
        _CONFIG.CACHE_DIR = before

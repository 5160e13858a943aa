"""The environment of every process of the loop: threads, allocator, checks, caches, transport."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from karpathy_control.bringup.dds import dds_environment

LIFE = 'KARPATHY_CONTROL_LIFE'  # how often the runner has started this node again

# Kept where the caller set them; each with what goes wrong without.
_DEFAULTS = {
    'OMP_NUM_THREADS': '1',  # idle OpenMP workers spin and take the cores of other nodes
    'NUMBA_NUM_THREADS': '1',
    'MALLOC_MMAP_THRESHOLD_': '1073741824',  # images from the heap: 640x480 in 1.7 not 2.7 ms
    'MALLOC_TRIM_THRESHOLD_': '2147483648',
    'MALLOC_TOP_PAD_': '67108864',
    'PYTHONUNBUFFERED': '1',  # the log of a killed node ends where the node ended
}


def bound() -> list[str]:
    """A command that starts the one after it so that it ends with this process; see child.py."""
    child = Path(__file__).with_name('child.py')
    return [sys.executable, '-I', '-S', str(child), str(os.getpid())]


def cache_folder() -> Path:
    """Where compiled kernels are kept: inside a virtual environment, else in the user's cache."""
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        return Path(sys.prefix) / 'cache' / 'numba'
    root = os.environ.get('XDG_CACHE_HOME') or str(Path.home() / '.cache')
    return Path(root) / 'karpathy_control' / 'numba'


def environment(dds_profile: str, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables to add to `base` (default: this process's environment).

    Raises ConfigError for an unknown profile name or a profile file that Fast DDS would drop.
    """
    base = os.environ if base is None else base
    values = {name: value for name, value in _DEFAULTS.items() if not base.get(name)}
    if not base.get('NUMBA_CACHE_DIR'):
        values['NUMBA_CACHE_DIR'] = str(cache_folder())
    # Without the check an int in a float field is sent as garbage, silently.
    values['ROS_PYTHON_CHECK_FIELDS'] = '1'
    values.update(dds_environment(dds_profile, base))
    return values

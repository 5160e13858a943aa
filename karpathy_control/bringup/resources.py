"""One way to find config, launch, description, worlds and weights: share, venv or checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = 'karpathy_control'


def share() -> Path:
    """The folder that holds config/, description/, launch/ and weights/.

    A checkout wins over an installed copy, since its code is what runs; then the ament index of
    a colcon workspace; then the data files of a plain pip install.
    """
    candidates = [Path(__file__).resolve().parents[2]]
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    candidates += [Path(prefix) / 'share' / PACKAGE for prefix in prefixes if prefix]
    candidates.append(Path(sys.prefix) / 'share' / PACKAGE)
    for candidate in candidates:
        if (candidate / 'package.xml').is_file() and (candidate / 'config').is_dir():
            return candidate
    raise FileNotFoundError(
        f'no share folder of {PACKAGE} in {", ".join(map(str, candidates))}; '
        'source the workspace that it was built in, or reinstall the package')


def find(folder: str, name: str) -> Path:
    """A file by name in a shared folder, or by path. Raises FileNotFoundError with both places."""
    given = Path(name).expanduser()
    shared = share() / folder / name
    for path in (given, shared) if given.is_absolute() or os.sep in name else (shared, given):
        if path.exists():
            return path
    raise FileNotFoundError(f'{folder} file {name!r}: neither {shared} nor {given.absolute()} '
                            'exists')


def log_folder() -> Path:
    """Where ROS keeps logs (rcl_logging): ROS_LOG_DIR, else log in ROS_HOME, else ~/.ros/log."""
    if os.environ.get('ROS_LOG_DIR'):
        return Path(os.environ['ROS_LOG_DIR']).expanduser()
    return Path(os.environ.get('ROS_HOME') or '~/.ros').expanduser() / 'log'

"""Reading small text files that come from outside: bounded, and refused by name."""

from __future__ import annotations

from pathlib import Path

from karpathy_control.contracts.config.core import ConfigError

MAX_TEXT = 1_000_000  # bytes of a configuration file, a description or a world


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

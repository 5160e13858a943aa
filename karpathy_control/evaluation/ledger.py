"""Finished work of a long run, kept in a folder so that the run can be gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from karpathy_control.contracts.config import ConfigError

CARD = 'run.json'  # what the run is


class Ledger:
    """JSON objects, one a line; without a folder in memory alone.

    `entries` are those that were found in NAME.jsonl. Several processes may share a folder, each
    with a file of its `own`: then of every NAME*.jsonl. Raises ConfigError where the folder
    belongs to another run.
    """

    def __init__(self, folder: Path | None, run: Mapping[str, Any], name: str,
                 own: str = '') -> None:
        """run: what must be the same to go on, in values that JSON has; own: after NAME."""
        self.entries: list[dict[str, Any]] = []
        self._file: Path | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        card = folder / CARD
        if card.exists():
            known = json.loads(card.read_text())
            for key, value in run.items():
                if known.get(key) != value:
                    raise ConfigError(f'{card}: {key} is {known.get(key)!r} there and {value!r} '
                                      'here; another run takes another folder')
        else:
            card.write_text(json.dumps(run, indent=1, sort_keys=True))
        for path in sorted(folder.glob(f'{name}{"*" if own else ""}.jsonl')):
            for line in path.read_text().splitlines():
                try:
                    self.entries.append(json.loads(line))
                except json.JSONDecodeError:
                    continue  # cut off by the end of the process that wrote it
        self._file = folder / f'{name}{own}.jsonl'
        if self._file.exists() and not self._file.read_bytes().endswith(b'\n'):
            with self._file.open('a') as file:
                file.write('\n')

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep one piece of finished work."""
        if self._file is not None:
            with self._file.open('a') as file:
                file.write(json.dumps(entry) + '\n')

"""The card that lies beside every weight file, and the checks before anything is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from karpathy_control.contracts.config.core import ConfigError
from karpathy_control.contracts.files import read_text
from karpathy_control.contracts.layout import LAYOUT_VERSION, layout_hash

MAX_WEIGHTS = 64_000_000  # bytes; the shipped ones are below 10 MB in all
MAX_OPTION = 512  # of a network: width, layers and the like
_TYPES = {'kind': str, 'sha256': str, 'layout_version': int, 'layout_hash': str, 'model': dict,
          'command': str, 'seed': int, 'commit': str, 'metrics': dict}


class WeightsError(RuntimeError):
    """A weight file is missing, tampered with or made for another layout; the text says which."""


@dataclass(frozen=True)
class WeightsCard:
    """Where a weight file comes from and what it was measured to do."""

    kind: str  # 'encoder', 'actor' or 'motion'
    sha256: str  # of the .safetensors file
    layout_version: int
    layout_hash: str
    model: dict[str, Any]  # keyword arguments that rebuild the network
    command: str  # the training command
    seed: int
    commit: str
    metrics: dict[str, Any] = field(default_factory=dict)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(weights: Path, kind: str, model: dict[str, Any], command: str, seed: int,
               commit: str, metrics: dict[str, Any]) -> WeightsCard:
    """Write `<weights>.json` for a finished weight file and return the card."""
    card = WeightsCard(kind, sha256_of(weights), LAYOUT_VERSION, layout_hash(), model, command,
                       seed, commit, metrics)
    weights.with_suffix('.json').write_text(json.dumps(asdict(card), indent=2) + '\n')
    return card


def verify_weights(weights: Path, kind: str) -> WeightsCard:
    """Check a weight file against its card and this layout; return the card.

    Raises WeightsError naming the file, the value found and the value needed. Card and weights
    come together: this finds what is broken or does not fit, and bounds what it can cost. It does
    not say who made them.
    """
    cure = f'; make them with: karpathy-control train {kind}'
    if not weights.is_file():
        raise WeightsError(f'weights {weights}: no such file{cure}')
    path = weights.with_suffix('.json')
    if not path.is_file():
        raise WeightsError(f'weights {weights}: its card {path.name} is missing{cure}')
    if weights.stat().st_size > MAX_WEIGHTS:
        raise WeightsError(f'weights {weights}: {weights.stat().st_size} bytes, the most that is '
                           f'loaded is {MAX_WEIGHTS}{cure}')
    try:
        card = _read_card(path)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f'card {path}: not readable ({error}){cure}') from error
    found = {'kind': card.kind, 'layout_version': card.layout_version,
             'layout_hash': card.layout_hash, 'sha256': sha256_of(weights)}
    needed = {'kind': kind, 'layout_version': LAYOUT_VERSION, 'layout_hash': layout_hash(),
              'sha256': card.sha256}
    for name, value in needed.items():
        if found[name] != value:
            raise WeightsError(f'weights {weights}: {name} is {found[name]!r}, needed is '
                               f'{value!r}{cure}')
    return card


def _read_card(path: Path) -> WeightsCard:
    """The card in a file, every entry of its type and the network of a bounded size."""
    entries = json.loads(read_text(path), object_pairs_hook=_unique)
    if not isinstance(entries, dict) or set(entries) != set(_TYPES):
        raise ConfigError(f'it takes the entries {", ".join(_TYPES)}')
    for name, kind in _TYPES.items():
        if type(entries[name]) is not kind:
            raise ConfigError(f'{name} is {entries[name]!r:.80}, needed is a {kind.__name__}')
    card = WeightsCard(**entries)
    for name, value in card.model.items():
        for number in value if isinstance(value, list) else [value]:
            if type(number) not in (bool, int, float, str) or (
                    not isinstance(number, str) and not 0 <= number <= MAX_OPTION):
                raise ConfigError(f'model.{name} is {value!r:.80}; it takes text and numbers from '
                                  f'0 to {MAX_OPTION}')
    return card


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ConfigError where a name is given twice: the first would be dropped."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ConfigError('a name is given twice')
    return found

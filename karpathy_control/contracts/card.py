"""The card that lies beside every weight file, and the checks before anything is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from karpathy_control.contracts.layout import LAYOUT_VERSION, layout_hash


class WeightsError(RuntimeError):
    """A weight file is missing, tampered with or made for another layout; the text says which."""


@dataclass(frozen=True)
class WeightsCard:
    """Where a weight file comes from and what it was measured to do."""

    kind: str  # 'encoder' or 'actor'
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

    Raises WeightsError naming the file, the value found and the value needed.
    """
    cure = f'; make them with: karpathy-control train {kind}'
    if not weights.is_file():
        raise WeightsError(f'weights {weights}: no such file{cure}')
    path = weights.with_suffix('.json')
    if not path.is_file():
        raise WeightsError(f'weights {weights}: its card {path.name} is missing{cure}')
    try:
        card = WeightsCard(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
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

"""What a node consumed and decided, in order, so that a replay can do the very same again.

A journal comes in chunks, each one JSON object: `node`, `run` (ns, when the node was built),
`number` of the chunk in the run, `parameters` at its beginning, `weights` (SHA-256 or empty),
`made_with` (versions and machine), and `events`. An event is a list that begins with its kind:

    state STAMP PACKED              everything that what follows depends on, see `pack`
    parameters MAP                  all of them, changed from here on
    reset                           the node forgot its past (it was activated)
    message TOPIC STAMP RECEIVED    `sensor` took a message (steady ns)
    release NOW STEADY              `sensor` looked for sets that can go out (ns)
    set STAMP PARTS LATE            the others took a set; LATE: see policy/runtime.py

A replay starts at a `state`, which comes soon after somebody begins to listen, and every
STATE_PERIOD.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ConfigError

STATE_PERIOD = 5.0  # s
MOST_STATE = 64_000_000  # bytes, unpacked: the largest memory of the policy has a fifth
KINDS = {'state': (int, str), 'parameters': (dict,), 'reset': (), 'message': (str, int, int),
         'release': (int, int), 'set': (int, list, bool)}


@dataclass(frozen=True)
class Chunk:
    """One message of a journal."""

    node: str
    run: int
    number: int
    parameters: dict[str, Any]
    weights: str
    made_with: dict[str, str]
    events: list[list[Any]]

    def text(self) -> str:
        """As it is sent."""
        return json.dumps(vars(self), separators=(',', ':'))


def parse(text: str) -> Chunk:
    """The inverse of `Chunk.text`. ConfigError for what is none."""
    try:
        chunk = Chunk(**json.loads(text))
        named = (chunk.node, chunk.run, chunk.number, chunk.parameters, chunk.weights,
                 chunk.made_with, chunk.events)
        kinds = (str, int, int, dict, str, dict, list)
        fits = all(isinstance(value, kind) for value, kind in zip(named, kinds, strict=True))
        for kind, *values in chunk.events if fits else ():
            fits = fits and len(values) == len(KINDS[kind]) and all(
                isinstance(v, k) for v, k in zip(values, KINDS[kind], strict=True))
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f'not a chunk of a journal: {text!r:.80} ({error!r})') from None
    if not fits:
        raise ConfigError(f'not a chunk of a journal: {text!r:.80}')
    return chunk


def pack(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Arrays by name as text."""
    file = io.BytesIO()
    np.savez(file, **dict(arrays))  # type: ignore[arg-type]  # numpy's stub: a flag of savez
    return base64.b64encode(zlib.compress(file.getvalue(), 1)).decode()


def unpack(text: str) -> dict[str, NDArray[Any]]:
    """The inverse of `pack`. ConfigError for what is none."""
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(base64.b64decode(text, validate=True), MOST_STATE)
        if not inflater.eof:
            raise ValueError(f'more than {MOST_STATE} bytes, or cut off')
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ConfigError(f'state of a journal: {error}') from None

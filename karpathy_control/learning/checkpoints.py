"""Checkpoints of a training run as safetensors: models, optimiser, iteration, random state.

Nothing is pickled. A checkpoint is replaced atomically, so that a crash while writing leaves the
one before.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from karpathy_control.contracts.config import ConfigError

FORMAT = 'karpathy-control-checkpoint-1'


class CheckpointError(ConfigError):
    """A checkpoint is missing, unreadable or of another kind; the text says which."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on."""

    models: dict[str, dict[str, torch.Tensor]]  # by name: state dict
    optimizer: dict[str, Any]  # as torch.optim.Optimizer.state_dict()
    meta: dict[str, Any]  # JSON values: iteration, seed, steps, ...


def save(path: Path, models: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer,
         meta: dict[str, Any]) -> None:
    """Write a checkpoint; `meta` holds JSON values only. The torch random state goes along."""
    tensors = {f'model.{name}.{key}': value.detach().clone().contiguous()
               for name, model in models.items() for key, value in model.state_dict().items()}
    state = optimizer.state_dict()
    for index, entry in state['state'].items():
        for key, value in entry.items():
            tensors[f'optimizer.{index}.{key}'] = torch.as_tensor(value).clone().contiguous()
    tensors['random.torch'] = torch.get_rng_state()
    header = {'format': FORMAT, 'meta': json.dumps(meta),
              'groups': json.dumps(state['param_groups'])}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix('.partial')
    save_file(tensors, str(partial), metadata=header)
    os.replace(partial, path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and set the torch random state from it. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f'checkpoint {path}: no such file; start without --resume')
    models: dict[str, dict[str, torch.Tensor]] = {}
    entries: dict[int, dict[str, torch.Tensor]] = {}
    try:
        with safe_open(str(path), framework='pt') as file:
            header = file.metadata() or {}
            if header.get('format') != FORMAT:
                raise CheckpointError(f'checkpoint {path}: format is {header.get("format")!r}, '
                                      f'needed is {FORMAT!r}')
            for key in file.keys():  # no mapping, but this
                kind, name, *rest = key.split('.', 2)
                value = file.get_tensor(key)
                if kind == 'model':
                    models.setdefault(name, {})[rest[0]] = value
                elif kind == 'optimizer':
                    entries.setdefault(int(name), {})[rest[0]] = value
                else:
                    torch.set_rng_state(value)
    except CheckpointError:
        raise
    except Exception as error:  # safetensors raises its own, undocumented class
        raise CheckpointError(f'checkpoint {path}: not readable ({error})') from error
    return Checkpoint(models, {'state': entries, 'param_groups': json.loads(header['groups'])},
                      json.loads(header['meta']))

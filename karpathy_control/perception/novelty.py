"""How far an observation lies from what the encoder was trained on: one number, about 3 at most.

The tokens of the encoder are pooled (mean of the patches, mean of the sectors) and their
Mahalanobis distance to the training frames is taken, apart for each set of sensors that speak.
It is scaled so that of a hundred frames from worlds never seen one is above 3.

Limits: it sees what moves the pooled tokens (noise for an image, ranges that no room gives), and
misses what training made the network indifferent to (brightness, tint, a mirror) and what is
wrong in a small part of the view. It is a warning and no part of the safety case.

The statistics lie beside the weights in `<weights>.ood.safetensors`, bound to them by the hash.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from karpathy_control.contracts.card import sha256_of
from karpathy_control.contracts.layout import SECTORS
from karpathy_control.perception.encoder import PATCHES

AT_99 = 3.0  # score that one in a hundred frames exceeds
SHRINK = 0.02  # of the mean variance, added to every direction
PATTERNS = ((1, 1, 1), (1, 0, 1), (0, 0, 1), (1, 1, 0), (1, 0, 0))  # image, depth, scan present


def pooled(tokens: Tensor) -> Tensor:
    """Mean of the patches and mean of the sectors. Shape: (B, tokens, width) -> (B, 2 width)."""
    return torch.cat((tokens[:, :PATCHES].mean(1),
                      tokens[:, PATCHES:PATCHES + SECTORS].mean(1)), 1)


def statistics(train: Tensor, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and whitening matrix of pooled tokens, scaled on frames of worlds held out.

    Shape: (N, d), (M, d) -> (d,), (d, d) with score = norm(matrix @ (pooled - mean)).
    """
    mean = train.double().mean(0)
    centred = train.double() - mean
    covariance = centred.T @ centred / len(train)
    level = SHRINK * covariance.diagonal().mean()
    values, vectors = torch.linalg.eigh(covariance)
    whiten = (values.clamp_min(0.0) + level).rsqrt()[:, None] * vectors.T
    distance = ((held_out.double() - mean) @ whiten.T).norm(dim=1)
    return mean.float(), (whiten * (AT_99 / torch.quantile(distance, 0.99))).float()


def beside(weights: Path) -> Path:
    """Where the statistics of a weight file lie."""
    return weights.with_suffix('.ood.safetensors')


def save(weights: Path, parts: dict[tuple[int, int, int], tuple[Tensor, Tensor]],
         command: str) -> Path:
    """Write the statistics of a weight file; returns their path."""
    tensors: dict[str, Tensor] = {}
    for pattern, (mean, whiten) in parts.items():
        name = ''.join(map(str, pattern))
        tensors |= {f'mean.{name}': mean.contiguous(), f'whiten.{name}': whiten.half()}
    save_file(tensors, str(beside(weights)),
              {'encoder_sha256': sha256_of(weights), 'command': command})
    return beside(weights)


class Novelty:
    """Scores pooled tokens; NaN where nothing is known of the sensors that speak."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        """Read the statistics of `weights`; `problem` says why there are none."""
        self.problem = ''
        self._parts: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        path = beside(weights)
        cure = 'karpathy-control train novelty makes it'
        if not path.is_file():
            self.problem = f'{path}: no such file; {cure}'
            return
        try:
            with safe_open(str(path), 'pt') as file:
                names = set(file.keys())
                if (file.metadata() or {}).get('encoder_sha256') != sha256_of(weights):
                    self.problem = f'{path}: made for other weights; {cure}'
                    return
                for pattern in PATTERNS:
                    name = ''.join(map(str, pattern))
                    if f'mean.{name}' in names:
                        parts = (file.get_tensor(f'mean.{name}').float().to(device),
                                 file.get_tensor(f'whiten.{name}').float().to(device))
                        self._parts[pattern] = parts
        except (SafetensorError, OSError) as error:
            self.problem = f'{path}: not readable ({error}); {cure}'

    def distance(self, vectors: Tensor, pattern: tuple[int, ...]) -> Tensor:
        """Score pooled tokens of one batch that has the same sensors. (B, 2 width) -> (B,)."""
        if pattern not in self._parts:
            return torch.full((len(vectors),), torch.nan, device=vectors.device)
        mean, whiten = self._parts[pattern]
        return torch.linalg.vector_norm((vectors.float() - mean) @ whiten.T, dim=1)

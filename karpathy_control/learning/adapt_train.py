"""The training behind `karpathy-control adapt`: the camera's layers, on drives and simulation.

Half of each batch are frames of the robot's own drives: the scan is hidden in most sectors,
and there the network has to say from the picture what the lidar measured (lidar_labels.py);
patches of the picture are hidden, too, and a decoder that exists in training only fills them in
from the column features. The other half are simulated frames with exact labels, so that what was
known is not lost; on them the sector tokens are held to what they were, too, since entities are
read from them. Trained are the layers of the camera (CAMERA) and, by matrices of low rank that are
added to theirs (LoRA), the blocks of the transformer.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as fn
from torch import Tensor, nn
from torch.nn.utils import parametrize

from karpathy_control.contracts.layout import IMAGE_HEIGHT, SECTORS
from karpathy_control.learning import checkpoints
from karpathy_control.learning.augment import Augmentation, Batch, FrameSet, evaluation
from karpathy_control.learning.encoder_losses import camera_losses, shown_by_lidar
from karpathy_control.learning.encoder_metrics import run
from karpathy_control.learning.pretrain import CLIP, TrainingError
from karpathy_control.perception.encoder import COLUMNS, PATCH, PATCHES, Decoded, Encoder

CAMERA = ('stem.', 'camera_head.')  # trained whole
RANK = 8  # of what is added to each matrix of the blocks
CELL = 8  # px, height of a cell that the decoder fills in; it is as wide as a column
CELLS = IMAGE_HEIGHT // CELL
TRIM_NEARER, TRIM_FREE = 0.3, 0.5  # of the labels of a batch, see `trimmed`

# The camera's error belongs to one side: a mirror would teach the opposite.
DRIVES = Augmentation(mirror=0.0, colour=0.15, pixel_noise=3.0, depth_noise=0.0, depth_holes=0.0,
                      beam_drop=0.0, no_image=0.0, no_depth=1.0, no_scan=0.6, no_imu=0.1,
                      no_past=0.1, masked=1.0, patch_mask=0.1, sector_mask=0.5)
SIMULATED = Augmentation()


@dataclass(frozen=True)
class Settings:
    """What decides a run."""

    epochs: int = 8
    batch: int = 32  # of drives, and as many simulated
    rate: float = 2e-3
    decay: float = 0.02
    masked: float = 0.1  # weight of the masked reconstruction
    keep: float = 1.0  # weight of the sector tokens staying what they were on simulated frames
    patience: int = 3  # epochs without a better loss on the held-out drive
    seed: int = 0


class LowRank(nn.Module):
    """A matrix with another of low rank added, at first zero."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, columns) * columns ** -0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Shape: (rows, columns), same out."""
        return weight + self.up @ self.down


def add_low_rank(encoder: Encoder, rank: int = RANK) -> None:
    """Give every matrix of the blocks its LowRank."""
    for layer in encoder.blocks.modules():
        if isinstance(layer, nn.Linear):
            added = LowRank(layer.out_features, layer.in_features, rank)
            parametrize.register_parametrization(layer, 'weight', added.to(layer.weight.device))


def merged(encoder: Encoder) -> dict[str, Tensor]:
    """The weights of the plain network that answers the same."""
    state = {name: value.detach().clone() for name, value in encoder.state_dict().items()
             if '.parametrizations.' not in name}
    for name, layer in encoder.named_modules():
        if parametrize.is_parametrized(layer):
            state[f'{name}.weight'] = layer.weight.detach().clone()
    return state


class ColumnDecoder(nn.Module):
    """What each column of the picture shows, from its features: hidden patches are filled in."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.out = nn.Linear(columns, CELLS * 3)

    def forward(self, columns: Tensor) -> Tensor:
        """Shape: (B, COLUMNS, c) -> (B, COLUMNS, CELLS, 3), normalised colours."""
        return self.out(columns).view(len(columns), COLUMNS, CELLS, 3)


def column_targets(image: Tensor) -> Tensor:
    """Mean colour of each cell, each picture normalised.

    Shape: (B, H, W, 3) uint8 -> (B, COLUMNS, CELLS, 3).
    """
    x = fn.avg_pool2d(image.permute(0, 3, 1, 2).float() / 255.0, (CELL, 4))
    x = x - x.mean((1, 2, 3), keepdim=True)
    return (x / (x.std((1, 2, 3), keepdim=True) + 0.05)).permute(0, 3, 2, 1)


def hidden_cells(patch_mask: Tensor) -> Tensor:
    """Which cells lie in hidden patches. Shape: (B, PATCHES) -> (B, COLUMNS, CELLS) bool."""
    rows = IMAGE_HEIGHT // PATCH
    grid = patch_mask.view(-1, rows, PATCHES // rows).transpose(1, 2)
    return grid.repeat_interleave(PATCH // 4, 1).repeat_interleave(PATCH // CELL, 2)


def trimmed(camera: Tensor, target: Tensor) -> Tensor:
    """The labels without those that something out of the lidar's plane most likely belies.

    Left out is where the network says that something is far nearer than the lidar does: the first
    TRIM_NEARER of the finite labels by that ratio, and TRIM_FREE of the free ones by confidence.
    Shapes: (B, S, SUB_BINS, 3), (B, S, SUB_BINS) m -> as target, NaN where left out.
    """
    said, finite = camera.detach().float(), torch.isfinite(target)
    for which, measure, share in (
            (finite, target.clamp(min=0.05).log() - said[..., 1], TRIM_NEARER),
            (torch.isinf(target), said[..., 0], TRIM_FREE)):
        if bool(which.any()):
            most = measure[which].sort().values[int((1.0 - share) * (int(which.sum()) - 1))]
            target = torch.where(which & (measure > most), math.nan, target)
    return target


def drive_losses(camera: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Camera ranges against the lidar's, where the network could not see the scan."""
    hidden = (batch.sector_mask | (batch.inputs.present[:, 2:3] < 0.5))[..., None]
    target = trimmed(camera, torch.where(hidden, batch.camera, math.nan))
    return camera_losses(camera, target, torch.ones_like(target, dtype=torch.bool))


class Trainer:
    """One run: encoder, decoder, optimiser, checkpoints after every epoch."""

    def __init__(self, settings: Settings, encoder: Encoder, drives: FrameSet, held_out: FrameSet,
                 simulated: FrameSet, folder: Path, start_sha256: str) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.folder, self.encoder = settings, folder, encoder
        self._drives, self._held_out, self._simulated = drives, held_out, simulated
        self._made_from = {'settings': asdict(settings), 'encoder_sha256': start_sha256,
                           'frames': [len(drives), len(held_out), len(simulated)]}
        self.decoder = ColumnDecoder(encoder.stem.across.out_channels).to(drives.device)
        self._before = copy.deepcopy(encoder).requires_grad_(False)
        add_low_rank(encoder)
        self._trained = []
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(name.startswith(CAMERA) or name.endswith(('.up', '.down')))
            if parameter.requires_grad:
                self._trained.append(parameter)
        self._columns = torch.empty(0)
        encoder.stem.register_forward_hook(self._keep_columns)
        self.optimizer = torch.optim.AdamW([*self._trained, *self.decoder.parameters()],
                                           lr=settings.rate, weight_decay=settings.decay)
        self.steps_per_epoch = max(len(drives) // settings.batch, 1)
        self.best_state = merged(encoder)
        self.epoch, self.best_epoch, self.best = 0, 0, math.inf
        self.first = math.nan  # held-out loss before any training
        self.seconds = 0.0

    def _keep_columns(self, module: nn.Module, taken: object, given: tuple[Tensor, Tensor]
                      ) -> None:
        self._columns = given[1]

    # --- going on ---

    def save(self) -> None:
        """Write the checkpoint of the last finished epoch, the best weights in it."""
        best = Encoder(self.encoder.shape)
        best.load_state_dict(self.best_state)
        checkpoints.save(
            self.folder / 'last.safetensors',
            {'encoder': self.encoder, 'decoder': self.decoder, 'best': best}, self.optimizer,
            {'epoch': self.epoch, 'best': self.best, 'best_epoch': self.best_epoch,
             'first': self.first, 'seconds': self.seconds, **self._made_from})

    def resume(self) -> None:
        """Go on from the last checkpoint; CheckpointError where it is of another run."""
        kept = checkpoints.load(self.folder / 'last.safetensors')
        for name, value in self._made_from.items():
            if kept.meta.get(name) != value:
                raise checkpoints.CheckpointError(
                    f'checkpoint in {self.folder} has {name} {kept.meta.get(name)}, this run '
                    f'{value}; resume with the same')
        self.encoder.load_state_dict(kept.models['encoder'])
        self.decoder.load_state_dict(kept.models['decoder'])
        self.best_state = kept.models['best']
        self.optimizer.load_state_dict(kept.optimizer)
        for name in ('epoch', 'best', 'best_epoch', 'first', 'seconds'):
            setattr(self, name, kept.meta[name])

    # --- training ---

    def train_epoch(self, step: Callable[[], None] = lambda: None) -> float:
        """One pass over the drives; returns the mean loss. `step` is called after each step."""
        s = self.settings
        generator = torch.Generator().manual_seed(1_000_003 * s.seed + self.epoch)
        order = torch.randperm(len(self._drives), generator=generator)
        start, mean = time.monotonic(), 0.0
        for group in self.optimizer.param_groups:  # half a cosine over all epochs
            group['lr'] = s.rate * 0.5 * (1.0 + math.cos(math.pi * self.epoch / s.epochs))
        for i in range(self.steps_per_epoch):
            mean += self._step(order[i * s.batch:(i + 1) * s.batch], generator
                               ) / self.steps_per_epoch
            step()
        self.seconds += time.monotonic() - start
        self.epoch += 1
        return mean

    def _step(self, index: Tensor, generator: torch.Generator) -> float:
        drives = self._drives.batch(index, DRIVES, generator)
        loss = sum(drive_losses(self._decoded(drives).camera, drives).values(), torch.zeros(()))
        hidden = hidden_cells(drives.patch_mask)[..., None].float()
        error = (self.decoder(self._columns) - column_targets(drives.inputs.image)).abs()
        loss = loss + self.settings.masked * (error * hidden).sum() / (
            3.0 * hidden.sum()).clamp(min=1.0)
        chosen = torch.randint(len(self._simulated), (len(index),), generator=generator)
        known = self._simulated.batch(chosen, SIMULATED, generator)
        decoded = self._decoded(known)
        with torch.no_grad():
            before = self._before(known.inputs, known.patch_mask, known.sector_mask)
        loss = loss + sum(camera_losses(
            decoded.camera, known.camera, shown_by_lidar(known.inputs.scan, known.camera)
        ).values(), torch.zeros(()))
        of_sectors = slice(PATCHES, PATCHES + SECTORS)
        loss = loss + self.settings.keep * fn.mse_loss(decoded.tokens[:, of_sectors],
                                                       before.tokens[:, of_sectors])
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f'the loss is not finite in epoch {self.epoch + 1}; nothing is '
                                f'written but {self.folder / "last.safetensors"}')
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained, CLIP)
        self.optimizer.step()
        return float(loss.detach())

    def _decoded(self, batch: Batch) -> Decoded:
        return self.encoder(batch.inputs, batch.patch_mask, batch.sector_mask)

    def validate(self) -> float:
        """Loss of the camera alone on the held-out drive."""
        total, count = 0.0, 0
        for decoded, batch in run(self.encoder, self._held_out, evaluation(False, scan=False)):
            with torch.inference_mode():
                total += float(sum(drive_losses(decoded.camera, batch).values())) * len(
                    batch.camera)
            count += len(batch.camera)
        return total / count

    def fit(self, say: Callable[[str], None], step: Callable[[], None] = lambda: None) -> None:
        """Train until the last epoch or until the held-out drive stops improving.

        Ctrl-C loses no more than the epoch that it fell into.
        """
        if not self.epoch:
            self.first = self.best = self.validate()
            say(f'before: held-out loss {self.first:.4f}')
        while self.epoch < self.settings.epochs:
            mean = self.train_epoch(step)
            found = self.validate()
            if found < self.best:
                self.best, self.best_epoch = found, self.epoch
                self.best_state = merged(self.encoder)
            self.save()
            say(f'epoch {self.epoch}: loss {mean:.4f}, held out {found:.4f} (best {self.best:.4f} '
                f'at {self.best_epoch}), {self.seconds:.0f} s')
            if self.epoch - self.best_epoch >= self.settings.patience:
                say('stopped early')
                break

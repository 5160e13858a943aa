"""Trains the encoder on recorded frames: supervised heads with masked reconstruction beside them.

`main` records the frames that are missing, trains with AdamW under a warm-up and cosine schedule,
keeps a running average of the weights, stops early on worlds held out, and writes the weights
with a card of figures measured on a third set of worlds. Runs resume at the last epoch.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from karpathy_control.compute.device import open_device
from karpathy_control.contracts.card import write_card
from karpathy_control.learning import checkpoints, dataset, novelty
from karpathy_control.learning.augment import Augmentation, FrameSet, evaluation
from karpathy_control.learning.encoder_losses import Decoders, LossWeights, losses, total
from karpathy_control.learning.encoder_metrics import all_metrics, calibrate, run
from karpathy_control.perception.encoder import Encoder, EncoderShape
from karpathy_control.perception.runtime import load_encoder

AVERAGE = 0.998  # decay of the running average of the weights, per step, at most
CLIP = 1.0  # norm of the gradient
HELD_OUT_SHARDS = 8  # of each of validation and test


class TrainingError(RuntimeError):
    """The loss is no longer finite; the text says where the evidence lies."""


@dataclass(frozen=True)
class Settings:
    """What decides a run."""

    shards: int = 72
    held_out: int = HELD_OUT_SHARDS
    epochs: int = 8
    batch: int = 32
    rate: float = 1e-3
    decay: float = 0.02
    warm_up: int = 300  # steps
    patience: int = 3  # epochs without a better validation loss
    seed: int = 0


def schedule(step: int, steps: int, warm_up: int) -> float:
    """Share of the top learning rate: linear up, then half a cosine down to 2 %."""
    if step < warm_up:
        return (step + 1) / warm_up
    along = min((step - warm_up) / max(steps - warm_up, 1), 1.0)
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * along))


def running_average(average: torch.Tensor, value: torch.Tensor, count: torch.Tensor | int
                    ) -> torch.Tensor:
    """Exponential average whose window grows with the steps, so that it forgets the start."""
    n = float(count)
    return torch.lerp(average, value, 1.0 - min(AVERAGE, (1.0 + n) / (10.0 + n)))


class Trainer:
    """One run: models, optimiser, averages, checkpoints."""

    def __init__(self, settings: Settings, train: FrameSet, validation: FrameSet, folder: Path,
                 device: torch.device, shape: EncoderShape | None = None) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.folder, self.device = settings, folder, device
        self._train, self._validation = train, validation
        self.encoder = Encoder(shape).to(device)
        self.decoders = Decoders(self.encoder.shape.width).to(device)
        self.average = AveragedModel(self.encoder, avg_fn=running_average)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=settings.rate, betas=(0.9, 0.98))
        self.steps_per_epoch = max(len(train) // settings.batch, 1)
        self.weights = LossWeights()
        self.epoch = 0
        self.best = math.inf
        self.best_epoch = -1
        self.seconds = 0.0

    def _groups(self) -> list[dict[str, Any]]:
        """Matrices decay, biases, norms and positions do not."""
        parameters = [*self.encoder.named_parameters(), *self.decoders.named_parameters()]
        matrices = [p for name, p in parameters if p.dim() > 1 and 'position' not in name]
        rest = [p for name, p in parameters if p.dim() <= 1 or 'position' in name]
        return [{'params': matrices, 'weight_decay': self.settings.decay},
                {'params': rest, 'weight_decay': 0.0}]

    @property
    def _models(self) -> dict[str, torch.nn.Module]:
        return {'encoder': self.encoder, 'decoders': self.decoders, 'average': self.average}

    def save(self) -> None:
        """Write the checkpoint of the last finished epoch."""
        meta = {'epoch': self.epoch, 'best': self.best, 'best_epoch': self.best_epoch,
                'seconds': self.seconds, 'settings': asdict(self.settings)}
        checkpoints.save(self.folder / 'last.safetensors', self._models, self.optimizer, meta)

    def resume(self) -> None:
        """Go on from the last checkpoint; CheckpointError where it was made by other settings."""
        kept = checkpoints.load(self.folder / 'last.safetensors')
        if kept.meta['settings'] != asdict(self.settings):
            raise checkpoints.CheckpointError(
                f'checkpoint in {self.folder} has settings {kept.meta["settings"]}, this run '
                f'{asdict(self.settings)}; resume with the same ones')
        for name, model in self._models.items():
            model.load_state_dict(kept.models[name])
        self.optimizer.load_state_dict(kept.optimizer)
        self.epoch, self.best = kept.meta['epoch'], kept.meta['best']
        self.best_epoch, self.seconds = kept.meta['best_epoch'], kept.meta['seconds']

    def train_epoch(self, progress: Progress | None = None) -> dict[str, float]:
        """One pass over the frames; returns the mean of each loss term."""
        s = self.settings
        generator = torch.Generator().manual_seed(1_000_003 * s.seed + self.epoch)
        order = torch.randperm(len(self._train), generator=generator)
        steps = s.epochs * self.steps_per_epoch
        task = None if progress is None else progress.add_task(
            f'epoch {self.epoch + 1}/{s.epochs}', total=self.steps_per_epoch)
        sums: dict[str, float] = {}
        start = time.monotonic()
        self.encoder.train()
        for i in range(self.steps_per_epoch):
            step = self.epoch * self.steps_per_epoch + i
            for group in self.optimizer.param_groups:
                group['lr'] = s.rate * schedule(step, steps, s.warm_up)
            index = order[i * s.batch:(i + 1) * s.batch]
            terms = self._step(index, generator)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value / self.steps_per_epoch
            if progress is not None and task is not None:
                progress.advance(task)
        self.seconds += time.monotonic() - start
        self.epoch += 1
        return sums

    def _step(self, index: torch.Tensor, generator: torch.Generator) -> dict[str, float]:
        batch = self._train.batch(index, Augmentation(), generator)
        with torch.autocast(self.device.type, torch.bfloat16,
                            enabled=self.device.type == 'cuda'):
            decoded = self.encoder(batch.inputs, batch.patch_mask, batch.sector_mask)
            terms = losses(decoded, batch, self.decoders)
        loss = total(terms, self.weights)
        if not bool(torch.isfinite(loss)):
            evidence = self.folder / 'not_finite.json'
            evidence.write_text(json.dumps({
                'epoch': self.epoch, 'frames': index.tolist(),
                'terms': {name: float(value.detach()) for name, value in terms.items()}}) + '\n')
            raise TrainingError(f'the loss is not finite; terms and frames are in {evidence}')
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            [p for group in self.optimizer.param_groups for p in group['params']], CLIP)
        self.optimizer.step()
        self.average.update_parameters(self.encoder)
        return {name: float(value.detach()) for name, value in terms.items()} | {
            'total': float(loss.detach())}

    def validate(self) -> dict[str, float]:
        """Mean loss terms of the averaged weights on held-out worlds, with and without depth."""
        sums: dict[str, float] = {}
        count = 0
        for depth in (False, True):
            encoder = cast(Encoder, self.average.module)
            for decoded, batch in run(encoder, self._validation, evaluation(depth)):
                with torch.inference_mode():
                    terms = losses(decoded, batch, self.decoders)
                    terms['total'] = total(terms, self.weights)
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                count += 1
        return {name: value / count for name, value in sums.items()}

    def fit(self, writer: SummaryWriter, progress: Progress | None, console: Console) -> None:
        """Train until the last epoch or until validation stops improving."""
        while self.epoch < self.settings.epochs:
            train = self.train_epoch(progress)
            held_out = self.validate()
            for name in train:
                writer.add_scalar(f'{name}/train', train[name], self.epoch)
                writer.add_scalar(f'{name}/validation', held_out[name], self.epoch)
            writer.flush()
            if held_out['total'] < self.best:
                self.best, self.best_epoch = held_out['total'], self.epoch
                export(self.average.module, self.folder / 'best.safetensors')
            self.save()
            console.print(f'epoch {self.epoch}: train {train["total"]:.4f}, validation '
                          f'{held_out["total"]:.4f} (best {self.best:.4f} at {self.best_epoch}), '
                          f'{self.seconds:.0f} s')
            if self.epoch - self.best_epoch >= self.settings.patience:
                console.print('stopped early')
                break


def export(encoder: torch.nn.Module, path: Path) -> None:
    """Write the weights in half precision; every figure of the card is measured on these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().half().contiguous()
               for name, tensor in encoder.state_dict().items()}, str(path))


def source_commit() -> str:
    """The commit of the checkout that this code runs from; 'unknown' where there is none."""
    try:
        done = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=Path(__file__).parent,
                              capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return 'unknown'
    return done.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    s = Settings()
    parser = argparse.ArgumentParser(
        prog='karpathy-control train encoder', description='train the encoder on rendered frames')
    parser.add_argument('--frames', type=Path, default=Path('runs/frames'),
                        help='folder of recorded shards; missing ones are recorded')
    parser.add_argument('--run', type=Path, default=Path('runs/encoder'),
                        help='folder of checkpoints and TensorBoard logs')
    parser.add_argument('--out', type=Path, default=Path('weights/encoder.safetensors'))
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint')
    parser.add_argument('--shards', type=int, default=s.shards, help='shards to train on')
    parser.add_argument('--held-out', type=int, default=s.held_out,
                        help='shards for validation, and as many for the test')
    parser.add_argument('--epochs', type=int, default=s.epochs)
    parser.add_argument('--batch', type=int, default=s.batch)
    parser.add_argument('--rate', type=float, default=s.rate, help='top learning rate')
    parser.add_argument('--decay', type=float, default=s.decay, help='weight decay')
    parser.add_argument('--warm-up', type=int, default=s.warm_up, help='steps')
    parser.add_argument('--patience', type=int, default=s.patience, help='epochs')
    parser.add_argument('--seed', type=int, default=s.seed)
    parser.add_argument('--device', default='cpu', help='cpu, cuda or cuda:N')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--workers', type=int, default=1, help='processes that record frames')
    return parser


def main(argv: list[str] | None = None) -> int:
    """Record, train, measure, write weights and card; the last line of output is JSON."""
    parser = _parser()
    args = parser.parse_args(argv)
    for name in ('shards', 'held_out', 'epochs', 'batch', 'threads', 'workers'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} {getattr(args, name)}: it takes 1 or more')
    if args.out.is_dir():
        parser.error(f'--out {args.out}: is a folder; it takes the weight file to write')
    torch.set_num_threads(args.threads)
    device = open_device(args.device)
    console = Console(stderr=True)
    counts = {'train': args.shards, 'validation': args.held_out, 'test': args.held_out}
    for split, count in counts.items():
        for path in dataset.record(args.frames, split, count, args.workers):
            console.print(f'recorded {path}')
    sets = {split: FrameSet(dataset.load(args.frames, split, count), device)
            for split, count in counts.items()}
    settings = Settings(args.shards, args.held_out, args.epochs, args.batch, args.rate,
                        args.decay, args.warm_up, args.patience, args.seed)
    args.run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(settings, sets['train'], sets['validation'], args.run, device)
    if args.resume:
        trainer.resume()
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with SummaryWriter(str(args.run)) as writer, Progress(*columns, console=console,
                                                           transient=True) as progress:
        trainer.fit(writer, progress if console.is_terminal else None, console)
    result = finish(args.run / 'best.safetensors', args.out, sets, trainer)
    print(json.dumps(result))
    return 0


def finish(best: Path, out: Path, sets: dict[str, FrameSet], trainer: Trainer) -> dict[str, Any]:
    """Calibrate the best weights and put them in place, with a card of figures on test worlds."""
    settings = trainer.settings
    shape = trainer.encoder.shape.to_dict()
    trained = Encoder(trainer.encoder.shape).to(trainer.device)
    trained.load_state_dict({name: tensor.float() for name, tensor in load_file(best).items()})
    spread = calibrate(trained, sets['validation'])
    export(trained, out)
    command = 'karpathy-control train encoder ' + ' '.join(
        f'--{name.replace("_", "-")} {value}' for name, value in asdict(settings).items())
    write_card(out, 'encoder', shape, command, settings.seed, source_commit(), {})
    encoder = load_encoder(out).to(trainer.device)
    pose = sets['test'].camera_pose()
    metrics = all_metrics(encoder, sets['test'], pose)
    novelty.fit(out, sets['train'], sets['validation'], command)
    metrics |= {'spread_factor': spread,
                'parameters': sum(p.numel() for p in encoder.parameters()),
                'bytes': out.stat().st_size, 'best_epoch': trainer.best_epoch,
                'validation_loss': round(trainer.best, 5),
                'train_frames': len(sets['train']), 'train_seconds': round(trainer.seconds)}
    write_card(out, 'encoder', shape, command, settings.seed, source_commit(), metrics)
    return {'weights': str(out), 'seconds': round(trainer.seconds), **metrics}


if __name__ == '__main__':
    raise SystemExit(main())

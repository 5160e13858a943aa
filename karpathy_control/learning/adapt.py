"""`karpathy-control adapt`: the encoder's camera to the user's own robot, without labels.

Drives that `karpathy-control record` wrote become frames, the lidar labels what it and the camera
both see (learning/lidar_labels.py), and the layers of the camera are trained on it beside masked
reconstruction and simulated frames (learning/adapt_train.py); a held-out drive stops early. The
weights are offered in FOLDER only where they are better on that drive and no worse on simulated
frames that no training used (learning/adapt_judge.py): else the exit status is 1, and the reasons
name both figures. A person puts them in place: `--promote FOLDER`. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import load_profile
from karpathy_control.contracts.card import sha256_of, verify_weights, write_card
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import read_text
from karpathy_control.learning import bag_frames, dataset, novelty
from karpathy_control.learning.adapt_judge import drive_metrics, objections, simulated_metrics
from karpathy_control.learning.adapt_train import Settings, Trainer
from karpathy_control.learning.augment import FrameSet
from karpathy_control.learning.pretrain import export, source_commit
from karpathy_control.perception.encoder import Encoder
from karpathy_control.perception.novelty import PATTERNS, beside, save, statistics
from karpathy_control.perception.runtime import load_encoder

WEIGHTS, REPORT, CHECKPOINT = 'encoder.safetensors', 'report.json', 'last.safetensors'
LEAST_LABELS = 2000  # of the lidar, in sub-bins, of each the drives and the held-out drive
EXIT_WORSE = 1


def _parser() -> argparse.ArgumentParser:
    s = Settings()
    parser = argparse.ArgumentParser(prog='karpathy-control adapt', description=__doc__)
    parser.add_argument('--bags', type=Path, nargs='+', metavar='DIR', help='drives to learn from')
    parser.add_argument('--held-out', type=Path, metavar='DIR', help='drive to stop early by')
    parser.add_argument('--out', type=Path, metavar='FOLDER', help='for weights, card, report, '
                        'checkpoint and frames')
    parser.add_argument('--promote', type=Path, metavar='FOLDER', help='put the weights that are '
                        'offered there in place, and do nothing else')
    parser.add_argument('--into', type=Path, metavar='FILE', help='with --promote: the weight '
                        f'file to replace; default: {WEIGHTS} of the installed weights')
    parser.add_argument('--robot', default='', metavar='PROFILE', help='where the sensors sit and '
                        "what topics are called; default: as the bag's own journal says")
    parser.add_argument('--namespace', default='', help='of the robot in the bags')
    parser.add_argument('--every', type=float, default=bag_frames.Source.every,
                        help='s between two frames at least')
    parser.add_argument('--weights', default=WEIGHTS, help='to begin with')
    parser.add_argument('--frames', type=Path, default=Path('runs/frames'),
                        help='folder of simulated frames; missing ones are recorded')
    parser.add_argument('--shards', type=int, default=16, help='of simulated frames to keep by')
    parser.add_argument('--check', type=int, default=4, help='shards to judge by, of other worlds')
    parser.add_argument('--epochs', type=int, default=s.epochs)
    parser.add_argument('--batch', type=int, default=s.batch)
    parser.add_argument('--rate', type=float, default=s.rate, help='top learning rate')
    parser.add_argument('--decay', type=float, default=s.decay, help='weight decay')
    parser.add_argument('--masked', type=float, default=s.masked,
                        help='weight of the masked reconstruction')
    parser.add_argument('--keep', type=float, default=s.keep,
                        help='weight of the sector tokens staying what they were')
    parser.add_argument('--patience', type=int, default=s.patience, help='epochs')
    parser.add_argument('--seed', type=int, default=s.seed)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint')
    return parser


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.promote is not None:
        return args
    if args.into is not None:
        parser.error('--into: goes with --promote')
    for name in ('bags', 'held_out', 'out'):
        if getattr(args, name) is None:
            parser.error(f'--{name.replace("_", "-")} is missing; adapting takes --bags, '
                         '--held-out and --out (or --promote FOLDER alone)')
    for name in ('shards', 'check', 'epochs', 'batch', 'patience', 'threads'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} {getattr(args, name)}: it takes 1 or more')
    for name, least in (('every', 0.0), ('rate', 1e-9), ('decay', 0.0), ('masked', 0.0),
                        ('keep', 0.0)):
        if not least <= getattr(args, name) < 1e3:  # false for NaN
            parser.error(f'--{name} {getattr(args, name)}: it takes {least:g} to 1000')
    if args.out.exists() and not args.out.is_dir():
        parser.error(f'--out {args.out}: is a file; it takes a folder')
    if args.held_out.resolve() in [bag.resolve() for bag in args.bags]:
        parser.error(f'--held-out {args.held_out}: is one of --bags; it takes a drive of its own')
    return args


def main(argv: list[str] | None = None) -> int:
    """Adapt, or promote; exit status 1 where the weights are refused."""
    args = _parse(argv)
    if args.promote is not None:
        result = promote(args.promote, args.into or find('weights', WEIGHTS))
        print(json.dumps(result))
        return 0
    torch.set_num_threads(args.threads)
    result = adapt(args, Console(stderr=True))
    print(json.dumps(result))
    return 0 if result['offered'] else EXIT_WORSE


def adapt(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Frames, training, judgement; the report, which is also in FOLDER."""
    start = find('weights', args.weights)
    encoder = load_encoder(start)  # before anything costs time
    if args.robot:
        load_profile(args.robot)
    args.out.mkdir(parents=True, exist_ok=True)
    withdraw(args.out)
    drives, held_out = _drives(args, console)
    simulated, known = (_simulated(args.frames, split, count, console)
                        for split, count in (('train', args.shards), ('test', args.check)))
    before = _figures(encoder, held_out, known)
    settings = Settings(args.epochs, args.batch, args.rate, args.decay, args.masked, args.keep,
                        args.patience, args.seed)
    trainer = Trainer(settings, encoder, drives, held_out, simulated, args.out, sha256_of(start))
    if args.resume:
        trainer.resume()
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True,
                  disable=not console.is_terminal) as progress:
        task = progress.add_task('steps', total=settings.epochs * trainer.steps_per_epoch,
                                 completed=trainer.epoch * trainer.steps_per_epoch)
        trainer.fit(console.print, lambda: progress.advance(task))
    adapted = Encoder(encoder.shape)
    adapted.load_state_dict({name: value.half().float()  # as they are written
                             for name, value in trainer.best_state.items()})
    after = _figures(adapted, held_out, known)
    reasons = objections(before, after)
    command = ' '.join(['karpathy-control adapt --bags', *(bag.name for bag in args.bags),
                        '--held-out', args.held_out.name,
                        *(f'--{name} {value}' for name, value in vars(settings).items())])
    report: dict[str, Any] = {
        'offered': not reasons, 'reasons': reasons, 'before': before, 'after': after,
        'frames': len(drives), 'held_out_frames': len(held_out),
        'simulated_frames': len(simulated), 'best_epoch': trainer.best_epoch,
        'train_seconds': round(trainer.seconds), 'adapted_from': sha256_of(start),
        'command': command}
    for reason in reasons:
        console.print(f'refused: {reason}')
    if not reasons:
        weights = args.out / WEIGHTS
        export(adapted, weights)
        _novelty(adapted, weights, (simulated, known), (drives, held_out), command)
        write_card(weights, 'encoder', encoder.shape.to_dict(), command, settings.seed,
                   source_commit(), {**after['simulated'], 'adapted': {
                       name: value for name, value in report.items() if name != 'command'}})
        report['sha256'] = sha256_of(weights)
        console.print(f'offered: {weights}; look at {REPORT}, then '
                      f'karpathy-control adapt --promote {args.out}')
    (args.out / REPORT).write_text(json.dumps(report, indent=2) + '\n')
    return report


def _drives(args: argparse.Namespace, console: Console) -> tuple[FrameSet, FrameSet]:
    """Frames of the bags, and of the held-out one."""
    namespace = f'/{args.namespace.strip("/")}' if args.namespace else ''
    source = bag_frames.Source(args.every, namespace, args.robot)
    sets = []
    for what, bags in (('--bags', args.bags), ('--held-out', [args.held_out])):
        parts = []
        for bag in bags:
            parts.append(bag_frames.load(bag_frames.extract(bag, args.out / 'frames', source)))
            console.print(f'{bag}: {len(parts[-1]["image"])} frames, '
                          f'{bag_frames.labels_of(parts[-1])} labels of the lidar')
        frames = bag_frames.together(parts)
        count = bag_frames.labels_of(frames)
        if count < LEAST_LABELS:
            raise ConfigError(f'{what} {" ".join(map(str, bags))}: {count} sub-bins with a label '
                              f'of the lidar; it takes {LEAST_LABELS}. Drive longer, or see '
                              'whether camera and lidar look the same way (doc/adapt.md)')
        sets.append(FrameSet(frames))
    return sets[0], sets[1]


def _simulated(folder: Path, split: str, count: int, console: Console) -> FrameSet:
    for path in dataset.record(folder, split, count):
        console.print(f'recorded {path}')
    return FrameSet(dataset.load(folder, split, count))


def _figures(encoder: Encoder, held_out: FrameSet, known: FrameSet) -> dict[str, Any]:
    return {'drive': drive_metrics(encoder, held_out, scan=False),
            'drive_with_scan': drive_metrics(encoder, held_out, scan=True),
            'simulated': simulated_metrics(encoder, known)}


def _novelty(encoder: Encoder, weights: Path, simulated: tuple[FrameSet, FrameSet],
             drives: tuple[FrameSet, FrameSet], command: str) -> None:
    """Statistics of the tokens: the robot's own drives are nothing strange any more."""
    parts = {}
    for pattern in PATTERNS:
        pairs = [simulated] if pattern[1] else [simulated, drives]  # drives show no depth
        train, held_out = (torch.cat([novelty.encode(encoder, pair[i], pattern)
                                      for pair in pairs]) for i in (0, 1))
        parts[pattern] = statistics(train, held_out)
    save(weights, parts, command)


def withdraw(folder: Path) -> None:
    """Take away what an earlier run offered there."""
    for path in (*_files(folder / WEIGHTS), folder / REPORT):
        path.unlink(missing_ok=True)


def _files(weights: Path) -> tuple[Path, Path, Path]:
    return weights, weights.with_suffix('.json'), beside(weights)


def promote(folder: Path, into: Path) -> dict[str, Any]:
    """Put the weights that are offered in a folder in the place of others, which are kept.

    ConfigError or WeightsError where none are offered there, or they are not those of the report.
    """
    weights, report = folder / WEIGHTS, folder / REPORT
    if not report.is_file():
        raise ConfigError(f'{folder}: holds no {REPORT}; --promote takes the --out of an adapt '
                          'that came to its end')
    said = json.loads(read_text(report))
    if not isinstance(said, dict) or said.get('offered') is not True:
        raise ConfigError(f'{folder}: its weights were refused; {REPORT} has the reasons')
    card = verify_weights(weights, 'encoder')
    if card.sha256 != said.get('sha256'):
        raise ConfigError(f'{weights}: SHA-256 {card.sha256}, the report judged '
                          f'{said.get("sha256")}')
    kept = into.parent / f'before_{card.sha256[:8]}'
    for source, target in zip(_files(weights), _files(into), strict=True):
        if target.is_file():
            kept.mkdir(exist_ok=True)
            shutil.copy2(target, kept / target.name)
        partial = target.with_name(target.name + '.partial')
        shutil.copyfile(source, partial)
        os.replace(partial, target)
    return {'promoted': str(into), 'sha256': card.sha256, 'before': str(kept),
            'refit': f'karpathy-control train surrogate --weights {into}'}


if __name__ == '__main__':
    raise SystemExit(main())

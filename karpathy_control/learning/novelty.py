"""`karpathy-control train novelty`: what the out-of-distribution score compares with.

Records the frames that are missing, encodes them as each set of sensors would give them, and
writes `<weights>.ood.safetensors`. Scaled on the validation worlds, judged on the test worlds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from karpathy_control.learning import dataset
from karpathy_control.learning.augment import FrameSet, evaluation
from karpathy_control.perception.encoder import Encoder, Inputs
from karpathy_control.perception.novelty import (
    PATTERNS,
    Novelty,
    pooled,
    save,
    statistics,
)
from karpathy_control.perception.runtime import load_encoder

# What the score is asked to find, by name, and what it does to the inputs.
STRANGE: dict[str, Callable[[Inputs], Inputs]] = {
    'image_noise': lambda i: i._replace(image=torch.randint(
        0, 256, i.image.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))),
    'image_saturated': lambda i: i._replace(image=torch.full_like(i.image, 255)),
    'scan_random': lambda i: i._replace(scan=8.0 * torch.rand(
        i.scan.shape, generator=torch.Generator().manual_seed(0))),
    'scan_all_near': lambda i: i._replace(scan=torch.full_like(i.scan, 0.3)),
}


def encode(encoder: Encoder, frames: FrameSet, pattern: tuple[int, int, int],
           change: Callable[[Inputs], Inputs] | None = None) -> Tensor:
    """Tokens of every frame, pooled, on the CPU. Shape: (frames, 2 width)."""
    how = evaluation(bool(pattern[1]), bool(pattern[0]), bool(pattern[2]))
    generator, parts = torch.Generator().manual_seed(0), []
    with torch.inference_mode():
        for index in torch.arange(len(frames)).split(64):
            inputs = frames.batch(index, how, generator).inputs
            seen = encoder(inputs if change is None else change(inputs)).tokens
            parts.append(pooled(seen).cpu())
    return torch.cat(parts)


def fit(weights: Path, train: FrameSet, held_out: FrameSet, command: str) -> Path:
    """Write the statistics of a weight file."""
    encoder = load_encoder(weights).to(train.device)
    return save(weights, {pattern: statistics(encode(encoder, train, pattern),
                                              encode(encoder, held_out, pattern))
                          for pattern in PATTERNS}, command)


def judge(weights: Path, test: FrameSet) -> dict[str, dict[str, float]]:
    """Quantiles of the score on frames as they are and made strange, by name."""
    encoder, novelty = load_encoder(weights), Novelty(weights, torch.device('cpu'))
    pattern, found = PATTERNS[1], {}
    changes: dict[str, Callable[[Inputs], Inputs] | None] = {'as_it_is': None, **STRANGE}
    for name, change in changes.items():
        score = novelty.distance(encode(encoder, test, pattern, change), pattern)
        found[name] = {key: round(float(value), 3) for key, value in (
            ('median', score.median()), ('p99', score.quantile(0.99)),
            ('above_4', (score > 4.0).float().mean()))}
    return found


def main(argv: list[str] | None = None) -> int:
    """Fit and judge; the last line of output is JSON."""
    parser = argparse.ArgumentParser(prog='karpathy-control train novelty',
                                     description=main.__doc__)
    parser.add_argument('--weights', type=Path, default=Path('weights/encoder.safetensors'))
    parser.add_argument('--frames', type=Path, default=Path('runs/frames'))
    parser.add_argument('--shards', type=int, default=12, help='of 240 frames, to train on')
    parser.add_argument('--held-out', type=int, default=4, help='shards for each other split')
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    counts = {'train': args.shards, 'validation': args.held_out, 'test': args.held_out}
    sets = {}
    for split, count in counts.items():
        for path in dataset.record(args.frames, split, count):
            print(f'recorded {path}', flush=True)
        sets[split] = FrameSet(dataset.load(args.frames, split, count))
    command = (f'karpathy-control train novelty --shards {args.shards} '
               f'--held-out {args.held_out}')
    path = fit(args.weights, sets['train'], sets['validation'], command)
    print(json.dumps({'statistics': str(path), 'bytes': path.stat().st_size,
                      **judge(args.weights, sets['test'])}))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

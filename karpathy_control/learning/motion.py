"""How things go on, learned from tracks: `karpathy-control train motion`.

Robots drive by the guidance through worlds with things that move, the tracker follows these, and
what it has seen of each (perception.motion) is kept beside where the thing truly went. A small
network learns the turn rate of mapping.motion and how unsure it is, by the likelihood of the true
ways under a radially symmetric Laplace law whose scale grows with the horizon.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as fn
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from karpathy_control.compute.device import open_device
from karpathy_control.contracts.card import write_card
from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.contracts.world import World
from karpathy_control.learning.loop import ClosedLoop, choose_leg
from karpathy_control.learning.pretrain import source_commit
from karpathy_control.mapping.motion import (
    PLAIN_SPREAD,
    TURN_TIME,
    VX,
    VY,
    X,
    Y,
)
from karpathy_control.perception.motion import FASTEST_TURN, FEATURES, HARDEST, OUTPUTS
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.generators import generate

FAMILIES = ('swarm', 'swarm', 'swarm', 'people', 'moving')  # of the worlds, in turn
FIRST_SEED, HELD_OUT_SEED = 130_000, 190_000  # no demo or evaluation uses these worlds
WORLDS = 32  # side by side
STEPS = 400  # of 0.05 s, of one drive
EVERY = 2  # steps between two samples
AHEAD = 35  # of 0.1 s: as far as the guidance looks
STRIDE = 2  # steps of the world in one of these
FOUND = 0.6  # m between a row and the thing that it tells of
JUMP = 0.3  # m in a step: who comes to the end of a round jumps, and nobody can know
TAIL = 0.05  # m, scale of what is unsure at once
HORIZONS = (0.5, 1.0, 2.0, 3.0)  # s, of the figures


class Samples:
    """Rows (n, MOVER_FIELDS) of things that move, what was seen of them, where they went.

    seen (n, FEATURES); truth (n, AHEAD, 2) m, in the base of its moment.
    """

    def __init__(self, rows: NDArray, seen: NDArray, truth: NDArray) -> None:
        self.rows, self.seen, self.truth = rows, seen, truth

    def __len__(self) -> int:
        return len(self.rows)


def drive(worlds: list[World], seed: int) -> Samples:
    """Drive through worlds side by side, one robot in each, and keep what was tracked."""
    bank, batch = pack(worlds), len(worlds)
    loop = ClosedLoop(bank, batch, ControlConfig(), PolicyConfig(), episode_time=math.inf,
                      gate=False, forecast=False)
    rng = np.random.default_rng([seed, 17])
    loop.begin(np.arange(batch), [choose_leg(bank, i, int(rng.integers(5)), rng)
                                  for i in range(batch)],
               seed * 1000 + np.arange(batch))
    w = loop.world
    places, poses, kept = [], [], []
    for step in range(STEPS):
        situation = loop.situation()
        places.append(w.mover_xy.copy())
        poses.append(w.true_pose.copy())
        if step % EVERY == 0:
            for b, k in np.argwhere(situation.movers[:, :, 5] > 0.0):
                kept.append((step, b, situation.movers[b, k].copy(),
                             loop.tracker.seen[b, k].copy()))
        loop.advance(situation.features.base_command)
    return _match(kept, np.array(places), np.array(poses), bank.mover_count[w.world])


def _match(kept: list[tuple[int, int, NDArray, NDArray]], places: NDArray, poses: NDArray,
           counts: NDArray) -> Samples:
    """The samples whose thing is known, and was not put elsewhere.

    places (steps, B, M, 2) m and poses (steps, B, 3), true and in world; counts (B,) of things.
    """
    rows, seen, truth = [], [], []
    for step, b, row, features in kept:
        last = step + AHEAD * STRIDE
        if last >= len(places) or counts[b] == 0:
            continue
        x, y, yaw = poses[step, b]
        base = np.array(((math.cos(yaw), math.sin(yaw)), (-math.sin(yaw), math.cos(yaw))))
        now = (places[step, b, :counts[b]] - (x, y)) @ base.T
        off = np.hypot(now[:, 0] - row[X], now[:, 1] - row[Y])
        j = int(off.argmin())
        way = places[step:last + 1, b, j]
        if off[j] > FOUND or np.abs(np.diff(way, axis=0)).max() > JUMP:
            continue
        rows.append(row)
        seen.append(features)
        truth.append((way[STRIDE::STRIDE] - (x, y)) @ base.T)
    return Samples(np.array(rows, np.float32), np.array(seen, np.float32).reshape(-1, FEATURES),
                   np.array(truth, np.float32).reshape(-1, AHEAD, 2))


def collect(first: int, count: int) -> Iterator[Samples]:
    """Samples of `count` worlds from seed `first` on, as many worlds at a time as WORLDS."""
    for begin in range(0, count, WORLDS):
        yield drive([generate(FAMILIES[i % len(FAMILIES)], first + i)
                     for i in range(begin, min(begin + WORLDS, count))], first + begin)


def join(parts: list[Samples]) -> Samples:
    """All samples as one."""
    return Samples(*(np.concatenate([getattr(p, name) for p in parts])
                     for name in ('rows', 'seen', 'truth')))


def predict(rows: Tensor, turn: Tensor, gain: Tensor) -> Tensor:
    """Where things will be, as mapping.motion.go_on says.

    rows (n, fields), turn (n,) rad/s and gain (n,) m/s^2 -> (n, AHEAD, 2) m.
    """
    middle = 0.1 * (torch.arange(AHEAD, device=rows.device) + 0.5)
    worn = TURN_TIME * (1.0 - torch.exp(-middle / TURN_TIME))
    vx, vy = rows[:, VX:VX + 1], rows[:, VY:VY + 1]
    heading = torch.atan2(vy, vx) + turn[:, None] * worn
    way = (torch.hypot(vx, vy) + gain[:, None] * worn).clamp(min=0.0) * 0.1
    steps = way[..., None] * torch.stack((torch.cos(heading), torch.sin(heading)), -1)
    return rows[:, None, X:Y + 1] + steps.cumsum(1)


class Forecaster(nn.Sequential):
    """The network as it learns; its layers are those of perception.motion.Network."""

    mean: Tensor
    scale: Tensor

    def __init__(self, hidden: int, seen: NDArray[np.float32]) -> None:
        super().__init__(nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, hidden),
                         nn.ReLU(), nn.Linear(hidden, OUTPUTS))
        self.register_buffer('mean', torch.from_numpy(seen.mean(0)))
        self.register_buffer('scale', torch.from_numpy(seen.std(0) + 1e-3))
        last = self[4]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor((0.0, math.log(math.expm1(PLAIN_SPREAD)), 0.0))

    def rates(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Turn rate (rad/s), spread (m/s), gain (m/s^2). (n, FEATURES) -> (n,) each."""
        out = self((seen - self.mean) / self.scale)
        return (out[:, 0].clamp(-FASTEST_TURN, FASTEST_TURN), fn.softplus(out[:, 1]),
                out[:, 2].clamp(-HARDEST, HARDEST))


def surprise(error: Tensor, spread: Tensor) -> Tensor:
    """Mean negative log likelihood, without its constant, of errors (n, AHEAD) m; spread (n,)."""
    horizon = 0.1 * torch.arange(1, AHEAD + 1, device=error.device)
    scale = TAIL + spread[:, None] * horizon
    return (error / scale + 2.0 * scale.log()).mean()


def figures(samples: Samples, turn: NDArray, spread: NDArray, gain: NDArray) -> dict[str, Any]:
    """Errors of a forecast and of going straight, m, by horizon; the share within the spread."""
    rows, truth = torch.from_numpy(samples.rows), torch.from_numpy(samples.truth)
    found: dict[str, Any] = {'samples': len(samples)}
    index = [round(10 * h) - 1 for h in HORIZONS]
    for name, share in (('forecast', 1.0), ('straight', 0.0)):
        off = predict(rows, torch.from_numpy(share * turn), torch.from_numpy(share * gain)) - truth
        error = torch.linalg.vector_norm(off, dim=2).numpy()[:, index]
        for label, q in (('median', 0.5), ('p90', 0.9)):
            value = np.quantile(error, q, 0)
            found[f'{name}_{label}_m'] = {f'{h:g} s': round(float(v), 3)
                                          for h, v in zip(HORIZONS, value, strict=True)}
        if name == 'forecast':
            scale = TAIL + spread[:, None] * np.array(HORIZONS)
            found['within_spread'] = round(float((error <= scale).mean()), 3)
    return found


def fit(train: Samples, held_out: Samples, epochs: int, hidden: int, rate: float, batch: int,
        seed: int, device: torch.device, writer: SummaryWriter) -> Forecaster:
    """Train, with the learning rate up and down once; mirrored samples count as others."""
    torch.manual_seed(seed)
    network = Forecaster(hidden, train.seen).to(device)
    rows, seen, truth = (torch.from_numpy(getattr(train, name)).to(device)
                         for name in ('rows', 'seen', 'truth'))
    flip = torch.ones(FEATURES, device=device)
    flip[1:50:5] = flip[3:50:5] = -1.0  # what is sideways
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    steps = max(len(train) // batch, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps)
    for epoch in range(epochs):
        order = torch.randperm(len(train), device=device)
        total = 0.0
        for i in range(steps):
            index = order[i * batch:(i + 1) * batch]
            side = torch.where(torch.rand(len(index), device=device) < 0.5, 1.0, -1.0)
            turn, spread, gain = network.rates(
                torch.where(side[:, None] > 0, 1.0, flip) * seen[index])
            error = predict(rows[index], turn * side, gain) - truth[index]
            loss = surprise(torch.linalg.vector_norm(error, dim=2), spread)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) / steps
        writer.add_scalar('surprise/train', total, epoch)
        writer.add_scalar('surprise/held_out', _held_out(network, held_out, device), epoch)
    return network


def _held_out(network: Forecaster, samples: Samples, device: torch.device) -> float:
    with torch.inference_mode():
        turn, spread, gain = network.rates(torch.from_numpy(samples.seen).to(device))
        error = predict(torch.from_numpy(samples.rows).to(device), turn, gain) - torch.from_numpy(
            samples.truth).to(device)
        return float(surprise(torch.linalg.vector_norm(error, dim=2), spread))


def main(argv: list[str] | None = None) -> int:
    """Drive, train, measure, write weights and card; the last line of output is JSON."""
    parser = argparse.ArgumentParser(prog='karpathy-control train motion', description=__doc__)
    parser.add_argument('--worlds', type=int, default=256, help='to train on')
    parser.add_argument('--held-out', type=int, default=64, help='worlds for the figures')
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--hidden', type=int, default=48)
    parser.add_argument('--batch', type=int, default=512)
    parser.add_argument('--rate', type=float, default=3e-3, help='top learning rate')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--run', type=Path, default=Path('runs/motion'),
                        help='folder of TensorBoard logs')
    parser.add_argument('--out', type=Path, default=Path('weights/motion.safetensors'))
    parser.add_argument('--device', default='cpu', help='cpu, cuda or cuda:N, of the network')
    args = parser.parse_args(argv)
    for name in ('worlds', 'held_out', 'epochs', 'hidden', 'batch'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")} {getattr(args, name)}: it takes 1 or more')
    device = open_device(args.device)
    started = time.monotonic()
    sets = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name, first, count in (('train', FIRST_SEED, args.worlds),
                                   ('held out', HELD_OUT_SEED, args.held_out)):
            task = progress.add_task(f'drives, {name}', total=-(-count // WORLDS))
            parts = []
            for part in collect(first, count):
                parts.append(part)
                progress.advance(task)
            sets[name] = join(parts)
    with SummaryWriter(str(args.run)) as writer:
        network = fit(sets['train'], sets['held out'], args.epochs, args.hidden, args.rate,
                      args.batch, args.seed, device, writer)
    with torch.inference_mode():
        turn, spread, gain = network.cpu().rates(torch.from_numpy(sets['held out'].seen))
    found = figures(sets['held out'], turn.numpy(), spread.numpy(),
                    gain.numpy()) | {
        'train_samples': len(sets['train']), 'seconds': round(time.monotonic() - started)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous() for k, v in network.state_dict().items()},
              str(args.out))
    command = (f'karpathy-control train motion --worlds {args.worlds} --held-out {args.held_out} '
               f'--epochs {args.epochs} --hidden {args.hidden} --batch {args.batch} '
               f'--rate {args.rate} --seed {args.seed}')
    write_card(args.out, 'motion', {'hidden': args.hidden}, command, args.seed, source_commit(),
               found)
    print(json.dumps({'weights': str(args.out), **found}))
    return 0


if __name__ == '__main__':
    raise SystemExit(main())

"""What the tracker perceives of moving things, against the truth of the batched world.

Robots drive by the guidance, without the gate, under the errors of training. By kind of way
(towards the robot, away, across) and distance: the share of visible things that are told of, and
how far the velocity that is told is off (m/s). `false_rows` are rows a scan that are at no thing
that moves. Last line JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.evaluation.suites import SUITES, leg_of, make_suite
from karpathy_control.learning.loop import ClosedLoop
from karpathy_control.perception.tracker import Tracker
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import CONTROL_STEP

SETTLED = 20  # steps before anything is counted
RANGE = 7.0  # m
VIEW = 2.2  # rad to either side
FOUND = 0.5  # m between a row and the thing that it tells of
MOVES, JUMPS = 0.15, 6.0  # m/s: slower it stands, faster it was put elsewhere


def kind_of(x: float, y: float, v: np.ndarray) -> str:
    """In words, how a thing at (x, y) m in base moves with v (2,) m/s."""
    away = (x * v[0] + y * v[1]) / math.hypot(x, y) / math.hypot(*v)
    way = 'towards' if away < -0.6 else 'away' if away > 0.6 else 'across'
    return f'{way}, {"near" if math.hypot(x, y) < 3.0 else "far"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--suite', choices=SUITES, default='moving')
    parser.add_argument('--worlds', type=Path)
    parser.add_argument('--episodes', type=int, default=30)
    parser.add_argument('--steps', type=int, default=300)
    parser.add_argument('--seed', type=int, default=3)
    args = parser.parse_args()
    suite = make_suite(args.suite, args.episodes, args.seed, args.worlds)
    bank, batch = pack(suite.worlds), len(suite.episodes)
    loop = ClosedLoop(bank, batch, ControlConfig(), PolicyConfig(), episode_time=math.inf,
                      gate=False)
    loop.begin(np.arange(batch), [leg_of(bank, e) for e in suite.episodes],
               [e.seed for e in suite.episodes])
    w, tracker = loop.world, Tracker(batch)
    tracker.warm_up()
    errors: dict[str, list[float]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    false = scans = 0
    spent, before = 0.0, w.mover_xy.copy()
    for step in range(args.steps):
        loop.advance(loop.features().base_command)
        start = time.perf_counter()
        rows = tracker.step(w.scan, w.time, w.odom_pose)
        spent += time.perf_counter() - start
        velocity, before = (w.mover_xy - before) / CONTROL_STEP, w.mover_xy.copy()
        for b in range(batch if step >= SETTLED else 0):
            if w.contact[b]:
                continue
            scans += 1
            told = rows[b][rows[b][:, 5] > 0.0]
            matched = np.zeros(len(told), bool)
            px, py, yaw = w.true_pose[b]
            base = np.array(((math.cos(yaw), math.sin(yaw)), (-math.sin(yaw), math.cos(yaw))))
            for j in range(bank.mover_count[w.world[b]]):
                x, y = base @ (w.mover_xy[b, j] - (px, py))
                v = base @ velocity[b, j]
                off = np.hypot(told[:, 0] - x, told[:, 1] - y)
                matched |= off < FOUND
                distance, bearing = math.hypot(x, y), math.atan2(y, x)
                beam = int((bearing + math.pi) * w.scan.shape[1] / (2.0 * math.pi))
                shown = abs(w.scan[b, beam % w.scan.shape[1]]
                            - (distance - bank.movers[w.world[b], j, 1])) < 0.15
                if not (abs(bearing) < VIEW and distance < RANGE and shown
                        and MOVES < math.hypot(*v) < JUMPS):
                    continue
                kind = kind_of(x, y, v)
                seen[kind] += 1
                if len(off) and off.min() < FOUND:
                    errors[kind].append(math.hypot(*(told[off.argmin(), 2:4] - v)))
            false += int((~matched).sum())
    print(json.dumps({
        'suite': args.suite, 'scans': scans, 'false_rows': round(false / max(scans, 1), 4),
        'us_per_robot': round(1e6 * spent / args.steps / batch, 1),
        'kinds': {kind: {
            'seen': count, 'recall': round(len(errors[kind]) / count, 3),
            'velocity_error': {f'p{p}': round(float(np.percentile(errors[kind], p)), 3)
                               for p in (50, 90)} if errors[kind] else None}
            for kind, count in sorted(seen.items())}}))


if __name__ == '__main__':
    main()

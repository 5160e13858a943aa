"""Time of one perception step, batch 1, on this machine: the encoder, its inputs and outputs.

Theory: 55 million multiply-adds (transformer over 85 tokens 23 M, convolutions 12 M, heads and
column look-up the rest) at 20 to 30 GFLOP/s of one AVX2 core in float32, 3 to 5 ms, plus some
hundred eager calls at a few microseconds. Wall time counts neighbours, CPU time does not.

    python benchmarks/perception.py [--steps N] [--device cpu] [--weights PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import torch

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import PerceptionConfig, replace_value
from karpathy_control.contracts.layout import IMAGE_HEIGHT, IMAGE_WIDTH, IMU_SAMPLES, SCAN_BEAMS
from karpathy_control.contracts.types import Observation, Scan, State
from karpathy_control.perception.runtime import PerceptionRuntime

PERIOD = 50_000_000  # ns between observations


def observation(stamp: int, rng: np.random.Generator) -> Observation:
    """A full set of random numbers: the time does not depend on what is seen."""
    return Observation(
        stamp, State(stamp, 0.0, 0.0, 0.0, 0.5, 0.1),
        scan=Scan(stamp, rng.uniform(0.3, 9.0, SCAN_BEAMS).astype(np.float32), 10.0),
        image=rng.integers(0, 256, (IMAGE_HEIGHT, IMAGE_WIDTH, 3), dtype=np.uint8),
        depth=rng.uniform(0.3, 9.0, (IMAGE_HEIGHT, IMAGE_WIDTH)).astype(np.float32),
        imu=rng.normal(size=(IMU_SAMPLES, 6)).astype(np.float32))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=400)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--weights', default='encoder.safetensors')
    args = parser.parse_args(argv)
    config = replace_value(PerceptionConfig(), 'device', args.device)
    runtime = PerceptionRuntime(find('weights', args.weights), config)
    runtime.warm_up()
    rng = np.random.default_rng(0)
    sets = [observation(i * PERIOD, rng) for i in range(args.steps)]
    wall, cpu = [], []
    for item in sets:
        start, used = time.perf_counter(), time.process_time()
        runtime.step(item)
        wall.append((time.perf_counter() - start) * 1e3)
        cpu.append((time.process_time() - used) * 1e3)
    quantiles = {'p10': 0.1, 'p50': 0.5, 'p99': 0.99}
    print(json.dumps({
        'bench': 'perception', 'device': args.device, 'threads': torch.get_num_threads(),
        'steps': args.steps,
        'wall_ms': {k: round(float(np.quantile(wall[20:], q)), 2) for k, q in quantiles.items()},
        'cpu_ms': {k: round(float(np.quantile(cpu[20:], q)), 2) for k, q in quantiles.items()}}))
    return 0


if __name__ == '__main__':
    sys.exit(main())

"""`karpathy-control bench loop|world|train`: timings of the running system, last line JSON.

loop   drives in MuJoCo over real DDS and reports latency per stage and end to end, missed
       observations, CPU and memory of each node, beside the floor of the same run: bare rclpy
       processes that pass messages of the same sizes over the same hops, plus the bare forward
       passes of encoder and policy.
world  batched world: numba on the CPU against torch on --device.
train  the whole training environment with gate and deliberation, with and without learning.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.plan import plan
from karpathy_control.bringup.resources import find
from karpathy_control.bringup.runner import Runner
from karpathy_control.contracts import layout
from karpathy_control.contracts.config import PerceptionConfig, PolicyConfig
from karpathy_control.contracts.geometry import to_frame
from karpathy_control.contracts.types import NANOSECONDS, Observation, Scan, State
from karpathy_control.evaluation.client import ObserverClient
from karpathy_control.evaluation.delays import write_delays
from karpathy_control.evaluation.statistics import percentiles
from karpathy_control.worlds.generators import generate

RATE = 20.0  # Hz, the camera's
TICKS = os.sysconf('SC_CLK_TCK')
PAGE = os.sysconf('SC_PAGE_SIZE')
# Payload of each hop: image and depth and scan; the same again; entities; a stamped twist.
_IMAGE = layout.IMAGE_HEIGHT * layout.IMAGE_WIDTH * (3 + 4) + 4 * layout.SCAN_BEAMS
_ENTITIES = 4 * layout.SECTORS * len(layout.ENTITY_FIELDS)
HOPS = (_IMAGE, _IMAGE, _ENTITIES, 64)  # sim>sensor, sensor>perception, >policy, >control


def transport_floor(seconds: float, env: Mapping[str, str]) -> dict[str, float]:
    """Four bare hops with the loop's payloads, ms: p50, p99, max."""
    relay = [sys.executable, '-m', 'karpathy_control.nodes.relay']
    topics = [f'bench/hop{i}' for i in range(len(HOPS))]
    relays = [subprocess.Popen([*relay, '--inbound', a, '--outbound', b, '--bytes', str(size)],
                               env=dict(env))
              for a, b, size in zip(topics, topics[1:], HOPS[1:], strict=False)]
    try:
        done = subprocess.run([*relay, '--source', topics[0], '--sink', topics[-1], '--bytes',
                               str(HOPS[0]), '--seconds', str(seconds)], env=dict(env),
                              check=True, capture_output=True, text=True)
    finally:
        for process in relays:
            process.terminate()
        for process in relays:
            process.wait()
    return dict(json.loads(done.stdout.splitlines()[-1]))


def forward_floor(count: int = 200) -> dict[str, dict[str, float]]:
    """Bare forward passes of encoder and policy in this process, ms."""
    from karpathy_control.perception.runtime import PerceptionRuntime
    from karpathy_control.policy.runtime import PolicyRuntime

    perception, policy = PerceptionConfig(), PolicyConfig()
    encoder = PerceptionRuntime(find('weights', perception.weights), perception)
    actor = PolicyRuntime(find('weights', policy.weights), policy)
    encoder.warm_up()
    actor.warm_up()
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {'perception': [], 'policy': []}
    for i in range(count):
        observation = _observation(i, rng)
        start = time.perf_counter()
        entities = encoder.step(observation)
        middle = time.perf_counter()
        actor.step(observation, entities)
        times['perception'].append((middle - start) * 1e3)
        times['policy'].append((time.perf_counter() - middle) * 1e3)
    return {name: percentiles(values) for name, values in times.items()}


def _observation(i: int, rng: np.random.Generator) -> Observation:
    stamp = round((i + 1) * NANOSECONDS / RATE)
    shape = (layout.IMAGE_HEIGHT, layout.IMAGE_WIDTH)
    ranges = rng.uniform(1.0, 6.0, layout.SCAN_BEAMS).astype(np.float32)
    return Observation(
        stamp, State(stamp, 0.02 * i, 0.0, 0.0, 0.4, 0.0), Scan(stamp, ranges, 10.0),
        rng.integers(0, 255, (*shape, 3)).astype(np.uint8),
        rng.uniform(0.5, 8.0, shape).astype(np.float32), None,
        rng.normal(size=(layout.IMU_SAMPLES, 6)).astype(np.float32), goal=(3.0, 1.0))


def _usage(pid: int | None) -> tuple[float, float]:
    """CPU seconds and resident MB of a process; zeros while it is down."""
    if pid is None:
        return 0.0, 0.0
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    resident = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / TICKS, resident * PAGE / 1e6


def bench_loop(seconds: float, composed: bool, seed: int, record: Path | None = None
               ) -> dict[str, Any]:
    """Drive for `seconds` and report; floor first, so that nothing else runs beside either.

    record: file to write the latencies to, for episodes in simulated time.
    """
    env = {**os.environ, **environment('local')}
    print('floor: bare hops', flush=True)
    hops = transport_floor(min(seconds, 15.0), env)
    print('floor: bare forward passes', flush=True)
    passes = forward_floor()
    world = generate('cylinders', seed)
    goals = to_frame(world.goals, world.start)
    rounds = [f'{x:.3f},{y:.3f}' for _ in range(50) for x, y in goals]
    loop = plan({'world': 'mujoco', 'dds_profile': 'local', 'world_family': 'cylinders',
                 'seed': str(seed), 'composed': 'true' if composed else 'false'})
    print(f'loop: {seconds:.0f} s of driving', flush=True)
    with Runner(loop) as runner, ObserverClient([f'--goals={";".join(rounds)}'],
                                                env) as observer:
        observer.wait_for_status(lambda e: e['observed'] > 2 * RATE, 90.0, 'driving robot')
        names = [name for name in runner.names if runner.pid(name)]
        before = {name: _usage(runner.pid(name)) for name in names}
        start = time.monotonic()
        for _ in observer.events(10.0):
            runner.poll()
            if time.monotonic() - start > seconds:
                break
        elapsed = time.monotonic() - start
        after = {name: _usage(runner.pid(name)) for name in names}
        observer.send(finish=True)
        done = observer.wait_for(lambda e: e['event'] == 'done', 10.0, 'summary')
    if record is not None:
        write_delays(record, done['latencies'], {
            'of': 'stamp to the first command, ms: karpathy-control bench loop',
            'seconds': round(elapsed, 1), 'composed': composed, 'cores': os.cpu_count()})
    floor = {key: round(hops[key] + sum(p[key] for p in passes.values()), 3)
             for key in ('p50', 'p99')}
    return {
        'rate_hz': RATE, 'seconds': round(elapsed, 1), 'composed': composed,
        'latency_ms': done['latency_ms'], 'stages_ms': done['stages_ms'],
        'floor_ms': {**floor, 'hops': hops, 'passes': passes},
        'cpu_percent': {name: round(100 * (after[name][0] - before[name][0]) / elapsed, 1)
                        for name in names},
        'rss_mb': {name: round(after[name][1], 1) for name in names},
        'missed': done['missed_observations'], 'observations': done['published_observations'],
        'contacts': done['contacts'],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and print its JSON line."""
    parser = argparse.ArgumentParser(prog='karpathy-control bench',
                                     description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest='kind', required=True)
    loop = kinds.add_parser('loop', help='latency, CPU and memory of the running loop')
    loop.add_argument('--seconds', type=float, default=60.0)
    loop.add_argument('--composed', action='store_true')
    loop.add_argument('--seed', type=int, default=0)
    loop.add_argument('--record', type=Path, help='file for the latencies, as '
                      'config/delays.json, from which episodes in simulated time draw')
    for name in ('world', 'train'):
        kind = kinds.add_parser(name, help=f'steps per second of the batched {name}')
        kind.add_argument('--envs', type=int, default=256)
        kind.add_argument('--steps', type=int, default=100)
        if name == 'world':
            kind.add_argument('--device', default='cpu', help='of torch: cpu, cuda or cuda:N')
            kind.add_argument('--compile', action='store_true',
                              help='fuse the rays and distances of torch by torch.compile')
    a = parser.parse_args(argv)
    if a.kind == 'loop':
        result = bench_loop(a.seconds, a.composed, a.seed, a.record)
    else:
        from karpathy_control.evaluation import bench_batched
        result = (bench_batched.bench_train(a.envs, a.steps) if a.kind == 'train' else
                  bench_batched.bench_world(a.envs, a.steps, a.device, a.compile))
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())

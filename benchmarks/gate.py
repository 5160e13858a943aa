"""Time of one step of the gate on this machine, alone and in a batch, on one core.

Robots drive under the hostile commands of `karpathy-control adversary` in its worlds, so that
obstacles are near and every status occurs. Alone: a scan of 1080 beams, 200 camera points (100
obstacles at the ends of rays over 90 degrees, 100 free rays), then the filter: what the node does
at every tick with new data. In a batch: 360 beams and the filter, per robot; a step of the batch
is one sample. Wall time counts neighbours on a shared machine, CPU time does not.

Theory, alone: 1080 beams touch some 5000 cells once (20 us) and 1080 stored points (50 us); a
command costs two manoeuvres of 20 looks at 100 to 500 points and 46 cells (40 us), and the search
of 153 candidates, most refused after two looks, 150 us.

    python benchmarks/gate.py [--seconds S] [--batches 64 256]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault('NUMBA_NUM_THREADS', '1')

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.contracts.types import DepthPoints
from karpathy_control.control.gate import Gate
from karpathy_control.evaluation.adversary_batch import RANGE_MIN
from karpathy_control.evaluation.adversary_commands import Hostile
from karpathy_control.evaluation.adversary_worlds import make_start, make_world, scene_of
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import CONTROL_STEP, BatchedWorld, Leg
from karpathy_control.worlds.raycast import cast

BEAMS = 1080
RAYS = 100  # of the camera: each an obstacle point and a free ray
EPISODE = 20.0  # s, then other worlds
SEED = 20
STATUS = ('unchanged', 'limited', 'braking', 'unavoidable')


class Clock:
    """Wall and CPU time of named parts, us per robot."""

    def __init__(self) -> None:
        self._spent: dict[str, list[tuple[float, float]]] = {}

    def time(self, part: str, robots: int, function: Callable[..., Any], *args: Any) -> Any:
        """Call and keep how long it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = function(*args)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        self._spent.setdefault(part, []).append((wall / robots, cpu / robots))
        return result

    def figures(self) -> dict[str, dict[str, float]]:
        """Percentiles of every part, and of all parts of a step together."""
        parts = {name: 1e6 * np.array(spent) for name, spent in self._spent.items()}
        parts['together'] = np.sum(list(parts.values()), axis=0)
        return {name: {'p50': round(float(np.percentile(spent[:, 0], 50)), 1),
                       'p99': round(float(np.percentile(spent[:, 0], 99)), 1),
                       'cpu_mean': round(float(spent[:, 1].mean()), 1),
                       'cpu_p99': round(float(np.percentile(spent[:, 1], 99)), 1)}
                for name, spent in parts.items()}


class Drive:
    """Some robots under hostile commands, each in a world of its own."""

    def __init__(self, robots: int, episode: int) -> None:
        control = ControlConfig()
        numbers = range(episode * robots, (episode + 1) * robots)
        worlds = [make_world(SEED, k, 'static', control) for k in numbers]
        rngs = [np.random.default_rng([SEED, k]) for k in numbers]
        legs = [Leg(k, make_start(w, scene_of(w, control), rng, control), (0.0, 0.0))
                for k, (w, rng) in enumerate(zip(worlds, rngs, strict=True))]
        self.control, self.bank, self.gate = control, pack(worlds), Gate(control, robots)
        self.world = BatchedWorld(self.bank, robots, control.robot)
        self.world.reset(np.arange(robots), legs, list(numbers))
        self._hostile = Hostile(robots, control.robot)
        self._hostile.begin(np.array(numbers, np.uint64))

    def step(self, clock: Clock, observe: Callable[[Clock], None]) -> NDArray[np.int8]:
        """Observe, filter and drive on. Shape: (B,) status."""
        w, g = self.world, self.gate
        wish = self._hostile.propose(self.bank, w.world, w.true_pose, w.scan, w.mover_xy)
        observe(clock)
        result = clock.time('filter', g.batch, g.filter, w.odom_pose, w.velocity, wish, w.time)
        w.step(result.applied)
        return result.status

    def observe_layout(self, clock: Clock) -> None:
        """The scan of the observation layout, for all robots."""
        w, g = self.world, self.gate
        clock.time('observe_scan', g.batch, g.observe_scan, w.odom_pose, w.scan,
                   float(scan_bearings()[0]), 2.0 * math.pi / SCAN_BEAMS, (0.0, 0.0, 0.0),
                   RANGE_MIN, SCAN_RANGE_MAX, w.time)

    def observe_fine(self, clock: Clock) -> None:
        """A scan of BEAMS beams and the depth of RAYS rays, of one robot."""
        w, g, b = self.world, self.gate, self.bank
        bearings = -math.pi + (np.arange(BEAMS) + 0.5) * (2.0 * math.pi / BEAMS)
        scan = np.empty(BEAMS, np.float32)
        height = float(self.control.robot.lidar_pose[2])
        cast(scan, np.cos(bearings), np.sin(bearings), w.true_pose[0], height, height,
             b.circles[0], b.circle_count[0], b.boxes[0], b.box_count[0], b.movers[0],
             w.mover_xy[0], b.mover_count[0], SCAN_RANGE_MAX)
        clock.time('observe_scan', 1, g.observe_scan, w.odom_pose, scan[None], bearings[0],
                   2.0 * math.pi / BEAMS, (0.0, 0.0, 0.0), RANGE_MIN, SCAN_RANGE_MAX, w.time)
        chosen = np.linspace(0.375 * BEAMS, 0.625 * BEAMS, RAYS, endpoint=False).astype(int)
        ends = np.minimum(scan[chosen], 5.0)[:, None] * np.stack(
            (np.cos(bearings[chosen]), np.sin(bearings[chosen])), axis=1)
        points = np.concatenate((ends, 0.98 * ends))
        kinds = np.repeat((DepthPoints.OBSTACLE, DepthPoints.FREE), RAYS)
        clock.time('observe_depth', 1, g.observe_depth, w.odom_pose, points[None], kinds[None],
                   2 * RAYS, (0.0, 0.0), w.time)


def measure(robots: int, seconds: float, fine: bool) -> dict[str, object]:
    """Drive for some simulated seconds in all, after a first tick that compiles."""
    clock, counts, steps = Clock(), np.zeros(len(STATUS), int), 0
    for episode in range(-1, math.ceil(seconds / EPISODE)):
        drive = Drive(robots, episode + 1)
        observe = drive.observe_fine if fine else drive.observe_layout
        ticks = 1 if episode < 0 else round(min(EPISODE, seconds) / CONTROL_STEP)
        kept = Clock() if episode < 0 else clock
        for _ in range(ticks):
            status = drive.step(kept, observe)
            if episode >= 0:
                counts += np.bincount(status, minlength=len(STATUS))
                steps += 1
    return {'robots': robots, 'beams': BEAMS if fine else SCAN_BEAMS,
            'camera_points': 2 * RAYS if fine else 0, 'steps': steps,
            'status': dict(zip(STATUS, counts.tolist(), strict=True)),
            'us_per_robot': clock.figures()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=400.0,
                        help='simulated, of the single robot; a batch drives 20')
    parser.add_argument('--batches', type=int, nargs='*', default=[64, 256])
    args = parser.parse_args(argv)
    print(json.dumps({
        'bench': 'gate', 'threads': int(os.environ['NUMBA_NUM_THREADS']),
        'single': measure(1, args.seconds, fine=True),
        'batch': [measure(n, EPISODE, fine=False) for n in args.batches]}))
    return 0


if __name__ == '__main__':
    sys.exit(main())

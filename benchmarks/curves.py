"""CPU time of each stage of the loop against the size of its inputs, in one process on one core.

Image, beams and moving things: the loop of `evaluate --world mujoco` (the code of the nodes)
drives, and the time that each room spends in 100 ms, two observations, is a sample (planning runs
in a thread of its own and counts under map alone). Pictures larger than the simulated camera's are
enlarged ones, so that the time is the robot's and not the renderer's;
beams are cast by MuJoCo, which is timed apart. Map and batch: the loop of training, per step, with
one robot and with many; a plan is made every few steps and counts per plan. Robots: MuJoCo with
some in one world, per 100 ms of it: physics, a lidar and a camera for each (the rooms run once for
each robot, so theirs is that multiple of one). Time is CPU time of the thread, which neighbours on
a shared machine disturb less than wall time; sizes take turns in several rounds, and the median
over all is given.

Theory: sensing touches every pixel and every beam once, the gate every beam; the grids cost by the
cell, tracking and guidance by the thing that moves (at most 8 reach the policy), a batch by the
robot. All linear with a constant in front, so log-log slopes below 1. `slope` is fitted over all
sizes, `last` between the two largest; what is at most 1.1 in both counts as linear or better.

    python benchmarks/curves.py [--rounds N] [--periods N] [--only image,...] [--run FOLDER]
        [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('NUMBA_NUM_THREADS', '1')  # a batch must run in the thread that is timed

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from karpathy_control.bringup.resources import find
from karpathy_control.bringup.robots import load_profile, robot_of
from karpathy_control.contracts.config import ControlConfig, PolicyConfig, SimConfig, replace_value
from karpathy_control.contracts.geometry import to_frame
from karpathy_control.contracts.types import Command
from karpathy_control.contracts.world import World
from karpathy_control.control.gate import Gate
from karpathy_control.evaluation.figures import INK, MUTED, PATH, STAGE_COLOURS, STYLE, png
from karpathy_control.evaluation.inprocess import InProcessLoop, LoopConfig
from karpathy_control.evaluation.ledger import Ledger
from karpathy_control.learning.loop import ClosedLoop, choose_leg
from karpathy_control.sensing.preprocess import scaled_model
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.mujoco_world import fleet
from karpathy_control.worlds.robot import load_robot

OBSERVATION = 0.05  # s between two
TICKS = 5  # of the controller in a sample: with 20 ms each, two observations
SKIP = 5  # samples of a drive that are not counted: kernels load, the first plan is made
SEED = 20  # of worlds: its swarm has 22 movers, its fields of posts room for four robots
LINEAR = 1.1  # slope up to which a cost counts as linear: a few per cent of the medians are noise
SIZES = {
    'image': (128, 256, 512, 1024, 2048),  # px wide, 4 by 3
    'beams': (180, 360, 720, 1440, 2880),
    'moving': (1, 2, 4, 8, 16),
    'map': (64, 128, 192, 256, 512),  # cells along each side
    'batch': (1, 4, 16, 64),
    'robots': (1, 2, 3, 4),
}
# what the horizontal axis shows, from the size above
AXES: dict[str, tuple[str, Callable[[int], int]]] = {
    'image': ('pixels of the picture', lambda width: width * (3 * width // 4)),
    'beams': ('beams of the lidar', int),
    'moving': ('things that move', int),
    'map': ('cells of the map', lambda side: side * side),
    'batch': ('robots in the batched world', int),
    'robots': ('robots in one MuJoCo world', int),
}
UNIT = {'map': 'a step', 'batch': 'a step of all', 'robots': '100 ms of all'}
COLOURS = {**STAGE_COLOURS, 'sensing': STAGE_COLOURS['sensor'], 'tracker': '#8e5bd0',
           'deliberation': '#b45309', 'features': '#e8871e', 'memory': '#0b8f8c',
           'gate': '#1f9d55', 'gate window': '#1f9d55', 'lidar of sim': MUTED,
           'physics': INK, 'lidar': PATH, 'camera': '#8e5bd0', 'world': INK}


class Clock:
    """CPU time of named stages: what is spent until `period` is called is one sample of each."""

    def __init__(self) -> None:
        self.samples: dict[str, list[float]] = defaultdict(list)  # s
        self._spent: Counter[str] = Counter()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time entered under a stage."""
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._spent[stage] += time.thread_time() - start
        return call

    def watch(self, thing: Any, stage: str, *names: str) -> None:
        """Time these methods of one object."""
        for name in names:
            setattr(thing, name, self.timed(stage, getattr(thing, name)))

    def period(self, keep: bool) -> None:
        """End a sample; one that is not kept is thrown away, with all before it."""
        if not keep:
            self.samples.clear()
        else:
            for stage, spent in self._spent.items():
                self.samples[stage].append(spent)
        self._spent.clear()


class TimedLoop(InProcessLoop):
    """The loop in MuJoCo, its rooms timed, with a picture of any size."""

    def __init__(self, world: World, config: LoopConfig, width: int | None = None) -> None:
        profile = load_profile('jackal')
        assert profile.description is not None
        super().__init__(world, config.with_robot(robot_of(profile, {}), SEED),
                         load_robot(profile.description), find('weights', 'encoder.safetensors'),
                         find('weights', 'actor.safetensors'))
        self._size = None if width is None else (width, 3 * width // 4)
        if self._size is not None:
            self._sensor.on_camera_model(scaled_model(self.world.camera_model(), *self._size))
        self.clock = Clock()
        self.clock.watch(self._sensor, 'sensing', 'on_image', 'on_depth', 'on_scan', 'on_imu',
                         'on_odom', 'release')
        self.clock.watch(self._perception, 'perception', 'step')
        self.clock.watch(self._policy, 'policy', 'step')
        self.clock.watch(self._control, 'control', 'tick', 'on_scan', 'on_imu', 'on_odom',
                         'on_depth_points', 'on_camera_scan', 'on_entities', 'on_action')
        self.clock.watch(self.world, 'lidar of sim', 'lidar')

    def _on_camera(self, stamp: int) -> None:
        image, depth = self.world.camera()
        if self._size is not None:
            image = replace(image, pixels=cv2.resize(image.pixels, self._size))
            if depth is not None:
                depth = replace(depth, metres=cv2.resize(depth.metres, self._size,
                                                         interpolation=cv2.INTER_NEAREST))
        if depth is not None:
            self._sensor.on_depth(depth, stamp)
        self._sensor.on_image(image, stamp)

    def run(self, periods: int) -> dict[str, list[float]]:
        """Drive from goal to goal; s of CPU of every stage in each period."""
        goals = to_frame(self.world._physics.world.goals, self._start)
        at = 0
        for period in range(SKIP + periods):
            if self._goal is None:  # reached, given up, or none yet
                self._control.on_goal(*map(float, goals[at % len(goals)]))
                at += 1
            for _ in range(TICKS):
                self._advance()
            self.clock.period(keep=period >= SKIP)
        self.close()
        return dict(self.clock.samples)


def image(width: int, periods: int) -> dict[str, list[float]]:
    """Pictures so many pixels wide."""
    return _only(TimedLoop(generate('cylinders', SEED), LoopConfig(), width).run(periods),
                 'sensing', 'perception', 'policy', 'control')


def beams(count: int, periods: int) -> dict[str, list[float]]:
    """A lidar of so many beams."""
    config = LoopConfig(sim=replace_value(SimConfig(), 'lidar.beams', count))
    return _only(TimedLoop(generate('cylinders', SEED), config).run(periods), 'sensing',
                 'perception', 'policy', 'control', 'lidar of sim')


def moving(count: int, periods: int) -> dict[str, list[float]]:
    """So many things that move, of a swarm."""
    world = generate('swarm', SEED)
    return _only(TimedLoop(replace(world, movers=world.movers[:count]), LoopConfig())
                 .run(periods), 'sensing', 'perception', 'policy', 'control')


def _batch(robots: int, periods: int, config: PolicyConfig, window: int | None = None
           ) -> dict[str, list[float]]:
    """The loop of training, guidance driving, each robot in a world of its own."""
    bank = pack([generate('cylinders', SEED + k) for k in range(min(robots, 4))])
    loop = ClosedLoop(bank, robots, ControlConfig(), config, episode_time=math.inf)
    if window is not None:
        loop.gate = Gate(ControlConfig(), robots, window)
    rng = np.random.default_rng(SEED)
    legs = [choose_leg(bank, k % len(bank), 0, rng) for k in range(robots)]
    loop.begin(np.arange(robots), legs, np.arange(robots))
    clock = Clock()
    clock.watch(loop.tracker, 'tracker', 'step')
    clock.watch(loop.deliberation, 'memory', 'observe')
    clock.watch(loop.deliberation, 'features', 'features')
    clock.watch(loop.gate, 'gate', 'observe_scan', 'observe_depth', 'observe_camera_scan',
                'filter')
    clock.watch(loop.world, 'world', 'step')
    if robots == 1:  # plans every few steps: the time of one
        clock.watch(loop.deliberation, 'deliberation', 'replan')
    for period in range(SKIP + periods):
        outcome = loop.advance(loop.features().base_command)
        clock.period(keep=period >= SKIP)
        over = np.flatnonzero(outcome.done)
        loop.begin(over, [legs[k] for k in over], over)
    found = dict(clock.samples)
    if robots == 1:
        plans = periods // config.replan_every  # in the other steps nothing was due
        found['deliberation'] = sorted(found['deliberation'])[-plans:]
    return found


def grid(side: int, periods: int) -> dict[str, list[float]]:
    """A map, and the memory of the gate, of so many cells along each side."""
    config = replace_value(PolicyConfig(), 'memory.width', side)
    found = _batch(1, periods, config, side)
    return {'memory': found['memory'], 'deliberation': found['deliberation'],
            'features': found['features'], 'gate': found['gate']}


def batch(robots: int, periods: int) -> dict[str, list[float]]:
    """So many robots side by side; fewer steps of many."""
    return _only(_batch(robots, max(20, periods // max(1, robots // 16)), PolicyConfig()),
                 'tracker', 'memory', 'features', 'gate', 'world')


def robots(count: int, periods: int) -> dict[str, list[float]]:
    """So many robots in one world with contact physics, driving on arcs."""
    profile = load_profile('jackal')
    assert profile.description is not None
    config = LoopConfig().with_robot(robot_of(profile, {}), SEED).sim
    physics = fleet(generate('cylinders', SEED), config, load_robot(profile.description), count)
    clock = Clock()
    clock.watch(physics, 'physics', 'step')
    for robot in physics.robots:
        clock.watch(robot, 'lidar', 'lidar')
        clock.watch(robot, 'camera', 'camera')
    for period in range(SKIP + periods):
        for _ in range(2):
            for _ in range(round(OBSERVATION / config.physics_step)):
                physics.step([Command(0.3, 0.6)] * count)
            for robot in physics.robots:
                robot.lidar()
                robot.camera()
        clock.period(keep=period >= SKIP)
    return dict(clock.samples)


CURVES: dict[str, Callable[[int, int], dict[str, list[float]]]] = {
    'image': image, 'beams': beams, 'moving': moving, 'map': grid, 'batch': batch,
    'robots': robots}


def _only(samples: dict[str, list[float]], *stages: str) -> dict[str, list[float]]:
    return {stage: samples[stage] for stage in stages}


@dataclass(frozen=True)
class Fit:
    """Growth of a cost with a size."""

    slope: float  # of the straight line in log-log through all sizes
    last: float  # between the two largest

    @property
    def linear(self) -> bool:
        """Linear or better."""
        return max(self.slope, self.last) <= LINEAR


def fit(sizes: Iterable[float], costs: Iterable[float]) -> Fit:
    """Slopes in log-log of costs over sizes, at least two, all above zero."""
    x, y = np.log(list(sizes)), np.log(list(costs))
    return Fit(float(np.polyfit(x, y, 1)[0]), float((y[-1] - y[-2]) / (x[-1] - x[-2])))


def measure(name: str, rounds: int, periods: int, ledger: Ledger) -> dict[str, Any]:
    """One curve: by stage the median CPU time at every size in ms, and its growth.

    ledger: where what was measured is kept, and what was before is read.
    """
    sizes = SIZES[name]
    known = {(entry['curve'], entry['size'], entry['round']): entry['spent']
             for entry in ledger.entries}
    samples: dict[tuple[str, int], list[float]] = defaultdict(list)
    for number in range(rounds):
        for size in sizes:
            spent = known.get((name, size, number))
            if spent is None:
                print(f'{name} {size}: round {number + 1} of {rounds}', file=sys.stderr,
                      flush=True)
                spent = CURVES[name](size, periods)
                ledger.add({'curve': name, 'size': size, 'round': number, 'spent': spent})
            for stage, seconds in spent.items():
                samples[stage, size] += seconds
    label, scale = AXES[name]
    axis = [scale(size) for size in sizes]
    stages = {}
    for stage in dict.fromkeys(stage for stage, _ in samples):
        cost = [1e3 * float(np.median(samples[stage, size])) for size in sizes]
        grown = fit(axis, cost)
        stages[stage] = {'ms': [round(c, 4) for c in cost], 'times': round(cost[-1] / cost[0], 2),
                         'slope': round(grown.slope, 2), 'last': round(grown.last, 2),
                         'linear': grown.linear}
    return {'of': label, 'size': list(sizes), 'axis': axis, 'stages': stages}


def picture(curves: dict[str, dict[str, Any]]) -> bytes:
    """A panel for every curve, log-log, as a PNG."""
    with mpl.rc_context({**STYLE, 'figure.dpi': 100}):
        columns = min(3, len(curves))
        rows = -(-len(curves) // columns)
        page = Figure(figsize=(3.7 * columns, 3.2 * rows))
        for axes, (name, curve) in zip(page.subplots(rows, columns, squeeze=False).flat,
                                       curves.items(), strict=False):
            x = np.array(curve['axis'], float)
            for stage, found in curve['stages'].items():
                axes.loglog(x, found['ms'], marker='o', markersize=3.5, linewidth=1.3,
                            color=COLOURS.get(stage, MUTED), label=f'{stage} {found["slope"]:.2f}')
            least = min(min(found['ms']) for found in curve['stages'].values())
            axes.loglog(x, 0.6 * least * x / x[0], color=MUTED, linewidth=0.9, linestyle=':',
                        label='linear 1')
            most = max(max(found['ms']) for found in curve['stages'].values())
            axes.set(title=curve['of'], ylim=(0.4 * least, 6.0 * most),
                     ylabel=f'ms of CPU, {UNIT.get(name, "100 ms of driving")}')
            axes.set_xticks(x, [f'{v:g}' if v < 1e4 else f'{1e-3 * v:.0f}k' for v in x])
            axes.minorticks_off()
            axes.legend(fontsize=7, ncols=2, loc='upper left', handlelength=1.2,
                        columnspacing=0.9, borderaxespad=0.1)
        page.tight_layout()
        return png(page)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=1, help='every size so often, in turn')
    parser.add_argument('--periods', type=int, default=30, help='samples in a round')
    parser.add_argument('--only', default=','.join(CURVES), metavar='NAME,...',
                        help='some of ' + ', '.join(CURVES))
    parser.add_argument('--run', type=Path, metavar='FOLDER', help='of what is measured already; '
                        'the same command goes on where it was interrupted')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='PNG to write')
    args = parser.parse_args(argv)
    names = args.only.split(',')
    for name in names:
        if name not in CURVES:
            parser.error(f'--only {name!r}: it takes {", ".join(CURVES)}')
    if args.rounds < 1 or args.periods < 20:
        parser.error(f'--rounds {args.rounds} --periods {args.periods}: they take at least 1 '
                     'and 20')
    ledger = Ledger(args.run, {'bench': 'curves', 'periods': args.periods}, 'curves')
    curves = {name: measure(name, args.rounds, args.periods, ledger) for name in names}
    if args.plot is not None:
        args.plot.write_bytes(picture(curves))
    print(json.dumps({
        'bench': 'curves', 'rounds': args.rounds, 'periods': args.periods, 'curves': curves,
        'beyond_linear': [f'{name}: {stage}' for name, curve in curves.items()
                          for stage, found in curve['stages'].items() if not found['linear']]}))
    return 0


if __name__ == '__main__':
    sys.exit(main())

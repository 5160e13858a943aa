"""What safety costs: commands that are safe and do not pass, and goals missed through the gate.

The same legs of unseen worlds are driven twice by the guidance alone, with the gate and without.
An oracle that knows the world (evaluation.adversary_oracle) looks at the proposals of the first
run: what it proves safe with 10 cm to spare should pass unchanged. A time-out is the gate's where
the run without it arrives.
"""

from __future__ import annotations

import json
import time

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.control.gate import UNCHANGED
from karpathy_control.evaluation.adversary_oracle import Oracle
from karpathy_control.evaluation.adversary_worlds import scene_of
from karpathy_control.evaluation.statistics import wilson_interval
from karpathy_control.evaluation.suites import LEGS, make_worlds
from karpathy_control.learning.loop import ClosedLoop, choose_leg
from karpathy_control.worlds.bank import pack

BATCH = 64
EPISODE_TIME = 60.0  # s
EVERY = 4  # steps between two looks of the oracle at a robot
SUITE = 'static'
TARGETS = 0.98, 0.003  # share that passes at least, time-outs at most


class _Drive:
    """All legs of some worlds, once, in batches."""

    def __init__(self, episodes: int, seed: int, gate: bool) -> None:
        self._control = ControlConfig()
        worlds = make_worlds(SUITE, -(-episodes // LEGS), seed)
        self._bank = pack(worlds)
        self._scenes = [scene_of(world, self._control) for world in worlds]
        self._plan = [(e % len(worlds), e // len(worlds), seed * 100_000 + e)
                      for e in range(episodes)]
        self._gate = gate
        self._oracle = Oracle(self._control)
        self.outcomes = np.zeros(episodes, 'U7')
        self.proved = self.passed = self.changed = self.steps = 0

    def run(self, progress: Progress) -> None:
        """Drive all of them."""
        task = progress.add_task('with the gate' if self._gate else 'without it',
                                 total=len(self._plan))
        for first in range(0, len(self._plan), BATCH):
            chosen = np.arange(first, min(first + BATCH, len(self._plan)))
            self._batch(chosen)
            progress.advance(task, len(chosen))

    def _batch(self, chosen: NDArray[np.int64]) -> None:
        loop = ClosedLoop(self._bank, len(chosen), self._control, PolicyConfig(), None,
                          EPISODE_TIME, gate=self._gate)
        legs = [choose_leg(self._bank, world, leg, np.random.default_rng([seed, 3]))
                for world, leg, seed in (self._plan[e] for e in chosen)]
        loop.begin(np.arange(len(chosen)), legs, [self._plan[e][2] for e in chosen])
        running = np.ones(len(chosen), np.bool_)
        step = 0
        while running.any():
            wish = np.array(loop.features().base_command, np.float64)
            poses, speeds = loop.world.true_pose.copy(), loop.world.true_velocity.copy()
            outcome = loop.advance(wish)
            if self._gate:
                looked = running & ((chosen + step) % EVERY == 0)
                self._look(np.flatnonzero(looked), chosen, poses, speeds, wish, outcome.status)
                self.steps += int(running.sum())
                self.changed += int((running & (outcome.status != UNCHANGED)).sum())
            for name, ended in (('contact', outcome.contact), ('timeout', outcome.late),
                                ('arrived', outcome.arrived)):
                self.outcomes[chosen[running & ended]] = name
            running &= ~outcome.done
            step += 1

    def _look(self, slots: NDArray[np.int64], chosen: NDArray[np.int64],
              poses: NDArray[np.float64], speeds: NDArray[np.float64],
              wish: NDArray[np.float64], status: NDArray[np.int8]) -> None:
        for i in slots:
            scene = self._scenes[self._plan[chosen[i]][0]]
            if self._oracle.proves(scene, poses[i], speeds[i], wish[i]):
                self.proved += 1
                self.passed += int(status[i] == UNCHANGED)


def main(episodes: int, seed: int) -> int:
    """Measure, print one JSON line; exit status 0 where both targets are met."""
    started = time.monotonic()
    with_gate, without = (_Drive(episodes, seed, gate) for gate in (True, False))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        with_gate.run(progress)
        without.run(progress)
    caused = (with_gate.outcomes == 'timeout') & (without.outcomes == 'arrived')
    share = with_gate.passed / max(1, with_gate.proved)
    timeouts = float(caused.mean())
    print(json.dumps({
        'kind': 'liveness', 'episodes': episodes, 'liveness': round(share, 5),
        'liveness_ci95': [round(v, 5) for v in wilson_interval(with_gate.passed,
                                                               with_gate.proved)],
        'proved': with_gate.proved, 'gate_timeouts': round(timeouts, 5),
        'gate_timeouts_ci95': [round(v, 5) for v in wilson_interval(int(caused.sum()), episodes)],
        'timeouts': int((with_gate.outcomes == 'timeout').sum()),
        'timeouts_without_gate': int((without.outcomes == 'timeout').sum()),
        'contacts': int((with_gate.outcomes == 'contact').sum()),
        'contacts_without_gate': int((without.outcomes == 'contact').sum()),
        'changed': round(with_gate.changed / max(1, with_gate.steps), 5),
        'failures': np.flatnonzero(caused).tolist()[:50],
        'seconds': round(time.monotonic() - started, 1)}))
    return 0 if share >= TARGETS[0] and timeouts <= TARGETS[1] else 1

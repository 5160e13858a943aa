"""The seam between simulator and learner: the closed loop as rsl_rl's VecEnv.

The action is the residual of the reflex; what drives the robot is the guidance plus that
residual after the gate. Finished slots begin a new episode at once, in a world drawn from the
bank; worlds of training have seeds from TRAINING_SEEDS on, which no demo and no evaluation uses.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict

import numpy as np
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.learning.config import PolicyTraining
from karpathy_control.learning.loop import BRAKING, ClosedLoop, Outcome, choose_leg
from karpathy_control.learning.rewards import weighted_sum
from karpathy_control.policy.actor import ACTIONS, propose
from karpathy_control.policy.deliberation import Features
from karpathy_control.worlds.bank import Bank
from karpathy_control.worlds.batched import CLEARANCE_HORIZON, CONTROL_STEP, Leg

TRAINING_SEEDS = 100_000  # worlds of training have seeds from here on
PRIVILEGED = 8
START_TRIES = 8
WINDOW = 400  # episodes that the logged rates are taken over


class NavigationEnv(VecEnv):
    """B robots that drive legs in the worlds of a bank; see rsl_rl.env.VecEnv for the methods.

    Observation groups: `tokens` (B, TOKENS, FEATURES) what the deployed actor sees, and
    `privileged` (B, PRIVILEGED) what only the simulator knows, for the critic.
    """

    def __init__(self, bank: Bank, batch: int, training: PolicyTraining, control: ControlConfig,
                 policy: PolicyConfig, seed: int, device: str = 'cpu') -> None:
        for world in bank.worlds:
            if world.seed < TRAINING_SEEDS:
                raise ValueError(f'world {world.family!r} has seed {world.seed}: seeds below '
                                 f'{TRAINING_SEEDS} are kept for demo and evaluation')
        self.num_envs, self.num_actions = batch, ACTIONS
        self.max_episode_length = round(training.episode_time / CONTROL_STEP)
        self.episode_length_buf = torch.zeros(batch, dtype=torch.long, device=device)
        self.device = device
        self.cfg = {'training': asdict(training), 'seed': seed}
        self.training, self.policy = training, policy
        self._rng = np.random.default_rng([seed, 1])
        self._weights = {name: weight for name, weight in asdict(training.rewards).items()
                         if weight != 0.0}
        self._bank = bank
        self.loop = ClosedLoop(bank, batch, control, policy, training.randomisation.variation(),
                               training.episode_time)
        self._outcomes: deque[tuple[bool, bool, bool]] = deque(maxlen=WINDOW)
        self._begin(np.arange(batch))
        self._features: Features = self.loop.features()

    def get_observations(self) -> TensorDict:
        """The present observation; tensors share memory with numpy on the CPU."""
        return TensorDict({
            'tokens': torch.from_numpy(self._features.tokens).to(self.device),
            'privileged': torch.from_numpy(self._privileged()).to(self.device),
        }, batch_size=[self.num_envs], device=self.device)

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        """Drive one control step with the residuals (B, 2)."""
        action = actions.detach().to('cpu', torch.float32).numpy()
        proposal = propose(self._features, action, self.policy.robot)
        outcome = self.loop.advance(proposal)
        reward, parts = weighted_sum(outcome.transition, self._weights)
        done = outcome.done
        extras = {'time_outs': torch.from_numpy(outcome.late.copy()).to(self.device),
                  'log': self._log(parts, outcome)}
        self.episode_length_buf += 1
        self.episode_length_buf[torch.from_numpy(done).to(self.device)] = 0
        self._begin(np.flatnonzero(done))
        self._features = self.loop.features()
        return (self.get_observations(),
                torch.from_numpy(reward.astype(np.float32)).to(self.device),
                torch.from_numpy(done.copy()).to(self.device), extras)

    def _begin(self, slots: np.ndarray) -> None:
        legs = [self._draw() for _ in slots]
        self.loop.begin(slots, legs, self._rng.integers(0, 2**62, len(slots)))

    def _draw(self) -> Leg:
        for _ in range(START_TRIES):
            world = int(self._rng.integers(len(self._bank)))
            number = int(self._rng.integers(self._bank.goal_count[world]))
            leg = choose_leg(self._bank, world, number, self._rng)
            if self.loop.world.free(leg):
                return leg
        return choose_leg(self._bank, world, 0, self._rng)  # the world's own start is free

    def _privileged(self) -> np.ndarray:
        w = self.loop.world
        goal = w.goal - w.true_pose[:, :2]
        return np.column_stack((
            w.clearance / CLEARANCE_HORIZON,
            np.minimum(np.linalg.norm(goal, axis=1) / 10.0, 2.0),
            1.0 - w.time / self.training.episode_time,
            w.true_velocity / self.loop.limits,
            10.0 * w.trait('delay'), 5.0 * w.trait('turn_slip'),
            w.trait('acceleration') / self.policy.robot.acceleration - 1.0)).astype(np.float32)

    def _log(self, parts: dict[str, np.ndarray], outcome: Outcome) -> dict[str, float]:
        log = {f'/reward/{name}': float(value.mean() / CONTROL_STEP)
               for name, value in parts.items()}
        log['/gate/braking'] = float(np.mean(outcome.status == BRAKING))
        log['/gate/limited'] = float(np.mean(outcome.status != 0))
        for slot in np.flatnonzero(outcome.done):
            self._outcomes.append((bool(outcome.arrived[slot]), bool(outcome.contact[slot]),
                                   bool(outcome.late[slot])))
        if self._outcomes:
            rates = np.mean(np.array(self._outcomes, float), axis=0)
            log |= dict(zip(('/episode/success', '/episode/contact', '/episode/timeout'),
                            map(float, rates), strict=True))
        return log

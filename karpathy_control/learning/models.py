"""The deployed actor, dressed as the model class that rsl_rl's PPO expects."""

from __future__ import annotations

from typing import Any

from rsl_rl.models import MLPModel
from rsl_rl.modules import HiddenState
from rsl_rl.modules.distribution import GaussianDistribution
from tensordict import TensorDict
from torch import Tensor, nn

from karpathy_control.policy.actor import Actor, Critic


class ActorModel(MLPModel):
    """policy.actor.Actor under a Gaussian whose spread is learned; nothing of it is deployed.

    Subclasses MLPModel for its distribution interface alone: the network is `self.actor`, the
    log-probability is that of the proposed residual, before the gate.
    """

    def __init__(self, obs: TensorDict, obs_groups: dict[str, list[str]], obs_set: str,
                 output_dim: int, init_std: float = 0.25, **model: Any) -> None:
        nn.Module.__init__(self)
        groups = obs_groups[obs_set]
        if len(groups) != 1 or obs[groups[0]].ndim != 3:
            raise ValueError(f'the actor takes one group of tokens (B, T, F), got {groups}')
        self.obs_groups, self.obs_dim = groups, int(obs[groups[0]].shape[-1])
        self.obs_normalization = False
        self.actor = Actor(**model)
        self.distribution = GaussianDistribution(output_dim, init_std=init_std, std_type='log',
                                                 std_range=(0.02, 1.0))

    def forward(self, obs: TensorDict, masks: Tensor | None = None,
                hidden_state: HiddenState = None, stochastic_output: bool = False) -> Tensor:
        """Residual for tokens. Shape: (B, T, F) -> (B, 2), sampled where asked for."""
        mean = self.actor(obs[self.obs_groups[0]])
        if stochastic_output:
            self.distribution.update(mean)
            return self.distribution.sample()
        return mean

    def update_normalization(self, obs: TensorDict) -> None:
        """Nothing: tokens are scaled where they are made."""


class CriticModel(MLPModel):
    """policy.actor.Critic with what only the simulator knows; not deployed."""

    def __init__(self, obs: TensorDict, obs_groups: dict[str, list[str]], obs_set: str,
                 output_dim: int, **model: Any) -> None:
        nn.Module.__init__(self)
        groups = obs_groups[obs_set]
        if len(groups) != 2 or obs[groups[0]].ndim != 3 or output_dim != 1:
            raise ValueError('the critic takes tokens (B, T, F) and privileged numbers (B, p), '
                             f'got {groups}')
        self.obs_groups, self.obs_dim = groups, int(obs[groups[0]].shape[-1])
        self.obs_normalization = False
        self.distribution = None
        self.critic = Critic(privileged=int(obs[groups[1]].shape[-1]), **model)

    def forward(self, obs: TensorDict, masks: Tensor | None = None,
                hidden_state: HiddenState = None, stochastic_output: bool = False) -> Tensor:
        """Value of a situation. Shape: (B, 1)."""
        return self.critic(obs[self.obs_groups[0]], obs[self.obs_groups[1]])

    def update_normalization(self, obs: TensorDict) -> None:
        """Nothing: the numbers are scaled where they are made."""

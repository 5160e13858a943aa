"""The deployed actor, dressed as the model class that rsl_rl's PPO expects."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.modules import HiddenState
from rsl_rl.modules.distribution import GaussianDistribution
from tensordict import TensorDict
from torch import Tensor, nn

from karpathy_control.policy.actor import Actor


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


def count_parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def tensors_are_finite(state: dict[str, Tensor]) -> bool:
    """Whether no entry of any floating tensor is NaN or infinite."""
    return all(bool(torch.isfinite(t).all()) for t in state.values() if t.is_floating_point())

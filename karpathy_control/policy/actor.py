"""The reflex: a small attention network over the tokens, and how its action becomes a command.

One layer of self-attention, then the state token asks all others (attention pooling), then a
small head: about 23 k parameters, under a millisecond for one robot on one thread. The action is
a bounded residual on the guidance's command; the last layer starts at zero, so that an untrained
actor is exactly the guidance.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from karpathy_control.contracts.card import WeightsCard, WeightsError, verify_weights, write_card
from karpathy_control.contracts.config import RobotConfig
from karpathy_control.policy.deliberation import Features
from karpathy_control.policy.tokens import FEATURES, TOKEN_VERSION, TOKENS

ACTIONS = 2
RESIDUAL_SPEED = 0.3  # m/s that the reflex may add or take away
RESIDUAL_TURN = 0.6  # rad/s


class Attention(nn.Module):
    """Multi-head attention written out: for some twenty tokens this beats the fused kernels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, asking: Tensor, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Shape: asking (B, Q, d), tokens (B, T, d), bias (B, Q, T) or None -> (B, Q, d)."""
        b, q, d = asking.shape
        share = d // self.heads
        queries = self.query(asking).view(b, q, self.heads, share).transpose(1, 2)
        keys, values = self.key_value(tokens).chunk(2, dim=-1)
        keys = keys.reshape(b, -1, self.heads, share).permute(0, 2, 3, 1)
        values = values.reshape(b, -1, self.heads, share).transpose(1, 2)
        scores = (queries @ keys) * share ** -0.5
        if bias is not None:
            scores = scores + bias.unsqueeze(1)
        mixed = torch.softmax(scores, dim=-1) @ values
        return self.out(mixed.transpose(1, 2).reshape(b, q, d))


class Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ELU(),
                                  nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Shape: (B, T, d) -> (B, T, d)."""
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, bias)
        return tokens + self.feed(tokens)


class Trunk(nn.Module):
    """Tokens to one vector per robot; actor and critic each have their own."""

    def __init__(self, width: int = 32, heads: int = 2, layers: int = 1) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f'width {width} is not a multiple of heads {heads}')
        self.width = width
        self.embed = nn.Linear(FEATURES, width)
        self.place = nn.Parameter(0.02 * torch.randn(TOKENS, width))
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.pool = Attention(width, heads)

    @property
    def outputs(self) -> int:
        """Length of the vector."""
        return 2 * self.width

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Shape: tokens (B, TOKENS, FEATURES), bias (B, TOKENS, TOKENS) -> (B, outputs).

        bias: added to the attention scores, for relations that geometry knows.
        """
        x = self.embed(tokens) + self.place
        for layer in self.layers:
            x = layer(x, bias)
        x = self.norm(x)
        state = x[:, :1]
        pooled = self.pool(state, x, None if bias is None else bias[:, :1])
        return torch.cat((state, pooled), dim=-1).squeeze(1)


class Actor(nn.Module):
    """Tokens to the mean action (B, 2), before the residual bound; zero for a new actor."""

    def __init__(self, width: int = 32, heads: int = 2, layers: int = 1,
                 hidden: int = 128) -> None:
        super().__init__()
        self.options: dict[str, Any] = {'width': width, 'heads': heads, 'layers': layers,
                                        'hidden': hidden}
        self.trunk = Trunk(width, heads, layers)
        self.head = nn.Sequential(nn.Linear(self.trunk.outputs, hidden), nn.ELU(),
                                  nn.Linear(hidden, ACTIONS))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Shape: (B, TOKENS, FEATURES) -> (B, 2)."""
        return self.head(self.trunk(tokens, bias))


class Critic(nn.Module):
    """Tokens and, in training, privileged numbers to the value (B, 1)."""

    def __init__(self, privileged: int = 0, width: int = 32, heads: int = 2, layers: int = 1,
                 hidden: int = 128) -> None:
        super().__init__()
        self.trunk = Trunk(width, heads, layers)
        self.head = nn.Sequential(nn.Linear(self.trunk.outputs + privileged, hidden), nn.ELU(),
                                  nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, 1))

    def forward(self, tokens: Tensor, privileged: Tensor | None = None) -> Tensor:
        """Shape: tokens (B, TOKENS, FEATURES), privileged (B, p) -> (B, 1)."""
        latent = self.trunk(tokens)
        return self.head(latent if privileged is None
                         else torch.cat((latent, privileged), dim=-1))


def compose(base_command: Any, action: Any, robot: RobotConfig) -> Any:
    """Command = guidance + bounded residual, within the robot's limits.

    The same for numpy arrays and torch tensors. Shape: base_command (..., 2) m/s and rad/s,
    action (..., 2) as the actor gives it -> (..., 2) m/s and rad/s.
    """
    library: ModuleType = torch if isinstance(action, Tensor) else np
    residual = library.tanh(action)
    v = library.clip(base_command[..., 0] + RESIDUAL_SPEED * residual[..., 0],
                     -robot.max_reverse, robot.max_speed)
    w = library.clip(base_command[..., 1] + RESIDUAL_TURN * residual[..., 1],
                     -robot.max_turn, robot.max_turn)
    return library.stack((v, w), -1)


def propose(features: Features, action: NDArray[np.float32], robot: RobotConfig
            ) -> NDArray[np.float32]:
    """The guidance as the reflex corrects it; a manoeuvre leaves no room to be corrected.

    Shape: action (B, 2) as the actor gives it -> (B, 2) m/s and rad/s.
    """
    command: NDArray[np.float32] = np.where(features.manoeuvres[:, None], features.base_command,
                                            compose(features.base_command, action, robot))
    return command


def save_actor(actor: Actor, path: Path, command: str, seed: int, commit: str,
               metrics: dict[str, Any]) -> WeightsCard:
    """Write the weights and their card; returns the card."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in actor.state_dict().items()}, path)
    model = {**actor.options, 'tokens': [TOKENS, FEATURES], 'token_version': TOKEN_VERSION}
    return write_card(path, 'actor', model, command, seed, commit, metrics)


def load_actor(path: Path, device: torch.device | str = 'cpu') -> tuple[Actor, WeightsCard]:
    """Check and load an actor; WeightsError names what does not fit and how to make new ones."""
    card = verify_weights(path, 'actor')
    options = dict(card.model)
    found = {'tokens': options.pop('tokens', None),
             'token_version': options.pop('token_version', None)}
    needed = {'tokens': [TOKENS, FEATURES], 'token_version': TOKEN_VERSION}
    for name, value in needed.items():
        if found[name] != value:
            raise WeightsError(f'weights {path}: {name} is {found[name]!r}, needed is {value!r}; '
                               'make them with: karpathy-control train policy')
    try:
        actor = Actor(**options)
        actor.load_state_dict(load_file(path))
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f'weights {path}: they do not fit their card: {error}') from error
    for name, value in actor.state_dict().items():
        if not torch.isfinite(value).all():
            raise WeightsError(f'weights {path}: {name} holds values that are not finite; make '
                               'them with: karpathy-control train policy')
    return actor.to(device).eval(), card

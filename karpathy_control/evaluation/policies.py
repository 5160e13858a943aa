"""Policies by name: the shipped reflex, the guidance, baselines, and a function from outside."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ConfigError, PolicyConfig, RobotConfig
from karpathy_control.evaluation.baselines.dynamic_window import DynamicWindow
from karpathy_control.evaluation.baselines.oracle import Oracle
from karpathy_control.evaluation.baselines.straight import straight
from karpathy_control.policy.situation import Policy, Situation

GUIDANCE = 'guidance'  # the cost-to-go's own command, without the reflex
SHIPPED = 'reflex'  # the weights in the weights folder
NAMES = (SHIPPED, GUIDANCE, 'straight', 'dynamic_window', 'mppi', 'oracle')


def weights_of(name: str) -> Path | None:
    """The weight file that a name stands for; None for a policy without weights.

    Raises FileNotFoundError naming where it was looked for.
    """
    if ':' in name or (name in NAMES and name != SHIPPED):
        return None
    return find('weights', PolicyConfig().weights if name == SHIPPED else name)


def load_policy(name: str, robot: RobotConfig, device: str = 'cpu') -> Policy:
    """The policy of a name of NAMES, of a weight file, or of `module:function`.

    Raises ConfigError for what cannot be imported, WeightsError and FileNotFoundError for weights.
    """
    weights = weights_of(name)
    if weights is not None:
        return reflex(weights, robot, device)
    if name == GUIDANCE:
        return guidance
    if name == 'straight':
        return straight
    if name == 'dynamic_window':
        return DynamicWindow()
    if name == 'oracle':
        return Oracle()
    if name == 'mppi':
        try:
            from karpathy_control.evaluation.baselines.mppi import Mppi
        except ImportError as error:
            raise ConfigError(f'--policy mppi: {error}; cure: pip install pytorch_mppi') from error
        return Mppi()
    return _outside(name)


def guidance(s: Situation) -> NDArray[np.floating]:
    """The baseline: what the cost-to-go alone proposes. Shape: (B, 2)."""
    return s.features.base_command


def reflex(path: Path, robot: RobotConfig, device: str = 'cpu') -> Policy:
    """The learned reflex on top of the guidance, as the policy node runs it.

    Raises WeightsError where the weights are missing, tampered with or for another layout.
    """
    import torch

    from karpathy_control.policy.actor import load_actor, propose
    actor, _ = load_actor(path, device)

    def corrected(s: Situation) -> NDArray[np.floating]:
        with torch.inference_mode():
            action = actor(torch.from_numpy(s.features.tokens).to(device)).cpu().numpy()
        return propose(s.features, action, robot)

    return corrected


def _outside(name: str) -> Policy:
    """`module:function`, which takes (scan, velocity, goal) of one robot and gives (v, w)."""
    module, _, function = name.partition(':')
    try:
        call = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f'--policy {name!r}: {error}; it takes {", ".join(NAMES)}, a weight '
                          'file, or module:function') from error
    if not callable(call):
        raise ConfigError(f'--policy {name!r}: is a {type(call).__name__}, not a function')

    def propose(s: Situation) -> NDArray[np.floating]:
        rows = [np.asarray(call(s.scan[b], s.velocity[b], s.goal[b]), np.float64)
                for b in range(len(s.scan))]
        command = np.array(rows)
        if command.shape != (len(rows), 2) or not np.isfinite(command).all():
            raise ConfigError(f'--policy {name!r} gave {rows[0]!r}; it takes (v, w) in m/s and '
                              'rad/s, finite')
        return command

    return propose

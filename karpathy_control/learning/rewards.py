"""R(s, a) = sum_i r_i * Reward_i(s, a): each term a short, named function over a batch.

The weights r_i are in config/train.yaml; a term without a weight there is not computed. Every
term is logged unweighted, per second of driving. The terms keep to what numpy arrays and torch
tensors have in common, so both backends of the batched world are rewarded by the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from karpathy_control.worlds.batched import CONTROL_STEP

Array = Any  # a numpy array or a torch tensor; all of a Transition are of one kind

COMFORT = 0.25  # m: nearer than this to anything is uncomfortable at speed


@dataclass(frozen=True)
class Transition:
    """What happened in one control step of B robots."""

    step: float  # s
    progress: Array  # (B,) m of free path won, both ends on the same cost-to-go
    reached: Array  # (B,) bool, the goal was reached in this step
    contact: Array  # (B,) bool, something was touched in this step
    proposed: Array  # (B, 2) v w, what the policy asked for
    applied: Array  # (B, 2) v w, what the gate let through
    previous: Array  # (B, 2) v w, what it let through a step ago
    limits: Array  # (2,) m/s and rad/s, the robot's
    speed: Array  # (B,) m/s, signed
    clearance: Array  # (B,) m from the footprint to the nearest thing


def progress(t: Transition) -> Array:
    """Metres of free path won; at most half a metre counts, a replan may jump."""
    return t.progress.clip(-0.5, 0.5)


def reached(t: Transition) -> Array:
    """1 on arrival."""
    return t.reached * 1.0


def collision(t: Transition) -> Array:
    """1 on contact."""
    return t.contact * 1.0


def time(t: Transition) -> Array:
    """Seconds spent."""
    return t.reached * 0.0 + t.step


def leaning(t: Transition) -> Array:
    """|applied - proposed| as a share of the limits, per second: do not lean on the gate."""
    return (abs(t.applied - t.proposed) / t.limits).sum(1) * t.step


def smoothness(t: Transition) -> Array:
    """Squared change of the applied command as a share of the limits."""
    return (((t.applied - t.previous) / t.limits) ** 2).sum(1)


def comfort(t: Transition) -> Array:
    """How far inside the comfort distance, times the speed: near and fast is what disturbs."""
    inside = (1.0 - t.clearance / COMFORT).clip(0.0, 1.0)
    return inside * abs(t.speed) * t.step


TERMS: dict[str, Callable[[Transition], Array]] = {
    term.__name__: term
    for term in (progress, reached, collision, time, leaning, smoothness, comfort)
}


def weighted_sum(transition: Transition,
                 weights: Mapping[str, float]) -> tuple[Array, dict[str, Array]]:
    """The reward (B,) and every term with a weight, unweighted (B,).

    Raises ValueError for a weight without a term, naming the terms.
    """
    for name in weights:
        if name not in TERMS:
            raise ValueError(f'unknown reward {name!r}; known: {", ".join(TERMS)}')
    values = {name: TERMS[name](transition) for name in weights}
    total = transition.reached * 0.0
    for name, value in values.items():
        total = total + weights[name] * value
    return total, values


def ends(contact: Array, near: Array, time: Array, episode_time: float) -> tuple[Array, Array]:
    """Who has arrived and whose time is up, (B,) bool each; causes of an end exclude each other.

    contact, near (B,) bool: something was touched, the goal is within reach; time (B,) s.
    """
    arrived = near & ~contact
    return arrived, (time >= episode_time - 0.5 * CONTROL_STEP) & ~contact & ~arrived

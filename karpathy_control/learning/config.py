"""Configuration of policy training: typed, documented beside each field, read from YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from karpathy_control.contracts.config.core import ConfigError, from_mapping, group, parameter
from karpathy_control.contracts.files import read_yaml
from karpathy_control.worlds.variation import Variation


def _range(default: tuple[float, float], description: str) -> Any:
    return parameter(list(default), description + ', [low, high]')


@dataclass(frozen=True)
class FamilyShares:
    """How often each family of worlds is drawn (`families`), relative to the others."""

    mixed: float = parameter(1.0, 'share', minimum=0.0)
    cylinders: float = parameter(1.0, 'share', minimum=0.0)
    corridor: float = parameter(1.0, 'share', minimum=0.0)
    rooms: float = parameter(1.0, 'share', minimum=0.0)
    open: float = parameter(0.5, 'share', minimum=0.0)
    low: float = parameter(1.0, 'share', minimum=0.0)
    moving: float = parameter(6.0, 'share', minimum=0.0)
    field: float = parameter(1.0, 'share', minimum=0.0)
    swarm: float = parameter(2.0, 'share', minimum=0.0)
    people: float = parameter(2.0, 'share', minimum=0.0)


@dataclass(frozen=True)
class RewardWeights:
    """The r_i of the weighted sum (`rewards`); see learning.rewards for the terms."""

    progress: float = parameter(1.0, 'per metre of free path')
    reached: float = parameter(5.0, 'on arrival')
    collision: float = parameter(-10.0, 'on contact')
    time: float = parameter(-0.4, 'per second')
    leaning: float = parameter(-0.2, 'per second of a full-scale difference from the gate')
    smoothness: float = parameter(-0.3, 'per squared full-scale change of command')
    comfort: float = parameter(-0.5, 'per metre driven at zero clearance')


@dataclass(frozen=True)
class Randomisation:
    """What differs between episodes (`randomisation`); meanings in worlds.variation."""

    delay: list[float] = _range(Variation.delay, 's, command to effect')
    acceleration: list[float] = _range(Variation.acceleration, 'multiple of the stated one')
    deceleration: list[float] = _range(Variation.deceleration, 'multiple of the stated one')
    slip: list[float] = _range(Variation.slip, 'forward speed lost')
    turn_slip: list[float] = _range(Variation.turn_slip, 'turning rate lost')
    drift: list[float] = _range(Variation.drift, 'odometry distance scale error')
    turn_drift: list[float] = _range(Variation.turn_drift, 'odometry turning scale error')
    scan_noise: list[float] = _range(Variation.scan_noise, 'm')
    scan_drop: list[float] = _range(Variation.scan_drop, 'share of beams')
    lidar_fov: list[float] = _range(Variation.lidar_fov, 'rad')
    camera_error: list[float] = _range((0.5, 1.5), 'multiple of the fitted errors')
    camera_depth: list[float] = _range((0.5, 0.5), 'chance that the camera has depth')
    camera_range: list[float] = _range(Variation.camera_range, 'm, of depth points')
    depth_noise: list[float] = _range(Variation.depth_noise, 'share of the distance')

    def validate(self) -> None:
        """Check every range the way the simulator will."""
        try:
            self.variation()
        except (ValueError, TypeError) as error:
            raise ConfigError(f'randomisation: {error}') from error

    def variation(self) -> Variation:
        """The same as the batched world takes it."""
        ranges = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if len(value) != 2:
                raise ValueError(f'{item.name}: {value!r} is not accepted; it takes [low, high]')
            ranges[item.name] = (float(value[0]), float(value[1]))
        return Variation(**ranges)


@dataclass(frozen=True)
class PPOConfig:
    """Proximal policy optimisation (`ppo`), by rsl_rl."""

    steps_per_iteration: int = parameter(48, 'control steps of each robot between two updates',
                                         minimum=2, maximum=4096)
    epochs: int = parameter(3, 'passes over what was collected', minimum=1, maximum=64)
    mini_batches: int = parameter(4, 'parts of each pass', minimum=1, maximum=256)
    clip: float = parameter(0.2, 'clip range of the probability ratio', minimum=0.01, maximum=1.0)
    gamma: float = parameter(0.99, 'discount per control step', minimum=0.0, maximum=1.0)
    lam: float = parameter(0.95, 'generalised advantage estimation', minimum=0.0, maximum=1.0)
    entropy: float = parameter(0.0005, 'weight of the entropy bonus', minimum=0.0, maximum=1.0)
    learning_rate: float = parameter(3e-4, 'fixed: adapted to the KL divergence it rose to '
                                     '1e-2 without gain (doc/log.md)', minimum=1e-6,
                                     maximum=0.1)
    max_grad_norm: float = parameter(1.0, 'gradient clip', minimum=0.01, maximum=100.0)
    init_std: float = parameter(0.25, 'standard deviation of the residual at the start',
                                minimum=0.01, maximum=2.0)


@dataclass(frozen=True)
class PolicyTraining:
    """Everything `karpathy-control train policy` needs beside its arguments."""

    worlds: int = parameter(200, 'worlds in the bank', minimum=1, maximum=100000)
    episode_time: float = parameter(30.0, 'longest episode', unit='s', minimum=1.0, maximum=600.0)
    families: FamilyShares = group(FamilyShares)
    rewards: RewardWeights = group(RewardWeights)
    randomisation: Randomisation = group(Randomisation)
    ppo: PPOConfig = group(PPOConfig)

    def family_counts(self) -> dict[str, int]:
        """How many worlds of each family the bank holds; the largest takes what rounding left."""
        shares = {item.name: getattr(self.families, item.name) for item in fields(self.families)}
        total = sum(shares.values())
        if total <= 0.0:
            raise ConfigError('families: all shares are 0; at least one must be positive')
        counts = {name: int(self.worlds * share / total) for name, share in shares.items()}
        counts[max(shares, key=lambda name: shares[name])] += self.worlds - sum(counts.values())
        return {name: count for name, count in counts.items() if count > 0}


def flatten(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested YAML mappings to dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f'{prefix}{name}.')
        else:
            flat[prefix + str(name)] = value
    return flat


def load(path: Path) -> PolicyTraining:
    """Read the `policy` section of a training file. ConfigError names file and value."""
    content = read_yaml(path)
    if not isinstance(content, Mapping) or not isinstance(content.get('policy'), Mapping):
        raise ConfigError(f'{path}: it needs a mapping "policy"')
    try:
        return from_mapping(PolicyTraining, flatten(content['policy']))
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error

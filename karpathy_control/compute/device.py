"""The torch device of a parameter; one that is not there is an error, never a silent swap."""

from __future__ import annotations

import re

import torch

from karpathy_control.contracts.config import ConfigError


def available_devices() -> list[str]:
    """Every device that `open_device` would accept here."""
    return ['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))]


def open_device(name: str) -> torch.device:
    """The torch device of a parameter. ConfigError names it and what is accepted or available."""
    if re.fullmatch(r'cpu|cuda(:\d+)?', name) is None:
        raise ConfigError(f'device {name!r} is not accepted; it takes cpu, cuda or cuda:N')
    there = available_devices()
    if name not in there and not (name == 'cuda' and len(there) > 1):
        raise ConfigError(f'device {name!r} is not available on this machine; available: '
                          f'{", ".join(there)} (torch {torch.__version__})')
    return torch.device(name)

"""The journal of a running node: kept only while somebody listens."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from std_msgs.msg import String

from karpathy_control.bags.journal import STATE_PERIOD, Chunk, pack
from karpathy_control.contracts.card import sha256_of
from karpathy_control.contracts.config import to_mapping
from karpathy_control.nodes.qos import profile, topic

SEND_PERIOD = 1.0  # s
PACKAGES = ('karpathy_control', 'numpy', 'numba', 'opencv-python-headless', 'torch', 'onnxruntime')


def made_with() -> dict[str, str]:
    """Versions and machine, on which the last bit of a result depends."""
    found = {'python': platform.python_version(), 'machine': platform.machine(),
             'processor': _processor()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ''
    return found


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(':')[2].strip() for line in lines
                 if line.startswith('model name')), platform.processor())


def weights_sha256(*paths: Path) -> str:
    """SHA-256 of weight files, one after another."""
    return ' '.join(map(sha256_of, paths))


class NodeJournal:
    """Collects the events of one node and sends them once a second.

    Args:
        node: whose; it has NAME and config.
        weights: SHA-256 of what it loaded.
        behind: s that the first state waits for those of the nodes before it, so that a replay of
            all nodes in a row can begin soon.

    """

    def __init__(self, node: Any, weights: str = '', behind: float = 0.0) -> None:
        row = topic(f'{node.NAME}/journal')
        self._node = node
        self._publisher = node.create_publisher(String, row.name, profile(row.qos))
        self._weights, self._made_with, self._behind = weights, made_with(), behind
        self._run, self._number = time.time_ns(), 0
        self._listened = False
        self._state_due = self._send_due = 0.0  # steady s
        self._begin()

    def _begin(self) -> None:
        self._events: list[list[Any]] = []
        self._configured: dict[str, Any] = to_mapping(self._node.config)

    def add(self, *event: Any) -> None:
        """Note one event, see bags/journal.py."""
        if self._listened:
            self._events.append([*event])

    def parameters(self) -> None:
        """Note that parameters were changed."""
        self.add('parameters', to_mapping(self._node.config))

    def after_set(self, stamp: int, state: Callable[[], Mapping[str, NDArray[Any]]] | None
                  ) -> None:
        """Called after every set: note the state where one is due and can be had, send what came.

        Not by a timer: those of a busy executor may come late by seconds, and then at once.
        """
        now = time.monotonic()
        if self._listened and state is not None and now >= self._state_due:
            self._state_due = now + STATE_PERIOD
            self.add('state', stamp, pack(state()))
        if now >= self._send_due:
            self._send_due = now + SEND_PERIOD
            self.send()

    def send(self) -> None:
        """Send what came since the last call, and see who listens."""
        if self._listened:
            self._publisher.publish(String(data=Chunk(
                self._node.NAME, self._run, self._number, self._configured, self._weights,
                self._made_with, self._events).text()))
        self._number += 1
        listened = self._publisher.get_subscription_count() > 0
        if listened and not self._listened:
            self._state_due = time.monotonic() + self._behind
        self._listened = listened
        self._begin()

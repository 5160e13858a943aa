"""The rooms again, driven by their journals: each stage turns events into the sets it published.

A stage starts at a state of its journal. Where a chunk of the journal or a message is missing it
goes on at the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from karpathy_control.bags.journal import Chunk, unpack
from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import (
    ConfigError,
    PerceptionConfig,
    PolicyConfig,
    SensorConfig,
    from_mapping,
)
from karpathy_control.contracts.types import Observation
from karpathy_control.nodes import convert, perception, policy
from karpathy_control.nodes.frames import FrameResolver
from karpathy_control.nodes.intake import PARTS, Intake, observation_messages
from karpathy_control.nodes.journaling import weights_sha256
from karpathy_control.perception.motion import load_network
from karpathy_control.perception.runtime import PerceptionRuntime
from karpathy_control.policy.runtime import PolicyRuntime
from karpathy_control.sensing.pipeline import SensorPipeline

Take = Callable[[str, int], Any | None]  # topic, stamp -> message
Set = tuple[int, dict[str, Any]]  # stamp, topic -> message


class LostError(LookupError):
    """A message that the node consumed is not there."""


class Stage:
    """One node without ROS. Subclasses name NODE, CONFIG, the anchor of a set and its topics."""

    NODE: ClassVar[str]
    CONFIG: ClassVar[type]
    ANCHOR: ClassVar[str]
    OUTPUTS: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.late = 0

    def play(self, chunks: Iterable[Chunk], take: Take) -> Iterator[Set | None]:
        """The sets in order; None where it goes on after a hole.

        ConfigError for parameters or weights that are not those of the recording.
        """
        expected, synced = (-1, -1), False
        for chunk in chunks:
            if (chunk.run, chunk.number) != expected:
                synced = False
                self._build(chunk)
            expected = chunk.run, chunk.number + 1
            for kind, *values in chunk.events:
                if kind == 'parameters':
                    self._configure(self._config(values[0]))
                elif kind == 'state' and not synced:
                    self._restore(values[1])
                    synced = True
                    yield None
                elif synced and kind != 'state':
                    try:
                        yield from self._again(kind, values, take)
                    except LostError:
                        synced = False

    def needs(self, chunks: Iterable[Chunk]) -> set[str]:
        """The topics that it consumed."""
        return {topic for chunk in chunks for event in chunk.events
                for topic in self._consumed(event)}

    def close(self) -> None:
        """End what runs beside."""

    def _make(self, config: Any, weights: str) -> None:
        """A new one, warmed up. `weights`: their SHA-256."""
        raise NotImplementedError

    def _configure(self, config: Any) -> None:
        """A live change of parameters."""
        raise NotImplementedError

    def _resume(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        raise NotImplementedError

    def _consumed(self, event: list[Any]) -> Iterable[str]:
        """The topics of the messages that an event consumed."""
        raise NotImplementedError

    def _again(self, kind: str, values: list[Any], take: Take) -> list[Set]:
        """Do again what an event says. Raises LostError."""
        raise NotImplementedError

    def _config(self, parameters: dict[str, Any]) -> Any:
        try:
            return from_mapping(self.CONFIG, parameters)
        except ConfigError as error:
            raise ConfigError(f'{self.NODE}, as recorded: {error}') from None

    def _build(self, chunk: Chunk) -> None:
        self.close()
        self._make(self._config(chunk.parameters), chunk.weights)

    def _restore(self, packed: str) -> None:
        try:
            self._resume(unpack(packed))
        except (KeyError, ValueError) as error:
            raise ConfigError(f'{self.NODE}: its recorded state does not fit this version: '
                              f'{error}') from None


def _weights(sha256: str, *names: str) -> list[Path]:
    """Where weights lie; ConfigError where they are not those that were recorded with."""
    paths = [find('weights', name) for name in names]
    if weights_sha256(*paths) != sha256:
        raise ConfigError(f'weights {", ".join(map(str, paths))}: SHA-256 '
                          f'{weights_sha256(*paths)}, recorded with {sha256}')
    return paths


class SensorStage(Stage):
    """Raw topics to observation/*."""

    NODE, CONFIG, ANCHOR = 'sensor', SensorConfig, 'observation/state'
    OUTPUTS = tuple(f'observation/{part}' for part in PARTS)

    def _make(self, config: SensorConfig, weights: str) -> None:
        self._now_config = config
        self._pipeline = SensorPipeline(config)
        self._pipeline.warm_up()
        robot = config.robot
        frames = FrameResolver(None, robot.odom_frame, robot.base_frame)
        self._intake = Intake(self._pipeline, config, frames.to_odom)

    def _configure(self, config: SensorConfig) -> None:
        self._now_config = config
        self._pipeline.configure(config)

    def _resume(self, state: dict[str, Any]) -> None:
        self._pipeline.restore(state)

    def _consumed(self, event: list[Any]) -> Iterable[str]:
        return (event[1],) if event[0] == 'message' else ()

    def _again(self, kind: str, values: list[Any], take: Take) -> list[Set]:
        if kind == 'release':
            return [(o.stamp, {f'observation/{part}': message for part, message in
                               observation_messages(o, self._now_config).items()})
                    for o in self._pipeline.release(*values)]
        topic, stamp, received = values
        message = take(topic, stamp)
        if message is None:
            raise LostError
        try:
            self._intake.take(topic, message, received)
        except convert.InvalidMessage:
            pass  # as the node did
        return []


class PerceptionStage(Stage):
    """observation/* to perception/*."""

    NODE, CONFIG, ANCHOR = 'perception', PerceptionConfig, 'perception/entities'
    OUTPUTS = ('perception/scan', 'perception/entities', 'perception/relations')

    def _make(self, config: PerceptionConfig, weights: str) -> None:
        encoder, motion = _weights(weights, config.weights, config.motion_weights)
        self._runtime = PerceptionRuntime(encoder, config, load_network(motion))
        self._runtime.warm_up()

    def _configure(self, config: PerceptionConfig) -> None:
        self._runtime.config = config

    def _resume(self, state: dict[str, Any]) -> None:
        self._runtime.restore(state)

    def _consumed(self, event: list[Any]) -> Iterable[str]:
        return [f'observation/{part}' for part in event[2]] if event[0] == 'set' else ()

    def _again(self, kind: str, values: list[Any], take: Take) -> list[Set]:
        if kind == 'reset':
            self._runtime.reset()
            return []
        stamp, config = values[0], self._runtime.config
        readers = perception.readers(config)
        parts = {part: readers[part](_found(take, f'observation/{part}', stamp))
                 for part in values[1]}
        entities, base = self._runtime.step(Observation(stamp, **parts)), config.robot.base_frame
        messages = {**perception.entities_messages(entities, base),
                    'relations': perception.relations_message(entities, base)}
        return [(stamp, {f'perception/{name}': m for name, m in messages.items()})]


class PolicyStage(Stage):
    """observation/* and perception/* to policy/action."""

    NODE, CONFIG, ANCHOR = 'policy', PolicyConfig, 'policy/action'
    OUTPUTS = ('policy/action', 'policy/path')
    _runtime: PolicyRuntime | None = None

    def _make(self, config: PolicyConfig, weights: str) -> None:
        self._runtime = PolicyRuntime(_weights(weights, config.weights)[0], config)
        self._runtime.warm_up()

    def close(self) -> None:
        """End the worker thread."""
        if self._runtime is not None:
            self._runtime.close()

    def _configure(self, config: PolicyConfig) -> None:
        assert self._runtime is not None
        self._runtime.configure(config)

    def _resume(self, state: dict[str, Any]) -> None:
        assert self._runtime is not None
        self._runtime.restore(state)

    def _consumed(self, event: list[Any]) -> Iterable[str]:
        return [policy.PARTS[part][0] for part in event[2]] if event[0] == 'set' else ()

    def _again(self, kind: str, values: list[Any], take: Take) -> list[Set]:
        assert self._runtime is not None
        if kind == 'reset':
            self._runtime.reset()
            return []
        stamp, names, late = values
        parts = {}
        for part in names:
            topic, read = policy.PARTS[part]
            parts[part] = read(_found(take, topic, stamp))
        action = policy.decide(self._runtime, stamp, parts, late)
        if action is None:
            return []
        self.late += late
        return [(stamp, {f'policy/{name}': make() for name, make in policy.action_messages(
            action, self._runtime.config).items()})]


def _found(take: Take, topic: str, stamp: int) -> Any:
    message = take(topic, stamp)
    if message is None:
        raise LostError
    return message

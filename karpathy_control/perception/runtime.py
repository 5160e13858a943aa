"""Runs the encoder on the robot: fixed buffers in, entities out, errors counted.

One call per observation and no allocation of device memory between calls. What moves comes from
the tracker, all else from the network. A modality that is missing is flagged to the network. Depth
geometry does not depend on the network, so the camera scan from depth survives a network that
answers nonsense.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from karpathy_control.compute.device import open_device
from karpathy_control.contracts.card import WeightsError, sha256_of, verify_weights
from karpathy_control.contracts.config import ConfigError, PerceptionConfig
from karpathy_control.contracts.layout import (
    EMBEDDING,
    ENTITY_CLASSES,
    ENTITY_FIELDS,
    MOVER_FIELDS,
    SECTOR_WIDTH,
    SECTORS,
)
from karpathy_control.contracts.types import (
    NANOSECONDS,
    Entities,
    FloatArray,
    Observation,
    Scan,
)
from karpathy_control.perception.camera_scan import (
    scan_from_depth,
    scan_from_network,
    sector_bearings,
)
from karpathy_control.perception.encoder import (
    PAST_AGES,
    PRESENT_WITHIN,
    SUB_BINS,
    Encoder,
    EncoderShape,
    Inputs,
    pack,
)
from karpathy_control.perception.history import History
from karpathy_control.perception.motion import Network
from karpathy_control.perception.novelty import Novelty, pooled
from karpathy_control.perception.onnx_session import OnnxSession, export
from karpathy_control.perception.tracker import Tracker

WARM_UP_STEPS = 5
NAMED_FROM = 0.5  # confidence from which an entity is called anything but free
_CLASSES = len(ENTITY_CLASSES)
_MOVING = ENTITY_CLASSES.index('moving')
_FREE = ENTITY_CLASSES.index('free')


def load_encoder(weights: Path) -> Encoder:
    """Rebuild the network that a weight file and its card describe, in float32 on the CPU.

    Raises WeightsError where the file is missing, tampered with or does not fit.
    """
    card = verify_weights(weights, 'encoder')
    try:
        encoder = Encoder(EncoderShape(**card.model))
        state = {name: tensor.float() for name, tensor in load_file(weights).items()}
        encoder.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f'weights {weights}: do not fit the network of their card '
                           f'({error})') from error
    return encoder.eval()


@functools.lru_cache(maxsize=1)
def _exported(weights: Path, sha256: str) -> bytes:
    """A weight file of this content as ONNX: once, also where every world has a new runtime."""
    return export(load_encoder(weights))


def unpack(row: FloatArray) -> dict[str, Any]:
    """The inverse of `pack` for one observation. Shape: (SECTORS, columns) -> named arrays."""
    sizes = {'presence': 1, 'log_range': 1, 'log_scale': 1, 'offset': 1, 'height': 1,
             'radius': 1, 'velocity': 2, 'classes': _CLASSES, 'embedding': EMBEDDING,
             'camera': SUB_BINS * 3, 'relations': SECTORS}
    found, at = {}, 0
    for name, size in sizes.items():
        part = row[:, at:at + size]
        found[name] = part[:, 0] if size == 1 else part
        at += size
    found['camera'] = found['camera'].reshape(SECTORS, SUB_BINS, 3)
    return found


def sigmoid(x: FloatArray) -> FloatArray:
    """Logistic function, stable for large arguments."""
    return (0.5 * (1.0 + np.tanh(0.5 * x))).astype(np.float32)


def entropy_bits(p: FloatArray) -> float:
    """Mean entropy of independent yes-or-no probabilities, in bits."""
    q = np.clip(p.astype(np.float64), 1e-6, 1.0 - 1e-6)
    return float(np.mean(-(q * np.log2(q) + (1.0 - q) * np.log2(1.0 - q))))


class PerceptionRuntime:
    """x = Encoder(sensors), R(x) and the camera scan, one observation at a time.

    Raises WeightsError, ConfigError. `errors` counts answers that were not finite. Entities are
    marked unsure where the answer was not finite, its out-of-distribution score is above
    `unsure_above`, or the image stays away that was there before; a score that is not known (NaN)
    marks nothing.
    """

    def __init__(self, weights: Path, config: PerceptionConfig,
                 motion: Network | None = None) -> None:
        """motion: how moving things go on (`load_network`); None: straight."""
        self.config = config
        self.errors = 0
        self._device = open_device(config.device)
        torch.set_num_threads(config.threads)
        cuda = self._device.type == 'cuda'
        if config.runtime == 'onnx' and cuda:
            raise ConfigError(f"runtime 'onnx' runs on the cpu, device is {config.device!r}; it "
                              "takes runtime 'torch' or 'auto' there")
        self._host = Inputs.absent(1, pin=cuda)
        self._views = {name: tensor.numpy()[0] for name, tensor in self._host._asdict().items()}
        self._inputs = Inputs.absent(1, self._device) if cuda else self._host
        self._pattern: tuple[int, ...] = (0, 0, 0)  # image, depth and scan that are there
        self._had_image = False  # since the last reset: without it then, something is wrong
        self._session: OnnxSession | None = None
        if cuda or config.runtime == 'torch':
            self._encoder = load_encoder(weights).requires_grad_(False).to(self._device)
        else:
            verify_weights(weights, 'encoder')
            self._session = OnnxSession(_exported(weights, sha256_of(weights)), self._host,
                                        config.threads)
        self._output: torch.Tensor | None = None  # pinned, made by the first answer
        self._history = History(PAST_AGES)
        self._tracker = Tracker(network=motion)
        self.novelty = Novelty(weights, self._device)

    def reset(self) -> None:
        """Forget earlier observations (time jumped, robot was moved)."""
        self._history.clear()
        self._tracker.reset()
        self._had_image = False

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that later answers depend on, as copies by name."""
        return {**self._history.state(), 'had_image': np.array(self._had_image),
                **{f'tracker.{k}': v.copy() for k, v in self._tracker.arrays().items()}}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave; KeyError or ValueError for what does not fit."""
        self._history.restore(state)
        self._had_image = bool(state['had_image'])
        for name, array in self._tracker.arrays().items():
            array[:] = state[f'tracker.{name}']

    def warm_up(self) -> None:
        """Run a few empty observations, so that the first real one is as quick as any."""
        for tensor, empty in zip(self._host, Inputs.absent(1), strict=True):
            tensor.copy_(empty)
        for _ in range(WARM_UP_STEPS):
            self._infer()
        self._tracker.warm_up()

    def step(self, observation: Observation) -> Entities:
        """Encode one observation; image, depth, scan and IMU may each be None.

        ValueError for an array of the wrong shape. An answer that is not finite is counted in
        `errors` and given as entities of zero confidence.
        """
        start = time.perf_counter()
        self._fill(observation)
        row, score = self._infer()
        ranges = None if observation.scan is None else observation.scan.ranges
        moving = self._moving(observation)
        self._history.push(observation.state, ranges)
        geometry = None if observation.depth_points is None else scan_from_depth(
            observation.depth_points)
        self._had_image |= observation.image is not None
        finite = bool(np.isfinite(row).all())
        if not finite:
            self.errors += 1
            table = np.zeros((SECTORS, len(ENTITY_FIELDS)), np.float32)
            _enter(moving, table)
            relations = np.full((SECTORS, SECTORS), 1.0 / SECTORS, np.float32)
            return Entities(observation.stamp, table, relations, geometry,
                            self._extras(start, geometry is not None), unsure=True)
        out = unpack(row)
        learned = None
        if observation.image is not None:
            learned = scan_from_network(
                observation.stamp, sigmoid(out['camera'][..., 0]), np.exp(out['camera'][..., 1]),
                self.config.robot.camera_pose, self.config.min_confidence, PRESENT_WITHIN)
        table = self._table(out)
        _enter(moving, table)
        extras = self._extras(start, geometry is not None)
        extras['presence_entropy_bits'] = entropy_bits(table[:, 6])
        extras['ood'] = score
        if learned is not None and geometry is not None:
            extras['camera_disagreement'] = _disagreement(learned, geometry)
        return Entities(observation.stamp, table, np.ascontiguousarray(out['relations']),
                        learned if geometry is None else geometry, extras,
                        unsure=score > self.config.unsure_above
                        or (self._had_image and observation.image is None))

    def _moving(self, observation: Observation) -> NDArray[np.float64]:
        """Tracked rows (k, MOVER_FIELDS), base; none without a scan or a finite pose."""
        state = observation.state
        if observation.scan is None or not all(map(math.isfinite, (state.x, state.y, state.yaw))):
            return np.zeros((0, MOVER_FIELDS))
        rows = self._tracker.step(
            observation.scan.ranges[None], [observation.stamp / NANOSECONDS],
            [(state.x, state.y, state.yaw)])[0]
        return rows[rows[:, 5] > 0.0]

    def _extras(self, start: float, from_depth: bool) -> dict[str, float]:
        return {'inference_ms': (time.perf_counter() - start) * 1e3,
                'errors': float(self.errors), 'camera_scan_from_depth': float(from_depth)}

    def _fill(self, observation: Observation) -> None:
        views = self._views
        scan = None if observation.scan is None else observation.scan.ranges
        parts = {'image': observation.image, 'depth': observation.depth, 'scan': scan,
                 'imu': observation.imu}
        for i, (name, value) in enumerate(parts.items()):
            views['present'][i] = value is not None
            if value is None:
                views[name][...] = np.nan if name in ('depth', 'scan') else 0
                continue
            if value.shape != views[name].shape:
                raise ValueError(f'observation {name} of shape {value.shape}; the layout has '
                                 f'{views[name].shape}')
            views[name][...] = value
        self._pattern = tuple(int(here) for here in views['present'][:3])
        if observation.imu is not None and not np.isfinite(views['imu']).all():
            views['imu'][...] = 0.0
            views['present'][3] = 0.0
        state = observation.state
        views['past'][...], views['past_age'][...] = self._history.past(
            observation.stamp, state.pose)
        views['history'][...] = self._history.speeds(state)
        views['camera'][...] = self.config.robot.camera_pose

    def _infer(self) -> tuple[FloatArray, float]:
        """Run the network on the buffers: (SECTORS, columns), out-of-distribution score."""
        if self._session is not None:
            row, vectors = self._session.run()
            return row, float(self.novelty.distance(torch.from_numpy(vectors), self._pattern)[0])
        cuda = self._device.type == 'cuda'
        with torch.inference_mode():
            if cuda:
                for there, here in zip(self._inputs, self._host, strict=True):
                    there.copy_(here, non_blocking=True)
            with torch.autocast(self._device.type, torch.bfloat16,
                                enabled=cuda and self.config.autocast):
                decoded = self._encoder(self._inputs)
                score = self.novelty.distance(pooled(decoded.tokens), self._pattern)
                # one tensor, so that the device is waited for once
                answer = torch.cat((pack(decoded)[0], score.expand(SECTORS, 1)), 1)
            if self._output is None:
                self._output = torch.empty(answer.shape, pin_memory=cuda)
            self._output.copy_(answer, non_blocking=True)
            if cuda:
                torch.cuda.current_stream(self._device).synchronize()
        row = self._output.numpy()
        return row[:, :-1], float(row[0, -1])

    def _table(self, out: dict[str, Any]) -> FloatArray:
        """Each entity as a disc: its near edge is the nearest surface in the sector."""
        bearing = sector_bearings(out['offset'])
        distance = np.exp(out['log_range']) + out['radius']
        table = np.empty((SECTORS, len(ENTITY_FIELDS)), np.float32)
        table[:, 0], table[:, 1] = distance * np.cos(bearing), distance * np.sin(bearing)
        table[:, 2] = np.maximum(out['height'], 0.0)
        table[:, 3:5] = 0.0  # the tracker says what moves
        table[:, 5] = out['radius']
        table[:, 6] = sigmoid(out['presence'])
        table[:, 7] = np.where(table[:, 6] >= NAMED_FROM, out['classes'].argmax(1), _FREE)
        table[:, 8:8 + EMBEDDING] = out['embedding']
        table[:, 8 + EMBEDDING:] = 0.0
        return table


def _enter(moving: NDArray[np.float64], table: FloatArray) -> None:
    """Write tracked rows (k, MOVER_FIELDS) into the sectors of a table, the nearest last."""
    for x, y, vx, vy, radius, confidence, *onward in moving[::-1]:
        row = table[int((math.atan2(y, x) + math.pi) / SECTOR_WIDTH) % SECTORS]
        row[0], row[1], row[3], row[4], row[5] = x, y, vx, vy, radius
        row[6], row[7] = max(row[6], confidence), _MOVING
        row[8 + EMBEDDING:] = onward  # turn rate, spread, gain


def _disagreement(learned: Scan, geometry: Scan) -> float:
    """Median relative difference of the two camera scans where both saw something."""
    both = np.isfinite(learned.ranges) & np.isfinite(geometry.ranges)
    if not both.any():
        return float('nan')
    return float(np.median(np.abs(learned.ranges[both] / geometry.ranges[both] - 1.0)))



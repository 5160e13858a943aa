"""How good an encoder is on frames that it never saw, each figure by name and with its unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from karpathy_control.contracts.layout import ENTITY_CLASSES, IMAGE_HEIGHT, IMAGE_WIDTH
from karpathy_control.contracts.types import CameraModel
from karpathy_control.learning.augment import Augmentation, Batch, FrameSet, evaluation
from karpathy_control.learning.encoder_losses import laplace_interval, shown_by_lidar
from karpathy_control.perception.camera_scan import scan_from_depth
from karpathy_control.perception.encoder import PRESENT_WITHIN, SUB_BINS, Decoded, Encoder
from karpathy_control.sensing.depth_filter import DepthFilter
from karpathy_control.sensing.preprocess import virtual_model

NEAR, CLOSE = 3.0, 2.0  # m: range error is judged within NEAR, recall within CLOSE
PHANTOM = 1.25  # times as far off is what was there, of what was not
THRESHOLD = 0.5  # confidence from which something counts as said
BAND = (0.04, 0.5)  # m, heights that count; the defaults of RobotConfig


def run(encoder: Encoder, frames: FrameSet, how: Augmentation, seed: int = 0,
        size: int = 64) -> Iterator[tuple[Decoded, Batch]]:
    """Decode every frame in batches."""
    generator = torch.Generator().manual_seed(seed)
    encoder.eval()
    with torch.inference_mode():
        for index in torch.arange(len(frames)).split(size):
            batch = frames.batch(index, how, generator)
            yield encoder(batch.inputs), batch


def _join(parts: list[Tensor]) -> NDArray:
    return torch.cat(parts).float().cpu().numpy()


def _share(mask: NDArray, of: NDArray) -> float | None:
    return _round(float(mask[of].mean())) if of.any() else None


def _round(value: float) -> float:
    return float(f'{value:.4g}')


def _median(values: NDArray) -> float | None:
    return _round(float(np.median(values))) if len(values) else None


def calibrate(encoder: Encoder, frames: FrameSet, share: float = 0.9) -> dict[str, float]:
    """Widen or narrow the stated spreads so that intervals of `share` hold that share.

    A constant is added to the two outputs of the log spread, found on obstacles within NEAR, half
    of them without depth. Returns what the spreads were multiplied by.
    """
    ratios: dict[str, list[Tensor]] = {'sectors': [], 'camera': []}
    for depth in (False, True):
        for decoded, batch in run(encoder, frames, evaluation(depth)):
            for name, guess, scale, true, asked in (
                    ('sectors', decoded.log_range, decoded.log_scale, batch.sectors[..., 0],
                     batch.asked),
                    ('camera', decoded.camera[..., 1], decoded.camera[..., 2], batch.camera,
                     torch.isfinite(batch.camera))):
                counts = asked & (true <= NEAR)
                error = (guess - true.clamp(min=0.05).log()).abs()
                ratios[name].append((error / scale.clamp(-5.0, 2.0).exp())[counts])
    factors = {name: float(np.quantile(_join(values), share)) / laplace_interval(share)
               for name, values in ratios.items()}
    with torch.no_grad():
        for name, bias, index in (('sectors', 'head.2.bias', 3),
                                  ('camera', 'camera_head.out.bias', 2)):
            encoder.get_parameter(bias)[index] += math.log(factors[name])
    return {name: _round(factor) for name, factor in factors.items()}


def camera_metrics(encoder: Encoder, frames: FrameSet, depth: bool) -> dict[str, Any]:
    """The learned camera ranges, by sub-bin of 2.5 degrees."""
    confidence, log_range, log_scale, truth, shown = [], [], [], [], []
    for decoded, batch in run(encoder, frames, evaluation(depth)):
        confidence.append(torch.sigmoid(decoded.camera[..., 0]))
        log_range.append(decoded.camera[..., 1])
        log_scale.append(decoded.camera[..., 2].clamp(-5.0, 2.0))
        truth.append(batch.camera)
        shown.append(shown_by_lidar(batch.inputs.scan, batch.camera))
    p, guess, scale, true = map(_join, (confidence, log_range, log_scale, truth))
    asked, finite = ~np.isnan(true), np.isfinite(true)
    distance = np.where(finite, true, np.inf)
    near, close = distance <= NEAR, distance <= CLOSE
    hidden = finite & (_join(shown) < 0.5)  # what the lidar does not show
    said = p >= THRESHOLD
    present = distance <= PRESENT_WITHIN
    log_true = np.log(np.where(finite, true, 1.0))
    error = np.abs(guess - log_true)
    relative = np.abs(np.exp(guess - log_true) - 1.0)
    return {
        'median_relative_error_3m': _median(relative[near & said]),
        'p90_relative_error_3m': _round(float(np.quantile(relative[near & said], 0.9))),
        'recall_2m': _share(said, close),
        'recall_5m': _share(said, present),
        'hidden_median_relative_error_3m': _median(relative[near & hidden & said]),
        'hidden_recall_2m': _share(said, close & hidden),
        'phantoms_2m': _share(said & (np.exp(guess) < np.minimum(CLOSE, distance / PHANTOM)),
                              asked),
        'false_positive_share': _share(said, asked & ~present),
        'brier_skill': _brier_skill(p[asked], present[asked]),
        'interval90_coverage_3m': _share(error <= laplace_interval(0.9) * np.exp(scale), near),
    }


def _brier_skill(p: NDArray, truth: NDArray) -> float:
    base = float(truth.mean())
    return _round(1.0 - float(np.mean((p - truth) ** 2)) / max(base * (1.0 - base), 1e-9))


def geometry_metrics(frames: FrameSet, camera_pose: list[float]) -> dict[str, Any]:
    """The camera scan from depth with its nominal noise: no network at all."""
    model: CameraModel = virtual_model()
    assert (model.height, model.width) == (IMAGE_HEIGHT, IMAGE_WIDTH)
    read = DepthFilter(model, camera_pose, *BAND)
    generator = torch.Generator().manual_seed(0)
    guesses, truths = [], []
    for index in torch.arange(len(frames)).split(64):
        batch = frames.batch(index, evaluation(depth=True), generator)
        for depth, camera in zip(batch.inputs.depth.cpu().numpy(), batch.camera.cpu().numpy(),
                                 strict=True):
            ranges = scan_from_depth(read(depth, 0)).ranges
            guesses.append(_to_sub_bins(ranges, camera.shape))
            truths.append(camera)
    guess, true = np.stack(guesses), np.stack(truths)
    finite = np.isfinite(true)
    near = finite & (np.where(finite, true, np.inf) <= NEAR)
    said = np.isfinite(guess)
    close = finite & (np.where(finite, true, np.inf) <= CLOSE)
    both = near & said
    return {'median_relative_error_3m': _median(np.abs(guess[both] / true[both] - 1.0)),
            'recall_2m': _share(said, close)}


def _to_sub_bins(ranges: NDArray, shape: tuple[int, ...]) -> NDArray:
    """Nearest finite bin of each sub-bin; NaN where there is none."""
    index = ((np.arange(len(ranges)) + 0.5) * (shape[0] * SUB_BINS / len(ranges))).astype(int)
    out = np.full(shape[0] * SUB_BINS, np.inf)
    np.minimum.at(out, index, np.where(np.isfinite(ranges), ranges, np.inf))
    return np.where(np.isfinite(out), out, np.nan).reshape(shape)


def sector_metrics(encoder: Encoder, frames: FrameSet, depth: bool) -> dict[str, Any]:
    """The entities: presence, distance, class and motion by sector."""
    kept: dict[str, list[Tensor]] = {name: [] for name in (
        'presence', 'log_range', 'log_scale', 'velocity', 'classes')}
    labels: list[Tensor] = []
    for decoded, batch in run(encoder, frames, evaluation(depth)):
        for name, values in kept.items():
            values.append(getattr(decoded, name))
        labels.append(batch.sectors)
    out = {name: _join(values) for name, values in kept.items()}
    label = _join(labels)
    p = 1.0 / (1.0 + np.exp(-out['presence']))
    distance, kind = label[..., 0], label[..., 6].astype(int)
    present, close = distance <= PRESENT_WITHIN, distance <= CLOSE
    guess = np.exp(out['log_range'])
    error = np.abs(guess - np.where(present, distance, 0.0))
    log_error = np.abs(out['log_range'] - np.log(np.where(present, distance, 1.0)))
    right = out['classes'].argmax(2) == kind
    moving = kind == ENTITY_CLASSES.index('moving')
    velocity_error = np.linalg.norm(out['velocity'] - label[..., 3:5], axis=2)
    said = p >= THRESHOLD
    true_speed = np.linalg.norm(label[..., 3:5], axis=2)
    unseen = present & (label[..., 7] < 0.5)  # what only the camera shows
    return {
        'recall_2m': _share(said, close),
        'recall_2m_camera_only': _share(said, close & unseen),
        'false_positive_share': _share(said, ~present),
        'brier_skill': _brier_skill(p, present),
        'median_distance_error_m': _median(error[present]),
        'median_distance_error_camera_only_m': _median(error[unseen]),
        'interval90_coverage': _share(
            log_error <= laplace_interval(0.9) * np.exp(out['log_scale']), present),
        'class_accuracy': _round(float(right.mean())),
        'class_recall': {name: _share(right, kind == i)
                         for i, name in enumerate(ENTITY_CLASSES)},
        'median_velocity_error_moving_mps': _median(velocity_error[moving]),
        'median_speed_of_moving_mps': _median(true_speed[moving]),
        'median_speed_said_of_static_mps': _median(
            np.linalg.norm(out['velocity'], axis=2)[present & ~moving]),
    }


def all_metrics(encoder: Encoder, frames: FrameSet, camera_pose: list[float]) -> dict[str, Any]:
    """Every figure of the weights card."""
    return {
        'frames': len(frames),
        'camera_rgb': camera_metrics(encoder, frames, depth=False),
        'camera_rgbd': camera_metrics(encoder, frames, depth=True),
        'camera_depth_geometry': geometry_metrics(frames, camera_pose),
        'sectors_rgb': sector_metrics(encoder, frames, depth=False),
        'sectors_rgbd': sector_metrics(encoder, frames, depth=True),
    }

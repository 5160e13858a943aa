"""Whether adapted weights may be offered: better on the held-out drive, no worse on simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from karpathy_control.learning.augment import FrameSet, evaluation
from karpathy_control.learning.encoder_metrics import (
    CLOSE,
    NEAR,
    PHANTOM,
    THRESHOLD,
    camera_metrics,
    run,
    sector_metrics,
)
from karpathy_control.perception.encoder import PRESENT_WITHIN, Encoder

LEAST_GAIN = 0.01  # of the drive's recall: two standard errors of a share of .95 of 2,000 labels
FOUND = 0.25  # share of a range; a thing said within that of where it is counts as found


@dataclass(frozen=True)
class Bound:
    """How much worse a figure of the simulated frames may become."""

    group: str  # of `simulated_metrics`
    figure: str
    better: int  # 1: larger is better, -1: smaller
    tolerance: float  # absolute


BOUNDS = (
    Bound('camera_rgb', 'recall_2m', 1, 0.01),
    Bound('camera_rgb', 'hidden_recall_2m', 1, 0.02),
    Bound('camera_rgb', 'median_relative_error_3m', -1, 0.02),
    Bound('camera_rgb', 'hidden_median_relative_error_3m', -1, 0.03),
    Bound('camera_rgb', 'phantoms_2m', -1, 0.02),
    Bound('camera_rgbd', 'recall_2m', 1, 0.01),
    Bound('camera_rgbd', 'phantoms_2m', -1, 0.02),
    Bound('sectors_rgb', 'recall_2m', 1, 0.005),
    Bound('sectors_rgb', 'false_positive_share', -1, 0.01),
    Bound('sectors_rgb', 'median_distance_error_m', -1, 0.005),
)


def drive_metrics(encoder: Encoder, frames: FrameSet, scan: bool) -> dict[str, float]:
    """Colour camera against the labels of a drive, with the scan shown to the network or hidden.

    `recall_2m`: share of the sub-bins with something within CLOSE that are said to hold
    something, within FOUND of where it is. `said_2m`: wherever. NaN where there is no such label.
    """
    parts = []
    for decoded, batch in run(encoder, frames, evaluation(False, scan=scan)):
        parts.append(torch.stack((torch.sigmoid(decoded.camera[..., 0]),
                                  decoded.camera[..., 1].exp(), batch.camera), -1))
    p, guess, true = torch.cat(parts).double().cpu().numpy().transpose(3, 0, 1, 2)
    asked, finite = ~np.isnan(true), np.isfinite(true)
    distance = np.where(finite, true, np.inf)
    said = (p >= THRESHOLD) & (guess <= PRESENT_WITHIN)
    error = np.abs(guess / np.where(finite, true, 1.0) - 1.0)
    close, present = distance <= CLOSE, distance <= PRESENT_WITHIN
    phantom = said & (guess < np.minimum(CLOSE, distance / PHANTOM))

    def share(what: np.ndarray, of: np.ndarray) -> float:
        return float(f'{what[of].mean():.4g}') if of.any() else float('nan')

    near = error[(distance <= NEAR) & said]
    return {'recall_2m': share(said & (error <= FOUND), close), 'said_2m': share(said, close),
            'median_relative_error_3m': float(f'{np.median(near):.4g}') if len(near)
            else float('nan'),
            'phantoms_2m': share(phantom, asked),
            'false_positive_share': share(said, asked & ~present), 'labels': int(asked.sum())}


def simulated_metrics(encoder: Encoder, frames: FrameSet) -> dict[str, Any]:
    """The figures of the card that the camera and the entities have on simulated frames."""
    return {'frames': len(frames), 'camera_rgb': camera_metrics(encoder, frames, depth=False),
            'camera_rgbd': camera_metrics(encoder, frames, depth=True),
            'sectors_rgb': sector_metrics(encoder, frames, depth=False)}


def objections(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why the weights are refused, each reason with both figures; none where they are not.

    before, after: `drive` (of `drive_metrics`, the camera alone) and `simulated`.
    """
    found = []
    was, now = (side['drive']['recall_2m'] for side in (before, after))
    if not now >= was + LEAST_GAIN:  # NaN too: nothing to be found
        found.append(f'held-out drive, camera alone: recall_2m {now:g}, before {was:g}; it takes '
                     f'{LEAST_GAIN:g} more')
    for bound in BOUNDS:
        was, now = (side['simulated'][bound.group][bound.figure] for side in (before, after))
        if was is None or now is None:
            continue  # no such thing in these frames
        if not bound.better * (now - was) >= -bound.tolerance:
            word = 'less' if bound.better > 0 else 'more'
            found.append(f'simulated frames: {bound.group} {bound.figure} {now:g}, before '
                         f'{was:g}; it takes at most {bound.tolerance:g} {word}')
    return found

"""What the encoder is trained for: named losses, each with its weight, summed.

Distances are Laplace likelihoods of the log range, so that the network also says how sure it is.
The embedding is kept meaningful by decoding range, class, motion, camera ranges and the scan from
it alone; those decoders, and the one for hidden patches, exist during training only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from karpathy_control.contracts.layout import DEPTH_MAX, EMBEDDING, ENTITY_CLASSES, SECTORS
from karpathy_control.learning.augment import Batch, patch_targets, present_target
from karpathy_control.perception.encoder import (
    BEAMS,
    PATCHES,
    PRESENT_WITHIN,
    SUB_BINS,
    Decoded,
    encode_scan,
)

CLASS_WEIGHTS = (0.7, 0.7, 2.5, 2.5, 2.0)  # free static low overhang moving: rare ones count more
FAR_WEIGHT = 0.3  # of a distance beyond PRESENT_WITHIN
STILL_WEIGHT = 0.3  # of the velocity of what stands still
HIDDEN_WEIGHT = 4.0  # of a camera range that the lidar does not show: rare, and all that counts
SHOWN_WITHIN = 0.2  # m: a beam this near to a camera range shows the same thing


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term."""

    presence: float = 1.0
    distance: float = 0.5
    bearing: float = 0.2
    shape: float = 0.3
    velocity: float = 1.0
    classes: float = 0.5
    camera_presence: float = 1.0
    camera_distance: float = 1.0
    embedding: float = 0.3
    patches: float = 0.1
    beams: float = 0.2


class Decoders(nn.Module):
    """The decoders of training: hidden patches, and everything from the embedding alone."""

    class_weights: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Linear(width, 192)
        self.beams = nn.Sequential(nn.Linear(EMBEDDING, 48), nn.ReLU(), nn.Linear(48, BEAMS))
        self.meaning = nn.Linear(EMBEDDING, 4 + len(ENTITY_CLASSES) + 2 * SUB_BINS)
        self.register_buffer('class_weights', torch.tensor(CLASS_WEIGHTS))


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1.0)


def laplace(log_range: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood of log distances, without its constant; any shape."""
    return (log_range - target).abs() * torch.exp(-log_scale) + log_scale


def shown_by_lidar(scan: Tensor, camera: Tensor) -> Tensor:
    """Which camera ranges a beam of their sector shows too.

    Shape: (B, SCAN_BEAMS) m, (B, S, SUB_BINS) m -> (B, S, SUB_BINS) bool.
    """
    beams = scan.view(-1, SECTORS, BEAMS, 1)
    return ((beams - camera.unsqueeze(2)).abs() <= SHOWN_WITHIN).any(2)


def losses(decoded: Decoded, batch: Batch, decoders: Decoders) -> dict[str, Tensor]:
    """Every named term, unweighted."""
    label, asked = batch.sectors, batch.asked.float()
    distance = label[..., 0]
    there = asked * (distance <= DEPTH_MAX)
    near = there * torch.where(distance <= PRESENT_WITHIN, 1.0, FAR_WEIGHT)
    log_distance = torch.where(there > 0, distance, 1.0).clamp(min=0.05).log()
    present = present_target(distance)
    kind = label[..., 6].long()
    speed_weight = there * torch.where(kind == ENTITY_CLASSES.index('moving'), 1.0,
                                       STILL_WEIGHT)
    speed_error = fn.smooth_l1_loss(decoded.velocity, label[..., 3:5], beta=0.1,
                                    reduction='none').sum(-1)
    shape_error = ((decoded.height - label[..., 2]).abs()
                   + (decoded.radius - label[..., 5]).abs())
    terms = {
        'presence': _mean(fn.binary_cross_entropy_with_logits(decoded.presence, present,
                                                              reduction='none'), asked),
        'distance': _mean(laplace(decoded.log_range, decoded.log_scale, log_distance), near),
        'bearing': _mean((decoded.offset - label[..., 1]).abs(), near),
        'shape': _mean(shape_error, near),
        'velocity': _mean(speed_error, speed_weight),
        'classes': _mean(_class_error(decoded.classes, kind, decoders), asked),
    }
    terms |= camera_losses(decoded.camera, batch.camera,
                            shown_by_lidar(batch.inputs.scan, batch.camera))
    terms['embedding'] = _embedding_loss(decoded.embedding, batch, decoders, asked, near,
                                         log_distance, kind)
    beams = encode_scan(batch.inputs.scan).view(-1, SECTORS, BEAMS, 5)
    terms['beams'] = _mean((decoders.beams(decoded.embedding) - beams[..., 0]).abs(),
                           beams[..., 2])
    hidden = batch.patch_mask & (batch.inputs.present[:, :1] > 0)
    guess = decoders.patch(decoded.tokens[:, :PATCHES])
    error = (guess - patch_targets(batch.inputs.image)).square().mean(2)
    terms['patches'] = _mean(error, hidden.float())
    return terms


def _class_error(logits: Tensor, kind: Tensor, decoders: Decoders) -> Tensor:
    return fn.cross_entropy(logits.transpose(1, 2), kind, decoders.class_weights,
                            reduction='none')


def camera_losses(camera: Tensor, target: Tensor, shown: Tensor) -> dict[str, Tensor]:
    """Camera sub-bins. Shapes: (B, S, SUB_BINS, 3), (B, S, SUB_BINS) m and (B, S, SUB_BINS)."""
    finite = torch.isfinite(target)
    hidden = torch.where(finite & ~shown & (target <= PRESENT_WITHIN), HIDDEN_WEIGHT, 1.0)
    asked = (~torch.isnan(target)) * hidden
    weight = finite * torch.where(target <= PRESENT_WITHIN, 1.0, FAR_WEIGHT) * hidden
    log_target = torch.where(finite, target, 1.0).clamp(min=0.05).log()
    presence = fn.binary_cross_entropy_with_logits(
        camera[..., 0], present_target(target), reduction='none')
    distance = laplace(camera[..., 1], camera[..., 2].clamp(-5.0, 2.0), log_target)
    return {'camera_presence': _mean(presence, asked),
            'camera_distance': _mean(distance, weight)}


def _embedding_loss(embedding: Tensor, batch: Batch, decoders: Decoders, asked: Tensor,
                    near: Tensor, log_distance: Tensor, kind: Tensor) -> Tensor:
    """The same facts from the sixteen numbers alone, so that they carry them."""
    out = decoders.meaning(embedding)
    n = len(ENTITY_CLASSES)
    classes, camera = out[..., 4:4 + n], out[..., 4 + n:]
    present = fn.binary_cross_entropy_with_logits(
        out[..., 0], present_target(batch.sectors[..., 0]), reduction='none')
    speed = (out[..., 2:4] - batch.sectors[..., 3:5]).abs().sum(-1)
    target = batch.camera
    shown, finite = ~torch.isnan(target), torch.isfinite(target)
    log_target = torch.where(finite, target, 1.0).clamp(min=0.05).log()
    camera_present = fn.binary_cross_entropy_with_logits(
        camera[..., :SUB_BINS], present_target(target), reduction='none')
    return (_mean(present, asked) + _mean((out[..., 1] - log_distance).abs(), near)
            + _mean(speed, near) + _mean(_class_error(classes, kind, decoders), asked)
            + _mean(camera_present, shown.float())
            + _mean((camera[..., SUB_BINS:] - log_target).abs(), finite.float()))


def total(terms: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """The weighted sum."""
    value = torch.zeros(())
    for name, term in terms.items():
        value = value + getattr(weights, name) * term
    return value


def laplace_interval(share: float) -> float:
    """Half-width, in scales, of the central interval that holds `share` of a Laplace law."""
    return -math.log(1.0 - share)

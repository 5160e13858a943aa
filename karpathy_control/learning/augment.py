"""From recorded frames to training batches: mirrored, recoloured, noisy, with modalities missing.

Rules for what may still be asked for once a modality is hidden are here too, beside the hiding:
the network is never punished for what nobody could see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as fn
from torch import Tensor

from karpathy_control.contracts.layout import ENTITY_CLASSES, SECTORS
from karpathy_control.learning.dataset import Frames
from karpathy_control.perception.encoder import PATCHES, PRESENT_WITHIN, Inputs

DEPTH_NOISE = 0.002  # m at 1 m, grows with the square of depth; scaled by 0 to 3 per frame
_MIRROR_IMU = (-1.0, 1.0, -1.0, 1.0, -1.0, 1.0)  # rates are pseudo-vectors
_MIRROR_CAMERA = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0)
_FREE = ENTITY_CLASSES.index('free')


@dataclass(frozen=True)
class Augmentation:
    """How often and how strongly; all zero gives the frames as recorded."""

    mirror: float = 0.5  # share of frames seen in a mirror
    colour: float = 0.25  # spread of brightness, contrast and tint
    pixel_noise: float = 5.0  # of 255
    depth_noise: float = 3.0  # largest multiple of DEPTH_NOISE
    depth_holes: float = 0.03  # share of 8 px blocks without depth
    beam_drop: float = 0.03  # largest share of beams that return nothing
    no_image: float = 0.1
    no_depth: float = 0.5
    no_scan: float = 0.2  # the camera must not learn to copy the lidar
    no_imu: float = 0.15
    no_past: float = 0.1
    masked: float = 0.5  # share of frames with hidden patches and sectors
    patch_mask: float = 0.3  # of the patches of such a frame
    sector_mask: float = 0.2  # of the sectors of such a frame


def evaluation(depth: bool, image: bool = True, scan: bool = True) -> Augmentation:
    """No augmentation, with the modalities asked for; depth carries its nominal noise."""
    return Augmentation(mirror=0.0, colour=0.0, pixel_noise=0.0, depth_noise=1.0, depth_holes=0.0,
                        beam_drop=0.0, no_image=float(not image), no_depth=float(not depth),
                        no_scan=float(not scan), no_imu=0.0, no_past=0.0, masked=0.0,
                        patch_mask=0.0, sector_mask=0.0)


class Batch(NamedTuple):
    """One batch: inputs, what is hidden, labels and which labels count."""

    inputs: Inputs
    patch_mask: Tensor  # (B, PATCHES) bool
    sector_mask: Tensor  # (B, SECTORS) bool
    sectors: Tensor  # (B, SECTORS, len(LABEL_FIELDS)), see learning.labels
    camera: Tensor  # (B, SECTORS, SUB_BINS) m; +Inf free, NaN not asked for
    asked: Tensor  # (B, SECTORS) bool: the sector's label counts


class FrameSet:
    """Recorded frames as tensors, and batches of them."""

    def __init__(self, frames: Frames, device: torch.device | str = 'cpu') -> None:
        self.device = torch.device(device)
        self._tensors = {name: torch.from_numpy(np.ascontiguousarray(value))
                         for name, value in frames.items() if name not in ('pose', 'origin')}
        self.families = frames['origin'][:, 0]

    def __len__(self) -> int:
        return len(self.families)

    def camera_pose(self) -> list[float]:
        """Where the camera of the first frame sits: x y z roll pitch yaw in base."""
        return [float(v) for v in self._tensors['camera_pose'][0]]

    def batch(self, index: Tensor, how: Augmentation, generator: torch.Generator) -> Batch:
        """Frames `index` (B,) under an augmentation; random numbers from `generator`."""
        t = {name: value[index].to(self.device) for name, value in self._tensors.items()}
        t['depth'] = t['depth'].float()
        b = len(index)

        def uniform(*shape: int) -> Tensor:  # drawn on the CPU, so that a seed says the same
            return torch.rand(shape, generator=generator).to(self.device)

        def chance(share: float, *shape: int) -> Tensor:
            return uniform(b, *shape) < share

        if how.mirror > 0.0:
            _mirror(t, chance(how.mirror))
        if how.colour > 0.0 or how.pixel_noise > 0.0:
            t['image'] = _recolour(t['image'], how, generator)
        if how.depth_noise > 0.0:
            amount = how.depth_noise * (uniform(b, 1, 1) if how.depth_noise > 1.0 else 1.0)
            noise = torch.randn(t['depth'].shape, generator=generator).to(self.device)
            t['depth'] = t['depth'] + amount * DEPTH_NOISE * t['depth'].square() * noise
            t['depth'][torch.isnan(t['depth'])] = math.inf  # Inf * 0 of what lies beyond range
        if how.depth_holes > 0.0:
            holes = chance(how.depth_holes, t['depth'].shape[1] // 8, t['depth'].shape[2] // 8)
            t['depth'][holes.repeat_interleave(8, 1).repeat_interleave(8, 2)] = math.nan
        if how.beam_drop > 0.0:
            share = how.beam_drop * uniform(b, 1)
            t['scan'][uniform(*t['scan'].shape) < share] = math.nan
        t['past'][chance(how.no_past)] = math.nan
        t['past_age'][torch.isnan(t['past']).all(2)] = 0.0
        lost = torch.stack([chance(p) for p in (how.no_image, how.no_depth, how.no_scan,
                                                how.no_imu)], 1)
        lost[:, 2] &= ~lost[:, 0]  # something is left to see with
        if 'has_imu' in t:  # of a robot's own drives
            lost[:, 3] |= ~t['has_imu']
        present = (~lost).float()
        masked = chance(how.masked)
        patch_mask = chance(how.patch_mask, PATCHES) & masked[:, None]
        sector_mask = chance(how.sector_mask, SECTORS) & masked[:, None]
        t['scan'] = torch.where(lost[:, 2:3], math.nan, t['scan'])
        t['past'] = torch.where(lost[:, 2:3, None], math.nan, t['past'])
        inputs = Inputs(t['image'], t['depth'], t['scan'], t['past'], t['past_age'], t['imu'],
                        t['history'], t['camera_pose'], present)
        sectors, camera, asked = _what_to_ask(t, lost[:, 0], lost[:, 2:3] | sector_mask)
        return Batch(inputs, patch_mask, sector_mask, sectors, camera, asked)


def _mirror(t: dict[str, Tensor], which: Tensor) -> None:
    """Swap left and right in the frames `which`."""
    for name, dims in (('image', (2,)), ('depth', (2,)), ('scan', (1,)), ('past', (2,)),
                       ('sectors', (1,)), ('camera', (1, 2))):
        shape = (-1,) + (1,) * (t[name].dim() - 1)
        t[name] = torch.where(which.view(shape), t[name].flip(dims), t[name])
    sign = torch.where(which, -1.0, 1.0)
    one = torch.ones_like(sign)
    for name, signs in (('imu', _MIRROR_IMU), ('camera_pose', _MIRROR_CAMERA)):
        flipped = torch.stack([sign if s < 0.0 else one for s in signs], 1)
        t[name] = t[name] * flipped.view(len(sign), *(1,) * (t[name].dim() - 2), 6)
    t['history'][..., 1] *= sign[:, None]
    t['sectors'][..., 1] *= sign[:, None]  # bearing inside the sector
    t['sectors'][..., 4] *= sign[:, None]  # vy


def _recolour(image: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, tint and noise. Shape: (B, H, W, 3) uint8, same out."""
    b = len(image)
    spread = torch.rand((3, b, 1, 1, 1), generator=generator) * 2.0 - 1.0
    tint = 1.0 + 0.4 * how.colour * (torch.rand((b, 1, 1, 3), generator=generator) * 2.0 - 1.0)
    pattern = torch.randn(image.shape[1:], generator=generator)  # one, its strength by frame
    spread, tint, pattern = (v.to(image.device) for v in (spread, tint, pattern))
    x = (image.float() - 128.0) * (1.0 + how.colour * spread[0]) + 128.0
    x = x * tint * (1.0 + how.colour * spread[1])
    x = x + pattern * (how.pixel_noise * (0.5 + 0.5 * spread[2]))
    return x.clamp_(0.0, 255.0).to(torch.uint8)


def _what_to_ask(t: dict[str, Tensor], no_image: Tensor, hidden: Tensor
                 ) -> tuple[Tensor, Tensor, Tensor]:
    """Labels that fit what is left to see.

    no_image (B,), hidden (B, SECTORS) or (B, 1) where the scan does not speak. Without image,
    labels that only the camera knows are not asked for. Where the scan is hidden, a label counts
    if the camera saw it, and a sector outside the camera's view has nothing in it to see.
    """
    sectors, camera = t['sectors'].clone(), t['camera']
    by_scan = sectors[..., 7] > 0.5
    hidden = hidden.expand(len(sectors), SECTORS)
    outside = torch.isnan(camera).all(2)
    near = torch.where(torch.isnan(camera), math.inf, camera).amin(2)
    by_camera = ~outside & ((near <= sectors[..., 0] + 0.15) | torch.isinf(sectors[..., 0]))
    nothing = hidden & (outside | no_image[:, None])
    sectors[..., 0] = torch.where(nothing, math.inf, sectors[..., 0])
    sectors[..., 6] = torch.where(nothing, float(_FREE), sectors[..., 6])
    without_camera = no_image[:, None] & ~by_scan & torch.isfinite(sectors[..., 0])
    asked = nothing | ~((hidden & ~by_camera) | without_camera)
    camera = torch.where(no_image[:, None, None], math.nan, camera)
    return sectors, camera, asked


def present_target(distance: Tensor) -> Tensor:
    """1 where an obstacle stands within PRESENT_WITHIN. Any shape, m."""
    return (distance <= PRESENT_WITHIN).float()


def patch_targets(image: Tensor) -> Tensor:
    """What a hidden patch should have shown, at half resolution, each patch normalised.

    Shape: (B, H, W, 3) uint8 -> (B, PATCHES, 192).
    """
    x = fn.avg_pool2d(image.permute(0, 3, 1, 2).float() / 255.0, 2)
    cells = fn.unfold(x, 8, stride=8).transpose(1, 2)
    centred = cells - cells.mean(2, keepdim=True)
    return centred / (cells.std(2, keepdim=True) + 0.05)

"""The encoder: image, scan, inertial window and state become one decoded token per sector.

Image patches, scan sectors and one token for the body pass through a small transformer. Token i
of the output stands for bearing sector i of the layout and is decoded to the nearest obstacle in
it that the sensors could see; sectors in the camera's view also give four camera ranges. Where
the lidar measured a range, a learned gate decides how far to take that measurement and how far
the network's own estimate (a low box before a wall).

Every absent thing is a flag, never a magic number: NaN and Inf of scans and depth are encoded
by flags here, so that training and the robot share one encoding. Purpose: small (under 1.3 M
parameters) and quick in eager mode on one CPU thread.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from karpathy_control.contracts.layout import (
    DEPTH_MAX,
    EMBEDDING,
    ENTITY_CLASSES,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    IMU_SAMPLES,
    SCAN_BEAMS,
    SECTORS,
    STATE_HISTORY,
)

PATCH = 16  # px
PATCHES = (IMAGE_HEIGHT // PATCH) * (IMAGE_WIDTH // PATCH)
BEAMS = SCAN_BEAMS // SECTORS  # beams of one sector
OVERLAP = BEAMS // 2  # beams of each neighbour that a sector token also sees
SUB_BINS = 4  # camera ranges per sector
PAST_AGES = (0.2, 0.4)  # s: the earlier scans that show motion
PRESENT_WITHIN = 5.0  # m: confidence is the probability of an obstacle nearer than this
RANGE_FLOOR = 0.05  # m
MOTION_STEP = 0.25  # m: a change of range that counts as one
COLUMNS = IMAGE_WIDTH // 4  # columns of the stem's stride-4 features

_LOG_RANGE = (math.log(0.2), math.log(DEPTH_MAX))
_BEAM_FEATURES = 5 + 2 * len(PAST_AGES)
_BODY = IMU_SAMPLES * 6 + STATE_HISTORY * 2 + 6 + len(PAST_AGES) + 4
_IMU_SCALE = (2.0, 2.0, 2.0, 5.0, 5.0, 5.0)  # rad/s and m/s^2 that count as one
_GRAVITY = 9.81  # m/s^2


class Inputs(NamedTuple):
    """What the encoder takes, raw; B is the batch."""

    image: Tensor  # (B, IMAGE_HEIGHT, IMAGE_WIDTH, 3) uint8 rgb
    depth: Tensor  # (B, IMAGE_HEIGHT, IMAGE_WIDTH) m; NaN invalid, +Inf beyond range
    scan: Tensor  # (B, SCAN_BEAMS) m; NaN nobody looked, +Inf free
    past: Tensor  # (B, len(PAST_AGES), SCAN_BEAMS) m: earlier scans seen from the present pose
    past_age: Tensor  # (B, len(PAST_AGES)) s; 0 where there is none
    imu: Tensor  # (B, IMU_SAMPLES, 6) rad/s and m/s^2, base
    history: Tensor  # (B, STATE_HISTORY, 2) (v, w), the present one first
    camera: Tensor  # (B, 6) x y z roll pitch yaw of the camera body in base
    present: Tensor  # (B, 4) 1 where there is image, depth, scan, imu

    @classmethod
    def absent(cls, batch: int = 1, device: torch.device | str = 'cpu',
               pin: bool = False) -> Inputs:
        """Buffers of a set in which every modality is missing."""
        nan, past = float('nan'), len(PAST_AGES)

        def full(shape: tuple[int, ...], value: float, kind: torch.dtype = torch.float32
                 ) -> Tensor:
            return torch.full((batch, *shape), value, dtype=kind, device=device, pin_memory=pin)

        return cls(full((IMAGE_HEIGHT, IMAGE_WIDTH, 3), 0, torch.uint8),
                   full((IMAGE_HEIGHT, IMAGE_WIDTH), nan), full((SCAN_BEAMS,), nan),
                   full((past, SCAN_BEAMS), nan), full((past,), 0.0),
                   full((IMU_SAMPLES, 6), 0.0), full((STATE_HISTORY, 2), 0.0), full((6,), 0.0),
                   full((4,), 0.0))


class Decoded(NamedTuple):
    """What the encoder says; S = SECTORS."""

    presence: Tensor  # (B, S) logit of an obstacle within PRESENT_WITHIN
    log_range: Tensor  # (B, S) log of its distance in m from the origin of base
    log_scale: Tensor  # (B, S) log of the spread (Laplace) of log_range
    offset: Tensor  # (B, S) bearing inside the sector, -1 right edge, 1 left edge
    height: Tensor  # (B, S) m above the floor, middle of the obstacle
    radius: Tensor  # (B, S) m
    velocity: Tensor  # (B, S, 2) m/s over ground, in the axes of base
    classes: Tensor  # (B, S, len(ENTITY_CLASSES)) logits
    embedding: Tensor  # (B, S, EMBEDDING) in (-1, 1)
    camera: Tensor  # (B, S, SUB_BINS, 3): presence logit, log range, log scale
    relations: Tensor  # (B, S, S) attention from sector to sector, rows sum to 1
    tokens: Tensor  # (B, PATCHES + S + 1, width): patches, sectors, body


def pack(decoded: Decoded) -> Tensor:
    """Everything but the tokens in one tensor, as it leaves the device. (B, SECTORS, columns)."""
    single = torch.stack((decoded.presence, decoded.log_range, decoded.log_scale, decoded.offset,
                          decoded.height, decoded.radius), -1)
    return torch.cat((single, decoded.velocity, decoded.classes, decoded.embedding,
                      decoded.camera.flatten(2), decoded.relations), -1).float()


@dataclass(frozen=True)
class EncoderShape:
    """Size of the network; stored in the weights card."""

    width: int = 96
    layers: int = 3
    heads: int = 4
    expand: int = 2  # width of the hidden layer of a block, in multiples of `width`

    def to_dict(self) -> dict[str, Any]:
        """For the card."""
        return asdict(self)


def encode_scan(ranges: Tensor) -> Tensor:
    """Beam features: log range in about [-1, 1], inverse range, and finite, free, unknown flags.

    Shape: (..., n) m -> (..., n, 5).
    """
    finite = torch.isfinite(ranges)
    free = ranges == math.inf
    r = torch.where(finite, ranges, 1.0).clamp(RANGE_FLOOR, DEPTH_MAX)
    low, high = _LOG_RANGE
    log = (2.0 * (r.log() - low) / (high - low) - 1.0) * finite
    return torch.stack((log, finite / (1.0 + r), finite.float(), free.float(),
                        (~finite & ~free).float()), -1)


def encode_motion(scan: Tensor, past: Tensor) -> Tensor:
    """How far each beam's surface has come nearer since the earlier scans, and a flag.

    The difference is in units of MOTION_STEP, cut at two: what moves at walking pace must not
    drown in the range itself. Free counts as DEPTH_MAX. Shape: (B, n) m, (B, ages, n) m ->
    (B, n, 2 * ages).
    """
    now = torch.where(scan == math.inf, DEPTH_MAX, scan)[:, None]
    then = torch.where(past == math.inf, DEPTH_MAX, past)
    step = (then - now) * (1.0 / MOTION_STEP)
    known = torch.isfinite(step)
    step = torch.where(known, step, 0.0).clamp(-2.0, 2.0)
    return torch.cat((step, known.float()), 1).transpose(1, 2)


def encode_depth(depth: Tensor) -> Tensor:
    """Depth channels: log depth in [-1, 1] (beyond range counts as far) and a validity flag.

    Shape: (B, H, W) m -> (B, H, W, 2).
    """
    valid = ~torch.isnan(depth) & (depth > 0.0)
    low, high = _LOG_RANGE
    log = torch.where(valid, depth, 1.0).clamp(0.2, DEPTH_MAX).log()
    return torch.stack(((2.0 * (log - low) / (high - low) - 1.0) * valid, valid.float()), -1)


class Block(nn.Module):
    """A pre-norm transformer block that can also return its attention."""

    def __init__(self, width: int, heads: int, expand: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, expand * width)
        self.down = nn.Linear(expand * width, width)

    def forward(self, x: Tensor, show: bool = False) -> tuple[Tensor, Tensor | None]:
        """Shape: (B, T, width) -> (B, T, width), attention (B, heads, T, T) where `show`."""
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(
            2, 0, 3, 1, 4)
        attention = None
        if show:
            attention = ((q * (d // self.heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
            mixed = attention @ v
        else:
            mixed = fn.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.down(fn.relu(self.up(self.norm2(x)))), attention


class Stem(nn.Module):
    """Convolutions from pixels to overlapping 16x16 patch tokens and to column features."""

    def __init__(self, width: int, columns: int = 64):
        super().__init__()
        self.conv1 = nn.Conv2d(6, 16, 3, 2, 1)
        self.conv2 = nn.Conv2d(16, 32, 3, 2, 1)
        self.conv3 = nn.Conv2d(32, 64, 3, 2, 1)
        self.conv4 = nn.Conv2d(64, width, 3, 2, 1)
        self.column = nn.Conv2d(32, columns, (IMAGE_HEIGHT // 4, 1))
        self.column_position = nn.Parameter(0.02 * torch.randn(columns, COLUMNS))
        self.across = nn.Conv1d(columns, columns, 3, 1, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: (B, 6, H, W) -> patch tokens (B, PATCHES, width), columns (B, COLUMNS, c)."""
        fine = fn.relu(self.conv2(fn.relu(self.conv1(pixels))))
        patches = self.conv4(fn.relu(self.conv3(fine))).flatten(2).transpose(1, 2)
        columns = fn.relu(self.column(fine).squeeze(2) + self.column_position)
        return patches, fn.relu(self.across(columns)).transpose(1, 2)


class CameraHead(nn.Module):
    """Each sub-bin of a sector looks up the image columns that show its bearing."""

    def __init__(self, width: int, columns: int = 64, size: int = 48):
        super().__init__()
        self.size = size
        self.query = nn.Linear(width, SUB_BINS * size)
        self.bias = nn.Parameter(torch.zeros(SECTORS * SUB_BINS, COLUMNS))
        self.key, self.value = nn.Linear(columns, size), nn.Linear(columns, size)
        self.direct = nn.Linear(width, SUB_BINS * size)
        self.hidden = nn.Linear(size, size)
        self.out = nn.Linear(size, 3)

    def forward(self, sectors: Tensor, columns: Tensor) -> Tensor:
        """Shape: (B, S, width), (B, COLUMNS, c) -> (B, S, SUB_BINS, 3)."""
        b = sectors.shape[0]
        query = self.query(sectors).view(b, SECTORS * SUB_BINS, self.size)
        logits = query @ self.key(columns).transpose(1, 2) * self.size ** -0.5 + self.bias
        seen = logits.softmax(-1) @ self.value(columns)
        x = fn.relu(seen + self.direct(sectors).view(b, SECTORS * SUB_BINS, self.size))
        x = self.out(x + fn.relu(self.hidden(x)))
        return x.view(b, SECTORS, SUB_BINS, 3)


class Encoder(nn.Module):
    """x = Encoder(sensors) with relations R(x)."""

    imu_scale: Tensor

    def __init__(self, shape: EncoderShape | None = None):
        super().__init__()
        shape = shape or EncoderShape()
        if shape.width % shape.heads:
            raise ValueError(f'width {shape.width} is not a multiple of heads {shape.heads}')
        self.shape, d = shape, shape.width
        self.stem = Stem(d)
        for weight in self.stem.parameters():
            if weight.dim() == 4:  # a quarter faster so on the CPU
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        self.beams = nn.Sequential(nn.Linear((BEAMS + 2 * OVERLAP) * _BEAM_FEATURES, d),
                                   nn.ReLU(), nn.Linear(d, d))
        self.body = nn.Sequential(nn.Linear(_BODY, d), nn.ReLU(), nn.Linear(d, d))
        self.position = nn.Parameter(0.02 * torch.randn(PATCHES + SECTORS + 1, d))
        self.no_image = nn.Parameter(0.02 * torch.randn(d))
        self.no_column = nn.Parameter(0.02 * torch.randn(self.stem.across.out_channels))
        self.blocks = nn.ModuleList(
            Block(d, shape.heads, shape.expand) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Sequential(nn.Linear(d, d), nn.ReLU(),
                                  nn.Linear(d, 10 + len(ENTITY_CLASSES)))
        self.embed = nn.Linear(d, EMBEDDING)
        self.camera_head = CameraHead(d, self.stem.across.out_channels)
        self.register_buffer('imu_scale', torch.tensor(_IMU_SCALE), persistent=False)

    def forward(self, inputs: Inputs, patch_mask: Tensor | None = None,
                sector_mask: Tensor | None = None) -> Decoded:
        """Encode one batch.

        patch_mask (B, PATCHES) and sector_mask (B, SECTORS), True where the input is hidden
        (masked training): hidden patches turn grey, hidden sectors turn into "nobody looked".
        """
        scan, past = inputs.scan, inputs.past
        if sector_mask is not None:
            hidden = sector_mask.repeat_interleave(BEAMS, 1)
            scan = scan.masked_fill(hidden, math.nan)
            past = past.masked_fill(hidden[:, None], math.nan)
        image, depth, has_scan, has_imu = inputs.present.unbind(1)
        scan = torch.where(has_scan[:, None] > 0, scan, math.nan)
        pixels = self._pixels(inputs, depth, patch_mask)
        patches, columns = self.stem(pixels)
        here = image[:, None, None]
        patches = patches * here + self.no_image * (1.0 - here)
        columns = columns * here + self.no_column * (1.0 - here)
        tokens = torch.cat((patches, self._sectors(scan, past), self._body(inputs, has_imu)), 1)
        tokens = tokens + self.position
        for block in self.blocks[:-1]:
            tokens, _ = block(tokens)
        tokens, attention = self.blocks[-1](tokens, show=True)
        return self._decode(self.norm(tokens), columns, scan, attention)

    def _pixels(self, inputs: Inputs, has_depth: Tensor, mask: Tensor | None) -> Tensor:
        # Put together channels last, as the image comes and as convolutions like it on the CPU.
        depth = encode_depth(inputs.depth) * has_depth[:, None, None, None]
        rgb = inputs.image.float() * (1.0 / 127.5) - 1.0
        if mask is None:
            shown = torch.ones_like(depth[..., :1])
            return torch.cat((rgb, depth, shown), -1).permute(0, 3, 1, 2)
        rows = IMAGE_HEIGHT // PATCH
        grid = (~mask).float().view(-1, rows, PATCHES // rows, 1)
        shown = grid.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
        return torch.cat((rgb * shown, depth * shown, shown), -1).permute(0, 3, 1, 2)

    def _sectors(self, scan: Tensor, past: Tensor) -> Tensor:
        features = torch.cat((encode_scan(scan), encode_motion(scan, past)), -1)
        around = torch.cat((features[:, -OVERLAP:], features, features[:, :OVERLAP]), 1)
        windows = around.unfold(1, BEAMS + 2 * OVERLAP, BEAMS)  # (B, S, features, window)
        return self.beams(windows.flatten(2))

    def _body(self, inputs: Inputs, has_imu: Tensor) -> Tensor:
        imu = inputs.imu - inputs.imu.new_tensor((0.0, 0.0, 0.0, 0.0, 0.0, _GRAVITY))
        imu = (imu / self.imu_scale).clamp(-5.0, 5.0) * has_imu[:, None, None]
        parts = (imu.flatten(1), inputs.history.flatten(1), inputs.camera, inputs.past_age,
                 inputs.present)
        return self.body(torch.cat(parts, 1))[:, None]

    def _decode(self, tokens: Tensor, columns: Tensor, scan: Tensor,
                attention: Tensor) -> Decoded:
        sectors = tokens[:, PATCHES:PATCHES + SECTORS]
        out = self.head(sectors)
        # The measured nearest beam of each sector, taken as far as the gate trusts it.
        beams = scan.view(-1, SECTORS, BEAMS)
        near, index = torch.where(torch.isfinite(beams), beams, math.inf).min(-1)
        measured = torch.isfinite(near)
        gate = torch.sigmoid(out[..., 0] + 2.0) * measured
        log_near = torch.where(measured, near, 1.0).clamp(RANGE_FLOOR).log()
        bearing = (index.float() + 0.5) * (2.0 / BEAMS) - 1.0
        log_range = gate * log_near + (1.0 - gate) * out[..., 2].clamp(-3.0, 3.0)
        offset = gate * bearing + (1.0 - gate) * torch.tanh(out[..., 4])
        among = attention[:, :, PATCHES:PATCHES + SECTORS, PATCHES:PATCHES + SECTORS].mean(1)
        return Decoded(
            presence=out[..., 1], log_range=log_range, log_scale=out[..., 3].clamp(-5.0, 2.0),
            offset=offset, height=out[..., 5], radius=fn.softplus(out[..., 6] - 1.5),
            velocity=out[..., 7:9], classes=out[..., 10:],
            embedding=torch.tanh(self.embed(sectors)),
            camera=self.camera_head(sectors, columns),
            relations=among / among.sum(-1, keepdim=True), tokens=tokens)

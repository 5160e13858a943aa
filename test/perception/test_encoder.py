import math

import pytest
import torch

from karpathy_control.contracts.layout import EMBEDDING, ENTITY_CLASSES, SCAN_BEAMS, SECTORS
from karpathy_control.perception.encoder import (
    BEAMS,
    PATCHES,
    SUB_BINS,
    Encoder,
    EncoderShape,
    Inputs,
    encode_depth,
    encode_motion,
    encode_scan,
)


@pytest.fixture(scope='module')
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder().eval()


def random_inputs(batch: int = 2) -> Inputs:
    g = torch.Generator().manual_seed(1)
    empty = Inputs.absent(batch)
    scan = torch.rand(batch, SCAN_BEAMS, generator=g) * 8.0
    scan[:, ::7], scan[:, 3::11] = math.inf, math.nan
    return empty._replace(
        image=torch.randint(0, 256, empty.image.shape, generator=g, dtype=torch.uint8),
        depth=torch.rand(empty.depth.shape, generator=g) * 5.0, scan=scan,
        imu=torch.randn(empty.imu.shape, generator=g), present=torch.ones(batch, 4))


def test_shapes_size_and_relations(encoder):
    with torch.inference_mode():
        out = encoder(random_inputs())
    assert out.presence.shape == out.log_range.shape == out.height.shape == (2, SECTORS)
    assert out.velocity.shape == (2, SECTORS, 2)
    assert out.classes.shape == (2, SECTORS, len(ENTITY_CLASSES))
    assert out.embedding.shape == (2, SECTORS, EMBEDDING)
    assert out.camera.shape == (2, SECTORS, SUB_BINS, 3)
    assert out.tokens.shape[1] == PATCHES + SECTORS + 1 == 48 + 36 + 1
    assert torch.allclose(out.relations.sum(-1), torch.ones(2, SECTORS), atol=1e-5)
    assert all(torch.isfinite(value).all() for value in out)
    assert sum(p.numel() for p in encoder.parameters()) < 1_300_000


def test_everything_missing_is_finite(encoder):
    with torch.inference_mode():
        out = encoder(Inputs.absent())
    assert all(torch.isfinite(value).all() for value in out)


@pytest.mark.parametrize(('flag', 'name'), [(0, 'image'), (1, 'depth'), (2, 'scan'), (3, 'imu')])
def test_a_modality_flagged_absent_is_not_read(encoder, flag, name):
    inputs = random_inputs()
    inputs.present[:, flag] = 0.0
    if name == 'image':  # without an image there is nothing that depth is registered to
        inputs.present[:, 1] = 0.0
    other = inputs._replace(**{name: getattr(Inputs.absent(2), name)})
    with torch.inference_mode():
        a, b = encoder(inputs), encoder(other)
    assert torch.allclose(a.log_range, b.log_range, atol=1e-5)
    assert torch.allclose(a.camera, b.camera, atol=1e-5)


def test_a_hidden_sector_is_one_where_nobody_looked(encoder):
    inputs = random_inputs()
    mask = torch.zeros(2, SECTORS, dtype=torch.bool)
    mask[:, 5] = True
    blank = inputs.scan.clone()
    blank[:, 5 * BEAMS:6 * BEAMS] = math.nan
    with torch.inference_mode():
        a = encoder(inputs, sector_mask=mask)
        b = encoder(inputs._replace(scan=blank))
    assert torch.allclose(a.presence, b.presence, atol=1e-5)


def test_scan_features_by_hand():
    features = encode_scan(torch.tensor([2.0, math.inf, math.nan, -math.inf]))
    log = 2.0 * math.log(2.0 / 0.2) / math.log(10.0 / 0.2) - 1.0
    assert torch.allclose(features[0], torch.tensor([log, 1.0 / 3.0, 1.0, 0.0, 0.0]))
    assert features[1].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert features[2].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert features[3].tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_motion_features_by_hand():
    scan = torch.tensor([[2.0, 2.0, math.nan, 3.0, 2.0]])
    past = torch.tensor([[[2.1, 9.0, 2.0, math.nan, math.inf]]])
    features = encode_motion(scan, past)[0]
    assert features[0].tolist() == pytest.approx([0.1 / 0.25, 1.0], rel=1e-5)
    assert features[1].tolist() == [2.0, 1.0]  # cut
    assert features[2].tolist() == features[3].tolist() == [0.0, 0.0]
    assert features[4].tolist() == [2.0, 1.0]  # what was free has something in it now


def test_depth_beyond_range_is_far_and_nan_is_absent():
    row = encode_depth(torch.tensor([[[math.inf, math.nan, 0.0, 10.0]]]))[0, 0]
    assert row[:, 1].tolist() == [1.0, 0.0, 0.0, 1.0]  # valid
    assert row[0, 0] == pytest.approx(1.0) and row[3, 0] == pytest.approx(1.0)
    assert row[1, 0] == 0.0


def test_measured_range_is_taken_where_the_gate_trusts_it(encoder):
    inputs = Inputs.absent()
    inputs.scan[0, 50 * 1] = 2.0  # beam 50 = sector 5, first of its ten beams
    inputs.present[0, 2] = 1.0
    network = Encoder(EncoderShape())
    network.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        network.head[2].weight.zero_()
        network.head[2].bias.zero_()
        network.head[2].bias[0] = 30.0  # gate wide open
        out = network.eval()(inputs)
    assert float(out.log_range[0, 5]) == pytest.approx(math.log(2.0), abs=1e-5)
    assert float(out.offset[0, 5]) == pytest.approx(0.5 * 2 / BEAMS - 1.0)  # -0.9
    assert float(out.log_range[0, 6]) == 0.0  # nothing measured: the network's own answer


def test_width_must_be_a_multiple_of_heads():
    with pytest.raises(ValueError, match=r'width 10 .* heads 4'):
        Encoder(EncoderShape(width=10))

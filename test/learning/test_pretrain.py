import json
import math

import numpy as np
import pytest
import torch

from karpathy_control.contracts.card import verify_weights
from karpathy_control.contracts.layout import SECTORS
from karpathy_control.learning import augment, dataset, pretrain
from karpathy_control.learning.augment import Augmentation, FrameSet, evaluation, patch_targets
from karpathy_control.learning.encoder_losses import (
    Decoders,
    LossWeights,
    laplace_interval,
    losses,
    shown_by_lidar,
    total,
)
from karpathy_control.learning.encoder_metrics import calibrate
from karpathy_control.perception.encoder import Encoder, EncoderShape
from karpathy_control.perception.runtime import load_encoder


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('frames')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'WORLDS', 2)
        patch.setattr(dataset, 'FRAMES', 4)
        for split in dataset.SPLITS:
            list(dataset.record(path, split, 1))
    return path


@pytest.fixture
def frames(folder):
    return FrameSet(dataset.load(folder, 'train', 1))


def everything(batch) -> dict[str, np.ndarray]:
    named = {f'inputs.{k}': v for k, v in batch.inputs._asdict().items()}
    named |= {k: v for k, v in batch._asdict().items() if k != 'inputs'}
    return {k: v.numpy() for k, v in named.items()}


def test_schedule():
    assert pretrain.schedule(0, 100, 10) == pytest.approx(0.1)
    assert pretrain.schedule(9, 100, 10) == pytest.approx(1.0)
    assert pretrain.schedule(55, 100, 10) == pytest.approx(0.02 + 0.98 * 0.5)  # half way
    assert pretrain.schedule(100, 100, 10) == pytest.approx(0.02)


def test_running_average_by_hand():
    old, new = torch.tensor([0.0]), torch.tensor([1.0])
    assert float(pretrain.running_average(old, new, 1)) == pytest.approx(1.0 - 2.0 / 11.0)
    assert float(pretrain.running_average(old, new, 10**6)) == pytest.approx(1 - pretrain.AVERAGE)


def test_two_mirrors_give_the_frame_back(frames):
    t = {name: value.clone() for name, value in frames._tensors.items()}
    before = {name: value.clone() for name, value in t.items()}
    which = torch.ones(len(frames), dtype=torch.bool)
    augment._mirror(t, which)
    assert not torch.equal(t['image'], before['image'])
    # what was ahead on the left is ahead on the right, and turns the other way
    torch.testing.assert_close(t['sectors'][:, 0, 0], before['sectors'][:, SECTORS - 1, 0])
    torch.testing.assert_close(t['sectors'][:, 0, 4], -before['sectors'][:, SECTORS - 1, 4])
    torch.testing.assert_close(t['imu'][..., 2], -before['imu'][..., 2])
    augment._mirror(t, which)
    for name, value in before.items():
        torch.testing.assert_close(t[name], value, equal_nan=True, msg=name)


def test_evaluation_adds_nothing_but_depth_noise(frames):
    g = torch.Generator().manual_seed(0)
    batch = frames.batch(torch.arange(4), evaluation(depth=False), g)
    raw = frames._tensors
    assert torch.equal(batch.inputs.image, raw['image'][:4])
    assert torch.equal(batch.sectors, raw['sectors'][:4])
    assert batch.inputs.present.tolist() == [[1.0, 0.0, 1.0, 1.0]] * 4
    assert batch.asked.all() and not batch.patch_mask.any()


def test_the_seed_decides_the_augmentation(frames):
    a, b = (everything(frames.batch(torch.arange(8), Augmentation(),
                                    torch.Generator().manual_seed(5))) for _ in range(2))
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)


def test_without_a_scan_only_what_the_camera_saw_is_asked_for(frames):
    g = torch.Generator().manual_seed(0)
    batch = frames.batch(torch.arange(8), evaluation(depth=False, scan=False), g)
    outside = torch.isnan(batch.camera).all(2)
    assert torch.isnan(batch.inputs.scan).all()
    assert torch.isinf(batch.sectors[..., 0][outside]).all()  # nothing there to see
    assert (batch.sectors[..., 6][outside] == 0.0).all()
    near = torch.where(torch.isnan(batch.camera), math.inf, batch.camera).amin(2)
    finite = batch.asked & torch.isfinite(batch.sectors[..., 0])
    assert (near[finite] <= batch.sectors[..., 0][finite] + 0.151).all()


def test_without_an_image_nothing_of_the_camera_is_asked_for(frames):
    g = torch.Generator().manual_seed(0)
    batch = frames.batch(torch.arange(8), evaluation(depth=False, image=False), g)
    assert torch.isnan(batch.camera).all()
    only_camera = torch.isfinite(batch.sectors[..., 0]) & (batch.sectors[..., 7] < 0.5)
    assert not batch.asked[only_camera].any()


def test_patch_targets_by_hand():
    image = torch.zeros(1, 96, 128, 3, dtype=torch.uint8)
    image[0, :16, 16:24] = 255  # left half of the second patch of the top row
    target = patch_targets(image)
    assert target.shape == (1, 48, 192)
    assert (target[0, 0] == 0.0).all()
    half = target[0, 1].view(3, 8, 8)  # mean 0.5, deviation about 0.5: -0.5 / 0.55 and 0.5 / 0.55
    assert (half[:, :, :4] > 0.8).all() and (half[:, :, 4:] < -0.8).all()


def test_every_loss_has_a_weight_and_a_gradient(frames):
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(width=32, layers=1))
    decoders = Decoders(32)
    batch = frames.batch(torch.arange(8), Augmentation(masked=1.0, no_image=0.0),
                         torch.Generator().manual_seed(1))
    terms = losses(encoder(batch.inputs, batch.patch_mask, batch.sector_mask), batch, decoders)
    assert set(terms) == set(LossWeights.__dataclass_fields__)
    total(terms, LossWeights()).backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_what_the_lidar_shows_too():
    scan = torch.full((1, 360), math.inf)
    scan[0, 180:190] = 2.0  # sector 18 whole; 19 has nothing
    scan[0, 200] = 3.0  # one beam of sector 20
    camera = torch.full((1, 36, 4), math.nan)
    camera[0, 18] = torch.tensor([2.1, 1.9, 1.5, math.inf])
    camera[0, 19] = 2.0
    camera[0, 20] = 3.15
    shown = shown_by_lidar(scan, camera)[0]
    assert shown[18].tolist() == [True, True, False, False]
    assert not shown[19].any() and shown[20].all() and int(shown.sum()) == 6


def test_calibrated_intervals_hold_what_they_say(frames):
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(width=32, layers=1))
    factors = calibrate(encoder, frames)
    assert set(factors) == {'sectors', 'camera'} and min(factors.values()) > 0.0
    again = calibrate(encoder, frames)  # nothing is left to correct
    assert again == pytest.approx({'sectors': 1.0, 'camera': 1.0}, abs=0.02)


def test_laplace_interval():
    samples = np.random.default_rng(0).laplace(size=200_000)
    assert np.mean(np.abs(samples) <= laplace_interval(0.9)) == pytest.approx(0.9, abs=0.005)


def options(folder, run) -> list[str]:
    return ['--frames', str(folder), '--run', str(run), '--out', str(run / 'w' / 'e.safetensors'),
            '--shards', '1', '--held-out', '1', '--batch', '4', '--warm-up', '2']


def test_training_writes_weights_and_a_line_of_json(folder, tmp_path, capsys):
    assert pretrain.main([*options(folder, tmp_path), '--epochs', '2']) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    weights = tmp_path / 'w' / 'e.safetensors'
    card = verify_weights(weights, 'encoder')
    assert card.metrics['parameters'] == result['parameters'] < 1_300_000
    assert result['bytes'] < 6_000_000
    assert load_encoder(weights).shape.to_dict() == card.model


def test_a_run_that_resumes_ends_like_one_that_did_not(folder, tmp_path):
    def trainer(run, epochs):
        settings = pretrain.Settings(shards=1, held_out=1, epochs=2, batch=4, warm_up=2)
        made = pretrain.Trainer(settings, FrameSet(dataset.load(folder, 'train', 1)),
                                FrameSet(dataset.load(folder, 'validation', 1)), run,
                                torch.device('cpu'), EncoderShape(width=32, layers=1))
        run.mkdir(exist_ok=True)
        for _ in range(epochs):
            made.train_epoch()
            made.save()
        return made

    whole = trainer(tmp_path / 'a', 2)
    trainer(tmp_path / 'b', 1)
    rest = trainer(tmp_path / 'b', 0)
    rest.resume()
    rest.train_epoch()
    for (name, a), b in zip(whole.encoder.state_dict().items(),
                            rest.encoder.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_resuming_with_other_settings_is_refused(folder, tmp_path):
    pretrain.main([*options(folder, tmp_path), '--epochs', '1'])
    with pytest.raises(ValueError, match='same ones'):
        pretrain.main([*options(folder, tmp_path), '--epochs', '2', '--resume'])


def test_a_loss_that_is_not_finite_leaves_evidence(folder, tmp_path):
    settings = pretrain.Settings(shards=1, held_out=1, epochs=1, batch=4)
    sets = FrameSet(dataset.load(folder, 'train', 1))
    trainer = pretrain.Trainer(settings, sets, sets, tmp_path, torch.device('cpu'),
                               EncoderShape(width=32, layers=1))
    with torch.no_grad():
        trainer.encoder.head[0].weight.fill_(math.nan)
    with pytest.raises(pretrain.TrainingError, match='not_finite'):
        trainer.train_epoch()
    assert json.loads((tmp_path / 'not_finite.json').read_text())['frames']


def test_arguments_are_checked(capsys):
    with pytest.raises(SystemExit):
        pretrain.main(['--epochs', '0'])
    assert '--epochs 0: it takes 1 or more' in capsys.readouterr().err


def test_a_folder_for_the_weights_is_refused_before_anything_is_recorded(tmp_path, capsys):
    frames = tmp_path / 'frames'
    with pytest.raises(SystemExit):
        pretrain.main(['--frames', str(frames), '--out', str(tmp_path)])
    assert f'--out {tmp_path}: is a folder; it takes the weight file' in capsys.readouterr().err
    assert not frames.exists()

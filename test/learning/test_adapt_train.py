"""The training and the judgement of `karpathy-control adapt`, on small made-up frames."""

import copy
import math

import numpy as np
import pytest
import torch

from karpathy_control import cli
from karpathy_control.contracts.layout import SECTORS
from karpathy_control.learning import adapt_train, checkpoints
from karpathy_control.learning.adapt_judge import BOUNDS, drive_metrics, objections
from karpathy_control.learning.adapt_train import (
    Settings,
    Trainer,
    add_low_rank,
    column_targets,
    drive_losses,
    hidden_cells,
    merged,
    trimmed,
)
from karpathy_control.learning.augment import Augmentation, FrameSet, evaluation
from karpathy_control.learning.labels import LABEL_FIELDS
from karpathy_control.perception.encoder import Encoder, EncoderShape

SHAPE = EncoderShape(width=32, layers=1)


def frames(n, seed):
    """Walls at 1 to 4 m all round, and pictures that are as bright as the wall is near."""
    rng = np.random.default_rng(seed)
    r = rng.uniform(1.0, 4.0, n).astype(np.float32)
    sectors = np.zeros((n, SECTORS, len(LABEL_FIELDS)), np.float32)
    sectors[..., 0] = np.inf
    camera = np.full((n, SECTORS, 4), np.nan, np.float32)
    camera[:, 14:22] = r[:, None, None]
    image = np.clip(rng.normal(250.0 / r[:, None, None, None], 5.0, (n, 96, 128, 3)), 0, 255)
    return FrameSet({
        'image': image.astype(np.uint8), 'depth': np.full((n, 96, 128), np.nan, np.float16),
        'scan': np.repeat(r[:, None], 360, 1), 'past': np.full((n, 2, 360), np.nan, np.float32),
        'past_age': np.zeros((n, 2), np.float32), 'imu': np.zeros((n, 8, 6), np.float32),
        'history': np.zeros((n, 4, 2), np.float32), 'camera_pose': np.zeros((n, 6), np.float32),
        'sectors': sectors, 'camera': camera, 'origin': np.zeros((n, 2), np.int32),
        'has_imu': np.arange(n) % 2 == 0})


def trainer(folder, epochs=2, **changes):
    torch.manual_seed(1)
    folder.mkdir(exist_ok=True)
    return Trainer(Settings(epochs=epochs, batch=4, **changes), Encoder(SHAPE).eval(),
                   frames(12, 0), frames(8, 1), frames(8, 2), folder, 'aa')


def answers(encoder):
    generator = torch.Generator().manual_seed(0)
    batch = frames(4, 3).batch(torch.arange(4), evaluation(False), generator)
    with torch.inference_mode():
        return encoder(batch.inputs)


def test_low_rank_begins_as_nothing_and_merges_into_the_plain_network():
    torch.manual_seed(0)
    plain = Encoder(SHAPE).eval()
    tuned = copy.deepcopy(plain)
    add_low_rank(tuned)
    torch.testing.assert_close(answers(tuned).camera, answers(plain).camera)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if name.endswith('.up'):
                parameter.normal_()
    again = Encoder(SHAPE).eval()
    again.load_state_dict(merged(tuned))
    assert not torch.allclose(answers(again).camera, answers(plain).camera)
    for name, a, b in zip(answers(tuned)._fields, answers(tuned), answers(again), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


def test_only_the_camera_and_low_rank_matrices_are_trained(tmp_path):
    made = trainer(tmp_path / 'a')
    before = merged(made.encoder)
    made.train_epoch()
    after = merged(made.encoder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(('stem.', 'camera_head.', 'blocks.'))
                           for name in changed)
    for name in changed:
        if name.startswith('blocks.'):
            rank = torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3)
            assert name.endswith('.weight') and 1 <= int(rank) <= adapt_train.RANK


def test_what_is_trained_on_is_learned(tmp_path):
    """From brightness alone the range can be said: the held-out loss falls, figures improve."""
    made = trainer(tmp_path / 'a', epochs=12, rate=3e-3, patience=12)
    start = Encoder(SHAPE).eval()
    start.load_state_dict(merged(made.encoder))
    made.fit(lambda text: None)
    tuned = Encoder(SHAPE).eval()
    tuned.load_state_dict(made.best_state)
    assert made.best < made.first - 0.3 and made.best_epoch > 0
    was, now = (drive_metrics(e, frames(8, 1), scan=False) for e in (start, tuned))
    assert now['recall_2m'] > was['recall_2m'] or now['median_relative_error_3m'] < was[
        'median_relative_error_3m']
    assert (tmp_path / 'a' / 'last.safetensors').is_file()


def test_a_run_that_resumes_ends_like_one_that_did_not(tmp_path):
    whole = trainer(tmp_path / 'a')
    whole.fit(lambda text: None)
    cut = trainer(tmp_path / 'b')

    def stop():
        if cut.epoch == 1:  # in the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.fit(lambda text: None, stop)
    rest = trainer(tmp_path / 'b')
    rest.resume()
    assert rest.epoch == 1 and rest.first == cut.first
    rest.fit(lambda text: None)
    assert (rest.epoch, rest.best_epoch) == (whole.epoch, whole.best_epoch)
    assert rest.best == pytest.approx(whole.best, rel=1e-5)
    for (name, a), b in zip(merged(whole.encoder).items(), merged(rest.encoder).values(),
                            strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_resuming_another_run_is_refused(tmp_path):
    first = trainer(tmp_path / 'a')
    first.save()
    with pytest.raises(checkpoints.CheckpointError, match=r'settings .* resume with the same'):
        trainer(tmp_path / 'a', epochs=3).resume()
    with pytest.raises(checkpoints.CheckpointError, match='no such file'):
        trainer(tmp_path / 'b').resume()


def test_nothing_is_asked_where_the_scan_is_shown():
    """With the whole scan shown both losses are 0; with one sector hidden they are that one's."""
    set_ = frames(2, 0)
    generator = torch.Generator().manual_seed(0)
    shown = set_.batch(torch.arange(2), evaluation(False), generator)
    camera = torch.zeros(2, SECTORS, 4, 3)
    assert all(float(v) == 0.0 for v in drive_losses(camera, shown).values())
    mask = torch.zeros(2, SECTORS, dtype=torch.bool)
    mask[:, 18] = True
    loss = drive_losses(camera, shown._replace(sector_mask=mask))
    assert float(loss['camera_presence']) == pytest.approx(math.log(2.0))  # all are within 5 m
    assert set(loss) == {'camera_presence', 'camera_distance'}
    assert float(loss['camera_distance']) > 0.0


def test_trimmed_labels_by_hand():
    """20 finite labels at 2 m, said to be at 0.1 to 2 m: the nearest said 30 % teach nothing."""
    target = torch.full((1, 10, 4), math.nan)
    target.view(-1)[:20] = 2.0
    target.view(-1)[20:30] = math.inf
    camera = torch.zeros(1, 10, 4, 3)
    camera[..., 1].view(-1)[:] = 0.0
    said = torch.linspace(0.1, 2.0, 20).log()
    flat = camera.view(-1, 3)
    flat[:20, 1] = said
    flat[20:30, 0] = torch.arange(10.0)
    kept = trimmed(camera, target).view(-1)
    assert torch.isnan(kept[:6]).all() and (kept[6:20] == 2.0).all()
    assert torch.isinf(kept[20:25]).all() and torch.isnan(kept[25:30]).all()


def test_cells_by_hand():
    mask = torch.zeros(1, 48, dtype=torch.bool)
    mask[0, 8 + 2] = True  # second row of patches, third in it: px rows 16..31, columns 32..47
    cells = hidden_cells(mask)[0]
    assert cells.nonzero().tolist() == [[c, r] for c in range(8, 12) for r in (2, 3)]
    image = torch.zeros(1, 96, 128, 3, dtype=torch.uint8)
    image[0, 16:32, 32:48] = 255
    target = column_targets(image)[0]
    bright = target > target.mean()
    assert bright.all(-1).nonzero().tolist() == cells.nonzero().tolist()


def test_a_robot_without_imu_has_none_in_its_batches():
    batch = frames(6, 0).batch(torch.arange(6), Augmentation(no_imu=0.0),
                               torch.Generator().manual_seed(0))
    assert batch.inputs.present[:, 3].tolist() == [1.0, 0.0] * 3


def test_drive_metrics_by_hand(monkeypatch):
    """Of 4 things within 2 m: found, 30 % off, not said, found; a phantom before a free one."""
    truth = torch.full((1, SECTORS, 4), math.nan)
    truth[0, 18] = torch.tensor([1.0, 1.0, 1.5, 2.0])
    truth[0, 19, 0] = math.inf
    camera = torch.zeros(1, SECTORS, 4, 3)
    camera[0, 18, :, 0] = torch.tensor([3.0, 3.0, -3.0, 3.0])
    camera[0, 18, :, 1] = torch.tensor([1.1, 1.3, 1.5, 1.65]).log()
    camera[0, 19, 0] = torch.tensor([2.0, math.log(1.0), 0.0])

    class Said:
        def __init__(self, camera):
            self.camera = camera

    monkeypatch.setattr('karpathy_control.learning.adapt_judge.run',
                        lambda *a, **k: iter([(Said(camera), Said(truth))]))
    found = drive_metrics(None, None, scan=True)
    assert found == {'recall_2m': 0.5, 'said_2m': 0.75, 'median_relative_error_3m': 0.175,
                     'phantoms_2m': 0.2, 'false_positive_share': 1.0, 'labels': 5}


def sides(drive, **simulated):
    groups = {bound.group: {} for bound in BOUNDS}
    for bound in BOUNDS:
        groups[bound.group][bound.figure] = simulated.get(f'{bound.group}.{bound.figure}', 0.5)
    for key, value in simulated.items():
        group, _, figure = key.partition('.')
        groups[group][figure] = value
    return {'drive': {'recall_2m': drive}, 'simulated': groups}


def test_refused_are_worse_figures_with_both_named():
    assert objections(sides(0.4), sides(0.6)) == []
    assert objections(sides(0.4), sides(0.4))[0] == (
        'held-out drive, camera alone: recall_2m 0.4, before 0.4; it takes 0.01 more')
    assert objections(sides(0.4), sides(0.409))  # a hundredth may be chance
    assert objections(sides(0.4), sides(0.411)) == []
    assert objections(sides(math.nan), sides(math.nan))  # nothing to be found is no gain
    for bound in BOUNDS:
        key = f'{bound.group}.{bound.figure}'
        fine = 0.5 - bound.better * 0.9 * bound.tolerance
        worse = 0.5 - bound.better * 1.1 * bound.tolerance
        assert objections(sides(0.4), sides(0.6, **{key: fine})) == []
        reasons = objections(sides(0.4), sides(0.6, **{key: worse}))
        assert len(reasons) == 1 and bound.figure in reasons[0]
        assert f'{worse:g}, before 0.5' in reasons[0]


@pytest.mark.parametrize(('words', 'text'), [
    (['--held-out', 'b', '--out', 'c'], '--bags is missing; adapting takes'),
    (['--bags', 'a', '--held-out', 'a', '--out', 'c'], '--held-out a: is one of --bags'),
    (['--bags', 'a', '--held-out', 'b', '--out', 'c', '--epochs', '0'],
     '--epochs 0: it takes 1 or more'),
    (['--bags', 'a', '--held-out', 'b', '--out', 'c', '--rate', 'nan'], '--rate nan: it takes'),
    (['--bags', 'a', '--held-out', 'b', '--out', 'c', '--into', 'd'], '--into: goes with'),
])
def test_arguments_are_checked(words, text, capsys):
    with pytest.raises(SystemExit):
        cli.run(['adapt', *words])
    assert text in capsys.readouterr().err


def test_a_bag_that_is_none_is_refused_before_anything_is_trained(tmp_path, capsys):
    pytest.importorskip('rclpy', reason='needs rclpy')
    assert cli.run(['adapt', '--bags', str(tmp_path / 'a'), '--held-out', str(tmp_path / 'b'),
                    '--out', str(tmp_path / 'c')]) == 2
    assert 'holds no recording' in capsys.readouterr().err

"""Learning how things go on: samples by hand, a forecast that can be found, and one small run."""

import json
import math

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from karpathy_control.contracts.layout import MOVER_FIELDS
from karpathy_control.learning import motion
from karpathy_control.mapping.motion import GAIN, TURN_RATE, go_on
from karpathy_control.perception.motion import FEATURES, load_network


def test_torch_and_kernel_go_the_same_way():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, MOVER_FIELDS))
    ways = np.empty((motion.AHEAD, 50, 2))
    go_on(rows, 0.1, ways)
    found = motion.predict(torch.from_numpy(rows), *(
        torch.from_numpy(rows[:, column]) for column in (TURN_RATE, GAIN)))
    np.testing.assert_allclose(found.numpy(), ways.transpose(1, 0, 2), atol=1e-6)


def test_samples_by_hand():
    """A robot at (1, 0) that looks along y; thing 0 stands at (1, 2), thing 1 is put elsewhere."""
    steps = 1 + motion.AHEAD * motion.STRIDE
    places = np.zeros((steps, 1, 2, 2))
    places[:, 0, 0] = 1.0, 2.0
    places[:, 0, 1] = 3.0, 0.0
    places[40:, 0, 1] = 9.0, 9.0
    poses = np.tile((1.0, 0.0, math.pi / 2), (steps, 1, 1))
    row, features = np.zeros(MOVER_FIELDS), np.arange(FEATURES)
    row[:2] = 2.1, 0.0  # 0.1 m off: 2 m ahead
    jumper, nobody, late = row.copy(), row.copy(), row.copy()
    jumper[:2], nobody[:2] = (0.0, -2.0), (5.0, 5.0)
    found = motion._match([(0, 0, row, features), (0, 0, jumper, features),
                           (0, 0, nobody, features), (1, 0, late, features)],
                          places, poses, np.array([2]))
    assert len(found) == 1
    np.testing.assert_allclose(found.truth[0], np.tile((2.0, 0.0), (motion.AHEAD, 1)), atol=1e-6)
    np.testing.assert_array_equal(found.seen[0], features)


def samples(count, seed):
    """Things whose turn rate is 4 times a feature and whose gain twice another; exact ways."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, MOVER_FIELDS), np.float32)
    rows[:, :4] = rng.normal(size=(count, 4))
    seen = 0.1 * rng.normal(size=(count, FEATURES)).astype(np.float32)
    truth = motion.predict(torch.from_numpy(rows), torch.from_numpy(4.0 * seen[:, 1]),
                           torch.from_numpy(2.0 * seen[:, 0]))
    return motion.Samples(rows, seen, truth.numpy())


def test_what_can_be_known_is_found(tmp_path):
    train, held_out = samples(4000, 0), samples(500, 1)
    network = motion.fit(train, held_out, 12, 16, 1e-2, 64, 0, torch.device('cpu'),
                         SummaryWriter(str(tmp_path)))
    with torch.inference_mode():
        turn, spread, gain = network.rates(torch.from_numpy(held_out.seen))
    found = motion.figures(held_out, turn.numpy(), spread.numpy(), gain.numpy())
    assert np.corrcoef(turn, 4.0 * held_out.seen[:, 1])[0, 1] > 0.97
    assert np.corrcoef(gain, 2.0 * held_out.seen[:, 0])[0, 1] > 0.9
    assert found['forecast_median_m']['2 s'] < 0.35 * found['straight_median_m']['2 s']
    assert list(tmp_path.iterdir())


def test_one_small_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(motion, 'STEPS', 120)
    out = tmp_path / 'motion.safetensors'
    assert motion.main(['--worlds', '3', '--held-out', '2', '--epochs', '1', '--batch', '32',
                        '--run', str(tmp_path / 'run'), '--out', str(out)]) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert result['samples'] > 50 and 0.0 <= result['within_spread'] <= 1.0
    assert load_network(out).w1.shape == (48, FEATURES)

"""A dataset as it lies on disk, read by pyarrow, and by lerobot where that is installed."""

import importlib.util
import io
import json

import cv2
import numpy as np
import pytest

from karpathy_control.bags import lerobot_format as f
from karpathy_control.contracts.config import ConfigError

RNG = np.random.default_rng(0)
COLUMNS = {'observation.state': f.Column('float32', ('v', 'w', 'goal_x', 'goal_y')),
           'action': f.Column('float32', ('v', 'w')), 'proposal': f.Column('float32', ('v', 'w')),
           'stamp': f.Column('int64', ('stamp',))}
SIZE = (18, 24)
LENGTHS = (30, 45)
TASK = 'drive to the goal'


def test_statistics_are_those_of_numpy():
    values = RNG.normal(size=(50, 3))
    s = f.statistics(values)
    np.testing.assert_allclose(s['std'], values.std(0))
    np.testing.assert_allclose(s['q10'], np.quantile(values, 0.1, axis=0))
    assert s['count'] == [50] and np.array_equal(s['max'], values.max(0))


def test_statistics_of_pictures_are_those_of_their_values():
    pictures = RNG.integers(10, 200, (7, *SIZE, 3)).astype(np.uint8)
    histogram = [np.bincount(pictures[..., c].ravel(), minlength=256) for c in range(3)]
    s = f.picture_statistics(histogram, 7)
    values = pictures.reshape(-1, 3) / 255.0
    for name, expected in (('min', values.min(0)), ('max', values.max(0)),
                           ('mean', values.mean(0)), ('std', values.std(0)),
                           ('q99', np.quantile(values, 0.99, axis=0, method='inverted_cdf'))):
        np.testing.assert_allclose(s[name].ravel(), expected, atol=1e-12)
        assert s[name].shape == (3, 1, 1)
    assert s['count'] == [7]


def test_aggregated_statistics_are_those_of_all_frames():
    """The quantile alone is not exact: (10 a + 40 b) / 50 of those of the parts."""
    a, b = RNG.normal(size=(10, 2)), RNG.normal(2.0, size=(40, 2))
    parts, whole = [f.statistics(a), f.statistics(b)], f.statistics(np.concatenate((a, b)))
    found = f.aggregate(parts)
    for name in ('min', 'max', 'mean', 'std', 'count'):
        np.testing.assert_allclose(found[name], whole[name])
    np.testing.assert_allclose(found['q50'], 0.2 * parts[0]['q50'] + 0.8 * parts[1]['q50'])


def content(n):
    """Values and pictures of an episode of n frames."""
    return ({'observation.state': RNG.normal(size=(n, 4)), 'action': RNG.normal(size=(n, 2)),
             'proposal': RNG.normal(size=(n, 2)),
             'stamp': 1_700_000_000_123_456_789 + 50_000_000 * np.arange(n)[:, None]},
            RNG.integers(0, 256, (n, *SIZE, 3)).astype(np.uint8))


def write(folder, task=TASK):
    writer = f.DatasetWriter(folder, 20, 'jackal', task, SIZE, COLUMNS)
    episodes = [content(n) for n in LENGTHS]
    for values, pictures in episodes:
        writer.add(values, iter(pictures))
    writer.close()
    return episodes


@pytest.fixture
def parquet():
    return pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed')


def test_files_hold_what_was_written(tmp_path, parquet, monkeypatch):
    """A file for each episode: the bound is a byte; 30 frames are held as 16 and 14."""
    monkeypatch.setattr(f, 'FILE_BYTES', 1)
    monkeypatch.setattr(f, 'ROWS', 16)
    episodes = write(tmp_path)
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file())
    assert names == ['data/chunk-000/file-000.parquet', 'data/chunk-000/file-001.parquet',
                     'meta/episodes/chunk-000/file-000.parquet', 'meta/info.json',
                     'meta/stats.json', 'meta/tasks.parquet']
    start = 0
    rows = parquet.read_table(tmp_path / names[2]).to_pylist()
    for number, (values, pictures) in enumerate(episodes):
        n = len(pictures)
        table = parquet.read_table(tmp_path / names[number])
        for key, expected in values.items():
            found = np.array(table[key].to_pylist()).reshape(expected.shape)
            assert np.array_equal(found, expected.astype(COLUMNS[key].dtype)), key
        for found, expected in zip(table[f.IMAGE].to_pylist(), pictures, strict=True):
            decoded = cv2.imdecode(np.frombuffer(found['bytes'], np.uint8), cv2.IMREAD_COLOR)
            assert np.array_equal(decoded[:, :, ::-1], expected)
        assert table['index'].to_pylist() == list(range(start, start + n))
        assert table['frame_index'].to_pylist() == list(range(n))
        np.testing.assert_allclose(table['timestamp'].to_pylist(), np.arange(n) / 20)
        row = rows[number]
        assert (row['length'], row['tasks'], row['dataset_from_index'], row['dataset_to_index'],
                row['data/file_index']) == (n, [TASK], start, start + n, number)
        np.testing.assert_allclose(row['stats/action/mean'],
                                   values['action'].astype(np.float32).mean(0), atol=1e-6)
        start += n
    info = json.loads((tmp_path / 'meta' / 'info.json').read_text())
    assert (info['codebase_version'], info['total_frames'], info['total_episodes'],
            info['fps']) == ('v3.0', 75, 2, 20)
    assert set(info['features']) == set(table.column_names)
    whole = np.concatenate([v['action'].astype(np.float32) for v, _ in episodes])
    stats = json.loads((tmp_path / 'meta' / 'stats.json').read_text())
    np.testing.assert_allclose(stats['action']['std'], whole.std(0, dtype=np.float64))


def test_what_does_not_fit_is_refused(tmp_path, parquet):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'x').touch()
    with pytest.raises(ConfigError, match='full: is not empty'):
        write(tmp_path / 'full')
    writer = f.DatasetWriter(tmp_path / 'new', 20, 'jackal', TASK, SIZE, COLUMNS)
    values, pictures = content(5)
    with pytest.raises(ValueError, match='4 pictures for 5 frames'):
        writer.add(values, pictures[:4])
    with pytest.raises(ValueError, match=r'shape \(9, 24, 3\); it takes \(18, 24, 3\)'):
        writer.add(values, pictures[:, ::2])
    assert not (tmp_path / 'new' / 'meta' / 'info.json').exists()


@pytest.mark.skipif(importlib.util.find_spec('lerobot') is None,
                    reason='lerobot is not installed (doc/export.md has how)')
def test_lerobot_loads_it(tmp_path, monkeypatch):
    """Every frame through lerobot's loader, a window of actions, and its own statistics."""
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setenv('HF_DATASETS_CACHE', str(tmp_path / 'cache'))
    from lerobot.datasets.compute_stats import aggregate_stats
    from lerobot.datasets.lerobot_dataset import LeRobotDataset
    from lerobot.datasets.utils import dataset_to_policy_features
    from PIL import Image

    episodes = write(tmp_path / 'set')
    dataset = LeRobotDataset('local/set', root=tmp_path / 'set')
    assert (len(dataset), dataset.num_episodes, dataset.fps) == (75, 2, 20)
    i = 0
    for number, (values, pictures) in enumerate(episodes):
        for k, picture in enumerate(pictures):
            item = dataset[i]
            assert item[f.IMAGE].shape == (3, *SIZE)
            assert np.array_equal(np.round(255 * item[f.IMAGE].numpy().transpose(1, 2, 0)),
                                  picture)
            for key, column in COLUMNS.items():
                assert np.array_equal(item[key].numpy().reshape(-1),
                                      values[key][k].astype(column.dtype)), key
            assert (item['task'], item['episode_index'], item['index']) == (TASK, number, i)
            i += 1
    windows = LeRobotDataset('local/set', root=tmp_path / 'set',
                             delta_timestamps={'action': [0.0, 0.05, 0.1]})
    item = windows[28]  # the last but one of the first episode: nothing of the second
    np.testing.assert_allclose(item['action'].numpy(), episodes[0][0]['action'][[28, 29, 29]],
                               rtol=1e-6)
    assert item['action_is_pad'].tolist() == [False, False, True]
    kinds = {key: feature.type.value for key, feature in
             dataset_to_policy_features(dataset.meta.features).items()}
    assert kinds == {f.IMAGE: 'VISUAL', 'observation.state': 'STATE', 'action': 'ACTION'}
    parts = [f.statistics(v['action'].astype(np.float32)) for v, _ in episodes]
    theirs = aggregate_stats([{'action': part} for part in parts])['action']
    for name, value in theirs.items():
        np.testing.assert_allclose(dataset.meta.stats['action'][name], value, err_msg=name)
    row = next(dataset.hf_dataset.with_format('arrow').iter(1))[f.IMAGE].to_pylist()[0]
    assert Image.open(io.BytesIO(row['bytes'])).size == SIZE[::-1]

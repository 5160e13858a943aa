"""Writes a dataset in LeRobot's format v3.0: Parquet files and JSON, read by lerobot's own loader.

    data/chunk-000/file-000.parquet    a row per frame, pictures as PNG inside
    meta/episodes/chunk-000/...        a row per episode: where its frames are, and its statistics
    meta/tasks.parquet, stats.json, info.json

Pictures are PNG, not video: nothing is lost, any frame is read without those before it, and no
encoder is needed. pyarrow is an optional dependency, imported where it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from karpathy_control.contracts.config import ConfigError

VERSION = 'v3.0'
IMAGE = 'observation.images.camera'
FILE_BYTES = 100 * (1 << 20)  # of one data file, which ends with an episode
FILES = 1000  # in one folder
ROWS = 256  # frames that are held in memory
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
_CHUNK = '{chunk_index:03d}/file-{file_index:03d}.parquet'
DATA_PATH = 'data/chunk-' + _CHUNK
_EPISODES_PATH = 'meta/episodes/chunk-' + _CHUNK

Stats = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Column:
    """A feature of every frame: `dtype` as NumPy calls it, one name for each of its values."""

    dtype: str
    names: tuple[str, ...]


# What the format asks of every dataset.
_COUNTED = {'timestamp': 'float32', 'frame_index': 'int64', 'episode_index': 'int64',
            'index': 'int64', 'task_index': 'int64'}


def statistics(values: ArrayLike) -> Stats:
    """Of one episode. values: (n, d); all but `count` (1,) are of shape (d,)."""
    x = np.asarray(values, np.float64)
    quantiles = np.quantile(x, QUANTILES, axis=0)
    return {'min': x.min(0), 'max': x.max(0), 'mean': x.mean(0), 'std': x.std(0),
            'count': np.array([len(x)]),
            **{f'q{round(100 * q):02d}': quantiles[i] for i, q in enumerate(QUANTILES)}}


def picture_statistics(histogram: ArrayLike, pictures: int) -> Stats:
    """Of the values 0 to 1 of an episode's pictures, by channel. histogram: (3, 256) counts.

    All but `count` are of shape (3, 1, 1).
    """
    counts = np.asarray(histogram, np.int64)
    levels = np.arange(256) / 255.0
    total = counts[0].sum()
    below = np.cumsum(counts, axis=1)
    mean = counts @ levels / total
    variance = counts @ levels**2 / total - mean**2
    found = {'min': levels[(counts > 0).argmax(1)],
             'max': levels[255 - (counts[:, ::-1] > 0).argmax(1)],
             'mean': mean, 'std': np.sqrt(np.maximum(variance, 0.0)),
             **{f'q{round(100 * q):02d}': levels[(below >= math.ceil(q * total)).argmax(1)]
                for q in QUANTILES}}
    return {**{name: value.reshape(3, 1, 1) for name, value in found.items()},
            'count': np.array([pictures])}


def aggregate(episodes: Sequence[Stats]) -> Stats:
    """Of all episodes, from those of each; quantiles are weighted means, as lerobot has them."""
    counts = np.array([s['count'][0] for s in episodes], np.float64)
    weights = counts / counts.sum()

    def weighted(values: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.tensordot(weights, np.stack(list(values)), 1)

    mean = weighted(s['mean'] for s in episodes)
    return {'min': np.min([s['min'] for s in episodes], axis=0),
            'max': np.max([s['max'] for s in episodes], axis=0), 'mean': mean,
            'std': np.sqrt(weighted(s['std']**2 + (s['mean'] - mean)**2 for s in episodes)),
            'count': np.array([int(counts.sum())]),
            **{name: weighted(s[name] for s in episodes)
               for name in episodes[0] if name.startswith('q')}}


class DatasetWriter:
    """Writes episodes into a folder. `info.json` comes last: without it a dataset is unfinished.

    Raises ConfigError for a folder that holds something.
    """

    def __init__(self, folder: Path, fps: int, robot: str, task: str, size: tuple[int, int],
                 columns: Mapping[str, Column]) -> None:
        """`size`: height and width of the pictures; `columns`: all else, by key."""
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f'{folder}: is not empty; a dataset takes a folder of its own')
        import pyarrow as pa

        self._pa = pa
        self._folder, self._fps, self._robot, self._task = folder, fps, robot, task
        self._columns = {**columns, **{key: Column(dtype, (key,))
                                       for key, dtype in _COUNTED.items()}}
        self._size = size
        self._schema = self._data_schema()
        self._file = 0
        self._writer: Any = None
        self._rows: list[dict[str, Any]] = []  # of episodes
        self._stats: list[dict[str, Stats]] = []
        self.frames = 0

    @property
    def episodes(self) -> int:
        """How many were written."""
        return len(self._rows)

    def add(self, values: Mapping[str, NDArray[Any]], pictures: Iterable[NDArray[np.uint8]]
            ) -> None:
        """Write one episode: `values` (n, d) by key, `pictures` n times (height, width, 3) rgb."""
        n, number = len(next(iter(values.values()))), self.episodes
        frames = np.arange(n)
        whole = {**values, 'timestamp': frames / self._fps, 'frame_index': frames,
                 'episode_index': np.full(n, number), 'index': self.frames + frames,
                 'task_index': np.zeros(n)}
        whole = {key: np.asarray(whole[key]).astype(column.dtype).reshape(n, len(column.names))
                 for key, column in self._columns.items()}
        histogram = np.zeros((3, 256), np.int64)
        start, left = 0, iter(pictures)
        while batch := list(islice(left, ROWS)):
            rows = slice(start, start + len(batch))
            self._write({key: value[rows] for key, value in whole.items()}, batch)
            for picture in batch:
                histogram += [np.bincount(picture[..., c].ravel(), minlength=256)
                              for c in range(3)]
            start += len(batch)
        if start != n:
            raise ValueError(f'{start} pictures for {n} frames')
        stats = {IMAGE: picture_statistics(histogram, n),
                 **{key: statistics(value) for key, value in whole.items()}}
        self._stats.append(stats)
        self._rows.append({
            'episode_index': number, 'tasks': [self._task], 'length': n,
            'data/chunk_index': self._file // FILES, 'data/file_index': self._file % FILES,
            'dataset_from_index': self.frames, 'dataset_to_index': self.frames + n,
            **{f'stats/{key}/{name}': value.tolist()
               for key, found in stats.items() for name, value in found.items()},
            'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0})
        self.frames += n
        if self._path(DATA_PATH, self._file).stat().st_size > FILE_BYTES:
            self._next_file()

    def close(self) -> None:
        """Write what describes the episodes; there must be one at least."""
        from pyarrow import parquet

        self._next_file()
        episodes = self._path(_EPISODES_PATH, 0)
        episodes.parent.mkdir(parents=True)
        parquet.write_table(self._pa.Table.from_pylist(self._rows), episodes)
        parquet.write_table(self._tasks(), self._folder / 'meta' / 'tasks.parquet')
        total = {key: aggregate([s[key] for s in self._stats]) for key in self._stats[0]}
        self._json('stats.json', {key: {name: value.tolist() for name, value in found.items()}
                                  for key, found in total.items()})
        self._json('info.json', {
            'codebase_version': VERSION, 'robot_type': self._robot,
            'total_episodes': self.episodes, 'total_frames': self.frames, 'total_tasks': 1,
            'chunks_size': FILES, 'data_files_size_in_mb': FILE_BYTES >> 20,
            'video_files_size_in_mb': 200, 'fps': self._fps,
            'splits': {'train': f'0:{self.episodes}'}, 'data_path': DATA_PATH,
            'video_path': None, 'features': self._features()})

    # -- the format -------------------------------------------------------------------------------

    def _path(self, pattern: str, file: int) -> Path:
        return self._folder / pattern.format(chunk_index=file // FILES, file_index=file % FILES)

    def _json(self, name: str, content: dict[str, Any]) -> None:
        (self._folder / 'meta' / name).write_text(json.dumps(content, indent=1) + '\n')

    def _features(self) -> dict[str, Any]:
        return {IMAGE: {'dtype': 'image', 'shape': [*self._size, 3],
                        'names': ['height', 'width', 'channels']},
                **{key: {'dtype': column.dtype, 'shape': [len(column.names)],
                         'names': None if key in _COUNTED else list(column.names)}
                   for key, column in self._columns.items()}}

    def _data_schema(self) -> Any:
        """Of the data files, with the note by which `datasets` knows a picture."""
        pa = self._pa
        fields = [(IMAGE, pa.struct([('bytes', pa.binary()), ('path', pa.string())]))]
        known: dict[str, Any] = {IMAGE: {'_type': 'Image'}}
        for key, column in self._columns.items():
            value, width = pa.from_numpy_dtype(column.dtype), len(column.names)
            known[key] = {'dtype': column.dtype, '_type': 'Value'}
            if width > 1:
                value = pa.list_(value, width)
                known[key] = {'feature': known[key], 'length': width, '_type': 'List'}
            fields.append((key, value))
        return pa.schema(fields, {'huggingface': json.dumps({'info': {'features': known}})})

    def _write(self, values: Mapping[str, NDArray[Any]], pictures: Sequence[NDArray[np.uint8]]
               ) -> None:
        from pyarrow import parquet

        pa = self._pa
        if self._writer is None:
            path = self._path(DATA_PATH, self._file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(path, self._schema)
        arrays = [pa.array([{'bytes': self._png(picture), 'path': None} for picture in pictures],
                           self._schema.field(IMAGE).type)]
        for value in values.values():
            flat = pa.array(value.ravel())
            arrays.append(flat if value.shape[1] == 1 else
                          pa.FixedSizeListArray.from_arrays(flat, value.shape[1]))
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def _png(self, picture: NDArray[np.uint8]) -> bytes:
        if picture.shape != (*self._size, 3):
            raise ValueError(f'picture of shape {picture.shape}; it takes {(*self._size, 3)}')
        return cv2.imencode('.png', picture[:, :, ::-1])[1].tobytes()

    def _next_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file += 1

    def _tasks(self) -> Any:
        """The one task with its number; for pandas the text is the index, where lerobot looks."""
        table = self._pa.table({'task_index': self._pa.array([0], self._pa.int64()),
                                'task': [self._task]})
        plain = {'field_name': 'task_index', 'name': 'task_index', 'pandas_type': 'int64',
                 'numpy_type': 'int64', 'metadata': None}
        text = {'field_name': 'task', 'name': 'task', 'pandas_type': 'unicode',
                'numpy_type': 'object', 'metadata': None}
        note = {'index_columns': ['task'], 'column_indexes': [], 'columns': [plain, text],
                'pandas_version': '2.0.0'}
        return table.replace_schema_metadata({'pandas': json.dumps(note)})

"""Bags: MCAP files in a folder in the form of rosbag2. No ROS is needed.

What was flushed is whole on disk, whatever happens to the process; a file that was cut off has no
index and is mended by `recover`. The folder never grows beyond its bound: the oldest file makes
room.
"""

from __future__ import annotations

import functools
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer
from rosbags.typesys import Stores, get_typestore

from karpathy_control.contracts.config import ConfigError

CHUNK = 1 << 20  # bytes
MB = 1_000_000
PROFILE, ENCODING, SCHEMA_ENCODING = 'ros2', 'cdr', 'ros2msg'
METADATA = 'metadata.yaml'
_MAGIC = b'\x89MCAP0\r\n'


_types = functools.cache(lambda: get_typestore(Stores.ROS2_KILTED))  # a tenth of a second


@functools.cache
def definition(type_name: str) -> bytes:
    """The definition of a message type with all that it holds, as MCAP files carry it.

    Raises ConfigError for a type that is in none of the standard packages.
    """
    store = _types()
    if type_name not in store.fielddefs:
        raise ConfigError(f'type {type_name!r} is not of the standard packages')
    return store.generate_msgdef(type_name, ros_version=2)[0].encode()


@dataclass(frozen=True)
class Offered:
    """The QoS that a topic was heard with, for whoever plays it back."""

    reliable: bool
    latched: bool
    depth: int

    def text(self) -> str:
        """As rosbag2 writes it."""
        return yaml.safe_dump([{
            'history': 'keep_last', 'depth': self.depth,
            'reliability': 'reliable' if self.reliable else 'best_effort',
            'durability': 'transient_local' if self.latched else 'volatile',
            'deadline': {'sec': 0, 'nsec': 0}, 'lifespan': {'sec': 0, 'nsec': 0},
            'liveliness': 'automatic', 'liveliness_lease_duration': {'sec': 0, 'nsec': 0},
            'avoid_ros_namespace_conventions': False}], default_flow_style=False)


class BagWriter:
    """Writes serialized messages. A context manager.

    Raises ConfigError for a folder that holds something, OSError where the disk is full: what was
    flushed before is whole, nothing more is written, and the file is left to `recover`.
    """

    def __init__(self, folder: Path, most_bytes: int = 2000 * MB, file_bytes: int = 100 * MB
                 ) -> None:
        if most_bytes < 2 * file_bytes or file_bytes < CHUNK:
            raise ConfigError(f'{most_bytes} bytes in files of {file_bytes}: it takes files of at '
                              f'least {CHUNK} bytes and room for two of them')
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f'{folder}: is not empty; a recording takes a folder of its own')
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.messages: Counter[str] = Counter()
        self._most, self._per_file = most_bytes, file_bytes
        self._number = 0
        self._broken = False
        self._open()

    def _open(self) -> None:
        self._path = self.folder / f'{self.folder.name}_{self._number}.mcap'
        self._number += 1
        self._stream = self._path.open('wb')
        self._writer = Writer(self._stream, chunk_size=CHUNK, compression=CompressionType.LZ4)
        self._writer.start(PROFILE, 'karpathy_control')
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def write(self, topic: str, type_name: str, offered: Offered, received: int, data: bytes
              ) -> None:
        """Write one message: `received` in ns since the epoch, `data` in CDR."""
        if topic not in self._channels:
            if type_name not in self._schemas:
                self._schemas[type_name] = self._writer.register_schema(
                    type_name, SCHEMA_ENCODING, definition(type_name))
            self._channels[topic] = self._writer.register_channel(
                topic, ENCODING, self._schemas[type_name],
                {'offered_qos_profiles': offered.text()})
        with self._watched():
            self._writer.add_message(self._channels[topic], received, data, received)
        self.messages[topic] += 1

    def flush(self) -> None:
        """Hand everything to the disk's cache, and begin a new file where this one is full."""
        with self._watched():
            self._writer.flush()
            if self._stream.tell() > self._per_file:
                self._finish()
                files = bag_files(self.folder)
                while len(files) > 1 and sum(f.stat().st_size for f in files) > (
                        self._most - self._per_file):
                    files.pop(0).unlink()
                write_metadata(self.folder)
                self._open()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """After half a chunk an index would make a file look whole that is not."""
        try:
            yield
        except OSError:
            self._broken = True
            raise

    def _finish(self) -> None:
        self._writer.finish()
        self._stream.close()

    def close(self) -> None:
        """Write index and metadata, or neither where the disk was full."""
        if self._stream.closed:
            return
        if self._broken:
            with suppress(OSError):  # what waits in the buffer
                self._stream.close()
            return
        with self._watched():
            self._finish()
            write_metadata(self.folder)

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def bag_files(folder: Path) -> list[Path]:
    """The MCAP files of a recording, NAME_NUMBER.mcap, oldest first."""
    numbers = {path: path.stem.rpartition('_')[2] for path in folder.glob('*.mcap')}
    return sorted((p for p, n in numbers.items() if n.isdecimal()), key=lambda p: int(numbers[p]))


def is_whole(path: Path) -> bool:
    """Whether a file was finished: it ends as an MCAP file must."""
    if path.stat().st_size < 2 * len(_MAGIC):
        return False
    with path.open('rb') as file:
        file.seek(-len(_MAGIC), os.SEEK_END)
        return file.read() == _MAGIC


def recover(folder: Path) -> list[Path]:
    """Mend what a recording left that was killed; returns the files that were mended.

    Every message of every chunk that is whole is kept. A file without any is removed.
    """
    if not folder.is_dir() or not bag_files(folder):
        raise ConfigError(f'{folder}: holds no recording (.mcap)')
    mended = [path for path in bag_files(folder) if not is_whole(path)]
    for path in mended:
        _mend(path)
    write_metadata(folder)
    return mended


def _mend(path: Path) -> None:
    copy = path.with_suffix('.part')
    count = 0
    with path.open('rb') as source, copy.open('wb') as target:
        writer = Writer(target, chunk_size=CHUNK, compression=CompressionType.LZ4)
        writer.start(PROFILE, 'karpathy_control')
        schemas: dict[int, int] = {0: 0}
        channels: dict[int, int] = {}
        try:
            for record in StreamReader(source, record_size_limit=None).records:
                if isinstance(record, Schema) and record.id not in schemas:
                    schemas[record.id] = writer.register_schema(record.name, record.encoding,
                                                                record.data)
                elif isinstance(record, Channel) and record.id not in channels:
                    channels[record.id] = writer.register_channel(
                        record.topic, record.message_encoding, schemas[record.schema_id],
                        record.metadata)
                elif isinstance(record, Message):
                    writer.add_message(channels[record.channel_id], record.log_time, record.data,
                                       record.publish_time, record.sequence)
                    count += 1
        except (McapError, EOFError, RuntimeError, ValueError, KeyError, struct.error):
            pass  # here it was cut off
        writer.finish()
    if count:
        copy.replace(path)
    else:
        copy.unlink()
        path.unlink()


def write_metadata(folder: Path) -> None:
    """Write metadata.yaml, by which rosbag2 and rosbags know a folder, from the files' indices."""
    topics: dict[str, dict[str, Any]] = {}
    files: list[dict[str, Any]] = []
    for path in bag_files(folder):
        with path.open('rb') as stream:
            summary = make_reader(stream).get_summary()
        assert summary is not None and summary.statistics is not None  # every file is whole
        stats = summary.statistics
        for number, channel in summary.channels.items():
            count = stats.channel_message_counts.get(number, 0)
            known = topics.setdefault(channel.topic, {'message_count': 0, 'topic_metadata': {
                'name': channel.topic, 'type': summary.schemas[channel.schema_id].name,
                'serialization_format': ENCODING, 'type_description_hash': '',
                'offered_qos_profiles': yaml.safe_load(
                    channel.metadata['offered_qos_profiles'])}})
            known['message_count'] += count
        files.append({'path': path.name,
                      'starting_time': {'nanoseconds_since_epoch': stats.message_start_time},
                      'duration': {'nanoseconds': stats.message_end_time
                                   - stats.message_start_time},
                      'message_count': stats.message_count, 'end': stats.message_end_time})
    filled = [f for f in files if f['message_count']]
    start = min((f['starting_time']['nanoseconds_since_epoch'] for f in filled), default=0)
    end = max((f['end'] for f in filled), default=start)
    for file in files:
        del file['end']
    information = {
        'version': 9, 'storage_identifier': 'mcap', 'duration': {'nanoseconds': end - start},
        'starting_time': {'nanoseconds_since_epoch': start},
        'message_count': sum(f['message_count'] for f in files),
        'topics_with_message_count': [topics[name] for name in sorted(topics)],
        'compression_format': '', 'compression_mode': '',
        'relative_file_paths': [f['path'] for f in files], 'files': files, 'custom_data': None,
        'ros_distro': 'kilted'}
    part = folder / (METADATA + '.part')
    part.write_text(yaml.safe_dump({'rosbag2_bagfile_information': information},
                                   sort_keys=False))
    part.replace(folder / METADATA)

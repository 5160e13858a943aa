"""Reads the messages of a bag in the order in which they were recorded. No ROS is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import make_reader

from karpathy_control.bags.recording import bag_files, is_whole
from karpathy_control.contracts.config import ConfigError


@dataclass(frozen=True)
class BagMessage:
    """One message, its contents as they came over DDS (CDR)."""

    topic: str
    type: str  # as in 'sensor_msgs/msg/Image'
    received: int  # ns, wall time
    data: bytes


def read_bag(folder: Path, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
    """The messages of a recording, oldest first; of all topics or of some.

    Raises ConfigError for a folder without a recording, or for a file that was cut off or is none.
    """
    files = bag_files(folder) if folder.is_dir() else []
    if not files:
        raise ConfigError(f'{folder}: holds no recording (.mcap)')
    for path in files:
        if not is_whole(path):
            raise ConfigError(f'{path}: was cut off; mend it with '
                              f'karpathy-control record --recover {folder}')
    for path in files:
        with path.open('rb') as stream:
            try:
                for schema, channel, message in make_reader(stream).iter_messages(topics):
                    assert schema is not None  # every message of ROS has one
                    yield BagMessage(channel.topic, schema.name, message.log_time, message.data)
            except (McapError, ValueError, EOFError) as error:
                raise ConfigError(f'{path}: {error}; it is not a whole MCAP file') from None

"""Shared memory files of Fast DDS whose owner is dead: found, and removed.

A segment has a lock file (`_el`) that its owner keeps locked while it lives; the kernel drops the
lock however the owner ends, but nothing drops the files: a node killed with SIGKILL leaves 9 MB.
A port lies between processes: it is abandoned when nobody has it locked or mapped any more.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import struct
import time
from collections.abc import Collection, Iterable
from pathlib import Path

FOLDER = Path('/dev/shm')
LEAST_AGE = 5.0  # s: a younger file may be in the making, not locked yet
ROOM = 4_000_000  # bytes that must be free to open ports anew: a port takes 0.1 MB

# PortNode of SharedMemGlobal.hpp: number, listeners, time of a health check and its third (ms),
# capacity, waiting; then flags
_NODE, _FLAGS = struct.Struct('<6I'), struct.Struct('<I')
_PORT_OK, _EXCLUSIVE, _READ = 1, 2, 4  # well; one listener alone; opened to read
_PORT_NUMBER = re.compile(r'fastdds_port(\d{1,5})_el')

_SEGMENT = re.compile(r'fastdds_[0-9a-f]{16}')
_PORT = re.compile(r'fastdds_port\d{1,5}')
_NAME = re.compile(r'fastdds_(?:port\d{1,5}|[0-9a-f]{16})')


def files(folder: Path = FOLDER) -> list[Path]:
    """Every file of Fast DDS, in use or not."""
    return sorted([*folder.glob('fastdds_*'), *folder.glob('sem.fastdds_*')])


def held(pid: int, folder: Path = FOLDER) -> set[str]:
    """Names of the segments and ports that a process has mapped, removed ones included."""
    try:
        with Path(f'/proc/{pid}/maps').open() as file:
            return {name for line in file for name in
                    re.findall(f'{re.escape(str(folder))}/({_NAME.pattern})', line)}
    except OSError:  # it has ended
        return set()


def belonging(names: Collection[str], folder: Path = FOLDER) -> list[Path]:
    """The files that are there of segments and ports, locks and semaphores included."""
    return [path for path in files(folder)
            if (found := _NAME.search(path.name)) and found.group() in names]


def size(paths: Iterable[Path]) -> int:
    """Bytes of those files that are still there."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # Fast DDS removed it meanwhile
            continue
    return total


def abandoned(folder: Path = FOLDER, least_age: float = LEAST_AGE, ports: bool = False,
              known: Collection[str] = ()) -> list[Path]:
    """Files that belong to nobody alive, locks first; those of `known` names whatever their age.

    Ports only where asked for: a participant that numbers itself may take one up again while we
    look. Our nodes never do (bringup.dds.own_ports).
    """
    present = {path.name for path in files(folder)}
    mapped = _mapped(folder) if ports else ''
    found: list[Path] = []
    for name in sorted(present):
        if not (_SEGMENT.fullmatch(name) or (ports and _PORT.fullmatch(name))):
            continue
        locks = [folder / f'{name}_{kind}' for kind in ('el', 'sl') if f'{name}_{kind}' in present]
        if _PORT.fullmatch(name):
            free = f'{folder / name}\n' not in mapped
        else:
            free = bool(locks)
        old = name in known or _old(folder / name, least_age)
        if free and old and all(map(_unlocked, locks)):
            found += [*locks, folder / name]
            found += [folder / f for f in (f'sem.{name}_mutex',) if f in present]
    return found


def remove_abandoned(folder: Path = FOLDER, least_age: float = LEAST_AGE, ports: bool = False,
                     known: Collection[str] = ()) -> int:
    """Remove them; returns how many bytes that gave back."""
    freed = 0
    for path in abandoned(folder, least_age, ports, known):
        try:
            size = path.stat().st_size
            path.unlink()
            freed += size
        except OSError:  # another run removes it too, or it is somebody else's
            continue
    return freed


def retire_port(port: int, folder: Path = FOLDER) -> bool:
    """Mark a port as broken, so that all who have it open a new one.

    Where several listen, one that is killed stays registered: its messages are never taken, the
    ring of the port fills up, and from then on nobody who is new is discovered by anybody. Fast
    DDS looks for dead listeners itself and misses some of them (doc/soak.md). This sets the mark
    that it sets. False where there is no such port, or not in the form that is known (Fast DDS 3).
    """
    try:
        with (folder / f'fastdds_port{port}').open('r+b') as file, \
                mmap.mmap(file.fileno(), 0) as memory:
            at = _port_node(memory, port)
            if at < 0:
                return False
            flags, = _FLAGS.unpack_from(memory, at + _NODE.size)
            _FLAGS.pack_into(memory, at + _NODE.size, flags & ~_PORT_OK)
    except (OSError, ValueError):  # not there, or empty
        return False
    return True


def retire_dead_ports(folder: Path = FOLDER) -> int:
    """Mark every port whose one listener is dead as broken; returns how many.

    Whoever writes to it then opens a new one that nobody reads, where messages are dropped. Until
    Fast DDS finds out itself, some 0.3 s, what is written there stays in the writers' segments
    for good: twelve deaths fill a quarter of 8 MB, a hundred leave no room for an image
    (doc/soak.md).
    """
    found = [int(name[1]) for path in files(folder)
             if (name := _PORT_NUMBER.fullmatch(path.name)) and _unlocked(path)]
    return sum(retire_port(port, folder) for port in found)


def bury(discovery: int, folder: Path = FOLDER) -> bool:
    """A listener has died: retire its own ports, and that of discovery, which it shared.

    False where that of discovery was left as it is, since there is no room: whoever has it could
    not open a new one, and would hear of nobody new for good. Call again then.
    """
    retire_dead_ports(folder)
    found = os.statvfs(folder)
    if found.f_bavail * found.f_frsize < ROOM:
        return False
    retire_port(discovery, folder)
    return True


def _port_node(memory: mmap.mmap, port: int) -> int:
    """Where the description of a port begins; -1 where nothing looks like it."""
    at = memory.find(struct.pack('<I', port))
    while at >= 0:
        if at % 4 == 0 and at + _NODE.size + _FLAGS.size <= len(memory):
            _, _, check, wait, *_ = _NODE.unpack_from(memory, at)
            flags, = _FLAGS.unpack_from(memory, at + _NODE.size)
            if check > 0 and wait == check // 3 and (
                    flags & ~_EXCLUSIVE == _PORT_OK | _READ):
                return at
        at = memory.find(struct.pack('<I', port), at + 1)
    return -1


def _mapped(folder: Path) -> str:
    """What all processes that may be looked at have mapped from the folder, one a line."""
    lines: list[str] = []
    for maps in Path('/proc').glob('[0-9]*/maps'):
        try:
            with maps.open() as file:  # line by line: a process with torch has half a megabyte
                lines += [line.rstrip('\n') for line in file if str(folder) in line]
        except OSError:  # ended meanwhile, or another user's
            continue
    return '\n'.join(lines) + '\n'


def _old(path: Path, least_age: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime >= least_age
    except OSError:
        return False


def _unlocked(path: Path) -> bool:
    try:
        with path.open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

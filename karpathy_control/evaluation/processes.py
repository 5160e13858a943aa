"""What the kernel says of processes: memory, open files, and which belong to a run. Linux only."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path('/proc')
# Code is left out: its pages are shared with whoever runs it too, and cannot leak.
COUNTED = ('Pss_Anon', 'Pss_Shmem')


def memory(pid: int) -> int | None:
    """Bytes that a process holds: its own, and its share of shared memory; None once it ended."""
    try:
        text = (PROC / str(pid) / 'smaps_rollup').read_text()
    except OSError:
        return None
    values = dict(line.split(':', 1) for line in text.splitlines()[1:])
    return sum(int(values[name].removesuffix('kB')) for name in COUNTED) * 1024 if values else None


def descriptors(pid: int) -> int | None:
    """How many files a process has open; None once it ended."""
    try:
        return len(os.listdir(PROC / str(pid) / 'fd'))
    except OSError:
        return None


def marked(name: str, value: str) -> dict[int, str]:
    """Command lines by process id of all others that were started with NAME=VALUE."""
    wanted = f'{name}={value}'.encode()
    found: dict[int, str] = {}
    for folder in PROC.glob('[0-9]*'):
        try:
            if int(folder.name) == os.getpid() or wanted not in (
                    folder / 'environ').read_bytes().split(b'\0'):
                continue
            words = (folder / 'cmdline').read_bytes().split(b'\0')
        except OSError:  # ended meanwhile, or another user's
            continue
        found[int(folder.name)] = ' '.join(word.decode(errors='replace') for word in words).strip()
    return found

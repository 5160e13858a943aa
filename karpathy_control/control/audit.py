"""The log of every decision: text that a person can read and that survives a kill -9.

For the node::

    log = AuditLog(config.audit, logs)              # an empty folder: nothing is ever written
    kept = log.write(now, decision, state)          # after the command went out; never raises
    log.note(now, 'activated')                      # what is not a decision, on a line of its own
    log.close()

`write` and `note` return False where the line could not be written (disk full, folder not
writable) and try afresh at every call; the column `number` counts what was to be written, so a
gap in it tells how many lines are missing. A file is a header line with the names of the columns
and one line per decision, columns parted by tabs. `read_audit` gives the lines back.

A line is one `os.write` on a descriptor opened with O_APPEND: nothing waits in a buffer of the
process, so a killed one leaves whole lines. A line can only be torn by a full disk, by a loss of
power, or at a page boundary of the file when the kill strikes inside the very call; the next line
(of the next process too) first ends it with a mark by which readers pass over it. Nothing is
synced to the disk: a loss of power may cost the last seconds. The folder should lie on a local
disk, since a file system that hangs would hang its caller.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from karpathy_control.contracts.config.control import AuditConfig
from karpathy_control.contracts.types import State

if TYPE_CHECKING:
    from karpathy_control.control.controller import Decision

COLUMNS = (
    'number',  # counts the lines that were to be written since the process started
    'time',  # wall clock, UTC
    'now_ns',  # node clock
    'mode', 'reasons', 'override',
    'v', 'w',  # m/s, rad/s: the command that went out
    'asked_v', 'asked_w',  # what the one who commands had proposed
    'limited',  # 1: the gate changed it
    'action_ns',  # stamp of the observation behind it; 0 for none
    'x', 'y', 'yaw', 'odom_v', 'odom_w',  # newest odometry
    'detail',  # ages, counts and refusals; written when mode or reasons change
)
HEADER = '#' + '\t'.join(COLUMNS)
TORN = '\t!'  # ends a line that was not written whole
MAX_LINE = 3800  # bytes; what is longer is cut, so that a line never spans more than two pages
_NAME = re.compile(r'audit-(\d{6,})\.log')
_MB = 1_000_000
# Text from outside must not be able to forge a line or a column.
_CONTROLS = dict.fromkeys((*range(32), 127, 0x85, 0x2028, 0x2029), ' ')
_NOWHERE = '\t'.join(['-'] * 5)


class AuditLog:
    """Writes decisions to `folder/audit-NNNNNN.log`, the highest number being the present file.

    A folder that is not absolute is one in `logs`.
    """

    def __init__(self, config: AuditConfig, logs: Path = Path()) -> None:
        self.config = config
        self._folder = logs / Path(config.folder).expanduser() if config.folder else None
        self._fd: int | None = None
        self._size = 0  # bytes of the present file
        self._number = 0
        self._said: tuple[object, object] = (None, None)  # mode and reasons of the last line
        self._second, self._date = -1, ''

    def write(self, now: int, decision: Decision, state: State | None = None) -> bool:
        """Write one decision, made at `now` (ns, node clock) on the odometry `state`."""
        if self._folder is None:
            return True
        said = (decision.mode, decision.reasons)
        detail = '-'
        if said != self._said:
            detail = ' '.join(f'{name}={value}' for name, value in decision.values.items())
        where = _NOWHERE if state is None else (
            f'{state.x:.3f}\t{state.y:.3f}\t{state.yaw:.4f}\t{state.v:.3f}\t{state.w:.3f}')
        command, asked = decision.command, decision.proposal
        kept = self._line(
            now, f'{decision.mode.value}\t'
            f'{",".join([reason.value for reason in decision.reasons]) or "-"}\t'
            f'{decision.override.value}\t{command.v:.4f}\t{command.w:.4f}\t{asked.v:.4f}\t'
            f'{asked.w:.4f}\t{decision.limited:d}\t{decision.stamp}\t{where}', detail)
        if kept:
            self._said = said  # a detail that was lost is written with the next line
        return kept

    def note(self, now: int, text: str) -> bool:
        """Write a line that is no decision: `text` as its detail, mode `note`."""
        if self._folder is None:
            return True
        return self._line(now, 'note' + '\t-' * 13, text)

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            try:
                os.close(fd)
            except OSError:  # what a close reports was lost all the same
                pass

    def _line(self, now: int, middle: str, detail: str) -> bool:
        self._number += 1
        detail = detail.translate(_CONTROLS)
        text = f'{self._number}\t{self._wall()}\t{now}\t{middle}\t{detail}'
        data = text.encode(errors='replace')[:MAX_LINE] + b'\n'
        try:
            if self._fd is None or os.fstat(self._fd).st_nlink == 0:  # someone removed it
                self._open()
            elif self._size + len(data) > self.config.size * _MB:
                self._rotate()
            self._put(data)
        except OSError:
            self.close()
            return False
        return True

    def _wall(self) -> str:
        """Wall time as ISO 8601 in ms; the date is formatted once a second."""
        second, rest = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._date = time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))
        return f'{self._date}.{rest // 1_000_000:03d}Z'

    def _put(self, data: bytes) -> None:
        assert self._fd is not None
        written = os.write(self._fd, data)
        self._size += written
        if written < len(data):
            raise OSError(f'{written} of {len(data)} bytes written')

    def _open(self, number: int = 0) -> None:
        """Open the present file, or the one with `number`; ends a line that was torn."""
        assert self._folder is not None
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        if number == 0:
            known = numbered(self._folder)
            number = known[-1][0] if known else 1
        path = self._folder / f'audit-{number:06d}.log'
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._fd).st_size
        if self._size == 0:
            self._put(f'{HEADER}\n'.encode())
            return
        header = f'{HEADER}\n'.encode()
        if os.pread(self._fd, len(header), 0) != header:  # of another version, or itself torn
            self._open(number + 1)
        elif os.pread(self._fd, 1, self._size - 1) != b'\n':
            self._put(f'{TORN}\n'.encode())

    def _rotate(self) -> None:
        """Go on in the next file and remove the oldest."""
        assert self._folder is not None
        known = numbered(self._folder)
        for _, path in known[:max(len(known) - self.config.files + 1, 0)]:
            path.unlink(missing_ok=True)
        self._open(known[-1][0] + 1 if known else 1)


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The files of a log with their numbers, oldest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def read_audit(folder: Path) -> Iterator[dict[str, str]]:
    """The lines of a log, oldest first, as column -> text; torn ones are passed over."""
    for _, path in numbered(folder):
        for line in path.read_bytes().split(b'\n')[:-1]:  # the last part: nothing, or torn
            text = line.decode(errors='replace')
            cells = text.split('\t')
            if not text.startswith('#') and not text.endswith(TORN) and (
                    len(cells) == len(COLUMNS)):
                yield dict(zip(COLUMNS, cells, strict=True))

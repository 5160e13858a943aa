"""The audit log: whole lines after kill -9 and a full disk, rotation, and reading back."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from karpathy_control.contracts.config.control import AuditConfig
from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.contracts.types import Command, State
from karpathy_control.control import audit
from karpathy_control.control.audit import COLUMNS, HEADER, AuditLog, numbered, read_audit
from karpathy_control.control.controller import Decision

NOW = 12_345_678_901
STATE = State(NOW, 1.5, -2.25, 0.5, 0.8, -0.1)


def decision(reasons=(Reason.GATE_LIMITED, Reason.LIDAR_LOST), values=None):
    return Decision(Command(0.5, -0.25), Mode.CAMERA_ONLY, reasons, Override.POLICY, 777, True,
                    None, {'age_scan_ms': '12'} if values is None else values,
                    np.zeros((0, 3)), Command(1.0, 0.125))


def log_in(folder, size=1, files=3):
    return AuditLog(AuditConfig(str(folder), size, files))


def lines(folder):
    return list(read_audit(folder))


def numbers(folder):
    return [int(row['number']) for row in lines(folder)]


def test_a_line_says_it_all(tmp_path):
    log = log_in(tmp_path / 'new' / 'folder')
    assert log.write(NOW, decision(), STATE) and log.write(NOW + 1, decision())
    log.close()
    first, second = lines(tmp_path / 'new' / 'folder')
    assert first['time'].startswith('20') and first['time'].endswith('Z')
    first.pop('time')
    assert first == {
        'number': '1', 'now_ns': str(NOW), 'mode': 'camera_only',
        'reasons': 'gate_limited,lidar_lost', 'override': 'policy', 'v': '0.5000',
        'w': '-0.2500', 'asked_v': '1.0000', 'asked_w': '0.1250', 'limited': '1',
        'action_ns': '777', 'x': '1.500', 'y': '-2.250', 'yaw': '0.5000', 'odom_v': '0.800',
        'odom_w': '-0.100', 'detail': 'age_scan_ms=12'}
    assert second['x'] == '-' and second['detail'] == '-'  # mode and reasons are the same


def test_the_clock_of_a_line_is_utc_to_the_millisecond(tmp_path, monkeypatch):
    # 2021-03-04T05:06:07Z is 18690 days and 18367 s after 1970
    second = 18690 * 86400 + 18367
    times = iter([1_000_000_000 * second + 89_999_999, 1_000_000_000 * second + 999_000_000,
                  1_000_000_000 * (second + 1) + 1_000_000, 5_000_000, 1_999_999_999_999_999])
    log = log_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(audit.time, 'time_ns', lambda: next(times))
        for _ in range(5):
            log.note(NOW, 'x')
    assert [row['time'] for row in lines(tmp_path)] == [
        '2021-03-04T05:06:07.089Z', '2021-03-04T05:06:07.999Z', '2021-03-04T05:06:08.001Z',
        '1970-01-01T00:00:00.005Z', '1970-01-24T03:33:19.999Z']


def test_the_date_is_formatted_once_a_second(tmp_path, monkeypatch):
    calls = []

    def counted(*arguments, real=time.strftime):
        calls.append(arguments)
        return real(*arguments)

    log = log_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(audit.time, 'time_ns', lambda: 1_700_000_000_500_000_000)
        patch.setattr(audit.time, 'strftime', counted)
        for _ in range(3):
            log.note(NOW, 'x')
    assert len(calls) == 1


def test_a_detail_is_written_when_mode_or_reasons_change(tmp_path):
    log = log_in(tmp_path)
    values = {'age_scan_ms': '12', 'late_odom': '3'}
    log.write(NOW, decision(values=values))
    log.write(NOW, decision(values=values))
    log.write(NOW, decision((), values))
    log.write(NOW, replace(decision((), values), mode=Mode.STOPPED))
    rows = lines(tmp_path)
    says = 'age_scan_ms=12 late_odom=3'
    assert [row['detail'] for row in rows] == [says, '-', says, says]
    assert [row['reasons'] for row in rows] == ['gate_limited,lidar_lost'] * 2 + ['-', '-']
    assert [row['x'] for row in rows] == ['-'] * 4


def test_a_note_carries_its_time_and_nothing_else(tmp_path):
    log_in(tmp_path).note(NOW, 'activated')
    row, = lines(tmp_path)
    row.pop('time')
    assert row == dict.fromkeys(COLUMNS[4:-1], '-') | {
        'number': '1', 'now_ns': str(NOW), 'mode': 'note', 'detail': 'activated'}


def test_no_folder_is_no_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = log_in('')
    assert log.write(NOW, decision()) and log.note(NOW, 'text')
    assert list(tmp_path.iterdir()) == []


def test_text_from_outside_cannot_forge_a_line(tmp_path):
    log = log_in(tmp_path)
    evil = 'x\n2\tfake\u2028\r\x85\udc80' + 'long' * 2000
    assert log.write(NOW, decision(values={'refused': evil})) and log.note(NOW, 'a\tb')
    first, second = lines(tmp_path)
    assert first['detail'].startswith('refused=x 2 fake')
    assert len((tmp_path / 'audit-000001.log').read_bytes()) < 5000
    assert second['mode'] == 'note' and second['detail'] == 'a b'


def test_rotation_keeps_the_newest_files(tmp_path):
    log = log_in(tmp_path, size=1, files=3)
    for _ in range(1000):
        assert log.note(NOW, 'y' * 3700)  # 3.8 MB
    files = numbered(tmp_path)
    assert [n for n, _ in files] == [2, 3, 4]
    assert all(path.stat().st_size <= 1_000_000 for _, path in files)
    assert all(path.read_text().startswith(HEADER + '\n') for _, path in files)
    kept = numbers(tmp_path)
    assert kept == list(range(kept[0], 1001))  # none is missing where files meet


def test_a_file_is_filled_to_its_size_and_not_beyond(tmp_path, monkeypatch):
    log = log_in(tmp_path)
    log.note(NOW, 'first')
    line = len((tmp_path / 'audit-000001.log').read_bytes()) - len(HEADER) - 1
    full = len(HEADER) + 1 + 10 * line  # ten lines of one digit fit... the tenth has two
    monkeypatch.setattr(audit, '_MB', full)
    for _ in range(8):
        log.note(NOW, 'first')
    log.note(NOW, 'firs')  # number 10: one digit more, one letter less
    assert [n for n, _ in numbered(tmp_path)] == [1]
    assert (tmp_path / 'audit-000001.log').stat().st_size == full
    log.note(NOW, 'next')
    assert [n for n, _ in numbered(tmp_path)] == [1, 2] and numbers(tmp_path) == [*range(1, 12)]


def test_a_file_that_was_begun_counts_with_its_size(tmp_path):
    log_in(tmp_path).note(NOW, 'before')
    with open(tmp_path / 'audit-000001.log', 'a') as file:
        file.write('x' * 999_000 + '\n')
    log = log_in(tmp_path)
    for _ in range(3):
        assert log.note(NOW, 'y' * 600)  # the file has room for none of them but the first
    assert [n for n, _ in numbered(tmp_path)] == [1, 2]


def test_rotation_outlives_files_that_vanish(tmp_path, monkeypatch):
    log = log_in(tmp_path, files=2)
    monkeypatch.setattr(audit, '_MB', 500)
    gone = [(0, tmp_path / 'audit-000000.log'), (1, tmp_path / 'audit-000001.log')]
    assert log.note(NOW, 'z' * 300)
    with monkeypatch.context() as patch:
        patch.setattr(audit, 'numbered', lambda folder: gone)  # as another process removes it
        assert log.note(NOW, 'z' * 300)
    with monkeypatch.context() as patch:
        patch.setattr(audit, 'numbered', lambda folder: [])
        assert log.note(NOW, 'z' * 300)
    assert numbers(tmp_path) == [1, 3, 2]  # file 2 came after 1; without any it begins at 1


def test_a_file_is_for_all_to_read_and_for_its_owner_to_write(tmp_path):
    before = os.umask(0)
    try:
        log_in(tmp_path).note(NOW, 'x')
    finally:
        os.umask(before)
    assert (tmp_path / 'audit-000001.log').stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize('tail', ['7\thalf a li', 'x'])
def test_a_torn_tail_of_another_process_is_ended_too(tmp_path, tail):
    log_in(tmp_path).note(NOW, 'whole')
    path = tmp_path / 'audit-000001.log'
    with open(path, 'a') as file:
        file.write(tail)
    assert log_in(tmp_path).note(NOW, 'next')
    assert path.read_text().splitlines()[2] == tail + audit.TORN
    assert [row['detail'] for row in lines(tmp_path)] == ['whole', 'next']


def test_bytes_that_are_no_text_are_read_as_marks(tmp_path):
    log_in(tmp_path).note(NOW, 'x')
    path = tmp_path / 'audit-000001.log'
    path.write_bytes(path.read_bytes().replace(b'\tx\n', b'\t\xff\n'))
    assert [row['detail'] for row in lines(tmp_path)] == ['\ufffd']


def test_a_new_process_goes_on_in_the_same_file(tmp_path):
    for _ in range(3):  # a node that dies at once must not rotate the past away
        log = log_in(tmp_path)
        assert log.note(NOW, 'start')
        log.close()
    assert len(numbered(tmp_path)) == 1 and len(lines(tmp_path)) == 3
    text = numbered(tmp_path)[0][1].read_text()
    assert text.count('\n') == 4 and '\n\n' not in text  # nothing was torn, nothing is mended


def test_a_file_with_other_columns_is_left_alone(tmp_path):
    old = tmp_path / 'audit-000007.log'
    old.write_text('#number\told\n1\t2\n')
    assert log_in(tmp_path).note(NOW, 'new')
    assert old.read_text() == '#number\told\n1\t2\n'
    assert [n for n, _ in numbered(tmp_path)] == [7, 8]


def test_a_removed_folder_is_made_again(tmp_path):
    folder = tmp_path / 'log'
    log = log_in(folder)
    assert log.note(NOW, 'first')
    shutil.rmtree(folder)
    assert log.note(NOW, 'second')
    assert [row['detail'] for row in lines(folder)] == ['second']


def test_a_place_that_cannot_be_a_folder_is_false_until_it_can(tmp_path):
    place = tmp_path / 'log'
    place.write_text('a file')
    log = log_in(place)
    assert not log.write(NOW, decision())
    assert not log.note(NOW, 'lost')
    place.unlink()
    assert log.write(NOW, decision())
    assert numbers(place) == [3]
    assert lines(place)[0]['detail'] == 'age_scan_ms=12'


def test_a_full_disk_is_false_and_ends(tmp_path):
    path = tmp_path / 'audit-000001.log'
    path.symlink_to('/dev/full')
    log = log_in(tmp_path)
    assert not log.note(NOW, 'lost') and not log.note(NOW, 'lost')
    path.unlink()
    assert log.note(NOW, 'kept')
    assert numbers(tmp_path) == [3]


def test_an_error_of_the_device_is_false(tmp_path, monkeypatch):
    log = log_in(tmp_path)
    assert log.note(NOW, 'first')

    def broken(*_):
        raise OSError(5, 'EIO')

    with monkeypatch.context() as patch:
        patch.setattr(audit.os, 'write', broken)
        assert not log.note(NOW, 'lost')
    assert log.note(NOW, 'third')
    assert numbers(tmp_path) == [1, 3]


def test_a_half_written_line_is_false_and_ended_before_the_next(tmp_path):
    """The system writes what fits; the rest is missing, as on a full disk."""
    log = log_in(tmp_path)
    assert log.note(NOW, 'first')
    path = tmp_path / 'audit-000001.log'
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        assert not log.note(NOW, 'second')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes()[-1:] != b'\n'
    assert log.note(NOW, 'third')
    assert numbers(tmp_path) == [1, 3] and path.read_text().count(audit.TORN + '\n') == 1


def test_closing_what_was_closed_is_no_error(tmp_path):
    log = log_in(tmp_path)
    log.close()
    log.note(NOW, 'first')
    os.close(log._fd)  # behind its back
    log.close()
    assert log.note(NOW, 'second') and numbers(tmp_path) == [1, 2]
    log.close()


LIMITED = '''
import resource, sys
from karpathy_control.contracts.config.control import AuditConfig
from karpathy_control.control.audit import AuditLog
log = AuditLog(AuditConfig(sys.argv[1], 1, 3))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
kept = [log.note(1, 'z' * 200) for _ in range(8)]  # torn at 1000 bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept += [log.note(1, 'again') for _ in range(2)]
print(*map(int, kept))
'''


def test_a_torn_line_is_ended_before_the_next(tmp_path):
    """A file size limit cuts a write in two, as a full disk does."""
    done = subprocess.run([sys.executable, '-c', LIMITED, str(tmp_path)], capture_output=True,
                          text=True, check=True)
    kept = [n + 1 for n, ok in enumerate(done.stdout.split()) if ok == '1']
    assert 1 in kept and kept[-2:] == [9, 10] and len(kept) < 10
    assert numbers(tmp_path) == kept
    text = (tmp_path / 'audit-000001.log').read_text()
    assert text.count(audit.TORN + '\n') == 1 and text.endswith('again\n')


WRITER = '''
import sys
from karpathy_control.contracts.config.control import AuditConfig
from karpathy_control.control.audit import AuditLog
log = AuditLog(AuditConfig(sys.argv[1], 1, 50))
while True:
    assert log.note(1, 'line ' * 50)
'''


def test_kill_9_leaves_whole_lines(tmp_path):
    expected = 0
    for _ in range(4):
        child = subprocess.Popen([sys.executable, '-c', WRITER, str(tmp_path)])
        before = sum(path.stat().st_size for _, path in numbered(tmp_path))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (
                sum(path.stat().st_size for _, path in numbered(tmp_path)) < before + 300_000):
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        expected += 1
    rows = lines(tmp_path)
    assert all(row['detail'] == 'line ' * 50 for row in rows)
    # The numbers of each process are without a gap: nothing was lost before the kill.
    starts = [i for i, row in enumerate(rows) if row['number'] == '1']
    assert len(starts) == expected
    for begin, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        assert [int(row['number']) for row in rows[begin:end]] == list(range(1, end - begin + 1))
    whole = sum(path.read_bytes().count(b'\n') for _, path in numbered(tmp_path))
    torn = whole - len(rows) - len(numbered(tmp_path))  # less one header a file
    assert torn <= expected  # at a page boundary only, see the module


def test_what_is_not_a_file_of_the_log_is_not_read(tmp_path):
    (tmp_path / 'audit-1.log').write_text('1\n')
    (tmp_path / 'other.txt').write_text('1\n')
    log_in(tmp_path).note(NOW, 'x')
    with open(tmp_path / 'audit-000001.log', 'a') as file:
        file.write('too\tfew\n' + '\t'.join(COLUMNS))  # the last one is not ended
    assert len(lines(tmp_path)) == 1


@pytest.mark.skipif(os.environ.get('NUMBA_DISABLE_JIT') == '1', reason='measured with coverage')
def test_a_line_costs_microseconds(tmp_path):
    log, made = log_in(tmp_path, 100), decision()
    log.write(NOW, made, STATE)
    best = float('inf')
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(1000):
            log.write(NOW, made, STATE)
        best = min(best, (time.perf_counter() - start) / 1000)
    print(f'{1e6 * best:.1f} us a line')
    assert best < 60e-6  # 20 us on an idle machine; three times that where it is busy
    assert Path(tmp_path, 'audit-000001.log').stat().st_size > 0

"""Abandoned shared memory is told from what is in use by locks and mappings."""

import fcntl
import mmap
import os
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest

from karpathy_control.bringup import shared_memory
from karpathy_control.bringup.shared_memory import (
    abandoned,
    belonging,
    files,
    held,
    remove_abandoned,
    retire_dead_ports,
    retire_port,
    size,
)

DEAD, ALIVE, YOUNG = (f'fastdds_{digit * 16}' for digit in 'abc')
PORTS = ('fastdds_port7412', 'fastdds_port7413', 'fastdds_port7414')


@pytest.fixture
def folder(tmp_path):
    for name in (DEAD, ALIVE):
        (tmp_path / name).write_bytes(bytes(4096))
        (tmp_path / f'{name}_el').touch()
    (tmp_path / YOUNG).write_bytes(bytes(4096))  # its lock file is not there yet
    for name in PORTS:
        (tmp_path / name).write_bytes(bytes(4096))
        (tmp_path / f'sem.{name}_mutex').touch()
    (tmp_path / f'{PORTS[0]}_el').touch()
    (tmp_path / 'other').touch()
    with (tmp_path / f'{ALIVE}_el').open() as lock, (tmp_path / PORTS[1]).open('rb') as port, \
            mmap.mmap(port.fileno(), 4096, access=mmap.ACCESS_READ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


def names(found):
    return [path.name for path in found]


def test_a_segment_without_its_owner_is_abandoned(folder):
    assert names(abandoned(folder, 0.0)) == [f'{DEAD}_el', DEAD]
    assert abandoned(folder) == []  # too young


def test_what_is_known_to_be_of_a_dead_process_is_abandoned_at_any_age(folder):
    assert names(abandoned(folder, known={DEAD, ALIVE})) == [f'{DEAD}_el', DEAD]
    assert remove_abandoned(folder, ports=True, known={PORTS[2]}) == 4096
    assert PORTS[2] not in names(files(folder))


def test_a_process_holds_what_it_has_mapped_even_once_it_is_removed(folder):
    assert held(os.getpid(), folder) == {PORTS[1]}
    (folder / PORTS[1]).unlink()
    assert held(os.getpid(), folder) == {PORTS[1]}


def test_a_process_that_has_ended_holds_nothing(folder):
    child = subprocess.Popen([sys.executable, '-c', ''])
    child.wait()
    assert held(child.pid, folder) == set()


def test_locks_and_semaphores_belong_to_their_segment_or_port(folder):
    assert names(belonging({DEAD, PORTS[0]}, folder)) == [
        DEAD, f'{DEAD}_el', PORTS[0], f'{PORTS[0]}_el', f'sem.{PORTS[0]}_mutex']


def test_ports_only_where_asked_for_and_mapped_by_nobody(folder):
    assert names(abandoned(folder, 0.0, ports=True)) == [
        f'{DEAD}_el', DEAD, f'{PORTS[0]}_el', PORTS[0], f'sem.{PORTS[0]}_mutex', PORTS[2],
        f'sem.{PORTS[2]}_mutex']


def test_removal_leaves_what_is_in_use(folder):
    assert remove_abandoned(folder, 0.0, ports=True) == 3 * 4096
    assert names(files(folder)) == [ALIVE, f'{ALIVE}_el', YOUNG, PORTS[1],
                                    f'sem.{PORTS[1]}_mutex']
    assert remove_abandoned(folder, 0.0, ports=True) == 0
    assert (folder / 'other').exists()


def test_the_size_of_files_leaves_out_what_is_gone(folder):
    assert size([folder / DEAD, folder / 'gone', folder / ALIVE]) == 2 * 4096


def test_no_folder_is_no_error(tmp_path):
    assert remove_abandoned(tmp_path / 'none', ports=True) == 0


def port_file(folder, port, number=None, check=250, wait=83, flags=5, before=0x114):
    """A port as Fast DDS lays it out: what is before does not matter here."""
    node = struct.pack('<7I', port if number is None else number, 9, check, wait, 512, 9, flags)
    (folder / f'fastdds_port{port}').write_bytes(bytes(before) + node + bytes(64))


def test_a_shared_port_is_marked_as_broken_and_nothing_else_is_touched(tmp_path):
    # the number of the port also occurs before its description, as other things do in a ring
    port_file(tmp_path, 14150)
    path = tmp_path / 'fastdds_port14150'
    path.write_bytes(struct.pack('<I', 14150) + path.read_bytes()[4:])
    before = path.read_bytes()
    assert retire_port(14150, tmp_path)
    after = path.read_bytes()
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed == [0x114 + 24]
    assert after[changed[0]] == 4  # no longer well, still one that many read
    assert not retire_port(14150, tmp_path)  # once is enough


@pytest.mark.parametrize('change', [
    {'number': 14151}, {'check': 0, 'wait': 0}, {'wait': 84}, {'flags': 3}, {'flags': 0x105},
    {'flags': 6}, {'before': 0x113}])
def test_what_is_not_known_is_left_alone(tmp_path, change):
    port_file(tmp_path, 14150, **change)
    before = (tmp_path / 'fastdds_port14150').read_bytes()
    assert not retire_port(14150, tmp_path)
    assert (tmp_path / 'fastdds_port14150').read_bytes() == before


def test_a_port_that_is_not_there_or_cut_short(tmp_path):
    assert not retire_port(14150, tmp_path)
    (tmp_path / 'fastdds_port14150').touch()
    assert not retire_port(14150, tmp_path)
    (tmp_path / 'fastdds_port14150').write_bytes(struct.pack('<I', 14150))
    assert not retire_port(14150, tmp_path)


def test_ports_of_the_dead_are_marked_and_those_of_the_living_are_not(tmp_path):
    for port, flags in ((14160, 7), (14162, 7), (14164, 7), (14166, 5)):
        port_file(tmp_path, port, flags=flags)
    for port in (14160, 14162, 14170):  # of the last nothing but the lock is left
        (tmp_path / f'fastdds_port{port}_el').touch()
    with (tmp_path / 'fastdds_port14162_el').open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert retire_dead_ports(tmp_path) == 1
        assert retire_dead_ports(tmp_path) == 0

    def flags_of(port):
        return (tmp_path / f'fastdds_port{port}').read_bytes()[0x114 + 24]

    # one without a lock has many listeners, or its one listener has yet to lock it
    assert [flags_of(port) for port in (14160, 14162, 14164, 14166)] == [6, 7, 7, 5]


def test_without_room_the_port_of_discovery_is_left(tmp_path, monkeypatch):
    """Nobody could open it anew; the ports of the dead go all the same."""
    retired = []
    monkeypatch.setattr(shared_memory, 'retire_port', lambda port, folder: retired.append(port))
    monkeypatch.setattr(shared_memory, 'retire_dead_ports', lambda folder: retired.append('dead'))
    room = os.statvfs(tmp_path)
    blocks = -(-shared_memory.ROOM // room.f_frsize)
    for free, done in ((blocks - 1, False), (blocks, True)):
        monkeypatch.setattr(shared_memory.os, 'statvfs', lambda folder, free=free: SimpleNamespace(
            f_bavail=free, f_frsize=room.f_frsize))
        assert shared_memory.bury(7400, tmp_path) == done
    assert retired == ['dead', 'dead', 7400]

"""Abandoned shared memory is told from what is in use by locks and mappings."""

import fcntl
import mmap

import pytest

from karpathy_control.bringup.shared_memory import abandoned, files, remove_abandoned

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


def test_no_folder_is_no_error(tmp_path):
    assert remove_abandoned(tmp_path / 'none', ports=True) == 0

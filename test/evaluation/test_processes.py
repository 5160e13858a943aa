"""What the kernel says of processes, on this one and on children of it."""

import mmap
import os
import signal
import subprocess
import sys

import pytest

from karpathy_control.evaluation.processes import descriptors, marked, memory

MB = 1_000_000


def sleeper(**environment):
    """A child that has said that it is there."""
    child = subprocess.Popen([sys.executable, '-c', 'print(flush=True); input()', 'here'],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env={**os.environ, **environment})
    child.stdout.readline()
    return child


@pytest.fixture
def child():
    process = sleeper(KARPATHY_CONTROL_TEST=str(os.getpid()))
    yield process
    process.communicate()


def test_memory_counts_what_is_used_and_gives_it_back():
    before = memory(os.getpid())
    block = mmap.mmap(-1, 32 * MB, flags=mmap.MAP_PRIVATE)
    assert memory(os.getpid()) - before < 4 * MB  # reserved alone is not used
    for _ in range(32):  # in pieces: one large piece would stay in the heap as well
        block.write(bytes(MB))
    assert 28 * MB < memory(os.getpid()) - before < 40 * MB
    block.close()
    assert memory(os.getpid()) - before < 4 * MB


def test_descriptors_counts_open_files():
    before = descriptors(os.getpid())
    with open(os.devnull):
        assert descriptors(os.getpid()) == before + 1


def test_only_what_was_started_with_the_mark_is_found(child):
    found = marked('KARPATHY_CONTROL_TEST', str(os.getpid()))
    assert list(found) == [child.pid] and found[child.pid].endswith('here')
    assert marked('KARPATHY_CONTROL_TEST', f'{os.getpid()}0') == {}


def test_what_has_ended_is_told_apart():
    process = sleeper(KARPATHY_CONTROL_TEST='ended')
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert memory(process.pid) is None and descriptors(process.pid) is None
    assert marked('KARPATHY_CONTROL_TEST', 'ended') == {}

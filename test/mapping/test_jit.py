"""The kernel cache: a change in a helper of another file is never missed."""

import os
import subprocess
import sys

import numba
import pytest

from karpathy_control.mapping.jit import kernel, source_key

HELPER = '''
from karpathy_control.mapping.jit import kernel

@kernel
def number():
    return {}
'''
CALLER = '''
from karpathy_control.mapping.jit import kernel
from helper import number

@kernel
def answer():
    return 10 * number()

'''


def test_the_cache_notices_a_changed_helper(tmp_path):
    (tmp_path / 'caller.py').write_text(CALLER)
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])}
    environment.pop('NUMBA_CACHE_DIR', None)
    for value in (1, 2):
        (tmp_path / 'helper.py').write_text(HELPER.format(value))
        done = subprocess.run([sys.executable, '-c', 'import caller; print(caller.answer())'],
                              cwd=tmp_path, env=environment, capture_output=True, text=True,
                              check=True)
        assert done.stdout.strip() == str(10 * value)
    # caller.py in two states and helper.py in two states
    assert len(list((tmp_path / '__pycache__').glob('kernels-*'))) == 4


def test_the_key_follows_what_is_imported_and_nothing_else(tmp_path):
    source = tmp_path / 'a.py'
    source.write_text('from b import x\n')
    (tmp_path / 'b.py').write_text('import c\n')
    (tmp_path / 'c.py').write_text('import a\nx = 1\n')  # a circle ends

    def key():
        source_key.cache_clear()
        return source_key(source)

    before = key()
    (tmp_path / 'd.py').write_text('not imported')
    assert key() == before
    (tmp_path / 'c.py').write_text('import a\nx = 2\n')
    assert key() != before


def test_numba_is_left_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, 'CACHE_DIR', str(tmp_path))

    @kernel
    def twice(x):
        return x + x

    assert numba.config.CACHE_DIR == str(tmp_path)
    assert kernel(parallel=True).keywords == {'parallel': True}


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason='nothing is compiled')
def test_kernels_release_the_gil_and_do_not_reorder_nan():
    options = source_options()
    assert options['nogil'] and not options.get('fastmath', False)


def source_options():
    from karpathy_control.mapping.rolling import clear_ray

    return clear_ray.targetoptions

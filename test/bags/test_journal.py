import base64
import io
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from karpathy_control.bags import journal as j
from karpathy_control.contracts.config import ConfigError

CHUNK = j.Chunk('policy', 7, 0, {'reflex': True}, 'abc', {'numpy': '2'}, [
    ['reset'], ['state', 5, 'x'], ['set', 5, ['scan', 'state'], True], ['release', 1, 2],
    ['message', 'scan', 3, 4], ['parameters', {'reflex': False}]])


def test_a_chunk_is_read_as_it_was_written():
    assert j.parse(CHUNK.text()) == CHUNK


@pytest.mark.parametrize('events', [
    [['moved', 1]], [['reset', 1]], [['state', 5]], [['set', 5, 'scan', True]], [[]], [5],
    [['release', 1.5, 2]]])
def test_other_events_are_refused(events):
    with pytest.raises(ConfigError, match='not a chunk of a journal'):
        j.parse(replace(CHUNK, events=events).text())


@pytest.mark.parametrize('text', ['', 'null', '[]', '{}', '{"node": 1}', 'NaN', '{' * 1000,
                                  json.dumps({**vars(CHUNK), 'more': 1}),
                                  json.dumps({**vars(CHUNK), 'run': 'x'})])
def test_what_is_no_chunk_is_refused(text):
    with pytest.raises(ConfigError, match='not a chunk of a journal'):
        j.parse(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(ConfigError):
        j.parse(text)


@given(st.dictionaries(st.text('abc.', min_size=1, max_size=5), st.one_of(
    arrays(np.float32, array_shapes(max_side=4)), arrays(np.int64, array_shapes(max_side=4)),
    arrays(np.bool_, ()), arrays(np.float64, (0, 3))), max_size=4))
def test_a_state_is_unpacked_bit_for_bit(state):
    found = j.unpack(j.pack(state))
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def packed(data):
    return base64.b64encode(zlib.compress(data)).decode()


def objects():
    file = io.BytesIO()
    np.savez(file, x=np.array([{}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize('text', [
    '', '!', packed(b'nothing'), packed(b''), j.pack({'x': np.zeros(9)})[:-8],
    packed(bytes(j.MOST_STATE + 1)), packed(objects())])
def test_what_is_no_state_is_refused(text):
    with pytest.raises(ConfigError, match='state of a journal'):
        j.unpack(text)

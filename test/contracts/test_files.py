"""Hostile text, YAML and XML: refused by name, quickly, whatever it says."""

import os
import time

import pytest

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import MAX_DEPTH, MAX_YAML, read_text, read_yaml, xml_paths

LAUGHS = 'a: &a0 [ha, ha]\n' + ''.join(
    f'b{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 12))


def refusal(folder, text):
    """Why a YAML file is refused."""
    path = folder / 'outside.yaml'
    path.write_text(text)
    begin = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert time.monotonic() - begin < 10.0
    assert str(path) in str(caught.value) and len(str(caught.value)) < 1000
    return str(caught.value)


def test_plain_values_are_read(tmp_path):
    path = tmp_path / 'plain.yaml'
    path.write_text('a: {b: [1, 2.5, true, null, text], c: .inf}\n"1": x\n')
    assert read_yaml(path) == {'a': {'b': [1, 2.5, True, None, 'text'], 'c': float('inf')},
                               '1': 'x'}
    path.write_text('# nothing')
    assert read_yaml(path) is None


@pytest.mark.parametrize(('text', 'said'), [
    (LAUGHS, 'line 2: an alias'),
    ('a: &x {<<: *x}', 'alias'),
    ('base: &b {c: 1}\na:\n  <<: *b\n', 'line 3: an alias'),
    ('a: 1\nb: 2\na: 3\n', "line 3: key 'a' is given twice"),
    ('x: {a: 1, "a": 2}', 'given twice'),
    ('1: a', "key '1' is not text"),
    ('true: a', 'not text'),
    ('~: a', 'not text'),
    ('[a, b]: c', 'not text'),
    ('? {a: 1}\n: 2', 'not text'),
    ('<<: {a: 1}', 'not text'),
    ('a: ' + '[' * 45 + ']' * 45, f'nested deeper than {MAX_DEPTH}'),
    ('a: ' + '[' * 90_000, f'nested deeper than {MAX_DEPTH}'),
    ('a: !!python/object/apply:os.system ["true"]', 'not readable as YAML'),
    ('a: !!python/name:os.system', 'not readable as YAML'),
    ('a: !own {}', 'not readable as YAML'),
    ('a: 2001-99-99', 'not readable as YAML'),
    ('a: ' + '9' * 5000, 'not readable as YAML'),
    ('a:\n- -9223372036854775808', 'line 2'),
    ('a: ' + '9' * 400, '64 bits'),
    ('a: 1\n---\nb: 2', 'not readable as YAML'),
    ('a: \x00', 'not readable as YAML'),
    ('{', 'not readable as YAML'),
    ('a: ' + 'x' * MAX_YAML, f'larger than {MAX_YAML} bytes'),
])
def test_hostile_yaml_is_refused(tmp_path, text, said):
    assert said in refusal(tmp_path, text)


def test_the_largest_file_is_read_in_bounded_time(tmp_path):
    path = tmp_path / 'large.yaml'
    path.write_text('- ' + '[' * 30 + ']' * 30 + '\n' + '- []\n' * ((MAX_YAML - 100) // 5))
    begin = time.process_time()
    assert len(read_yaml(path)) > 30_000
    assert time.process_time() - begin < 15.0


def test_what_is_no_file_of_text_is_refused(tmp_path):
    (tmp_path / 'binary').write_bytes(b'\xff\xfe')
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'loop').symlink_to('loop')
    for name, said in (('binary', 'UTF-8'), ('pipe', 'regular file'), ('none', 'not readable'),
                       ('loop', 'not readable'), ('.', 'regular file')):
        with pytest.raises(ConfigError, match=said):
            read_text(tmp_path / name)
    with pytest.raises(ConfigError, match='regular file'):
        read_yaml(tmp_path.__class__('/dev/zero'))


def test_paths_of_an_xml_text():
    assert xml_paths('<a><b/><c><b/></c></a>', 'text') == [
        ('a',), ('a', 'b'), ('a', 'c'), ('a', 'c', 'b')]


@pytest.mark.parametrize(('text', 'said'), [
    ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 'document type definition'),
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', 'document type definition'),
    ('<a>&b;</a>', 'not well-formed'),
    ('<a>', 'not well-formed'),
    ('', 'not well-formed'),
    ('<a/><a/>', 'not well-formed'),
    ('<a>' * (MAX_DEPTH + 1) + '</a>' * (MAX_DEPTH + 1), 'nested'),
    ('<a>' + '<b/>' * 20_000 + '</a>', 'in all'),
])
def test_hostile_xml_is_refused(text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        xml_paths(text, 'the file')
    assert 'the file' in str(caught.value)

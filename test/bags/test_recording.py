"""Bags against rosbags' own reader; cut off at every place; bounded."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from karpathy_control.bags import recording as b
from karpathy_control.bringup.record import parse
from karpathy_control.cli import run
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.interfaces import TOPICS

STORE = get_typestore(Stores.ROS2_KILTED)
OFFERED = b.Offered(False, False, 5)
TWIST = 'geometry_msgs/msg/Twist'
Twist, Vector3 = STORE.types[TWIST], STORE.types['geometry_msgs/msg/Vector3']


def twist(v):
    message = Twist(linear=Vector3(x=v, y=0.0, z=0.0), angular=Vector3(x=0.0, y=0.0, z=-v))
    return bytes(STORE.serialize_cdr(message, TWIST))


def read(folder):
    """(topic, time, v) of every message, by rosbags."""
    with AnyReader([folder]) as reader:
        return [(c.topic, time, reader.deserialize(data, c.msgtype).linear.x)
                for c, time, data in reader.messages()]


def write(folder, count, **options):
    with b.BagWriter(folder, **options) as bag:
        for k in range(count):
            bag.write('/cmd_vel' if k % 2 else '/other', TWIST, OFFERED, 1000 + k, twist(0.1 * k))
    return [('/cmd_vel' if k % 2 else '/other', 1000 + k, 0.1 * k) for k in range(count)]


def test_what_is_written_is_read_by_rosbags(tmp_path):
    expected = write(tmp_path / 'drive', 50)
    assert read(tmp_path / 'drive') == expected
    with AnyReader([tmp_path / 'drive']) as reader:
        assert reader.message_count == 50 and reader.duration == 50
        assert {c.topic: c.msgcount for c in reader.connections} == {'/cmd_vel': 25, '/other': 25}


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_recording import OFFERED, TWIST, b, twist
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
bag = b.BagWriter(Path(sys.argv[2]))
kept = 0
try:
    for k in range(10_000):
        bag.write('/cmd_vel', TWIST, OFFERED, k, twist(float(k * k % 977)))
        if k % 20 == 19:
            bag.flush()
            kept = k + 1
except OSError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, limits)  # there is room again: too late
bag.close()
print(kept)
"""


def test_a_full_disk_leaves_what_was_flushed_and_no_file_that_looks_whole(tmp_path):
    """Files of this process may not grow beyond 20 kB, which ends in the midst of a chunk."""
    done = subprocess.run([sys.executable, '-c', FULL, str(Path(__file__).parent),
                           str(tmp_path / 'drive')], check=True, capture_output=True, text=True)
    kept = int(done.stdout)
    assert kept > 100 and [p.name for p in b.recover(tmp_path / 'drive')] == ['drive_0.mcap']
    found = read(tmp_path / 'drive')
    assert len(found) >= kept
    assert found == [('/cmd_vel', k, float(k * k % 977)) for k in range(len(found))]


def test_every_type_of_the_interface_table_has_a_definition():
    for row in TOPICS:
        assert b.definition(row.type).strip(), row.name
    with pytest.raises(ConfigError, match='nobody_msgs/msg/Thing'):
        b.definition('nobody_msgs/msg/Thing')


@pytest.fixture(scope='module')
def killed(tmp_path_factory):
    """A recording of ten chunks of four messages that was never closed, and the chunks' ends."""
    folder = tmp_path_factory.mktemp('bags') / 'drive'
    bag = b.BagWriter(folder)
    (path,) = folder.glob('*.mcap')
    ends = []
    for k in range(40):
        bag.write('/cmd_vel', TWIST, OFFERED, 1000 + k, twist(float(k)))
        if k % 4 == 3:
            bag.flush()
            ends.append(path.stat().st_size)
    return path, ends


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.0, 1.0))
def test_wherever_it_was_cut_off_every_whole_chunk_is_kept(killed, share, tmp_path_factory):
    path, ends = killed
    folder = tmp_path_factory.mktemp('cut') / 'drive'
    folder.mkdir()
    length = round(share * ends[-1])
    (folder / path.name).write_bytes(path.read_bytes()[:length])
    whole = sum(end <= length for end in ends)
    mended = b.recover(folder)
    assert [p.name for p in mended] == [path.name]
    if not whole:
        # a chunk may be whole while the indices behind it are not
        assert not list(folder.glob('*.mcap')) or len(read(folder)) == 4
        return
    found = read(folder)
    assert found[:4 * whole] == [('/cmd_vel', 1000 + k, float(k)) for k in range(4 * whole)]
    assert len(found) in (4 * whole, 4 * whole + 4)
    assert b.recover(folder) == []  # there is nothing left to mend


def test_a_file_that_is_whole_is_left_alone(tmp_path, capsys):
    expected = write(tmp_path / 'drive', 10)
    before = {p: p.read_bytes() for p in (tmp_path / 'drive').glob('*.mcap')}
    (tmp_path / 'drive' / b.METADATA).unlink()
    assert run(['record', '--recover', str(tmp_path / 'drive')]) == 0
    assert json.loads(capsys.readouterr().out)['mended'] == []
    assert {p: p.read_bytes() for p in before} == before and read(tmp_path / 'drive') == expected


def test_the_folder_never_grows_beyond_its_bound_and_the_newest_stays(tmp_path):
    """Incompressible images of 0.3 MB; 30 MB of them into files of 2 MB, 8 MB in all."""
    kind = 'sensor_msgs/msg/Image'
    rng = np.random.default_rng(0)
    image = STORE.types[kind]
    header = STORE.types['std_msgs/msg/Header'](
        stamp=STORE.types['builtin_interfaces/msg/Time'](sec=1, nanosec=0), frame_id='')
    folder = tmp_path / 'drive'
    with b.BagWriter(folder, 8 * b.MB, 2 * b.MB) as bag:
        for k in range(100):
            data = rng.integers(0, 256, 300_000, dtype=np.uint8)
            bag.write('/image', kind, OFFERED, k, bytes(STORE.serialize_cdr(
                image(header=header, height=1, width=300_000, encoding='mono8', is_bigendian=0,
                      step=300_000, data=data), kind)))
            bag.flush()
            assert sum(p.stat().st_size for p in b.bag_files(folder)) < 8 * b.MB
    with AnyReader([folder]) as reader:
        times = [time for _, time, _ in reader.messages()]
    assert times == list(range(times[0], 100)) and 10 < len(times) < 30


@pytest.mark.parametrize(('arguments', 'said'), [
    (['--topics', 'scan,moon'], "--topics 'moon': it takes camera/image_raw"),
    (['--recover', '/nowhere'], '/nowhere: holds no recording'),
    (['--recover', str(Path(__file__).parent)], 'holds no recording'),
])
def test_what_is_not_accepted_is_said(arguments, said, capsys):
    assert run(['record', *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(ConfigError, match='is not empty'):
        b.BagWriter(tmp_path)
    with pytest.raises(ConfigError, match='room for two'):
        b.BagWriter(tmp_path / 'new', 3 * b.MB, 2 * b.MB)


def test_pictures_for_people_are_left_out_unless_asked_for():
    assert 'perception/overlay' not in parse([]).topics and 'scan' in parse([]).topics
    assert parse(['--topics', 'perception/overlay']).topics == ['perception/overlay']

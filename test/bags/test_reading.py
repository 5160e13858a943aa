import numpy as np
import pytest
from test_recording import OFFERED, TWIST, twist, write

from karpathy_control.bags.reading import BagMessage, read_bag
from karpathy_control.bags.recording import CHUNK, BagWriter, bag_files
from karpathy_control.contracts.config import ConfigError


def test_messages_come_as_they_were_written(tmp_path):
    expected = write(tmp_path / 'bag', 30)
    assert list(read_bag(tmp_path / 'bag')) == [
        BagMessage(topic, TWIST, time, twist(v)) for topic, time, v in expected]


def test_several_files_are_one_bag(tmp_path):
    """2.5 MB that do not compress, in files of 1 MiB."""
    rng = np.random.default_rng(0)
    with BagWriter(tmp_path / 'bag', 4 * CHUNK, CHUNK) as bag:
        for k in range(25):
            bag.write('/noise', TWIST, OFFERED, k, rng.bytes(100_000))
            bag.flush()
    assert len(bag_files(tmp_path / 'bag')) > 2
    assert [m.received for m in read_bag(tmp_path / 'bag')] == list(range(25))


def test_no_bag_or_half_a_bag_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='nowhere: holds no recording'):
        list(read_bag(tmp_path / 'nowhere'))
    write(tmp_path / 'bag', 300)
    path = bag_files(tmp_path / 'bag')[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(ConfigError, match=r'was cut off; mend it with .*--recover'):
        list(read_bag(tmp_path / 'bag'))
    path.write_bytes(whole[:100] + bytes(len(whole) - 108) + whole[-8:])
    with pytest.raises(ConfigError, match='not a whole MCAP file'):
        list(read_bag(tmp_path / 'bag'))

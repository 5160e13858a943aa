import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from karpathy_control.bags.shelf import HELD, Item, Shelf, header_stamp

STORE = get_typestore(Stores.ROS2_KILTED)
POINT = 'geometry_msgs/msg/PointStamped'


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1), st.text('abc', max_size=9),
       st.booleans())
def test_the_stamp_is_the_one_that_rosbags_reads(sec, nanosec, frame, little):
    types = STORE.types
    header = types['std_msgs/msg/Header'](
        stamp=types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec), frame_id=frame)
    message = types[POINT](header=header, point=types['geometry_msgs/msg/Point'](x=1., y=2., z=3.))
    data = bytes(STORE.serialize_cdr(message, POINT, little_endian=little))
    assert header_stamp(data) == sec * 10**9 + nanosec


@pytest.mark.parametrize('data', [b'', bytes(11), b'\0\1\0\0\xff\xff\xff\xff' + bytes(4),
                                  b'\0\1\0\0' + bytes(4) + b'\xff\xff\xff\xff'])
def test_no_stamp_is_refused(data):
    with pytest.raises(ValueError, match=r'stamp|bytes'):
        header_stamp(data)


def shelf(*stream, known=True):
    listed = [Item(topic, stamp, came, content) for topic, stamp, came, content in stream]
    read = iter(listed)
    return Shelf(read, {(i.topic, i.stamp) for i in listed} if known else None), read


def test_it_reads_no_further_than_it_must():
    made, rest = shelf(('a', 1, 1, 'x'), ('b', 2, 2, 'y'), ('a', 3, 3, 'z'))
    assert made.take('b', 2) == 'y' and made.take('a', 1) == 'x'
    assert next(rest).content == 'z'


def test_what_never_comes_is_known_at_once():
    made, rest = shelf(('a', 1, 1, 'x'))
    assert made.take('a', 2) is None and made.take('b', 1) is None
    assert next(rest).content == 'x'


def test_without_an_index_a_later_stamp_says_that_it_will_not_come():
    made, rest = shelf(('a', 1, 1, 'x'), ('a', 3, 3, 'y'), ('a', 2, 4, 'z'), known=False)
    assert made.take('a', 2) is None  # 3 came
    assert next(rest).content == 'z'


def test_several_with_one_stamp_come_in_turn_and_the_last_one_stays():
    made, _ = shelf(('a', 1, 1, 'x'), ('a', 1, 2, 'y'), ('b', 1, 3, 'z'))
    made.take('b', 1)
    assert [made.take('a', 1) for _ in range(3)] == ['x', 'y', 'y']


def test_the_old_is_let_go_but_for_what_is_rare():
    made, _ = shelf(('a', 1, 0, 'x'), ('plan', 1, 0, 'p'), ('a', 2, HELD + 1, 'y'))
    assert made.take('a', 2) == 'y'
    assert made.take('a', 1) is None and made.take('plan', 1) == 'p'

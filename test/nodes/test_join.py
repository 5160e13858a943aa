"""StampJoin, by hand: times in ns, the wait is 10."""

from karpathy_control.nodes.join import KEPT_STAMPS, StampJoin


def test_anchor_alone_is_a_set_at_first():
    join = StampJoin('state', 10)
    assert join.add('scan', 100, 'a', now=0) == []
    assert join.add('state', 100, 's', now=1) == [(100, {'scan': 'a', 'state': 's'})]


def test_waits_for_a_part_that_the_last_set_had_then_gives_up():
    join = StampJoin('state', 10)
    join.add('scan', 100, 'a', now=0)
    join.add('state', 100, 's', now=0)
    assert join.add('state', 200, 't', now=50) == []  # the scan is expected: wait until 60
    assert join.deadline == 60
    assert join.expire(59) == []
    assert join.expire(60) == [(200, {'state': 't'})]
    assert join.incomplete == 1
    assert join.deadline is None


def test_a_late_part_completes_the_set_and_an_old_one_is_ignored():
    join = StampJoin('state', 10)
    join.add('scan', 100, 'a', now=0)
    join.add('state', 100, 's', now=0)
    join.add('state', 200, 't', now=50)
    assert join.add('scan', 200, 'b', now=55) == [(200, {'state': 't', 'scan': 'b'})]
    assert join.add('scan', 100, 'late', now=56) == []
    assert join.add('state', 200, 'again', now=57) == []  # released once only


def test_order_is_kept_and_memory_is_bounded():
    join = StampJoin('state', 10)
    for stamp in range(100):
        join.add('scan', stamp, 'x', now=stamp)
    assert len(join._sets) == KEPT_STAMPS
    released = []
    for stamp in (97, 98, 99):
        released += join.add('state', stamp, 's', now=200)
    assert [stamp for stamp, _ in released] == [97, 98, 99]


def test_clear_accepts_earlier_stamps_again():
    join = StampJoin('state', 10)
    join.add('state', 500, 's', now=0)
    join.clear()
    assert join.add('state', 100, 's', now=0) == [(100, {'state': 's'})]

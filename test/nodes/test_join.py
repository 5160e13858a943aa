"""StampJoin, by hand: times in ns, the wait is 10."""

from karpathy_control.nodes.join import KEPT_STAMPS, AnchorChoice, StampJoin


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


def test_another_anchor_ends_the_sets_from_now_on():
    join = StampJoin('entities', 10)
    join.add('state', 100, 's', now=0)
    join.end_by('state')
    assert join.expire(50) == []  # what waited for entities is given up
    assert join.add('state', 200, 't', now=60) == [(200, {'state': 't'})]
    assert join.add('entities', 200, 'late', now=61) == []
    join.end_by('entities')
    assert join.add('state', 300, 'u', now=70) == []
    assert join.add('entities', 300, 'e', now=71) == [(300, {'state': 'u', 'entities': 'e'})]


MS = 1_000_000


def follow(choice, start, milliseconds, every, late=0):
    """Sets every 50 ms, entities for every `every`-th of them, `late` ms after; the choices."""
    chosen = []
    for t in range(start, start + milliseconds, 50):
        chosen.append(choice.see('state', t * MS, t * MS))
        if every and (t // 50) % every == 0:
            chosen.append(choice.see('entities', (t - late) * MS, t * MS + 1))
    return chosen


def test_the_learned_part_is_left_out_when_it_falls_silent_and_taken_back():
    choice = AnchorChoice('entities', 'state', 1000 * MS)
    assert set(follow(choice, 0, 2000, every=1)) == {'entities'}
    chosen = follow(choice, 2000, 2000, every=0)
    # Half of the last second is without entities 0.5 s after they fell silent.
    assert 9 <= chosen.index('state') <= 11 and set(chosen[11:]) == {'state'}
    chosen = follow(choice, 4000, 2000, every=1)
    assert chosen[0] == 'state' and chosen[-1] == 'entities'
    assert chosen.index('entities') * 25 >= 850  # ms: nine tenths of a second of entities first


def test_slow_and_late_entities_are_left_out_too():
    for every, late in ((3, 0), (1, 150)):
        choice = AnchorChoice('entities', 'state', 1000 * MS)
        assert follow(choice, 0, 3000, every, late)[-1] == 'state'
    choice = AnchorChoice('entities', 'state', 1000 * MS)
    assert set(follow(choice, 0, 3000, every=1, late=50)) == {'entities'}


def test_at_the_start_entities_have_a_window_of_time_to_come():
    choice = AnchorChoice('entities', 'state', 1000 * MS)
    chosen = follow(choice, 0, 2000, every=0)
    assert chosen.index('state') == 20
    choice.clear()
    assert choice.chosen == 'entities'


def test_parts_of_no_concern_change_nothing():
    choice = AnchorChoice('entities', 'state', 1000 * MS)
    assert {choice.see('scan', t * MS, t * MS) for t in range(0, 3000, 50)} == {'entities'}

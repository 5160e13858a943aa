"""Which command belongs to which observation, and where episodes end, against plain counting."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.bags.frames import SAME_GOAL, frame_period, join, split
from karpathy_control.contracts.config import ConfigError

MS = 1_000_000
STAMPS = st.lists(st.integers(0, 12), max_size=12)


def test_a_frame_has_every_part_at_one_stamp():
    """30 lacks the command, 40 the scan, 50 has no goal, and 25 is near 20 but is not it."""
    parts = {'state': [10, 20, 30, 40, 50], 'scan': [10, 20, 30, 50],
             'command': [20, 10, 25, 40, 50]}
    stamps, dropped = join(parts, [50])
    assert stamps == [10, 20]
    assert dropped == {'no_command': 1, 'no_scan': 1, 'no_goal': 1, 'no_state': 1}


def test_what_came_twice_is_nobodys():
    """The clock was set back from 30 to 20, so 20 may be either."""
    stamps, dropped = join({'state': [10, 20, 30, 20, 25], 'command': [10, 20, 30, 25]}, [])
    assert stamps == [10, 30, 25] and dropped == {'ambiguous': 1}


@given(st.fixed_dictionaries({'a': STAMPS, 'b': STAMPS, 'c': STAMPS}), STAMPS)
def test_join_is_what_counting_one_by_one_gives(parts, idle):
    expected, causes = [], Counter()
    for stamp in range(13):
        counts = {name: stamps.count(stamp) for name, stamps in parts.items()}
        if max(counts.values()) == 0:
            continue
        if max(counts.values()) > 1:
            causes['ambiguous'] += 1
        elif stamp in idle:
            causes['no_goal'] += 1
        elif min(counts.values()) == 0:
            causes['no_' + next(name for name in parts if counts[name] == 0)] += 1
        else:
            expected.append(stamp)
    stamps, dropped = join(parts, idle)
    assert sorted(stamps) == expected and dropped == causes
    assert stamps == [s for s in next(iter(parts.values())) if s in expected]
    assert len(stamps) + dropped.total() == len(set().union(*parts.values()))


def test_episodes_end_where_the_goal_is_new_a_frame_is_missing_or_the_clock_goes_back():
    """Steps: 50, 50 | new goal | 100 | back | 50 ms; once the goal moves by 4.5 mm alone."""
    stamps = [t * MS for t in (0, 50, 100, 150, 250, 200, 250)]
    goals = [(1, 0), (1, 0), (1, 0.9 * SAME_GOAL), (3, 0), (3, 0), (3, 0), (3, 0)]
    spans, cuts = split(stamps, goals, 50 * MS)
    assert spans == [(0, 3), (3, 4), (4, 5), (5, 7)]
    assert cuts == {'new_goal': 1, 'gap': 1, 'clock_back': 1}


@given(st.lists(st.tuples(st.integers(-60, 160), st.sampled_from([0.0, 2.0])), max_size=30))
def test_split_is_what_walking_along_gives(steps):
    """Period 50: within 25 and 75 is the next frame; the first pair is where it begins."""
    stamps = np.cumsum([step for step, _ in steps]).tolist()
    goals = [(x, 0.0) for _, x in steps]
    episodes, causes = [], Counter()
    for i in range(len(stamps)):
        step = stamps[i] - stamps[i - 1]
        cause = ('' if i == 0 else 'clock_back' if step <= 0
                 else 'new_goal' if goals[i] != goals[i - 1]
                 else 'gap' if not 25 <= step <= 75 else '')
        causes.update([cause] if cause else [])
        if i == 0 or cause:
            episodes.append([])
        episodes[-1].append(i)
    spans, cuts = split(stamps, goals, 50.0)
    assert [list(range(*span)) for span in spans] == episodes and cuts == causes


def test_the_period_is_the_usual_step():
    assert frame_period([0, 50, 100, 90, 140, 340]) == 50.0  # steps 50, 50, 50, 200
    with pytest.raises(ConfigError, match='2 observations; a rate takes at least 3'):
        frame_period([0, 50])

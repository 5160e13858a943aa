import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from karpathy_control.bags.agreement import Tally, difference, identical

F = np.float32
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(('a', 'b', 'same', 'far'), [
    ([1.0, NAN, INF], [1.0, NAN, INF], True, 0.0),
    ([1.0, 2.0], [1.5, 1.75], False, 0.5),
    ([0.0], [-0.0], False, 0.0),  # equal numbers, other bits
    ([1.0, NAN], [NAN, 1.0], False, INF),
    ([INF], [-INF], False, INF),
    ([1.0], [1.0, 1.0], False, INF),
    ([], [], True, 0.0),
])
def test_what_is_the_same_and_how_far_the_rest_is(a, b, same, far):
    a, b = np.array(a, F), np.array(b, F)
    assert identical(a, b) == same and difference(a, b) == far == difference(b, a)


def test_another_type_is_not_the_same():
    assert not identical(np.zeros(2, np.float32), np.zeros(2, np.float64))


@given(arrays(F, 6), arrays(F, 6))
def test_identical_is_at_no_distance_and_distance_is_that_of_numpy(a, b):
    assert identical(a, a) and difference(a, a) == 0.0
    if np.isfinite(a).all() and np.isfinite(b).all():
        far = np.linalg.norm(a.astype(float) - b.astype(float), ord=np.inf)
        assert difference(a, b) == pytest.approx(far)


def tally(tolerance, *pairs):
    made = Tally(tolerance, sets=len(pairs))
    for k, (a, b) in enumerate(pairs):
        made.compare('t', k, None if a is None else {'x': np.array([a])},
                     None if b is None else {'x': np.array([b])})
    return made


@pytest.mark.parametrize(('tolerance', 'pairs', 'agrees', 'first'), [
    (0.0, [(1.0, 1.0)], True, None),
    (0.0, [], False, None),  # nothing was compared
    (0.0, [(1.0, None)], False, None),
    (0.0, [(1.0, 1.0), (2.0, None)], True, None),  # the recorder lost one
    (0.0, [(1.0, 1.0), (None, 2.0)], False, 1),
    (0.0, [(1.0, 1.0), (0.0, -0.0)], False, 1),  # bit for bit
    (1e-4, [(1.0, 1.0), (0.0, -0.0)], True, None),
    (1e-4, [(1.0, 1.00009)], True, None),
    (1e-4, [(1.0, 1.0), (1.0, 1.00011), (1.0, 2.0)], False, 1),
    (1e300, [(1.0, NAN)], False, 0),
])
def test_when_a_stage_agrees(tolerance, pairs, agrees, first):
    made = tally(tolerance, *pairs)
    assert made.agrees == agrees == made.report()['agrees']
    assert (made.first or {}).get('stamp') == first
    json.loads(json.dumps(made.report(), allow_nan=False))


def test_other_names_are_a_difference():
    made = Tally(1.0, sets=1)
    made.compare('t', 0, {'x': np.zeros(1)}, {'y': np.zeros(1)})
    assert made.compared == 1 and made.identical == 0 and not made.agrees


def test_counts():
    made = tally(0.1, (1.0, 1.0), (1.0, 1.05), (1.0, 3.0), (1.0, None), (None, 1.0))
    assert (made.compared, made.identical, made.agreeing) == (3, 1, 2)
    assert (made.not_recorded, made.not_replayed, made.largest) == (1, 1, 2.0)

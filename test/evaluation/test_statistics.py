"""Intervals and percentiles against values worked out by hand and against their definition."""

import pytest

from karpathy_control.evaluation.statistics import Z95, percentiles, wilson_interval


def test_known_values():
    # p = 1, n = 100: lower bound is n / (n + z^2) = 100 / 103.8415 = 0.96301
    assert wilson_interval(100, 100) == (pytest.approx(0.96301, abs=1e-5), 1.0)
    assert wilson_interval(0, 100) == (pytest.approx(0.0), pytest.approx(0.03699, abs=1e-5))
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize('k,n', [(1, 3), (50, 100), (199, 200), (950, 1000)])
def test_ends_solve_the_score_equation(k, n):
    # Wilson's ends p solve (k/n - p)^2 = z^2 p (1 - p) / n
    for p in wilson_interval(k, n):
        assert (k / n - p) ** 2 == pytest.approx(Z95 ** 2 * p * (1 - p) / n, rel=1e-9)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match='5 successes of 3 trials'):
        wilson_interval(5, 3)


def test_percentiles_of_one_to_hundred():
    # linear between ranks: p50 = 50.5, p99 = 99.01
    assert percentiles(range(1, 101)) == {'p50': 50.5, 'p99': 99.01, 'max': 100.0}
    assert percentiles([]) == {}

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from hitpool.evaluation import bootstrap
from hitpool.evaluation.bootstrap import Number, fraction


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number.symmetric(0.0025094, 0.0000482), "0.002509 ± 0.000048"),
        (Number.symmetric(521.3, 20.4), "521 ± 20"),
        (Number.symmetric(1.0, 0.0), "1.0000 ± 0.0000"),
        (Number.symmetric(0.5, math.nan), "0.5000"),
        (Number.symmetric(math.nan, math.nan), "undefined"),
        (Number(0.0, 0.0, 0.0362), "0.000 +0.036 -0.000"),
        (Number(1.0, 0.9638, 1.0), "1.000 +0.000 -0.036"),
        (Number(0.98, 0.9599, 0.9926), "0.980 +0.013 -0.020"),
        (Number(0.5, 0.4299, 0.5701), "0.500 ± 0.070"),
        (Number(1 - 1e-16, 0.9638, 1 - 2e-16), "1.000 +0.000 -0.036"),
    ],
)
def test_numbers_show_two_digits_of_the_error(number: Number, text: str) -> None:
    assert str(number) == text


def test_half_the_width_of_the_interval_is_the_error() -> None:
    assert Number(0.0, 0.0, 0.036).error == 0.018
    assert np.isnan(Number.symmetric(0.5, math.nan).error)


def test_error_of_independent_trials_is_the_binomial_one() -> None:
    found = np.random.default_rng(1).random((1000, 1)) < 0.8
    numbers = bootstrap.bootstrap(np.arange(1000), lambda drawn: {"": float(found[drawn].mean())})
    assert numbers[""][0] == found.mean()
    assert numbers[""][1] == pytest.approx(math.sqrt(0.8 * 0.2 / 1000), rel=0.2)


def test_events_are_drawn_whole_and_equally_often() -> None:
    event = np.repeat([3, 4, 8], [1, 3, 2])
    generator = np.random.default_rng(2)
    drawn = np.concatenate([bootstrap._draw(event, generator) for _ in range(4000)])
    counts = np.bincount(drawn)
    np.testing.assert_array_equal(counts[[1, 1, 4]], counts[[2, 3, 5]])
    np.testing.assert_allclose(counts, 4000, rtol=0.06)


def test_a_number_of_no_entries_is_undefined() -> None:
    none = np.zeros(0, np.int64)
    ((value, error),) = bootstrap.bootstrap(none, lambda drawn: {"": math.nan + none[drawn].sum()}).values()
    assert math.isnan(value)
    assert math.isnan(error)


def test_fraction_of_hits_counts_the_tracks_where_all_go_the_same_way() -> None:
    trials = np.array([[10, 5], [10, 0], [3, 0]])
    number = fraction(trials, trials)
    assert (number.value, number.low, number.high) == (1.0, pytest.approx(bootstrap.binomial_interval(4, 4)[0]), 1.0)
    assert math.isnan(fraction(trials, 0 * trials).low)


@pytest.mark.parametrize(("passed", "total"), [(0, 7), (3, 7), (7, 7), (1, 1), (180, 200)])
def test_limits_solve_the_equations_of_clopper_and_pearson(passed: int, total: int) -> None:
    low, high = bootstrap.binomial_interval(passed, total)
    tail = (1 - 0.6827) / 2
    if passed:
        assert binom.sf(passed - 1, total, low) == pytest.approx(tail)
    else:
        assert low == 0.0
    if passed < total:
        assert binom.cdf(passed, total, high) == pytest.approx(tail)
    else:
        assert high == 1.0


def test_interval_without_trials_is_everything() -> None:
    np.testing.assert_array_equal(bootstrap.binomial_interval(0, 0), [0.0, 1.0])


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="0 <= passed <= total"):
        bootstrap.binomial_interval(3, 2)


@pytest.mark.parametrize(("passed", "trials"), [(0, 50), (50, 50), (0, 1), (1, 1), (7, 50), (49, 50)])
def test_interval_of_independent_trials_is_the_binomial_one(passed: int, trials: int) -> None:
    value = passed / trials
    spread = math.sqrt(value * (1 - value) / trials)
    expected = binomtest(passed, trials).proportion_ci(0.6827)
    got = bootstrap.fraction_interval(value, spread, trials, trials)
    assert got == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert got[1] - got[0] > 0


def test_interval_of_hits_that_go_together_is_that_of_their_tracks() -> None:
    spread = math.sqrt(0.9 * 0.1 / 40)  # 400 hits of 40 tracks, each right or wrong as a whole
    expected = bootstrap.binomial_interval(36, 40)
    assert bootstrap.fraction_interval(0.9, spread, 400, 40) == pytest.approx(tuple(expected))
    expected = bootstrap.binomial_interval(40, 40)
    assert bootstrap.fraction_interval(1.0, 0.0, 400, 40) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("spread", [0.0, math.nan])
def test_interval_without_a_bootstrap_is_that_of_the_units(spread: float) -> None:
    assert bootstrap.fraction_interval(0.5, spread, 80, 4) == pytest.approx(tuple(bootstrap.binomial_interval(2, 4)))


def test_interval_of_an_undefined_fraction_is_undefined() -> None:
    assert all(math.isnan(limit) for limit in bootstrap.fraction_interval(math.nan, math.nan, 0, 0))


def test_interval_covers_dependent_hits() -> None:
    """Hits in tracks of 10 that are all right or all wrong: the interval holds the truth in 68 % of experiments."""
    generator = np.random.default_rng(3)
    held = []
    for _ in range(300):
        right = generator.random(60) < 0.95
        draws = right[generator.integers(0, 60, (100, 60))].mean(1)
        low, high = bootstrap.fraction_interval(right.mean(), draws.std(ddof=1), 600, 60)
        held.append(low <= 0.95 <= high)
    assert np.mean(held) > 0.65

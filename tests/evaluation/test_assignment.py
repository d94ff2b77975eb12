import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from hitpool.evaluation import EventTracks, assignment

FRACTIONS = [
    assignment.track_efficiency,
    assignment.track_fake_rate,
    assignment.hit_efficiency,
    assignment.hit_purity,
    assignment.found_fraction,
    assignment.unmatched_fraction,
]


def test_tracks_of_the_three_events(three_events: EventTracks) -> None:
    assert assignment.track_efficiency(three_events) == pytest.approx(4 / 5)
    assert assignment.track_fake_rate(three_events) == pytest.approx(1 / 5)
    assert assignment.count_accuracy(three_events) == pytest.approx(1 / 3)


def test_hits_of_the_three_events(three_events: EventTracks) -> None:
    # the particle whose track is not valid (3 of 3 hits right) does not count, the fake does in the purity
    assert assignment.hit_efficiency(three_events) == pytest.approx((2 + 2 + 4 + 1) / (3 + 2 + 4 + 2))
    assert assignment.hit_purity(three_events) == pytest.approx((2 + 2 + 4 + 0 + 1) / (3 + 3 + 4 + 1 + 1))


def test_matching_by_hits_needs_more_than_half_of_both(three_events: EventTracks) -> None:
    # event 2: track 0 has exactly half of the hits of particle 0, track 1 is not valid
    np.testing.assert_array_equal(assignment.match_by_hits(three_events), [[0, 1], [0, -1], [-1, -1]])
    assert assignment.found_fraction(three_events) == pytest.approx(3 / 5)
    assert assignment.unmatched_fraction(three_events) == pytest.approx(2 / 5)


def test_matching_by_hits_does_not_depend_on_slots(tracks) -> None:
    common = {"particle_valid": [[True, True]], "track_valid": [[True, True]], "true_link": [[0, 0, 0, 1, 1]]}
    swapped = tracks(**common, assigned=[[[1], [1], [1], [0], [0]]])
    np.testing.assert_array_equal(assignment.match_by_hits(swapped), [[1, 0]])
    assert assignment.found_fraction(swapped) == 1.0
    assert assignment.unmatched_fraction(swapped) == 0.0
    assert assignment.hit_efficiency(swapped) == 0.0
    assert assignment.hit_purity(swapped) == 0.0


def test_matching_by_hits_is_one_to_one() -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        belongs = generator.integers(-1, 4, (50, 1, 12)) == np.arange(4)[:, None]
        assigned = belongs ^ (generator.random(belongs.shape) < 0.2)
        valid = np.ones((50, 4), bool)
        tracks = EventTracks.from_masks(np.arange(50), valid, valid, belongs, assigned, np.ones((50, 12), bool), {}, {})
        match = assignment.match_by_hits(tracks)
        for slots in match:
            used = slots[slots >= 0]
            assert len(set(used)) == len(used)


def test_no_valid_track(tracks) -> None:
    nothing = tracks([[True, False]], [[False, False]], [[0, 0, -1]], [[[0], [0], [0]]])
    assert assignment.track_efficiency(nothing) == 0.0
    assert assignment.found_fraction(nothing) == 0.0
    assert assignment.count_accuracy(nothing) == 0.0
    for function in (assignment.track_fake_rate, assignment.hit_efficiency, assignment.hit_purity):
        assert math.isnan(function(nothing))
    assert math.isnan(assignment.unmatched_fraction(nothing))


def test_no_particle(tracks) -> None:
    noise = tracks([[False, False]], [[True, False]], [[-1, -1]], [[[0], []]])
    assert math.isnan(assignment.track_efficiency(noise))
    assert math.isnan(assignment.hit_efficiency(noise))
    assert assignment.track_fake_rate(noise) == 1.0
    assert assignment.unmatched_fraction(noise) == 1.0
    assert assignment.hit_purity(noise) == 0.0


def test_no_events(three_events: EventTracks) -> None:
    none = three_events.select(np.array([], int))
    for function in (*FRACTIONS, assignment.count_accuracy):
        assert math.isnan(function(none))


def test_charge_accuracy() -> None:
    assert assignment.charge_accuracy([0.1, -3.0, 0.5, -0.5], [1, -1, -1, 1]) == 0.5
    assert assignment.charge_accuracy([0.0, np.nan, 1.0], [1, 1, 1]) == pytest.approx(1 / 3)
    assert math.isnan(assignment.charge_accuracy([], []))


@pytest.mark.parametrize(("passed", "total"), [(0, 7), (3, 7), (7, 7), (1, 1), (180, 200)])
def test_limits_solve_the_equations_of_clopper_and_pearson(passed: int, total: int) -> None:
    low, high = assignment.binomial_interval(passed, total)
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
    np.testing.assert_array_equal(assignment.binomial_interval(0, 0), [0.0, 1.0])


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="0 <= passed <= total"):
        assignment.binomial_interval(3, 2)


def test_efficiency_in_bins() -> None:
    values = [5.0, 7.0, 9.99, 10.0, 20.0, 300.0]
    passed = [True, True, False, True, True, True]
    efficiency, low, high = assignment.efficiency_in_bins(values, passed, [5, 10, 15, 18, 20])
    np.testing.assert_allclose(efficiency, [2 / 3, 1.0, np.nan, 1.0])
    np.testing.assert_allclose([low[0], high[0]], assignment.binomial_interval(2, 3))
    np.testing.assert_array_equal([low[2], high[2]], [0.0, 1.0])


@pytest.mark.parametrize(("passed", "trials"), [(0, 50), (50, 50), (0, 1), (1, 1), (7, 50), (49, 50)])
def test_interval_of_independent_trials_is_the_binomial_one(passed: int, trials: int) -> None:
    value = passed / trials
    spread = math.sqrt(value * (1 - value) / trials)
    expected = binomtest(passed, trials).proportion_ci(0.6827)
    got = assignment.fraction_interval(value, spread, trials, trials)
    assert got == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert got[1] - got[0] > 0


def test_interval_of_hits_that_go_together_is_that_of_their_tracks() -> None:
    spread = math.sqrt(0.9 * 0.1 / 40)  # 400 hits of 40 tracks, each right or wrong as a whole
    expected = assignment.binomial_interval(36, 40)
    assert assignment.fraction_interval(0.9, spread, 400, 40) == pytest.approx(tuple(expected))
    expected = assignment.binomial_interval(40, 40)
    assert assignment.fraction_interval(1.0, 0.0, 400, 40) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("spread", [0.0, math.nan])
def test_interval_without_a_bootstrap_is_that_of_the_units(spread: float) -> None:
    assert assignment.fraction_interval(0.5, spread, 80, 4) == pytest.approx(tuple(assignment.binomial_interval(2, 4)))


def test_interval_of_an_undefined_fraction_is_undefined() -> None:
    assert all(math.isnan(limit) for limit in assignment.fraction_interval(math.nan, math.nan, 0, 0))


def test_interval_covers_dependent_hits() -> None:
    """Hits in tracks of 10 that are all right or all wrong: the interval holds the truth in 68 % of experiments."""
    generator = np.random.default_rng(3)
    held = []
    for _ in range(300):
        right = generator.random(60) < 0.95
        draws = right[generator.integers(0, 60, (100, 60))].mean(1)
        low, high = assignment.fraction_interval(right.mean(), draws.std(ddof=1), 600, 60)
        held.append(low <= 0.95 <= high)
    assert np.mean(held) > 0.65

import math

import numpy as np
import pytest

from hitpool.evaluation.assignment import FRACTIONS, detect, detect_in_bins, match_by_hits
from hitpool.evaluation.bootstrap import fraction
from hitpool.evaluation.comparison import Row
from hitpool.evaluation.tracks import MODEL, Tracks


def shares(tracks: Tracks) -> dict[str, float]:
    return {name: fraction(*trials(tracks, tracks.estimates[MODEL])).value for name, trials in FRACTIONS.items()}


def test_tracks_of_the_three_events(three_events: Tracks) -> None:
    assert shares(three_events)["track_efficiency"] == pytest.approx(4 / 5)
    assert shares(three_events)["track_fake_rate"] == pytest.approx(1 / 5)
    assert shares(three_events)["count_accuracy"] == pytest.approx(1 / 3)


def test_hits_of_the_three_events(three_events: Tracks) -> None:
    # the particle whose track is not valid (3 of 3 hits right) does not count, the fake does in the purity
    assert shares(three_events)["hit_efficiency"] == pytest.approx((2 + 2 + 4 + 1) / (3 + 2 + 4 + 2))
    assert shares(three_events)["hit_purity"] == pytest.approx((2 + 2 + 4 + 0 + 1) / (3 + 3 + 4 + 1 + 1))


def test_matching_by_hits_needs_more_than_half_of_both(three_events: Tracks) -> None:
    # event 2: track 0 has exactly half of the hits of particle 0, track 1 is not valid
    np.testing.assert_array_equal(
        match_by_hits(three_events, three_events.estimates[MODEL]), [[0, 1], [0, -1], [-1, -1]]
    )
    assert shares(three_events)["by_hits_efficiency"] == pytest.approx(3 / 5)
    assert shares(three_events)["by_hits_fake_rate"] == pytest.approx(2 / 5)


def test_matching_by_hits_does_not_depend_on_slots(tracks) -> None:
    common = {"particle_valid": [[True, True]], "track_valid": [[True, True]], "true_link": [[0, 0, 0, 1, 1]]}
    swapped = tracks(**common, assigned=[[[1], [1], [1], [0], [0]]])
    np.testing.assert_array_equal(match_by_hits(swapped, swapped.estimates[MODEL]), [[1, 0]])
    assert shares(swapped)["by_hits_efficiency"] == 1.0
    assert shares(swapped)["by_hits_fake_rate"] == 0.0
    assert shares(swapped)["hit_efficiency"] == 0.0
    assert shares(swapped)["hit_purity"] == 0.0


def test_matching_by_hits_is_one_to_one(from_masks) -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        belongs = generator.integers(-1, 4, (50, 1, 12)) == np.arange(4)[:, None]
        assigned = belongs ^ (generator.random(belongs.shape) < 0.2)
        valid = np.ones((50, 4), bool)
        tracks = from_masks(valid, valid, belongs, assigned, np.ones((50, 12), bool))
        match = match_by_hits(tracks, tracks.estimates[MODEL])
        for slots in match:
            used = slots[slots >= 0]
            assert len(set(used)) == len(used)


def test_no_valid_track(tracks) -> None:
    nothing = tracks([[True, False]], [[False, False]], [[0, 0, -1]], [[[0], [0], [0]]])
    assert shares(nothing)["track_efficiency"] == 0.0
    assert shares(nothing)["by_hits_efficiency"] == 0.0
    assert shares(nothing)["count_accuracy"] == 0.0
    for name in ("track_fake_rate", "hit_efficiency", "hit_purity", "by_hits_fake_rate"):
        assert math.isnan(shares(nothing)[name])


def test_no_particle(tracks) -> None:
    noise = tracks([[False, False]], [[True, False]], [[-1, -1]], [[[0], []]])
    assert math.isnan(shares(noise)["track_efficiency"])
    assert math.isnan(shares(noise)["hit_efficiency"])
    assert shares(noise)["track_fake_rate"] == 1.0
    assert shares(noise)["by_hits_fake_rate"] == 1.0
    assert shares(noise)["hit_purity"] == 0.0


def test_no_events(three_events: Tracks) -> None:
    none = three_events.select(np.array([], int))
    assert all(math.isnan(value) for value in shares(none).values())


def values(rows: list[Row]) -> list[float]:
    return [row.numbers["model"].value for row in rows]


def test_efficiency_and_fake_rate(made_up) -> None:
    sample = made_up(400)
    valid, particle = sample.estimates["model"].valid, sample.particle
    rows = detect(sample)
    assert [row.measure for row in rows] == ["efficiency", "fake_rate"]
    assert values(rows) == [(valid & particle).sum() / particle.sum(), (valid & ~particle).sum() / valid.sum()]
    assert all(set(row.numbers) == {"model"} for row in rows)  # the others know what is a particle


def test_bins_are_those_of_truth_and_of_estimate(made_up) -> None:
    sample = made_up(400)
    valid, particle, eta = sample.estimates["model"].valid, sample.particle, sample.true["eta"]
    rows = detect_in_bins(sample, "eta", [0.0, 1.0, 4.0])
    inside = np.abs(eta) >= 1
    assert values(rows[1])[0] == (valid & particle & inside).sum() / (particle & inside).sum()
    inside = np.abs(eta + 3) >= 1
    inside &= np.abs(eta + 3) <= 4
    assert values(rows[1])[1] == pytest.approx((valid & ~particle & inside).sum() / (valid & inside).sum())
    assert np.isnan(values(detect_in_bins(sample, "eta", [6.0, 7.0])[0])).all()


def test_errors_are_the_scatter_of_repeated_experiments(made_up) -> None:
    repeated = [detect(made_up(200, seed)) for seed in range(60)]
    for k in range(2):
        numbers = [rows[k].numbers["model"] for rows in repeated]
        scatter = np.std([number.value for number in numbers], ddof=1)
        assert np.mean([number.error for number in numbers]) == pytest.approx(scatter, rel=0.3)

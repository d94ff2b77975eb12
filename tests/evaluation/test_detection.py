import numpy as np
import pytest

from hitpool.evaluation.comparison import Row
from hitpool.evaluation.detection import detect, detect_in_bins
from hitpool.evaluation.estimates import Estimate, Sample, side_by_side


def make_sample(events: int, seed: int = 0) -> Sample:
    """Two slots, the second one filled in half of the events; tracks are found and faked at random."""
    rng = np.random.default_rng(seed)
    particle = np.stack([np.ones(events, bool), rng.random(events) < 0.5], axis=1)
    valid = np.where(particle, rng.random((events, 2)) < 0.8, rng.random((events, 2)) < 0.3)
    true = {"eta": rng.uniform(-2, 2, (events, 2))}
    model = Estimate(valid, {"eta": true["eta"] + 3.0}, decides=True)
    return Sample(np.arange(events), particle, true, {"model": model, "true hits": Estimate(particle, true)})


def values(rows: list[Row]) -> list[float]:
    return [row.numbers["model"].value for row in rows]


def test_efficiency_and_fake_rate() -> None:
    sample = make_sample(400)
    valid, particle = sample.estimates["model"].valid, sample.particle
    rows = detect(sample)
    assert [row.measure for row in rows] == ["efficiency", "fake_rate"]
    assert values(rows) == [(valid & particle).sum() / particle.sum(), (valid & ~particle).sum() / valid.sum()]
    assert all(set(row.numbers) == {"model"} for row in rows)  # the others know what is a particle


def test_bins_are_those_of_truth_and_of_estimate() -> None:
    sample = make_sample(400)
    valid, particle, eta = sample.estimates["model"].valid, sample.particle, sample.true["eta"]
    rows = detect_in_bins(sample, "eta", [0.0, 1.0, 4.0])
    inside = np.abs(eta) >= 1
    assert values(rows[1])[0] == (valid & particle & inside).sum() / (particle & inside).sum()
    inside = np.abs(eta + 3) >= 1
    inside &= np.abs(eta + 3) <= 4
    assert values(rows[1])[1] == pytest.approx((valid & ~particle & inside).sum() / (valid & inside).sum())
    assert np.isnan(values(detect_in_bins(sample, "eta", [6.0, 7.0])[0])).all()


def test_errors_are_the_scatter_of_repeated_experiments() -> None:
    repeated = [detect(make_sample(200, seed)) for seed in range(60)]
    for k in range(2):
        numbers = [rows[k].numbers["model"] for rows in repeated]
        scatter = np.std([number.value for number in numbers], ddof=1)
        assert np.mean([number.error for number in numbers]) == pytest.approx(scatter, rel=0.3)


def test_models_must_have_the_same_particles() -> None:
    first, second = make_sample(10), make_sample(10, seed=3)
    with pytest.raises(ValueError, match=r"other particles than first: \d+ in 10 events"):
        side_by_side({"first": first, "second": second})
    both = side_by_side({"first": first, "second": first})
    assert list(both.estimates) == ["first", "second"]
    assert both.missing()["first"] == int((first.particle & ~first.estimates["model"].valid).sum())


def test_errors_are_in_units_of_the_residuals() -> None:
    slots = np.ones((3, 1), bool)
    true = {"qpt": np.array([[0.1], [-0.05], [0.02]]), "eta": np.zeros((3, 1))}
    errors = {"qpt": np.array([[0.01], [0.01], [0.01]]), "eta": np.full((3, 1), 0.3)}
    pairs = Sample(np.arange(3), slots, true, {"model": Estimate(slots, true, True, errors)}).pairs()
    np.testing.assert_allclose(pairs.errors["model"]["qpt"], [0.1, 0.2, 0.5])
    np.testing.assert_array_equal(pairs.errors["model"]["eta"], 0.3)


def test_pairs_are_on_the_same_tracks() -> None:
    sample = make_sample(50)
    fit = np.where(np.arange(60)[:, None] % 3 == 0, np.nan, np.zeros((60, 2)))  # of a data set with more events
    pairs = sample.with_reference("fit", {"eta": fit}).pairs()
    chosen = sample.particle & sample.estimates["model"].valid & np.isfinite(fit[:50])
    np.testing.assert_array_equal(pairs.event, np.nonzero(chosen)[0])
    np.testing.assert_array_equal(pairs.true["eta"], sample.true["eta"][chosen])
    assert list(pairs.estimates) == ["model", "true hits", "fit"]

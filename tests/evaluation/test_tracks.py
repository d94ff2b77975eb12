import numpy as np
import pytest

from hitpool.evaluation.reference import reference_estimate
from hitpool.evaluation.tracks import MODEL, Estimate, Tracks, residual_errors, side_by_side


def test_counts_of_the_three_events(three_events: Tracks) -> None:
    model = three_events.estimates[MODEL]
    np.testing.assert_array_equal(three_events.hits, [[3, 2], [4, 0], [2, 3]])
    np.testing.assert_array_equal(model.hits, [[3, 3], [4, 1], [1, 3]])
    np.testing.assert_array_equal(model.shared_hits, [[[2, 0], [1, 2]], [[4, 0], [0, 0]], [[1, 0], [0, 3]]])
    np.testing.assert_array_equal(three_events.num_hits, [6, 6, 5])


def test_counts_agree_with_a_loop(from_masks) -> None:
    generator = np.random.default_rng(3)
    events, slots, hits = 7, 3, 50
    belongs, assigned = generator.random((2, events, slots, hits)) < 0.3
    valid, particles = generator.random((events, hits)) < 0.8, generator.random((events, slots)) < 0.7
    tracks = from_masks(particles, particles, belongs, assigned, valid)
    model = tracks.estimates[MODEL]
    for e in range(events):
        for i in range(slots):
            for j in range(slots):
                own = {m for m in range(hits) if belongs[e, i, m] and valid[e, m] and particles[e, i]}
                given = {m for m in range(hits) if assigned[e, j, m] and valid[e, m]}
                assert tracks.hits[e, i] == len(own)
                assert model.hits[e, j] == len(given)
                assert model.shared_hits[e, i, j] == len(own & given)


def test_events_without_hits(from_masks) -> None:
    slots, hits = np.ones((2, 2), bool), np.zeros((2, 2, 0), bool)
    tracks = from_masks(slots, slots, hits, hits, hits[:, 0])
    assert not tracks.hits.any()
    assert not tracks.estimates[MODEL].shared_hits.any()


def test_selection_may_repeat_events(three_events: Tracks) -> None:
    chosen = three_events.select(np.array([2, 0, 2]))
    np.testing.assert_array_equal(chosen.event, [2, 0, 2])
    np.testing.assert_array_equal(chosen.true["pt"][:, 0], [100.0, 10.0, 100.0])


def test_an_event_that_comes_twice_is_counted_once(three_events: Tracks) -> None:
    parts = [three_events.select(np.array(index)) for index in ([2, 1], [0, 2])]
    joined = Tracks.concatenate(parts)
    np.testing.assert_array_equal(joined.event, [0, 1, 2])
    np.testing.assert_array_equal(joined.estimates[MODEL].shared_hits, three_events.estimates[MODEL].shared_hits)
    np.testing.assert_array_equal(joined.estimates[MODEL].values["q"], three_events.estimates[MODEL].values["q"])


def test_concatenation_needs_a_batch() -> None:
    with pytest.raises(ValueError, match="at least one batch, got none"):
        Tracks.concatenate([])


def test_a_wrong_shape_is_named(from_masks) -> None:
    slots, hits = np.ones((2, 2), bool), np.ones((2, 2, 5), bool)
    with pytest.raises(ValueError, match=r"assigned needs shape \(2, 2, 5\), got \(2, 2, 4\)"):
        from_masks(slots, slots, hits, hits[..., :4], hits[:, 0])


def test_models_must_have_the_same_particles(made_up) -> None:
    first, second = made_up(10), made_up(10, seed=3)
    with pytest.raises(ValueError, match=r"other particles than first: \d+ in 10 events"):
        side_by_side({"first": first, "second": second})
    both = side_by_side({"first": first, "second": first})
    assert list(both.estimates) == ["first", "second"]
    assert both.missing["first"] == int((first.particle & ~first.estimates["model"].valid).sum())


def test_errors_are_in_units_of_the_residuals() -> None:
    true = {"qpt": np.array([[0.1], [-0.05], [0.02]]), "eta": np.zeros((3, 1))}
    errors = {"qpt": np.array([[0.01], [0.01], [0.01]]), "eta": np.full((3, 1), 0.3)}
    relative = residual_errors(errors, true)
    np.testing.assert_allclose(relative["qpt"][:, 0], [0.1, 0.2, 0.5])
    np.testing.assert_array_equal(relative["eta"], 0.3)


def test_what_is_compared_has_all_estimates(made_up) -> None:
    tracks = made_up(50)
    fit = np.where(np.arange(60)[:, None] % 3 == 0, np.nan, np.zeros((60, 2)))  # of a data set with more events
    tracks = tracks.with_estimate("fit", reference_estimate({"eta": fit}, {}, tracks))
    chosen = tracks.particle & tracks.estimates["model"].valid & np.isfinite(fit[:50])
    np.testing.assert_array_equal(tracks.compared, chosen)
    assert list(tracks.measured) == ["model", "true hits", "fit"]
    assert list(tracks.with_estimate("bound", Estimate(tracks.particle)).missing) == ["model", "true hits", "fit"]

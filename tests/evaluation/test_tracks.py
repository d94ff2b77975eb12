import numpy as np
import pytest

from hitpool.evaluation import EventTracks


def test_counts_of_the_three_events(three_events: EventTracks) -> None:
    np.testing.assert_array_equal(three_events.particle_hits, [[3, 2], [4, 0], [2, 3]])
    np.testing.assert_array_equal(three_events.track_hits, [[3, 3], [4, 1], [1, 3]])
    np.testing.assert_array_equal(three_events.shared_hits, [[[2, 0], [1, 2]], [[4, 0], [0, 0]], [[1, 0], [0, 3]]])
    np.testing.assert_array_equal(three_events.num_hits, [6, 6, 5])


def test_counts_agree_with_a_loop() -> None:
    generator = np.random.default_rng(3)
    events, slots, hits = 7, 3, 50
    belongs, assigned = generator.random((2, events, slots, hits)) < 0.3
    valid, particles = generator.random((events, hits)) < 0.8, generator.random((events, slots)) < 0.7
    tracks = EventTracks.from_masks(np.arange(events), particles, particles, belongs, assigned, valid, {}, {})
    for e in range(events):
        for i in range(slots):
            for j in range(slots):
                own = {m for m in range(hits) if belongs[e, i, m] and valid[e, m] and particles[e, i]}
                given = {m for m in range(hits) if assigned[e, j, m] and valid[e, m]}
                assert tracks.particle_hits[e, i] == len(own)
                assert tracks.track_hits[e, j] == len(given)
                assert tracks.shared_hits[e, i, j] == len(own & given)


def test_events_without_hits() -> None:
    slots, hits = np.ones((2, 2), bool), np.zeros((2, 2, 0), bool)
    tracks = EventTracks.from_masks(np.arange(2), slots, slots, hits, hits, hits[:, 0], {}, {})
    assert not tracks.particle_hits.any()
    assert not tracks.shared_hits.any()


def test_selection_may_repeat_events(three_events: EventTracks) -> None:
    chosen = three_events.select(np.array([2, 0, 2]))
    np.testing.assert_array_equal(chosen.event, [2, 0, 2])
    np.testing.assert_array_equal(chosen.true["truthMuon_pt"][:, 0], [100.0, 10.0, 100.0])


def test_an_event_that_comes_twice_is_counted_once(three_events: EventTracks) -> None:
    parts = [three_events.select(np.array(index)) for index in ([2, 1], [0, 2])]
    joined = EventTracks.concatenate(parts)
    np.testing.assert_array_equal(joined.event, [0, 1, 2])
    np.testing.assert_array_equal(joined.shared_hits, three_events.shared_hits)
    np.testing.assert_array_equal(joined.predicted["truthMuon_q"], three_events.predicted["truthMuon_q"])


def test_concatenation_needs_a_batch() -> None:
    with pytest.raises(ValueError, match="at least one batch, got none"):
        EventTracks.concatenate([])


def test_a_wrong_shape_is_named() -> None:
    slots, hits = np.ones((2, 2), bool), np.ones((2, 2, 5), bool)
    with pytest.raises(ValueError, match=r"track_hit_valid needs shape \(2, 2, 5\), got \(2, 2, 4\)"):
        EventTracks.from_masks(np.arange(2), slots, slots, hits, hits[..., :4], hits[:, 0], {}, {})

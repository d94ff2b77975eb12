"""Where hits go, and which tracks are duplicates, on an event that can be checked by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from hitpool.evaluation.assignment import duplicates
from hitpool.evaluation.confusion import confusions, plot_confusion
from hitpool.evaluation.tracks import MODEL, Tracks


@pytest.fixture
def event(tracks: Callable[..., Tracks]) -> Tracks:
    """Particle 0 has hits 0 to 4, particle 1 hits 5 and 6, hit 7 is noise; slot 2 is a second track of particle 0."""
    assigned = [[0], [0], [0, 2], [2], [2], [1], [], [1]]
    return tracks([[True, True, False]], [[True, True, True]], [[0, 0, 0, 0, 0, 1, 1, -1]], [assigned])


def test_hits_are_counted_once(event: Tracks) -> None:
    counts = confusions(event)[MODEL]
    assert counts.tolist() == [[4, 2, 1], [0, 1, 0]]


def test_the_picture_shows_shares_and_numbers(event: Tracks) -> None:
    texts = [text.get_text() for text in plot_confusion(confusions(event), "mine/test").axes[0].texts]
    assert {"57.14%\n4", "28.57%\n2", "14.29%\n1", "100.00%\n1", "0.00%\n0"} < set(texts)


def test_a_duplicate_has_fewer_hits_than_the_first(tracks: Callable[..., Tracks]) -> None:
    assigned = [[0], [0], [0], [2], [2], [1], [], [1]]
    two = tracks([[True, True, False]], [[True, True, True]], [[0, 0, 0, 0, 0, 1, 1, -1]], [assigned])
    assert duplicates(two, two.estimates[MODEL]).tolist() == [[False, False, True]]


def test_an_event_without_particles_has_no_duplicates(tracks: Callable[..., Tracks]) -> None:
    none = tracks([[False, False]], [[True, True]], [[-1, -1]], [[[0], [1]]])
    assert not np.any(duplicates(none, none.estimates[MODEL]))

"""Tracks with numbers that can be checked by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from hitpool.evaluation.tracks import MODEL, Estimate, Tracks


def count_tracks(
    particle: np.ndarray,
    valid: np.ndarray,
    belongs: np.ndarray,
    assigned: np.ndarray,
    hit_valid: np.ndarray,
    true: dict[str, np.ndarray] | None = None,
    predicted: dict[str, np.ndarray] | None = None,
) -> Tracks:
    """Particles and tracks [E, N] of a model, with the hits [E, N, M] of both."""
    model = Estimate(valid, predicted or {}, decides=True)
    tracks = Tracks(np.arange(len(particle)), particle, true or {}, {MODEL: model})
    return tracks.with_hits(belongs, assigned, hit_valid)


def make_tracks(
    particle_valid: list[list[bool]],
    track_valid: list[list[bool]],
    true_link: list[list[int]],
    assigned: list[list[list[int]]],
    num_hits: list[int] | None = None,
    true: dict[str, list] | None = None,
    predicted: dict[str, list] | None = None,
) -> Tracks:
    """Tracks of E events: hit m is of particle `true_link[e][m]` and given to tracks `assigned[e][m]`."""
    slots = np.shape(particle_valid)[1]
    link = np.array(true_link)
    particle_hits = link[:, None, :] == np.arange(slots)[:, None]
    track_hits = np.array([[[j in given for given in event] for j in range(slots)] for event in assigned])
    sizes = np.array([link.shape[1]] * len(link) if num_hits is None else num_hits)
    true, predicted = ({name: np.array(values) for name, values in (own or {}).items()} for own in (true, predicted))
    return count_tracks(
        np.array(particle_valid),
        np.array(track_valid),
        particle_hits,
        track_hits.reshape(particle_hits.shape),
        np.arange(link.shape[1]) < sizes[:, None],
        true,
        predicted,
    )


def random_tracks(events: int, seed: int = 0) -> Tracks:
    """Two slots, the second one filled in half of the events; tracks are found and faked at random."""
    rng = np.random.default_rng(seed)
    particle = np.stack([np.ones(events, bool), rng.random(events) < 0.5], axis=1)
    valid = np.where(particle, rng.random((events, 2)) < 0.8, rng.random((events, 2)) < 0.3)
    true = {"eta": rng.uniform(-2, 2, (events, 2))}
    model = Estimate(valid, {"eta": true["eta"] + 3.0}, decides=True)
    return Tracks(np.arange(events), particle, true, {"model": model, "true hits": Estimate(particle, true)})


@pytest.fixture
def tracks() -> Callable[..., Tracks]:
    return make_tracks


@pytest.fixture
def from_masks() -> Callable[..., Tracks]:
    return count_tracks


@pytest.fixture
def made_up() -> Callable[..., Tracks]:
    return random_tracks


@pytest.fixture
def three_events() -> Tracks:
    """Event 0: both found. Event 1: one particle, one fake. Event 2: two particles, one track missed."""
    nan = np.nan
    return make_tracks(
        particle_valid=[[True, True], [True, False], [True, True]],
        track_valid=[[True, True], [True, True], [True, False]],
        true_link=[[0, 0, 0, 1, 1, -1], [0, 0, 0, 0, -1, -1], [0, 0, 1, 1, 1, 7]],
        assigned=[
            [[0], [0], [], [1], [0, 1], [1]],  # track 0: 2 of 3 right, 1 wrong; track 1: 2 of 2, 1 wrong
            [[0], [0], [0], [0], [1], []],  # track 0: 4 of 4; track 1 (fake): 1 wrong
            [[0], [], [1], [1], [1], [0, 1]],  # track 0: 1 of 2; the last hit is padding
        ],
        num_hits=[6, 6, 5],
        true={
            "pt": [[10.0, 20.0], [50.0, nan], [100.0, 40.0]],
            "eta": [[0.5, -0.5], [1.0, nan], [-2.0, 0.1]],
            "phi": [[3.1, 0.0], [-3.1, nan], [1.0, 2.0]],
            "q": [[1.0, -1.0], [1.0, nan], [-1.0, 1.0]],
        },
        predicted={
            "pt": [[11.0, 18.0], [50.0, 7.0], [150.0, 1.0]],
            "eta": [[0.6, -0.5], [0.9, 0.0], [-2.0, 9.0]],
            "phi": [[-3.1, 0.1], [3.1, 0.0], [0.9, 9.0]],
            "q": [[0.8, 0.3], [2.0, 1.0], [-1.0, 9.0]],
        },
    )

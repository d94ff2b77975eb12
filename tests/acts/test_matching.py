import numpy as np

from hitpool.acts.matching import majority, match

LINK = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, -1, -1])


def test_the_majority_ignores_noise() -> None:
    assert majority([0, 9, 10], LINK) == (0, 1)
    assert majority([0, 4, 5], LINK) == (1, 2)
    assert majority([9, 10], LINK) == (-1, 0)


def test_a_match_needs_more_than_half_of_both() -> None:
    tracks = [[0, 1, 2], [0, 1], [0, 1, 2, 9, 10, 4], [4, 5, 6], [9, 10]]
    particle, duplicate = match(tracks, LINK, 2)
    assert particle.tolist() == [0, -1, -1, 1, -1]  # half of the particle, and half of the track, are not enough
    assert not duplicate.any()


def test_the_track_with_most_hits_is_no_duplicate() -> None:
    particle, duplicate = match([[4, 5, 6], [4, 5, 6, 7], [5, 6, 7, 8], [0, 1, 2]], LINK, 2)
    assert particle.tolist() == [1, 1, 1, 0]
    assert duplicate.tolist() == [True, False, True, False]


def test_no_tracks_and_no_particles() -> None:
    for tracks in ([], [[0]]):
        particle, duplicate = match(tracks, np.array([-1]), 0)
        assert (particle == -1).all()
        assert len(particle) == len(duplicate) == len(tracks)

import numpy as np
import pytest

from hitpool.double_majority import Match, match

LINK = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, -1, -1])


def matched(tracks: list[list[int]], link: np.ndarray, particles: int) -> Match:
    sizes = np.array([len(hits) for hits in tracks], int)
    hits = np.array([hit for hits in tracks for hit in hits], int)
    own = np.bincount(link[link >= 0], minlength=particles)
    return match(np.repeat(np.arange(len(tracks)), sizes), link[hits], sizes, own)


def by_loops(tracks: list[list[int]], link: np.ndarray, particles: int) -> tuple[list[int], list[bool]]:
    """The definition, one track and one particle after the other."""
    particle, duplicate = [], []
    for hits in tracks:
        own = -1
        for i in range(particles):
            members = {m for m, owner in enumerate(link) if owner == i}
            common = len(members & set(hits))
            if common > len(hits) / 2 and common > len(members) / 2:
                own = i
        particle.append(own)
    for t, hits in enumerate(tracks):
        shared = [sum(link[m] == particle[t] for m in others) for others in tracks]
        rivals = [u for u in range(len(tracks)) if particle[u] == particle[t]]
        best = min(rivals, key=lambda u: (-shared[u], u))
        duplicate.append(particle[t] >= 0 and t != best)
        assert particle[t] < 0 or shared[t] == len({m for m in hits if link[m] == particle[t]})
    return particle, duplicate


def test_a_match_needs_more_than_half_of_both() -> None:
    found = matched([[0, 1, 2], [0, 1], [0, 1, 2, 9, 10, 4], [4, 5, 6], [9, 10]], LINK, 2)
    assert found.particle.tolist() == [0, -1, -1, 1, -1]  # half of the particle, and half of the track, are not enough
    assert found.shared.tolist() == [3, 0, 0, 3, 0]
    assert not found.duplicate.any()


def test_the_track_with_most_hits_is_no_duplicate() -> None:
    found = matched([[4, 5, 6], [4, 5, 6, 7], [5, 6, 7, 8], [0, 1, 2]], LINK, 2)
    assert found.particle.tolist() == [1, 1, 1, 0]
    assert found.duplicate.tolist() == [True, False, True, False]


@pytest.mark.parametrize("tracks", [[], [[0]], [[]]])
def test_no_tracks_and_no_particles(tracks: list[list[int]]) -> None:
    found = matched(tracks, np.array([-1]), 0)
    assert (found.particle == -1).all()
    assert not found.duplicate.any()
    assert len(found.particle) == len(found.shared) == len(found.duplicate) == len(tracks)


def test_agrees_with_loops_over_busy_events() -> None:
    random = np.random.default_rng(4)
    seen = {"fake": 0, "duplicate": 0, "half": 0}
    for _ in range(10):
        particles = int(random.integers(20, 61))
        link = random.permutation(
            np.append(np.repeat(np.arange(particles), random.integers(6, 15, particles)), [-1] * 90)
        )
        tracks = []
        for i in random.integers(particles, size=80):
            own, others = np.flatnonzero(link == i), np.flatnonzero(link != i)
            kept = own[random.random(len(own)) < random.choice([0.5, 0.7, 1.0])]
            wrong = random.choice(others, int(random.integers(0, len(kept) + 2)), replace=False)
            tracks.append([*kept.tolist(), *wrong.tolist()])
            seen["half"] += 2 * len(kept) in (len(own), len(kept) + len(wrong))
        found = matched(tracks, link, particles)
        particle, duplicate = by_loops(tracks, link, particles)
        assert found.particle.tolist() == particle
        assert found.duplicate.tolist() == duplicate
        seen["fake"] += sum(own < 0 for own in particle)
        seen["duplicate"] += sum(duplicate)
    assert min(seen.values()) > 30


def test_one_event_of_20_000_hits_and_2_000_tracks() -> None:
    random = np.random.default_rng(5)
    link = np.append(np.repeat(np.arange(1500), 10), [-1] * 5000)
    track = np.repeat(np.arange(2000), 10)  # the first 1500 are the particles, the others of noise
    order = random.permutation(len(link))
    found = match(track[order], link[order], np.full(2000, 10), np.full(1500, 10))
    np.testing.assert_array_equal(found.particle, np.append(np.arange(1500), [-1] * 500))
    np.testing.assert_array_equal(found.shared, np.where(found.particle >= 0, 10, 0))

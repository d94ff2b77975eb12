"""Hits that name their track by an identifier."""

import numpy as np
import pytest

ak = pytest.importorskip("awkward", reason="awkward is not installed: pip install 'hitpool[root]'")

from hitpool.conversion.links import identified  # noqa: E402


def lists(values: list[list[int]]) -> "ak.Array":
    return ak.values_astype(ak.Array(values), np.int64)


def find(hits: list[list[int]], tracks: list[list[int]]) -> list[int]:
    counts = np.array([len(own) for own in tracks])
    return identified(lists(hits), lists(tracks), counts, "a.root: branch 'id'", 100).tolist()


def test_links_are_those_of_a_search_event_by_event():
    random = np.random.default_rng(0)
    tracks = [(random.permutation(20)[: random.integers(0, 5)] + (1 << 60)).tolist() for _ in range(50)]
    hits = [(random.integers(0, 20, random.integers(0, 30)) + (1 << 60)).tolist() for _ in range(50)]
    found = find(hits, tracks)
    pairs = [(own, of_event) for own, of_event in zip(hits, tracks, strict=True)]
    assert found == [ids.index(hit) if hit in ids else -1 for own, ids in pairs for hit in own]
    assert {-1, 0, 3} <= set(found)


def test_events_without_tracks():
    assert find([[5, 6], []], [[], []]) == [-1, -1]


def test_two_tracks_of_one_identifier():
    with pytest.raises(ValueError, match=r"branch 'id': two tracks of entry 101 have the identifier 7, expected diff"):
        find([[], [7]], [[7], [3, 7, 7]])


def test_other_number_of_identifiers_than_tracks():
    with pytest.raises(ValueError, match=r"branch 'id': entry 101 has 2 values and 1 tracks"):
        identified(lists([[], []]), lists([[1], [1, 2]]), np.array([1, 1]), "a.root: branch 'id'", 100)

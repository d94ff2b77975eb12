"""From the truth link of an ntuple to the number of the track in its event."""

from __future__ import annotations

from typing import Any

import numpy as np


def numbered(branch: Any, num_hits: np.ndarray, num_tracks: np.ndarray, where: str, start: int) -> np.ndarray:
    """Checks links that are numbers of tracks.

    Args:
        branch: For each event a list of numbers, an awkward array [events, hits].
        num_hits: Hits in each event, int64 [events].
        num_tracks: Tracks in each event, int64 [events].
        where: File and branch, for messages.
        start: Entry of the first event in the file.

    Returns:
        Number of the track of each hit, -1 without, int64 [all hits].

    Raises:
        ValueError: If a link is no number of a track; names hit and entry.
    """
    values = _flat(branch).astype(np.float64)
    owner = np.repeat(np.arange(len(num_hits)), num_hits)
    bad = ~((values < num_tracks[owner]) & (values == np.floor(values)))
    if bad.any():
        hit = int(np.argmax(bad))
        event = int(owner[hit])
        raise ValueError(
            f"{where}: hit {hit - int(num_hits[:event].sum())} of entry {start + event} links to track "
            f"{values[hit]:g}, expected the number of one of the {num_tracks[event]} tracks, counted from 0, or a "
            "negative number; if it is an identifier, 'track_id' of the mapping names the branch of the tracks with it"
        )
    return np.maximum(values, -1).astype(np.int64)


def identified(branch: Any, track_id: Any, num_tracks: np.ndarray, where: str, start: int) -> np.ndarray:
    """Finds the tracks of hits by identifiers.

    Args:
        branch: For each hit the identifier of its track, an awkward array [events, hits].
        track_id: For each track its identifier, [events, tracks].
        num_tracks: Tracks in each event, int64 [events].
        where: File and branch of the tracks, for messages.
        start: Entry of the first event in the file.

    Returns:
        Number of the track of each hit in its event, -1 for identifiers that no track has, int64 [all hits].

    Raises:
        ValueError: If the number of identifiers is not that of tracks, or two tracks of an event have the same.
    """
    own = _counts(track_id)
    if (different := own != num_tracks).any():
        entry = int(np.argmax(different))
        raise ValueError(f"{where}: entry {start + entry} has {own[entry]} values and {num_tracks[entry]} tracks")
    track_owner = np.repeat(np.arange(len(num_tracks)), num_tracks)
    owner = np.repeat(np.arange(len(num_tracks)), _counts(branch))
    values, codes = np.unique(np.concatenate([_flat(track_id), _flat(branch)]), return_inverse=True)
    keys = np.concatenate([track_owner, owner]) * len(values) + codes  # of event and identifier
    of_tracks, of_hits = np.split(keys, [len(track_owner)])
    order = np.argsort(of_tracks, kind="stable")
    ordered = of_tracks[order]
    if (repeated := ordered[1:] == ordered[:-1]).any():
        track = int(order[1:][repeated][0])
        raise ValueError(
            f"{where}: two tracks of entry {start + int(track_owner[track])} have the identifier "
            f"{values[codes[track]]}, expected different ones"
        )
    if not len(ordered):
        return np.full(len(of_hits), -1)
    place = np.minimum(np.searchsorted(ordered, of_hits), len(ordered) - 1)
    number = order - (np.cumsum(num_tracks) - num_tracks)[track_owner[order]]  # in its event
    return np.where(ordered[place] == of_hits, number[place], -1)


def _flat(branch: Any) -> np.ndarray:
    import awkward as ak

    return np.asarray(ak.flatten(branch))


def _counts(branch: Any) -> np.ndarray:
    import awkward as ak

    return np.asarray(ak.num(branch, axis=1), np.int64)

"""Hits of the tracks that another program found, for the particles of a data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitpool.data import EventDataset
from hitpool.double_majority import match
from hitpool.evaluation.arrays import kept_on_disk
from hitpool.files import read_found_tracks


class FoundHits:
    """The hits of the best track of each particle; found track and particle belong together by double majority.

    Args:
        dataset: The events.
        finder: Name of what found the tracks, such as ckf.

    Raises:
        FileNotFoundError: If the data set has no file of found tracks.
        ValueError: If it is damaged, or not of these events.
    """

    def __init__(self, dataset: EventDataset, finder: str) -> None:
        self.dataset = dataset
        found = read_found_tracks(dataset.index, finder)
        stops = np.cumsum(found.num_hits)
        hits = [found.hits[stop - size : stop] for stop, size in zip(stops, found.num_hits, strict=True)]
        stops = np.cumsum(found.num_tracks)
        self._events = [hits[stop - size : stop] for stop, size in zip(stops, found.num_tracks, strict=True)]

    def belongs(self, events: NDArray[np.int64], true: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Hits of the found track of each particle; none where it has none.

        Args:
            events: Numbers of B events in their folder.
            true: Whether hit m is the particle's, [B, N, M].

        Returns:
            [B, N, M].
        """
        found = np.zeros_like(true)
        for i, event in enumerate(events):
            kept = kept_on_disk(self.dataset, event)
            place = np.where(kept, np.cumsum(kept) - 1, -1)  # of a hit on disk among those of the batch
            tracks = [own[own >= 0] for own in (place[hits] for hits in self._events[event])]
            sizes = np.array([len(own) for own in tracks], np.int64)
            hits = np.concatenate([*tracks, np.empty(0, np.int64)])
            owner = np.where(true[i].any(0), true[i].argmax(0), -1)  # [M]
            best = match(np.repeat(np.arange(len(tracks)), sizes), owner[hits], sizes, true[i].sum(-1))
            for number in np.flatnonzero((best.particle >= 0) & ~best.duplicate):
                found[i, best.particle[number], tracks[number]] = True
        return found

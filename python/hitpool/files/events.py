"""Events in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Events:
    """E events, hits and tracks one after the other.

    Args:
        hits: Hit columns as on disk, [sum(num_hits), C] float32.
        num_hits: Number of hits of each event, [E].
        tracks: Track columns as on disk, [sum(num_tracks), T] float32.
        num_tracks: Number of tracks of each event, [E].
    """

    hits: NDArray[np.float32]
    num_hits: NDArray[np.integer]
    tracks: NDArray[np.float32]
    num_tracks: NDArray[np.integer]

    @staticmethod
    def concatenate(parts: list[Events]) -> Events:
        """Events of several parts.

        Args:
            parts: At least one.

        Returns:
            All events, in this order.
        """
        return Events(*(np.concatenate([getattr(p, name) for p in parts]) for name in vars(parts[0])))

    def first(self, events: int) -> Events:
        """The first events.

        Args:
            events: How many.

        Returns:
            These events.
        """
        num_hits, num_tracks = self.num_hits[:events], self.num_tracks[:events]
        return Events(self.hits[: num_hits.sum()], num_hits, self.tracks[: num_tracks.sum()], num_tracks)

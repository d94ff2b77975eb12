"""Tracks and particles that belong together: more than half of the hits of both are the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Match(NamedTuple):
    """To which particles T tracks belong.

    Args:
        particle: Particle of each track, -1 for a fake, [T].
        shared: Hits of the track that are the particle's, 0 for a fake, [T].
        duplicate: Whether another track has more of the hits of this particle, or as many and comes first, [T].
    """

    particle: NDArray[np.int64]
    shared: NDArray[np.int64]
    duplicate: NDArray[np.bool_]


def match(track: NDArray[Any], owner: NDArray[Any], track_hits: NDArray[Any], particle_hits: NDArray[Any]) -> Match:
    """Matches by double majority: more than half of the hits of the track, and more than half of the particle's.

    A track has at most one such particle; a particle can have several such tracks if they share hits.

    Args:
        track: Track of each hit that is assigned, [H]; a hit of several tracks comes several times.
        owner: Particle of that hit, -1 if there is none, [H].
        track_hits: Number of hits of each track, [T].
        particle_hits: Number of hits of each particle, [P].

    Example:
        >>> found = match(np.array([0, 0, 1, 1, 2, 2]), np.array([0, -1, 1, 1, 1, 1]), np.full(3, 2), np.array([1, 3]))
        >>> found.particle.tolist(), found.duplicate.tolist()
        ([-1, 1, 1], [False, False, True])
    """
    own, particles = owner >= 0, max(len(particle_hits), 1)
    pairs, shared = np.unique(track[own].astype(np.int64) * particles + owner[own], return_counts=True)
    of, to = np.divmod(pairs, particles)
    belong = (2 * shared > track_hits[of]) & (2 * shared > particle_hits[to])
    of, to, shared = of[belong], to[belong], shared[belong]
    found = Match(
        np.full(len(track_hits), -1), np.zeros(len(track_hits), np.int64), np.zeros(len(track_hits), np.bool_)
    )
    found.particle[of], found.shared[of] = to, shared
    best_first = np.lexsort((of, -shared, to))
    again = np.diff(to[best_first], prepend=-1) == 0
    found.duplicate[of[best_first][again]] = True
    return found

"""Found tracks and true particles that belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def majority(hits: Sequence[int], link: NDArray[np.int64]) -> tuple[int, int]:
    """The particle with the most hits of a track.

    Args:
        hits: Hits of the track.
        link: Particle of each hit of the event, -1 if there is none.

    Returns:
        The particle, the first of several, and how many of the hits it has; -1 and 0 if no hit has a particle.

    Example:
        >>> majority([0, 1, 3], np.array([4, 2, 2, 2]))
        (2, 2)
    """
    own = link[list(hits)]
    own = own[own >= 0]
    if not len(own):
        return -1, 0
    counts = np.bincount(own)
    best = int(counts.argmax())
    return best, int(counts[best])


def match(
    tracks: Sequence[Sequence[int]], link: NDArray[np.int64], particles: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Matches by double majority: more than half of the hits of the track, and more than half of the particle's.

    Args:
        tracks: Hits of each track.
        link: Particle of each hit of the event, -1 if there is none.
        particles: Number of particles.

    Returns:
        Particle of each track, -1 for a fake, [T]; and whether another track has more of the hits of this particle, or
        as many and comes first, [T].

    Example:
        >>> particle, duplicate = match([[0, 1], [1, 2, 3], [1, 2]], np.array([0, 1, 1, 1]), 2)
        >>> particle.tolist(), duplicate.tolist()
        ([-1, 1, 1], [False, False, True])
    """
    sizes = np.bincount(link[link >= 0], minlength=particles)
    particle, common = np.full(len(tracks), -1), np.zeros(len(tracks), np.int64)
    for i, hits in enumerate(tracks):
        best, common[i] = majority(hits, link)
        if best >= 0 and 2 * common[i] > len(hits) and 2 * common[i] > sizes[best]:
            particle[i] = best
    duplicate = np.zeros(len(tracks), bool)
    for own in np.unique(particle[particle >= 0]):
        rows = np.flatnonzero(particle == own)
        duplicate[rows] = True
        duplicate[rows[common[rows].argmax()]] = False
    return particle, duplicate

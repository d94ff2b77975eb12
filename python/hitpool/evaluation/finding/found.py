"""Tracks that a model or another program found, with the particles to which they belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.double_majority import match
from hitpool.evaluation.finding.particles import Particles

Named = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Found:
    """T found tracks, in any order.

    Args:
        event: Event of each track, counted among those of the particles, [T].
        hits: Number of its hits, [T].
        particle: Particle to which it belongs, see `hitpool.double_majority`, -1 for a fake, [T].
        shared: How many of its hits are that particle's, [T].
        duplicate: Whether the particle has a better track, [T].
        values: Parameters by quantity, NaN where they are not known, [T] each.
        errors: Their standard deviations, as far as they are stated, [T] each.
    """

    event: NDArray[np.int64]
    hits: NDArray[np.int64]
    particle: NDArray[np.int64]
    shared: NDArray[np.int64]
    duplicate: NDArray[np.bool_]
    values: Named
    errors: Named

    @property
    def best(self) -> NDArray[np.bool_]:
        """The one track of each found particle, [T]."""
        return (self.particle >= 0) & ~self.duplicate

    @staticmethod
    def concatenate(parts: Sequence[Found]) -> Found:
        """Joins tracks of different events.

        Args:
            parts: At least one, all with the same quantities.
        """

        def joined(name: str) -> Any:
            own = [getattr(part, name) for part in parts]
            if isinstance(own[0], dict):
                return {quantity: np.concatenate([part[quantity] for part in own]) for quantity in own[0]}
            return np.concatenate(own)

        return Found(*(joined(item.name) for item in fields(Found)))


def belonging(
    particles: Particles,
    event: NDArray[np.int64],
    track: NDArray[np.int64],
    owner: NDArray[np.int64],
    values: Named,
    errors: Named,
) -> Found:
    """Finds the particle of each track.

    Args:
        particles: The particles.
        event: Event of each track, [T].
        track: Track of each assigned hit, [H].
        owner: Particle of that hit, -1 if there is none, [H].
        values: As in `Found`.
        errors: As in `Found`.
    """
    hits = np.bincount(track, minlength=len(event))
    return Found(event, hits, *match(track, owner, hits, particles.hits), values, errors)

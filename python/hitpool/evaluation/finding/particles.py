"""The true particles of the events of a test, and which hits are theirs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.data import EventDataset
from hitpool.evaluation.quantities import IMPACT, SOURCES, complete
from hitpool.evaluation.reference import read_reference
from hitpool.files import hits_of_events
from hitpool.quantity import quantity_of


@dataclass(frozen=True)
class Particles:
    """The P particles of E events, one event after the other: all that are in `tracks`.

    Args:
        events: Number of each event in its data set, ascending, [E].
        first: Number of particles before each event, and of all, [E + 1].
        first_hit: Number of hits before each event, and of all, [E + 1].
        owner: Particle of each hit on disk, -1 if there is none, [first_hit[-1]].
        values: Parameters by quantity, with those that follow from others, [P] each.
        units: Units of columns of the data set.
    """

    events: NDArray[np.int64]
    first: NDArray[np.int64]
    first_hit: NDArray[np.int64]
    owner: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    units: dict[str, str]

    def __len__(self) -> int:
        return int(self.first[-1])

    @cached_property
    def event(self) -> NDArray[np.int64]:
        """Event of each particle, counted among the E, [P]."""
        return np.repeat(np.arange(len(self.events)), np.diff(self.first))

    @cached_property
    def hits(self) -> NDArray[np.int64]:
        """Number of hits of each particle, [P]."""
        return np.bincount(self.owner[self.owner >= 0], minlength=len(self))

    @property
    def slot(self) -> NDArray[np.int64]:
        """Number of each particle in its event, [P]."""
        return np.arange(len(self)) - self.first[self.event]

    def rows(self, numbers: NDArray[Any]) -> NDArray[np.int64]:
        """Where events are among the E.

        Args:
            numbers: Their numbers in the data set; all of them are there.
        """
        return np.searchsorted(self.events, numbers)


def read_particles(dataset: EventDataset, fields: Collection[str], truth_link: str) -> Particles:
    """Reads the particles of a data set.

    Args:
        dataset: The events.
        fields: Targets of a model; the other true parameters are the columns with the same prefix.
        truth_link: Column that links a hit to its particle.

    Raises:
        ValueError: If none of the fields has a known quantity, or a file is damaged.
    """
    known = [field for field in fields if quantity_of(field) in (*SOURCES, *IMPACT)]
    if not known:
        raise ValueError(f"no target of the model is a known quantity, only {', '.join(fields) or 'none'}")
    prefix = known[0].removesuffix(quantity_of(known[0]))
    index, counts = dataset.index, dataset.num_particles
    slots = np.arange(dataset.max_particles) < counts[:, None]  # [E, N]
    values = {name: own[dataset.sample_id][slots] for name, own in read_reference(dataset, prefix)[0].items()}
    first, first_hit = (
        np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]) for sizes in (counts, dataset.num_hits_on_disk)
    )
    owner = np.full(first_hit[-1], -1)
    for event, hits in enumerate(hits_of_events(index, dataset.sample_id, [truth_link])):
        link = hits[:, 0].astype(np.int64)
        owner[first_hit[event] : first_hit[event + 1]] = np.where(link >= 0, first[event] + link, -1)
    return Particles(dataset.sample_id, first, first_hit, owner, complete(values), dict(index.units))

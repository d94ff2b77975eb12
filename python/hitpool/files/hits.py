"""The hits of a data set without their truth, event after event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.files.event_file import open_event_file
from hitpool.files.index import EventIndex

EVENTS_AT_ONCE = 1000


def hits_of_events(index: EventIndex, events: NDArray[Any], columns: Sequence[str]) -> Iterator[NDArray[Any]]:
    """Reads the hits of events as they are on disk, a part of the data set at a time.

    Args:
        index: Of the data set.
        events: Their numbers, in the order in which they are wanted.
        columns: Wanted columns of the hits, C of them.

    Yields:
        Hits of an event, [M, C].

    Raises:
        KeyError: If the data set lacks a column.
        ValueError: If a file is damaged.
    """
    if missing := [column for column in columns if column not in index.hit_columns]:
        raise KeyError(
            f"data set {index.directory} has no column {', '.join(map(repr, missing))}; available columns: "
            f"{', '.join(index.hit_columns)}"
        )
    places = [index.hit_columns.index(column) for column in columns]
    for start in range(0, len(events), EVENTS_AT_ONCE):
        chosen = events[start : start + EVENTS_AT_ONCE]
        found: dict[int, NDArray[Any]] = {}
        for number in np.unique(index.file_index[chosen]):
            own = np.flatnonzero(index.file_index[chosen] == number)
            rows, position = np.unique(index.row_index[chosen[own]], return_inverse=True)
            with open_event_file(index.path(number), index.hit_columns, index.track_columns) as file:
                hits: dict[int, NDArray[Any]] = {}
                for read, block in file.slabs(file.hits, rows):
                    counts = file.num_hits[rows[read]]
                    hits |= {
                        int(row): own_hits[:count][:, places]
                        for row, own_hits, count in zip(read, block, counts, strict=True)
                    }
            found |= {int(event): hits[int(row)] for event, row in zip(own, position, strict=True)}
        yield from (found[event] for event in range(len(chosen)))

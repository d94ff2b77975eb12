"""A new data set: a folder of event files with their index."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hitpool.files.atomic import complete_or_nothing
from hitpool.files.event_file import write_event_file
from hitpool.files.events import Events
from hitpool.files.index import write_index


def write_data_set(
    output: Path,
    batches: Iterable[Events],
    hit_columns: Sequence[str],
    track_columns: Sequence[str],
    generator: Mapping[str, Any],
    source: str,
    batches_per_file: int = 1,
    more: Mapping[str, Any] | None = None,
    last: Callable[[Path], Mapping[str, Any]] | None = None,
) -> None:
    """Writes events to a new folder, which appears only when it is complete.

    Args:
        output: The folder, which must not exist.
        batches: The events, at least one in each batch.
        hit_columns: Names of the hit columns.
        track_columns: Names of the track columns.
        generator: Settings that are stored under ``generator`` in metadata.yaml.
        source: Command that made the events.
        batches_per_file: Batches in one file.
        more: What else the metadata say, see `write_index`.
        last: Called with the folder when it has all events; may write other files, and returns more for the metadata.

    Raises:
        FileExistsError: If the folder exists.
        InUseError: If another process writes it.
        WriteError: If it cannot be written.
    """
    remaining = iter(batches)
    files: list[dict[str, Any]] = []
    start = 0
    with complete_or_nothing(output) as folder:
        while waiting := list(itertools.islice(remaining, batches_per_file)):
            events = Events.concatenate(waiting)
            events = replace(
                events, num_hits=events.num_hits.astype(np.int32), num_tracks=events.num_tracks.astype(np.int16)
            )
            name, count = f"data/events_{len(files):04d}.h5", len(events.num_hits)
            write_event_file(folder / name, hit_columns, track_columns, events, np.arange(start, start + count))
            files.append({"h5_file": name, "source_dataset": source, "event_count": count, "worker_id": "merged"})
            start += count
        entries = {"generator": dict(generator), **(more or {}), **(last(folder) if last else {})}
        write_index(folder, hit_columns, track_columns, files, entries)

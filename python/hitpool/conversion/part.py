"""One HDF5 file of a converted data set: some entries of one ROOT file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from hitpool.conversion.cuts import Cuts, Ntuple, Step, select
from hitpool.conversion.mapping import Mapping
from hitpool.conversion.root import read_events
from hitpool.files import replacing
from hitpool.simulation.writer import padded_bytes, write_checksums

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Part:
    """What becomes one HDF5 file.

    Attributes:
        source: ROOT file.
        start: First entry.
        stop: One after the last entry.
        output: The HDF5 file.
    """

    source: Path
    start: int
    stop: int
    output: Path


def convert_part(part: Part, mapping: Mapping, cuts: Cuts) -> None:
    """Writes the HDF5 file; it has its name only when it is complete.

    Args:
        part: What to convert.
        mapping: Branches and columns.
        cuts: Selection.

    Raises:
        FileNotFoundError: If the ROOT file does not exist.
        ValueError: If the ROOT file is bad.
        WriteError: If the HDF5 file cannot be written.
    """
    names = [column.name for column in mapping.tracks]
    numbers = [None if name is None else names.index(name) for name in (mapping.pt, mapping.eta)]
    events, steps = select(read_events(part.source, mapping, part.start, part.stop), cuts, *numbers)
    events.hits[:, [column.name for column in mapping.hits].index(mapping.truth_link)] = events.link
    size = padded_bytes(events.hits, events.num_hits) + padded_bytes(events.tracks, events.num_tracks)
    with replacing(part.output, size) as target, h5py.File(target, "w") as file:
        file.attrs["hit_features"] = np.array([column.name for column in mapping.hits], dtype="S")
        file.attrs["track_features"] = np.array(names, dtype="S")
        file.attrs["num_events"] = file.attrs["valid_events_count"] = len(events.num_hits)
        file.attrs["source_root_file"] = str(part.source)
        file.attrs["worker_id"] = 0
        file.attrs["cut_flow"] = json.dumps([asdict(step) for step in steps])
        _write_events(file, events)


def cut_flow(part: Part) -> list[Step] | None:
    """Reads the cut flow of a finished part.

    Args:
        part: The part.

    Returns:
        The steps, or None if the HDF5 file is not there or not complete.
    """
    if not part.output.is_file():
        return None
    try:
        with h5py.File(part.output) as file:
            return [Step(**step) for step in json.loads(file.attrs["cut_flow"])]
    except (OSError, KeyError):
        return None


def _write_events(file: h5py.File, events: Ntuple) -> None:
    _write_padded(file, "hits", events.hits, events.num_hits)
    _write_padded(file, "tracks", events.tracks, events.num_tracks)
    file["num_hits"] = events.num_hits.astype(np.int32)
    file["num_tracks"] = events.num_tracks.astype(np.int32)
    file["event_numbers"] = events.event_number
    write_checksums(file, "hits", events.hits, events.num_hits)
    write_checksums(file, "tracks", events.tracks, events.num_tracks)


def _write_padded(file: h5py.File, name: str, values: np.ndarray, counts: np.ndarray) -> None:
    """Rows [all, columns] of all events, padded with NaN to the longest event, one event per chunk."""
    shape = (len(counts), max(1, int(counts.max(initial=0))), values.shape[1])
    dataset = file.create_dataset(name, shape, np.float32, chunks=(1, *shape[1:]) if len(counts) else None)
    stop = np.cumsum(counts)
    events = max(1, _BLOCK_BYTES // (4 * shape[1] * shape[2]))
    for first in range(0, len(counts), events):
        number = counts[first : first + events]
        begin = stop[first] - counts[first]
        block = np.full((len(number), *shape[1:]), np.nan, np.float32)
        block[np.arange(shape[1]) < number[:, None]] = values[begin : begin + number.sum()]
        dataset[first : first + len(number)] = block

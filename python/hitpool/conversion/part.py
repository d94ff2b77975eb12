"""One HDF5 file of a converted data set: some entries of one ROOT file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from hitpool.conversion.cuts import Cuts, Step, select
from hitpool.conversion.mapping import Mapping
from hitpool.conversion.root import read_events
from hitpool.conversion.share import in_share
from hitpool.files import write_event_file


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


def convert_part(part: Part, mapping: Mapping, cuts: Cuts, share: tuple[float, float]) -> None:
    """Writes the HDF5 file; it has its name only when it is complete.

    Args:
        part: What to convert.
        mapping: Branches and columns.
        cuts: Selection.
        share: Events that are converted, see `hitpool.conversion.share`.

    Raises:
        FileNotFoundError: If the ROOT file does not exist.
        ValueError: If the ROOT file is bad.
        WriteError: If the HDF5 file cannot be written.
    """
    hits, tracks = ([column.name for column in columns] for columns in (mapping.hits, mapping.tracks))
    numbers = [None if name is None else tracks.index(name) for name in (mapping.pt, mapping.eta)]
    chosen = in_share(np.arange(part.start, part.stop), *share)
    ntuple = read_events(part.source, mapping, part.start, part.stop).chosen(chosen)
    events, steps = select(ntuple, cuts, *numbers)
    events.hits[:, hits.index(mapping.truth_link)] = events.link
    attributes = {
        "num_events": len(events.num_hits),
        "valid_events_count": len(events.num_hits),
        "source_root_file": str(part.source),
        "worker_id": 0,
        "cut_flow": json.dumps([asdict(step) for step in steps]),
    }
    counts = {name: getattr(events, name).astype(np.int32) for name in ("num_hits", "num_tracks")}
    write_event_file(part.output, hits, tracks, replace(events, **counts), events.event_number, attributes)


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

"""Tracks that somebody found in the events of a data set, in a file beside it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hitpool.files.atomic import replacing
from hitpool.files.index import EventIndex, read_metadata

PARAMETERS = ("d0", "z0", "phi", "theta", "q/p")
UNITS = ("mm", "mm", "rad", "rad", "1/GeV")


@dataclass(frozen=True)
class FoundTracks:
    """Found tracks of E events, one after the other, in the order of the events of the data set.

    Args:
        num_tracks: Number of tracks of each event, [E].
        num_hits: Number of hits of each track, [T].
        hits: Rows of the hits in their event, track after track, [sum(num_hits)].
        parameters: `PARAMETERS` at the beam line, NaN if they are not known, [T, 5].
        covariance: Their covariance, [T, 5, 5].
    """

    num_tracks: NDArray[Any]
    num_hits: NDArray[Any]
    hits: NDArray[Any]
    parameters: NDArray[Any]
    covariance: NDArray[Any]


def found_tracks_path(folder: Path, finder: str) -> Path:
    """Where the found tracks of a data set are.

    Args:
        folder: Folder of the data set.
        finder: Name of what found them, such as ckf.
    """
    return folder / f"{finder}.h5"


def write_found_tracks(path: Path, tracks: FoundTracks, **more: NDArray[Any]) -> None:
    """Writes a file of found tracks.

    Args:
        path: The file.
        tracks: The tracks.
        more: What else is known of them, by name.

    Raises:
        WriteError: If it cannot be written.
    """
    with replacing(path) as target, h5py.File(target, "w") as file:
        for name, values in {item.name: getattr(tracks, item.name) for item in fields(FoundTracks)}.items():
            file[name] = values
        for name, values in more.items():
            file[name] = values
        file["parameters"].attrs["names"] = np.array(PARAMETERS, dtype="S")
        file["parameters"].attrs["units"] = np.array(UNITS, dtype="S")


def read_found_tracks(index: EventIndex, finder: str) -> FoundTracks:
    """Reads the found tracks of a data set.

    Args:
        index: Of the data set.
        finder: Name of what found them, such as ckf.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or not of these events.
    """
    path = found_tracks_path(index.directory, finder)
    if not path.is_file():
        raise FileNotFoundError(f"file of found tracks {path} does not exist")
    try:
        with h5py.File(path, "r") as file:
            if missing := [item.name for item in fields(FoundTracks) if item.name not in file]:
                raise ValueError(f"{path}: expected {', '.join(missing)}, got {', '.join(file) or 'nothing'}")
            names = [str(np.asarray(name).astype(str)) for name in file["parameters"].attrs.get("names", PARAMETERS)]
            tracks = FoundTracks(*(np.asarray(file[item.name]) for item in fields(FoundTracks)))
    except OSError as error:
        raise ValueError(f"{path} is not readable as HDF5: {error}") from error
    if tuple(names) != PARAMETERS:
        raise ValueError(f"{path}: expected the parameters {', '.join(PARAMETERS)}, got {', '.join(names)}")
    _check_sizes(path, tracks, len(index))
    return tracks


def milliseconds_per_event(index: EventIndex, finder: str) -> float | None:
    """CPU time that the finding took, in one process; None if the metadata do not say it.

    Args:
        index: Of the data set.
        finder: Name of what found the tracks: that of its entry in the metadata.
    """
    summary = read_metadata(index.directory).get(finder)
    stated = summary.get("milliseconds_per_event") if isinstance(summary, dict) else None
    return float(stated) if isinstance(stated, int | float) else None


def _check_sizes(path: Path, tracks: FoundTracks, events: int) -> None:
    number, hits = int(tracks.num_tracks.sum()), int(tracks.num_hits.sum())
    expected = {
        "num_tracks": (events,),
        "num_hits": (number,),
        "hits": (hits,),
        "parameters": (number, len(PARAMETERS)),
        "covariance": (number, len(PARAMETERS), len(PARAMETERS)),
    }
    for name, shape in expected.items():
        if (found := getattr(tracks, name).shape) != shape:
            raise ValueError(
                f"{path}: expected '{name}' to be {list(shape)}, for {events} events with {number} tracks and {hits} "
                f"hits of tracks, got {list(found)}"
            )
    track = np.repeat(np.arange(number), tracks.num_hits)  # [all hits]
    order = np.lexsort((tracks.hits, track))
    twice = (np.diff(track[order]) == 0) & (np.diff(tracks.hits[order]) == 0)
    if twice.any():
        raise ValueError(f"{path}: track {track[order][np.argmax(twice)]} names one of its hits twice")

"""A data set on disk: HDF5 files of padded events, two index arrays, metadata."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from hitpool.files import (
    INDEX_CHECKSUMS,
    INDEX_FILES,
    SUFFIX,
    checksums,
    index_checksums,
    replacing,
    write_bytes,
    write_text,
)
from hitpool.simulation.events import Events
from hitpool.simulation.readout import HIT_FEATURES, TRACK_FEATURES


class Writer:
    """Writes events to a folder, file by file.

    Args:
        folder: An existing folder.
        generator: Settings that are stored under `generator` in metadata.yaml.
        hit_features: Names of the hit columns.
        track_features: Names of the track columns.
        source: Command that made the events.
    """

    def __init__(
        self,
        folder: Path,
        generator: Mapping[str, Any],
        hit_features: Sequence[str] = HIT_FEATURES,
        track_features: Sequence[str] = TRACK_FEATURES,
        source: str = "hitpool simulate",
    ) -> None:
        self.folder = folder
        self.generator = dict(generator)
        self.hit_features = list(hit_features)
        self.track_features = list(track_features)
        self.source = source
        self.files: list[dict[str, Any]] = []
        (folder / "data").mkdir()

    def add_file(self, events: Events) -> None:
        """Write the next HDF5 file.

        Args:
            events: Its events, at least one.
        """
        name = f"data/events_{len(self.files):04d}.h5"
        count = events.num_hits.size
        start = sum(entry["event_count"] for entry in self.files)
        size = padded_bytes(events.hits, events.num_hits) + padded_bytes(events.tracks, events.num_tracks)
        with replacing(self.folder / name, size) as target, h5py.File(target, "w") as file:
            file.attrs["hit_features"] = np.array(self.hit_features, dtype="S")
            file.attrs["track_features"] = np.array(self.track_features, dtype="S")
            _write_padded(file, "hits", events.hits, events.num_hits)
            _write_padded(file, "tracks", events.tracks, events.num_tracks)
            file["num_hits"] = events.num_hits.astype(np.int32)
            file["num_tracks"] = events.num_tracks.astype(np.int16)
            file["event_numbers"] = np.arange(start, start + count, dtype=np.int64)
            write_checksums(file, "hits", events.hits, events.num_hits)
            write_checksums(file, "tracks", events.tracks, events.num_tracks)
        self.files.append(
            {
                "h5_file": name,
                "source_dataset": self.source,
                "event_count": count,
                "worker_id": "merged",
            }
        )

    def finish(self) -> None:
        """Write the index arrays and, last, the metadata without which a data set does not load."""
        metadata = {
            "hit_features": self.hit_features,
            "track_features": self.track_features,
            "event_mapping": write_index(self.folder, self.files),
            "generator": self.generator,
        }
        write_text(self.folder / "metadata.yaml", yaml.safe_dump(metadata, sort_keys=False))


def write_index(folder: Path, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the index arrays: all events of the first file, then those of the second, and so on.

    Args:
        folder: Folder of the data set.
        files: For each file `h5_file`, `event_count` and what else is to be said of it.

    Returns:
        What `event_mapping` in metadata.yaml says.
    """
    counts = [entry["event_count"] for entry in files]
    arrays = np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(n) for n in counts])
    written = {}
    for (key, name), values in zip(INDEX_FILES.items(), arrays, strict=True):
        content = io.BytesIO()
        np.save(content, values.astype(np.int32))
        written[key] = content.getvalue()
        write_bytes(folder / name, written[key])
    return {
        "description": "event i is row event_row_indices[i] of file event_file_indices[i]",
        "total_events": sum(counts),
        "total_chunks": len(files),
        "index_files": dict(INDEX_FILES),
        INDEX_CHECKSUMS: index_checksums([entry["h5_file"] for entry in files], written),
        "chunk_summary": list(files),
    }


def write_checksums(file: h5py.File, name: str, values: np.ndarray, counts: np.ndarray) -> None:
    """Write the checksums of the rows of each event.

    Args:
        file: The event file.
        name: The data set that holds the rows, `hits` or `tracks`.
        values: Rows of all events [all rows, columns].
        counts: Number of rows of each event.
    """
    file[name + SUFFIX] = checksums(np.split(values, np.cumsum(counts))[:-1])


def padded_bytes(values: np.ndarray, counts: np.ndarray) -> int:
    """Size on disk (bytes) of float32 rows that are padded to the longest event.

    Args:
        values: Rows of all events [all rows, columns].
        counts: Number of rows of each event.
    """
    return counts.size * max(1, int(counts.max(initial=0))) * values.shape[1] * 4


def _write_padded(file: h5py.File, name: str, values: np.ndarray, counts: np.ndarray) -> None:
    """Rows of all events, padded with NaN to the longest event, one event per chunk."""
    longest = int(counts.max())
    padded = np.full((counts.size, longest, values.shape[1]), np.nan, dtype=np.float32)
    event = np.repeat(np.arange(counts.size), counts)
    rank = np.arange(values.shape[0]) - np.repeat(np.cumsum(counts) - counts, counts)
    padded[event, rank] = values
    file.create_dataset(name, data=padded, chunks=(1, *padded.shape[1:]))

"""One HDF5 file of a data set: padded events, written, and opened with checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hitpool.files.atomic import replacing
from hitpool.files.checksum import SUFFIX, checksums
from hitpool.files.events import Events

SLAB_BYTES = 64 * 2**20
"""Largest piece of a file that is decoded or padded at once (one row of chunks at least)."""

SLAB_CHUNKS = 1000
"""Most rows of chunks that are read at once: HDF5 spends kilobytes on each chunk of a selection."""

_RANKS = {"hits": 3, "tracks": 3, "num_hits": 1, "num_tracks": 1}


@dataclass(frozen=True)
class EventFile:
    """The four data sets of one open file.

    Attributes:
        path: The file.
        hits: [rows, most hits, C].
        tracks: [rows, most tracks, T].
        num_hits: Valid hits per row, int64 [rows].
        num_tracks: Valid tracks per row, int64 [rows].
        crc32: Checksums of valid ``hits`` and ``tracks``, uint32 [rows] each, as far as the file has any.
    """

    path: Path
    hits: h5py.Dataset
    tracks: h5py.Dataset
    num_hits: np.ndarray
    num_tracks: np.ndarray
    crc32: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.num_hits)

    def slabs(self, dataset: h5py.Dataset, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Reads the wanted rows in slabs of whole chunks, so that no chunk is decoded twice; compares checksums.

        Args:
            dataset: ``hits`` or ``tracks``.
            rows: Wanted rows, ascending.

        Yields:
            Positions in ``rows`` that are covered [n], and their content [n, ...].

        Raises:
            ValueError: If the file is damaged; names the first row that cannot be read or has another checksum.
        """
        row_bytes = max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])))
        size = max(1, SLAB_BYTES // row_bytes)
        if dataset.chunks:
            chunk = dataset.chunks[0]
            size = min(max(1, size // chunk), SLAB_CHUNKS) * chunk
        for slab in np.unique(rows // size):
            first, last = np.searchsorted(rows, [slab * size, (slab + 1) * size])
            start, stop = int(rows[first]), int(rows[last - 1]) + 1
            block = self._read(dataset, start, stop)[rows[first:last] - start]
            self._compare(_name(dataset), rows[first:last], block)
            yield np.arange(first, last), block

    def _read(self, dataset: h5py.Dataset, start: int, stop: int) -> np.ndarray:
        try:
            return np.asarray(dataset[start:stop])
        except (OSError, RuntimeError) as error:
            for row in range(start, stop):  # find the first damaged one
                try:
                    dataset[row]
                except (OSError, RuntimeError) as row_error:
                    raise ValueError(
                        f"{self.path}: '{_name(dataset)}' of row {row} is damaged: {row_error}"
                    ) from row_error
            raise ValueError(f"{self.path}: '{_name(dataset)}' cannot be read: {error}") from error

    def _compare(self, name: str, rows: np.ndarray, block: np.ndarray) -> None:
        if name not in self.crc32:
            return
        counts = {"hits": self.num_hits, "tracks": self.num_tracks}[name][rows].tolist()
        found = checksums(row[:count] for row, count in zip(block, counts, strict=True))
        different = found != self.crc32[name][rows]
        if different.any():
            raise ValueError(wrong_checksum(f"{self.path}, row {rows[np.argmax(different)]}", name))


@contextmanager
def open_event_file(path: Path, hit_columns: list[str], track_columns: list[str]) -> Iterator[EventFile]:
    """Opens a file and checks that it has the layout which the metadata promises.

    Args:
        path: The file.
        hit_columns: Column names of ``hits``.
        track_columns: Column names of ``tracks``.

    Yields:
        The open file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not readable or has another layout.
    """
    if not path.is_file():
        present = sorted(str(p.relative_to(path.parent)) for p in path.parent.glob("*.h5"))
        raise FileNotFoundError(
            f"event file {path} is missing; {path.parent} has: {', '.join(present) or 'no .h5 file'}"
        )
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not readable as HDF5 (truncated or damaged): {error}") from error
    with file:
        with damage_named(path):
            content = _read_layout(path, file, hit_columns, track_columns)
        yield content


def write_event_file(
    path: Path,
    hit_columns: Sequence[str],
    track_columns: Sequence[str],
    events: Events,
    event_numbers: np.ndarray,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Writes a file, which has its name only when it is complete.

    Args:
        path: The file.
        hit_columns: Column names of ``hits``.
        track_columns: Column names of ``tracks``.
        events: The rows; their counts are stored in the type that they have.
        event_numbers: A number for each event, [rows].
        attributes: More attributes of the file.

    Raises:
        WriteError: If it cannot be written.
    """
    parts = {"hits": (events.hits, events.num_hits), "tracks": (events.tracks, events.num_tracks)}
    shapes = {
        name: (len(counts), max(1, int(counts.max(initial=0))), values.shape[1])
        for name, (values, counts) in parts.items()
    }
    size = sum(4 * int(np.prod(shape)) for shape in shapes.values())
    with replacing(path, size) as target, h5py.File(target, "w") as file:
        file.attrs["hit_features"] = np.array(hit_columns, dtype="S")
        file.attrs["track_features"] = np.array(track_columns, dtype="S")
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
        for name, (values, counts) in parts.items():
            _write_padded(file, name, shapes[name], values, counts)
        file["num_hits"] = events.num_hits
        file["num_tracks"] = events.num_tracks
        file["event_numbers"] = event_numbers
        for name, (values, counts) in parts.items():
            file[name + SUFFIX] = checksums(np.split(values, np.cumsum(counts))[:-1])


def _write_padded(
    file: h5py.File, name: str, shape: tuple[int, int, int], values: np.ndarray, counts: np.ndarray
) -> None:
    """Writes the rows of all events [all, columns], padded with NaN, one event per chunk."""
    dataset = file.create_dataset(name, shape, np.float32, chunks=(1, *shape[1:]) if len(counts) else None)
    stop = np.cumsum(counts)
    size = max(1, SLAB_BYTES // (4 * shape[1] * shape[2]))
    for first in range(0, len(counts), size):
        number = counts[first : first + size]
        block = np.full((len(number), *shape[1:]), np.nan, np.float32)
        valid = np.arange(shape[1]) < number[:, None]
        block[valid] = values[stop[first] - counts[first] : stop[first + len(number) - 1]]
        dataset[first : first + len(number)] = block


def wrong_checksum(where: str, name: str) -> str:
    """Error message about a row of an event file that does not have its checksum.

    Args:
        where: File and row.
        name: ``hits`` or ``tracks``.
    """
    return (
        f"{where}: '{name}' do not have their checksum '{name + SUFFIX}': the file is damaged, or was changed; if it "
        f"was changed on purpose, remove '{name + SUFFIX}' from it"
    )


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Names the file in what h5py raises for a damaged one.

    Args:
        path: The file.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        yield
    except (OSError, RuntimeError, TypeError, LookupError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _read_layout(path: Path, file: h5py.File, hit_columns: list[str], track_columns: list[str]) -> EventFile:
    for name, rank in _RANKS.items():
        if not isinstance(file.get(name), h5py.Dataset):
            available = ", ".join(key for key in file if isinstance(file.get(key), h5py.Dataset))
            raise ValueError(f"{path}: missing data set '{name}'; available: {available or 'none'}")
        if file[name].ndim != rank:
            raise ValueError(f"{path}: expected '{name}' with {rank} dimensions, got shape {file[name].shape}")
    for name, key, columns in (
        ("hits", "hit_features", hit_columns),
        ("tracks", "track_features", track_columns),
    ):
        _check_columns(path, file, name, key, columns)
    lengths = {name: len(file[name]) for name in _RANKS}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{path}: expected the same number of rows in all data sets, got {lengths}")
    num_hits = _read_counts(path, file["num_hits"])
    num_tracks = _read_counts(path, file["num_tracks"])
    crc32 = {name: _read_checksums(path, file, name) for name in ("hits", "tracks") if name + SUFFIX in file}
    return EventFile(path, file["hits"], file["tracks"], num_hits, num_tracks, crc32)


def _check_columns(path: Path, file: h5py.File, name: str, key: str, columns: list[str]) -> None:
    dataset = file[name]
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected '{name}' to hold numbers, got dtype {dataset.dtype}")
    if dataset.shape[2] != len(columns):
        raise ValueError(
            f"{path}: '{name}' has {dataset.shape[2]} columns, but {key} in metadata.yaml "
            f"names {len(columns)}: {', '.join(columns)}"
        )
    if key in file.attrs:
        own = [n.decode() if isinstance(n, bytes) else str(n) for n in np.atleast_1d(file.attrs[key])]
        if own != columns:
            raise ValueError(
                f"{path}: attribute {key} ({', '.join(own)}) differs from metadata.yaml ({', '.join(columns)})"
            )


def _read_counts(path: Path, counts: h5py.Dataset) -> np.ndarray:
    if counts.dtype.kind not in "iu":
        raise ValueError(f"{path}: expected '{_name(counts)}' to hold integers, got dtype {counts.dtype}")
    try:
        return np.asarray(counts[:], np.int64)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path}: '{_name(counts)}' cannot be read, the file is damaged: {error}") from error


def _read_checksums(path: Path, file: h5py.File, name: str) -> np.ndarray:
    values, rows = file[name + SUFFIX], len(file[name])
    if not isinstance(values, h5py.Dataset) or values.shape != (rows,) or values.dtype.kind != "u":
        raise ValueError(f"{path}: expected '{name + SUFFIX}' to hold {rows} unsigned integers, got {values}")
    return np.asarray(values[:])


def _name(dataset: h5py.Dataset) -> str:
    return str(dataset.name).lstrip("/")

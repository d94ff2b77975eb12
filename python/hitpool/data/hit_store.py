"""The valid hits of the selected events, read from disk on demand and in any order."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing import reduction
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hitpool.data.event_file import EventFile

_ROW_TYPE = np.dtype("<f4")
_MOST_OPEN_FILES = 128
_UNPACKED = -1

_log = logging.getLogger(__name__)


class HitStore:
    """Gives the hits of any events with one positioned read per event; keeps no hits in memory.

    Files whose ``hits`` are stored as plain float32 rows (no compression; contiguous, or in chunks that hold
    whole events) are read in place, by byte offset. All others, compressed ones above all, are decoded once,
    when they are added, into an anonymous temporary file that holds only the valid hits (4 bytes x columns
    for each); it lies in ``TMPDIR`` and disappears with the last process that uses it. Memory: 20 bytes per
    event.

    The store can be used after a fork and can be sent to a spawned process.

    Args:
        num_hits: Valid hits of each selected event, [events].
        num_columns: Columns of a hit on disk.
        where: Describes a selected event in error messages.
    """

    def __init__(self, num_hits: np.ndarray, num_columns: int, where: Callable[[int], str]) -> None:
        self._num_bytes = num_hits * num_columns * _ROW_TYPE.itemsize
        self._num_columns = num_columns
        self._where = where
        self._paths: list[Path] = []
        self._source = np.full(len(num_hits), _UNPACKED, np.int32)
        self._offset = np.zeros(len(num_hits), np.int64)
        self._unpacked: BinaryIO | None = None
        self._open_files: OrderedDict[int, BinaryIO] = OrderedDict()

    def add(self, file: EventFile, events: np.ndarray, rows: np.ndarray) -> None:
        """Registers the selected events that lie in one file.

        Args:
            file: The open file.
            events: Their numbers in the selection, [n].
            rows: Their rows in the file, ascending, [n].

        Raises:
            ValueError: If the file is damaged, or must be unpacked and the temporary folder is too small.
        """
        offsets = _row_offsets(file)
        if offsets is None:
            self._unpack(file, events, rows)
        else:
            self._source[events] = len(self._paths)
            self._offset[events] = offsets[rows]
            self._paths.append(file.path.resolve())

    def read(self, events: np.ndarray) -> np.ndarray:
        """Reads the valid hits of some events.

        Args:
            events: Their numbers in the selection, [n].

        Returns:
            The hits of all of them, one event after the other, float32 [hits, C].

        Raises:
            ValueError: If a file has become shorter; names the event.
        """
        sources, offsets = self._source[events].tolist(), self._offset[events].tolist()
        sizes = self._num_bytes[events].tolist()
        if hasattr(os, "posix_fadvise"):  # the disk may fetch all of them at once
            for source, offset, size in zip(sources, offsets, sizes, strict=True):
                os.posix_fadvise(self._file(source).fileno(), offset, size, os.POSIX_FADV_WILLNEED)
        pieces = []
        for event, source, offset, size in zip(events.tolist(), sources, offsets, sizes, strict=True):
            piece = os.pread(self._file(source).fileno(), size, offset)
            if len(piece) != size:
                raise ValueError(f"{self._where(event)}: 'hits' is truncated, expected {size} bytes, got {len(piece)}")
            pieces.append(piece)
        return np.frombuffer(bytearray().join(pieces), _ROW_TYPE).reshape(-1, self._num_columns)

    def _file(self, source: int) -> BinaryIO:
        if source == _UNPACKED:
            if self._unpacked is None:  # only events without hits
                self._unpacked = tempfile.TemporaryFile(prefix="hitpool-")  # noqa: SIM115
            return self._unpacked
        file = self._open_files.get(source)
        if file is None:
            if len(self._open_files) >= _MOST_OPEN_FILES:
                self._open_files.popitem(last=False)[1].close()
            file = self._open_files[source] = self._paths[source].open("rb", buffering=0)
        return file

    def _unpack(self, file: EventFile, events: np.ndarray, rows: np.ndarray) -> None:
        needed, folder = int(self._num_bytes[events].sum()), tempfile.gettempdir()
        if needed > (free := shutil.disk_usage(folder).free):
            raise ValueError(
                f"{file.path} is compressed and needs {needed / 1e9:.1f} GB of temporary space, but {folder} "
                f"has {free / 1e9:.1f} GB: choose another folder by TMPDIR, or store the file uncompressed "
                "(h5repack -f NONE -l CONTI)"
            )
        _log.info("unpacking %d events of %s (%.1f MB)", len(rows), file.path, needed / 1e6)
        target = self._file(_UNPACKED)
        position = target.seek(0, os.SEEK_END)
        for covered, block in file.slabs(file.hits, rows):
            chosen = events[covered]
            num_hits = file.num_hits[rows[covered]]
            sizes = self._num_bytes[chosen]
            self._offset[chosen] = position + np.cumsum(sizes) - sizes
            valid = np.arange(block.shape[1]) < num_hits[:, None]
            target.write(np.ascontiguousarray(block[valid], _ROW_TYPE).data)
            position += int(sizes.sum())
        target.flush()

    def __getstate__(self) -> dict[str, Any]:
        unpacked = None if self._unpacked is None else reduction.DupFd(self._unpacked.fileno())
        return self.__dict__ | {"_open_files": OrderedDict(), "_unpacked": unpacked}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._unpacked is not None:
            self._unpacked = os.fdopen(self._unpacked.detach(), "rb", buffering=0)


def _row_offsets(file: EventFile) -> np.ndarray | None:
    """Finds the byte where each row of ``hits`` begins, or None if rows are not plain bytes in the file."""
    hits = file.hits
    if hits.dtype != _ROW_TYPE or hits.is_virtual or hits.external or len(hits) == 0:
        return None
    offsets = _contiguous_offsets(hits) if hits.chunks is None else _chunk_offsets(hits)
    if offsets is None:
        return None
    last = hits[len(hits) - 1].tobytes()  # one row is compared, whatever the HDF5 library means by an offset
    with open(file.path, "rb") as raw:
        return offsets if os.pread(raw.fileno(), len(last), int(offsets[-1])) == last else None


def _contiguous_offsets(hits: h5py.Dataset) -> np.ndarray | None:
    start = hits.id.get_offset()  # None for compact or unwritten data
    if start is None:
        return None
    return start + np.arange(len(hits)) * (hits.shape[1] * hits.shape[2] * _ROW_TYPE.itemsize)


def _chunk_offsets(hits: h5py.Dataset) -> np.ndarray | None:
    rows, most_hits, columns = hits.chunks
    if most_hits < hits.shape[1] or columns != hits.shape[2] or hits.id.get_create_plist().get_nfilters():
        return None
    chunk_offset = np.full(-(-len(hits) // rows), -1, np.int64)

    def visit(chunk: Any) -> None:
        chunk_offset[chunk.chunk_offset[0] // rows] = chunk.byte_offset

    hits.id.chunk_iter(visit)
    if (chunk_offset < 0).any():  # chunks that were never written
        return None
    row = np.arange(len(hits))
    return chunk_offset[row // rows] + row % rows * (most_hits * columns * _ROW_TYPE.itemsize)

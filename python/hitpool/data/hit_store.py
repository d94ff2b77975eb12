"""The valid hits of the selected events, read from disk on demand and in any order."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing import reduction
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from hitpool.files import alone, checksums, failures_named, remove_left_lock, replacing
from hitpool.files.event_file import EventFile, damage_named, wrong_checksum

_ROW_TYPE = np.dtype("<f4")
_CRC_TYPE = np.dtype("<u4")
_UNPACKED_SUFFIX = ".hits"
_MOST_OPEN_FILES = 128
_UNPACKED = -1
_NO_CHECKSUM = -1

_log = logging.getLogger(__name__)


class HitStore:
    """Gives the hits of any events with one positioned read per event; keeps no hits in memory.

    Files whose ``hits`` are stored as plain float32 rows (no compression; contiguous, or in chunks that hold
    whole events) are read in place, by byte offset. All others, compressed ones above all, are decoded once
    into a file that holds only the valid hits (4 bytes x columns for each): without ``unpack_dir`` the hits of
    the selected events, in an anonymous file in ``TMPDIR`` that disappears with the last process that uses it;
    otherwise the hits of the whole file, in a file that stays there and serves all processes and later runs.
    Whenever hits are read they are compared with their checksum: that of the event file if it has any, or of what
    was unpacked. Memory: 28 bytes per event.

    The store can be used after a fork and can be sent to a spawned process.

    Args:
        num_events: Number of selected events.
        num_columns: Columns of a hit on disk.
        where: Describes a selected event in error messages.
        unpack_dir: Folder for unpacked files that stay.
    """

    def __init__(
        self, num_events: int, num_columns: int, where: Callable[[int], str], unpack_dir: Path | str | None = None
    ) -> None:
        self._num_columns = num_columns
        self._where = where
        self._unpack_dir = None if unpack_dir is None else Path(unpack_dir)
        self._paths: list[Path] = []
        self._num_bytes = np.zeros(num_events, np.int64)
        self._source = np.full(num_events, _UNPACKED, np.int32)
        self._offset = np.zeros(num_events, np.int64)
        self._crc32 = np.full(num_events, _NO_CHECKSUM, np.int64)
        self._unpacked: BinaryIO | None = None
        self._open_files: OrderedDict[int, BinaryIO] = OrderedDict()

    def add(self, file: EventFile, events: np.ndarray, rows: np.ndarray) -> bool:
        """Registers the selected events that lie in one file.

        Args:
            file: The open file.
            events: Their numbers in the selection, [n].
            rows: Their rows in the file, ascending, [n].

        Returns:
            Whether the file is read in place; if not, ``unpack`` is needed.
        """
        self._num_bytes[events] = file.num_hits[rows] * self._row_bytes
        with damage_named(file.path):
            offsets = _row_offsets(file)
        if offsets is not None:
            self._refer(file.path, events, offsets[rows])
            if "hits" in file.crc32:
                self._crc32[events] = file.crc32["hits"][rows]
        return offsets is not None

    def check_space(self, events: np.ndarray) -> None:
        """Makes sure that events can be unpacked, before time is spent on the first file.

        Args:
            events: Numbers in the selection of all events that need it.

        Raises:
            ValueError: If the temporary folder is too small.
        """
        folder = tempfile.gettempdir()
        needed, free = int(self._num_bytes[events].sum()), shutil.disk_usage(folder).free
        if self._unpack_dir is None and needed > free:
            raise ValueError(
                f"the hits of {len(events)} events are compressed and need {needed / 1e6:,.1f} MB of temporary space, "
                f"but {folder} has {free / 1e6:,.1f} MB: choose another folder by TMPDIR or, to unpack once for all "
                "runs, by data.unpack_dir; or store the files uncompressed (h5repack -f NONE -l CONTI)"
            )

    def unpack(self, file: EventFile, events: np.ndarray, rows: np.ndarray) -> None:
        """Decodes a file, unless that has been done before; arguments as for ``add``.

        Raises:
            ValueError: If the file is damaged or the folder of unpacked files is too small.
            WriteError: If the unpacked hits cannot be written.
        """
        if self._unpack_dir is not None:
            path, offsets, crc32 = unpacked_file(file, self._unpack_dir)
            self._refer(path, events, offsets[rows])
            self._crc32[events] = crc32[rows]
            return
        _log.info("unpacking %d events of %s (%.1f MB)", len(rows), file.path, self._num_bytes[events].sum() / 1e6)
        target = self._file(_UNPACKED)
        start = target.seek(0, os.SEEK_END)
        with failures_named(f"{tempfile.gettempdir()} (TMPDIR, for the hits of {file.path})"):
            self._crc32[events] = write_valid_hits(file, rows, target)
        sizes = self._num_bytes[events]
        self._offset[events] = start + np.cumsum(sizes) - sizes

    def _refer(self, path: Path, events: np.ndarray, offsets: np.ndarray) -> None:
        self._source[events] = len(self._paths)
        self._offset[events] = offsets
        self._paths.append(path.resolve())

    @property
    def _row_bytes(self) -> int:
        return self._num_columns * _ROW_TYPE.itemsize

    def read(self, events: np.ndarray) -> np.ndarray:
        """Reads the valid hits of some events.

        Args:
            events: Their numbers in the selection, [n].

        Returns:
            The hits of all of them, one event after the other, float32 [hits, C].

        Raises:
            ValueError: If a file has become shorter, or hits do not have their checksum; names the event.
        """
        sources, offsets = self._source[events].tolist(), self._offset[events].tolist()
        sizes, crc32 = self._num_bytes[events].tolist(), self._crc32[events].tolist()
        if hasattr(os, "posix_fadvise"):  # the disk may fetch all of them at once
            for source, offset, size in zip(sources, offsets, sizes, strict=True):
                os.posix_fadvise(self._file(source).fileno(), offset, size, os.POSIX_FADV_WILLNEED)
        pieces = []
        for event, source, offset, size, stored in zip(events.tolist(), sources, offsets, sizes, crc32, strict=True):
            piece = os.pread(self._file(source).fileno(), size, offset)
            if len(piece) != size or stored not in (_NO_CHECKSUM, zlib.crc32(piece)):
                raise ValueError(self._damage(event, size, len(piece)))
            pieces.append(piece)
        return np.frombuffer(bytearray().join(pieces), _ROW_TYPE).reshape(-1, self._num_columns)

    def _damage(self, event: int, expected: int, found: int) -> str:
        """Says why the bytes of an event cannot be used."""
        where, source = self._where(event), self._source[event]
        if source == _UNPACKED:
            return f"{where}: its unpacked hits in {tempfile.gettempdir()} (TMPDIR) have changed"
        if self._paths[source].suffix == _UNPACKED_SUFFIX:
            return f"{where}: its unpacked hits in {self._paths[source]} are damaged; remove that file, it is made anew"
        if expected != found:
            return f"{where}: 'hits' is truncated, expected {expected} bytes, got {found}"
        return wrong_checksum(where, "hits")

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

    def __getstate__(self) -> dict[str, Any]:
        unpacked = None if self._unpacked is None else reduction.DupFd(self._unpacked.fileno())
        return self.__dict__ | {"_open_files": OrderedDict(), "_unpacked": unpacked}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if (unpacked := state["_unpacked"]) is not None:
            self._unpacked = os.fdopen(unpacked.detach(), "rb", buffering=0)

    def __del__(self) -> None:
        for file in (*self._open_files.values(), self._unpacked):
            if file is not None:
                file.close()


def write_valid_hits(file: EventFile, rows: np.ndarray, target: BinaryIO) -> np.ndarray:
    """Writes the valid hits of some rows one after the other, as plain float32.

    Args:
        file: The file to read.
        rows: Rows, ascending.
        target: Where to write.

    Returns:
        Checksum of the hits of each of the rows, uint32 [n].

    Raises:
        ValueError: If the file is damaged.
    """
    found = [np.empty(0, np.uint32)]
    for covered, block in file.slabs(file.hits, rows):
        valid = np.arange(block.shape[1]) < file.num_hits[rows[covered], None]
        target.write(np.ascontiguousarray(block[valid], _ROW_TYPE).data)
        found.append(checksums(hits[own] for hits, own in zip(block, valid, strict=True)))
    target.flush()
    return np.concatenate(found)


def unpacked_file(file: EventFile, folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Gives the valid hits of all rows of a file as plain float32 in a file that is made at the first call.

    Other processes that need it at the same time wait. It is known by the path, the size and the time of the
    last change of the file. Behind the hits are their checksums, uint32 [rows].

    Args:
        file: The open file.
        folder: Where the unpacked file is or shall be.

    Returns:
        The unpacked file, the byte where each row begins [rows], and the checksums of the rows [rows].

    Raises:
        ValueError: If the file is damaged or the folder is too small.
        WriteError: If the folder cannot be written.
    """
    status = file.path.stat()
    identity = f"{file.path.resolve()} {status.st_size} {status.st_mtime_ns}"
    path = folder / f"{file.path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}{_UNPACKED_SUFFIX}"
    num_hits = file.num_hits.clip(0, file.hits.shape[1])  # rows that are not selected have not been checked
    sizes = num_hits * file.hits.shape[2] * _ROW_TYPE.itemsize
    end = int(sizes.sum())
    needed = end + len(sizes) * _CRC_TYPE.itemsize
    if _has_size(path, needed):
        remove_left_lock(path)
    else:
        with alone(path, _log.info):
            if not _has_size(path, needed):
                _unpack(file, path, needed)
    return path, np.cumsum(sizes) - sizes, np.fromfile(path, _CRC_TYPE, offset=end)


def _has_size(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _unpack(file: EventFile, path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise ValueError(
            f"{file.path} is compressed and needs {needed / 1e6:,.1f} MB, but data.unpack_dir {path.parent} has "
            f"{free / 1e6:,.1f} MB"
        )
    _log.info("unpacking %s to %s (%.1f MB)", file.path, path, needed / 1e6)
    with replacing(path, needed) as target:
        target.write(write_valid_hits(file, np.arange(len(file)), target).astype(_CRC_TYPE))


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
    offsets: np.ndarray = start + np.arange(len(hits)) * (hits.shape[1] * hits.shape[2] * _ROW_TYPE.itemsize)
    return offsets


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
    offsets: np.ndarray = chunk_offset[row // rows] + row % rows * (most_hits * columns * _ROW_TYPE.itemsize)
    return offsets

"""Checksums of data sets: HDF5 keeps uncompressed values without any."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

SUFFIX = "_crc32"
"""``hits_crc32`` holds the checksums of ``hits``."""


def checksums(events: Iterable[np.ndarray]) -> np.ndarray:
    """CRC-32 of the rows of each event, as float32 in little-endian order.

    Args:
        events: For each of E events its valid rows, without padding, [rows, columns].

    Returns:
        uint32 [E].

    Example:
        >>> checksums([np.zeros((0, 4)), np.array([[1.0, 2.0]])]).tolist()
        [0, 775923062]
    """
    return np.array([zlib.crc32(np.ascontiguousarray(rows, "<f4")) for rows in events], np.uint32)


def index_checksums(files: Sequence[str], arrays: Mapping[str, bytes]) -> dict[str, int]:
    """CRC-32 of the parts of an index.

    Args:
        files: Names of the event files, in their order.
        arrays: Content of the index arrays by their name in ``event_mapping.index_files`` of metadata.yaml.

    Returns:
        For each array, and ``h5_file`` for the names: what ``event_mapping.index_crc32`` holds.
    """
    return {"h5_file": zlib.crc32("\n".join(files).encode())} | {key: zlib.crc32(own) for key, own in arrays.items()}

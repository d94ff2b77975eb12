"""Checksums of data sets: HDF5 keeps uncompressed values without any."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

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
    return np.array([zlib.crc32(np.ascontiguousarray(rows, "<f4").data) for rows in events], np.uint32)

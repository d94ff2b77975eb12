"""Names and checksums of the index of a data set."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from hitpool.files.checksum import SUFFIX

INDEX_FILES = {"file_indices": "event_file_indices.npy", "row_indices": "event_row_indices.npy"}
"""Files of the index arrays by their name in ``event_mapping.index_files`` of metadata.yaml."""
INDEX_CHECKSUMS = f"index{SUFFIX}"
"""Where the checksums stand in ``event_mapping`` of metadata.yaml."""


def index_checksums(files: Sequence[str], arrays: Mapping[str, bytes]) -> dict[str, int]:
    """CRC-32 of the parts of an index.

    Args:
        files: Names of the event files, in their order.
        arrays: Content of the index arrays by the keys of `INDEX_FILES`.

    Returns:
        For each array, and ``h5_file`` for the names: what `INDEX_CHECKSUMS` holds.
    """
    return {"h5_file": zlib.crc32("\n".join(files).encode())} | {key: zlib.crc32(own) for key, own in arrays.items()}

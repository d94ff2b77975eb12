"""Files that are complete or not there, checksums, and locks between processes."""

from hitpool.files.atomic import PartialFile, check_writable, complete_or_nothing, replacing, write_bytes, write_text
from hitpool.files.checksum import SUFFIX, checksums
from hitpool.files.failure import WriteError, failures_named
from hitpool.files.folders import folder
from hitpool.files.index import INDEX_CHECKSUMS, INDEX_FILES, index_checksums
from hitpool.files.lock import InUseError, alone, remove_left_lock

__all__ = [
    "INDEX_CHECKSUMS",
    "INDEX_FILES",
    "SUFFIX",
    "InUseError",
    "PartialFile",
    "WriteError",
    "alone",
    "check_writable",
    "checksums",
    "complete_or_nothing",
    "failures_named",
    "folder",
    "index_checksums",
    "remove_left_lock",
    "replacing",
    "write_bytes",
    "write_text",
]

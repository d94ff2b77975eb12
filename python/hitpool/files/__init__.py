"""Files that are complete or not there, and locks between processes."""

from hitpool.files.atomic import PartialFile, complete_or_nothing, replacing, write_bytes, write_text
from hitpool.files.failure import WriteError, failures_named
from hitpool.files.lock import InUseError, alone, remove_left_lock

__all__ = [
    "InUseError",
    "PartialFile",
    "WriteError",
    "alone",
    "complete_or_nothing",
    "failures_named",
    "remove_left_lock",
    "replacing",
    "write_bytes",
    "write_text",
]

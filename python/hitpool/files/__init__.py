"""Files that are complete or not there, and locks between processes."""

from hitpool.files.atomic import PartialFile, check_writable, complete_or_nothing, replacing, write_bytes, write_text
from hitpool.files.failure import WriteError, failures_named
from hitpool.files.folders import folder
from hitpool.files.lock import InUseError, alone

__all__ = [
    "InUseError",
    "PartialFile",
    "WriteError",
    "alone",
    "check_writable",
    "complete_or_nothing",
    "failures_named",
    "folder",
    "replacing",
    "write_bytes",
    "write_text",
]

"""The format of data sets, files that are complete or not there, and locks and work shared between processes."""

from hitpool.files.atomic import PartialFile, check_writable, complete_or_nothing, replacing, write_bytes, write_text
from hitpool.files.checksum import checksums
from hitpool.files.data_set import write_data_set
from hitpool.files.event_file import EventFile, open_event_file, write_event_file
from hitpool.files.events import Events
from hitpool.files.failure import WriteError, failures_named
from hitpool.files.folders import folder
from hitpool.files.found_tracks import (
    FoundTracks,
    found_tracks_path,
    milliseconds_per_event,
    read_found_tracks,
    write_found_tracks,
)
from hitpool.files.hits import hits_of_events
from hitpool.files.index import INDEX_FILES, EventIndex, data_set_name, read_index, write_index
from hitpool.files.lock import InUseError, alone, remove_left_lock
from hitpool.files.parallel import ordered_map
from hitpool.files.production import produced

__all__ = [
    "INDEX_FILES",
    "EventFile",
    "EventIndex",
    "Events",
    "FoundTracks",
    "InUseError",
    "PartialFile",
    "WriteError",
    "alone",
    "check_writable",
    "checksums",
    "complete_or_nothing",
    "data_set_name",
    "failures_named",
    "folder",
    "found_tracks_path",
    "hits_of_events",
    "milliseconds_per_event",
    "open_event_file",
    "ordered_map",
    "produced",
    "read_found_tracks",
    "read_index",
    "remove_left_lock",
    "replacing",
    "write_bytes",
    "write_data_set",
    "write_event_file",
    "write_found_tracks",
    "write_index",
    "write_text",
]

"""The index of a data set folder: which event lies in which row of which file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hitpool.files.atomic import write_bytes, write_text
from hitpool.files.checksum import SUFFIX

INDEX_FILES = {"file_indices": "event_file_indices.npy", "row_indices": "event_row_indices.npy"}
"""Files of the index arrays by their name in ``event_mapping.index_files`` of metadata.yaml."""
_CHECKSUMS = f"index{SUFFIX}"  # where they stand in event_mapping

_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the libyaml one is 10 times faster


@dataclass(frozen=True)
class EventIndex:
    """Where each event of a data set is.

    Attributes:
        directory: Folder of the data set.
        files: HDF5 files, relative to the folder.
        file_index: For each event the number of its file, int64 [events].
        row_index: For each event its row in that file, int64 [events].
        hit_columns: Names of the columns of ``hits``.
        track_columns: Names of the columns of ``tracks``.
        generator: What the metadata say of the generator of simulated events; None without an entry.
        truth_link: The hit column that says to which track a hit belongs, if the metadata say it.
        units: Units of columns of hits and tracks, as far as the metadata say them.
    """

    directory: Path
    files: list[str]
    file_index: np.ndarray
    row_index: np.ndarray
    hit_columns: list[str]
    track_columns: list[str]
    generator: Any = None
    truth_link: str | None = None
    units: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.file_index)

    def path(self, file: int) -> Path:
        """Path of one of the files."""
        return self.directory / self.files[file]

    def where(self, event: int) -> str:
        """Says for error messages which event this is and where it lies."""
        return f"event {event} (file {self.path(self.file_index[event])}, row {self.row_index[event]})"


def data_set_name(directory: Path | str) -> str:
    """Name of a data set, for people: its folder with the one around it, since many are called train or test.

    Example:
        >>> data_set_name("/home/me/muons/test")
        'muons/test'
    """
    return "/".join(Path(directory).resolve().parts[1:][-2:])


def read_index(directory: Path | str) -> EventIndex:
    """Reads ``metadata.yaml``, ``event_file_indices.npy`` and ``event_row_indices.npy`` of a data set.

    Args:
        directory: Folder of the data set.

    Returns:
        The index; every entry points to a file that is named in the metadata.

    Raises:
        FileNotFoundError: If the folder or one of the three files is missing.
        ValueError: If one of them is damaged or differs from its checksum, if they disagree, or if there are no events.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"data set folder {directory} does not exist")
    metadata = read_metadata(directory)
    path = directory / "metadata.yaml"
    hit_columns = _names(metadata, "hit_features", path)
    track_columns = _names(metadata, "track_features", path)
    mapping = _entry(metadata, "event_mapping", path)
    summary = _entry(mapping, "chunk_summary", path, "event_mapping")
    if not isinstance(summary, list):
        raise ValueError(f"{path}: expected event_mapping.chunk_summary to be a list, got {type(summary).__name__}")
    files = [_entry(chunk, "h5_file", path, f"chunk_summary[{i}]") for i, chunk in enumerate(summary)]
    for i, name in enumerate(files):
        if not isinstance(name, str):
            raise ValueError(f"{path}: expected chunk_summary[{i}].h5_file to be a file name, got {name!r}")

    contents = {key: _content(directory / name) for key, name in INDEX_FILES.items()}
    _check_index(path, mapping, files, contents)
    file_index, row_index = (_index_array(directory / name, contents[key]) for key, name in INDEX_FILES.items())
    if len(file_index) != len(row_index):
        raise ValueError(
            f"data set {directory}: event_file_indices.npy has {len(file_index)} entries and "
            f"event_row_indices.npy has {len(row_index)}; expected one each per event"
        )
    if len(file_index) == 0:
        raise ValueError(f"data set {directory} has no events: event_file_indices.npy is empty")
    _check_range(file_index, len(files), directory / "event_file_indices.npy", "files in chunk_summary")
    _check_range(row_index, None, directory / "event_row_indices.npy", "rows")
    truth_link, units = metadata.get("truth_link"), metadata.get("units") or {}
    if truth_link is not None and truth_link not in hit_columns:
        raise ValueError(f"{path}: truth_link is {truth_link!r}, expected one of {', '.join(hit_columns)}")
    if not isinstance(units, dict) or not all(isinstance(unit, str) for unit in units.values()):
        raise ValueError(f"{path}: expected 'units' to be a mapping of columns to units, got {units!r}")
    generator = metadata.get("generator")
    return EventIndex(directory, files, file_index, row_index, hit_columns, track_columns, generator, truth_link, units)


def write_index(
    folder: Path,
    hit_columns: Sequence[str],
    track_columns: Sequence[str],
    files: Sequence[Mapping[str, Any]],
    more: Mapping[str, Any],
) -> None:
    """Writes the index arrays and, last, the metadata without which a data set does not load.

    The events are those of the first file, then those of the second, and so on.

    Args:
        folder: Folder of the data set.
        hit_columns: Names of the columns of ``hits``.
        track_columns: Names of the columns of ``tracks``.
        files: For each file ``h5_file``, ``event_count`` and what else is to be said of it.
        more: What else the metadata say, such as ``truth_link`` and ``units``.

    Raises:
        WriteError: If a file cannot be written.
    """
    (folder / "metadata.yaml").unlink(missing_ok=True)  # of other files: it does not fit the new index
    counts = [entry["event_count"] for entry in files]
    arrays = np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(n) for n in counts])
    written = {}
    for (key, name), values in zip(INDEX_FILES.items(), arrays, strict=True):
        content = BytesIO()
        np.save(content, values.astype(np.int32))
        written[key] = content.getvalue()
        write_bytes(folder / name, written[key])
    mapping = {
        "description": "event i is row event_row_indices[i] of file event_file_indices[i]",
        "total_events": sum(counts),
        "total_chunks": len(files),
        "index_files": dict(INDEX_FILES),
        _CHECKSUMS: _checksums([entry["h5_file"] for entry in files], written),
        "chunk_summary": list(files),
    }
    metadata = {"hit_features": list(hit_columns), "track_features": list(track_columns), "event_mapping": mapping}
    write_text(folder / "metadata.yaml", yaml.safe_dump(metadata | dict(more), sort_keys=False))


def _checksums(files: Sequence[str], arrays: Mapping[str, bytes]) -> dict[str, int]:
    """CRC-32 of the names of the event files, and of the content of the index arrays by the keys of `INDEX_FILES`."""
    return {"h5_file": zlib.crc32("\n".join(files).encode())} | {key: zlib.crc32(own) for key, own in arrays.items()}


def read_metadata(directory: Path) -> Any:
    """Reads ``metadata.yaml`` of a data set.

    Args:
        directory: Folder of the data set.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not readable.
    """
    path = directory / "metadata.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {_names_in(directory)}")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _YamlLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as YAML: {error}") from error


def _entry(mapping: Any, key: str, path: Path, parent: str | None = None) -> Any:
    name = f"{parent}.{key}" if parent else key
    if not isinstance(mapping, dict):
        raise ValueError(f"{path}: expected a mapping with '{name}', got {type(mapping).__name__}")
    if key not in mapping:
        raise ValueError(f"{path}: missing '{name}'; available: {', '.join(map(str, mapping)) or 'nothing'}")
    return mapping[key]


def _names(metadata: Any, key: str, path: Path) -> list[str]:
    names = _entry(metadata, key, path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: expected '{key}' to be a list of column names, got {names!r}")
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path}: '{key}' names columns more than once: {', '.join(duplicates)}")
    return names


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {_names_in(path.parent)}")
    return path.read_bytes()


def _check_index(path: Path, mapping: Any, files: list[str], contents: dict[str, bytes]) -> None:
    """Compares the parts of the index with their checksums, if the metadata holds any."""
    if _CHECKSUMS not in mapping:
        return
    stored = mapping[_CHECKSUMS]
    for key, own in _checksums(files, contents).items():
        if not isinstance(stored, dict) or stored.get(key) != own:
            what = path.parent / INDEX_FILES[key] if key in INDEX_FILES else f"{path}: the list of files"
            raise ValueError(
                f"{what} does not have its checksum, event_mapping.{_CHECKSUMS}.{key} in metadata.yaml: it is "
                f"damaged, or was changed; if it was changed on purpose, remove {_CHECKSUMS} from metadata.yaml"
            )


def _index_array(path: Path, content: bytes) -> np.ndarray:
    try:
        array = np.load(BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy raises whatever a broken header leads to
        raise ValueError(f"{path} is not readable as a NumPy array: {error}") from error
    if array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):  # an empty list is saved as float64
        raise ValueError(f"{path}: expected a 1-D array of integers, got {array.dtype} {list(array.shape)}")
    return np.asarray(array, np.int64)


def _check_range(index: np.ndarray, size: int | None, path: Path, things: str) -> None:
    bad = index < 0 if size is None else (index < 0) | (index >= size)
    if bad.any():
        event = int(np.argmax(bad))
        expected = "at least 0" if size is None else f"0 to {size - 1} ({size} {things})"
        raise ValueError(f"{path}: entry {event} is {index[event]}, expected {expected}")


def _names_in(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    return f"the folder holds: {', '.join(names[:10]) or 'nothing'}{', ...' if len(names) > 10 else ''}"

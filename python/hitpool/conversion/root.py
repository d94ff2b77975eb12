"""Ntuples in ROOT files, read with uproot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hitpool.conversion.cuts import Ntuple
from hitpool.conversion.links import identified, numbered
from hitpool.conversion.mapping import Column, Mapping, read_mapping

_TREES = ("TTree", "TNtuple", "ROOT::RNTuple")


def libraries() -> tuple[ModuleType, ModuleType]:
    """Imports uproot and awkward.

    Returns:
        Both.

    Raises:
        ImportError: If they are not installed; says how to.
    """
    try:
        import awkward
        import uproot
    except ImportError as error:
        raise ImportError(f"ROOT files need uproot and awkward ({error}): pip install 'hitpool[root]'") from error
    return uproot, awkward


def count_events(path: Path, mapping: Mapping) -> tuple[int, int]:
    """Checks that a file can be read and finds its size.

    Args:
        path: ROOT file.
        mapping: What shall be read.

    Returns:
        Number of events, and bytes that one takes in memory on average.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged or has other branches.
    """
    with _open_tree(path, mapping) as tree:
        entries = int(tree.num_entries)
        first = _arrays(tree, path, mapping, 0, min(entries, 100))
        return entries, sum(array.nbytes for array in first.values()) // max(min(entries, 100), 1) + 1


def read_events(path: Path, mapping: Mapping, start: int, stop: int) -> Ntuple:
    """Reads some events.

    Args:
        path: ROOT file.
        mapping: What is read.
        start: First entry.
        stop: One after the last entry.

    Returns:
        The events as they are in the file, but for the factors of the mapping.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is damaged, has other branches, or a truth link leads nowhere.
    """
    with _open_tree(path, mapping) as tree:
        arrays = _arrays(tree, path, mapping, start, stop)
    hits, num_hits = _flat(arrays, mapping.hits, path, start)
    tracks, num_tracks = _flat(arrays, mapping.tracks, path, start)
    source = next(column.branch for column in mapping.hits if column.name == mapping.truth_link)
    if mapping.track_id is None:
        link = numbered(arrays[source], num_hits, num_tracks, f"{path}: branch '{source}'", start)
    else:
        link = identified(
            arrays[source], arrays[mapping.track_id], num_tracks, f"{path}: branch '{mapping.track_id}'", start
        )
    if mapping.event_number is None:
        event_number = np.arange(start, stop)
    else:
        event_number = np.asarray(arrays[mapping.event_number])
        if event_number.ndim != 1 or event_number.dtype.kind not in "iu":
            raise ValueError(f"{path}: expected one integer per event in branch '{mapping.event_number}'")
    return Ntuple(hits, num_hits, tracks, num_tracks, link, event_number.astype(np.int64))


@contextmanager
def _open_tree(path: Path, mapping: Mapping) -> Iterator[Any]:
    uproot, _ = libraries()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        file = uproot.open(path, handler=uproot.source.file.MemmapSource)  # it has no threads: processes are forked
        classes = file.classnames(cycle=False)
    except Exception as error:  # uproot has no common class for what damaged bytes can do
        raise _damaged(path, error) from error
    with file:
        trees = [name for name, kind in classes.items() if kind in _TREES]
        name = mapping.tree or (trees[0] if len(trees) == 1 else None)
        if name not in trees:
            wanted = f"'{mapping.tree}'" if mapping.tree else "exactly one tree (the mapping can name it: 'tree')"
            raise ValueError(f"{path}: expected {wanted}; available trees: {', '.join(trees) or 'none'}")
        try:
            tree = file[name]
            branches = list(tree.keys(recursive=True))
        except Exception as error:
            raise _damaged(path, error) from error
        if classes[name] == "ROOT::RNTuple":
            records = {record for branch in branches for record in _records_around(branch)}
            branches = [branch for branch in branches if branch not in records]
        if missing := [branch for branch in mapping.branches if branch not in branches]:
            hint = "; a mapping says which branch becomes which column: --mapping" if mapping == read_mapping() else ""
            raise ValueError(
                f"{path}: '{name}' has no branch {', '.join(map(repr, missing))}; available: "
                f"{', '.join(branches)}{hint}"
            )
        yield tree


def _records_around(name: str) -> list[str]:
    """Names of the records in which a field of an RNTuple lies: of a.b.c these are a and a.b."""
    return [name[:i] for i, letter in enumerate(name) if letter == "."]


def _arrays(tree: Any, path: Path, mapping: Mapping, start: int, stop: int) -> dict[str, Any]:
    try:
        record = tree.arrays(mapping.branches, entry_start=start, entry_stop=stop, library="ak")
        arrays = {branch: _field(record, branch) for branch in mapping.branches}
    except Exception as error:
        raise _damaged(path, error) from error
    for branch in mapping.branches:
        if branch != mapping.event_number and (arrays[branch].ndim != 2 or not _holds_numbers(arrays[branch])):
            raise ValueError(
                f"{path}: expected a list of numbers per event in branch '{branch}', got type {arrays[branch].type}"
            )
    return arrays


def _field(record: Any, branch: str) -> Any:
    """Content of a branch; a field of a record, such as sp.x, lies in the record."""
    return record[branch] if branch in record.fields else record[tuple(branch.split("."))]


def _holds_numbers(array: Any) -> bool:
    """Whether what the lists of an array [events, values] hold can be cast to numbers."""
    _, ak = libraries()
    return isinstance(ak.flatten(array).type.content, ak.types.NumpyType)


def _damaged(path: Path, error: Exception) -> ValueError:
    lines = takewhile(lambda line: line and not line.startswith("for file path"), str(error).strip().splitlines())
    reason = " ".join(line.strip() for line in lines) or type(error).__name__
    return ValueError(f"{path} is not readable as ROOT (truncated or damaged): {reason}")


def _flat(arrays: dict[str, Any], columns: tuple[Column, ...], path: Path, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of all columns [all, columns] and how many there are per event [events]."""
    _, ak = libraries()
    first = columns[0].branch
    numbers = np.asarray(ak.num(arrays[first], axis=1), np.int64)
    values = np.empty((int(numbers.sum()), len(columns)), np.float32)
    for i, column in enumerate(columns):
        own = np.asarray(ak.num(arrays[column.branch], axis=1))
        if (different := own != numbers).any():
            entry = int(np.argmax(different))
            raise ValueError(
                f"{path}: entry {start + entry} has {own[entry]} values in branch '{column.branch}' but "
                f"{numbers[entry]} in '{first}'"
            )
        values[:, i] = np.asarray(ak.flatten(arrays[column.branch]), np.float64) * column.scale
    return values, numbers

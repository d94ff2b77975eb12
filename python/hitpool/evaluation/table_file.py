"""Flat tables in files that others read: HDF5, Parquet, ROOT."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hitpool.files import PartialFile, replacing

Columns = Mapping[str, NDArray[np.generic]]
Units = Mapping[str, str]
UNITS = "units"
ENTRIES_AT_ONCE = 100_000  # of a basket of a ROOT file


def write_table(path: Path, name: str, columns: Columns, units: Units) -> None:
    """Writes a table, in the format that the suffix of the file says.

    HDF5 (`.h5`, `.hdf5`): a data set of a compound type, a field for each column; the units are a JSON object in its
    attribute `units`. Parquet (`.parquet`): the unit is in the metadata of each field, as `unit`. ROOT (`.root`): a
    TTree with a branch for each column; the units are a JSON object in a TObjString `units` beside it.

    Args:
        path: File to write; it appears when it is complete.
        name: Name of the table, where the format has one.
        columns: Its columns [n] by name.
        units: Unit by column, of those that have one.

    Raises:
        ValueError: If the suffix is another one.
        ImportError: If the library for this format is not installed.
        WriteError: If it cannot be written.
    """
    write = writer(path)
    with replacing(path) as file:
        write(file, name, columns, units)


def writer(path: Path) -> Callable[[PartialFile, str, Columns, Units], None]:
    """What writes the format that the suffix of a file says; for the errors that come before the work.

    Args:
        path: The file.

    Raises:
        ValueError: If the suffix is unknown.
        ImportError: If the library for this format is not installed.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(FORMATS)}, got '{path.suffix}'")
    write, module, extra = FORMATS[path.suffix]
    try:
        __import__(module)
    except ImportError as error:
        raise ImportError(f"{path}: needs {module} ({error}): pip install 'hitpool[{extra}]'") from error
    return write


def _write_hdf5(file: PartialFile, name: str, columns: Columns, units: Units) -> None:
    rows = np.empty(len(next(iter(columns.values()))), [(column, values.dtype) for column, values in columns.items()])
    for column, values in columns.items():
        rows[column] = values
    with h5py.File(file, "w") as hdf5:
        hdf5[name] = rows
        hdf5[name].attrs[UNITS] = json.dumps(dict(units))


def _write_parquet(file: PartialFile, name: str, columns: Columns, units: Units) -> None:
    import pyarrow
    import pyarrow.parquet

    arrays = [pyarrow.array(values) for values in columns.values()]
    fields = [
        pyarrow.field(column, array.type, nullable=False, metadata={"unit": units[column]} if column in units else None)
        for column, array in zip(columns, arrays, strict=True)
    ]
    pyarrow.parquet.write_table(pyarrow.table(arrays, pyarrow.schema(fields)), file)


def _write_root(file: PartialFile, name: str, columns: Columns, units: Units) -> None:
    import uproot

    root = uproot.recreate(file)  # whose only effect at its end would be to close the file
    tree = root.mktree(name, {column: values.dtype for column, values in columns.items()})
    for start in range(0, len(next(iter(columns.values()))), ENTRIES_AT_ONCE):
        tree.extend({column: values[start : start + ENTRIES_AT_ONCE] for column, values in columns.items()})
    root[UNITS] = json.dumps(dict(units))


FORMATS = {
    ".h5": (_write_hdf5, "h5py", ""),
    ".hdf5": (_write_hdf5, "h5py", ""),
    ".parquet": (_write_parquet, "pyarrow", "parquet"),
    ".root": (_write_root, "uproot", "root"),
}
"""By suffix: what writes it, the library that it needs, and the extra that installs that."""

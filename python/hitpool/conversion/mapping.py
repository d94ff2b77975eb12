"""Which branch of an ntuple becomes which column of a data set."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from hitpool.conversion.units import on_disk

DEFAULT = Path(__file__).with_name("muon.yaml")
_KEYS = ("tree", "event_number", "hits", "tracks", "truth_link", "track_id", "pt", "eta")
_NEEDED = ("hits", "tracks", "truth_link")


@dataclass(frozen=True)
class Column:
    """A column and where it comes from.

    Attributes:
        name: Name in the data set.
        branch: Branch of the ntuple.
        factor: What its values are multiplied by.
        unit: Unit that they then have, which becomes that of data sets: mm, GeV, rad, ns; None if it is not said.
    """

    name: str
    branch: str
    factor: float = 1.0
    unit: str | None = None

    @property
    def scale(self) -> float:
        """What the values of the branch are multiplied by to have the unit of data sets."""
        return self.factor if self.unit is None else self.factor * on_disk(self.unit)[1]


@dataclass(frozen=True)
class Mapping:
    """Branches and columns.

    Attributes:
        hits: Hit columns in their order; the branches have one list of numbers per event.
        tracks: Track columns, likewise.
        truth_link: The hit column with the number of the track in its event, or with its identifier.
        track_id: Branch with the identifiers of the tracks; None if the truth link is a number.
        pt: The track column of transverse momenta, if there is one.
        eta: The track column of pseudorapidities, if there is one.
        event_number: Branch with one number per event.
        tree: Name of the tree; None takes the only one.
    """

    hits: tuple[Column, ...]
    tracks: tuple[Column, ...]
    truth_link: str
    track_id: str | None = None
    pt: str | None = None
    eta: str | None = None
    event_number: str | None = None
    tree: str | None = None

    @property
    def branches(self) -> list[str]:
        """All branches, each once."""
        names = [column.branch for column in (*self.hits, *self.tracks)]
        return list(dict.fromkeys(names + [name for name in (self.track_id, self.event_number) if name]))

    @property
    def units(self) -> dict[str, str]:
        """Units that the columns have in the data set, as far as they are said."""
        columns = (*self.hits, *self.tracks)
        return {column.name: on_disk(column.unit)[0] for column in columns if column.unit is not None}

    def as_dict(self) -> dict[str, Any]:
        """What YAML can hold."""
        columns = {
            what: {column.pop("name"): column for column in map(asdict, getattr(self, what))}
            for what in ("hits", "tracks")
        }
        return asdict(self) | columns


def read_mapping(path: Path | str | None = None) -> Mapping:
    """Reads a mapping.

    Args:
        path: YAML file like ``hitpool/conversion/muon.yaml``, which is the default.

    Returns:
        The mapping.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is no mapping of this form; names the key.
    """
    path = DEFAULT if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"mapping {path} does not exist")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"mapping {path} is not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"mapping {path}: expected the keys {', '.join(_KEYS)}, got {type(content).__name__}")
    for key in content:
        if key not in _KEYS:
            raise ValueError(f"mapping {path}: unknown key '{key}'; known: {', '.join(_KEYS)}")
    for key in _NEEDED:
        if content.get(key) is None:
            raise ValueError(f"mapping {path}: missing '{key}'")
    hits, tracks = (_columns(content[key], key, path) for key in ("hits", "tracks"))
    names: dict[str, Any] = {key: _name(content.get(key), key, path) for key in _KEYS if key not in ("hits", "tracks")}
    for key, columns in (("truth_link", hits), ("pt", tracks), ("eta", tracks)):
        known = [column.name for column in columns]
        if names[key] is not None and names[key] not in known:
            raise ValueError(f"mapping {path}: {key} is '{names[key]}', expected one of {', '.join(known)}")
    return Mapping(hits, tracks, **names)


def _name(value: Any, key: str, path: Path) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"mapping {path}: {key}: expected a name, got {value!r}")
    return value


def _columns(content: Any, key: str, path: Path) -> tuple[Column, ...]:
    if isinstance(content, list):
        if repeated := sorted({str(name) for name in content if content.count(name) > 1}):
            raise ValueError(f"mapping {path}: {key} names columns more than once: {', '.join(repeated)}")
        content = {name: name for name in content if isinstance(name, str)} if _all_names(content) else None
    if not isinstance(content, dict) or not content or not _all_names(content):
        raise ValueError(f"mapping {path}: {key}: expected column names with their branches, or a list of names")
    return tuple(_column(name, source, f"mapping {path}: {key}.{name}") for name, source in content.items())


def _all_names(names: Any) -> bool:
    return all(isinstance(name, str) for name in names)


def _column(name: str, source: Any, where: str) -> Column:
    if isinstance(source, str):
        return Column(name, source)
    known = isinstance(source, dict) and source.keys() <= {"branch", "factor", "unit"}
    if not known or not isinstance(source.get("branch"), str):
        raise ValueError(f"{where}: expected a branch or {{branch: name, factor: number, unit: name}}, got {source!r}")
    factor = source.get("factor", 1.0)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not math.isfinite(factor):
        raise ValueError(f"{where}.factor: expected a finite number, got {factor!r} (YAML reads 1e-3 as text: 1.0e-3)")
    if not isinstance(unit := source.get("unit"), str | None):
        raise ValueError(f"{where}.unit: expected a unit such as cm or MeV, got {unit!r}")
    return Column(name, source["branch"], float(factor), unit)

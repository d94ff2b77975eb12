"""What the hit columns of a data set are, judged by names and values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hitpool.data.features import POINT_FIELDS
from hitpool.draft.names import ERRORS, NUMBERS, TRUTH, triples, words
from hitpool.inspection.scan import Scan
from hitpool.muon import HITS, POINTS

METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6}
SMALLEST_IN_MM = 100.0  # largest coordinate; below, they are taken for metres
LARGEST_IN_M = 100.0
LARGEST_CODE = 1e5  # whole numbers beyond are identifiers
POINT_INPUTS = ("x", "y", "z", "r", "theta", "cos_phi", "sin_phi", "eta")


@dataclass
class HitColumns:
    """Roles of hit columns.

    Attributes:
        truth_link: The column that links a hit to its track.
        point: Columns of the coordinates x, y, z; None if there are none.
        prefix: In front of the names of what is derived from them.
        unit: Unit of the coordinates.
        said: Whether the data set says the unit.
        others: Further inputs and their scale factors.
        left_out: The other columns, and why each is no input.
    """

    truth_link: str
    point: tuple[str, str, str] | None = None
    prefix: str = ""
    unit: str = "mm"
    said: bool = False
    others: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def derived(self) -> list[str]:
        """Inputs that are derived from the coordinates."""
        return [self.prefix + name for name in POINT_INPUTS] if self.point else []

    @property
    def inputs(self) -> list[str]:
        """All inputs."""
        return [*self.derived, *self.others]

    @property
    def scale_factors(self) -> dict[str, float]:
        """Factors of the columns, those of the coordinates to metres."""
        factors = dict.fromkeys(self.point or (), METRES[self.unit])
        return factors | {name: factor for name, factor in self.others.items() if factor != 1}


def judge_hits(scan: Scan, sample: np.ndarray, truth_link: str) -> HitColumns:
    """Finds out what the hit columns are.

    Args:
        scan: An inspection of the data set.
        sample: Some hits as on disk, [hits, C].
        truth_link: The column that links a hit to its track.

    Returns:
        Their roles.
    """
    names = scan.index.hit_columns
    result = HitColumns(truth_link, find_point(names, sample))
    if result.point:
        result.said = scan.index.units.get(result.point[0]) in METRES
        result.unit = scan.index.units[result.point[0]] if result.said else "mm"
        if not result.said and _largest(scan, result.point) < SMALLEST_IN_MM:
            result.unit = "m"
        if set(POINT_FIELDS) & set(names) - set(result.point):
            result.prefix = "point_"
    for i, name in enumerate(names):
        if name in (truth_link, *(result.point or ())):
            continue
        if reason := _no_input(scan, i, sample[:, i], result.point is not None):
            result.left_out[name] = reason
        else:
            result.others[name] = _factor(name, float(scan.hits.rms[i]))
    return result


def find_point(names: list[str], sample: np.ndarray) -> tuple[str, str, str] | None:
    """Finds the coordinates among hit columns: of several triples the one with the largest values, no directions.

    Args:
        names: Names of the columns.
        sample: Some hits as on disk, [hits, C].

    Returns:
        Columns of x, y and z; None if there are none.
    """
    for x, y, z in POINTS[""]:
        if {x, y, z} <= set(names):
            return x, y, z
    best, largest = None, 0.0
    for triple in triples(names):
        values = sample[:, [names.index(name) for name in triple]].astype(np.float64)
        length = np.sqrt(np.square(values).sum(1))
        direction = len(length) > 0 and bool(np.all(np.abs(length - 1) < 1e-3))
        error = ERRORS & set(words(triple[0]))
        if not (direction or error) and length.max(initial=0) > largest:
            best, largest = triple, float(length.max())
    return best


def possible_units(columns: HitColumns, scan: Scan) -> list[str]:
    """Units that the coordinates may have: the one that the data set says, or all that give no detector beyond 100 m.

    Args:
        columns: Roles of the hit columns, with a point.
        scan: An inspection of the data set.
    """
    if columns.said or columns.point is None:
        return [columns.unit]
    largest = _largest(scan, columns.point)
    others = [unit for unit, metres in METRES.items() if unit != columns.unit and largest * metres <= LARGEST_IN_M]
    return [columns.unit, *others]


def _largest(scan: Scan, point: tuple[str, str, str]) -> float:
    return max(float(scan.hits.largest[scan.index.hit_columns.index(name)]) for name in point)


def _no_input(scan: Scan, column: int, values: np.ndarray, has_point: bool) -> str:
    """Why a column with some of its values [hits] is no input; empty if it is one."""
    name = scan.hits.names[column]
    own = set(words(name))
    if scan.hits.not_finite[column]:
        return "not finite everywhere"
    if scan.hits.low[column] == scan.hits.high[column]:
        return "constant"
    if own & TRUTH:
        return "a truth by its name"
    whole = bool(np.all(values == np.floor(values)))
    if whole and (own & NUMBERS or np.abs(values).max(initial=0) >= LARGEST_CODE):
        return "an identifier"
    if has_point and "phi" in own:
        return "jumps by a turn, and its cosine and sine are derived"
    return ""


def _factor(name: str, rms: float) -> float:
    """Power of ten that brings a column to order one, or what the table of muon columns says."""
    if name in HITS:
        return HITS[name].scale
    return float(f"1e{-round(math.log10(rms))}") if rms > 0 else 1.0

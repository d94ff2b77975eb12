"""Orders of magnitude of quantities in the units of a data set, and which other unit values look like."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hitpool.quantity import quantity_of


@dataclass(frozen=True)
class Quantity:
    """What is known of a quantity.

    Attributes:
        measure: Measure of its values: rms (root mean square) or largest, of the absolute values.
        unit: Unit.
        low: Smallest plausible value of the measure.
        high: Largest plausible value.
        others: What a value is multiplied by in units that are mistaken for it.
    """

    measure: str
    unit: str
    low: float
    high: float
    others: Mapping[str, float]

    def doubt(self, value: float, remedy: str, name: str = "") -> str | None:
        """Says what is wrong with a value of the measure.

        Args:
            value: The value; 0 and what is not finite say nothing.
            remedy: What to do, with ``{name}`` and the number ``{factor}`` by which values of the unit that it looks
                like are multiplied.
            name: Name of the column.

        Returns:
            Words, or None if it is plausible.
        """
        if value == 0 or not math.isfinite(value) or self.low <= value <= self.high:
            return None
        similar = [(unit, factor) for unit, factor in self.others.items() if self.low <= value / factor <= self.high]
        guess = "".join(
            f"; it looks like {unit}: {remedy.format(name=name, factor=f'{1 / factor:.4g}')}"
            for unit, factor in similar[:1]
        )
        name = {"rms": "the root mean square", "largest": "the largest absolute value"}[self.measure]
        return f"{name} is {value:.4g}, expected {self.low:.4g} to {self.high:.4g} {self.unit}{guess}"


OF_TRACKS = (
    "multiply the column by {factor} in the files, or let hitpool data convert do it (factor: {factor} in the mapping)"
)
OF_HITS = "set data.scale_factors.{name} to {factor}"
OF_COORDINATES = "multiply their data.scale_factors by {factor}"
"""Remedies."""

_ANGLE = Quantity("largest", "rad", 0, 6.284, {"degrees": 180 / math.pi, "mrad": 1e3})
QUANTITIES = {
    "pt": Quantity("rms", "GeV", 0.1, 1e3, {"MeV": 1e3, "TeV": 1e-3}),
    "qpt": Quantity("rms", "1/GeV", 1e-3, 10, {"1/MeV": 1e-3, "1/TeV": 1e3}),
    "phi": _ANGLE,
    "theta": _ANGLE,
}
"""Quantities of single columns, see `hitpool.quantity`; ranges hold for samples, not for single values."""

LENGTHS = {"m": 1e-3, "cm": 0.1, "um": 1e3}
COORDINATES = {
    r"spacePoint_glob.*[a-z][XYZ]": Quantity("largest", "mm", 3e3, 3e4, LENGTHS),  # of the muon spectrometer
    r"(.*_)?[xyz]|.*[a-z][XYZ]": Quantity("largest", "mm", 100, 1e5, LENGTHS),
}
"""Coordinates of hits by their names, of which the largest is judged: of the first of these that there is."""


def coordinates(names: Sequence[str]) -> tuple[Quantity, list[str]] | None:
    """Finds the coordinates of hits by their names.

    Args:
        names: Names of hit columns.

    Returns:
        What is known of them, and their names; None if there are none.

    Example:
        >>> coordinates(["sp_x", "sp_y", "sp_z", "time"])[1]
        ['sp_x', 'sp_y', 'sp_z']
    """
    for pattern, quantity in COORDINATES.items():
        if chosen := [name for name in names if re.fullmatch(pattern, name)]:
            return quantity, chosen
    return None


def doubtful_columns(names: Sequence[str], rms: ArrayLike, largest: ArrayLike, remedy: str) -> dict[str, str]:
    """Finds columns that seem to have another unit.

    Args:
        names: Names of K columns.
        rms: Root mean square of their values, [K].
        largest: Largest absolute values, [K].
        remedy: See ``Quantity.doubt``.

    Returns:
        What is wrong, by name.

    Example:
        >>> doubtful_columns(["mc_pt", "mc_eta"], [31000.0, 1.2], [2e5, 2.7], "multiply by {factor}")
        {'mc_pt': 'the root mean square is 3.1e+04, expected 0.1 to 1000 GeV; it looks like MeV: multiply by 0.001'}
    """
    found: dict[str, str] = {}
    for name, *values in zip(names, np.asarray(rms, float), np.asarray(largest, float), strict=True):
        quantity = QUANTITIES.get(quantity_of(name))
        if quantity and "sigma" not in name:
            doubt = quantity.doubt(values[quantity.measure == "largest"], remedy, name)
            found |= {name: doubt} if doubt else {}
    return found

"""Units of branches, and those that a data set has instead."""

from __future__ import annotations

import math
import re

FACTORS = {
    "mm": {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3},
    "GeV": {"TeV": 1e3, "GeV": 1.0, "MeV": 1e-3, "keV": 1e-6},
    "rad": {"rad": 1.0, "mrad": 1e-3, "deg": math.pi / 180},
    "ns": {"s": 1e9, "us": 1e3, "ns": 1.0, "ps": 1e-3},
}
"""For each unit of data sets the units that become it, and their factors."""

PATTERN = re.compile(r"(1/)?(\w+?)(?:\^(\d+))?")


def is_known(unit: str) -> bool:
    """Whether values of a unit are converted to that of data sets.

    Args:
        unit: As for `on_disk`.

    Example:
        >>> is_known("1/MeV"), is_known("meter")
        (True, False)
    """
    match = PATTERN.fullmatch(unit)
    return match is not None and any(match[2] in factors for factors in FACTORS.values())


def on_disk(unit: str) -> tuple[str, float]:
    """The unit that a data set has instead of the unit of a branch.

    Args:
        unit: Unit of the branch; with ``^2`` or another power behind it, or ``1/`` in front of it.

    Returns:
        The unit in the data set, and the factor of the values; units that are not known stay as they are.

    Example:
        >>> on_disk("cm"), on_disk("1/MeV"), on_disk("um^2"), on_disk("ADC")
        (('mm', 10.0), ('1/GeV', 1000.0), ('mm^2', 1e-06), ('ADC', 1.0))
    """
    match = PATTERN.fullmatch(unit)
    for own, factors in FACTORS.items():
        if match and match[2] in factors:
            power = int(match[3] or 1) * (-1 if match[1] else 1)
            return unit.replace(match[2], own), float(f"{factors[match[2]] ** power:.15g}")
    return unit, 1.0

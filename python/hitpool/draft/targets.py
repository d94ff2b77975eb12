"""How each track column is learned, judged by names and values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from hitpool.draft.names import ERRORS, NUMBERS, words
from hitpool.inspection.scan import Scan

MOMENTA = {"pt", "p", "momentum", "mom", "e", "energy"}


@dataclass
class Targets:
    """Target fields.

    Attributes:
        fields: All of them.
        inverse: Momenta, learned as 1 / value, with the lowest and highest value that is predicted.
        periodic: Angles.
        sign: Charges.
        charge_over_pt: The field q / pT, if it can be derived, with the columns of q and pT.
        left_out: The other columns, and why each is no target.
    """

    fields: list[str] = field(default_factory=list)
    inverse: dict[str, tuple[float, float]] = field(default_factory=dict)
    periodic: list[str] = field(default_factory=list)
    sign: list[str] = field(default_factory=list)
    charge_over_pt: tuple[str, str, str] | None = None
    left_out: dict[str, str] = field(default_factory=dict)


def judge_targets(scan: Scan) -> Targets:
    """Finds out how the track columns are learned.

    Args:
        scan: An inspection of the data set.

    Returns:
        The targets; columns of the same quantity as one before them, of errors, identifiers, and those that are
        constant or not finite are left out.

    Raises:
        ValueError: If nothing is left.
    """
    result, names = Targets(), scan.index.track_columns
    seen: set[str] = set()
    statistics = scan.tracks
    for i, name in enumerate(names):
        own, low, high = words(name), float(statistics.low[i]), float(statistics.high[i])
        values = scan.sample.rows[:, i]
        if reason := _no_target(own, values, seen):
            result.left_out[name] = reason
            continue
        seen.add(own[-1])
        result.fields.append(name)
        if set(np.unique(values).tolist()) == {-1.0, 1.0}:
            result.sign.append(name)
        elif max(abs(low), abs(high)) <= 2 * math.pi and (
            own[-1] == "phi" or (scan.index.units.get(name) == "rad" and high - low > 1.8 * math.pi)
        ):
            result.periodic.append(name)
        elif own[-1] in MOMENTA and low > 0:
            result.inverse[name] = (float(f"{low / 2:.2g}"), float(f"{high * 2:.2g}"))
    for pt in result.inverse:
        prefix = pt.removesuffix("pt")
        if pt.endswith("pt") and prefix + "q" in result.sign and prefix + "qpt" not in names:
            result.fields.append(prefix + "qpt")
            result.charge_over_pt = (prefix + "qpt", prefix + "q", pt)
    if not result.fields:
        raise ValueError(f"{scan.index.directory}: no track column can be learned: {result.left_out}")
    return result


def _no_target(own: list[str], values: np.ndarray, seen: set[str]) -> str:
    if not len(values) or not np.isfinite(values).all():
        return "not finite everywhere"
    if values.min() == values.max():
        return "constant"
    if set(own) & ERRORS:
        return "an error by its name"
    if set(own) & NUMBERS or own[-1] in ("pdg", "barcode"):
        return "an identifier"
    if own[-1] in seen:
        return f"another {own[-1]}"
    return ""

"""Which of the regressed fields are the track parameters, by their names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ParameterFields:
    """Names of the track parameters among the regressed fields; those that are not regressed are left out.

    Args:
        pt: Transverse momentum in GeV.
        eta: Pseudorapidity.
        phi: Azimuth in rad.
        charge: Electric charge, or another field with its sign.
    """

    pt: str = "truthMuon_pt"
    eta: str = "truthMuon_eta"
    phi: str = "truthMuon_phi"
    charge: str = "truthMuon_q"


def name_fields(
    names: Iterable[str],
    pt: str | None = None,
    eta: str | None = None,
    phi: str | None = None,
    charge: str | None = None,
) -> ParameterFields:
    """Finds the fields of the track parameters by their names.

    A field's quantity is the part of its name behind the last underscore: pt, eta, phi, q; without q, the charge
    is the sign of qpt.

    Args:
        names: Names of the target fields.
        pt: Field of the transverse momentum, if its name does not say it.
        eta: Field of the pseudorapidity, likewise.
        phi: Field of the azimuth, likewise.
        charge: Field of the charge, likewise.

    Returns:
        The fields; a parameter without a field has the name of its quantity.

    Raises:
        ValueError: If two fields have the same quantity and none is given for it.

    Example:
        >>> name_fields(["truth_pt", "truth_eta", "truth_qpt"])
        ParameterFields(pt='truth_pt', eta='truth_eta', phi='phi', charge='truth_qpt')
    """
    names = list(names)
    given = {"pt": pt, "eta": eta, "phi": phi, "q": charge}
    found = {
        quantity: field or quantity_field(names, quantity, f"set {'charge' if quantity == 'q' else quantity}")
        for quantity, field in given.items()
    }
    found["q"] = found["q"] or quantity_field(names, "qpt", "set charge")
    return ParameterFields(*(found[quantity] or quantity for quantity in given))


def quantity_field(names: Iterable[str], quantity: str, advice: str) -> str | None:
    """Finds the field with a quantity.

    Args:
        names: Names of fields.
        quantity: What the name must be, or end with behind an underscore.
        advice: What to do if there are several.

    Returns:
        The field, or None if there is none.

    Raises:
        ValueError: If there are several.
    """
    candidates = [name for name in names if name.rsplit("_", 1)[-1] == quantity]
    if len(candidates) > 1:
        raise ValueError(f"several fields are called {quantity}: {', '.join(candidates)}; {advice}")
    return candidates[0] if candidates else None

"""Track parameters by quantity, whatever the names of their fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitpool.quantity import quantity_of
from hitpool.residuals import periodic_residual, relative_residual, residual

Values = dict[str, NDArray[np.float64]]
SOURCES = ("pt", "eta", "phi", "q", "qpt", "theta", "qop")
"""Quantities that a field can hold: pt in GeV, phi and theta in rad, qpt = q / pT and qop = q / p in 1 / GeV."""

IMPACT = ("d0", "z0")
"""Quantities in the unit of the data set."""


@dataclass(frozen=True)
class Resolution:
    """What is compared of a quantity.

    Args:
        label: What the table shows.
        axis: What a plot shows.
        unit: Unit of the residuals, empty if they have none.
        residual: Residuals from predicted and true values.
        relative: Whether these are relative to the true value.
    """

    label: str
    axis: str
    unit: str
    residual: Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]
    relative: bool = False


RESOLUTIONS = {
    "qpt": Resolution("q / pT, relative", r"$q / p_\mathrm{T}$, relative", "", relative_residual, True),
    "pt": Resolution("pT, relative", r"$p_\mathrm{T}$, relative", "", relative_residual, True),
    "eta": Resolution("eta", r"$\eta$", "", residual),
    "phi": Resolution("phi", r"$\phi$", "rad", periodic_residual),
    "theta": Resolution("theta", r"$\theta$", "rad", residual),
    "qop": Resolution("q / p, relative", r"$q / p$, relative", "", relative_residual, True),
}
"""Quantities of which sigma68 is compared; of q it is the charge accuracy."""

UNITS = {"pt": "GeV", "phi": "rad", "qpt": "1/GeV", "theta": "rad", "qop": "1/GeV"}
"""Units of parameters, unless the data set says another one."""


def resolution_of(field: str, unit: str = "", relative: bool = False, periodic: bool = False) -> Resolution:
    """What is compared of a field that is none of the known quantities.

    Args:
        field: Its name.
        unit: Its unit, empty if there is none or it is not known.
        relative: Whether residuals are relative to the true value, as of what is learned as 1 / value.
        periodic: Whether it is an angle in rad.
    """
    axis = field.replace("$", r"\$")
    if relative:
        return Resolution(f"{field}, relative", f"{axis}, relative", "", relative_residual, True)
    return Resolution(field, axis, unit, periodic_residual if periodic else residual)


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
    candidates = [name for name in names if quantity_of(name) == quantity]
    if len(candidates) > 1:
        raise ValueError(f"several fields are called {quantity}: {', '.join(candidates)}; {advice}")
    return candidates[0] if candidates else None


def fields_by_quantity(names: Iterable[str]) -> dict[str, str]:
    """Finds the fields with known quantities.

    Args:
        names: Names of fields, such as the targets of a model.

    Returns:
        Quantity to field, for those of `SOURCES` that there are.

    Raises:
        ValueError: If two fields have the same quantity.

    Example:
        >>> fields_by_quantity(["truthMuon_pt", "truthMuon_eta", "beta"])
        {'pt': 'truthMuon_pt', 'eta': 'truthMuon_eta'}
    """
    names = list(names)
    advice = "a comparison needs one"
    found = {quantity: quantity_field(names, quantity, advice) for quantity in SOURCES}
    return {quantity: field for quantity, field in found.items() if field}


def parameter_fields(names: Iterable[str], given: Mapping[str, str | None]) -> dict[str, str]:
    """Finds the fields of pt, eta, phi and q by their names; without q, the charge is the sign of qpt or qop.

    Args:
        names: Names of the targets.
        given: Field by quantity where its name does not say it.

    Returns:
        Field by quantity, as far as there is one.

    Raises:
        ValueError: If two fields have the same quantity and none is given for it.

    Example:
        >>> parameter_fields(["truth_pt", "truth_eta", "truth_qpt"], {"pt": None, "eta": "other", "q": None})
        {'pt': 'truth_pt', 'eta': 'other', 'q': 'truth_qpt'}
    """
    names = list(names)
    fields = {q: field or quantity_field(names, q, f"set {'charge' if q == 'q' else q}") for q, field in given.items()}
    for signed in ("qpt", "qop"):
        fields["q"] = fields["q"] or quantity_field(names, signed, "set charge")
    return {quantity: field for quantity, field in fields.items() if field}


def complete(values: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    """Adds what follows from the given quantities: q/pT from q and pT, or pT and q from q/pT, q from q/p.

    Args:
        values: Some of `SOURCES`, pt in GeV, qpt and qop in 1/GeV, equal shapes.

    Returns:
        These and the derived ones, float64.

    Example:
        >>> complete({"qpt": [-0.05]})
        {'qpt': array([-0.05]), 'pt': array([20.]), 'q': array([-1.])}
    """
    known = {name: np.asarray(array, np.float64) for name, array in values.items()}
    with np.errstate(divide="ignore"):
        if "qpt" in known:
            known.setdefault("pt", 1 / np.abs(known["qpt"]))
            known.setdefault("q", np.sign(known["qpt"]))
        elif {"pt", "q"} <= set(known):
            known["qpt"] = np.sign(known["q"]) / known["pt"]
    if "qop" in known:
        known.setdefault("q", np.sign(known["qop"]))
    return known


def with_direction(values: Mapping[str, ArrayLike], errors: Mapping[str, ArrayLike]) -> tuple[Values, Values]:
    r"""Adds the polar angle to eta, and q / p to q / pT and eta, each where it is not given.

    The error of $\theta = 2 \arctan e^{-\eta}$ is $\sigma_\eta / \cosh\eta$; that of q / p would need a correlation.

    Args:
        values: Some of `SOURCES`, equal shapes.
        errors: Standard deviations of some of them.

    Returns:
        Both with the derived ones, float64.

    Example:
        >>> values, errors = with_direction({"eta": [0.0]}, {"eta": [0.1]})
        >>> values["theta"].round(4), errors["theta"]
        (array([1.5708]), array([0.1]))
    """
    known, sigmas = (
        {name: np.asarray(array, np.float64) for name, array in given.items()} for given in (values, errors)
    )
    if "eta" in known:
        cosh = np.cosh(known["eta"])
        known.setdefault("theta", 2 * np.arctan(np.exp(-known["eta"])))
        if "eta" in sigmas:
            sigmas.setdefault("theta", sigmas["eta"] / cosh)
        if "qpt" in known:
            known.setdefault("qop", known["qpt"] / cosh)
    return known, sigmas


def derivable(quantities: Iterable[str]) -> set[str]:
    """Quantities that `complete` gives.

    Args:
        quantities: What is known.

    Example:
        >>> sorted(derivable(["q", "pt"]))
        ['pt', 'q', 'qpt']
    """
    return set(complete(dict.fromkeys(quantities, np.ones(1))))

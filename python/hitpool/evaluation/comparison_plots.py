"""Resolutions and fractions of several estimates against the true pT and |eta|: numbers in, figures out."""

from __future__ import annotations

from itertools import cycle

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hitpool.evaluation.comparison import BOUND, Bins
from hitpool.evaluation.number import Number
from hitpool.evaluation.plots import BLUE, GREY, ORANGE, label, style
from hitpool.evaluation.quantities import RESOLUTIONS

AXES = {"pt": r"$p_\mathrm{T}$ [GeV]", "eta": r"$|\eta|$"}
LOOKS = [(BLUE, "o", "full"), (ORANGE, "s", "none"), ("#009e73", "D", "none"), ("#cc79a7", "v", "full")]
REFERENCE_LOOK = ("black", "^", "none")
RATIOS = {"to_bound": "Residual / bound", "to_reference": "Ratio to {}"}
FRACTIONS = {
    "charge": ("q", "accuracy", "Wrong charges"),
    "validity_efficiency": ("validity", "efficiency", "Efficiency"),
    "validity_fake_rate": ("validity", "fake_rate", "Fake rate"),
    **{f"{q}_pull": (q, "pull", f"Width of pull of {resolution.axis}") for q, resolution in RESOLUTIONS.items()},
}
"""By name of the plot: quantity, measure, label of the axis."""


def plot_resolution(bins: Bins, against: str, quantity: str, source: str, reference: str | None = None) -> Figure:
    """sigma68 of a quantity for every estimate and of the bound, and below it the ratio to the bound or the reference.

    Args:
        bins: The comparison in bins; one of them is filled at least.
        against: Quantity of the bins: pt or eta.
        quantity: Key of `RESOLUTIONS`.
        source: Words above the axes, where the tracks come from.
        reference: Name of the reference, if there is one.

    Returns:
        The figure.
    """
    names, resolution = _names(bins, quantity, "sigma68"), RESOLUTIONS[quantity]
    ratio = next((key for key in RATIOS if _names(bins, quantity, key)), None)
    looks = _looks(names, reference)
    with style():
        figure = Figure(figsize=(8, 7 if ratio else 6))
        panels = np.atleast_1d(
            figure.subplots(2, sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.06})
            if ratio
            else figure.subplots()
        )
        upper, lower = panels[0], panels[-1]
        for name, look in looks.items():
            _draw(upper, bins, against, bins.column(quantity, "sigma68", name), look, name)
        if BOUND in names:
            values, _ = _columns(bins.column(quantity, "sigma68", BOUND))
            upper.stairs(values, bins.edges, baseline=None, color=GREY, linewidth=2, linestyle="--", label=BOUND)
        unit = f" [{resolution.unit}]" if resolution.unit else ""
        upper.set(ylabel=f"$\\sigma_{{68}}$ of {resolution.axis}{unit}")
        upper.set_yscale("log")
        bottom, top = upper.get_ylim()
        upper.set_ylim(bottom, top * (top / bottom) ** 0.5)  # room for the legend
        if ratio:
            for name in _names(bins, quantity, ratio):
                _draw(lower, bins, against, bins.column(quantity, ratio, name), looks[name])
            lower.axhline(1, color=GREY, linewidth=1, linestyle=":")
            lower.set(ylabel=RATIOS[ratio].format(reference))
            lower.set_ylim(0, 1.1 * lower.get_ylim()[1])
            lower.yaxis.label.set_size("small")
        _finish(upper, lower, bins, against, "True", source)
        upper.legend(title=f"{sum(bins.tracks)} tracks", loc="upper right", alignment="left")
    return figure


def plot_fraction(bins: Bins, against: str, kind: str, source: str, reference: str | None = None) -> Figure:
    """Wrong charges, efficiency, fake rate or width of pulls of every estimate.

    Args:
        bins: The comparison in bins; one of them is filled at least.
        against: Quantity of the bins: pt or eta.
        kind: Key of `FRACTIONS`.
        source: Words above the axes, where the tracks come from.
        reference: Name of the reference, if there is one.

    Returns:
        The figure.
    """
    quantity, measure, axis = FRACTIONS[kind]
    with style():
        figure = Figure(figsize=(8, 6))
        axes = figure.subplots()
        for name, look in _looks(_names(bins, quantity, measure), reference).items():
            numbers = bins.column(quantity, measure, name)
            if measure == "accuracy":
                numbers = [number and Number(1 - number.value, 1 - number.high, 1 - number.low) for number in numbers]
            _draw(axes, bins, against, numbers, look, name)
        low, high = axes.get_ylim()
        bottom, top = (max(0.0, low), 1.0) if measure == "efficiency" else (0.0, high)
        axes.set(ylabel=axis, ylim=(bottom, top + 0.35 * (top - bottom)))  # room for the legend
        if measure in ("efficiency", "pull"):
            axes.axhline(1, color=GREY, linewidth=1, linestyle=":")
        _finish(axes, axes, bins, against, "Estimated" if measure == "fake_rate" else "True", source)
        axes.legend(loc="upper right")
    return figure


def _names(bins: Bins, quantity: str, measure: str) -> list[str]:
    rows = [row for rows in bins.rows for row in rows if (row.quantity, row.measure) == (quantity, measure)]
    return list(dict.fromkeys(name for row in rows for name in row.numbers))


def _looks(names: list[str], reference: str | None) -> dict[str, tuple[str, str, str]]:
    looks = dict(zip([name for name in names if name not in (BOUND, reference)], cycle(LOOKS), strict=False))
    return looks | ({reference: REFERENCE_LOOK} if reference in names else {})


def _draw(
    axes: Axes,
    bins: Bins,
    against: str,
    numbers: list[Number | None],
    look: tuple[str, str, str],
    name: str | None = None,
) -> None:
    """Points with errors in the bins that have a number."""
    low, high = bins.edges[:-1], bins.edges[1:]
    centre = np.sqrt(low * high) if against == "pt" else (low + high) / 2
    values, errors = _columns(numbers)
    color, marker, fill = look
    filled = np.isfinite(values)
    axes.errorbar(
        centre[filled],
        values[filled],
        errors[:, filled],
        np.stack([centre - low, high - centre])[:, filled],
        label=name,
        fmt=marker,
        color=color,
        fillstyle=fill,
        markersize=7,
        linewidth=1.5,
    )


def _columns(numbers: list[Number | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values [bins] and distances to their limits [2, bins], NaN where there is no number."""
    known = [number or Number(np.nan, np.nan, np.nan) for number in numbers]
    errors = [[number.value - number.low for number in known], [number.high - number.value for number in known]]
    return np.array([number.value for number in known]), np.maximum(errors, 0.0)


def _finish(upper: Axes, lower: Axes, bins: Bins, against: str, which: str, source: str) -> None:
    lower.set(xlabel=f"{which} {AXES[against]}")
    if against == "pt":
        lower.set_xscale("log")
        lower.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        lower.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    lower.set_xlim(bins.edges[0], bins.edges[-1])
    label(upper, source)

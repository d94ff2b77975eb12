"""Resolutions of several estimates against the true pT and eta: numbers in, figures out."""

from __future__ import annotations

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from hitpool.evaluation.comparison import Bins
from hitpool.evaluation.number import Number
from hitpool.evaluation.plots import BLUE, GREY, ORANGE, label, style
from hitpool.evaluation.quantities import RESOLUTIONS

AXES = {"pt": r"True $p_\mathrm{T}$ [GeV]", "eta": r"True $\eta$"}
LOOKS = [(BLUE, "o", "full"), (ORANGE, "s", "none")]
REFERENCE_LOOK = ("black", "^", "none")


def plot_resolution(bins: Bins, against: str, quantity: str, source: str) -> Figure:
    """sigma68 of a quantity for every estimate, and below it the ratio to the reference.

    Args:
        bins: The comparison in bins; one of them is filled at least.
        against: Quantity of the bins: pt or eta.
        quantity: Key of `RESOLUTIONS`.
        source: Words above the axes, where the tracks come from.

    Returns:
        The figure.
    """
    rows = [next((row for row in rows if row.quantity == quantity), None) for rows in bins.rows]
    filled = np.array([row is not None for row in rows])
    shown = [row for row in rows if row is not None]
    names, resolution = list(shown[0].numbers), RESOLUTIONS[quantity]
    looks = dict(zip(names[:-1], LOOKS, strict=False)) | {names[-1]: REFERENCE_LOOK}
    low, high = bins.edges[:-1][filled], bins.edges[1:][filled]
    centre = np.sqrt(low * high) if against == "pt" else (low + high) / 2
    widths = np.stack([centre - low, high - centre])
    with style():
        figure = Figure(figsize=(8, 7))
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.06})
        for name in names:
            color, marker, fill = looks[name]
            options = {"fmt": marker, "color": color, "fillstyle": fill, "markersize": 7, "linewidth": 1.5}
            values, errors = _columns([row.numbers[name] for row in shown])
            upper.errorbar(centre, values, errors, widths, label=name, **options)
            if name != names[-1]:
                values, errors = _columns([row.ratios[name] for row in shown])
                lower.errorbar(centre, values, errors, widths, **options)
        lower.axhline(1, color=GREY, linewidth=1, linestyle=":")
        unit = f" [{resolution.unit}]" if resolution.unit else ""
        upper.set(ylabel=f"$\\sigma_{{68}}$ of {resolution.axis}{unit}")
        if against == "pt":
            upper.set_yscale("log")
            bottom, top = upper.get_ylim()
            upper.set_ylim(bottom, top * (top / bottom) ** 0.35)  # room for the legend
        else:
            upper.set_ylim(0, 1.45 * upper.get_ylim()[1])
        lower.set(xlabel=AXES[against], ylabel=f"Ratio to {names[-1]}")
        lower.set_ylim(0, 1.1 * lower.get_ylim()[1])
        lower.yaxis.label.set_size("small")
        if against == "pt":
            lower.set_xscale("log")
            lower.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
            lower.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        lower.set_xlim(bins.edges[0], bins.edges[-1])
        upper.legend(title=f"{sum(bins.tracks)} tracks", loc="upper right", alignment="left")
        label(upper, source)
    return figure


def _columns(numbers: list[Number]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([number.value for number in numbers]), np.array([number.error for number in numbers])

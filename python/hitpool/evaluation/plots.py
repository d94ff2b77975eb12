"""Plots of a test and of several estimates: numbers in, figures out. No window is opened; `save` writes PNG files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hitpool.evaluation.bootstrap import Number, efficiency_in_bins
from hitpool.evaluation.comparison import Bins
from hitpool.evaluation.quantities import RESOLUTIONS
from hitpool.evaluation.tracks import BOUND
from hitpool.files import write_bytes
from hitpool.residuals import sigma68

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "0.55"
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


@contextmanager
def style() -> Iterator[None]:
    """Context with the style of all figures: tick marks, fonts and sizes of mplhep's ATLAS style."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(mplhep.style.ATLAS)
        matplotlib.rc("axes", unicode_minus=True, autolimit_mode="data")
        matplotlib.rc("axes.formatter", limits=(-6, 6))  # no power of ten above the axis, where the label is
        yield


def label(axes: Axes, text: str) -> None:
    """Writes above the axes where the numbers come from.

    Args:
        axes: Axes to write on.
        text: The words, as they are: a dollar sign is one.
    """
    look: dict[str, Any] = {"fontsize": "large", "fontweight": "bold", "fontstyle": "italic"}
    axes.text(0, 1.015, text, transform=axes.transAxes, parse_math=False, **look)


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG, creating its folder.

    Args:
        figure: The figure.
        path: File to write, ending in .png.

    Returns:
        The path.
    """
    path, content = Path(path), io.BytesIO()
    FigureCanvasAgg(figure)
    with style():  # fonts are looked up when a figure is drawn
        figure.savefig(content, format="png")
    write_bytes(path, content.getbuffer())
    return path


def plot_residuals(
    values: ArrayLike, trivial: ArrayLike, axis_label: str, source: str, unit: str = "", bins: int = 60
) -> Figure:
    """Histogram of residuals next to those of the trivial predictor, as fractions of the tracks.

    The axis covers five sigma68 of the model on both sides of 0; the legend says how much lies outside.

    Args:
        values: Residuals of the model, 1-D; those that are not finite are counted in the legend only.
        trivial: Residuals of the trivial predictor, 1-D.
        axis_label: Name of the residual, without unit.
        source: Words above the axes, where the tracks come from.
        unit: Unit, shown in brackets.
        bins: Number of bins.

    Returns:
        The figure.
    """
    values, trivial = np.asarray(values, np.float64), np.asarray(trivial, np.float64)
    finite = values[np.isfinite(values)]
    width = 5 * sigma68(finite) if finite.size > 1 else 0.0
    limit = width if width > 0 else max(2 * float(np.abs(finite).max(initial=0.0)), 1e-6)
    edges = np.linspace(-limit, limit, bins + 1)
    with style():
        figure = Figure(figsize=(8, 6))
        axes = figure.subplots()
        for data, color, name in (
            (trivial[np.isfinite(trivial)], GREY, "constant mean"),
            (finite, BLUE, "model"),
        ):
            heights = np.histogram(data, edges)[0] / max(data.size, 1)
            suffix = f" {unit}" if unit else ""
            numbers = f"$\\sigma_{{68}}$ = {sigma68(data):.3g}{suffix}, {1 - heights.sum():.1%} outside"
            axes.stairs(heights, edges, color=color, linewidth=2, label=f"{name}: {numbers}", zorder=3)
            if name == "model":
                axes.stairs(heights, edges, color=color, fill=True, alpha=0.3)
        lost = values.size - finite.size
        title = f"{values.size} tracks" + (f", {lost} not finite" if lost else "")
        axes.legend(title=title, loc="upper right", alignment="left")
        axes.set(
            xlabel=axis_label + (f" [{unit}]" if unit else ""),
            ylabel="Fraction of tracks per bin",
            xlim=(-limit, limit),
            ylim=(0, 1.4 * max(axes.get_ylim()[1], 1e-6)),
        )
        label(axes, source)
    return figure


def plot_efficiency(
    pt: ArrayLike,
    found: Mapping[str, ArrayLike],
    source: str,
    edges: ArrayLike = (5, 10, 15, 20, 30, 40, 50, 70, 100, 200),
) -> Figure:
    """Track efficiency against the true pT with 68.27 % Clopper-Pearson intervals.

    Args:
        pt: True pT of the particles in GeV, 1-D.
        found: Whether each particle was found, for up to three definitions of found (the legend entries).
        source: Words above the axes, where the particles come from.
        edges: Bin edges in GeV.

    Returns:
        The figure.
    """
    edges = np.asarray(edges, np.float64)
    centres = np.sqrt(edges[:-1] * edges[1:])
    with style():
        figure = Figure(figsize=(8, 6))
        axes = figure.subplots()
        lowest = 1.0
        looks = [
            (BLUE, "o", BLUE, 6),
            (ORANGE, "s", "none", 11),
            ("black", "^", "none", 14),
        ]  # open on top of filled
        for (name, passed), (color, marker, inside, size) in zip(found.items(), looks, strict=False):
            efficiency, low, high = efficiency_in_bins(pt, passed, edges)
            filled = ~np.isnan(efficiency)
            if filled.any():
                lowest = min(lowest, float(low[filled].min()))
            axes.errorbar(
                centres[filled],
                efficiency[filled],
                xerr=np.stack([centres - edges[:-1], edges[1:] - centres])[:, filled],
                yerr=np.stack([efficiency - low, high - efficiency])[:, filled].clip(min=0),
                fmt=marker,
                color=color,
                markersize=size,
                markerfacecolor=inside,
                linewidth=1.5,
                label=name,
            )
        axes.set_xscale("log")
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if edges[0] <= tick <= edges[-1]]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        bottom = max(0.0, np.floor(10 * lowest - 0.5) / 10)
        axes.axhline(1, color=GREY, linewidth=1, linestyle=":")
        axes.set(
            xlabel=r"True $p_\mathrm{T}$ [GeV]",
            ylabel="Efficiency",
            xlim=(edges[0], edges[-1]),
            ylim=(bottom, 1 + 0.35 * (1 - bottom)),
        )
        axes.legend(loc="upper right")
        label(axes, source)
    return figure


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
        upper, lower = (
            figure.subplots(2, sharex=True, height_ratios=(3, 1), gridspec_kw={"hspace": 0.06})
            if ratio
            else [figure.subplots()] * 2
        )
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
            lower.yaxis.label.set_fontsize("small")
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

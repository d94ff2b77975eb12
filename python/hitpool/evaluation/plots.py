"""Plots of a test and of several estimates: numbers in, figures out. No window is opened; `save` writes the files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.comparison import Bins
from hitpool.evaluation.tracks import BOUND, TRIVIAL
from hitpool.evaluation.variables import COUNTS, axis_label, logarithmic
from hitpool.files import write_bytes
from hitpool.residuals import sigma68

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "0.55"
LOOKS = [(BLUE, "o", "full"), (ORANGE, "s", "none"), ("#009e73", "D", "none"), ("#cc79a7", "v", "full")]
REFERENCE_LOOK = ("black", "^", "none")
RATIOS = {"to_bound": "Residual / bound", "to_reference": "Ratio to {}"}
FRACTIONS = {
    "charge": ("q", {"accuracy": ""}, "Charge misidentification"),
    "validity_efficiency": ("validity", {"efficiency": "", "efficiency_by_hits": ", by hits"}, "Efficiency"),
    "validity_fake_rate": ("validity", {"fake_rate": "", "fake_rate_by_hits": ", by hits"}, "Fake rate"),
    "validity_duplicate_rate": ("validity", {"duplicate_rate": ""}, "Duplicate rate"),
    "finding_efficiency": ("finding", {"efficiency": ""}, "Efficiency"),
    "finding_fake_rate": ("finding", {"fake_rate": ""}, "Fake rate"),
    "finding_duplicate_rate": ("finding", {"duplicate_rate": ""}, "Duplicate rate"),
}
"""By name of the plot: quantity, measures with what they add to the name of an estimate, label of the axis."""
OF_TRACKS = ("fake_rate", "duplicate_rate")  # measures in bins of what is estimated
NORMAL = np.exp(-0.5 * np.linspace(-5, 5, 201) ** 2) / np.sqrt(2 * np.pi)


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


def plain_ticks(axis: Axis, steps: Sequence[float] = (1, 2, 5)) -> None:
    """Labels a logarithmic axis with plain numbers.

    Args:
        axis: The axis.
        steps: Labels in a decade.
    """
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=steps))
    axis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure, creating its folder; the same figure gives the same bytes.

    Args:
        figure: The figure.
        path: File to write, ending in .png or .pdf.

    Returns:
        The path.

    Raises:
        ValueError: If it ends in something else.
    """
    path, content = Path(path), io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "pdf"):
        raise ValueError(f"{path}: expected a file that ends in .png or .pdf")
    FigureCanvasAgg(figure)
    with style():  # fonts are looked up when a figure is drawn
        figure.savefig(content, format=kind, metadata={"CreationDate": None} if kind == "pdf" else None)
    write_bytes(path, content.getbuffer())
    return path


def plot_residuals(
    residuals: Mapping[str, ArrayLike], axis_label: str, source: str, unit: str = "", bins: int = 60
) -> Figure:
    """Histogram of the residuals of one or several estimates, as fractions of the tracks.

    The axis covers five sigma68 of the first estimate on both sides of 0; the legend says how much lies outside.

    Args:
        residuals: Residuals by name of the estimate, 1-D; those that are not finite are counted in the legend only.
        axis_label: Name of the residual, without unit.
        source: Words above the axes, where the tracks come from.
        unit: Unit, shown in brackets.
        bins: Number of bins.

    Returns:
        The figure.
    """
    values = {name: np.asarray(own, np.float64) for name, own in residuals.items()}
    finite = {name: own[np.isfinite(own)] for name, own in values.items()}
    first = next(iter(finite.values()))
    width = 5 * sigma68(first) if first.size > 1 else 0.0
    limit = width if width > 0 else max(2 * float(np.abs(first).max(initial=0.0)), 1e-6)
    with style():
        figure, axes = _histograms(finite, np.linspace(-limit, limit, bins + 1), f" {unit}" if unit else "")
        axes.set(xlabel=axis_label + (f" [{unit}]" if unit else ""))
        _legend(axes, values)
        label(axes, source)
    return figure


def plot_pulls(pulls: Mapping[str, ArrayLike], axis: str, source: str) -> Figure:
    """Histogram of residuals in units of their own errors, with the normal distribution that right errors give.

    Args:
        pulls: Pulls by name of the estimate, 1-D, as in `plot_residuals`.
        axis: Of which parameter.
        source: Words above the axes, where the tracks come from.

    Returns:
        The figure.
    """
    values = {name: np.asarray(own, np.float64) for name, own in pulls.items()}
    edges = np.linspace(-5, 5, 51)
    with style():
        figure, axes = _histograms({name: own[np.isfinite(own)] for name, own in values.items()}, edges, "")
        place = np.linspace(-5, 5, len(NORMAL))
        axes.plot(place, NORMAL * (edges[1] - edges[0]), color="black", linestyle="--", linewidth=1.5, label="normal")
        axes.set(xlabel=f"Pull of {axis} (residual / own error)")
        _legend(axes, values)
        label(axes, source)
    return figure


def _histograms(finite: Mapping[str, NDArray[Any]], edges: NDArray[Any], unit: str) -> tuple[Figure, Axes]:
    """Fractions in bins, the first estimate filled; the legend names width, underflow and overflow."""
    figure = Figure(figsize=(8, 6))
    axes = figure.subplots()
    colors = cycle(color for color, *_ in LOOKS)
    for number, (name, own) in enumerate(finite.items()):
        color = GREY if name == TRIVIAL else next(colors)
        total = max(own.size, 1)
        heights = np.histogram(own, edges)[0] / total
        below, above = np.count_nonzero(own < edges[0]) / total, np.count_nonzero(own > edges[-1]) / total
        numbers = f"$\\sigma_{{68}}$ = {sigma68(own):.3g}{unit}, {below:.1%} below, {above:.1%} above"
        axes.stairs(heights, edges, color=color, linewidth=2, label=f"{name}: {numbers}", zorder=3)
        if not number:
            axes.stairs(heights, edges, color=color, fill=True, alpha=0.3)
    axes.set(ylabel="Fraction of tracks per bin", xlim=(edges[0], edges[-1]))
    return figure, axes


def _legend(axes: Axes, values: Mapping[str, NDArray[Any]]) -> None:
    first = next(iter(values.values()))
    lost = int(np.count_nonzero(~np.isfinite(first)))
    title = f"{first.size} tracks" + (f", {lost} not finite" if lost else "")
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-6))
    _room(axes, 0.05)
    axes.legend(title=title, loc="upper right", alignment="left", fontsize="small")


def plot_resolution(bins: Bins, against: str, quantity: str, source: str, reference: str | None = None) -> Figure:
    """sigma68 of a quantity for every estimate and of the bound, and below it the ratio to the bound or the reference.

    Args:
        bins: The comparison in bins; one of them is filled at least.
        against: Variable of the bins.
        quantity: A parameter of the tracks.
        source: Words above the axes, where the tracks come from.
        reference: Name of the reference, if there is one.

    Returns:
        The figure.
    """
    names, resolution = _names(bins, quantity, "sigma68"), bins.resolution(quantity)
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
        plain_ticks(upper.yaxis)
        if ratio:
            for name in _names(bins, quantity, ratio):
                _draw(lower, bins, against, bins.column(quantity, ratio, name), looks[name])
            lower.axhline(1, color=GREY, linewidth=1, linestyle=":")
            lower.set(ylabel=RATIOS[ratio].format(reference))
            lower.set_ylim(0, 1.1 * lower.get_ylim()[1])
            lower.yaxis.label.set_fontsize("small")
        _finish(upper, lower, bins, against, "True", source)
        _room(upper, 0.08 if ratio else 0.06)
        upper.legend(title=_counts(bins, "tracks"), loc="upper right", alignment="left")
    return figure


def plot_fraction(bins: Bins, against: str, kind: str, source: str, reference: str | None = None) -> Figure:
    """One number of every estimate, such as the share of wrong charges, the efficiency or the width of pulls.

    Args:
        bins: The comparison in bins; one of them is filled at least.
        against: Variable of the bins.
        kind: Key of `FRACTIONS`, or `<parameter>_median` or `<parameter>_pull`.
        source: Words above the axes, where the tracks come from.
        reference: Name of the reference, if there is one.

    Returns:
        The figure.
    """
    quantity, measures, axis = FRACTIONS[kind] if kind in FRACTIONS else _summary(bins, kind)
    series = {
        name + suffix: bins.column(quantity, measure, name)
        for measure, suffix in measures.items()
        for name in _names(bins, quantity, measure)
        if (measure, name) != ("median", BOUND)
    }
    first = next(iter(measures))
    counted = {"efficiency": "particles"}.get(first, "valid tracks" if first in OF_TRACKS else "tracks")
    with style():
        figure = Figure(figsize=(8, 6))
        axes = figure.subplots()
        for name, look in _looks(list(series), reference).items():
            numbers = series[name]
            if first == "accuracy":
                numbers = [number and Number(1 - number.value, 1 - number.high, 1 - number.low) for number in numbers]
            _draw(axes, bins, against, numbers, look, name)
        low, high = axes.get_ylim()
        bottom, top = (max(0.0, low), 1.0) if first == "efficiency" else (0.0, high)
        if first == "median":
            bottom, top = min(low, 0.0), max(high, 0.0)
        axes.set(ylabel=axis, ylim=(bottom, top))
        _room(axes, 0.07)
        line = {"efficiency": 1.0, "pull": 1.0, "median": 0.0}.get(first)
        if line is not None:
            axes.axhline(line, color=GREY, linewidth=1, linestyle=":")
        _finish(axes, axes, bins, against, "Estimated" if first in OF_TRACKS else "True", source)
        axes.legend(title=_counts(bins, counted), loc="upper right", alignment="left")
    return figure


def _summary(bins: Bins, kind: str) -> tuple[str, dict[str, str], str]:
    """Entry as in `FRACTIONS` of a number that every parameter has."""
    quantity, _, measure = kind.rpartition("_")
    resolution = bins.resolution(quantity)
    words = {"pull": "Width of pull of", "median": "Median residual of"}[measure]
    unit = f" [{resolution.unit}]" if resolution.unit and measure == "median" else ""
    return quantity, {measure: ""}, f"{words} {resolution.axis}{unit}"


def _counts(bins: Bins, of: str) -> str:
    """How many there are in the bins, and how many below and above."""
    below, inside, above = bins.totals.get(of, (0, sum(bins.tracks), 0))
    outside = ", ".join(f"{number} {where}" for number, where in ((below, "below"), (above, "above")) if number)
    return f"{inside} {of}" + (f", {outside} the axis" if outside else "")


def _room(axes: Axes, share: float) -> None:
    """Moves the top of the axes so far up that data end below the legend, whose lines are a share of the height."""
    lines = len(axes.get_legend_handles_labels()[0]) + 1
    taken = min(share * lines + 0.05, 0.6)
    bottom, top = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(bottom, bottom * (top / bottom) ** (1 / (1 - taken)))
    else:
        axes.set_ylim(bottom, bottom + (top - bottom) / (1 - taken))


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
    centre = np.sqrt(low * high) if logarithmic(against, bins.edges) else (low + high) / 2
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
    lower.set(xlabel=f"{which} {axis_label(against, bins.unit)}")
    low, high = float(bins.edges[0]), float(bins.edges[-1])
    lower.set_xlim(low, high)
    if logarithmic(against, bins.edges):
        lower.set_xscale("log")
        lower.set_xlim(low, high)
        plain_ticks(lower.xaxis, steps=(1, 2, 5) if high / low < 300 else (1,))
    elif against in COUNTS:
        lower.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    label(upper, source)

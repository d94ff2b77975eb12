"""Plots of the test: numbers in, figures out. No window is opened; `save` writes PNG files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.ticker
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hitpool.evaluation.assignment import efficiency_in_bins
from hitpool.evaluation.residuals import sigma68
from hitpool.files import write_bytes

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "0.55"


@contextmanager
def style() -> Iterator[None]:
    """Context with the style of all figures: tick marks, fonts and sizes of mplhep's ATLAS style."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(mplhep.style.ATLAS)
        options = {"axes.unicode_minus": True, "axes.autolimit_mode": "data", "axes.formatter.limits": (-6, 6)}
        matplotlib.rcParams.update(options)  # limits: no power of ten above the axis, where the label is
        yield


def label(axes: Axes, text: str) -> None:
    """Writes above the axes where the numbers come from.

    Args:
        axes: Axes to write on.
        text: The words, as they are: a dollar sign is one.
    """
    look = {"fontsize": "large", "fontweight": "bold", "fontstyle": "italic"}
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

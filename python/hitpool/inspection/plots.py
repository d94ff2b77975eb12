"""Plots of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hitpool.evaluation.plots import BLUE, GREY, label, save, style
from hitpool.files import data_set_name
from hitpool.inspection.report import technology_name
from hitpool.inspection.scan import Scan
from hitpool.inspection.statistics import Counts


def save_plots(scan: Scan, folder: Path) -> list[Path]:
    """Draws hits per event and per track, tracks per event, all track columns, technologies.

    Args:
        scan: What was found.
        folder: Where the PNG files go.

    Returns:
        The files; those for which there are no numbers are left out.
    """
    name = data_set_name(scan.index.directory)
    figures = {}
    for title, counts in (
        ("hits per event", scan.hits_per_event),
        ("true hits per track", scan.hits_per_track),
        ("tracks per event", scan.tracks_per_event),
    ):
        if counts.total:
            figures[title.replace(" ", "_")] = plot_counts(counts, title, name)
    for column, values in zip(scan.tracks.names, scan.sample.rows.T, strict=True):
        finite = values[np.isfinite(values)]
        if len(finite):
            figures[f"track_{column}"] = plot_values(finite, column, name)
    if scan.technologies:
        figures["technologies"] = plot_technologies(scan, name)
    return [save(figure, Path(folder) / f"{title}.png") for title, figure in figures.items()]


def plot_counts(counts: Counts, title: str, name: str) -> Figure:
    """Histogram of whole numbers, in at most 100 bins; those above the 99.9 % quantile are left out.

    Args:
        counts: The numbers, at least one.
        title: What is counted, "hits per event".
        name: Name of the data set.

    Returns:
        The figure.
    """
    top = counts.quantile(0.999)
    assert top is not None  # there are numbers
    width = max(1, -(-(top + 1) // 100))
    edges = np.arange(0, top + 1 + width, width)
    shown = np.zeros(len(edges) * width)
    shown[: min(len(counts.histogram), len(shown))] = counts.histogram[: len(shown)]
    heights = shown[: (len(edges) - 1) * width].reshape(-1, width).sum(1) / counts.total
    what, _, container = title.partition(" per ")
    with style():
        figure = Figure(figsize=(8, 6))
        axes = figure.subplots()
        axes.stairs(heights, edges - 0.5, color=BLUE, linewidth=2, fill=True, alpha=0.3)
        axes.stairs(heights, edges - 0.5, color=BLUE, linewidth=2, label=f"mean {counts.mean:.3g}")
        axes.set(
            xlabel=f"{what[0].upper()}{what[1:]} per {container}",
            ylabel=f"Fraction of {container}s per bin",
            xlim=(edges[0] - 0.5, edges[-1] - 0.5),
            ylim=(0, 1.25 * max(heights.max(), 1e-6)),
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper right", title=f"{counts.total:,} {container}s")
        label(axes, name)
    return figure


def plot_values(values: np.ndarray, column: str, name: str) -> Figure:
    """Histogram of the values of a track column.

    Args:
        values: Finite values, 1-D, at least one.
        column: Name of the column.
        name: Name of the data set.

    Returns:
        The figure.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, 61)
    heights = np.histogram(values.astype(np.float64), edges)[0] / len(values)
    with style():
        figure = Figure(figsize=(8, 6))
        axes = figure.subplots()
        axes.stairs(heights, edges, color=BLUE, linewidth=2, fill=True, alpha=0.3)
        text = f"mean {values.mean(dtype=np.float64):.3g}, sd {values.std(dtype=np.float64):.3g}"
        axes.stairs(heights, edges, color=BLUE, linewidth=2, label=text)
        axes.set(
            xlabel=column,
            ylabel="Fraction of tracks per bin",
            xlim=(low - 0.03 * (high - low), high + 0.03 * (high - low)),
            ylim=(0, 1.25 * heights.max()),
        )
        axes.legend(loc="upper right", title=f"{len(values):,} tracks")
        label(axes, name)
    return figure


def plot_technologies(scan: Scan, name: str) -> Figure:
    """Shares of the technologies in the hits and in the true hits.

    Args:
        scan: What was found.
        name: Name of the data set.

    Returns:
        The figure.
    """
    values = sorted(scan.technologies)
    numbers = np.array([scan.technologies[value] for value in values], np.float64)
    shares = numbers / np.maximum(numbers.sum(0), 1)
    place = np.arange(len(values))
    with style():
        figure = Figure(figsize=(8, 6))
        axes = figure.subplots()
        axes.bar(place - 0.2, shares[:, 0], 0.4, color=GREY, label="all hits")
        if scan.truth_link is not None:
            axes.bar(place + 0.2, shares[:, 1], 0.4, color=BLUE, label="true hits")
        axes.set_xticks(place, [technology_name(scan, value) for value in values])
        axes.tick_params(axis="x", which="minor", bottom=False, top=False)
        axes.set(ylabel="Share", ylim=(0, 1.3 * shares.max()))
        axes.legend(loc="upper right")
        label(axes, name)
    return figure

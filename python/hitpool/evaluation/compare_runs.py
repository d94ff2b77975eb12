"""Tables and plots of several runs side by side, from what their tests have written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullFormatter, NullLocator
from rich.console import Console

from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.plots import label, save, style
from hitpool.evaluation.quantities import RESOLUTIONS
from hitpool.evaluation.tables import MEASURES, table
from hitpool.evaluation.tested_runs import Measured, Point, group, label_of, read_run
from hitpool.evaluation.variables import axis_label, logarithmic
from hitpool.files import check_writable, write_text

CAPTION = (
    "Definitions are those of the tests of the runs. Errors of one run: 68.27 %, as in its own table, from the tested "
    "events; of n runs that differ only in their seeds: mean and standard deviation over these runs."
)
DRAWN = ("sigma68", "median", "accuracy", "efficiency", "fake_rate", "duplicate_rate")
OF_TRACKS = ("fake_rate", "duplicate_rate")  # in bins of the estimated variable
LOSSES = {"train/loss": "Loss in training", "val/loss": "Loss in validation"}
MARKERS = "osD^vP"


def compare_runs(runs: Sequence[Path], output: Path) -> None:
    """Show the tests of several runs side by side; nothing is tested again.

    It prints one table and writes it as comparison.csv and comparison.md, and draws resolution, charge, efficiency,
    fake and duplicate rate in bins, and the learning curves. Runs that differ only in their seeds are shown as their
    mean and standard deviation.

    Args:
        runs: Run directories.
        output: Folder for tables and plots.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If a run has not been tested, or they were tested on different events.
        WriteError: If nothing can be written.
    """
    check_writable(output)
    tested = [read_run(path) for path in runs]
    measured = group(tested)
    units = {quantity: unit for own in tested for quantity, unit in own.units.items()}
    lines = list(dict.fromkeys(line for own in measured for line in own.numbers))
    texts = [f"{line.label} [{line.unit}]" if line.unit else line.label for line in lines]
    names = [own.label for own in measured]
    rows = [{own.label: own.numbers[line] for own in measured if line in own.numbers} for line in lines]
    particles = next(iter(tested[0].events.values()))["particles"]
    heading = f"{len(tested)} runs, tested with {particles} particles"
    console = Console()
    console.print(table(heading, CAPTION, names, [list(zip(texts, rows, strict=True))]))
    write_text(output / "comparison.csv", _csv(measured))
    write_text(output / "comparison.md", _markdown(texts, names, rows))
    drawn = [save(figure, output / "plots" / f"{name}.png") for name, figure in figures(measured, units, heading)]
    for own in tested:
        if not own.measured.bins:
            command = f"hitpool evaluate --checkpoint {own.path / 'ckpts' / 'best.ckpt'}"
            print(f"{own.path} is not in the plots of resolution and efficiency: '{command}' measures them")
    print(f"written to {output}: comparison.csv, comparison.md, plots ({len(drawn)})")


def figures(measured: Sequence[Measured], units: dict[str, str], source: str) -> Iterator[tuple[str, Figure]]:
    """Draws the runs on top of each other.

    Args:
        measured: The runs.
        units: Unit by quantity.
        source: Words above the axes.

    Yields:
        Name and figure.
    """
    points = dict.fromkeys(point for own in measured for point in own.bins if point[2] in DRAWN)
    for variable, quantity, measure in points:
        resolution = RESOLUTIONS.get(quantity)
        axis = f"{label_of(quantity)}: {MEASURES[measure]}"
        if measure in ("sigma68", "median"):
            unit, word = units.get(quantity, ""), {"sigma68": r"$\sigma_{68}$", "median": "Median residual"}[measure]
            axis = f"{word} of {resolution.axis if resolution else quantity}" + (f" [{unit}]" if unit else "")
        yield f"{quantity}_{measure}_{variable}", _plot_bins(measured, (variable, quantity, measure), axis, source)
    for loss in LOSSES:
        if any(loss in curves for own in measured for curves in own.curves):
            yield loss.replace("/", "_"), _plot_curves(measured, loss, source)


def _plot_bins(measured: Sequence[Measured], point: Point, axis: str, source: str) -> Figure:
    """A number against a variable, with the error of one run or the spread of several."""
    variable, _, measure = point
    with style():
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.subplots()
        for number, own in enumerate(measured):
            if point not in own.bins:
                continue
            edges = np.array(own.edges[variable])
            log = logarithmic(variable, edges)
            centre = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
            value, low, high = np.array([(n.value, n.low, n.high) for n in own.bins[point]]).T
            axes.errorbar(
                centre,
                value,
                np.maximum([value - low, high - value], 0.0),
                [centre - edges[:-1], edges[1:] - centre],
                fmt=MARKERS[number % len(MARKERS)],
                color=f"C{number}",
                fillstyle="none" if number % 2 else "full",
                label=own.label,
            )
            if log:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
                axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlim(edges[0], edges[-1])
            unit = own.variables[variable]
        which = "Estimated" if measure in OF_TRACKS else "True"
        axes.set(xlabel=f"{which} {axis_label(variable, unit)}", ylabel=axis)
        _finish(axes, source, from_zero=measure in ("sigma68", *OF_TRACKS))
    return figure


def _plot_curves(measured: Sequence[Measured], loss: str, source: str) -> Figure:
    """A loss after each epoch: mean of the runs and, as a band, the range of their values."""
    with style():
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.subplots()
        for number, own in enumerate(measured):
            curves = [curves[loss] for curves in own.curves if loss in curves]
            if not curves:
                continue
            epochs = sorted(set.intersection(*map(set, curves)))
            values = np.array([[curve[epoch] for epoch in epochs] for curve in curves])  # [runs, epochs]
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(epochs, values.mean(0), color=f"C{number}", marker=marker, markersize=5, label=own.label)
            if len(curves) > 1:
                axes.fill_between(epochs, values.min(0), values.max(0), color=f"C{number}", alpha=0.25, linewidth=0)
        axes.set(xlabel="Epochs", ylabel=LOSSES[loss])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_minor_locator(NullLocator())
        _finish(axes, source)
    return figure


def _finish(axes: Axes, source: str, from_zero: bool = False) -> None:
    """Legend, with room for it, and words above."""
    low, high = axes.get_ylim()
    low = 0.0 if from_zero else low
    axes.set_ylim(low, high + 0.35 * (high - low))
    axes.legend(loc="upper right")
    label(axes, source)


def _csv(measured: Sequence[Measured]) -> str:
    """A line for each number of each run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["number", "unit", "run", "n", "value", "low", "high"])
    for own in measured:
        for line, number in own.numbers.items():
            values = [_plain(value) for value in (number.value, number.low, number.high)]
            writer.writerow([line.label, line.unit, own.label, own.runs, *values])
    return text.getvalue()


def _plain(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"


def _markdown(texts: Sequence[str], names: Sequence[str], rows: Sequence[dict[str, Number]]) -> str:
    lines = [["number", *names], ["---", *("---:" for _ in names)]]
    lines += [
        [text, *(str(row[name]) if name in row else "" for name in names)]
        for text, row in zip(texts, rows, strict=True)
    ]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)

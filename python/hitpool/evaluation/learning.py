"""Learning curves of a training, from the metrics.csv of its run directory."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hitpool.evaluation.plots import label, plain_ticks, style

FRACTIONS = ("_efficiency", "_purity", "_fake_rate", "_accuracy")
WIDTH = "_sigma68"
Curve = dict[int, float]  # by number of trained epochs


def read_curves(table: Path) -> dict[str, Curve]:
    """Reads the metrics of each epoch.

    Args:
        table: The metrics.csv.

    Returns:
        Curves by name of the metric: losses, and of the validation fractions and widths of residuals. Of an epoch that
        comes twice, because the training was interrupted in it, the last value.
    """
    curves: dict[str, Curve] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                shown = name in ("train/loss", "val/loss") or (
                    name.startswith("val/final_") and name.endswith((*FRACTIONS, WIDTH))
                )
                if shown and value:
                    curves.setdefault(name, {})[int(row["epoch"])] = float(value)
    return curves


def plot_curves(curves: Mapping[str, Curve], source: str) -> Figure:
    """Loss, fractions and widths of residuals after each epoch.

    Args:
        curves: Curves by name of the metric, at least one.
        source: Words above, which training it is.

    Returns:
        The figure, a panel of each kind that there is.
    """
    kinds = {
        "Loss": {name: curve for name, curve in curves.items() if name.endswith("/loss")},
        "Fraction (validation)": {name: curve for name, curve in curves.items() if name.endswith(FRACTIONS)},
        r"$\sigma_{68}$ of residuals (validation)": {n: curve for n, curve in curves.items() if n.endswith(WIDTH)},
    }
    kinds = {kind: own for kind, own in kinds.items() if own}
    with style():
        figure = Figure(figsize=(11, 0.5 + 4 * len(kinds)), layout="constrained")
        panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (kind, own) in zip(panels, kinds.items(), strict=True):
            _draw(axes, own)
            axes.set(ylabel=kind)
            if not kind.startswith("Fraction"):
                axes.set_yscale("log")
                plain_ticks(axes.yaxis)
        panels[-1].set(xlabel="Epochs")
        panels[-1].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        panels[-1].xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        label(panels[0], source)
    return figure


def _draw(axes: Axes, curves: Mapping[str, Curve]) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        words = name.removeprefix("val/final_").removesuffix("/loss").removesuffix(WIDTH).removesuffix("_res")
        words = words.replace("_", " ").replace("$", r"\$")
        axes.plot([*curve], [*curve.values()], f"C{number}", marker="os^vD"[number % 5], markersize=4, label=words)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")

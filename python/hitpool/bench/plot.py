"""The times as a figure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from hitpool.bench.measure import FLOOR, Row
from hitpool.bench.tables import place
from hitpool.bench.ways import COMPILED, OURS, WAYS
from hitpool.evaluation.plots import BLUE, GREY, style

COLORS = {
    "expand": "#d55e00",
    "bmm": "#e69f00",
    "sparse": "#009e73",
    "segments": "#56b4e9",
    "torch_geometric": "#cc79a7",
}


def plot_times(rows: Iterable[Row]) -> Figure:
    """Bars of the times of every way in every case, on a logarithmic axis; a panel for each mode.

    Args:
        rows: Measurements; of each shape, the first dtype and share with the largest number of threads is drawn.

    Returns:
        The figure.
    """
    rows = [row for row in rows if row.seconds is not None]
    threads = max(row.threads for row in rows)
    first = {row.case.shape: row.case for row in reversed(rows)}
    rows = [row for row in rows if row.threads == threads and row.case == first[row.case.shape]]
    cases = list(dict.fromkeys(row.case for row in rows))
    modes = list(dict.fromkeys(row.mode for row in rows))
    ways = [way for way in (*WAYS, FLOOR) if any(row.way == way for row in rows)]
    width = 0.86 / len(ways)
    with style():
        figure = Figure(figsize=(max(10, 3 * len(cases)), 4.2 * len(modes) + 1.2), layout="constrained")
        for axes, mode in zip(figure.subplots(len(modes), squeeze=False)[:, 0], modes, strict=True):
            times = {(row.way, row.case): 1e3 * row.seconds for row in rows if row.mode == mode}
            for number, way in enumerate(ways):
                places = np.arange(len(cases)) + (number - (len(ways) - 1) / 2) * width
                heights = [times.get((way, case), np.nan) for case in cases]
                axes.bar(places, heights, width, label=way, **_look(way))
            names = [f"{case.shape}\n{case.dtype}, {100 * case.selected:.3g} %" for case in cases]
            axes.set_xticks(range(len(cases)), names, fontsize="small")
            axes.set_yscale("log")
            axes.tick_params(axis="x", which="both", length=0)
            axes.set(ylabel="Time [ms]", xlim=(-0.55, len(cases) - 0.45))
            axes.set_title(f"weighted_pool, {mode}, {place(cases[0].device, threads)}", loc="left", fontsize="medium")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(ways)), fontsize="small")
    return figure


def _look(way: str) -> dict[str, object]:
    if way == OURS:
        return {"color": BLUE}
    if way == FLOOR:
        return {"color": GREY}
    color = COLORS[way.removesuffix(COMPILED)]
    return {"color": "none", "edgecolor": color, "hatch": "////"} if way.endswith(COMPILED) else {"color": color}

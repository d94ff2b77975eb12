"""Picture of which hits are assigned to which tracks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hitpool.evaluation.plots import label, style
from hitpool.evaluation.tracks import Tracks

ASSIGNED = ("its own track", "another track\nonly", "no track")
TRUE = ("hit of a\nparticle", "other hit")


def confusions(tracks: Tracks) -> dict[str, NDArray[np.int64]]:
    """Numbers of hits by name of the estimate, [2, 3] as in `hitpool.evaluation.tracks.Estimate`.

    Args:
        tracks: The estimates; those that decide which tracks there are, with counted hits.
    """
    return {
        name: own.confusion.sum(0)
        for name, own in tracks.estimates.items()
        if own.decides and own.confusion is not None
    }


def plot_confusion(counts: Mapping[str, NDArray[np.int64]], source: str) -> Figure:
    """Where the hits of particles and the other hits go, in percent of each kind and as numbers.

    Args:
        counts: Numbers of hits by name of the estimate, [2, 3].
        source: Words above, where the hits come from.

    Returns:
        The figure.
    """
    with style():
        figure = Figure(figsize=(1.5 + 6 * len(counts), 4.5), layout="constrained")
        panels = figure.subplots(1, len(counts), squeeze=False)[0]
        for axes, (name, own) in zip(panels, counts.items(), strict=True):
            shares = own / np.maximum(own.sum(1, keepdims=True), 1)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            for (i, j), number in np.ndenumerate(own):
                text = f"{shares[i, j]:.2%}\n{number}" if (i, j) != (1, 0) else ""
                color = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, text, ha="center", va="center", color=color, fontsize="small")
            axes.set_xticks(range(3), ASSIGNED, fontsize="small")
            axes.set_yticks(range(2), TRUE, fontsize="small", rotation=90, va="center")
            axes.tick_params(which="both", length=0)
            axes.minorticks_off()
            axes.set(xlabel=f"Assigned by {name} to", ylabel="True")
        label(panels[0], source)
    return figure

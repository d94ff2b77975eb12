"""Two views of an event: hits, true tracks, and the hits that are assigned to each predicted track."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hitpool.evaluation.plots import label, style
from hitpool.muon import TECHNOLOGIES
from hitpool.show.event import Event

HIT_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#7f7f7f")
KIND_COLORS = dict(
    zip(TECHNOLOGIES.values(), ("#0072b2", "#7f7f7f", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"), strict=True)
)
RING_COLORS = ("#d55e00", "#000000", "#7b3294", "#8c510a")
GREY = "0.5"
MOST_ENTRIES = 8  # of particles, and of tracks, in the legend
AXES = "xyz"


def plot_event(event: Event, source: str, threshold: float = 0.1) -> Figure:
    """Draws an event in the r-z and the x-y plane, one of a forward detector in z-x and z-y.

    Points are the middles of the sensors, crosses those of background hits, thin lines the sensors, dashed lines are
    the true tracks. Colours are those of the true tracks, or of the kinds of hits if there are
    several. Rings mark the hits that are assigned: probability >= threshold, one colour for each predicted track.

    Args:
        event: The event.
        source: Words above the axes, where the event comes from.
        threshold: Lowest probability of an assigned hit.

    Returns:
        The figure.
    """
    colors = hit_colors(event)
    with style():
        figure = Figure(figsize=(15, 6.6))
        side, front = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.42 if event.along is None else 1, 1]})
        figure.subplots_adjust(left=0.07, right=0.985, bottom=0.235, top=0.94, wspace=0.23)
        unit = f" [{event.unit}]" if event.unit else ""
        for axes, view in zip((side, front), _views(event), strict=True):
            points, ends = _seen(event.middle, view), np.stack([_seen(p, view) for p in (event.low, event.high)], 1)
            axes.add_collection(LineCollection(list(ends), colors=colors, linewidths=0.7, alpha=0.35))
            _draw_hits(axes, points, event, colors)
            _draw_rings(axes, points, event, threshold)
            for particle in range(len(event.particle_hits)):
                color = "0.35" if event.kinds else particle_color(particle)
                axes.plot(*_seen(event.line(particle), view).T, color=color, linewidth=1.3, linestyle="--", zorder=2)
            axes.set(xlabel=f"{view[0]}{unit}", ylabel=f"{view[1]}{unit}")
            axes.margins(0.06)
            axes.tick_params(length=5, which="major")
            axes.tick_params(length=3, which="minor")
        if event.along is None:
            side.set_ylim(bottom=0)
            front.set_aspect("equal", adjustable="datalim")
        label(side, source)
        figure.legend(
            handles=_legend(event, threshold),
            loc="lower center",
            ncols=5 if event.kinds else 3,
            fontsize="medium",
            columnspacing=1.6,
            handletextpad=0.5,
            borderpad=0.2,
        )
    return figure


def particle_color(particle: int) -> str:
    """Colour of a true track.

    Args:
        particle: Its number.
    """
    return HIT_COLORS[particle % len(HIT_COLORS)]


def hit_colors(event: Event) -> list[str]:
    """Colour of each hit: of its kind if there are several, else of its true track, grey for background.

    Args:
        event: The event.
    """
    if event.kinds is not None:
        return [KIND_COLORS.get(kind, GREY) for kind in event.kinds]
    owners = np.where(event.particle_hits.any(0), event.particle_hits.argmax(0), -1) if len(event.particles) else ()
    found = [GREY] * len(event.low)
    for hit, owner in enumerate(owners):
        if owner >= 0:
            found[hit] = particle_color(int(owner))
    return found


def _views(event: Event) -> list[tuple[str, str]]:
    if event.along is None:
        return [("z", "r"), ("x", "y")]
    return [(AXES[event.along], axis) for axis in AXES if axis != AXES[event.along]]


def _seen(points: NDArray[Any], view: tuple[str, str]) -> NDArray[Any]:
    """Points [M, 3] in the two coordinates of a view [M, 2]."""
    own = [np.hypot(*points[:, :2].T) if name == "r" else points[:, AXES.index(name)] for name in view]
    return np.stack(own, axis=-1)


def _draw_hits(axes: Axes, points: NDArray[Any], event: Event, colors: list[str]) -> None:
    chosen = np.array(colors, dtype=object)
    true = event.particle_hits.any(0)
    x, y = points.T
    axes.scatter(x[~true], y[~true], c=list(chosen[~true]), marker="x", s=26, linewidths=1.2, zorder=3)
    axes.scatter(x[true], y[true], c=list(chosen[true]), marker="o", s=16, linewidths=0, zorder=4)


def _draw_rings(axes: Axes, points: NDArray[Any], event: Event, threshold: float) -> None:
    if event.probability is None:
        return
    for track, (probability, color) in enumerate(zip(event.probability, cycle(RING_COLORS), strict=False)):
        size = 75 + 75 * (track % len(RING_COLORS))
        x, y = points[probability >= threshold].T
        axes.scatter(x, y, s=size, zorder=5, facecolors="none", edgecolors=color, linewidths=1.1)


def _legend(event: Event, threshold: float) -> list[Line2D]:
    def entry(text: str, **look: Any) -> Line2D:
        return Line2D([], [], **{"linestyle": "", "color": "0.3", "markersize": 7, **look}, label=text)

    kinds = [kind for kind in KIND_COLORS if kind in (event.kinds or ())]
    entries = [entry(f"{kind} hit", marker="o", color=KIND_COLORS[kind]) for kind in kinds]
    background = "background hit (in colour of its kind)" if event.kinds else "background hit"
    entries.append(entry(background, marker="x", color="0.3" if event.kinds else GREY))
    for particle, words in enumerate(event.particles[:MOST_ENTRIES]):
        look = {"color": "0.35"} if event.kinds else {"color": particle_color(particle), "marker": "o"}
        entries.append(entry(f"true: {words}" if words else f"true track {particle}", linestyle="--", **look))
    more = len(event.particles) - MOST_ENTRIES
    if more > 0:
        entries.append(entry(f"and {more} more true tracks", linestyle="--", color="0.35"))
    number = 0 if event.probability is None else len(event.probability)
    for track in range(min(number, MOST_ENTRIES)):
        text = f"assigned to track {track + 1} (probability ≥ {threshold:g})"
        color = RING_COLORS[track % len(RING_COLORS)]
        size = 8 + 3 * (track % len(RING_COLORS))
        entries.append(entry(text, marker="o", markerfacecolor="none", color=color, markersize=size))
    return entries

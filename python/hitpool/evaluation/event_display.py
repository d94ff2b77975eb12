"""Picture of one event: hits, true tracks, and the hits that are assigned to each predicted track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hitpool.evaluation.plots import label, style
from hitpool.muon import TECHNOLOGIES

TECHNOLOGY_COLORS = dict(
    zip(TECHNOLOGIES, ("#0072b2", "#7f7f7f", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"), strict=True)
)

TRACK_COLORS = ("#d55e00", "#000000", "#7b3294", "#8c510a")


@dataclass(frozen=True)
class Event:
    """One event as it is drawn: P particles, N predicted tracks, M hits.

    Args:
        low: Near end of the sensor of each hit in mm, [M, 3].
        high: Far end in mm, [M, 3].
        technology: Code of the detector technology, [M].
        particle_hits: Whether hit m belongs to particle i, [P, M] bool.
        pt: True transverse momenta in GeV, [P].
        eta: True pseudorapidities, [P].
        phi: True azimuths in rad, [P].
        charge: True charges, [P].
        probability: Probability of each hit to belong to predicted track j, [N, M]; None without a model.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    technology: NDArray[Any]
    particle_hits: NDArray[np.bool_]
    pt: NDArray[Any]
    eta: NDArray[Any]
    phi: NDArray[Any]
    charge: NDArray[Any]
    probability: NDArray[Any] | None = None


def plot_event(event: Event, source: str, threshold: float = 0.1) -> Figure:
    """Draws an event in the r-z and the x-y plane.

    Points are the middles of the sensors, crosses those of background hits, thin lines the sensors
    themselves, dashed lines the directions of the true tracks at the origin. Rings mark the hits that are
    assigned: probability >= threshold, one colour for each predicted track.

    Args:
        event: The event.
        source: Words above the axes, where the event comes from.
        threshold: Lowest probability of an assigned hit.

    Returns:
        The figure.
    """
    middle = (event.low + event.high) / 2000  # [M, 3] in m
    radius = np.hypot(middle[:, 0], middle[:, 1])
    ends = np.stack([event.low, event.high], axis=1) / 1000  # [M, 2, 3]
    with style():
        figure = Figure(figsize=(15, 6.6))
        side, front = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.42, 1]})
        figure.subplots_adjust(left=0.055, right=0.985, bottom=0.235, top=0.94, wspace=0.2)
        views = {side: np.stack([middle[:, 2], radius], axis=1), front: middle[:, :2]}
        segments = {
            side: np.stack([ends[..., 2], np.hypot(ends[..., 0], ends[..., 1])], -1),
            front: ends[..., :2],
        }
        for axes, points in views.items():
            lines = LineCollection(list(segments[axes]), colors=_colors(event), linewidths=0.7, alpha=0.35)
            axes.add_collection(lines)
            _draw_hits(axes, points, event)
            _draw_rings(axes, points, event, threshold)
        _draw_tracks(side, front, event, views)
        for axes, x, y in ((side, "z [m]", "r [m]"), (front, "x [m]", "y [m]")):
            axes.set(xlabel=x, ylabel=y)
            axes.margins(0.06)
            axes.tick_params(length=5, which="major")
            axes.tick_params(length=3, which="minor")
        side.set_ylim(bottom=0)
        front.set_aspect("equal", adjustable="datalim")
        label(side, source)
        figure.legend(
            handles=_legend(event, threshold),
            loc="lower center",
            ncols=5,
            fontsize="medium",
            columnspacing=1.6,
            handletextpad=0.5,
            borderpad=0.2,
        )
    return figure


def _colors(event: Event) -> list[str]:
    return [TECHNOLOGY_COLORS.get(int(code), "0.5") for code in event.technology]


def _draw_hits(axes: Axes, points: NDArray[Any], event: Event) -> None:
    colors = np.array(_colors(event), dtype=object)
    true = event.particle_hits.any(0)
    axes.scatter(points[~true, 0], points[~true, 1], c=list(colors[~true]), marker="x", s=26, linewidths=1.2, zorder=3)
    axes.scatter(points[true, 0], points[true, 1], c=list(colors[true]), marker="o", s=16, linewidths=0, zorder=4)


def _draw_rings(axes: Axes, points: NDArray[Any], event: Event, threshold: float) -> None:
    for track, probability in enumerate([] if event.probability is None else event.probability):
        x, y = points[probability >= threshold].T
        color = TRACK_COLORS[track % len(TRACK_COLORS)]
        size = 75 + 75 * track
        axes.scatter(x, y, s=size, facecolors="none", edgecolors=color, linewidths=1.1, zorder=5)


def _draw_tracks(side: Axes, front: Axes, event: Event, views: dict[Axes, NDArray[Any]]) -> None:
    for eta, phi, hits in zip(event.eta, event.phi, event.particle_hits, strict=True):
        reach = 1.06 * np.hypot(*views[side][hits].T).max(initial=1.0)  # a little beyond the last hit
        r = reach / np.cosh(eta)
        side.plot([0, r * np.sinh(eta)], [0, r], color="0.35", linewidth=1.3, linestyle="--", zorder=2)
        front.plot([0, r * np.cos(phi)], [0, r * np.sin(phi)], color="0.35", linewidth=1.3, linestyle="--", zorder=2)


def _legend(event: Event, threshold: float) -> list[Line2D]:
    def entry(text: str, **look: Any) -> Line2D:
        return Line2D([], [], **{"linestyle": "", "color": "0.3", "markersize": 7, **look}, label=text)

    codes = sorted({int(code) for code in event.technology} & TECHNOLOGIES.keys())
    entries = [entry(f"{TECHNOLOGIES[code]} hit", marker="o", color=TECHNOLOGY_COLORS[code]) for code in codes]
    entries.append(entry("background hit (in colour of its kind)", marker="x"))
    for pt, eta, charge in zip(event.pt, event.eta, event.charge, strict=True):
        sign = "+" if charge > 0 else "-"
        text = rf"true $\mu^{sign}$, $p_\mathrm{{T}}$ = {pt:.0f} GeV, $\eta$ = {eta:.2f}".replace(" -", " −")
        entries.append(entry(text, linestyle="--", color="0.35"))
    for track in range(0 if event.probability is None else len(event.probability)):
        text = f"assigned to track {track + 1} (probability ≥ {threshold:g})"
        color = TRACK_COLORS[track % len(TRACK_COLORS)]
        entries.append(entry(text, marker="o", markerfacecolor="none", color=color, markersize=8 + 3 * track))
    return entries

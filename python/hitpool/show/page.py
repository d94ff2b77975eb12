"""An event in three dimensions, as a page that can be turned with the mouse."""

from __future__ import annotations

from typing import Any

import numpy as np

from hitpool.show.event import Event
from hitpool.show.picture import RING_COLORS, hit_colors, particle_color

GREY = "#888888"


def event_page(event: Event, source: str, threshold: float = 0.1) -> str:
    """Makes an HTML page of an event; it needs no other file.

    Args:
        event: The event.
        source: Words above it, where the event comes from.
        threshold: Lowest probability of an assigned hit.

    Returns:
        The page.

    Raises:
        ImportError: If plotly is missing.
    """
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise ImportError("pictures in 3D need plotly: pip install 'hitpool[show]'") from error
    figure = graph_objects.Figure()
    colors = np.array([GREY if color == "0.5" else color for color in hit_colors(event)], dtype=object)

    def add(hits: Any, name: str, **look: Any) -> None:
        x, y, z = event.middle[hits].T
        kinds = [event.kinds[hit] for hit in hits] if event.kinds else None
        figure.add_trace(graph_objects.Scatter3d(x=x, y=y, z=z, name=name, text=kinds, **look))

    background = np.flatnonzero(~event.particle_hits.any(0))
    marker: dict[str, Any] = {"size": 3, "symbol": "x", "color": list(colors[background])}
    add(background, "background", mode="markers", marker=marker)
    for particle, words in enumerate(event.particles):
        hits, group = np.flatnonzero(event.particle_hits[particle]), f"particle {particle}"
        marker = {"size": 4, "color": list(colors[hits])}
        name = f"true: {words}" if words else f"true track {particle}"
        add(hits, name, mode="markers", marker=marker, legendgroup=group)
        x, y, z = event.line(particle).T
        line = {"color": GREY if event.kinds else particle_color(particle), "width": 2}
        look = {"mode": "lines", "line": line, "legendgroup": group, "showlegend": False}
        figure.add_trace(graph_objects.Scatter3d(x=x, y=y, z=z, **look))
    for track, probability in enumerate([] if event.probability is None else event.probability):
        color = RING_COLORS[track % len(RING_COLORS)]
        marker = {"size": 8 + 2 * track, "symbol": "circle-open", "color": color}
        add(np.flatnonzero(probability >= threshold), f"assigned to track {track + 1}", mode="markers", marker=marker)
    unit = f" [{event.unit}]" if event.unit else ""
    axes = {f"{axis}axis": {"title": {"text": f"{axis}{unit}"}} for axis in "xyz"}
    figure.update_layout(title=source, template="plotly_white", scene={"aspectmode": "data", **axes})
    return str(figure.to_html(include_plotlyjs=True))

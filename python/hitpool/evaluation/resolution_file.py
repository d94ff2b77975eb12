"""Measures of all estimates, whole and in bins, as `resolution.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hitpool.evaluation.assignment import detect
from hitpool.evaluation.comparison import Bins, Row, compare
from hitpool.evaluation.tables import as_json
from hitpool.evaluation.tracks import Tracks
from hitpool.files import write_text

NAME = "resolution.json"


def write_resolution(folder: Path, tracks: Tracks, bins: Mapping[str, Bins], reference: str | None = None) -> list[Row]:
    """Measures parameters and validity, and writes them with those in bins.

    Args:
        folder: Where the file goes.
        tracks: The estimates.
        bins: The same in bins, see `hitpool.evaluation.in_bins`.
        reference: Name of the estimate to which the others are compared, if any.

    Returns:
        What was measured of all tracks.
    """
    compared, particles = int(tracks.compared.sum()), int(tracks.particle.sum())
    rows = (compare(tracks, reference) if compared else []) + detect(tracks)
    counts = {"particles": particles, "compared": compared, "not_found": tracks.missing}
    write_text(folder / NAME, json.dumps(as_json(rows, bins, counts), indent=2, allow_nan=False) + "\n")
    return rows

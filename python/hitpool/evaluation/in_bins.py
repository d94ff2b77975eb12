"""Everything that is measured of tracks, in bins of every variable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hitpool.evaluation.assignment import detect_in_bins
from hitpool.evaluation.comparison import Bins, compare_in_bins
from hitpool.evaluation.tracks import Tracks
from hitpool.evaluation.variables import estimated_values, totals, true_values, variables


def measure_in_bins(tracks: Tracks, reference: str | None = None) -> dict[str, Bins]:
    """Measures parameters and validity of all estimates.

    Args:
        tracks: The estimates.
        reference: Name of the estimate to which the others are compared, if any.

    Returns:
        The bins by variable, see `hitpool.evaluation.variables`.
    """
    found = {}
    for variable, edges in variables(tracks).items():
        own, detected = compare_in_bins(tracks, variable, edges, reference), detect_in_bins(tracks, variable, edges)
        estimated = [
            totals(values[estimate.valid], edges)
            for estimate in tracks.estimates.values()
            if estimate.decides and (values := estimated_values(estimate, variable)) is not None
        ]
        below, inside, above = np.sum(estimated, axis=0, dtype=int).tolist() if estimated else (0, 0, 0)
        counts = own.totals | {
            "particles": totals(true_values(tracks, variable)[tracks.particle], edges),
            "valid tracks": (below, inside, above),
        }
        rows = [a + b for a, b in zip(own.rows, detected, strict=True)]
        found[variable] = replace(own, rows=rows, totals=counts)
    return found

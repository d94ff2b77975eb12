"""Tracks in the files that the examples of ACTS read and write; needs no ACTS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitpool.files import failures_named

NAMES = ("d0", "z0", "phi", "theta", "qop")
PAIRS = [(i, j) for i in range(len(NAMES)) for j in range(len(NAMES)) if i != j]
PARAMETER_COLUMNS = (
    "trackId",
    *NAMES,
    *(f"var_{name}" for name in NAMES),
    *(f"cov_{NAMES[i]}{NAMES[j]}" for i, j in PAIRS),
)
HIT_COLUMNS = ("trackId", "measurementId", "x", "y", "z")
STEM = "track_parameters_hitpool"


@dataclass(frozen=True)
class ActsTracks:
    """T tracks of an event.

    Args:
        hits: Rows of the hits of each track in the event, from the inside.
        parameters: d0, z0 (mm), phi, theta, q/p (1/GeV) at the beam line, [T, 5].
        covariance: Their covariance, [T, 5, 5].
    """

    hits: Sequence[NDArray[np.int64]]
    parameters: NDArray[np.float64]
    covariance: NDArray[np.float64]


def write_tracks(folder: Path, event: int, tracks: ActsTracks, points: NDArray[np.floating]) -> None:
    """Writes the two files of an event, `event<number>-prototracks.csv` and `event<number>-<STEM>.csv`.

    Args:
        folder: Where to.
        event: Its number.
        tracks: Its tracks, numbered in their order.
        points: x, y, z of its hits in mm, [M, 3].

    Raises:
        WriteError: If a file cannot be written.
    """
    hits = ((i, int(hit), *points[hit]) for i, own in enumerate(tracks.hits) for hit in own)
    _write(folder / f"event{event:09d}-prototracks.csv", HIT_COLUMNS, hits)
    rows = (
        (i, *own, *np.diag(covariance), *(covariance[pair] for pair in PAIRS))
        for i, (own, covariance) in enumerate(zip(tracks.parameters, tracks.covariance, strict=True))
    )
    _write(folder / f"event{event:09d}-{STEM}.csv", PARAMETER_COLUMNS, rows)


def _write(path: Path, columns: Sequence[str], rows: Iterable[tuple[float, ...]]) -> None:
    lines = (",".join(str(value) if isinstance(value, int) else f"{value:.9g}" for value in row) for row in rows)
    with failures_named(path):
        path.write_text("\n".join([",".join(columns), *lines, ""]), encoding="utf-8")

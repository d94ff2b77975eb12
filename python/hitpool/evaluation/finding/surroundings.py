"""What else is near a particle or a track: other particles, other vertices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hitpool.evaluation.finding.particles import Particles
from hitpool.evaluation.variables import ABSOLUTE_Z0, DELTA_R, DENSITY, NEAR, VERTEX_DISTANCE
from hitpool.residuals import periodic_residual

SAME_VERTEX = {"mm": 1.0, "cm": 0.1, "m": 1e-3}  # particles closer in z0 are taken as of one vertex


def surroundings(
    particles: Particles,
    event: NDArray[np.int64],
    own: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
) -> dict[str, NDArray[np.float64]]:
    """What is near, as far as the parameters are known.

    It is `DENSITY`, the number of other particles within Delta R = sqrt((Delta eta)^2 + (Delta phi)^2) < 0.2, `DELTA_R`
    to the nearest of them, `ABSOLUTE_Z0`, which is |z0|, and `VERTEX_DISTANCE` along the beam to the nearest other
    vertex: to the particle with the nearest z0 of those that differ by more than 1 mm.

    Args:
        particles: The particles.
        event: Events of particles or tracks, [T].
        own: The particle itself, or that of the track, which does not count; -1 for a fake, [T].
        values: Parameters by quantity, [T] each.

    Returns:
        By name, [T] each; NaN where it is not known.
    """
    found = {}
    unit = SAME_VERTEX.get(particles.units.get("z0", ""), 0.0)
    true = particles.values
    directions = {"eta", "phi"} <= set(values) & set(true)
    vertices = "z0" in values and "z0" in true and unit > 0
    for name in (*((DENSITY, DELTA_R) if directions else ()), *((VERTEX_DISTANCE,) if vertices else ())):
        found[name] = np.full(len(event), np.nan)
    if "z0" in values:
        found[ABSOLUTE_Z0] = np.abs(values["z0"])
    order = np.argsort(event, kind="stable")
    starts = np.searchsorted(event[order], np.arange(len(particles.events) + 1))
    for number in np.flatnonzero(np.diff(starts)):
        rows = order[starts[number] : starts[number + 1]]
        others = slice(*particles.first[number : number + 2])
        itself = own[rows, None] == np.arange(others.start, others.stop)  # [t, p]
        if directions:
            far = np.where(itself, np.inf, _delta_r(values, rows, true, others))
            found[DENSITY][rows] = np.where(np.isfinite(values["eta"][rows]), (far < NEAR).sum(-1), np.nan)
            found[DELTA_R][rows] = _finite(far)
        if vertices:
            apart = np.abs(values["z0"][rows, None] - true["z0"][others])  # [t, p]
            found[VERTEX_DISTANCE][rows] = _finite(np.where((apart > unit) & ~itself, apart, np.inf))
    return found


def _delta_r(
    values: Mapping[str, NDArray[np.float64]],
    rows: NDArray[np.int64],
    true: Mapping[str, NDArray[np.float64]],
    others: slice,
) -> NDArray[np.float64]:
    """Distances of tracks to the particles of their event, [t, p]."""
    eta = values["eta"][rows, None] - true["eta"][others]
    phi = periodic_residual(*np.broadcast_arrays(values["phi"][rows, None], true["phi"][others]))
    return np.hypot(eta, phi)


def _finite(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest of the distances [t, p], NaN where there is none."""
    smallest = distances.min(-1, initial=np.inf)
    return np.where(np.isfinite(smallest), smallest, np.nan)

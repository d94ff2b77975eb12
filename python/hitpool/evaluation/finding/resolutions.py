"""Residuals and pulls of found tracks: of particles that all found, and of all that each found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.evaluation.comparison import Row, compare
from hitpool.evaluation.finding.found import Found, Named
from hitpool.evaluation.finding.particles import Particles
from hitpool.evaluation.quantities import IMPACT, resolution_of, with_direction
from hitpool.evaluation.tracks import Estimate, Tracks, residual_errors


def tracks_of(particles: Particles, found: Mapping[str, Found]) -> Tracks:
    """Particles in the slots of their events, with the best track of each that was found.

    Args:
        particles: The particles.
        found: Tracks by name of what found them.
    """
    true, _ = with_direction(particles.values, {})
    shape = len(particles.events), int(np.diff(particles.first).max(initial=0))
    place = particles.event, particles.slot
    slots = {quantity: _in_slots(values, place, shape) for quantity, values in true.items()}
    is_particle = np.zeros(shape, bool)
    is_particle[place] = True
    units = {quantity: particles.units.get(quantity, "") for quantity in IMPACT if quantity in true}
    resolutions = {quantity: resolution_of(quantity, unit) for quantity, unit in units.items()}
    tracks = Tracks(particles.events, is_particle, slots, {}, resolutions=resolutions, units=units)
    for name, own in found.items():
        tracks = tracks.with_estimate(name, _estimate(tracks, particles, own))
    return tracks


def _estimate(tracks: Tracks, particles: Particles, found: Found) -> Estimate:
    best = found.best
    rows = found.particle[best]
    place = particles.event[rows], particles.slot[rows]

    def slots(named: Named) -> Named:
        return {
            quantity: _in_slots(values[best], place, tracks.particle.shape)
            for quantity, values in named.items()
            if quantity in tracks.true
        }

    values, errors = slots(found.values), slots(found.errors)
    valid = np.zeros(tracks.particle.shape, bool)
    valid[place] = True
    valid &= np.all([np.isfinite(own) for own in values.values()], axis=0)
    resolutions = {quantity: tracks.resolution(quantity) for quantity in errors}
    return Estimate(valid, values, decides=True, errors=residual_errors(errors, tracks.true, resolutions))


def _in_slots(values: NDArray[Any], place: tuple[NDArray[Any], NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """Values at their places [events, slots], NaN elsewhere."""
    slots = np.full(shape, np.nan)
    slots[place] = values
    return slots


def of_each(tracks: Tracks) -> list[Row]:
    """Measures of each estimate on all particles of which it has a track, with whatever the others have.

    Args:
        tracks: The estimates.
    """
    rows: dict[tuple[str, str], Row] = {}
    for name in tracks.estimates:
        alone = tracks.only([name])
        if not alone.compared.any():
            continue
        for row in compare(alone):
            known = rows.setdefault((row.quantity, row.measure), Row(row.quantity, row.measure, {}, row.resolution))
            known.numbers.update(row.numbers)
    quantities = list(dict.fromkeys(quantity for quantity, _ in rows))
    measures = list(dict.fromkeys(measure for _, measure in rows))
    return sorted(rows.values(), key=lambda row: (quantities.index(row.quantity), measures.index(row.measure)))

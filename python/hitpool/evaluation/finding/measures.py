"""Efficiency, fakes, duplicates and hits of found tracks, of all and in bins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitpool.evaluation.bootstrap import Number, fraction_of_events
from hitpool.evaluation.comparison import Bins, Row
from hitpool.evaluation.finding.found import Found
from hitpool.evaluation.finding.particles import Particles
from hitpool.evaluation.finding.surroundings import surroundings
from hitpool.evaluation.quantities import UNITS
from hitpool.evaluation.variables import (
    ABSOLUTE_Z0,
    DELTA_R,
    DENSITY,
    HITS,
    VERTEX_DISTANCE,
    bin_numbers,
    eta_edges,
    hit_edges,
    momentum_edges,
    totals,
    value_edges,
)

QUANTITY = "finding"  # of the rows
Variables = dict[str, NDArray[np.float64]]


def _step_edges(values: ArrayLike) -> NDArray[np.float64]:
    """Bins that cover the bulk of positive values, three in a factor of 10."""
    low, high = np.quantile(np.asarray(values, np.float64), (0.005, 0.995))
    steps = np.array([step * 10.0**power for power in range(-6, 7) for step in (1, 2, 5)])
    first, last = np.searchsorted(steps, low, side="right") - 1, np.searchsorted(steps, high)
    return steps[max(first, 0) : max(last, first + 1) + 1]


EDGES: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "pt": momentum_edges,
    "eta": eta_edges,
    ABSOLUTE_Z0: value_edges,
    VERTEX_DISTANCE: _step_edges,
    DENSITY: hit_edges,
    DELTA_R: _step_edges,
    HITS: hit_edges,
}


def measure(particles: Particles, found: Mapping[str, Found]) -> list[Row]:
    """Measures of all tracks: efficiency, fake_rate, duplicate_rate, hit_efficiency and hit_purity.

    Args:
        particles: The particles.
        found: Tracks by name of what found them.

    Returns:
        A row of each, with 68.27 % intervals; NaN without trials.
    """
    everything = np.ones(len(particles), bool)
    return _rows(particles, found, everything, {name: np.ones(len(own.event), bool) for name, own in found.items()})


def measure_in_bins(particles: Particles, found: Mapping[str, Found]) -> dict[str, Bins]:
    """As `measure`: of particles and their hits in bins of the truth, of fakes and duplicates in bins of the tracks.

    Args:
        particles: The particles.
        found: Tracks by name of what found them.

    Returns:
        By variable: pT, |eta|, |z0|, what is near (`surroundings`) and hits, as far as they are known.
    """
    itself = np.arange(len(particles))
    true = _variables(particles, particles.event, itself, particles.values, particles.hits)
    estimated = {
        name: _variables(particles, own.event, own.particle, own.values, own.hits) for name, own in found.items()
    }
    bins = {}
    for variable, edges_of in EDGES.items():
        values = true.get(variable, np.empty(0))
        if not np.isfinite(values).any():
            continue
        edges = edges_of(values[np.isfinite(values)])
        number = bin_numbers(values, edges)
        of_tracks = {name: own[variable] for name, own in estimated.items() if variable in own}
        numbers = {name: bin_numbers(own, edges) for name, own in of_tracks.items()}
        rows = [
            _rows(particles, found, number == i, {name: own == i for name, own in numbers.items()})
            for i in range(len(edges) - 1)
        ]
        outside = [totals(own, edges) for own in of_tracks.values()]
        below, inside, above = np.sum(outside, axis=0, dtype=int).tolist() if outside else (0, 0, 0)
        bins[variable] = Bins(
            edges,
            np.bincount(number[number >= 0], minlength=len(edges) - 1).tolist(),
            rows,
            _unit(variable, particles),
            {"particles": totals(values, edges), "valid tracks": (below, inside, above)},
        )
    return bins


def _variables(
    particles: Particles,
    event: NDArray[np.int64],
    own: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    hits: NDArray[np.int64],
) -> Variables:
    """The variables of particles, or of tracks with the parameters that they state, by name."""
    known = {name: values[name] for name in ("pt",) if name in values}
    if "eta" in values:
        known["eta"] = np.abs(values["eta"])
    return known | surroundings(particles, event, own, values) | {HITS: hits.astype(np.float64)}


def _unit(variable: str, particles: Particles) -> str:
    if variable in (ABSOLUTE_Z0, VERTEX_DISTANCE):
        return particles.units.get("z0", "")
    return UNITS.get(variable, "")


def _rows(
    particles: Particles,
    found: Mapping[str, Found],
    chosen: NDArray[np.bool_],
    tracks: Mapping[str, NDArray[np.bool_]],
) -> list[Row]:
    """Rows of some of the particles [P], and of some of the tracks of those that are named [T]."""
    numbers: dict[str, dict[str, Number]] = {}

    def add(measure: str, name: str, event: NDArray[np.int64], passed: NDArray[Any], trials: NDArray[Any]) -> None:
        good, total = (
            np.bincount(event, weights=own, minlength=len(particles.events)).astype(np.int64)
            for own in (passed, trials)
        )
        numbers.setdefault(measure, {})[name] = fraction_of_events(good, total, int(np.count_nonzero(trials)))

    for name, own in found.items():
        best = own.best.copy()
        best[best] = chosen[own.particle[best]]
        add("efficiency", name, particles.event, np.bincount(own.particle[best], minlength=len(particles)), chosen)
        shared, event = own.shared[best], own.event[best]
        add("hit_efficiency", name, event, shared, particles.hits[own.particle[best]])
        add("hit_purity", name, event, shared, own.hits[best])
        if name in tracks:
            add("fake_rate", name, own.event, tracks[name] & (own.particle < 0), tracks[name])
            add("duplicate_rate", name, own.event, tracks[name] & own.duplicate, tracks[name])
    order = ("efficiency", "fake_rate", "duplicate_rate", "hit_efficiency", "hit_purity")
    return [Row(QUANTITY, measure, numbers[measure]) for measure in order if measure in numbers]

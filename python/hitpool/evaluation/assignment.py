"""How well tracks are found and hits assigned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.evaluation.bootstrap import fraction
from hitpool.evaluation.comparison import Row, bin_numbers, binned
from hitpool.evaluation.tracks import MODEL, Estimate, Tracks, counted

Trials = tuple[NDArray[Any], NDArray[Any]]


def match_by_hits(tracks: Tracks, estimate: Estimate) -> NDArray[np.int64]:
    """Matches particles to valid tracks by hits alone, whatever their slots.

    A particle is matched to the valid track that has more than half of the particle's hits and of whose hits
    more than half are the particle's. There is at most one such track, and a track has at most one such
    particle.

    Args:
        tracks: The particles, with counted hits.
        estimate: The tracks, likewise, in any order.

    Returns:
        Track slot of each particle, -1 if there is none, [E, N].
    """
    shared = 2 * counted(estimate.shared_hits)  # [E, N, N]
    match = (
        (shared > counted(tracks.hits)[:, :, None])
        & (shared > counted(estimate.hits)[:, None, :])
        & tracks.particle[:, :, None]
        & estimate.valid[:, None, :]
    )  # [E, N, N]
    return np.where(match.any(-1), match.argmax(-1), -1) if match.size else np.full(match.shape[:2], -1)


def paired_by_hits(tracks: Tracks, name: str = MODEL) -> Tracks:
    """The tracks with an estimate moved to the slots of the particles to which it is matched by hits.

    Args:
        tracks: The particles, with counted hits.
        name: Of the estimate.
    """
    own = tracks.estimates[name]
    match = match_by_hits(tracks, own)
    values = {quantity: np.take_along_axis(array, match, axis=1) for quantity, array in own.values.items()}
    return tracks.with_estimate(name, Estimate(match >= 0, values, own.decides))


def _found(tracks: Tracks, own: Estimate) -> Trials:
    """Particles whose matched track is valid."""
    return tracks.particle & own.valid, tracks.particle


def _fake(tracks: Tracks, own: Estimate) -> Trials:
    """Valid tracks that are matched to an empty slot."""
    return ~tracks.particle & own.valid, own.valid


def _correct_hits(own: Estimate) -> NDArray[np.int64]:
    return np.diagonal(counted(own.shared_hits), axis1=1, axis2=2)  # [E, N]


def _hits_found(tracks: Tracks, own: Estimate) -> Trials:
    """True hits that are assigned, of the particles whose matched track is valid."""
    found = tracks.particle & own.valid
    return _correct_hits(own) * found, counted(tracks.hits) * found


def _hits_pure(tracks: Tracks, own: Estimate) -> Trials:
    """Assigned hits that belong to the matched particle, of all valid tracks (fakes too)."""
    return _correct_hits(own) * own.valid, counted(own.hits) * own.valid


def _right_number(tracks: Tracks, own: Estimate) -> Trials:
    """Events with as many valid tracks as particles; needs no matching."""
    return own.valid.sum(-1) == tracks.particle.sum(-1), np.ones(len(tracks), np.int64)


def _found_by_hits(tracks: Tracks, own: Estimate) -> Trials:
    """Particles that `match_by_hits` matches to a valid track."""
    return match_by_hits(tracks, own) >= 0, tracks.particle


def _fake_by_hits(tracks: Tracks, own: Estimate) -> Trials:
    """Valid tracks that `match_by_hits` matches to no particle."""
    match = match_by_hits(tracks, own)
    taken = (match[:, :, None] == np.arange(match.shape[1])).any(1)  # [E, N]
    return own.valid & ~taken, own.valid


FRACTIONS: dict[str, Callable[[Tracks, Estimate], Trials]] = {
    "track_efficiency": _found,
    "track_fake_rate": _fake,
    "hit_efficiency": _hits_found,
    "hit_purity": _hits_pure,
    "count_accuracy": _right_number,
    "by_hits_efficiency": _found_by_hits,
    "by_hits_fake_rate": _fake_by_hits,
}
"""How well tracks are found and hits assigned: numbers of trials that passed, and of trials."""


def detect(tracks: Tracks) -> list[Row]:
    """Efficiency and fake rate of the validity of each model.

    Args:
        tracks: The estimates; shown are those that decide without the truth whether there is a track.

    Returns:
        A row of each, with 68.27 % intervals; NaN without trials.
    """
    everything = np.ones(tracks.particle.shape, bool)
    return _validity(tracks, everything, {name: everything for name, own in tracks.estimates.items() if own.decides})


def detect_in_bins(tracks: Tracks, quantity: str, edges: Sequence[float] | NDArray[np.float64]) -> list[list[Row]]:
    """As `detect`, the efficiency in bins of the true quantity, the fake rate in bins of the estimated one.

    Args:
        tracks: The estimates.
        quantity: Key of `hitpool.evaluation.comparison.EDGES`.
        edges: Bin edges, as in `bin_numbers`.

    Returns:
        The rows of each bin.
    """
    true = bin_numbers(binned(quantity, tracks.true[quantity]), edges)  # [E, N]
    estimated = {
        name: bin_numbers(binned(quantity, own.values[quantity]), edges)
        for name, own in tracks.estimates.items()
        if own.decides and quantity in own.values
    }
    return [
        _validity(tracks, true == i, {name: number == i for name, number in estimated.items()})
        for i in range(len(edges) - 1)
    ]


def _validity(tracks: Tracks, particles: NDArray[np.bool_], chosen: Mapping[str, NDArray[np.bool_]]) -> list[Row]:
    """Rows of some of the particles [E, N] and, by estimate, of the tracks."""
    efficiency, fake_rate = {}, {}
    for name, inside in chosen.items():
        own = tracks.estimates[name]
        efficiency[name] = fraction(*(each & particles for each in _found(tracks, own)))
        fake_rate[name] = fraction(*(each & inside for each in _fake(tracks, own)))
    return [Row("validity", "efficiency", efficiency), Row("validity", "fake_rate", fake_rate)]

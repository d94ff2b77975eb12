"""How well tracks are found and hits assigned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitpool.evaluation.bootstrap import fraction
from hitpool.evaluation.comparison import Row
from hitpool.evaluation.tracks import MODEL, Estimate, Tracks, counted
from hitpool.evaluation.variables import bin_numbers, estimated_values, true_values

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


def duplicates(tracks: Tracks, estimate: Estimate) -> NDArray[np.bool_]:
    """Valid tracks that are not the first of their particle.

    A track is of the particle to which more than half of its hits belong; the first of several has most hits of it.

    Args:
        tracks: The particles, with counted hits.
        estimate: The tracks, likewise, in any order.

    Returns:
        [E, N].
    """
    shared = counted(estimate.shared_hits)  # [E, N, N]
    of = (2 * shared > counted(estimate.hits)[:, None, :]) & estimate.valid[:, None, :] & tracks.particle[:, :, None]
    if not shared.size:
        return np.zeros(estimate.valid.shape, bool)
    first = np.where(of, shared, -1).argmax(-1)  # [E, N]
    found: NDArray[np.bool_] = (of & (first[..., None] != np.arange(shared.shape[-1]))).any(1)
    return found


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


def _duplicate(tracks: Tracks, own: Estimate) -> Trials:
    """Valid tracks that are duplicates."""
    return duplicates(tracks, own), own.valid


FRACTIONS: dict[str, Callable[[Tracks, Estimate], Trials]] = {
    "track_efficiency": _found,
    "track_fake_rate": _fake,
    "hit_efficiency": _hits_found,
    "hit_purity": _hits_pure,
    "count_accuracy": _right_number,
    "by_hits_efficiency": _found_by_hits,
    "by_hits_fake_rate": _fake_by_hits,
    "duplicate_rate": _duplicate,
}
"""How well tracks are found and hits assigned: numbers of trials that passed, and of trials."""


_OF_PARTICLES = {"efficiency": _found, "efficiency_by_hits": _found_by_hits}
_OF_TRACKS = {"fake_rate": _fake, "fake_rate_by_hits": _fake_by_hits, "duplicate_rate": _duplicate}


def detect(tracks: Tracks) -> list[Row]:
    """How well each model finds tracks: the measures of validity.

    They are efficiency and fake_rate of tracks in the slots of the particles, and of tracks whose hits were counted
    efficiency_by_hits and fake_rate_by_hits, see `match_by_hits`, and duplicate_rate, see `duplicates`.

    Args:
        tracks: The estimates; shown are those that decide without the truth whether there is a track.

    Returns:
        A row of each, with 68.27 % intervals; NaN without trials.
    """
    everything = np.ones(tracks.particle.shape, bool)
    chosen = {name: everything for name, own in tracks.estimates.items() if own.decides}
    return _validity(_trials(tracks), everything, chosen)


def detect_in_bins(tracks: Tracks, quantity: str, edges: Sequence[float] | NDArray[np.float64]) -> list[list[Row]]:
    """As `detect`, of particles in bins of the true variable, of tracks in bins of the estimated one.

    Args:
        tracks: The estimates.
        quantity: One of `hitpool.evaluation.variables`.
        edges: Bin edges, as in `bin_numbers`.

    Returns:
        The rows of each bin.
    """
    true = bin_numbers(true_values(tracks, quantity), edges)  # [E, N]
    estimated = {
        name: bin_numbers(values, edges)
        for name, own in tracks.estimates.items()
        if own.decides and (values := estimated_values(own, quantity)) is not None
    }
    trials = _trials(tracks)
    return [
        _validity(trials, true == i, {name: number == i for name, number in estimated.items()})
        for i in range(len(edges) - 1)
    ]


def _trials(tracks: Tracks) -> dict[str, dict[str, Trials]]:
    """Trials [E, N] by measure and estimate."""
    return {
        measure: {
            name: trials(tracks, own)
            for name, own in tracks.estimates.items()
            if own.decides and (trials in (_found, _fake) or own.shared_hits is not None)
        }
        for measure, trials in (_OF_PARTICLES | _OF_TRACKS).items()
    }


def _validity(
    trials: Mapping[str, Mapping[str, Trials]], particles: NDArray[np.bool_], chosen: Mapping[str, NDArray[np.bool_]]
) -> list[Row]:
    """Rows of some of the particles [E, N] and, by estimate, of the tracks."""
    rows = []
    for measure, by_name in trials.items():
        inside = dict.fromkeys(chosen, particles) if measure in _OF_PARTICLES else chosen
        numbers = {
            name: fraction(*(each & inside[name] for each in of)) for name, of in by_name.items() if name in inside
        }
        if numbers:
            rows.append(Row("validity", measure, numbers))
    return rows

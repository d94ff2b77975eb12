"""How well tracks are found and hits assigned: counts in, fractions out; NaN where the denominator is 0."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from hitpool.evaluation.tracks import EventTracks


def _fraction(part: NDArray, whole: NDArray) -> float:
    total = float(np.sum(whole))
    return float(np.sum(part)) / total if total else float("nan")


def track_efficiency(tracks: EventTracks) -> float:
    """Fraction of the particles whose matched track is declared valid.

    Args:
        tracks: Tracks matched to the particles slot by slot.

    Returns:
        The efficiency; NaN without particles.
    """
    return _fraction(tracks.particle_valid & tracks.track_valid, tracks.particle_valid)


def track_fake_rate(tracks: EventTracks) -> float:
    """Fraction of the tracks declared valid that are matched to an empty slot.

    Args:
        tracks: Tracks matched to the particles slot by slot.

    Returns:
        The fake rate; NaN without a valid track.
    """
    return _fraction(~tracks.particle_valid & tracks.track_valid, tracks.track_valid)


def hit_efficiency(tracks: EventTracks) -> float:
    """Fraction of the true hits that are assigned, over the particles whose matched track is valid.

    Args:
        tracks: Tracks matched to the particles slot by slot.

    Returns:
        Sum of correctly assigned hits / sum of true hits; NaN without such a particle.
    """
    found = tracks.particle_valid & tracks.track_valid
    correct = np.diagonal(tracks.shared_hits, axis1=1, axis2=2)  # [E, N]
    return _fraction(correct[found], tracks.particle_hits[found])


def hit_purity(tracks: EventTracks) -> float:
    """Fraction of the assigned hits that belong to the matched particle, over all valid tracks (fakes too).

    Args:
        tracks: Tracks matched to the particles slot by slot.

    Returns:
        Sum of correctly assigned hits / sum of assigned hits; NaN if no hit is assigned.
    """
    correct = np.diagonal(tracks.shared_hits, axis1=1, axis2=2)  # [E, N]
    return _fraction(correct[tracks.track_valid], tracks.track_hits[tracks.track_valid])


def count_accuracy(tracks: EventTracks) -> float:
    """Fraction of the events with as many valid tracks as particles; needs no matching.

    Args:
        tracks: Tracks of the events, slots in any order.

    Returns:
        The fraction; NaN without events.
    """
    return _fraction(tracks.track_valid.sum(-1) == tracks.particle_valid.sum(-1), np.ones(len(tracks)))


def match_by_hits(tracks: EventTracks) -> NDArray[np.int64]:
    """Matches particles to valid tracks by hits alone, whatever their slots.

    A particle is matched to the valid track that has more than half of the particle's hits and of whose hits
    more than half are the particle's. There is at most one such track, and a track has at most one such
    particle.

    Args:
        tracks: Tracks of the events, slots in any order.

    Returns:
        Track slot of each particle, -1 if there is none, [E, N].
    """
    shared = 2 * tracks.shared_hits  # [E, N, N]
    match = (
        (shared > tracks.particle_hits[:, :, None])
        & (shared > tracks.track_hits[:, None, :])
        & tracks.particle_valid[:, :, None]
        & tracks.track_valid[:, None, :]
    )  # [E, N, N]
    return np.where(match.any(-1), match.argmax(-1), -1) if match.size else np.full(match.shape[:2], -1)


def found_fraction(tracks: EventTracks) -> float:
    """Fraction of the particles that `match_by_hits` matches to a valid track.

    Args:
        tracks: Tracks of the events, slots in any order.

    Returns:
        The fraction; NaN without particles.
    """
    return _fraction(match_by_hits(tracks) >= 0, tracks.particle_valid)


def unmatched_fraction(tracks: EventTracks) -> float:
    """Fraction of the valid tracks that `match_by_hits` matches to no particle.

    Args:
        tracks: Tracks of the events, slots in any order.

    Returns:
        The fraction; NaN without a valid track.
    """
    valid = int(tracks.track_valid.sum())
    return 1 - int((match_by_hits(tracks) >= 0).sum()) / valid if valid else float("nan")


def charge_accuracy(predicted: ArrayLike, true: ArrayLike) -> float:
    """Fraction of the tracks whose predicted charge has the sign of the true one; 0 and NaN count as wrong.

    Args:
        predicted: Predicted charges, or any number with their sign.
        true: True charges, same shape.

    Returns:
        The fraction; NaN without tracks.

    Example:
        >>> charge_accuracy([0.3, -2.0, 0.1, 0.0], [1, -1, -1, 1])
        0.5
    """
    product = np.asarray(predicted, np.float64) * np.asarray(true, np.float64)
    return _fraction(product > 0, np.ones(product.shape))


def binomial_interval(passed: ArrayLike, total: ArrayLike, level: float = 0.6827) -> NDArray[np.float64]:
    """Clopper-Pearson confidence interval of an efficiency.

    Source: C. J. Clopper and E. S. Pearson, Biometrika 26 (1934) 404.

    Args:
        passed: Number of successes, any shape; fractional for trials of which several count as one.
        total: Number of trials, same shape.
        level: Confidence level.

    Returns:
        Lower and upper limit, [2, ...]; [0, 1] without trials.

    Raises:
        ValueError: If not 0 <= passed <= total.

    Example:
        >>> binomial_interval([0, 5, 10], [10, 10, 10]).round(3)
        array([[0.   , 0.305, 0.832],
               [0.168, 0.695, 1.   ]])
    """
    passed, total = np.asarray(passed), np.asarray(total)
    if np.any(passed < 0) or np.any(passed > total):
        raise ValueError(f"binomial_interval: needs 0 <= passed <= total, got passed {passed}, total {total}")
    tail = (1 - level) / 2
    failed = total - passed
    low = np.where(passed > 0, beta.ppf(tail, np.where(passed > 0, passed, 1), failed + 1), 0.0)
    high = np.where(failed > 0, beta.ppf(1 - tail, passed + 1, np.where(failed > 0, failed, 1)), 1.0)
    return np.stack([low, high])


def fraction_interval(value: float, spread: float, trials: int, units: int) -> tuple[float, float]:
    """68.27 % interval of a fraction whose trials may depend on each other, as the hits of a track do.

    Clopper-Pearson with the number of independent trials that scatter as much: value (1 - value) / spread^2, at
    most `trials`; and `units` where nothing scatters, as at 0 and 1.

    Source: E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998) 193.

    Args:
        value: The fraction.
        spread: Its standard deviation by bootstrap over what is independent; NaN if it is undefined.
        trials: Number of trials.
        units: Number of groups of trials, such as tracks, that count as one if all go the same way.

    Returns:
        Lower and upper limit; NaN if the fraction is undefined.

    Example:
        >>> [round(limit, 3) for limit in fraction_interval(0.0, 0.0, 50, 50)]
        [0.0, 0.036]
    """
    if math.isnan(value):
        return math.nan, math.nan
    number = min(value * (1 - value) / spread**2, trials) if spread > 0 and 0 < value < 1 else units
    low, high = binomial_interval(value * number, number)
    return float(low), float(high)


def efficiency_in_bins(values: ArrayLike, passed: ArrayLike, edges: ArrayLike) -> NDArray[np.float64]:
    """Efficiency with its 68.27 % Clopper-Pearson interval in bins of a variable.

    Args:
        values: The variable, such as the true pT in GeV, one entry per particle.
        passed: Whether the particle was found.
        edges: Bin edges, ascending; a bin holds low <= value < high, the last one also its high edge.

    Returns:
        Efficiency (NaN in an empty bin), lower limit, upper limit, [3, bins].

    Example:
        >>> efficiency_in_bins([5.0, 6.0, 20.0], [True, False, True], [5.0, 10.0, 50.0]).round(2)
        array([[0.5 , 1.  ],
               [0.08, 0.16],
               [0.92, 1.  ]])
    """
    values, passed = np.asarray(values, np.float64), np.asarray(passed, bool)
    total = np.histogram(values, edges)[0]
    part = np.histogram(values[passed], edges)[0]
    efficiency = np.divide(part, total, out=np.full(len(total), np.nan), where=total > 0)
    return np.concatenate([efficiency[None], binomial_interval(part, total)])

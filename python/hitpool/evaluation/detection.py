"""Which particles have a track and which tracks a particle."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitpool.evaluation.assignment import fraction_interval
from hitpool.evaluation.bins import bin_numbers, binned
from hitpool.evaluation.comparison import RESAMPLES, Row
from hitpool.evaluation.estimates import Sample
from hitpool.evaluation.number import Number

MEASURES = ("efficiency", "fake_rate")


def detect(sample: Sample) -> list[Row]:
    """Efficiency and fake rate of the validity of each model.

    Efficiency: share of the particles whose matched track is declared valid. Fake rate: share of the tracks declared
    valid that are matched to no particle.

    Args:
        sample: Particles and tracks.

    Returns:
        A row of each, with 68.27 % intervals; NaN without trials.
    """
    everything = np.zeros(sample.particle.shape, np.int64)
    return _rows(sample, everything, dict.fromkeys(sample.estimates, everything), 1)[0]


def detect_in_bins(sample: Sample, quantity: str, edges: ArrayLike) -> list[list[Row]]:
    """As `detect`, the efficiency in bins of the true quantity, the fake rate in bins of the estimated one.

    Args:
        sample: Particles and tracks.
        quantity: Key of `hitpool.evaluation.bins.EDGES`.
        edges: Bin edges, as in `bin_numbers`.

    Returns:
        The rows of each bin.
    """
    true = bin_numbers(binned(quantity, sample.true[quantity]), edges)
    estimated = {
        name: bin_numbers(binned(quantity, own.values[quantity]), edges)
        for name, own in sample.estimates.items()
        if quantity in own.values
    }
    return _rows(sample, true, estimated, len(edges) - 1)


def _rows(
    sample: Sample, true: NDArray[np.int64], estimated: dict[str, NDArray[np.int64]], bins: int
) -> list[list[Row]]:
    """Rows of each bin from the numbers of the bins of particles and of tracks, [E, N] each."""
    events = len(sample.event)
    weights = np.random.default_rng(1).multinomial(events, np.full(events, 1 / events), RESAMPLES)  # [R, E]
    rows = [[Row("validity", measure, {}) for measure in MEASURES] for _ in range(bins)]
    for name, number in estimated.items():
        own = sample.estimates[name]
        if not own.decides:
            continue
        for i, (efficiency, fake_rate) in enumerate(rows):
            efficiency.numbers[name] = _fraction(own.valid, sample.particle & (true == i), weights)
            fake_rate.numbers[name] = _fraction(~sample.particle, own.valid & (number == i), weights)
    return rows


def _fraction(passed: NDArray[np.bool_], trials: NDArray[np.bool_], weights: NDArray[np.int64]) -> Number:
    """Share of the trials [E, N] that passed, with an interval from a bootstrap over events."""
    good, total = (passed & trials).sum(-1), trials.sum(-1)  # [E]
    size = int(total.sum())
    if not size:
        return Number(np.nan, np.nan, np.nan)
    value, drawn = good.sum() / size, weights @ total
    samples = (weights @ good)[drawn > 0] / drawn[drawn > 0]
    return Number(float(value), *fraction_interval(float(value), float(np.std(samples, ddof=1)), size, size))

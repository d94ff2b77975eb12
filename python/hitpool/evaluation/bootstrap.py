"""Numbers with their errors: by bootstrap over events, and of fractions by Clopper and Pearson."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

RESAMPLES = 100
Key = TypeVar("Key")


@dataclass(frozen=True)
class Number:
    """A value and its 68.27 % interval; as text it has two digits of the smaller error.

    Args:
        value: NaN if it is undefined.
        low: Lower limit; NaN if it is undefined.
        high: Upper limit; NaN if it is undefined.

    Example:
        >>> str(Number.symmetric(0.0025094, 0.0000482)), str(Number(0.0, 0.0, 0.0362))
        ('0.002509 ± 0.000048', '0.000 +0.036 -0.000')
    """

    value: float
    low: float
    high: float

    @classmethod
    def symmetric(cls, value: float, error: float) -> Number:
        """A value with a standard error."""
        return cls(value, value - error, value + error)

    @property
    def error(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "undefined"
        if math.isnan(self.error):
            return f"{self.value:.4f}"
        errors = self.high - self.value, self.value - self.low
        smallest = min((error for error in errors if error > 0), default=0.0)
        digits = max(0, 1 - math.floor(math.log10(smallest))) if smallest else 4
        above, below = (f"{max(error, 0.0):.{digits}f}" for error in errors)
        return f"{self.value:.{digits}f} " + (f"± {above}" if above == below else f"+{above} -{below}")


def bootstrap(
    event: NDArray[np.int64], measure: Callable[[NDArray[np.int64] | slice], dict[Key, float]], seed: int = 1
) -> dict[Key, tuple[float, float]]:
    """Numbers of a sample, and how they scatter if its events are drawn with replacement.

    Events, not tracks or hits, are drawn, because those of one event are correlated.

    Args:
        event: Event of each entry, equal ones next to each other, [P].
        measure: Gives the numbers of the entries that it is told.
        seed: Seed of the random numbers.

    Returns:
        Of each number its value, and its standard deviation over 100 repetitions; NaN where it is undefined.
    """
    generator = np.random.default_rng(seed)
    values, samples = measure(slice(None)), [measure(_draw(event, generator)) for _ in range(RESAMPLES)]
    return {key: (value, float(np.std([own[key] for own in samples], ddof=1))) for key, value in values.items()}


def _draw(event: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of the entries of as many events, drawn with replacement."""
    first = np.flatnonzero(np.diff(event, prepend=-1))
    sizes = np.diff(first, append=len(event))
    drawn = generator.integers(0, len(first), len(first)) if len(first) else first
    ends = np.cumsum(sizes[drawn])
    offsets = np.repeat(first[drawn] - ends + sizes[drawn], sizes[drawn])
    entries: NDArray[np.int64] = np.arange(ends[-1] if len(ends) else 0) + offsets
    return entries


def fraction(passed: NDArray[Any], trials: NDArray[Any]) -> Number:
    """Share of trials that passed, with its interval.

    Args:
        passed: Number of trials that passed in each group, such as the hits of a track; the first dimension is that of
            the events.
        trials: Number of trials of each group, same shape.

    Returns:
        The share; NaN without trials.

    Example:
        >>> str(fraction(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [1, 1]])))
        '1.00 +0.00 -0.46'
    """
    of_event = tuple(range(1, trials.ndim))
    good, total = (values.sum(axis=of_event, dtype=np.int64) for values in (passed, trials))  # [E]
    return fraction_of_events(good, total, int(np.count_nonzero(trials)))


def fraction_of_events(good: NDArray[np.int64], total: NDArray[np.int64], groups: int) -> Number:
    """Share of trials that passed, as `fraction`, from the sums of each event.

    Args:
        good: Number of trials that passed in each event, [E].
        total: Number of trials in each event, [E].
        groups: Number of groups of trials in all events.

    Returns:
        The share; NaN without trials.
    """
    good, total = good[total > 0], total[total > 0]
    if not groups:
        return Number(math.nan, math.nan, math.nan)
    ((value, spread),) = bootstrap(
        np.arange(len(total)), lambda drawn: {"": float(good[drawn].sum() / total[drawn].sum())}
    ).values()
    return Number(value, *fraction_interval(value, spread, int(total.sum()), groups))


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

"""Statistics of columns in constant memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hitpool.muon import COLUMNS

RANGES = {name: (column.low, column.high) for name, column in COLUMNS.items()}


class ColumnStatistics:
    """Number, range, mean and spread of the values of K columns, and how many are not finite or unexpected.

    Args:
        names: Names of the columns.
        ranges: Expected range of some of them.

    Example:
        >>> statistics = ColumnStatistics(["pt", "eta"], {"pt": (5.0, 200.0)})
        >>> finite, outside = statistics.add(np.array([[4.0, 1.0], [10.0, np.nan]]))
        >>> outside.tolist()
        [[True, False], [False, False]]
        >>> statistics.mean.tolist(), statistics.not_finite.tolist(), statistics.outside.tolist()
        ([7.0, 1.0], [0, 1], [1, 0])
    """

    def __init__(self, names: Sequence[str], ranges: dict[str, tuple[float, float]] = RANGES) -> None:
        self.names = list(names)
        size = len(self.names)
        expected = [ranges.get(name, (-np.inf, np.inf)) for name in self.names]
        self.expected = np.array(expected, np.float32).reshape(size, 2)  # as values are on disk: 2.7 is no outlier
        self.count = 0
        self.not_finite = np.zeros(size, np.int64)
        self.outside = np.zeros(size, np.int64)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)
        self._sum, self._squares = np.zeros(size), np.zeros(size)

    def add(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Adds rows.

        Args:
            values: The values, [n, K].

        Returns:
            Which of them are finite, and which are finite and outside the expected range, bool [n, K].
        """
        finite = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            outside = finite & ((values < self.expected[:, 0]) | (values > self.expected[:, 1]))
        self.count += len(values)
        self.not_finite += len(values) - finite.sum(0)
        self.outside += outside.sum(0)
        self.low = np.minimum(self.low, values.min(0, initial=np.inf, where=finite))
        self.high = np.maximum(self.high, values.max(0, initial=-np.inf, where=finite))
        self._sum += values.sum(0, dtype=np.float64, where=finite)
        self._squares += np.square(values, dtype=np.float64).sum(0, where=finite)
        return finite, outside

    @property
    def mean(self) -> np.ndarray:
        """Mean of the finite values of each column, NaN if there are none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: np.ndarray = self._sum / (self.count - self.not_finite)
        return mean

    @property
    def sd(self) -> np.ndarray:
        """Standard deviation of the finite values of each column."""
        with np.errstate(invalid="ignore", divide="ignore"):
            sd: np.ndarray = np.sqrt(np.maximum(self._squares / (self.count - self.not_finite) - self.mean**2, 0))
        return sd

    @property
    def rms(self) -> np.ndarray:
        """Root mean square of the finite values of each column, NaN if there are none."""
        rms: np.ndarray = np.hypot(self.mean, self.sd)
        return rms

    @property
    def largest(self) -> np.ndarray:
        """Largest absolute finite value of each column, -inf if there are none."""
        largest: np.ndarray = np.maximum(self.high, -self.low)
        return largest


class Counts:
    """Histogram of whole numbers from 0.

    Example:
        >>> counts = Counts()
        >>> counts.add(np.array([1, 1, 2, 5]))
        >>> counts.histogram.tolist(), counts.mean, counts.quantile(0.5)
        ([0, 2, 1, 0, 0, 1], 2.25, 1)
    """

    def __init__(self) -> None:
        self.histogram = np.zeros(0, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Adds numbers [n], none negative."""
        new = np.bincount(values, minlength=len(self.histogram))
        new[: len(self.histogram)] += self.histogram
        self.histogram = new

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return int(self.histogram.sum())

    @property
    def mean(self) -> float:
        """Their mean, NaN if there are none."""
        return float(self.histogram @ np.arange(len(self.histogram)) / self.total) if self.total else np.nan

    def quantile(self, share: float) -> int | None:
        """The smallest number that at least this share of the numbers does not exceed; None without numbers."""
        if not self.total:
            return None
        return int(np.searchsorted(np.cumsum(self.histogram), max(share * self.total, 1)))


class Reservoir:
    """A random sample of rows of which it is not known beforehand how many come.

    Args:
        columns: Number of columns.
        size: Most rows that are kept; each row has the same chance.
    """

    def __init__(self, columns: int, size: int = 100_000) -> None:
        self.size = size
        self.rows = np.empty((0, columns), np.float32)
        self._keys = np.empty(0)
        self._random = np.random.default_rng(0)

    def add(self, rows: np.ndarray) -> None:
        """Offers rows [n, columns]."""
        keys = np.concatenate([self._keys, self._random.random(len(rows))])
        together = np.concatenate([self.rows, rows])
        if len(keys) > self.size:
            kept = np.argpartition(keys, self.size)[: self.size]
            keys, together = keys[kept], together[kept]
        self._keys, self.rows = keys, together

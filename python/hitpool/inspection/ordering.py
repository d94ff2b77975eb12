"""Whether events of different kinds come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCKS = 20
SIGNIFICANCE = 1e-6


@dataclass(frozen=True)
class Trend:
    """A quantity whose mean depends on the place in the data set.

    Attributes:
        name: The quantity.
        first: Its mean in the first twentieth of the events.
        mean: Its mean in all events.
        probability: Probability of means this different in a shuffled data set.
    """

    name: str
    first: float
    mean: float
    probability: float


class Ordering:
    """Compares the means of quantities in 20 blocks of consecutive events.

    Args:
        num_events: Number of events.
        names: Names of the Q quantities.
    """

    def __init__(self, num_events: int, names: Sequence[str]) -> None:
        self.names = list(names)
        self._num_events = num_events
        self._sums = np.zeros((3, BLOCKS, len(self.names)))  # of 1, x, x^2

    def add(self, events: np.ndarray, values: np.ndarray) -> None:
        """Adds events: their numbers [n] and quantities [n, Q], NaN where there is none."""
        block = events * BLOCKS // self._num_events
        there = np.isfinite(values)
        values = np.where(there, values, 0.0).astype(np.float64)
        for sums, power in zip(self._sums, (there, values, values**2), strict=True):
            np.add.at(sums, block, power)

    def trends(self) -> list[Trend]:
        """Finds the quantities with significantly different means, by the analysis of variance.

        Returns:
            F test of the variance between the blocks against that within them, probability below 1e-6.
        """
        from scipy import stats  # takes a while, and no help needs it

        found = []
        for i, name in enumerate(self.names):
            number, total, squares = self._sums[:, :, i]
            filled = number > 0
            number, total, squares = number[filled], total[filled], squares[filled]
            blocks, events = len(number), number.sum()
            if blocks < 2 or events < 10 * blocks:
                continue
            mean = total.sum() / events
            between = (number * (total / number - mean) ** 2).sum() / (blocks - 1)
            within = (squares - total**2 / number).sum() / (events - blocks)
            if within <= 1e-12 * mean**2:  # constant, but for rounding
                continue
            probability = float(stats.f.sf(between / within, blocks - 1, events - blocks))
            if probability < SIGNIFICANCE:
                found.append(Trend(name, float(total[0] / number[0]), float(mean), probability))
        return found

"""Parts of the events of a ROOT file, for training, validation and test."""

from __future__ import annotations

import math

import numpy as np

EVERYTHING = (0.0, 1.0)
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def in_share(entries: np.ndarray, low: float, high: float) -> np.ndarray:
    """Which entries belong to a part: those whose number times the golden ratio has a fraction from `low` to `high`.

    Any run of entries, long or short, is divided evenly, because the multiples of this ratio fill the interval from 0
    to 1 evenly; what belongs to a part does not depend on what else is converted.

    Args:
        entries: Numbers of entries in a ROOT file, int64 [events].
        low: Where the part begins, from 0.
        high: Where it ends, up to 1, which does not belong to it.

    Returns:
        bool [events].

    Source: Weyl, Ueber die Gleichverteilung von Zahlen mod. Eins, Math. Ann. 77 (1916) 313.

    Example:
        >>> entries = np.arange(1000)
        >>> [int(in_share(entries, *part).sum()) for part in ((0.0, 0.8), (0.8, 0.9), (0.9, 1.0))]
        [800, 100, 100]
    """
    place = entries * GOLDEN_RATIO % 1.0
    chosen: np.ndarray = (place >= low) & (place < high)
    return chosen

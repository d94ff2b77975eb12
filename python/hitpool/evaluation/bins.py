"""Bins of true quantities."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

DECADE = (1, 1.5, 2, 3, 4, 5, 7)
ETA_WIDTH = 0.3


def momentum_edges(pt: ArrayLike) -> NDArray[np.float64]:
    """Round bin edges that cover transverse momenta, about equally wide in log(pT).

    Args:
        pt: Transverse momenta in GeV, positive.

    Example:
        >>> momentum_edges([4.2, 21.0])
        array([ 4.,  5.,  7., 10., 15., 20., 30.])
    """
    pt = np.asarray(pt, np.float64)
    low, high = float(pt.min()), float(pt.max())
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    series = np.array([*(step * 10.0**power for power in powers for step in DECADE), 10.0 ** (powers[-1] + 1)])
    first = np.searchsorted(series, low, side="right") - 1
    last = np.searchsorted(series, high)
    return series[first : max(last, first + 1) + 1]


def eta_edges(eta: ArrayLike) -> NDArray[np.float64]:
    """Bin edges from 0 that cover absolute pseudorapidities.

    Args:
        eta: Pseudorapidities.

    Example:
        >>> eta_edges([0.2, -0.7]).round(1)
        array([0. , 0.3, 0.6, 0.9])
    """
    largest = float(np.abs(eta).max())
    return ETA_WIDTH * np.arange(max(math.ceil(largest / ETA_WIDTH - 1e-6), 1) + 1)


EDGES = {"pt": momentum_edges, "eta": eta_edges}
"""Quantities that have bins; eta by its absolute value."""


def binned(quantity: str, values: ArrayLike) -> NDArray[np.float64]:
    """What is binned of a quantity: the absolute value of eta, others as they are.

    Args:
        quantity: Key of `EDGES`.
        values: Any shape.
    """
    return np.abs(values) if quantity == "eta" else np.asarray(values, np.float64)


def bin_numbers(values: ArrayLike, edges: ArrayLike) -> NDArray[np.int64]:
    """Number of the bin of each value.

    Args:
        values: Any shape.
        edges: Bin edges, ascending; a bin holds low <= value < high, the last one also its high edge.

    Returns:
        Numbers, -1 outside and for NaN, same shape.

    Example:
        >>> bin_numbers([0.0, 1.0, 2.0, 3.0], [0, 1, 2])
        array([ 0,  1,  1, -1])
    """
    values, edges = np.asarray(values, np.float64), np.asarray(edges, np.float64)
    number = np.minimum(np.searchsorted(edges, values, side="right") - 1, len(edges) - 2)
    return np.where((values >= edges[0]) & (values <= edges[-1]), number, -1)

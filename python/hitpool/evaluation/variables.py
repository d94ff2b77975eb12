"""What measures are shown against: parameters of the particles and their number of hits, in bins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitpool.evaluation.tracks import Estimate, Tracks

HITS = "hits"
DENSITY, DELTA_R, VERTEX_DISTANCE, ABSOLUTE_Z0 = "density", "delta_r", "vertex_distance", "abs_z0"
"""What is near, see `hitpool.evaluation.finding.surroundings`."""
COUNTS = (HITS, DENSITY)
NEAR = 0.2  # Delta R of other particles that are counted
SYMBOLS = {
    "pt": r"$p_\mathrm{T}$",
    "eta": r"$|\eta|$",
    "phi": r"$\phi$",
    HITS: "hits of the track",
    DENSITY: rf"number of other particles in $\Delta R$ < {NEAR}",
    DELTA_R: r"$\Delta R$ to the nearest other particle",
    VERTEX_DISTANCE: "distance to the nearest other vertex",
    ABSOLUTE_Z0: r"$|z_0|$",
}
WORDS = {
    "pt": "pT",
    "eta": "|eta|",
    HITS: "hits",
    DENSITY: f"other particles in Delta R < {NEAR}",
    DELTA_R: "Delta R to the nearest other particle",
    VERTEX_DISTANCE: "distance to the nearest other vertex",
    ABSOLUTE_Z0: "|z0|",
}
DECADE = (1, 1.5, 2, 3, 4, 5, 7)
ETA_WIDTH = 0.3
MOST_BINS = 12
BULK = 0.005, 0.995  # quantiles between which other parameters are shown


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
    bins = max(math.ceil(largest / ETA_WIDTH - 1e-6), 1)
    return np.asarray(ETA_WIDTH * np.arange(bins + 1), np.float64)


def phi_edges(phi: ArrayLike) -> NDArray[np.float64]:
    """Bin edges of azimuths in rad: the whole turn.

    Args:
        phi: Azimuths.
    """
    return np.linspace(-np.pi, np.pi, MOST_BINS + 1)


def hit_edges(hits: ArrayLike) -> NDArray[np.float64]:
    """Bin edges half between whole numbers, all bins equally wide.

    Args:
        hits: Numbers of hits.

    Example:
        >>> hit_edges([3, 4, 6])
        array([2.5, 3.5, 4.5, 5.5, 6.5])
    """
    low, high = (int(limit) for limit in np.quantile(np.asarray(hits, np.float64), BULK, method="nearest"))
    width = math.ceil((high - low + 1) / MOST_BINS)
    bins = math.ceil((high - low + 1) / width)
    return low - 0.5 + width * np.arange(bins + 1.0)


def value_edges(values: ArrayLike) -> NDArray[np.float64]:
    """Round, equally wide bins that cover the bulk of the values of any parameter.

    Args:
        values: Finite values.

    Example:
        >>> value_edges([-0.25, 0.1, 0.32]).round(2)
        array([-0.25, -0.2 , -0.15, -0.1 , -0.05,  0.  ,  0.05,  0.1 ,  0.15,
                0.2 ,  0.25,  0.3 ,  0.35])
    """
    low, high = (float(limit) for limit in np.quantile(np.asarray(values, np.float64), BULK))
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    power = 10.0 ** math.floor(math.log10((high - low) / MOST_BINS))
    for step in (power * factor for factor in (1, 2, 2.5, 5, 10, 20)):
        first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
        if last - first <= MOST_BINS:
            break
    return step * np.arange(first, last + 1.0)


def logarithmic(variable: str, edges: NDArray[np.float64]) -> bool:
    """Whether a variable is shown on a logarithmic axis.

    Args:
        variable: Its name.
        edges: Its bin edges.
    """
    return variable in ("pt", DELTA_R, VERTEX_DISTANCE) and bool(edges[0] > 0)


def axis_label(variable: str, unit: str = "") -> str:
    """A variable as an axis names it.

    Args:
        variable: Its name.
        unit: Its unit, empty if there is none or it is not known.
    """
    return SYMBOLS.get(variable, variable.replace("$", r"\$")) + (f" [{unit}]" if unit else "")


def word(variable: str, unit: str = "") -> str:
    """A variable as text names it.

    Args:
        variable: Its name.
        unit: Its unit, empty if there is none or it is not to be shown.
    """
    return WORDS.get(variable, variable) + (f" [{unit}]" if unit else "")


_EDGES: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "pt": momentum_edges,
    "eta": eta_edges,
    "phi": phi_edges,
    HITS: hit_edges,
}


def variables(tracks: Tracks) -> dict[str, NDArray[np.float64]]:
    """Bin edges by variable: pt, eta and phi, as far as they are known, other parameters, and hits.

    Charges, and q/pT beside pT, are no variables.

    Args:
        tracks: The particles.
    """
    names = [*(name for name in _EDGES if name in tracks.true), *(name for name in tracks.true if name not in _EDGES)]
    left_out = {"q", *({"qpt"} if "pt" in tracks.true else ())}
    found = {}
    counted_hits = () if tracks.hits is None else (HITS,)
    for name in [*(name for name in names if name not in left_out), *counted_hits]:
        values = true_values(tracks, name)
        if (own := values[tracks.particle & np.isfinite(values)]).size:
            odd = (name == "pt" and own.min() <= 0) or (name == "phi" and np.abs(own).max() > np.pi + 1e-3)
            found[name] = (value_edges if odd else _EDGES.get(name, value_edges))(own)
    return found


def true_values(tracks: Tracks, variable: str) -> NDArray[np.float64]:
    """The variable of each particle, [E, N]; absolute of eta.

    Args:
        tracks: The particles.
        variable: Its name.

    Raises:
        KeyError: If it is not known.
    """
    values = _values(tracks.hits if variable == HITS else tracks.true.get(variable), variable)
    if values is None:
        raise KeyError(f"the particles have no {variable}, only {sorted(tracks.true)}")
    return values


def estimated_values(estimate: Estimate, variable: str) -> NDArray[np.float64] | None:
    """The variable of each track as it is estimated, [E, N], likewise; None if it is not.

    Args:
        estimate: The tracks.
        variable: Its name.
    """
    return _values(estimate.hits if variable == HITS else estimate.values.get(variable), variable)


def _values(values: NDArray[np.float64] | NDArray[np.int64] | None, variable: str) -> NDArray[np.float64] | None:
    if values is None:
        return None
    return np.abs(values) if variable == "eta" else np.asarray(values, np.float64)


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


def totals(values: ArrayLike, edges: NDArray[np.float64]) -> tuple[int, int, int]:
    """How many values lie below, in and above all bins.

    Args:
        values: Any shape.
        edges: Bin edges, ascending.

    Example:
        >>> totals([0.0, 1.0, 1.5, 5.0], np.array([0.5, 2.0]))
        (1, 2, 1)
    """
    values = np.asarray(values, np.float64)
    low, high = values < edges[0], values > edges[-1]
    inside = ~(low | high | np.isnan(values))
    return int(low.sum()), int(inside.sum()), int(high.sum())

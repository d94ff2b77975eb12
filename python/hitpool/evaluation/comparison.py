"""How good estimates of the same tracks are: numbers with errors by bootstrap over events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from hitpool.evaluation.bootstrap import Number, bootstrap, fraction_interval
from hitpool.evaluation.quantities import RESOLUTIONS
from hitpool.evaluation.tracks import BOUND, Tracks
from hitpool.residuals import mean, median, right_charge, rms, sigma68

LEAST_TRACKS = 20  # in a bin
DECADE = (1, 1.5, 2, 3, 4, 5, 7)
ETA_WIDTH = 0.3
SHARES = ("beyond_20", "beyond_5_sigma68", "accuracy")
FAR = 0.2  # relative residuals beyond are counted


@dataclass(frozen=True)
class Row:
    """One measure of one quantity.

    Args:
        quantity: Key of `RESOLUTIONS`, q, or validity.
        measure: For residuals sigma68, rms, median, beyond_20 (share of relative residuals), beyond_5_sigma68 (share),
            to_bound (sigma68 of residual / bound), pull (of residual / the estimate's own error) and to_reference
            (sigma68 / that of the reference); accuracy of q; efficiency and fake_rate of validity.
        numbers: By name of the estimate; that of the bound is its median, and for q what it allows.
    """

    quantity: str
    measure: str
    numbers: dict[str, Number]


def quantities(tracks: Tracks) -> list[str]:
    """What all estimates and the truth have, in the order of the table; pT only where q/pT is not known.

    Args:
        tracks: The estimates.
    """
    known = set(tracks.true).intersection(*(own.values for own in tracks.measured.values()))
    known -= {"pt"} if "qpt" in known else set()
    return [quantity for quantity in (*RESOLUTIONS, "q") if quantity in known]


def residuals(tracks: Tracks, chosen: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Residuals by quantity.

    Args:
        tracks: S estimates.
        chosen: P of the particles, [E, N] bool.

    Returns:
        [S, P] each.
    """
    return {
        quantity: np.stack(
            [
                RESOLUTIONS[quantity].residual(own.values[quantity][chosen], tracks.true[quantity][chosen])
                for own in tracks.measured.values()
            ]
        )
        for quantity in quantities(tracks)
        if quantity != "q"
    }


def compare(tracks: Tracks, reference: str | None = None, chosen: NDArray[np.bool_] | None = None) -> list[Row]:
    """Measures the parameters of all estimates.

    Args:
        tracks: The estimates.
        reference: Name of the estimate to which the others are compared, if any.
        chosen: Particles, [E, N] bool; by default those of which there are all estimates.

    Returns:
        The rows, by quantity.
    """
    chosen = tracks.compared if chosen is None else chosen
    event = np.broadcast_to(tracks.event[:, None], chosen.shape)[chosen]  # [P]
    names, own_residuals = list(tracks.measured), residuals(tracks, chosen)
    right = {
        name: right_charge(own.values["q"][chosen], tracks.true["q"][chosen])
        for name, own in tracks.measured.items()
        if "q" in quantities(tracks)
    }
    errors = {
        name: {quantity: values[chosen] for quantity, values in own.errors.items()}
        for name, own in tracks.estimates.items()
    }
    bound = errors.pop(BOUND, {})

    def measure(drawn: NDArray[np.int64] | slice) -> dict[tuple[str, str, str], float]:
        """By quantity, measure and estimate, from some of the particles."""
        numbers: dict[tuple[str, str, str], Any] = {}
        for quantity, every in own_residuals.items():
            own = every[:, drawn]  # [S, P]
            spread = np.asarray(sigma68(own, axis=-1))  # [S]
            columns: dict[str, Any] = {"sigma68": spread, "rms": rms(own, axis=-1), "median": median(own, axis=-1)}
            if RESOLUTIONS[quantity].relative:
                columns["beyond_20"] = mean(np.abs(own) > FAR, axis=-1)
            columns["beyond_5_sigma68"] = mean(np.abs(own) > 5 * spread[:, None], axis=-1)
            if quantity in bound:
                columns["to_bound"] = sigma68(own / bound[quantity][drawn], axis=-1)
            if reference:
                with np.errstate(divide="ignore", invalid="ignore"):
                    columns["to_reference"] = spread / spread[names.index(reference)]
            for key, column in columns.items():
                numbers |= {
                    (quantity, key, name): float(value)
                    for name, value in zip(names, column, strict=True)
                    if (key, name) != ("to_reference", reference)  # its own is 1
                }
            for name, of in errors.items():
                if quantity in of:
                    numbers[quantity, "pull", name] = sigma68(own[names.index(name)] / of[quantity][drawn])
            if quantity in bound:
                numbers[quantity, "sigma68", BOUND] = median(bound[quantity][drawn])
        numbers |= {("q", "accuracy", name): mean(own[drawn]) for name, own in right.items()}
        if right and "qpt" in bound:
            numbers["q", "accuracy", BOUND] = mean(ndtr(1 / bound["qpt"][drawn]))
        return numbers

    rows: dict[tuple[str, str], dict[str, Number]] = {}
    for (quantity, key, name), (value, spread) in bootstrap(event, measure).items():
        rows.setdefault((quantity, key), {})[name] = (
            Number(value, *fraction_interval(value, spread, len(event), len(event)))
            if key in SHARES and name != BOUND
            else Number.symmetric(value, spread)
        )
    return [Row(*key, numbers) for key, numbers in rows.items()]


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


@dataclass(frozen=True)
class Bins:
    """Measures in bins of a true quantity.

    Args:
        edges: Bin edges, ascending.
        tracks: Number of compared particles in each bin.
        rows: Rows of each bin; none of residuals and charge below `LEAST_TRACKS` particles.
    """

    edges: NDArray[np.float64]
    tracks: list[int]
    rows: list[list[Row]]

    def column(self, quantity: str, measure: str, name: str) -> list[Number | None]:
        """A measure in each bin, None where it is missing.

        Args:
            quantity: As in `Row`.
            measure: As in `Row`.
            name: Of the estimate.
        """
        return [
            next((row.numbers.get(name) for row in rows if (row.quantity, row.measure) == (quantity, measure)), None)
            for rows in self.rows
        ]


def compare_in_bins(
    tracks: Tracks, quantity: str, edges: Sequence[float] | NDArray[np.float64], reference: str | None = None
) -> Bins:
    """As `compare`, in bins of a true quantity.

    Args:
        tracks: The estimates.
        quantity: Key of `EDGES`.
        edges: Bin edges, as in `bin_numbers`.
        reference: As in `compare`.
    """
    number = bin_numbers(binned(quantity, tracks.true[quantity]), edges)
    parts = [tracks.compared & (number == i) for i in range(len(edges) - 1)]
    sizes = [int(part.sum()) for part in parts]
    rows = [
        compare(tracks, reference, part) if size >= LEAST_TRACKS else []
        for part, size in zip(parts, sizes, strict=True)
    ]
    return Bins(np.asarray(edges, np.float64), sizes, rows)

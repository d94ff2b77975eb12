"""How good estimates of the same tracks are: numbers with errors by bootstrap over events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from hitpool.evaluation.bootstrap import Number, bootstrap, fraction_interval
from hitpool.evaluation.quantities import RESOLUTIONS, Resolution, resolution_of
from hitpool.evaluation.tracks import BOUND, FIT_ALONE, Tracks
from hitpool.evaluation.variables import bin_numbers, totals, true_values
from hitpool.residuals import mean, median, right_charge, rms, sigma68

LEAST_TRACKS = 20  # in a bin
SHARES = ("beyond_20", "beyond_5_sigma68", "accuracy")
FAR = 0.2  # relative residuals beyond are counted


@dataclass(frozen=True)
class Row:
    """One measure of one quantity.

    Args:
        quantity: Key of `Tracks.true`, or validity.
        measure: For residuals sigma68, rms, median, beyond_20 (share of relative residuals), beyond_5_sigma68 (share),
            to_bound (sigma68 of residual / bound), pull (of residual / the estimate's own error) and to_reference
            (sigma68 / that of the reference); accuracy of q; of validity see `hitpool.evaluation.assignment.detect`.
        numbers: By name of the estimate; that of the bound is its median, and for q what it allows.
        resolution: What is compared; None if it is no parameter.
    """

    quantity: str
    measure: str
    numbers: dict[str, Number]
    resolution: Resolution | None = None


def quantities(tracks: Tracks) -> list[str]:
    """What all estimates and the truth have, in the order of the table; pT only where q/pT is not known.

    A fit alone may have fewer.

    Args:
        tracks: The estimates.
    """
    whole = (own.values for name, own in tracks.measured.items() if name != FIT_ALONE)
    known = set(tracks.true).intersection(*whole)
    known -= {"pt"} if "qpt" in known else set()
    others = (quantity for quantity in tracks.true if quantity not in (*RESOLUTIONS, "q"))
    return [quantity for quantity in (*RESOLUTIONS, *others, "q") if quantity in known]


def residuals(tracks: Tracks, chosen: NDArray[np.bool_]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Residuals by quantity and estimate.

    Args:
        tracks: The estimates.
        chosen: P of the particles, [E, N] bool.

    Returns:
        [P] each.
    """
    return {
        quantity: {
            name: tracks.resolution(quantity).residual(own.values[quantity][chosen], tracks.true[quantity][chosen])
            for name, own in tracks.measured.items()
            if quantity in own.values
        }
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
    own_residuals = {
        quantity: (list(of), np.stack([*of.values()])) for quantity, of in residuals(tracks, chosen).items()
    }
    right = {
        name: right_charge(own.values["q"][chosen], tracks.true["q"][chosen])
        for name, own in tracks.measured.items()
        if "q" in quantities(tracks) and "q" in own.values
    }
    errors = {
        name: {quantity: values[chosen] for quantity, values in own.errors.items()}
        for name, own in tracks.estimates.items()
    }
    bound = errors.pop(BOUND, {})

    def measure(drawn: NDArray[np.int64] | slice) -> dict[tuple[str, str, str], float]:
        """By quantity, measure and estimate, from some of the particles."""
        numbers: dict[tuple[str, str, str], Any] = {}
        for quantity, (names, every) in own_residuals.items():
            own = every[:, drawn]  # [S, P]
            spread = np.asarray(sigma68(own, axis=-1))  # [S]
            columns: dict[str, Any] = {"sigma68": spread, "rms": rms(own, axis=-1), "median": median(own, axis=-1)}
            if tracks.resolution(quantity).relative:
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
                if quantity in of and name in names:
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
    return [Row(*key, numbers, None if key[0] == "q" else tracks.resolution(key[0])) for key, numbers in rows.items()]


@dataclass(frozen=True)
class Bins:
    """Measures in bins of a variable.

    Args:
        edges: Bin edges, ascending.
        tracks: Number of compared particles in each bin.
        rows: Rows of each bin; none of residuals and charge below `LEAST_TRACKS` particles.
        unit: Unit of the variable.
        totals: Numbers below, in and above the bins: of compared particles (`tracks`), all `particles` and, by what is
            estimated, all `valid tracks`, as far as they were counted.
    """

    edges: NDArray[np.float64]
    tracks: list[int]
    rows: list[list[Row]]
    unit: str = ""
    totals: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def resolution(self, quantity: str) -> Resolution:
        """What is compared of a quantity.

        Args:
            quantity: As in `Row`.
        """
        own = (row.resolution for rows in self.rows for row in rows if row.quantity == quantity)
        return next(filter(None, own), resolution_of(quantity))

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
    """As `compare`, in bins of a variable.

    Args:
        tracks: The estimates.
        quantity: One of `hitpool.evaluation.variables`.
        edges: Bin edges, as in `bin_numbers`.
        reference: As in `compare`.

    Raises:
        KeyError: If the variable is not known.
    """
    values = true_values(tracks, quantity)
    number, edges = bin_numbers(values, edges), np.asarray(edges, np.float64)
    parts = [tracks.compared & (number == i) for i in range(len(edges) - 1)]
    sizes = [int(part.sum()) for part in parts]
    rows = [
        compare(tracks, reference, part) if size >= LEAST_TRACKS else []
        for part, size in zip(parts, sizes, strict=True)
    ]
    return Bins(edges, sizes, rows, tracks.unit(quantity), {"tracks": totals(values[tracks.compared], edges)})

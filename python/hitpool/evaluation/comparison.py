"""How good several estimates of the same tracks are: numbers with errors by bootstrap over events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from hitpool.evaluation.assignment import fraction_interval
from hitpool.evaluation.bins import bin_numbers, binned
from hitpool.evaluation.number import Number
from hitpool.evaluation.quantities import RESOLUTIONS
from hitpool.evaluation.residuals import sigma68

RESAMPLES = 100
LEAST_TRACKS = 20  # in a bin
BOUND = "bound"
FRACTIONS = ("beyond_20", "beyond_5_sigma68", "accuracy")
FAR = 0.2  # relative residuals beyond are counted


@dataclass(frozen=True)
class Pairs:
    """Particles with all estimates of their parameters.

    Args:
        event: Event of each particle, ascending, [P].
        true: True values by quantity, [P] each.
        estimates: Estimated values by name of the estimate and quantity, [P] each.
        reference: Name of the estimate to which the others are compared, if any.
        bound: Smallest possible standard deviation of the residuals by quantity, [P] each; empty if it is not known.
        errors: Standard deviations of the residuals as an estimate states them, by its name and quantity, [P] each.
    """

    event: NDArray[np.int64]
    true: dict[str, NDArray[np.float64]]
    estimates: dict[str, dict[str, NDArray[np.float64]]]
    reference: str | None = None
    bound: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    errors: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event)

    @property
    def quantities(self) -> list[str]:
        """What all estimates and the truth have, in the order of the table; pT only where q/pT is not known."""
        known = set(self.true).intersection(*self.estimates.values())
        known -= {"pt"} if "qpt" in known else set()
        return [quantity for quantity in (*RESOLUTIONS, "q") if quantity in known]

    def select(self, index: NDArray) -> Pairs:
        """Picks particles.

        Args:
            index: Numbers of particles (repetitions allowed) or a mask [P].
        """

        def pick(values: Mapping[str, NDArray]) -> dict[str, NDArray]:
            return {quantity: array[index] for quantity, array in values.items()}

        estimates, errors = ({name: pick(own) for name, own in of.items()} for of in (self.estimates, self.errors))
        return Pairs(self.event[index], pick(self.true), estimates, self.reference, pick(self.bound), errors)


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


def compare(pairs: Pairs, seed: int = 1) -> list[Row]:
    """Measures all estimates.

    Args:
        pairs: The particles.
        seed: Seed of the bootstrap.

    Returns:
        The rows, by quantity.
    """
    quantities, estimates = pairs.quantities, pairs.estimates
    residuals = {
        quantity: np.stack([resolution.residual(own[quantity], pairs.true[quantity]) for own in estimates.values()])
        for quantity, resolution in RESOLUTIONS.items()
        if quantity in quantities
    }  # [S, P] each
    right = {name: own["q"] * pairs.true["q"] > 0 for name, own in estimates.items() if "q" in quantities}
    values = _measure(pairs, residuals, right)
    generator, samples = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        drawn = _draw(pairs.event, generator)
        samples.append(_measure(pairs, residuals, right, drawn))
    rows: dict[tuple[str, str], dict[str, Number]] = {}
    for (quantity, measure, name), value in values.items():
        spread = float(np.std([sample[quantity, measure, name] for sample in samples], ddof=1))
        rows.setdefault((quantity, measure), {})[name] = (
            Number(value, *fraction_interval(value, spread, len(pairs), len(pairs)))
            if measure in FRACTIONS and name != BOUND
            else Number.symmetric(value, spread)
        )
    return [Row(*key, numbers) for key, numbers in rows.items()]


def _measure(
    pairs: Pairs,
    residuals: Mapping[str, NDArray[np.float64]],
    right: Mapping[str, NDArray[np.bool_]],
    drawn: NDArray[np.int64] | slice = slice(None),
) -> dict[tuple[str, str, str], float]:
    """By quantity, measure and estimate, from some of the particles."""
    names, numbers = list(pairs.estimates), {}
    for quantity, every in residuals.items():
        own = every[:, drawn]  # [S, P]
        spread = sigma68(own, axis=-1)
        columns = {"sigma68": spread, "rms": np.sqrt(np.mean(own**2, axis=-1)), "median": np.median(own, axis=-1)}
        if RESOLUTIONS[quantity].relative:
            columns["beyond_20"] = np.mean(np.abs(own) > FAR, axis=-1)
        columns["beyond_5_sigma68"] = np.mean(np.abs(own) > 5 * spread[:, None], axis=-1)
        if quantity in pairs.bound:
            columns["to_bound"] = sigma68(own / pairs.bound[quantity][drawn], axis=-1)
        if pairs.reference:
            with np.errstate(divide="ignore", invalid="ignore"):
                columns["to_reference"] = spread / spread[names.index(pairs.reference)]
        for measure, column in columns.items():
            numbers |= {(quantity, measure, name): float(value) for name, value in zip(names, column, strict=True)}
        numbers.pop((quantity, "to_reference", pairs.reference), None)  # 1
        for name, errors in pairs.errors.items():
            if quantity in errors:
                numbers[quantity, "pull", name] = sigma68(own[names.index(name)] / errors[quantity][drawn])
        if quantity in pairs.bound:
            numbers[quantity, "sigma68", BOUND] = float(np.median(pairs.bound[quantity][drawn]))
    numbers |= {("q", "accuracy", name): float(own[drawn].mean()) for name, own in right.items()}
    if right and "qpt" in pairs.bound:
        numbers["q", "accuracy", BOUND] = float(ndtr(1 / pairs.bound["qpt"][drawn]).mean())
    return numbers


def _draw(event: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of the particles of as many events, drawn with replacement."""
    first = np.flatnonzero(np.diff(event, prepend=-1))
    sizes = np.diff(first, append=len(event))
    drawn = generator.integers(0, len(first), len(first)) if len(first) else first
    ends = np.cumsum(sizes[drawn])
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(first[drawn] - ends + sizes[drawn], sizes[drawn])


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


def compare_in_bins(pairs: Pairs, quantity: str, edges: ArrayLike) -> Bins:
    """Measures in bins of a true quantity.

    Args:
        pairs: The particles.
        quantity: Key of `hitpool.evaluation.bins.EDGES`.
        edges: Bin edges, as in `bin_numbers`.
    """
    number = bin_numbers(binned(quantity, pairs.true[quantity]), edges)
    parts = [pairs.select(number == i) for i in range(len(edges) - 1)]
    rows = [compare(part) if len(part) >= LEAST_TRACKS else [] for part in parts]
    return Bins(np.asarray(edges, np.float64), [len(part) for part in parts], rows)

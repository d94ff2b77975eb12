"""A model and another estimate of the same tracks: resolutions, their ratio, and errors by bootstrap over events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.table import Table

from hitpool.evaluation.assignment import binomial_interval, fraction_interval
from hitpool.evaluation.number import Number
from hitpool.evaluation.quantities import RESOLUTIONS
from hitpool.evaluation.residuals import sigma68

RESAMPLES = 100
LEAST_TRACKS = 20  # in a bin
DECADE = (1, 1.5, 2, 3, 4, 5, 7)
MODEL, TRUE_HITS = "model", "true hits"
CAPTION = (
    "On the same tracks: particles whose matched track (the model's minimal assignment cost) is declared valid and for "
    "which the reference has an estimate. sigma68: half the width of the central 68.27 % of the residuals; phi "
    "residuals are wrapped. Errors: bootstrap over events; of the charge by Clopper and Pearson, with as many trials "
    "as scatter like that bootstrap. True hits: the model's estimate when the hits that it pools for each track are "
    "the true ones; its queries and encoded hits are as before."
)


@dataclass(frozen=True)
class Pairs:
    """Particles with all estimates of their parameters.

    Args:
        event: Event of each particle, ascending, [P].
        true: True values by quantity, [P] each.
        estimates: Estimated values by name of the estimate and quantity, [P] each; the last one is the reference.
    """

    event: NDArray[np.int64]
    true: dict[str, NDArray[np.float64]]
    estimates: dict[str, dict[str, NDArray[np.float64]]]

    def __len__(self) -> int:
        return len(self.event)

    @property
    def quantities(self) -> list[str]:
        """What all estimates and the truth have, in the order of the table."""
        known = set(self.true).intersection(*self.estimates.values())
        return [quantity for quantity in (*RESOLUTIONS, "q") if quantity in known]

    def select(self, index: NDArray) -> Pairs:
        """Picks particles.

        Args:
            index: Numbers of particles (repetitions allowed) or a mask [P].
        """
        pick = {name: {q: values[index] for q, values in own.items()} for name, own in self.estimates.items()}
        return Pairs(self.event[index], {q: values[index] for q, values in self.true.items()}, pick)


@dataclass(frozen=True)
class Row:
    """One quantity.

    Args:
        quantity: Key of `RESOLUTIONS`, or q.
        numbers: sigma68, or the charge accuracy of q, by name of the estimate.
        ratios: The same divided by that of the reference, by name of the other estimates.
    """

    quantity: str
    numbers: dict[str, Number]
    ratios: dict[str, Number]


def compare(pairs: Pairs, seed: int = 1) -> list[Row]:
    """Resolutions of all estimates and their ratios to the reference.

    Args:
        pairs: The particles.
        seed: Seed of the bootstrap.

    Returns:
        A row for each quantity.
    """
    names = list(pairs.estimates)
    residuals, right = _residuals(pairs), _right(pairs)
    values = _performances(residuals, right)  # [quantities, estimates]
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(RESAMPLES):
        drawn = _draw(pairs.event, generator)
        samples.append(_performances(residuals[..., drawn], right[..., drawn]))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios, ratio_samples = (array / array[..., -1:] for array in (values, np.array(samples)))
    errors, ratio_errors = np.std(samples, 0, ddof=1), np.std(ratio_samples, 0, ddof=1)
    return [
        Row(
            quantity,
            {name: _number(quantity, values[k, i], errors[k, i], len(pairs)) for i, name in enumerate(names)},
            {name: _ratio(quantity, ratios[k, i], ratio_errors[k, i], len(pairs)) for i, name in enumerate(names[:-1])},
        )
        for k, quantity in enumerate(pairs.quantities)
    ]


def _number(quantity: str, value: float, spread: float, tracks: int) -> Number:
    if quantity == "q":
        return Number(float(value), *fraction_interval(float(value), float(spread), tracks, tracks))
    return Number.symmetric(float(value), float(spread))


def _ratio(quantity: str, value: float, spread: float, tracks: int) -> Number:
    if quantity == "q" and spread == 0:  # none of the tracks has one charge right and the other wrong
        spread = binomial_interval(0, tracks)[1]
    return Number.symmetric(float(value), float(spread))


def _residuals(pairs: Pairs) -> NDArray[np.float64]:
    """Residuals of what is measured by them, [quantities, estimates, P]."""
    measured = [quantity for quantity in pairs.quantities if quantity in RESOLUTIONS]
    estimates = pairs.estimates.values()
    values = [[RESOLUTIONS[q].residual(own[q], pairs.true[q]) for own in estimates] for q in measured]
    return np.array(values).reshape(len(measured), len(estimates), len(pairs))


def _right(pairs: Pairs) -> NDArray[np.bool_]:
    """Whether the charge is right, [1, estimates, P], or [0, estimates, P] if it is not known."""
    known = ["q"] if "q" in pairs.quantities else []
    values = [[own[q] * pairs.true[q] > 0 for own in pairs.estimates.values()] for q in known]
    return np.array(values, bool).reshape(len(known), len(pairs.estimates), len(pairs))


def _performances(residuals: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sigma68 of the residuals and share of right charges, [quantities, estimates]."""
    return np.concatenate([sigma68(residuals, axis=-1), right.mean(-1)])


def _draw(event: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of the particles of as many events, drawn with replacement."""
    first = np.flatnonzero(np.diff(event, prepend=-1))
    sizes = np.diff(first, append=len(event))
    drawn = generator.integers(0, len(first), len(first)) if len(first) else first
    ends = np.cumsum(sizes[drawn])
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(first[drawn] - ends + sizes[drawn], sizes[drawn])


@dataclass(frozen=True)
class Bins:
    """Comparisons in bins of a true quantity.

    Args:
        edges: Bin edges, ascending.
        tracks: Number of particles in each bin.
        rows: Comparison in each bin; empty below `LEAST_TRACKS` particles.
    """

    edges: NDArray[np.float64]
    tracks: list[int]
    rows: list[list[Row]]


def compare_in_bins(pairs: Pairs, quantity: str, edges: ArrayLike) -> Bins:
    """Compares in bins of a true quantity; a bin holds low <= value < high, the last one also its high edge.

    Args:
        pairs: The particles.
        quantity: Of the truth.
        edges: Bin edges, ascending.
    """
    edges = np.asarray(edges, np.float64)
    number = np.clip(np.searchsorted(edges, pairs.true[quantity], side="right") - 1, 0, len(edges) - 2)
    inside = (pairs.true[quantity] >= edges[0]) & (pairs.true[quantity] <= edges[-1])
    parts = [pairs.select(inside & (number == i)) for i in range(len(edges) - 1)]
    rows = [compare(part) if len(part) >= LEAST_TRACKS else [] for part in parts]
    return Bins(edges, [len(part) for part in parts], rows)


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


def eta_edges(eta: ArrayLike, bins: int = 10) -> NDArray[np.float64]:
    """Equal bins, symmetric about 0, that cover pseudorapidities.

    Args:
        eta: Pseudorapidities.
        bins: Number of bins.

    Example:
        >>> eta_edges([0.3, -0.9], 4)
        array([-1. , -0.5,  0. ,  0.5,  1. ])
    """
    limit = max(math.ceil(2 * float(np.abs(eta).max())) / 2, 0.5)
    return np.linspace(-limit, limit, bins + 1)


def table(rows: Sequence[Row], counts: Mapping[str, int], reference: str) -> Table:
    """Table of a comparison for the terminal.

    Args:
        rows: The rows.
        counts: Numbers of particles, as in the title.
        reference: Name of the reference.
    """
    grid = Table(title=title(counts), caption=CAPTION, caption_justify="left", title_justify="left")
    for column in ("sigma68", "estimate"):
        grid.add_column(column, no_wrap=True)
    for column in ("value", f"/ {reference}"):
        grid.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        label, unit = _label(row.quantity)
        first = f"{label} \\[{unit}]" if unit else label
        for name, number in row.numbers.items():
            grid.add_row(first, name, str(number), str(row.ratios[name]) if name in row.ratios else "")
            first = ""
        grid.add_section()
    return grid


def bins_table(bins: Bins, reference: str) -> Table:
    """Table of the ratios to the reference in bins of the true pT.

    Args:
        bins: The comparisons.
        reference: Name of the reference.
    """
    filled = next((rows for rows in bins.rows if rows), [])
    quantities = [row.quantity for row in filled if row.quantity in ("qpt", "eta", "phi")]
    grid = Table(title=f"sigma68 of {MODEL} / {reference} by true pT", title_justify="left")
    grid.add_column("pT \\[GeV]", no_wrap=True)
    for column in ("tracks", *(_label(quantity)[0] for quantity in quantities)):
        grid.add_column(column, justify="right", no_wrap=True)
    for low, high, tracks, rows in zip(bins.edges[:-1], bins.edges[1:], bins.tracks, bins.rows, strict=True):
        ratios = {row.quantity: str(row.ratios[MODEL]) for row in rows}
        grid.add_row(f"{low:g} to {high:g}", str(tracks), *(ratios.get(quantity, "-") for quantity in quantities))
    return grid


def title(counts: Mapping[str, int]) -> str:
    """How many particles are compared, and why the others are not.

    Args:
        counts: particles, not_found, without_reference, compared.
    """
    return (
        f"{counts['compared']} of {counts['particles']} particles; left out: {counts['not_found']} that the model did "
        f"not find, {counts['without_reference']} without an estimate of the reference"
    )


def _label(quantity: str) -> tuple[str, str]:
    if quantity == "q":
        return "charge accuracy", ""
    return RESOLUTIONS[quantity].label, RESOLUTIONS[quantity].unit


def as_json(rows: Sequence[Row], bins: Mapping[str, Bins], counts: Mapping[str, int], reference: str) -> dict[str, Any]:
    """The comparison as it is stored in `comparison.json`; null stands for undefined.

    Args:
        rows: All tracks.
        bins: By the quantity of the bins.
        counts: Numbers of particles.
        reference: Name of the reference.
    """
    return {
        "definitions": CAPTION,
        "reference": reference,
        "counts": dict(counts),
        "all": _rows_as_json(rows),
        "bins": {
            quantity: [
                {"low": float(low), "high": float(high), "tracks": tracks, **_rows_as_json(own)}
                for low, high, tracks, own in zip(b.edges[:-1], b.edges[1:], b.tracks, b.rows, strict=True)
            ]
            for quantity, b in bins.items()
        },
    }


def _rows_as_json(rows: Sequence[Row]) -> dict[str, Any]:
    def plain(numbers: Mapping[str, Number]) -> dict[str, Any]:
        return {
            name: {key: value if math.isfinite(value) else None for key, value in vars(number).items()}
            for name, number in numbers.items()
        }

    return {
        row.quantity: {
            "what": "charge accuracy" if row.quantity == "q" else "sigma68",
            "unit": _label(row.quantity)[1],
            "values": plain(row.numbers),
            "ratios_to_reference": plain(row.ratios),
        }
        for row in rows
    }

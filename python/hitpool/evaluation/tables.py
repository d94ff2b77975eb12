"""Tables of numbers for the terminal, and their form in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from rich.table import Table

from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.comparison import Bins, Row
from hitpool.evaluation.quantities import RESOLUTIONS

MEASURES = {
    "sigma68": "sigma68",
    "rms": "rms",
    "median": "median",
    "beyond_20": "beyond 20 %",
    "beyond_5_sigma68": "beyond 5 sigma68",
    "to_bound": "residual / bound",
    "to_reference": "sigma68 / reference",
    "pull": "residual / own error",
    "accuracy": "accuracy",
    "efficiency": "efficiency",
    "fake_rate": "fake rate",
    "efficiency_by_hits": "efficiency by hits",
    "fake_rate_by_hits": "fake rate by hits",
    "duplicate_rate": "duplicate rate",
    "hit_efficiency": "hit efficiency",
    "hit_purity": "hit purity",
}
OTHERS = {"q": "charge", "validity": "validity", "finding": "track finding"}
CAPTION = (
    "Residuals: estimate - truth, of q / pT relative to the truth, of phi wrapped, on the same tracks: particles of "
    "which there are all estimates; those of a model are tracks declared valid and matched by its minimal cost. "
    "sigma68: half the width of the central 68.27 %. True hits: the model's estimate when the hits that it pools for "
    "each track are the true ones; its queries and encoded hits are as before. Fit alone: what the model's track fit "
    "gives for its own assignment, without the network that corrects it. Ckf hits and the like: as true hits, with "
    "those of the track that ckf found, and the query to which the model gives most of them. Refit: what ACTS's Kalman "
    "filter gives for the model's assignment. Bound: the smallest standard deviation "
    "that any fit of a track's hits can have (Cramér-Rao; median over the tracks); residual / bound: sigma68 of the "
    "residual of each track in units of its own bound; likewise for the errors that an estimate states. Validity: "
    "efficiency, share of the particles whose track is declared valid; fake rate, share of such tracks without "
    "particle (in bins of the estimated quantity); by hits, the track of a particle is one with more than half of the "
    "hits of both; duplicate, a track with more than half of its hits from a particle of which another one has more. "
    "Errors: 68.27 %, bootstrap over events; of fractions by Clopper and "
    "Pearson, with as many trials as scatter like that bootstrap."
)


def title(compared: int, particles: int, missing: Mapping[str, int]) -> str:
    """How many particles are compared, and which estimates the others lack.

    Args:
        compared: Number of particles with all estimates.
        particles: Number of particles.
        missing: Number of particles without a track, by estimate.
    """
    lacking = ", ".join(f"{number} by {name}" for name, number in missing.items() if number)
    return f"{compared} of {particles} particles" + (f"; not found: {lacking}" if lacking else "")


def table(
    heading: str,
    caption: str,
    names: Sequence[str],
    blocks: Sequence[Sequence[tuple[str, Mapping[str, Number]]]],
) -> Table:
    """Table of numbers, a column for each estimate.

    Args:
        heading: Words above.
        caption: Words below.
        names: Of the estimates.
        blocks: Lines of each section: label and numbers by name of the estimate.
    """
    grid = Table(title=heading, caption=caption, caption_justify="left", title_justify="left")
    grid.add_column("number")
    for name in names:
        grid.add_column(name, justify="right", overflow="fold")
    for block in blocks:
        for label, numbers in block:
            cells = (str(numbers[name]) if name in numbers else "" for name in names)
            grid.add_row(_escaped(label), *cells)
        grid.add_section()
    return grid


def comparison_table(rows: Sequence[Row], heading: str, reference: str | None = None, caption: str = CAPTION) -> Table:
    """Table of all tracks, by quantity.

    Args:
        rows: The rows.
        heading: Words above.
        reference: Name of the reference, if there is one.
        caption: Words below.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.numbers))
    blocks = [
        [(_quantity(own[0]), {}), *((f"  {_measure(row, reference)}", row.numbers) for row in own)]
        for own in (list(group) for _, group in groupby(rows, key=lambda row: row.quantity))
    ]
    return table(heading, caption, names, blocks)


def bins_tables(bins: Bins, heading: str, axis: str, name: str, reference: str | None = None) -> list[Table]:
    """Tables of one estimate in bins: of its resolutions, and of fractions in percent.

    Args:
        bins: The comparison in bins.
        heading: Words above.
        axis: What is binned.
        name: Of the estimate.
        reference: Name of the reference, if there is one.
    """
    present = {(row.quantity, row.measure): row for rows in bins.rows for row in rows if name in row.numbers}
    ratio = next((key for key in ("to_bound", "to_reference") if any(key in k for k in present)), "sigma68")
    parameters = [quantity for quantity, measure in present if measure == "sigma68"]
    resolutions = dict.fromkeys([("qpt", "sigma68"), *((quantity, ratio) for quantity in parameters)])
    fractions = [("qpt", "beyond_20"), ("q", "accuracy"), ("validity", "efficiency"), ("validity", "fake_rate")]
    ranges = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(bins.edges)]
    tables = []
    for keys, factor in ((resolutions, 1), (fractions, 100)):
        shown = [key for key in keys if key in present]
        grid = Table(title=_escaped(heading), title_justify="left")
        grid.add_column(_escaped(axis), no_wrap=True)
        grid.add_column("tracks", justify="right")
        for key in shown:
            row = present[key]
            label = f"{_quantity(row)}: {_measure(row, reference)}" + (" [%]" if factor == 100 else "")
            grid.add_column(_escaped(label), justify="right")
        columns = [[_cell(number, factor) for number in bins.column(*key, name)] for key in shown]
        for cells in zip(ranges, map(str, bins.tracks), *columns, strict=True):
            grid.add_row(*cells)
        tables.append(grid)
    return tables


def _cell(number: Number | None, factor: int) -> str:
    """A number and half the width of its interval, or what stands for none."""
    if number is None or math.isnan(number.value):
        return "-"
    return str(Number.symmetric(factor * number.value, factor * number.error))


def _escaped(label: str) -> str:
    """A label that holds no markup: rich would read [rad] as such."""
    return label.replace("[", r"\[")


def _quantity(row: Row) -> str:
    return row.resolution.label if row.resolution else OTHERS[row.quantity]


def _measure(row: Row, reference: str | None) -> str:
    """Measure with its unit."""
    measure = f"sigma68 / {reference}" if row.measure == "to_reference" else MEASURES[row.measure]
    unit = row.resolution.unit if row.resolution and row.measure in ("sigma68", "rms", "median") else ""
    return f"{measure} [{unit}]" if unit else measure


def as_json(rows: Sequence[Row], bins: Mapping[str, Bins], counts: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison as it is stored; null stands for undefined.

    Args:
        rows: All tracks.
        bins: By the quantity of the bins.
        counts: Numbers of particles, stored as they are.
    """
    return {
        "definitions": CAPTION,
        "units": {quantity: resolution.unit for quantity, resolution in RESOLUTIONS.items()}
        | {row.quantity: row.resolution.unit for row in rows if row.resolution},
        "counts": dict(counts),
        "all": rows_as_json(rows),
        "variables": {quantity: b.unit for quantity, b in bins.items()},
        "bins": {
            quantity: [
                {"low": float(low), "high": float(high), "tracks": tracks, **rows_as_json(own)}
                for low, high, tracks, own in zip(b.edges[:-1], b.edges[1:], b.tracks, b.rows, strict=True)
            ]
            for quantity, b in bins.items()
        },
    }


def rows_as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Numbers as they are stored, by quantity, measure and estimate.

    Args:
        rows: The rows.
    """
    stored: dict[str, Any] = {}
    for row in rows:
        stored.setdefault(row.quantity, {})[row.measure] = {
            name: number_as_json(number) for name, number in row.numbers.items()
        }
    return stored


def number_as_json(number: Number) -> dict[str, float | None]:
    """A number as it is stored; null stands for undefined.

    Args:
        number: The number.
    """
    return {key: value if math.isfinite(value) else None for key, value in vars(number).items()}

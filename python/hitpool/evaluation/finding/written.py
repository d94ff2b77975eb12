"""The comparison of track finding as tables, words and `finding.json`."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.finding.comparison import Finding
from hitpool.evaluation.tables import as_json, comparison_table, rows_as_json, table
from hitpool.evaluation.variables import word
from hitpool.files import write_text

NAME = "finding.json"
CAPTION = (
    "Of a model, a track is a query that it declares valid, with the hits that it assigns to it, whatever the matching "
    "of the training says; of the others, each track of the file beside the data. A track and a particle belong "
    "together if more than half of the hits of the track are the particle's and more than half of the hits of the "
    "particle are in the track. Efficiency: share of the particles with a track; fake rate: share of the tracks "
    "without a particle; duplicate rate: share of the tracks whose particle has a better one, with more of its hits. "
    "Hits of particles that are not in the table of tracks belong to none, so that a track of such a particle is a "
    "fake; so is a track without hits. Hit efficiency and purity: of the best track of each found particle, summed "
    "over hits. In bins: efficiency and hits of the true variable, fakes and duplicates of that of the track itself. "
    "Errors: 68.27 %, of fractions by Clopper and Pearson, with as many trials as scatter like a bootstrap over events."
)
RESOLUTIONS = (
    "Residuals: estimate - truth, of q / pT and q / p relative to the truth, of phi wrapped, of the best track of each "
    "particle (more than half of the hits of both). sigma68: half the width of the central 68.27 %; residual / own "
    "error: likewise, in units of the errors that the estimate states. Errors: bootstrap over events."
)
TIMES = (
    "CPU time on one core. Model: from hits in memory to tracks, without reading and input features, measured now on "
    "this machine; the others: as the metadata of the data set say it, on the machine that made it."
)


def finding_tables(finding: Finding) -> list[Table]:
    """Tables of the whole comparison, the first ones those of all tracks.

    Args:
        finding: The comparison.
    """
    counts, names = finding.counts, list(finding.rows[0].numbers)
    heading = f"Track finding: {counts['particles']} particles in {counts['events']} events"
    common = f"{counts['compared']} particles of which there are all estimates"
    tables = [comparison_table(finding.rows, heading, caption=CAPTION)]
    if finding.common:
        tables.append(comparison_table(finding.common, common, finding.reference, RESOLUTIONS))
    if finding.each:
        tables.append(comparison_table(finding.each, "All particles that each estimate has", None, RESOLUTIONS))
    tables.append(_times(finding, names))
    for variable, bins in finding.bins.items():
        axis = word(variable, bins.unit)
        tables.append(_in_bins(finding, variable, f"Track finding [%], in bins of {axis}", axis))
    return tables


def _times(finding: Finding, names: list[str]) -> Table:
    def line(label: str, numbers: dict[str, float]) -> tuple[str, dict[str, Number]]:
        return label, {name: Number(round(own, 3), float("nan"), float("nan")) for name, own in numbers.items()}

    sizes = ", ".join(dict.fromkeys(str(own.batch_size) for own in finding.model_times.values()))
    batched = {name: own.batched for name, own in finding.model_times.items()} | finding.reference_times
    single = {name: own.single for name, own in finding.model_times.items()} | finding.reference_times
    lines = [line(f"ms per event, model in batches of {sizes}", batched), line("ms per event, one at a time", single)]
    lines += [
        line("events per second, " + which, {name: 1e3 / own for name, own in times.items()})
        for which, times in ((f"model in batches of {sizes}", batched), ("one at a time", single))
    ]
    return table("Time", TIMES, [name for name in names if name in batched], [lines])


def _in_bins(finding: Finding, variable: str, heading: str, axis: str) -> Table:
    bins = finding.bins[variable]
    measures = {"efficiency": "efficiency", "fake_rate": "fake rate", "duplicate_rate": "duplicate rate"}
    columns = {
        f"{label}, {name}": bins.column("finding", measure, name)
        for measure, label in measures.items()
        for name in finding.rows[0].numbers
    }
    columns = {label: own for label, own in columns.items() if any(own)}
    lines = [
        (
            f"{low:.4g} to {high:.4g} ({number} particles)",
            {label: _percent(own[i]) for label, own in columns.items()},
        )
        for i, ((low, high), number) in enumerate(zip(pairwise(bins.edges), bins.tracks, strict=True))
    ]
    grid = table(heading, "", list(columns), [lines])
    grid.columns[0].header = axis.replace("[", r"\[")
    return grid


def _percent(number: Number | None) -> Number:
    own = number or Number(float("nan"), float("nan"), float("nan"))
    return Number(100 * own.value, 100 * own.low, 100 * own.high)


def summary(finding: Finding) -> list[str]:
    """How fast each model is beside the others, a line each.

    Args:
        finding: The comparison.
    """
    lines = []
    for name, own in finding.model_times.items():
        for other, milliseconds in finding.reference_times.items():
            ratios = " and ".join(f"{milliseconds / mine:.3g}" for mine in (own.batched, own.single))
            lines.append(
                f"{name}: {own.batched:.3g} ms per event on one core in batches of {own.batch_size}, {own.single:.3g} "
                f"ms one at a time; {other}: {milliseconds:.3g} ms; the model does {ratios} times as many events per "
                "second"
            )
    return lines


def show_finding(finding: Finding, folder: Path) -> list[Table]:
    """Writes the comparison, and prints the tables of all tracks and how fast the models are.

    Args:
        finding: The comparison.
        folder: Where the file goes.

    Returns:
        All tables.
    """
    write_finding(folder, finding)
    tables, console = finding_tables(finding), Console()
    for grid in tables[: len(tables) - len(finding.bins)]:
        console.print(grid)
    for line in summary(finding):
        print(line)
    return tables


def write_finding(folder: Path, finding: Finding) -> None:
    """Writes the comparison as `NAME`.

    Args:
        folder: Where the file goes.
        finding: The comparison.
    """
    stored: dict[str, Any] = as_json([*finding.rows, *finding.common], finding.bins, finding.counts)
    stored["definitions"] = " ".join((CAPTION, RESOLUTIONS, TIMES))
    stored["units"] |= {row.quantity: row.resolution.unit for row in finding.each if row.resolution}
    stored["each"] = rows_as_json(finding.each)
    stored["milliseconds_per_event"] = {
        name: asdict(own) for name, own in finding.model_times.items()
    } | finding.reference_times
    write_text(folder / NAME, json.dumps(stored, indent=2, allow_nan=False) + "\n")

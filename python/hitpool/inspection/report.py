"""What was found in a data set: tables for the terminal, numbers for JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from hitpool.inspection.findings import Severity
from hitpool.inspection.scan import Scan
from hitpool.inspection.statistics import ColumnStatistics, Counts
from hitpool.muon import TECHNOLOGIES, TECHNOLOGY

COLOURS = {Severity.ERROR: "bold red", Severity.DEFECT: "yellow", Severity.REMARK: "dim"}
QUANTILES = (0.05, 0.5, 0.95)


def tables(scan: Scan) -> list[Table]:
    """Shows events, columns, technologies and findings.

    Args:
        scan: What was found.

    Returns:
        The tables, in this order; without technologies if there is no such column.
    """
    result = [_events(scan), _columns("hits", scan.hits), _columns("tracks", scan.tracks, _quantiles(scan))]
    if scan.technologies:
        result.append(_technologies(scan))
    return [*result, _findings(scan)]


def as_json(scan: Scan) -> dict[str, Any]:
    """Gives all numbers.

    Args:
        scan: What was found.

    Returns:
        What `json.dumps(..., allow_nan=False)` can write; None where there is no number.
    """
    hits, true_hits = scan.hits.count, scan.true_hits if scan.truth_link is not None else None
    quantiles = _quantiles(scan)
    return {
        "directory": str(scan.index.directory),
        "events": len(scan.index),
        "events_read": scan.hits_per_event.total,
        "files": len(scan.index.files),
        "readable": scan.findings.readable,
        "hits": hits,
        "tracks": scan.tracks.count,
        "true_hits": true_hits,
        "hits_per_event": _counts_json(scan.hits_per_event),
        "tracks_per_event": _counts_json(scan.tracks_per_event),
        "hits_per_track": _counts_json(scan.hits_per_track),
        "hit_columns": _columns_json(scan.hits),
        "track_columns": _columns_json(scan.tracks, quantiles),
        "technologies": {f"{value:g}": list(numbers) for value, numbers in sorted(scan.technologies.items())},
        "findings": [
            {"severity": str(f.severity), "kind": f.kind, "number": f.number, "example": f.example}
            for f in scan.findings.sorted()
        ],
    }


def technology_name(scan: Scan, value: float) -> str:
    """Name of a technology, where the code is that of the ATLAS muon studies; otherwise its number."""
    known = TECHNOLOGIES if scan.technology == TECHNOLOGY else {}
    return known.get(int(value), f"{value:g}")


def _table(first: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    return table


def _events(scan: Scan) -> Table:
    table = _table("quantity", escape(str(scan.index.directory)))
    for name in ("total", "mean", "min", "5 %", "median", "95 %", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("files", f"{len(scan.index.files):,}")
    table.add_row("events", f"{len(scan.index):,}")
    for name, counts, total in (
        ("hits per event", scan.hits_per_event, scan.hits.count),
        ("tracks per event", scan.tracks_per_event, scan.tracks.count),
        ("true hits per track", scan.hits_per_track, scan.true_hits),
    ):
        if counts.total:
            quantiles = [f"{counts.quantile(share)}" for share in (0.0, *QUANTILES, 1.0)]
            table.add_row(name, f"{total:,}", f"{counts.mean:.2f}", *quantiles)
    if scan.truth_link is not None and scan.hits.count:
        table.add_row("share of true hits", f"{scan.true_hits / scan.hits.count:.2%}")
    return table


def _columns(title: str, statistics: ColumnStatistics, quantiles: np.ndarray | None = None) -> Table:
    table = _table("column", f"{title}: {statistics.count:,}")
    shares = [] if quantiles is None else [f"{share:.0%}".replace("%", " %") for share in QUANTILES]
    for name in ("min", *shares, "max", "mean", "sd", "NaN, Inf", "expected", "outside"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, name in enumerate(statistics.names):
        within = [] if quantiles is None else [_number(value) for value in quantiles[:, i]]
        low, high = statistics.expected[i]
        known = math.isfinite(low) or math.isfinite(high)
        table.add_row(
            escape(name),
            _number(statistics.low[i]),
            *within,
            _number(statistics.high[i]),
            _number(statistics.mean[i]),
            _number(statistics.sd[i]),
            f"{statistics.not_finite[i]:,}" if statistics.not_finite[i] else "",
            f"{low:.4g} to {high:.4g}" if known else "",
            f"{statistics.outside[i]:,}" if statistics.outside[i] else "",
        )
    return table


def _technologies(scan: Scan) -> Table:
    assert scan.technology is not None  # else there are no codes
    table = _table(scan.technology, "technologies")
    numbers = np.array(list(scan.technologies.values()))
    names = ["share of hits"] + ["share of true hits"] * (scan.truth_link is not None)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for value, values in sorted(scan.technologies.items()):
        shares = np.array(values) / np.maximum(numbers.sum(0), 1)
        table.add_row(technology_name(scan, value), *(f"{share:.1%}" for share in shares[: len(names)]))
    return table


def _findings(scan: Scan) -> Table:
    table = _table("", "findings")
    table.add_column("finding")
    table.add_column("number", justify="right")
    table.add_column("first example", overflow="fold")
    for finding in scan.findings.sorted():
        colour = COLOURS[finding.severity]
        kind, example = escape(finding.kind), escape(finding.example)
        table.add_row(f"[{colour}]{finding.severity}[/]", kind, f"{finding.number:,}", example)
    if not scan.findings:
        table.add_row("", "none", "", "")
    return table


def _quantiles(scan: Scan) -> np.ndarray:
    """Of the track columns, from the sample, [3, T]; NaN where no value is finite."""
    rows = scan.sample.rows.astype(np.float64)
    result = np.full((len(QUANTILES), rows.shape[1]), np.nan)
    for column, values in enumerate(rows.T):
        finite = values[np.isfinite(values)]
        if len(finite):
            result[:, column] = np.quantile(finite, QUANTILES)
    return result


def _columns_json(statistics: ColumnStatistics, quantiles: np.ndarray | None = None) -> dict[str, Any]:
    result: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(statistics.names):
        result[name] = {
            "min": _or_none(statistics.low[i]),
            "max": _or_none(statistics.high[i]),
            "mean": _or_none(statistics.mean[i]),
            "sd": _or_none(statistics.sd[i]),
            "not_finite": int(statistics.not_finite[i]),
            "expected": [_or_none(limit) for limit in statistics.expected[i]],
            "outside": int(statistics.outside[i]),
        }
        if quantiles is not None:
            shares = zip(QUANTILES, quantiles[:, i], strict=True)
            result[name]["quantiles"] = {str(share): _or_none(value) for share, value in shares}
    return result


def _counts_json(counts: Counts) -> dict[str, Any]:
    return {
        "mean": _or_none(counts.mean),
        "quantiles": {str(share): counts.quantile(share) for share in (0.0, *QUANTILES, 1.0)},
        "histogram": counts.histogram.tolist(),
    }


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None

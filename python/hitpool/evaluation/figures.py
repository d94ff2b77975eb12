"""All plots of the tracks of a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from hitpool.evaluation.comparison import Bins, residuals
from hitpool.evaluation.confusion import confusions, plot_confusion
from hitpool.evaluation.learning import plot_curves, read_curves
from hitpool.evaluation.plots import FRACTIONS, plot_fraction, plot_pulls, plot_residuals, plot_resolution, save
from hitpool.evaluation.tracks import Tracks
from hitpool.evaluation.variables import word

LEAST_TRACKS = 100  # for plots against a variable
AXES = {"pt": r"($p_\mathrm{T}$ $-$ true) / true", "qpt": r"($q / p_\mathrm{T}$ $-$ true) / true"}


def histograms(tracks: Tracks, source: str) -> Iterator[tuple[str, Figure]]:
    """Residuals and pulls of each parameter.

    Args:
        tracks: The estimates.
        source: Words above the axes, where the tracks come from.

    Yields:
        Name and figure.
    """
    chosen = tracks.compared
    for quantity, own in residuals(tracks, chosen).items():
        resolution = tracks.resolution(quantity)
        axis = AXES.get(quantity) or (resolution.axis if resolution.relative else f"{resolution.axis} $-$ true")
        yield f"residual_{quantity}", plot_residuals(own, axis, source, resolution.unit)
        errors = {name: tracks.estimates[name].errors.get(quantity) for name in own}
        if pulls := {name: own[name] / error[chosen] for name, error in errors.items() if error is not None}:
            yield f"pull_{quantity}", plot_pulls(pulls, resolution.axis, source)


def of_hits_and_training(tracks: Tracks, metrics: Path, source: str) -> Iterator[tuple[str, Figure]]:
    """Confusion of the hit assignment, and learning curves.

    Args:
        tracks: The estimates.
        metrics: The metrics.csv of the training; it need not exist.
        source: Words above the axes, where the tracks come from.

    Yields:
        Name and figure.
    """
    if counts := confusions(tracks):
        yield "hit_confusion", plot_confusion(counts, source)
    if metrics.is_file() and (curves := read_curves(metrics)):
        run = metrics.absolute().parent
        yield "learning_curves", plot_curves(curves, f"{run.parent.name}/{run.name}")


def against_variable(
    bins: Bins, against: str, source: str, reference: str | None = None
) -> Iterator[tuple[str, Figure]]:
    """Resolutions, medians and pulls of parameters, charge misidentification and validity.

    Args:
        bins: The comparison in bins.
        against: Their variable.
        source: Words above the axes, where the tracks come from.
        reference: Name of the reference, if there is one.

    Yields:
        Name and figure.
    """
    rows = [row for rows in bins.rows for row in rows]
    present = {(row.quantity, row.measure) for row in rows}
    parameters = dict.fromkeys(row.quantity for row in rows if row.resolution)
    for quantity in parameters:
        yield f"{quantity}_resolution_{against}", plot_resolution(bins, against, quantity, source, reference)
    kinds = [kind for kind, (quantity, measures, _) in FRACTIONS.items() if (quantity, next(iter(measures))) in present]
    kinds += [f"{q}_{measure}" for q in parameters for measure in ("median", "pull") if (q, measure) in present]
    for kind in kinds:
        yield f"{kind}_{against}", plot_fraction(bins, against, kind, source, reference)


def draw_all(
    tracks: Tracks, bins: Mapping[str, Bins], folder: Path, metrics: Path, source: str, reference: str | None = None
) -> dict[str, list[Path]]:
    """Draws everything, each plot as PNG and as PDF; against variables only with enough tracks.

    Args:
        tracks: The estimates.
        bins: The comparison in bins, by variable.
        folder: Where the files go.
        metrics: The metrics.csv of the training; it need not exist.
        source: Words above the axes, where the tracks come from.
        reference: Name of the reference, if there is one.

    Returns:
        The PNG files by heading.
    """
    drawn = {"Residuals and pulls": histograms(tracks, source)}
    drawn["Hits and training"] = of_hits_and_training(tracks, metrics, source)
    for against, own in bins.items():
        if sum(own.tracks) < LEAST_TRACKS:
            continue
        drawn[f"Against {word(against)}"] = against_variable(own, against, source, reference)
    return {heading: [_save(*named, folder) for named in figures] for heading, figures in drawn.items()}


def draw_finding(bins: Mapping[str, Bins], folder: Path, source: str, reference: str) -> dict[str, list[Path]]:
    """Draws efficiency, fakes and duplicates of found tracks against variables; only with enough particles.

    Args:
        bins: The comparison in bins, by variable, see `hitpool.evaluation.finding`.
        folder: Where the files go.
        source: Words above the axes, where the tracks come from.
        reference: Name of the reference.

    Returns:
        The PNG files by heading.
    """
    figures = [
        _save(*named, folder)
        for against, own in bins.items()
        if sum(own.tracks) >= LEAST_TRACKS
        for named in against_variable(own, against, source, reference)
    ]
    return {"Track finding": figures}


def _save(name: str, figure: Figure, folder: Path) -> Path:
    save(figure, folder / f"{name}.pdf")
    return save(figure, folder / f"{name}.png")

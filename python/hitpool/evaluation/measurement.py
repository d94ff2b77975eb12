"""Trained models on a data set, beside each other, another estimate and the physical limit."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.table import Table

from hitpool.config import Objects, load_checkpoint
from hitpool.configuration import set_matmul_precision
from hitpool.data import EventDataset, HitDataModule
from hitpool.evaluation.bound import bound_of_data_set
from hitpool.evaluation.collector import ParameterCollector, has_parameters, regression
from hitpool.evaluation.comparison import Bins
from hitpool.evaluation.figures import draw_all, draw_finding
from hitpool.evaluation.finding.comparison import Finding, compare_finding, finders, name_of
from hitpool.evaluation.finding.written import NAME as FINDING
from hitpool.evaluation.finding.written import show_finding
from hitpool.evaluation.found_hits import FoundHits
from hitpool.evaluation.in_bins import measure_in_bins
from hitpool.evaluation.page import write_page
from hitpool.evaluation.quantities import derivable
from hitpool.evaluation.reference import read_reference, reference_estimate
from hitpool.evaluation.refit import Refit
from hitpool.evaluation.report import TestReport
from hitpool.evaluation.resolution_file import NAME, write_resolution
from hitpool.evaluation.tables import bins_tables, comparison_table, title
from hitpool.evaluation.tracks import BOUND, MODEL, REFIT, Tracks, side_by_side
from hitpool.evaluation.variables import word
from hitpool.files import check_writable, data_set_name
from hitpool.training import runs as training_runs
from hitpool.training.progress import progress_bar, say
from hitpool.training.threads import Threads

PRINTED = 4  # tables of bins of a model in the terminal: two each of the first two variables; the page has all


def measure(
    checkpoint: Path,
    data: Path | None,
    references: Sequence[str],
    output: Path | None,
    label: str | None,
    threads: int | None,
    runs: Sequence[Path],
    trust: bool,
    hit_eval: Path | None,
    refit: bool,
) -> None:
    """Does what `hitpool.evaluation.command.evaluate` says, which describes the arguments.

    Raises:
        FileNotFoundError: If a checkpoint, its configuration or the data do not exist.
        ValueError: If the data have no such reference, or nothing can be compared.
    """
    objects = load_checkpoint(checkpoint, trust)
    set_matmul_precision(objects.config)
    _take_data(objects.datamodule, data, hit_eval)
    output = output or _run_directory(checkpoint) / "evaluation"
    report = _report(objects)
    report.label = label or (report.label if data is None else None)
    report.run = _run_directory(checkpoint)
    checkpoints = [checkpoint, *map(_checkpoint, runs)]
    names, others = _names(checkpoints), _other_models(checkpoints[1:], objects, trust)
    if not (others or references or refit or has_parameters(objects.model.model)):
        _test(objects, [report], output, threads)
        return
    report.draws = False
    dataset = objects.datamodule.dataset("test")
    index = dataset.index
    found = {name: FoundHits(dataset, name) for name in finders(index, references)}
    collector = ParameterCollector(objects.model.model, others=not others, found=found)
    stored = {prefix: read_reference(dataset, prefix) for prefix in references}
    for prefix, (values, _) in stored.items():
        if not derivable(values) & derivable(collector.fields):
            raise ValueError(f"nothing to compare: the model has {sorted(collector.fields)}, {prefix} {sorted(values)}")
    fits = _refit(dataset, collector, bool(others)) if refit else None
    finding: Finding | None = None
    if found:
        models = dict(zip(names if others else [MODEL], [objects, *others], strict=True))
        finding = compare_finding(models, references, lambda model, own: _predict(model, own, output, threads))
    callbacks = [collector] if others or references else [report, collector]
    _test(objects, [*callbacks, *([fits] if fits else [])], output, threads)
    tracks = collector.tracks
    if others:
        collected = [tracks]
        for model in others:
            _test(model, [collector := ParameterCollector(model.model.model, others=False)], output, threads)
            collected.append(collector.tracks)
        tracks = side_by_side(dict(zip(names, collected, strict=True)))
    for prefix, own in stored.items():
        tracks = tracks.with_estimate(name_of(prefix), reference_estimate(*own, tracks))
    if fits:
        say(f"fit by ACTS: failed for {fits.failed} of {fits.tried} tracks")
        tracks = tracks.with_estimate(REFIT, fits.estimate(tracks))
    reference = name_of(references[0]) if references else None
    bound = bound_of_data_set(index.generator, tracks)
    if bound is not None:
        tracks = tracks.with_estimate(BOUND, bound)
    source = report.label or data_set_name(index.directory)
    tables, bins = _tables(tracks, reference, output)
    drawn = draw_all(tracks, bins, output / "plots", report.run / "metrics.csv", source, reference)
    tables = [*([report.table] if report.table else []), *tables]
    written = [NAME]
    if finding is not None:
        tables = [*show_finding(finding, output), *tables]
        drawn = draw_finding(finding.bins, output / "plots", source, finding.reference) | drawn
        written.append(FINDING)
    settings = yaml.safe_dump(objects.config, sort_keys=False)
    page = write_page(output / "index.html", f"Evaluation of {checkpoint}", source, tables, drawn, settings)
    number = sum(map(len, drawn.values()))
    print(f"written to {output}: {', '.join(written)}, {page.name}, plots ({number}, as PNG and PDF)")


def _take_data(source: HitDataModule, data: Path | None, hit_eval: Path | None) -> None:
    """Sets the test data, and says if they are not filtered although the training was."""
    if data is not None:
        source.test_on(data, hit_eval)
        if source.hit_eval_train is not None and source.hit_eval_test is None:
            say(f"warning: the model was trained with filtered hits, {data} has all: name --hit_eval", sys.stderr)
    elif hit_eval is not None:
        source.hit_eval_test = hit_eval


def _checkpoint(run: Path) -> Path:
    """The checkpoint that an entry of `--compare` means.

    Raises:
        FileNotFoundError: If it does not exist.
    """
    path = run / "ckpts" / "best.ckpt" if run.is_dir() else run
    if path.is_file():
        return path
    below = sorted(str(found.parents[1]) for depth in ("*", "*/*") for found in run.glob(f"{depth}/ckpts/best.ckpt"))
    there = f"below it are {', '.join(below)}" if below else f"there is no {path}"
    raise FileNotFoundError(
        f"--compare {run}: expected a run directory, such as runs/muon/version_0, or a checkpoint; {there}"
    )


def _run_directory(checkpoint: Path) -> Path:
    """Directory of the run of a checkpoint; of one that was moved, its folder."""
    path = Path(checkpoint).resolve()
    return training_runs.of_checkpoint(path) or path.parent


def _names(checkpoints: Sequence[Path]) -> list[str]:
    """Names of models: their run directories, or their files if two are of one run, without what all have in common.

    Raises:
        ValueError: If two are the same checkpoint.
    """
    places = [_run_directory(checkpoint) for checkpoint in checkpoints]
    if len(set(places)) < len(places):
        places = [Path(checkpoint).resolve().with_suffix("") for checkpoint in checkpoints]
    if len(set(places)) < len(places):
        raise ValueError(f"checkpoints to compare: {', '.join(map(str, checkpoints))} are not all different")
    common = Path(os.path.commonpath(places))
    return [str(place.relative_to(common)) for place in places]


def _other_models(checkpoints: Sequence[Path], objects: Objects, trust: bool) -> list[Objects]:
    """Further models, set to the test data of the first one."""
    models = [load_checkpoint(checkpoint, trust) for checkpoint in checkpoints]
    for model in models:
        for setting in ("test_dir", "num_test", "seed", "hit_eval_test", "hit_filter_threshold"):
            setattr(model.datamodule, setting, getattr(objects.datamodule, setting))
    return models


def _refit(dataset: EventDataset, collector: ParameterCollector, others: bool) -> Refit:
    """Fits the hits of the tracks by ACTS.

    Raises:
        ValueError: If there are several models, or the data or the model are not of that kind.
    """
    if others:
        raise ValueError("--refit is for the tracks of one model: leave out --compare")
    return Refit(dataset, collector.track, collector.particle, collector.hit, collector.fields)


def _test(objects: Objects, callbacks: list[Callback], output: Path, threads: int | None) -> None:
    check_writable(output)
    _trainer(objects, callbacks, output, threads).test(objects.model, objects.datamodule, verbose=False)


def _predict(objects: Objects, callbacks: list[Callback], output: Path, threads: int | None) -> None:
    check_writable(output)
    trainer = _trainer(objects, callbacks, output, threads)
    trainer.predict(objects.model, objects.datamodule, return_predictions=False)


def _trainer(objects: Objects, callbacks: list[Callback], output: Path, threads: int | None) -> Trainer:
    return Trainer(
        devices=1,
        precision=objects.config["trainer"].get("precision"),
        callbacks=[*callbacks, progress_bar(), Threads(threads)],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=output,
    )


def _report(objects: Objects) -> TestReport:
    """The report that the configuration asks for, or one with the names of the model."""
    given = objects.config["trainer"].get("callbacks") or []
    for callback in given if isinstance(given, list) else [given]:
        if callback["class_path"] == "hitpool.evaluation.TestReport":
            return TestReport(**callback.get("init_args", {}))
    network = objects.model.model
    return TestReport(regression(network).output_object, network.target_object, network.input_name)


def _tables(tracks: Tracks, reference: str | None, output: Path) -> tuple[list[Table], dict[str, Bins]]:
    """Prints the tables, the bins of two variables; writes `resolution.json`."""
    bins = measure_in_bins(tracks, reference)
    rows = write_resolution(output, tracks, bins, reference)
    heading = title(int(tracks.compared.sum()), int(tracks.particle.sum()), tracks.missing)
    tables = [comparison_table(rows, heading, reference)]
    for variable, own in bins.items():
        for name in (name for name, estimate in tracks.estimates.items() if estimate.decides):
            axis = word(variable, own.unit)
            tables += bins_tables(own, f"{name}, in bins of {axis} (true; of fakes estimated)", axis, name, reference)
    console = Console()
    for table in tables[: 1 + PRINTED * sum(estimate.decides for estimate in tracks.estimates.values())]:
        console.print(table)
    return tables, bins

"""What the tests of runs have written, and which runs differ only in their seeds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hitpool.evaluation.bootstrap import Number
from hitpool.evaluation.learning import Curve, read_curves
from hitpool.evaluation.quantities import RESOLUTIONS
from hitpool.evaluation.tables import MEASURES, OTHERS
from hitpool.evaluation.tracks import MODEL

FURTHER = ("sigma68", "to_bound", "pull", "beyond_20")  # measures of an evaluation that the table of a test lacks
ONLY_SEED = ("seed_everything", "data.seed", "name", "runs", "threads")
Point = tuple[str, str, str]  # variable of the bins, quantity, measure


@dataclass(frozen=True)
class Line:
    """A number of a test.

    Args:
        label: What the table shows.
        unit: Its unit, empty if it has none.
    """

    label: str
    unit: str


@dataclass
class Measured:
    """The numbers of a run, or of several that differ only in their seeds.

    Args:
        label: What tables and plots call it.
        runs: Number of runs.
        numbers: By line of the table.
        edges: Bin edges by variable.
        variables: Unit of each of them, empty if there is none or it is not known.
        bins: Numbers in bins, NaN where there is none.
        curves: Learning curves of each run, by name of the metric.
    """

    label: str
    runs: int = 1
    numbers: dict[Line, Number] = field(default_factory=dict)
    edges: dict[str, list[float]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    bins: dict[Point, list[Number]] = field(default_factory=dict)
    curves: list[dict[str, Curve]] = field(default_factory=list)


@dataclass(frozen=True)
class TestedRun:
    """A run directory with what its tests have written.

    Args:
        path: The directory.
        settings: Its configuration without what only tells runs of one setting apart; None if there is none.
        events: What was tested, by file: numbers of events and particles.
        measured: Its numbers.
        units: Unit by quantity.
    """

    __test__ = False  # not a test class of pytest

    path: Path
    settings: dict[str, Any] | None
    events: dict[str, dict[str, int]]
    measured: Measured
    units: dict[str, str]


def read_run(path: Path) -> TestedRun:
    """Reads `results.json`, `resolution.json`, `config.yaml` and `metrics.csv` of a run.

    An evaluation has measured more than the test, so its `resolution.json` is taken if there is one.

    Args:
        path: Run directory.

    Raises:
        FileNotFoundError: If it is not a run directory.
        ValueError: If the run has not been tested, or a file is damaged.
    """
    places = {"results.json": (path, path / "evaluation"), "resolution.json": (path / "evaluation", path)}
    found = {
        name: next((folder / name for folder in folders if (folder / name).is_file()), None)
        for name, folders in places.items()
    }
    if not any(found.values()):
        if (path / "config.yaml").is_file() or (path / "ckpts").is_dir():
            checkpoint = path / "ckpts" / "best.ckpt"
            raise ValueError(
                f"{path} has not been tested: expected its results.json or evaluation/resolution.json; "
                f"'hitpool evaluate --checkpoint {checkpoint}' writes both"
            )
        below = sorted(str(run) for run in path.glob("**/version_*") if run.is_dir())
        there = f"below it are {', '.join(below)}" if below else "there is none"
        raise FileNotFoundError(f"{path}: expected a run directory, such as runs/muon/version_0; {there}")
    measured, events, units, known = Measured(""), {}, {}, set()
    if file := found["results.json"]:
        results = _read_json(file)
        events["results.json"] = {key: results[key] for key in ("events", "particles")}
        for own in results["results"].values():
            measured.numbers[Line(own["label"], own["unit"])] = _number(own)
        known = set(results["results"])
    if file := found["resolution.json"]:
        resolution = _read_json(file)
        events["resolution.json"] = {"particles": resolution["counts"]["particles"]}
        units = resolution["units"]
        _add_evaluation(measured, resolution, known)
    if (path / "metrics.csv").is_file():
        measured.curves.append(read_curves(path / "metrics.csv"))
    config = path / "config.yaml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else None
    return TestedRun(path, settings and _without_seeds(settings), events, measured, units)


def group(runs: Sequence[TestedRun]) -> list[Measured]:
    """Merges runs that differ only in their seeds.

    Args:
        runs: At least two.

    Returns:
        The settings in their order, each with its label. Numbers of several runs are their mean and their standard
        deviation (ddof 1).

    Raises:
        ValueError: If a run is named twice, or the runs were tested on different events.
    """
    paths = [run.path.resolve() for run in runs]
    if len(runs) < 2 or len(set(paths)) < len(paths):
        raise ValueError(f"expected at least two different runs, got {', '.join(str(run.path) for run in runs)}")
    for run in runs[1:]:
        _check_same_events(runs[0], run)
    groups: list[list[TestedRun]] = []
    for run in runs:
        same = (own for own in groups if run.settings is not None and own[0].settings == run.settings)
        if (found := next(same, None)) is not None:
            found.append(run)
        else:
            groups.append([run])
    common = os.path.commonpath(paths)
    return [_merged(own, common) for own in groups]


def _merged(runs: Sequence[TestedRun], common: str) -> Measured:
    """The numbers of runs of one setting; those that all of them have."""
    names = [os.path.relpath(run.path.resolve(), common) for run in runs]
    first = runs[0].measured
    if len(runs) == 1:
        first.label = names[0]
        return first
    shared = os.path.commonpath(names)
    others = [run.measured for run in runs[1:]]
    return Measured(
        f"{shared or Path(common).name} (n = {len(runs)})",
        len(runs),
        {
            line: _mean([number, *(own.numbers[line] for own in others)])
            for line, number in first.numbers.items()
            if all(line in own.numbers for own in others)
        },
        first.edges,
        first.variables,
        {
            point: [_mean(list(same)) for same in zip(numbers, *(own.bins[point] for own in others), strict=True)]
            for point, numbers in first.bins.items()
            if all(point in own.bins for own in others)
        },
        [curves for run in runs for curves in run.measured.curves],
    )


def _mean(numbers: list[Number]) -> Number:
    values = np.array([number.value for number in numbers])
    return Number.symmetric(float(values.mean()), float(values.std(ddof=1)))


def _check_same_events(first: TestedRun, run: TestedRun) -> None:
    for name in first.events:
        if first.events[name] != run.events.get(name, first.events[name]):
            there, here = (_counts(own.events[name]) for own in (first, run))
            raise ValueError(
                f"{run.path} was tested on other events than {first.path}: {name} has {here}, expected {there}; "
                "'hitpool evaluate --data FOLDER' tests both on the same ones"
            )
    edges, own = first.measured.edges, run.measured.edges
    for variable in edges:
        if edges[variable] != own.get(variable, edges[variable]):
            raise ValueError(
                f"{run.path} was evaluated on other events than {first.path}: its bins of {variable} are "
                f"{own[variable]}, expected {edges[variable]}"
            )


def _counts(events: dict[str, int]) -> str:
    return " and ".join(f"{number} {what}" for what, number in events.items())


def _add_evaluation(measured: Measured, resolution: dict[str, Any], known: set[str]) -> None:
    """Adds what an evaluation says of the model; not again what the table of the test says."""
    for quantity, measures in resolution["all"].items():
        for measure, named in measures.items():
            name = f"{'charge' if quantity == 'q' else quantity}_{measure}"
            if measure in FURTHER and name not in known and MODEL in named:
                unit = resolution["units"].get(quantity, "") if measure == "sigma68" else ""
                measured.numbers[Line(f"{label_of(quantity)}: {MEASURES[measure]}", unit)] = _number(named[MODEL])
    for variable, bins in resolution["bins"].items():
        measured.variables[variable] = resolution.get("variables", {}).get(variable, "")
        measured.edges[variable] = [bins[0]["low"], *(own["high"] for own in bins)]
        points = {
            (quantity, measure)
            for own in bins
            for quantity, measures in own.items()
            if isinstance(measures, dict)
            for measure, named in measures.items()
            if MODEL in named
        }
        for quantity, measure in sorted(points):
            numbers = [own.get(quantity, {}).get(measure, {}).get(MODEL) for own in bins]
            measured.bins[variable, quantity, measure] = [_number(number or {}) for number in numbers]


def label_of(quantity: str) -> str:
    """What tables call a quantity.

    Args:
        quantity: As in `resolution.json`.
    """
    return RESOLUTIONS[quantity].label if quantity in RESOLUTIONS else OTHERS.get(quantity, quantity)


def _number(stored: dict[str, float | None]) -> Number:
    """A number as it was stored, where null stands for undefined."""
    values = (stored.get(key) for key in ("value", "low", "high"))
    return Number(*(math.nan if value is None else value for value in values))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object, got {type(content).__name__}")
    return content


def _without_seeds(settings: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in settings.items() if key not in ONLY_SEED}
    if isinstance(kept.get("data"), dict):
        kept["data"] = {key: value for key, value in kept["data"].items() if f"data.{key}" not in ONLY_SEED}
    return kept

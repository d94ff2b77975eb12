"""The table of results: each number with its uncertainty and next to that of the trivial predictor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.table import Table

from hitpool.evaluation import assignment, residuals
from hitpool.evaluation.number import Number
from hitpool.evaluation.parameter_fields import ParameterFields
from hitpool.evaluation.tracks import EventTracks

CAPTION = (
    "Matching of tracks to particles is the only use of truth besides the comparison itself: in the first "
    "block by the model's minimal assignment cost (Hungarian), in the second by hits alone (more than half "
    "of the hits of the particle and of the track are shared), so that slots do not matter. Hit efficiency, "
    "charge and residuals: particles whose matched track is declared valid. Hit purity: all tracks declared "
    "valid, fakes included. sigma68: half the width of the central 68.27 % of the residuals; phi residuals "
    "are wrapped. Errors: 68.27 %; of fractions by Clopper and Pearson, with as many trials as scatter like a "
    "bootstrap over events, of the others by that bootstrap. Trivial predictor: parameters are the mean over the "
    "training set (charge: the sign of the mean), on the same tracks; validity and hit assignment accept "
    "every slot and every hit, since a constant probability accepts all or nothing, and nothing leaves "
    "purity and fake rate undefined."
)


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Args:
        name: Key in the JSON file.
        label: What is shown.
        unit: Unit, empty for fractions and relative numbers.
        value: The number for the model; NaN if it is undefined.
        low: Lower limit of its 68.27 % interval; NaN if it is undefined.
        high: Upper limit; NaN if it is undefined.
        trivial: The number for the trivial predictor; NaN if it is undefined.
    """

    name: str
    label: str
    unit: str
    value: float
    low: float
    high: float
    trivial: float


_ASSIGNMENT = {
    "track_efficiency": ("track validity efficiency", assignment.track_efficiency),
    "track_fake_rate": ("track validity fake rate", assignment.track_fake_rate),
    "hit_efficiency": ("hit assignment efficiency", assignment.hit_efficiency),
    "hit_purity": ("hit assignment purity", assignment.hit_purity),
}
_BY_HITS = {
    "count_accuracy": ("events with the right number of tracks", assignment.count_accuracy),
    "by_hits_efficiency": ("by hits: particles found", assignment.found_fraction),
    "by_hits_fake_rate": ("by hits: tracks without particle", assignment.unmatched_fraction),
}
_PARAMETERS = {
    "charge_accuracy": ("charge accuracy", ""),
    "pt_sigma68": ("sigma68 of (pT - true) / true", ""),
    "pt_median": ("median of (pT - true) / true", ""),
    "eta_sigma68": ("sigma68 of eta - true", ""),
    "phi_sigma68": ("sigma68 of phi - true", "rad"),
}


def training_means(targets: Mapping[str, ArrayLike], fields: ParameterFields) -> dict[str, float]:
    """Constants that the trivial predictor predicts.

    Args:
        targets: Values of the particles of the training set by field, 1-D each.
        fields: Names of the parameters.

    Returns:
        The mean by field; for the charge the sign of the mean, +1 if it is 0.

    Raises:
        ValueError: If a field has no values or one that is not finite.

    Example:
        >>> training_means({"truthMuon_pt": [10.0, 30.0], "truthMuon_q": [-1, 1]}, ParameterFields())
        {'truthMuon_pt': 20.0, 'truthMuon_q': 1.0}
    """
    means = {}
    for field, values in targets.items():
        values = np.asarray(values, np.float64)
        if not values.size or not np.isfinite(values).all():
            raise ValueError(
                f"training_means: {field} needs at least one particle and finite values, got "
                f"{values.size} values, {np.count_nonzero(~np.isfinite(values))} of them not finite"
            )
        mean = float(values.mean())
        means[field] = (1.0 if mean >= 0 else -1.0) if field == fields.charge else mean
    return means


def match_by_slot(tracks: EventTracks) -> NDArray[np.int64]:
    """Matches the particle of slot i to the track of slot i if that is declared valid.

    Args:
        tracks: Tracks matched to the particles slot by slot.

    Returns:
        Track slot of each particle, -1 if there is none, [E, N].
    """
    slots = np.arange(tracks.particle_valid.shape[1])
    return np.where(tracks.particle_valid & tracks.track_valid, slots, -1)


def parameter_residuals(
    tracks: EventTracks, match: NDArray[np.int64], fields: ParameterFields
) -> dict[str, NDArray[np.float64]]:
    """Residuals of the matched particles.

    Args:
        tracks: The tracks.
        match: Track slot of each particle, -1 if there is none, [E, N].
        fields: Names of the parameters.

    Returns:
        By parameter, 1-D each: `pt` relative, `eta`, `phi` wrapped in rad; those that are predicted.
    """
    kinds = {
        "pt": (fields.pt, residuals.relative_residual),
        "eta": (fields.eta, residuals.residual),
        "phi": (fields.phi, residuals.periodic_residual),
    }
    return {
        name: residual(*_pairs(tracks, match, field))
        for name, (field, residual) in kinds.items()
        if field in tracks.predicted
    }


def _pairs(tracks: EventTracks, match: NDArray[np.int64], field: str) -> tuple[NDArray, NDArray]:
    event, slot = np.nonzero(match >= 0)
    return tracks.predicted[field][event, match[event, slot]], tracks.true[field][event, slot]


def _parameters(tracks: EventTracks, match: NDArray[np.int64], fields: ParameterFields) -> dict[str, float]:
    numbers = {}
    if fields.charge in tracks.predicted:
        numbers["charge_accuracy"] = assignment.charge_accuracy(*_pairs(tracks, match, fields.charge))
    for name, values in parameter_residuals(tracks, match, fields).items():
        numbers[f"{name}_sigma68"] = residuals.sigma68(values)
        if name == "pt":
            numbers["pt_median"] = residuals.median(values)
    return numbers


def _sizes(tracks: EventTracks) -> dict[str, tuple[int, int]]:
    """Of each fraction the number of trials, and of groups of them that count as one if all go the same way."""
    matches = match_by_slot(tracks) >= 0, assignment.match_by_hits(tracks) >= 0  # [E, N] each
    counted = {
        "track_efficiency": tracks.particle_valid,
        "track_fake_rate": tracks.track_valid,
        "count_accuracy": np.ones(len(tracks)),
        "by_hits_efficiency": tracks.particle_valid,
        "by_hits_fake_rate": tracks.track_valid,
        "charge_accuracy": matches[0],
        "by_hits_charge_accuracy": matches[1],
    }
    sizes = {name: (int(chosen.sum()),) * 2 for name, chosen in counted.items()}
    for name, hits in (
        ("hit_efficiency", tracks.particle_hits[matches[0]]),
        ("hit_purity", tracks.track_hits[tracks.track_valid]),
    ):
        sizes[name] = int(hits.sum()), int(np.count_nonzero(hits))
    return sizes


def _assignments(tracks: EventTracks) -> dict[str, float]:
    return {name: function(tracks) for name, (_, function) in (_ASSIGNMENT | _BY_HITS).items()}


def _all_parameters(tracks: EventTracks, fields: ParameterFields) -> dict[str, float]:
    by_hits = _parameters(tracks, assignment.match_by_hits(tracks), fields)
    return _parameters(tracks, match_by_slot(tracks), fields) | {f"by_hits_{k}": v for k, v in by_hits.items()}


def with_constants(tracks: EventTracks, means: Mapping[str, float]) -> EventTracks:
    """The same tracks with constant parameters, as the trivial predictor gives them.

    Args:
        tracks: The tracks of a model.
        means: Constant by field.

    Returns:
        Tracks that differ in `predicted` only.

    Raises:
        ValueError: If there is no constant for a predicted field.
    """
    if missing := set(tracks.predicted) - set(means):
        raise ValueError(f"with_constants: no constant for {sorted(missing)}, only for {sorted(means)}")
    predicted = {field: np.full_like(values, means[field]) for field, values in tracks.predicted.items()}
    return replace(tracks, predicted=predicted)


def accept_all(tracks: EventTracks) -> EventTracks:
    """Tracks of a predictor that declares every slot valid and assigns every hit to each of them.

    Args:
        tracks: The tracks of a model.

    Returns:
        Tracks with the same truth.
    """
    shape = tracks.track_valid.shape
    return replace(
        tracks,
        track_valid=np.ones(shape, bool),
        track_hits=np.broadcast_to(tracks.num_hits[:, None], shape),
        shared_hits=np.broadcast_to(tracks.particle_hits[:, :, None], (*shape, shape[1])),
    )


def bootstrap_errors(
    tracks: EventTracks, fields: ParameterFields, resamples: int = 100, seed: int = 1
) -> dict[str, float]:
    """Standard errors of all numbers by drawing events with replacement.

    Events, not tracks or hits, are drawn, because those of one event are correlated.

    Args:
        tracks: The tracks.
        fields: Names of the parameters.
        resamples: Number of repetitions.
        seed: Seed of the random numbers.

    Returns:
        Standard deviation over the repetitions by name; NaN where a repetition gives NaN or there is no
        event.
    """
    generator = np.random.default_rng(seed)
    samples: dict[str, list[float]] = {}
    for _ in range(resamples):
        sample = tracks.select(generator.integers(0, len(tracks), len(tracks))) if len(tracks) else tracks
        for name, value in (_assignments(sample) | _all_parameters(sample, fields)).items():
            samples.setdefault(name, []).append(value)
    return {name: float(np.std(values, ddof=1)) for name, values in samples.items()}


def evaluate(tracks: EventTracks, means: Mapping[str, float], fields: ParameterFields | None = None) -> list[Result]:
    """All numbers of the test, each next to that of the trivial predictor.

    Populations and definitions are in `CAPTION` and in `hitpool.evaluation.assignment`.

    Args:
        tracks: Test tracks, matched to the particles slot by slot.
        means: Constants of the trivial predictor by field.
        fields: Names of the parameters.

    Returns:
        The rows of the table: matched by the model first, then by hits.

    Raises:
        ValueError: If there is no constant for a predicted field.
    """
    fields = fields or ParameterFields()
    values = _assignments(tracks) | _all_parameters(tracks, fields)
    trivial = _assignments(accept_all(tracks)) | _all_parameters(with_constants(tracks, means), fields)
    errors, sizes = bootstrap_errors(tracks, fields), _sizes(tracks)
    numbers = {
        name: Number(value, *assignment.fraction_interval(value, errors[name], *sizes[name]))
        if name in sizes
        else Number.symmetric(value, errors[name])
        for name, value in values.items()
    }
    rows = {name: (label, "") for name, (label, _) in _ASSIGNMENT.items()}
    rows |= _PARAMETERS
    rows |= {name: (label, "") for name, (label, _) in _BY_HITS.items()}
    rows |= {f"by_hits_{name}": (f"by hits: {label}", unit) for name, (label, unit) in _PARAMETERS.items()}
    return [
        Result(name, label, unit, *astuple(numbers[name]), trivial[name])
        for name, (label, unit) in rows.items()
        if name in values
    ]


def table(results: list[Result], tracks: EventTracks) -> Table:
    """Table of the results for the terminal.

    Args:
        results: The rows.
        tracks: The tracks they were computed from.

    Returns:
        A rich table whose caption holds the definitions.
    """
    counts = (
        f"{len(tracks)} events, {int(tracks.particle_valid.sum())} particles, "
        f"{int(tracks.track_valid.sum())} tracks declared valid"
    )
    grid = Table(title=f"Test: {counts}", caption=CAPTION, caption_justify="left", title_justify="left")
    grid.add_column("number")
    for column in ("model", "trivial"):
        grid.add_column(column, justify="right", no_wrap=True)
    for row in results:
        if row.name == next(iter(_BY_HITS)):
            grid.add_section()
        unit = f" [{row.unit}]" if row.unit else ""
        number = Number(row.value, row.low, row.high)
        # rich reads [rad] as markup unless escaped
        grid.add_row(row.label + unit.replace("[", r"\["), str(number), _number(row.trivial))
    return grid


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"


def as_json(results: list[Result], tracks: EventTracks) -> dict:
    """Results as they are stored in `results.json`.

    Args:
        results: The rows.
        tracks: The tracks they were computed from.

    Returns:
        Definitions, numbers of events, particles and tracks, and the rows by name; null stands for undefined.
    """
    rows = {}
    for result in results:
        row = asdict(result)
        rows[row.pop("name")] = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
    return {
        "definitions": CAPTION,
        "events": len(tracks),
        "particles": int(tracks.particle_valid.sum()),
        "valid_tracks": int(tracks.track_valid.sum()),
        "results": rows,
    }

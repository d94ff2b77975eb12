"""The numbers of a test, each of a model next to that of the trivial predictor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from rich.table import Table

from hitpool.evaluation.assignment import FRACTIONS, paired_by_hits
from hitpool.evaluation.bootstrap import Number, fraction
from hitpool.evaluation.comparison import compare
from hitpool.evaluation.tables import number_as_json, table
from hitpool.evaluation.tracks import MODEL, TRIVIAL, Estimate, Tracks, counted

CAPTION = (
    "Matching of tracks to particles is the only use of truth besides the comparison itself: in the first "
    "block by the model's minimal assignment cost (Hungarian), in the second by hits alone (more than half "
    "of the hits of the particle and of the track are shared), so that slots do not matter; duplicate: a track with "
    "more than half of its hits from a particle of which another track has more. Hit efficiency, "
    "charge and residuals: particles whose matched track is declared valid. Hit purity: all tracks declared "
    "valid, fakes included. sigma68: half the width of the central 68.27 % of the residuals; phi residuals "
    "are wrapped. Errors: 68.27 %; of fractions by Clopper and Pearson, with as many trials as scatter like a "
    "bootstrap over events, of the others by that bootstrap. Trivial predictor: parameters are the mean over the "
    "training set (charge: the sign of the mean), on the same tracks; validity and hit assignment accept "
    "every slot and every hit, since a constant probability accepts all or nothing, and nothing leaves "
    "purity and fake rate undefined."
)

BY_MODEL = {
    "track_efficiency": ("track validity efficiency", ""),
    "track_fake_rate": ("track validity fake rate", ""),
    "hit_efficiency": ("hit assignment efficiency", ""),
    "hit_purity": ("hit assignment purity", ""),
}
BY_HITS = {
    "count_accuracy": ("events with the right number of tracks", ""),
    "by_hits_efficiency": ("by hits: particles found", ""),
    "by_hits_fake_rate": ("by hits: tracks without particle", ""),
    "duplicate_rate": ("by hits: duplicate tracks", ""),
}
PARAMETERS = {
    "charge_accuracy": ("charge accuracy", ""),
    "pt_sigma68": ("sigma68 of (pT - true) / true", ""),
    "pt_median": ("median of (pT - true) / true", ""),
    "qpt_sigma68": ("sigma68 of (q/pT - true) / true", ""),
    "eta_sigma68": ("sigma68 of eta - true", ""),
    "phi_sigma68": ("sigma68 of phi - true", "rad"),
}

Results = dict[str, dict[str, Number]]  # by name of the number and of the estimate
Labels = dict[str, tuple[str, str]]  # label and unit by name of the number


def blocks(tracks: Tracks) -> list[Labels]:
    """What the table shows, by the matching of tracks to particles: by the model first, then by hits.

    Args:
        tracks: The tracks of a model.
    """
    others = {}
    for field, own in tracks.resolutions.items():
        residual = f"({field} - true) / true" if own.relative else f"{field} - true"
        others[f"{field}_sigma68"] = (f"sigma68 of {residual}", own.unit)
    parameters = PARAMETERS | {name: own for name, own in others.items() if name not in PARAMETERS}
    by_hits = {f"by_hits_{name}": (f"by hits: {label}", unit) for name, (label, unit) in parameters.items()}
    return [BY_MODEL | parameters, BY_HITS | by_hits]


def training_means(values: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Constants that the trivial predictor predicts.

    Args:
        values: Values of the particles of the training set by quantity, 1-D each.

    Returns:
        The mean by quantity; for q its sign, +1 if it is 0.

    Raises:
        ValueError: If a quantity has no values or one that is not finite.

    Example:
        >>> training_means({"pt": [10.0, 30.0], "q": [-1, 1]})
        {'pt': 20.0, 'q': 1.0}
    """
    means = {}
    for quantity, own in values.items():
        own = np.asarray(own, np.float64)
        if not own.size or not np.isfinite(own).all():
            raise ValueError(
                f"training_means: {quantity} needs at least one particle and finite values, got "
                f"{own.size} values, {np.count_nonzero(~np.isfinite(own))} of them not finite"
            )
        means[quantity] = float(own.mean())
        if quantity == "q":
            means[quantity] = 1.0 if means[quantity] >= 0 else -1.0
    return means


def with_trivial(tracks: Tracks, means: Mapping[str, float]) -> Tracks:
    """The tracks with the trivial predictor: constant parameters, every slot valid with every hit.

    Args:
        tracks: The tracks of a model, with counted hits.
        means: Constant by quantity.

    Raises:
        ValueError: If there is no constant for a predicted quantity.
    """
    values = tracks.estimates[MODEL].values
    if missing := set(values) - set(means):
        raise ValueError(f"with_trivial: no constant for {sorted(missing)}, only for {sorted(means)}")
    shape = tracks.particle.shape
    trivial = Estimate(
        np.ones(shape, bool),
        {quantity: np.full(shape, means[quantity]) for quantity in values},
        decides=True,
        hits=np.broadcast_to(counted(tracks.num_hits)[:, None], shape),
        shared_hits=np.broadcast_to(counted(tracks.hits)[:, :, None], (*shape, shape[1])),
    )
    return tracks.with_estimate(TRIVIAL, trivial)


def measure(tracks: Tracks) -> Results:
    """All numbers of the test.

    Args:
        tracks: The tracks of a model and of the trivial predictor, matched to the particles slot by slot.

    Returns:
        Numbers of the model, with their intervals, and of the trivial predictor, by name as in `blocks`.
    """
    found = {
        name: {who: fraction(*trials(tracks, own)) for who, own in tracks.estimates.items()}
        for name, trials in FRACTIONS.items()
    }
    for prefix, matched in (("", tracks), ("by_hits_", paired_by_hits(tracks))):
        for row in compare(matched):
            name = "charge" if row.quantity == "q" else row.quantity
            found[f"{prefix}{name}_{row.measure}"] = row.numbers
    results = {name: found[name] for block in blocks(tracks) for name in block if name in found}
    for numbers in results.values():
        numbers[TRIVIAL] = Number(numbers[TRIVIAL].value, math.nan, math.nan)
    return results


def results_table(results: Results, tracks: Tracks) -> Table:
    """Table of the results for the terminal.

    Args:
        results: The numbers.
        tracks: The tracks they were computed from.

    Returns:
        A rich table whose caption holds the definitions.
    """
    counts = _counts(tracks)
    heading = "Test: {events} events, {particles} particles, {valid_tracks} tracks declared valid".format(**counts)
    lines = [
        [
            (f"{label} [{unit}]" if unit else label, results[name])
            for name, (label, unit) in block.items()
            if name in results
        ]
        for block in blocks(tracks)
    ]
    return table(heading, CAPTION, [MODEL, TRIVIAL], lines)


def as_json(results: Results, tracks: Tracks) -> dict[str, Any]:
    """Results as they are stored in `results.json`.

    Args:
        results: The numbers.
        tracks: The tracks they were computed from.

    Returns:
        Definitions, numbers of events, particles and tracks, and the results by name; null stands for undefined.
    """
    by_model, by_hits = blocks(tracks)
    labels = by_model | by_hits
    stored = {
        name: {
            "name": name,
            "label": labels[name][0],
            "unit": labels[name][1],
            **number_as_json(numbers[MODEL]),
            "trivial": number_as_json(numbers[TRIVIAL])["value"],
        }
        for name, numbers in results.items()
    }
    return {"definitions": CAPTION, **_counts(tracks), "results": stored}


def _counts(tracks: Tracks) -> dict[str, int]:
    particles, valid = int(tracks.particle.sum()), int(tracks.estimates[MODEL].valid.sum())
    return {"events": len(tracks), "particles": particles, "valid_tracks": valid}

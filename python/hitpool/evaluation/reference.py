"""Another estimate of the track parameters, stored in the track columns of a data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitpool.data import EventDataset
from hitpool.evaluation.quantities import IMPACT, SOURCES, complete, with_direction
from hitpool.evaluation.tracks import Estimate, Tracks, residual_errors
from hitpool.files import open_event_file
from hitpool.quantity import quantity_of


def read_reference(
    dataset: EventDataset, prefix: str
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Reads the columns `<prefix><quantity>`, and of those that are compared `<prefix>sigma_<quantity>`, if any.

    Args:
        dataset: The events.
        prefix: What the names of the columns start with.

    Returns:
        Estimates by quantity (`SOURCES` and `IMPACT`), and their errors by quantity, [events of the folder,
        max_particles] each; NaN where there is no track or no estimate, and in events that are not in the data set.

    Raises:
        ValueError: If there is no such column, or a file is damaged.
    """
    index = dataset.index
    compared = (*SOURCES, *IMPACT)
    columns = {q: index.track_columns.index(prefix + q) for q in compared if prefix + q in index.track_columns}
    if not columns:
        wanted = ", ".join(prefix + quantity for quantity in compared)
        raise ValueError(
            f"data set {index.directory} has no reference '{prefix}': expected some of the track columns {wanted}; "
            f"available: {', '.join(index.track_columns)}"
        )
    sigmas = {q: prefix + "sigma_" + q for q in compared if prefix + "sigma_" + q in index.track_columns}
    read = [*columns.values(), *map(index.track_columns.index, sigmas.values())]
    values = np.full((len(index), dataset.max_particles, len(read)), np.nan)
    chosen = dataset.sample_id
    for number in np.unique(index.file_index[chosen]):
        events = chosen[index.file_index[chosen] == number]
        events = events[np.argsort(index.row_index[events])]
        rows = index.row_index[events]
        with open_event_file(index.path(number), index.hit_columns, index.track_columns) as file:
            for covered, tracks in file.slabs(file.tracks, rows):
                tracks = tracks[:, : dataset.max_particles]
                valid = np.arange(tracks.shape[1]) < file.num_tracks[rows[covered], None]
                estimate = np.where(valid[..., None], tracks[..., read], np.nan)
                values[events[covered], : tracks.shape[1]] = estimate
    estimates, errors = np.split(np.moveaxis(values, -1, 0), [len(columns)])
    return dict(zip(columns, estimates, strict=True)), dict(zip(sigmas, errors, strict=True))


def reference_estimate(
    values: dict[str, NDArray[np.float64]], errors: dict[str, NDArray[np.float64]], tracks: Tracks
) -> Estimate:
    """The reference for the particles of a test.

    Args:
        values: Its parameters by quantity, [events of the folder, N or more] each; NaN where there is none.
        errors: Their standard deviations, as far as it states them.
        tracks: The particles.
    """
    place = tracks.event, slice(tracks.particle.shape[1])
    chosen = complete({quantity: array[place] for quantity, array in values.items()})
    known, sigmas = with_direction(chosen, {quantity: array[place] for quantity, array in errors.items()})
    for name in tracks.true:  # an impact parameter goes by the name of its field
        for named in (known, sigmas):
            if quantity_of(name) in IMPACT and quantity_of(name) in named:
                named.setdefault(name, named[quantity_of(name)])
    valid = np.all(np.isfinite([known[quantity] for quantity in set(known) & set(tracks.true)]), axis=0)
    stated = {quantity: own for quantity, own in sigmas.items() if quantity in tracks.true and quantity != "q"}
    resolutions = {quantity: tracks.resolution(quantity) for quantity in stated}
    return Estimate(valid, known, errors=residual_errors(stated, tracks.true, resolutions))

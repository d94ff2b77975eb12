"""Models against the track finding of other programs: found tracks, parameters, time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lightning.pytorch import Callback

from hitpool.config import Objects
from hitpool.data.truth_link import truth_link_of
from hitpool.evaluation.collector import regression
from hitpool.evaluation.comparison import Bins, Row, compare
from hitpool.evaluation.fields import all_fields
from hitpool.evaluation.finding.measures import measure, measure_in_bins
from hitpool.evaluation.finding.model_tracks import ModelTracks
from hitpool.evaluation.finding.particles import Particles, read_particles
from hitpool.evaluation.finding.reference_tracks import reference_tracks
from hitpool.evaluation.finding.resolutions import of_each, tracks_of
from hitpool.evaluation.finding.timing import ModelTime, time_model
from hitpool.evaluation.reference import read_reference, reference_estimate
from hitpool.files import EventIndex, found_tracks_path, milliseconds_per_event


@dataclass(frozen=True)
class Finding:
    """The comparison.

    Args:
        counts: Numbers of events, particles, and by name of tracks and of those of particles that all found.
        rows: Measures of all tracks.
        bins: The same in bins, by variable.
        common: Parameters of the particles of which there are all estimates.
        each: Parameters of all particles of which an estimate has a track.
        model_times: Of the models by name.
        reference_times: CPU time per event of the others by name, in ms, as far as the metadata say it.
        reference: Name of the first of the others, to which resolutions are compared.
    """

    counts: dict[str, object]
    rows: list[Row]
    bins: dict[str, Bins]
    common: list[Row]
    each: list[Row]
    model_times: dict[str, ModelTime]
    reference_times: dict[str, float]
    reference: str


def finders(index: EventIndex, prefixes: Sequence[str]) -> list[str]:
    """References of which there are all found tracks: those with a file of that name beside the data.

    Args:
        index: Of the data set.
        prefixes: What the names of the references' track columns start with.
    """
    return [name for name in map(name_of, prefixes) if found_tracks_path(index.directory, name).is_file()]


def name_of(prefix: str) -> str:
    """What a reference is called.

    Args:
        prefix: What the names of its track columns start with.
    """
    return prefix.rstrip("_")


def compare_finding(
    models: Mapping[str, Objects], prefixes: Sequence[str], predict: Callable[[Objects, list[Callback]], None]
) -> Finding:
    """Compares track finding on the test events of the models.

    Args:
        models: Models by name, all set to the same events.
        prefixes: Prefixes of the references; at least one has found tracks, see `finders`.
        predict: Runs a prediction of the test events with callbacks.

    Raises:
        ValueError: If the file of found tracks is damaged, or not of these events.
    """
    first = next(iter(models.values())).datamodule
    dataset = first.dataset("test")
    particles = read_particles(dataset, dataset.particles.fields, truth_link_of(dataset.index, first.truth_link))
    others = finders(dataset.index, prefixes)
    of_others = {name: reference_tracks(dataset.index, name, particles) for name in others}
    found = {}
    for name, model in models.items():
        predict(model, [collector := _collector(model, particles)])
        found[name] = collector.found
    found |= of_others
    tracks = tracks_of(particles, found)
    for prefix in prefixes:
        if (name := name_of(prefix)) not in found:  # it has columns alone
            tracks = tracks.with_estimate(name, reference_estimate(*read_reference(dataset, prefix), tracks))
    times = {name: milliseconds_per_event(dataset.index, name) for name in others}
    compared = tracks.compared
    return Finding(
        {
            "events": len(particles.events),
            "particles": len(particles),
            "compared": int(compared.sum()),
            "tracks": {name: len(own.event) for name, own in found.items()},
            "fakes": {name: int((own.particle < 0).sum()) for name, own in found.items()},
            "duplicates": {name: int(own.duplicate.sum()) for name, own in found.items()},
        },
        measure(particles, found),
        measure_in_bins(particles, found),
        compare(tracks, others[0]) if compared.any() else [],
        of_each(tracks),
        {name: time_model(model) for name, model in models.items()},
        {name: stated for name, stated in times.items() if stated is not None},
        others[0],
    )


def _collector(objects: Objects, particles: Particles) -> ModelTracks:
    """What collects the tracks of a model."""
    network = objects.model.model
    task = regression(network)
    fields = all_fields(task.fields, [task])
    return ModelTracks(particles, task.output_object, network.target_object, network.input_name, fields)

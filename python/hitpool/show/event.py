"""One event of any data set, as it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hitpool.data.truth_link import truth_link_of
from hitpool.draft.hits import find_point
from hitpool.files import EventIndex, open_event_file, read_index
from hitpool.muon import HIGH_EDGE, LOW_EDGE, TECHNOLOGIES, TECHNOLOGY, TRACKS, unit
from hitpool.quantity import quantity_of

SAMPLE = 100  # events that say how a detector is built
SHOWN = {"pt": "pT", "eta": "eta", "q": "q"}


@dataclass(frozen=True)
class Event:
    """One event: P particles, N predicted tracks, M hits.

    Args:
        low: Point of each hit, or near end of its sensor, [M, 3].
        high: Far end of its sensor; where it is a point, the same, [M, 3].
        unit: Unit of the coordinates; empty if it is not known.
        along: Number of the axis along which the tracks of a forward detector go; None if they leave its middle to all
            sides.
        particle_hits: Whether hit m belongs to particle i, [P, M] bool.
        particles: What is known of each particle, for people.
        directions: Pseudorapidity and azimuth of particles whose hits are too coarse to be joined, [P, 2], else None.
        kinds: Name of the kind of each hit, [M]; None if there is one kind.
        probability: Probability of each hit to belong to predicted track j, [N, M]; None without a model.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    unit: str
    along: int | None
    particle_hits: NDArray[np.bool_]
    particles: list[str]
    directions: NDArray[Any] | None = None
    kinds: list[str] | None = None
    probability: NDArray[Any] | None = None

    @property
    def middle(self) -> NDArray[Any]:
        """Middle of the sensor of each hit [M, 3]."""
        return (self.low + self.high) / 2

    def line(self, particle: int) -> NDArray[Any]:
        """Line that stands for a particle, [K, 3]: from the origin in its direction, or through its hits.

        Args:
            particle: Its number.
        """
        points = self.middle[self.particle_hits[particle]]
        start = np.zeros((int(self.along is None), 3))
        if self.directions is not None:
            eta, phi = self.directions[particle]
            direction = np.array([np.cos(phi), np.sin(phi), np.sinh(eta)]) / np.cosh(eta)
            reach = np.linalg.norm(points, axis=1).max(initial=0)
            return np.stack([np.zeros(3), 1.06 * reach * direction])  # a little beyond the last hit
        distance = np.linalg.norm(points, axis=1) if self.along is None else np.abs(points[:, self.along])
        return np.concatenate([start, points[np.argsort(distance, kind="stable")]])


def read_event(data: Path, number: int, checkpoint: Path | None = None, trust: bool = False) -> Event:
    """Reads one event and, with a checkpoint, the probabilities that its model gives to the hits.

    Args:
        data: Folder of the data set.
        number: Number of the event.
        checkpoint: Checkpoint of a training.
        trust: Let the configuration of the checkpoint name classes of anybody.

    Returns:
        The event; with the probabilities of the tracks that the model declares valid.

    Raises:
        FileNotFoundError: If there is no data set or no checkpoint.
        IndexError: If the data set does not have that many events.
        ValueError: If the hits have no coordinates or no truth link, or the data are bad.
    """
    index = read_index(data)
    if not 0 <= number < len(index):
        raise IndexError(f"event {number} is not in {data}: expected 0 to {len(index) - 1}")
    sample = np.concatenate([_read(index, event)[0] for event in range(min(SAMPLE, len(index)))])
    edges = [LOW_EDGE, HIGH_EDGE]
    if not {*LOW_EDGE, *HIGH_EDGE} <= set(index.hit_columns):
        point = find_point(index.hit_columns, sample)
        if point is None:
            raise ValueError(f"{data}: no coordinates x, y and z among the hit columns {', '.join(index.hit_columns)}")
        edges = [point, point]
    link = truth_link_of(index)
    if link not in index.hit_columns:
        raise ValueError(
            f"{data} does not say which hit column holds the number of the track; its metadata.yaml may, as "
            f"truth_link: one of {', '.join(index.hit_columns)}"
        )
    hits, tracks = _read(index, number)
    columns = {name: hits[:, i] for i, name in enumerate(index.hit_columns)}
    low, high = (np.stack([columns[name] for name in edge], axis=-1) for edge in edges)
    muons = edges[0] == LOW_EDGE
    scale, unit_shown = (1e-3, "m") if muons else (1.0, index.units.get(edges[0][0], ""))
    directions = [name for name in TRACKS if quantity_of(name) in ("eta", "phi")]
    along = index.hit_columns.index(edges[0][2])
    return Event(
        low=low * scale,
        high=high * scale,
        unit=unit_shown,
        along=2 if len(sample) and (sample[:, along].min() >= 0 or sample[:, along].max() <= 0) else None,
        particle_hits=columns[link] == np.arange(len(tracks))[:, None],
        particles=[_words(index, track) for track in tracks],
        directions=tracks[:, [index.track_columns.index(name) for name in directions]]
        if muons and {*directions} <= {*index.track_columns}
        else None,
        kinds=[TECHNOLOGIES.get(int(code), "other") for code in columns[TECHNOLOGY]] if TECHNOLOGY in columns else None,
        probability=None if checkpoint is None else _probabilities(data, number, checkpoint, trust),
    )


def _read(index: EventIndex, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Hits [M, C] and tracks [P, K] of an event."""
    row = np.array([index.row_index[number]])
    with open_event_file(index.path(index.file_index[number]), index.hit_columns, index.track_columns) as file:
        ((_, hits),) = file.slabs(file.hits, row)
        ((_, tracks),) = file.slabs(file.tracks, row)
        return hits[0, : file.num_hits[row[0]]], tracks[0, : file.num_tracks[row[0]]]


def _words(index: EventIndex, track: NDArray[Any]) -> str:
    """The known quantities of a particle; a second column of a quantity is left out."""
    found: dict[str, str] = {}
    for name, value in zip(index.track_columns, track, strict=True):
        quantity = quantity_of(name)
        if quantity in SHOWN and quantity not in found:
            symbol = index.units.get(name, unit(name)) if quantity == "pt" else ""
            number = f"{value:+g}" if quantity == "q" else f"{value:.3g}"
            found[quantity] = f"{SHOWN[quantity]} = {number} {symbol}".strip()
    return ", ".join(found[quantity] for quantity in SHOWN if quantity in found)


def _probabilities(data: Path, number: int, checkpoint: Path, trust: bool) -> NDArray[Any]:
    from hitpool.config import load_checkpoint
    from hitpool.evaluation.collector import regression

    objects = load_checkpoint(checkpoint, trust)
    source, network = objects.datamodule, objects.model.model
    source.test_on(data)
    events = source.dataset("test")
    inputs, _ = events[number]
    with torch.no_grad():
        preds = network.predict(network(inputs))["final"]
    named = {name: tensor[0] for task in preds.values() for name, tensor in task.items()}
    track = regression(network).output_object
    hit_probability = named[f"{track}_{network.input_name}_valid_prob"][named[f"{track}_valid"]].float().numpy()
    kept = events.kept_hits(number)
    probability = np.zeros((len(hit_probability), len(kept)), hit_probability.dtype)
    probability[:, kept] = hit_probability
    return probability

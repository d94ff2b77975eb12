"""Events as batches of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hitpool.data.features import HitFeatures
from hitpool.data.hit_filter import HitFilter
from hitpool.data.hit_store import HitStore
from hitpool.data.particle_targets import ParticleTargets
from hitpool.data.truth_link import truth_link_of
from hitpool.files import EventFile, EventIndex, open_event_file, read_index
from hitpool.hits import Hits

EVENTS_PER_CHECK = 1000

Batch = tuple[Hits, dict[str, Tensor]]


class EventDataset(Dataset[Batch]):
    """Events of one data set folder; gives whole batches, already padded.

    What can be checked without reading all hits is checked here at once (files, columns, counts, targets);
    the hits themselves are checked whenever they are read, and all at once by `check_hits`.

    Args:
        directory: Folder of the data set.
        inputs: One entry: the input name (``hit``) and its fields, see ``HitFeatures``.
        targets: One entry: the name of the truth objects (``particle``) and their fields: columns of
            ``tracks``, or ``<prefix>qpt``, which is ``<prefix>q`` / ``<prefix>pt``.
        num_events: Number of events to use, a reproducible random subset; -1 for all.
        max_particles: Slots N for truth particles. Slot i belongs to the hits whose truth link is i.
        seed: Seed of the random subset.
        scale_factors: See ``HitFeatures``.
        points: See ``HitFeatures``.
        truth_link: Column that links a hit to its track: the row in ``tracks``, or -1 for background. None takes the
            one that the data set names, or that of the muon columns.
        unpack_dir: Folder where compressed files are unpacked for all processes and later runs; None unpacks
            the selected events for this process and its children, into ``TMPDIR``.
        hit_eval: File of filter results, see ``HitFilter``. Hits that the filter drops are as if they were not there:
            nothing of them is checked or counted. Particles stay as they are, with the hits that remain; one that has
            none left is a valid particle with an empty row in ``particle_hit_valid``, like one that never had a hit.
        hit_filter_threshold: See ``HitFilter``.

    Attributes:
        num_hits: Number of hits of each event that are in its batches, [events].
        num_hits_on_disk: Number of hits of each event with those that the filter drops, [events].

    Raises:
        FileNotFoundError: If the folder or one of its files is missing.
        ValueError: If a field is unknown or the data are bad; names file, event and field.
    """

    num_hits: np.ndarray

    def __init__(
        self,
        directory: Path | str,
        inputs: Mapping[str, Sequence[str]],
        targets: Mapping[str, Sequence[str]],
        num_events: int = -1,
        max_particles: int = 2,
        seed: int = 0,
        scale_factors: Mapping[str, float] | None = None,
        points: Mapping[str, Sequence[Sequence[str]]] | None = None,
        truth_link: str | None = None,
        unpack_dir: Path | str | None = None,
        hit_eval: Path | str | None = None,
        hit_filter_threshold: float | None = None,
    ) -> None:
        if max_particles < 1:
            raise ValueError(f"max_particles: expected at least 1, got {max_particles}")
        self.input_name, fields = _only_entry(inputs, "inputs")
        self.target_name, target_fields = _only_entry(targets, "targets")
        self.max_particles = max_particles
        self.index = read_index(directory)
        truth_link = truth_link_of(self.index, truth_link)
        if truth_link not in self.index.hit_columns:
            raise ValueError(
                f"data set {directory} has no truth link column '{truth_link}'; "
                f"available columns: {', '.join(self.index.hit_columns)}"
            )
        self._truth_column = self.index.hit_columns.index(truth_link)
        if truth_link in fields:
            raise ValueError(f"the truth link '{truth_link}' must not be an input field")
        self.features = HitFeatures(self.index.hit_columns, fields, scale_factors, points)
        self.particles = ParticleTargets(self.index.track_columns, target_fields)
        self.sample_id = _choose_events(self.index, num_events, seed)
        self._read_files(unpack_dir)
        self.num_hits_on_disk = self.num_hits
        self._filter = None
        if hit_eval is not None:
            self._filter = HitFilter(hit_eval, self.sample_id, self.num_hits, self.where, hit_filter_threshold)
            self.num_hits = self._filter.num_hits

    def __len__(self) -> int:
        return len(self.sample_id)

    def __getitem__(self, index: int | Sequence[int]) -> Batch:
        """Reads a batch; a single index gives a batch of one event."""
        return self.__getitems__(np.atleast_1d(index))

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Reads a batch of B events, padded to the M hits of the longest.

        Args:
            indices: Numbers of the events in this data set, [B].

        Returns:
            inputs: All fields float32 [F, B, M], by name ``hit_<field>`` [B, M] and ``hit_valid`` bool [B, M].
            targets: ``particle_valid`` bool [B, N], ``particle_hit_valid`` bool [B, N, M], ``particle_<field>``
                float32 [B, N], NaN in empty slots, ``hit_valid`` and ``hit_on_valid_particle`` bool [B, M],
                ``sample_id`` int64 [B], the number of the event in the folder.

        Raises:
            ValueError: If the hits are bad; names file, event and field.
        """
        events = np.asarray(indices, np.int64)
        num_hits = self.num_hits[events]
        hits, owner, number = self._read_hits(events)
        link = torch.from_numpy(hits[:, self._truth_column].astype(np.int64))

        most = int(num_hits.max(initial=0))
        slot = torch.from_numpy(owner * most + number)  # place in the padded batch
        shape = (len(events), most)
        hit_valid = torch.zeros(shape, dtype=torch.bool)
        hit_valid.view(-1)[slot] = True
        padded_link = torch.full(shape, -1)
        padded_link.view(-1)[slot] = link
        features = self.features(torch.from_numpy(hits))  # [all hits, F]
        padded = features.new_zeros(features.shape[1], len(events) * most)  # [F, B * M]
        padded[:, slot] = features.T

        hit, particle = self.input_name, self.target_name
        slots = torch.arange(self.max_particles)
        inputs = Hits(hit, self.features.fields, padded.view(len(padded), *shape), hit_valid)
        values = torch.from_numpy(self.target_values[events])  # [B, N, K]
        targets = {
            f"{particle}_valid": slots < torch.from_numpy(self.num_particles[events])[:, None],
            f"{particle}_{hit}_valid": padded_link[:, None, :] == slots[:, None],  # [B, N, M]
            **{f"{particle}_{name}": values[..., i].contiguous() for i, name in enumerate(self.particles.fields)},
            f"{hit}_valid": hit_valid,
            f"{hit}_on_valid_{particle}": padded_link >= 0,
            "sample_id": torch.from_numpy(self.sample_id[events]),
        }
        return inputs, targets

    def sample_hits(self, number: int) -> np.ndarray:
        """Reads the hits of random events, the same at every call.

        Args:
            number: Number of events; all if there are fewer.

        Returns:
            Hits as on disk, float32 [hits, C].

        Raises:
            ValueError: If the hits are bad; names file, event and field.
        """
        chosen = np.random.default_rng(0).permutation(len(self))[:number]
        return self._read_hits(chosen)[0]

    def kept_hits(self, event: int) -> np.ndarray:
        """Says which hits of an event on disk are in its batches, bool [hits]; all without a filter."""
        if self._filter is None:
            return np.ones(self.num_hits[event], np.bool_)
        return self._filter.kept(np.array([event]))

    def where(self, event: int) -> str:
        """Says for error messages which event of the folder this is and where it lies."""
        return self.index.where(int(self.sample_id[event]))

    def particle_values(self) -> dict[str, Tensor]:
        """Gives the values of all particles of all events of this data set.

        Returns:
            For each target field, float32 [particles].
        """
        valid = np.arange(self.max_particles) < self.num_particles[:, None]
        return {name: torch.from_numpy(self.target_values[valid, i]) for i, name in enumerate(self.particles.fields)}

    def check_positive(self, field: str) -> None:
        """Checks that a target is above 0, which what is learned as 1 / value must be.

        Args:
            field: A target field.

        Raises:
            ValueError: If it is not; names file, event and track.
        """
        values = self.target_values[..., self.particles.fields.index(field)]  # [events, N], NaN in empty slots
        bad = values <= 0
        if bad.any():
            event, track = np.argwhere(bad)[0]
            raise ValueError(
                f"{self.where(event)}: target '{field}' of track {track} is {values[event, track]:g}, expected more "
                f"than 0, because it is one of the inverse_fields of the model"
            )

    def check_hits(self) -> None:
        """Reads the hits of all events once, and checks them as when they are used.

        Raises:
            ValueError: If they are bad; names file, event and field.
        """
        for start in range(0, len(self), EVENTS_PER_CHECK):
            events = np.arange(start, min(start + EVENTS_PER_CHECK, len(self)))
            self._read_hits(events)

    def _read_files(self, unpack_dir: Path | str | None) -> None:
        """Checks all files and reads counts and targets; then makes the hits of all events accessible."""
        files, rows = self.index.file_index[self.sample_id], self.index.row_index[self.sample_id]
        order = np.lexsort((rows, files))
        events_of_files = np.split(order, np.flatnonzero(np.diff(files[order])) + 1)
        columns = self.index.hit_columns, self.index.track_columns
        self.num_hits = np.zeros(len(self), np.int64)
        self.num_particles = np.zeros(len(self), np.int64)
        self.target_values = np.full((len(self), self.max_particles, len(self.particles.fields)), np.nan, np.float32)
        self._store = HitStore(len(self), len(self.index.hit_columns), self.where, unpack_dir)
        packed = []
        for events in events_of_files:
            with open_event_file(self.index.path(files[events[0]]), *columns) as file:
                self._check_rows(file, events, rows[events])
                self.num_hits[events] = file.num_hits[rows[events]]
                self.num_particles[events] = file.num_tracks[rows[events]]
                self._read_targets(file, events, rows[events])
                if not self._store.add(file, events, rows[events]):
                    packed.append(events)
        self._store.check_space(np.concatenate([*packed, np.empty(0, np.int64)]))
        for events in packed:  # after all checks, because it takes a while
            with open_event_file(self.index.path(files[events[0]]), *columns) as file:
                self._store.unpack(file, events, rows[events])

    def _check_rows(self, file: EventFile, events: np.ndarray, rows: np.ndarray) -> None:
        if rows[-1] >= len(file):
            raise ValueError(
                f"{self.where(events[-1])}: the row in event_row_indices.npy is out of range, "
                f"the file has {len(file)} rows"
            )
        for name, counts, limit, meaning in (
            ("num_hits", file.num_hits[rows], file.hits.shape[1], "the size of 'hits'"),
            ("num_tracks", file.num_tracks[rows], file.tracks.shape[1], "the size of 'tracks'"),
            (
                "num_tracks",
                file.num_tracks[rows],
                self.max_particles,
                f"max_particles (raise it to use this data set: this file needs {file.num_tracks[rows].max()})",
            ),
        ):
            bad = (counts < 0) | (counts > limit)
            if bad.any():
                i = np.argmax(bad)
                if -(2**15) <= counts[i] < 0:
                    meaning += "; a negative count is an overflow of int16 if there were more than 32767"
                raise ValueError(f"{self.where(events[i])}: '{name}' is {counts[i]}, expected 0 to {limit}, {meaning}")

    def _read_targets(self, file: EventFile, events: np.ndarray, rows: np.ndarray) -> None:
        for covered, tracks in file.slabs(file.tracks, rows):
            chosen = events[covered]
            values = self.particles(tracks[:, : self.max_particles])  # [n, tracks, K]
            valid = np.arange(values.shape[1]) < self.num_particles[chosen, None]
            bad = valid[..., None] & ~np.isfinite(values)
            if bad.any():
                i, track, field = np.argwhere(bad)[0]
                raise ValueError(
                    f"{self.where(chosen[i])}: target '{self.particles.fields[field]}' of track {track} is "
                    f"{values[i, track, field]}, expected a finite number"
                )
            self.target_values[chosen, : values.shape[1]] = np.where(valid[..., None], values, np.nan)

    def _read_hits(self, events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hits [all hits, C] of events [B], and for each of them its event among these and its number in that."""
        hits = self._store.read(events)
        owner, number = _places(self.num_hits_on_disk[events])
        if self._filter is not None:
            kept = self._filter.kept(events)
            hits, owner, number = hits[kept], owner[kept], number[kept]
        self._check_hits(hits, events[owner], number)
        return hits, *_places(self.num_hits[events])

    def _check_hits(self, hits: np.ndarray, events: np.ndarray, number: np.ndarray) -> None:
        """Looks for NaN, Inf and impossible truth links in the hits [all hits, C] of events [all hits].

        `number` is that of a hit in its event on disk.
        """
        used = [*self.features.used_columns, self._truth_column]
        finite = np.isfinite(hits[:, used])
        if not finite.all():
            hit, column = np.argwhere(~finite)[0]
            raise ValueError(
                f"{self.where(events[hit])}: '{self.index.hit_columns[used[column]]}' of hit "
                f"{number[hit]} is {hits[hit, used[column]]}, expected a finite number"
            )
        link = hits[:, self._truth_column]
        bad = (link < -1) | (link >= self.num_particles[events]) | (link != np.floor(link))
        if bad.any():
            hit = int(np.argmax(bad))
            raise ValueError(
                f"{self.where(events[hit])}: '{self.index.hit_columns[self._truth_column]}' of hit "
                f"{number[hit]} is {link[hit]:g}, expected -1 (background) or the number of "
                f"one of the {self.num_particles[events[hit]]} tracks, counted from 0"
            )


def _places(num_hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each hit of events with these numbers of hits its event among them and its number in that, [all hits]."""
    owner = np.repeat(np.arange(len(num_hits)), num_hits)
    return owner, np.arange(len(owner)) - (np.cumsum(num_hits) - num_hits)[owner]


def _only_entry(fields: Mapping[str, Sequence[str]], argument: str) -> tuple[str, list[str]]:
    if len(fields) != 1:
        raise ValueError(f"{argument}: expected one entry, a name and its fields, got {len(fields)}: {list(fields)}")
    ((name, names),) = fields.items()
    if isinstance(names, str):
        raise ValueError(f"{argument}: expected a list of fields for '{name}', got '{names}'")
    return name, list(names)


def _choose_events(index: EventIndex, num_events: int, seed: int) -> np.ndarray:
    """Chooses a reproducible random subset: events are ordered by process, the first ones are no sample."""
    if num_events == -1:
        return np.arange(len(index))
    if not 1 <= num_events <= len(index):
        raise ValueError(
            f"data set {index.directory}: expected a number of events from 1 to {len(index)}, or -1 for all, "
            f"got {num_events}"
        )
    return np.sort(np.random.default_rng(seed).choice(len(index), num_events, replace=False))

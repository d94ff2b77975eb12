"""Tracks from hits in memory, by a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hitpool.config import load_checkpoint
from hitpool.data.names import suggestion
from hitpool.export.arrays import Run
from hitpool.export.deployed import DeployedModel
from hitpool.export.formats import format_of, load
from hitpool.files import EventIndex, hits_of_events, read_index
from hitpool.muon import unit

HITS_AT_ONCE = 20_000  # with padding

Array = Any  # np.ndarray, or Tensor where the hits are tensors
Event = Mapping[str, Array]


@dataclass(frozen=True)
class PredictedTracks:
    """What a model says of the N slots of one event, or of each of E events; float32.

    Args:
        parameters: Physical parameters by name, and `<field>_error` and correlations if the model states them, [N] or
            [E, N] each.
        track_probability: Probability that the slot holds a track, [N] or [E, N]; `hitpool predict` calls it valid from
            0.5.
        hit_probability: Probability that a hit belongs to the track, in the order of the given hits, [N, M], of several
            events [N, all hits]; `hitpool predict` assigns a hit from 0.5, unless the mask task has another
            `pred_threshold`.
    """

    parameters: dict[str, Array]
    track_probability: Array
    hit_probability: Array

    def structured(self) -> NDArray[Any]:
        """Parameters and track probability as one structured array, a field of each name.

        Returns:
            [N] or [E, N].
        """
        columns = {"track_probability": self.track_probability, **self.parameters}
        columns = {name: np.asarray(column) for name, column in columns.items()}
        table = np.empty(self.track_probability.shape, [(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table


class Predictor:
    """A trained model that takes hits as they are on disk and gives tracks in physical units.

    It computes as an exported model does: in float64 if the training did, else in float32. The state of random numbers
    stays as it is, and several threads may call it.

    Args:
        path: Checkpoint of a training, or what `hitpool export` wrote, in any format.
        trust: Let the configuration of the checkpoint name classes of anybody; their code is run.
        device: Where a checkpoint computes, such as `cuda`; exported models compute on the CPU.
        threads: Number of threads that will call it at the same time; a package of AOTInductor lets others wait.

    Attributes:
        columns: Columns of the hits that it needs.
        fields: Names of the parameters that it gives.
        units: Units of columns and parameters, of those that have one.

    Raises:
        FileNotFoundError: If the file or its configuration does not exist.
        CheckpointError: If the checkpoint cannot be read.
        UntrustedError: If the configuration names classes of others.
        ValueError: If the model does not have one task each for validity and hits, and one for parameters.
    """

    def __init__(
        self, path: Path | str, trust: bool = False, device: torch.device | str = "cpu", threads: int = 1
    ) -> None:
        path = Path(path)
        self.device = torch.device(device)
        self._run: Run
        if path.is_file() and (format := format_of(path)):
            if self.device.type != "cpu":
                raise ValueError(f"Predictor: {path} is exported ({format}) and computes on the CPU, got {device}")
            self._run, metadata = load(path, threads)
            columns = metadata["inputs"][0]["columns"]
            used = {column["name"]: column["used"] for column in columns}
            fields = metadata["outputs"][0]["fields"]
            units = {known["name"]: known["unit"] for known in (*columns, *fields)}
            self.fields = [field["name"] for field in fields]
        else:
            model, units = _trained(path, trust)
            self._run = model.to(self.device)
            used = dict.fromkeys(model.columns, True)
            self.fields = model.parameters_out
        self.columns = [column for column in used if used[column]]
        named = {name: unit(name, units) for name in (*self.columns, *self.fields)}
        self.units = {name: own for name, own in named.items() if own}
        self._places = [list(used).index(column) for column in self.columns]  # in what the model takes
        self._taken = len(used)

    @overload
    def __call__(self, hits: Event, offsets: Array | None = None) -> PredictedTracks: ...

    @overload
    def __call__(self, hits: Path) -> PredictedTracks: ...

    @overload
    def __call__(self, hits: Sequence[Event]) -> list[PredictedTracks]: ...

    def __call__(
        self, hits: Event | Path | Sequence[Event], offsets: Array | None = None
    ) -> PredictedTracks | list[PredictedTracks]:
        """Finds the tracks of one or several events, any of which may be empty.

        Args:
            hits: Hits of an event by column, as the data set has them and in its units, [M] each, a mapping or a
                structured array; others than `columns` are left aside. Or a list of events; or, with `offsets`, the
                hits of all events one after the other; or the folder of a data set; or an awkward array of events, each
                field a list of M numbers.
            offsets: Number of hits before each event, and of all hits, [E + 1].

        Returns:
            The tracks, of a list of events as a list; tensors if the hits are tensors, else arrays. Of an awkward array
            an awkward array of events, with the fields `tracks`, records of N slots, and `hit_probability`, N times M.

        Raises:
            KeyError: If a column is missing.
            ValueError: If a column is not one-dimensional, has another length than the first, or holds NaN or Inf;
                or if the offsets do not fit.
        """
        if offsets is not None and not (isinstance(hits, Mapping) or _is_structured(hits)):
            raise TypeError(
                f"Predictor: offsets cut hits by column into events, got {type(hits).__name__} with offsets"
            )
        if isinstance(hits, str | Path):
            index = read_index(hits)
            return self._of_data_set(index, np.arange(len(index)))
        if type(hits).__module__.partition(".")[0] == "awkward":
            if hasattr(hits, "ndim"):
                return self._of_awkward(hits)
            record: Any = hits  # one event
            hits = {name: np.asarray(record[name]) for name in record.fields}
        if _is_structured(hits):
            hits = _by_name(hits)
        if not isinstance(hits, Mapping):
            if not isinstance(hits, Sequence) or not all(
                isinstance(own, Mapping) or _is_structured(own) for own in hits
            ):
                raise TypeError(
                    "Predictor: expected hits by column (a mapping or a structured array), a list of such events, an "
                    f"awkward array or the folder of a data set, got {_described(hits)}"
                )
            tables, tensors = (
                [self._table(event, f"event {number}") for number, event in enumerate(hits)],
                _tensors(hits),
            )
            return [self._named(*own, tensors) for own in self._tracks(tables)]
        table, tensors = self._table(hits, "hits"), _tensors([hits])
        if offsets is None:
            return self._named(*self._tracks([table])[0], tensors)
        sizes = _sizes(offsets, len(table))
        # an empty event more says how many slots there are where there is no event
        parameters, track, hit = zip(*self._tracks(table.split([*sizes, 0])), strict=True)
        return self._named(torch.stack(parameters)[:-1], torch.stack(track)[:-1], torch.cat(hit, dim=-1), tensors)

    def stream(self, folder: Path | str, events: int = 1000) -> Iterator[PredictedTracks]:
        """Finds the tracks of a data set that may be larger than memory, in the order of its events.

        Args:
            folder: The data set.
            events: Number of events that are read and answered at once.

        Yields:
            The tracks of the next E events, [E, N].

        Raises:
            KeyError: If the data set lacks a column.
        """
        index = read_index(folder)
        for start in range(0, len(index), events):
            yield self._of_data_set(index, np.arange(start, min(start + events, len(index))))

    def _of_data_set(self, index: EventIndex, events: NDArray[Any]) -> PredictedTracks:
        hits = list(hits_of_events(index, events, self.columns))  # [M, columns] each
        offsets = np.cumsum([0, *map(len, hits)])
        values = np.concatenate([np.empty((0, len(self.columns)), np.float32), *hits])
        return self({column: values[:, number] for number, column in enumerate(self.columns)}, offsets)

    def _of_awkward(self, hits: Any) -> Any:
        import awkward

        if missing := [column for column in self.columns if column not in hits.fields]:
            raise _missing(missing[0], hits.fields, "the awkward array", self.columns)
        sizes = awkward.to_numpy(awkward.num(hits[self.columns[0]]))
        for column in self.columns:
            if not np.array_equal(awkward.to_numpy(awkward.num(hits[column])), sizes):
                raise ValueError(
                    f"Predictor: the awkward array: {column!r} has other numbers of hits than {self.columns[0]!r}"
                )
        flat = {column: awkward.to_numpy(awkward.flatten(hits[column])) for column in self.columns}
        limits = np.cumsum([0, *sizes])
        found = self(flat, limits)
        columns = {"track_probability": found.track_probability, **found.parameters}  # [E, N] each
        slots = found.track_probability.shape[1]
        of_events = [found.hit_probability[:, start:stop].ravel() for start, stop in pairwise(limits)]  # [N * M] each
        of_slots = awkward.unflatten(np.concatenate([*of_events, np.empty(0, np.float32)]), np.repeat(sizes, slots))
        probability = awkward.unflatten(of_slots, np.full(len(sizes), slots))  # [E, N, M]
        return awkward.zip({"tracks": awkward.zip(columns), "hit_probability": probability}, depth_limit=1)

    def _table(self, event: Event, where: str) -> Tensor:
        """The hits of an event as the model takes them, float32 [M, C]."""
        if _is_structured(event):
            event = _by_name(event)
        if missing := [column for column in self.columns if column not in event]:
            raise _missing(missing[0], list(event), where, self.columns)
        values = [_column(event[column]) for column in self.columns]
        for column, own in zip(self.columns, values, strict=True):
            if own.ndim != 1 or len(own) != len(values[0]):
                expected = f"[{len(values[0])}], as {self.columns[0]!r}" if values[0].ndim == 1 else "[hits]"
                raise ValueError(f"Predictor: {where}: {column!r} has shape {list(own.shape)}, expected {expected}")
        used = torch.stack(values, dim=-1)  # [M, used columns]
        finite = used.isfinite()
        if not finite.all():
            hit, number = finite.logical_not().nonzero()[0].tolist()
            raise ValueError(
                f"Predictor: {where}: {self.columns[number]!r} of hit {hit} is {used[hit, number].item():g}, "
                "expected a finite number"
            )
        table = used.new_zeros(len(used), self._taken)
        table[:, self._places] = used
        return table

    def _tracks(self, events: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Parameters [N, K], track probability [N] and hit probability [N, M] of each event [M, C], on the CPU."""
        found: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        for batch in _batches([len(event) for event in events]):
            sizes = torch.tensor([len(events[number]) for number in batch])
            hits = pad_sequence([events[number] for number in batch], batch_first=True)  # [B, M, C]
            valid = torch.arange(hits.shape[1]) < sizes[:, None]
            with torch.no_grad():
                results = self._run(hits.to(self.device), valid.to(self.device))
            parameters, track, hit = (result.cpu() for result in results)
            for row, number in enumerate(batch):
                found[number] = parameters[row], track[row], hit[row, :, : sizes[row]]
        return [found[number] for number in range(len(events))]

    def _named(self, parameters: Tensor, track: Tensor, hit: Tensor, tensors: bool) -> PredictedTracks:
        fields = dict(zip(self.fields, parameters.unbind(-1), strict=True))
        if tensors:
            return PredictedTracks(fields, track, hit)
        return PredictedTracks({field: own.numpy() for field, own in fields.items()}, track.numpy(), hit.numpy())


def _is_structured(hits: Any) -> bool:
    return isinstance(hits, np.ndarray) and bool(hits.dtype.names)


def _by_name(hits: Any) -> Event:
    return {name: hits[name] for name in hits.dtype.names}


def _described(hits: Any) -> str:
    if isinstance(hits, np.ndarray | Tensor):
        return f"an array of shape {list(hits.shape)} without names of columns"
    if isinstance(hits, Sequence) and not isinstance(hits, str):
        return f"a {type(hits).__name__} of {', '.join(sorted({type(own).__name__ for own in hits}))}"
    return type(hits).__name__


def _missing(column: str, present: Sequence[str], where: str, needed: Sequence[str]) -> KeyError:
    return KeyError(
        f"Predictor: {where} has no column {column!r}{suggestion(column, list(present))}; the model "
        f"needs {', '.join(needed)}; there are {', '.join(map(str, present)) or 'none'}"
    )


def _trained(checkpoint: Path, trust: bool) -> tuple[DeployedModel, dict[str, str]]:
    with torch.random.fork_rng(devices=[]):  # new weights are drawn before those of the checkpoint are loaded
        objects = load_checkpoint(checkpoint, trust)
    objects.model.say_what_is_untrained()
    data, network = objects.datamodule, objects.model.model
    model = DeployedModel(network, data.inputs[network.input_name], data.scale_factors, data.points)
    return model.eval(), objects.units


def _tensors(events: Sequence[Event]) -> bool:
    return all(isinstance(event, Mapping) for event in events) and all(
        isinstance(values, Tensor) for event in events for values in event.values()
    )


def _column(values: Array) -> Tensor:
    values = values.detach().cpu() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, np.float32))
    return values.float()


def _sizes(offsets: Array, hits: int) -> list[int]:
    """Number of hits of each event."""
    given = np.asarray(offsets.cpu() if isinstance(offsets, Tensor) else offsets)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise ValueError(
            f"Predictor: offsets: expected whole numbers [events + 1], got {given.dtype} {list(given.shape)}"
        )
    limits: list[int] = given.tolist()
    sizes = [stop - start for start, stop in pairwise(limits)]
    if not limits or limits[0] != 0 or limits[-1] != hits or min(sizes, default=0) < 0:
        raise ValueError(
            f"Predictor: offsets: expected ascending numbers from 0 to the number of hits, {hits}, got "
            f"{limits if len(limits) < 8 else [*limits[:3], '...', *limits[-3:]]}"
        )
    return sizes


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of the events, those of similar size together."""
    batch: list[int] = []
    for number in np.argsort(sizes, kind="stable").tolist():
        if batch and (len(batch) + 1) * sizes[number] > HITS_AT_ONCE:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch

"""Which hits a filter keeps, from a file of its results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

GROUP = "preds/final/hit_filter"  # in the group of an event
DECISION = "hit_on_valid_particle"
PROBABILITY = "hit_on_valid_particle_prob"
THRESHOLD = 0.1

_log = logging.getLogger(__name__)


class HitFilter:
    """Says which hits of the selected events are kept.

    The file is HDF5 in the layout of hepattn's PredictionWriter. It has a group for each event, named by the number of
    the event in its folder, and in that `preds/final/hit_filter/hit_on_valid_particle_prob`, a probability for each
    hit, floats [1, M], or `preds/final/hit_filter/hit_on_valid_particle`, a decision for each hit, bool [1, M]. If both
    are there, the probability is used; a hit is kept if it is at least the threshold, compared in the type of the file.
    What is stored beyond the M hits of the event is padding and never looked at.

    Everything is read and checked here, once, and kept in memory as one bit for each hit: no process needs the file
    later.

    Args:
        path: The file.
        numbers: Numbers of the events in their folder, [events].
        num_hits: Number of hits of each event on disk, M, [events].
        where: Describes a selected event in error messages.
        threshold: Least probability of a hit that is kept; None for 0.1. Decisions have been cut already: with them,
            any other than None is an error.

    Attributes:
        num_hits: Number of hits of each event that are kept, int64 [events].

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the threshold is not in 0 to 1, the file is not HDF5 or damaged, or an event is missing or not as
            described; names file and event.
    """

    def __init__(
        self,
        path: Path | str,
        numbers: np.ndarray,
        num_hits: np.ndarray,
        where: Callable[[int], str],
        threshold: float | None = None,
    ) -> None:
        check_threshold(threshold)
        self._path = Path(path)
        self._threshold = threshold
        self._stored = np.asarray(num_hits, np.int64)
        stop = np.cumsum(-(-self._stored // 8))
        self._bytes = np.stack([stop - -(-self._stored // 8), stop], axis=1)  # of each event, first and last + 1
        self._bits = np.zeros(stop[-1] if len(stop) else 0, np.uint8)
        self.num_hits = np.zeros(len(self._stored), np.int64)
        with _opened(self._path) as file:
            self._check_events(file, numbers, where)
            for event, number in enumerate(numbers.tolist()):
                kept = self._read(file, number, event, where)
                first, last = self._bytes[event]
                self._bits[first:last] = np.packbits(kept)
                self.num_hits[event] = kept.sum()
        _log.info("%s keeps %d of %d hits", self._path, self.num_hits.sum(), self._stored.sum())

    def kept(self, events: np.ndarray) -> np.ndarray:
        """Which hits are kept.

        Args:
            events: Numbers of events in the selection, [n].

        Returns:
            For each hit of all of them on disk, one event after the other, bool [hits].
        """
        spans, counts = self._bytes[events].tolist(), self._stored[events].tolist()
        bits = [
            np.unpackbits(self._bits[first:last], count=count)
            for (first, last), count in zip(spans, counts, strict=True)
        ]
        return np.concatenate([np.empty(0, np.uint8), *bits]).view(np.bool_)

    def _check_events(self, file: h5py.File, numbers: np.ndarray, where: Callable[[int], str]) -> None:
        """Checks that there is a group for every event."""
        try:
            present = set(file)
        except (OSError, RuntimeError, UnicodeDecodeError) as error:
            raise ValueError(f"{self._path}: its groups cannot be listed, the file is damaged: {error}") from error
        missing = [event for event, number in enumerate(numbers.tolist()) if str(number) not in present]
        if missing:
            first = missing[0]
            raise ValueError(
                f"{self._path}: no group '{numbers[first]}' for {where(first)}: expected one for each of "
                f"{len(numbers)} events, named by its number, got {len(numbers) - len(missing)} of them among "
                f"{len(present)} names"
            )

    def _read(self, file: h5py.File, number: int, event: int, where: Callable[[int], str]) -> np.ndarray:
        """Which hits of an event are kept, bool [M]; without h5py's objects, whose making takes most of the time."""
        count = int(self._stored[event])
        try:
            group = h5py.h5g.open(file.id, f"{number}/{GROUP}".encode())
            name = PROBABILITY if PROBABILITY.encode() in group else DECISION
            dataset = h5py.h5d.open(group, name.encode())
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{self._path}: {where(event)}: expected '{number}/{GROUP}/{PROBABILITY}' or '.../{DECISION}', got "
                f"neither: {error}"
            ) from error
        kind, wanted = {PROBABILITY: ("f", "floats"), DECISION: ("b", "bool")}[name]
        here = f"{self._path}: {where(event)}: '{number}/{GROUP}/{name}'"
        try:
            shape: tuple[int, ...] = dataset.shape or ()  # None of an empty data set
            dtype = dataset.dtype
            fits = len(shape) == 2 and shape[0] == 1 and shape[1] >= count and dtype.kind == kind
            values = np.empty(count if fits else 0, dtype)
            if len(values):
                stored = dataset.get_space()
                stored.select_hyperslab((0, 0), (1, count))
                dataset.read(h5py.h5s.create_simple((count,)), stored, values)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{here} cannot be read, the file is damaged: {error}") from error
        if not fits:
            raise ValueError(
                f"{here}: expected {wanted} [1, {count}], one for each hit, or more with padding, got {dtype} "
                f"{list(shape)}"
            )
        if name == DECISION:
            if self._threshold is not None:
                raise ValueError(
                    f"{here}: expected probabilities ('{PROBABILITY}'), on which hit_filter_threshold "
                    f"{self._threshold:g} can act, got decisions, which were cut when the file was written: set it to "
                    "null"
                )
            return values
        bad = ~((values >= 0) & (values <= 1))
        if bad.any():
            hit = int(np.argmax(bad))
            raise ValueError(f"{here}: expected probabilities from 0 to 1, got {values[hit]} for hit {hit}")
        kept: np.ndarray = values >= (THRESHOLD if self._threshold is None else self._threshold)
        return kept


def check_threshold(threshold: float | None) -> None:
    """Checks a threshold of probabilities.

    Args:
        threshold: The threshold; None for the usual one.

    Raises:
        ValueError: If it is not in 0 to 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"hit_filter_threshold: expected a number from 0 to 1, got {threshold}")


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise FileNotFoundError(f"file of filter results {path} does not exist: expected HDF5 with a group per event")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"file of filter results {path} is not readable as HDF5: {error}") from error
    with file:
        yield file

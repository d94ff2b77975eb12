"""Reads a data set once, file by file, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hitpool.data.magnitudes import OF_COORDINATES, OF_HITS, OF_TRACKS, coordinates, doubtful_columns
from hitpool.data.truth_link import truth_link_of
from hitpool.files import EventFile, EventIndex, open_event_file, read_index
from hitpool.inspection.findings import Findings, Severity
from hitpool.inspection.ordering import Ordering
from hitpool.inspection.statistics import ColumnStatistics, Counts, Reservoir

_MOST_CODES = 100
_SLOTS = 2  # default of data.max_particles
ERROR, DEFECT, REMARK = Severity.ERROR, Severity.DEFECT, Severity.REMARK


def inspect(
    directory: Path | str, truth_link: str | None = None, progress: Callable[[int], None] | None = None
) -> Scan:
    """Inspects a data set.

    Args:
        directory: Folder of the data set.
        truth_link: Column that links a hit to its track; None takes the one that the data set names, or
            ``spacePoint_truthLink`` if there is one.
        progress: Called with the number of events that have been read since the last call.

    Returns:
        What was found.

    Raises:
        FileNotFoundError: If the folder, its metadata or its index is missing.
        ValueError: If metadata or index are damaged, or the truth link column is not there.
    """
    result = Scan(read_index(directory), truth_link)
    result.run(progress or (lambda events: None))
    return result


class Scan:
    """What a data set consists of.

    Args:
        index: Where the events are.
        truth_link: See ``inspect``.

    Attributes:
        findings: What is wrong or remarkable.
        hits: Statistics of the hit columns, all valid hits.
        tracks: Statistics of the track columns.
        sample: Up to 100,000 random tracks.
        hits_per_event: Counts.
        tracks_per_event: Counts.
        hits_per_track: Counts, if there is a truth link.
        true_hits: Number of hits that belong to a track.
        technologies: Number of hits and of true hits by the value of the column ``<prefix>technology``.
        hit_order: Mean number of hits in blocks of consecutive events.
        track_order: Means of the track columns in blocks of consecutive events.
    """

    def __init__(self, index: EventIndex, truth_link: str | None = None) -> None:
        self.index = index
        columns = index.hit_columns
        self.findings = Findings()
        self.truth_link = self._truth_link(truth_link)
        self.technology = next((name for name in columns if name.endswith("technology")), None)
        self.hits, self.tracks = ColumnStatistics(columns), ColumnStatistics(index.track_columns)
        self.sample = Reservoir(len(index.track_columns))
        self.hits_per_event, self.tracks_per_event, self.hits_per_track = Counts(), Counts(), Counts()
        self.true_hits = 0
        self.technologies: dict[float, tuple[int, int]] = {}
        self.hit_order = Ordering(len(index), ["hits per event"])
        self.track_order = Ordering(len(index), index.track_columns)

    def run(self, progress: Callable[[int], None]) -> None:
        """Reads everything; see ``inspect``."""
        order = np.lexsort((self.index.row_index, self.index.file_index))
        files = self.index.file_index[order]
        for events in np.split(order, np.flatnonzero(np.diff(files)) + 1):
            done = 0
            for number in self._file(events):
                progress(number)
                done += number
            progress(len(events) - done)
        for number in np.setdiff1d(np.arange(len(self.index.files)), files):
            self.findings.note(REMARK, "file that the index does not use", 1, self.index.files[number])
        self._conclude()

    def _truth_link(self, wanted: str | None) -> int | None:
        columns, name = self.index.hit_columns, truth_link_of(self.index, wanted)
        if name in columns:
            return columns.index(name)
        if wanted is not None:
            raise ValueError(f"there is no truth link column '{wanted}'; available columns: {', '.join(columns)}")
        text = f"there is no '{name}': --truth_link names the column"
        self.findings.note(REMARK, "no truth link, hits of tracks are not inspected", 1, text)
        return None

    def _file(self, events: np.ndarray) -> Iterator[int]:
        """Reads the events of one file; yields numbers of events that are done."""
        rows, first, repeated = np.unique(self.index.row_index[events], return_index=True, return_counts=True)
        if (more := repeated > 1).any():
            example = f"{self.index.where(events[first[more][0]])} comes {repeated[more][0]} times"
            self.findings.note(DEFECT, "event more than once in the index", int((repeated - 1).sum()), example)
        events = events[first]
        path = self.index.path(self.index.file_index[events[0]])
        try:
            with open_event_file(path, self.index.hit_columns, self.index.track_columns) as file:
                unused = len(file) - int(np.count_nonzero(rows < len(file)))
                self.findings.note(REMARK, "row that the index does not use", unused, f"{path} has {unused}")
                usable = self._counts_are_good(file, events, rows)
                events, rows = events[usable], rows[usable]
                yield int(np.count_nonzero(~usable))
                for covered, block in file.slabs(file.tracks, rows):
                    self._tracks(events[covered], block, file.num_tracks[rows[covered]])
                for covered, block in file.slabs(file.hits, rows):
                    now = rows[covered]
                    self._hits(events[covered], block, file.num_hits[now], file.num_tracks[now])
                    yield len(covered)
        except (FileNotFoundError, ValueError) as error:
            self.findings.note(ERROR, "file that cannot be read", 1, str(error))

    def _counts_are_good(self, file: EventFile, events: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Which of the rows are there and have possible counts, bool [rows]."""
        good = rows < len(file)
        self._note(ERROR, "row beyond the end of the file", ~good, events, lambda i: f"the file has {len(file)} rows")
        for name, counts, limit in (
            ("num_hits", file.num_hits, file.hits.shape[1]),
            ("num_tracks", file.num_tracks, file.tracks.shape[1]),
        ):
            value = np.zeros(len(rows), np.int64)
            value[rows < len(file)] = counts[rows[rows < len(file)]]
            bad = (value < 0) | (value > limit)
            overflow = bad & (value < 0) & (value >= -(2**15)) & (limit > 2**15 - 1)
            for kind, chosen in ((f"{name} overflows int16", overflow), (f"{name} impossible", bad & ~overflow)):
                self._note(ERROR, kind, chosen, events, _count(name, value, limit))
            good &= ~bad
        return good

    def _tracks(self, events: np.ndarray, block: np.ndarray, number: np.ndarray) -> None:
        """Tracks [n, most tracks, T] of events [n]."""
        self.tracks_per_event.add(number)
        valid = np.arange(block.shape[1]) < number[:, None]
        flat = block[valid]  # [tracks, T]
        self.sample.add(flat)
        owner = events[np.nonzero(valid)[0]]
        self._columns("track", self.tracks, flat, owner)
        finite = valid[..., None] & np.isfinite(block)
        with np.errstate(invalid="ignore"):
            means = np.where(finite, block, 0).sum(1, dtype=np.float64) / finite.sum(1)  # [n, T]
        self.track_order.add(events, means)

    def _hits(self, events: np.ndarray, block: np.ndarray, number: np.ndarray, num_tracks: np.ndarray) -> None:
        """Hits [n, most hits, C] of events [n]."""
        self.hits_per_event.add(number)
        self.hit_order.add(events, number[:, None])
        valid = np.arange(block.shape[1]) < number[:, None]
        flat, owner = block[valid], np.nonzero(valid)[0]  # [hits, C], [hits]
        self._columns("hit", self.hits, flat, events[owner])
        self._note(REMARK, "event without hits", number == 0, events)
        self._note(REMARK, "event without tracks", num_tracks == 0, events)
        true = np.zeros(len(flat), bool)
        if self.truth_link is not None:
            true = self._truth(events, owner, flat[:, self.truth_link], num_tracks)
        if self.technology is not None:
            self._technologies(flat[:, self.hits.names.index(self.technology)], true)

    def _truth(self, events: np.ndarray, owner: np.ndarray, link: np.ndarray, num_tracks: np.ndarray) -> np.ndarray:
        """Truth links [hits] of hits in the events events[owner]; says which hits belong to a track, bool [hits]."""
        bad = ~((link >= -1) & (link < num_tracks[owner]) & (link == np.floor(link)))
        expected = "expected -1 or the number of one of"
        self._note(
            ERROR,
            "truth link to no track",
            bad,
            events[owner],
            lambda i: f"it is {link[i]:g}, {expected} the {num_tracks[owner[i]]} tracks",
        )
        true: np.ndarray = ~bad & (link >= 0)
        self.true_hits += int(np.count_nonzero(true))
        most = int(num_tracks.max(initial=0))
        slot = owner[true] * most + link[true].astype(np.int64)
        per_track = np.bincount(slot, minlength=len(events) * most).reshape(len(events), most)
        exists = np.arange(most) < num_tracks[:, None]
        self.hits_per_track.add(per_track[exists])
        event, track = np.nonzero(exists & (per_track == 0))
        everyone = np.ones(len(event), bool)
        self._note(DEFECT, "track without hits", everyone, events[event], lambda i: f"track {track[i]}")
        return true

    def _technologies(self, technology: np.ndarray, true: np.ndarray) -> None:
        code = (technology >= 0) & (technology < _MOST_CODES) & (technology == np.floor(technology))
        values, which = np.unique(technology[code], return_inverse=True)
        hits = np.bincount(which, minlength=len(values))
        true_hits = np.bincount(which[true[code]], minlength=len(values))
        for value, *numbers in zip(values.tolist(), hits.tolist(), true_hits.tolist(), strict=True):
            before = self.technologies.get(value, (0, 0))
            self.technologies[value] = (before[0] + numbers[0], before[1] + numbers[1])

    def _columns(self, what: str, statistics: ColumnStatistics, values: np.ndarray, events: np.ndarray) -> None:
        """Notes values [n, K] of events [n] that are not finite or outside their range."""
        finite, outside = statistics.add(values)
        for column in np.flatnonzero(~finite.all(0)):
            name = statistics.names[column]
            kind = f"{what} column {name} is not finite: not usable as {'input' if what == 'hit' else 'target'}"
            self._note(DEFECT, kind, ~finite[:, column], events, _value(values[:, column]))
        for column in np.flatnonzero(outside.any(0)):
            low, high = statistics.expected[column]
            kind = f"{what} column {statistics.names[column]} outside {low:g} to {high:g}"
            self._note(REMARK, kind, outside[:, column], events, _value(values[:, column], "g"))

    def _note(
        self,
        severity: Severity,
        kind: str,
        chosen: np.ndarray,
        events: np.ndarray,
        describe: Callable[[int], str] | None = None,
    ) -> None:
        """Notes the chosen ones (bool [n]) of things that belong to events [n]."""
        if chosen.any():
            first = int(np.argmax(chosen))
            example = self.index.where(int(events[first])) + (f": {describe(first)}" if describe else "")
            self.findings.note(severity, kind, int(np.count_nonzero(chosen)), example)

    def _units(self) -> None:
        """Notes columns whose values seem to have another unit than that of their quantity."""
        for what, statistics, remedy in (("hit", self.hits, OF_HITS), ("track", self.tracks, OF_TRACKS)):
            doubtful = doubtful_columns(statistics.names, statistics.rms, statistics.largest, remedy)
            for name, text in doubtful.items():
                self.findings.note(DEFECT, f"{what} column {name} seems to have another unit", statistics.count, text)
        if known := coordinates(self.hits.names):
            quantity, names = known
            largest = max(self.hits.largest[self.hits.names.index(name)] for name in names)
            if doubt := quantity.doubt(float(largest), OF_COORDINATES):
                kind = f"hit columns {', '.join(names)} seem to have another unit"
                self.findings.note(DEFECT, kind, self.hits.count, doubt)

    def _conclude(self) -> None:
        """Findings that need everything."""
        for what, statistics in (("hit", self.hits), ("track", self.tracks)):
            for name, low, high in zip(statistics.names, statistics.low, statistics.high, strict=True):
                if low == high == 0 and statistics.count > 1:
                    kind = f"{what} column {name} is 0 everywhere"
                    self.findings.note(REMARK, kind, statistics.count, "all values")
        self._units()
        if (most := len(self.tracks_per_event.histogram) - 1) > _SLOTS:
            more = int(self.tracks_per_event.histogram[_SLOTS + 1 :].sum())
            text = f"up to {most}: reading all needs data.max_particles {most}"
            self.findings.note(REMARK, f"event with more than {_SLOTS} tracks", more, text)
        for trend in (*self.hit_order.trends(), *self.track_order.trends()):
            text = f"mean {trend.first:.4g} in the first 5 %, {trend.mean:.4g} in all: take random events as a sample"
            self.findings.note(REMARK, f"events are ordered: {trend.name}", 1, text)
        if not self.hits_per_event.total:
            self.findings.note(ERROR, "no event can be read", 1, str(self.index.directory))


def _count(name: str, counts: np.ndarray, limit: int) -> Callable[[int], str]:
    """Describes one of some counts that are impossible."""
    return lambda i: f"{name} is {counts[i]}, expected 0 to {limit}"


def _value(values: np.ndarray, form: str = "") -> Callable[[int], str]:
    """Describes one of some values."""
    return lambda i: f"value {values[i]:{form}}"

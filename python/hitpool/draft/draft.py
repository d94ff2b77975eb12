"""From a data set to what its first configuration says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hitpool.data import EventDataset
from hitpool.data.magnitudes import OF_TRACKS, doubtful_columns
from hitpool.data.truth_link import truth_link_of
from hitpool.draft.folders import Folders, find_folders
from hitpool.draft.hits import METRES, HitColumns, judge_hits, possible_units
from hitpool.draft.solenoid import FIELDS, Bending, measure_bending
from hitpool.draft.targets import Targets, judge_targets
from hitpool.files import open_event_file, read_index
from hitpool.inspection.command import scan_with_progress
from hitpool.inspection.findings import Severity

SAMPLE = 1000  # events


@dataclass
class Draft:
    """What a look at a data set gives.

    Attributes:
        folders: Its parts.
        events: Number of training events.
        most_tracks: Tracks of the event with most of them, in all parts.
        most_hits: Hits of the training event with most of them.
        hits: Roles of the hit columns.
        targets: How the track columns are learned.
        doubts: What looks wrong with units, a line each.
        bending: What the true tracks say about the field along z; None if charge, momentum or points are missing.
    """

    folders: Folders
    events: int
    most_tracks: int
    most_hits: int
    hits: HitColumns
    targets: Targets
    doubts: list[str]
    bending: Bending | None

    @property
    def field(self) -> float | None:
        """Field of a solenoid in T, if there is one."""
        return self.bending.field if self.bending and self.bending.uniform else None


def draft(data: Path, truth_link: str | None = None) -> Draft:
    """Looks at a data set.

    Args:
        data: A data set, or the folder of the data sets `train`, `val` and `test`.
        truth_link: Column that links a hit to its track; None takes the one that the data set names, or that of the
            muon columns.

    Raises:
        FileNotFoundError: If there is no data set.
        ValueError: If it cannot be used for training, or nothing says which column is the truth link.
    """
    folders = find_folders(data)
    index = read_index(folders.train)
    link = truth_link_of(index, truth_link)
    if link not in index.hit_columns:
        raise ValueError(
            f"{folders.train} does not say which hit column holds the number of the track: name it with --truth_link; "
            f"available columns: {', '.join(index.hit_columns)}"
        )
    scan = scan_with_progress(folders.train, link)
    if errors := [finding for finding in scan.findings.sorted() if finding.severity is Severity.ERROR]:
        raise ValueError(f"{folders.train} cannot be used: {errors[0].kind}: {errors[0].example}")
    most_tracks = max(_most_tracks(folder) for folder in folders.all)
    targets = judge_targets(scan)

    def opened(inputs: list[str], wanted: list[str], columns: HitColumns | None = None) -> EventDataset:
        return EventDataset(
            folders.train,
            {"hit": inputs},
            {"particle": wanted},
            max_particles=max(most_tracks, 1),
            scale_factors=dict.fromkeys(columns.point or (), METRES[columns.unit]) if columns else None,
            points={columns.prefix: [list(columns.point)]} if columns and columns.point else {},
            truth_link=link,
        )

    first = next(name for name in index.hit_columns if name != link)
    hits = judge_hits(scan, opened([first], targets.fields[:1]).sample_hits(SAMPLE), link)
    bending = None
    if hits.point and targets.charge_over_pt:
        _, *wanted = targets.charge_over_pt
        for unit in possible_units(hits, scan):
            columns = replace(hits, unit=unit)
            measured = measure_bending(opened(columns.derived[:3], wanted, columns))
            bending = bending or measured
            if measured.uniform and FIELDS[0] <= abs(measured.field) <= FIELDS[1]:
                hits, bending = columns, measured
                break
    doubts = doubtful_columns(scan.tracks.names, scan.tracks.rms, scan.tracks.largest, OF_TRACKS)
    return Draft(
        folders,
        len(index),
        most_tracks,
        len(scan.hits_per_event.histogram) - 1,
        hits,
        targets,
        [f"{name}: {text}" for name, text in doubts.items() if name in targets.fields],
        bending,
    )


def _most_tracks(folder: Path) -> int:
    index, most = read_index(folder), 0
    for number in range(len(index.files)):
        rows = index.row_index[index.file_index == number]
        with open_event_file(index.path(number), index.hit_columns, index.track_columns) as file:
            most = max(most, int(file.num_tracks[rows].max(initial=0)))
    return most

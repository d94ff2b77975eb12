"""Small data sets written by hand, in the layouts of the filtering and of the tracking set."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import yaml

HIT_COLUMNS = [
    f"spacePoint_{name}"
    for name in (
        *(f"globEdge{edge}{axis}" for edge in ("High", "Low") for axis in "XYZ"),
        *("time", "driftR", "readOutSide", "covXX", "covXY", "covYX", "covYY", "channel", "layer"),
        *("stationPhi", "stationEta", "stationIndex", "technology", "truthLink"),
    )
]
HIT_COLUMNS_23 = HIT_COLUMNS[:6] + [f"spacePoint_globPos{axis}" for axis in "XYZ"] + HIT_COLUMNS[6:]
TRACK_COLUMNS = ["truthMuon_pt", "truthMuon_eta", "truthMuon_phi", "truthMuon_q"]
INPUTS_23 = [c for c in HIT_COLUMNS if not c.endswith(("readOutSide", "truthLink"))] + [
    "r",
    "s",
    "theta",
    "phi",
    "eta",
]


@dataclass
class Events:
    """Events in memory: the truth that the loader is compared with."""

    hits: list[np.ndarray]
    tracks: list[np.ndarray]
    columns: list[str] = field(default_factory=lambda: list(HIT_COLUMNS))

    def column(self, event: int, name: str) -> np.ndarray:
        return self.hits[event][:, self.columns.index(name)]


def make_events(number: int, columns: list[str] = HIT_COLUMNS, seed: int = 0, most_hits: int = 40) -> Events:
    """Random events of up to 2 tracks and ``most_hits`` hits; the first is empty, the second has one hit."""
    random = np.random.default_rng(seed)
    hits, tracks = [], []
    for event in range(number):
        n = min(event, 1) if event < 2 else int(random.integers(2, most_hits + 1))
        t = 0 if n == 0 else int(random.integers(1, 3))
        block = random.uniform(-9000, 9000, (n, len(columns))).astype(np.float32)
        block[:, columns.index("spacePoint_truthLink")] = random.integers(-1, t, n)
        block[:, columns.index("spacePoint_channel")] = random.integers(0, 6000, n)
        hits.append(block)
        pt, charge = random.uniform(5, 200, t), random.choice([-1.0, 1.0], t)
        eta, phi = random.uniform(-2.7, 2.7, t), random.uniform(-math.pi, math.pi, t)
        tracks.append(np.stack([pt, eta, phi, charge], axis=1).astype(np.float32))
    return Events(hits, tracks, list(columns))


def write_dataset(
    directory: Path,
    events: Events,
    layout: str = "tracking",
    num_files: int = 1,
) -> Path:
    """Writes events as a data set folder; event i lies in file i % num_files, in reverse order."""
    (directory / "data").mkdir(parents=True)
    number = len(events.hits)
    file_of = np.arange(number) % num_files
    row_of = np.zeros(number, np.int64)
    chunks = []
    for number_of_file in range(num_files):
        members = np.flatnonzero(file_of == number_of_file)[::-1]
        row_of[members] = np.arange(len(members))
        name = "data/filtered_events.h5" if num_files == 1 else f"data/events_{number_of_file:03d}.h5"
        _write_file(directory / name, events, members, layout)
        chunks.append({"h5_file": name, "event_count": len(members), "worker_id": "merged"})
    index_type = np.int64 if layout == "filtering" else np.int32
    np.save(directory / "event_file_indices.npy", file_of.astype(np.int16 if layout == "tracking" else np.int64))
    np.save(directory / "event_row_indices.npy", row_of.astype(index_type))
    metadata = {
        "hit_features": events.columns,
        "track_features": TRACK_COLUMNS,
        "event_mapping": {"total_events": number, "chunk_summary": chunks},
    }
    (directory / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return directory


def _write_file(path: Path, events: Events, members: np.ndarray, layout: str) -> None:
    most_hits = max((len(events.hits[i]) for i in members), default=0) + 3
    most_tracks = max(2, *(len(events.tracks[i]) for i in members)) if len(members) else 2
    hits = np.full((len(members), most_hits, len(events.columns)), np.nan, np.float32)
    tracks = np.full((len(members), most_tracks, 4), np.nan, np.float32)
    for row, i in enumerate(members):
        hits[row, : len(events.hits[i])] = events.hits[i]
        tracks[row, : len(events.tracks[i])] = events.tracks[i]
    num_hits = np.array([len(events.hits[i]) for i in members], np.int16)
    num_tracks = np.array([len(events.tracks[i]) for i in members], np.int16)
    with h5py.File(path, "w") as file:
        if layout == "filtering":
            packed = {"compression": "gzip", "compression_opts": 6, "shuffle": True, "fletcher32": True}
            file.create_dataset("hits", data=hits, **packed)
            file.create_dataset("tracks", data=tracks, **packed)
            file.create_dataset("num_hits", data=num_hits, compression="gzip")
            file.create_dataset("num_tracks", data=num_tracks, compression="gzip")
            file.create_dataset("event_numbers", data=members.astype(np.int32), compression="gzip")
        else:
            rows = min(1, len(members))
            file.create_dataset("hits", data=hits, chunks=(rows, *hits.shape[1:]) if rows else None)
            file.create_dataset("tracks", data=tracks, chunks=(rows, *tracks.shape[1:]) if rows else None)
            file.create_dataset("num_hits", data=num_hits)
            file.create_dataset("num_tracks", data=num_tracks)
            file.create_dataset("event_numbers", data=members.astype(np.int64))
            file.attrs["hit_features"] = [name.encode() for name in events.columns]
            file.attrs["track_features"] = [name.encode() for name in TRACK_COLUMNS]

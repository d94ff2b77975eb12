"""Small data sets written by hand, in the layouts of the filtering and of the tracking set."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import yaml

from hitpool.files import INDEX_FILES, write_event_file, write_index
from hitpool.files import Events as FlatEvents

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


def write_dataset(directory: Path, events: Events, layout: str = "tracking", num_files: int = 1) -> Path:
    """Writes events as a data set folder; event i lies in file i % num_files, in reverse order.

    Files of other origin have no checksums and may have rows of padding alone; those of ``filtering`` are compressed.
    """
    members = [np.arange(number, len(events.hits), num_files)[::-1] for number in range(num_files)]
    names = ["data/filtered_events.h5"] if num_files == 1 else [f"data/events_{i:03d}.h5" for i in range(num_files)]
    for name, chosen in zip(names, members, strict=True):
        _write_file(directory / name, events, chosen, layout)
    files = [{"h5_file": name, "event_count": len(own)} for name, own in zip(names, members, strict=True)]
    write_index(directory, events.columns, TRACK_COLUMNS, files, {})
    order = np.argsort(np.concatenate(members))
    for name in INDEX_FILES.values():
        np.save(directory / name, np.load(directory / name)[order])
    metadata = yaml.safe_load((directory / "metadata.yaml").read_text())
    del metadata["event_mapping"]["index_crc32"]
    (directory / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return directory


def _write_file(path: Path, events: Events, members: np.ndarray, layout: str) -> None:
    hits, tracks = ([kind[i] for i in members] for kind in (events.hits, events.tracks))
    flat = FlatEvents(
        np.concatenate([np.empty((0, len(events.columns)), np.float32), *hits]),
        np.array([len(rows) for rows in hits], np.int32),
        np.concatenate([np.empty((0, 4), np.float32), *tracks]),
        np.array([len(rows) for rows in tracks], np.int32),
    )
    write_event_file(path, events.columns, TRACK_COLUMNS, flat, members)
    with h5py.File(path, "r+") as file:
        padded = np.pad(file["hits"][:], ((0, 0), (0, 3), (0, 0)), constant_values=np.nan)
        del file["hits"], file["hits_crc32"], file["tracks_crc32"]
        file.create_dataset("hits", data=padded, chunks=(1, *padded.shape[1:]) if len(members) else None)
        for name in [*file] if layout == "filtering" else []:
            values = file[name][:]
            del file[name]
            file.create_dataset(name, data=values, compression="gzip", shuffle=True, fletcher32=True)

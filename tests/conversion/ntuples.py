"""ROOT files written with uproot, and what a conversion of them must give, computed event by event."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hitpool.data import EventDataset

HIT_COLUMNS = [
    f"spacePoint_{name}"
    for name in (
        *(f"globEdge{edge}{axis}" for edge in ("High", "Low") for axis in "XYZ"),
        *("time", "driftR", "readOutSide", "covXX", "covXY", "covYX", "covYY", "channel", "layer"),
        *("stationPhi", "stationEta", "stationIndex", "technology", "truthLink"),
    )
]
TRACK_COLUMNS = ["truthMuon_pt", "truthMuon_eta", "truthMuon_phi", "truthMuon_q"]


@dataclass
class Event:
    """One event: hits without the truth link, the number of the track of each hit, tracks as pt, eta, phi, q."""

    number: int
    hits: np.ndarray  # float32 [hits, columns]
    links: list[int]
    tracks: np.ndarray  # float32 [tracks, 4]


def make_events(number: int, seed: int = 0, num_columns: int = 19) -> list[Event]:
    """Events of 0 to 3 tracks, some of them soft, forward or with few hits, and 0 to 40 hits."""
    random = np.random.default_rng(seed)
    events = []
    for i in range(number):
        t = int(random.integers(0, 4))
        values = random.uniform(3, 40, t), random.uniform(-3, 3, t), random.uniform(-3.1, 3.1, t)
        tracks = np.stack([*values, random.choice([-1.0, 1.0], t)], axis=1).astype(np.float32)
        links = random.choice(range(-2, t), int(random.integers(0, 41)) if i else 0)
        hits = random.normal(0, 5000, (len(links), num_columns)).astype(np.float32)
        events.append(Event(100 + 7 * i, hits, [int(link) for link in links], tracks))
    return events


def expected(events: list[Event], cuts) -> tuple[list[Event], list[tuple[int, int]]]:
    """The events that pass, renumbered, and (events, tracks) after each cut that is on."""
    flow = [[0, 0] for _ in range(7)]
    left = []
    for event in events:
        reached = [len(event.tracks)]
        kept = list(range(len(event.tracks)))
        for limit, passes in (
            (cuts.min_pt, lambda track, limit, event=event: event.tracks[track][0] >= np.float32(limit)),
            (cuts.max_eta, lambda track, limit, event=event: abs(event.tracks[track][1]) <= np.float32(limit)),
            (cuts.min_hits_per_track, lambda track, limit, event=event: event.links.count(track) >= limit),
        ):
            kept = [track for track in kept if limit is None or passes(track, limit)]
            reached.append(len(kept))
        good = True
        for limit, passes in (
            (cuts.min_tracks, len(kept) >= (cuts.min_tracks or 0)),
            (cuts.max_tracks, len(kept) <= (cuts.max_tracks or 0)),
            (cuts.max_hits, len(event.links) <= (cuts.max_hits or 0)),
        ):
            good = good and (limit is None or passes)
            reached.append(len(kept) if good else None)
        for step, tracks in zip(flow, reached, strict=True):
            if tracks is not None:
                step[0] += 1
                step[1] += tracks
        if good:
            links = [kept.index(link) if link in kept else -1 for link in event.links]
            left.append(Event(event.number, event.hits, links, event.tracks[kept]))
    limits = (0, cuts.min_pt, cuts.max_eta, cuts.min_hits_per_track, cuts.min_tracks, cuts.max_tracks, cuts.max_hits)
    return left, [tuple(step) for step, limit in zip(flow, limits, strict=True) if limit is not None]


def check(folder: Path, events: list[Event], fields: list[str] = HIT_COLUMNS, link: str = HIT_COLUMNS[-1]) -> None:
    """Compares a data set with the events it must hold, in their order."""
    dataset = EventDataset(
        folder,
        {"hit": [name for name in fields if name != link]},
        {"particle": TRACK_COLUMNS},
        scale_factors={},
        points={},
        truth_link=link,
        max_particles=3,
    )
    assert len(dataset) == len(events)
    for number, event in enumerate(events):
        inputs, targets = dataset[number]
        assert inputs["hit_valid"].shape == (1, len(event.links))
        for i, name in enumerate(name for name in fields if name != link):
            np.testing.assert_array_equal(inputs[f"hit_{name}"][0].numpy(), event.hits[:, i])
        assert targets["particle_valid"].sum() == len(event.tracks)
        for i, name in enumerate(TRACK_COLUMNS):
            got = targets[f"particle_{name}"][0, : len(event.tracks)].numpy()
            np.testing.assert_allclose(got, event.tracks[:, i], rtol=1e-6)
        for track in range(3):
            mask = targets["particle_hit_valid"][0, track].tolist()
            assert mask == [own == track for own in event.links]


def branches(events: list[Event], hit_names: list[str], track_names: list[str], number: str = "eventNumber") -> dict:
    """Content of a tree: jagged arrays by branch; the last hit branch is the truth link."""
    import awkward as ak

    num_hits, num_tracks = [len(event.links) for event in events], [len(event.tracks) for event in events]
    hits = np.concatenate([event.hits for event in events])
    tracks = np.concatenate([event.tracks for event in events])
    content = {name: ak.unflatten(hits[:, i], num_hits) for i, name in enumerate(hit_names[:-1])}
    links = np.concatenate([np.array(event.links, np.int32) for event in events])
    content[hit_names[-1]] = ak.unflatten(links, num_hits)
    content |= {name: ak.unflatten(tracks[:, i], num_tracks) for i, name in enumerate(track_names)}
    content[number] = np.array([event.number for event in events], np.int64)
    return content


def write_root(path: Path, content: dict, kind: str = "TTree", tree: str = "events", baskets: int = 1) -> Path:
    """Writes a tree or RNTuple."""
    import awkward as ak
    import uproot

    with uproot.recreate(path) as file:
        if kind == "RNTuple":
            file.mkrntuple(tree, ak.Array(content))
        else:
            types = {name: _type(array) for name, array in content.items()}
            file.mktree(tree, types)
            number = len(next(iter(content.values())))
            for i in range(baskets):  # one basket for each branch and call
                chosen = slice(number * i // baskets, number * (i + 1) // baskets)
                file[tree].extend({name: array[chosen] for name, array in content.items()})
    return path


def _type(array) -> str:
    return f"var * {array.layout.content.dtype.name}" if array.ndim == 2 else array.dtype.name

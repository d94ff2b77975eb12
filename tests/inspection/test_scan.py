"""Numbers and findings of an inspection, against the events that were written."""

import h5py
import numpy as np
import pytest
import yaml

from hitpool.inspection import Scan, inspect

from ..data.data_sets import HIT_COLUMNS, TRACK_COLUMNS, Events, make_events, write_dataset

TRUTH = HIT_COLUMNS.index("spacePoint_truthLink")
TECHNOLOGY = HIT_COLUMNS.index("spacePoint_technology")
FILE = "data/filtered_events.h5"


@pytest.fixture
def events() -> Events:
    """Forty events without a defect."""
    events, random = make_events(40, seed=1), np.random.default_rng(2)
    for hits, tracks in zip(events.hits, events.tracks, strict=True):
        hits[:, :] = random.uniform(0, 5, hits.shape)
        hits[:, :6] *= 2000
        hits[:, TECHNOLOGY] = random.choice([0, 2, 5], len(hits))
        hits[:, TRUTH] = np.resize([0, -1, len(tracks) - 1], len(hits))
        if len(hits) < 3:
            tracks.resize((min(len(tracks), len(hits)), 4), refcheck=False)
            hits[:, TRUTH] = 0
    return events


def kinds(scan: Scan, severity: str | None = None) -> dict[str, int]:
    return {f.kind: f.number for f in scan.findings.sorted() if severity in (None, f.severity)}


def only(scan: Scan, severity: str) -> tuple[str, int, str]:
    (finding,) = (f for f in scan.findings.values() if f.severity == severity)
    return finding.kind, finding.number, finding.example


@pytest.mark.parametrize("layout", ["tracking", "filtering"])
@pytest.mark.parametrize("slab", [1, 2**26])
def test_statistics_are_those_of_the_valid_hits_and_tracks(tmp_path, events, layout, slab, monkeypatch):
    monkeypatch.setattr("hitpool.files.event_file.SLAB_BYTES", slab)
    done = []
    scan = inspect(write_dataset(tmp_path / "set", events, layout, num_files=3), progress=done.append)
    hits, tracks = np.concatenate(events.hits).astype(np.float64), np.concatenate(events.tracks).astype(np.float64)
    assert sum(done) == 40
    for statistics, values in ((scan.hits, hits), (scan.tracks, tracks)):
        assert statistics.count == len(values)
        np.testing.assert_array_equal(statistics.low, values.min(0))
        np.testing.assert_array_equal(statistics.high, values.max(0))
        np.testing.assert_allclose(statistics.mean, values.mean(0), rtol=1e-9)
        np.testing.assert_allclose(statistics.sd, values.std(0), rtol=1e-6)
        assert not statistics.not_finite.any()
    assert sorted(map(tuple, scan.sample.rows)) == sorted(map(tuple, np.concatenate(events.tracks)))
    np.testing.assert_array_equal(scan.hits_per_event.histogram, np.bincount([len(h) for h in events.hits]))
    np.testing.assert_array_equal(scan.tracks_per_event.histogram, np.bincount([len(t) for t in events.tracks]))
    per_track = [
        np.count_nonzero(own[:, TRUTH] == track)
        for own, tracks in zip(events.hits, events.tracks, strict=True)
        for track in range(len(tracks))
    ]
    np.testing.assert_array_equal(scan.hits_per_track.histogram, np.bincount(per_track))
    assert scan.true_hits == np.count_nonzero(hits[:, TRUTH] >= 0) == sum(per_track)
    for value in (0, 2, 5):
        chosen = hits[:, TECHNOLOGY] == value
        assert scan.technologies[value] == (chosen.sum(), (chosen & (hits[:, TRUTH] >= 0)).sum())
    assert scan.findings.readable
    assert set(kinds(scan)) == {"event without hits", "event without tracks"}


def test_findings_in_hits_and_tracks(tmp_path, events):
    events.hits[7][1, 3] = np.nan
    events.hits[9][:2, 3] = np.inf
    events.hits[11][0, TRUTH] = 5
    events.hits[12][0, TRUTH] = -2
    events.hits[13][1, TRUTH] = np.nan
    events.tracks[20] = np.array([[4.0, 2.8, 0.5, 1.0], [50.0, 0.5, np.nan, 1.0]], np.float32)
    events.hits[20][:, TRUTH] = 1
    for hits in events.hits:
        hits[:, 5] = 0.0
    scan = inspect(write_dataset(tmp_path / "set", events))
    name = HIT_COLUMNS[3]
    assert kinds(scan, "error") == {"truth link to no track": 3}
    assert kinds(scan, "defect") == {
        f"hit column {name} is not finite: not usable as input": 3,
        "hit column spacePoint_truthLink is not finite: not usable as input": 1,
        "track column truthMuon_phi is not finite: not usable as target": 1,
        "track without hits": 1,
    }
    remarks = kinds(scan, "remark")
    assert remarks[f"hit column {HIT_COLUMNS[5]} is 0 everywhere"] == sum(map(len, events.hits))
    assert remarks["track column truthMuon_pt outside 5 to inf"] == 1
    assert remarks["track column truthMuon_eta outside -2.7 to 2.7"] == 1
    examples = {finding.kind: finding.example for finding in scan.findings.values()}
    assert examples["track without hits"] == f"event 20 (file {tmp_path / 'set' / FILE}, row 19): track 0"
    # rows are in reverse order: the first NaN comes last
    assert examples[f"hit column {name} is not finite: not usable as input"].endswith("row 30): value inf")
    assert "the number of one of the" in examples["truth link to no track"]
    assert scan.hits.not_finite[3] == 3
    assert not scan.findings.readable


@pytest.mark.parametrize(
    ("name", "row", "value", "kind"),
    [
        ("num_hits", 4, -3, "num_hits impossible"),
        ("num_hits", 4, 999, "num_hits impossible"),
        ("num_tracks", 4, 3, "num_tracks impossible"),
    ],
)
def test_impossible_counts(tmp_path, events, name, row, value, kind):
    directory = write_dataset(tmp_path / "set", events)
    with h5py.File(directory / FILE, "r+") as file:
        file[name][row] = value
    scan = inspect(directory)
    found, number, example = only(scan, "error")
    assert (found, number) == (kind, 1)
    assert example.startswith(f"event {39 - row} (file")
    assert f"{name} is {value}, expected 0 to" in example
    assert scan.hits_per_event.total == 39


def test_overflow_of_int16(tmp_path):
    columns = ["x", "spacePoint_truthLink"]
    hits = np.full((40_000, 2), -1, np.float32)
    events = Events([hits, hits[:10]], [np.ones((1, 4), np.float32)] * 2, columns)
    directory = write_dataset(tmp_path / "set", events)
    with h5py.File(directory / FILE, "r+") as file:
        counts = file["num_hits"][:]
        del file["num_hits"]
        file["num_hits"] = counts.astype(np.int16)
    scan = inspect(directory)
    kind, number, example = only(scan, "error")
    assert (kind, number) == ("num_hits overflows int16", 1)
    assert "num_hits is -25536, expected 0 to 40003" in example


def test_findings_in_the_index(tmp_path, events):
    directory = write_dataset(tmp_path / "set", events, num_files=2)
    rows = np.load(directory / "event_row_indices.npy")
    files = np.load(directory / "event_file_indices.npy")
    rows[[4, 6]] = rows[2]  # all in file 0
    rows[9] = 77
    np.save(directory / "event_row_indices.npy", rows)
    scan = inspect(directory)
    found = kinds(scan)
    assert files[[2, 4, 6]].tolist() == [0, 0, 0]
    assert found["event more than once in the index"] == 2
    assert found["row beyond the end of the file"] == 1
    assert found["row that the index does not use"] == 3
    assert "comes 3 times" in scan.findings["event more than once in the index"].example
    assert scan.findings["row beyond the end of the file"].example.startswith("event 9 (file")
    assert scan.hits_per_event.total == 37


@pytest.mark.parametrize("damage", ["truncated", "missing", "chunk", "no columns"])
def test_a_bad_file_does_not_stop_the_others(tmp_path, events, damage):
    directory = write_dataset(tmp_path / "set", events, "filtering", num_files=4)
    path = directory / "data/events_002.h5"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "missing":
        path.unlink()
    elif damage == "chunk":
        with h5py.File(path) as file:
            chunk = file["hits"].id.get_chunk_info(0)
        with path.open("r+b") as file:
            file.seek(chunk.byte_offset + chunk.size // 2)
            file.write(b"hitpool hitpool")
    else:
        with h5py.File(path, "r+") as file:
            del file["num_hits"]
    done = []
    scan = inspect(directory, progress=done.append)
    kind, number, example = only(scan, "error")
    assert (kind, number) == ("file that cannot be read", 1)
    assert str(path) in example
    assert scan.hits_per_event.total == 30
    assert sum(done) == 40


def test_more_tracks_than_slots(tmp_path, events):
    for event in (5, 8):
        events.tracks[event] = np.tile(np.float32([50, 1, 1, 1]), (event - 2, 1))
        events.hits[event][:, TRUTH] = np.resize(range(event - 2), len(events.hits[event]))
    scan = inspect(write_dataset(tmp_path / "set", events))
    finding = scan.findings["event with more than 2 tracks"]
    assert (finding.severity, finding.number) == ("remark", 2)
    assert finding.example == "up to 6: reading all needs data.max_particles 6"


def test_technologies_without_truth(tmp_path, events):
    events.columns = [*HIT_COLUMNS[:TRUTH], "owner"]
    events.hits[6][0, TECHNOLOGY] = 0.5  # no code
    scan = inspect(write_dataset(tmp_path / "set", events))
    technology = np.concatenate(events.hits)[:, TECHNOLOGY]
    assert scan.technologies == {value: (np.count_nonzero(technology == value), 0) for value in (0, 2, 5)}


def test_no_file_can_be_read(tmp_path, events):
    directory = write_dataset(tmp_path / "set", events)
    (directory / FILE).write_bytes(b"")
    assert set(kinds(inspect(directory), "error")) == {"file that cannot be read", "no event can be read"}


def make_ordered(number: int, ordered: bool) -> Events:
    """The first fifth of the events has soft tracks."""
    random = np.random.default_rng(4)
    pt = random.exponential(5, number) + 5
    pt[number // 5 :] += 30
    if not ordered:
        random.shuffle(pt)
    tracks = [
        np.array([[p, eta, 0.1, 1.0]], np.float32) for p, eta in zip(pt, random.uniform(-2, 2, number), strict=True)
    ]
    hits = [np.zeros((2, 2), np.float32) for _ in range(number)]
    for block in hits:
        block[:, 0] = random.normal(size=2)
    return Events(hits, tracks, ["x", "spacePoint_truthLink"])


@pytest.mark.parametrize("ordered", [True, False])
def test_order_by_process(tmp_path, ordered):
    events = make_ordered(1000, ordered)
    scan = inspect(write_dataset(tmp_path / "set", events, num_files=2))
    found = [kind for kind in kinds(scan) if kind.startswith("events are ordered")]
    assert found == (["events are ordered: truthMuon_pt"] if ordered else [])
    if ordered:
        pt = np.array([tracks[0, 0] for tracks in events.tracks])
        example = scan.findings[found[0]].example
        assert f"mean {pt[:50].mean():.4g} in the first 5 %, {pt.mean():.4g} in all" in example


def test_any_columns(tmp_path, events):
    """Another detector, with its own name of the truth link; without it there is no truth."""
    columns = ["x", "y", "z", "volume", "owner"]
    for i, hits in enumerate(events.hits):
        events.hits[i] = hits[:, [0, 1, 2, TECHNOLOGY, TRUTH]]
    events.columns = columns
    directory = write_dataset(tmp_path / "set", events)
    scan = inspect(directory, "owner")
    assert scan.hits.names == columns
    assert scan.hits_per_track.total == sum(map(len, events.tracks))
    assert not scan.technologies
    assert scan.findings.readable
    without = inspect(directory)
    assert without.true_hits == 0
    assert "no truth link, hits of tracks are not inspected" in kinds(without, "remark")
    assert without.hits_per_track.total == 0
    assert without.hits.count == scan.hits.count
    with pytest.raises(ValueError, match=r"no truth link column 'link'; available columns: x, y, z, volume, owner"):
        inspect(directory, "link")


def test_the_sample_of_tracks_is_random():
    from hitpool.inspection.statistics import Reservoir

    reservoir = Reservoir(1, size=1000)
    values = np.arange(50_000, dtype=np.float32)[:, None]
    for part in np.array_split(values, 37):
        reservoir.add(part)
    kept = reservoir.rows[:, 0]
    assert len(kept) == len(set(kept)) == 1000
    quarters = np.bincount((kept * 4 // 50_000).astype(int))
    assert quarters == pytest.approx([250] * 4, abs=5 * np.sqrt(250 * 0.75))


@pytest.mark.parametrize(
    ("column", "factor", "number", "remedy"),
    [
        ("truthMuon_pt", 1000.0, "tracks", "MeV: multiply the column by 0.001 in the files, or let hitpool data conv"),
        ("truthMuon_phi", 57.3, "tracks", "degrees: multiply the column by 0.01745 in the files, or let hitpool da"),
        ("hits", 1e-3, "hits", "m: multiply their data.scale_factors by 1000"),
    ],
)
def test_other_units_are_defects(tmp_path, events, column, factor, number, remedy):
    for hits, tracks in zip(events.hits, events.tracks, strict=True):
        if column == "hits":
            hits[:, :6] *= factor
        else:
            tracks[:, TRACK_COLUMNS.index(column)] *= factor
    kind, count, example = only(inspect(write_dataset(tmp_path / "set", events)), "defect")
    columns = f"hit columns {', '.join(HIT_COLUMNS[:6])} seem" if column == "hits" else f"track column {column} seems"
    assert kind == f"{columns} to have another unit"
    assert count == sum(map(len, getattr(events, number)))
    assert f"; it looks like {remedy}" in example


def test_the_truth_link_of_the_data_set_needs_no_option(tmp_path, events):
    events.columns[TRUTH] = "owner"
    directory = write_dataset(tmp_path / "set", events)
    assert inspect(directory).truth_link is None
    path = directory / "metadata.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"truth_link": "owner"}))
    scan = inspect(directory)
    assert scan.truth_link == TRUTH
    assert scan.true_hits == sum(int((hits[:, TRUTH] >= 0).sum()) for hits in events.hits)

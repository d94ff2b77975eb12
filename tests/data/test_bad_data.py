"""Bad events give an error that names file, event and field."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitpool.data import EventDataset

from .data_sets import HIT_COLUMNS, TRACK_COLUMNS, make_events, write_dataset

INPUTS = {"hit": ["spacePoint_driftR", "eta"]}
TARGETS = {"particle": TRACK_COLUMNS}
FILE = "data/filtered_events.h5"
LAYOUTS = pytest.mark.parametrize("layout", ["tracking", "filtering"])
TRUTH = HIT_COLUMNS.index("spacePoint_truthLink")


@pytest.fixture
def directory(tmp_path: Path, tracking_set: Path) -> Path:
    """A copy that may be damaged; event i lies in row 59 - i."""
    return shutil.copytree(tracking_set, tmp_path / "set")


def load(directory: Path, **arguments) -> EventDataset:
    return EventDataset(directory, **{"inputs": INPUTS, "targets": TARGETS} | arguments)


def replace(directory: Path, name: str, values: np.ndarray) -> None:
    with h5py.File(directory / FILE, "r+") as file:
        del file[name]
        file[name] = values


def write_bad_hit(tmp_path: Path, layout: str, column: int, value: float) -> tuple[EventDataset, Path]:
    """A data set whose event 7 has a bad value in hit 4."""
    events = make_events(20)
    events.hits[7] = np.tile(events.hits[7], (3, 1))
    events.hits[7][4, column] = value
    directory = write_dataset(tmp_path / "set", events, layout)
    return load(directory), directory


def where(directory: Path, event: int, row: int) -> str:
    return re.escape(f"event {event} (file {directory / FILE}, row {row})")


def test_row_index_beyond_the_file(directory):
    np.save(directory / "event_row_indices.npy", np.arange(60)[::-1] + 1)
    with pytest.raises(ValueError, match=where(directory, 0, 60) + ".*out of range, the file has 60 rows"):
        load(directory)


def test_file_cut_while_in_use(directory):
    dataset = load(directory)
    with (directory / FILE).open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(ValueError, match=r"event \d+ \(file .*filtered_events.h5, row \d+\): 'hits' is truncated"):
        dataset.__getitems__(range(60))


@pytest.mark.parametrize(("name", "count", "limit"), [("num_hits", 44, 43), ("num_hits", -5, 43), ("num_tracks", 3, 2)])
def test_count_beyond_the_array(directory, name, count, limit):
    with h5py.File(directory / FILE, "r+") as file:
        file[name][18] = count
    with pytest.raises(ValueError, match=where(directory, 41, 18) + f": '{name}' is {count}, expected 0 to {limit}"):
        load(directory)


def test_bad_count_of_an_event_that_is_not_used(directory):
    used = load(directory, num_events=30).sample_id
    with h5py.File(directory / FILE, "r+") as file:
        file["num_hits"][59 - np.setdiff1d(np.arange(60), used)[0]] = 999
    assert len(load(directory, num_events=30)) == 30


@LAYOUTS
def test_more_tracks_than_slots(tmp_path, layout):
    events = make_events(20)
    events.tracks[11] = np.ones((3, 4), np.float32)
    directory = write_dataset(tmp_path / "set", events, layout)
    message = where(directory, 11, 8) + r": 'num_tracks' is 3, expected 0 to 2, max_particles \(raise it"
    with pytest.raises(ValueError, match=message):
        load(directory)
    assert load(directory, max_particles=3)[11][1]["particle_valid"].tolist() == [[True] * 3]


def test_unknown_fields(directory):
    message = (
        r"unknown hit field 'theta_x' .did you mean 'theta'\?.; available columns: spacePoint_globEdgeHighX.*mid_r"
    )
    with pytest.raises(ValueError, match=message):
        load(directory, inputs={"hit": ["theta_x"]})
    message = r"unknown target field 'truthMuon_p' .did you mean 'truthMuon_pt'\?.; available columns: .*truthMuon_qpt"
    with pytest.raises(ValueError, match=message):
        load(directory, targets={"particle": ["truthMuon_p"]})
    with pytest.raises(ValueError, match=r"target fields named more than once: truthMuon_q"):
        load(directory, targets={"particle": ["truthMuon_q", "truthMuon_q"]})
    with pytest.raises(ValueError, match=r"no truth link column 'link'; available columns: .*spacePoint_truthLink"):
        load(directory, truth_link="link")
    with pytest.raises(ValueError, match=r"the truth link 'spacePoint_truthLink' must not be an input"):
        load(directory, inputs={"hit": ["spacePoint_truthLink"]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": {}}, "inputs: expected one entry, a name and its fields, got 0"),
        ({"targets": {"a": [], "b": []}}, r"targets: expected one entry, .*got 2: \['a', 'b'\]"),
        ({"inputs": {"hit": "eta"}}, "inputs: expected a list of fields for 'hit', got 'eta'"),
        ({"max_particles": 0}, "max_particles: expected at least 1, got 0"),
        ({"num_events": 61}, "from 1 to 60, or -1 for all, got 61"),
        ({"num_events": 0}, "from 1 to 60, or -1 for all, got 0"),
        ({"num_events": -2}, "from 1 to 60, or -1 for all, got -2"),
    ],
)
def test_arguments(directory, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(directory, **arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["spacePoint_driftR", "spacePoint_globEdgeLowZ", "spacePoint_truthLink"])
@LAYOUTS
def test_hit_that_is_not_finite(tmp_path, layout, column, value):
    dataset, directory = write_bad_hit(tmp_path, layout, HIT_COLUMNS.index(column), value)
    dataset.__getitems__([6, 8])
    message = where(directory, 7, 12) + f": '{column}' of hit 4 is {value}, expected a finite number"
    with pytest.raises(ValueError, match=message):
        dataset.__getitems__([3, 8, 7, 7, 2])


def test_columns_that_are_not_used_may_hold_anything(tmp_path):
    dataset, _ = write_bad_hit(tmp_path, "tracking", HIT_COLUMNS.index("spacePoint_time"), np.nan)
    assert dataset[7][0]["hit_eta"].isfinite().all()


@pytest.mark.parametrize("value", [-2.0, 2.0, 0.5, 1e30])
@LAYOUTS
def test_impossible_truth_link(tmp_path, layout, value):
    dataset, directory = write_bad_hit(tmp_path, layout, TRUTH, value)
    number = len(make_events(20).tracks[7])
    message = f": 'spacePoint_truthLink' of hit 4 is {value:g}, expected -1 .* one of the {number} tracks"
    with pytest.raises(ValueError, match=where(directory, 7, 12) + re.escape(message).replace(r"\.\*", ".*")):
        dataset.__getitems__([7])


def test_truth_link_to_an_empty_slot(tmp_path):
    events = make_events(20)
    event = next(i for i in range(2, 20) if len(events.tracks[i]) == 1)
    events.hits[event][0, TRUTH] = 1.0
    dataset = load(write_dataset(tmp_path / "set", events))
    with pytest.raises(ValueError, match=f"event {event} .*truthLink' of hit 0 is 1, .* one of the 1 tracks"):
        dataset[event]


@pytest.mark.parametrize(("column", "value"), [(0, np.nan), (2, np.inf)])
@LAYOUTS
def test_target_that_is_not_finite(tmp_path, layout, column, value):
    events = make_events(20)
    events.tracks[9] = np.ones((2, 4), np.float32)
    events.tracks[9][1, column] = value
    directory = write_dataset(tmp_path / "set", events, layout)
    message = f": target '{TRACK_COLUMNS[column]}' of track 1 is {value}, expected a finite number"
    with pytest.raises(ValueError, match=where(directory, 9, 10) + message):
        load(directory)


def test_charge_over_zero_momentum(tmp_path):
    events = make_events(20)
    events.tracks[9][0, 0] = 0.0
    directory = write_dataset(tmp_path / "set", events)
    with pytest.raises(ValueError, match=r"event 9 .*target 'truthMuon_qpt' of track 0 is -?inf"):
        load(directory, targets={"particle": ["truthMuon_qpt"]})


def test_positive_targets(tmp_path):
    events = make_events(20)
    column = TRACK_COLUMNS.index("truthMuon_pt")
    for tracks in events.tracks:
        tracks[:, column] = 5.0
    directory = write_dataset(tmp_path / "set", events)
    load(directory).check_positive("truthMuon_pt")
    events.tracks[9][0, column] = 0.0
    directory = write_dataset(tmp_path / "other", events)
    message = ": target 'truthMuon_pt' of track 0 is 0, expected more than 0, because it is one of the inverse_fields"
    with pytest.raises(ValueError, match=where(directory, 9, 10) + message):
        load(directory).check_positive("truthMuon_pt")


def test_too_little_space_to_unpack(tmp_path, filtering_set, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr("hitpool.data.hit_store.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match=r"hits of 60 events are compressed and need .* MB of temporary .*TMPDIR"):
        load(filtering_set)
    folder = tmp_path / "unpacked"
    with pytest.raises(ValueError, match=r"000.h5 is compressed and needs .* MB, but data.unpack_dir .*unpacked"):
        load(filtering_set, unpack_dir=folder)
    assert not list(folder.glob("*.hits"))

"""ROOT files that uproot wrote, converted and read back, against a computation event by event."""

import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
sys.path.insert(0, str(Path(__file__).parent))  # for ntuples.py
from ntuples import HIT_COLUMNS, TRACK_COLUMNS, Event, branches, expected, make_events, write_root

from hitpool.conversion import Cuts, convert, job, read_mapping
from hitpool.data import EventDataset

OFF = dict.fromkeys(("min_pt", "max_eta", "min_hits_per_track", "min_tracks", "max_tracks", "max_hits"))


@pytest.fixture(scope="module")
def ntuples(tmp_path_factory) -> tuple[list[Path], list[Event]]:
    """Three files, the last without events that pass."""
    folder = tmp_path_factory.mktemp("root")
    parts = [make_events(90, seed=1), make_events(50, seed=2), make_events(4, seed=3)]
    for event in parts[2]:
        event.tracks[:, 0] = 1.0
    files = [
        write_root(folder / f"{name}.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS))
        for name, events in zip("abc", parts, strict=True)
    ]
    return files, [event for part in parts for event in part]


@pytest.fixture
def small_parts(monkeypatch) -> None:
    monkeypatch.setattr("hitpool.conversion.job.PART_BYTES", 20_000)


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


CUTS = {
    "default": Cuts(),
    "none": Cuts(**OFF),
    "few hits": Cuts(max_hits=12, min_tracks=None),
    "tracks only": Cuts(**OFF | {"min_pt": 20.0, "max_eta": 1.5, "min_hits_per_track": 6}),
    "no track needed": Cuts(min_tracks=None, max_tracks=1),
}


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("small_parts")
def test_data_set_holds_the_events_that_pass(tmp_path, ntuples, cuts, workers):
    files, events = ntuples
    steps = convert(files, tmp_path / "set", read_mapping(), cuts, workers)
    left, flow = expected(events, cuts)
    assert 0 < len(left) <= len(events)
    assert [(step.events, step.tracks) for step in steps] == flow
    check(tmp_path / "set", left)
    assert len(list((tmp_path / "set/data").glob("*.h5"))) > len(files)


def test_the_layout_is_the_documented_one(tmp_path, ntuples):
    files, events = ntuples
    convert(files, tmp_path / "set", read_mapping(), Cuts(), 1)
    left, flow = expected(events, Cuts())
    metadata = yaml.safe_load((tmp_path / "set/metadata.yaml").read_text())
    assert metadata["hit_features"] == HIT_COLUMNS
    assert metadata["track_features"] == TRACK_COLUMNS
    mapping = metadata["event_mapping"]
    names = {"file_indices": "event_file_indices.npy", "row_indices": "event_row_indices.npy"}
    assert mapping["total_events"] == len(left)
    assert mapping["total_chunks"] == len(mapping["chunk_summary"]) == 3
    assert mapping["index_files"] == names
    assert set(mapping["index_crc32"]) == {*names, "h5_file"}
    assert mapping["description"]
    for chunk, path in zip(mapping["chunk_summary"], files, strict=True):
        assert set(chunk) == {"h5_file", "source_root_file", "event_count", "worker_id"}
        assert chunk["source_root_file"] == str(path)
    steps = metadata["processing_summary"]["cut_flow"]
    assert [(step["events"], step["tracks"]) for step in steps] == flow
    assert [step["cut"] for step in steps] == [
        *("read", "track pt >= 5", "track |eta| <= 2.7", "track hits >= 3"),
        *("event tracks >= 1", "event tracks <= 2", "event hits <= 600"),
    ]
    assert metadata["processing_parameters"]["cuts"]["max_hits"] == 600
    assert metadata["processed_files"] == [str(path) for path in files]
    numbers = []
    for chunk in mapping["chunk_summary"]:
        with h5py.File(tmp_path / "set" / chunk["h5_file"]) as file:
            assert file["num_hits"].dtype == file["num_tracks"].dtype == np.int32
            assert file["hits"].dtype == file["tracks"].dtype == np.float32
            assert file["hits"].compression is None
            assert chunk["event_count"] == file.attrs["num_events"] == len(file["hits"])
            padding = np.arange(file["hits"].shape[1]) >= file["num_hits"][:][:, None]
            assert np.isnan(file["hits"][:][padding]).all()
            for name in ("hits", "tracks"):
                own = zip(file[name][:], file[f"num_{name}"][:], strict=True)
                assert file[f"{name}_crc32"][:].tolist() == [zlib.crc32(rows[:number]) for rows, number in own]
            numbers += file["event_numbers"][:].tolist()
    assert len(numbers) == len(left)


def test_event_numbers_from_a_branch(tmp_path, ntuples):
    files, events = ntuples
    text = (Path(job.__file__).parent / "muon.yaml").read_text()
    (tmp_path / "mapping.yaml").write_text(text.replace("event_number: null", "event_number: eventNumber"))
    convert(files[:1], tmp_path / "set", read_mapping(tmp_path / "mapping.yaml"), Cuts(), 1)
    left, _ = expected(events[:90], Cuts())
    (only,) = (tmp_path / "set/data").iterdir()
    with h5py.File(only) as file:
        assert file["event_numbers"][:].tolist() == [event.number for event in left]


def test_another_detector_with_other_names_and_units(tmp_path):
    """Coordinates in cm, momenta in MeV, its own branch names, one branch for two columns, an RNTuple."""
    events = make_events(60, seed=5, num_columns=4)
    names = {"x": "sp_x", "y": "sp_y", "z": "sp_z", "volume": "sp_vol", "owner": "sp_particle"}
    tracks = ["mc_pt", "mc_eta", "mc_phi", "mc_charge"]
    content = branches(events, list(names.values()), tracks, "id")
    content["mc_pt"] = content["mc_pt"] * np.float32(1000)
    for name in ("sp_x", "sp_y", "sp_z"):
        content[name] = content[name] / np.float32(8)
    path = write_root(tmp_path / "other.root", content, "RNTuple", tree="hits")
    mapping = {
        "hits": {name: {"branch": branch, "factor": 8} if name in "xyz" else branch for name, branch in names.items()},
        "tracks": dict(zip(TRACK_COLUMNS, tracks, strict=True)) | {"pt_mev": "mc_pt"},
        "truth_link": "owner",
        "pt": "truthMuon_pt",
        "eta": "truthMuon_eta",
        "event_number": "id",
        "tree": "hits",
    }
    mapping["tracks"]["truthMuon_pt"] = {"branch": "mc_pt", "factor": 0.001}
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
    convert([path], tmp_path / "set", read_mapping(tmp_path / "mapping.yaml"), Cuts(), 1)
    left, _ = expected(events, Cuts())
    check(tmp_path / "set", left, list(names), "owner")
    metadata = yaml.safe_load((tmp_path / "set/metadata.yaml").read_text())
    assert metadata["track_features"] == [*TRACK_COLUMNS, "pt_mev"]


def records(tmp_path: Path) -> tuple[Path, list[Event]]:
    """An RNTuple with hits as one record of the coordinates, of which one is a record again, and the truth link."""
    import awkward as ak

    events = make_events(60, seed=6, num_columns=3)
    content = branches(events, ["x", "y", "z", "owner"], TRACK_COLUMNS)
    place = ak.zip({"y": content.pop("y"), "z": content.pop("z")})
    content["sp"] = ak.zip({"x": content.pop("x"), "place": place, "owner": content.pop("owner")})
    return write_root(tmp_path / "records.root", content, "RNTuple"), events


def mapping_of_records(tmp_path: Path, x: str) -> Path:
    hits = {"x": x, "y": "sp.place.y", "z": "sp.place.z", "owner": "sp.owner"}
    content = {"hits": hits, "tracks": TRACK_COLUMNS, "truth_link": "owner", "pt": TRACK_COLUMNS[0]}
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(content | {"eta": TRACK_COLUMNS[1]}, sort_keys=False))
    return tmp_path / "mapping.yaml"


def test_fields_of_records_are_read_by_their_dotted_names(tmp_path):
    path, events = records(tmp_path)
    convert([path], tmp_path / "set", read_mapping(mapping_of_records(tmp_path, "sp.x")), Cuts(), 1)
    check(tmp_path / "set", expected(events, Cuts())[0], ["x", "y", "z", "owner"], "owner")


@pytest.mark.parametrize("name", ["sp", "sp.place", "sp.q"])
def test_only_names_that_work_are_listed(tmp_path, name):
    path, _ = records(tmp_path)
    with pytest.raises(ValueError, match="has no branch") as caught:
        convert([path], tmp_path / "set", read_mapping(mapping_of_records(tmp_path, name)), Cuts(), 1)
    listed = str(caught.value).partition("available: ")[2].split(", ")
    assert sorted(listed) == sorted(["sp.x", "sp.place.y", "sp.place.z", "sp.owner", "eventNumber", *TRACK_COLUMNS])


# --- going on after an interruption ---


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder / "data").glob("*.h5")}


@pytest.mark.usefixtures("small_parts")
def test_finished_files_are_kept_and_others_made_again(tmp_path, ntuples):
    files, events = ntuples
    output = tmp_path / "set"
    left, flow = expected(events, Cuts())
    convert(files, output, read_mapping(), Cuts(), 1)
    before = snapshot(output)
    lost, damaged, *kept = sorted(before)
    (output / "data" / lost).unlink()
    (output / "data" / damaged).write_bytes((output / "data" / damaged).read_bytes()[:3000])
    (output / "data" / f".{lost}.0a1b2c3d.part").write_bytes(b"half a file")
    (output / "metadata.yaml").unlink()
    steps = convert(files, output, read_mapping(), Cuts(), 2)
    assert [(step.events, step.tracks) for step in steps] == flow
    after = snapshot(output)
    assert after.keys() == before.keys()
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after[damaged] != before[damaged]
    assert not list((output / "data").glob(".*.part"))
    check(output, left)
    convert(files, output, read_mapping(), Cuts(), 1)  # nothing to do
    assert snapshot(output) == after


@pytest.mark.usefixtures("small_parts")
def test_a_corrupt_file_stops_and_its_repair_goes_on(tmp_path):
    events = make_events(400, seed=8)
    path = write_root(tmp_path / "a.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS), baskets=2)
    whole = path.read_bytes()
    broken = bytearray(whole)
    begin = len(whole) * 3 // 4
    broken[begin : begin + 20_000] = bytes(20_000)  # in the baskets of the second half
    path.write_bytes(broken)
    with pytest.raises(ValueError, match=r"a.root is not readable as ROOT \(truncated or damaged\)"):
        convert([path], tmp_path / "set", read_mapping(), Cuts(), 1)
    before = snapshot(tmp_path / "set")
    assert before
    assert not (tmp_path / "set/metadata.yaml").exists()
    path.write_bytes(whole)
    convert([path], tmp_path / "set", read_mapping(), Cuts(), 1)
    after = snapshot(tmp_path / "set")
    assert {name: after[name] for name in before} == before
    check(tmp_path / "set", expected(events, Cuts())[0])


@pytest.mark.usefixtures("small_parts")
def test_files_can_be_left_out_and_added(tmp_path, ntuples):
    """Of three files the second turns out to be bad: it goes on without it, and with it when it is there again."""
    files, events = ntuples
    output = tmp_path / "set"
    by_file = [events[:90], events[90:140], events[140:]]
    convert(files[:2], output, read_mapping(), Cuts(), 1)
    check(output, expected(by_file[0] + by_file[1], Cuts())[0])
    before = snapshot(output)
    convert([files[2], files[0]], output, read_mapping(), Cuts(), 1)
    check(output, expected(by_file[2] + by_file[0], Cuts())[0])
    convert(files, output, read_mapping(), Cuts(), 1)
    check(output, expected(events, Cuts())[0])
    after = snapshot(output)
    assert {name: after[name] for name in before} == before


def test_a_file_that_has_changed_is_converted_again(tmp_path):
    path = tmp_path / "a.root"
    for seed in (1, 2):
        events = make_events(30 + seed, seed=seed)
        write_root(path, branches(events, HIT_COLUMNS, TRACK_COLUMNS))
        convert([path], tmp_path / "set", read_mapping(), Cuts(), 1)
        check(tmp_path / "set", expected(events, Cuts())[0])


def test_ctrl_c_and_the_same_command_again(tmp_path):
    events = make_events(1000, seed=9)
    path = write_root(tmp_path / "a.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS))
    output = tmp_path / "set"
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # jobs in the background ignore it
        "from hitpool.conversion import job; from hitpool.cli import main; job.PART_BYTES = 60_000; "
        f"main(['data', 'convert', '--input', {str(path)!r}, '--output', {str(output)!r}, '--workers', '2'])"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, env=environment, text=True)
    while process.poll() is None and len(list(output.glob("data/*.h5"))) < 3:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in message
    before = snapshot(output)
    assert len(before) >= 3
    assert not (output / "metadata.yaml").exists()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment, timeout=120)
    after = snapshot(output)
    assert len(after) > len(before)
    assert {name: after[name] for name in before} == before
    check(output, expected(events, Cuts())[0])


def test_other_settings_need_another_folder(tmp_path, ntuples):
    files, _ = ntuples
    output = tmp_path / "set"
    convert(files[:2], output, read_mapping(), Cuts(), 1)
    with pytest.raises(FileExistsError, match=r"set holds a conversion with other cuts: max_hits: 600 there, null now"):
        convert(files[:2], output, read_mapping(), Cuts(max_hits=None), 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"other exists and is not a conversion"):
        convert(files, tmp_path / "other", read_mapping(), Cuts(), 1)
    for text in ("", "a: [", "cuts: {}"):
        (output / "conversion.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"set/conversion\.yaml is damaged: remove .*set to convert anew"):
            convert(files[:2], output, read_mapping(), Cuts(), 1)


# --- bad files ---


def one_file(tmp_path: Path, change=None, **arguments) -> Path:
    content = branches(make_events(20, seed=4), HIT_COLUMNS, TRACK_COLUMNS)
    if change:
        change(content)
    return write_root(tmp_path / "a.root", content, **arguments)


def convert_one(tmp_path: Path, path: Path, cuts: Cuts = Cuts()) -> None:  # noqa: B008 (it is immutable)
    convert([path], tmp_path / "set", read_mapping(), cuts, 1)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_truncated_file(tmp_path, share):
    path = one_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a.root is not readable as ROOT \(truncated or damaged\): .*[^,]$"):
        convert_one(tmp_path, path)
    assert not (tmp_path / "set").exists()


def test_missing_branch(tmp_path):
    path = one_file(tmp_path, lambda content: content.pop("spacePoint_driftR"))
    message = r"a.root: 'events' has no branch 'spacePoint_driftR'; available: .*spacePoint_time.*truthMuon_q"
    with pytest.raises(ValueError, match=message):
        convert_one(tmp_path, path)


def test_branches_of_different_lengths(tmp_path):
    path = one_file(tmp_path, lambda content: content.update(spacePoint_time=content["truthMuon_pt"]))
    with pytest.raises(
        ValueError, match=r"entry \d+ has \d values in branch 'spacePoint_time' but \d+ in 'spacePoint_g"
    ):
        convert_one(tmp_path, path)


def test_branch_that_is_no_list(tmp_path):
    path = one_file(tmp_path, lambda content: content.update(truthMuon_eta=np.zeros(20)))
    with pytest.raises(ValueError, match=r"expected a list of numbers per event in branch 'truthMuon_eta', got type"):
        convert_one(tmp_path, path)


def test_branch_of_text(tmp_path):
    import awkward as ak

    texts = ak.Array([["a", "b"]] * 20)
    path = one_file(tmp_path, lambda content: content.update(truthMuon_eta=texts), kind="RNTuple")
    with pytest.raises(ValueError, match=r"expected a list of numbers per event in branch 'truthMuon_eta', got .*stri"):
        convert_one(tmp_path, path)


def test_truth_link_to_no_track(tmp_path):
    path = one_file(tmp_path, lambda content: content.update(spacePoint_truthLink=content["spacePoint_truthLink"] + 2))
    with pytest.raises(
        ValueError, match=r"'spacePoint_truthLink': hit \d+ of entry \d+ links to track \d, expected .*track"
    ):
        convert_one(tmp_path, path)


def test_several_trees(tmp_path):
    import uproot

    path = one_file(tmp_path)
    with uproot.update(path) as file:
        file.mktree("meta", {"run": "int32"})
    with pytest.raises(ValueError, match=r"expected exactly one tree .*'tree'.*available trees: events, meta"):
        convert_one(tmp_path, path)


def test_no_event_is_left(tmp_path):
    message = (
        r"no event is left. read: 20 events, \d+ tracks; track pt >= 1000: 20 events, 0 tracks; .*hits <= 600: 0 ev"
    )
    with pytest.raises(ValueError, match=message):
        convert_one(tmp_path, one_file(tmp_path), Cuts(min_pt=1000.0))
    assert not (tmp_path / "set/metadata.yaml").exists()


def test_empty_tree(tmp_path):
    path = one_file(tmp_path, lambda content: content.update({name: array[:0] for name, array in content.items()}))
    with pytest.raises(ValueError, match=r"no event is left. The files are empty"):
        convert_one(tmp_path, path)


def test_arguments(tmp_path, ntuples):
    files, _ = ntuples
    mapping = read_mapping()
    for inputs, error, message in (
        ([], ValueError, "expected at least one ROOT file"),
        ([files[0], files[0]], ValueError, "files named more than once: .*a.root"),
        ([tmp_path / "none.root"], FileNotFoundError, "none.root does not exist"),
    ):
        with pytest.raises(error, match=message):
            convert(inputs, tmp_path / "set", mapping, Cuts(), 1)
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
        convert(files, tmp_path / "set", mapping, Cuts(), 0)
    without = read_mapping(write_mapping(tmp_path, {"hits": ["a"], "tracks": ["b"], "truth_link": "a"}))
    with pytest.raises(ValueError, match="min_pt needs 'pt' in the mapping, or switch it off: --min_pt null"):
        convert(files, tmp_path / "set", without, Cuts(), 1)


def write_mapping(tmp_path: Path, content) -> Path:
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "mapping.yaml"

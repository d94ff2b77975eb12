"""ROOT files that uproot wrote, converted and read back, against a computation event by event."""

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from hitpool.conversion import Cuts, convert, job, read_mapping

from .ntuples import HIT_COLUMNS, TRACK_COLUMNS, Event, branches, check, expected, make_events, write_root

pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
OFF = dict.fromkeys(("min_pt", "max_eta", "min_hits_per_track", "min_tracks", "max_tracks", "max_hits"))
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

"""The command `hitpool data convert`."""

import sys

import h5py
import pytest
import yaml

from hitpool.cli import main
from hitpool.conversion import Cuts

from .ntuples import HIT_COLUMNS, TRACK_COLUMNS, branches, expected, make_events, write_root


def test_cut_flow_and_options(tmp_path, capsys):
    pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
    events = make_events(50)
    path = write_root(tmp_path / "a.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS))
    output = tmp_path / "set"
    options = ["--input", str(path), "--output", str(output), "--workers", "1"]
    main(["data", "convert", *options, "--min_pt", "10", "--max_tracks", "null", "--max_hits", "30"])
    left, flow = expected(events, Cuts(min_pt=10.0, max_tracks=None, max_hits=30))
    shown = capsys.readouterr().out
    assert yaml.safe_load((output / "metadata.yaml").read_text())["event_mapping"]["total_events"] == len(left)
    rows = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
    assert [(int(row[1]), int(row[3])) for row in rows] == flow
    assert "MeV" not in shown


def test_momenta_in_mev_are_noticed(tmp_path, capsys):
    pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
    events = make_events(50)
    for event in events:
        event.tracks[:, 0] *= 1000
    path = write_root(tmp_path / "a.root", branches(events, HIT_COLUMNS, TRACK_COLUMNS))
    main(["data", "convert", "--input", str(path), "--output", str(tmp_path / "set"), "--workers", "1"])
    assert "if the branch holds MeV, give it factor: 0.001" in " ".join(capsys.readouterr().out.split())


def test_without_uproot_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uproot", None)
    with pytest.raises(SystemExit, match=r"ROOT files need uproot and awkward .*pip install 'hitpool\[root\]'"):
        main(["data", "convert", "--input", "a.root", "--output", str(tmp_path / "set")])


def test_errors_have_no_traceback(tmp_path):
    pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
    with pytest.raises(SystemExit, match=r"hitpool data convert: input: .*none.root does not exist"):
        main(["data", "convert", "--input", str(tmp_path / "none.root"), "--output", str(tmp_path / "set")])


def test_help_lists_the_commands(capsys):
    main(["data", "--help"])
    shown = capsys.readouterr().out
    assert "inspect" in shown
    assert "convert" in shown
    with pytest.raises(SystemExit):
        main(["data", "look"])
    assert "there is no command 'look'" in capsys.readouterr().err
    main(["--help"])
    assert "data        look at a data set" in capsys.readouterr().out


MAPPING = {
    "hits": {name: name for name in HIT_COLUMNS},
    "tracks": {name: name for name in TRACK_COLUMNS[1:]} | {"pt": {"branch": "truthMuon_pt", "unit": "MeV"}},
    "truth_link": HIT_COLUMNS[-1],
}


def converted(tmp_path, *options: str, events: int = 100) -> list:
    """Converts events with a mapping of its own; what they were."""
    pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
    made = make_events(events)
    path = write_root(tmp_path / "a.root", branches(made, HIT_COLUMNS, TRACK_COLUMNS))
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(MAPPING, sort_keys=False))
    files = ["--input", str(path), "--output", str(tmp_path / "set"), "--mapping", str(tmp_path / "mapping.yaml")]
    main(["data", "convert", *files, "--workers", "1", *options])
    return made


def test_another_detector_has_no_cuts_unless_asked_and_its_data_set_says_truth_link_and_units(tmp_path, capsys):
    converted(tmp_path)
    metadata = yaml.safe_load((tmp_path / "set/metadata.yaml").read_text())
    assert metadata["event_mapping"]["total_events"] == 100
    assert metadata["truth_link"] == "spacePoint_truthLink"
    assert metadata["units"] == {"pt": "GeV"}
    assert "no cuts" in capsys.readouterr().out


def test_the_cuts_of_the_muon_studies_are_said_to_be_theirs(tmp_path, capsys):
    pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
    path = write_root(tmp_path / "a.root", branches(make_events(50), HIT_COLUMNS, TRACK_COLUMNS))
    main(["data", "convert", "--input", str(path), "--output", str(tmp_path / "set"), "--workers", "1"])
    assert "cuts that are not given are those of the ATLAS muon studies" in " ".join(capsys.readouterr().out.split())


def test_a_cut_that_is_asked_for(tmp_path):
    made = converted(tmp_path, "--max_hits", "20")
    metadata = yaml.safe_load((tmp_path / "set/metadata.yaml").read_text())
    assert metadata["event_mapping"]["total_events"] == sum(len(event.links) <= 20 for event in made)


def test_parts_have_each_event_once(tmp_path):
    made = converted(tmp_path, "--split", "0.7", "0.2", "0.1")
    numbers = {}
    for part in ("train", "val", "test"):
        (file,) = (tmp_path / "set" / part / "data").iterdir()
        with h5py.File(file) as content:
            numbers[part] = content["event_numbers"][:].tolist()
            assert content["num_hits"][:].tolist() == [len(made[number].links) for number in numbers[part]]
    assert sorted(number for own in numbers.values() for number in own) == list(range(100))
    assert {part: len(own) for part, own in numbers.items()} == {"train": 70, "val": 20, "test": 10}
    assert max(numbers["train"]) > 90
    assert min(numbers["test"]) < 10


@pytest.mark.parametrize("shares", [("0.8", "0.1", "0.2"), ("1.2", "-0.1", "-0.1")])
def test_shares_whose_sum_is_not_1(tmp_path, shares):
    with pytest.raises(SystemExit, match=r"--split: expected three shares whose sum is 1, such as 0.8 0.1 0.1, got"):
        converted(tmp_path, "--split", *shares)


def test_without_a_mapping_unknown_branches_lead_to_it(tmp_path):
    pytest.importorskip("uproot", reason="uproot is not installed: pip install 'hitpool[root]'")
    path = write_root(tmp_path / "a.root", branches(make_events(5, num_columns=1), ["sp_x", "link"], TRACK_COLUMNS))
    with pytest.raises(SystemExit, match=r"available: .*sp_x.*; a mapping says which branch becomes .*: --mapping"):
        main(["data", "convert", "--input", str(path), "--output", str(tmp_path / "set"), "--workers", "1"])

"""The command `hitpool data convert`."""

import sys

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
    assert "data       look at a data set" in capsys.readouterr().out

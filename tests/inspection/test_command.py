"""The command `hitpool data inspect`."""

import json
from pathlib import Path

import numpy as np
import pytest

from hitpool.cli import main

from ..data.data_sets import HIT_COLUMNS, TRACK_COLUMNS, make_events, write_dataset


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_tables_json_and_plots(tmp_path, capsys):
    events = make_events(40, seed=1)
    for hits in events.hits:
        hits[:, HIT_COLUMNS.index("spacePoint_technology")] = np.resize([0, 2, 3], len(hits))
    directory = write_dataset(tmp_path / "muons", events, num_files=2)
    main(["data", "inspect", str(directory), "--plots", str(tmp_path / "plots"), "--json", str(tmp_path / "a.json")])
    shown = capsys.readouterr().out
    for text in ("hits per event", "share of true hits", "spacePoint_driftR", "truthMuon_eta", "technolog", "findings"):
        assert text in shown
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["events"] == content["events_read"] == 40
    assert content["files"] == 2
    assert content["hits"] == sum(map(len, events.hits))
    assert content["readable"] is True
    pt = np.concatenate(events.tracks)[:, 0]
    column = content["track_columns"]["truthMuon_pt"]
    assert column["mean"] == pytest.approx(pt.mean(), rel=1e-6)
    assert column["quantiles"]["0.5"] == pytest.approx(np.median(pt), rel=1e-6)
    assert column["expected"] == [5.0, None]
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {
        *(f"track_{name}.png" for name in TRACK_COLUMNS),
        *("hits_per_event.png", "true_hits_per_track.png", "tracks_per_event.png", "technologies.png"),
    }
    assert all((tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_names_with_brackets_and_folders_that_are_not_there(tmp_path, capsys, monkeypatch):
    """Rich takes [old] for a style and [/old] for its end."""
    events = make_events(5)
    events.hits[3][0, 0] = np.nan
    write_dataset(tmp_path / "sample[/old]", events)
    monkeypatch.chdir(tmp_path)
    main(["data", "inspect", "sample[/old]", "--json", "new/a.json", "--plots", "plots[old]"])
    shown = capsys.readouterr().out
    assert shown.startswith("sample[/old]")
    assert "event 3 (file sample[/old]/data" in shown
    assert "plots in plots[old]: hits_per_event.png" in shown
    assert Path("new/a.json").exists()


def test_the_exit_status_says_whether_training_is_possible(tmp_path, capsys):
    events = make_events(20)
    events.hits[7][0, 3] = np.nan
    main(["data", "inspect", str(write_dataset(tmp_path / "defect", events))])  # another input can be chosen
    assert "not finite" in capsys.readouterr().out
    events.hits[7][0, -1] = 9.0
    with pytest.raises(SystemExit) as end:
        main(["data", "inspect", str(write_dataset(tmp_path / "error", events)), "--json", str(tmp_path / "a.json")])
    assert end.value.code == 1
    shown = capsys.readouterr().out
    assert "truth link to no track" in shown
    assert "event 7" in shown
    findings = json.loads((tmp_path / "a.json").read_text())["findings"]
    assert findings[0]["severity"] == "error"
    assert findings[0]["number"] == 1


def test_errors_have_no_traceback(tmp_path):
    with pytest.raises(SystemExit, match=r"hitpool data inspect: data set folder .*nowhere does not exist"):
        main(["data", "inspect", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match=r"--json a.txt: expected a file ending in .json"):
        main(["data", "inspect", str(tmp_path), "--json", "a.txt"])


def test_a_set_where_nothing_can_be_read_still_gives_tables_and_json(tmp_path, capsys):
    directory = write_dataset(tmp_path / "set", make_events(10))
    (directory / "data/filtered_events.h5").write_bytes(b"")
    with pytest.raises(SystemExit) as end:
        main(
            ["data", "inspect", str(directory), "--json", str(tmp_path / "a.json"), "--plots", str(tmp_path / "plots")]
        )
    assert end.value.code == 1
    assert "file that cannot be read" in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["hits_per_event"]["mean"] is None

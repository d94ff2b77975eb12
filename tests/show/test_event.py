from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.cli import main
from hitpool.config import Objects
from hitpool.files import Events, write_data_set
from hitpool.muon import TECHNOLOGIES
from hitpool.show.event import read_event


def test_the_event_is_what_is_on_disk(data_set: Path) -> None:
    metadata = yaml.safe_load((data_set / "metadata.yaml").read_text())
    names = metadata["hit_features"]
    with h5py.File(data_set / metadata["event_mapping"]["chunk_summary"][0]["h5_file"]) as file:
        hits, tracks = file["hits"][6, : file["num_hits"][6]], file["tracks"][6, : file["num_tracks"][6]]
    event = read_event(data_set, 6)
    for k, axis in enumerate("XYZ"):
        np.testing.assert_allclose(
            1e3 * event.low[:, k], hits[:, names.index(f"spacePoint_globEdgeLow{axis}")], rtol=1e-6
        )
        np.testing.assert_allclose(
            1e3 * event.high[:, k], hits[:, names.index(f"spacePoint_globEdgeHigh{axis}")], rtol=1e-6
        )
    kinds = [TECHNOLOGIES[code] for code in hits[:, names.index("spacePoint_technology")]]
    assert (event.kinds, event.unit, event.along) == (kinds, "m", None)
    link = hits[:, names.index("spacePoint_truthLink")]
    np.testing.assert_array_equal(event.particle_hits, link == np.arange(len(tracks))[:, None])
    true = dict(zip(metadata["track_features"], tracks.T, strict=True))
    expected = np.stack([true["truthMuon_eta"], true["truthMuon_phi"]], axis=1)
    np.testing.assert_array_equal(event.directions, expected)
    pt, charge = true["truthMuon_pt"][0], true["truthMuon_q"][0]
    assert event.particles[0].startswith(f"pT = {pt:.3g} GeV, eta = ")
    assert event.particles[0].endswith(f", q = {charge:+g}")
    assert event.probability is None


def test_probabilities_are_those_of_the_valid_tracks(data_set: Path, objects: Objects, checkpoint: Path) -> None:
    network = objects.model.model.eval()
    inputs, _ = objects.datamodule.dataset("test")[6]
    with torch.no_grad():
        preds = network.predict(network(inputs))["final"]
    valid = preds["track_valid"]["track_valid"][0]
    expected = preds["track_hit_valid"]["track_hit_valid_prob"][0][valid]
    np.testing.assert_allclose(read_event(data_set, 6, checkpoint).probability, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("html", b"<!doctype html>")])
def test_the_command_writes_the_picture(
    data_set: Path, checkpoint: Path, tmp_path: Path, kind: str, start: bytes, capsys: pytest.CaptureFixture
) -> None:
    if kind == "html":
        pytest.importorskip("plotly")
    output = tmp_path / "pictures" / f"event.{kind}"
    main(["show", str(data_set), "--event=3", f"--checkpoint={checkpoint}", f"--output={output}"])
    assert output.read_bytes().startswith(start)
    assert f"written to {output}" in capsys.readouterr().out


def test_another_kind_of_file_is_refused(data_set: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"expected a file that ends in \.png, \.pdf, \.html"):
        main(["show", str(data_set), f"--output={tmp_path / 'event.svg'}"])


def own_data_set(folder: Path, columns: str, z: float = 9.0, units: dict[str, str] | None = None) -> Path:
    """An event of three hits, two of them of the first of two tracks."""
    hits = np.array([[1, 2, 4, 0], [2, 4, 8, 0], [9, 9, z, -1]], np.float32)
    tracks = np.array([[3.0, -1.0], [5.0, 1.0]], np.float32)
    events = Events(hits, np.array([3]), tracks, np.array([2]))
    more = {"truth_link": columns.split()[-1], "units": units or {}}
    write_data_set(folder, [events], columns.split(), ["mc_pt", "mc_q"], {}, "test", more=more)
    return folder


def test_a_detector_of_ones_own(tmp_path: Path) -> None:
    units = {"sp_x": "cm", "sp_y": "cm", "sp_z": "cm", "mc_pt": "GeV"}
    event = read_event(own_data_set(tmp_path / "forward", "sp_x sp_y sp_z owner", units=units), 0)
    np.testing.assert_array_equal(event.middle, [[1, 2, 4], [2, 4, 8], [9, 9, 9]])
    np.testing.assert_array_equal(event.particle_hits, [[True, True, False], [False] * 3])
    assert (event.unit, event.along, event.kinds, event.directions) == ("cm", 2, None, None)
    assert event.particles == ["pT = 3 GeV, q = -1", "pT = 5 GeV, q = +1"]
    assert read_event(own_data_set(tmp_path / "barrel", "x y z owner", z=-9.0), 0).along is None
    assert read_event(own_data_set(tmp_path / "telescope", "x y z owner", z=0.0), 0).along == 2


def test_no_coordinates_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no coordinates x, y and z among the hit columns a, b, c, owner"):
        read_event(own_data_set(tmp_path / "own", "a b c owner"), 0)


def test_a_missing_event_is_named(data_set: Path) -> None:
    with pytest.raises(IndexError, match=r"event 40 is not in .*: expected 0 to 39"):
        read_event(data_set, 40)

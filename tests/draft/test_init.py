"""`hitpool init` on two invented detectors: what it finds, and that a training starts from what it writes."""

import shutil
from pathlib import Path

import pytest
import yaml

from hitpool import config
from hitpool.cli import main
from hitpool.draft.draft import draft
from hitpool.fits import HelixFit

from ..data.data_sets import make_events, write_dataset
from .toys import FIELD


def said(capsys) -> str:
    return " ".join(capsys.readouterr().out.split())


def init(data: Path, output: Path, *options: str) -> dict:
    main(["init", str(data), "--output", str(output), *options])
    return yaml.safe_load(output.read_text())


def regression(content: dict) -> dict:
    return content["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][-1]["init_args"]


def test_cylinders_in_a_solenoid(converted, tmp_path, capsys):
    content = init(converted["barrel"], tmp_path / "mine.yaml")
    data, task = content["data"], regression(content)
    assert data["train_dir"] == str(converted["barrel"] / "train")
    assert (data["max_particles"], data["truth_link"], data["points"]) == (3, "owner", {"": [["x", "y", "z"]]})
    assert data["scale_factors"] == {"x": 1e-3, "y": 1e-3, "z": 1e-3, "layer": 0.1, "adc": 1e-3}
    assert data["inputs"] == {"hit": ["x", "y", "z", "r", "theta", "cos_phi", "sin_phi", "eta", "layer", "adc"]}
    assert data["targets"] == {"particle": ["pt", "eta", "phi", "q", "qpt"]}
    assert (task["inverse_fields"], task["periodic_fields"], task["sign_fields"]) == (["pt"], ["phi"], ["q"])
    low, high = task["prediction_range"]["pt"]
    assert (low, high) == (pytest.approx(0.35, rel=0.1), pytest.approx(40, rel=0.1))
    assert task["track_fit"]["class_path"] == "hitpool.fits.HelixFit"
    assert task["assignment_threshold"] == 0.5
    assert task["track_fit"]["init_args"]["field"] == pytest.approx(FIELD, rel=0.01)
    text = said(capsys)
    assert "x, y, z in mm, as the data set says" in text
    assert "HelixFit in a solenoid of 1.6 T along z" in text


def test_planes_in_a_dipole(converted, tmp_path, capsys):
    content = init(converted["forward"], tmp_path / "mine.yaml", "--name", "planes")
    data, task = content["data"], regression(content)
    assert content["name"] == "planes"
    assert (data["max_particles"], data["truth_link"]) == (4, "link")
    assert data["points"] == {"": [["hitX", "hitY", "hitZ"]]}
    assert data["targets"] == {"particle": ["slope_x", "slope_y", "p", "charge"]}
    assert (task["inverse_fields"], task["sign_fields"]) == (["p"], ["charge"])
    assert "track_fit" not in task
    assert "# track_fit:" in (tmp_path / "mine.yaml").read_text()
    assert "track fit: none" in said(capsys)


@pytest.mark.parametrize("name", ["barrel", "forward"])
def test_a_training_starts_from_it_and_needs_no_option(converted, tmp_path, name, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    init(converted[name], tmp_path / "mine.yaml")
    quick = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false", "--trainer.limit_test_batches", "0"]
    main(["fit", "--config", "mine.yaml", *quick])
    assert "warning" not in capsys.readouterr().err
    trained = config.load_checkpoint("runs/mine/version_0/ckpts/best.ckpt")
    stored, task = trained.config["data"], trained.model.model.tasks[-1]
    assert trained.model.model.decoder.num_queries == stored["max_particles"]
    assert task.hit_fields == stored["inputs"]["hit"]
    assert task.fields == stored["targets"]["particle"]
    assert isinstance(task.track_fit, HelixFit) == (name == "barrel")


def change_metadata(folder: Path, **changes) -> None:
    path = folder / "metadata.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))


def test_a_unit_that_is_not_said_follows_from_the_bending(converted, tmp_path, capsys):
    """A detector of 900 mm whose numbers are multiplied by 0.1: by their size they could be mm."""
    import h5py

    shutil.copytree(converted["barrel"] / "train", tmp_path / "set")
    change_metadata(tmp_path / "set", units={})
    for path in (tmp_path / "set/data").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            hits = file["hits"][:]
            hits[..., :3] /= 10
            file["hits"][...] = hits
            del file["hits_crc32"]
    content = init(tmp_path / "set", tmp_path / "mine.yaml")
    assert content["data"]["scale_factors"]["x"] == 0.01
    assert regression(content)["track_fit"]["init_args"]["field"] == pytest.approx(FIELD, rel=0.01)
    assert (content["data"]["val_dir"], content["data"]["test_dir"]) == (str(tmp_path / "set"), None)
    text = said(capsys)
    assert "x, y, z in cm, guessed" in text
    assert "a single data set: it is validated on the training events and not tested" in text


@pytest.mark.parametrize(("unit", "periodic"), [("rad", ["azimuth"]), ("mm", None)])
def test_a_turn_in_rad_is_an_angle_whatever_its_name(converted, tmp_path, unit, periodic):
    import h5py

    shutil.copytree(converted["barrel"] / "train", tmp_path / "set")
    columns = ["pt", "eta", "azimuth", "q"]
    change_metadata(tmp_path / "set", track_features=columns, units={"azimuth": unit, "x": "mm"})
    for path in (tmp_path / "set/data").glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file.attrs["track_features"] = columns
    content = init(tmp_path / "set", tmp_path / "mine.yaml")
    assert "azimuth" in content["data"]["targets"]["particle"]
    assert regression(content).get("periodic_fields") == periodic


def test_columns_that_are_no_inputs_or_targets_are_left_out_and_named(tmp_path):
    columns = ["hx", "hy", "hz", "phi", "dirX", "dirY", "dirZ", "cellID", "simEnergy", "flat", "amplitude", "owner"]
    import numpy as np

    from hitpool.files import Events, write_data_set

    random = np.random.default_rng(0)
    n = 400
    place, direction = random.normal(0, 300, (n, 3)), random.normal(0, 1, (n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    others = [random.uniform(-3, 3, n), *direction.T, random.integers(0, 1 << 22, n), random.uniform(0, 1, n)]
    hits = np.stack([*place.T, *others, np.full(n, 4.0), random.uniform(0, 9e4, n), np.tile([0, -1], n // 2)], axis=1)
    tracks = np.stack([random.uniform(1, 2, 40), np.full(40, 13), random.uniform(1, 2, 40), np.arange(40)], axis=1)
    events = Events(
        hits=hits.astype(np.float32),
        num_hits=np.full(40, 10),
        tracks=tracks.astype(np.float32),
        num_tracks=np.full(40, 1),
    )
    write_data_set(tmp_path / "set", [events], columns, ["mc_pT", "mass", "fit_pT", "track_id"], {}, "test")
    found = draft(tmp_path / "set", "owner")
    assert found.hits.point == ("hx", "hy", "hz")
    assert found.hits.prefix == "point_"
    assert found.hits.others == {"dirX": 1, "dirY": 1, "dirZ": 1, "amplitude": 1e-5}
    assert set(found.hits.left_out) == {"phi", "cellID", "simEnergy", "flat"}
    assert found.targets.fields == ["mc_pT"]
    assert found.targets.left_out == {"mass": "constant", "fit_pT": "another pt", "track_id": "an identifier"}
    assert found.bending is None


def test_muon_columns_have_the_factors_of_their_table(tmp_path):
    found = draft(write_dataset(tmp_path / "set", make_events(60)))
    assert found.hits.truth_link == "spacePoint_truthLink"
    assert found.hits.point == tuple(f"spacePoint_globEdgeLow{axis}" for axis in "XYZ")
    assert found.hits.others["spacePoint_driftR"] == 0.1
    assert found.targets.fields[-1] == "truthMuon_qpt"
    assert not found.bending.uniform


def test_misuse(converted, tmp_path):
    (tmp_path / "there.yaml").write_text("mine: 1\n")
    for options, message in (
        ([str(tmp_path), "--output", str(tmp_path / "a.yaml")], r"expected a data set .* or a folder with the data"),
        ([str(converted["barrel"]), "--output", str(tmp_path / "there.yaml")], "there.yaml exists: remove it"),
        ([str(converted["barrel"]), "--output", str(tmp_path / "a.txt")], "expected a file ending in .yaml"),
        (
            [str(converted["barrel"]), "--output", str(tmp_path / "a.yaml"), "--truth_link", "z0"],
            "does not say which hit column .* available columns: x, y, z, layer, adc, owner",
        ),
    ):
        with pytest.raises(SystemExit, match=message):
            main(["init", *options])
    assert (tmp_path / "there.yaml").read_text() == "mine: 1\n"

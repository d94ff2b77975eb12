"""`hitpool evaluate` and `hitpool show` of a model whose hits are filtered."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.config import load_checkpoint
from hitpool.evaluation.command import evaluate
from hitpool.show.event import read_event

pytestmark = [
    pytest.mark.filterwarnings("ignore:You called `self.log"),  # there is no logger
    pytest.mark.usefixtures("numbers_only"),
]


@pytest.fixture
def numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots and the table of the bound take seconds."""
    monkeypatch.setattr("hitpool.evaluation.measurement.bound_of_data_set", lambda generator, tracks: None)
    monkeypatch.setattr("hitpool.evaluation.measurement.draw_all", lambda *arguments: {})


@pytest.fixture(scope="session")
def masks(data_set: Path) -> list[np.ndarray]:
    """Which hits of each event the filter keeps: two of three, and none of event 6's last five."""
    with h5py.File(data_set / "data/events_0000.h5") as file:
        counts = file["num_hits"][:]
    masks = [np.arange(count) % 3 != 1 for count in counts]
    masks[6][-5:] = False
    return masks


@pytest.fixture(scope="session")
def hit_eval(tmp_path_factory: pytest.TempPathFactory, masks: list[np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("filter") / "eval.h5"
    with h5py.File(path, "w") as file:
        for event, mask in enumerate(masks):
            file[f"{event}/preds/final/hit_filter/hit_on_valid_particle"] = mask[None]
    return path


def run_of(checkpoint: Path, folder: Path, **data: object) -> Path:
    """A run like that of the checkpoint, with other settings of its data."""
    run = shutil.copytree(checkpoint.parent.parent, folder)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= {name: str(value) if isinstance(value, Path) else value for name, value in data.items()}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run / "ckpts" / "best.ckpt"


def measured(output: Path) -> dict:
    return json.loads((output / "resolution.json").read_text())["all"]


def test_the_filter_of_the_run_is_used(checkpoint: Path, hit_eval: Path, tmp_path: Path) -> None:
    evaluate(run_of(checkpoint, tmp_path / "own", hit_eval_test=hit_eval), output=tmp_path / "a")
    evaluate(checkpoint, output=tmp_path / "b", hit_eval=hit_eval)
    evaluate(checkpoint, output=tmp_path / "all")
    assert measured(tmp_path / "a") == measured(tmp_path / "b") != measured(tmp_path / "all")


def test_other_data_have_no_filter_and_that_is_said(
    checkpoint: Path, hit_eval: Path, data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    own = run_of(checkpoint, tmp_path / "own", hit_eval_train=hit_eval, hit_eval_test=hit_eval)
    other = shutil.copytree(data_set, tmp_path / "other")
    evaluate(own, other, output=tmp_path / "a")
    warning = f"warning: the model was trained with filtered hits, {other} has all: name --hit_eval\n"
    assert warning in capsys.readouterr().err
    evaluate(own, other, output=tmp_path / "b", hit_eval=hit_eval)
    assert "warning" not in capsys.readouterr().err
    assert measured(tmp_path / "a") != measured(tmp_path / "b")


def test_models_to_compare_see_the_hits_of_the_first(checkpoint: Path, hit_eval: Path, tmp_path: Path) -> None:
    first = run_of(checkpoint, tmp_path / "runs/version_0", hit_eval_test=hit_eval)
    second = run_of(checkpoint, tmp_path / "runs/version_1")
    evaluate(first, output=tmp_path / "out", runs=[second.parent.parent])
    sigma = measured(tmp_path / "out")["eta"]["sigma68"]
    assert sigma["version_0"] == sigma["version_1"]
    evaluate(second, output=tmp_path / "all", runs=[first.parent.parent])
    assert measured(tmp_path / "all")["eta"]["sigma68"]["version_1"] != sigma["version_1"]


def test_a_picture_has_no_probability_for_hits_that_are_dropped(
    checkpoint: Path, hit_eval: Path, masks: list[np.ndarray], data_set: Path, tmp_path: Path
) -> None:
    own = run_of(checkpoint, tmp_path / "own", hit_eval_val=hit_eval)
    weights = torch.load(own)["state_dict"]
    weights |= {name: torch.full_like(w, 9.0 * ("bias" in name)) for name, w in weights.items() if ".tasks.0." in name}
    torch.save({"state_dict": weights}, own)  # every track is valid
    trained = load_checkpoint(own)
    trained.datamodule.test_on(data_set)
    inputs, _ = trained.datamodule.dataset("test")[6]
    assert inputs["hit_valid"].sum() == masks[6].sum() < len(masks[6])
    network = trained.model.model
    with torch.no_grad():
        preds = network.predict(network(inputs))["final"]
    expected = preds["track_hit_valid"]["track_hit_valid_prob"][0][preds["track_valid"]["track_valid"][0]].numpy()
    found = read_event(data_set, 6, own)
    assert len(expected) == 2
    assert found.probability.shape[1] == len(found.low) == len(masks[6])
    np.testing.assert_array_equal(found.probability[:, ~masks[6]], 0)
    np.testing.assert_allclose(found.probability[:, masks[6]], expected, rtol=1e-5, atol=1e-6)

"""A model of events of ACTS: fits by ACTS of its hits, what it makes of the hits that ACTS found, files for ACTS."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from hitpool.acts import acts
from hitpool.acts.columns import KALMAN_FEATURES, TRACK_FEATURES
from hitpool.acts.csv_tracks import STEM
from hitpool.config import Objects, load
from hitpool.evaluation import ActsWriter, PredictionWriter
from hitpool.evaluation.collector import TrueAssignment
from hitpool.evaluation.command import evaluate
from hitpool.evaluation.found_hits import FoundHits
from hitpool.evaluation.refit import Refit

pytest.importorskip("acts", reason="ACTS is not installed (hitpool[acts])")
pytestmark = [
    pytest.mark.filterwarnings("ignore:You called `self.log"),  # there is no logger
    pytest.mark.filterwarnings("ignore:.*have no logger"),
    pytest.mark.usefixtures("numbers_only"),
]

EVENTS, BUSY_EVENTS = 40, 12
NAMES = ("track", "particle", "hit")
FIELDS = {"pt": "pt", "eta": "eta", "phi": "phi", "qpt": "qpt"}


@pytest.fixture
def numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take seconds."""
    monkeypatch.setattr("hitpool.evaluation.measurement.draw_all", lambda *arguments: {})
    monkeypatch.setattr("hitpool.evaluation.report.draw_all", lambda *arguments: {})


def model_of(folder: Path, slots: int, runs: Path) -> Objects:
    """The configuration for ACTS with random weights."""
    overrides = {f"data.{part}_dir": str(folder) for part in ("train", "val", "test")} | {"runs": str(runs)}
    overrides |= {"data.max_particles": slots, "model.model.decoder.num_queries": slots, "data.batch_size": 16}
    objects = load("acts.yaml", overrides)
    for task in objects.model.model.tasks:
        if hasattr(task, "fit_standardization"):
            task.fit_standardization(objects.datamodule.train_targets())
    return objects


@pytest.fixture(scope="module")
def muons(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    folder = tmp_path_factory.mktemp("muons") / "set"
    acts(folder, EVENTS, seed=21, workers=1)
    return model_of(folder, 3, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    folder = tmp_path_factory.mktemp("busy") / "set"
    acts(folder, BUSY_EVENTS, seed=22, workers=1, profile="busy")
    return model_of(folder, 60, tmp_path_factory.mktemp("runs"))


def checkpoint_of(objects: Objects, run: Path) -> Path:
    (run / "ckpts").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(objects.config))
    torch.save({"state_dict": objects.model.state_dict()}, run / "ckpts" / "best.ckpt")
    return run / "ckpts" / "best.ckpt"


def all_of_test(objects: Objects) -> tuple[dict, dict]:
    dataset = objects.datamodule.dataset("test")
    return dataset[list(range(len(dataset)))]


def test_a_model_that_knows_everything_gets_the_results_of_the_filter(muons: Objects) -> None:
    dataset, (_, targets) = muons.datamodule.dataset("test"), all_of_test(muons)
    fits = Refit(dataset, *NAMES, FIELDS)
    preds = {f"track_{name}": targets[f"particle_{name}"] for name in ("valid", "hit_valid", *FIELDS)}
    fits.on_test_batch_end(Trainer(logger=False), muons.model, {"targets": targets, "preds": {"all": preds}})
    with h5py.File(dataset.index.path(0)) as file:
        stored = file["tracks"][:, :, [TRACK_FEATURES.index(name) for name in KALMAN_FEATURES]].astype(np.float64)
    number = int(targets["particle_valid"].sum())
    assert (fits.tried, fits.failed) == (number, 0)
    valid = targets["particle_valid"].numpy()
    own, expected = fits._fits[:, : stored.shape[1]][valid[:, : stored.shape[1]]], stored[valid[:, : stored.shape[1]]]
    sigma = expected[:, KALMAN_FEATURES.index("kalman_sigma_eta")]
    difference = np.abs(own[:, 1] - expected[:, 1]) / sigma
    assert np.median(difference) < 0.01  # the start does not know d0
    assert difference.max() < 0.3
    np.testing.assert_allclose(own[:, 0], expected[:, 0], rtol=2e-3)
    assert np.isnan(fits._fits[~valid]).all()


def test_tracks_without_enough_hits_fail(muons: Objects) -> None:
    dataset, (_, targets) = muons.datamodule.dataset("test"), all_of_test(muons)
    preds = {f"track_{name}": targets[f"particle_{name}"].clone() for name in ("valid", "hit_valid", *FIELDS)}
    preds["track_hit_valid"][0, 0] &= preds["track_hit_valid"][0, 0].cumsum(-1) <= 2
    preds["track_qpt"][1, 0] = torch.nan
    preds["track_valid"][2, 0] = False  # not tried
    fits = Refit(dataset, *NAMES, FIELDS)
    fits.on_test_batch_end(Trainer(logger=False), muons.model, {"targets": targets, "preds": {"all": preds}})
    assert (fits.tried, fits.failed) == (int(targets["particle_valid"].sum()) - 1, 2)
    assert np.isnan(fits._fits[:3, 0]).all()


def test_fits_are_shown_beside_the_others(muons: Objects, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    checkpoint = checkpoint_of(muons, tmp_path / "run")
    evaluate(checkpoint, None, ["kalman_"], tmp_path / "out", refit=True)
    stored = json.loads((tmp_path / "out" / "resolution.json").read_text())
    assert set(stored["counts"]["not_found"]) == {"model", "true hits", "kalman", "refit"}
    assert "fit by ACTS: failed for " in capsys.readouterr().out
    with pytest.raises(ValueError, match="--refit is for the tracks of one model: leave out --compare"):
        evaluate(checkpoint, None, output=tmp_path / "out", runs=[checkpoint_of(muons, tmp_path / "other")], refit=True)


def test_what_cannot_be_fitted_is_said_before_the_test(
    muons: Objects, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "x, y, z, volume, layer, module, var_loc0, var_loc1"
    with pytest.raises(ValueError, match=f"expected the hit columns of 'hitpool acts', without {missing}; available"):
        evaluate(checkpoint, output=tmp_path / "out", refit=True)
    with pytest.raises(ValueError, match=r"among the parameters of the model, got eta, pt$"):
        Refit(muons.datamodule.dataset("test"), *NAMES, {"eta": "eta", "pt": "pt"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"ACTS is not installed: pip install \"hitpool\[acts\]\""):
        Refit(muons.datamodule.dataset("test"), *NAMES, FIELDS)
    assert not (tmp_path / "out").exists()


def test_found_hits_are_those_of_the_best_track(busy: Objects) -> None:
    dataset, (_, targets) = busy.datamodule.dataset("test"), all_of_test(busy)
    events = np.array([5, 0, 11])
    true = targets["particle_hit_valid"][torch.from_numpy(events)].numpy()
    belongs = FoundHits(dataset, "ckf").belongs(events, true)
    with h5py.File(dataset.index.directory / "ckf.h5") as file:
        found = {name: file[name][:] for name in ("num_tracks", "num_hits", "hits", "particle", "duplicate")}
    hits = np.split(found["hits"], np.cumsum(found["num_hits"])[:-1])
    expected = np.zeros_like(belongs)
    for i, event in enumerate(events):
        first = found["num_tracks"][:event].sum()
        for track in range(first, first + found["num_tracks"][event]):
            if found["particle"][track] >= 0 and not found["duplicate"][track]:
                expected[i, found["particle"][track], hits[track]] = True
    np.testing.assert_array_equal(belongs, expected)
    assert belongs.any(-1).sum() > 50


def test_a_filter_takes_hits_from_found_tracks(busy: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, (_, targets) = busy.datamodule.dataset("test"), all_of_test(busy)
    whole = FoundHits(dataset, "ckf")
    events, true = np.array([3]), targets["particle_hit_valid"][3:4].numpy()
    kept = np.arange(dataset.num_hits[3]) % 7 != 2
    before = whole.belongs(events, true)[..., : len(kept)]
    monkeypatch.setattr(dataset, "kept_hits", lambda event: kept)
    after = whole.belongs(events, true[..., : len(kept)][..., kept])
    both = before[0][:, kept].any(-1) & after[0].any(-1)
    np.testing.assert_array_equal(after[0][both], before[0][:, kept][both])
    assert both.sum() > 15


def test_lists_of_hits_get_the_query_that_has_them(muons: Objects) -> None:
    """With the true hits as what the model assigns, its own results come back, whatever the order of its queries."""
    network = muons.model.model.eval()
    inputs, targets = all_of_test(muons)
    mask, task = network.tasks[1], network.tasks[2]
    order = torch.tensor([2, 0, 1])  # query 0 has the hits of particle 2
    logits = torch.where(targets["particle_hit_valid"][:, order], 20.0, -20.0)
    hook = mask.register_forward_hook(lambda module, args, output: {mask.outputs[0]: logits})
    given = TrueAssignment(network, task)
    try:
        with torch.no_grad():
            own = network.predict(network(inputs))["final"][task.name]  # in the order of the queries
        lists = given.predict_with(targets["particle_hit_valid"])
    finally:
        hook.remove()
        given.close()
    valid = targets["particle_valid"]
    for name, values in lists.items():
        torch.testing.assert_close(values[valid], own[name][:, order.argsort()][valid], rtol=1e-5, atol=1e-5)


def test_hits_of_the_track_finding_are_an_estimate(busy: Objects, tmp_path: Path) -> None:
    evaluate(checkpoint_of(busy, tmp_path / "run"), None, ["ckf_"], tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "resolution.json").read_text())
    lacking = stored["counts"]["not_found"]
    assert lacking["ckf hits"] == lacking["ckf"] < 0.1 * stored["counts"]["particles"]
    assert {"true hits", "ckf hits", "ckf"} < set(stored["all"]["eta"]["sigma68"])


def predicted(objects: Objects, folder: Path) -> None:
    """Predicts with tracks 0 and 2 valid, and each hit in the track of its number modulo 3."""
    network = objects.model.model
    validity, mask = network.tasks[:2]
    slots = torch.arange(3)

    def which(module: torch.nn.Module, arguments: tuple, output: dict) -> dict:
        own = output[mask.outputs[0]]
        return {
            mask.outputs[0]: torch.where(torch.arange(own.shape[-1]) % 3 == slots[:, None], 20.0, -20.0).expand_as(own)
        }

    def valid(module: torch.nn.Module, arguments: tuple, output: dict) -> dict:
        return {name: torch.where(slots == 1, -20.0, 20.0).expand_as(own) for name, own in output.items()}

    hooks = [mask.register_forward_hook(which), validity.register_forward_hook(valid)]
    options = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(default_root_dir=folder, callbacks=[ActsWriter(), PredictionWriter("events.h5")], **options)
    try:
        trainer.predict(objects.model, objects.datamodule, return_predictions=False)
    finally:
        for hook in hooks:
            hook.remove()


def test_files_for_acts_hold_what_is_predicted(muons: Objects, tmp_path: Path) -> None:
    predicted(muons, tmp_path)
    dataset = muons.datamodule.dataset("test")
    assert len(list((tmp_path / "acts").iterdir())) == 2 * EVENTS
    with h5py.File(tmp_path / "events.h5") as file, h5py.File(dataset.index.path(0)) as data:
        for event in range(EVENTS):
            with (tmp_path / "acts" / f"event{event:09d}-prototracks.csv").open(newline="") as text:
                hits = [{name: float(own) for name, own in row.items()} for row in csv.DictReader(text)]
            with (tmp_path / "acts" / f"event{event:09d}-{STEM}.csv").open(newline="") as text:
                tracks = [{name: float(own) for name, own in row.items()} for row in csv.DictReader(text)]
            preds = file[f"{event}/preds/final"]
            assert preds["track_valid/track_valid"][0].tolist() == [True, False, True]
            own = {name: preds[f"parameter_regression/track_{name}"][0][[0, 2]] for name in ("eta", "phi", "qpt")}
            for name, expected in {
                "phi": own["phi"],
                "theta": 2 * np.arctan(np.exp(-own["eta"])),
                "qop": own["qpt"] / np.cosh(own["eta"]),
            }.items():
                np.testing.assert_allclose([track[name] for track in tracks], expected, rtol=1e-5, atol=1e-6)
            for track, slot in enumerate((0, 2)):
                rows = [int(hit["measurementId"]) for hit in hits if hit["trackId"] == track]
                assert sorted(rows) == list(range(slot, int(data["num_hits"][event]), 3))
                points = data["hits"][event][rows, :3]
                given = [[hit[axis] for axis in "xyz"] for hit in hits if hit["trackId"] == track]
                np.testing.assert_allclose(given, points, rtol=1e-6)
                distance = np.hypot(np.hypot(points[:, 0], points[:, 1]), points[:, 2] - tracks[track]["z0"])
                assert (np.diff(distance) >= -1e-3).all()


def test_an_existing_folder_is_left_alone(muons: Objects, tmp_path: Path) -> None:
    (tmp_path / "acts").mkdir()
    with pytest.raises(FileExistsError, match="acts exists already"):
        predicted(muons, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["acts"]

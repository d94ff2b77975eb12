"""The command `hitpool evaluate`, on the default model with random weights and on data with a made-up reference."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from hitpool.cli import main
from hitpool.config import Objects, load
from hitpool.data import EventDataset
from hitpool.evaluation.collector import TrueAssignment
from hitpool.evaluation.command import command, evaluate
from hitpool.evaluation.measurement import _checkpoint, _names
from hitpool.evaluation.reference import read_reference
from hitpool.files import Events, write_data_set
from hitpool.residuals import residual, sigma68
from hitpool.simulation import HIT_FEATURES, TRACK_FEATURES, Bound, Settings, generate_events
from hitpool.tasks.regression import RegressionTask

COLUMNS = (*TRACK_FEATURES, "fit_pt", "fit_eta", "fit_q", "fit_sigma_eta")
NO_FIT = 7  # every seventh track has no fit
EVENTS = 480

pytestmark = pytest.mark.filterwarnings("ignore:You called `self.log")  # there is no logger


def with_fits(rng: np.random.Generator, events: Events) -> Events:
    pt, eta, _, q = events.tracks.T
    fits = np.stack(
        [pt * rng.normal(1, 0.02, pt.size), eta + rng.normal(0, 1e-3, eta.size), q, np.full_like(q, 2e-3)], -1
    )
    fits[::NO_FIT] = np.nan
    tracks = np.concatenate([events.tracks, fits], -1).astype(np.float32)
    return Events(events.hits, events.num_hits, tracks, events.num_tracks)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two files with a reference."""
    folder = tmp_path_factory.mktemp("fitted") / "set"
    rng = np.random.default_rng(8)
    files = [with_fits(rng, generate_events(rng, EVENTS // 2, Settings())) for _ in range(2)]
    write_data_set(folder, files, HIT_FEATURES, COLUMNS, {}, "test")
    # The events are not in the order of the rows.
    for name in ("file", "row"):
        path = folder / f"event_{name}_indices.npy"
        np.save(path, np.random.default_rng(1).permutation(np.load(path).reshape(2, -1).T.copy()).ravel())
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    del metadata["event_mapping"]["index_crc32"]
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return folder


def true_tracks(folder: Path) -> list[np.ndarray]:
    """Rows of `tracks` of each event, read without hitpool."""
    index = [np.load(folder / f"event_{name}_indices.npy") for name in ("file", "row")]
    tracks = []
    for number, row in zip(*index, strict=True):
        with h5py.File(folder / "data" / f"events_{number:04d}.h5") as file:
            tracks.append(file["tracks"][row, : file["num_tracks"][row]])
    return tracks


@pytest.mark.parametrize("num_events", [-1, 31])
def test_the_reference_is_that_of_the_event(fitted: Path, num_events: int) -> None:
    dataset = EventDataset(fitted, {"hit": ["r"]}, {"particle": ["truthMuon_pt"]}, num_events, max_particles=4)
    reference, errors = read_reference(dataset, "fit_")
    assert set(reference) == {"pt", "eta", "q"}
    assert set(errors) == {"eta"}
    expected = np.full((EVENTS, 4, len(COLUMNS)), np.nan)
    for event, tracks in enumerate(true_tracks(fitted)):
        if event in dataset.sample_id:
            expected[event, : len(tracks)] = tracks
    for name, values in reference.items():
        np.testing.assert_array_equal(values, expected[..., COLUMNS.index(f"fit_{name}")])
    np.testing.assert_array_equal(errors["eta"], expected[..., COLUMNS.index("fit_sigma_eta")])


def test_an_unknown_reference_is_named_with_the_columns(fitted: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no reference 'kalman_'.*kalman_pt.*available: truthMuon_pt.*fit_q"):
        evaluate(checkpoint, fitted, ["kalman_"], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_comparison_of_a_model(
    fitted: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    written = []
    monkeypatch.setattr("hitpool.evaluation.plots.label", lambda axes, text: written.append(text))
    evaluate(checkpoint, fitted, ["fit_"], tmp_path)
    stored = json.loads((tmp_path / "resolution.json").read_text())
    counts, every = stored["counts"], stored["all"]
    assert counts["particles"] == sum(map(len, true_tracks(fitted)))
    assert counts["compared"] > 20
    assert counts["not_found"]["true hits"] == 0
    assert set(every) == {"qpt", "eta", "q", "validity"}
    assert set(every["eta"]["sigma68"]) == {"model", "true hits", "fit"}
    assert every["eta"]["sigma68"]["fit"]["value"] == pytest.approx(1e-3, rel=0.4)
    assert every["eta"]["pull"]["fit"]["value"] == pytest.approx(every["eta"]["sigma68"]["fit"]["value"] / 2e-3)
    assert every["eta"]["to_reference"]["model"]["value"] > 10  # random weights
    found = 1 - counts["not_found"]["model"] / counts["particles"]
    assert every["validity"]["efficiency"]["model"]["value"] == pytest.approx(found)
    printed = capsys.readouterr().out
    assert "true hits" in printed
    assert f"{counts['compared']} of {counts['particles']} particles" in printed
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"eta_resolution_eta.png", "qpt_resolution_pt.png", "charge_pt.png", "validity_fake_rate_eta.png"} <= plots
    assert set(written) == {f"{fitted.parent.name}/{fitted.name}"}


def test_numbers_are_those_of_the_predictions(fitted: Path, checkpoint: Path, objects: Objects, tmp_path: Path) -> None:
    evaluate(checkpoint, fitted, ["fit_"], tmp_path)
    stored = json.loads((tmp_path / "resolution.json").read_text())
    network = objects.model.model.eval()
    data = {"hit": objects.datamodule.inputs["hit"]}, objects.datamodule.targets
    options = {"scale_factors": objects.datamodule.scale_factors, "max_particles": 2}
    dataset = EventDataset(fitted, *data, **options)
    inputs, targets = dataset[list(range(EVENTS))]
    with torch.no_grad():
        preds = network.predict(network.match(network(inputs), targets))["final"]
    named = {name: tensor.numpy() for task in preds.values() for name, tensor in task.items()}
    tracks = np.full((EVENTS, 2, len(COLUMNS)), np.nan)
    for event, own in enumerate(true_tracks(fitted)):
        tracks[event, : len(own)] = own
    compared = named["track_valid"] & np.isfinite(tracks[..., COLUMNS.index("fit_pt")])
    assert stored["counts"]["compared"] == compared.sum()
    true = tracks[compared]
    eta = sigma68(residual(named["track_truthMuon_eta"][compared], true[:, COLUMNS.index("truthMuon_eta")]))
    assert stored["all"]["eta"]["sigma68"]["model"]["value"] == pytest.approx(eta, rel=1e-3)
    fit = sigma68(true[:, COLUMNS.index("truthMuon_pt")] / true[:, COLUMNS.index("fit_pt")] - 1)  # charges are right
    assert stored["all"]["qpt"]["sigma68"]["fit"]["value"] == pytest.approx(fit, rel=1e-4)


@pytest.fixture
def constant_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of the bound takes seconds, and is tested elsewhere."""

    def bound(pt: np.ndarray, eta: np.ndarray, phi: np.ndarray, charge: np.ndarray, settings: Settings) -> Bound:
        assert settings == Settings()
        return Bound(np.full_like(pt, 0.1), np.full_like(pt, 0.01), np.full_like(pt, 0.02))

    monkeypatch.setattr("hitpool.evaluation.bound.resolution_bound", bound)


@pytest.mark.usefixtures("constant_bound")
def test_simulated_events_are_measured_by_the_bound(
    data_set: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    written = []
    monkeypatch.setattr("hitpool.evaluation.plots.label", lambda axes, text: written.append(text))
    evaluate(checkpoint, data_set, output=tmp_path / "new", label="beam test")
    printed = capsys.readouterr().out
    for part in ("hit assignment efficiency", "residual / bound", "in bins of pT"):
        assert part in printed
    assert json.loads((tmp_path / "new" / "results.json").read_text())["events"] == 40
    stored = json.loads((tmp_path / "new" / "resolution.json").read_text())["all"]
    assert set(stored["phi"]["sigma68"]) == {"model", "true hits", "bound"}
    for quantity, bound in (("qpt", 0.1), ("eta", 0.01), ("phi", 0.02)):
        ratio = stored[quantity]["to_bound"]["model"]["value"]
        assert ratio == pytest.approx(stored[quantity]["sigma68"]["model"]["value"] / bound)
    assert set(written) == {"beam test"}


@pytest.mark.usefixtures("constant_bound")
def test_runs_stand_side_by_side(
    data_set: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first, second = (shutil.copytree(checkpoint.parent.parent, tmp_path / f"version_{i}") for i in range(2))
    weights = torch.load(checkpoint)["state_dict"]
    weights = {name: 1.5 * value if ".tasks.2." in name else value for name, value in weights.items()}
    torch.save({"state_dict": weights}, second / "ckpts" / "best.ckpt")
    options = ["--checkpoint", f"{first}/ckpts/best.ckpt", "--data", str(data_set), "--compare", str(second)]
    command(options)()
    rows = json.loads((first / "evaluation" / "resolution.json").read_text())["all"]
    assert list(rows["eta"]["sigma68"]) == ["version_0", "version_1", "bound"]
    assert rows["eta"]["sigma68"]["version_0"] != rows["eta"]["sigma68"]["version_1"]
    assert set(rows["validity"]["efficiency"]) == {"version_0", "version_1"}
    assert "hit assignment" not in capsys.readouterr().out


@pytest.mark.usefixtures("constant_bound")
def test_checkpoints_of_one_run_are_shown_side_by_side(data_set: Path, checkpoint: Path, tmp_path: Path) -> None:
    run = shutil.copytree(checkpoint.parent.parent, tmp_path / "version_0")
    weights = torch.load(checkpoint)["state_dict"]
    weights = {name: 1.3 * w if ".regression_head." in name else w for name, w in weights.items()}
    torch.save({"state_dict": weights}, run / "ckpts" / "last.ckpt")
    evaluate(run / "ckpts" / "best.ckpt", data_set, output=tmp_path, runs=[run / "ckpts" / "last.ckpt"])
    of = json.loads((tmp_path / "resolution.json").read_text())["all"]["eta"]["sigma68"]
    assert list(of) == ["best", "last", "bound"]
    assert of["best"]["value"] != of["last"]["value"]


def test_models_are_named_by_what_distinguishes_them() -> None:
    one, two = (Path("runs/muon/version_0/ckpts", f"{name}.ckpt") for name in ("best", "last"))
    other = Path("runs/muon/version_1/ckpts/best.ckpt")
    assert _names([one, other]) == ["version_0", "version_1"]
    assert _names([two, one]) == ["last", "best"]
    assert _names([one, two, other]) == ["version_0/ckpts/best", "version_0/ckpts/last", "version_1/ckpts/best"]


def test_a_run_is_not_compared_with_itself(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="are not all different"):
        evaluate(checkpoint, runs=[checkpoint.parent.parent])


@pytest.mark.usefixtures("constant_bound")
def test_errors_of_a_model_are_tested_by_pulls(
    data_set: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = RegressionTask.predict

    def with_errors(self: RegressionTask, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
        preds = predict(self, *args, **kwargs)
        eta = preds["track_truthMuon_eta"]
        return preds | {"track_truthMuon_eta_error": torch.full_like(eta, 0.5)}

    monkeypatch.setattr(RegressionTask, "predict", with_errors)
    evaluate(checkpoint, data_set, output=tmp_path)
    stored = json.loads((tmp_path / "resolution.json").read_text())["all"]
    for name in ("model", "true hits"):
        pull = stored["eta"]["pull"][name]["value"]
        assert pull == pytest.approx(stored["eta"]["sigma68"][name]["value"] / 0.5)
    assert "pull" not in stored["phi"]


@pytest.mark.usefixtures("constant_bound")
def test_a_trained_response_is_shown_beside_its_fit(data_set: Path, checkpoint: Path, tmp_path: Path) -> None:
    run = shutil.copytree(checkpoint.parent.parent, tmp_path / "version_0")
    weights = torch.load(checkpoint)["state_dict"]
    weights["model.tasks.2.response.trained"] = torch.tensor(True)
    weights["model.tasks.2.response.net.4.bias"] = torch.tensor([0.0] * 3 + [-20.0] * 3 + [0.0] * 3)  # the fit as it is
    torch.save({"state_dict": weights}, run / "ckpts" / "best.ckpt")
    evaluate(run / "ckpts" / "best.ckpt", data_set, output=tmp_path)
    stored = json.loads((tmp_path / "resolution.json").read_text())["all"]
    for quantity in ("qpt", "eta", "phi"):
        of = stored[quantity]["sigma68"]
        assert list(of) == ["model", "true hits", "fit alone", "bound"]
        assert of["fit alone"]["value"] == pytest.approx(of["model"]["value"], rel=1e-3)
        assert of["true hits"]["value"] < of["model"]["value"]
    assert set(stored["phi"]["pull"]) == {"model", "true hits"}


def test_a_model_without_parameters_has_the_table_of_the_test(
    data_set: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = yaml.safe_load((checkpoint.parent.parent / "config.yaml").read_text())
    del config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][2]
    weights = torch.load(checkpoint)["state_dict"]
    (tmp_path / "ckpts").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    kept = {name: value for name, value in weights.items() if ".tasks.2." not in name}
    torch.save({"state_dict": kept}, tmp_path / "ckpts" / "best.ckpt")
    evaluate(tmp_path / "ckpts" / "best.ckpt", data_set)
    assert "hit assignment efficiency" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no task of the model regresses"):
        evaluate(tmp_path / "ckpts" / "best.ckpt", data_set, ["fit_"])


def test_a_model_that_finds_nothing_is_measured(
    data_set: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = shutil.copytree(checkpoint.parent.parent, tmp_path / "run")
    weights = torch.load(checkpoint)["state_dict"]
    weights |= {name: torch.full_like(w, -9.0 * ("bias" in name)) for name, w in weights.items() if ".tasks.0." in name}
    torch.save({"state_dict": weights}, run / "ckpts" / "best.ckpt")
    evaluate(run / "ckpts" / "best.ckpt", data_set)
    assert "0 of 55 particles; not found: 55 by model" in " ".join(capsys.readouterr().out.split())
    stored = json.loads((run / "evaluation" / "resolution.json").read_text())
    assert set(stored["all"]) == {"validity"}
    assert stored["all"]["validity"]["efficiency"]["model"]["value"] == 0
    assert stored["all"]["validity"]["fake_rate"]["model"]["value"] is None


def test_a_missing_checkpoint_ends_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    with pytest.raises(SystemExit, match=r"hitpool evaluate: .*best.ckpt does not exist"):
        main(["evaluate", "--checkpoint", str(tmp_path / "ckpts" / "best.ckpt")])


@pytest.fixture
def batch(objects: Objects) -> tuple[dict, dict]:
    return objects.datamodule.dataset("test")[list(range(12))]


@pytest.fixture
def given_truth(objects: Objects) -> Iterator[TrueAssignment]:
    network = objects.model.model.eval()
    truth = TrueAssignment(network, network.tasks[2])
    yield truth
    truth.close()


def regressed(objects: Objects, batch: tuple[dict, dict]) -> dict[str, torch.Tensor]:
    inputs, targets = batch
    network = objects.model.model
    with torch.no_grad():
        return network.predict(network.match(network(inputs), targets))["final"][network.tasks[2].name]


def test_a_model_that_knows_the_assignment_gains_nothing(
    objects: Objects, batch: tuple[dict, dict], given_truth: TrueAssignment
) -> None:
    _, targets = batch
    mask = objects.model.model.tasks[1]
    order = torch.tensor([1, 0])  # query 0 has the hits of particle 1
    logits = torch.where(targets["particle_hit_valid"][:, order], 20.0, -20.0)
    hook = mask.register_forward_hook(lambda module, args, output: {mask.outputs[0]: logits})
    try:
        own = regressed(objects, batch)
        given = given_truth.predict(targets)
    finally:
        hook.remove()
    valid = targets["particle_valid"]
    assert set(given) == set(own)
    for name, values in given.items():
        torch.testing.assert_close(values[valid], own[name][valid], rtol=1e-5, atol=1e-5)


def test_true_hits_replace_those_that_are_assigned(
    objects: Objects, batch: tuple[dict, dict], given_truth: TrueAssignment
) -> None:
    _, targets = batch
    own = regressed(objects, batch)
    given = given_truth.predict(targets)
    valid = targets["particle_valid"]
    assert (given["track_truthMuon_eta"] - own["track_truthMuon_eta"])[valid].abs().median() > 1e-4
    given_truth.close()
    assert not objects.model.model.tasks[2]._forward_pre_hooks


def test_a_model_without_pooling_is_compared_as_it_is(fitted: Path, data_set: Path, tmp_path: Path) -> None:
    overrides = {f"data.{part}_dir": str(data_set) for part in ("train", "val", "test")}
    objects = load("muon_query.yaml", overrides | {"runs": str(tmp_path / "runs")})
    (task,) = [task for task in objects.model.model.tasks if hasattr(task, "fields")]
    task.fit_standardization(objects.datamodule.train_targets())
    (tmp_path / "run" / "ckpts").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(objects.config))
    torch.save({"state_dict": objects.model.state_dict()}, tmp_path / "run" / "ckpts" / "best.ckpt")
    evaluate(tmp_path / "run" / "ckpts" / "best.ckpt", fitted, ["fit_"])
    stored = json.loads((tmp_path / "run" / "evaluation" / "resolution.json").read_text())
    assert set(stored["all"]["eta"]["sigma68"]) == {"model", "fit"}


def test_what_is_compared_is_a_run_directory_or_a_checkpoint(tmp_path: Path) -> None:
    runs = [tmp_path / "muon" / f"version_{number}" for number in range(2)]
    for run_directory in runs:
        (run_directory / "ckpts").mkdir(parents=True)
        (run_directory / "ckpts" / "best.ckpt").touch()
    assert _checkpoint(runs[0]) == runs[0] / "ckpts" / "best.ckpt" == _checkpoint(runs[0] / "ckpts" / "best.ckpt")
    expected = "expected a run directory, such as runs/muon/version_0, or a checkpoint"
    with pytest.raises(FileNotFoundError, match=f"muon: {expected}; below it are {runs[0]}, {runs[1]}$"):
        _checkpoint(tmp_path / "muon")
    with pytest.raises(FileNotFoundError, match=f"or a checkpoint; below it are {runs[0]}, {runs[1]}$"):
        _checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"none: {expected}; there is no {tmp_path}/none$"):
        _checkpoint(tmp_path / "none")

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from hitpool.config import Objects
from hitpool.evaluation import PredictionWriter, TestReport, report
from hitpool.evaluation.assignment import FRACTIONS
from hitpool.evaluation.bootstrap import fraction
from hitpool.evaluation.tested_runs import read_run
from hitpool.evaluation.tracks import MODEL, Tracks

pytestmark = pytest.mark.filterwarnings("ignore:You called `self.log")  # there is no logger

EVENTS = 40  # in the data set

SECOND_PROCESS = """
import sys
import torch
from hitpool.evaluation import report

tracks = torch.load(sys.argv[2], weights_only=False)
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=1, world_size=2)
assert len(report._from_all_ranks([tracks], 2)) == 2
torch.distributed.destroy_process_group()  # else its threads may abort the process at its end
"""


def run(folder: Path, *callbacks: Callback, **options: object) -> Trainer:
    options = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False, **options}
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), enable_model_summary=False, **options)


class Perfect(Callback):
    """Replaces the predictions by the truth, in a batch of the test."""

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: dict, batch: object, batch_idx: int
    ) -> None:
        targets = outputs["targets"]
        outputs["preds"] = {
            "any": {
                "track_valid": targets["particle_valid"],
                "track_hit_valid": targets["particle_hit_valid"],
                **{
                    name.replace("particle", "track"): values
                    for name, values in targets.items()
                    if name.startswith("particle_truth")
                },
            }
        }


def test_report_of_a_model(objects: Objects, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    callback = TestReport()
    run(tmp_path, callback).test(objects.model, objects.datamodule, verbose=False)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["events"] == EVENTS
    assert stored["particles"] == len(objects.datamodule.train_targets()["truthMuon_pt"])
    rows = stored["results"]
    assert rows["track_efficiency"]["trivial"] == 1.0
    assert 0.1 < rows["hit_purity"]["trivial"] < 0.6
    assert rows["pt_sigma68"]["trivial"] > 0.2
    names = {"residual_pt", "residual_eta", "residual_phi", "hit_confusion"}  # too few tracks for plots in bins
    plots = sorted((tmp_path / "plots").iterdir())
    assert {path.name for path in plots} == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    for path in plots:
        assert path.read_bytes().startswith({".png": b"\x89PNG", ".pdf": b"%PDF"}[path.suffix])
    measured = read_run(tmp_path).measured
    assert {"pt", "eta", "phi", "hits"} == set(measured.edges)
    assert len(measured.bins["pt", "validity", "efficiency"]) == len(measured.edges["pt"]) - 1
    page = (tmp_path / "index.html").read_text()
    assert "hit assignment efficiency" in page
    assert page.count("data:image/png;base64,") == len(names)
    printed = capsys.readouterr().out
    assert "hit assignment efficiency" in printed
    assert "results.json" in printed.replace("\n", "")
    assert callback.batches == []


def test_perfect_predictions_are_reported_as_such(objects: Objects, tmp_path: Path) -> None:
    run(tmp_path, Perfect(), TestReport()).test(objects.model, objects.datamodule, verbose=False)
    rows = json.loads((tmp_path / "results.json").read_text())["results"]
    for name in ("track_efficiency", "hit_efficiency", "hit_purity", "charge_accuracy", "count_accuracy"):
        assert rows[name]["value"] == 1.0
    for name in ("track_fake_rate", "pt_sigma68", "eta_sigma68", "phi_sigma68", "pt_median", "by_hits_fake_rate"):
        assert rows[name]["value"] == 0.0
    assert rows["by_hits_efficiency"]["value"] == 1.0


def test_trivial_numbers_come_from_the_training_set(objects: Objects, tmp_path: Path) -> None:
    callback = TestReport()
    run(tmp_path, callback).test(objects.model, objects.datamodule, verbose=False)
    values = objects.datamodule.train_targets()
    assert callback.means["pt"] == pytest.approx(float(values["truthMuon_pt"].mean()), rel=1e-5)
    assert abs(callback.means["q"]) == 1.0


@pytest.mark.parametrize(("given", "shown"), [(None, "{data_set}"), ("Cosmic muons, 2026", "Cosmic muons, 2026")])
def test_plots_say_where_the_tracks_come_from(
    objects: Objects, data_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, shown: str
) -> None:
    written = []
    monkeypatch.setattr("hitpool.evaluation.plots.label", lambda axes, text: written.append(text))
    run(tmp_path, TestReport(label=given)).test(objects.model, objects.datamodule, verbose=False)
    name = f"{data_set.parent.name}/{data_set.name}"
    assert written == [shown.format(data_set=name)] * 3


def test_names_of_fields_are_configuration(objects: Objects, tmp_path: Path) -> None:
    callback = TestReport(pt="none", phi="truthMuon_eta", charge="truthMuon_phi")
    run(tmp_path, callback).test(objects.model, objects.datamodule, verbose=False)
    rows = json.loads((tmp_path / "results.json").read_text())["results"]
    assert "pt_sigma68" not in rows
    assert "phi_sigma68" in rows
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {
        f"residual_{q}" for q in ("eta", "phi", "qpt")
    } | {"hit_confusion"}


def test_wrong_names_of_objects_are_named(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"no predictions \['jet_valid', 'jet_hit_valid'\]; the tasks predict"):
        run(tmp_path, TestReport(track="jet")).test(objects.model, objects.datamodule, verbose=False)


def test_data_without_training_targets_are_refused_before_the_test(objects: Objects, tmp_path: Path) -> None:
    loader = objects.datamodule.test_dataloader()
    with pytest.raises(TypeError, match="needs a data module with train_targets"):
        run(tmp_path, TestReport()).test(objects.model, loader, verbose=False)


def test_a_trial_run_writes_nothing(objects: Objects, tmp_path: Path) -> None:
    run(tmp_path, TestReport(), fast_dev_run=True).test(objects.model, objects.datamodule, verbose=False)
    assert not list(tmp_path.iterdir())


def test_batches_of_all_processes_are_gathered(three_events: Tracks, tmp_path: Path) -> None:
    parts = [three_events.select(np.array(index)) for index in ([0, 2], [1, 2])]
    torch.save(parts[1], tmp_path / "tracks.pt")
    store = tmp_path / "store"
    other = subprocess.Popen([sys.executable, "-c", SECOND_PROCESS, store, tmp_path / "tracks.pt"])
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=2)
    try:
        gathered = Tracks.concatenate(report._from_all_ranks([parts[0]], 2))
        assert other.wait(timeout=120) == 0
    finally:
        torch.distributed.destroy_process_group()
    np.testing.assert_array_equal(gathered.event, [0, 1, 2])
    shared = (own.estimates[MODEL].shared_hits for own in (gathered, three_events))
    np.testing.assert_array_equal(*shared)


@pytest.fixture(scope="module")
def predictions(objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predictions")
    run(folder, PredictionWriter()).predict(objects.model, objects.datamodule, return_predictions=False)
    assert [path.name for path in folder.iterdir()] == ["predictions.h5"]
    return folder / "predictions.h5"


def test_every_event_has_its_group(predictions: Path) -> None:
    with h5py.File(predictions) as file:
        assert sorted(file, key=int) == [str(event) for event in range(EVENTS)]
        assert set(file["0/preds/final"]) == {"track_valid", "track_hit_valid", "parameter_regression"}
        assert "track_truthMuon_pt" in file["0/preds/final/parameter_regression"]


def test_predictions_are_those_of_the_event_alone(predictions: Path, objects: Objects) -> None:
    network = objects.model.model.eval()
    dataset = objects.datamodule.dataset("test")
    with h5py.File(predictions) as file, torch.no_grad():
        for event in (0, 7, EVENTS - 1):
            inputs, _ = dataset[event]  # without padding
            outputs = network(inputs)
            expected = {"preds": network.predict(outputs)["final"], "outputs": outputs["final"]}
            for kind, tasks in expected.items():
                for task, named in tasks.items():
                    for name, tensor in named.items():
                        stored = file[f"{event}/{kind}/final/{task}/{name}"][:]
                        assert stored.shape == tuple(tensor.shape)
                        np.testing.assert_allclose(stored, tensor.numpy(), rtol=1e-3, atol=1e-3)


def test_hits_are_kept_where_they_are_valid(tmp_path: Path) -> None:
    writer = PredictionWriter("part/named.h5")
    trainer = run(tmp_path)
    writer.on_predict_start(trainer, LightningModule())
    outputs = {
        "preds": {"mask": {"track_hit_valid": torch.tensor([[[True, False, True, False]]])}},
        "outputs": {"filter": {"hit_logit": torch.tensor([[0.5, 1.5, 2.5, 3.5]], dtype=torch.bfloat16)}},
        "inputs": {"hit_valid": torch.tensor([[True, False, False, True]])},
        "targets": {"sample_id": torch.tensor([17])},
    }
    writer.on_predict_batch_end(trainer, LightningModule(), outputs, None, 0)
    assert not (tmp_path / "part" / "named.h5").exists()
    writer.on_predict_end(trainer, LightningModule())
    with h5py.File(tmp_path / "part" / "named.h5") as file:
        np.testing.assert_array_equal(file["17/preds/final/mask/track_hit_valid"][:], [[[True, False]]])
        np.testing.assert_array_equal(file["17/outputs/final/filter/hit_logit"][:], [[0.5, 3.5]])


class Stop(Callback):
    def on_predict_batch_end(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError("stop")


def test_nothing_is_left_of_a_prediction_that_fails(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        run(tmp_path, PredictionWriter(), Stop()).predict(objects.model, objects.datamodule)
    assert not list(tmp_path.iterdir())


def test_several_processes_are_refused(tmp_path: Path) -> None:
    class Two:
        world_size = 2

    with pytest.raises(ValueError, match="one process, got 2 processes"):
        PredictionWriter().on_predict_start(Two(), LightningModule())


def test_by_hits_efficiency_of_the_truth_is_one(objects: Objects, from_masks) -> None:
    _, targets = objects.datamodule.dataset("test")[list(range(EVENTS))]
    truth = {name: tensor.numpy() for name, tensor in targets.items()}
    valid, hits = truth["particle_valid"], truth["particle_hit_valid"]
    tracks = from_masks(valid, valid, hits, hits, truth["hit_valid"])
    assert fraction(*FRACTIONS["by_hits_efficiency"](tracks, tracks.estimates[MODEL])).value == 1.0

import contextlib
import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch
import yaml

import hitpool
from hitpool.cli import main
from hitpool.config import load_checkpoint


@pytest.fixture
def fails(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs a command that ends with an error; gives the message."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        assert stop.value.code == 2 or isinstance(stop.value.code, str)
        return capsys.readouterr().err if stop.value.code == 2 else stop.value.code

    return run


def test_train_validate_test_predict_export(workplace: Path, tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    main(["fit", *tiny, "--trainer.max_epochs=2"])
    output = capsys.readouterr().out
    run = Path("runs/muon/version_0")
    log = (run / "log.txt").read_text()
    beyond = [line for line in log.splitlines() if "are at an end of" in line]  # on stderr, of a network hardly trained
    said = [line for line in log.splitlines() if line not in beyond]
    assert said == [line.rstrip() for line in output.splitlines()[1:]]
    (start,) = yaml.safe_load((run / "starts.yaml").read_text())
    assert start["command"] == " ".join(["hitpool", "fit", *tiny, "--trainer.max_epochs=2"])
    assert f"run directory: {run}" in output
    assert "sigma68 of (pT - true) / true" in output
    assert (
        f"everything is in {run}: ckpts/, config.yaml, index.html, log.txt, metrics.csv, plots/, "
        "resolution.json, results.json, starts.yaml" in output
    )
    assert {path.name for path in (run / "ckpts").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert len(list(run.glob("events.out.tfevents*"))) == 2
    assert (run / "plots" / "residual_pt.png").stat().st_size > 1000
    results = json.loads((run / "results.json").read_text())
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["trainer"]["max_epochs"], config["data"]["train_dir"]) == (2, "data/train")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["train/loss"]] == ["11", "23"]
    assert [row["step"] for row in rows if row["val/loss"]] == ["11", "23"]
    assert sum(bool(row["test/loss"]) for row in rows) == 1

    main(["validate"])
    shown = dict(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("val/"))
    best = min((row for row in rows if row["val/loss"]), key=lambda row: float(row["val/loss"]))
    name = "val/layer_0_track_hit_valid_mask_bce"  # the second phase changed the final parameters and hits alone
    assert float(shown[name]) == pytest.approx(float(best[name]), rel=1e-4)

    metrics = (run / "metrics.csv").read_bytes()
    (run / "results.json").unlink()
    main(["test", f"--ckpt_path={run}/ckpts/best.ckpt"])
    assert json.loads((run / "results.json").read_text()) == results
    assert (run / "metrics.csv").read_bytes() == metrics
    assert yaml.safe_load((run / "config.yaml").read_text()) == config

    main(["predict"])
    main(["predict", f"--trainer.callbacks.1.filename={workplace}/elsewhere.h5"])
    with h5py.File(run / "predictions.h5") as file, h5py.File(workplace / "elsewhere.h5") as other:
        assert file["tracks"].shape == other["tracks"].shape == (48,)
        assert (file["tracks"]["track_truthMuon_pt"] == other["tracks"]["track_truthMuon_pt"]).all()
    written = (run / "predictions.h5").read_bytes()
    main(["predict", "--output=part/tracks.h5", "--trainer.callbacks=null"])
    with h5py.File("part/tracks.h5") as file:
        assert file["tracks"].shape == (48,)
    assert (run / "predictions.h5").read_bytes() == written
    with pytest.raises(SystemExit, match="cannot be written for ACTS: expected the hit columns x, y, z in mm"):
        main(["predict", "--format=acts", "--output=part/again.h5"])
    assert [path.name for path in Path("part").iterdir()] == ["tracks.h5"]

    rebuilt = load_checkpoint(run / "ckpts" / "best.ckpt")
    weights = torch.load(run / "ckpts" / "best.ckpt", weights_only=True)["state_dict"]
    assert not rebuilt.model.training
    assert all(torch.equal(value, weights[key]) for key, value in rebuilt.model.state_dict().items())

    main(["export", f"--checkpoint={run}/ckpts/best.ckpt", "--output=model.pt"])
    assert Path("model.pt").stat().st_size > 10_000

    stored = [torch.load(path, weights_only=True)["hitpool_configuration"] for path in run.glob("ckpts/*.ckpt")]
    assert stored == [config, config]
    Path("mail").mkdir()
    (run / "ckpts" / "best.ckpt").rename("mail/best.ckpt")
    shutil.rmtree("runs")
    main(["predict", "--ckpt_path=mail/best.ckpt"])
    assert h5py.is_hdf5("runs/muon/version_0/predictions.h5")
    main(["test", "--ckpt_path=mail/best.ckpt", "--name=again"])
    assert json.loads(Path("runs/again/version_0/results.json").read_text()) == results
    main(["export", "--checkpoint=mail/best.ckpt", "--output=mailed.pt"])
    exported = [torch.jit.load(name).state_dict() for name in ("model.pt", "mailed.pt")]
    assert len(exported[0]) > 50
    assert all(torch.equal(value, exported[1][key]) for key, value in exported[0].items())
    main(["evaluate", "--checkpoint=mail/best.ckpt", "--output=evaluated"])
    assert Path("evaluated/resolution.json").is_file()
    main(["compare", "evaluated", "runs/again/version_0", "--output=compared"])
    assert Path("compared/comparison.md").read_text().startswith("| number | evaluated | runs/again/version_0 |")
    assert Path("compared/plots/validity_efficiency_pt.png").is_file()


def test_what_would_do_nothing_is_refused(
    workplace: Path, tiny: list[str], fails: Callable, capsys: pytest.CaptureFixture
) -> None:
    options = ["--data.num_train=8", "--trainer.max_epochs=1", "--trainer.limit_test_batches=0"]
    main(["fit", *tiny, *options, "--trainer.callbacks=null"])
    assert "not tested: trainer.limit_test_batches is 0" in capsys.readouterr().out
    for command, part in {"validate": "val", "test": "test", "predict": "predict"}.items():
        message = fails(command, f"--trainer.limit_{part}_batches=0")
        expected = f"trainer.limit_{part}_batches: expected at least one batch to {command}, got 0; 1.0 takes all"
        assert message == f"hitpool {command}: {expected}"
    assert fails("test").endswith("to test, got 0; 1.0 takes all")  # as the configuration of the run says
    message = fails("predict")
    assert message.startswith("hitpool predict: trainer.callbacks: expected one that writes the predictions, such as")
    assert not list(workplace.glob("**/*.h5.part"))


def test_without_a_report_the_metrics_are_said(workplace: Path, tiny: list[str], capsys: pytest.CaptureFixture) -> None:
    advice = "for the table of results, put hitpool.evaluation.TestReport into trainer.callbacks"
    one = ["--trainer.max_epochs=1", "--trainer.max_time=00:01:00:00"]
    main(["fit", *tiny, *one, "--trainer.callbacks=null"])
    of_fit = capsys.readouterr().out
    main(["test"])
    output = capsys.readouterr().out
    (loss,) = re.findall(r"^test/loss +([\d.]+)$", output, re.MULTILINE)
    for text in (of_fit, output):
        assert re.search(rf"^test/loss +{loss}$", text, re.MULTILINE)
        assert advice in text.splitlines()
    main(["test", "--trainer.callbacks+=hitpool.evaluation.TestReport"])
    output = capsys.readouterr().out
    assert "hit assignment purity" in output
    assert "test/loss" not in output
    assert advice not in output


def test_simulates_once_and_refuses_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--simulate.folder=few", "--simulate.train=12", "--simulate.val=6", "--simulate.test=6"]
    options = ["fit", "--trainer.max_epochs=1", "--trainer.callbacks=null", *sizes]
    main(options)
    index = tmp_path / "few" / "train" / "event_file_indices.npy"
    written = index.stat().st_mtime_ns
    main(options)
    assert index.stat().st_mtime_ns == written
    assert [path.name for path in sorted(Path("runs/muon").iterdir())] == ["version_0", "version_1"]
    message = fails(*options, "--simulate.train=13")
    assert "few/train holds 12 events, 13 are asked for" in message


def test_dry_run_leaves_nothing(workplace: Path, tiny: list[str]) -> None:
    main(["fit", *tiny, "--trainer.fast_dev_run=true", "--config=muon_seed.yaml"])
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--data.batchsize=3"], "--data.batchsize"),
        (["--trainer.max_epoch=3"], "--trainer.max_epoch"),
        (["--model.model.encoder.num_layer=3"], "Encoder has no option 'num_layer' (did you mean"),
        (["--model.model.tasks.2.asignment_threshold=0.3"], "Task has no option 'asignment_threshold'"),
        (["--model.model.tasks.2.input_constituent=hit"], "Task has no option 'input_constituent'"),
        (["--model.optimizer=SGD"], "model.optimizer"),
        (["--model.lrs_config.max=-1"], "lrs_config.max must be positive"),
        (["--model.model.init_args.dim=48"], "dim"),
        (["--config=nothing.yaml"], "acts.yaml, acts_busy.yaml, muon.yaml, muon_query.yaml, muon_seed.yaml"),
        (["--ckpt_path=nothing.ckpt"], "nothing.ckpt does not exist"),
        (["--model.model.tasks.7.dim=32"], "a list of 3"),
    ],
)
def test_wrong_options_are_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable, options: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    message = fails("fit", *options)
    assert expected in message
    assert len(message) < 2000
    assert list(tmp_path.iterdir()) == []


def test_missing_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable) -> None:
    monkeypatch.chdir(tmp_path)
    assert "absent" in fails("fit", "--data.train_dir=absent", "--data.val_dir=absent")


def test_data_that_cannot_be_used_are_named_before_the_training(workplace: Path, fails: Callable) -> None:
    folders = ["--data.train_dir=data/train", "--data.val_dir=data/val"]
    message = fails("fit", *folders, "--data.test_dir=absent")
    assert message.startswith("hitpool fit: data set folder absent does not exist")
    shutil.copytree("data/test", "other")
    metadata = Path("other/metadata.yaml")
    metadata.write_text(metadata.read_text().replace("spacePoint_driftR", "spacePoint_radius"))
    message = fails("fit", *folders, "--data.test_dir=other")
    assert message.startswith("hitpool fit: unknown hit field 'spacePoint_driftR'; available columns: ")
    assert not Path("runs").exists()


def test_a_momentum_that_has_no_inverse_is_named_before_the_training(workplace: Path, fails: Callable) -> None:
    shutil.copytree("data/test", "bad")
    columns = yaml.safe_load(Path("bad/metadata.yaml").read_text())["track_features"]
    file = next(Path("bad").glob("**/*.h5"))
    with h5py.File(file, "r+") as data:
        data["tracks"][3, 0, columns.index("truthMuon_pt")] = -7.0
        del data["tracks_crc32"]
    message = fails("fit", "--data.train_dir=data/train", "--data.val_dir=data/val", "--data.test_dir=bad")
    expected = rf"event \d+ \(file {file}, row 3\): target 'truthMuon_pt' of track 0 is -7, expected more"
    assert re.search(f"hitpool fit: {expected}", message)
    assert not Path("runs").exists()


def test_nan_loss_ends_with_its_step_and_term(workplace: Path, tiny: list[str], fails: Callable) -> None:
    message = fails(
        "fit",
        *tiny,
        "--trainer.callbacks=null",
        "--model.model.tasks.2.loss_weight=.nan",
        "--trainer.num_sanity_val_steps=0",
    )
    assert "train step 0 of epoch 1: the loss is nan (final_parameter_regression_l1 = nan)" in message
    assert not list(workplace.glob("runs/*/*"))  # no step was trained, so there is nothing to keep


def test_help_and_version(capsys: pytest.CaptureFixture, fails: Callable) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"hitpool {hitpool.__version__}\n"
    main([])
    overview = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict", "simulate", "export"):
        assert f"\n  {command} " in overview
        with contextlib.suppress(SystemExit):  # of argparse
            main([command, "--help"])
        assert "usage: hitpool" in capsys.readouterr().out
    assert "no command 'train'" in fails("train")


def test_print_config_is_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "fit",
                "--config=muon_query.yaml",
                "--data.batch_size=31",
                "--model.model.tasks.2.loss_weight=4",
                "--print_config",
            ]
        )
    assert stop.value.code == 0
    text = capsys.readouterr().out
    config = yaml.safe_load(text)
    assert (config["name"], config["data"]["batch_size"]) == ("muon_query", 31)
    assert config["model"]["model"]["init_args"]["tasks"]["init_args"]["modules"][2]["init_args"]["loss_weight"] == 4
    Path("mine.yaml").write_text(text)
    with pytest.raises(SystemExit):
        main(["fit", "--config=mine.yaml", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out) == config


def test_simulate_refuses_an_existing_folder(tmp_path: Path, fails: Callable) -> None:
    main(["simulate", f"--output={tmp_path}/new", "--events=5", "--processes=1"])
    assert (tmp_path / "new" / "metadata.yaml").is_file()
    assert "exists" in fails("simulate", f"--output={tmp_path}/new", "--events=5")

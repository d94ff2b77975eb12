"""A training that is continued from any of its steps ends with the weights and metrics of an undisturbed one."""

import re
import shutil
import zipfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import callbacks
from lightning.pytorch.callbacks import timer

from hitpool.cli import main

from .continued import CONSTANT, OPTIONS, EachBatch, check

EVERY_STEP = [
    "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
    "--trainer.callbacks.every_n_train_steps=1",
    "--trainer.callbacks.save_top_k=-1",
]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ([], [1, 2, 3, 4, 5, 6]),
        (["--trainer.val_check_interval=2", "--data.num_workers=1"], [1, 2, 3]),
        (["--trainer.accumulate_grad_batches=2", "--trainer.limit_train_batches=2"], [1]),
        (["--trainer.precision=64-true"], [2, 3]),
    ],
)
def test_continues_bitwise_from_each_step(
    workplace: Path, tiny: list[str], options: list[str], steps: list[int]
) -> None:
    main(["fit", *tiny, *OPTIONS, *options, *EVERY_STEP, "--name=straight"])
    straight, run = Path("runs/straight/version_0"), Path("runs/again/version_0")
    for step in steps:
        shutil.copytree(straight, run)
        (run / "ckpts" / "last.ckpt").unlink()
        (checkpoint,) = (run / "checkpoints").glob(f"*step={step}.ckpt")
        main(["fit", "--name=again", f"--ckpt_path={checkpoint}"])
        check(run, straight)
        shutil.rmtree(run)


def test_a_training_that_was_stopped_inside_an_epoch_goes_on(
    workplace: Path, tiny: list[str], capsys: pytest.CaptureFixture
) -> None:
    main(["fit", *tiny, *OPTIONS, *CONSTANT, "--name=straight"])
    main(["fit", *tiny, *OPTIONS, *CONSTANT, "--name=stopped", "--trainer.max_steps=2"])
    assert "there was no validation, so there is no best.ckpt: testing last.ckpt" in capsys.readouterr().out
    main(["validate", "--name=stopped"])
    assert "has no best.ckpt, there was no validation; using runs/stopped/version_0/ckpts/last.ckpt" in (
        capsys.readouterr().out
    )
    main(["fit", "--name=stopped", "--ckpt_path=last", "--trainer.max_steps=-1"])
    stopped = Path("runs/stopped/version_0")
    check(stopped, Path("runs/straight/version_0"))
    log = (stopped / "log.txt").read_text().splitlines()
    assert log.count(f"run directory: {stopped}") == 2
    assert f"continuing from {stopped / 'ckpts' / 'last.ckpt'}" in log
    commands = [start["command"] for start in yaml.safe_load((stopped / "starts.yaml").read_text())]
    assert commands[1] == "hitpool fit --name=stopped --ckpt_path=last --trainer.max_steps=-1"


def test_a_checkpoint_is_read_once(workplace: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    main(["fit", *tiny, *OPTIONS, "--trainer.max_epochs=1"])
    reads, testzip, load = [], zipfile.ZipFile.testzip, torch.load

    def tested(file: zipfile.ZipFile) -> str | None:
        reads.append(("tested", Path(file.filename).name))
        return testzip(file)

    def loaded(file: object, *args: object, **options: object) -> object:
        reads.append(("loaded", Path(getattr(file, "name", file)).name))
        return load(file, *args, **options)

    monkeypatch.setattr(zipfile.ZipFile, "testzip", tested)
    monkeypatch.setattr(torch, "load", loaded)
    best = "runs/muon/version_0/ckpts/best.ckpt"
    for command, name in (
        (["validate"], "best.ckpt"),
        (["test"], "best.ckpt"),
        (["export", f"--checkpoint={best}", "--output=model.pt"], "best.ckpt"),
        (["fit", "--ckpt_path=last", "--trainer.max_epochs=2"], "last.ckpt"),
        (["fit", "--ckpt_path=last", "--trainer.max_epochs=3"], "requeued.ckpt"),
    ):
        if name == "requeued.ckpt":
            shutil.copy("runs/muon/version_0/ckpts/last.ckpt", "runs/muon/version_0/ckpts/requeued.ckpt")
        reads.clear()
        main(command)
        files = [name, "best.ckpt"] if command[0] == "fit" else [name]  # the second phase and the test need the best
        assert reads == [(what, file) for file in files for what in ("tested", "loaded")], command


def test_continues_bitwise_inside_an_accumulation(workplace: Path, tiny: list[str]) -> None:
    options = [
        "--data.num_train=40",
        "--trainer.accumulate_grad_batches=3",
        f"--trainer.callbacks+={EachBatch.__module__}.EachBatch",
    ]
    main(["fit", *tiny, *OPTIONS, *options, "--name=straight"])
    straight, run = Path("runs/straight/version_0"), Path("runs/again/version_0")
    for batch in (2, 9):
        shutil.copytree(straight, run)
        checkpoint = run / "batches" / f"{batch}.ckpt"
        main(["fit", "--name=again", f"--ckpt_path={checkpoint}", "--trust"])
        check(run, straight)
        shutil.rmtree(run)


@pytest.mark.parametrize(
    ("limit", "batches", "options"),
    [
        (["--trainer.max_time=00:00:00:02"], 2, []),
        (
            ["--trainer.callbacks+=lightning.pytorch.callbacks.Timer", "--trainer.callbacks.duration=00:00:00:03"],
            3,
            ["--trainer.accumulate_grad_batches=2"],
        ),
    ],
)
def test_a_training_whose_time_was_up_inside_an_epoch_goes_on(
    workplace: Path,
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    limit: list[str],
    batches: int,
    options: list[str],
) -> None:
    options = [*tiny, *OPTIONS, *options, "--data.num_train=40"]  # 5 batches
    main(["fit", *options, "--name=straight"])
    with monkeypatch.context() as patched:
        patched.setattr(timer, "time", SimpleNamespace(monotonic=count().__next__))  # a second for each batch
        main(["fit", *options, *limit, "--name=stopped"])
    assert "the time limit was reached" in capsys.readouterr().out
    stopped = torch.load("runs/stopped/version_0/ckpts/last.ckpt", weights_only=True)
    progress = stopped["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert progress["processed"] == batches
    main(["fit", "--name=stopped", "--ckpt_path=last", "--trainer.max_time=null", "--trainer.callbacks=null"])
    assert "the time limit was reached" not in capsys.readouterr().out
    check(Path("runs/stopped/version_0"), Path("runs/straight/version_0"))


def test_two_processes_continue_bitwise(workplace: Path, tiny: list[str], hitpool: Callable) -> None:
    def fit(*options: str) -> None:
        process = hitpool("fit", *options)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output

    two = [
        "--trainer.accelerator=cpu",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--data.num_train=48",
    ]  # 3 steps
    fit(*tiny, *OPTIONS, *two, *EVERY_STEP, "--name=straight")
    straight, run = Path("runs/straight/version_0"), Path("runs/again/version_0")
    shutil.copytree(straight, run)
    (checkpoint,) = (run / "checkpoints").glob("*step=2.ckpt")
    fit("--name=again", f"--ckpt_path={checkpoint}")
    check(run, straight)


@pytest.mark.filterwarnings("error:The dirpath has changed")
def test_a_run_that_was_moved_keeps_its_best_score(workplace: Path, tiny: list[str]) -> None:
    rising = [f"--model.lrs_config.{name}=0.1" for name in ("initial", "max", "end")]  # the second epoch is worse
    main(["fit", *tiny, *OPTIONS, *rising, "--trainer.max_epochs=1"])
    best = torch.load("runs/muon/version_0/ckpts/best.ckpt", weights_only=True)
    Path("runs").rename("elsewhere")
    main(["fit", "--runs=elsewhere", "--ckpt_path=last", "--trainer.max_epochs=2"])
    found = torch.load("elsewhere/muon/version_0/ckpts/best.ckpt", weights_only=True)
    assert found["global_step"] == best["global_step"]
    assert torch.load("elsewhere/muon/version_0/ckpts/last.ckpt", weights_only=True)["global_step"] == 6


def test_the_rest_of_an_epoch_needs_the_same_batches(workplace: Path, tiny: list[str]) -> None:
    main(["fit", *tiny, *OPTIONS, "--trainer.max_steps=2"])
    stored = Path("runs/muon/version_0/config.yaml").read_text()
    table = Path("runs/muon/version_0/metrics.csv").read_text()
    with pytest.raises(SystemExit, match=r"after 2 batches of epoch 1.*data\.batch_size: expected 8, got 12"):
        main(["fit", "--ckpt_path=last", "--trainer.max_steps=6", "--data.batch_size=12"])
    assert Path("runs/muon/version_0/config.yaml").read_text() == stored
    assert Path("runs/muon/version_0/metrics.csv").read_text() == table


def test_the_most_recent_checkpoint_of_a_run_is_the_last(
    workplace: Path, tiny: list[str], capsys: pytest.CaptureFixture
) -> None:
    main(["fit", *tiny, *OPTIONS, *EVERY_STEP, "--trainer.max_epochs=1"])
    Path("runs/muon/version_0/ckpts/last.ckpt").unlink()
    Path("runs/muon/version_0/ckpts/best.ckpt").unlink()
    Path("runs/muon/version_1").mkdir()  # a start that was killed
    main(["fit", "--ckpt_path=last", "--trainer.enable_progress_bar=true"])
    output = capsys.readouterr().out
    assert re.search(
        r"^epoch 1/1  train/loss \S+  val/loss \S+$", output, re.MULTILINE
    )  # no speed: nothing was trained
    expected = (
        "runs/muon/version_1 has no checkpoint; continuing from runs/muon/version_0/checkpoints/epoch=0-step=3.ckpt"
    )
    assert expected in output
    assert Path("runs/muon/version_0/ckpts/last.ckpt").is_file()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--trainer.overfit_batches=1"], "trainer.overfit_batches is not supported"),
        (
            ["--trainer.strategy=ddp_fork"],
            "trainer.strategy ddp_fork is not supported: its processes end before the test",
        ),
        (
            ["--trainer.callbacks+=lightning.pytorch.callbacks.LearningRateFinder"],
            "LearningRateFinder is not supported",
        ),
        (
            ["--trainer.callbacks+=lightning.pytorch.callbacks.BackboneFinetuning"],
            "BackboneFinetuning is not supported, because all parameters have one learning rate",
        ),
    ],
)
def test_what_is_not_supported_is_refused_before_there_is_a_run(
    workplace: Path, tiny: list[str], options: list[str], expected: str
) -> None:
    with pytest.raises(SystemExit, match=expected):
        main(["fit", *tiny, *options])
    assert not Path("runs").exists()


def test_a_failed_start_leaves_no_run(workplace: Path, tiny: list[str]) -> None:
    main(["fit", *tiny, *OPTIONS, "--trainer.max_epochs=1"])
    Path("runs/muon/.version_0.lock").touch()  # of a process that was killed
    with pytest.raises(SystemExit, match="val_check_interval"):
        main(["fit", *tiny, *OPTIONS, "--trainer.val_check_interval=5"])
    assert [path.name for path in Path("runs/muon").iterdir()] == ["version_0"]


@pytest.mark.skipif(not hasattr(callbacks, "EMAWeightAveraging"), reason="before Lightning 2.6")
def test_averaged_weights(workplace: Path, tiny: list[str]) -> None:
    averaging = ["--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging"]
    main(["fit", *tiny, *OPTIONS, *averaging, "--name=straight"])
    main(["fit", *tiny, *OPTIONS, *averaging, "--name=again", "--trainer.max_epochs=1"])
    weights = torch.load("runs/straight/version_0/ckpts/last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())

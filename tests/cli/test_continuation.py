"""A training that is continued from any of its steps ends with the weights and metrics of an undisturbed one."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hitpool.cli import main

EVERY_STEP = [
    "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
    "--trainer.callbacks.every_n_train_steps=1",
    "--trainer.callbacks.save_top_k=-1",
]
OPTIONS = [
    "--data.num_train=24",  # 3 batches
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.callbacks=null",
    "--model.model.encoder.dropout=0.1",
]


def differences(found: Any, expected: Any, name: str = "") -> list[str]:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return [line for key in expected for line in differences(found[key], expected[key], f"{name}.{key}")]
    if isinstance(expected, list):
        assert len(found) == len(expected)
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{name}.{index}")]
    same = torch.equal(found, expected) if isinstance(expected, Tensor) else found == expected
    return [] if same else [name]


def check(run: Path, straight: Path) -> None:
    found, expected = (torch.load(path / "ckpts" / "last.ckpt", weights_only=True) for path in (run, straight))
    for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "metrics_rows"):
        assert differences(found[key], expected[key], key) == []
    assert (run / "metrics.csv").read_text() == (straight / "metrics.csv").read_text()


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
    constant = [f"--model.lrs_config.{name}=1e-3" for name in ("initial", "max", "end")]  # else max_steps changes it
    main(["fit", *tiny, *OPTIONS, *constant, "--name=straight"])
    main(["fit", *tiny, *OPTIONS, *constant, "--name=stopped", "--trainer.max_steps=2"])
    assert "there was no validation, so there is no best.ckpt: testing last.ckpt" in capsys.readouterr().out
    main(["validate", "--name=stopped"])
    assert "has no best.ckpt, there was no validation; using runs/stopped/version_0/ckpts/last.ckpt" in (
        capsys.readouterr().out
    )
    main(["fit", "--name=stopped", "--ckpt_path=last", "--trainer.max_steps=-1"])
    check(Path("runs/stopped/version_0"), Path("runs/straight/version_0"))


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
    main(["fit", "--ckpt_path=last"])
    output = capsys.readouterr().out
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
            ["--trainer.callbacks+=lightning.pytorch.callbacks.LearningRateFinder"],
            "LearningRateFinder is not supported",
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
    with pytest.raises(SystemExit, match="val_check_interval"):
        main(["fit", *tiny, *OPTIONS, "--trainer.val_check_interval=5"])
    assert [path.name for path in Path("runs/muon").iterdir()] == ["version_0"]


def test_averaged_weights(workplace: Path, tiny: list[str]) -> None:
    averaging = ["--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging"]
    main(["fit", *tiny, *OPTIONS, *averaging, "--name=straight"])
    main(["fit", *tiny, *OPTIONS, *averaging, "--name=again", "--trainer.max_epochs=1"])
    weights = torch.load("runs/straight/version_0/ckpts/last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())

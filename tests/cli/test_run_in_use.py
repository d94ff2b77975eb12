"""One process at a time works in a run directory."""

import os
import shutil
from pathlib import Path

import pytest

from hitpool.commands.training import run
from hitpool.configuration.command_line import interpret
from hitpool.configuration.files import find
from hitpool.files import InUseError, alone


def test_a_run_in_use_is_not_continued_by_another_process(workplace: Path, tiny: list[str]) -> None:
    directory = Path("runs/a/version_0")
    directory.mkdir(parents=True)
    shutil.copy(find("muon.yaml"), directory / "config.yaml")
    message = rf"runs/a/version_0 is in use by process {os.getpid()} on .* since "
    with alone(directory), pytest.raises(InUseError, match=message):
        run(interpret("fit", [*tiny, "--name=a", "--ckpt_path=last"]))
    assert [path.name for path in directory.iterdir()] == ["config.yaml"]
    options = ["--name=a", "--ckpt_path=last", "--trainer.max_steps=1", "--trainer.callbacks=null"]
    options += ["--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", "--trainer.val_check_interval=1"]
    run(interpret("fit", [*tiny, *options]))
    assert (directory / "ckpts").is_dir()
    assert [path.name for path in directory.parent.iterdir()] == ["version_0"]

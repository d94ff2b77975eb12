"""The scan of docs/recipes.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hitpool.simulation import simulate

SCAN = Path(__file__).parents[2] / "docs" / "scan.py"


def test_trials_are_runs_and_a_second_start_adds_to_them(tmp_path: Path) -> None:
    if not SCAN.is_file():
        pytest.skip("no docs here: they are not in the source distribution")
    pytest.importorskip("optuna")
    for split, part in enumerate(("train", "val")):
        simulate(tmp_path / part, 8, split=split, processes=1)
    options = ["--data.train_dir=train", "--data.val_dir=val", "--data.batch_size=8", "--trainer.max_epochs=1"]
    options += ["--trainer.callbacks=null", "--model.refinement.epochs=0"]
    for number in range(2):
        command = [sys.executable, SCAN, "--trials=1", *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        config = yaml.safe_load((tmp_path / f"runs/scan-{number}/version_0/config.yaml").read_text())
        rate = config["model"]["lrs_config"]["max"]
        assert 3e-4 <= rate <= 1e-2
    best = re.search(r"^best: runs/scan-([01]), val/loss [\d.]+, {'learning rate': ", done.stdout, re.MULTILINE)
    assert best, done.stdout

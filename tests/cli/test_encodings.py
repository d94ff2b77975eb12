"""Files, names and messages are in UTF-8 whatever the locale says."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml


def test_umlauts_in_a_locale_that_knows_only_ascii(
    workplace: Path, hitpool: Callable, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    Path("größe.yaml").write_text("name: größe  # Länge der Spur, µm\ntrainer: {max_epochs: 1}\n", encoding="utf-8")
    options = [*tiny, "--config=muon.yaml", "--config=größe.yaml", "--trainer.callbacks=null"]
    process = hitpool("fit", *options, "--data.num_train=8", "--trainer.limit_test_batches=1")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "everything is in runs/größe/version_0" in output
    run = Path("runs/größe/version_0")
    assert yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["name"] == "größe"
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) >= 2

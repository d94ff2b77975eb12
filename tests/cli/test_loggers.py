"""Each further logger is one option; what it writes without a network has losses, epochs from 1 and settings."""

import csv
import importlib.util
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hitpool.cli import main

FAST = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
FAST += ["--trainer.callbacks=null", "--trainer.limit_test_batches=0", "--model.refinement.epochs=0"]
SETTING = "model.model.init_args.tasks.init_args.modules.2.init_args.loss_weight"


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def validation_losses(table: str = "runs/muon/version_0/metrics.csv") -> dict[int, float]:
    """Losses by epoch, from 1 to 2."""
    with Path(table).open(newline="") as file:
        losses = {int(row["epoch"]): float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]}
    assert set(losses) == {1, 2}
    return losses


def run(hitpool: Callable, *options: str) -> None:
    process = hitpool("fit", *FAST, *options)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output


@needs("comet_ml")
def test_comet(workplace: Path, hitpool: Callable, tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_START_ONLINE", "0")
    run(hitpool, *tiny, "--trainer.logger=CometLogger")
    (archive,) = Path(".cometml-runs").glob("*.zip")
    payloads = [json.loads(line)["payload"] for line in zipfile.ZipFile(archive).read("messages.json").splitlines()]
    metrics = [payload["metric"] for payload in payloads if "metric" in payload]
    losses = {row["epoch"]: row["metricValue"] for row in metrics if row["metricName"] == "val/loss"}
    assert losses == pytest.approx(validation_losses())
    parameters = [payload["param"] for payload in payloads if "param" in payload]
    assert {row["paramName"]: row["paramValue"] for row in parameters}[SETTING] == 1.0


@needs("mlflow", "sqlalchemy")
def test_mlflow(workplace: Path, hitpool: Callable, tiny: list[str]) -> None:
    run(hitpool, *tiny, "--trainer.logger=MLFlowLogger", "--trainer.logger.tracking_uri=sqlite:///mlflow.db")
    tables = sqlite3.connect("mlflow.db")
    loss = "SELECT value FROM metrics WHERE key = 'val/loss' ORDER BY step"
    assert [value for (value,) in tables.execute(loss)] == pytest.approx(list(validation_losses().values()))
    assert set(tables.execute("SELECT value FROM metrics WHERE key = 'epoch'")) == {(1.0,), (2.0,)}
    assert tables.execute("SELECT value FROM params WHERE key = ?", [SETTING]).fetchall() == [("1.0",)]


@needs("wandb")
def test_wandb(workplace: Path, hitpool: Callable, tiny: list[str]) -> None:
    run(hitpool, *tiny, "--trainer.logger=WandbLogger", "--trainer.logger.offline=true")
    (record,) = Path("wandb").glob("offline-run-*/*.wandb")
    assert b"val/loss" in record.read_bytes()
    assert SETTING.encode() in record.read_bytes()


def test_csv_needs_no_folder_and_a_test_uses_no_logger(workplace: Path, tiny: list[str]) -> None:
    main(["fit", *tiny, *FAST, "--trainer.logger=CSVLogger"])
    assert validation_losses("lightning_logs/version_0/metrics.csv") == validation_losses()
    main(["validate"])  # trusts the loggers of Lightning that the checkpoint names
    main(["fit", "--ckpt_path=last", "--trainer.max_epochs=3", "--trainer.logger.save_dir=elsewhere"])
    assert [path.name for path in Path("lightning_logs").iterdir()] == ["version_0"]
    assert Path("elsewhere/lightning_logs/version_0/metrics.csv").is_file()

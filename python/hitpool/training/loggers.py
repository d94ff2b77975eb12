"""Metrics of a run as a table (metrics.csv) and for TensorBoard, both continued when the run is."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

from hitpool.files import failures_named, write_text


class MetricsTable(CSVLogger):
    """Logger that appends to the metrics.csv of its run directory instead of starting it anew.

    Args:
        keep: Number of rows of an existing table that are kept, those before the checkpoint that is continued; None
            keeps all. The others are removed when the first new row is written.
        **options: See `CSVLogger`.
    """

    _experiment: "_TableWriter | None"

    def __init__(self, keep: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._keep = keep

    @property
    @rank_zero_experiment
    def experiment(self) -> "_TableWriter":
        """Writer of the table."""
        if self._experiment is None:
            self._experiment = _TableWriter(self.log_dir, self._keep)
        return self._experiment

    @property
    def rows(self) -> int:
        """Rows in the table; 0 in all processes but the first, which writes it."""
        return self.experiment.rows if rank_zero_only.rank == 0 else 0  # type: ignore[attr-defined]


class MetricsBoard(TensorBoardLogger):
    """TensorBoard logger that writes event files and nothing else; its errors name the folder of them."""

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        """Writer of the event file."""
        with failures_named(self.log_dir):
            return super().experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds the metrics of a step."""
        with failures_named(self.log_dir):
            super().log_metrics(metrics, step)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Opens the event file."""
        with failures_named(self.log_dir):
            super().log_hyperparams(*args, **kwargs)

    def save(self) -> None:
        """Flushes the event file."""
        if self._experiment is not None:
            with failures_named(self.log_dir):
                self._experiment.flush()

    def finalize(self, status: str) -> None:
        """Closes the event file."""
        with failures_named(self.log_dir):
            super().finalize(status)


def count_epochs_from_one(logger: Logger) -> Logger:
    """Lets a logger count epochs from 1, as all that people read does; Lightning counts from 0.

    Rows of a test have no epoch: it is that of the best checkpoint.

    Args:
        logger: Any logger; it is changed.

    Returns:
        The logger.
    """
    log = logger.log_metrics

    def log_metrics(metrics: dict[str, float], step: int | None = None) -> None:
        counted = dict(metrics)
        epoch = counted.pop("epoch", None)
        if epoch is not None and not any(name.startswith("test/") for name in counted):
            counted["epoch"] = epoch + 1
        log(counted, step)

    logger.log_metrics = log_metrics  # type: ignore[method-assign]
    return logger


class _TableWriter(ExperimentWriter):
    def __init__(self, folder: str, keep: int | None) -> None:
        self._keep = keep
        self._to_be_cut = True
        super().__init__(folder)

    def _check_log_dir_exists(self) -> None:
        self.metrics_keys, rows = _read(Path(self.metrics_file_path))
        self.rows = len(rows[: self._keep])

    def save(self) -> None:
        """Appends the recorded metrics; after an error the table is as it was."""
        path = Path(self.metrics_file_path)
        if not self.metrics:
            return
        if self._to_be_cut:
            drop_rows(path, self._keep)
            self._to_be_cut = False
        if self._record_new_keys():
            _write(path, self.metrics_keys, _read(path)[1])
        size = path.stat().st_size
        with failures_named(path):
            try:
                with path.open("a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
            except OSError:
                os.truncate(path, size)
                raise
        self.rows += len(self.metrics)
        self.metrics = []


def drop_rows(path: Path, rows: int | None) -> None:
    """Removes from a metrics.csv what was logged after a checkpoint, and a last line that was not written to its end.

    Args:
        path: The table; nothing happens if it does not exist.
        rows: Number of rows when the checkpoint was written; None keeps all.
    """
    if path.is_file():
        columns, table = _read(path)
        _write(path, columns, table[:rows])


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and complete rows of a table; none of both if it does not exist."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    table = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    return list(table.fieldnames or []), list(table)


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())

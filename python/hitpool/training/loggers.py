"""Metrics of a run as a table (metrics.csv) and for TensorBoard, both continued when the run is."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from hitpool.files import failures_named, write_text


class MetricsTable(CSVLogger):
    """Logger that appends to the metrics.csv of its run directory instead of starting it anew."""

    @property
    @rank_zero_experiment
    def experiment(self) -> "_TableWriter":
        """Writer of the table."""
        if self._experiment is None:
            self._experiment = _TableWriter(log_dir=self.log_dir)
        return self._experiment


class MetricsBoard(TensorBoardLogger):
    """TensorBoard logger that writes event files and nothing else; its errors name the folder of them."""

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


class _TableWriter(ExperimentWriter):
    def save(self) -> None:
        """Appends the recorded metrics; after an error the table is as it was."""
        path = Path(self.metrics_file_path)
        if not self.metrics:
            return
        if self._record_new_keys():
            _write(path, self.metrics_keys, _rows(path))
        size = path.stat().st_size
        with failures_named(path):
            try:
                with path.open("a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self.metrics_keys).writerows(self.metrics)
            except OSError:
                os.truncate(path, size)
                raise
        self.metrics = []

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])


def drop_rows(path: Path, step: int) -> None:
    """Removes from a metrics.csv what was logged at or after `step`, and a last line that was not written to its end.

    Args:
        path: The table; nothing happens if it does not exist.
        step: Number of optimiser steps after which the run continues.
    """
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    _write(path, list(rows.fieldnames or []), [row for row in rows if int(row["step"]) < step])


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, table.getvalue())

"""Metrics of a run as a table (metrics.csv) and for TensorBoard, both continued when the run is."""

import csv
import os
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


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
    """TensorBoard logger that writes event files and nothing else."""

    def save(self) -> None:
        """Flushes the event file."""
        if self._experiment is not None:
            self._experiment.flush()


class _TableWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        _write(path, fieldnames, rows)


def drop_rows(path: Path, step: int) -> None:
    """Removes from a metrics.csv what was logged at or after `step`, and a last line that was not written to its end.

    Args:
        path: The table; nothing happens if it does not exist.
        step: Number of optimiser steps after which the run continues.
    """
    if not path.is_file():
        return
    text = path.read_text()
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    _write(path, list(rows.fieldnames or []), [row for row in rows if int(row["step"]) < step])


def _write(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(part, path)

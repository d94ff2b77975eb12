"""Callback that writes the tracks of `hitpool predict` for the examples of ACTS."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from hitpool.acts.csv_tracks import ActsTracks, write_tracks
from hitpool.data import EventDataset
from hitpool.evaluation.arrays import on_disk, to_numpy
from hitpool.evaluation.beam_line import FITTED, at_beam_line, check_known, covariance_at_beam_line, innermost_hits
from hitpool.evaluation.collector import regression
from hitpool.evaluation.fields import all_fields
from hitpool.files import complete_or_nothing, hits_of_events

POINT = ("x", "y", "z")  # mm


class ActsWriter(Callback):
    """Writes two files for each event, see `hitpool.acts.csv_tracks`.

    They hold the tracks that are declared valid and have hits, in the order of the queries. The number of the event is
    that in the data set; a measurement is named by the row of the hit in the event. The folder appears when it is
    complete.

    Args:
        folder: Name of the folder in the run directory, or an absolute path; it must not exist.
    """

    def __init__(self, folder: str = "acts") -> None:
        self.folder = folder
        self.path = Path()
        self.opened = ExitStack()
        self.dataset: EventDataset
        self.partial: Path

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks model and data, and makes a temporary folder.

        Raises:
            ValueError: If there are several processes, the data have no points, or the model no such parameters.
            FileExistsError: If the folder exists.
            WriteError: If it cannot be written.
        """
        if trainer.world_size != 1:
            raise ValueError(
                f"ActsWriter: writes one folder from one process, got {trainer.world_size} processes; "
                "set trainer.devices and trainer.num_nodes to 1"
            )
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.dataset = datamodule.dataset("test")
        index = self.dataset.index
        if missing := [column for column in POINT if column not in index.hit_columns]:
            raise ValueError(
                f"the tracks of data set {index.directory} cannot be written for ACTS: expected the hit columns "
                f"{', '.join(POINT)} in mm, without {', '.join(missing)}; available: {', '.join(index.hit_columns)}"
            )
        network: Any = pl_module.model
        task = regression(network)
        check_known(all_fields(task.fields, [task]))
        self.path = Path(trainer.log_dir or trainer.default_root_dir) / self.folder
        self.partial = self.opened.enter_context(complete_or_nothing(self.path))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: dict[str, Any],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes the events of one batch.

        Raises:
            WriteError: If they cannot be written.
        """
        network: Any = pl_module.model
        task = regression(network)
        track, fields = task.output_object, all_fields(task.fields, [task])
        preds = {name: tensor for own in outputs["preds"].values() for name, tensor in own.items()}
        valid = to_numpy(preds[f"{track}_valid"])  # [B, N]
        assigned = to_numpy(preds[f"{track}_{network.input_name}_valid"])  # [B, N, M]
        values, errors = (
            {q: to_numpy(preds[name]) for q, field in fields.items() if (name := f"{track}_{field}{suffix}") in preds}
            for suffix in ("", "_error")
        )
        correlations = {
            pair: to_numpy(preds[name])
            for pair in combinations(FITTED, 2)
            if (name := f"{track}_{'_'.join(pair)}_correlation") in preds
        }
        numbers = to_numpy(outputs["targets"]["sample_id"])
        for i, points in enumerate(hits_of_events(self.dataset.index, numbers, POINT)):
            own = on_disk(self.dataset, numbers[i], assigned[i])  # [N, hits on disk]
            chosen = np.flatnonzero(valid[i] & own.any(-1))
            innermost = innermost_hits(points, own[chosen])
            parameters = at_beam_line({q: array[i, chosen] for q, array in values.items()}, innermost)
            covariance = covariance_at_beam_line(
                parameters,
                {q: array[i, chosen] for q, array in errors.items()},
                {pair: array[i, chosen] for pair, array in correlations.items()},
            )
            hits = [
                rows[np.argsort(np.hypot(np.hypot(*points[rows, :2].T), points[rows, 2] - z0), kind="stable")]
                for rows, z0 in zip(map(np.flatnonzero, own[chosen]), parameters[:, 1], strict=True)
            ]
            write_tracks(self.partial, int(numbers[i]), ActsTracks(hits, parameters, covariance), points)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Moves the folder to its place."""
        self.opened.close()
        print(f"written: {self.path}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Removes the incomplete folder."""
        self.opened.__exit__(type(exception), exception, exception.__traceback__)

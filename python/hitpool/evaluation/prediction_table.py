"""Callback that writes the predictions of `hitpool predict` as one flat table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from hitpool.evaluation.table_file import write_table, writer
from hitpool.files import check_writable
from hitpool.muon import unit

Slots = dict[str, NDArray[Any]]  # by column, [E, N]


class PredictionTable(Callback):
    """Writes the table `tracks`, a row for each slot of each event, ordered by event and slot.

    Columns, for a model of tracks and particles: `event` (its number in the data set), `slot`; what is predicted of a
    track, `track_valid`, `track_valid_prob`, `track_<field>`, and if the model states them `track_<field>_error` and
    correlations; `track_num_hits`, the number of hits that are assigned to it. Where there is truth, `particle` is the
    number of the particle that the matching of the test gives to the slot, -1 for none, and `particle_<field>` are its
    parameters, NaN for none. Units are in the file, see `hitpool.evaluation.table_file.write_table`.

    The rows of all processes are kept in memory until the end. The file appears when it is complete.

    Args:
        filename: Name of the file in the run directory, or an absolute path; its suffix says the format: .h5 or .hdf5,
            .parquet (extra `parquet`), .root (extra `root`).
    """

    def __init__(self, filename: str = "predictions.h5") -> None:
        self.filename = filename
        self.path = Path()
        self.batches: list[Slots] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks that the file can be written.

        Raises:
            ValueError: If the suffix is unknown.
            ImportError: If the library for the format is not installed.
            WriteError: If nothing can be written there.
        """
        self.path = Path(trainer.log_dir or trainer.default_root_dir) / self.filename
        self.batches = []
        writer(self.path)
        if trainer.is_global_zero:
            check_writable(self.path.parent)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: dict[str, Any],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the rows of one batch."""
        network: Any = pl_module.model
        targets, hit = outputs["targets"], network.input_name
        preds = {name: tensor for task in outputs["preds"].values() for name, tensor in task.items()}
        hit_valid = outputs["inputs"][f"{hit}_valid"].unsqueeze(1)  # [B, 1, M]
        columns = {
            name: tensor for name, tensor in preds.items() if tensor.ndim == 2 and not name.startswith(f"{hit}_")
        } | {
            f"{name.removesuffix(f'_{hit}_valid')}_num_hits": (tensor & hit_valid).sum(-1)
            for name, tensor in preds.items()
            if tensor.ndim == 3 and name.endswith(f"_{hit}_valid")
        }
        if f"{network.target_object}_valid" in targets:
            with trainer.precision_plugin.forward_context():
                pair = network.pair("final", outputs["outputs"], targets)  # [B, N]
            columns |= _matched_truth(targets, network.target_object, pair)
        slots = torch.arange(network.decoder.num_queries)
        event, slot = torch.meshgrid(targets["sample_id"].cpu(), slots, indexing="ij")  # [B, N] each
        self.batches.append({name: _numpy(own) for name, own in {"event": event, "slot": slot, **columns}.items()})

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the rows of all processes, from the first one."""
        batches = _of_all_ranks(self.batches, trainer)
        self.batches = []
        if not trainer.is_global_zero:
            return
        slots = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}  # [E, N] each
        rows = np.unique(slots["event"][:, 0], return_index=True)[1]  # an event of two processes is one
        columns = {name: own[rows].reshape(-1) for name, own in slots.items()}
        write_table(self.path, "tracks", columns, _units(columns, _units_of_data(trainer)))
        print(f"written: {self.path}")


def _matched_truth(targets: dict[str, Tensor], particle: str, pair: Tensor) -> dict[str, Tensor]:
    """Number and parameters of the particle of each slot [B, N]; `pair` is the slot of each particle."""
    number = pair.argsort(-1)  # the inverse of the permutation
    valid = targets[f"{particle}_valid"].gather(-1, number)
    fields = {
        name: tensor
        for name, tensor in targets.items()
        if name.startswith(f"{particle}_") and tensor.ndim == 2 and tensor.is_floating_point()
    }
    return {particle: number.masked_fill(~valid, -1)} | {
        name: tensor.gather(-1, number).masked_fill(~valid, torch.nan) for name, tensor in fields.items()
    }


def _units_of_data(trainer: Trainer) -> dict[str, str]:
    """Units by column, as far as the data set says them."""
    datamodule: Any = getattr(trainer, "datamodule", None)
    return dict(datamodule.dataset("test").index.units) if datamodule else {}


def _units(columns: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Units of the columns of the table that have one: of the data set, else what is known of the quantity."""
    fields = {column: column.partition("_")[2].removesuffix("_error") for column in columns}  # behind track_, particle_
    found = {column: unit(field, known) for column, field in fields.items()}
    return {column: name for column, name in found.items() if name}


def _of_all_ranks(batches: list[Slots], trainer: Trainer) -> list[Slots]:
    """Batches of all processes, in the first one."""
    if trainer.world_size == 1:
        return batches
    gathered: list[list[Slots]] | None = [[] for _ in range(trainer.world_size)] if trainer.is_global_zero else None
    torch.distributed.gather_object(batches, gathered)
    return [batch for own in gathered or [] for batch in own]


def _numpy(tensor: Tensor) -> NDArray[Any]:
    """Array of a tensor; NumPy has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

"""Callback that writes the predictions of `hitpool predict` to HDF5."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from hitpool.files import PartialFile, replacing


class PredictionWriter(Callback):
    """Writes predictions and raw outputs of each event, in the order of the queries: no truth is used.

    One HDF5 group for each event, named by its number in the data set. It holds `preds/final/<task>/<name>`
    (physical units, decisions, probabilities) and `outputs/final/<task>/<name>` (logits, learned space), each
    with a leading dimension of size 1: `[1, slots]`, `[1, slots, fields]`, or `[1, slots, hits]` with the
    hits of the event as they are on disk, without those that a hit filter drops. The file appears when it is complete.

    Args:
        filename: Name of the file in the run directory, or an absolute path.
        track: Name of the predicted objects; what is called `<track>_<hit>_...` or `<hit>_...` has hits as
            last dimension.
        hit: Name of the hits.
    """

    def __init__(self, filename: str = "predictions.h5", track: str = "track", hit: str = "hit") -> None:
        self.filename = filename
        self.hit = hit
        self.per_hit = (f"{track}_{hit}_", f"{hit}_")
        self.path = Path()
        self.target: PartialFile
        self.file: h5py.File
        self.opened = ExitStack()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens a temporary file.

        Raises:
            ValueError: If there are several processes.
            WriteError: If it cannot be written.
        """
        if trainer.world_size != 1:
            raise ValueError(
                f"PredictionWriter: writes one file from one process, got {trainer.world_size} processes; "
                "set trainer.devices and trainer.num_nodes to 1"
            )
        self.path = Path(trainer.log_dir or trainer.default_root_dir) / self.filename
        self.target = self.opened.enter_context(replacing(self.path))
        options = {"libver": "v110", "fs_strategy": "page", "fs_page_size": 2**16, "page_buf_size": 2**22}
        self.file = self.opened.enter_context(h5py.File(self.target, "w", **options))  # small, in few writes

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
        hit_valid = outputs["inputs"][f"{self.hit}_valid"].cpu()  # [B, M]
        tensors = {
            f"{kind}/final/{task}/{name}": (name, tensor.detach().cpu())
            for kind in ("preds", "outputs")
            for task, named in outputs[kind].items()
            for name, tensor in named.items()
        }
        for i, event in enumerate(outputs["targets"]["sample_id"].tolist()):
            group = self.file.create_group(str(event))
            for path, (name, tensor) in tensors.items():
                own = tensor[i : i + 1]
                if name.startswith(self.per_hit):
                    own = own[..., hit_valid[i]]
                group[path] = _writable(own)
        batches = sum(trainer.num_predict_batches)
        self.target.expected = self.file.id.get_filesize() * batches // (batch_idx + 1)
        self.target.check()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Completes the file and moves it to its place."""
        self.opened.close()
        print(f"written: {self.path}")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Removes the incomplete file."""
        self.opened.__exit__(type(exception), exception, exception.__traceback__)


def _writable(tensor: Tensor) -> Any:
    """NumPy array of a tensor; HDF5 has no bfloat16."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

"""Checkpoints that a kill at any moment leaves intact."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a neighbouring file, flushes it to the disk and renames it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes `checkpoint` to `path`, replacing what was there only when the new file is complete."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def best_and_last(folder: Path) -> list[ModelCheckpoint]:
    """Callbacks that write `best.ckpt`, the lowest validation loss, and `last.ckpt`, at the end of every epoch.

    Args:
        folder: Folder of the checkpoints.
    """
    best = ModelCheckpoint(folder, filename="best", monitor="val/loss", enable_version_counter=False)
    last = ModelCheckpoint(
        folder, filename="last", every_n_epochs=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    return [best, last]

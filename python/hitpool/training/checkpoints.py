"""Checkpoints that a kill at any moment leaves intact."""

import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from hitpool.files import write_bytes
from hitpool.weights import CheckpointError, read_checkpoint

OF_TRAINING = ("state_dict", "global_step", "pytorch-lightning_version")  # what Lightning cannot do without
TO_GO_ON = ("loops", "optimizer_states")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints that replace what was there only when they are complete; reads them with all checks.

    What was looked into before Lightning loads it is read only once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[Path, dict[str, Any]] = {}

    def look_into(self, path: Path) -> dict[str, Any]:
        """Content of a checkpoint that will be loaded next; it is kept until then.

        Raises:
            FileNotFoundError: If it does not exist.
            CheckpointError: If it cannot be read.
        """
        key = path.absolute()
        if key not in self._read:
            self._read[key] = read_checkpoint(path)
        return self._read[key]

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes `checkpoint` to `path`.

        Raises:
            WriteError: If it cannot be written; `path` is then as it was.
        """
        content = io.BytesIO()
        with _signals_wait():
            torch.save(checkpoint, content)
            write_bytes(path, content.getbuffer())

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Reads a checkpoint, unless it was looked into.

        Raises:
            CheckpointError: If it is damaged, or holds objects whose loading would run code.
        """
        read, self._read = self._read, {}
        key = Path(path).absolute()
        return read[key] if key in read else read_checkpoint(path)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Lets signals with a handler wait: what it raises inside torch.save becomes a RuntimeError of its file writer."""
    if threading.current_thread() is not threading.main_thread():  # Python runs handlers in the main thread only
        yield
        return
    received: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in signal.valid_signals()
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for came in received:
            signal.raise_signal(came)


def best_and_last(folder: Path) -> list[ModelCheckpoint]:
    """Callbacks that write `best.ckpt`, the lowest validation loss, and at the end of every epoch `last.ckpt`.

    Args:
        folder: Folder of the checkpoints.
    """
    best = ModelCheckpoint(
        folder, filename="best", monitor="val/loss", save_on_train_epoch_end=False, enable_version_counter=False
    )
    last = ModelCheckpoint(
        folder, filename="last", every_n_epochs=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    return [best, last]


def follow_moved_files(state: dict[str, Any], folder: str | Path) -> None:
    """Corrects the state of a ModelCheckpoint whose folder was moved, which would forget the best score.

    Args:
        state: What a checkpoint keeps of the callback; changed in place.
        folder: Folder of its files now. Nothing happens if the best of them is not there.
    """

    def now(path: str) -> str:
        return os.path.join(folder, os.path.basename(path)) if path else path

    best = state["best_model_path"]
    if not best or os.path.isfile(now(best)):
        state["dirpath"] = folder
        state["best_k_models"] = {now(path): score for path, score in state["best_k_models"].items()}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = now(state[name])


def check_of_training(content: dict[str, Any], path: Path, to_go_on: bool = False) -> None:
    """Checks that a checkpoint is of a training.

    Args:
        content: What it holds.
        path: The file, for messages.
        to_go_on: Whether it is to hold what a training needs to go on.

    Raises:
        CheckpointError: If it is not.
    """
    if missing := [key for key in OF_TRAINING + (TO_GO_ON if to_go_on else ()) if key not in content]:
        raise CheckpointError(
            f"checkpoint {path} is not of a training: expected one that hitpool fit wrote, this has no "
            f"{' and no '.join(missing)}"
        )
